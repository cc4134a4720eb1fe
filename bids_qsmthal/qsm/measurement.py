"""What the steps between the field map and susceptibility look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from bids_qsmthal.core.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Mask


class Measurement(NamedTuple):
    """A field, total or local, and what is known about it; every array has shape (x, y, z).

    Attributes
    ----------
    field_ppm
        Field relative to the main field.
    noise_ppm
        Standard deviation of the field; infinite where it is not to be believed.
    magnitude
        Magnitude image with the anatomy's edges.
    mask
        Where sources are to be found.
    csf
        Voxels of cerebrospinal fluid for the zero reference; may be empty.
    """

    field_ppm: Array
    noise_ppm: Array
    magnitude: Array
    mask: Mask
    csf: Mask

    @property
    def weight(self) -> Array:
        """1 / noise in the mask with mean 1; zero outside and where nothing was measured."""
        # Noise of zero is no measurement, and one voxel would get all the weight.
        good = self.mask & (self.noise_ppm > 0) & np.isfinite(self.noise_ppm)
        weight = np.zeros(good.shape, np.float32)
        # The mean of 1 keeps lambda independent of the SNR.
        weight[good] = 1 / self.noise_ppm[good]
        mean = float(weight[self.mask].mean(dtype=np.float64)) if good.any() else 0.0
        return cast("Array", weight / np.float32(mean)) if mean > 0 else weight

    @property
    def believed(self) -> Mask:
        """Where the field was measured well enough to count."""
        return cast("Mask", self.mask & np.isfinite(self.noise_ppm))

    def without(self, outliers: Mask) -> Measurement:
        """Return the same measurement with no belief in some voxels."""
        return self._replace(noise_ppm=np.where(outliers, np.inf, self.noise_ppm))


def inside(values: Array, mask: Mask) -> Array:
    """Return the values in the mask, zero elsewhere and where they are not finite, float32."""
    return np.where(mask & np.isfinite(values), values, 0).astype(np.float32)


def complex_signal(magnitude: Array, phase_rad: Array) -> NDArray[np.complex64]:
    """Return the complex signal of magnitude and phase in rad, float32."""
    signal = np.empty(np.broadcast(magnitude, phase_rad).shape, np.complex64)
    # Cosine and sine of real numbers take a third of the time of a complex exponential.
    signal.real = magnitude * np.cos(phase_rad)
    signal.imag = magnitude * np.sin(phase_rad)
    return signal


def block_factors(grid: Grid, coarse_mm: float) -> tuple[int, int, int]:
    """Return how many voxels along each axis make a block of about ``coarse_mm``."""
    fx, fy, fz = (max(1, round(coarse_mm / d)) for d in grid.voxel_size_mm)
    return fx, fy, fz


def coarser_grid(grid: Grid, factors: tuple[int, int, int]) -> Grid:
    """Return the grid whose voxels are blocks of a grid's voxels."""
    nx, ny, nz = (-(-n // f) for n, f in zip(grid.shape, factors, strict=True))
    dx, dy, dz = (d * f for d, f in zip(grid.voxel_size_mm, factors, strict=True))
    return Grid((nx, ny, nz), (dx, dy, dz), grid.b0_direction)


def coarser(fine: Measurement, factors: tuple[int, int, int]) -> Measurement:
    """Return the measurement on blocks of voxels; the field is a mean with its weights.

    A block belongs to the mask as soon as one of its voxels does.
    """
    if factors == (1, 1, 1):
        return fine
    # Inverse variances: the mean of a block weighs its voxels as a fit would.
    energy = fine.weight**2
    total = block_mean(energy, factors)
    field = block_mean(energy * inside(fine.field_ppm, fine.mask), factors)
    with np.errstate(divide="ignore"):
        # In units of the mean weight, no longer in ppm: only its ratios between voxels are used.
        noise = np.where(total > 0, 1 / np.sqrt(total), np.inf).astype(np.float32)
    return Measurement(
        field_ppm=(field / np.maximum(total, 1e-12)).astype(np.float32),
        noise_ppm=noise,
        magnitude=block_mean(fine.magnitude, factors),
        mask=block_mean(fine.mask.astype(np.float32), factors) > 0,
        # Only blocks that are fluid throughout: partial volume would pull tissue to zero.
        csf=block_mean(fine.csf.astype(np.float32), factors) > 0.9,
    )


def block_mean(values: NDArray[np.inexact], factors: tuple[int, int, int]) -> Array:
    """Return the mean over blocks; the last block may reach beyond the array (zeros)."""
    pad = [(0, -n % f) for n, f in zip(values.shape, factors, strict=True)]
    padded = np.pad(values, pad)
    fx, fy, fz = factors
    nx, ny, nz = (n // f for n, f in zip(padded.shape, factors, strict=True))
    return cast("Array", padded.reshape(nx, fx, ny, fy, nz, fz).mean(axis=(1, 3, 5)))


def repeat_blocks(
    values: Array, factors: tuple[int, int, int], shape: tuple[int, int, int]
) -> Array:
    """Return blocks as voxels again, cut to a shape."""
    for axis, factor in enumerate(factors):
        values = np.repeat(values, factor, axis)
    return values[: shape[0], : shape[1], : shape[2]]
