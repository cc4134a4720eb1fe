"""A participant run again in the background: one at a time, watched, stopped, and compared.

The run is a process of its own, of the app's own command. It ends with the server, unless that is
killed outright; then it goes on to its end, as a run on the command line would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from bids_qsmthal.core.errors import ExitCode, OutputError
from bids_qsmthal.view import changes, participants
from bids_qsmthal.view.messages import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_qsmthal.view.changes import Change, Measured
    from bids_qsmthal.view.participants import ParticipantRow

LINES: Final = 12
"""Of what the run says last: the stage it is at, and what went wrong."""

LONGEST: Final = 500
"""Letters of a line that are kept."""

PATIENCE_S: Final = 20.0
"""How long a run has to end after Ctrl-C, then after SIGTERM: it gives its locks back."""


@dataclass(frozen=True, slots=True)
class Command:
    """What runs a participant again: the words before the output folder, and its environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    exit_code
        ``None`` while it runs.
    changes
        What it measured otherwise than before; nothing while it runs.
    """

    name: str
    lines: tuple[str, ...]
    exit_code: int | None
    changes: tuple[Change, ...] = ()

    def described(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        return {
            "name": self.name,
            "lines": self.lines,
            "running": self.exit_code is None,
            "done": self.exit_code == ExitCode.DONE,
            "ending": _ending(self.exit_code),
            "changes": [change.described() for change in self.changes],
        }


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return ""
    known = [f"{code.meaning}; {code.advice}" for code in ExitCode if code == exit_code]
    # A negative one is the signal that ended it (subprocess).
    unknown = f"ended with status {exit_code}; run the participant on the command line"
    return known[0] if known else unknown


class _Run:
    """One process and what it said."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.lines: tuple[str, ...] = ()
        # A group of its own: Ctrl-C in the terminal is the server's, which then ends this one.
        self._process = subprocess.Popen(  # noqa: S603 - the app's own command, no shell
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """The exit status once the process ended and all it said was read."""
        return None if self._reader.is_alive() else self._process.poll()

    def interrupt(self) -> None:
        self._send(signal.SIGINT)

    def end(self) -> None:
        """Stop it and return when it is gone."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self._send(number)
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue
            break
        self._reader.join(PATIENCE_S)

    def _send(self, number: signal.Signals) -> None:
        # One that ended is not waited for yet, so that its number cannot be another's already.
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        stream = self._process.stderr
        if stream is not None:
            with stream:
                for line in stream:
                    # Another tuple each time: a request that reads it meanwhile has a whole one.
                    self.lines = (*self.lines, line.rstrip()[:LONGEST])[-LINES:]
        self._process.wait()


class Remaker:
    """Runs participants of one output folder again, one at a time."""

    def __init__(self, output_dir: Path, command: Command) -> None:
        self._output_dir = output_dir
        self._command = command
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._row: ParticipantRow | None = None
        self._before: Measured = {}
        self._ended = False

    def start(self, row: ParticipantRow, *, group: bool) -> None:
        """Run the participant of a scan again, with all scans of its session.

        Raises
        ------
        RefusedError
            Another one runs.
        OutputError
            No process can be started.
        """
        words = [*self._command.words, str(self._output_dir)]
        words += ["--participant-label", row.participant_id]
        if row.session_id != "n/a":
            words += ["--session-label", row.session_id]
        words += ["--group"] * group
        with self._lock:
            if self._ended:
                raise RefusedError(HTTPStatus.CONFLICT, "the server is being stopped.")
            if self._run is not None and self._run.exit_code is None:
                raise RefusedError(
                    HTTPStatus.CONFLICT,
                    f"{self._name} is being remade; wait until it is done, or stop it.",
                )
            self._before = self._measured(row)
            try:
                self._run = _Run(tuple(words), self._command.environment)
            except OSError as error:
                raise OutputError(
                    f"no process can be started ({error.strerror}); run the participant on the "
                    "command line."
                ) from error
            self._row = row

    def interrupt(self) -> None:
        """Stop what runs, as Ctrl-C does; without one, nothing happens."""
        with self._lock:
            if self._run is not None:
                self._run.interrupt()

    def end(self) -> None:
        """Stop what runs and return when it is gone; nothing is started after this."""
        with self._lock:
            self._ended = True
            if self._run is not None:
                self._run.end()

    def progress(self) -> Progress | None:
        """Return how far the last one is; ``None`` where there was none.

        Raises
        ------
        DataError
            A table of the participant is damaged.
        """
        with self._lock:
            if self._run is None or self._row is None:
                return None
            # The status first: what is said after it was asked for is said by nobody.
            exit_code = self._run.exit_code
            made = () if exit_code is None else changes.between(self._before, self._now())
            return Progress(self._name, self._run.lines, exit_code, made)

    @property
    def _name(self) -> str:
        return "" if self._row is None else self._row.name

    def _now(self) -> Measured:
        return {} if self._row is None else self._measured(self._row)

    def _measured(self, row: ParticipantRow) -> Measured:
        return changes.measured(self._output_dir, participants.session(self._output_dir, row))
