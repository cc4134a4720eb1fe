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
from tests import seam, tiny
from tests.seam import Study

OTHERWISE = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4711"}
FOLDER = "Ölçüm ıİ dir"  # letters that change their case in Turkish only, and spaces


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with locales whose decimal comma, order and case differ from English."""
    folder = tmp_path_factory.mktemp("locales")
    for name in ("tr_TR", "de_DE"):
        command = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
        subprocess.run(command, check=True, capture_output=True)
    look = "import locale; locale.setlocale(locale.LC_ALL, ''); print(locale.str(1.5))"
    spoken = {**os.environ, "LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8"}
    assert subprocess.check_output([sys.executable, "-c", look], env=spoken) == b"1,5\n"
    return folder


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
@pytest.mark.parametrize("language", ["tr_TR.UTF-8", "de_DE.UTF-8"])
def test_language_clock_hash_seed_and_umask_make_no_difference(
    tiny_study: Study, tmp_path: Path, locales: Path, language: str
) -> None:
    surroundings = {**OTHERWISE, "LOCPATH": str(locales), "LC_ALL": language, "LANG": language}
    for name in ("bids", "labels"):
        shutil.copytree(tiny_study.root / name, tmp_path / name)
    words = [str(tmp_path / "bids"), str(tmp_path / "derivatives"), "participant", "group"]
    labels = ["--derivatives", f"mine={tmp_path / 'labels'}", *tiny.FAST]
    run([*words, *labels], surroundings, umask=0o077)
    check_same(tiny_study.out, tmp_path / "derivatives", 40)


@pytest.mark.slow
def test_nothing_around_a_participant_with_all_scans_makes_a_difference(
    seam_study: Study, tmp_path: Path, locales: Path
) -> None:
    """All at once: language, clock, hash seed, umask, folder, whose home, Dask, and two
    participants' budget. Another user's number is tried in the container."""
    root = tmp_path / FOLDER
    shutil.copytree(seam_study.bids, root / "bids")
    language = {"LOCPATH": str(locales), "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"}
    somebody = {"HOME": str(tmp_path), "USER": "somebody", "LOGNAME": "somebody"}
    words = [str(root / "bids"), str(root / "derivatives"), "participant", "group"]
    budget = ["--nprocs", "2", "--omp-nthreads", "1", "--executor", "dask"]
    run([*words, *budget], OTHERWISE | language | somebody, umask=0o077)
    check_same(seam_study.out, root / "derivatives", 100)
    assert seam.NAME in {path.name for path in (root / "derivatives").iterdir()}
