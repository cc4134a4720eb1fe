"""Disks that fail while a run works on them: one line says where, and a good disk has the rest."""

from __future__ import annotations

import gzip
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest
from bids_qsmthal.core.errors import ExitCode
from tests import tiny
from tests.restart import disks
from tests.restart.conftest import LONGEST_S, outputs, run, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.restart.disks import FailingDisk
    from tests.seam import Study

ONE = ("--participant-label", "01")
POLLED_S = 0.005

HOW = {
    "dies": (ExitCode.READ_WRITE,),
    # What is being written in that moment fails as on a disk that dies.
    "turns_read_only": (ExitCode.OUTPUT, ExitCode.READ_WRITE),
}
"""How the disk fails, and the exit statuses."""

SAYS = {ExitCode.READ_WRITE: "Input/output error", ExitCode.OUTPUT: "Read-only file system"}
"""What the system says."""

ADVICE = {ExitCode.READ_WRITE: "check disk", ExitCode.OUTPUT: "free space or choose another"}

MOMENTS = {
    "it begins": "out/logs/sub-01_*.log",
    "a stage has finished": "work/sub-01/results/*.json",
    "an image is saved": "out/sub-01/anat/*_Chimap.nii.gz",
    "the page is written": "out/sub-01/figures/*",
}
"""The disk fails as soon as such a file is there."""


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingDisk]:
    with disks.failing(tmp_path) as disk:
        yield disk


def on(place: Path, dataset: Path, *more: str) -> list[str]:
    """Return the command that has its output and work folder in a place."""
    words = tiny.words(dataset, *ONE, *more)
    words[1], words[words.index("--work-dir") + 1] = str(place / "out"), str(place / "work")
    return words


def wait_for(place: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + LONGEST_S
    while not any(place.glob(pattern)):
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < until
        time.sleep(POLLED_S)


def check_said(said: str, code: int, expected: tuple[ExitCode, ...], disk: FailingDisk) -> None:
    """One line, the last, says where, what, and what to do; no traceback anywhere."""
    assert code in expected, said
    assert "Traceback" not in said
    assert "Logging error" not in said
    assert "this is a bug" not in said
    last = said.strip().splitlines()[-1]
    assert SAYS[ExitCode(code)] in last
    assert str(disk.place) in last
    assert ADVICE[ExitCode(code)] in last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "moment"),
    [
        *(("dies", moment) for moment in MOMENTS),
        ("turns_read_only", "a stage has finished"),
        ("turns_read_only", "an image is saved"),
    ],
)
def test_a_disk_that_fails_under_a_run_is_one_line_and_a_good_one_has_the_rest(
    dataset: Path,
    undisturbed: dict[str, str],
    failing: FailingDisk,
    tmp_path: Path,
    how: str,
    moment: str,
) -> None:
    words = on(failing.place, dataset)
    log = tmp_path / "said.txt"
    process = start(words, log)
    wait_for(failing.place, MOMENTS[moment], process)
    getattr(failing, how)()
    code = process.wait(LONGEST_S)
    check_said(log.read_text(), code, HOW[how], failing)
    failing.mend()
    wanted = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    out = failing.place / "out"
    there = outputs(out)
    assert {name: wanted.get(name) for name in there if name != "sub-01_failed.html"} == {
        name: there[name] for name in there if name != "sub-01_failed.html"
    }
    assert not [entry for entry in manifest.entries_of(out, "sub-01") if entry.scans]
    done = run(words)
    assert done.returncode == 0, done.stderr
    assert outputs(out) == wanted
    assert main(["verify", str(out)]) == 0


def scan(name: str) -> str:
    return f"bids/sub-01/anat/sub-01_{name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        scan("echo-1_part-mag_MEGRE.nii.gz"),
        scan("echo-2_part-phase_MEGRE.json"),
        scan("echo-3_part-mag_MEGRE.nii"),
        "labels/sub-01/anat/sub-01_space-MEGRE_desc-deepgray_dseg.nii.gz",
        "bids/dataset_description.json",
    ],
)
def test_an_input_that_cannot_be_read_is_named_and_not_called_damaged(
    dataset: Path, undisturbed: dict[str, str], failing: FailingDisk, name: str, tmp_path: Path
) -> None:
    """Also an image that is not compressed: mapped into memory it would end the process."""
    root = failing.place / "data"
    shutil.copytree(dataset / "bids", root / "bids")
    shutil.copytree(dataset / "labels", root / "labels")
    wrong = root / name
    if name.endswith(".nii"):
        packed = wrong.with_suffix(".nii.gz")
        wrong.write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    failing.put_last(wrong)
    failing.cannot_read(wrong)
    words = on(tmp_path, root)
    words += ["--nprocs", "1"]
    done = run(words)
    check_said(done.stderr, done.returncode, (ExitCode.READ_WRITE,), failing)
    assert str(wrong) in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "sub-01.html").exists()
    failing.mend()
    done = run(words)
    assert done.returncode == 0, done.stderr
    wanted = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    if not name.endswith(".nii"):  # whose name stands in sidecars and page
        assert outputs(tmp_path / "out") == wanted


@pytest.mark.slow
def test_a_kept_result_that_cannot_be_read_is_computed_again(
    dataset: Path, undisturbed: dict[str, str], failing: FailingDisk, tmp_path: Path
) -> None:
    words = on(tmp_path, dataset)
    words[words.index("--work-dir") + 1] = str(failing.place / "work")
    assert run(words).returncode == 0
    kept = max(
        (failing.place / "work" / "sub-01" / "arrays").iterdir(), key=lambda p: p.stat().st_ino
    )
    failing.cannot_read(kept)
    shutil.rmtree(tmp_path / "out")
    done = run([*words, "-v"])
    assert done.returncode == 0, done.stderr
    wanted = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    assert outputs(tmp_path / "out") == wanted


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_a_disk_that_fails_at_the_group_level_leaves_the_old_set_or_the_new_one(
    tiny_study: Study, failing: FailingDisk, how: str, tmp_path: Path
) -> None:
    """It fails while the new set is written beside the old one."""
    out = failing.place / "out"
    shutil.copytree(tiny_study.out, out)
    (out / "group" / "old.txt").write_text("of the old set")
    old = outputs(out)
    disks.run("sync", "-f", str(out))
    words = [str(tiny_study.bids), str(out), "group", "-w", str(tmp_path / "work")]
    log = tmp_path / "said.txt"
    process = start(words, log)
    wait_for(out, ".group.*.part/figures/*", process)
    getattr(failing, how)()
    code = process.wait(LONGEST_S)
    check_said(log.read_text(), code, HOW[how], failing)
    failing.mend()
    assert outputs(out) == old
    assert run(words).returncode == 0
    assert outputs(out) == outputs(tiny_study.out)
