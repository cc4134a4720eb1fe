"""From a prepared T1w image to tissues, nuclei, ventricles, volumes and cortical thickness."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy import atlas, given
from bids_qsmthal.anatomy.deepgray import (
    DeepGray,
    refined_atria,
    refined_nuclei,
    refined_thalamus,
    refined_ventricles,
)
from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.anatomy.given import Given
from bids_qsmthal.anatomy.preparation import Prepared
from bids_qsmthal.anatomy.thickness import Thickness, mean_thickness_mm, thickness_map
from bids_qsmthal.anatomy.tissue import (
    Fractions,
    TissueModel,
    fractions,
    with_sulcal_fluid,
    without_false_gray,
    without_meninges,
)
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.image import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LABELS: dict[int, str] = {
    4: "Left-Lateral-Ventricle",
    10: "Left-Thalamus",
    11: "Left-Caudate",
    12: "Left-Putamen",
    13: "Left-Pallidum",
    14: "3rd-Ventricle",
    15: "4th-Ventricle",
    16: "Brain-Stem",
    17: "Left-Hippocampus",
    18: "Left-Amygdala",
    43: "Right-Lateral-Ventricle",
    49: "Right-Thalamus",
    50: "Right-Caudate",
    51: "Right-Putamen",
    52: "Right-Pallidum",
    53: "Right-Hippocampus",
    54: "Right-Amygdala",
}
"""FreeSurfer's numbers and names of ``Anatomy.deepgray``."""

REGION_NAMES: dict[int, tuple[str, str]] = {
    4: ("lateral_ventricle", "L"),
    43: ("lateral_ventricle", "R"),
    11: ("caudate", "L"),
    50: ("caudate", "R"),
    12: ("putamen", "L"),
    51: ("putamen", "R"),
    13: ("pallidum", "L"),
    52: ("pallidum", "R"),
    17: ("hippocampus", "L"),
    53: ("hippocampus", "R"),
    18: ("amygdala", "L"),
    54: ("amygdala", "R"),
    14: ("third_ventricle", ""),
    15: ("fourth_ventricle", ""),
    16: ("brainstem", ""),
}

THALAMUS = (10, 49)
GRAY_NUCLEI = (11, 12, 13, 17, 18, 50, 51, 52, 53, 54)
GRAY_AT_WALLS = (*THALAMUS, 11, 17, 18, 50, 53, 54)
"""Gray structures that the ventricles touch."""
LATERAL_VENTRICLES = (4, 43)
BRAINSTEM = 16
ENCLOSED = (*THALAMUS, 11, 12, 13, 50, 51, 52, 4, 43, 14)
"""What the cerebral cortex encloses beside white matter."""
NOT_CORTEX = (*ENCLOSED, 15, 16, 17, 18, 53, 54)

NORMAL_THICKNESS_MM = (1.8, 3.2)
"""Means of whole cortices lie within (Fischl and Dale 2000, doi 10.1073/pnas.200033797)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """All choices of ``segment``."""

    tissue: TissueModel = field(default_factory=TissueModel)
    deep_gray: DeepGray = field(default_factory=DeepGray)
    thickness: Thickness = field(default_factory=Thickness)
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What the T1w image shows; every image is on the grid of the T1w file.

    Attributes
    ----------
    t1w
        Even intensities, lesions not filled.
    brain
        Boolean: brain and the fluid inside the skull.
    tissue
        1 gray matter, 2 white matter, 3 fluid.
    gm, wm, csf
        Fractions, 0 to 1; sum to one in the brain.
    deepgray
        Labels as in ``LABELS``.
    thalamus_probability
        Share of the left and of the right thalamus in each voxel.
    nuclei, nuclei_names
        Thalamic nuclei and their label table.
    ventricles
        The ventricles among the labels (4, 43, 14, 15).
    atria
        1 left, 2 right.
    vein_prior
        Where deep veins run beside the thalamus, 0 to 1.
    thickness_mm
        Of the cortex; zero elsewhere.
    volumes_mm3
        Region to volume, such as ``thalamus_L``, ``gray_matter``, ``intracranial``.
    thickness_mean_mm
        ``whole``, ``L``, ``R``.
    to_template
        Where each point of the T1w image lies in the template.
    quality
        Figures that say how well each step went.
    warnings
        In words, for the report.
    """

    t1w: Image
    brain: Image
    tissue: Image
    gm: Image
    wm: Image
    csf: Image
    deepgray: Image
    thalamus_probability: tuple[Image, Image]
    nuclei: Image
    nuclei_names: dict[int, str]
    ventricles: Image
    atria: Image
    vein_prior: Image
    thickness_mm: Image
    volumes_mm3: dict[str, float]
    thickness_mean_mm: dict[str, float]
    to_template: Warp
    quality: dict[str, float]
    warnings: tuple[str, ...]


