import itertools
from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.report.slices import cut, profile, telling, tilt_degrees
from tests.report.conftest import OBLIQUE

TILTED = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


def stored_as(order: tuple[int, int, int], signs: tuple[int, int, int], turn: np.ndarray) -> Image:
    """A bright spot at world (12, 20, 6) mm in a scan of any voxel order and direction."""
    sizes = np.array([1.5, 2.0, 2.5])
    affine = np.eye(4)
    for column, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, column] = turn[:, axis] * sign * sizes[axis]
    shape = tuple((48, 40, 30)[axis] for axis in order)
    middle = (np.array(shape) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ middle
    data = np.ones(shape, np.float32)
    spot = np.linalg.solve(affine[:3, :3], np.array([12.0, 20.0, 6.0]) - affine[:3, 3]).round()
    data[tuple(spot.astype(int))] = 100.0
    return Image(data, affine)


@pytest.mark.parametrize("turn", [np.eye(3), TILTED], ids=["straight", "tilted"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
def test_the_participants_right_front_is_at_the_upper_right(order, signs, turn) -> None:
    image = stored_as(order, signs, turn)
    where = cut(image, show=None, through=None, count=60)
    tiles = where.own_tiles()
    number, up, right = np.unravel_index(tiles.argmax(), tiles.shape)
    assert up > tiles.shape[1] / 2
    assert right > tiles.shape[2] / 2
    assert where.labels()[number] in {"z = 5 mm", "z = 6 mm", "z = 7 mm", "z = 8 mm"}
    assert where.pixel_mm == pytest.approx((1.5, 2.0))


@pytest.mark.parametrize(("axis", "expected"), [(0, (2.0, 2.5)), (1, (1.5, 2.5)), (2, (1.5, 2.0))])
def test_pixels_keep_their_size_along_every_axis(axis, expected) -> None:
    image = stored_as((2, 0, 1), (1, -1, 1), np.eye(3))
    assert cut(image, show=None, through=None, axis=axis).pixel_mm == pytest.approx(expected)


def test_another_grid_is_sampled_at_the_same_world_points() -> None:
    image = stored_as((0, 1, 2), (1, 1, 1), np.eye(3))
    ramp = stored_as((2, 1, 0), (-1, 1, -1), TILTED)
    voxels = np.stack(np.meshgrid(*map(np.arange, ramp.shape), indexing="ij"), -1)
    world = voxels @ ramp.affine[:3, :3].T + ramp.affine[:3, 3]
    ramp = ramp.like((world @ (1.0, 10.0, 100.0)).astype(np.float32))
    where = cut(image, show=None, through=None, count=3)
    tiles = where.tiles(ramp)
    index = where.indices[1]
    x, y = where.box.start[0] + 20, where.box.start[1] + 15
    point = where.base.affine @ (x, y, index, 1)
    assert tiles[1, 15, 20] == pytest.approx(point[:3] @ (1.0, 10.0, 100.0), rel=1e-4)


def test_a_scan_is_moved_by_its_matrix() -> None:
    fixed = stored_as((0, 1, 2), (1, 1, 1), np.eye(3))
    moved = np.eye(4)
    moved[:3, 3] = (3.0, -4.0, 5.0)  # fixed world -> moving world
    moving = Image(fixed.data, moved @ fixed.affine)
    where = cut(fixed, show=None, through=None, count=60)
    np.testing.assert_allclose(where.tiles(moving, world=moved), where.own_tiles(), atol=1e-3)
    assert abs(where.tiles(moving) - where.own_tiles()).max() > 10


def test_slices_pass_through_the_region_and_show_no_more_than_asked(head) -> None:
    where = cut(head["chi"], show=head["brain"], through=head["thalamus"], count=5)
    assert 2 <= len(where.indices) <= 5
    inside = where.tiles(head["thalamus"].like((head["thalamus"].data > 0).astype(np.float32)))
    assert all(tile.any() for tile in inside)
    whole = head["brain"].data.sum()
    shown = cut(head["brain"], show=head["brain"], through=None).box
    assert np.prod(shown.shape) < head["brain"].data.size
    assert (
        cut(head["brain"], show=head["brain"], through=None).base.data[shown.slices].sum() == whole
    )


def test_an_empty_image_still_has_slices() -> None:
    where = cut(Image(np.zeros((5, 6, 7), np.float32), np.eye(4)), show=None, through=None)
    assert where.own_tiles().shape[1:] == (6, 5)


def test_tilt_is_the_angle_to_the_nearest_axis() -> None:
    assert tilt_degrees(stored_as((1, 0, 2), (1, -1, 1), np.eye(3))) == pytest.approx(0, abs=1e-6)
    assert tilt_degrees(stored_as((1, 0, 2), (1, -1, 1), TILTED)) == pytest.approx(16.26, abs=0.01)
    assert tilt_degrees(Image(np.zeros((2, 2, 2)), OBLIQUE)) > 5


def labelled(*slices: tuple[int, int, int, int]) -> Image:
    """Return labels in a box of 40 slices: number, first and last slice, width."""
    data = np.zeros((20, 20, 40), np.uint8)
    for number, (value, first, last, width) in enumerate(slices):
        data[: width + 1, 5 * number : 5 * number + 3, first : last + 1] = value
    return Image(data, np.eye(4))


def test_a_small_structure_between_two_even_slices_is_shown() -> None:
    # Two slices of a nucleus lie where eight evenly spaced ones would pass it by.
    image = labelled((10, 2, 38, 15), (17, 12, 13, 3))
    where = cut(image, show=None, through=image, count=8)
    assert len(where.indices) == 8
    assert {12, 13} & set(where.indices)


def test_a_long_tip_takes_no_slice_from_where_the_structure_is() -> None:
    data = np.zeros((20, 20, 40), np.uint8)
    data[5:15, 5:15, 20:32] = 1
    data[5, 5, 0:20] = 1  # a thread one voxel wide, as at the rim of a segmentation
    where = cut(Image(data, np.eye(4)), show=None, through=Image(data, np.eye(4)), count=6)
    assert len(where.indices) == 6
    assert min(where.indices) >= 18


def test_every_lesion_is_passed_where_there_are_slices_enough() -> None:
    image = labelled((1, 3, 4, 2), (2, 20, 21, 2), (3, 35, 36, 2))
    where = cut(image, show=None, through=image, count=3)
    counts = profile(where.base, image, 2)
    assert (counts[:, list(where.indices)] > 0).any(axis=1).all()


def test_labels_of_another_grid_are_found_in_their_slices() -> None:
    fine = labelled((1, 10, 13, 6))
    coarse = Image(fine.data[:, :, 10:14:2], fine.affine @ np.diag([1, 1, 2, 1]))
    coarse.affine[2, 3] = 10.5
    base = Image(np.zeros((20, 20, 40), np.float32), np.eye(4))
    counts = profile(base, coarse, 2)
    assert set(np.flatnonzero(counts[0])) <= {10, 11, 12, 13}


def test_the_slice_in_which_a_structure_is_largest_is_among_those_chosen() -> None:
    # Most of it lies in its tail: places by volume alone would pass its largest slice by.
    counts = np.array([[60] * 30 + [100]])
    assert 30 in telling(counts, 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_another_image_of_the_same_voxels_is_shown_as_the_image_itself(rng, order, signs) -> None:
    image = stored_as(order, signs, TILTED)
    image = image.like(rng.normal(size=image.shape).astype(np.float32))
    where = cut(image, show=None, through=None, count=5)
    np.testing.assert_array_equal(where.tiles(image), where.own_tiles())
    # Half a voxel beside it two values are averaged, which halves the variance of noise.
    affine = image.affine.copy()
    affine[:3, 3] += 0.5 * affine[:3, 0]
    between = where.tiles(Image(image.data, affine))
    assert between.std() == pytest.approx(np.sqrt(0.5) * image.data.std(), rel=0.1)


def test_labels_of_neighbours_differ_and_zero_has_no_sign() -> None:
    def labels(first_mm: float, step_mm: float, *indices: int) -> list[str]:
        affine = np.diag((1.0, 1.0, step_mm, 1.0))
        affine[2, 3] = first_mm
        head = Image(np.ones((20, 20, 9), np.float32), affine)
        where = cut(head, show=None, through=None, count=9)
        return replace(where, indices=indices).labels()

    assert labels(-2.4, 2.0, 0, 1, 2) == ["z = \u22122 mm", "z = 0 mm", "z = 2 mm"]
    # Two of these round to 0.
    assert labels(-0.4, 0.5, 0, 1, 2) == ["z = \u22120.4 mm", "z = 0.1 mm", "z = 0.6 mm"]
