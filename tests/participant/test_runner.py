import json
import logging
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import bids_qsmthal
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.pipeline import LeftOutReason, Plan, Stage, StageLeftOut
from bids_qsmthal.participant.runner import BELOW, DATA, Runner, _files, code_version

LIGHT = Stage(title="light", share=0.4, gives=(Image,))
DARK = Stage(title="dark", share=0.2, gives=(Image,))


def runner(work_dir: Path, *, only_known: bool = False) -> Runner:
    left_out = StageLeftOut(DARK, LeftOutReason.ABSENT, "night")
    plan = Plan(
        available=frozenset(),
        stages=(LIGHT,),
        considered=(LIGHT, DARK),
        left_out=(left_out,),
    )
    return Runner(work_dir, plan, only_known=only_known)


def brighten(image: Image, *, by: float) -> Image:
    return image.like(image.data + by)


@pytest.fixture
def image() -> Image:
    return Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_known_stage_is_reused_and_said_so(
    tmp_path: Path, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = runner(tmp_path).run(LIGHT, brighten, image, by=1.0)
    again = runner(tmp_path).run(LIGHT, brighten, image, by=1.0)
    np.testing.assert_array_equal(first.data, again.data)
    said = messages(caplog)
    steps = [record.step for record in caplog.records]
    assert [step["state"] for step in steps] == ["started", "reused"]
    assert {step["share"] for step in steps} == {step["planned_share"] for step in steps} == {0.4}
    assert json.loads(json.dumps(steps)) == steps  # any executor can carry them
    assert "[1/1] light ..." in said[0]
    assert "[1/1] light: reused" in said[1]


@pytest.mark.parametrize("change", ["voxel", "affine", "parameter"])
def test_a_stage_whose_input_changed_is_remade(
    tmp_path: Path, image: Image, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runner(tmp_path).run(LIGHT, brighten, image, by=1.0)
    data, affine = image.data.copy(), image.affine.copy()
    if change == "voxel":
        data[1, 1, 1] += 1
    if change == "affine":
        affine[0, 3] = 1e-3
    by = 2.0 if change == "parameter" else 1.0
    result = runner(tmp_path).run(LIGHT, brighten, Image(data, affine), by=by)
    np.testing.assert_array_equal(result.data, data + by)
    assert "reused" not in messages(caplog)[-1]


def test_all_that_is_hashed_with_a_room_is_there() -> None:
    package = resources.files("bids_qsmthal")
    for room, below in BELOW.items():
        for part in (room, *below, *DATA.get(room, ())):
            assert len(_files(package.joinpath(part), part)), part
    core = {name for name, _ in _files(package.joinpath("core"), "core")}
    assert {"core/image.py", "core/nifti.py", "core/grid.py", "core/labels.py"} <= core


def test_what_is_left_out_is_said_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runner(tmp_path).announce()
    (record,) = caplog.records
    assert record.getMessage() == "dark: left out, there is no night"
    assert (record.step["state"], record.step["number"]) == ("left out", 0)


def test_a_room_depends_on_no_other_room_than_those_that_are_hashed_with_it() -> None:
    package = Path(bids_qsmthal.__file__).parent
    for room, below in BELOW.items():
        text = "".join(path.read_text(encoding="utf-8") for path in (package / room).glob("*.py"))
        used = set(re.findall(r"from bids_qsmthal\.(\w+)", text)) - {room}
        assert used == set(below), room


def test_each_room_has_its_own_version() -> None:
    versions = {room: code_version(room) for room in ("anatomy", "lesions", "qsm", "roi")}
    assert len(set(versions.values())) == 4
    assert all(len(version) == 16 for version in versions.values())
