"""Whether a participant is to be used."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Decision(StrEnum):
    """Use it, look first, or leave it out; the value is what tables and pages hold."""

    INCLUDE = "include"
    CHECK = "check"
    EXCLUDE = "exclude"


SEVERITY = (Decision.INCLUDE, Decision.CHECK, Decision.EXCLUDE)
"""From harmless to worst."""


def worst(decisions: Iterable[Decision]) -> Decision:
    """Return the most severe of some decisions; without any, ``INCLUDE``."""
    return max(decisions, key=SEVERITY.index, default=Decision.INCLUDE)
