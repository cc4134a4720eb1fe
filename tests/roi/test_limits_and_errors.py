"""Two rules by numbers: how far the limit of R2* may rise, and how errors of sides combine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.roi import ReferenceRule, csf_reference
from bids_qsmthal.roi.table import RegionValues, standard_error
from bids_qsmthal.roi.uncertainty import Mean
from tests.roi.test_reference import SIZE_MM, _brain


def test_however_noisy_the_map_no_reference_voxel_decays_like_tissue() -> None:
    """In a map so noisy that its own spread would allow 20 /s, the limit ends at 10 /s."""
    images, fluid, _ = _brain()
    noisy = images.r2star_hz + np.random.default_rng(2).normal(0, 6, fluid.shape) * fluid
    images = replace(images, r2star_hz=np.abs(noisy).astype(np.float32))
    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())
    rates = images.r2star_hz[found.mask]
    assert rates.size > 100
    assert 5 < rates.max() <= 10  # twice the 5 /s of the rule (Liu 2018), and noise reaches it


def test_a_quiet_map_keeps_the_limit_of_the_rule() -> None:
    images, fluid, _ = _brain()
    rate = np.where(np.random.default_rng(3).random(fluid.shape) < 0.05, 7.0, images.r2star_hz)
    images = replace(images, r2star_hz=np.where(fluid, rate, 20).astype(np.float32))
    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())
    assert images.r2star_hz[found.mask].max() < 5


def values(chi_ppb: float, error: float, noise: float) -> RegionValues:
    """What was found in a region; the error does not ask which it is."""
    found = Mean(chi_ppb, 5.0, error, 100)
    return RegionValues(None, found, chi_ppb, None, Mean(0.0, 1.0, noise, 100))


REFERENCE_SD, NOISE_OWN, NOISE_REFERENCE = 0.8, 0.3, 0.4
METHOD_SD_PPB = (1.7, 1.1)


@pytest.fixture
def found():
    made = {}
    for side, own, zero in (("L", -20.0, 4.0), ("R", -26.0, 7.0), ("LR", -23.0, 5.5)):
        made["thalamus", side] = made["caudate", side] = values(own, 2.0, NOISE_OWN)
        made["csf_reference", side] = values(zero, REFERENCE_SD, NOISE_REFERENCE)
    return made


@pytest.mark.parametrize(("side", "method_sd"), [("L", 1.7), ("R", 1.7), ("LR", 1.1)])
def test_the_error_of_a_thalamus_is_the_root_of_the_sum_of_its_parts(
    found, side: str, method_sd: float
) -> None:
    """The reference is one for all: half of how far its sides (4 and 7 ppb) disagree."""
    parts = [REFERENCE_SD, (7.0 - 4.0) / 2, method_sd, np.hypot(NOISE_OWN, NOISE_REFERENCE)]
    error = standard_error(("thalamus", side), found, method_sd_ppb=METHOD_SD_PPB)
    assert error == pytest.approx(np.sqrt(np.sum(np.square(parts))))


@pytest.mark.parametrize(("side", "factor"), [("L", 2**0.5), ("R", 2**0.5), ("LR", 2.0)])
def test_sides_that_disagree_by_d_err_by_d_over_root_two_each_and_d_over_two_together(
    found, side: str, factor: float
) -> None:
    """Independent errors s of each side: d has s root 2, the mean of both s over root 2."""
    whole = standard_error(("thalamus", side), found, method_sd_ppb=METHOD_SD_PPB)
    part = standard_error(("caudate", side), found, method_sd_ppb=METHOD_SD_PPB)
    own = part**2 - whole**2
    assert own == pytest.approx(2.0**2 + (6.0 / factor) ** 2)
