"""How far the group level is, as records of the log that a program can read, too.

The terminal draws its live lines from the same fields of the records as for participants
(``app/progress.py``).
"""

from __future__ import annotations

import logging
from enum import Enum

log = logging.getLogger(__name__)

WHO = "group"


class GroupStage(Enum):
    """A part of the work: its title and its share of the time (measured, 95 participants)."""

    TABLES = ("Reading tables", 0.05)
    MODELS = ("Fitting models", 0.1)
    CHOICES = ("Trying other specifications", 0.45)
    PAGE = ("Writing tables and figures", 0.4)

    @property
    def title(self) -> str:
        """What a reader of the log sees."""
        return self.value[0]

    @property
    def share(self) -> float:
        """Part of the time of the whole group level."""
        return self.value[1]


def start() -> None:
    """Say that the group level begins."""
    log.info("Group level.", extra={"to_process": 1})


def begin(stage: GroupStage) -> None:
    """Say that a stage begins, and that the one before is done."""
    stages = list(GroupStage)
    number = stages.index(stage) + 1
    step = {
        "who": WHO,
        "number": number,
        "total": len(stages),
        "title": stage.title,
        "share": stage.share,
        "planned_share": sum(one.share for one in stages),
        "state": "started",
    }
    log.info("[%d/%d] %s", number, len(stages), stage.title, extra={"step": step})


def end() -> None:
    """Say that all is written."""
    log.info("Group level finished.", extra={"ended": WHO})
