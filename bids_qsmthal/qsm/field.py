"""Multi-echo complex signal to a map of the total field and its noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.qsm import echoes
from bids_qsmthal.qsm.relaxation import WeightedExponential
from bids_qsmthal.qsm.smooth import local_angles, robust_polynomial, wrapped
from bids_qsmthal.qsm.unwrapping import Romeo, Unwrapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition

log = logging.getLogger(__name__)

TWO_PI = 2 * np.pi

Offset = Literal["auto", "polynomial", "mcpc-3d-s", "voxel"]

OFFSETS: dict[Offset, str] = {
    "auto": "The polynomial if noise explains its residual; the polynomial and the smoothed "
    "residual if the residual is local; otherwise a separate value for each voxel.",
    "polynomial": "A robust polynomial in space, fitted to the phase at time zero of all echoes.",
    "mcpc-3d-s": "MCPC-3D-S: from the phase difference of the first two echoes, smoothed.\n"
    "Eckstein et al. (2018). Magn Reson Med 79(6), 2996-3006. doi:10.1002/mrm.26963",
    "voxel": (
        "A separate value for each voxel, free in the fit of its echoes: no assumption, more noise."
    ),
}
"""What each model of the phase at echo time zero is."""


class FieldMap(NamedTuple):
    """The total field of a scan.

    Attributes
    ----------
    frequency_hz
        Total field, positive where protons precess faster, shape (x, y, z).
    noise_hz
        Standard deviation of ``frequency_hz``; infinite where nothing was measured.
    residual
        Root mean square phase misfit of a voxel in rad, weighted with the magnitude.
    reduced_residual
        The same over what noise alone explains; 1 is a perfect fit.
    offset
        How the phase at echo time zero was modelled: ``"polynomial"``, ``"local"`` (the polynomial
        and the smoothed rest), ``"mcpc-3d-s"``, ``"voxel"``, or ``"none"`` for a single echo.
    snr
        Median signal-to-noise ratio of all echoes together: the root of the sum of their squared
        magnitudes over the noise.
    """

    frequency_hz: Array
    noise_hz: Array
    residual: Array
    reduced_residual: Array
    offset: str
    snr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexFit:
    r"""Fit :math:`A_j \exp i(\phi_0 + 2 \pi f t_j)` to the echoes of each voxel.

    A pulse-pair estimate starts a Gauss-Newton search per voxel; the one field map is unwrapped in
    space; the phase at time zero is replaced by a robust polynomial in space where that explains it
    (it comes from the coils and is smooth), which nearly halves the noise of the slope. The smooth
    offset is fitted, not filtered as in MCPC-3D-S, which can be chosen: a masked filter biases the
    rim, and the phase difference of two echoes is noisier than the fit of all.

    Attributes
    ----------
    unwrapping
        How the field map is unwrapped.
    offset
        ``"polynomial"``, ``"mcpc-3d-s"``, ``"voxel"`` (each voxel its own), or ``"auto"``: the
        polynomial where noise explains what it leaves, with the smoothed rest where that is local
        (a coil near by), else each voxel its own.
    order
        Total degree of the polynomial.
    iterations
        Largest number of Gauss-Newton steps.
    tolerance
        Relative change of the slope at which the search stops.

    References
    ----------
    Liu et al. (2013). Magn Reson Med 69(2), 467-476. doi:10.1002/mrm.24272
    Eckstein et al. (2018). Magn Reson Med 79(6), 2996-3006. doi:10.1002/mrm.26963
    """

    unwrapping: Unwrapping = field(default_factory=Romeo)
    offset: Offset = "auto"
    order: int = 4
    iterations: int = 30
    tolerance: float = 1e-4

    def __call__(
        self, magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
    ) -> FieldMap:
        """Return the total field; arrays are (x, y, z, echo), ``mask`` is (x, y, z)."""
        times = np.asarray(acquisition.echo_times_s, np.float64)
        if len(times) == 1:
            return self._from_one_echo(magnitude, phase_rad, mask, grid, acquisition)
        step_s = np.float32(np.diff(times).min())
        search = (times, self.iterations, self.tolerance)
        # Voxels in a row: the compiled fits visit only the mask and need no 4-D indexing.
        where = np.flatnonzero(mask)
        signal = magnitude.reshape(-1, len(times)), phase_rad.reshape(-1, len(times)), where
        slope, residual = echoes.fit_two(*signal, search)
        step = wrapped(slope * step_s)
        # einsum squares and sums without a temporary array of the size of all echoes.
        strength = np.sqrt(np.einsum("xyze,xyze->xyz", magnitude, magnitude))
        unwrapped = self.unwrapping(spread(step, mask), strength, mask, grid)
        # Whole turns of the shortest spacing are all that the fit per voxel cannot know.
        slope += (unwrapped[mask] - step) / step_s
        intercept, moments = echoes.intercepts(*signal, times, slope)
        if len(times) > 2:
            # Two parameters and two echoes leave no residual to see the noise in.
            sigma = noise_level(residual, moments[0], len(times))
        else:
            sigma = _noise_of_two_echoes(spread(intercept, mask), moments, mask)
        expected = sigma * np.sqrt(max(len(times) - 2, 1) / moments[0])
        offset = _Offset(intercept, moments, mask, grid, residual <= MOST_MISFIT * expected)
        if self.offset == "mcpc-3d-s":
            smooth = mcpc_3d_s(magnitude, phase_rad, mask, grid, times, self.unwrapping)[mask]
            # The phase difference may have been unwrapped onto another turn than the fit.
            smooth += np.angle(np.exp(1j * (intercept - smooth)).sum()).astype(np.float32)
            model = "mcpc-3d-s"
        else:
            smooth, model = offset.smooth(self.order, local=self.offset == "auto")
        if model == "voxel" or not self._offset_is_smooth(intercept - smooth, moments, sigma):
            level = (sigma, max(len(times) - 2, 1))
            return field_map(slope, _noise_two(moments, sigma), residual, moments[0], mask, level)
        # With the intercept known the variance of the slope is sigma^2 / sum(A^2 t^2), without the
        # part that the common intercept costs.
        slope, residual = echoes.fit_one(*signal, search, (slope, smooth))
        noise = sigma / np.sqrt(moments[2])
        level = (sigma, len(times) - 1)
        return field_map(slope, noise, residual, moments[0], mask, level, offset=model)

    def _offset_is_smooth(self, rest: Array, moments: Array, sigma: float) -> bool:
        """Tell whether noise explains what the polynomial leaves of the phase at time zero."""
        if self.offset != "auto":
            return self.offset != "voxel"
        expected = sigma * np.sqrt(_variance_of_intercept(moments))
        # 0.6745 is the median absolute value of a standard normal number.
        ratio = float(np.median(np.abs(wrapped(rest))) / (0.6745 * np.median(expected)))
        log.debug("phase at time zero: %.2f times the noise is left by the polynomial", ratio)
        return ratio < MOST_EXCESS

    def _from_one_echo(
        self, magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
    ) -> FieldMap:
        """Unwrap the only echo and divide by its time; its offset stays in the background."""
        time_s = acquisition.echo_times_s[0]
        signal = magnitude[..., 0]
        phase = self.unwrapping(phase_rad[..., 0], signal, mask, grid)
        energy = signal[mask] ** 2
        # No echo tells the offset from the field; a constant is all that can be taken away.
        slope = (phase - robust_polynomial(wrapped(phase), energy, mask, 0))[mask] / time_s
        sigma = _noise_from_neighbours(phase, signal, mask)
        # Phase noise is sigma / A (for SNR above about 3), and the slope is phase over time.
        noise = sigma / np.maximum(signal[mask] * time_s, 1e-30)
        residual = np.zeros_like(slope)
        return field_map(slope, noise, residual, energy, mask, (sigma, 1), offset="none")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenField(ComplexFit):
    """A total field that another program made; the scan says how noisy it is, voxel by voxel.

    Attributes
    ----------
    frequency_hz
        The field, positive where protons precess faster, shape (x, y, z).
    has_phase
        Whether the scan has the phase that the field was made from: its fit shows the noise. Else
        it is what the decay of the magnitude leaves, or what neighbouring voxels of the field show.
    """

    frequency_hz: Array
    has_phase: bool = True

    def __call__(
        self, magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
    ) -> FieldMap:
        """Return the given field with its noise."""
        if not self.has_phase:
            return self._alone(magnitude, mask, acquisition.echo_times_s)
        # By name: super() without arguments does not survive slots.
        fitted = ComplexFit.__call__(self, magnitude, phase_rad, mask, grid, acquisition)
        given = np.where(mask, self.frequency_hz, 0).astype(np.float32)
        return fitted._replace(frequency_hz=given, offset="external")

    def _alone(self, magnitude: Array, mask: Mask, echo_times_s: tuple[float, ...]) -> FieldMap:
        """Return the given field with the noise of the magnitude that it was made with."""
        times_s = np.asarray(echo_times_s, np.float32)
        squares = magnitude[mask] ** 2
        # With the phase at time zero known, the variance of a slope is sigma^2 / sum(A^2 t^2).
        weight = np.sqrt(np.maximum((squares * times_s**2).sum(axis=-1), 1e-30))
        last_s = times_s[-1]
        evolved = (TWO_PI * last_s * self.frequency_hz).astype(np.float32)
        # Either is noise and something else (anatomy, a decay that is not exponential): the smaller
        # one has less of that.
        sigma = min(
            _noise_from_neighbours(evolved, spread(weight / last_s, mask), mask),
            _noise_of_decay(magnitude, mask, echo_times_s),
        )
        energy = np.maximum(squares.sum(axis=-1), 1e-30)
        nothing = np.zeros_like(energy)
        slope = TWO_PI * self.frequency_hz[mask]
        found = (slope, sigma / weight, nothing, energy, mask, (sigma, 1))
        return field_map(*found, offset="external")


def agreement(
    frequency_hz: Array, magnitude: Array, phase_rad: Array, mask: Mask, acquisition: Acquisition
) -> float:
    """Return how much better a field explains the phase in Hz than read in any other way.

    Above 0 where the phase that it leaves between the first two echoes (in one echo where there is
    no other) is more coherent than what is left by its negative, by none at all, and by the same
    numbers as rad/s, as ppm, or as turns. Whole turns and a constant do not count.
    """
    times_s = acquisition.echo_times_s
    two = len(times_s) > 1
    weight = magnitude[..., 0][mask] * (magnitude[..., 1][mask] if two else 1)
    turned = (phase_rad[..., 1] - phase_rad[..., 0] if two else phase_rad[..., 0])[mask]
    time_s = times_s[1] - times_s[0] if two else times_s[0]
    evolved = np.float32(TWO_PI * time_s) * frequency_hz[mask]
    ppm_hz = 1e-6 * acquisition.centre_frequency_hz
    in_hz, *others = (
        abs(complex((weight * np.exp(1j * (turned - np.float32(scale) * evolved))).sum()))
        for scale in (1, 0, -1, 1 / TWO_PI, TWO_PI, ppm_hz, -ppm_hz)
    )
    return float((in_hz - max(others)) / max(float(weight.sum()), 1e-30))


MOST_LOCAL_RAD = 0.05
"""A smoothed misfit of the offset beyond this in more than a hundredth of the brain is local phase
of a coil: 0.05 rad of it are 0.6 Hz at an echo time of 13 ms, 5 ppb at 3 T. Polynomial offsets
leave 0.004 to 0.03 rad (heads of two kinds, 2 and 4 echoes, SNR 15 and 60), a bump of 0.2 rad and
15 mm 0.06, one of 0.5 rad 0.13 to 0.18."""

MOST_SMOOTHED_RAD = 1.0
"""Beyond this no smoothing is trusted: open-ended fringe lines leave 2.7 rad and more, and are
smooth nowhere near their ends."""

MOST_MISFIT = 5.0
"""Times the noise that echoes may lie off their line: chance leaves 3.2 in one voxel of a thousand
with three echoes, a random phase the SNR of the voxel."""

LOCAL_MM = 6.0
LOCAL_PASSES = 3
"""A bump of 15 mm keeps 0.8 of its height in such a smoothing; three passes leave 1 % of it."""

MOST_EXCESS = 2.0
"""A polynomial offset is believed while its misfit stays below twice the noise."""


def field_map(  # noqa: PLR0913 - it gathers the result
    slope: Array,
    noise: Array,
    residual: Array,
    energy: Array,
    mask: Mask,
    level: tuple[float, int],
    *,
    offset: str = "voxel",
) -> FieldMap:
    """Return the result in hertz; ``level`` is the noise and the fit's degrees of freedom."""
    sigma, freedom = level
    expected = sigma * np.sqrt(freedom / energy)
    snr = float(np.median(np.sqrt(energy))) / sigma if sigma > 0 else 0.0
    return FieldMap(
        frequency_hz=spread(slope / TWO_PI, mask),
        noise_hz=spread(noise / TWO_PI, mask, outside=np.inf),
        residual=spread(residual, mask),
        reduced_residual=spread(residual / np.maximum(expected, 1e-12), mask),
        offset=offset,
        snr=snr,
    )


