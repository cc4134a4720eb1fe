"""How the processing of a participant ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)


class Cause(Enum):
    """Why a participant did not finish as a whole: what is done about it depends on this."""

    REFUSED = auto()
    """Its data, the machine or the command do not allow it; the message says why."""
    SCAN_UNUSABLE = auto()
    """It finished without a scan that is there; the message says which, and why."""
    CRASHED = auto()
    """A bug of the app; the traceback is in a crash report."""
    KILLED = auto()
    """Its process was ended from outside, most often for lack of memory."""
    CANCELLED = auto()
    """The cluster took it from the queue."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one participant, session and scan.

    Attributes
    ----------
    name
        Such as ``sub-01_ses-a``.
    exit_code
        0 when it finished with all its scans.
    message
        What went wrong, in one line; empty when nothing did.
    seconds
        Wall time.
    cause
        Why it did not finish, or not with all its scans; None when it did.
    """

    name: str
    exit_code: int
    message: str
    seconds: float
    cause: Cause | None = None

    @property
    def finished(self) -> bool:
        """Whether its outputs are there and whole, also where they lack those of a scan."""
        return not self.exit_code or self.cause is Cause.SCAN_UNUSABLE


def killed(name: str, message: str) -> Outcome:
    """Return the outcome of a participant whose process was ended from outside."""
    return Outcome(name, ExitCode.TEMPORARY, message, 0, Cause.KILLED)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the status of the whole run.

    0 when all finished; 1 when some did and some did not; where every one failed in the same way,
    the code of that way, so that a run of a single participant says what was wrong with it.
    """
    codes = {outcome.exit_code for outcome in outcomes}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED


def announce(outcome: Outcome, done: int, total: int) -> None:
    """Log that a participant ended, and how many are done.

    The ``ended`` of the record is for the live progress.
    """
    place, ended = (outcome.name, done, total), {"ended": outcome.name}
    if outcome.exit_code and outcome.finished:
        log.error("%s %s (%d of %d)", outcome.name, outcome.message, done, total, extra=ended)
    elif outcome.exit_code:
        log.error("%s failed (%d of %d): %s", *place, outcome.message, extra=ended)
    else:
        log.info("%s finished (%d of %d) in %.0f s", *place, outcome.seconds, extra=ended)
