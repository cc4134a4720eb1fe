"""The table of change: one row a number and pair of visits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bids_qsmthal.anatomy.volume_change import ThicknessChange, VolumeChange
    from bids_qsmthal.roi.change import ChiChange, Place

Z = float(stats.norm.ppf(0.975))
"""Of a 95 % interval; beyond it a change is called reliable (Jacobson and Truax 1991, doi
10.1037/0022-006X.59.1.12)."""

DICTIONARY: Mapping[str, Any] = {
    "participant_id": {"Description": "Participant."},
    "session_from": {"Description": "The earlier visit."},
    "session_to": {"Description": "The later visit."},
    "years": {"Description": "Time between them, from acq_time; n/a without it.", "Units": "year"},
    "measure": {
        "Description": "What changed.",
        "Levels": {
            "volume": "volume, from the movement of its borders; for lesions, from their masks",
            "chi_relative_csf": "mean susceptibility minus that of the CSF reference, in the "
            "voxels that both visits use",
            "thickness_mean": "mean thickness of the cortex, where both visits have cortex",
            "new_count": "number of lesions that are new at the later visit",
            "new_volume": "their volume at the later visit",
            "enlarged_count": "number of lesions that are larger than at the earlier visit; n/a "
            "where the FLAIR of both visits could not be compared and no reader rated the lesions",
            "shrunk_count": "number of lesions that are smaller; n/a in the same cases",
            "vanished_count": "number of lesions of the earlier visit that the later one does not "
            "show",
            "vanished_volume": "their volume at the earlier visit",
        },
    },
    "region": {"Description": "Structure, as in the table of measures."},
    "hemisphere": {"Description": "L, R, or LR together; n/a where it has no sides."},
    "variant": {
        "Description": "Background removal of the map of susceptibility; n/a for other measures.",
        "Levels": {
            "default": "the map of the run",
            "*": "another one: the difference of the two single measurements in all voxels of "
            "each visit, because its maps are not kept; without a standard error",
        },
    },
    "value": {"Description": "Mean of both visits; n/a for counts of changes."},
    "change": {
        "Description": (
            "Later minus earlier visit; for new lesions what appeared, for vanished ones what "
            "disappeared (a positive number)."
        )
    },
    "unit": {"Description": "Unit of value, change and their errors."},
    "change_se": {"Description": "Standard error of the change."},
    "change_ci_low": {"Description": "Lower end of the 95 % interval of the change."},
    "change_ci_high": {"Description": "Upper end of it."},
    "change_percent": {
        "Description": "Change in percent of the value; n/a for susceptibility, whose zero is a "
        "choice, and for new lesions.",
        "Units": "%",
    },
    "change_per_year": {
        "Description": "Change divided by years; n/a within a day or without dates."
    },
    "change_per_year_se": {"Description": "Its standard error."},
    "reliable": {
        "Description": "Whether the 95 % interval of the change does not include zero.",
        "Levels": {
            "yes": "the interval does not include zero",
            "no": "the interval includes zero",
            "n/a": "not known: no standard error, or T1w of different voxel sizes",
        },
    },
}
"""The columns in their order, as BIDS describes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPair:
    """Two visits of a person.

    Attributes
    ----------
    participant_id, session_from, session_to
        As in the table.
    years
        Between them; NaN where it is not known.
    same_voxels
        Whether their T1w have voxels of one size. If not, borders move by their blur alone.
    """

    participant_id: str
    session_from: str
    session_to: str
    years: float
    same_voxels: bool = True


def volume_rows(pair: VisitPair, changes: Iterable[VolumeChange]) -> list[dict[str, object]]:
    """Return the rows of volumes."""
    rows = []
    for one in changes:
        place = ("volume", one.region, one.hemisphere)
        row = _of_t1w(pair, _row(pair, place, one.change_mm3, one.standard_error_mm3))
        percent = 100 * one.change_mm3 / one.volume_mm3 if one.volume_mm3 else math.nan
        rows.append(row | {"value": one.volume_mm3, "unit": "mm3", "change_percent": percent})
    return rows


