"""How the processing of a participant ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
