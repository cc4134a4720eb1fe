import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.roi.uncertainty import mean

SIZE_MM = (1.0, 1.0, 2.0)


def _ellipsoid(shape=(30, 34, 18)):
    x, y, z = (np.arange(n) - (n - 1) / 2 for n in shape)
    inside = (x[:, None, None] / 9) ** 2 + (y[:, None] / 12) ** 2 + (z / 5) ** 2
    return inside < 1


def test_independent_noise_gives_the_textbook_standard_error():
    mask = _ellipsoid()
    values = np.random.default_rng(1).normal(3.0, 10.0, mask.shape)

    found = mean(values, mask, SIZE_MM)

    assert found.count == mask.sum()
    assert found.value == pytest.approx(values[mask].mean())
    assert found.standard_error == pytest.approx(10.0 / np.sqrt(mask.sum()), rel=0.35)


@pytest.mark.parametrize("correlation_mm", [1.0, 2.0])
def test_the_standard_error_is_the_spread_of_the_mean_over_repeated_correlated_noise(
    correlation_mm,
):
    mask = _ellipsoid()
    rng = np.random.default_rng(2)
    sigma = [correlation_mm / size for size in SIZE_MM]
    draws = [
        mean(ndimage.gaussian_filter(rng.normal(size=mask.shape), sigma), mask, SIZE_MM)
        for _ in range(80)
    ]

    spread = np.std([draw.value for draw in draws], ddof=1)
    stated = np.sqrt(np.mean([draw.standard_error**2 for draw in draws]))

    assert stated == pytest.approx(spread, rel=0.3)
    naive = np.mean([draw.sd for draw in draws]) / np.sqrt(mask.sum())
    assert stated > 1.5 * naive


def test_a_mask_without_voxels_has_no_mean():
    found = mean(np.zeros((4, 4, 4)), np.zeros((4, 4, 4), dtype=bool), SIZE_MM)

    assert found.count == 0
    assert np.isnan(found.value)


def test_one_voxel_has_a_mean_and_no_error():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 2, 3] = True

    found = mean(np.full((4, 4, 4), 7.0), mask, SIZE_MM)

    assert found.value == 7.0
    assert np.isnan(found.standard_error)
