import numpy as np
import pytest

from bids_qsmthal.core.scan_warnings import PhaseIsNoise
from bids_qsmthal.qsm import Grid, phase
from bids_qsmthal.qsm.phase_mask import best_quality
from tests.qsm.phantoms import head


@pytest.mark.parametrize(
    "manufacturer", ["GE", *(pytest.param(one, marks=pytest.mark.slow) for one in ("Siemens", ""))]
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("chopped", [False, True])
def test_sign_and_chop_are_found_whatever_the_vendor(manufacturer, sign, chopped) -> None:
    scan = head()
    magnitude, angle = scan.signal(snr=60)
    stored = sign * (phase.unchop(angle) if chopped else angle)
    found = phase.corrected(
        magnitude,
        stored,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer=manufacturer),
        scan.mask,
    )
    assert found.report.sign == sign
    assert found.report.sign_source == "data"
    assert found.report.chopped is chopped
    difference = np.angle(np.exp(1j * (found.phase_rad - angle)))
    assert np.abs(difference).max() < 1e-4
    usual = {"Siemens": 1, "GE": -1, "": sign}[manufacturer]
    assert bool(found.report.warnings) is (usual != sign)


def test_the_users_word_is_final() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    found = phase.corrected(
        magnitude,
        angle,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer="GE", sign=-1, chop="yes"),
    )
    assert (found.report.sign, found.report.sign_source) == (-1, "user")
    assert (found.report.chopped, found.report.chop_source) == (True, "user")


def test_without_evidence_the_manufacturer_is_believed(rng) -> None:
    scan = head()
    noise = rng.uniform(-np.pi, np.pi, (*scan.grid.shape, 4)).astype(np.float32)
    magnitude = np.ones_like(noise)
    found = phase.corrected(
        magnitude,
        noise,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer="GE", chop="no"),
    )
    assert found.report.sign == -1
    assert found.report.sign_source == "manufacturer"


@pytest.mark.parametrize("snr", [4, 8, 60])
def test_a_head_without_its_air_is_found_whole(snr) -> None:
    scan = head(Grid((44, 50, 40), (4.2, 4.4, 4.2), (0.0, -0.28, 0.96)))
    magnitude, _ = scan.signal(snr=snr)
    masked = magnitude * scan.mask[..., None]
    for given in (magnitude, masked):
        found = phase.brain_like(given)
        assert 2 * (found & scan.mask).sum() / (found.sum() + scan.mask.sum()) > 0.93


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_in_a_phase_of_noise(seed) -> None:
    scan = head()
    magnitude, angle = scan.signal()
    noise = np.random.default_rng(seed).uniform(-np.pi, np.pi, angle.shape).astype(np.float32)
    found = phase.corrected(
        magnitude, noise, scan.grid, scan.acquisition, phase.Conventions(manufacturer="GE")
    )
    (warning,) = found.report.warnings
    assert isinstance(warning, PhaseIsNoise)
    assert warning.quality == pytest.approx(0.5, abs=0.02)
    assert (found.report.sign, found.report.sign_source) == (-1, "manufacturer")
    assert not found.report.chopped
    np.testing.assert_array_equal(found.phase_rad, -noise)


@pytest.mark.parametrize("snr", [3, 8])
def test_a_noisy_phase_is_not_noise(snr) -> None:
    scan = head()
    magnitude, angle = scan.signal(snr=snr)
    found = phase.corrected(magnitude, angle, scan.grid, scan.acquisition, phase.Conventions())
    assert not any(isinstance(one, PhaseIsNoise) for one in found.report.warnings)


def test_one_good_echo_of_four_is_enough_to_look_at_the_phase() -> None:
    scan = head()
    _, angle = scan.signal()
    angle[..., 1:] = np.random.default_rng(1).uniform(-np.pi, np.pi, angle[..., 1:].shape)
    assert best_quality(angle, scan.mask) > 0.9
