"""What a participant measured before it was remade, and what it measures since."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bids_qsmthal.view import participants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bids_qsmthal.view.participants import ParticipantRow

Key = tuple[str, str, str, str]
"""Name of the scan, measure, region, side."""

Measured = dict[Key, tuple[float | None, str]]
"""Value and unit."""

SHOWN: Final = 200
"""Rows of a table that somebody reads in a page; the files have all."""


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of a scan; ``None`` where it had no value, or was not there."""

    scan: str
    measure: str
    region: str
    hemisphere: str
    unit: str
    before: float | None
    after: float | None

    def described(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        return asdict(self)


def measured(output_dir: Path, rows: Iterable[ParticipantRow]) -> Measured:
    """Return the measures of some scans.

    Raises
    ------
    DataError
        A table is damaged.
    """
    found: Measured = {}
    for row in rows:
        for cells in participants.measures(output_dir, row):
            value = math.nan if cells["value"] == "n/a" else float(cells["value"])
            key = (row.name, cells["measure"], cells["region"], cells["hemisphere"])
            found[key] = (value if math.isfinite(value) else None, cells["unit"])
    return found


def between(before: Measured, after: Measured) -> tuple[Change, ...]:
    """Return what differs, the number of the participants' table first of its scan."""
    keys = sorted(before.keys() | after.keys(), key=_rank)
    changes = (_change(key, before, after) for key in keys)
    return tuple(one for one in changes if one.before != one.after)[:SHOWN]


def _rank(key: Key) -> tuple[str, bool, bool, Key]:
    scan, measure, region, hemisphere = key
    main = (measure, region, hemisphere) == participants.MAIN_NUMBER
    return scan, not main, measure != participants.MAIN_NUMBER[0], key


def _change(key: Key, before: Mapping[Key, tuple[float | None, str]], after: Measured) -> Change:
    nothing = (None, "")
    (old, old_unit), (new, new_unit) = before.get(key, nothing), after.get(key, nothing)
    return Change(*key, unit=new_unit or old_unit, before=old, after=new)
