import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.roi import transfer


def _turned(degrees):
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn


def _ball(shape=(41, 40, 39), radius_mm=11.0, centre=(1.0, -2.0, 3.0)):
    affine = np.eye(4)
    affine[:3, 3] = -0.5 * (np.array(shape) - 1)
    index = np.moveaxis(np.indices(shape), 0, -1)
    distance = np.linalg.norm(index + affine[:3, 3] - centre, axis=-1)
    return Image((distance < radius_mm).astype(np.int32) * 10, affine)


def _grid(shape, size_mm, turn):
    affine = np.diag([*size_mm, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape) - 1) * size_mm
    return Image(np.zeros(shape, dtype=np.float32), turn @ affine)


def test_a_share_is_the_overlap_of_the_voxel_box_with_the_label():
    slab = np.zeros((6, 6, 12), dtype=np.int32)
    slab[:, :, 4:9] = 7
    source = Image(slab, np.eye(4))
    # Slices of 4 mm whose boxes are z = [-0.5, 3.5], [3.5, 7.5], [7.5, 11.5].
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    affine[2, 3] = 1.5
    onto = Image(np.zeros((6, 6, 3), dtype=np.float32), affine)

    carried = transfer.labels(source, onto, world=np.eye(4))

    np.testing.assert_allclose(carried.fraction(7)[3, 3], [0.0, 1.0, 0.25], atol=1e-6)
    np.testing.assert_array_equal(carried.labels.data[3, 3], [0, 7, 0])


@pytest.mark.parametrize("size_mm", [(0.5, 0.5, 2.0), (1.5, 1.5, 2.0), (0.75, 0.75, 3.0)])
def test_shares_keep_the_volume_of_a_label_on_oblique_thick_slices(size_mm):
    source = _ball()
    shape = tuple(int(44 / size) for size in size_mm)
    onto = _grid(shape, size_mm, _turned(22.0))

    share = transfer.labels(source, onto, world=np.eye(4)).fraction(10)

    volume = share.sum(dtype=np.float64) * onto.voxel_volume_mm3
    assert volume == pytest.approx((source.data == 10).sum(), rel=0.005)


def test_the_matrix_takes_points_of_the_target_world_to_the_source_world():
    source = _ball()
    onto = _grid((60, 50, 30), (1.0, 1.2, 2.0), _turned(-15.0))
    world = _turned(10.0)
    world[:3, 3] = (4.0, -3.0, 2.0)

    share = transfer.labels(source, onto, world=world).fraction(10).astype(np.float64)

    index = np.argwhere(share > 0)
    weights = share[share > 0]
    centre = np.average(index, axis=0, weights=weights)
    centre_in_source = (world @ onto.affine @ (*centre, 1.0))[:3]
    np.testing.assert_allclose(centre_in_source, (1.0, -2.0, 3.0), atol=0.05)


def test_labels_that_touch_do_not_run_into_each_other():
    data = np.zeros((20, 20, 20), dtype=np.int32)
    data[2:10, 2:18, 2:18] = 10
    data[10:18, 2:18, 2:18] = 49
    source = Image(data, np.eye(4))
    onto = _grid((30, 30, 16), (0.75, 0.75, 1.5), _turned(17.0))
    world = np.eye(4)
    world[:3, 3] = 9.5

    carried = transfer.labels(source, onto, world=world)

    assert set(np.unique(carried.labels.data)) == {0, 10, 49}
    assert (carried.fraction(10) + carried.fraction(49)).max() <= 1 + 1e-6
    borders = world @ onto.affine
    left = np.argwhere(carried.labels.data == 10) @ borders[:3, :3].T + borders[:3, 3]
    right = np.argwhere(carried.labels.data == 49) @ borders[:3, :3].T + borders[:3, 3]
    assert left[:, 0].max() < 9.5 + 0.75 < right[:, 0].min() + 1.5


def test_the_least_depth_in_a_ball_is_the_distance_of_the_farthest_corner_to_its_surface():
    source = _ball(radius_mm=12.0)
    mask = source.like(source.data > 0)
    onto = _grid((30, 30, 14), (1.0, 1.0, 2.5), np.eye(4))

    depth = transfer.least_depth_mm(mask, onto, world=np.eye(4))

    centres = np.moveaxis(np.indices(onto.shape), 0, -1) + onto.affine[:3, 3] * (1, 1, 0.4)
    centres = centres * (1, 1, 2.5) - (1.0, -2.0, 3.0)
    # The lattice ends a quarter of a millimetre inside the box along each axis.
    corner = np.linalg.norm(np.abs(centres) + np.array((0.25, 0.25, 1.0)), axis=-1)
    near = np.isfinite(depth) & (np.abs(12.0 - corner) < 2)
    assert np.abs(depth - (12.0 - corner))[near].max() < 0.9
    assert abs(np.mean((depth - (12.0 - corner))[near])) < 0.25


def test_a_probability_is_averaged_and_not_thresholded():
    ramp = np.zeros((8, 8, 8), dtype=np.float32)
    ramp[:] = np.linspace(0.1, 0.8, 8)
    onto = Image(np.zeros((8, 8, 4), np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    onto.affine[2, 3] = 0.5

    share = transfer.fraction(Image(ramp, np.eye(4)), onto, world=np.eye(4))

    np.testing.assert_allclose(share.on(onto)[4, 4, 1:3], [0.35, 0.55], atol=1e-5)


def test_a_label_outside_the_scan_gives_no_share():
    source = _ball()
    world = np.eye(4)
    world[:3, 3] = 500.0
    onto = _grid((10, 10, 10), (1.0, 1.0, 1.0), np.eye(4))

    carried = transfer.labels(source, onto, world=world)

    assert not carried.labels.data.any()
    assert not carried.fraction(10).any()
