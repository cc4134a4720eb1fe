from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.core.scan_warnings import EchoPhaseIsNoise, PhaseIsNoise
from bids_qsmthal.qsm import Grid, phase
from bids_qsmthal.qsm.csf import depth
from bids_qsmthal.qsm.phase_mask import echo_qualities
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
    first, *others = echo_qualities(angle, scan.mask)
    assert first > 0.9
    assert others == pytest.approx([0.5] * 3, abs=0.02)


@pytest.mark.parametrize(("bad", "said"), [((0,), "1"), ((2,), "3"), ((1, 3), "2, 4")])
def test_an_echo_whose_phase_is_noise_is_named_and_nothing_is_found_in_it(bad, said) -> None:
    scan = head()
    magnitude, angle = scan.signal()
    noise = np.random.default_rng(7).uniform(-np.pi, np.pi, angle.shape).astype(np.float32)
    angle[..., bad] = noise[..., bad]
    found = phase.corrected(
        magnitude, angle, scan.grid, scan.acquisition, phase.Conventions(manufacturer="GE")
    )
    (warning,) = found.report.warnings
    assert isinstance(warning, EchoPhaseIsNoise)
    assert warning.echoes == said
    np.testing.assert_array_equal(found.phase_rad, -angle)


def test_an_echo_that_decayed_into_noise_is_left_alone() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    rng = np.random.default_rng(7)
    angle[..., -1] = rng.uniform(-np.pi, np.pi, angle.shape[:3])
    magnitude[..., -1] *= 0.25 * magnitude[..., 0].mean() / magnitude[..., -1].mean()
    found = phase.corrected(
        magnitude, angle, scan.grid, scan.acquisition, phase.Conventions(manufacturer="GE")
    )
    assert not any(isinstance(one, EchoPhaseIsNoise) for one in found.report.warnings)


def test_the_sign_is_that_of_the_deeper_half(monkeypatch) -> None:
    """Where scalp and brain were not told apart, skull and sinuses lie beyond 10 mm, too."""
    scan = head()
    magnitude, angle = scan.signal()

    class Map:
        def __call__(self, seen, grid):
            deep_mm = depth(seen.mask, grid)
            chi = np.where(deep_mm < deep_mm.max() / 2, -0.5, 0.01).astype(np.float32)
            chi *= np.random.default_rng(1).random(chi.shape) < 0.02
            return SimpleNamespace(chi_ppm=chi)

    monkeypatch.setattr(phase, "ThresholdedDivision", Map)
    assert phase.detect_sign(magnitude, angle, scan.mask, scan.grid, scan.acquisition) > 0.9