def thickness_rows(pair: VisitPair, found: ThicknessChange) -> list[dict[str, object]]:
    """Return the row of cortical thickness."""
    place = ("thickness_mean", "cortex", "LR")
    row = _of_t1w(pair, _row(pair, place, found.change_mm, found.standard_error_mm))
    percent = 100 * found.change_mm / found.mean_mm
    return [row | {"value": found.mean_mm, "unit": "mm", "change_percent": percent}]


def chi_rows(
    pair: VisitPair, changes: Iterable[ChiChange], errors: Mapping[Place, float]
) -> list[dict[str, object]]:
    """Return the rows of susceptibility.

    Parameters
    ----------
    pair, changes
        What was measured.
    errors
        Standard error (ppb) of the change of each region.
    """
    return [
        _chi_row(
            pair,
            (one.region, one.hemisphere),
            (one.first_ppb, one.second_ppb),
            errors.get((one.region, one.hemisphere), math.nan),
        )
        | {"variant": "default"}
        for one in changes
    ]


BACKGROUND = "background"
"""The choice in the table of choices that is another background removal."""


def variant_rows(
    pair: VisitPair, first: pd.DataFrame, second: pd.DataFrame
) -> list[dict[str, object]]:
    """Return the change of the thalami by the other background removals that both visits have.

    Parameters
    ----------
    first, second
        The tables of choices of both visits.
    """
    keys = ["variant", "hemisphere"]
    one, two = (table[table["choice"] == BACKGROUND] for table in (first, second))
    both = one.merge(two, on=keys, suffixes=("_first", "_second"))
    return [
        _chi_row(pair, ("thalamus", str(hemisphere)), (before, after), math.nan)
        | {"variant": str(variant)}
        for variant, hemisphere, before, after in zip(
            *(both[name] for name in (*keys, "value_first", "value_second")), strict=True
        )
    ]


def _chi_row(
    pair: VisitPair, place: Place, values_ppb: tuple[float, float], error_ppb: float
) -> dict[str, object]:
    first, second = values_ppb
    row = _row(pair, ("chi_relative_csf", *place), second - first, error_ppb)
    return row | {"value": (first + second) / 2, "unit": "ppb", "change_percent": math.nan}


def lesion_volume_row(pair: VisitPair, first_mm3: float, second_mm3: float) -> dict[str, object]:
    """Return the row of the volume of all lesions: the difference of two masks."""
    # Two masks of one scan differ by what nobody has measured: no standard error.
    mean = (first_mm3 + second_mm3) / 2
    row = _row(pair, ("volume", "lesion", "n/a"), second_mm3 - first_mm3, math.nan)
    percent = 100 * (second_mm3 - first_mm3) / mean if mean else math.nan
    return row | {"value": mean, "unit": "mm3", "change_percent": percent}


def lesion_rows(pair: VisitPair, found: Mapping[str, float]) -> list[dict[str, object]]:
    """Return the rows of lesion changes.

    Parameters
    ----------
    found
        Numbers and volumes (mm3) by measure; NaN of what only a reader says where none looked.
    """
    # Their error is not known: what two readers would say of the same images.
    return [
        _row(pair, (measure, "lesion", "n/a"), change, math.nan)
        | {
            "value": math.nan,
            "unit": "mm3" if measure.endswith("_volume") else "1",
            "change_percent": math.nan,
        }
        for measure, change in found.items()
    ]


def _of_t1w(pair: VisitPair, row: dict[str, object]) -> dict[str, object]:
    """Return a row that comes from T1w; with other voxels nothing is known of its reliability."""
    return row if pair.same_voxels else row | {"reliable": "n/a"}


def _row(
    pair: VisitPair, place: tuple[str, str, str], change: float, error: float
) -> dict[str, object]:
    measure, region, hemisphere = place
    known = math.isfinite(change) and math.isfinite(error)
    certain = "yes" if abs(change) > Z * error else "no"
    return {
        "participant_id": pair.participant_id,
        "session_from": pair.session_from,
        "session_to": pair.session_to,
        "years": pair.years,
        "measure": measure,
        "region": region,
        "hemisphere": hemisphere,
        "variant": None,
        "change": change,
        "change_se": error,
        "change_ci_low": change - Z * error,
        "change_ci_high": change + Z * error,
        "change_per_year": change / pair.years,
        "change_per_year_se": error / pair.years,
        "reliable": certain if known else "n/a",
    }
