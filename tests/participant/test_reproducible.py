"""The same input gives the same bytes, whatever surrounds the run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bids_qsmthal.app import verify
from bids_qsmthal.app.cli import main
from tests import tiny
from tests.seam import Study
from tests.surroundings import PRIVATE, elsewhere


def run(words: list[str], surroundings: Mapping[str, str], umask: int = 0o022) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bids_qsmthal", *words],
        env={**os.environ, **surroundings},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def check_same(one: Path, other: Path, at_least: int) -> None:
    found = verify.of_trees(one, other)
    assert found.differences == ()
    assert found.compared >= at_least


@pytest.mark.slow
def test_the_number_of_threads_makes_no_difference(tmp_path: Path) -> None:
    """With the default methods; a participant with T1w is compared where one is processed."""
    tiny.write_dataset(tmp_path, "sub-01")
    for threads in ("1", "2"):
        words = tiny.words(tmp_path, out=f"threads-{threads}")
        usual = [word for word in words if word not in tiny.FAST[:4]]
        more = ["--nprocs", threads, "--omp-nthreads", threads]
        assert main([*usual[: usual.index("--nprocs")], *more]) == 0
    check_same(tmp_path / "threads-1", tmp_path / "threads-2", 40)


@pytest.mark.slow
def test_language_clock_hash_seed_and_umask_make_no_difference(
    tiny_study: Study, tmp_path: Path, locales: Path
) -> None:
    """Turkish, with all four scans, is tried where such a participant is killed and completed."""
    for name in ("bids", "labels"):
        shutil.copytree(tiny_study.root / name, tmp_path / name)
    words = [str(tmp_path / "bids"), str(tmp_path / "derivatives"), "participant", "group"]
    labels = ["--derivatives", f"mine={tmp_path / 'labels'}", *tiny.FAST]
    run([*words, *labels], elsewhere(locales, "de_DE"), PRIVATE)
    check_same(tiny_study.out, tmp_path / "derivatives", 40)
