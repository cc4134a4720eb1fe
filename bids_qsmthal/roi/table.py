"""The tidy table: one row a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.roi.labels import region
from bids_qsmthal.roi.thalamus import SIDES
from bids_qsmthal.roi.uncertainty import Mean, mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.morphology import Labels
    from bids_qsmthal.roi.regions import Regions
    from bids_qsmthal.roi.stages import Masks, Settings
    from bids_qsmthal.roi.transfer import Transfer

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

MINIMUM_VOXELS = 10
"""A small nucleus keeps its rim if fewer voxels than this would remain."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A region to be measured: its voxels, and how many of its label were left out."""

    region: str
    hemisphere: str
    mask: Mask
    lost: int
    method: str
    source: str


@dataclass(slots=True)
class _Rows:
    """Collects the rows of one table."""

    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, measure: str, place: Place, value: float, unit: str) -> None:
        self.rows.append(
            {
                "measure": measure,
                "region": place.region,
                "hemisphere": place.hemisphere,
                "value": float(value),
                "unit": unit,
                "n_voxels": int(place.mask.sum()),
                "n_lost": place.lost,
                "method": place.method,
                "source": place.source,
                "qc": "n/a",
            }
        )

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(COLUMNS))


def measures(inputs: Inputs, regions: Regions, masks: Masks, *, settings: Settings) -> pd.DataFrame:
    """Return susceptibility and R2* of every region, absolute and relative to CSF and brain.

    Measures: ``chi_mean``, ``chi_sd``, ``chi_median``; ``chi_relative_csf`` with ``_se``,
    ``_ci_low``, ``_ci_high``; ``chi_relative_csf_global`` (global CSF as the reference);
    ``chi_relative_brain``; ``r2star_mean`` (1/s). Susceptibilities in ppb.
    """
    chi_ppb = 1e3 * inputs.chi_ppm.data
    size = inputs.chi_ppm.grid.voxel_size_mm
    rows = _Rows()
    zero = Zero(
        reference=mean(chi_ppb, masks.reference.mask, size),
        reference_shift=_half_difference(chi_ppb, masks.reference.labels),
        global_csf=_mean_or_nan(chi_ppb, masks.global_csf),
        brain=_mean_or_nan(chi_ppb, regions.usable),
    )
    for place in places(inputs, regions, masks):
        own = mean(chi_ppb, place.mask, size)
        _absolute(rows, place, own, float(np.median(chi_ppb[place.mask])))
        if place.region not in {"csf_reference", "csf_global", "brain"}:
            _relative(rows, place, own, zero, settings.confidence)
        rows.add("chi_relative_brain", place, own.value - zero.brain, "ppb")
        if inputs.r2star_hz is not None:
            rows.add("r2star_mean", place, float(inputs.r2star_hz.data[place.mask].mean()), "1/s")
    return rows.frame()


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    """What susceptibility is measured from, in ppb.

    Attributes
    ----------
    reference, reference_shift
        The CSF reference; half the difference between its two sides.
    global_csf, brain
        Means of global CSF and of the whole brain.
    """

    reference: Mean
    reference_shift: float
    global_csf: float
    brain: float

    @property
    def standard_error(self) -> float:
        """Error of the reference: of its voxels, or what its two sides disagree by."""
        return max(self.reference.standard_error, abs(self.reference_shift))


def places(inputs: Inputs, regions: Regions, masks: Masks) -> list[Place]:
    """Return every region with voxels: thalami, their nuclei, other nuclei, references."""
    found = _sided("thalamus", masks.thalamus.labels, masks, inputs)
    if regions.labels is not None and inputs.segmentation is not None:
        names = inputs.segmentation.names
        found += _labelled(regions.labels, names, regions, inputs)
        if regions.nuclei is not None:
            inside = masks.thalamus.labels > 0
            found += _nuclei(regions.nuclei, inputs.segmentation.nuclei_names, inside, inputs)
    source = masks.source["reference"]
    for name, mask, origin in (
        ("csf_reference", masks.reference.labels, source),
        ("csf_global", masks.global_csf * regions.side, "R2*"),
    ):
        for hemisphere, chosen in _halves(mask):
            found.append(Place(name, hemisphere, chosen, 0, masks.reference.rung, origin))
    found.append(Place("brain", "n/a", regions.usable, 0, inputs.method, "QSM mask"))
    return [place for place in found if place.mask.any()]


