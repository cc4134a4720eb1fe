"""Participants side by side on this machine."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from bids_qsmthal.execution.outcome import KILLED_CODE, Outcome, announce
from bids_qsmthal.execution.records import Records
from bids_qsmthal.execution.worker import thread_limits, work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution.worker import Process
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

KILLED = (
    "its process was killed, most often for lack of memory; give more with --mem, "
    "run fewer side by side with --nprocs, and run the same command again"
)


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session in its own process and return how each ended, in the order given.

    A participant that fails, crashes or is killed leaves the others untouched.
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
        pool = _Pool(settings, process, threads, records)
        ended = pool.run(sessions, side_by_side)
        # A killed process takes its pool along: the others go again, each in a pool of its own.
        for session in (s for s in sessions if s.name not in ended):
            if settings.stop_on_first_crash and any(end.exit_code for end in ended.values()):
                break
            killed = Outcome(session.name, KILLED_CODE, KILLED, 0)
            ended |= pool.run([session], 1) or {session.name: killed}
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
        records: Records,
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
                pool.submit(work, session, self._settings, self._process): session
                for session in sessions
            }
            for future in as_completed(futures):
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    continue
                ended[outcome.name] = outcome
                announce(outcome, len(ended), len(sessions))
                if outcome.exit_code and self._settings.stop_on_first_crash:
                    pool.shutdown(cancel_futures=True)
                    break
        return ended


def _start_worker(threads: int, records: Records, level: int) -> None:
    """Prepare a fresh process: its share of the cores, and its log records to the parent.

    Numerical libraries read their number of threads from the environment when they are first
    imported, which in a spawned process is still to come.
    """
    os.environ.update(thread_limits(threads))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    root = logging.getLogger("bids_qsmthal")
    root.setLevel(min(level, logging.DEBUG))
    handler = logging.handlers.QueueHandler(records)
    handler.setLevel(level)
    root.addHandler(handler)
    root.propagate = False
    # What libraries warn of goes to the participant's log, not to the screen.
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").propagate = False


def _end_with_parent() -> None:
    """End at once when the run does, however it ended; else its participant stays locked."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(KILLED_CODE)
