"""Slices acquired one by one: odd and even ones differ by a phase and a frequency.

Where a scan is 2-D and interleaved, odd and even slices are excited at different moments of the
repetition time, with other eddy currents and another phase of breathing. Their phase then steps
from slice to slice, which no head does: the field of a head is smooth or, at edges of structures,
not in step with the slices. A step of the frequency looks like dipoles and changes susceptibility
while every measure of quality stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import around
from bids_qsmthal.core.scan_warnings import SliceStepRemoved, SliceStepsLeft, SliceStepVaried
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


TILES = 3
"""Parts of a slice along each of its axes, in each of which the step is looked at."""

FEWEST_TILES = 6
"""Fewer, of nine, do not tell a plane."""

LEAST_VARIED_PPM = 0.0024
"""A change of the step from the middle of the head to its edge that does no harm. Heads without one
(seven simulated ones of 2 to 3 mm, SNR 6 to 85, echoes of 3 to 8 ms; ellipsoids at 1.5 to 7 T, SNR
15 and 60) have at most 0.0015, and 1 Hz at the faces of the image gives 0.006 at 3 T."""

CLEARLY_VARIED = 6.0
"""More standard errors than for the step itself: two slopes along three axes are looked at, with an
error from few tiles. The same heads have at most 3; 1 Hz at the faces has 8 and more."""


class SliceVariation(NamedTuple):
    """How the step between odd and even slices changes within a slice, beside its mean.

    Attributes
    ----------
    plane_rad
        Half of the change: in the middle of the head, and for each voxel along the two other axes;
        shape (echo, 3).
    error_rad
        Standard error of both slopes, shape (echo, 2).
    middle, reach
        Of the head, along the two other axes, in voxels.
    left_rad
        Root mean square over the tiles of what no plane follows and noise does not explain, one for
        each echo.
    """

    plane_rad: NDArray[np.float64]
    error_rad: NDArray[np.float64]
    middle: NDArray[np.float64]
    reach: NDArray[np.float64]
    left_rad: NDArray[np.float64]

    @property
    def edge_rad(self) -> NDArray[np.float64]:
        """By how much the step changes from the middle of the head to its edge."""
        return cast("NDArray[np.float64]", 2 * np.abs(self.plane_rad[:, 1:]) @ self.reach)

    def clear(self, least_rad: float) -> bool:
        """Tell whether the step changes by more than this, and by more than error explains."""
        sure = (np.abs(self.plane_rad[:, 1:]) > CLEARLY_VARIED * self.error_rad).any(axis=1)
        return bool(((self.edge_rad > least_rad) & sure).any())


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
    variation
        Within a slice; None where too few parts of it tell.
    """

    axis: int
    alternation_rad: NDArray[np.float64]
    left_rad: NDArray[np.float64]
    bends: int
    variation: SliceVariation | None = None

    @property
    def error_rad(self) -> NDArray[np.float64]:
        """Standard error of the alternation, one for each echo."""
        # Of a median of bends, each of which is 4 alternations and sqrt(5) times what is left.
        error: NDArray[np.float64] = 1.25 * np.sqrt(5) / 4 * self.left_rad / np.sqrt(self.bends)
        return error

    def clear(self, least_rad: float) -> bool:
        """Tell whether an echo steps by more than this, and by more than error explains."""
        step, half = np.abs(2 * self.alternation_rad), np.abs(self.alternation_rad)
        return bool(((step > least_rad) & (half > CLEARLY * self.error_rad)).any())


