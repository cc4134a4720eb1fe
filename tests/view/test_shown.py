"""What the page holds of an image, and that all of it comes back to where it was."""

import gzip

import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.view import shown
from tests.view.conftest import AFFINE, CHI_PPM, SHAPE, T1W_AFFINE, THALAMUS, as_filed, box
from tests.view.test_server import packed, version

BRAIN = box((7, 9, 5), (13, 14, 12))
"""The thalami reach beyond it on both sides."""


def turned_at_random(rng: np.random.Generator) -> Image:
    """Return voxels that are all different, axes in any order and direction, all tilted."""
    data = np.arange(5 * 6 * 7, dtype=np.int32).reshape(5, 6, 7)
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    tilt = np.array([[1, 0.1, 0], [-0.1, 1, 0.05], [0, -0.05, 1]])
    affine = np.eye(4)
    affine[:3] = np.c_[tilt @ axes @ np.diag([0.5, 0.7, 2.0]), rng.normal(0, 50, 3)]
    return Image(data, affine)


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_an_image_in_any_order_keeps_its_places_and_is_put_back_there(seed) -> None:
    image = turned_at_random(np.random.default_rng(seed))
    seen = shown.part(image, (slice(1, 3), slice(0, 4), slice(2, 5)))
    assert seen.shape == (2, 4, 3)
    # A voxel of the part has the number of the voxel that is at its place in the image.
    points = np.reshape(np.indices(seen.shape), (3, -1))
    world = seen.affine[:3, :3] @ points + seen.affine[:3, 3:]
    at = np.linalg.solve(image.affine[:3, :3], world - image.affine[:3, 3:])
    voxels = tuple(np.rint(at).astype(int))
    np.testing.assert_allclose(at, voxels, atol=1e-9)
    np.testing.assert_array_equal(image.data[voxels], seen.data.ravel())
    onto = image.like(np.zeros_like(image.data))
    assert shown.put(onto, seen) == (slice(1, 3), slice(0, 4), slice(2, 5))
    inside = np.isin(image.data, seen.data)
    np.testing.assert_array_equal(onto.data, np.where(inside, image.data, 0))


@pytest.mark.parametrize("shift", [(-1, 0, 0), (0, 3, 0), (0, 0, 0.4), (1e3, 0, 0)])
def test_what_is_not_a_part_is_put_nowhere(shift) -> None:
    image = turned_at_random(np.random.default_rng(1))
    seen = shown.part(image, (slice(0, 3), slice(0, 4), slice(0, 3)))
    moved = seen.affine.copy()
    moved[:3, 3] += moved[:3, :3] @ np.array(shift)
    onto = image.like(np.zeros_like(image.data))
    assert shown.put(onto, Image(seen.data, moved)) is None
    assert not onto.data.any()


def test_the_margin_is_in_mm_and_ends_with_the_image() -> None:
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[8:10, 1, 5:7] = 1
    affine = np.diag([-0.5, 1.0, 2.0, 1.0])
    # The first axis runs to the left: 8 and 9 of 20 are 10 and 11 from the other side.
    assert shown.extent(Image(mask, affine), 3.0) == (slice(4, 18), slice(0, 5), slice(3, 9))
    assert shown.extent(Image(0 * mask, affine), 3.0) is None


@pytest.mark.parametrize("limits", [(-100.0, 100.0), (300.0, 320.0), (0.0, 1e-6), (0.0, 1e30)])
def test_a_map_for_the_eye_is_true_to_a_part_of_its_window_whatever_is_in_it(limits) -> None:
    low, high = limits
    values = np.linspace(low - (high - low), high + (high - low), 1000).reshape(10, 10, 10)
    values = values.astype(np.float32)
    values[0, 0] = [np.nan, np.inf, -np.inf, 3e38, -3e38, *values[0, 0, 5:]]
    content = gzip.decompress(shown.packed_map(Image(values, np.eye(4)), limits))
    step, middle = np.frombuffer(content, "<f4", 2, offset=112).astype(np.float64)
    got = np.frombuffer(content, "<i2", offset=352).reshape(values.shape, order="F")
    error = np.abs(middle + step * got - values)[1:] / (high - low)
    assert error.max() < 1 / 2048
    # No number is the middle; what is infinite is whiter than white and blacker than black.
    assert np.sign(got[0, 0, :3]).tolist() == [0, 1, -1]
    assert np.abs(got[0, 0, 1:3] * step).min() > 15 * (high - low)


@pytest.mark.parametrize("values", [np.full((9, 9, 9), np.nan), np.zeros((9, 9, 9)), 1e30])
def test_a_window_is_never_empty(values) -> None:
    low, high = shown.window(np.broadcast_to(np.float32(values), (9, 9, 9)))
    assert high > low


