"""Affines: closed forms on an oblique, anisotropic grid."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_qsmthal.core import affine as affines

SIZES_MM = (0.8, 1.5, 3.0)
TURN = Rotation.from_euler("xyz", (20.0, -10.0, 35.0), degrees=True).as_matrix()
AFFINE = np.eye(4)
AFFINE[:3, :3] = TURN * SIZES_MM
AFFINE[:3, 3] = (-40.0, 25.0, 12.0)


def test_points_go_where_the_matrix_takes_them_whichever_way_they_are_stored():
    points = np.random.default_rng(0).normal(size=(5, 3))
    by_hand = np.stack([(AFFINE @ (*point, 1.0))[:3] for point in points])

    np.testing.assert_allclose(affines.apply(AFFINE, points), by_hand, atol=1e-12)
    np.testing.assert_allclose(affines.apply(AFFINE, points[2]), by_hand[2], atol=1e-12)
    np.testing.assert_allclose(affines.apply_to_columns(AFFINE, points.T), by_hand.T, atol=1e-12)


def test_single_precision_stays_single():
    moved = affines.apply_to_columns(AFFINE.astype(np.float32), np.ones((3, 4), np.float32))

    assert moved.dtype == np.float32


def test_sizes_and_directions_are_those_of_the_grid():
    np.testing.assert_allclose(affines.voxel_sizes_mm(AFFINE), SIZES_MM)
    np.testing.assert_allclose(affines.directions(AFFINE), TURN, atol=1e-12)


def test_the_map_between_grids_goes_by_way_of_the_world():
    other = affines.lattice((2.0, 2.0, 1.0), (3.0, -4.0, 5.0))
    world = np.eye(4)
    world[:3, 3] = (10.0, 0.0, -2.0)
    voxel = (3.0, 5.0, 7.0)

    there = affines.apply(affines.between(AFFINE, other, world), voxel)

    point = affines.apply(world, affines.apply(other, voxel))
    np.testing.assert_allclose(affines.apply(AFFINE, there), point, atol=1e-10)
    assert np.allclose(affines.between(other, other), np.eye(4))


@pytest.mark.parametrize("first", [(2, 0, 5), (-1, 3, 0), (0.5, -0.25, 0.0)])
def test_a_lattice_counted_from_another_voxel_keeps_its_places(first):
    shifted = affines.starting_at(AFFINE, first)

    voxel = np.array((4.0, 1.0, 2.0))
    np.testing.assert_allclose(
        affines.apply(shifted, voxel), affines.apply(AFFINE, voxel + first), atol=1e-12
    )


def test_longer_voxels_keep_the_first_centre_and_the_axes():
    longer = affines.rescaled(AFFINE, (2.0, 1.0, 0.5))

    np.testing.assert_allclose(affines.voxel_sizes_mm(longer), (1.6, 1.5, 1.5))
    np.testing.assert_allclose(affines.directions(longer), TURN, atol=1e-12)
    np.testing.assert_array_equal(longer[:3, 3], AFFINE[:3, 3])


def test_nothing_is_changed_in_place():
    before = AFFINE.copy()

    affines.starting_at(AFFINE, (1, 2, 3))
    affines.rescaled(AFFINE, 2.0)
    affines.with_origin(AFFINE, (0, 0, 0))

    np.testing.assert_array_equal(AFFINE, before)
