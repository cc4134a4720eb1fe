"""The work of one participant, the same wherever it runs: its lock, its log, its crash report."""

from __future__ import annotations

import ctypes
import locale
import logging
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import (
    ExitCode,
    QsmthalError,
    UnusableScanError,
    not_written,
    of_system,
)
from bids_qsmthal.core.files import write_text
from bids_qsmthal.core.lock import alone
from bids_qsmthal.execution.outcome import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.settings import Settings

    Process = Callable[[Session, Settings], None]

log = logging.getLogger(__name__)


def thread_limits(threads: int) -> dict[str, str]:
    """Return the environment that gives one participant its share of the cores.

    Numerical libraries read it when they are first imported: it has to be there before.
    """
    # Each library that starts threads of its own reads another name.
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    # Two threads of ITK add up mutual information in the order in which they come: the same images
    # gave an affine that differed by up to .07 mm from run to run.
    # Products of matrices are small here: two threads of OpenBLAS wait for each other in a busy
    # loop (150,000 x 20 by its transpose: 8 CPU-ms with one thread, 80 to 190 with two).
    alone = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), **dict.fromkeys(alone, "1")}


MOST_MAPPINGS, TRIM_THRESHOLD = -4, -1
"""Names of settings in malloc.h of the GNU C library (mallopt(3))."""

KEPT_BYTES = 2**31 - 1
"""The most that its settings hold: more than a participant ever gives back at once."""


def keep_freed_memory() -> None:
    """Let this process use the memory that it freed again, in place of new memory of the system.

    Arrays of whole heads are mapped one by one, and unmapped when they go: the system clears each
    page of each of them anew. Of a participant with four scans that was half of 7.3 s in the
    system; the peak of memory grows by 2 % at most (1.76 to 1.79 GB).
    """
    # Another C library than GNU's, as on macOS: it keeps its own counsel.
    with suppress(AttributeError, OSError, TypeError):
        system = ctypes.CDLL(None)
        system.mallopt(MOST_MAPPINGS, 0)
        system.mallopt(TRIM_THRESHOLD, KEPT_BYTES)


def work(
    session: Session, settings: Settings, process: Process, *, patience_s: float = 0
) -> Outcome:
    """Process one session; whatever goes wrong stays with it.

    Parameters
    ----------
    session
        What to process.
    settings
        The choices of the run.
    process
        Does the work.
    patience_s
        How long to wait for another process that works on the same participant. A cluster may
        start a task anew before the process that it gives up is gone.

    Returns
    -------
    Outcome
        How it ended; nothing is raised but what ends the process.
    """
    start = time.monotonic()
    keep_freed_memory()
    try:
        # The lock first: who does not get it must not write into the log of the other run.
        with _alone(session, settings, patience_s), _log_file(session, settings), _plain_letters():
            ended = _guarded(session, settings, process)
    except QsmthalError as error:
        ended = _refused(session, error)
    return replace(ended, seconds=time.monotonic() - start)


def _guarded(session: Session, settings: Settings, process: Process) -> Outcome:
    try:
        process(session, settings)
    except UnusableScanError as error:
        return Outcome(session.name, error.exit_code, str(error), 0, Cause.SCAN_UNUSABLE)
    except QsmthalError as error:
        log.error("%s", error)
        return _refused(session, error)
    # A full disk or too little memory is no bug: it needs no crash report.
    except (OSError, MemoryError) as error:
        said = of_system(error)
        log.debug("the system failed", exc_info=error)
        log.error("%s", said)
        return _refused(session, said)
    except Exception as error:  # noqa: BLE001 - the one place that keeps a crash from the others
        return Outcome(
            session.name, ExitCode.FAILED, _crash(session, settings, error), 0, Cause.CRASHED
        )
    return Outcome(session.name, ExitCode.DONE, "", 0)


def _refused(session: Session, error: QsmthalError) -> Outcome:
    return Outcome(session.name, error.exit_code, str(error), 0, Cause.REFUSED)


def _crash(session: Session, settings: Settings, error: Exception) -> str:
    """Keep the traceback of a bug in a crash report, and say where it is."""
    log.error("crashed", exc_info=error)
    path = settings.output_dir / "logs" / f"crash-{session.name}.txt"
    write_text(path, "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error} - this is a bug; please report it with {path}"


def _alone(session: Session, settings: Settings, patience_s: float) -> AbstractContextManager[None]:
    """Hold the lock of a participant, so that two runs never work on it at once."""
    busy = (
        f"{session.name}: another run is processing it in {settings.output_dir}; wait for it, "
        "then run the same command again."
    )
    return alone(settings.output_dir / "logs" / f".{session.name}.lock", busy, patience_s)


@contextmanager
def _log_file(session: Session, settings: Settings) -> Iterator[None]:
    """Keep what happens to a participant in a log of its own."""
    path = settings.output_dir / "logs" / f"{session.name}_{settings.started}.log"
    again = path.exists()  # of this run: Dask, Slurm and we start who was killed a second time
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path)
    except OSError as error:
        raise not_written(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("bids_qsmthal")
    prefix = _Prefix(session.name)
    shown = list(root.handlers)
    for other in shown:
        other.addFilter(prefix)
    heard = (root, logging.getLogger("py.warnings"))
    for logger in heard:
        logger.addHandler(handler)
    if again:
        log.warning("starts again: the process that worked on it was killed")
    try:
        yield
    finally:
        for logger in heard:
            logger.removeHandler(handler)
        handler.close()
        for other in shown:  # a worker of Dask goes on to the next participant
            other.removeFilter(prefix)


@contextmanager
def _plain_letters() -> Iterator[None]:
    """Let libraries turn capitals into small letters as in English.

    ANTs does so with the names of its options. In Turkish, I is no capital of i: it knows neither
    "Rigid" nor "MI" any more. Python has its own letters, and its encoding of files is settled.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:  # a system without it, such as an old one: its plain one will do
        locale.setlocale(locale.LC_CTYPE, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


class _LogFile(logging.FileHandler):
    """A log that keeps silent where the disk is full: the failure of the outputs says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Let the record go; logging would print a traceback."""

    def close(self) -> None:
        """Close the file, also where the last lines find no room."""
        with suppress(OSError):
            super().close()


class _Prefix(logging.Filter):
    """Puts the participant in front of what the parent process shows."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._prefix = name

    def filter(self, record: logging.LogRecord) -> bool:
        # The record is this process's own: its file handler comes later and shows the prefix too.
        record.msg, record.args = f"{self._prefix} {record.getMessage()}", None
        return True
