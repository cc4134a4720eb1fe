"""Magnetic field of a susceptibility distribution, and a scanner's shim.

The field of a sphere of susceptibility chi in a uniform B0 along z is, outside it,
chi/3 (a/r)^3 (3 cos^2 - 1) B0, and zero inside (sphere of Lorentz): the k-space kernel
1/3 - (k.b)^2/|k|^2 gives both (Marques and Bowtell 2005, doi 10.1002/cmr.b.20034).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from bids_qsmthal.qsm import Array, Grid, Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

Float = NDArray[np.float32]


def dipole_field(chi_ppm: Array, grid: Grid, *, padding: float = 1.3) -> Float:
    """Return the relative field shift of a susceptibility distribution, in ppm of B0.

    Parameters
    ----------
    chi_ppm
        Susceptibility relative to what fills the rest of space, shape (x, y, z).
    grid
        Voxel size and direction of B0 in the frame of the array.
    padding
        Zeros are appended up to this factor along each axis: the distance to the periodic images
        that a discrete Fourier transform brings.
    """
    padded = [fft.next_fast_len(int(np.ceil(n * padding)), real=True) for n in grid.shape]
    spectrum = fft.rfftn(chi_ppm.astype(np.float32, copy=False), padded)
    spectrum *= dipole_kernel(padded, grid)
    x, y, z = grid.shape
    # Padding is appended and not put around: a periodic array has no first voxel.
    field = fft.irfftn(spectrum, padded, overwrite_x=True)[:x, :y, :z]
    return np.ascontiguousarray(field, dtype=np.float32)


def dipole_kernel(shape: Sequence[int], grid: Grid) -> Float:
    """Return 1/3 - (k.b)^2/|k|^2 on the half spectrum, zero at k = 0.

    A Nyquist frequency stands for +k and -k alike, so products that change sign between them
    average to zero; without this an oblique B0 leaves an imaginary part.
    """
    axes = [
        fft.fftfreq(shape[0], grid.voxel_size_mm[0]),
        fft.fftfreq(shape[1], grid.voxel_size_mm[1]),
        fft.rfftfreq(shape[2], grid.voxel_size_mm[2]),
    ]
    # Frequencies with the Nyquist sample set to zero, for the products that are odd in it.
    odd = [np.where(np.arange(k.size) * 2 == n, 0.0, k) for k, n in zip(axes, shape, strict=True)]
    ks = np.meshgrid(*(k.astype(np.float32) for k in axes), indexing="ij", sparse=True)
    crossed = np.meshgrid(*(k.astype(np.float32) for k in odd), indexing="ij", sparse=True)
    along = sum(np.float32(b * b) * k * k for b, k in zip(grid.b0_direction, ks, strict=True))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        weight = 2 * grid.b0_direction[first] * grid.b0_direction[second]
        if weight:
            along = along + np.float32(weight) * crossed[first] * crossed[second]
    square = ks[0] ** 2 + ks[1] ** 2 + ks[2] ** 2
    # Any number but zero: the kernel is set at k = 0 below.
    square[0, 0, 0] = 1.0
    kernel = np.float32(1 / 3) - np.asarray(along) / square
    # The mean field of an infinite periodic medium is a matter of definition: none.
    kernel[0, 0, 0] = 0.0
    return np.asarray(kernel, dtype=np.float32)


def shimmed(field_hz: Float, inside: Mask, grid: Grid) -> Float:
    """Return a field with the best second-order shim subtracted.

    A shim adds solid harmonics, so what is left of a background field stays harmonic where it was.
    Harmonics up to a given order span the same functions in every rotated frame: those of the
    image serve.

    Parameters
    ----------
    field_hz
        Shape (x, y, z).
    inside
        Where the shim is optimised.
    grid
        Voxel size.
    """
    axes = [
        ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * size / 100).astype(np.float32)
        for n, size in zip(grid.shape, grid.voxel_size_mm, strict=True)
    ]
    # Nine numbers are fitted: twenty thousand voxels settle them, and memory stays small.
    flat = np.flatnonzero(inside)[:: max(1, int(inside.sum()) // 20_000)]
    index = np.unravel_index(flat, grid.shape)
    design = _solid_harmonics(*(axis[i] for axis, i in zip(axes, index, strict=True)))
    columns = np.stack([np.broadcast_to(column, flat.shape) for column in design], axis=1)
    target = field_hz.reshape(-1)[flat].astype(np.float64)
    weights, *_ = np.linalg.lstsq(columns.astype(np.float64), target, rcond=None)
    left = field_hz.astype(np.float32, copy=True)
    whole = _solid_harmonics(*np.meshgrid(*axes, indexing="ij", sparse=True))
    for weight, harmonic in zip(weights, whole, strict=True):
        left -= np.float32(weight) * harmonic
    return left


def _solid_harmonics(x: Array, y: Array, z: Array) -> list[Array]:
    """Orders 0 to 2; lengths in units of 100 mm, for the conditioning of the fit."""
    one = np.float32(1)
    quadratic = [x * y, x * z, y * z, x * x - y * y, 2 * z * z - x * x - y * y]
    return [np.asarray(one), x, y, z, *quadratic]


def upsampled(coarse: Float, shape: tuple[int, int, int], step: Array, start: Array) -> Float:
    """Sample a smooth array with cubic splines, at ``start + step * index`` for each axis."""
    sampled = ndimage.affine_transform(
        coarse, np.diag(step), start, shape, np.float32, order=3, mode="nearest"
    )
    return np.asarray(sampled)
