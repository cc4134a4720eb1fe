"""Distances to a mask, against SciPy's and by hand."""

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.distance import distance_mm


@pytest.mark.parametrize("size_mm", [(1.0, 1.0, 1.0), (0.45, 0.5, 3.0), (2.0, 1.2, 0.7)])
@pytest.mark.parametrize("share", [0.0005, 0.05, 0.6])
def test_distances_are_those_of_scipy(rng, size_mm, share) -> None:
    mask = rng.random((31, 44, 27)) < share
    found = distance_mm(mask, size_mm)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, ndimage.distance_transform_edt(~mask, size_mm), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("place", [(0, 0, 0), (4, 5, 6), (2, 5, 0)])
def test_of_one_voxel_they_are_straight_lines(place) -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[place] = True
    size_mm = (1.5, 1.0, 2.5)
    away = (np.indices(mask.shape) - np.reshape(place, (3, 1, 1, 1))) * np.reshape(
        size_mm, (3, 1, 1, 1)
    )
    np.testing.assert_allclose(distance_mm(mask, size_mm), np.linalg.norm(away, axis=0), rtol=1e-6)


def test_nothing_is_infinitely_far_and_everything_at_zero() -> None:
    nowhere = np.zeros((3, 4, 5), bool)
    assert np.isposinf(distance_mm(nowhere, (1.0, 1.0, 1.0))).all()
    assert not distance_mm(~nowhere, (1.0, 1.0, 1.0)).any()


def test_the_mask_may_be_a_view_in_any_order(rng) -> None:
    whole = rng.random((20, 30, 24)) < 0.02
    turned = whole.transpose(2, 0, 1)[::-1, ::2]
    np.testing.assert_array_equal(
        distance_mm(turned, (1.0, 2.0, 3.0)),
        distance_mm(np.ascontiguousarray(turned), (1.0, 2.0, 3.0)),
    )
