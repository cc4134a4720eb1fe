"""A participant with all four scans, killed or out of room in stages, saving and at group level.

Everything around it differs from the run that it is compared with, which nothing happened to:
language, clock, hash seed, umask, user, home, folder, number of threads, and Dask there.
"""

import hashlib
import random
import shutil
from pathlib import Path

import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest
from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.core.files import sweep_folders
from bids_qsmthal.participant import pipeline
from tests.restart.conftest import leftovers, outputs
from tests.restart.victims import AtTouch, InStage, Level, Moment, NoRoom, Server
from tests.seam import NAME, Study, asked_for
from tests.surroundings import FOLDER, PRIVATE, SOMEBODY_ELSE, elsewhere

SEED = 1906
SOON_CPU_S, LONGEST_CPU_S = 0.05, 0.6
"""All are killed on the way: regions of an atlas take 0.3 CPU-s, every other stage 0.7 or more."""

STAGES = [
    stage
    for stage in pipeline.STAGES
    if stage is pipeline.ATLASES or not (stage.instead or stage.on_request)
]
SAVING = (300, 500)
"""Touches of the output folder: images, tables, figures, page and manifest; about 560 in all."""

OF_THE_COMMAND = {"README", "CHANGES", ".bidsignore"}
"""Texts that it writes before a level starts, which is all that runs here."""

WRITING, AT_ALL = (10, 110), (1, 150)
"""Touches at the group level: tables, figures and page beside the old ones; until the manifest."""


SMALL_BYTES, LARGE_BYTES = 2**16, 2**20
"""Room that neither an array of a stage nor the page of the group level finds, and one in which
tables and masks fit, but not the maps."""


class Folders:
    """Output and work folder of a participant that is killed again and again."""

    def __init__(self, study: Study, root: Path, server: Server) -> None:
        self._server = server
        self.bids, self.out, self.work = root / "bids", root / "out", root / "work" / NAME
        for name in ("bids", "atlas"):
            shutil.copytree(study.root / name, root / name)
        self.options = (*asked_for(root), "--nprocs", "1", "-w", str(self.work.parent))
        self.kept = study.root / "work" / NAME
        made = outputs(study.out)
        self.wanted = {name: made[name] for name in made if name not in OF_THE_COMMAND}

    def ended(self, level: Level, moment: Moment) -> int:
        words = [str(self.bids), str(self.out), "participant", "group", *self.options]
        return self._server.run(words, level, moment)

    def check_that_all_is_whole(self) -> None:
        """What is there under a final name is what it is in a run that nothing happens to."""
        there = outputs(self.out)
        assert {name: self.wanted[name] for name in there} == there
        kept = _sums(self.work)
        assert kept.items() <= _sums(self.kept).items()


def _sums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".part")
    }


@pytest.mark.slow
def test_killed_in_every_stage_while_saving_and_at_the_group_level_the_bytes_are_the_same(
    seam_study: Study, tmp_path: Path, locales: Path
) -> None:
    with Server(elsewhere(locales, "tr_TR"), PRIVATE, SOMEBODY_ELSE) as server:
        run = Folders(seam_study, tmp_path / FOLDER, server)
        rng = random.Random(SEED)  # noqa: S311 - moments, no secrets
        kill_in_stages(run, rng)
        kill_while_saving(run, rng)
        kill_at_the_group_level(run, rng)
    sweep_folders(run.out / "group")
    assert outputs(run.out) == run.wanted
    assert main(["verify", str(run.out)]) == 0


def kill_in_stages(run: Folders, rng: random.Random) -> None:
    """Each start completes the stage in which the one before was killed, and dies in the next."""
    for number, stage in enumerate(STAGES, 1):
        longest_s = SOON_CPU_S if stage is pipeline.ATLASES else LONGEST_CPU_S
        assert run.ended("locked", InStage(number, rng.uniform(0.01, longest_s))) < 0
        run.check_that_all_is_whole()
        assert manifest.read_of(run.out, NAME) == []
        if stage is pipeline.ENHANCING_LESIONS:
            no_room = NoRoom(number, SMALL_BYTES)
            assert run.ended("locked", no_room) == ExitCode.OUTPUT
            run.check_that_all_is_whole()


def kill_while_saving(run: Folders, rng: random.Random) -> None:
    for touch in (rng.randrange(SAVING[0]), rng.randrange(*SAVING)):
        assert run.ended("locked", AtTouch(run.out, touch + 1)) < 0
        run.check_that_all_is_whole()
        assert not [entry for entry in manifest.read_of(run.out, NAME) if entry.scans]
    assert run.ended("locked", NoRoom(len(STAGES), LARGE_BYTES)) == ExitCode.OUTPUT
    run.check_that_all_is_whole()
    assert run.ended("locked", AtTouch(run.out, 0)) == 0
    assert not leftovers(run.out)
    assert _sums(run.work).keys() == _sums(run.kept).keys()


def kill_at_the_group_level(run: Folders, rng: random.Random) -> None:
    for first, last in (WRITING, AT_ALL):
        assert run.ended("group", AtTouch(run.out, rng.randrange(first, last))) < 0
        run.check_that_all_is_whole()
        group = {name for name in outputs(run.out) if name.startswith("group/")}
        assert group in (set(), {name for name in run.wanted if name.startswith("group/")})
    assert run.ended("group", NoRoom(0, SMALL_BYTES)) == ExitCode.OUTPUT
    run.check_that_all_is_whole()
    assert run.ended("group", AtTouch(run.out, 0)) == 0
