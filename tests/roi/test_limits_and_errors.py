"""Two rules by numbers: what the limit of R2* does in noise, and how errors of sides combine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.roi import ReferenceRule, csf_reference
from bids_qsmthal.roi.table import RegionValues, standard_error
from bids_qsmthal.roi.uncertainty import Mean
from tests.roi.test_reference import SIZE_MM, _ball, _brain


def test_in_a_noisy_map_neighbours_tell_fluid_from_plexus() -> None:
    """Noise of 12 /s hides what decays by 12 /s more in one voxel, and not in a mean of many."""
    images, fluid, _ = _brain(radius_mm=11.0)
    plexus = _ball((20, 22, 33), 5.5) | _ball((40, 22, 33), 5.5)
    rates = images.r2star_hz + np.where(plexus, 12, 0)
    noisy = rates + np.random.default_rng(2).normal(0, 12, fluid.shape)
    images = replace(images, r2star_hz=np.maximum(noisy, 0).astype(np.float32))
    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())
    assert found.level.step == 0
    clean = fluid & ~plexus & (images.atria_depth_mm >= 2)
    assert (found.mask & clean).sum() > 0.9 * clean.sum()
    assert (found.mask & plexus).sum() < 0.07 * found.mask.sum()


def test_a_quiet_map_keeps_the_limit_of_the_rule() -> None:
    images, fluid, _ = _brain()
    rate = np.where(np.random.default_rng(3).random(fluid.shape) < 0.05, 7.0, images.r2star_hz)
    images = replace(images, r2star_hz=np.where(fluid, rate, 20).astype(np.float32))
    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())
    assert images.r2star_hz[found.mask].max() < 20 / 3


def values(chi_ppb: float, error: float, noise: float) -> RegionValues:
    """What was found in a region; the error does not ask which it is."""
    found = Mean(chi_ppb, 5.0, error, 100)
    return RegionValues(None, found, chi_ppb, None, Mean(0.0, 1.0, noise, 100))


REFERENCE_SD, NOISE_OWN, NOISE_REFERENCE = 0.8, 0.3, 0.4
METHOD_SD_PPB = (1.7, 1.1)
PARTS = {"method_sd_ppb": METHOD_SD_PPB, "contrast_error": 0.1}
BRAIN_PPB = -3.0


@pytest.fixture
def found():
    made = {("brain", "n/a"): values(BRAIN_PPB, 0.0, 0.0)}
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
    error = standard_error(("thalamus", side), found, **PARTS)
    assert error == pytest.approx(np.sqrt(np.sum(np.square(parts))))


@pytest.mark.parametrize(
    ("side", "factor", "value"), [("L", 2**0.5, -20.0), ("R", 2**0.5, -26.0), ("LR", 2.0, -23.0)]
)
def test_a_nucleus_errs_with_its_sides_and_with_what_it_stands_out_from_the_brain(
    found, side: str, factor: float, value: float
) -> None:
    """Sides with independent errors s differ by d, s root 2; the mean of both errs by d / 2."""
    whole = standard_error(("thalamus", side), found, **PARTS)
    part = standard_error(("caudate", side), found, **PARTS)
    own = part**2 - whole**2
    contrast = 0.1 * (value - BRAIN_PPB)
    assert own == pytest.approx(2.0**2 + (6.0 / factor) ** 2 + contrast**2)
