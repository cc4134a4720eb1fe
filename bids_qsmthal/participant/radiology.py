"""What a radiologist read about enhancement, beside what was found in the images."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal.bids.sidecars import without_zeros
from bids_qsmthal.core.documents import parse
from bids_qsmthal.core.errors import DataError, raise_if_disk_fails
from bids_qsmthal.core.scan_warnings import EnhancementReadDifferently

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.lesions import Enhancement


@cache
def vocabulary() -> tuple[tuple[str, ...], dict[str, bool]]:
    """Return the columns of a table that tell about enhancement, and what each word in them means.

    Both are those of the packaged analysis, by which the group level reads the same tables.
    """
    place = resources.files("bids_qsmthal") / "data" / "analyses" / "chiang2018.yaml"
    content = parse(place.read_text(encoding="utf-8"), Path(place.name)).content
    variable = content["Variables"]["enhancing"]
    words = {
        str(word).lower(): bool(level["Value"])
        for level in variable["Levels"].values()
        for word in level["Words"]
    }
    return tuple(variable["Columns"]), words


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
    columns, meanings = vocabulary()
    for path, key in tables:
        for row in _of(key, _rows(path)):
            # 1 becomes 1.0 where a spreadsheet's column has an empty cell.
            cells = [(row.get(column) or "").strip().removesuffix(".0") for column in columns]
            readings = [meanings.get(cell.lower()) for cell in cells]
            # Another word, such as n/a, is no reading; the next column or table is asked.
            known = [reading for reading in readings if reading is not None]
            if known:
                return known[0]
    return None


def _of(key: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the rows of a participant or session: by the label, else by it but for zeros."""

    def same(row: Mapping[str, str], *, spell: Callable[[str], str]) -> bool:
        # With or without the prefix, as people write it.
        return all(
            spell((row.get(column) or "").removeprefix(f"{wanted.partition('-')[0]}-"))
            == spell(wanted.partition("-")[2])
            for column, wanted in key.items()
        )

    exact = [row for row in rows if same(row, spell=str)]
    return exact or [row for row in rows if same(row, spell=without_zeros)]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        # Spreadsheets write a byte order mark, which would be part of the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise_if_disk_fails(error, path)
        raise DataError(f"{path}: not readable as a table ({error}); correct the file.") from error
