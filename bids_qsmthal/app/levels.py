"""The two levels, one after the other: find, process, sum up."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal import execution, group, participant
from bids_qsmthal.app import check, failure_pages
from bids_qsmthal.app.remake import STARTED_IN
from bids_qsmthal.bids import derivatives, provenance
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.core.files import write_json, write_tsv
from bids_qsmthal.participant import change, pipeline
from bids_qsmthal.report import citation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution import Outcome
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

MOST_SHOWN = 50
"""Failures that are shown at the end of a run: a screen. The list in the logs has all."""


def run(settings: Settings) -> int:
    """Run the levels that are asked for and return the exit status.

    The group level runs over the participants that finished, also when others failed.
    """
    status = 0
    if "participant" in settings.levels:
        status = _participants(settings)
    if "group" in settings.levels and settings.dry_run:
        # No participants: nothing was processed, so nobody can be missing from the table.
        lacking = check.group_level(settings, [])
        sys.stdout.write("\n".join(["group level: would run", *lacking, ""]))
    # Also after failures: the status is still theirs.
    elif "group" in settings.levels:
        execution.call(group.run, settings)
        citation.write_dataset(settings.output_dir)
    return status


def _participants(settings: Settings) -> int:
    sessions = find_sessions(settings.bids_dir, settings.selection, database=settings.database)
    if settings.dry_run:
        return _plan(sessions, settings)
    if settings.check_names:
        for session in sessions:
            check.check_names(session)
    _announce(sessions)
    if not settings.reports_only:  # what made the results stays their provenance
        _describe(settings)
    outcomes = execution.run(sessions, settings, participant.process)
    if settings.longitudinal and not settings.reports_only:
        # After all: what is compared are finished visits, wherever and whenever they were made.
        outcomes += _compared(change.people(sessions, settings), settings)
    citation.write_dataset(settings.output_dir)
    failure_pages.write(outcomes, settings)
    _sum_up(outcomes, settings)
    return execution.exit_code(outcomes)


def _compared(people: Sequence[Session], settings: Settings) -> list[Outcome]:
    """Compare the visits of each person who has several."""
    return execution.run(people, settings, change.process) if people else []


def _announce(sessions: Sequence[Session]) -> None:
    for session in sessions:
        # Scans only. External results are looked up for each participant when it runs.
        available = pipeline.plan(session, {}).available
        have = [scan.name for scan in pipeline.SCANS if scan.among(available)]
        lacking = [scan.name for scan in pipeline.SCANS if not scan.among(available)]
        log.info(
            "%s: %s%s",
            session.name,
            ", ".join(have),
            f" (no {', no '.join(lacking)})" if lacking else "",
        )
    for skipped in dict.fromkeys(skip for session in sessions for skip in session.skipped):
        log.info("skipped %s: %s", skipped.path.name, skipped.reason)


def _plan(sessions: Sequence[Session], settings: Settings) -> int:
    """Say what would run on which files, and what is wrong with them."""
    found = [check.examine(session, settings, voxels=False) for session in sessions]
    for one in found:
        sys.stdout.write(f"{check.plan(one)}\n")
        for problem in one.problems:
            log.error("%s: %s", one.session.name, problem.text)
    return check.exit_code(found)


def check_dataset(settings: Settings, *, voxels: bool = True, table: Path | None = None) -> int:
    """Print what a dataset has, what it lacks and what that costs, and what would stop a run.

    Parameters
    ----------
    settings
        What to look at; nothing is written for them.
    voxels
        Read every image whole, as a run does; headers and sidecars only where not.
    table
        A TSV file to write the same to.

    Returns
    -------
    int
        The exit status that a run would have, as far as can be told without running.
    """
    sessions = find_sessions(settings.bids_dir, settings.selection, database=settings.database)
    found = []
    for number, session in enumerate(sessions, 1):
        log.info("checking %s (%d of %d)", session.name, number, len(sessions))
        found.append(check.examine(session, settings, voxels=voxels))
    # What was asked for goes to stdout, where a pipe takes it; progress goes to stderr.
    sys.stdout.write(f"{check.overview(found)}\n")
    for line in check.group_level(settings, [f"sub-{one.session.subject}" for one in found]):
        sys.stdout.write(f"{line}\n")
    if table is not None:
        write_tsv(table, check.table(found))
    return check.exit_code(found)


def _describe(settings: Settings) -> None:
    """Write what the run was asked to do, and what makes the output a BIDS dataset."""
    derivatives.describe_dataset(
        settings.output_dir, settings.bids_dir, {"CommandLine": settings.shown_command}
    )
    # Relative paths among the words mean something only with the folder that they start from.
    content = provenance.plain(settings) | {STARTED_IN: str(Path.cwd())}
    write_json(settings.output_dir / "logs" / "settings.json", content)


def _sum_up(outcomes: Sequence[Outcome], settings: Settings) -> None:
    """Log how it went, failures first in the count and, each with its reason, last of all."""
    failed = [outcome for outcome in outcomes if not outcome.finished]
    incomplete = [outcome for outcome in outcomes if outcome.finished and outcome.exit_code]
    more = [f"{len(failed) - MOST_SHOWN} more"] if len(failed) > MOST_SHOWN else []
    listed = ", ".join([*(outcome.name for outcome in failed[:MOST_SHOWN]), *more])
    names = f" ({listed})" if failed else ""
    log.info(
        "%d failed%s, %d of %d finished; results in %s",
        *(len(failed), names, len(outcomes) - len(failed), len(outcomes), settings.output_dir),
    )
    if len(failed) < len(outcomes):
        log.info("look at the reports first: %s", settings.output_dir / "sub-*.html")
    shown = failed
    try:
        execution.keep_failures(outcomes, settings.output_dir / "logs")
        shown = failed[:MOST_SHOWN]
    finally:  # where the list cannot be kept the screen has it whole
        for outcome in incomplete:
            log.error("INCOMPLETE %s: %s", outcome.name, outcome.message)
        for outcome in shown:
            log.error("FAILED %s: %s", outcome.name, outcome.message)
    if more:
        log.error("FAILED %s: see %s", *more, settings.output_dir / "logs" / "failures.json")