def spread(values: Array, mask: Mask, outside: float = 0.0) -> Array:
    """Return the image that has these values in the mask, float32."""
    out = np.full(mask.shape, outside, np.float32)
    out[mask] = values
    return out


def noise_level(residual: Array, energy: Array, echoes: int) -> float:
    """Return the standard deviation of the noise in one channel of the complex signal.

    The weighted squared misfit of a voxel is sigma^2 times a chi-squared number with echoes - 2
    degrees of freedom, so its median (not its mean, which veins and air would pull up) gives sigma.
    """
    freedom = max(echoes - 2, 1)
    middle = float(np.median(residual.astype(np.float64) ** 2 * energy))
    # Wilson and Hilferty's median of a chi-squared distribution.
    return float(np.sqrt(middle / (freedom * (1 - 2 / (9 * freedom)) ** 3)))


def _variance_of_intercept(moments: Array) -> NDArray[np.float64]:
    """Return the variance of the phase at time zero of a straight line, for noise of 1."""
    s0, s1, s2 = moments.astype(np.float64)
    variance: NDArray[np.float64] = s2 / np.maximum(s0 * s2 - s1**2, 1e-30)
    return variance


class _Offset(NamedTuple):
    """The phase at time zero of each voxel of a mask, as a line through its echoes gives it."""

    intercept: Array
    moments: Array
    mask: Mask
    grid: Grid
    straight: Mask
    """Whether the echoes of a voxel lie on a line; two always do."""

    def smooth(self, order: int, *, local: bool) -> tuple[Array, str]:
        """Return a smooth offset and its name, ``"voxel"`` where none fits.

        With ``local``, what the polynomial misses around a coil is added.
        """
        image, energy = spread(self.intercept, self.mask), self.moments[0]
        polynomial = robust_polynomial(image, energy, self.mask, order)[self.mask]
        smooth, (mean, missed) = polynomial, self._missed(polynomial)
        if not local or missed <= MOST_LOCAL_RAD:
            return polynomial, "polynomial"
        if missed > MOST_SMOOTHED_RAD:
            return polynomial, "voxel"
        for _ in range(LOCAL_PASSES):
            smooth = smooth + mean
            mean, missed = self._missed(smooth)
        return smooth, "local" if missed <= MOST_LOCAL_RAD else "voxel"

    def _missed(self, smooth: Array) -> tuple[Array, float]:
        """Return the local mean of what an offset misses, and how large that is where it is large.

        Not its median: a bump fills a small part of the brain.
        """
        weight = 1 / np.maximum(_variance_of_intercept(self.moments), 1e-30)
        # Where echoes follow no line, as in flow or without signal, time zero says nothing.
        scaled = np.where(self.straight, weight / weight.max(), 0).astype(np.float32)
        rest = wrapped(self.intercept - smooth)
        mean, blocks = local_angles(rest, scaled, self.mask, self.grid, LOCAL_MM)
        # No block at all, as without noise to compare with: nothing is known to be missed.
        return mean, float(np.quantile(np.abs(blocks), 0.99)) if blocks.size else 0.0


