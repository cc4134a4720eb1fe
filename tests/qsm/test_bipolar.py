import numpy as np
import pytest

from bids_qsmthal.qsm import bipolar, phase, reconstruct
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
    found = bipolar.alternation(magnitude, turned, scan.mask, scan.grid, times)
    assert found is not None
    assert np.abs(found - truth)[scan.mask].max() < 0.03
    mended, largest = bipolar.corrected(magnitude, turned, scan.mask, scan.grid, times)
    rest = np.angle(np.exp(1j * (mended - angle)))[scan.mask]
    assert np.abs(rest).max() < 0.03
    assert largest == pytest.approx(np.abs(truth[scan.mask]).max(), abs=0.03)


@pytest.mark.parametrize("times", [(0.005, 0.010, 0.015, 0.020), (0.004, 0.008, 0.012)])
def test_readouts_in_one_direction_are_left_alone(times) -> None:
    scan = head(echo_times_s=times)
    magnitude, angle = scan.signal(snr=40)
    mended, largest = bipolar.corrected(magnitude, angle, scan.mask, scan.grid, times)
    assert largest == 0
    assert mended is angle


@pytest.mark.parametrize("times", [(0.005, 0.010), (0.004, 0.009, 0.017)])
def test_where_it_cannot_be_told_the_phase_is_left_alone(times) -> None:
    scan = head(echo_times_s=times)
    magnitude, turned, _ = read_both_ways(scan, alternating(scan))
    assert bipolar.alternation(magnitude, turned, scan.mask, scan.grid, times) is None


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
