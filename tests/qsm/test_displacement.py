"""Magnitude against phase: moved or mirrored ones are found, others left alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.scan_warnings import (
    MagnitudeDisplaced,
    MagnitudeDistorted,
    MagnitudeFlipped,
)
from bids_qsmthal.qsm import Grid, phase
from bids_qsmthal.qsm.displacement import check_aligned
from tests.qsm.phantoms import ball
from tests.qsm.phantoms import head as draw

GRID = Grid((48, 56, 44), (4.0, 4.0, 4.0), (0.0, 0.28, 0.96))
OUTER = ball(GRID, 84, stretch=(0.95, 1.1, 0.85))
SKULL = ball(GRID, 76, stretch=(0.95, 1.1, 0.85))
FACE = ball(GRID, 30, (8, 66, -50))


def with_skull(brain, snr, seed):
    """First echo of a head with a dark skull, and a face: its front is not its back."""
    rng = np.random.default_rng(seed)
    scalp = (OUTER | FACE) & ~SKULL
    noise = rng.standard_normal((*GRID.shape, 2)) @ np.array([1, 1j]) / snr
    signal = (brain.density + 0.7 * scalp) * np.exp(1j * (0.4 + 0.01 * np.pi * brain.total_hz))
    signal += noise
    return np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)


@pytest.fixture(scope="module")
def brain():
    return draw(GRID)


@pytest.fixture(scope="module", params=(10, 30, 100))
def scan(request, brain):
    return with_skull(brain, request.param, seed=request.param)


def coil_gain():
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij")
    return (0.4 + 0.6 * (x**2 + y**2 + z**2)).astype(np.float32)


def test_a_scan_whose_parts_lie_on_each_other_is_left_alone(scan):
    magnitude, angle = scan
    head = magnitude > 0.3
    for given in (magnitude, magnitude * coil_gain(), np.where(head, magnitude, 0)):
        assert check_aligned(given, angle) is None
        assert check_aligned(given[:, :, 12:28], angle[:, :, 12:28]) is None  # a slab
    assert check_aligned(np.where(head, magnitude, 0), np.where(head, angle, 0)) is None


@pytest.mark.parametrize("step", [(1, 0, 0), (0, -1, 0), (0, 0, 2)])
def test_a_displaced_magnitude_is_measured_along_each_axis(scan, step):
    magnitude, angle = scan
    found = check_aligned(np.roll(magnitude * coil_gain(), step, (0, 1, 2)), angle)
    assert isinstance(found, MagnitudeDisplaced)
    assert (found.first, found.second, found.third) == pytest.approx(step, abs=0.3)


def test_half_a_voxel_is_found(scan):
    magnitude, angle = scan
    for axis in range(3):
        shift = np.where(np.arange(3) == axis, 0.5, 0)
        found = check_aligned(ndimage.shift(magnitude, shift, order=1, mode="nearest"), angle)
        assert isinstance(found, MagnitudeDisplaced)
        assert (found.first, found.second, found.third) == pytest.approx(tuple(shift), abs=0.2)


def test_a_magnitude_that_is_drawn_outwards_is_found_in_its_parts(scan):
    """A correction of gradients moves the edges, opposite ones apart, and the whole nowhere."""
    magnitude, angle = scan
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij")
    from_middle = np.stack(axes)
    places = np.indices(GRID.shape) - from_middle * (from_middle**2).sum(axis=0)
    drawn = ndimage.map_coordinates(magnitude, places, order=1, mode="nearest")
    found = check_aligned(drawn, angle)
    assert isinstance(found, MagnitudeDistorted)
    assert 0.5 < max(abs(found.first), abs(found.second), abs(found.third)) < 1


def test_masks_that_lie_apart_are_measured_without_air(scan):
    magnitude, angle = scan
    head = OUTER | FACE
    moved = np.roll(np.where(head, magnitude, 0), (1, 0, -2), (0, 1, 2))
    assert check_aligned(moved, np.where(head, angle, 0)) == MagnitudeDisplaced(1.0, 0.0, -2.0)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_flipped_magnitude_is_told_with_its_axis(scan, axis):
    magnitude, angle = scan
    assert check_aligned(np.flip(magnitude, axis), angle) == MagnitudeFlipped(str(axis + 1))


def test_a_scan_without_any_signal_is_none_of_its_business():
    nothing = np.zeros((16, 16, 16), np.float32)
    assert check_aligned(nothing, nothing) is None


def test_the_corrections_of_the_phase_report_it(brain):
    magnitude, angle = (part[:, :, :, :2] for part in brain.signal(snr=50))
    two = replace(brain.acquisition, echo_times_s=brain.acquisition.echo_times_s[:2])
    moved = np.roll(magnitude, 2, 1)
    conventions = phase.Conventions(sign=1, bipolar="no", filtered="no")
    report = phase.corrected(moved, angle, brain.grid, two, conventions).report
    assert any(isinstance(warning, MagnitudeDisplaced) for warning in report.warnings)
