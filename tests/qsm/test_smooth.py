"""Local means of angles lie where the voxels are."""

import numpy as np
import pytest

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm.smooth import local_angles


@pytest.mark.parametrize("size_mm", [(0.5, 0.75, 3.0), (1.0, 1.0, 1.0), (1.5, 1.5, 2.0)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_local_mean_of_a_ramp_is_the_ramp(size_mm, axis) -> None:
    shape = tuple(int(90 / size) for size in size_mm)
    mask = np.ones(shape, bool)
    # A mean over many blocks is the value in its middle; a shift of half a block would be seen.
    ramp = 0.01 * size_mm[axis] * np.indices(shape)[axis]
    around, _ = local_angles(
        ramp.ravel(), np.ones(ramp.size), mask, Grid(shape, size_mm, (0.0, 0.0, 1.0)), 4.0
    )
    inner = tuple(slice(n // 4, -(n // 4)) for n in shape)
    error = (around.reshape(shape) - ramp)[inner]
    assert np.abs(error).max() < 0.01 * 0.1
