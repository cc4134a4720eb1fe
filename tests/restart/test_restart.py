"""Killed, out of space, or started twice: nothing is half written, and the end is the same."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.core.files import sweep
from tests import tiny
from tests.restart import disks
from tests.restart.conftest import (
    LONGEST_S,
    forget,
    kill,
    leftovers,
    outputs,
    run,
    said_in_logs,
    start,
)
from tests.restart.disks import KIB, Disk
from tests.restart.victims import AtTouch, Heard, InStage, InWork, Server
from tests.seam import Study

KILLS, CLEAN_EVERY = 15, 5
SEED = 20180301


ONE = ("--participant-label", "01")


def of_first(checksums: dict[str, str]) -> dict[str, str]:
    """Return the outputs of the first participant, without what the command itself writes."""
    return {name: value for name, value in checksums.items() if name.startswith("sub-01")}


def kill_the_command(root: Path, out: str, delay_s: float) -> None:
    """Kill a command and all its processes some seconds after it was started."""
    process = start(tiny.words(root, *ONE, out=out))
    time.sleep(delay_s)
    kill(process)


@pytest.mark.slow
def test_a_run_that_is_killed_15_times_ends_as_if_nothing_had_happened(
    dataset: Path, undisturbed: dict[str, str], server: Server
) -> None:
    """Kills go on from what the one before left; after every five the run may finish.

    Of the five one hits the command anywhere from its start, one the second stage, so that there is
    something to go on from, the others the work, which takes two or three seconds of CPU time.
    """
    words = tiny.words(dataset, *ONE, out="killed")
    rng = random.Random(SEED)  # noqa: S311 - moments, no secrets
    reused = killed = 0
    for number in range(KILLS):
        if number % CLEAN_EVERY == 0:
            forget(dataset, "killed")
        moment_s = rng.uniform(0.01, 3)
        if number % CLEAN_EVERY == 1:
            kill_the_command(dataset, "killed", 2 * moment_s)
        else:
            second = number % CLEAN_EVERY == 2
            moment = InStage(2, moment_s / 10) if second else InWork(moment_s)
            ended = server.run(words, "participant", moment)
            killed += ended == -signal.SIGPROF
        for name, checksum in outputs(dataset / "killed").items():
            assert undisturbed[name] == checksum, (number, moment_s, name)
        if number % CLEAN_EVERY == CLEAN_EVERY - 1:
            assert server.run(words, "locked", AtTouch(dataset, 0)) == 0
            assert of_first(outputs(dataset / "killed")) == of_first(undisturbed)
            assert not leftovers(dataset / "killed")
            reused += said_in_logs(dataset / "killed", ": reused")
            assert main(["verify", str(dataset / "killed")]) == 0
    assert reused > 0
    assert killed > 0


@dataclass(frozen=True)
class Sizes:
    """What a participant takes (bytes): results that are kept, outputs, of these images, pages."""

    kept: int
    written: int
    images: int
    pages: int


def sizes_of(root: Path, names: Iterable[str]) -> Sizes:
    """Return the sizes of an undisturbed participant, whose outputs have these names."""
    size = {name: (root / "undisturbed" / name).stat().st_size for name in names}
    kept = root / "work-undisturbed" / "sub-01"
    return Sizes(
        kept=sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()),
        written=sum(size.values()),
        images=sum(size[name] for name in size if name.endswith(".nii.gz")),
        pages=sum(size[name] for name in size if name.endswith(".html")),
    )


@dataclass(frozen=True)
class Folders:
    """Output and work folder of a participant on a disk, and the command that fills them."""

    root: Path
    words: list[str]
    log: Path
    server: Server
    disk: Disk
    wanted: dict[str, str]

    def ends_without_room(self, room: int, where: str) -> None:
        """So much is left (bytes): the run ends in one line there, and nothing is half written."""
        self.disk.leave(room)
        ended, said = heard(self.server, self.words, self.log)
        assert ended == ExitCode.OUTPUT, said
        assert "Traceback" not in said
        assert "Logging error" not in said
        place = where if self.disk.exact else r"/(out|work)/"
        assert re.search(rf"{place}.*{self.disk.says}", said), said
        last = said.strip().splitlines()[-1]
        assert self.disk.says in last
        assert "free space" in last
        for name, checksum in outputs(self.root / "out").items():
            assert name == "sub-01_failed.html" or self.wanted[name] == checksum, name

    def ends_well(self) -> None:
        self.disk.leave_plenty()
        ended, said = heard(self.server, self.words, self.log)
        assert ended == 0, said
        assert outputs(self.root / "out") == self.wanted
        assert not leftovers(self.root / "out")


@pytest.mark.slow
def test_without_room_a_run_ends_in_one_line_and_goes_on_when_there_is_some(
    dataset: Path, undisturbed: dict[str, str], disk: Disk, server: Server, tmp_path: Path
) -> None:
    """Of a full disk, and of a quota on a disk that is not full: at four places of a run."""
    root = disk.place / "participant"
    words = tiny.words(dataset, *ONE)
    words[1], words[words.index("--work-dir") + 1] = str(root / "out"), str(root / "work")
    sizes = sizes_of(dataset, of_first(undisturbed))
    wanted = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    run = Folders(root, words, tmp_path / "said.txt", server, disk, wanted)
    run.ends_without_room(8 * KIB, r"out/[\w.]+:")
    run.ends_without_room(sizes.kept // 2, r"work/sub-01/(arrays|results)/")
    run.ends_well()
    # Results of stages are kept now; what is written anew are images, tables, figures and pages.
    for room, where in (
        (sizes.images // 2, r"sub-01/anat/\S+\.nii\.gz"),
        (sizes.written - sizes.pages // 2, r"sub-01\S*\.html"),
    ):
        shutil.rmtree(root / "out")
        run.ends_without_room(room, where)
    run.ends_well()


def heard(server: Server, words: list[str], log: Path) -> tuple[int, str]:
    """Return how a command ended, and what it said."""
    return server.run(words, "command", Heard(log)), log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("free_kib", [8, 400])
def test_without_room_at_the_group_level_nothing_is_left_of_it(
    tiny_study: Study, disk: Disk, caplog: pytest.LogCaptureFixture, free_kib: int
) -> None:
    """Tables or the page find no room: there is no group folder; with room it is the same."""
    root = disk.place / "group"
    shutil.rmtree(root, ignore_errors=True)
    disk.leave_plenty()
    shutil.copytree(tiny_study.out, root / "out", ignore=shutil.ignore_patterns("group*"))
    kept = outputs(root / "out")
    disk.leave(free_kib * KIB)
    words = [str(tiny_study.bids), str(root / "out"), "group", "-w", str(root / "work")]
    assert main(words) == ExitCode.OUTPUT
    assert disk.says in caplog.messages[-1]
    assert "free space" in caplog.messages[-1]
    assert {name: kept.get(name) for name in outputs(root / "out")} == kept
    disk.leave_plenty()
    assert main(words) == 0
    assert outputs(root / "out") == outputs(tiny_study.out)


@pytest.mark.slow
def test_a_disk_that_is_read_only_is_one_line(dataset: Path, tmp_path: Path) -> None:
    words = tiny.words(dataset, *ONE)
    with disks.full(tmp_path) as disk:
        place = disk.place
        words[1], words[words.index("--work-dir") + 1] = str(place / "out"), str(place / "work")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        done = run(words)
    assert done.returncode == ExitCode.OUTPUT, done.stderr
    assert "Traceback" not in done.stderr
    assert "Read-only file system" in done.stderr.strip().splitlines()[-1]


def state_of(process: subprocess.Popen[bytes]) -> set[str]:
    """Return the states (proc(5)) of the processes of a run."""
    stats = [
        path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")
    ]
    return {fields[0] for fields in stats if int(fields[2]) == process.pid}


@pytest.mark.slow
def test_a_run_that_is_suspended_goes_on_as_if_nothing_had_happened(
    dataset: Path, undisturbed: dict[str, str]
) -> None:
    """As by Ctrl-Z, or a cluster that suspends jobs: first while it works, then some moments on."""
    forget(dataset, "suspended")
    process = start(tiny.words(dataset, *ONE, out="suspended"))
    until = time.monotonic() + LONGEST_S
    while not list((dataset / "suspended" / "logs").glob("sub-01_*.log")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGSTOP)
        while state_of(process) - {"T", "Z"}:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.2)
    assert process.wait(timeout=LONGEST_S) == 0
    mine = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    assert outputs(dataset / "suspended") == mine


@pytest.mark.slow
def test_eight_at_once_write_what_one_writes(
    dataset: Path, undisturbed: dict[str, str], server: Server
) -> None:
    forget(dataset, "eight")
    words = tiny.words(dataset, out="eight")
    ended = server.at_once([(words, "locked", AtTouch(dataset, 0))] * 8)
    assert set(ended) <= {0, ExitCode.TEMPORARY}
    of_participants = {k: v for k, v in undisturbed.items() if k.startswith("sub-")}
    assert outputs(dataset / "eight") == of_participants
    assert not leftovers(dataset / "eight")


@pytest.mark.slow
def test_of_eight_commands_at_once_those_that_wait_say_so_and_all_is_whole(
    dataset: Path, undisturbed: dict[str, str], server: Server
) -> None:
    forget(dataset, "commands")
    words = tiny.words(dataset, *ONE, out="commands")
    log = [dataset / f"command-{number}.txt" for number in range(8)]
    ended = server.at_once([(words, "command", Heard(path)) for path in log])
    assert set(ended) <= {0, ExitCode.TEMPORARY}
    assert 0 in ended
    for path, code in zip(log, ended, strict=True):
        said = path.read_text()
        assert "Traceback" not in said
        assert ("another run is processing it" in said) == (code != 0)
        assert ("run the same command again" in said) == (code != 0)
    mine = {name: checksum for name, checksum in undisturbed.items() if "sub-02" not in name}
    assert outputs(dataset / "commands") == mine
    assert not leftovers(dataset / "commands")


def test_what_a_killed_run_was_writing_is_swept_and_nobody_elses(tmp_path: Path) -> None:
    names = (".sub-01_Chimap.nii.gz.9.part", ".sub-01.html.9.part", ".sub-010_x.tsv.9.part")
    old = ".sub-02_x.tsv.9.part"
    for name in (*names, old, "sub-01_Chimap.nii.gz"):
        (tmp_path / name).touch()
    os.utime(tmp_path / old, (1, 1))
    sweep("sub-01", tmp_path, tmp_path / "none")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".sub-010_x.tsv.9.part", "sub-01_Chimap.nii.gz"}
