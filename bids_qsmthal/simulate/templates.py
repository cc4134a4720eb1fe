"""The packaged atlas as digital participants need it: tissue and structure maps on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply_to_columns
from bids_qsmthal.core.crop import Crop, around
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.labels import ATLAS, LATERAL_VENTRICLE, SIDES, TissueClass

if TYPE_CHECKING:
    from collections.abc import Mapping

Float = NDArray[np.float32]

NUCLEI: Final = tuple(
    row.name for row in ATLAS.rows if row.paired and row.tissue is TissueClass.GRAY
)
"""Gray structures that the atlas shows on both sides."""

CLASSES: Final = (
    # Prior, brightness of the class in the template (its maximum is 1), spread, weight.
    ("GM", 0.68, 0.08, 0.7),
    ("WM", 0.87, 0.08, 1.0),
    ("CSF", 0.42, 0.12, 1.2),
)
"""Read off the template's histogram; the weights give the tissue fractions of an adult brain
(gray 46, white 39, CSF 15 %) where an average brain gives gray 58 and CSF 8 %."""

SMALL_NUCLEI: Final = {
    # Centre and semi-axes in mm, right side, in the space of the atlas; sizes after the volumes of
    # Keuken 2014 (NeuroImage 94:40-46); the dentate is drawn solid.
    "red_nucleus": ((5.0, -21.0, -9.0), (2.9, 3.0, 3.6)),
    "substantia_nigra": ((10.5, -17.5, -12.0), (2.2, 5.5, 2.6)),
    "dentate": ((15.0, -57.0, -34.0), (4.0, 7.0, 3.5)),
}


@dataclass(frozen=True, slots=True, eq=False)
class StructureMap:
    """The probability of one structure in a box of the atlas grid."""

    probability: Float
    crop: Crop


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """The atlas, everything on one 1 mm grid.

    Attributes
    ----------
    affine
        Voxel to RAS mm.
    gray, white, csf
        Probabilities of the tissues, 0 to 1.
    brain
        Everything inside the skull; 0.5 is its border.
    structures
        Name such as ``thalamus_L`` to its probability in a box.
    ventricles
        ``ventricle_L``, ``ventricle_R`` (lateral), ``ventricle_M`` (third and fourth).
    atria
        Trigones of both lateral ventricles.
    fluid_fills
        Whether ``csf`` is all that is not tissue. An average brain shows too little fluid between
        its hull and the dura.
    """

    affine: Affine
    gray: Float
    white: Float
    csf: Float
    brain: Float
    structures: Mapping[str, StructureMap]
    ventricles: Mapping[str, StructureMap]
    atria: StructureMap
    fluid_fills: bool = False


@lru_cache(maxsize=1)
def templates() -> Templates:
    """Read the packaged atlas once per process."""
    t1w = stored("T1w")
    # The template has no skull: what is not zero is brain.
    brain = ndimage.binary_fill_holes(t1w.data > 0)
    gray, white, csf = _tissues(t1w.data, brain)
    labels = stored("desc-deepgray_dseg").data
    structures = {"brainstem": smoothed(labels == ATLAS.index("brainstem"))}
    for name in SMALL_NUCLEI:
        structures |= small_nuclei(t1w.shape, t1w.affine, name)
    for name in NUCLEI:
        for side, index in zip(SIDES, ATLAS.pair(name), strict=True):
            structures[f"{name}_{side}"] = smoothed(labels == index)
    ventricles = {
        f"ventricle_{side}": smoothed(labels == index)
        for side, index in zip(SIDES, LATERAL_VENTRICLE, strict=True)
    }
    midline = [ATLAS.index(name) for name in ("third_ventricle", "fourth_ventricle")]
    ventricles["ventricle_M"] = smoothed(np.isin(labels, midline))
    return Templates(
        affine=t1w.affine,
        gray=gray,
        white=white,
        csf=csf,
        brain=ndimage.gaussian_filter(brain.astype(np.float32), 1.0),
        structures=structures,
        ventricles=ventricles,
        atria=smoothed(stored("desc-atria_dseg").data > 0),
    )


def stored(name: str) -> Image:
    """Return an image of the packaged atlas."""
    with as_file(files("bids_qsmthal") / "data" / "atlas" / f"{name}.nii.gz") as path:
        return nifti.load(path, dtype=np.uint8)


def _tissues(t1w: NDArray[np.uint8], brain: NDArray[np.bool_]) -> list[Float]:
    """Return gray, white matter and CSF by prior and brightness together.

    The priors alone are an average of many brains, with hardly a sulcus open; the brightness of the
    average image, modelled by one normal law for each tissue, brings back sulci and folia.
    """
    bright = t1w.astype(np.float32) / max(int(t1w.max()), 1)
    found = []
    for name, mean, deviation, weight in CLASSES:
        prior = stored(f"label-{name}_probseg").data.astype(np.float32) / 255
        likelihood = np.exp(-0.5 * ((bright - mean) / deviation) ** 2)
        # The trace keeps the sum from zero where brightness fits no class.
        found.append(weight * prior * likelihood * brain + np.float32(1e-6))
    total = np.sum(found, axis=0)
    return [np.asarray(part / total * brain, dtype=np.float32) for part in found]


def smoothed(mask: NDArray[np.bool_], *, sigma_mm: float = 0.8) -> StructureMap:
    """Return a mask as a smooth map whose level 0.5 is its border, without the steps of voxels."""
    # The margin holds the tails of the filter: four of its standard deviations and more.
    crop = around(mask, margin=(4, 4, 4))
    if crop is None:
        raise ValueError("the atlas has no voxel of this structure")
    # In voxels, which are 1 mm in the atlas.
    smooth = ndimage.gaussian_filter(crop.cut(mask).astype(np.float32), sigma_mm)
    return StructureMap(smooth, crop)


def small_nuclei(
    shape: tuple[int, int, int],
    affine: Affine,
    name: str,
    within: NDArray[np.bool_] | None = None,
) -> dict[str, StructureMap]:
    """Return both sides of one of ``SMALL_NUCLEI`` on a grid; a side that has no voxel is left out.

    Parameters
    ----------
    shape, affine
        The grid; ``affine`` leads to atlas mm, and its axes may lie in any way.
    name
        Of the nucleus.
    within
        Where it may lie; anywhere by default.
    """
    centre_mm, radii_mm = SMALL_NUCLEI[name]
    points = apply_to_columns(affine, np.indices(shape).reshape(3, -1))
    parts = {}
    for side, sign in (("L", -1), ("R", 1)):
        middle = np.array([sign * centre_mm[0], *centre_mm[1:]])
        away = (points - middle[:, None]) / np.array(radii_mm)[:, None]
        inside = ((away**2).sum(axis=0) <= 1).reshape(shape)
        if within is not None:
            inside &= within
        if inside.any():
            parts[f"{name}_{side}"] = smoothed(inside, sigma_mm=0.6)
    return parts
