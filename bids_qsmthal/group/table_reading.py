"""TSV files in: every column as text, wrong ones refused with the place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import DataError, of_system
from bids_qsmthal.core.files import UTF16_MARKS, check_file, plain_cell

MISSING = frozenset({"n/a", "", "na", "nan", "none"})
"""BIDS writes n/a; the others are what spreadsheets make of it."""

UNKNOWN = frozenset(
    {
        *("unknown", "missing", "not available", "not known", "not recorded", "not reported"),
        *("no data", "not applicable", "refused", "declined", "don't know", "do not know"),
        *("prefer not to say", "prefer not to answer"),
    }
)
"""What people write, or data dictionaries say, where a value is not known."""

MOST_COLUMNS = 20_000
"""The phenotype tables of the largest cohorts have some thousand; voxels or genes belong elsewhere,
and reading them would take minutes."""


def read(path: Path) -> pd.DataFrame:
    """Return a TSV file with every cell as text.

    Raises
    ------
    DataError
        It is not UTF-8, has no header, rows of different length or a column twice.
    """
    # Not splitlines: it also splits at characters that cells may hold (form feed, U+2028).
    lines = text(path).rstrip("\n").split("\n")
    header = [name.strip() for name in lines[0].split("\t")]
    if not any(header):
        raise DataError(f"{path}: the file is empty; expected a header line.")
    if len(header) > MOST_COLUMNS:
        raise DataError(
            f"{path}: {len(header)} columns; expected at most {MOST_COLUMNS}; keep those that the "
            "analysis needs."
        )
    repeated = sorted(name for name, n in Counter(header).items() if n > 1)
    if repeated:
        raise DataError(f"{path}: the column '{repeated[0]}' occurs twice.")
    # By hand, since pandas would fill short rows, and shift columns where rows are longer than the
    # header.
    rows = [line.split("\t") for line in lines[1:] if line.strip()]
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells under {len(header)} column names; "
                "cells are separated by one tab."
            )
    # Our own tables come back as edits: the apostrophe before a formula goes off again.
    stripped = [[plain_cell(cell.strip()) for cell in row] for row in rows]
    return pd.DataFrame(stripped, columns=header, dtype="str")


def text(path: Path) -> str:
    """Return the text of a file, with line ends as newlines.

    Raises
    ------
    DataError
        It is not UTF-8, or no regular file.
    ReadWriteError
        The operating system cannot read it.
    """
    try:
        check_file(path)
        # -sig: spreadsheets begin UTF-8 with a mark, which would become part of the first column's
        # name. Line ends of Windows are newlines by then.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        # Spreadsheets call it Unicode text.
        wide = error.object.startswith(UTF16_MARKS)
        found = "but UTF-16" if wide else f"({error.reason})"
        raise DataError(f"{path}: not UTF-8 text {found}; save it as UTF-8.") from error
    except OSError as error:
        raise of_system(OSError(error.errno, error.strerror, str(path))) from error


def dictionary(path: Path) -> Mapping[str, Any]:
    """Return the data dictionary beside a TSV file; empty where there is none.

    Raises
    ------
    DataError
        It is not a JSON object.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); correct the file.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, one key a column; correct the file.")
    return content


def by_session(values: pd.Series[Any]) -> Iterator[tuple[str, str, Any]]:
    """Return participant, session and value of each row of a column indexed by these two."""
    people = values.index.get_level_values("participant_id")
    sessions = values.index.get_level_values("session_id")
    return zip(map(str, people), map(str, sessions), values, strict=True)


def is_missing(cells: pd.Series[str]) -> pd.Series[bool]:
    """Return which cells hold no value."""
    return cells.isna() | cells.str.lower().isin(MISSING)


def numbers(cells: pd.Series[str], where: str, who: pd.Series[str]) -> pd.Series[float]:
    """Return cells as numbers, missing ones as NaN.

    Raises
    ------
    DataError
        A cell holds text; it names the first one and whose it is.
    """
    values, wrong = readable_numbers(cells)
    if wrong.any():
        raise DataError(no_number(cells, wrong, where, who))
    return values


def readable_numbers(cells: pd.Series[str]) -> tuple[pd.Series[float], pd.Series[bool]]:
    """Return cells as numbers, NaN where there is none, and which cells hold something else."""
    missing = is_missing(cells)
    # pandas reads "inf" as a number; no covariate is infinite, so it is wrong like a word.
    values = pd.to_numeric(cells.where(~missing), errors="coerce").astype(float)
    wrong = ~missing & ~np.isfinite(values)
    return values.where(~wrong), wrong


def no_number(
    cells: pd.Series[str], wrong: pd.Series[bool], where: str, who: pd.Series[str]
) -> str:
    """Return the message that names the first cell that is no number, and whose it is."""
    first = int(np.flatnonzero(wrong)[0])
    return (
        f"{where}: '{cells.iloc[first]}' of {who.iloc[first]} is not a number "
        f"({int(wrong.sum())} such); expected numbers, n/a where unknown; for words give "
        "'Levels' in the analysis file."
    )


PREFIX = re.compile("^sub[-_]", re.IGNORECASE)


def participant_ids(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table with ``sub-`` before every participant_id.

    Raises
    ------
    DataError
        There is no such column.
    """
    if "participant_id" not in frame:
        raise DataError(
            f"{path}: no column 'participant_id'. There are: {', '.join(frame.columns)}."
        )
    # BIDS wants sub- in the cell; many tables leave it out, or write Sub-01, SUB-01, sub_01. Labels
    # have neither hyphen nor underscore, so nothing of a label is lost.
    plain = frame["participant_id"].str.replace(PREFIX, "", regex=True)
    return frame.assign(participant_id="sub-" + plain)
