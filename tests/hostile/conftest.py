"""A small dataset that was processed, to be broken in many ways."""

import hashlib
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bids_qsmthal.app import failure_pages
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.errors import QsmthalError
from bids_qsmthal.execution import Outcome
from bids_qsmthal.participant import process
from bids_qsmthal.settings import Settings
from tests import tiny


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two participants with their outputs, made by the command itself."""
    root = tmp_path_factory.mktemp("processed") / "root"
    tiny.write_dataset(root, "sub-01", "sub-02")
    command = [sys.executable, "-m", "bids_qsmthal", *tiny.words(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def root(processed: Path, tmp_path: Path) -> Path:
    """A copy to be broken."""
    return Path(shutil.copytree(processed, tmp_path / "root"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let participants run in this process, since starting one takes longer than most cases.

    What is not an error for users is let through: a traceback fails the test.
    """

    def run(sessions: list[Session], settings: Settings, *_: object) -> list[Outcome]:
        return [one(session, settings) for session in sessions]

    def one(session: Session, settings: Settings) -> Outcome:
        try:
            process(session, settings)
        except QsmthalError as error:
            return Outcome(session.name, error.exit_code, str(error), 0)
        return Outcome(session.name, 0, "", 0)

    monkeypatch.setattr("bids_qsmthal.execution.run", run)


def outputs(root: Path) -> dict[str, str]:
    """Checksums of everything that was written, but for logs, the last command line and failures.

    A participant that fails gets a page that says why, beside what an earlier run made.
    """
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "out").rglob("*"))
        if path.is_file()
        and "logs" not in path.parts
        and "edits" not in path.parts
        and path.name != "dataset_description.json"
        and not path.name.endswith(failure_pages.ENDING)
    }


def refusal(words: list[str], caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    """Return the status of a run and its last words, which must be one line."""
    caplog.clear()
    code = main(words)
    ours = [record for record in caplog.records if record.name.startswith("bids_qsmthal")]
    errors = [record.getMessage() for record in ours if record.levelno >= logging.ERROR]
    assert errors, "nothing was said"
    assert not [line for line in errors if "\n" in line or "Traceback" in line]
    assert len(set(errors)) == 1, errors
    return code, errors[-1]
