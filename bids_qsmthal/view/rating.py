"""Ratings that readers give in the browser: rows of the tables that the group level reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.files import check_inside, write_tsv
from bids_qsmthal.core.lock import only_writer
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.ratings import SAVED
from bids_qsmthal.view.edits import LOCK

if TYPE_CHECKING:
    from pathlib import Path

    from bids_qsmthal.view.edits import Signature
    from bids_qsmthal.view.participants import ParticipantRow

FOLDER: Final = "ratings"
COLUMNS: Final = (
    *("participant_id", "session_id", "run_id"),
    *("decision", "reason", "rater", "rated_at"),
)


def save(output_dir: Path, row: ParticipantRow, decision: str, signed: Signature) -> None:
    """Add a rating below those of this reader; nothing that was said before is lost.

    Raises
    ------
    DataError
        The decision is none.
    OutputError
        The folder cannot be written, or a link leads out of it.
    """
    if decision not in list(Decision):
        raise DataError(f"decision {decision!r}: expected one of {', '.join(Decision)}.")
    root = output_dir / EDITS
    # A folder for each reader: two never write the same file.
    place = root / FOLDER / signed.reader / f"{row.name}_rating.tsv"
    check_inside(output_dir, place.parent)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ids = (row.participant_id, row.session_id, row.run_id)
    added = pd.DataFrame([(*ids, decision, signed.why, signed.reader, now)], columns=list(COLUMNS))
    root.mkdir(exist_ok=True)
    with only_writer(root / LOCK, place):
        before = [table_reading.read(place)] if place.is_file() else []
        write_tsv(place, pd.concat([*before, added]))


def latest(output_dir: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the newest rating of every scan by participant, session and run.

    Raises
    ------
    DataError
        A table cannot be read.
    """
    paths = sorted((output_dir / EDITS).rglob(SAVED))
    every = [row for path in paths for row in table_reading.read(path).to_dict("records")]
    # Those without a time are older than all that have one, as the group level has it.
    every.sort(key=lambda row: str(row.get("rated_at", "")))
    return {
        (str(row["participant_id"]), str(row.get("session_id")), str(row.get("run_id"))): {
            "decision": row.get("decision"),
            "reader": row.get("rater"),
        }
        for row in every
    }
