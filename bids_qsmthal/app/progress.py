"""What a run looks like: live progress on a terminal, plain lines anywhere else.

The stages and the executor speak to the log. Some of their records carry, besides the words, what
a program can read: ``step`` (``runner.Step`` as a dict), ``to_process`` (how many participants) and
``ended`` (the name of one that is done). Progress is made from these and from nothing else.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bids_qsmthal.app.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from bids_qsmthal.app.screen import Screen
PLAIN = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")


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
            if self._screen is not None:
                self._screen.refresh()  # also a short stage is seen
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