def _noise_from_neighbours(phase: Array, signal: Array, mask: Mask) -> float:
    """Estimate the noise from third differences along x, where one echo leaves no misfit."""
    inside = mask[3:] & mask[2:-1] & mask[1:-2] & mask[:-3]
    if not inside.any():
        return 0.0
    # Third differences remove any field that is quadratic over four voxels; the squares of their
    # coefficients 1, 3, 3, 1 add up to 20.
    third = wrapped(phase[3:] - 3 * phase[2:-1] + 3 * phase[1:-2] - phase[:-3])[inside]
    return float(robust.spread(third * signal[2:-1][inside], 0.0) / np.sqrt(20))


def _noise_of_decay(magnitude: Array, mask: Mask, echo_times_s: tuple[float, ...]) -> float:
    """Return the noise that a fit of the decay leaves; infinity with fewer than three echoes."""
    count = len(echo_times_s)
    if count < 3:
        return float("inf")
    rate = WeightedExponential()(magnitude, mask, echo_times_s)[mask]
    decay = np.exp(-rate[:, None] * np.asarray(echo_times_s, np.float32))
    signal = magnitude[mask]
    start = (signal * decay).sum(axis=-1) / (decay**2).sum(axis=-1)
    left = np.sqrt(((signal - start[:, None] * decay) ** 2).sum(axis=-1))
    # Above an SNR of about 3 the magnitude has the noise of one channel, as the phase has.
    return noise_level(left, np.ones_like(left), count)


