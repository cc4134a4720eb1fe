import multiprocessing
import resource
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.anatomy import ants_bridge
from bids_qsmthal.anatomy.ants_bridge import (
    align,
    itk_affine_text,
    ras_from_itk,
    read_itk_affine_text,
    to_ants,
)
from bids_qsmthal.core.errors import DataError, ReadWriteError, of_system
from bids_qsmthal.core.image import Image


def _turned(angle, axis=2):
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(4)
    i, j = [k for k in range(3) if k != axis]
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def test_an_oblique_image_keeps_its_values_and_its_places_in_ants(rng):
    affine = _turned(0.3, 0) @ _turned(-0.2, 1) @ np.diag([1.0, 1.5, 2.0, 1.0])
    affine[:3, 3] = (-30, 12, 7)
    image = Image(rng.normal(size=(5, 6, 7)).astype(np.float32), affine)

    there = to_ants(image)

    assert np.array_equal(there.numpy(), image.data)
    point = affine @ [1, 2, 3, 1]
    itk = np.array(there.origin) + there.direction @ (np.array(there.spacing) * [1, 2, 3])
    assert itk == pytest.approx(point[:3] * [-1, -1, 1])


def test_a_sheared_grid_is_refused_in_words():
    affine = np.eye(4)
    affine[0, 1] = 0.2

    with pytest.raises(DataError, match="sheared"):
        to_ants(Image(np.zeros((4, 4, 4), np.float32), affine))


def test_an_itk_file_holds_the_same_map_in_lps():
    matrix = _turned(0.4) @ _turned(0.1, 0)
    matrix[:3, 3] = (1.5, -2.25, 3.125)

    text = itk_affine_text(matrix)

    assert read_itk_affine_text(text) == pytest.approx(matrix, abs=1e-12)
    numbers = next(line for line in text.splitlines() if line.startswith("Parameters:"))
    assert [float(word) for word in numbers.split()[-3:]] == pytest.approx([-1.5, 2.25, 3.125])


def test_the_centre_of_an_itk_affine_is_honoured():
    # A half turn about z round the point (10, 0, 0) of LPS, which is (-10, 0, 0) in RAS.
    found = ras_from_itk(np.array([-1, 0, 0, 0, -1, 0, 0, 0, 1, 0, 0, 0.0]), np.array([10.0, 0, 0]))

    assert found @ [-10, 0, 5, 1] == pytest.approx([-10, 0, 5, 1])
    assert found @ [0, 0, 0, 1] == pytest.approx([-20, 0, 0, 1])


def test_text_without_an_affine_is_an_error():
    with pytest.raises(DataError, match="12 parameters"):
        read_itk_affine_text("#Insight Transform File V1.0\n")


@pytest.mark.parametrize("written", [None, b"", b"half"])
def test_a_result_that_ants_could_not_write_is_said_in_words(monkeypatch, written):
    """As on a full disk, where ANTs says that all went well."""

    def full_disk(words):
        prefix = next(word for word in words if word.endswith("found]")).strip("[]")
        if written is not None:
            Path(f"{prefix}0GenericAffine.mat").write_bytes(written)
        return 0

    monkeypatch.setattr(ants_bridge, "process_arguments", list)
    monkeypatch.setattr(ants_bridge, "get_lib_fn", lambda _: full_disk)
    image = Image(np.ones((8, 8, 8), np.float32), np.eye(4))

    with pytest.raises(ReadWriteError, match="free space"):
        align(image, image, ())


def _limited(pipe, what):
    """Do something with ANTs in a process whose address space hardly grows; send how it ended."""
    data = np.random.default_rng(3).uniform(1, 2, (48, 48, 48)).astype(np.float32)
    image = Image(data, np.diag([4.0, 4.0, 4.0, 1.0]))
    # As in want of memory: an exception of ITK, or a status of ANTs.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**23
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        with pytest.MonkeyPatch.context() as patch:
            failing = _raising if what == "align, by an exception" else lambda _: 1
            patch.setattr(ants_bridge, "get_lib_fn", lambda _: failing)
            align(image, image, [])
    except Exception as error:  # noqa: BLE001 - its type is the answer
        pipe.send(type(of_system(error) if isinstance(error, MemoryError) else error).__name__)


def _raising(*_, **__):
    raise RuntimeError("itkImportImageContainer.hxx:179: Failed to allocate memory for image.")


@pytest.mark.parametrize("what", ["align", "align, by an exception"])
def test_want_of_memory_in_itk_is_told_as_such(what):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_limited, args=(theirs, what))
    process.start()
    process.join()
    assert ours.poll()
    assert ours.recv() == "OutOfMemoryError"


def test_other_failures_of_itk_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(ants_bridge, "get_lib_fn", lambda _: _raising)
    image = Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    with pytest.raises(RuntimeError, match="itkImport"):
        align(image, image, [])
