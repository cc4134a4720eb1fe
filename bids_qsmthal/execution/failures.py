"""The list of participants that failed, over all runs on one output folder."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from bids_qsmthal.core.files import write_json
from bids_qsmthal.execution.lock import alone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.execution.outcome import Outcome

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Reading and writing a list takes others milliseconds, a slow network drive seconds."""


def keep_failures(outcomes: Sequence[Outcome], logs: Path) -> None:
    """Add who failed to ``failures.json`` and strike out who finished.

    On clusters every participant is often a run of its own, many at once: each knows its own
    outcome only, and leaves those of the others alone.

    Raises
    ------
    BusyError
        Another run holds the list for a minute.
    OutputError
        It cannot be written.
    """
    path = logs / "failures.json"
    busy = f"{path}: another run is writing it; run the same command again."
    with alone(path.with_name(".failures.lock"), busy, PATIENCE_S):
        failed = _known(path)
        for outcome in outcomes:
            # Who finished now is struck out, whichever run had failed.
            failed.pop(outcome.name, None)
            if outcome.exit_code:
                failed[outcome.name] = outcome.message
        # Sorted: the list does not depend on who was first.
        write_json(path, dict(sorted(failed.items())))


def _known(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        log.warning("%s: is no list of failures any more; it is begun anew", path)
        return {}
    return known
