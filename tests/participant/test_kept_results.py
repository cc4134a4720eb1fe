"""What is kept in the work folder comes back as it was, or is not believed."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.anatomy import Rigid
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.errors import LevelUnavailableError, OutputError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import OneEcho, RegistrationNotSharp, ScanWarning
from bids_qsmthal.participant.descriptions import CLASSES, described, restored
from bids_qsmthal.participant.kept_results import (
    FORMAT,
    DamagedError,
    KeptResults,
    key_of,
    shared_folders,
)
from bids_qsmthal.participant.pipeline import GRE, STAGES, Plan, Stage
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.roi import Check, Limit

BRIGHTEN = Stage(title="brighten", share=1.0, gives=(Image,))


def image() -> Image:
    return Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))


def table() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "word": ["a", None, "c"],
            "value": [1.5, np.nan, -np.inf],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "small": np.array([0.1, 0.2, 0.3], np.float32),
            "yes": [True, False, True],
            "mixed": pd.Series([None, np.nan, 2], dtype=object),
        }
    )
    frame.index = pd.Index([2, 0, 1])
    return frame


ARRAYS = {
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2],
    "empty": np.zeros((0, 3), np.float32),
    "single": np.array(7, np.uint8),
    "truth": np.array([True, False]),
    "odd numbers": np.array([np.nan, -0.0, np.inf]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    array = ARRAYS[name]
    kept = KeptResults(tmp_path / "work")
    kept.save("key", (array,))
    (found,) = kept.load("key", (tuple,))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable
    assert found.flags.f_contiguous == np.asarray(array, order="K").flags.f_contiguous


def test_values_come_back_with_their_types(tmp_path: Path) -> None:
    values: dict[object, object] = {
        1: "one",
        "numbers": (1, 2.5, -0.0, True, None, float("-inf"), [np.float32(0.1), np.int64(3)]),
        "decision": Decision.CHECK,
        "rigid": Rigid(np.eye(4), {"overlap": 0.9}, (RegistrationNotSharp(2.0), OneEcho())),
        "check": Check(Limit(name="a", unit="1", check=(0, np.inf), source="b"), np.float64(2)),
    }
    kept = KeptResults(tmp_path / "work")
    kept.save("key", values)
    found: Any = kept.load("key", (dict,))
    assert repr(found) == repr(values)
    assert found["rigid"].warnings[1] == OneEcho()
    assert type(found["check"].value) is np.float64


@pytest.mark.parametrize("rows", [3, 0])
def test_tables_come_back_as_they_were(tmp_path: Path, rows: int) -> None:
    frame = table().head(rows)
    kept = KeptResults(tmp_path / "work")
    kept.save("key", [frame, pd.DataFrame(), frame.reset_index(drop=True)])
    found: Any = kept.load("key", (list,))
    pd.testing.assert_frame_equal(found[0], frame, check_exact=True)
    pd.testing.assert_frame_equal(found[1], pd.DataFrame())
    pd.testing.assert_frame_equal(found[2], frame.reset_index(drop=True), check_exact=True)
    assert [cell is None for cell in found[0]["mixed"]] == [cell is None for cell in frame["mixed"]]


def test_every_class_that_a_result_may_hold_is_listed() -> None:
    ours = {
        item.__name__: item
        for module in list(sys.modules.values())
        if module.__name__.startswith("bids_qsmthal")
        for item in vars(module).values()
        if isinstance(item, type) and (is_dataclass(item) or issubclass(item, Enum))
    }
    classes = [*CLASSES.values(), *(kind for stage in STAGES for kind in stage.gives)]
    named = {
        word
        for kind in classes
        if is_dataclass(kind)
        for field in fields(kind)
        for word in re.findall(r"[A-Z]\w+", str(field.type))
    }
    assert (named & set(ours)) - {ScanWarning.__name__} <= set(CLASSES)
    assert all(CLASSES[kind.__name__] is kind for kind in classes)


def test_what_is_not_listed_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Input is not listed in CLASSES"):
        KeptResults(tmp_path / "work").save("key", GRE)
    with pytest.raises(TypeError, match="PosixPath has no description"):
        KeptResults(tmp_path / "work").save("key", tmp_path)
    with pytest.raises(TypeError, match="objects"):
        KeptResults(tmp_path / "work").save("key", np.array([None]))


def test_an_array_of_two_results_is_kept_once(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path / "work")
    kept.save("one", image())
    kept.save("two", (image(), image()))
    assert len(list((tmp_path / "work" / "arrays").iterdir())) == 2  # data and affine


def test_a_key_is_of_values_not_of_objects() -> None:
    def key(picture: Image, by: float = 1.0, version: str = "v") -> str:
        return key_of("f", version, {"image": picture, "by": by})

    shared = np.eye(4)
    same = key(image())
    assert key(Image(image().data.copy(), np.eye(4))) == same
    both = [Image(image().data, shared), Image(image().data, shared)]
    apart = [Image(image().data, np.eye(4)), Image(image().data, np.eye(4))]
    assert key_of("f", "v", {"both": both}) == key_of("f", "v", {"both": apart})
    moved = image().affine.copy()
    moved[0, 3] = 1e-9
    others = [
        key(Image(image().data.astype(np.float64), np.eye(4))),
        key(Image(np.asfortranarray(image().data), np.eye(4))),
        key(Image(image().data, moved)),
        key(image(), by=np.nextafter(1.0, 2)),
        key(image(), version="w"),
        key_of("g", "v", {"image": image(), "by": 1.0}),
    ]
    assert len({same, *others}) == 7


# What may happen to a kept result.


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.rglob(pattern)
    return path


def data_file(work: Path) -> Path:
    return max((work / "arrays").iterdir(), key=lambda path: path.stat().st_size)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def bit_of_an_array(work: Path) -> None:
    flip(data_file(work), -5)


def header_of_an_array(work: Path) -> None:
    flip(data_file(work), 30)


def bit_of_the_json(work: Path) -> None:
    path = only(work / "results", "*.json")
    text = path.read_text()
    path.write_text(text.replace('"Image"', '"Rigid"'))


def rewritten(work: Path, **changed: object) -> None:
    path = only(work / "results", "*.json")
    whole = json.loads(path.read_text()) | changed
    body = json.dumps(whole["result"], sort_keys=True)
    whole["sha256"] = hashlib.sha256(body.encode()).hexdigest()
    path.write_text(json.dumps(whole))


def cut(work: Path) -> None:
    path = only(work / "results", "*.json")
    path.write_bytes(path.read_bytes()[:-20])


def emptied(work: Path) -> None:
    only(work / "results", "*.json").write_bytes(b"")


def array_cut(work: Path) -> None:
    path = data_file(work)
    path.write_bytes(path.read_bytes()[:-4])


def array_gone(work: Path) -> None:
    data_file(work).unlink()


def another_result(work: Path) -> None:
    """The file of other inputs, whole, in the place of ours."""
    rewritten(work, key="0" * 64)


def another_array(work: Path) -> None:
    other = work / "arrays" / f"{'0' * 64}.npy"
    other.write_bytes(data_file(work).read_bytes())
    path = only(work / "results", "*.json")
    name = json.loads(path.read_text())["result"]["class"][1]["data"]["array"]
    rewritten(work, result=json.loads(path.read_text().replace(name, "0" * 64))["result"])


def array_of_other_numbers(work: Path) -> None:
    """Whole, under its own checksum; but the result was of another: only its own checksum tells."""
    content = bytearray(data_file(work).read_bytes())
    content[-5] ^= 1
    name = hashlib.sha256(content).hexdigest()
    path = only(work / "results", "*.json")
    path.write_text(path.read_text().replace(data_file(work).stem, name))
    (work / "arrays" / f"{name}.npy").write_bytes(content)


def link_out(work: Path) -> None:
    path = only(work / "results", "*.json")
    outside = work.parent / "outside.json"
    path.rename(outside)
    path.symlink_to(outside)


def link_of_an_array(work: Path) -> None:
    path = data_file(work)
    outside = work.parent / "outside.npy"
    path.rename(outside)
    path.symlink_to(outside)


def another_version(work: Path) -> None:
    rewritten(work, format=FORMAT + 1)


def another_type(work: Path) -> None:
    rewritten(work, result={"class": ["OneEcho", {}]})


def class_from_elsewhere(work: Path) -> None:
    rewritten(work, result={"class": ["Popen", {"args": "touch canary"}]})


def fields_of_another(work: Path) -> None:
    rewritten(work, result={"class": ["Image", {"voxels": 1}]})


def deep(work: Path) -> None:
    path = only(work / "results", "*.json")
    path.write_text("[" * 10**5 + "]" * 10**5)


def fifo(work: Path) -> None:
    path = only(work / "results", "*.json")
    path.unlink()
    os.mkfifo(path)


def pickle_in_an_array(work: Path) -> None:
    """An array of objects runs code when it is unpickled."""

    class Canary:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (work.parent / "canary",)

    stream = io.BytesIO()
    np.save(stream, np.array([Canary()], dtype=object), allow_pickle=True)
    name = hashlib.sha256(stream.getvalue()).hexdigest()
    (work / "arrays" / f"{name}.npy").write_bytes(stream.getvalue())
    rewritten(work, result={"array": name})


FAULTS = (
    *(bit_of_an_array, header_of_an_array, bit_of_the_json, cut, emptied, array_cut, array_gone),
    *(
        another_result,
        another_array,
        array_of_other_numbers,
        link_out,
        link_of_an_array,
        another_version,
        another_type,
    ),
    *(class_from_elsewhere, fields_of_another, deep, fifo, pickle_in_an_array),
)


class Counted:
    """A stage that is called so many times."""

    def __init__(self) -> None:
        self.calls = 0

    def brighten(self, picture: Image, *, by: float) -> Image:
        self.calls += 1
        return picture.like(picture.data + by)


def runner(work: Path, *, only_known: bool = False) -> Runner:
    plan = Plan(available=frozenset(), stages=(BRIGHTEN,), considered=(BRIGHTEN,), left_out=())
    return Runner(work, plan, only_known=only_known)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    # The object itself is no input of the stage.
    monkeypatch.setattr("bids_qsmthal.participant.runner.code_version", lambda _: "version")
    return counted


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found_said_and_made_good(
    tmp_path: Path,
    stage: Counted,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Path], None],
) -> None:
    work = tmp_path / "work"
    caplog.set_level(logging.INFO)
    runner(work).run(BRIGHTEN, stage.brighten, image(), by=1.0)
    fault(work)
    with pytest.raises(LevelUnavailableError, match=r"brighten: no result in .* can be used"):
        runner(work, only_known=True).run(BRIGHTEN, stage.brighten, image(), by=1.0)
    assert stage.calls == 1
    caplog.clear()

    found = runner(work).run(BRIGHTEN, stage.brighten, image(), by=1.0)

    assert stage.calls == 2
    np.testing.assert_array_equal(found.data, image().data + 1)
    said = [record.getMessage() for record in caplog.records]
    assert "brighten: the result kept in" in said[0]
    assert "reused" not in "".join(said)
    assert not (tmp_path / "canary").exists()
    if (work / "results").exists():
        again = runner(work, only_known=True).run(BRIGHTEN, stage.brighten, image(), by=1.0)
        assert stage.calls == 2
        np.testing.assert_array_equal(again.data, image().data + 1)


def test_nothing_kept_is_no_fault(
    tmp_path: Path, stage: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    runner(tmp_path / "work").run(BRIGHTEN, stage.brighten, image(), by=1.0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with pytest.raises(LevelUnavailableError, match="there is none for these inputs"):
        runner(tmp_path / "work", only_known=True).run(BRIGHTEN, stage.brighten, image(), by=2.0)


@pytest.mark.parametrize("name", ["results", "arrays"])
def test_a_folder_that_leads_elsewhere_is_neither_read_nor_written(
    tmp_path: Path, stage: Counted, name: str
) -> None:
    work = tmp_path / "work"
    runner(work).run(BRIGHTEN, stage.brighten, image(), by=1.0)
    (work / name).rename(tmp_path / "elsewhere")
    (work / name).symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    with pytest.raises(DamagedError):
        KeptResults(work).load(only(work / "results", "*.json").stem, (Image,))
    with pytest.raises(OutputError, match="leads out"):
        runner(work).run(BRIGHTEN, stage.brighten, image(), by=1.0)
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


def test_what_was_being_written_long_ago_is_removed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    KeptResults(work).save("key", image())
    old, new = (work / "arrays" / f".{name}.npy.1.part" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    KeptResults(work)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(("mode", "shared"), [(0o755, False), (0o775, True), (0o757, True)])
def test_a_folder_that_others_may_write_is_told(tmp_path: Path, mode: int, shared: bool) -> None:  # noqa: FBT001
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(mode)
    assert shared_folders(folder, tmp_path / "none") == ([folder] if shared else [])


def test_our_own_folders_are_ours_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KeptResults(tmp_path / "work").save("key", image())
    finally:
        os.umask(before)
    made = [tmp_path / "work" / name for name in ("results", "arrays")]
    assert shared_folders(*made) == []


def test_a_description_is_json_and_is_restored() -> None:
    store: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> str:
        store[str(len(store))] = array
        return str(len(store) - 1)

    body = described(image(), keep, known=CLASSES)
    found = restored(json.loads(json.dumps(body)), store.__getitem__)
    np.testing.assert_array_equal(found.data, image().data)
