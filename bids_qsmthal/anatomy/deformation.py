"""Deformable registration by local correlation, fast enough for one core.

The displacement is grown greedily: the force of the local cross-correlation (Avants 2008,
doi 10.1016/j.media.2007.06.004), smoothed and scaled to a fraction of a voxel, is composed with
what has been found so far, coarse to fine. A small smooth step is invertible and so is the
composition of such steps (Christensen 1996, doi 10.1109/83.536892; Yushkevich 2016,
doi 10.1016/j.jalz.2016.06.441).
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import rescaled, voxel_sizes_mm, with_origin
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.interpolation import linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[..., None]
    """Calls a kernel, the first argument, with the others."""

Float = NDArray[np.float32]
Spans = NDArray[np.int32]
"""From where to where each row along the last axis is worked on: shape (x, y, 2)."""
Planes = tuple[int, int]
"""The first plane of the first axis, and the one after the last."""

ZERO, ONE = np.float32(0), np.float32(1)
"""With a plain 1 Numba would go on in double precision."""

CONVERGED_VOXELS = 0.0005
"""An inverse that changes by less (root mean square) has converged: it is saved at 2 mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deformation:
    """Parameters of the greedy registration.

    Attributes
    ----------
    levels
        Reduction of the fixed grid and number of steps, coarse to fine. Eight steps at the finest
        level for 15 cost the thalami 0.0005 of Dice on four heads that others segmented, and their
        volume 0.6 % at most; without that level it is 0.005 and 2.3 %.
    window_voxels
        Side of the window of the local correlation.
    step_voxels
        Length of the longest displacement in a step.
    smooth_step_voxels, smooth_total_voxels
        Gaussians (standard deviation) on each step and on what has been found so far.
    """

    levels: tuple[tuple[int, int], ...] = ((8, 60), (4, 60), (2, 40), (1, 8))
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
    with _by_planes() as run:
        for reduction, steps in settings.levels:
            target, source = (_reduced(image.data, reduction) for image in (fixed, moving))
            level = _Level(target, source, _started(found, target.shape, reduction), settings, run)
            for _ in range(steps):
                level.advance()
            # To voxels of the fixed grid: levels hand over in one unit.
            found = level.found * np.float32(reduction)
    if found is None:
        raise ValueError("a registration needs at least one level")
    voxels = _resized(found, fixed.shape, settings.levels[-1][0])
    axes = fixed.affine[:3, :3].astype(np.float32)
    # Directions alone: the affine's translation moves points, not differences of points.
    vectors = np.einsum("ij,jxyz->xyzi", axes, voxels)
    return Image(np.ascontiguousarray(vectors, dtype=np.float32), fixed.affine)


def inverted(field: Image, *, spacing_mm: float = 2.0, iterations: int = 20) -> Image:
    """Return the displacement that undoes another, by fixed-point iteration.

    Chen 2008, doi 10.1118/1.2816107: v(y) = -u(y + v(y)), at every point y by itself: a coarser
    grid than that of ``field`` has the same values where it has any.

    Parameters
    ----------
    field
        Displacement in mm, shape (x, y, z, 3).
    spacing_mm
        About the voxel size of the result; never finer than that of ``field``.
    iterations
        At most.
    """
    every = np.maximum(1, np.rint(spacing_mm / voxel_sizes_mm(field.affine))).astype(np.int64)
    to_voxel = np.linalg.inv(field.affine[:3, :3]).astype(np.float32)
    forward = np.ascontiguousarray(np.einsum("ij,xyzj->ixyz", to_voxel, field.data))
    x, y, z = every.tolist()
    back = np.ascontiguousarray(-forward[:, ::x, ::y, ::z])
    with _by_planes() as run:
        for _ in range(iterations):
            # A contraction as long as the derivative of the displacement is below one.
            before, back = back, np.empty_like(back)
            run(_undo_planes, forward, before, every, back)
            # The mean of all: where the field folds, single voxels never settle. Not a product of
            # BLAS, whose last digits depend on the number of threads.
            if np.square((back - before).ravel()).mean(dtype=np.float64) < CONVERGED_VOXELS**2:
                break
    axes = field.affine[:3, :3].astype(np.float32)
    vectors = np.ascontiguousarray(np.einsum("ij,jxyz->xyzi", axes, back))
    return Image(vectors, rescaled(field.affine, every))


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
    to_found = with_origin(np.diag([step, step, step, 1.0]), (0.5 * step - 0.5,) * 3)
    return np.stack([linear(one, to_found, shape, beyond="nearest") for one in found])


