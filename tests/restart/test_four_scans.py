"""A participant with all four scans, killed or out of room in stages, saving and at group level."""

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
from tests.seam import NAME, Study

SEED = 1906
LONGEST_CPU_S = 0.6
"""Registrations here take 6 CPU-s, the shortest stage 0.7: all are killed on the way."""

COMPUTED_AGAIN = {
    pipeline.FLAIR_TO_T1W,
    pipeline.T2_LESIONS,
    pipeline.SEGMENT_T1W,
    pipeline.ENHANCING_LESIONS,
    pipeline.REGIONS,
}
"""After the kill; the results of the others, which take 90 CPU-s, come from the undisturbed run."""

STAGES = [stage for stage in pipeline.STAGES if not (stage.instead or stage.on_request)]
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
        self._study, self._root, self._server = study, root, server
        self.out, self.work = root / "out", root / "work" / NAME
        self.kept = study.root / "work" / NAME
        made = outputs(study.out)
        self.wanted = {name: made[name] for name in made if name not in OF_THE_COMMAND}

    def ended(self, level: Level, moment: Moment) -> int:
        words = [str(self._study.bids), str(self.out), "participant", "group", "--nprocs", "1"]
        return self._server.run([*words, "-w", str(self.work.parent)], level, moment)

    def check_that_all_is_whole(self) -> None:
        """What is there under a final name is what it is in a run that nothing happens to."""
        there = outputs(self.out)
        assert {name: self.wanted[name] for name in there} == there
        kept = _sums(self.work)
        assert kept.items() <= _sums(self.kept).items()

    def add(self, number: int) -> None:
        """Put the result of a stage, from 1, where the next start finds it."""
        result = sorted((self.kept / "results").iterdir(), key=lambda p: p.stat().st_mtime_ns)
        assert len(result) == len(STAGES)
        text = result[number - 1].read_text()
        arrays = [path for path in (self.kept / "arrays").iterdir() if path.stem in text]
        for path in (*arrays, result[number - 1]):
            place = self.work / path.relative_to(self.kept)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _sums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".part")
    }


@pytest.mark.slow
def test_killed_in_every_stage_while_saving_and_at_the_group_level_the_bytes_are_the_same(
    seam_study: Study, tmp_path: Path, server: Server
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - moments, no secrets
    run = Folders(seam_study, tmp_path, server)
    for number, stage in enumerate(STAGES, 1):
        assert run.ended("participant", InStage(number, rng.uniform(0.01, LONGEST_CPU_S))) < 0
        run.check_that_all_is_whole()
        assert manifest.read_of(run.out, NAME) == []
        if stage is pipeline.ENHANCING_LESIONS:
            no_room = NoRoom(number, SMALL_BYTES)
            assert run.ended("participant", no_room) == ExitCode.OUTPUT
            run.check_that_all_is_whole()
        if stage not in COMPUTED_AGAIN:
            run.add(number)
    for touch in (rng.randrange(SAVING[0]), rng.randrange(*SAVING)):
        assert run.ended("participant", AtTouch(run.out, touch + 1)) < 0
        run.check_that_all_is_whole()
        assert not [entry for entry in manifest.read_of(run.out, NAME) if entry.scans]
    assert run.ended("participant", NoRoom(len(STAGES), LARGE_BYTES)) == ExitCode.OUTPUT
    run.check_that_all_is_whole()
    assert run.ended("participant", AtTouch(run.out, 0)) == 0
    assert not leftovers(run.out)
    for first, last in (WRITING, AT_ALL):
        assert run.ended("group", AtTouch(run.out, rng.randrange(first, last))) < 0
        run.check_that_all_is_whole()
        group = {name for name in outputs(run.out) if name.startswith("group/")}
        assert group in (set(), {name for name in run.wanted if name.startswith("group/")})
    assert run.ended("group", NoRoom(0, SMALL_BYTES)) == ExitCode.OUTPUT
    run.check_that_all_is_whole()
    assert run.ended("group", AtTouch(run.out, 0)) == 0
    sweep_folders(run.out / "group")
    assert outputs(run.out) == run.wanted
    assert main(["verify", str(run.out)]) == 0
