import numpy as np
import pytest

from bids_qsmthal.core.crop import around
from bids_qsmthal.roi import morphology


def test_erosion_counts_millimetres_and_not_voxels():
    mask = np.zeros((30, 30, 20), dtype=bool)
    mask[4:26, 4:26, 3:17] = True

    left = morphology.eroded(mask, (0.5, 0.5, 2.0), 2.0)

    box = around(left)
    assert box.shape == (22 - 8, 22 - 8, 14 - 2)


def test_dilation_reaches_a_given_distance_along_every_axis():
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True

    grown = morphology.dilated(mask, (0.5, 1.0, 3.0), 2.0)

    assert np.flatnonzero(grown[:, 10, 10]).tolist() == list(range(6, 15))
    assert np.flatnonzero(grown[10, :, 10]).tolist() == list(range(8, 13))
    assert np.flatnonzero(grown[10, 10, :]).tolist() == [10]


def test_depth_changes_sign_half_a_voxel_outside_the_last_voxel():
    mask = np.zeros((9, 5, 5), dtype=bool)
    mask[3:6] = True

    depth = morphology.signed_depth_mm(mask, (1.0, 9.0, 9.0))[:, 2, 2]

    np.testing.assert_allclose(depth, [-2.5, -1.5, -0.5, 0.5, 1.5, 0.5, -0.5, -1.5, -2.5])


def test_an_empty_mask_has_no_box_and_stays_empty():
    nothing = np.zeros((5, 5, 5), dtype=bool)

    assert around(nothing) is None
    assert not morphology.dilated(nothing, (1, 1, 1), 3.0).any()
    assert not morphology.eroded(nothing, (1, 1, 1), 1.0).any()
    assert (morphology.signed_depth_mm(nothing, (1, 1, 1)) < 0).all()


def test_the_robust_spread_is_the_standard_deviation_of_a_normal_sample_with_outliers():
    values = np.random.default_rng(0).normal(5.0, 2.0, 20000)
    values[:500] = 1e4

    centre, spread = morphology.robust_centre_and_spread(values)

    assert centre == pytest.approx(5.0, abs=0.1)
    assert spread == pytest.approx(2.0, rel=0.06)
