"""Deformable registration by local correlation, fast enough for one core.

The displacement is grown greedily: the force of the local cross-correlation (Avants 2008,
doi 10.1016/j.media.2007.06.004), smoothed and scaled to a fraction of a voxel, is composed with
what has been found so far, coarse to fine. A small smooth step is invertible and so is the
composition of such steps (Christensen 1996, doi 10.1109/83.536892; Yushkevich 2016,
doi 10.1016/j.jalz.2016.06.441).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.image import Image

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deformation:
    """Parameters of the greedy registration.

    Attributes
    ----------
    levels
        Reduction of the fixed grid and number of steps, coarse to fine.
    window_voxels
        Side of the window of the local correlation.
    step_voxels
        Length of the longest displacement in a step.
    smooth_step_voxels, smooth_total_voxels
        Gaussians (standard deviation) on each step and on what has been found so far.
    """

    levels: tuple[tuple[int, int], ...] = ((8, 60), (4, 60), (2, 40), (1, 15))
    window_voxels: int = 5
    step_voxels: float = 0.4
    smooth_step_voxels: float = 1.7
    smooth_total_voxels: float = 0.5


def deform(fixed: Image, moving: Image, settings: Deformation) -> Image:
    """Find where each point of the fixed image lies in the moving one.

    Parameters
    ----------
    fixed, moving
        On one grid, linearly aligned, shape (x, y, z), zero outside the brain.
    settings
        How.

    Returns
    -------
    Image
        Displacements in mm (RAS), shape (x, y, z, 3): moving point = x + displacement(x).
    """
    found: Float | None = None
    for reduction, steps in settings.levels:
        target, source = (_reduced(image.data, reduction) for image in (fixed, moving))
        found = _started(found, target.shape, reduction)
        for _ in range(steps):
            found = _advanced(target, source, found, settings)
        # To voxels of the fixed grid: levels hand over in one unit.
        found = found * np.float32(reduction)
    if found is None:
        raise ValueError("a registration needs at least one level")
    voxels = _resized(found, fixed.shape, settings.levels[-1][0])
    axes = fixed.affine[:3, :3].astype(np.float32)
    # Directions alone: the affine's translation moves points, not differences of points.
    vectors = np.einsum("ij,jxyz->xyzi", axes, voxels)
    return Image(np.ascontiguousarray(vectors, dtype=np.float32), fixed.affine)


def inverted(field: Image, *, iterations: int = 20) -> Image:
    """Return the displacement that undoes another, by fixed-point iteration.

    Chen 2008, doi 10.1118/1.2816107: v(y) = -u(y + v(y)).
    """
    to_voxel = np.linalg.inv(field.affine[:3, :3]).astype(np.float32)
    forward = np.ascontiguousarray(np.einsum("ij,xyzj->ixyz", to_voxel, field.data))
    back = -forward
    for _ in range(iterations):
        # A contraction as long as the derivative of the displacement is below one.
        back = -_sampled_vectors(forward, back)
    axes = field.affine[:3, :3].astype(np.float32)
    return Image(np.ascontiguousarray(np.einsum("ij,jxyz->xyzi", axes, back)), field.affine)


def _reduced(data: NDArray[Any], reduction: int) -> Float:
    """Average over larger voxels; voxel i covers fixed voxels i*r .. i*r + r - 1."""
    if reduction == 1:
        return np.ascontiguousarray(data, dtype=np.float32)
    pad = [(0, -size % reduction) for size in data.shape]
    padded = np.pad(data.astype(np.float32), pad, mode="edge")
    x, y, z = (size // reduction for size in padded.shape)
    blocks = padded.reshape(x, reduction, y, reduction, z, reduction)
    return np.ascontiguousarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


def _started(found: Float | None, shape: tuple[int, ...], reduction: int) -> Float:
    """Bring what a coarser level found (in fixed voxels) to this level (in its voxels)."""
    if found is None:
        return np.zeros((3, *shape), dtype=np.float32)
    step = [old / new for old, new in zip(found.shape[1:], shape, strict=True)]
    # Levels are powers of two, so the grids nest: centre i lies at (i + .5) step - .5.
    ratio = np.float64(round(1 / step[0]))
    return _sampled_grid(found, shape, 1 / ratio) / np.float32(reduction)


def _resized(found: Float, shape: tuple[int, ...], reduction: int) -> Float:
    return found if reduction == 1 else _sampled_grid(found, shape, 1 / reduction)


def _sampled_grid(found: Float, shape: tuple[int, ...], step: float) -> Float:
    offset = 0.5 * step - 0.5
    return np.stack(
        [
            ndimage.affine_transform(
                component, np.eye(3) * step, offset, shape, np.float32, order=1, mode="nearest"
            )
            for component in found
        ]
    )


def _advanced(target: Float, source: Float, found: Float, settings: Deformation) -> Float:
    """Compose one step with what has been found."""
    warped = _warped(source, found)
    force = _force(target, warped, settings.window_voxels)
    step = np.stack([_smooth(component, settings.smooth_step_voxels) for component in force])
    longest = float(np.sqrt((step**2).sum(0).max()))
    if longest < 1e-12:
        return found
    # The longest vector has a set length, so one setting serves images of any contrast.
    step *= np.float32(settings.step_voxels / longest)
    # Composed, not added: added displacements of finite length would fold the grid.
    composed = step + _sampled_vectors(found, step)
    return np.stack([_smooth(component, settings.smooth_total_voxels) for component in composed])


def _smooth(component: Float, sigma: float) -> Float:
    smooth: Float = ndimage.gaussian_filter(component, sigma, mode="nearest", truncate=3.0)
    return smooth


def _force(target: Float, warped: Float, window: int) -> Float:
    """Gradient of the squared local correlation with respect to the displacement."""

    def mean(data: Float) -> Float:
        averaged: Float = ndimage.uniform_filter(data, window, mode="nearest")
        return averaged

    # Local means and variances by running sums: their cost does not grow with the window.
    target_mean, warped_mean = mean(target), mean(warped)
    cross = mean(target * warped) - target_mean * warped_mean
    target_variance = mean(target * target) - target_mean**2
    warped_variance = mean(warped * warped) - warped_mean**2
    return _force_kernel(
        target - target_mean, warped - warped_mean, cross, target_variance, warped_variance, warped
    )


@numba.njit(cache=True, fastmath=True)
def _force_kernel(
    target: Float,
    source: Float,
    cross: Float,
    target_variance: Float,
    source_variance: Float,
    warped: Float,
) -> Float:
    nx, ny, nz = target.shape
    # The outermost voxels keep no force: central differences need a neighbour on each side.
    force = np.zeros((3, nx, ny, nz), dtype=np.float32)
    # Where either image is flat in the window correlation is noise over noise: no force there.
    # In intensities between 0 and about 1, as ``normalise`` scales them.
    floor = np.float32(1e-5)
    for i in range(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                a, b = target_variance[i, j, k], source_variance[i, j, k]
                if a < floor or b < floor:
                    continue
                c = cross[i, j, k]
                # Derivative of c^2 / (a b) with respect to the warped intensity (Avants 2008,
                # doi 10.1016/j.media.2007.06.004), times the gradient of the warped image below.
                gain = 2 * c / (a * b) * (target[i, j, k] - c / b * source[i, j, k])
                force[0, i, j, k] = gain * (warped[i + 1, j, k] - warped[i - 1, j, k]) / 2
                force[1, i, j, k] = gain * (warped[i, j + 1, k] - warped[i, j - 1, k]) / 2
                force[2, i, j, k] = gain * (warped[i, j, k + 1] - warped[i, j, k - 1]) / 2
    return force


@numba.njit(cache=True, fastmath=True)
def _warped(source: Float, field: Float) -> Float:
    """Sample a volume at x + field(x), trilinearly; the border goes on outside."""
    nx, ny, nz = source.shape
    out = np.empty_like(source)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                # The last voxel but a thousandth: the cell above it must exist.
                x = min(max(i + field[0, i, j, k], np.float32(0)), np.float32(nx - 1.001))
                y = min(max(j + field[1, i, j, k], np.float32(0)), np.float32(ny - 1.001))
                z = min(max(k + field[2, i, j, k], np.float32(0)), np.float32(nz - 1.001))
                a, b, c = int(x), int(y), int(z)
                u, v, w = x - a, y - b, z - c
                low = (source[a, b, c] * (1 - w) + source[a, b, c + 1] * w) * (1 - v) + (
                    source[a, b + 1, c] * (1 - w) + source[a, b + 1, c + 1] * w
                ) * v
                high = (source[a + 1, b, c] * (1 - w) + source[a + 1, b, c + 1] * w) * (1 - v) + (
                    source[a + 1, b + 1, c] * (1 - w) + source[a + 1, b + 1, c + 1] * w
                ) * v
                out[i, j, k] = low * (1 - u) + high * u
    return out


def _sampled_vectors(field: Float, step: Float) -> Float:
    """Sample a displacement at x + step(x)."""
    return np.stack([_warped(component, step) for component in field])
