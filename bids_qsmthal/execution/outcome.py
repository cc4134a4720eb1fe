"""How the processing of a participant ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

KILLED_CODE = 75
"""What a participant gets whose process was killed: temporary, try again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one participant, session and scan.

    Attributes
    ----------
    name
        Such as ``sub-01_ses-a``.
    exit_code
        0 when it finished.
    message
        What went wrong, in one line; empty when it finished.
    seconds
        Wall time.
    """

    name: str
    exit_code: int
    message: str
    seconds: float


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the status of the whole run.

    0 when all finished; 1 when some did and some did not; where every one failed in the same way,
    the code of that way, so that a run of a single participant says what was wrong with it.
    """
    codes = {outcome.exit_code for outcome in outcomes}
    if codes == {0}:
        return 0
    return codes.pop() if len(codes) == 1 else 1


def announce(outcome: Outcome, done: int, total: int) -> None:
    """Log that a participant ended, and how many are done.

    The ``ended`` of the record is for the live progress.
    """
    place, ended = (outcome.name, done, total), {"ended": outcome.name}
    if outcome.exit_code:
        log.error("%s failed (%d of %d): %s", *place, outcome.message, extra=ended)
    else:
        log.info("%s finished (%d of %d) in %.0f s", *place, outcome.seconds, extra=ended)
