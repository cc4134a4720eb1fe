"""Crops: what is cut comes back, at its place in the world, also beyond the grid."""

import numpy as np
import pytest

from bids_qsmthal.core import affine as affines
from bids_qsmthal.core.crop import Crop, around, around_each, between, margin_voxels
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Image

SHAPE = (9, 11, 7)
VALUES = np.random.default_rng(0).normal(size=SHAPE)
AFFINE = affines.with_origin(np.diag([1.0, -2.0, 3.0, 1.0]), (5.0, 6.0, 7.0))

INSIDE = Crop((2, 3, 1), (4, 5, 6), SHAPE)
BEYOND = Crop((-2, 8, 3), (6, 5, 12), SHAPE)


@pytest.mark.parametrize("crop", [INSIDE, BEYOND])
def test_what_is_cut_out_comes_back_and_the_rest_is_zero(crop):
    whole = crop.paste(crop.cut(VALUES))

    inside = np.zeros(SHAPE, bool)
    inside[crop.slices] = True
    np.testing.assert_array_equal(whole[inside], VALUES[inside])
    assert not whole[~inside].any()
    assert crop.cut(VALUES).shape == crop.shape
    assert crop.cut(VALUES).sum() == pytest.approx(VALUES[inside].sum())


@pytest.mark.parametrize("crop", [INSIDE, BEYOND])
def test_every_voxel_keeps_its_place_in_the_world(crop):
    x, y, z = np.indices(SHAPE)
    image = Image(x + 100.0 * y + 10_000.0 * z + 1, AFFINE)

    part = crop.of(image)

    for voxel in np.argwhere(part.data):
        old = np.rint(affines.apply(np.linalg.inv(AFFINE), affines.apply(part.affine, voxel)))
        assert part.data[tuple(voxel)] == image.data[tuple(old.astype(int))]


def test_a_cut_is_a_copy_and_a_fourth_axis_stays_whole():
    series = np.ones((*SHAPE, 3))

    boxed = INSIDE.cut(series)
    boxed[:] = 5.0

    assert boxed.shape == (*INSIDE.shape, 3)
    assert (series == 1.0).all()
    assert INSIDE.paste(boxed).shape == series.shape


def test_the_smallest_box_round_a_mask_ends_where_the_grid_ends():
    mask = np.zeros(SHAPE, bool)
    mask[3, 2:5, 6] = True

    assert around(mask) == Crop((3, 2, 6), (1, 3, 1), SHAPE)
    assert around(mask, margin=(1, 4, 2)) == Crop((2, 0, 4), (3, 9, 3), SHAPE)
    assert around(np.zeros(SHAPE, bool)) is None
    assert around(mask) == between((3, 2, 6), (4, 5, 7), SHAPE)
    assert Crop((3, 2, 6), (1, 3, 1), SHAPE).grown((1, 4, 2)) == around(mask, margin=(1, 4, 2))


def test_each_label_has_a_box_of_its_own_and_missing_numbers_have_none():
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0, 0], labels[4:6, 5, 2] = 1, 3

    boxes = dict(around_each(labels, margin=(1, 0, 2)))

    assert boxes == {1: Crop((0, 0, 0), (2, 1, 3), SHAPE), 3: Crop((3, 5, 0), (4, 1, 5), SHAPE)}


@pytest.mark.parametrize("crop", [INSIDE, BEYOND])
def test_on_a_finer_grid_each_voxel_is_a_block(crop):
    factors = (2, 1, 3)
    finer_shape = (18, 11, 20)  # one voxel short of blocks that are all whole
    fine = np.repeat(np.repeat(VALUES, 2, 0), 3, 2)[:, :, :20]

    found = crop.refined(factors, finer_shape).cut(fine)

    blocks = np.repeat(np.repeat(crop.cut(VALUES), 2, 0), 3, 2)
    there = crop.refined(factors, finer_shape).cut(np.ones(finer_shape, bool))
    np.testing.assert_array_equal(found, np.where(there, blocks, 0))


def test_the_grid_of_a_box_has_its_shape_and_the_voxels_of_the_whole():
    whole = Grid(SHAPE, (1.0, 2.0, 3.0), (0.0, 0.6, 0.8))

    assert BEYOND.grid(whole) == Grid((6, 5, 12), (1.0, 2.0, 3.0), (0.0, 0.6, 0.8))


def test_a_margin_in_millimetres_is_covered_by_whole_voxels():
    assert margin_voxels(3.0, (1.0, 2.0, 4.0)) == (3, 2, 1)
    assert margin_voxels(0.0, (1.0, 2.0, 4.0)) == (0, 0, 0)
