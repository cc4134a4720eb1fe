"""The two levels, one after the other: find, process, sum up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_qsmthal import derivatives, execution, gre, group, participant
from bids_qsmthal.brought import find
from bids_qsmthal.dataset import find_sessions
from bids_qsmthal.errors import InvalidBidsError, QsmthalError
from bids_qsmthal.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.dataset import Session
    from bids_qsmthal.execution import Outcome
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Run the levels that are asked for and return the exit status.

    The group level runs over the participants that finished, also when others failed.
    """
    status = 0
    if "participant" in settings.levels:
        status = _participants(settings)
    if "group" in settings.levels and not settings.dry_run:
        group.run(settings)
    return status


def _participants(settings: Settings) -> int:
    sessions = find_sessions(settings.bids_dir, settings.selection, database=settings.database)
    if settings.check_names:
        _check_names(sessions)
    _announce(sessions)
    if settings.dry_run:
        return _plan(sessions, settings)
    _describe(settings)
    outcomes = execution.run(sessions, settings, participant.process)
    _sum_up(outcomes, settings)
    return execution.exit_code(outcomes)


def _check_names(sessions: Sequence[Session]) -> None:
    from bids_validator import BIDSValidator  # noqa: PLC0415 - compiles its rules on import

    validator = BIDSValidator()
    for session in sessions:
        images = [path for path in (session.t1w, session.t1w_gad, session.flair) if path]
        for path in images:
            if not validator.is_bids(f"/{path.relative_to(session.root).as_posix()}"):
                raise InvalidBidsError(
                    f"{path}: not a valid BIDS name; rename it, or use --skip-bids-validation."
                )


def _announce(sessions: Sequence[Session]) -> None:
    for session in sessions:
        have = {
            "GRE": session.gre,
            "T1w": session.t1w,
            "post-contrast T1w": session.t1w_gad,
            "FLAIR": session.flair,
        }
        lacking = [name for name, value in have.items() if value is None]
        log.info(
            "%s: %s%s",
            session.name,
            ", ".join(name for name, value in have.items() if value is not None),
            f" (no {', no '.join(lacking)})" if lacking else "",
        )
    for skipped in dict.fromkeys(skip for session in sessions for skip in session.skipped):
        log.info("skipped %s: %s", skipped.path.name, skipped.reason)


def _plan(sessions: Sequence[Session], settings: Settings) -> int:
    """Say what would run on which files, and what is wrong with them."""
    status = 0
    for session in sessions:
        replaced = find(session, settings.datasets, settings.output_dir)
        for key, item in replaced.items():
            log.info("%s: %s from %s (%s)", session.name, key, item.path, item.source)
        try:
            if session.gre is not None:
                series = gre.describe(session.gre, session.root)
                log.info(
                    "%s: %d echoes, %g T, %s",
                    *(session.name, len(series.first), series.acquisition.field_strength_t),
                    "-".join(series.parts),
                )
        except QsmthalError as error:
            status = error.exit_code
            log.error("%s: %s", session.name, error)
    return status


def _describe(settings: Settings) -> None:
    """Write what the run was asked to do, and what makes the output a BIDS dataset."""
    derivatives.describe_dataset(
        settings.output_dir, settings.bids_dir, {"CommandLine": " ".join(settings.command_line)}
    )
    write_json(settings.output_dir / "logs" / "settings.json", derivatives.plain(settings))


def _sum_up(outcomes: Sequence[Outcome], settings: Settings) -> None:
    """Log how many finished, and last of all which failed and why."""
    failed = [outcome for outcome in outcomes if outcome.exit_code]
    log.info("%d of %d finished; results in %s", *_counts(outcomes), settings.output_dir)
    report = {outcome.name: outcome.message for outcome in failed}
    write_json(settings.output_dir / "logs" / "failures.json", report)
    for outcome in failed:
        log.error("FAILED %s: %s", outcome.name, outcome.message)


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    return sum(not outcome.exit_code for outcome in outcomes), len(outcomes)
