import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import RELAXATIONS, decay_snr, r2star_map
from bids_qsmthal.roi import LIMITS

EVEN = tuple(np.arange(1, 9) * 0.004)
RATES_HZ = np.array([2.0, 10.0, 20.0, 50.0, 120.0])


def decay(times) -> np.ndarray:
    return (500 * np.exp(-RATES_HZ[:, None, None, None] * np.array(times))).astype(np.float32)


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
@pytest.mark.parametrize("times", [EVEN, EVEN[:2], (0.003, 0.008, 0.020)])
def test_a_clean_decay_gives_its_rate(name: str, times) -> None:
    mask = np.ones((5, 1, 1), bool)
    found = RELAXATIONS[name]()(decay(times), mask, times)
    np.testing.assert_allclose(found[:, 0, 0], RATES_HZ, rtol=0.02)


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
def test_noise_does_not_bias_the_rate_of_brain_tissue(name: str, rng) -> None:
    clean = np.repeat(decay(EVEN)[2:3], 4000, axis=0)
    noisy = np.abs(clean + (rng.standard_normal((*clean.shape, 2)) @ np.array([1, 1j])) * 8)
    mask = np.ones(clean.shape[:3], bool)
    found = RELAXATIONS[name]()(noisy.astype(np.float32), mask, EVEN)
    assert np.median(found) == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
def test_zeros_and_one_echo_give_zero_not_nan(name: str) -> None:
    mask = np.ones((2, 1, 1), bool)
    dark = np.zeros((2, 1, 1, len(EVEN)), np.float32)
    assert not RELAXATIONS[name]()(dark, mask, EVEN).any()
    assert not RELAXATIONS[name]()(dark[..., :1] + 1, mask, EVEN[:1]).any()


def snr_of(signal: np.ndarray, times: tuple[float, ...] = EVEN) -> float:
    """Return what is measured in voxels in a row, with the rates that are fitted to them."""
    magnitude = Image(signal.astype(np.float32), np.eye(4))
    brain = magnitude.like(np.ones(magnitude.shape, bool))
    rates = r2star_map(magnitude, brain, times, RELAXATIONS["exponential"]())
    return decay_snr(magnitude, brain, rates, times)


def test_the_noise_of_a_decay_gives_its_signal_to_noise_ratio(rng) -> None:
    clean = np.repeat(decay(EVEN)[2:3], 4000, axis=0)
    noisy = clean + rng.standard_normal(clean.shape) * 10
    assert snr_of(noisy) == pytest.approx(clean[0, 0, 0, 0] / 10, rel=0.03)


def test_noise_without_a_decay_is_below_the_limit_of_exclusion(rng) -> None:
    noise = rng.uniform(0, 100, (4000, 1, 1, len(EVEN)))
    (limit,) = (one for one in LIMITS if one.name == "snr")
    assert snr_of(noise) < limit.exclude[0] / 2


def test_two_echoes_leave_no_noise_to_measure() -> None:
    assert np.isnan(snr_of(decay(EVEN[:2]), EVEN[:2]))
