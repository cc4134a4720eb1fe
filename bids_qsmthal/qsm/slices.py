"""Slices acquired one by one: odd and even ones differ by a phase and a frequency.

Where a scan is 2-D and interleaved, odd and even slices are excited at different moments of the
repetition time, with other eddy currents and another phase of breathing. Their phase then steps
from slice to slice, which no head does: the field of a head is smooth or, at edges of structures,
not in step with the slices. A step of the frequency looks like dipoles and changes susceptibility
while every measure of quality stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import around
from bids_qsmthal.core.scan_warnings import SliceStepRemoved, SliceStepsLeft
from bids_qsmthal.qsm.measurement import complex_signal
from bids_qsmthal.qsm.smooth import wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition

FEWEST_BENDS = 8
"""So many groups of four neighbouring slices tell a step from the anatomy that they show."""

LEAST_VOXELS = 50
"""A slice with fewer voxels that its neighbour has too says nothing about the step."""

LEAST_STEP_PPM = 0.0012
"""A smaller step does no harm: 0.15 Hz at 3 T, about 1 ppb. Heads without one have at most 0.03 Hz
in the last echo (ellipsoids and simulated heads, 2 to 4 mm, SNR 15 and 60)."""

CLEARLY = 4.0
"""A step is believed from so many standard errors on."""

MOST_LEFT_PPM = 0.002
"""Steps that are left and larger are warned about: 0.25 Hz at 3 T. The same heads have at most
0.12 Hz; where each slice was off by 0.5 Hz of its own, 0.36 to 0.44 Hz were found."""


class SliceSteps(NamedTuple):
    """How neighbouring slices differ.

    Attributes
    ----------
    axis
        Of the array along which the slices were acquired.
    alternation_rad
        Half of the phase by which odd slices lie above even ones, one for each echo.
    left_rad
        Standard deviation of what else tells slices apart, one for each echo.
    bends
        In how many groups of four slices that was looked at.
    """

    axis: int
    alternation_rad: NDArray[np.float64]
    left_rad: NDArray[np.float64]
    bends: int

    def clear(self, least_rad: float) -> bool:
        """Tell whether an echo steps by more than this, and by more than error explains."""
        # Of a median of bends, each of which is 4 alternations and sqrt(5) times what is left.
        error = 1.25 * np.sqrt(5) / 4 * self.left_rad / np.sqrt(self.bends)
        step, half = np.abs(2 * self.alternation_rad), np.abs(self.alternation_rad)
        return bool(((step > least_rad) & (half > CLEARLY * error)).any())


class EvenSlices(NamedTuple):
    """Phase without a step between odd and even slices, and what was found; rad, last echo.

    Attributes
    ----------
    step_rad
        What was taken out; 0 where there is no step.
    warnings
        What was taken out, and what is left.
    """

    phase_rad: Array
    step_rad: float
    warnings: tuple[SliceStepRemoved | SliceStepsLeft, ...]


def corrected(
    magnitude: Array, phase_rad: Array, mask: Mask, acquisition: Acquisition
) -> EvenSlices:
    """Return the phase without steps between odd and even slices.

    Parameters
    ----------
    magnitude, phase_rad
        Signal of each echo, shape (x, y, z, echo).
    mask
        Where there is signal.
    acquisition
        Echo times and field.
    """
    turn_rad = 2 * np.pi * acquisition.echo_times_s[-1]
    rad_of_ppm = turn_rad * acquisition.centre_frequency_hz * 1e-6
    known = steps(magnitude, phase_rad, mask)
    # Files are often reoriented, so that any axis may be that of the slices. At most one steps.
    clear = [one for one in known if one.clear(LEAST_STEP_PPM * rad_of_ppm)]
    warnings: list[SliceStepRemoved | SliceStepsLeft] = []
    step_rad = 0.0
    if clear:
        most = max(clear, key=lambda one: float(np.abs(one.alternation_rad).max()))
        phase_rad = _without(phase_rad, most)
        step_rad = 2 * float(most.alternation_rad[-1])
        warnings.append(SliceStepRemoved(step_rad, step_rad / turn_rad))
    left_rad = max((float(one.left_rad.max()) for one in known), default=0.0)
    if left_rad > MOST_LEFT_PPM * rad_of_ppm:
        warnings.append(SliceStepsLeft(left_rad / turn_rad))
    return EvenSlices(phase_rad, step_rad, tuple(warnings))


def _without(phase_rad: Array, found: SliceSteps) -> Array:
    count = phase_rad.shape[found.axis]
    along = [1, 1, 1, 1]
    along[found.axis] = count
    sign = np.where(np.arange(count) % 2, 1, -1).reshape(along)
    return wrapped(phase_rad - (sign * found.alternation_rad).astype(np.float32))


def steps(magnitude: Array, phase_rad: Array, mask: Mask) -> list[SliceSteps]:
    """Return how slices along each axis differ, for the axes that have enough of them."""
    box = around(mask)
    if box is None:
        return []
    inside = box.cut(mask)
    bends: list[list[NDArray[np.float64]]] = [[], [], []]
    for j in range(phase_rad.shape[-1]):
        # One complex image serves all axes; zero outside the mask, it takes pairs of slices only
        # where both have signal. One echo at a time: all of them would be a second scan in memory.
        size, angle = box.cut(magnitude[..., j]), box.cut(phase_rad[..., j])
        signal = np.where(inside, complex_signal(size, angle), np.complex64(0))
        for axis in range(3):
            # Odd and even are counted in the whole image.
            sign = -1 if box.start[axis] % 2 else 1
            bends[axis].append(sign * _bends(signal, inside, axis))
    found = [_steps(np.array(echoes), axis) for axis, echoes in enumerate(bends)]
    return [one for one in found if one is not None]


def _steps(bends: NDArray[np.float64], axis: int) -> SliceSteps | None:
    """Return the steps that third differences show, shape (echo, slices - 3)."""
    bends = bends[:, np.isfinite(bends).all(axis=0)]
    count = bends.shape[1]
    if count < FEWEST_BENDS:
        return None
    # The phase of odd slices above even ones by 2 a bends by 4 a from slice to slice.
    alternation = np.median(bends, axis=1) / 4
    # Successive echoes differ by less than half of what cannot be told apart.
    alternation = np.unwrap(alternation, period=np.pi / 2)
    rest = wrapped(bends - 4 * np.asarray(alternation)[:, None])
    # Independent slices of standard deviation s give bends of sqrt(5) s.
    left_rad = np.array([robust.spread(echo, 0.0) for echo in rest]) / np.sqrt(5)
    return SliceSteps(axis, alternation, left_rad, count)


def _bends(signal: NDArray[np.complex64], mask: Mask, axis: int) -> NDArray[np.float64]:
    """Return the third difference of the phase along the slices, with the sign of odd over even.

    Shape (slices - 3,); NaN where a slice shows too little.
    """
    others = tuple(a for a in range(3) if a != axis)
    low, high = (
        tuple(part if a == axis else slice(None) for a in range(3))
        for part in (slice(0, -1), slice(1, None))
    )
    # Whole slices first, as a complex sum: it is robust against wraps, noise and structures.
    total = (signal[high] * np.conj(signal[low])).sum(axis=others, dtype=np.complex128)
    increments: NDArray[np.float64] = np.angle(total)
    increments[(mask[high] & mask[low]).sum(axis=others) < LEAST_VOXELS] = np.nan
    sign = np.where(np.arange(1, increments.size) % 2, -1, 1)
    second: NDArray[np.float64] = sign * wrapped(np.diff(increments))
    known = second[np.isfinite(second)]
    if not known.size:
        return second[1:]
    centre = np.angle(np.exp(1j * known).sum())
    second = centre + wrapped(second - centre)
    # The mean of neighbours, whose signs differ, takes away the bend of a smooth field.
    bends: NDArray[np.float64] = (second[1:] + second[:-1]) / 2
    return bends
