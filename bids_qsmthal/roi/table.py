"""The tidy table: one row a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.roi.measured_regions import MeasuredRegion, measured_regions
from bids_qsmthal.roi.uncertainty import Mean, mean, plain, pooled

if TYPE_CHECKING:
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.masks import Masks, RegionSettings
    from bids_qsmthal.roi.regions import Regions

COLUMNS = (
    "measure",
    "region",
    "hemisphere",
    "value",
    "unit",
    "n_voxels",
    "n_lost",
    "method",
    "source",
    "qc",
)


REFERENCES = ("csf_reference", "csf_global", "brain")
"""Regions that others are measured against; nothing is measured against them in them."""


@dataclass(frozen=True, slots=True)
class RegionValues:
    """The values of one region."""

    region: MeasuredRegion
    chi_ppb: Mean
    median_ppb: float
    r2star_hz: float | None
    noise_ppb: Mean | None = None
    """Of half the difference between the odd and the even echoes; None where it is not known."""
    calibrated_ppb: float | None = None
    """The same mean after the background removal whose error was measured, if it was not chosen."""


ByRegion: TypeAlias = "dict[tuple[str, str], RegionValues]"
"""By region and hemisphere."""


def measures(
    inputs: Inputs, regions: Regions, masks: Masks, *, settings: RegionSettings
) -> pd.DataFrame:
    """Return susceptibility and R2* of every region, absolute and relative to CSF and brain.

    Measures: ``chi_mean``, ``chi_sd``, ``chi_median``; ``chi_relative_csf`` with ``_se``,
    ``_ci_low``, ``_ci_high``; ``chi_relative_csf_global`` (global CSF as the reference);
    ``chi_relative_brain``; ``r2star_mean`` (1/s). Susceptibilities in ppb.
    """
    by_region = _measured(inputs, regions, masks, settings.calibrated_background)
    method_sd_ppb = settings.method_sd_ppb(
        inputs.acquired_edges_mm, inputs.metrics.get("field_noise_ppb")
    )
    rows = []
    for key, measured in by_region.items():
        numbers = _absolute(measured, by_region["brain", "n/a"].chi_ppb.value)
        if key[0] not in REFERENCES:
            error = standard_error(
                key,
                by_region,
                method_sd_ppb=method_sd_ppb,
                contrast_error=settings.contrast_error,
            )
            numbers += _relative(key, by_region, error, settings.confidence)
        rows += [_row(measured, *number) for number in numbers]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def standard_error(
    key: tuple[str, str],
    by_region: ByRegion,
    *,
    method_sd_ppb: tuple[float, float],
    contrast_error: float,
) -> float:
    """Return the standard error (ppb) of a region against the CSF reference.

    Parts, taken as independent:

    - noise. With split echoes, what it does to the mean of the region less that of the reference:
      the standard error that the map of their half difference gives, or that difference itself,
      if it is larger. Else what varies inside the region, anatomy and all;
    - the reference: what varies inside it (CSF does not), and half of how far its sides disagree,
      which is what a slow error of the background field looks like;
    - what no image of one scan shows (``method_sd_ppb``: one side, both together);
    - if another background removal was chosen than that for which the last is known, how far the
      choice moves the number;
    - for other regions than the thalamus, a share (``contrast_error``) of their contrast with the
      brain, of which an outline beside the true one and a map that smooths lose a part.

    The thalamus is averaged as a whole, so that its unevenness and a difference of its sides are
    no error. Smaller regions are parts whose borders are uncertain: both count as error there.
    """
    name, hemisphere = key
    own, reference = by_region[key], by_region["csf_reference", "LR"]
    parts = [
        reference.chi_ppb.standard_error,
        _disagreement("csf_reference", "LR", by_region),
        method_sd_ppb[1 if hemisphere == "LR" else 0],
    ]
    # method_sd_ppb was measured with one background removal; another adds how far it moves.
    if own.calibrated_ppb is not None and reference.calibrated_ppb is not None:
        chosen = own.chi_ppb.value - reference.chi_ppb.value
        parts.append(chosen - (own.calibrated_ppb - reference.calibrated_ppb))
    if own.noise_ppb is not None and reference.noise_ppb is not None:
        parts.append(_noise(own.noise_ppb, reference.noise_ppb))
    # Without split echoes the unevenness of the region stands in for its noise, on the safe side.
    if name != "thalamus" or own.noise_ppb is None:
        parts += [own.chi_ppb.standard_error, _disagreement(name, hemisphere, by_region)]
    if name != "thalamus":
        contrast_ppb = own.chi_ppb.value - by_region["brain", "n/a"].chi_ppb.value
        parts.append(contrast_error * contrast_ppb)
    # A part that cannot be estimated, such as the standard error of a single voxel, is NaN and adds
    # nothing; the error of the method is always there.
    return float(np.sqrt(np.nansum(np.square(parts))))


def _noise(own: Mean, reference: Mean) -> float:
    """Return the error that noise gives a difference of means, from maps without the head.

    Correlation over a few voxels shows in the map; one over the whole head only in the mean.
    """
    local = float(np.sqrt(np.nansum(np.square([own.standard_error, reference.standard_error]))))
    return max(local, abs(own.value - reference.value))


def _measured(inputs: Inputs, regions: Regions, masks: Masks, background: str) -> ByRegion:
    """Return mean, median and R2* of each region; both sides together are pooled from each."""
    chi_ppb = 1e3 * inputs.chi_ppm.data
    other = inputs.backgrounds_ppm.get(background)
    size_mm = inputs.chi_ppm.grid.voxel_size_mm
    by_region: ByRegion = {}
    for region in measured_regions(inputs, regions, masks):
        if not region.mask.any():
            continue
        # The mean of both sides must be that of the parts; their noise is not shared over 3 cm.
        sides = [by_region[region.name, side] for side in "LR" if (region.name, side) in by_region]
        # No error of these two is reported, and the correlogram of a whole brain takes long.
        if region.name in {"brain", "csf_global"}:
            own = plain(chi_ppb, region.mask)
        elif region.hemisphere == "LR" and sides:
            own = pooled([side.chi_ppb for side in sides])
        else:
            own = mean(chi_ppb, region.mask, size_mm)
        noise = [side.noise_ppb for side in sides if side.noise_ppb is not None]
        if region.hemisphere == "LR" and noise:
            of_noise: Mean | None = pooled(noise)
        else:
            of_noise = _noise_in(region, inputs)
        by_region[region.name, region.hemisphere] = RegionValues(
            # Masks are let go: each holds 6 MB at 256 x 256 x 90 voxels, times a hundred regions.
            replace(region, mask=np.empty((0, 0, 0), dtype=bool)),
            own,
            float(np.median(chi_ppb[region.mask])),
            None
            if inputs.r2star_hz is None
            else float(inputs.r2star_hz.data[region.mask].mean(dtype=np.float64)),
            of_noise,
            None if other is None else 1e3 * float(other.data[region.mask].mean(dtype=np.float64)),
        )
    return by_region


def _noise_in(region: MeasuredRegion, inputs: Inputs) -> Mean | None:
    """Return what noise does in a region; the largest are references that need no error."""
    if inputs.half_difference_ppm is None or region.name in {"brain", "csf_global"}:
        return None
    half_ppb = 1e3 * inputs.half_difference_ppm.data
    return mean(half_ppb, region.mask, inputs.chi_ppm.grid.voxel_size_mm)


def _disagreement(name: str, hemisphere: str, by_region: ByRegion) -> float:
    """Return the error of each side, or of both together, if the sides err independently."""
    if (name, "L") not in by_region or (name, "R") not in by_region:
        return 0.0
    left, right = by_region[name, "L"].chi_ppb.value, by_region[name, "R"].chi_ppb.value
    # Sides that err independently by s differ by s times the root of 2 and their mean errs by s
    # over the root of 2: half of the difference, or the difference over the root of 2 for one.
    return abs(left - right) / (2.0 if hemisphere == "LR" else 2.0**0.5)


def _absolute(measured: RegionValues, brain_ppb: float) -> list[tuple[str, float, str]]:
    chi = measured.chi_ppb
    numbers = [
        ("chi_mean", chi.value, "ppb"),
        ("chi_sd", chi.sd, "ppb"),
        ("chi_median", measured.median_ppb, "ppb"),
        ("chi_relative_brain", chi.value - brain_ppb, "ppb"),
    ]
    if measured.r2star_hz is not None:
        numbers.append(("r2star_mean", measured.r2star_hz, "1/s"))
    return numbers


def _relative(
    key: tuple[str, str], by_region: ByRegion, error: float, confidence: float
) -> list[tuple[str, float, str]]:
    own = by_region[key].chi_ppb.value
    value = own - by_region["csf_reference", "LR"].chi_ppb.value
    # Normal, not t: the largest part, the error of the chain, is not estimated from this scan.
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    numbers = [
        ("chi_relative_csf", value, "ppb"),
        ("chi_relative_csf_se", error, "ppb"),
        ("chi_relative_csf_ci_low", value - reach, "ppb"),
        ("chi_relative_csf_ci_high", value + reach, "ppb"),
    ]
    if ("csf_global", "LR") in by_region:
        everywhere = by_region["csf_global", "LR"].chi_ppb.value
        numbers.append(("chi_relative_csf_global", own - everywhere, "ppb"))
    return numbers


def _row(measured: RegionValues, measure: str, value: float, unit: str) -> dict[str, object]:
    region = measured.region
    return {
        "measure": measure,
        "region": region.name,
        "hemisphere": region.hemisphere,
        "value": float(value),
        "unit": unit,
        "n_voxels": measured.chi_ppb.count,
        "n_lost": region.lost,
        "method": region.method,
        "source": region.source.value,
        "qc": "n/a",
    }