def _noise_of_two_echoes(intercept: Array, moments: Array, mask: Mask) -> float:
    """Return the noise that the phase at time zero shows: two echoes leave no misfit."""
    per_noise = np.sqrt(_variance_of_intercept(moments))
    return _noise_from_neighbours(intercept, spread(1 / per_noise, mask), mask)


def _noise_two(moments: Array, sigma: float) -> Array:
    """Return the standard deviation of the slope when the intercept is free."""
    s0, s1, s2 = moments.astype(np.float64)
    return cast("Array", sigma / np.sqrt(np.maximum(s2 - s1**2 / s0, 1e-30)))


def mcpc_3d_s(
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    times_s: NDArray[np.float64],
    unwrapping: Unwrapping,
) -> Array:
    """Return the phase at echo time zero by MCPC-3D-S in rad, wrapped, shape (x, y, z).

    The phase difference of the first two echoes, unwrapped, says how much of the first echo's phase
    is evolution; the rest is the offset, smoothed as a complex image within the mask.

    References
    ----------
    Eckstein et al. (2018). Magn Reson Med 79(6), 2996-3006. doi:10.1002/mrm.26963
    """
    first, second = magnitude[..., 0], magnitude[..., 1]
    rise = wrapped(phase_rad[..., 1] - phase_rad[..., 0])
    rise = unwrapping(rise, np.sqrt(first * second), mask, grid)
    evolution = rise * np.float32(times_s[0] / (times_s[1] - times_s[0]))
    # As a complex image: angles may not be averaged, and dark voxels count less.
    offset = np.where(mask, first * np.exp(1j * (phase_rad[..., 0] - evolution)), 0)
    widths = [MCPC_WIDTH_MM / size_mm for size_mm in grid.voxel_size_mm]
    real, imaginary = (ndimage.gaussian_filter(part, widths) for part in (offset.real, offset.imag))
    return cast("Array", np.arctan2(imaginary, real).astype(np.float32))


MCPC_WIDTH_MM = 5.0
"""Standard deviation of the smoothing of the offset."""
