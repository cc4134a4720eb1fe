"""The packaged atlas as digital participants need it: tissue and structure maps on one grid."""

from __future__ import annotations

import csv
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

DENTATE_MM: Final = ((15.0, -57.0, -34.0), (4.0, 7.0, 3.5))
"""Centre and semi-axes, right side, in the space of the atlas: no atlas that may be carried has the
dentate nucleus. It is drawn solid."""

FINER: Final = ("caudate", "putamen", "pallidum")
"""Nuclei that are drawn from a finer atlas (``simulate.nuclei``): here they are twice too small."""


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
        Name such as ``thalamus_L`` to its probability in a box; later ones lie over earlier ones.
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
    gray, white, csf = _without_nuclei((gray, white, csf), labels)
    structures = {"brainstem": smoothed(labels == ATLAS.index("brainstem"))}
    structures |= dentate_nuclei(t1w.shape, t1w.affine)
    for name in NUCLEI:
        if name in FINER:
            continue
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


def stored_names(name: str) -> dict[int, str]:
    """Return the label table of an image of the packaged atlas: number to name."""
    table = files("bids_qsmthal") / "data" / "atlas" / f"{name}.tsv"
    rows = csv.DictReader(table.read_text().splitlines(), delimiter="\t")
    return {int(row["index"]): row["name"] for row in rows}


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


def _without_nuclei(
    tissues: tuple[Float, Float, Float], labels: NDArray[np.uint8]
) -> tuple[Float, Float, Float]:
    """Return the tissues as if basal ganglia and midbrain nuclei were what is beside them.

    The nuclei of a person are laid over them, and lie elsewhere than those of the atlas.
    """
    finer = [index for name in FINER for index in ATLAS.pair(name)]
    # In front of ventricles and thalami, which are laid over them.
    covered = np.isin(labels, finer) | ((stored("desc-subcortex_dseg").data > 0) & (labels == 0))
    where = ndimage.distance_transform_edt(covered, return_distances=False, return_indices=True)
    source = tuple(axis[covered] for axis in where)
    filled = []
    for part in tissues:
        copy = part.copy()
        copy[covered] = part[source]
        filled.append(copy)
    gray, white, csf = filled
    return gray, white, csf


def smoothed(mask: NDArray[np.bool_], *, sigma_mm: float = 0.8) -> StructureMap:
    """Return a mask as a smooth map whose level 0.5 is its border, without the steps of voxels."""
    # The margin holds the tails of the filter: four of its standard deviations and more.
    crop = around(mask, margin=(4, 4, 4))
    if crop is None:
        raise ValueError("the atlas has no voxel of this structure")
    return StructureMap(soft(crop.cut(mask), sigma_mm), crop)


def soft(mask: NDArray[np.bool_], sigma_mm: float) -> Float:
    """Return a mask of voxels of 1 mm with a smooth border."""
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), sigma_mm))


def dentate_nuclei(
    shape: tuple[int, int, int], affine: Affine, within: NDArray[np.bool_] | None = None
) -> dict[str, StructureMap]:
    """Return both dentate nuclei on a grid; a side that has no voxel is left out.

    Parameters
    ----------
    shape, affine
        The grid; ``affine`` leads to atlas mm, and its axes may lie in any way.
    within
        Where they may lie; anywhere by default.
    """
    centre_mm, radii_mm = DENTATE_MM
    points = apply_to_columns(affine, np.indices(shape).reshape(3, -1))
    parts = {}
    for side, sign in (("L", -1), ("R", 1)):
        middle = np.array([sign * centre_mm[0], *centre_mm[1:]])
        away = (points - middle[:, None]) / np.array(radii_mm)[:, None]
        inside = ((away**2).sum(axis=0) <= 1).reshape(shape)
        if within is not None:
            inside &= within
        if inside.any():
            parts[f"dentate_{side}"] = smoothed(inside, sigma_mm=0.6)
    return parts
