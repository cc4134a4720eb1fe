import itertools

import numpy as np
import pytest

from bids_qsmthal.core.image import Image, reoriented, resample

WORLD = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0)}
WORLD |= {"S": (0, 0, 1), "I": (0, 0, -1)}


def affine_of(axes: str, voxel_size_mm: tuple[float, float, float] = (1, 2, 3)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.transpose([WORLD[letter] for letter in axes]) * voxel_size_mm
    affine[:3, 3] = (-7, 11, 5)
    return affine


@pytest.mark.parametrize(
    ("axes", "expected_b0"),
    [("RAS", (0, 0, 1)), ("LPS", (0, 0, 1)), ("RSP", (0, 1, 0)), ("RAI", (0, 0, -1))],
)
def test_b0_is_given_in_the_frame_of_the_image(axes: str, expected_b0) -> None:
    grid = Image(np.zeros((4, 5, 6)), affine_of(axes)).grid
    assert grid.b0_direction == pytest.approx(expected_b0)
    assert grid.voxel_size_mm == pytest.approx((1, 2, 3))


def test_b0_of_an_oblique_slab_is_tilted() -> None:
    angle = np.deg2rad(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = Image(np.zeros((4, 5, 6)), tilt @ affine_of("RAS")).grid
    assert grid.b0_direction == pytest.approx((0, np.sin(angle), np.cos(angle)))


AXES = ["".join(a) for a in itertools.product("RL", "AP", "SI")]
AXES = ["".join(p) for letters in AXES for p in itertools.permutations(letters)]


@pytest.mark.parametrize("axes", AXES)
def test_reorienting_moves_no_voxel_in_the_world(axes: str, rng) -> None:
    image = Image(rng.standard_normal((4, 5, 6)), affine_of(axes))
    turned = reoriented(image)
    assert (np.diag(turned.affine)[:3] > 0).all()
    index = np.array([1, 2, 3, 1])
    inside = np.linalg.solve(turned.affine, image.affine @ index).round().astype(int)
    assert turned.data[tuple(inside[:3])] == image.data[1, 2, 3]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR"])
def test_resampling_finds_the_same_place(axes: str) -> None:
    onto = Image(np.zeros((6, 7, 8)), affine_of("RAS", (1, 1, 1)))
    indices = np.stack(np.meshgrid(*map(np.arange, (20, 20, 20)), indexing="ij"), -1)
    moving_affine = affine_of(axes, (1, 1, 1))
    moving_affine[:3, 3] += moving_affine[:3, :3] @ (-6, -6, -6)
    world_x = (indices @ moving_affine[:3, :3].T + moving_affine[:3, 3])[..., 0]
    found = resample(Image(world_x.astype(np.float32), moving_affine), onto)
    expected = onto.affine[0, 0] * np.arange(6) + onto.affine[0, 3]
    np.testing.assert_allclose(found.data[:, 3, 4], expected, atol=1e-4)


def test_a_world_matrix_moves_the_samples() -> None:
    affine = np.eye(4)
    data = np.zeros((9, 9, 9), np.float32)
    data[5, 4, 4] = 1
    shift = np.eye(4)
    shift[0, 3] = 2  # a point of the fixed world lies 2 mm further right in the moving world
    found = resample(Image(data, affine), Image(data, affine), world=shift)
    assert found.data[3, 4, 4] == 1
    assert found.data.sum() == 1


def test_labels_stay_labels() -> None:
    data = np.array([[[0, 10, 49]]], np.int16)
    found = resample(Image(data, np.eye(4)), Image(data, np.eye(4)), order=0)
    assert found.data.dtype == np.int16
    np.testing.assert_array_equal(found.data, data)


def test_data_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Image(np.zeros((2, 2, 2)), np.eye(4)).like(np.zeros((2, 2, 3)))
