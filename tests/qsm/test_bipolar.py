import numpy as np
import pytest

from bids_qsmthal.core.scan_warnings import AlternationLeft
from bids_qsmthal.qsm import bipolar, echo_constants, phase, reconstruct
from tests.qsm.phantoms import distances_mm, head


def alternating(scan, slope_rad_per_mm=(0.02, 0.0, 0.0), constant_rad: float = 0.15) -> np.ndarray:
    """The phase that alternates, shape (x, y, z)."""
    axes = distances_mm(scan.grid)
    return constant_rad + sum(s * a for s, a in zip(slope_rad_per_mm, axes, strict=True))


def read_both_ways(scan, beta: np.ndarray, **kwargs):
    magnitude, angle = scan.signal(**kwargs)
    signs = np.where(np.arange(angle.shape[-1]) % 2, -1, 1)
    turned = np.angle(np.exp(1j * (angle + beta[..., None] * signs)))
    return magnitude, turned.astype(np.float32), angle


@pytest.mark.parametrize("slope", [(0.02, 0, 0), (0, -0.03, 0), (0.004, 0, 0)])
@pytest.mark.parametrize("echoes", [3, 6])
def test_the_phase_between_odd_and_even_echoes_is_found(slope, echoes: int) -> None:
    scan = head(echo_times_s=tuple(0.004 * np.arange(1, echoes + 1)))
    truth = alternating(scan, slope)
    magnitude, turned, angle = read_both_ways(scan, truth, snr=60)
    times = scan.acquisition.echo_times_s
    found = bipolar.readouts(magnitude, turned, scan.mask, scan.grid, times).beta_rad
    assert found is not None
    assert np.abs(found - truth)[scan.mask].max() < 0.03
    mended, largest, _ = bipolar.corrected(magnitude, turned, scan.mask, scan.grid, times)
    rest = np.angle(np.exp(1j * (mended - angle)))[scan.mask]
    assert np.abs(rest).max() < 0.03
    assert largest == pytest.approx(np.abs(truth[scan.mask]).max(), abs=0.03)


@pytest.mark.parametrize("times", [(0.005, 0.010, 0.015, 0.020), (0.004, 0.008, 0.012)])
def test_readouts_in_one_direction_are_left_alone(times) -> None:
    scan = head(echo_times_s=times)
    magnitude, angle = scan.signal(snr=40)
    mended, largest, _ = bipolar.corrected(magnitude, angle, scan.mask, scan.grid, times)
    assert largest == 0
    assert mended is angle


def test_two_echoes_do_not_tell_and_are_left_alone() -> None:
    scan = head(echo_times_s=(0.005, 0.010))
    magnitude, turned, _ = read_both_ways(scan, alternating(scan))
    found = bipolar.readouts(magnitude, turned, scan.mask, scan.grid, (0.005, 0.010))
    assert found.beta_rad is None
    assert found.left_rad is None


@pytest.mark.parametrize("times", [(0.004, 0.009, 0.0155, 0.0205), (0.003, 0.0105, 0.022)])
@pytest.mark.parametrize("quadratic", [0.0, 0.4])
def test_uneven_echoes_are_put_on_one_line(times, quadratic) -> None:
    scan = head(echo_times_s=times)
    axes = distances_mm(scan.grid)
    truth = alternating(scan, (0.0, 0.012, 0.0)) + quadratic * (axes[0] / 70) ** 2
    magnitude, turned, angle = read_both_ways(scan, truth, snr=60)
    mended, _, left = bipolar.corrected(magnitude, turned, scan.mask, scan.grid, times)
    mended, _ = echo_constants.corrected(magnitude, mended, scan.mask, scan.grid, times)
    assert left < 0.02
    # What remains may be a constant in each echo that is linear in time: no field but a constant.
    rest = np.exp(1j * (mended - angle)[scan.mask].astype(np.float64))
    assert np.abs(np.angle(rest * np.conj(rest.mean(0)))).max() < 0.06


@pytest.mark.parametrize("quadratic", [0.2, 0.5])
def test_the_quadratic_part_is_found_too(quadratic) -> None:
    scan = head(echo_times_s=tuple(0.004 * np.arange(1, 6)))
    axes = distances_mm(scan.grid)
    truth = alternating(scan) + quadratic * (axes[1] / 80) ** 2
    magnitude, turned, _ = read_both_ways(scan, truth, snr=60)
    times = scan.acquisition.echo_times_s
    found = bipolar.readouts(magnitude, turned, scan.mask, scan.grid, times)
    assert np.abs(found.beta_rad - truth)[scan.mask].max() < 0.03
    assert found.left_rad < 0.01


def test_what_no_model_explains_is_measured_and_said() -> None:
    scan = head(echo_times_s=tuple(0.004 * np.arange(1, 6)))
    axes = distances_mm(scan.grid)
    truth = 0.5 * np.sin(axes[1] / 25) * np.cos(axes[0] / 25)
    magnitude, turned, _ = read_both_ways(scan, truth, snr=60)
    found = phase.corrected(
        magnitude, turned, scan.grid, scan.acquisition, phase.Conventions(sign=1, chop="no")
    )
    assert found.report.bipolar_left_rad > 0.05
    assert any(isinstance(one, AlternationLeft) for one in found.report.warnings)


@pytest.mark.slow
def test_a_bipolar_scan_gives_the_map_of_a_monopolar_one() -> None:
    scan = head(echo_times_s=tuple(0.004 * np.arange(1, 6)))
    magnitude, turned, angle = read_both_ways(scan, alternating(scan, (0.0, 0.03, 0.0)))
    found = phase.corrected(
        magnitude, turned, scan.grid, scan.acquisition, phase.Conventions(sign=1, chop="no")
    )
    assert found.report.bipolar_rad > 0.5
    left = phase.corrected(
        magnitude,
        turned,
        scan.grid,
        scan.acquisition,
        phase.Conventions(sign=1, chop="no", bipolar="no"),
    )
    assert left.report.bipolar_rad == 0
    expected, mended, spoiled = (
        reconstruct(magnitude, a, scan.mask, scan.grid, scan.acquisition).chi_ppm[scan.mask]
        for a in (angle, found.phase_rad, left.phase_rad)
    )
    assert np.std(mended - expected) < 0.1 * np.std(expected)
    assert np.std(spoiled - expected) > 2 * np.std(mended - expected)
