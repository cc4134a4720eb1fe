"""From a prepared T1w image to tissues, nuclei, ventricles, volumes and cortical thickness."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.anatomy import atlas, external_labels
from bids_qsmthal.anatomy.basal_ganglia import (
    BasalGanglia,
    refined_basal_ganglia,
    small_nuclei,
)
from bids_qsmthal.anatomy.borders import with_borders, with_nuclei
from bids_qsmthal.anatomy.cropping import Cropped
from bids_qsmthal.anatomy.deepgray import (
    NUCLEI_TABLE,
    Ventricles,
    refined_atria,
    refined_nuclei,
    refined_ventricles,
)
from bids_qsmthal.anatomy.external_labels import ExternalLabels
from bids_qsmthal.anatomy.filling import filled_lesions
from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.anatomy.preparation import Prepared
from bids_qsmthal.anatomy.quality import quality, segmentation_warnings
from bids_qsmthal.anatomy.structures import (
    BASAL_GANGLIA,
    CEREBRUM,
    GRAY_NUCLEI,
    INSIDE_CORTEX,
    NOT_CORTEX,
    VENTRICLES,
)
from bids_qsmthal.anatomy.thalamus import Border, refined_thalami
from bids_qsmthal.anatomy.thickness import Thickness, thickness_map
from bids_qsmthal.anatomy.tissue import (
    Fractions,
    TissueModel,
    fractions,
    without_meninges,
)
from bids_qsmthal.anatomy.volumes import thickness_means_mm, volumes
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.core.scan_warnings import ScanWarning

logger = logging.getLogger(__name__)

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationSettings:
    """All choices of ``segment``."""

    tissue: TissueModel = field(default_factory=TissueModel)
    thalamus: Border = field(default_factory=Border)
    basal_ganglia: BasalGanglia = field(default_factory=BasalGanglia)
    ventricles: Ventricles = field(default_factory=Ventricles)
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
        Labels as in ``core.labels.FOUND``.
    thalamus_probability
        Fraction of the left and of the right thalamus in each voxel.
    nuclei, nuclei_names
        Thalamic nuclei and their label table.
    small_nuclei, small_nuclei_names
        Parts of the pallidum and nuclei of the midbrain, and their label table.
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
        What a reader must know.
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
    small_nuclei: Image
    small_nuclei_names: dict[int, str]
    ventricles: Image
    atria: Image
    vein_prior: Image
    thickness_mm: Image
    volumes_mm3: dict[str, float]
    thickness_mean_mm: dict[str, float]
    to_template: Warp
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...]


def segment(
    prepared: Prepared,
    lesion_mask: Image | None = None,
    *,
    settings: SegmentationSettings | None = None,
    external: ExternalLabels | None = None,
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
    external
        What takes the place of our labels; all that follows from them is made from these.
    """
    how, known = settings or SegmentationSettings(), external or ExternalLabels()
    # Room beyond the brain: filters and distances need neighbours outside it.
    frame = Frame.around(prepared.brain, 5.0)
    cropped = Cropped.from_prepared(prepared, lesion_mask, frame)
    filled = filled_lesions(
        cropped.t1w, cropped.lesions, cropped.priors[2], cropped.voxel_mm, seed=how.seed
    )
    tissue, (left, right), labels = _classification(filled, cropped, known, frame, how)
    if known.tissue is not None:
        gm, wm, csf = external_labels.tissue_fractions(frame.cut(known.tissue).data, cropped.brain)
    else:
        bordered = with_borders(tissue, filled, labels, cropped)
        gm, wm, csf = with_nuclei(bordered, labels, left + right)
    thickness = _thickness(gm, wm, labels, cropped, how.thickness)
    nuclei, nuclei_names = _nuclei(cropped, labels, known, frame)
    small = small_nuclei(cropped.subcortex, labels, cropped.voxel_mm)
    ventricles = np.where(np.isin(labels, VENTRICLES), labels, 0).astype(np.uint8)
    # From fractions and not from the labels that are written: partial voxels count by what they
    # hold.
    volumes_mm3 = volumes(cropped, (gm, wm, csf), (left, right), labels, small)
    means = thickness_means_mm(thickness, gm, cropped.regions)
    return Anatomy(
        t1w=prepared.t1w,
        brain=prepared.brain,
        tissue=frame.paste(_tissue_labels(gm, wm, csf)),
        gm=frame.paste(gm),
        wm=frame.paste(wm),
        csf=frame.paste(csf),
        deepgray=frame.paste(labels),
        thalamus_probability=(frame.paste(left), frame.paste(right)),
        nuclei=frame.paste(nuclei),
        nuclei_names=nuclei_names,
        small_nuclei=frame.paste(small[0]),
        small_nuclei_names=small[1],
        ventricles=frame.paste(ventricles),
        atria=frame.paste(refined_atria(cropped.atria, ventricles, cropped.voxel_mm)),
        vein_prior=prepared.vein_prior,
        thickness_mm=frame.paste(thickness),
        volumes_mm3=volumes_mm3,
        thickness_mean_mm=means,
        to_template=prepared.to_template,
        quality=prepared.quality | quality(tissue, volumes_mm3, cropped),
        warnings=(*prepared.warnings, *segmentation_warnings(tissue, volumes_mm3, means)),
    )


