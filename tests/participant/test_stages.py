import json
import logging
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.stages import DATA, SHARED, Stages, _files, code_version


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
    first = Stages(tmp_path, 1).run("light", brighten, image, by=1.0)
    again = Stages(tmp_path, 1).run("light", brighten, image, by=1.0)
    np.testing.assert_array_equal(first.data, again.data)
    said = messages(caplog)
    steps = [record.step for record in caplog.records]
    assert [step["state"] for step in steps] == ["started", "reused"]
    assert json.loads(json.dumps(steps)) == steps  # any executor can carry them
    assert "[1/1] light ..." in said[0]
    assert "[1/1] light: reused" in said[1]


@pytest.mark.parametrize("change", ["voxel", "affine", "parameter"])
def test_a_stage_whose_input_changed_is_remade(
    tmp_path: Path, image: Image, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Stages(tmp_path, 1).run("light", brighten, image, by=1.0)
    data, affine = image.data.copy(), image.affine.copy()
    if change == "voxel":
        data[1, 1, 1] += 1
    if change == "affine":
        affine[0, 3] = 1e-3
    by = 2.0 if change == "parameter" else 1.0
    result = Stages(tmp_path, 1).run("light", brighten, Image(data, affine), by=by)
    np.testing.assert_array_equal(result.data, data + by)
    assert "reused" not in messages(caplog)[-1]


def test_a_damaged_result_is_remade(tmp_path: Path, image: Image) -> None:
    Stages(tmp_path, 1).run("light", brighten, image, by=1.0)
    (stored,) = tmp_path.rglob("output.pkl")
    stored.write_bytes(stored.read_bytes()[:50])
    result = Stages(tmp_path, 1).run("light", brighten, image, by=1.0)
    np.testing.assert_array_equal(result.data, image.data + 1)


def test_what_every_room_stands_on_is_there_and_counts() -> None:
    package = resources.files("bids_qsmthal")

    assert all(package.joinpath(part).is_dir() for part in ("core", *DATA["anatomy"]))
    assert all(len(_files(package.joinpath(part), part)) for part in SHARED)
    counted = {name for part in SHARED for name, _ in _files(package.joinpath(part), part)}
    assert {"core/image.py", "core/nifti.py", "core/grid.py", "core/labels.py"} <= counted


def test_each_room_has_its_own_version() -> None:
    versions = {room: code_version(room) for room in ("anatomy", "lesions", "qsm", "roi")}
    assert len(set(versions.values())) == 4
    assert all(len(version) == 16 for version in versions.values())
