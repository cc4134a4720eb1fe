"""Participants side by side on this machine."""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import multiprocessing
import os
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bids_qsmthal.errors import BusyError, OutputError, QsmthalError
from bids_qsmthal.execution.outcome import Outcome
from bids_qsmthal.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.queues import Queue

    from bids_qsmthal.dataset import Session
    from bids_qsmthal.settings import Settings

    Process = Callable[[Session, Settings], None]

log = logging.getLogger(__name__)

KILLED = (
    "its process was killed, most often for lack of memory; give more with --mem, "
    "run fewer side by side with --nprocs, and run the same command again"
)
KILLED_CODE = 75


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session in its own process and return how each ended, in the order given.

    A participant that fails, crashes or is killed leaves the others untouched.
    """
    side_by_side = settings.resources.side_by_side(len(sessions))
    threads = settings.resources.threads_each(len(sessions))
    log.info(
        "%d to process, %d side by side, %d threads each", len(sessions), side_by_side, threads
    )
    context = multiprocessing.get_context("spawn")
    records: Queue[logging.LogRecord] = context.Queue()
    listener = logging.handlers.QueueListener(records, _Relay())
    listener.start()
    try:
        pool = _Pool(settings, process, threads, records)
        ended = pool.run(sessions, side_by_side)
        # A killed process takes its pool along: the others go again, each in a pool of its own.
        for session in (s for s in sessions if s.name not in ended):
            ended |= pool.run([session], 1) or {session.name: Outcome(session.name, 75, KILLED, 0)}
    finally:
        listener.stop()
        records.close()
    return [ended[session.name] for session in sessions if session.name in ended]


class _Relay(logging.Handler):
    """Hands the records of the workers to the loggers of this process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


class _Pool:
    """Runs sessions in fresh processes, one session a process."""

    def __init__(
        self,
        settings: Settings,
        process: Process,
        threads: int,
        records: Queue[logging.LogRecord],
    ) -> None:
        self._settings = settings
        self._process = process
        self._setup = (threads, records, settings.log_level)

    def run(self, sessions: Sequence[Session], side_by_side: int) -> dict[str, Outcome]:
        """Return how sessions ended; those a killed process took along are left out."""
        ended: dict[str, Outcome] = {}
        with ProcessPoolExecutor(
            side_by_side,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=self._setup,
            max_tasks_per_child=1,
        ) as pool:
            futures = {
                pool.submit(_work, session, self._settings, self._process): session
                for session in sessions
            }
            for future in as_completed(futures):
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    continue
                ended[outcome.name] = outcome
                _report(outcome, len(ended), len(sessions))
                if outcome.exit_code and self._settings.stop_on_first_crash:
                    pool.shutdown(cancel_futures=True)
                    break
        return ended


def _report(outcome: Outcome, done: int, total: int) -> None:
    if outcome.exit_code:
        log.error("%s failed (%d of %d): %s", outcome.name, done, total, outcome.message)
    else:
        log.info("%s finished in %.0f s (%d of %d)", outcome.name, outcome.seconds, done, total)


def _start_worker(threads: int, records: Queue[logging.LogRecord], level: int) -> None:
    """Prepare a fresh process: its share of the cores, and its log records to the parent.

    Numerical libraries read their number of threads from the environment when they are first
    imported, which in a spawned process is still to come.
    """
    for name in (
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ):
        os.environ[name] = str(threads)
    root = logging.getLogger("bids_qsmthal")
    root.setLevel(min(level, logging.DEBUG))
    handler = logging.handlers.QueueHandler(records)
    handler.setLevel(level)
    root.addHandler(handler)
    root.propagate = False


def _work(session: Session, settings: Settings, process: Process) -> Outcome:
    """Process one session; whatever goes wrong stays with it."""
    start = time.monotonic()
    code, message = 0, ""
    try:
        with _alone(session, settings), _log_file(session, settings):
            try:
                process(session, settings)
            except QsmthalError as error:
                code, message = error.exit_code, str(error)
                log.error("%s", error)
            except Exception as error:  # noqa: BLE001 - the one place that keeps a crash from the others
                code, message = 1, _crash(session, settings, error)
    except QsmthalError as error:
        code, message = error.exit_code, str(error)
    return Outcome(session.name, code, message, time.monotonic() - start)


def _crash(session: Session, settings: Settings, error: Exception) -> str:
    """Keep the traceback of a bug in a crash report, and say where it is."""
    log.error("crashed", exc_info=error)
    path = settings.output_dir / "logs" / f"crash-{session.name}.txt"
    write_text(path, "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error} - this is a bug; please report it with {path}"


@contextmanager
def _alone(session: Session, settings: Settings) -> Iterator[None]:
    """Hold the lock of a participant, so that two runs never work on it at once."""
    path = settings.output_dir / "logs" / f".{session.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose an output folder you own."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{session.name}: another run works on it in {settings.output_dir}; "
                "wait for it, then run the same command again."
            ) from error
        yield


@contextmanager
def _log_file(session: Session, settings: Settings) -> Iterator[None]:
    """Keep what happens to a participant in a log of its own."""
    path = settings.output_dir / "logs" / f"{session.name}_{settings.started}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}).") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("bids_qsmthal")
    prefix = _Prefix(session.name)
    for other in root.handlers:
        other.addFilter(prefix)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


class _Prefix(logging.Filter):
    """Puts the participant in front of what the parent process shows."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._prefix = name

    def filter(self, record: logging.LogRecord) -> bool:
        # The record is this process's own: its file handler comes later and shows the prefix too.
        record.msg, record.args = f"{self._prefix} {record.getMessage()}", None
        return True
