"""Asks R the same questions."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[1] / "r" / "referee.R"


class Referee:
    """An R process that answers one question after another."""

    def __init__(self, program: str) -> None:
        # A file: a pipe that nobody reads would fill.
        self.messages = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as R runs
        self.process = subprocess.Popen(
            [program, "--vanilla", SCRIPT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.messages, text=True,
        )  # fmt: skip

    def status(self, question: dict[str, str]) -> str:
        """Return "done" once the answers are written, else what R said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        # Packages may print; the end of the output is the end of R.
        for line in self.process.stdout:
            if line.startswith('{"referee":'):
                return str(json.loads(line)["referee"])
        self.messages.seek(0)
        return self.messages.read()

    def end(self) -> None:
        """End the process, which has nothing to save."""
        self.process.kill()
        self.process.communicate()
        self.messages.close()


RUNNING: list[Referee] = []


def running(program: str) -> Referee:
    """Return the referee of this test process, a new one where there is none."""
    while RUNNING and RUNNING[0].process.poll() is not None:
        RUNNING.pop().end()
    if not RUNNING:
        RUNNING.append(Referee(program))
    return RUNNING[0]


@atexit.register
def end() -> None:
    while RUNNING:
        RUNNING.pop().end()


def ask(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return R's answer to each case; a case may hold a table under ``data``."""
    program = shutil.which("Rscript")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Rscript is not installed (Debian: see tests/r/referee.R)")
        pytest.skip("Rscript is not installed")
    asked = []
    for place, case in enumerate(cases):
        plain = dict(case)
        if isinstance(case.get("data"), pd.DataFrame):
            plain["data"] = str(folder / f"{place}.csv")
            case["data"].to_csv(plain["data"], index=False, float_format="%.17g", na_rep="NA")
        asked.append(plain)
    (folder / "cases.json").write_text(json.dumps(asked))
    answer = folder / "answers.json"
    status = running(program).status({"cases": str(folder / "cases.json"), "answers": str(answer)})
    assert status == "done"
    return json.loads(answer.read_text())
