"""From maps and regions to masks: reference, veins, thalamus, in that order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.affine import directions
from bids_qsmthal.roi.chain_error import ChainError
from bids_qsmthal.roi.quality import LIMITS, Limit
from bids_qsmthal.roi.reference import (
    Reference,
    ReferenceImages,
    ReferenceLevel,
    ReferenceRegion,
    ReferenceRule,
    csf_reference,
    global_csf,
)
from bids_qsmthal.roi.thalamus import (
    SIDES,
    Counts,
    Thalamus,
    ThalamusImages,
    ThalamusRule,
    thalamus,
)
from bids_qsmthal.roi.veins import VeinImages, VeinRule, veins

if TYPE_CHECKING:
    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.morphology import Labels
    from bids_qsmthal.roi.regions import Regions


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSettings:
    """Every choice of this room.

    Attributes
    ----------
    reference, veins, thalamus
        Rules of the three masks.
    limits
        When a participant is to be checked or left out.
    confidence
        Coverage of the intervals.
    method_sd_ppb
        Error of one thalamus and of both together that no image of one scan shows: what
        background removal, inversion and borders of the masks leave. It is the root mean square
        error of simulated participants with the default chain, by voxel size and noise
        (docs/roi.md); how much a person changes between two scans is another question.
    calibrated_background
        The background removal of that chain. Where another was chosen, how far it moves the number
        counts as error, too.
    contrast_error
        Error of a region other than the thalamus as a share of its contrast with the brain, on top
        of the other parts: the maximum likelihood of deep nuclei in five heads simulated from label
        maps is .058, in five others .056 (docs/anatomy.md).
    """

    reference: ReferenceRule = field(default_factory=ReferenceRule)
    veins: VeinRule = field(default_factory=VeinRule)
    thalamus: ThalamusRule = field(default_factory=ThalamusRule)
    limits: tuple[Limit, ...] = LIMITS
    confidence: float = 0.95
    method_sd_ppb: ChainError = field(default_factory=ChainError)
    calibrated_background: str = "joint"
    contrast_error: float = 0.06


class MaskSource(StrEnum):
    """Who made the voxels of a region; the value is what the table of measures holds."""

    SEGMENTATION = "segmentation"
    EXTERNAL = "external"
    R2STAR = "R2*"
    QSM_MASK = "QSM mask"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masks:
    """The masks that are measured, and who made them.

    Attributes
    ----------
    thalamus, reference
        Final, with counts and level of the reference.
    global_csf
        All CSF in the middle of the brain, to compare with; may be empty.
    veins
        Veins in and round the thalami.
    source
        Of ``thalamus``, ``reference`` and ``veins``: segmentation or external.
    """

    thalamus: Thalamus
    reference: Reference
    global_csf: Mask
    veins: Mask
    source: dict[str, MaskSource]


def region_masks(inputs: Inputs, regions: Regions, *, settings: RegionSettings) -> Masks:
    """Return the masks; an external mask is taken in place of ours."""
    external = inputs.external
    size = inputs.chi_ppm.grid.voxel_size_mm
    images = reference_images(inputs, regions)
    # The reference comes first: its R2* tells fluid from tissue at the border of the thalamus.
    reference = (
        csf_reference(images, size, rule=settings.reference)
        if external.reference is None
        else _external_reference(np.asarray(external.reference.data) > 0, regions)
    )
    # Veins before the thalamus, which leaves them out.
    vessels = (
        veins(vein_images(inputs, regions, settings), size, rule=settings.veins)
        if external.veins is None
        else np.asarray(external.veins.data) > 0
    )
    final = (
        thalamus(thalamus_images(inputs, regions, vessels, reference.fluid), rule=settings.thalamus)
        if external.thalamus is None
        else _external_thalamus(np.asarray(external.thalamus.data), regions.usable)
    )
    named = {
        "thalamus": external.thalamus,
        "reference": external.reference,
        "veins": external.veins,
    }
    return Masks(
        thalamus=final,
        reference=reference,
        global_csf=global_csf(images, size, rule=settings.reference),
        veins=vessels,
        source={
            key: MaskSource.SEGMENTATION if image is None else MaskSource.EXTERNAL
            for key, image in named.items()
        },
    )


def reference_images(inputs: Inputs, regions: Regions) -> ReferenceImages:
    """Return what the CSF reference is chosen from."""
    return ReferenceImages(
        chi_ppm=inputs.chi_ppm.data,
        magnitude=inputs.magnitude.data,
        usable=regions.usable,
        side=regions.side,
        r2star_hz=None if inputs.r2star_hz is None else inputs.r2star_hz.data,
        atria_depth_mm=regions.atria_depth_mm,
        ventricles_depth_mm=regions.ventricles_depth_mm,
        csf_probability=regions.csf_probability,
        thalami=np.maximum(regions.share["L"], regions.share["R"]) > 0.5,
        # Row 2 is the share of the world's z, from foot to head (RAS+), in each voxel axis.
        slice_axis=int(np.abs(directions(inputs.chi_ppm.affine)[2]).argmax()),
        voxels_per_acquired=inputs.voxels_per_acquired,
        fluid=None if inputs.fluid is None else np.asarray(inputs.fluid.data) > 0,
    )


def vein_images(inputs: Inputs, regions: Regions, settings: RegionSettings) -> VeinImages:
    """Return what veins are found from."""
    # The thalamus with its rim: most of the veins run along its border.
    share = np.maximum(regions.share["L"], regions.share["R"])
    return VeinImages(
        chi_ppm=inputs.chi_ppm.data,
        usable=regions.usable,
        thalami=share >= settings.thalamus.majority,
        iron_rich=regions.iron_rich,
        r2star_hz=None if inputs.r2star_hz is None else inputs.r2star_hz.data,
        prior=regions.vein_prior,
    )


def thalamus_images(
    inputs: Inputs, regions: Regions, vessels: Mask, reference: Mask
) -> ThalamusImages:
    """Return what the final thalamus is made from."""
    return ThalamusImages(
        share=regions.share,
        depth_mm=regions.depth_mm,
        usable=regions.usable,
        veins=vessels,
        lesions=regions.lesions,
        csf_share=np.maximum(regions.csf_share, _fluid(inputs, regions, reference)),
    )


def _fluid(inputs: Inputs, regions: Regions, reference: Mask) -> Array:
    """Return 1 where R2* is nearer to the CSF reference's than to the thalamus's own."""
    fluid = np.zeros(regions.usable.shape, dtype=np.float32)
    # Nearly pure voxels only: the rim would pull the median of R2* towards its neighbours.
    core = regions.usable & (np.maximum(regions.share["L"], regions.share["R"]) > 0.9)
    if inputs.r2star_hz is None or not core.any() or not reference.any():
        return fluid
    r2star = inputs.r2star_hz.data
    # A voxel that is half fluid decays about halfway between the two.
    halfway = 0.5 * (np.median(r2star[core]) + np.median(r2star[reference]))
    fluid[r2star < halfway] = 1.0
    return fluid


def _external_reference(mask: Mask, regions: Regions) -> Reference:
    # Outside the map susceptibility is written as 0 and would pull the mean there.
    mask = mask & regions.usable
    level = ReferenceLevel(region=ReferenceRegion.EXTERNAL, step=0)
    return Reference(np.where(mask, regions.side, 0).astype(np.uint8), level)


def _external_thalamus(drawn: Labels, usable: Mask) -> Thalamus:
    # The reader has decided about rim, veins and lesions: only the map's edge cuts the mask.
    labelled = np.where((drawn == 1) | (drawn == 2), drawn, 0).astype(np.uint8)
    final = np.where(usable, labelled, 0).astype(np.uint8)
    counts = {}
    for name, side in SIDES.items():
        all_of, kept = int((labelled == side).sum()), int((final == side).sum())
        counts[name] = Counts(all_of, all_of - kept, 0, 0, 0, 0, kept)
    return Thalamus(final, labelled, counts, rim_removed=False)