def _classification(
    filled: Float, cropped: Cropped, known: ExternalLabels, frame: Frame, how: SegmentationSettings
) -> tuple[Fractions, tuple[Float, Float], NDArray[Any]]:
    """Classify tissues and label nuclei, as far as neither is known."""
    # Only with both known is no classification needed: the thalamus uses its intensities.
    if known.deepgray is not None and known.tissue is not None:
        tissue = external_labels.fractions(frame.cut(known.tissue).data, filled, cropped.brain)
    else:
        found = fractions(filled, cropped.brain, cropped.priors, how.tissue)
        tissue = without_meninges(found, cropped.voxel_mm)
    if known.deepgray is not None:
        labels = frame.cut(known.deepgray).data
        left, right = ((labels == index).astype(np.float32) for index in THALAMUS)
        return tissue, (left, right), labels
    left, right = refined_thalami(filled, cropped.thalamus, tissue, cropped.voxel_mm, how.thalamus)
    return tissue, (left, right), _labels(filled, cropped, tissue, (left, right), how)


def _nuclei(
    cropped: Cropped, labels: NDArray[Any], known: ExternalLabels, frame: Frame
) -> tuple[NDArray[Any], dict[int, str]]:
    if known.nuclei is not None:
        image, names = known.nuclei
        return frame.cut(image).data, names
    refined = refined_nuclei(
        cropped.nuclei, (labels == THALAMUS[0], labels == THALAMUS[1]), cropped.voxel_mm
    )
    return refined, atlas.names(NUCLEI_TABLE)


def _labels(
    filled: Float,
    cropped: Cropped,
    tissue: Fractions,
    thalamus: tuple[Float, Float],
    how: SegmentationSettings,
) -> Labels:
    """Warped labels with thalamus, basal ganglia and ventricles as the image shows them."""
    ventricles = refined_ventricles(cropped.labels, tissue.csf, cropped.voxel_mm, how.ventricles)
    moved = (*THALAMUS, *VENTRICLES, *BASAL_GANGLIA)
    labels = np.where(np.isin(cropped.labels, moved), 0, cropped.labels)
    taken = (ventricles > 0) | (thalamus[0] > 0.5) | (thalamus[1] > 0.5)
    ganglia = refined_basal_ganglia(
        filled, cropped.subcortex, taken, tissue, cropped, how.basal_ganglia
    )
    labels[ganglia > 0] = ganglia[ganglia > 0]
    # Nuclei end where fluid begins.
    labels[(tissue.csf > 0.5) & np.isin(labels, GRAY_NUCLEI)] = 0
    # Order matters: the thalamus comes last and wins where both claim a voxel of its wall.
    labels[ventricles > 0] = ventricles[ventricles > 0]
    for index, fraction in zip(THALAMUS, thalamus, strict=True):
        labels[fraction > 0.5] = index
    labels[~cropped.brain] = 0
    return labels.astype(np.uint8)


def _thickness(
    gm: Float, wm: Float, labels: NDArray[Any], cropped: Cropped, settings: Thickness
) -> Float:
    cerebrum = np.isin(cropped.regions, CEREBRUM)
    enclosed = np.isin(labels, INSIDE_CORTEX)
    inside = np.where(enclosed, 1.0, wm).astype(np.float32)
    gray = np.where(np.isin(labels, NOT_CORTEX), 0, gm).astype(np.float32)
    cortex = cerebrum & cropped.brain & ~np.isin(labels, NOT_CORTEX)
    # Cerebellum and brainstem have no inner surface of the cerebral cortex.
    inside[~cerebrum] = 0
    return thickness_map(gray, inside, cortex, cropped.voxel_mm, settings)


def _tissue_labels(gm: Float, wm: Float, csf: Float) -> Labels:
    """1 gray matter, 2 white matter, 3 fluid, 0 outside the brain."""
    stacked = np.stack([gm, wm, csf])
    winner = stacked.argmax(0).astype(np.uint8) + 1
    return np.where(stacked.sum(0) > 0, winner, 0).astype(np.uint8)