class EvenSlices(NamedTuple):
    """Phase without a step between odd and even slices, and what was found; rad, last echo.

    Attributes
    ----------
    step_rad
        What was taken out where it is largest; 0 where there is no step.
    warnings
        What was taken out, and what is left.
    """

    phase_rad: Array
    step_rad: float
    warnings: tuple[SliceStepRemoved | SliceStepVaried | SliceStepsLeft, ...]


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
    warnings: list[SliceStepRemoved | SliceStepVaried | SliceStepsLeft] = []
    step_rad = 0.0
    if clear:
        most = max(clear, key=lambda one: float(np.abs(one.alternation_rad).max()))
        phase_rad = _without(phase_rad, most.axis, most.alternation_rad)
        step_rad = 2 * float(most.alternation_rad[-1])
        warnings.append(SliceStepRemoved(step_rad, step_rad / turn_rad))
    varied = [(one.axis, one.variation) for one in known if one.variation is not None]
    varied = [(axis, one) for axis, one in varied if one.clear(LEAST_VARIED_PPM * rad_of_ppm)]
    if varied:
        axis, widest = max(varied, key=lambda one: float(one[1].edge_rad.max()))
        phase_rad = _without(phase_rad, axis, _plane(widest, axis, phase_rad.shape[:3]))
        edge_rad = float(widest.edge_rad[-1])
        step_rad = float(np.copysign(abs(step_rad) + edge_rad, step_rad))
        warnings.append(SliceStepVaried(edge_rad / turn_rad))
    lefts = [one.left_rad for one in known]
    lefts += [one.variation.left_rad for one in known if one.variation is not None]
    left_rad = max((float(left.max()) for left in lefts), default=0.0)
    if left_rad > MOST_LEFT_PPM * rad_of_ppm:
        warnings.append(SliceStepsLeft(left_rad / turn_rad))
    return EvenSlices(phase_rad, step_rad, tuple(warnings))


def _without(phase_rad: Array, axis: int, half_rad: NDArray[np.float64]) -> Array:
    """Return the phase without half a step up in odd slices and down in even ones."""
    count = phase_rad.shape[axis]
    along = [1, 1, 1, 1]
    along[axis] = count
    sign = np.where(np.arange(count) % 2, 1, -1).reshape(along)
    return wrapped(phase_rad - (sign * half_rad).astype(np.float32))


