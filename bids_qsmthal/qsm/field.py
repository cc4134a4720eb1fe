"""Multi-echo complex signal to a map of the total field and its noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np

from bids_qsmthal.qsm import echoes
from bids_qsmthal.qsm.unwrapping import Romeo, Unwrapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.qsm.acquisition import Acquisition
    from bids_qsmthal.qsm.grid import Array, Grid, Mask

log = logging.getLogger(__name__)

TWO_PI = 2 * np.pi

Offset = Literal["auto", "polynomial", "voxel"]


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
        How the phase at echo time zero was modelled: ``"polynomial"`` or ``"voxel"``.
    snr
        Median signal-to-noise ratio of the first echo.
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
    (it comes from the coils and is smooth, as in MCPC-3D-S), which nearly halves the noise of the
    slope. The smooth offset is fitted, not filtered: a masked filter would bias the rim.

    Attributes
    ----------
    unwrapping
        How the field map is unwrapped.
    offset
        ``"polynomial"``, ``"voxel"`` (each voxel its own) or ``"auto"``.
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
        wrapped = _wrapped(slope * step_s)
        unwrapped = self.unwrapping(
            _spread(wrapped, mask), np.linalg.norm(magnitude, axis=-1), mask, grid
        )
        slope += (unwrapped[mask] - wrapped) / step_s
        intercept, moments = echoes.intercepts(*signal, times, slope)
        if len(times) > 2:
            sigma = _noise_level(residual, moments[0], len(times))
        else:
            sigma = _noise_of_two_echoes(_spread(intercept, mask), moments, mask)
        smooth = robust_polynomial(_spread(intercept, mask), moments[0], mask, self.order)[mask]
        if not self._offset_is_smooth(intercept - smooth, moments, sigma):
            level = (sigma, max(len(times) - 2, 1))
            return _field_map(slope, _noise_two(moments, sigma), residual, moments[0], mask, level)
        slope, residual = echoes.fit_one(*signal, search, (slope, smooth))
        noise = sigma / np.sqrt(moments[2])
        level = (sigma, len(times) - 1)
        return _field_map(slope, noise, residual, moments[0], mask, level, offset="polynomial")

    def _offset_is_smooth(self, rest: Array, moments: Array, sigma: float) -> bool:
        """Tell whether noise explains what the polynomial leaves of the phase at time zero."""
        if self.offset != "auto":
            return self.offset == "polynomial"
        s0, s1, s2 = moments.astype(np.float64)
        expected = sigma * np.sqrt(s2 / np.maximum(s0 * s2 - s1**2, 1e-30))
        ratio = float(np.median(np.abs(_wrapped(rest))) / (0.6745 * np.median(expected)))
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
        slope = (phase - robust_polynomial(_wrapped(phase), energy, mask, 0))[mask] / time_s
        sigma = _noise_from_neighbours(phase, signal, mask)
        noise = sigma / np.maximum(signal[mask] * time_s, 1e-30)
        residual = np.zeros_like(slope)
        return _field_map(slope, noise, residual, energy, mask, (sigma, 1), offset="none")


MOST_EXCESS = 2.0
"""A polynomial offset is believed while its misfit stays below twice the noise."""


def _field_map(  # noqa: PLR0913 - it gathers the result
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
        frequency_hz=_spread(slope / TWO_PI, mask),
        noise_hz=_spread(noise / TWO_PI, mask, outside=np.inf),
        residual=_spread(residual, mask),
        reduced_residual=_spread(residual / np.maximum(expected, 1e-12), mask),
        offset=offset,
        snr=snr,
    )


def _spread(values: Array, mask: Mask, outside: float = 0.0) -> Array:
    """Return the image that has these values in the mask, float32."""
    out = np.full(mask.shape, outside, np.float32)
    out[mask] = values
    return out


def _wrapped(angle: Array) -> Array:
    """Return the angle in [-pi, pi]."""
    return cast("Array", angle - angle.dtype.type(TWO_PI) * np.round(angle / TWO_PI))


def _noise_level(residual: Array, energy: Array, echoes: int) -> float:
    """Return the standard deviation of the noise in one channel of the complex signal.

    The weighted squared misfit of a voxel is sigma^2 times a chi-squared number with echoes - 2
    degrees of freedom, so its median (not its mean, which veins and air would pull up) gives sigma.
    """
    freedom = max(echoes - 2, 1)
    middle = float(np.median(residual.astype(np.float64) ** 2 * energy))
    # Wilson and Hilferty's median of a chi-squared distribution.
    return float(np.sqrt(middle / (freedom * (1 - 2 / (9 * freedom)) ** 3)))


def _noise_from_neighbours(phase: Array, signal: Array, mask: Mask) -> float:
    """Estimate the noise from third differences along x, where one echo leaves no misfit."""
    inside = mask[3:] & mask[2:-1] & mask[1:-2] & mask[:-3]
    if not inside.any():
        return 0.0
    third = _wrapped(phase[3:] - 3 * phase[2:-1] + 3 * phase[1:-2] - phase[:-3])[inside]
    return float(1.4826 * np.median(np.abs(third) * signal[2:-1][inside]) / np.sqrt(20))


def _noise_of_two_echoes(intercept: Array, moments: Array, mask: Mask) -> float:
    """Return the noise that the phase at time zero shows: two echoes leave no misfit."""
    s0, s1, s2 = moments.astype(np.float64)
    per_noise = np.sqrt(s2 / np.maximum(s0 * s2 - s1**2, 1e-30))
    return _noise_from_neighbours(intercept, _spread(1 / per_noise, mask), mask)


def _noise_two(moments: Array, sigma: float) -> Array:
    """Return the standard deviation of the slope when the intercept is free."""
    s0, s1, s2 = moments.astype(np.float64)
    return cast("Array", sigma / np.sqrt(np.maximum(s2 - s1**2 / s0, 1e-30)))


def robust_polynomial(phase_rad: Array, energy: Array, mask: Mask, order: int) -> Array:
    """Return the polynomial in space that an angle follows, float32, everywhere in the image.

    The misfit is wrapped, so the angle need not be unwrapped; the degree is raised step by step so
    that the next fit starts within half a turn. Voxels far off the fit count less and less.

    Parameters
    ----------
    phase_rad
        The angle, shape (x, y, z).
    energy
        Squared magnitude of the voxels of the mask, in its order.
    mask
        Where the angle is known.
    order
        Total degree.
    """
    every = max(1, len(energy) // 40000)
    where = np.argwhere(mask)[::every]
    trust = np.sqrt(energy[::every].astype(np.float64))
    angle = phase_rad[tuple(where.T)].astype(np.float64)
    centre, scale = where.mean(0), np.maximum(np.ptp(where, axis=0) / 2, 1.0)
    powers = _powers(order)
    basis = _monomials([(where[:, a] - centre[a]) / scale[a] for a in range(3)], powers)
    coefficients = np.zeros(len(powers))
    if order:
        coefficients[1:4] = _linear_start(phase_rad, mask) * scale
    rest = angle - basis @ coefficients
    coefficients[0] = np.angle((trust * np.exp(1j * rest)).sum())
    for degree in (*range(1, order + 1), order, order, order, order):
        used = [i for i, p in enumerate(powers) if sum(p) <= degree]
        misfit = _wrapped(angle - basis @ coefficients)
        spread = max(1.4826 * float(np.median(np.abs(misfit))), 1e-6)
        robust = trust / (1 + (misfit / (2 * spread)) ** 2)
        step, *_ = np.linalg.lstsq(basis[:, used] * robust[:, None], misfit * robust, rcond=1e-10)
        coefficients[used] += step
    axes = [(np.arange(n) - centre[a]) / scale[a] for a, n in enumerate(mask.shape)]
    return _polynomial(coefficients, powers, axes)


def _polynomial(
    coefficients: NDArray[np.float64],
    powers: list[tuple[int, int, int]],
    axes: list[NDArray[np.float64]],
) -> Array:
    """Return a polynomial on a grid, float32."""
    out = np.zeros([len(a) for a in axes], np.float32)
    for (px, py, pz), c in zip(powers, coefficients, strict=True):
        line = (c * axes[0] ** px).astype(np.float32)[:, None, None]
        line = line * (axes[1] ** py).astype(np.float32)[None, :, None]
        out += line * (axes[2] ** pz).astype(np.float32)
    return cast("Array", out)


def _powers(order: int) -> list[tuple[int, int, int]]:
    """Return the exponents of all monomials up to a total degree, low degrees first."""
    found = [
        (x, y, z)
        for x in range(order + 1)
        for y in range(order + 1)
        for z in range(order + 1)
        if x + y + z <= order
    ]
    return sorted(found, key=lambda p: (sum(p), [-q for q in p]))


def _monomials(axes: list[Array], powers: list[tuple[int, int, int]]) -> NDArray[np.float64]:
    """Return one column for each monomial."""
    return np.stack([axes[0] ** x * axes[1] ** y * axes[2] ** z for x, y, z in powers], axis=1)


def _linear_start(phase_rad: Array, mask: Mask) -> NDArray[np.float64]:
    """Return the mean slope of an angle along each axis in rad per voxel, from neighbours."""
    out = np.zeros(3)
    for axis in range(3):
        low = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        step = (phase_rad[high] - phase_rad[low])[mask[high] & mask[low]]
        out[axis] = np.angle(np.exp(1j * step).sum()) if step.size else 0.0
    return out
