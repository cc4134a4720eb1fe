"""The story of the measurement: regions, masks, numbers, how far they can be trusted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.decision import Decision, worst
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import (
    ExternalMask,
    NoR2StarMap,
    NucleiUnresolved,
    ScanWarning,
    ThalamusRimKept,
)
from bids_qsmthal.roi.masks import Masks, MaskSource, RegionSettings, region_masks
from bids_qsmthal.roi.measured_regions import MINIMUM_VOXELS, unresolved
from bids_qsmthal.roi.quality import Check, checks
from bids_qsmthal.roi.reference import ReferenceRegion
from bids_qsmthal.roi.regions import regions_on_gre
from bids_qsmthal.roi.sensitivity import sensitivity
from bids_qsmthal.roi.table import measures
from bids_qsmthal.roi.thalamus import SIDES, to_slab_end_mm

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.qsm import Array
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.reference import ReferenceLevel
    from bids_qsmthal.roi.regions import Regions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionResults:
    """Numbers, masks and their trustworthiness.

    Attributes
    ----------
    table
        Tidy measures: measure region hemisphere value unit n_voxels n_lost method source qc.
    sensitivity
        The relative susceptibility under other choices: choice variant hemisphere value
        difference unit n_voxels.
    checks
        The quality measures that have limits.
    masks
        On the GRE grid: ``deepgray`` (labels), ``thalamus`` (final, 1 left 2 right),
        ``thalamus_labelled``, ``reference`` (1 left 2 right), ``global_csf``, ``veins``,
        ``lesions``.
    names
        What the labels of ``deepgray`` mean, by index, where FreeSurfer has no name.
    reference
        The level of the reference ladder that was used.
    warnings
        What the reader must know.
    """

    table: pd.DataFrame
    sensitivity: pd.DataFrame
    checks: tuple[Check, ...]
    masks: Mapping[str, Image]
    reference: ReferenceLevel
    warnings: tuple[ScanWarning, ...]

    @property
    def decision(self) -> Decision:
        """The worst of the checks."""
        return worst(check.decision for check in self.checks)

    @property
    def csf_reference(self) -> Image:
        """The reference where it is CSF; empty where the whole brain had to stand in for it."""
        reference = self.masks["reference"]
        if self.reference.region is ReferenceRegion.BRAIN:
            return reference.like(np.zeros_like(reference.data))
        return reference


def measure(inputs: Inputs, *, settings: RegionSettings | None = None) -> RegionResults:
    """Measure the thalami and the other regions against CSF.

    Relative susceptibility = mean chi (thalamus) - mean chi (CSF reference), in ppb, over all
    voxels of both signs; larger is more paramagnetic, that is more iron.

    Raises
    ------
    DataError
        Nothing is left of a thalamus or of the reference.
    """
    settings = settings or RegionSettings()
    inputs = _finite(inputs)
    regions = regions_on_gre(inputs)
    masks = region_masks(inputs, regions, settings=settings)
    _require_something(masks)
    table = measures(inputs, regions, masks, settings=settings)
    # Some checks read the table, and the qc column of the table holds their verdict: this order.
    checked = checks(_quality_measures(inputs, masks, table), limits=settings.limits)
    reference = masks.reference
    log.info("CSF reference: %s, %d voxels", reference.level.label, reference.mask.sum())
    return RegionResults(
        table=table.assign(qc=worst(check.decision for check in checked).value),
        sensitivity=sensitivity(inputs, regions, masks, settings=settings),
        checks=checked,
        masks=_images(inputs, regions, masks),
        reference=reference.level,
        warnings=_warnings(inputs, regions, masks, checked, settings),
    )


def _finite(inputs: Inputs) -> Inputs:
    """Return maps without NaN; voxels that had one are outside the mask."""
    maps = [inputs.chi_ppm, inputs.magnitude]
    maps += [] if inputs.r2star_hz is None else [inputs.r2star_hz]
    # One NaN would make the mean of its region NaN, and a reference with one every number.
    # A voxel has to be good in all maps, so that every measure of a region has the same voxels.
    good = np.logical_and.reduce([np.isfinite(image.data) for image in maps])
    if good.all():
        return inputs
    filled = [image.like(np.where(good, image.data, 0).astype(np.float32)) for image in maps]
    return replace(
        inputs,
        chi_ppm=filled[0],
        magnitude=filled[1],
        r2star_hz=None if inputs.r2star_hz is None else filled[2],
        qsm_mask=inputs.qsm_mask.like(good & (np.asarray(inputs.qsm_mask.data) > 0)),
    )


def _require_something(masks: Masks) -> None:
    for name, side in SIDES.items():
        counts = masks.thalamus.counts[name]
        if not (masks.thalamus.labels == side).any():
            raise DataError(
                f"No voxel of the {name} thalamus remains of {counts.labelled} labelled "
                f"({counts.mask} outside the QSM mask): check the registration and the masks."
            )
    if not masks.reference.mask.any():
        raise DataError(
            "The CSF reference holds no voxel inside the QSM mask: check the external mask."
        )


def _quality_measures(inputs: Inputs, masks: Masks, table: pd.DataFrame) -> dict[str, float]:
    """Return the quality measures by name, with those of earlier stages."""
    value = table.set_index(["measure", "region", "hemisphere"])["value"]
    counts = masks.thalamus.counts
    labelled = sum(side.labelled for side in counts.values())
    left, right = (counts[name].labelled for name in ("L", "R"))
    chi = 1e3 * inputs.chi_ppm.data
    checked = {
        # Interpolated voxels repeat each other: what counts is how many were acquired.
        "thalamus_voxels_kept": sum(side.kept for side in counts.values())
        / inputs.voxels_per_acquired,
        "thalamus_lost_to_mask": sum(side.mask for side in counts.values()) / max(labelled, 1),
        # The difference over the mean of both sides, hence the 2.
        "thalamus_asymmetry": 2 * (right - left) / max(labelled, 1),
        "thalamus_volume_mm3": labelled * inputs.chi_ppm.voxel_volume_mm3,
        "thalamus_to_slab_end_mm": to_slab_end_mm(
            masks.thalamus.labelled > 0,
            inputs.qsm_mask.data > 0,
            inputs.qsm_mask.grid.voxel_size_mm,
        ),
        "vein_share": sum(side.veins for side in counts.values()) / max(labelled, 1),
        "acquired_voxel_mm3": inputs.chi_ppm.voxel_volume_mm3 * inputs.voxels_per_acquired,
        "reference_step": float(masks.reference.level.step),
        "reference_holds_csf": float(masks.reference.fluid.any()),
        "chi_relative_csf_ppb": float(value["chi_relative_csf", "thalamus", "LR"]),
        "chi_relative_csf_se_ppb": float(value["chi_relative_csf_se", "thalamus", "LR"]),
    }
    # The spread over the whole brain is anatomy and says nothing about a reference.
    if masks.reference.fluid.any():
        checked["reference_sd_ppb"] = float(value["chi_sd", "csf_reference", "LR"])
        checked |= _agreement(masks, chi)
    if ("chi_relative_csf", "pallidum", "LR") in value.index:
        checked["pallidum_relative_csf_ppb"] = float(value["chi_relative_csf", "pallidum", "LR"])
    noise = _noise_per_ml(inputs)
    return {**checked, **_without_phase(inputs, masks), **noise, **inputs.metrics}


def _noise_per_ml(inputs: Inputs) -> dict[str, float]:
    """Return the noise (ppb) of the mean field in 1 mL, such as the CSF of both atria.

    The noise of a voxel alone says little: small voxels are noisy and many.
    """
    if "field_noise_ppb" not in inputs.metrics:
        return {}
    acquired_ml = 1e-3 * inputs.chi_ppm.voxel_volume_mm3 * inputs.voxels_per_acquired
    return {"field_noise_per_ml_ppb": inputs.metrics["field_noise_ppb"] * acquired_ml**0.5}


def _without_phase(inputs: Inputs, masks: Masks) -> dict[str, float]:
    """Return the share of the worse thalamus, and of the reference, whose phase says nothing.

    The map has values there, too: the field of the neighbours fills a hole of noise smoothly, so
    that nothing in the map shows it.
    """
    if inputs.phase_known is None:
        return {}
    unknown = (inputs.qsm_mask.data > 0) & ~(inputs.phase_known.data > 0)
    thalami = [masks.thalamus.labelled == side for side in SIDES.values()]
    *sides, reference = (
        float((unknown & region).sum()) / max(int(region.sum()), 1)
        for region in (*thalami, masks.reference.mask)
    )
    return {"thalamus_without_phase": max(sides), "reference_without_phase": reference}


def _agreement(masks: Masks, chi_ppb: Array) -> dict[str, float]:
    """Return how far the sides of the CSF reference, and it and all CSF, disagree."""
    labels, differences_ppb = masks.reference.labels, {}
    # One side alone has nothing to disagree with.
    if {1, 2} <= set(np.unique(labels).tolist()):
        sides = [float(chi_ppb[labels == side].mean()) for side in (1, 2)]
        differences_ppb["reference_asymmetry_ppb"] = sides[1] - sides[0]
    if masks.global_csf.any():
        own, everywhere = (chi_ppb[mask].mean() for mask in (labels > 0, masks.global_csf))
        differences_ppb["reference_against_global_ppb"] = float(own - everywhere)
    return differences_ppb


def _images(inputs: Inputs, regions: Regions, masks: Masks) -> dict[str, Image]:
    like = inputs.chi_ppm.like
    images = {
        "thalamus": like(masks.thalamus.labels),
        "thalamus_labelled": like(masks.thalamus.labelled),
        "reference": like(masks.reference.labels),
        "global_csf": like(masks.global_csf),
        "veins": like(masks.veins),
        "lesions": like(regions.lesions),
    }
    if regions.labels is not None:
        images["deepgray"] = regions.labels.labels
    if regions.nuclei is not None:
        images["nuclei"] = regions.nuclei.labels
    if regions.small_nuclei is not None:
        images["small_nuclei"] = regions.small_nuclei.labels
    return images


def _warnings(
    inputs: Inputs,
    regions: Regions,
    masks: Masks,
    checked: tuple[Check, ...],
    settings: RegionSettings,
) -> tuple[ScanWarning, ...]:
    warnings: list[ScanWarning] = [check.warning for check in checked if check.warning]
    if inputs.r2star_hz is None:
        warnings.append(NoR2StarMap())
    ours = masks.source["thalamus"] is not MaskSource.EXTERNAL
    # A rim that the user keeps needs no warning.
    if ours and settings.thalamus.remove_rim and not masks.thalamus.rim_removed:
        warnings.append(ThalamusRimKept())
    known = inputs.segmentation
    nuclei = unresolved(regions, known) if known is not None else ()
    if nuclei:
        warnings.append(NucleiUnresolved(nuclei, MINIMUM_VOXELS))
    warnings += [
        ExternalMask(name) for name, source in masks.source.items() if source is MaskSource.EXTERNAL
    ]
    return tuple(warnings)