def _plane(found: SliceVariation, axis: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the plane of each echo over an image, of length 1 along the slices' axis."""
    x, y = (a for a in range(3) if a != axis)
    plane = found.plane_rad[:, 0].reshape(1, 1, 1, -1)
    for place, other in enumerate((x, y)):
        along = [1, 1, 1, 1]
        along[other] = shape[other]
        offset = (np.arange(shape[other]) - found.middle[place]).reshape(along)
        plane = plane + offset * found.plane_rad[:, 1 + place]
    return plane


def steps(magnitude: Array, phase_rad: Array, mask: Mask) -> list[SliceSteps]:
    """Return how slices along each axis differ, for the axes that have enough of them."""
    box = around(mask)
    if box is None:
        return []
    inside = box.cut(mask)
    seen: list[list[_Turns]] = [[], [], []]
    for j in range(phase_rad.shape[-1]):
        # One complex image serves all axes; zero outside the mask, it takes pairs of slices only
        # where both have signal. One echo at a time: all of them would be a second scan in memory.
        size, angle = box.cut(magnitude[..., j]), box.cut(phase_rad[..., j])
        signal = np.where(inside, complex_signal(size, angle), np.complex64(0))
        for axis in range(3):
            seen[axis].append(_turns(signal, inside, axis))
    found = []
    for axis, echoes in enumerate(seen):
        # Odd and even are counted in the whole image.
        sign = -1 if box.start[axis] % 2 else 1
        whole = _steps(sign * np.array([_bends(*echo.whole()) for echo in echoes]), axis)
        if whole is not None:
            start = np.array([first for a, first in enumerate(box.start) if a != axis], float)
            shape = inside.sum(axis=axis)
            variation = _variation(echoes, sign, whole.alternation_rad, shape)
            if variation is not None:
                variation = variation._replace(middle=variation.middle + start)
            found.append(whole._replace(variation=variation))
    return found


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


def _variation(
    echoes: list[_Turns],
    sign: int,
    mean_rad: NDArray[np.float64],
    shape: NDArray[np.intp],
) -> SliceVariation | None:
    """Return how the step varies within a slice: a plane through the steps of its tiles.

    ``shape`` is the number of voxels of the head along the slices' axis.
    """
    tiles = [
        _steps(sign * np.array([_bends(*echo.tile(*place)) for echo in echoes]), 0)
        for place in np.ndindex(TILES, TILES)
    ]
    known = [one for one in tiles if one is not None]
    if len(known) < FEWEST_TILES:
        return None
    middle = (np.array(shape.shape) - 1) / 2
    # Where the head lies in a tile: at its corners it fills a part of one.
    offset = (_centres(shape) - middle)[[one is not None for one in tiles]]
    design = np.column_stack([np.ones(len(known)), offset])
    steps_rad = np.array([one.alternation_rad for one in known]) - mean_rad
    steps_rad = (steps_rad + np.pi / 4) % (np.pi / 2) - np.pi / 4
    plane, error, left = [], [], []
    for echo in range(len(echoes)):
        noise = np.array([one.error_rad[echo] for one in known])
        weight = 1 / np.maximum(noise, 1e-6)
        inverse = np.linalg.pinv(design * weight[:, None])
        fitted = inverse @ (weight * steps_rad[:, echo])
        rest = steps_rad[:, echo] - design @ fitted
        # Tiles that disagree by more than their noise make the slopes as much less sure.
        scatter = np.sqrt(((weight * rest) ** 2).sum() / (len(known) - 3))
        plane.append(fitted)
        error.append(max(scatter, 1.0) * np.sqrt((inverse[1:] ** 2).sum(axis=1)))
        left.append(np.sqrt(max(float((rest**2 - (CLEARLY * noise) ** 2).mean()), 0.0)))
    return SliceVariation(np.array(plane), np.array(error), middle, (middle + 0.5), np.array(left))


def _centres(count: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the mean place of what a map counts in each tile, in pixels; shape (tiles, 2)."""
    x, y = np.indices(count.shape)
    total = np.maximum(_of_tiles(count, np.float64), 1)
    parts = [_of_tiles(count * place, np.float64) / total for place in (x, y)]
    return np.stack([part.ravel() for part in parts], axis=-1)


class _Turns(NamedTuple):
    """From slice to slice, in each tile: the turn of the signal, and of how many voxels.

    Attributes
    ----------
    total
        Sum of each voxel's signal times the conjugate of its neighbour's, (tile, tile, slices - 1).
    pairs
        Voxels that both slices have.
    """

    total: NDArray[np.complex128]
    pairs: NDArray[np.intp]

    def whole(self) -> tuple[NDArray[np.complex128], NDArray[np.intp]]:
        """Return both of whole slices."""
        return self.total.sum(axis=(0, 1)), self.pairs.sum(axis=(0, 1))

    def tile(self, x: int, y: int) -> tuple[NDArray[np.complex128], NDArray[np.intp]]:
        """Return both of a part of the slices."""
        return self.total[x, y], self.pairs[x, y]


def _turns(signal: NDArray[np.complex64], mask: Mask, axis: int) -> _Turns:
    low, high = (
        tuple(part if a == axis else slice(None) for a in range(3))
        for part in (slice(0, -1), slice(1, None))
    )
    turn = np.moveaxis(signal[high] * np.conj(signal[low]), axis, 2)
    both = np.moveaxis(mask[high] & mask[low], axis, 2)
    # Sums over parts of the slices: they are robust against wraps, noise and structures.
    return _Turns(_of_tiles(turn, np.complex128), _of_tiles(both, np.intp))


def _of_tiles(image: NDArray[Any], kind: type) -> NDArray[Any]:
    """Return sums over the parts of the first two axes, added up in another type."""
    for axis in (0, 1):
        starts = np.arange(TILES) * image.shape[axis] // TILES
        image = np.add.reduceat(image, starts, axis=axis, dtype=kind)
    return image


def _bends(total: NDArray[np.complex128], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the third difference of the phase along the slices, with the sign of odd over even.

    Shape (slices - 3,); NaN where a slice shows too little.
    """
    increments = np.asarray(np.angle(total), np.float64)
    increments[pairs < LEAST_VOXELS] = np.nan
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