def _sided(name: str, labels: Labels, masks: Masks, inputs: Inputs) -> list[Place]:
    counts = masks.thalamus.counts
    lost = {side: counts[side].lost for side in SIDES}
    lost["LR"] = sum(lost.values())
    return [
        Place(name, side, mask, lost[side], inputs.method, masks.source["thalamus"])
        for side, mask in _halves(labels)
    ]


def _halves(labels: Labels) -> list[tuple[str, Mask]]:
    return [("L", labels == 1), ("R", labels == 2), ("LR", labels > 0)]


def _labelled(
    carried: Transfer, names: Mapping[int, str], regions: Regions, inputs: Inputs
) -> list[Place]:
    """Return the other deep nuclei: their inner voxels, or all of them if they are tiny."""
    both: dict[str, list[Place]] = {}
    for index in sorted(carried.shares):
        what = region(index, names)
        if what.name == "thalamus" or "ventricle" in what.name:
            continue
        own = np.asarray(carried.labels.data) == index
        inner = own & regions.usable & ~regions.lesions
        core = inner & (carried.fraction(index) >= 0.9)
        mask = core if core.sum() >= MINIMUM_VOXELS else inner
        lost = int(own.sum() - mask.sum())
        place = Place(what.name, what.hemisphere, mask, lost, inputs.method, "segmentation")
        both.setdefault(what.name, []).append(place)
    return _with_both_sides(both)


def _nuclei(
    carried: Transfer, names: Mapping[int, str], inside: Mask, inputs: Inputs
) -> list[Place]:
    """Return the thalamic nuclei within the final thalamus."""
    both: dict[str, list[Place]] = {}
    for index in sorted(carried.shares):
        what = region(index, names)
        name = what.name if what.name.startswith("thalamus") else f"thalamus_{what.name}"
        own = np.asarray(carried.labels.data) == index
        mask = own & inside
        lost = int(own.sum() - mask.sum())
        place = Place(name, what.hemisphere, mask, lost, inputs.method, "segmentation")
        both.setdefault(name, []).append(place)
    return _with_both_sides(both)


def _with_both_sides(groups: Mapping[str, list[Place]]) -> list[Place]:
    found = []
    for name, sides in groups.items():
        found += sides
        if len(sides) > 1:
            mask = np.logical_or.reduce([place.mask for place in sides])
            lost = sum(place.lost for place in sides)
            found.append(Place(name, "LR", mask, lost, sides[0].method, sides[0].source))
    return found


def _absolute(rows: _Rows, place: Place, own: Mean, median: float) -> None:
    rows.add("chi_mean", place, own.value, "ppb")
    rows.add("chi_sd", place, own.sd, "ppb")
    rows.add("chi_median", place, median, "ppb")


def _relative(rows: _Rows, place: Place, own: Mean, zero: Zero, confidence: float) -> None:
    value = own.value - zero.reference.value
    error = float(np.hypot(own.standard_error, zero.standard_error))
    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    rows.add("chi_relative_csf", place, value, "ppb")
    rows.add("chi_relative_csf_se", place, error, "ppb")
    rows.add("chi_relative_csf_ci_low", place, value - reach, "ppb")
    rows.add("chi_relative_csf_ci_high", place, value + reach, "ppb")
    rows.add("chi_relative_csf_global", place, own.value - zero.global_csf, "ppb")


def _half_difference(values: Array, sides: Labels) -> float:
    left, right = values[sides == 1], values[sides == 2]
    if not left.size or not right.size:
        return 0.0
    return float(right.mean(dtype=np.float64) - left.mean(dtype=np.float64)) / 2


def _mean_or_nan(values: Array, mask: Mask) -> float:
    return float(values[mask].mean(dtype=np.float64)) if mask.any() else float("nan")
