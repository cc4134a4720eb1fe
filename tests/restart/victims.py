"""Processes that end in the middle of their work, as by SIGKILL: nothing of Python runs after it.

They are forked from a server that has imported everything, so that a kill costs no start.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bids_qsmthal.execution.worker import thread_limits, work

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

WATCHED = {"open", "os.rename", "os.mkdir"}
REMOVED = {"os.remove", "os.rmdir"}


@dataclass(frozen=True)
class InStage:
    """Some CPU time after a stage began to compute; 0 for never."""

    number: int
    cpu_s: float


@dataclass(frozen=True)
class AtTouch:
    """Before the n-th time that a folder is touched; 0 for never."""

    folder: Path
    number: int


@dataclass(frozen=True)
class InWork:
    """Some CPU time after the work on the first participant began."""

    cpu_s: float


@dataclass(frozen=True)
class NoRoom:
    """From a stage on, done or known; 0 for from the start: no file grows past a size.

    As on a full disk, the system refuses to write on.
    """

    number: int
    largest_bytes: int


Moment = InStage | AtTouch | InWork | NoRoom


def run(words: list[str], level: str, moment: Moment, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run one of the levels that the words name, and return how its process ended.

    What the app refuses has its exit status.
    """
    context = _server(monkeypatch)
    process = context.Process(target=_work, args=(words, level, moment))
    process.start()
    process.join(600)
    assert process.exitcode is not None
    return process.exitcode


def at_once(number: int, words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let some processes work on every participant at one time; return how each ended for each."""
    context = _server(monkeypatch)
    ready, ended = context.Barrier(number), context.Queue()
    processes = [
        context.Process(target=_join_in, args=(words, ready, ended)) for _ in range(number)
    ]
    for process in processes:
        process.start()
    codes = [code for _ in processes for code in ended.get(timeout=600)]
    for process in processes:
        process.join()
    return codes


def _join_in(words: list[str], ready: Barrier, ended: Queue[list[int]]) -> None:
    from bids_qsmthal import participant  # noqa: PLC0415
    from bids_qsmthal.app.cli import parse, settings_from  # noqa: PLC0415
    from bids_qsmthal.bids.dataset import find_sessions  # noqa: PLC0415

    settings = settings_from(parse(words), words)
    sessions = find_sessions(settings.bids_dir, settings.selection)
    ready.wait(600)
    ended.put([work(session, settings, participant.process).exit_code for session in sessions])


def _server(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    for name, value in thread_limits(1).items():
        monkeypatch.setenv(name, value)  # the server hands on what it was started with
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bids_qsmthal.app.levels", "bids_qsmthal.group", __name__])
    return context


def _work(words: list[str], level: str, moment: Moment) -> None:
    from bids_qsmthal import group, participant  # noqa: PLC0415
    from bids_qsmthal.app.cli import parse, settings_from  # noqa: PLC0415
    from bids_qsmthal.bids.dataset import find_sessions  # noqa: PLC0415
    from bids_qsmthal.core.errors import QsmthalError, of_system  # noqa: PLC0415

    settings = settings_from(parse(words), words)
    if isinstance(moment, InStage | NoRoom):
        log = logging.getLogger("bids_qsmthal")
        log.setLevel(logging.INFO)
        log.addHandler(_Clock(moment) if isinstance(moment, InStage) else _Limit(moment))
    elif isinstance(moment, InWork):
        signal.setitimer(signal.ITIMER_PROF, moment.cpu_s)
    else:
        sys.addaudithook(_counter(moment))
    try:
        if level == "group":
            group.run(settings)
            return
        for session in find_sessions(settings.bids_dir, settings.selection):
            participant.process(session, settings)
    except (QsmthalError, OSError) as error:  # as the worker of a run and the command do
        said = error if isinstance(error, QsmthalError) else of_system(error)
        sys.exit(said.exit_code)


class _Clock(logging.Handler):
    """Starts the clock when the stage does. Nobody handles SIGPROF: the system ends the process."""

    def __init__(self, moment: InStage) -> None:
        super().__init__()
        self._moment = moment

    def emit(self, record: logging.LogRecord) -> None:
        step = getattr(record, "step", {"number": 0})
        if step["number"] == self._moment.number and step["state"] == "started":
            signal.setitimer(signal.ITIMER_PROF, self._moment.cpu_s)


class _Limit(logging.Handler):
    """Sets the limit when the stage begins."""

    def __init__(self, moment: NoRoom) -> None:
        super().__init__()
        self._moment = moment
        self._set(0)

    def _set(self, number: int) -> None:
        if number == self._moment.number:
            largest = self._moment.largest_bytes
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    def emit(self, record: logging.LogRecord) -> None:
        if step := getattr(record, "step", None):
            self._set(step["number"])


def _counter(moment: AtTouch) -> Callable[[str, tuple[object, ...]], None]:
    touched = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        # What is removed within a folder is named without it.
        if event in REMOVED or (event in WATCHED and str(moment.folder) in str(arguments)):
            touched += 1
            if touched == moment.number:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch
