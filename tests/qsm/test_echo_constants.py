import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.qsm import echo_constants, phase, reconstruct
from tests.qsm.phantoms import head

EVEN, UNEVEN, THREE = (0.005, 0.010, 0.015, 0.020), (0.004, 0.009, 0.0155), (0.004, 0.008, 0.012)


def turned(angle: np.ndarray, constants: tuple[float, ...]) -> np.ndarray:
    return np.angle(np.exp(1j * (angle + np.array(constants)))).astype(np.float32)


@pytest.mark.parametrize("times", [EVEN, UNEVEN, THREE])
@pytest.mark.parametrize("constants", [(0.3, 2.1, -1.4, 2.9), (0, 0, 0.4, 0), (3, -3, 1, 2)])
@pytest.mark.parametrize(("field_strength_t", "snr"), [(1.5, 60), (3.0, 15), (7.0, 60)])
def test_echoes_with_constants_follow_one_line_again(
    times, constants, field_strength_t, snr
) -> None:
    scan = head(echo_times_s=times, field_strength_t=field_strength_t)
    magnitude, angle = scan.signal(snr=snr)
    stored = turned(angle, constants[: len(times)])
    mended, _ = echo_constants.corrected(magnitude, stored, scan.mask, scan.grid, times)
    # What is left must be linear in echo time: a constant frequency and a constant offset.
    left = np.exp(1j * (mended - angle)[scan.mask].astype(np.float64))
    assert np.abs(np.angle(left * np.conj(left.mean(0)))).max() < 1e-3
    again, largest = echo_constants.corrected(magnitude, mended, scan.mask, scan.grid, times)
    assert largest == 0
    assert again is mended


@pytest.mark.parametrize("times", [EVEN, UNEVEN, THREE, (0.005, 0.02), (0.02,)])
@pytest.mark.parametrize("frequency_hz", [0, 80, -130])
def test_a_scan_without_constants_is_left_alone(times, frequency_hz) -> None:
    scan = head(echo_times_s=times)
    magnitude, angle = scan.signal(snr=30)
    moved = turned(angle, tuple(2 * np.pi * frequency_hz * np.array(times)))
    mended, largest = echo_constants.corrected(magnitude, moved, scan.mask, scan.grid, times)
    assert largest == 0
    assert mended is moved


@pytest.mark.slow
def test_constants_are_found_before_the_sign_and_reported() -> None:
    scan = head()
    magnitude, angle = scan.signal(snr=60)
    found = phase.corrected(
        magnitude,
        -turned(angle, (0.3, 2.1, -1.4, 2.9)),
        scan.grid,
        scan.acquisition,
        phase.Conventions(chop="no"),
    )
    assert found.report.sign == -1
    assert found.report.echo_constant_rad > 1


def test_echoes_that_follow_no_frequency_are_refused() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    wild = (0.0, 1.5, 0.0, -1.5) + 0 * angle
    with pytest.raises(DataError, match="In no voxel does the phase follow one frequency"):
        reconstruct(magnitude, wild.astype(np.float32), scan.mask, scan.grid, scan.acquisition)


def test_a_small_constant_is_taken_out_too() -> None:
    scan = head(echo_times_s=EVEN)
    magnitude, angle = scan.signal(snr=60)
    stored = turned(angle, (0.0, 0.0, 0.1, -0.08))
    _, largest = echo_constants.corrected(magnitude, stored, scan.mask, scan.grid, EVEN)
    assert largest == pytest.approx(0.1, abs=0.01)


def test_echoes_in_which_voxels_do_not_agree_have_no_constant(rng) -> None:
    scan = head(echo_times_s=EVEN)
    magnitude, angle = scan.signal(snr=60)
    stored = angle.copy()
    stored[..., 3] = rng.uniform(-np.pi, np.pi, angle.shape[:3])
    found = echo_constants.constants(magnitude, stored, scan.mask, scan.grid, EVEN)
    assert not found.any()
