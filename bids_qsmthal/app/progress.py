"""What a run looks like: live progress on a terminal, plain lines anywhere else.

The stages and the executor speak to the log. Some of their records carry, besides the words, what
a program can read: ``step`` (``runner.Step`` as a dict), ``to_process`` (how many participants) and
``ended`` (the name of one that is done). Progress is made from these and from nothing else.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from bids_qsmthal.app.screen import Screen
    from bids_qsmthal.participant.runner import StageProgress

PLAIN = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")

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


@contextmanager
def shown(log: logging.Logger, stream: TextIO) -> Iterator[None]:
    """Show the records of ``log`` on a stream while the block runs.

    A terminal gets live progress below the lines; a file or a pipe gets every line. Warnings of
    libraries are shown with ``-v`` only; those that a participant causes are in its log.
    """
    # A file or a pipe gets no control characters.
    handler = _live(stream) if stream.isatty() else logging.StreamHandler(stream)
    handler.setFormatter(PLAIN)
    warned = logging.getLogger("py.warnings")
    quiet = _Quiet(log)
    warned.addFilter(quiet)
    logging.captureWarnings(capture=True)
    for logger in (log, warned):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (log, warned):
            logger.removeHandler(handler)
        logging.captureWarnings(capture=False)
        warned.removeFilter(quiet)
        handler.close()


class _Quiet(logging.Filter):
    """Lets warnings of libraries pass, in one line, where everything is asked for."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown."""
        # Warnings of libraries come in several lines with their source.
        record.msg, record.args = " ".join(record.getMessage().split()), None
        return self._log.isEnabledFor(logging.DEBUG)


def _live(stream: TextIO) -> logging.Handler:
    # Importing rich takes long enough to be felt in --help.
    from rich.console import Console  # noqa: PLC0415

    return LiveHandler(Console(file=stream, soft_wrap=True))


class LiveHandler(logging.Handler):
    """Keeps one line a running participant and one for the whole run below the other lines.

    The line of a stage is not printed as well, unless everything is asked for.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._console = console
        self._forecast = Forecast(clock)
        self._screen: Screen | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, or what it says about the progress."""
        self._heed(record)
        if hasattr(record, "step") and not self._verbose(record):
            return
        style = "bold red" if record.levelno >= logging.ERROR else ""
        self._console.print(self.format(record), style=style, markup=False, highlight=False)

    def close(self) -> None:
        """Take the progress away."""
        self._stop()
        super().close()

    def _heed(self, record: logging.LogRecord) -> None:
        forecast = self._forecast
        if hasattr(record, "to_process"):
            forecast.expect(record.to_process)
            self._start()
        elif hasattr(record, "step"):
            from bids_qsmthal.participant.runner import StageProgress  # noqa: PLC0415 - brings all rooms along

            forecast.step(StageProgress(**record.step))
        elif hasattr(record, "ended"):
            forecast.end(record.ended)
            if forecast.ended >= forecast.total:
                self._stop()

    def _stop(self) -> None:
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    def _start(self) -> None:
        from bids_qsmthal.app.screen import Screen  # noqa: PLC0415 - brings rich along

        if self._screen is None:
            self._screen = Screen(self._forecast, self._console)
            self._screen.start()

    @staticmethod
    def _verbose(record: logging.LogRecord) -> bool:
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


def spelled(seconds: float) -> str:
    """Return a duration as ``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