def test_black_and_white_are_those_of_the_brain_and_lesions_differ_from_it() -> None:
    rng = np.random.default_rng(1)
    # Fluid, tissue, lesions of one in a hundred, and fat outside; air is most of the image.
    values = np.zeros((80, 80, 80), np.float32)
    brain = np.zeros(values.shape, bool)
    brain[20:60, 20:60, 20:60] = True
    values[brain] = rng.choice([10.0, 100.0, 170.0], brain.sum(), p=[0.2, 0.79, 0.01])
    values[:8] = 400.0
    assert shown.window(values, brain) == (10.0, 170.0)
    low, high = shown.window(values)
    assert (low, high) == (0.0, 400.0)
    # Nobody knows where there is no brain.
    assert shown.window(values, 0 * brain > 0) == (0.0, 1.0)


@pytest.mark.parametrize("label", ["thalamus", "lesion"])
def test_the_window_of_a_raw_image_is_that_of_the_brain_of_the_scan(
    with_raw, output_dir, label
) -> None:
    space, key = ("MEGRE", "echo1") if label == "thalamus" else ("T1w", "t1w")
    affine = AFFINE if space == "MEGRE" else T1W_AFFINE
    path = f"api/map/sub-02/{key}/{label}.nii.gz"
    begin = output_dir / "sub-02" / "anat" / f"sub-02_space-{space}_desc-brain_mask.nii.gz"
    windows, tags = [], []
    # Values rise with the first axis, which runs to the left.
    for part in (slice(0, 8), slice(8, 16)):
        brain = np.zeros(SHAPE, np.uint8)
        brain[part] = 1
        begin.with_name("new.nii.gz").write_bytes(nifti.packed(Image(brain, affine)))
        begin.with_name("new.nii.gz").replace(begin)
        _, headers, content = with_raw.own("GET", path)
        tags.append(headers["ETag"])
        high, low = np.frombuffer(gzip.decompress(content), "<f4", 2, offset=124)
        windows.append((low, high))
    more = 100 if key == "echo1" else 0
    # Every fourth plane is asked: of the image turned, those with the numbers 4, 8, 12 and 16.
    assert windows[0][0] >= more + 1
    assert windows[0][1] <= more + 8
    assert windows[1][0] >= more + 9
    assert windows[1][1] <= more + 16
    assert tags[0] != tags[1]


@pytest.fixture
def with_brain(client, output_dir):
    """The same scan with a small brain."""
    name = "sub-01_space-MEGRE_desc-brain_mask.nii.gz"
    nifti.save(Image(BRAIN.astype(np.uint8), AFFINE), output_dir / "sub-01" / "anat" / name)
    return client


def shape_of(content: bytes) -> list[int]:
    return np.frombuffer(gzip.decompress(content), "<i2", 3, offset=42).tolist()


def test_of_a_head_the_brain_and_its_margin_come_and_all_of_the_label(
    with_brain, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(shown, "MARGIN_MM", 2.0)
    label = with_brain.own("GET", "api/label/sub-01/thalamus.nii.gz")[2]
    chi = with_brain.own("GET", "api/map/sub-01/chi/thalamus.nii.gz")[2]
    # The brain with a margin of 2 mm (two voxels of 1.9 mm, one of 2.0 mm) is 10 x 9 x 9, and the
    # thalami have voxels from 4 to 15 of the first axis and from 8 of the second one.
    assert shape_of(label) == shape_of(chi) == [12, 9, 9]
    np.testing.assert_array_equal(as_filed(label, tmp_path), THALAMUS)
    seen = as_filed(chi, tmp_path)
    inside = seen != 0
    np.testing.assert_allclose(seen[inside], 1e3 * CHI_PPM[inside], atol=0.06)
    # Who corrects the brain itself sees all.
    whole = with_brain.own("GET", "api/label/sub-01/brain_gre.nii.gz")[2]
    assert sorted(shape_of(whole)) == sorted(SHAPE)


def test_a_part_that_comes_back_is_the_whole_drawing(with_brain, output_dir) -> None:
    drawing = THALAMUS.copy()
    drawing[5, 9, 7] = 0
    part = shown.part(Image(drawing, AFFINE), (slice(3, 17), slice(6, 14), slice(5, 11)))
    body = nifti.packed(part)
    headers = {"If_Match": version(with_brain), "X_Reader": "AB"}
    numbers = [
        with_brain.own("POST", "api/numbers/sub-01/thalamus", sent)[2]
        for sent in (body, packed(drawing))
    ]
    assert numbers[0] == numbers[1]
    smoothed = with_brain.own("POST", "api/tool/sub-01/thalamus/smooth", body)[2]
    assert shape_of(smoothed) == [14, 8, 6]
    assert with_brain.own("PUT", "api/label/sub-01/thalamus", body, **headers)[0] == 200
    saved = next((output_dir / "edits" / "sub-01").rglob("*thalamus*.nii.gz"))
    # Byte by byte as if the whole had been sent, in the order of the file.
    output = nifti.load(output_dir / "sub-01" / "anat" / saved.name)
    assert saved.read_bytes() == packed(drawing, output.affine)
