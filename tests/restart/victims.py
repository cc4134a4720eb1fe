"""Processes that end in the middle of their work, as by SIGKILL: nothing of Python runs after it.

They are forked from a process that has imported everything, so that a kill costs no start.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import multiprocessing.util
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bids_qsmthal.execution.worker import thread_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Request = tuple[list[str], "Level", "Moment"]

ROOT = Path(__file__).parents[2]
PRELOADED = ("bids_qsmthal.app.levels", "bids_qsmthal.group")

LONGEST_S = 600.0
"""After this a victim hangs: the slowest one takes minutes on a busy machine."""

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


@dataclass(frozen=True)
class Counted:
    """Never: how often a folder was touched is written to a file at the end."""

    folder: Path
    into: Path


@dataclass(frozen=True)
class Heard:
    """Never: what the command says goes to a file."""

    into: Path


Moment = InStage | AtTouch | InWork | NoRoom | Counted | Heard

Level = Literal["participant", "group", "locked", "visits", "command"]
"""A level alone, its participants with lock and log, visits of one, or the whole command."""


class Server:
    """A process that has imported everything, with an environment of its own, and forks victims.

    It is used in a ``with`` statement, and started ``through`` another command, if there is one.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
        through: Sequence[str] = (),
    ) -> None:
        # Numerical libraries read their number of threads when they are imported.
        self._process = subprocess.Popen(
            [*through, sys.executable, "-c", f"from {__name__} import serve; serve()"],
            env={**os.environ, **thread_limits(1), **(environment or {})},
            umask=umask,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, words: list[str], level: Level, moment: Moment) -> int:
        """Run one of the levels that the words name, and return how its process ended.

        What the app refuses has its exit status.
        """
        (ended,) = self.at_once([(words, level, moment)])
        return ended

    def at_once(self, requests: list[Request]) -> list[int]:
        """Run some side by side, and return how each ended."""
        sent, said = self._process.stdin, self._process.stdout
        assert sent
        assert said
        pickle.dump(requests, sent)
        sent.flush()
        return [int(code) for code in said.readline().split()]


def serve() -> None:
    """Fork victims for the requests on the standard input, and print how they ended."""
    for name in PRELOADED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    with os.fdopen(os.dup(1), "w") as said:
        os.dup2(2, 1)  # what victims print must not be taken for an answer
        while True:
            try:
                requests = pickle.load(sys.stdin.buffer)  # noqa: S301 - the test sent it
            except EOFError:
                return
            victims = [context.Process(target=_work, args=request) for request in requests]
            for victim in victims:
                victim.start()
            for victim in victims:
                victim.join(LONGEST_S)
                if victim.exitcode is None:
                    victim.kill()
                    raise TimeoutError(f"{victim.name} does not end")
            print(*(victim.exitcode for victim in victims), file=said, flush=True)


def _work(words: list[str], level: Level, moment: Moment) -> None:
    from bids_qsmthal.app.cli import main  # noqa: PLC0415
    from bids_qsmthal.core.errors import QsmthalError, of_system  # noqa: PLC0415

    _prepare(moment)
    if level == "command":
        sys.exit(main(words))
    try:
        _do(words, level)
    except (QsmthalError, OSError) as error:  # as the worker of a run and the command do
        said = error if isinstance(error, QsmthalError) else of_system(error)
        sys.exit(said.exit_code)


def _do(words: list[str], level: Level) -> None:
    from bids_qsmthal import group, participant  # noqa: PLC0415
    from bids_qsmthal.app.cli import parse, settings_from  # noqa: PLC0415
    from bids_qsmthal.bids.dataset import Session, find_sessions  # noqa: PLC0415
    from bids_qsmthal.execution.worker import work  # noqa: PLC0415
    from bids_qsmthal.participant import change  # noqa: PLC0415

    settings = settings_from(parse(words), words)
    if level == "group":
        group.run(settings)
        return
    if level == "visits":
        change.process(Session(root=settings.bids_dir, subject="01"), settings)
        return
    sessions = find_sessions(settings.bids_dir, settings.selection)
    if level == "locked":
        sys.exit(max(work(one, settings, participant.process).exit_code for one in sessions))
    for session in sessions:
        participant.process(session, settings)


def _prepare(moment: Moment) -> None:
    log = logging.getLogger("bids_qsmthal")
    log.setLevel(logging.INFO)  # as the command has it: stages are told at this level
    if isinstance(moment, InStage | NoRoom):
        log.addHandler(_Clock(moment) if isinstance(moment, InStage) else _Limit(moment))
    elif isinstance(moment, InWork):
        signal.setitimer(signal.ITIMER_PROF, moment.cpu_s)
    elif isinstance(moment, Heard):
        # Emptied first: the end of what an earlier command said would stand behind a shorter text.
        os.dup2(os.open(moment.into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    else:
        sys.addaudithook(_counter(moment))


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


def _counter(moment: AtTouch | Counted) -> Callable[[str, tuple[object, ...]], None]:
    touched, folder = 0, str(moment.folder)
    last = moment.number if isinstance(moment, AtTouch) else 0
    if isinstance(moment, Counted):
        # A process that was forked does not come to atexit.
        multiprocessing.util.Finalize(
            None, lambda: moment.into.write_text(str(touched)), exitpriority=1
        )

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        # What is removed within a folder is named without it.
        if event in REMOVED or (event in WATCHED and folder in str(arguments)):
            touched += 1
            if touched == last:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch
