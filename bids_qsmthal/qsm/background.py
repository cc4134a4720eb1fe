"""Background removal: from the total field to the field of what lies inside the mask.

Each method is a frozen dataclass of its parameters that can be called.
To add one, write it here and name it in ``BACKGROUNDS``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
from scipy import fft

from bids_qsmthal.qsm.grid import Grid
from bids_qsmthal.qsm.operators import box_around, convolve, dipole_kernel, sphere_kernel
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from bids_qsmthal.qsm.grid import Array, Mask

log = logging.getLogger(__name__)


class LocalField(NamedTuple):
    """The field left when the background is gone, and where it can be believed."""

    field_hz: Array
    mask: Mask
    converged: bool


class Background(Protocol):
    """Anything that takes the field of sources outside the mask away."""

    def __call__(self, field_hz: Array, noise_hz: Array, mask: Mask, grid: Grid) -> LocalField:
        """Return the local field in Hz, zero outside the mask that it returns."""


def weights(noise_hz: Array, mask: Mask) -> Array:
    """Return 1 / noise in the mask with mean 1, zero where nothing was measured."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(mask & (noise_hz > 0), 1 / noise_hz, 0)
    weight = np.where(np.isfinite(weight), weight, 0).astype(np.float32)
    mean = float(weight[mask].mean(dtype=np.float64)) if mask.any() else 0.0
    return cast("Array", weight / np.float32(mean)) if mean > 0 else mask.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionOntoDipoleFields:
    r"""Explain the field by sources outside the mask and subtract their field (PDF).

    .. math:: \min_x \| W M (f - D (1 - M) x) \|^2

    Solved by conjugate gradients, first on a coarse grid, where the far sources are cheap to find,
    then on the grid itself. The box reaches well beyond the mask on every side: a mask that touches
    the end of the slab has its strongest sources out there.

    Attributes
    ----------
    margin_mm
        Room round the mask for background sources.
    coarse_mm
        Voxels of the coarse grid are about this long.
    coarse_iterations, fine_iterations
        Conjugate gradient steps on each grid.

    References
    ----------
    Liu et al. (2011). NMR Biomed 24(9), 1129-1136. doi:10.1002/nbm.1670
    """

    margin_mm: float = 80.0
    coarse_mm: float = 2.5
    coarse_iterations: int = 60
    fine_iterations: int = 8

    def __call__(self, field_hz: Array, noise_hz: Array, mask: Mask, grid: Grid) -> LocalField:
        """Return the local field in Hz, zero outside the mask."""
        box = box_around(mask, grid, self.margin_mm)
        weight = box.cut(weights(noise_hz, mask))
        field = box.cut(np.where(mask, field_hz, 0).astype(np.float32))
        inside = box.cut(mask)
        sources = self._coarse(field, weight, inside, box.grid)
        found = fit_outside(field, weight, inside, box.grid, (sources, self.fine_iterations))
        background = convolve(found, dipole_kernel(box.grid))
        local = np.where(mask, field_hz - box.paste(background), 0).astype(np.float32)
        return LocalField(local, mask, converged=bool(np.isfinite(local).all()))

    def _coarse(self, field: Array, weight: Array, inside: Mask, grid: Grid) -> Array:
        """Return the sources outside the mask as a coarse grid sees them."""
        factors = tuple(max(1, round(self.coarse_mm / d)) for d in grid.voxel_size_mm)
        if factors == (1, 1, 1):
            start = (np.zeros_like(field), self.coarse_iterations)
            return fit_outside(field, weight, inside, grid, start)
        energy = weight**2
        coarse = coarser(grid, factors)
        total = block_mean(energy, factors)
        mean = block_mean(energy * field, factors) / np.maximum(total, 1e-12)
        filled = block_mean(inside.astype(np.float32), factors) > 0
        start = (np.zeros_like(mean), self.coarse_iterations)
        found = fit_outside(mean, np.sqrt(total), filled, coarse, start)
        for axis, (factor, n) in enumerate(zip(factors, grid.shape, strict=True)):
            found = np.repeat(found, factor, axis)[(slice(None),) * axis + (slice(0, n),)]
        return np.where(inside, 0, found)


