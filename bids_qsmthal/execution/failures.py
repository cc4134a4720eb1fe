"""The list of participants that failed, over all runs on one output folder."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import at
from bids_qsmthal.core.files import write_json
from bids_qsmthal.core.lock import only_writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.execution.outcome import Outcome

log = logging.getLogger(__name__)


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
    with only_writer(path.with_name(".failures.lock"), path):
        failed = _known(path)
        for outcome in outcomes:
            # Who finished now is struck out, whichever run had failed.
            failed.pop(outcome.name, None)
            # Who lacks a scan has results of this run, and they count.
            if not outcome.finished:
                failed[outcome.name] = outcome.message
        # Sorted: the list does not depend on who was first.
        write_json(path, dict(sorted(failed.items())))


def _known(path: Path) -> dict[str, str]:
    try:
        with at(path):
            known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        log.warning("%s: not a list of failures; a new one is started", path)
        return {}
    return known
