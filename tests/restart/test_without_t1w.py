"""Stages without T1w, or on request: killed in each of them, the end is the same."""

import shutil
from pathlib import Path

import pytest

from bids_qsmthal.app.cli import main, parse, settings_from
from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.participant import pipeline
from tests import tiny
from tests.conftest import write_json
from tests.restart.conftest import leftovers, outputs
from tests.restart.victims import AtTouch, InStage, Server

SEPARATED = ("--separation", "proportional")
SOON_CPU_S = 0.01


def write(root: Path) -> None:
    """Write a participant of whom there are a gradient echo, FLAIR and labels, but no brain mask.

    What is taken for FLAIR is a magnitude: where its lesions are does not matter here.
    """
    tiny.write_dataset(root, "sub-01")
    for mask in root.rglob("*desc-brain_mask.nii.gz"):
        mask.unlink()
    folder = root / "bids" / "sub-01" / "anat"
    echo = folder / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    shutil.copyfile(echo, folder / "sub-01_FLAIR.nii.gz")
    write_json(folder / "sub-01_FLAIR.json", {"MagneticFieldStrength": 3})


def planned(words: list[str]) -> tuple[pipeline.Stage, ...]:
    settings = settings_from(parse(words), words)
    (session,) = find_sessions(settings.bids_dir)
    files = external.files(session, settings.datasets, settings.output_dir)
    return pipeline.plan(session, files, pipeline.requested(settings)).stages


@pytest.mark.slow
def test_killed_in_stages_without_t1w_and_on_request_the_bytes_are_the_same(
    tmp_path: Path, server: Server
) -> None:
    write(tmp_path)
    whole = tiny.words(tmp_path, *SEPARATED, out="whole")
    assert server.run(whole, "participant", AtTouch(tmp_path, 0)) == 0
    wanted = outputs(tmp_path / "whole")
    words = tiny.words(tmp_path, *SEPARATED, out="killed")
    stages = planned(words)
    assert {pipeline.BRAIN_IN_FLAIR, pipeline.BRAIN_IN_GRE, pipeline.SEPARATION} <= {*stages}
    for number in range(1, len(stages) + 1):
        assert server.run(words, "participant", InStage(number, SOON_CPU_S)) < 0
        there = outputs(tmp_path / "killed")
        assert {name: wanted[name] for name in there} == there
    assert server.run(words, "participant", AtTouch(tmp_path, 0)) == 0
    assert outputs(tmp_path / "killed") == wanted
    assert not leftovers(tmp_path / "killed")
    assert main(["verify", str(tmp_path / "killed")]) == 0
