"""How far a run is, and how long the rest will take: from what the stages said, and a clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_qsmthal.participant.runner import StageProgress

LEAST_WORK = 0.15
"""Below this share of one participant, done in this run, there is no telling how long it takes."""


@dataclass(slots=True)
class _Participant:
    """Where one participant is."""

    step: StageProgress
    since: float
    done: float = 0.0
    """Share of the work that this run did."""

    reused: float = 0.0
    """Share that was reused: it took no time and tells nothing about time."""

    @property
    def left(self) -> float:
        """Share of the work that is still to be done."""
        return max(0.0, self.step.planned_share - self.done - self.reused)


@dataclass(slots=True)
class Forecast:
    """Participants and how far they are; ``clock`` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    total: int = 0
    ended: int = 0
    running: dict[str, _Participant] = field(default_factory=dict)
    _work: float = 0.0
    _planned: dict[str, float] = field(default_factory=dict)
    _begun: float | None = None
    _measured: tuple[float, float] | None = None

    def expect(self, participants: int) -> None:
        """Begin a run over so many participants."""
        self.total, self.ended, self._work = participants, 0, 0.0
        self._begun, self._measured = self.clock(), None
        self._planned.clear()
        self.running.clear()

    def step(self, step: StageProgress) -> None:
        """Take note that a stage begins, is reused or is left out."""
        now = self.clock()
        known = self.running.setdefault(step.who, _Participant(step, now))
        # Nothing says that a stage ended: it did when the next one begins.
        if known.step is not step and known.step.state == "started":
            self._did(known, known.step.share)
        if step.state == "reused":
            # No time passed for it: as work done it would make the pace look too fast.
            known.reused += step.share
        known.step = step
        self._planned[step.who] = step.planned_share
        self._measure()

    def end(self, who: str) -> None:
        """Take note that a participant finished or failed."""
        known = self.running.pop(who, None)
        self.ended += 1
        if known is not None:
            self._did(known, known.left)
        self._measure()

    def seconds_left(self) -> float | None:
        """Return how long the rest will take if it goes on as before; ``None`` too early to say.

        Work that was reused counts neither as done nor as to be done. Those that run side by
        side share the rest, but no participant is faster than it was so far.
        """
        if self._measured is None:
            return None
        # Counted down between the events, or the time left would stand still during a long stage.
        left, at = self._measured
        return max(0.0, left - (self.clock() - at))

    def _did(self, known: _Participant, share: float) -> None:
        known.done += share
        self._work += share

    def _measure(self) -> None:
        now = self.clock()
        if self._begun is None or self._work < LEAST_WORK:
            return
        # Who waits is taken to cost what the others do.
        waiting = max(0, self.total - self.ended - len(self.running))
        like_others = sum(self._planned.values()) / len(self._planned)
        rest = waiting * like_others + sum(one.left for one in self.running.values())
        # Wall time over the work of all: those side by side are in it already.
        pace = (now - self._begun) / self._work
        slowest = max((self._own(one, now) for one in self.running.values()), default=0.0)
        self._measured = max(pace * rest, slowest), now

    @staticmethod
    def _own(one: _Participant, now: float) -> float:
        """Return how long one participant takes at its own pace; 0 if it has none yet."""
        return (now - one.since) / one.done * one.left if one.done >= LEAST_WORK else 0.0


def spelled(seconds: float) -> str:
    """Return a duration as ``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