def _reached(target: Float, warped: Float, settings: Deformation) -> Spans:
    """Return from where to where each row can move: elsewhere there is no force.

    A force is felt as far as the window and the smoothing of a step carry it. Of a framed head that
    is about half of the voxels.
    """
    reach = settings.window_voxels // 2 + len(_gaussian(settings.smooth_step_voxels))
    shown = (target != 0) | (warped != 0)
    size = shown.shape[2]
    there = shown.any(axis=2)
    low = np.where(there, shown.argmax(axis=2), size)
    high = np.where(there, size - shown[..., ::-1].argmax(axis=2), 0)
    x, y = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disk = x**2 + y**2 <= reach**2
    # Rows beside a row that shows something are reached from it.
    starts = ndimage.minimum_filter(low, footprint=disk, mode="nearest")
    ends = ndimage.maximum_filter(high, footprint=disk, mode="nearest")
    spans: Spans = np.stack([starts - reach, ends + reach], axis=-1).clip(0, size).astype(np.int32)
    # Nothing shown lies within reach of these rows.
    spans[ends == 0] = 0
    return spans


class _Level:
    """One resolution: the images, what no step changes about them, and room to work in.

    Memory is taken once for all steps; outside ``spans`` nothing is ever written.
    """

    def __init__(
        self, target: Float, source: Float, found: Float, how: Deformation, run: Run
    ) -> None:
        self._source, self.found, self._run = source, found, run
        self._box = np.full(how.window_voxels // 2 + 1, 1 / (how.window_voxels // 2 * 2 + 1))
        self._box = self._box.astype(np.float32)
        self._step_kernel = _gaussian(how.smooth_step_voxels)
        self._total_kernel = _gaussian(how.smooth_total_voxels)
        self._step_voxels = how.step_voxels
        everywhere = np.zeros((*target.shape[:2], 2), np.int32)
        everywhere[..., 1] = target.shape[2]
        # The image, and its mean and variance in the window.
        self._target = np.zeros((3, *target.shape), np.float32)
        self._target[0] = target
        self._warped = np.zeros_like(self._target)
        self._run(_warp_planes, source, found, target, everywhere, self._warped)
        self._spans = _reached(target, self._warped[0], how)
        self._means = np.zeros_like(self._warped)
        _, mean, variance = self._target
        self._filtered(target, self._box, mean)
        self._filtered(target * target, self._box, variance)
        variance -= mean * mean
        self._force = np.zeros_like(found)
        self._composed = found.copy()

    def advance(self) -> None:
        """Compose one step with what has been found."""
        target = self._target[0]
        self._run(_warp_planes, self._source, self.found, target, self._spans, self._warped)
        for image, mean in zip(self._warped, self._means, strict=True):
            self._filtered(image, self._box, mean)
        self._run(_force_planes, self._target, self._warped, self._means, self._spans, self._force)
        # The means have served: their memory takes the step.
        step = self._means
        for component, smooth in zip(self._force, step, strict=True):
            self._filtered(component, self._step_kernel, smooth)
        longest = self._longest(step)
        if longest < 1e-12:
            return
        # The longest vector has a set length, so one setting serves images of any contrast.
        scale = np.float32(self._step_voxels / longest)
        # Composed, not added: added displacements of finite length would fold the grid.
        self._run(_compose_planes, self.found, step, scale, self._spans, self._composed)
        for component, smooth in zip(self._composed, self.found, strict=True):
            self._filtered(component, self._total_kernel, smooth)

    def _filtered(self, data: Float, half: Float, out: Float) -> None:
        self._run(_filter_planes, data, half, self._spans, out)

    def _longest(self, step: Float) -> float:
        lengths = np.zeros(step.shape[1], np.float32)
        self._run(_length_planes, step, self._spans, lengths)
        return float(np.sqrt(lengths.max()))


@contextmanager
def _by_planes() -> Iterator[Run]:
    """Yield what calls a kernel for all planes of its last argument, on the threads of the process.

    Each plane is computed by itself: how many threads there are changes no bit. The threads stay
    for all calls: starting them for each took a fifth of a registration.
    """
    threads = numba.get_num_threads()
    if threads == 1:
        yield lambda kernel, *arguments: kernel(*arguments, (0, _planes(arguments)))
        return
    with ThreadPoolExecutor(threads) as pool:

        def run(kernel: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - numba
            # Several runs of planes for each: those of the middle of a head take longer.
            count = _planes(arguments)
            edges = np.linspace(0, count, min(count, 4 * threads) + 1).astype(int).tolist()
            for task in [
                pool.submit(kernel, *arguments, part) for part in itertools.pairwise(edges)
            ]:
                task.result()

        yield run


def _planes(arguments: Sequence[Any]) -> int:
    """Return how many planes the last argument has."""
    last = arguments[-1]
    return int(last.shape[-3] if last.ndim > 1 else last.size)


def _gaussian(sigma: float) -> Float:
    """Return the middle and one side of a Gaussian that ends at three standard deviations."""
    weights = np.exp(-0.5 * (np.arange(int(3 * sigma + 0.5) + 1) / max(sigma, 1e-6)) ** 2)
    half: Float = (weights / (2 * weights.sum() - weights[0])).astype(np.float32)
    return half


@numba.njit(cache=True, fastmath=True, nogil=True)
def _force_planes(
    target: Float,
    warped: Float,
    means: Float,
    spans: Spans,
    force: Float,
    planes: Planes,
) -> None:
    """Gradient of the squared local correlation with respect to the displacement.

    ``target`` holds the image, its mean and its variance in the window; ``warped`` the warped
    image, its product with the target and its square; ``means`` these three in the window.
    """
    _, nx, ny, nz = warped.shape
    image = warped[0]
    # Where either image is flat in the window correlation is noise over noise: no force there.
    # In intensities between 0 and about 1, as ``normalise`` scales them.
    floor, half = np.float32(1e-5), np.float32(0.5)
    # The outermost voxels keep no force: central differences need a neighbour on each side.
    for i in range(max(planes[0], 1), min(planes[1], nx - 1)):
        for j in range(1, ny - 1):
            for k in range(max(spans[i, j, 0], 1), min(spans[i, j, 1], nz - 1)):
                mean = means[0, i, j, k]
                a, b = target[2, i, j, k], means[2, i, j, k] - mean * mean
                if a < floor or b < floor:
                    for axis in range(3):
                        force[axis, i, j, k] = 0
                    continue
                c = means[1, i, j, k] - target[1, i, j, k] * mean
                # Derivative of c^2 / (a b) with respect to the warped intensity (Avants 2008,
                # doi 10.1016/j.media.2007.06.004), times the gradient of the warped image below.
                factor = (c + c) / (a * b)
                rest = target[0, i, j, k] - target[1, i, j, k] - c / b * (image[i, j, k] - mean)
                # Half: the gradient is a difference over two voxels.
                gain = half * factor * rest
                force[0, i, j, k] = gain * (image[i + 1, j, k] - image[i - 1, j, k])
                force[1, i, j, k] = gain * (image[i, j + 1, k] - image[i, j - 1, k])
                force[2, i, j, k] = gain * (image[i, j, k + 1] - image[i, j, k - 1])


@numba.njit(cache=True, fastmath=True, nogil=True)
def _warp_planes(
    source: Float, field: Float, target: Float, spans: Spans, out: Float, planes: Planes
) -> None:
    """Sample a volume at x + field(x), trilinearly; the border goes on outside.

    ``out`` takes the image, its product with the target, and its square.
    """
    nx, ny, nz = source.shape
    for i in range(*planes):
        for j in range(ny):
            for k in range(spans[i, j, 0], spans[i, j, 1]):
                # The last voxel but a thousandth: the cell above it must exist.
                x = min(
                    max(np.float32(i) + field[0, i, j, k], np.float32(0)), np.float32(nx - 1.001)
                )
                y = min(
                    max(np.float32(j) + field[1, i, j, k], np.float32(0)), np.float32(ny - 1.001)
                )
                z = min(
                    max(np.float32(k) + field[2, i, j, k], np.float32(0)), np.float32(nz - 1.001)
                )
                a, b, c = int(x), int(y), int(z)
                u, v, w = x - np.float32(a), y - np.float32(b), z - np.float32(c)
                low = (source[a, b, c] * (ONE - w) + source[a, b, c + 1] * w) * (ONE - v) + (
                    source[a, b + 1, c] * (ONE - w) + source[a, b + 1, c + 1] * w
                ) * v
                high = (source[a + 1, b, c] * (ONE - w) + source[a + 1, b, c + 1] * w) * (
                    ONE - v
                ) + (source[a + 1, b + 1, c] * (ONE - w) + source[a + 1, b + 1, c + 1] * w) * v
                value = low * (ONE - u) + high * u
                out[0, i, j, k] = value
                out[1, i, j, k] = value * target[i, j, k]
                out[2, i, j, k] = value * value


@numba.njit(cache=True, fastmath=True, nogil=True, inline="always")
def _sampled_vector(part: Float, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Sample one component of a displacement, trilinearly; the border goes on outside."""
    nx, ny, nz = part.shape
    # As in ``_warp_planes``.
    x = np.minimum(np.maximum(x, ZERO), np.float32(nx - 1.001))
    y = np.minimum(np.maximum(y, ZERO), np.float32(ny - 1.001))
    z = np.minimum(np.maximum(z, ZERO), np.float32(nz - 1.001))
    a, b, c = int(x), int(y), int(z)
    u, v, w = x - np.float32(a), y - np.float32(b), z - np.float32(c)
    low = (part[a, b, c] * (ONE - w) + part[a, b, c + 1] * w) * (ONE - v) + (
        part[a, b + 1, c] * (ONE - w) + part[a, b + 1, c + 1] * w
    ) * v
    high = (part[a + 1, b, c] * (ONE - w) + part[a + 1, b, c + 1] * w) * (ONE - v) + (
        part[a + 1, b + 1, c] * (ONE - w) + part[a + 1, b + 1, c + 1] * w
    ) * v
    value: np.float32 = low * (ONE - u) + high * u
    return value


@numba.njit(cache=True, fastmath=True, nogil=True)
def _compose_planes(
    found: Float, step: Float, scale: float, spans: Spans, out: Float, planes: Planes
) -> None:
    """Put a scaled step before a displacement: step(x) + found(x + step(x))."""
    ny = found.shape[2]
    for i in range(*planes):
        for j in range(ny):
            for k in range(spans[i, j, 0], spans[i, j, 1]):
                x = np.float32(i) + scale * step[0, i, j, k]
                y = np.float32(j) + scale * step[1, i, j, k]
                z = np.float32(k) + scale * step[2, i, j, k]
                for axis in range(3):
                    moved = _sampled_vector(found[axis], x, y, z)
                    out[axis, i, j, k] = scale * step[axis, i, j, k] + moved


@numba.njit(cache=True, fastmath=True, nogil=True)
def _undo_planes(
    forward: Float, back: Float, every: NDArray[np.int64], out: Float, planes: Planes
) -> None:
    """Return minus the displacement where what undoes it leads, at every n-th voxel."""
    _, _, ny, nz = back.shape
    for i in range(*planes):
        for j in range(ny):
            for k in range(nz):
                x = np.float32(i * every[0]) + back[0, i, j, k]
                y = np.float32(j * every[1]) + back[1, i, j, k]
                z = np.float32(k * every[2]) + back[2, i, j, k]
                for axis in range(3):
                    out[axis, i, j, k] = -_sampled_vector(forward[axis], x, y, z)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _length_planes(step: Float, spans: Spans, out: Float, planes: Planes) -> None:
    """Return the square of the longest vector of each plane."""
    for i in range(*planes):
        longest = np.float32(0)
        for j in range(step.shape[2]):
            for k in range(spans[i, j, 0], spans[i, j, 1]):
                x, y, z = step[0, i, j, k], step[1, i, j, k], step[2, i, j, k]
                longest = max(longest, x * x + y * y + z * z)
        out[i] = longest


@numba.njit(cache=True, fastmath=True, nogil=True)
def _filter_planes(data: Float, half: Float, spans: Spans, out: Float, planes: Planes) -> None:
    """Convolve along each axis with a symmetric kernel; the border goes on outside.

    Single precision and whole rows at once: 0.4 of the time of ``scipy.ndimage``, which takes every
    line in double precision by itself.
    """
    # One plane at a time, so that what lies between two axes stays in the cache.
    plane, other = np.empty_like(data[0]), np.empty_like(data[0])
    for i in range(*planes):
        if (spans[i, :, 1] > spans[i, :, 0]).any():
            _across_planes(data, half, spans[i], i, plane)
            _across_rows(plane, half, spans[i], other)
            _along_rows(other, half, spans[i], out[i])


@numba.njit(cache=True, fastmath=True, nogil=True)
def _across_planes(data: Float, half: Float, spans: Spans, i: int, out: Float) -> None:
    """Convolve along the first axis; as much of plane i as the other axes will look at."""
    nx, ny, nz = data.shape
    reach = half.size - 1
    rows = np.flatnonzero(spans[:, 1] > spans[:, 0])
    low = max(spans[rows, 0].min() - reach, 0)
    high = min(spans[rows, 1].max() + reach, nz)
    above, below = max(rows[0] - reach, 0), min(rows[-1] + reach + 1, ny)
    for j in range(above, below):
        for k in range(low, high):
            out[j, k] = half[0] * data[i, j, k]
    for d in range(1, half.size):
        before, after = max(i - d, 0), min(i + d, nx - 1)
        for j in range(above, below):
            for k in range(low, high):
                out[j, k] += half[d] * (data[before, j, k] + data[after, j, k])


@numba.njit(cache=True, fastmath=True, nogil=True)
def _across_rows(plane: Float, half: Float, spans: Spans, out: Float) -> None:
    """Convolve a plane along its first axis."""
    ny, nz = plane.shape
    reach = half.size - 1
    for j in range(ny):
        if spans[j, 1] <= spans[j, 0]:
            continue
        low, high = max(spans[j, 0] - reach, 0), min(spans[j, 1] + reach, nz)
        for k in range(low, high):
            out[j, k] = half[0] * plane[j, k]
        for d in range(1, half.size):
            before, after = max(j - d, 0), min(j + d, ny - 1)
            for k in range(low, high):
                out[j, k] += half[d] * (plane[before, k] + plane[after, k])


@numba.njit(cache=True, fastmath=True, nogil=True)
def _along_rows(plane: Float, half: Float, spans: Spans, out: Float) -> None:
    """Convolve a plane along its last axis."""
    ny, nz = plane.shape
    reach = half.size - 1
    # A row with its border: within the loop no index needs a limit, so that it runs on vectors.
    row = np.empty(nz + 2 * reach, np.float32)
    for j in range(ny):
        low, high = spans[j, 0], spans[j, 1]
        if high <= low:
            continue
        inner, outer = max(low - reach, 0), min(high + reach, nz)
        row[:reach], row[reach + nz :] = (
            plane[j, 0] if low < reach else 0,
            (plane[j, nz - 1] if high > nz - reach else 0),
        )
        row[reach + inner : reach + outer] = plane[j, inner:outer]
        for k in range(low, high):
            out[j, k] = half[0] * row[reach + k]
        for d in range(1, reach + 1):
            for k in range(low, high):
                out[j, k] += half[d] * (row[reach + k - d] + row[reach + k + d])
