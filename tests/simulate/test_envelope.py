import numpy as np
import pytest

from bids_qsmthal.simulate.envelope import STEP_MM, _hull_distance


def test_depth_is_half_a_voxel_more_than_the_distance_from_the_border_on_either_side():
    wall = np.zeros((40, 30, 30), bool)
    wall[:20] = True
    depth = _hull_distance(wall)[:, 15, 15]
    # The border lies between the centres 19 and 20.
    from_border = (np.arange(40) - 19.5) * STEP_MM
    assert depth[25:32] == pytest.approx(from_border[25:32] + 1, abs=0.02)
    assert depth[8:15] == pytest.approx(from_border[8:15] - 1, abs=0.02)
    assert abs(depth[19] + depth[20]) < 1e-5


def test_a_narrow_sulcus_belongs_to_the_inside_and_a_wide_one_does_not():
    brain = np.zeros((60, 30, 30), bool)
    brain[5:55, 5:25, 5:25] = True
    for width, closed in ((5, True), (12, False)):
        cut = brain.copy()
        cut[20 : 20 + width, 5:25, 10:25] = False
        middle = _hull_distance(cut)[20 + width // 2, 15, 17]
        assert (middle < 0) == closed
