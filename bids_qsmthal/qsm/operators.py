"""The physics of a dipole and the calculus of a grid: kernels, boxes, differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from scipy import fft

from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.grid import Grid

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Mask


def frequencies(grid: Grid) -> tuple[Array, Array, Array]:
    """Return k in cycles per mm along each axis, ready to broadcast over the half spectrum."""
    (nx, ny, nz), (dx, dy, dz) = grid.shape, grid.voxel_size_mm
    # In float32 from the start: a double here would make every kernel of a whole head double.
    kx = fft.fftfreq(nx, dx).astype(np.float32)[:, None, None]
    ky = fft.fftfreq(ny, dy).astype(np.float32)[None, :, None]
    kz = fft.rfftfreq(nz, dz).astype(np.float32)[None, None, :]
    return kx, ky, kz


def dipole_kernel(grid: Grid) -> Array:
    r"""Return the dipole kernel on the half spectrum of ``rfftn``, float32.

    .. math:: D(k) = \frac{1}{3} - \frac{(k \cdot b_0)^2}{|k|^2}, \quad D(0) = 0

    On an even axis the Nyquist frequency stands for both its signs. With an oblique B0 the kernel
    differs between them, so it is averaged over them: only then is the field real, and does a
    flipped image give the flipped field.
    """
    lines = frequencies(grid)
    squared = lines[0] ** 2 + lines[1] ** 2 + lines[2] ** 2
    # 0 / 0 at the origin: a uniform source has no field here (D(0) = 0), which is set below.
    squared[0, 0, 0] = 1.0
    along, nyquist = np.zeros_like(squared), np.zeros_like(squared)
    for axis, (line, b, n) in enumerate(zip(lines, grid.b0_direction, grid.shape, strict=True)):
        component = b * line
        if n % 2 == 0:
            # The mean over both signs of (a + c)^2 is a^2 + c^2.
            middle = tuple(
                slice(n // 2, n // 2 + 1) if a == axis else slice(None) for a in range(3)
            )
            nyquist[middle] += component[middle] ** 2
            component[middle] = 0
        along += component
    # Along B0 the kernel is -2/3, across it 1/3; 1/3 rather than 0 holds because the Lorentz sphere
    # is included.
    kernel = np.float32(1 / 3) - (along**2 + nyquist) / squared
    kernel[0, 0, 0] = 0.0
    return kernel.astype(np.float32, copy=False)


def sphere_kernel(grid: Grid, radius_mm: float) -> Array:
    r"""Return the spectrum of the mean over a ball, float32, real, 1 at k = 0.

    .. math:: S(k) = 3 \frac{\sin x - x \cos x}{x^3}, \quad x = 2 \pi |k| r
    """
    kx, ky, kz = frequencies(grid)
    x = 2 * np.pi * radius_mm * np.sqrt(kx**2 + ky**2 + kz**2).astype(np.float64)
    # The difference of nearly equal terms loses all digits; below 0.1 the value is 1 within 0.1 %.
    small = x < 0.1
    x[small] = 1.0
    spectrum = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    spectrum[small] = 1.0
    return cast("Array", spectrum.astype(np.float32))


def difference_lines(grid: Grid) -> tuple[Array, Array, Array]:
    """Return |G|^2 of the periodic forward difference (per mm) along each axis; the last is half.

    The full k-space symbol is their sum.
    """
    lines = []
    for n, d, half in zip(grid.shape, grid.voxel_size_mm, (False, False, True), strict=True):
        # |exp(i a) - 1|^2 = 2 - 2 cos(a)
        angle = 2 * np.pi * (np.arange(n // 2 + 1) / n if half else fft.fftfreq(n))
        # Of the discrete difference, not (2 pi k)^2: the closed form must belong to the same
        # gradient as the splits.
        lines.append(((2 - 2 * np.cos(angle)) / d**2).astype(np.float32))
    return lines[0], lines[1], lines[2]


def laplace_kernel(grid: Grid) -> Array:
    r"""Return :math:`G^H G` of the periodic forward difference (per mm) on the half spectrum."""
    lx, ly, lz = difference_lines(grid)
    return cast("Array", lx[:, None, None] + ly[None, :, None] + lz)


def convolve(values: Any, kernel: Any) -> Any:  # noqa: ANN401 - see below
    """Convolve with a kernel given on the half spectrum; periodic.

    Arrays of NumPy or of any namespace that keeps to the array API standard; what comes back is of
    the same kind.
    """
    if not isinstance(values, np.ndarray):
        transform = values.__array_namespace__().fft
        return transform.irfftn(transform.rfftn(values) * kernel, s=values.shape, axes=(0, 1, 2))
    # One axis real and two complex in place: a fifth less than rfftn and irfftn, which copy.
    spectrum = fft.rfft(values, axis=2)
    spectrum = fft.fftn(spectrum, axes=(0, 1), overwrite_x=True)
    spectrum *= kernel
    spectrum = fft.ifftn(spectrum, axes=(0, 1), overwrite_x=True)
    return fft.irfft(spectrum, n=values.shape[2], axis=2, overwrite_x=True)


def transforms_on_all_threads() -> AbstractContextManager[None]:
    """Return a context in which Fourier transforms use the threads that numba was given.

    The same numbers come out whatever their number: each thread takes whole lines.
    """
    return cast("AbstractContextManager[None]", fft.set_workers(numba.get_num_threads()))


def gradient(values: Array, grid: Grid) -> NDArray[np.float32]:
    """Return the forward difference per mm, shape (3, x, y, z); zero across the last face."""
    out = np.zeros((3, *values.shape), dtype=np.float32)
    for axis in range(3):
        n = values.shape[axis]
        here = _slab(axis, slice(0, n - 1))
        out[axis][here] = values[_slab(axis, slice(1, n))] - values[here]
        out[axis] /= np.float32(grid.voxel_size_mm[axis])
    return out


def gradient_adjoint(vectors: Array, grid: Grid) -> Array:
    """Return the adjoint of ``gradient``: minus the backward divergence."""
    out = np.zeros(vectors.shape[1:], dtype=np.float32)
    for axis in range(3):
        n = vectors.shape[axis + 1]
        first = vectors[axis][_slab(axis, slice(0, n - 1))] / np.float32(grid.voxel_size_mm[axis])
        # The last component of a gradient is always zero (no neighbour), so it has no part in the
        # adjoint.
        out[_slab(axis, slice(0, n - 1))] -= first
        out[_slab(axis, slice(1, n))] += first
    return cast("Array", out)


def _slab(axis: int, where: slice) -> tuple[slice, ...]:
    """Return an index that cuts one axis."""
    index = [slice(None)] * 3
    index[axis] = where
    return tuple(index)


def box_around(mask: Mask, grid: Grid, margin_mm: float) -> Crop:
    """Return the smallest box with at least ``margin_mm`` between a mask and the box's copies.

    The box may reach beyond the image. The discrete convolution is periodic, so a margin on one
    side serves both sides: half of it lies before the mask and half behind.
    """
    starts, lengths = [], []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 1)
        margin = int(np.ceil(margin_mm / grid.voxel_size_mm[axis]))
        length = last - first + max(margin, 2)
        # Lengths with small prime factors only: an FFT of a prime length takes many times longer.
        length = int(fft.next_fast_len(length + (length % 2), real=axis == 2))
        starts.append(first - (length - (last - first)) // 2)
        lengths.append(length)
    x, y, z = mask.shape
    return Crop((starts[0], starts[1], starts[2]), (lengths[0], lengths[1], lengths[2]), (x, y, z))
