"""The participants of an output folder as rows: verdict, number, what to look at, rating."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bids_qsmthal.core.decision import SEVERITY, Decision, worst
from bids_qsmthal.core.errors import DataError, MissingInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MEASURES: Final = "_desc-qsmthal_measures.tsv"
QUALITY: Final = "_desc-qsmthal_quality.tsv"

MAIN_NUMBER: Final = ("chi_relative_csf", "thalamus", "LR")
"""Measure, region and side of the number that a table of participants shows."""

NAME: Final = re.compile(r"(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?(?:_[a-z]+-[A-Za-z0-9]+)*")
"""How files of a scan begin: entities of BIDS, whose labels are letters and digits."""

KEPT: Final = 20_000
"""Rows that stay in memory: 5,000 participants with a few sessions each."""


@dataclass(frozen=True, slots=True)
class ParticipantRow:
    """One scan of a participant.

    Attributes
    ----------
    name
        As the names of its files begin.
    folder
        Of its images, below the output folder.
    verdict
        Of quality control; empty where the run failed.
    number_ppb
        Relative susceptibility of both thalami; ``None`` where there is none.
    warnings
        Reasons of the checks that were not passed, or of the failure.
    """

    name: str
    participant_id: str
    session_id: str
    run_id: str
    folder: str
    verdict: str
    number_ppb: float | None
    warnings: tuple[str, ...]
    report: bool

    def described(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        return asdict(self)


def rows(output_dir: Path) -> list[ParticipantRow]:
    """Return a row for every scan that was measured, then one for every run that failed.

    Files are read again only where they changed.

    Raises
    ------
    DataError
        A table is damaged.
    """
    found = [_row(path, output_dir) for path in _tables(output_dir)]
    known = {row.name for row in found}
    failed = [row for row in _failures(output_dir) if row.name not in known]
    return sorted([*found, *failed], key=lambda row: row.name)


def row(output_dir: Path, name: str) -> ParticipantRow:
    """Return one scan by its name, also one whose run failed.

    Raises
    ------
    MissingInputError
        There is none of this name.
    """
    # The name comes from outside: no word of it that is not a BIDS label becomes part of a path.
    words = NAME.fullmatch(name)
    if words is not None:
        subject, session = words.groups()
        folder = output_dir / subject / (session or "") / "anat"
        path = folder / f"{name}{MEASURES}"
        if path.is_file():
            return _row(path, output_dir)
    for failed in _failures(output_dir):
        if failed.name == name:
            return failed
    raise MissingInputError(f"{name}: no such scan in the output folder; load the table again.")


def session(output_dir: Path, of: ParticipantRow) -> list[ParticipantRow]:
    """Return the scans that share participant and session with one, in the order of their names."""
    paths = sorted((output_dir / of.folder).glob(f"{of.participant_id}*{MEASURES}"))
    return [_row(path, output_dir) for path in paths] if of.folder else []


def measures(output_dir: Path, of: ParticipantRow) -> list[Mapping[str, str]]:
    """Return the rows of the table of measures of a scan, cells as text."""
    return list(_cells(output_dir / of.folder / f"{of.name}{MEASURES}"))


def _tables(output_dir: Path) -> Iterator[Path]:
    for folder in ("anat", "ses-*/anat"):
        yield from output_dir.glob(f"sub-*/{folder}/sub-*{MEASURES}")


def _row(path: Path, output_dir: Path) -> ParticipantRow:
    checks = path.with_name(path.name.removesuffix(MEASURES) + QUALITY)
    return _read(path, output_dir, _state(path), _state(checks))


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; ``None`` where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=KEPT)
def _read(path: Path, output_dir: Path, *_states: tuple[int, int] | None) -> ParticipantRow:
    name = path.name.removesuffix(MEASURES)
    ids, number = _number(path)
    verdict, warnings = _verdict(path.with_name(f"{name}{QUALITY}"), number)
    return ParticipantRow(
        *(name, *ids),
        folder=path.parent.relative_to(output_dir).as_posix(),
        verdict=verdict,
        number_ppb=number,
        warnings=warnings,
        report=(output_dir / f"{name}.html").is_file(),
    )


def _number(path: Path) -> tuple[tuple[str, str, str], float | None]:
    """Return participant, session and run of a table, and its main number."""
    ids = ("n/a", "n/a", "n/a")
    for cells in _cells(path):
        ids = (cells["participant_id"], cells["session_id"], cells["run_id"])
        if (cells["measure"], cells["region"], cells["hemisphere"]) == MAIN_NUMBER:
            value = float(cells["value"]) if cells["value"] != "n/a" else math.nan
            return ids, value if math.isfinite(value) else None
    return ids, None


def _verdict(path: Path, number: float | None) -> tuple[str, tuple[str, ...]]:
    """Return the worst verdict of the checks and the reasons of those that were not passed."""
    checks = list(_cells(path)) if path.is_file() else []
    decisions = [Decision(cells["verdict"]) for cells in checks]
    # As the report decides: without a number somebody has to look.
    if number is None:
        decisions.append(Decision.CHECK)
    reasons = [cells["reason"] for cells in checks if cells["verdict"] != SEVERITY[0]]
    return worst(decisions).value, tuple(dict.fromkeys(reason for reason in reasons if reason))


def _cells(path: Path) -> Iterator[Mapping[str, str]]:
    """Give the rows of one of our tables; pandas takes 0.7 ms for 585 rows, this 0.2 ms."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            # Cells hold no quotation marks that mean something (BIDS); a lone one would else
            # swallow the rest of the file.
            yield from csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a table that bids_qsmthal wrote ({error}); run the participant again."
        ) from error


def _failures(output_dir: Path) -> Iterator[ParticipantRow]:
    """Give the runs that the list of failures names."""
    try:
        listed = json.loads((output_dir / "logs" / "failures.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # No list, or one that a run will begin anew: nobody is known to have failed.
        return
    for name, message in listed.items() if isinstance(listed, dict) else ():
        parts = dict(part.partition("-")[::2] for part in name.split("_"))
        session = f"ses-{parts['ses']}" if "ses" in parts else "n/a"
        yield ParticipantRow(
            *(name, name.partition("_")[0], session, "n/a", "", "", None),
            warnings=(str(message),),
            report=False,
        )
