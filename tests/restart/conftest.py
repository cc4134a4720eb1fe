"""A dataset that is processed in seconds, and what an undisturbed run makes of it."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bids_qsmthal.bids import manifest
from tests import tiny
from tests.restart import disks, victims
from tests.restart.disks import Disk

LONGEST_S = 1800.0
"""After this a run hangs: the slowest takes half a minute, and a busy machine ten times as long."""


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    tiny.write_dataset(root, "sub-01", "sub-02")
    return root


@pytest.fixture(scope="session")
def undisturbed(dataset: Path) -> dict[str, str]:
    """Checksums of the outputs of a run that nothing happens to."""
    done = run(tiny.words(dataset, out="undisturbed"))
    assert done.returncode == 0, done.stderr
    return outputs(dataset / "undisturbed")


@pytest.fixture(scope="session", params=disks.KINDS)
def disk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Disk]:
    """A disk that becomes full, and one with a quota."""
    with disks.KINDS[request.param](tmp_path_factory.mktemp("disk")) as made:
        yield made


@pytest.fixture(scope="session")
def server() -> Iterator[victims.Server]:
    """What forks processes that are to be killed."""
    with victims.Server() as forking:
        yield forking


def command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "bids_qsmthal", *words]


def run(words: Sequence[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(words), capture_output=True, text=True, check=False, timeout=LONGEST_S, **more
    )


def start(words: Sequence[str], said: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own; what it says goes to a file."""
    with said.open("wb") as stream:
        return subprocess.Popen(
            command(words), start_new_session=True, stdout=stream, stderr=stream
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a run and every process it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def outputs(out: Path) -> dict[str, str]:
    """Checksums of what was written under a final name, but for logs and the dataset's texts."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(_bytes(path)).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
        # Neither files nor folders, such as that of the group level, that were being written.
        and not any(part.endswith(".part") for part in path.relative_to(out).parts)
        and "logs" not in path.relative_to(out).parts
        and path.name not in {"dataset_description.json", "CITATION.md", "CITATION.bib"}
    }


def _bytes(path: Path) -> bytes:
    """Return a file; of a page all but the words of the command that made it."""
    return manifest.content(path) if path.suffix == ".html" else path.read_bytes()


def leftovers(out: Path) -> list[Path]:
    """What was being written for a participant."""
    return [path for path in out.rglob(".*.part") if "sub-" in path.name]


def said_in_logs(out: Path, words: str) -> int:
    """Count how often the logs of participants say something."""
    return sum(path.read_text().count(words) for path in out.glob("logs/sub-*.log"))


def forget(root: Path, out: str) -> None:
    for name in (out, f"work-{out}"):
        shutil.rmtree(root / name, ignore_errors=True)