def segment(
    prepared: Prepared,
    lesion_mask: Image | None = None,
    *,
    settings: Segmentation | None = None,
    brought: Given | None = None,
) -> Anatomy:
    """Segment a prepared T1w image.

    Parameters
    ----------
    prepared
        What ``prepare`` returned.
    lesion_mask
        White-matter lesions on the same grid; they are filled before tissues are classified,
        because they would become gray matter, and count as white matter.
    settings
        How.
    brought
        What takes the place of our labels; all that follows from them is made from these.
    """
    how, known = settings or Segmentation(), brought or Given()
    frame = Frame.around(prepared.brain, 5.0)
    part = _Part.cut(prepared, lesion_mask, frame)
    filled = filled_lesions(part.t1w, part.lesions, part.priors[2], seed=how.seed)
    tissue, (left, right), labels = _found(filled, part, known, frame, how)
    if known.tissue is not None:
        gm, wm, csf = given.shares(frame.cut(known.tissue).data, part.brain)
    else:
        bordered = _with_borders(tissue, filled, labels, part)
        gm, wm, csf = _with_nuclei(bordered, labels, left + right)
    thickness = _thickness(gm, wm, labels, part, how.thickness)
    nuclei, nuclei_names = _nuclei(part, labels, known, frame)
    ventricles = np.where(np.isin(labels, (4, 43, 14, 15)), labels, 0).astype(np.uint8)
    volumes = _volumes(part, (gm, wm, csf), (left, right), labels)
    means = _thickness_means(thickness, gm, part.regions)
    quality = prepared.quality | _quality(tissue, volumes, part)
    return Anatomy(
        t1w=prepared.t1w,
        brain=prepared.brain,
        tissue=frame.paste(_hard(gm, wm, csf)),
        gm=frame.paste(gm),
        wm=frame.paste(wm),
        csf=frame.paste(csf),
        deepgray=frame.paste(labels),
        thalamus_probability=(frame.paste(left), frame.paste(right)),
        nuclei=frame.paste(nuclei),
        nuclei_names=nuclei_names,
        ventricles=frame.paste(ventricles),
        atria=frame.paste(refined_atria(part.atria, ventricles)),
        vein_prior=prepared.vein_prior,
        thickness_mm=frame.paste(thickness),
        volumes_mm3=volumes,
        thickness_mean_mm=means,
        to_template=prepared.to_template,
        quality=quality,
        warnings=(*prepared.warnings, *_doubts(tissue, volumes, means)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The arrays of a prepared image in the frame of the brain."""

    t1w: Float
    brain: Mask
    lesions: Mask
    priors: tuple[Float, Float, Float]
    thalamus: tuple[Float, Float]
    labels: Labels
    regions: Labels
    nuclei: Labels
    atria: Labels
    voxel_mm: tuple[float, float, float]

    @classmethod
    def cut(cls, prepared: Prepared, lesion_mask: Image | None, frame: Frame) -> _Part:
        t1w = frame.cut(prepared.t1w)
        brain = frame.cut(prepared.brain).data > 0
        lesions = np.zeros_like(brain) if lesion_mask is None else frame.cut(lesion_mask).data > 0
        left, right = prepared.thalamus_prior
        return cls(
            t1w=t1w.data,
            brain=brain,
            lesions=lesions & brain,
            priors=(
                frame.cut(prepared.prior_csf).data,
                frame.cut(prepared.prior_gm).data,
                frame.cut(prepared.prior_wm).data,
            ),
            thalamus=(frame.cut(left).data, frame.cut(right).data),
            labels=frame.cut(prepared.labels).data,
            regions=frame.cut(prepared.regions).data,
            nuclei=frame.cut(prepared.nuclei).data,
            atria=frame.cut(prepared.atria).data,
            voxel_mm=t1w.grid.voxel_size_mm,
        )

    @property
    def voxel_volume_mm3(self) -> float:
        return float(np.prod(self.voxel_mm))


def filled_lesions(t1w: Float, lesions: Mask, white_prior: Float, *, seed: int) -> Float:
    """Give lesions the intensity of the white matter round them, with its noise.

    Parameters
    ----------
    t1w
        Even intensities, shape (x, y, z).
    lesions
        What to fill.
    white_prior
        Probability of white matter from the template.
    seed
        Of the noise.
    """
    if not lesions.any():
        return t1w
    rim = ndimage.binary_dilation(lesions)
    sure = (white_prior > 0.8) & ~rim
    middle = float(np.median(t1w[sure]))
    spread = 1.4826 * float(np.median(np.abs(t1w[sure] - middle)))
    # Normal-appearing white matter only: other lesions and vessels stay out of the mean.
    sure &= np.abs(t1w - middle) < 2.5 * spread
    weight = ndimage.gaussian_filter(sure.astype(np.float32), 4.0)
    total = ndimage.gaussian_filter(np.where(sure, t1w, 0).astype(np.float32), 4.0)
    local = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), middle)
    noise = np.random.default_rng(seed).normal(0, spread, int(lesions.sum()))
    filled = t1w.copy()
    filled[lesions] = local[lesions] + noise
    return filled


def _found(
    filled: Float, part: _Part, known: Given, frame: Frame, how: Segmentation
) -> tuple[Fractions, tuple[Float, Float], NDArray[Any]]:
    """Classify tissues and label nuclei, as far as neither is known."""
    if known.deepgray is not None and known.tissue is not None:
        tissue = given.fractions(frame.cut(known.tissue).data, filled, part.brain)
    else:
        found = fractions(filled, part.brain, part.priors, how.tissue)
        tissue = without_meninges(found, part.voxel_mm)
    if known.deepgray is not None:
        labels = frame.cut(known.deepgray).data
        left, right = ((labels == index).astype(np.float32) for index in THALAMUS)
        return tissue, (left, right), labels
    left, right = (
        refined_thalamus(filled, prior, tissue, part.voxel_mm, how.deep_gray)
        for prior in part.thalamus
    )
    return tissue, (left, right), _labels(part, tissue, (left, right), how.deep_gray)


def _nuclei(
    part: _Part, labels: NDArray[Any], known: Given, frame: Frame
) -> tuple[NDArray[Any], dict[int, str]]:
    if known.nuclei is not None:
        image, names = known.nuclei
        return frame.cut(image).data, names
    refined = refined_nuclei(part.nuclei, (labels == THALAMUS[0], labels == THALAMUS[1]))
    return refined, atlas.names("desc-thalamicnuclei_dseg")


def _labels(part: _Part, tissue: Fractions, thalamus: tuple[Float, Float], how: DeepGray) -> Labels:
    """Warped labels with thalamus and ventricles as the image shows them."""
    ventricles = refined_ventricles(part.labels, tissue.csf, part.voxel_mm, how)
    labels = np.where(np.isin(part.labels, (*THALAMUS, 4, 43, 14, 15)), 0, part.labels)
    # Nuclei end where fluid begins.
    labels[(tissue.csf > 0.5) & np.isin(labels, GRAY_NUCLEI)] = 0
    labels[ventricles > 0] = ventricles[ventricles > 0]
    for index, share in zip(THALAMUS, thalamus, strict=True):
        labels[share > 0.5] = index
    labels[~part.brain] = 0
    return labels.astype(np.uint8)


WALL_MM = 2.0
"""Partial volume and its neighbours at 1 mm: this near to a ventricle lies its wall."""


def _with_borders(tissue: Fractions, t1w: Float, labels: NDArray[Any], part: _Part) -> Fractions:
    """Settle the borders that intensity alone gets wrong: walls of the ventricles, sulci."""

    def within(structures: Sequence[int], reach_mm: float) -> Mask:
        away = ~np.isin(labels, structures)
        near: Mask = ndimage.distance_transform_edt(away, sampling=part.voxel_mm) <= reach_mm
        return near

    ventricles = within(LATERAL_VENTRICLES, WALL_MM) & ~within(GRAY_AT_WALLS, WALL_MM)
    brainstem = within((BRAINSTEM,), WALL_MM) & ~np.isin(part.regions, (3, 4))
    walls = (ventricles | brainstem) & ~np.isin(labels, (*THALAMUS, *GRAY_NUCLEI)) & part.brain
    sulci = part.brain & ~walls & ~within((*LATERAL_VENTRICLES, 14, 15), 1.5 * WALL_MM)
    return with_sulcal_fluid(without_false_gray(tissue, t1w, walls), t1w, sulci)


def _with_nuclei(
    tissue: Fractions, labels: NDArray[Any], thalamus: Float
) -> tuple[Float, Float, Float]:
    """Count deep nuclei as gray matter although parts of them are as bright as white matter."""
    nuclei = np.maximum(thalamus, np.isin(labels, GRAY_NUCLEI).astype(np.float32))
    # Fluid in a voxel of a nucleus stays fluid; only white matter gives way.
    moved = tissue.wm * np.clip(nuclei, 0, 1)
    white = np.where(labels == 16, tissue.wm + tissue.gm, tissue.wm - moved)
    gray = np.where(labels == 16, 0, tissue.gm + moved)
    return gray.astype(np.float32), white.astype(np.float32), tissue.csf


def _thickness(
    gm: Float, wm: Float, labels: NDArray[Any], part: _Part, settings: Thickness
) -> Float:
    cerebrum = np.isin(part.regions, (1, 2))
    enclosed = np.isin(labels, ENCLOSED)
    inside = np.where(enclosed, 1.0, wm).astype(np.float32)
    gray = np.where(np.isin(labels, NOT_CORTEX), 0, gm).astype(np.float32)
    cortex = cerebrum & part.brain & ~np.isin(labels, NOT_CORTEX)
    inside[~cerebrum] = 0
    return thickness_map(gray, inside, cortex, part.voxel_mm, settings)


def _thickness_means(thickness: Float, gm: Float, regions: Labels) -> dict[str, float]:
    return {
        "whole": mean_thickness_mm(thickness, gm, np.isin(regions, (1, 2))),
        "L": mean_thickness_mm(thickness, gm, regions == 1),
        "R": mean_thickness_mm(thickness, gm, regions == 2),
    }


def _hard(gm: Float, wm: Float, csf: Float) -> Labels:
    """1 gray matter, 2 white matter, 3 fluid, 0 outside the brain."""
    stacked = np.stack([gm, wm, csf])
    winner = stacked.argmax(0).astype(np.uint8) + 1
    return np.where(stacked.sum(0) > 0, winner, 0).astype(np.uint8)


def _volumes(
    part: _Part,
    tissue: tuple[Float, Float, Float],
    thalamus: tuple[Float, Float],
    labels: NDArray[Any],
) -> dict[str, float]:
    unit = part.voxel_volume_mm3
    gm, wm, csf = tissue
    volumes = {
        "gray_matter": float(gm.sum()) * unit,
        "white_matter": float(wm.sum()) * unit,
        "csf": float(csf.sum()) * unit,
        "intracranial": float(part.brain.sum()) * unit,
        "cortical_gray_matter": float(gm[~np.isin(labels, NOT_CORTEX)].sum()) * unit,
    }
    for side, share in zip("LR", thalamus, strict=True):
        volumes[f"thalamus_{side}"] = float(share.sum()) * unit
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    counts = np.bincount(labels.ravel(), minlength=256)
    for index, (name, side) in REGION_NAMES.items():
        volumes[f"{name}_{side}" if side else name] = float(counts[index]) * unit
    return volumes


def _quality(tissue: Fractions, volumes: dict[str, float], part: _Part) -> dict[str, float]:
    csf, gm, wm = tissue.means
    return {
        "tissue_converged": float(tissue.converged),
        # Distance of gray and white matter in units of their spread.
        "gray_white_contrast": (wm - gm) / float(np.hypot(tissue.spread[1], tissue.spread[2])),
        "gray_csf_contrast": (gm - csf) / float(np.hypot(tissue.spread[0], tissue.spread[1])),
        "thalamus_asymmetry": _asymmetry(volumes["thalamus_L"], volumes["thalamus_R"]),
        "filled_lesion_mm3": float(part.lesions.sum()) * part.voxel_volume_mm3,
    }


def _asymmetry(left: float, right: float) -> float:
    total = left + right
    return 2 * (left - right) / total if total > 0 else float("nan")


def _doubts(tissue: Fractions, volumes: dict[str, float], means: dict[str, float]) -> list[str]:
    """Say what looks wrong."""
    found = []
    csf, gm, wm = tissue.means
    if not csf < gm < wm:
        found.append(
            f"intensities of fluid, gray and white matter are {csf:.0f}, {gm:.0f}, {wm:.0f}; in a "
            "T1w image they ascend: wrong contrast?"
        )
    if not tissue.converged:
        found.append("tissue classification did not converge")
    share = volumes["thalamus_LR"] / volumes["intracranial"]
    if not 0.004 < share < 0.016:
        found.append(f"thalami are {100 * share:.2f} % of the intracranial volume, expected .4-1.6")
    low, high = NORMAL_THICKNESS_MM
    if not low < means["whole"] < high:
        found.append(f"mean cortical thickness {means['whole']:.2f} mm, expected {low} to {high}")
    return found
