"""How the scans were acquired and reconstructed, side by side: what is usual, and who differs.

The minimum that the consensus asks to report (Bilgic 2024, doi 10.1002/mrm.30006), from the tables
that the participant level writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bids_qsmthal.group import finished, participant_tables
from bids_qsmthal.group.reasons import shortened

COLUMNS = ("parameter", "unit", "value", "n", "usual", "scans")

SAME = 0.01
"""Numbers of one parameter that differ by no more than this share of the largest are one: a magnet
drifts, and echo times are rounded."""

SAME_DIRECTION = 0.1
"""Components of the direction of B0: heads lie 6 degrees differently under one protocol."""

DIRECTION = "direction of B0 along the voxel axes"


def table(paths: Sequence[Path]) -> pd.DataFrame:
    """Return each value of each parameter, with how many scans have it and which.

    The usual value of a parameter comes first; ``usual`` is no for the others.
    """
    columns = ["parameter", "value", "unit", "from"]
    frame = participant_tables.joined(paths, finished.ACQUISITION, columns)
    rows = []
    for parameter, own in frame.groupby("parameter", sort=False):
        for place, (value, scans) in enumerate(_values(str(parameter), own)):
            unit = str(own["unit"].iloc[0])
            usual = "no" if place else "yes"
            rows.append((parameter, unit, value, len(scans), usual, shortened(scans, 10)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def differing(acquisitions: pd.DataFrame) -> pd.DataFrame:
    """Return the parameters that have more than one value."""
    several = set(acquisitions.loc[acquisitions["usual"] == "no", "parameter"])
    return acquisitions[acquisitions["parameter"].isin(several)].reset_index(drop=True)


def _values(parameter: str, own: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return the values of a parameter with their scans, the most frequent first."""
    groups: dict[str, list[str]] = {}
    frequent = [str(value) for value, _ in Counter(own["value"]).most_common()]
    for value in frequent:
        scans = [str(scan) for scan in own.loc[own["value"] == value, "scan"]]
        like = next((known for known in groups if _same(known, value, parameter)), value)
        groups.setdefault(like, []).extend(scans)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [(value, sorted(scans)) for value, scans in ordered]


def _same(one: str, other: str, parameter: str) -> bool:
    """Compare two cells: numbers with a tolerance, all else as text."""
    numbers = [_numbers(cell) for cell in (one, other)]
    if not all(numbers) or len(numbers[0]) != len(numbers[1]):
        return one == other
    largest = max(abs(value) for cell in numbers for value in cell)
    least = SAME_DIRECTION if parameter == DIRECTION else SAME * largest
    return all(abs(a - b) <= least for a, b in zip(*numbers, strict=True))


def _numbers(cell: str) -> list[float]:
    """Return the numbers of a cell; none where it holds a word."""
    try:
        return [float(word) for word in cell.split(",")]
    except ValueError:
        return []
