"""The tools that ship: each is there, or its tests say so; in CI they have to be there."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_qsmthal.settings import GIB, Placement, Resources, Settings

ROOT = Path(__file__).parents[2]
IMAGE = "bids_qsmthal"
DASK = (sys.executable, "-m", "dask")  # of this environment, which need not be on the path
HARDENED = (
    *("--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108
    *("--user", "12345:12345", "--security-opt", "no-new-privileges"),
    *("--memory", "6g", "--cpus", "2"),
)


SLOW = {"datalad", "docker", "scheduler", "sif", "slurm"}
"""Fixtures of tools that take their time: the tests that use them are marked slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and SLOW & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


def missing(what: str) -> None:
    """Skip the test that needs a tool; fail it where the tool has been promised."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "out").mkdir()
    return Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=2, threads=1, memory_bytes=64 * GIB),
        started="now",
    )


@pytest.fixture
def nodes_see_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and jobs are processes of their own, which import the tests by name."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="session")
def slurm() -> Placement:
    """A Slurm that answers, with room for two jobs."""
    if not shutil.which("sinfo"):
        missing("Slurm")
    asked = subprocess.run(["sinfo", "-h", "-o", "%D"], capture_output=True, text=True, check=False)
    if asked.returncode or not asked.stdout.strip():
        missing("a running Slurm")
    return Placement(executor="slurm", slurm_options=(("mem", "500M"), ("time", "10")))


@pytest.fixture(scope="session")
def docker() -> None:
    """An engine that answers and has the image, built from the Dockerfile."""
    if not shutil.which("docker"):
        missing("docker")
    asked = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False)
    if asked.returncode:
        missing(f"a running container engine with the image {IMAGE}")


@pytest.fixture(scope="session")
def sif() -> Path:
    """The same image as a file for Apptainer; ordinary users can read it."""
    if not shutil.which("apptainer"):
        missing("Apptainer")
    path = Path(os.environ.get("BIDS_QSMTHAL_SIF", ""))
    if not path.is_file():
        missing("the image for Apptainer (BIDS_QSMTHAL_SIF)")
    return path


@pytest.fixture(scope="session")
def datalad() -> Path:
    """The programs of DataLad, git-annex and BABS, in an environment of their own."""
    path = Path(os.environ.get("BIDS_QSMTHAL_DATALAD", ""))
    if not (path / "datalad").is_file():
        missing("DataLad with BABS (BIDS_QSMTHAL_DATALAD)")
    return path


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A scheduler of Dask outside this process, with two workers; its address."""
    file = tmp_path / "scheduler.json"
    processes = [
        subprocess.Popen(
            [
                *(*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0"),
                *("--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)),
            ],
            stderr=subprocess.DEVNULL,
        ),
        *(
            subprocess.Popen(
                [
                    *(*DASK, "worker", "--scheduler-file", str(file), "--nthreads", "1"),
                    *("--local-directory", str(tmp_path), "--name", name, "--no-dashboard"),
                ],
                stderr=subprocess.DEVNULL,
            )
            for name in ("one", "two")
        ),
    ]
    until = time.monotonic() + 60
    while not file.is_file():
        assert time.monotonic() < until, "the scheduler of Dask did not start"
        time.sleep(0.1)
    yield str(file)
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.wait(20)
