import numpy as np
import pytest
from scipy import fft

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import PhaseCalledFiltered, PhaseLooksFiltered
from bids_qsmthal.qsm import Grid, filtered, phase
from tests.qsm.phantoms import head


def gaussian_low_pass(signal: np.ndarray, width: float) -> np.ndarray:
    """Smooth with a Gaussian window of this standard deviation, in cycles in a field of view."""
    windows = [np.exp(-0.5 * (np.fft.fftfreq(n) * n / width) ** 2) for n in signal.shape[:3]]
    window = windows[0][:, None, None] * windows[1][:, None] * windows[2]
    axes = (0, 1, 2)
    return fft.ifftn(fft.fftn(signal, axes=axes) * window[..., None], axes=axes)


def hann_low_pass(signal: np.ndarray, size: int, voxel_mm: float) -> np.ndarray:
    """Smooth each slice with a Hann window of this many of 256 samples of k-space."""
    half = size / 2 / 220
    windows = []
    for n in signal.shape[:2]:
        frequency = np.abs(np.fft.fftfreq(n, voxel_mm))
        windows.append(np.where(frequency < half, 0.5 + 0.5 * np.cos(np.pi * frequency / half), 0))
    window = windows[0][:, None] * windows[1]
    spectrum = fft.fft2(signal, axes=(0, 1)) * window[..., None, None]
    return fft.ifft2(spectrum, axes=(0, 1))


def high_passed(scan, kind: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    magnitude, angle = scan.signal(snr=60)
    signal = magnitude * np.exp(1j * angle)
    low = (
        gaussian_low_pass(signal, width)
        if kind == "gaussian"
        else hann_low_pass(signal, int(width), scan.grid.voxel_size_mm[0])
    )
    return magnitude, np.angle(signal * np.conj(low)).astype(np.float32)


def scan_of(field_strength_t: float, background: float, slices: int = 44, times=(0.005, 0.02)):
    grid = Grid((48, 56, slices), (4.0, 4.0, 4.0), (0.0, 0.28, 0.96))
    return head(grid, echo_times_s=times, field_strength_t=field_strength_t, background=background)


@pytest.mark.parametrize(("field_strength_t", "background"), [(1.5, 2), (3, 1), (3, 6), (7, 4)])
@pytest.mark.parametrize(
    ("kind", "width"), [("gaussian", 2), ("gaussian", 3.5), ("hann", 16), ("hann", 64)]
)
@pytest.mark.parametrize("slices", [16, 44])
@pytest.mark.parametrize("times", [(0.005, 0.02), (0.02,)])
def test_filtered_phase_is_refused(
    field_strength_t, background, kind, width, slices, times
) -> None:
    scan = scan_of(field_strength_t, background, slices, times)
    magnitude, angle = high_passed(scan, kind, width)
    inside = phase.brain_like(magnitude)
    with pytest.raises(DataError, match=r"high-pass filtered.*export the phase"):
        filtered.check_not_filtered(magnitude, angle, inside, scan.grid, scan.acquisition)


@pytest.mark.parametrize(("field_strength_t", "background"), [(1.5, 0.3), (3, 0.1), (3, 6), (7, 4)])
@pytest.mark.parametrize("slices", [28, 44])
@pytest.mark.parametrize("times", [(0.005, 0.02), (0.003, 0.006), (0.02,)])
def test_phase_that_was_not_filtered_is_taken(field_strength_t, background, slices, times) -> None:
    scan = scan_of(field_strength_t, background, slices, times)
    magnitude, angle = scan.signal(snr=60)
    inside = phase.brain_like(magnitude)
    said = filtered.check_not_filtered(magnitude, angle, inside, scan.grid, scan.acquisition)
    assert said is None


def test_the_users_word_against_a_filter_is_taken_and_said() -> None:
    scan = scan_of(3, 1)
    magnitude, angle = high_passed(scan, "gaussian", 3.5)
    arguments = (magnitude, angle, scan.mask, scan.grid, scan.acquisition)
    said = filtered.check_not_filtered(*arguments, insisted=True)
    assert isinstance(said, PhaseLooksFiltered)
    assert 0 < said.slow_rad < 0.2
    assert said.slow_hz == pytest.approx(said.slow_rad / (2 * np.pi * 0.02))
    with pytest.raises(DataError, match="--phase-filter no"):
        filtered.check_not_filtered(*arguments)


@pytest.mark.parametrize("label", ["SWI", "Pha_Images", "t2_swi_tra", "FILTERED_GEMS"])
def test_a_header_that_speaks_of_a_filter_is_named(label) -> None:
    scan = scan_of(3, 6)
    magnitude, angle = scan.signal(snr=60)
    arguments = (scan.mask, scan.grid, scan.acquisition, ("ORIGINAL", label))
    said = filtered.check_not_filtered(magnitude, angle, *arguments)
    assert said == PhaseCalledFiltered(label)
    magnitude, angle = high_passed(scan, "gaussian", 1.4)
    with pytest.raises(DataError, match=label):
        filtered.check_not_filtered(magnitude, angle, *arguments)
