from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.roi.masks import MaskSource
from bids_qsmthal.roi.measured_regions import MeasuredRegion
from bids_qsmthal.roi.table import RegionValues, standard_error
from bids_qsmthal.roi.uncertainty import Mean, mean

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


NO_METHOD = {"method_sd_ppb": (0, 0), "contrast_error": 0.0}


def _place(name, side):
    return MeasuredRegion(
        name, side, np.empty((0, 0, 0), dtype=bool), 0, "QSM", MaskSource.SEGMENTATION
    )


def _found(noise=(0.3, 0.4), means=(0.0, 0.0), *, uneven=3.0):
    """A thalamus as uneven as given and a reference, each with its noise, known or not."""
    found = {}
    for name, error, level, value in (
        ("thalamus", uneven, noise[0] if noise else None, means[0]),
        ("csf_reference", 0.2, noise[1] if noise else None, means[1]),
    ):
        own = None if level is None else Mean(value, 5.0, level, 500)
        for side in ("L", "R", "LR"):
            chi = Mean(-20.0, 8.0, error, 500)
            found[name, side] = RegionValues(_place(name, side), chi, -20.0, None, own)
    return found


@pytest.mark.parametrize(("side", "method"), [("L", 1.5), ("LR", 1.2)])
def test_noise_reference_and_method_add_up_and_anatomy_is_no_error(side, method):
    found = standard_error(
        ("thalamus", side), _found(), method_sd_ppb=(1.5, 1.2), contrast_error=0.0
    )

    assert found == pytest.approx(np.sqrt(0.3**2 + 0.4**2 + 0.2**2 + method**2))


def test_noise_over_the_whole_head_shows_in_the_difference_of_the_means():
    found = standard_error(("thalamus", "LR"), _found(means=(1.0, -3.0)), **NO_METHOD)

    assert found == pytest.approx(np.hypot(4.0, 0.2))


def test_without_split_echoes_what_varies_in_the_thalamus_counts_as_error():
    found = standard_error(("thalamus", "LR"), _found(noise=None), **NO_METHOD)

    assert found == pytest.approx(np.hypot(3.0, 0.2))


def test_what_another_background_removal_moves_counts_as_error():
    found = _found()
    for name, value in (("thalamus", -17.0), ("csf_reference", -21.0)):
        found[name, "LR"] = replace(found[name, "LR"], calibrated_ppb=value)

    error = standard_error(("thalamus", "LR"), found, **NO_METHOD)

    # Thalamus less reference is 0 as chosen, 4 with the removal whose error is known.
    assert error == pytest.approx(np.sqrt(0.3**2 + 0.4**2 + 0.2**2 + 4.0**2))
