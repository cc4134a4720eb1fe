"""A page for each participant that failed: what failed, why, what to do."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from bids_qsmthal import __version__
from bids_qsmthal.core.errors import ExitCode, OutputError, ReadWriteError, at
from bids_qsmthal.core.files import write_text
from bids_qsmthal.execution.outcome import Cause
from bids_qsmthal.report.page import Listing, Notice, Origins, Page, Prose, Section, render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.execution import Outcome
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

ENDING = "_failed.html"

MOST_PAGES = 200
"""Where more fail at once the fault is one of the whole run, and ``failures.json`` lists them."""

LAST_LINES = 30
"""Of the log: what was being done, and what was said before it ended."""

CAUSES = {
    Cause.REFUSED: "The message above gives the reason. The cause is in the data, the command or "
    "this machine; it is not a bug in the app.",
    Cause.CRASHED: "This is a bug in the app. The log contains the traceback: please report it.",
    Cause.KILLED: "Its process was ended from outside, most often because memory ran out.",
    Cause.CANCELLED: "The cluster removed its job from the queue.",
}
"""Why a participant did not finish, for a reader."""


def write(outcomes: Sequence[Outcome], settings: Settings) -> None:
    """Write a page for each that failed, and remove that of each that finished.

    Reports of earlier runs stay: their results are still there.
    """
    for outcome in outcomes:
        if outcome.finished:
            _place(outcome, settings).unlink(missing_ok=True)
    failed = [outcome for outcome in outcomes if not outcome.finished]
    try:
        for outcome in failed[:MOST_PAGES]:
            write_text(_place(outcome, settings), render(page(outcome, settings)))
    # A full or failing disk may be the very failure: its list comes next.
    except (OutputError, ReadWriteError) as error:
        log.warning("the pages of participants that failed could not be written: %s", error)


def page(outcome: Outcome, settings: Settings) -> Page:
    """Return the page of one participant that failed."""
    code = {int(one): one for one in ExitCode}.get(outcome.exit_code, ExitCode.FAILED)
    message = settings.without_folders(outcome.message)
    why = CAUSES.get(outcome.cause, "") if outcome.cause else ""
    advice = f"{code.advice[:1].upper()}{code.advice[1:]}."
    earlier = settings.output_dir / f"{outcome.name}.html"
    written = _newest_log(outcome.name, settings.output_dir / "logs")
    sections = [
        Section(
            "Why it failed",
            [Prose(f"{why}\n\nExit status {outcome.exit_code}: {code.meaning}.")],
        ),
        Section("Run again", [Listing("The same command", settings.shown_command)]),
    ]
    if written is not None:
        sections.insert(
            1,
            Section(
                "The end of its log",
                [Listing(f"Last {LAST_LINES} lines", _tail(written, settings))],
            ),
        )
    links = [("The report of an earlier run", earlier.name)] if earlier.exists() else []
    if written is not None:
        links.append(("The whole log", f"logs/{written.name}"))
    return Page(
        title=outcome.name,
        subtitle="Not finished: this run made no results for this participant.",
        warnings=[Notice(message, advice, "error")],
        sections=sections,
        versions={"bids_qsmthal": __version__},
        links=links,
        origins=Origins(command=settings.shown_command),
    )


def _place(outcome: Outcome, settings: Settings) -> Path:
    return settings.output_dir / f"{outcome.name}{ENDING}"


def _newest_log(name: str, logs: Path) -> Path | None:
    """Return the log of the last run of a participant, session and scan."""
    stamped = re.compile(rf"{re.escape(name)}_\d{{8}}T\d{{6}}Z\.log")
    # The time in the name sorts as it passes.
    found = sorted(path for path in logs.glob(f"{name}_*.log") if stamped.fullmatch(path.name))
    return found[-1] if found else None


def _tail(written: Path, settings: Settings) -> str:
    with at(written):
        lines = written.read_text(encoding="utf-8", errors="replace").splitlines()
    return settings.without_folders("\n".join(lines[-LAST_LINES:]))
