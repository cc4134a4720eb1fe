"""How the scans were acquired and reconstructed, side by side: what is usual, and who differs.

The minimum that the consensus asks to report (Bilgic 2024, doi 10.1002/mrm.30006), from the tables
that the participant level writes.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bids_qsmthal.group import finished, participant_tables
from bids_qsmthal.group.reasons import shortened
from bids_qsmthal.statistics.sensitivity import Specification

COLUMNS = ("parameter", "unit", "value", "n", "usual", "scans")

COLUMNS_OF_SCANS = ["parameter", "value", "unit", "from"]

SAME = 0.01
"""Numbers of one parameter that differ by no more than this share of the largest are one: a magnet
drifts, and echo times are rounded."""

SAME_DIRECTION = 0.1
"""Components of the direction of B0: heads lie 6 degrees differently under one protocol."""

DIRECTION = "direction of B0 along the voxel axes"


ACQUIRED = (
    *("scanner", "receive coil", "sequence", "dimensions", "field strength", "repetition time"),
    *("flip angle", "echo times", "acceleration in plane", "acquired matrix"),
    *("acquired voxel size", "slice thickness", "slice spacing", "readout polarity", "voxel size"),
)
"""Parameters that a protocol fixes. The imaging frequency drifts and the position of heads varies;
how a scan was reconstructed is the same for a whole dataset, or is another question."""

SCANNER, PROTOCOL = "scanner_of_scan", "protocol_of_scan"
"""Columns of the kinds of scans; no variable of an analysis file is to be hidden by one."""


def kinds(paths: Sequence[Path], identity: pd.DataFrame) -> pd.DataFrame:
    """Return the scanner and the protocol of each session, as letters; A is the most frequent.

    Parameters
    ----------
    identity
        Participant and session of each scan. The first run of a session counts.

    Returns
    -------
    pandas.DataFrame
        One row a participant and session, indexed by both.
    """
    frame = participant_tables.joined(paths, finished.ACQUISITION, COLUMNS_OF_SCANS)
    frame = frame[frame["parameter"].isin(ACQUIRED)]
    usual = {
        (parameter, scan): value
        for parameter, own in frame.groupby("parameter", sort=False)
        for value, scans in _values(str(parameter), own)
        for scan in scans
    }
    whose = identity.drop_duplicates(["participant_id", "session_id"]).sort_values("scan")
    made = pd.DataFrame(index=pd.MultiIndex.from_frame(whose[["participant_id", "session_id"]]))
    for name, parameters in ((SCANNER, ("scanner",)), (PROTOCOL, ACQUIRED)):
        cells = [tuple(usual.get((one, scan), "") for one in parameters) for scan in whose["scan"]]
        made[name] = _letters(cells)
    return made


def _letters(cells: Sequence[tuple[str, ...]]) -> list[str | None]:
    """Return a letter for each kind; nothing where nobody says anything."""
    ordered = [kind for kind, _ in Counter(cells).most_common() if any(kind)]
    # Beyond 26 kinds there is no covariate that could be fitted.
    letters = dict(zip(ordered, string.ascii_uppercase, strict=False))
    return [letters.get(kind) for kind in cells]


def specifications(frame: pd.DataFrame) -> list[Specification]:
    """Return scanner and protocol as covariates, where the participants differ in them."""
    return [
        Specification(name=f"{word} as covariate", kind="term", added=(column,))
        for word, column in (("scanner", SCANNER), ("protocol", PROTOCOL))
        if len(set(frame[column].dropna())) > 1
    ]


def table(paths: Sequence[Path]) -> pd.DataFrame:
    """Return each value of each parameter, with how many scans have it and which.

    The usual value of a parameter comes first; ``usual`` is no for the others.
    """
    frame = participant_tables.joined(paths, finished.ACQUISITION, COLUMNS_OF_SCANS)
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