def coarser(grid: Grid, factors: tuple[int, ...]) -> Grid:
    """Return the grid whose voxels are blocks of a grid's voxels."""
    nx, ny, nz = (-(-n // f) for n, f in zip(grid.shape, factors, strict=True))
    dx, dy, dz = (d * f for d, f in zip(grid.voxel_size_mm, factors, strict=True))
    return Grid((nx, ny, nz), (dx, dy, dz), grid.b0_direction)


def fit_outside(
    field: Array, weight: Array, inside: Mask, grid: Grid, start: tuple[Array, int]
) -> Array:
    """Return the sources outside a mask whose field comes nearest to ``field`` inside it.

    ``start`` holds the first guess of the sources and the number of steps.
    """
    kernel, energy = dipole_kernel(grid), weight**2
    outside = ~inside

    def normal(sources: Array) -> Array:
        return convolve(energy * convolve(sources, kernel), kernel) * outside

    right = convolve(energy * field, kernel) * outside
    first, steps = start
    begin = first if first.any() else None
    return conjugate_gradient(normal, right, start=begin, max_iterations=steps, tolerance=1e-3).x


def block_mean(values: Array, factors: tuple[int, ...]) -> Array:
    """Return the mean over blocks; the last block may reach beyond the array (zeros)."""
    pad = [(0, -n % f) for n, f in zip(values.shape, factors, strict=True)]
    padded = np.pad(values, pad)
    fx, fy, fz = factors
    nx, ny, nz = (n // f for n, f in zip(padded.shape, factors, strict=True))
    return cast("Array", padded.reshape(nx, fx, ny, fy, nz, fz).mean(axis=(1, 3, 5)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SphericalMean:
    r"""Subtract spherical means of shrinking radius and undo the filter (V-SHARP).

    The background is harmonic inside the mask, so it equals its mean over any ball that fits. Each
    voxel uses the largest ball that stays inside; the rim needs small ones. The filter
    :math:`1 - S` of the largest ball is undone by division, truncated where it is small.

    Attributes
    ----------
    largest_mm, smallest_mm, step_mm
        Radii of the balls; none is smaller than the largest voxel dimension.
    threshold
        Frequencies where the filter is below this are left out.

    References
    ----------
    Wu et al. (2012). Magn Reson Med 67(1), 137-147. doi:10.1002/mrm.23000
    """

    largest_mm: float = 12.0
    smallest_mm: float = 1.0
    step_mm: float = 1.0
    threshold: float = 0.05

    def __call__(self, field_hz: Array, noise_hz: Array, mask: Mask, grid: Grid) -> LocalField:
        """Return the local field in Hz, zero outside the mask."""
        del noise_hz
        box = box_around(mask, grid, 2 * self.largest_mm)
        inside = box.cut(mask)
        field = box.cut(np.where(mask, field_hz, 0).astype(np.float32))
        spectrum, support = fft.rfftn(field), fft.rfftn(inside.astype(np.float32))
        filtered, done = np.zeros_like(field), np.zeros_like(inside)
        least = max(self.smallest_mm, *grid.voxel_size_mm)
        largest = None
        for radius_mm in np.arange(self.largest_mm, least - 1e-6, -self.step_mm):
            ball = sphere_kernel(box.grid, float(radius_mm))
            fits = inside & ~done & (fft.irfftn(support * ball, s=field.shape) > 0.999)
            if largest is None and fits.any():
                largest = ball
            filtered[fits] = (field - fft.irfftn(spectrum * ball, s=field.shape))[fits]
            done |= fits
        if largest is None:
            return LocalField(np.zeros_like(field_hz), np.zeros_like(mask), converged=False)
        gain = 1 - largest
        undo = np.where(np.abs(gain) > self.threshold, 1 / np.where(gain == 0, 1, gain), 0)
        local = convolve(filtered, undo.astype(np.float32))
        kept = box.paste(done)
        return LocalField(_masked(box.paste(local), kept), kept, converged=True)


def _masked(values: Array, mask: Mask) -> Array:
    """Return the values in the mask, zero elsewhere and where they are not finite, float32."""
    return np.where(mask & np.isfinite(values), values, 0).astype(np.float32)


BACKGROUNDS: dict[str, type[Background]] = {
    "pdf": ProjectionOntoDipoleFields,
    "v-sharp": SphericalMean,
}
