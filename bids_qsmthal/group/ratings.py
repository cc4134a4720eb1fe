"""What readers decided: ratings saved from the pages, and a table written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from bids_qsmthal.core.decision import SEVERITY
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.measures import run_names

if TYPE_CHECKING:
    from pathlib import Path

KEY = ["participant_id", "session_id", "run_id"]

BY_HAND = "exclusions.tsv"
"""The table that a user writes, or starts from ``group/exclusions.tsv``."""

SAVED = "*_rating*.tsv"
"""What a page saves. A browser adds a number to a name that is there already."""

COLUMNS = [*KEY, "decision", "reason", "file", "by_hand"]


def read(folder: Path) -> pd.DataFrame:
    """Return every decision in a folder and the folders in it, in the order in which they count.

    Ratings come in the order of ``rated_at``, those without before those with; the table written
    by hand comes last.

    Returns
    -------
    pandas.DataFrame
        Columns ``COLUMNS``. Session and run are n/a where all are meant.

    Raises
    ------
    DataError
        A file is malformed.
    """
    # In folders, too: several raters may keep one each. Sorted, since file systems have no order.
    saved = [_rows(path) for path in sorted(folder.rglob(SAVED))]
    ratings = pd.concat(saved, ignore_index=True) if saved else pd.DataFrame(columns=COLUMNS)
    if saved:
        # The later rating of one scan counts; stable, so that equal times keep the order of the
        # files.
        ratings = ratings.sort_values("rated_at", kind="stable")
    by_hand = folder / BY_HAND
    tables = [ratings.assign(by_hand=False)]
    if by_hand.exists():
        tables.append(_rows(by_hand).assign(by_hand=True))
    return pd.concat([table[COLUMNS] for table in tables if len(table)] or [ratings[COLUMNS]])


def _rows(path: Path) -> pd.DataFrame:
    rows = table_reading.participant_ids(table_reading.read(path), path)
    if "decision" not in rows:
        raise DataError(
            f"{path}: no column 'decision'. There are: {', '.join(rows.columns)}; add it."
        )
    wrong = rows[~rows["decision"].str.lower().isin(SEVERITY)]
    if not wrong.empty:
        raise DataError(
            f"{path}: decision '{wrong['decision'].iloc[0]}' of "
            f"{wrong['participant_id'].iloc[0]}; expected one of {', '.join(SEVERITY)}."
        )
    unnamed = pd.Series("n/a", index=rows.index)
    sessions = rows.get("session_id", unnamed)
    runs = rows.get("run_id", unnamed)
    # An empty cell is a wish for all of them, not for a session called n/a.
    all_sessions, all_runs = table_reading.is_missing(sessions), table_reading.is_missing(runs)
    rows["session_id"] = ("ses-" + sessions.str.removeprefix("ses-")).where(~all_sessions, "n/a")
    rows["run_id"] = run_names(runs).where(~all_runs, "n/a")
    return rows.assign(
        decision=rows["decision"].str.lower(),
        reason=rows.get("reason", "n/a"),
        rated_at=_times(rows, path),
        file=path.name,
    )


def _times(rows: pd.DataFrame, path: Path) -> list[datetime]:
    """Return when each row was saved; what has no time is older than all that have one."""
    if "rated_at" not in rows:
        return [datetime.min.replace(tzinfo=UTC)] * len(rows)
    return [_time(cell, path) for cell in rows["rated_at"]]


def _time(cell: str, path: Path) -> datetime:
    if cell.lower() in table_reading.MISSING:
        return datetime.min.replace(tzinfo=UTC)
    try:
        read = datetime.fromisoformat(cell)
    except ValueError as error:
        raise DataError(
            f"{path}: rated_at '{cell}', expected a time such as 2026-01-31T12:00:00Z; correct it."
        ) from error
    # Pages save UTC. Times with and without a zone cannot be compared, so one without is UTC.
    return read if read.tzinfo else read.replace(tzinfo=UTC)
