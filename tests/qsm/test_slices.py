import numpy as np
import pytest

from bids_qsmthal.core.scan_warnings import SliceStepRemoved, SliceStepsLeft, SliceStepVaried
from bids_qsmthal.qsm import Grid, phase, slices
from tests.qsm.phantoms import head

TIMES = (0.005, 0.010, 0.015, 0.020)


@pytest.fixture(scope="module")
def scan():
    # Not the shape of other tests' head: thinner slices, another tilt.
    return head(Grid((44, 50, 40), (4.2, 4.4, 4.0), (0.0, -0.28, 0.96)), echo_times_s=TIMES)


def stepping(scan, axis: int, hz, offset_rad=0.0, *, snr: float = 60.0):
    """Magnitude and phase whose slices are off by frequencies and phases of their own."""
    magnitude, angle = scan.signal(snr=snr)
    along = [1, 1, 1, 1]
    along[axis] = angle.shape[axis]
    index = np.arange(angle.shape[axis])
    extra = hz(index).reshape(along) * 2 * np.pi * np.array(TIMES) + offset_rad * (
        index % 2
    ).reshape(along)
    return magnitude, np.angle(np.exp(1j * (angle + extra))).astype(np.float32), angle


def odd(step_hz):
    return lambda index: step_hz * (index % 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("step_hz", "offset_rad"), [(3.0, 0.0), (-0.5, 0.0), (0, 0.3), (14.0, 0)])
def test_a_step_between_odd_and_even_slices_is_taken_out(scan, axis, step_hz, offset_rad) -> None:
    magnitude, stepped, angle = stepping(scan, axis, odd(step_hz), offset_rad)
    found = slices.corrected(magnitude, stepped, scan.mask, scan.acquisition)
    rest = np.exp(1j * (found.phase_rad - angle)[scan.mask].astype(np.float64))
    assert np.abs(np.angle(rest * np.conj(rest.mean(0)))).max() < 0.01
    expected = 2 * np.pi * step_hz * TIMES[-1] + offset_rad
    assert found.step_rad == pytest.approx(expected, abs=0.02)
    assert [type(one) for one in found.warnings] == [SliceStepRemoved]


@pytest.mark.parametrize("snr", [15, 100])
@pytest.mark.parametrize("field_strength_t", [1.5, 7.0])
def test_a_head_without_steps_is_left_alone(field_strength_t, snr) -> None:
    whole = head(echo_times_s=TIMES, field_strength_t=field_strength_t)
    magnitude, angle = whole.signal(snr=snr)
    found = slices.corrected(magnitude, angle, whole.mask, whole.acquisition)
    assert found.phase_rad is angle
    assert found.warnings == ()


@pytest.mark.parametrize("pattern", ["breathing", "three interleaves"])
def test_irregular_steps_are_said(scan, pattern) -> None:
    drawn = np.random.default_rng(11).normal(0, 0.8, 60)
    hz = {
        "breathing": lambda index: drawn[index],
        "three interleaves": lambda index: 2.0 * (index % 3 == 1),
    }[pattern]
    magnitude, stepped, _ = stepping(scan, 2, hz)
    found = slices.corrected(magnitude, stepped, scan.mask, scan.acquisition)
    left = [one for one in found.warnings if isinstance(one, SliceStepsLeft)]
    assert len(left) == 1
    assert 0.3 < left[0].left_hz < 2


def within(scan, axis, hz_of, *, snr=60.0):
    """Magnitude and phase whose odd and even slices are apart by a frequency that varies in them.

    Half of it up, half of it down: what is common to both is a field. ``hz_of`` has both
    coordinates of the slice, -1 to 1 over the image.
    """
    magnitude, angle = scan.signal(snr=snr)
    places = [np.linspace(-1, 1, n) for n in angle.shape[:3]]
    grid = np.meshgrid(*places, indexing="ij")
    x, y = (grid[other] for other in range(3) if other != axis)
    odd_or_even = np.moveaxis(np.arange(angle.shape[axis]) % 2 - np.full((1, 1, 1), 0.5), 2, axis)
    hz = hz_of(x, y) * odd_or_even
    extra = 2 * np.pi * hz[..., None] * np.array(TIMES)
    return magnitude, np.angle(np.exp(1j * (angle + extra))).astype(np.float32), angle


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("mean_hz", [0.0, 3.0])
@pytest.mark.parametrize("snr", [15, 60])
def test_a_step_that_changes_within_a_slice_is_taken_out(scan, axis, mean_hz, snr) -> None:
    magnitude, stepped, angle = within(
        scan, axis, lambda x, y: mean_hz + 1.5 * x - 1.0 * y, snr=snr
    )
    found = slices.corrected(magnitude, stepped, scan.mask, scan.acquisition)
    rest = np.exp(1j * (found.phase_rad - angle)[scan.mask].astype(np.float64))
    rest_rad = np.angle(rest * np.conj(rest.mean(0)))
    # Between neighbours 0.19 rad (1.5 Hz in 20 ms) at the faces of the image.
    assert np.abs(rest_rad).max() < 0.02
    kinds = [SliceStepRemoved, SliceStepVaried] if mean_hz else [SliceStepVaried]
    assert [type(one) for one in found.warnings] == kinds
    assert found.step_rad != 0


def test_a_step_that_no_plane_follows_is_said(scan) -> None:
    magnitude, stepped, _ = within(scan, 2, lambda x, y: 4.0 * (x * x - y * y))
    found = slices.corrected(magnitude, stepped, scan.mask, scan.acquisition)
    assert SliceStepsLeft in [type(one) for one in found.warnings]


def test_a_few_slices_say_nothing() -> None:
    thin = head(Grid((44, 50, 8), (4.2, 4.4, 4.0)), echo_times_s=TIMES)
    magnitude, stepped, _ = stepping(thin, 2, odd(3.0))
    found = slices.steps(magnitude, stepped, thin.mask)
    assert [one.axis for one in found] == [0, 1]


def test_the_step_is_taken_out_before_the_sign_is_judged_and_reported(scan) -> None:
    magnitude, stepped, _ = stepping(scan, 2, odd(3.0))
    found = phase.corrected(
        magnitude, -stepped, scan.grid, scan.acquisition, phase.Conventions(chop="no")
    )
    assert found.report.sign == -1
    assert found.report.slice_step_rad == pytest.approx(-2 * np.pi * 3 * 0.02, abs=0.02)
    assert any(isinstance(one, SliceStepRemoved) for one in found.report.warnings)
