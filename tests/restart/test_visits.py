"""Visits of one person that are compared: killed in each stage and while it saves."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest
from bids_qsmthal.participant import pipeline
from tests.participant.test_change import write_lesions, write_visit
from tests.restart.conftest import leftovers, outputs
from tests.restart.victims import AtTouch, Counted, InStage, Moment, Server

SOON_CPU_S = 0.01
LAST = 10
"""Touches of the output folder at the end: the table, its dictionary, the manifest."""

WHO = "sub-01"

IN_TURN = (pipeline.VISIT_FRAME, pipeline.LESION_CHANGE, pipeline.VOLUME_CHANGE)
"""The stages as they follow each other: what a killed run kept is computed no more."""


def touches_where_stages_are_known(
    out: Path, made: Iterable[str], ended: Callable[[str, Moment], int]
) -> int:
    """Return how often a run that has to save alone touches its output folder."""
    for name in (*made, f"logs/{WHO}{manifest.ENDING}"):
        (out / name).unlink()
    into = out.with_suffix(".txt")
    assert ended(out.name, Counted(out, into)) == 0
    return int(into.read_text())


@pytest.mark.slow
def test_killed_while_visits_are_compared_the_bytes_are_the_same(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "bids" / WHO).mkdir(parents=True)
    for number, session in enumerate("ab"):
        write_visit(tmp_path / "killed", session, number, ventricle_mm=5.0 + 0.3 * number)
        write_lesions(tmp_path / "killed", session, *range(1, number + 2))
    shutil.copytree(tmp_path / "killed", tmp_path / "whole")

    def ended(out: str, moment: Moment) -> int:
        words = [str(tmp_path / "bids"), str(tmp_path / out), "participant", "--nprocs", "1"]
        return server.run([*words, "-w", str(tmp_path / f"work-{out}")], "visits", moment)

    before = outputs(tmp_path / "whole")
    assert ended("whole", AtTouch(tmp_path, 0)) == 0
    wanted = outputs(tmp_path / "whole")
    assert wanted.keys() > before.keys()
    assert {*IN_TURN} == {*pipeline.VISIT_STAGES}
    moments = [InStage(pipeline.VISIT_STAGES.index(one) + 1, SOON_CPU_S) for one in IN_TURN]
    last = touches_where_stages_are_known(tmp_path / "whole", wanted.keys() - before, ended)
    saving = [AtTouch(tmp_path / "killed", touch) for touch in range(last - LAST + 1, last + 1)]
    for moment in (*moments, *saving):
        assert ended("killed", moment) < 0
        there = outputs(tmp_path / "killed")
        assert {name: wanted[name] for name in there} == there
        # The table is vouched for at the very end; those of the visits are, all the time.
        assert manifest.read_of(tmp_path / "killed", WHO) == []
        assert manifest.read_of(tmp_path / "killed", f"{WHO}_ses-a")
    assert ended("killed", AtTouch(tmp_path, 0)) == 0
    assert outputs(tmp_path / "killed") == wanted
    # Compared once more and killed: the table is there, and is vouched for no longer.
    assert ended("killed", saving[-1]) < 0
    assert manifest.read_of(tmp_path / "killed", WHO) == []
    assert ended("killed", AtTouch(tmp_path, 0)) == 0
    assert outputs(tmp_path / "killed") == wanted
    assert not leftovers(tmp_path / "killed")
    assert main(["verify", str(tmp_path / "killed")]) == 0
