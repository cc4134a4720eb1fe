"""Bad input has one line, a status, and no effect on what was there."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bids_qsmthal.app.check import examine
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.settings import Resources, Selection, Settings
from tests import tiny
from tests.hostile import cases
from tests.hostile.cases import Case
from tests.hostile.conftest import outputs, refusal

pytestmark = pytest.mark.slow


def named(group: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", group, ids=[case.name for case in group])


def test_there_are_enough_cases_and_each_has_its_name() -> None:
    every = [*cases.PARTICIPANT, *cases.WHOLE]
    assert len(every) >= 60
    assert len({case.name for case in every}) == len(every)


@named(cases.PARTICIPANT)
@pytest.mark.usefixtures("here")
def test_a_participant(root: Path, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.spoil(root)
    before = outputs(root)
    code, said = refusal(tiny.words(root, "--participant-label", "01"), caplog)
    assert code == case.code, said
    assert "sub-01" in said or "participant 01" in said
    for phrase in case.says:
        assert phrase in said
    assert outputs(root) == before


@named(cases.STRUCTURAL)
def test_a_scan_beside_the_gradient_echo_is_refused_alone(root: Path, case: Case) -> None:
    case.spoil(root)
    (session,) = find_sessions(root / "bids", Selection(participants=("01",)))
    resources = Resources(cores=1, threads=1, memory_bytes=2**30)
    folders = {"bids_dir": root / "bids", "output_dir": root / "out", "work_dir": root / "work"}
    # The gradient echo takes seconds to read, and nothing is wrong with it.
    found = examine(
        replace(session, gre=None), Settings(**folders, resources=resources), voxels=True
    )
    (problem,) = (one for one in found.problems if one.scan is not None)
    assert problem.exit_code == case.code
    for phrase in case.says:
        assert phrase in problem.text


@named([case for case in cases.STRUCTURAL if case.name in {"T1w a plane", "FLAIR cut short"}])
def test_the_gradient_echo_is_measured_beside_a_scan_that_cannot_be_used(
    root: Path, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.spoil(root)
    before = outputs(root)
    assert main(tiny.words(root, "--participant-label", "01")) == case.code
    assert caplog.messages[-1].startswith("INCOMPLETE sub-01: finished without ")
    for phrase in case.says:
        assert phrase in caplog.messages[-1]
    after = outputs(root)
    images = {name for name in before if name.endswith(".nii.gz")}
    assert images
    assert {name: after[name] for name in images} == {name: before[name] for name in images}


@named(cases.WHOLE)
@pytest.mark.usefixtures("here")
def test_a_dataset_or_a_command(root: Path, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.spoil(root)
    before = outputs(root)
    more = [word.replace("{root}", str(root)) for word in case.words]
    words = tiny.words(root, *(more or ["--participant-label", "01"]))
    code, said = refusal(words, caplog)
    assert code == case.code, said
    for phrase in case.says:
        assert phrase in said
    assert outputs(root) == before
    assert not (root / "pwned").exists()


def test_one_that_fails_lets_the_others_finish(root: Path) -> None:
    """The command itself, with its processes: the failure is the last thing said."""
    before = outputs(root)
    cases.cut(cases.echo(root))
    shutil.rmtree(root / "out" / "sub-02")
    command = [sys.executable, "-m", "bids_qsmthal", *tiny.words(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "FAILED sub-01" in last
    assert "truncated or damaged" in last
    assert outputs(root) == before
