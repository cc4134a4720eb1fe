"""The finished visits of a person, in the order of time: which files an output folder has."""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal.bids import manifest, presence
from bids_qsmthal.core.errors import DataError, raise_if_disk_fails

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bids_qsmthal.bids.dataset import Session

DAYS_A_YEAR = 365.25

T1W = "desc-preproc_T1w.nii.gz"

CHANGE = "desc-qsmthal_change"
"""How the table of change over a person's visits ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedVisit:
    """One session of a person, as a finished run left it.

    Attributes
    ----------
    session
        Its label, without ``ses-``.
    time
        When it was; ``None`` where the dataset does not say.
    files
        What the manifest vouches for, by what follows the session in the name; of several gradient
        echoes the first.
    """

    session: str
    time: datetime | None
    files: Mapping[str, Path]


def finished_visits(output_dir: Path, bids_dir: Path, subject: str) -> tuple[FinishedVisit, ...]:
    """Return the sessions of a person that have a finished T1w and are in the dataset still.

    In the order of time (``acq_time`` in ``sessions.tsv`` or ``scans.tsv``); those without one by
    their labels.

    Raises
    ------
    DataError
        A time cannot be read.
    """
    found = [
        FinishedVisit(
            session=session, time=_time(bids_dir / f"sub-{subject}", session), files=files
        )
        for session, files in _sessions(bids_dir, output_dir, subject)
        if T1W in files
    ]
    return in_order(found)


def outdate_comparison(output_dir: Path, subject: str) -> None:
    """Say that a visit is processed again: the comparison with others is of what it was before.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    name = f"sub-{subject}"
    # The same name may be that of a participant without sessions, whose results stay.
    compared = f"{name}/anat/{name}_{CHANGE}.tsv"
    if any(entry.path == compared for entry in manifest.entries_of(output_dir, name)):
        manifest.begin(output_dir, name, name)


def session_labels(bids_dir: Path, output_dir: Path, subject: str) -> list[str]:
    """Return the sessions of a person that a manifest names, whatever they made.

    One that the dataset has no more, because it was renamed or withdrawn, is no visit.
    """
    return [session for session, _ in _places(bids_dir, output_dir, subject)]


def in_order(visits: Iterable[FinishedVisit]) -> tuple[FinishedVisit, ...]:
    """Return visits as they followed each other.

    One without a date stays where its label is among the labels; those with a date are never in
    another order than that of time.
    """
    by_name = sorted(visits, key=lambda one: _natural(one.session))
    dated = iter(sorted((one for one in by_name if one.time), key=_when))
    return tuple(next(dated) if one.time else one for one in by_name)


def _when(visit: FinishedVisit) -> datetime:
    return visit.time or datetime.max.replace(tzinfo=UTC)


def years_between(first: FinishedVisit, second: FinishedVisit) -> float:
    """Return the years from one visit to another; NaN where they are not known, or the same day."""
    if first.time is None or second.time is None:
        return float("nan")
    days = (second.time - first.time).total_seconds() / 86_400
    # Two scans of one day are a repetition: nothing a year follows from it.
    return days / DAYS_A_YEAR if days >= 1 else float("nan")


def _natural(label: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts labels as people do: 2 before 10."""
    parts = re.findall(r"\d+|\D+", label)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _sessions(
    bids_dir: Path, output_dir: Path, subject: str
) -> Sequence[tuple[str, dict[str, Path]]]:
    found = []
    for session, name in _places(bids_dir, output_dir, subject):
        files: dict[str, Path] = {}
        for entry in manifest.read_of(output_dir, name):
            path = output_dir / entry.path
            ending = _ending(path.name)
            if path.parent.name == "anat" and path.is_file():
                files.setdefault(ending, path)
        found.append((session, files))
    return found


def _places(bids_dir: Path, output_dir: Path, subject: str) -> list[tuple[str, str]]:
    """Return the label of each session that has a manifest, and how its files are named."""
    begin = f"sub-{subject}_ses-"
    places = sorted((output_dir / "logs").glob(f"{begin}*{manifest.ENDING}"))
    labels = [place.name.removeprefix(begin).removesuffix(manifest.ENDING) for place in places]
    keys = {label: (f"sub-{subject}", f"ses-{label}") for label in labels}
    gone = presence.without_images(bids_dir, keys.values())
    return [(label, f"{begin}{label}") for label in labels if keys[label] not in gone]


def _ending(name: str) -> str:
    """Return what follows participant, session and scan in the name of an output."""
    kept = [
        part
        for part in name.split("_")
        if not part.startswith(("sub-", "ses-", "acq-", "run-", "rec-", "dir-", "ce-"))
    ]
    return "_".join(kept)


def scanned_on(session: Session) -> str:
    """Return the day of a session's scans by the ``acq_time`` of their table, such as 2020-03-01.

    Empty where there is none. It is shown and decides nothing, so that a table or a cell which
    cannot be read is passed over here.
    """
    folder = session.root / "/".join(f"{key}-{value}" for key, value in session.entities)
    name = "_".join(f"{key}-{value}" for key, value in session.entities)
    table = folder / f"{name}_scans.tsv"
    files = {Path(path).name for path in session.inputs}
    days = set()
    with suppress(DataError):
        for row in _rows(table):
            cell = row.get("acq_time") or "n/a"
            if Path(row.get("filename") or "").name in files and cell != "n/a":
                days.add(_read(cell, table).date().isoformat())
    return " and ".join(sorted(days))


def _time(folder: Path, session: str) -> datetime | None:
    """Return when a session was: by the table of sessions, else its earliest scan."""
    name = folder.name
    own = [
        row.get("acq_time")
        for row in _rows(folder / f"{name}_sessions.tsv")
        if row.get("session_id") == f"ses-{session}"
    ]
    scans = folder / f"ses-{session}" / f"{name}_ses-{session}_scans.tsv"
    for table, cells in ((folder / f"{name}_sessions.tsv", own), (scans, _times_of(scans))):
        times = [_read(cell, table) for cell in cells if cell and cell != "n/a"]
        if times:
            return min(times)
    return None


def _times_of(scans: Path) -> list[str | None]:
    return [row.get("acq_time") for row in _rows(scans)]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise_if_disk_fails(error, path)
        raise DataError(f"{path}: not a table ({error}); expected BIDS' TSV.") from error


def _read(cell: str, path: Path) -> datetime:
    try:
        read = datetime.fromisoformat(cell)
    except ValueError as error:
        raise DataError(
            f"{path}, column 'acq_time': '{cell}' is not a time such as 2020-03-01T09:30:00."
        ) from error
    # With a zone or without: only order and distance of one person's visits count.
    return read.replace(tzinfo=UTC)
