"""What a radiologist read about enhancement, beside what was found in the images."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import EnhancementReadDifferently

if TYPE_CHECKING:
    from pathlib import Path

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.lesions import Enhancement

COLUMNS = ("enhancing_lesions", "enhancing")
"""Of participants.tsv, or of the participant's sessions.tsv, as the packaged analysis has them."""

READING = {
    **dict.fromkeys(("0", "no", "n", "false"), False),
    **dict.fromkeys(("1", "yes", "y", "true"), True),
}


def disagreement(
    session: Session, enhancement: Enhancement | None
) -> tuple[EnhancementReadDifferently, ...]:
    """Return a warning where a session's table and its images differ about enhancing lesions.

    Raises
    ------
    DataError
        A table is not readable as text.
    """
    read = enhancing(session)
    if enhancement is None or read is None or read == enhancement.present:
        return ()
    return (EnhancementReadDifferently(read, enhancement.count),)


def enhancing(session: Session) -> bool | None:
    """Return whether a reader saw enhancing lesions; ``None`` where no table says."""
    subject = f"sub-{session.subject}"
    tables: list[tuple[Path, dict[str, str]]] = []
    if session.session:
        own = {"session_id": f"ses-{session.session}"}
        # What is about the session goes before what is about the person.
        tables.append((session.root / subject / f"{subject}_sessions.tsv", own))
    tables.append((session.root / "participants.tsv", {"participant_id": subject}))
    for path, key in tables:
        for row in _rows(path):
            if all(_same(row.get(column), value) for column, value in key.items()):
                cells = ((row.get(column) or "").strip().lower() for column in COLUMNS)
                readings = [READING.get(cell) for cell in cells]
                # Another word, such as n/a, is no reading; the next column or table is asked.
                known = [reading for reading in readings if reading is not None]
                if known:
                    return known[0]
    return None


def _same(cell: str | None, wanted: str) -> bool:
    """Compare labels with or without their prefix."""
    label = wanted.partition("-")[2]
    return cell in {wanted, label}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        # Spreadsheets write a byte order mark, which would be part of the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as a table ({error}); mend the file.") from error
