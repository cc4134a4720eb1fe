"""Participants side by side on this machine, each in a process of its own."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.execution.outcome import Cause, Outcome, announce, killed
from bids_qsmthal.execution.records import Records
from bids_qsmthal.execution.signals import keyboard_left_to_the_run
from bids_qsmthal.execution.worker import thread_limits, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution.worker import Process
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

KILLED = (
    "its process was killed ({}), most often for lack of memory; give more with --mem, "
    "run fewer side by side with --nprocs, and run the same command again"
)


ENDING_S = 30.0
"""How long a process may take to end after it sent its outcome."""

KILL_SCORE = Path("/proc/self/oom_score_adj")
"""Where Linux keeps, from -1000 to 1000, whom it kills first for want of memory (proc(5))."""

EARLIER = 300
"""What a participant's process adds to it: three tenths of the memory there is, the weight that
Chromium gives its tabs. The run that started it is then killed after it, and can say what happened;
a run over 20,000 participants takes 2 GB itself."""


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session in its own process and return how each ended, in the order given.

    A participant that fails, crashes or is killed leaves the others untouched. Who was killed
    goes again, alone, after the others: what was short may be there then. An interrupt ends every
    process that was started.
    """
    side_by_side = settings.resources.side_by_side(len(sessions))
    threads = settings.resources.threads_each(len(sessions))
    log.info(
        "%d to process, %d side by side, %d threads each",
        *(len(sessions), side_by_side, threads),
        extra={"to_process": len(sessions)},
    )
    records = Records()
    listener = logging.handlers.QueueListener(records, _Relay())
    listener.start()
    try:
        pool = _Pool(settings, process, _Setup(threads, records, settings.log_level))
        ended = pool.run(sessions, side_by_side)
        for session in (s for s in sessions if _was_killed(ended.get(s.name))):
            if settings.stop_on_first_crash:
                break
            ended |= pool.run([session], 1)
    finally:
        listener.stop()
        records.close()
    for done, outcome in enumerate((end for end in ended.values() if _was_killed(end)), 1):
        announce(outcome, done, len(sessions))
    return [ended[session.name] for session in sessions if session.name in ended]


def _was_killed(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.cause is Cause.KILLED


class _Relay(logging.Handler):
    """Hands the records of the workers to the loggers of this process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a fresh process is given: its threads, and where log records of which level go."""

    threads: int
    records: Records
    level: int


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process that works on a session, and the pipe on which it sends its outcome."""

    session: Session
    process: BaseProcess
    pipe: Connection

    def outcome(self) -> Outcome:
        """Return what it sent; one that ended and sent nothing was killed."""
        try:
            sent: Outcome | None = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            sent = None
        self.pipe.close()
        # Threads of libraries may keep a process that has sent its outcome from ending.
        self.process.join(ENDING_S)
        self.process.kill()
        return sent or killed(self.session.name, KILLED.format(_signal(self.process.exitcode)))


def _signal(exit_status: int | None) -> str:
    if exit_status is None or exit_status >= 0:
        return f"exit status {exit_status}"
    return signal.Signals(-exit_status).name


class _Pool:
    """Runs sessions in fresh processes, one session a process, some at a time."""

    def __init__(self, settings: Settings, process: Process, setup: _Setup) -> None:
        self._settings = settings
        self._process = process
        self._setup = setup

    def run(self, sessions: Sequence[Session], side_by_side: int) -> dict[str, Outcome]:
        """Return how sessions ended; those never started are left out."""
        ended: dict[str, Outcome] = {}
        waiting = deque(sessions)
        working: list[_Worker] = []
        with _all_ended(working):
            while waiting or working:
                while waiting and len(working) < side_by_side:
                    self._start(waiting.popleft(), working)
                # A pipe is ready when an outcome was sent, and also when its process died.
                ready = connection.wait([worker.pipe for worker in working])
                for worker in [worker for worker in working if worker.pipe in ready]:
                    outcome = worker.outcome()
                    working.remove(worker)
                    ended[outcome.name] = outcome
                    if outcome.cause is not Cause.KILLED:
                        announce(outcome, len(ended), len(sessions))
                    if outcome.exit_code and self._settings.stop_on_first_crash:
                        waiting.clear()
        return ended

    def _start(self, session: Session, working: list[_Worker]) -> None:
        # Not fork: a copy of a process with threads keeps their locks, and libraries hang on them.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._setup), daemon=True)
        with keyboard_left_to_the_run():
            process.start()
            working.append(_Worker(session, process, ours))
        theirs.close()  # or the end of the process would not be seen as the end of the pipe
        with suppress(BrokenPipeError):  # who is killed while it starts is seen as the others are
            ours.send((session, self._settings, self._process))


@contextmanager
def _all_ended(working: list[_Worker]) -> Iterator[None]:
    """Kill what still works when the run stops: numerical code of libraries hears nothing else."""
    try:
        yield
    finally:
        for worker in working:
            worker.process.kill()
        for worker in working:
            worker.process.join()


def _work(pipe: Connection, setup: _Setup) -> None:
    _start_worker(setup)
    # Only now: what arrives imports the numerical libraries.
    session, settings, process = pipe.recv()
    pipe.send(work(session, settings, process))


def _start_worker(setup: _Setup) -> None:
    """Prepare a fresh process: its share of the cores, and its log records to the parent.

    Numerical libraries read their number of threads from the environment when they are first
    imported, which in a spawned process is still to come.
    """
    os.environ.update(thread_limits(setup.threads))
    _to_be_killed_before_the_run()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    root = logging.getLogger("bids_qsmthal")
    root.setLevel(min(setup.level, logging.DEBUG))
    handler = logging.handlers.QueueHandler(setup.records)
    handler.setLevel(setup.level)
    root.addHandler(handler)
    # Else a record would reach the root logger, too, and be shown twice.
    root.propagate = False
    # What libraries warn of goes to the participant's log, not to the screen.
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").propagate = False


def _to_be_killed_before_the_run() -> None:
    # No Linux, or a container that hides it: the largest process is killed, mostly this one.
    with suppress(OSError):
        KILL_SCORE.write_text(str(min(int(KILL_SCORE.read_text()) + EARLIER, 1000)))


def _end_with_parent() -> None:
    """End at once when the run does, however it ended; else its participant stays locked."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(ExitCode.TEMPORARY)
