"""A magnitude that is displaced in the middle of the head alone is found from the phase's noise."""

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.scan_warnings import MagnitudeDistorted
from bids_qsmthal.qsm import Acquisition, Grid, phase
from bids_qsmthal.qsm.displacement import check_aligned
from bids_qsmthal.qsm.local_displacement import check_parts, noise_of_phase
from tests.qsm.phantoms import ball
from tests.qsm.phantoms import head as draw

GRID = Grid((64, 74, 56), (3.0, 3.0, 3.0), (0.0, 0.28, 0.96))
TIMES_S = (0.005, 0.010, 0.015)
HEAD = ball(GRID, 76, stretch=(0.95, 1.1, 0.85))


def textured(times_s=TIMES_S, seed=3, snr=30.0):
    """A head in whose tissues the signal differs by a tenth from voxel to voxel, as in cortex."""
    rng = np.random.default_rng(seed)
    still = draw(GRID, echo_times_s=times_s)
    texture = ndimage.gaussian_filter(rng.standard_normal(GRID.shape), 1.0)
    uneven = still.density * (1 + 0.15 * texture / texture.std()).clip(0.3, 2)
    return still._replace(density=uneven).signal(snr=snr, seed=seed)


def displaced(magnitude, axis, most, sd_mm=25.0):
    """The magnitude, moved along an axis by a bump in the middle of the head."""
    places = np.indices(GRID.shape, dtype=np.float64)
    middle = (np.array(GRID.shape) // 2)[:, None, None, None]
    distance = (((places - middle) * np.array(GRID.voxel_size_mm)[:, None, None, None]) ** 2).sum(0)
    places[axis] -= most * np.exp(-distance / (2 * sd_mm**2))
    echoes = [
        ndimage.map_coordinates(magnitude[..., echo], places, order=1, mode="nearest")
        for echo in range(magnitude.shape[-1])
    ]
    return np.stack(echoes, axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def scan():
    return textured()


@pytest.mark.parametrize(("axis", "most"), [(0, 2.0), (1, -2.0), (2, 2.0)])
def test_two_voxels_in_the_middle_are_found_with_axis_and_sign(scan, axis, most):
    magnitude, angle = scan
    moved = displaced(magnitude, axis, most)
    # The outer border of the head stays: the check of the whole and of its outer thirds is blind.
    assert check_aligned(moved[..., 0], angle[..., 0]) is None
    found = check_parts(moved, angle, TIMES_S, HEAD)
    assert isinstance(found, MagnitudeDistorted)
    parts = np.array([found.first, found.second, found.third])
    assert parts[axis] == pytest.approx(most * 0.6, abs=0.5)
    assert np.abs(np.delete(parts, axis)).max() < 0.5 * abs(parts[axis])


@pytest.mark.parametrize("times_s", [(0.004, 0.008), (0.003, 0.008, 0.015, 0.020)])
def test_two_and_uneven_echoes_tell_it_too(times_s):
    magnitude, angle = textured(times_s, seed=5)
    assert check_parts(magnitude, angle, times_s, HEAD) is None
    assert check_parts(displaced(magnitude, 1, 2.0), angle, times_s, HEAD) is not None


@pytest.mark.parametrize("snr", [10.0, 30.0, 100.0])
def test_a_scan_whose_parts_lie_on_each_other_is_left_alone(snr):
    magnitude, angle = textured(seed=int(snr), snr=snr)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij")
    gain = (0.4 + 0.6 * (x**2 + y**2 + z**2)).astype(np.float32)[..., None]
    blanked = HEAD[..., None]
    for given, turned in (
        (magnitude, angle),
        (magnitude * gain, angle),  # a coil, whose noise does not follow its sensitivity
        (np.where(blanked, magnitude, 0), np.where(blanked, angle, 0)),
    ):
        assert check_parts(given, turned, TIMES_S, HEAD) is None


def test_a_phase_without_noise_tells_nothing(scan):
    magnitude, _ = scan
    smooth = np.zeros_like(magnitude)
    assert check_parts(displaced(magnitude, 0, 2.0), smooth, TIMES_S, HEAD) is None
    assert check_parts(magnitude[..., :1], smooth[..., :1], TIMES_S[:1], HEAD) is None
    assert check_parts(magnitude, smooth, TIMES_S, np.zeros_like(HEAD)) is None


def test_the_noise_that_is_measured_is_the_one_that_is_predicted():
    """Of a field that bends, with wraps, and white noise of a known size in the signal."""
    rng = np.random.default_rng(1)
    shape, sigma, times = (40, 40, 40), 0.02, np.array([0.006, 0.015])
    x = np.linspace(-1, 1, 40)
    field_hz = (200 * x**2)[:, None, None] + (80 * x)[None, :, None] * np.ones(shape)
    magnitude = np.exp(-30 * times) * np.ones((*shape, 1))
    signal = magnitude * np.exp(2j * np.pi * field_hz[..., None] * times)
    signal += sigma * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    measured, predicted = noise_of_phase(
        magnitude.astype(np.float32), np.angle(signal).astype(np.float32), times[1] / times[0]
    )
    inner = (slice(2, -2),) * 3
    assert measured[inner].mean() == pytest.approx(sigma**2 * predicted[inner].mean(), rel=0.03)


def test_the_corrections_of_the_phase_report_it(scan):
    magnitude, angle = scan
    acquisition = Acquisition(echo_times_s=TIMES_S, field_strength_t=3.0)
    conventions = phase.Conventions(sign=1, bipolar="no", filtered="no")
    told = [
        phase.corrected(given, angle, GRID, acquisition, conventions).report.warnings
        for given in (magnitude, displaced(magnitude, 1, 2.0))
    ]
    found = [[w for w in warnings if isinstance(w, MagnitudeDistorted)] for warnings in told]
    assert not found[0]
    assert found[1]
