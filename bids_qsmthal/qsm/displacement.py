"""Magnitude and phase that do not lie on each other.

Where the magnitude is background, phase is noise, and the brighter a voxel the smoother its phase:
of one complex signal this holds voxel for voxel. Where a scanner corrected only one of both for
distortion, or a converter flipped or moved one, it holds better at another place. No header is
needed to see that, and nothing else shows it: each image for itself is whole.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from bids_qsmthal.core.scan_warnings import (
    MagnitudeDisplaced,
    MagnitudeDistorted,
    MagnitudeFlipped,
)
from bids_qsmthal.qsm.measurement import block_mean

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask

REACH = 4
"""Displacements of up to so many voxels are measured; larger ones are said to be at least this."""

LEAST_VOXELS = 0.3
"""Smaller displacements are not warned about. The limits here and of ``LEAST_OF_PART`` were set on
ten simulated heads (seeds 500 to 509 of ``benchmarks/displacement.py``: 1 to 3 mm, SNR 12 to 98,
coils, slabs, 45 degrees, interleaved slices): lying on each other, they are found within 0.04
voxels as a whole and 0.22 in their outer thirds; moved by half a voxel, as 0.40 to 0.64."""

CERTAINLY = 4.0
"""A displacement is believed from so many of its standard errors on; the same heads, lying on each
other, have at most 2."""

LEAST_OF_PART = 0.5
"""Voxels, of an outer third of the head: a correction of the gradients moves the edges most, and
opposite edges in opposite directions, so that the whole does not move."""

CERTAINLY_OF_PART = 5.0
"""More than for the whole, as 18 parts are looked at along each axis."""

LEAST_FIT_OF_PART = 0.4
"""Correlation that a part must reach at its best place: thirds of distorted heads have 0.70 to
0.78, of distorted ellipsoids 0.55 to 0.65. Where a mask leaves a part no noise, any place fits as
badly as another (below 0.2)."""

LEAST_GAIN = 0.003
"""Of the correlation, from which on the mirrored magnitude is the right one. Eighteen other heads
that lie on each other gain at most 0.0007; when one image is flipped, heads gain 0.03 to 0.20,
nearly symmetric ellipsoids 0.004."""

NOISY = 0.5
"""Smoothness below which the phase is more noise than signal."""

LEAST_NOISE = 0.05
"""Of the voxels, so many are to be noisy: where none is, as in a masked brain at a high SNR, only
anatomy is left, which need not be alike in both images (false displacements of 1 to 3 voxels)."""

LEVELS = 48
"""Levels of the magnitude for each of which the mean smoothness of the phase is taken."""

BLOCKS = 3
"""Parts along each axis, one of which is left out at a time for the standard error."""

FEWEST_BLOCKS = 4
"""Fewer say nothing about the error."""

MOST_VOXELS = 400_000
"""More do not make the displacement surer, but cost time."""

LARGEST_TRANSFORM = 700_000
"""Voxels of the images that are mirrored; larger ones are averaged in blocks."""

LEAST_KNOWN = 0.02
"""Of the voxels: with fewer that both images show, nothing can be said."""

LEAST_BLANKED = 0.2
"""Of the voxels: so many are blank where a mask was applied."""

SAME_MASK = 0.98
"""Overlap (Dice) from which on two masks are one and the same, moved or not."""

Sums = NDArray[np.float64]


def check_aligned(
    magnitude: Array, phase_rad: Array
) -> MagnitudeDisplaced | MagnitudeDistorted | MagnitudeFlipped | None:
    """Return a warning where magnitude and phase do not lie on each other.

    Parameters
    ----------
    magnitude, phase_rad
        Finite signal of one echo, shape (x, y, z); the first echo has the most signal.
    """
    blank = _blank(phase_rad)
    dark = _blank(magnitude)
    moved = _masks_apart(~dark, ~blank)
    if moved is not None:
        return moved
    known = (magnitude > 0) & ~ndimage.binary_dilation(blank | dark)
    if known.mean() < LEAST_KNOWN:
        return None
    smooth = smoothness(phase_rad)
    expected = expected_smoothness(steadiness(magnitude), smooth, known)
    if (expected[known] < NOISY).mean() < LEAST_NOISE:
        return None
    axes, gain = mirrored(expected, smooth, known)
    if gain > LEAST_GAIN:
        return MagnitudeFlipped(", ".join(str(axis + 1) for axis in axes))
    fits = [fit_along(expected, smooth, known, axis) for axis in range(3)]
    whole = [0.0 if fit is None else _believed(fit.whole()) for fit in fits]
    if any(whole):
        return MagnitudeDisplaced(*whole)
    parts = [0.0 if fit is None else fit.most_of_a_part() for fit in fits]
    return MagnitudeDistorted(*parts) if any(parts) else None


def _believed(found: Offset | None) -> float:
    if found is None or abs(found.voxels) <= max(LEAST_VOXELS, CERTAINLY * found.error):
        return 0.0
    return found.voxels


def _blank(image: Array) -> Mask:
    """Return where an image was set to zero, single zeros of a whole-number image aside."""
    return cast("Mask", ndimage.binary_opening(image == 0))


def _masks_apart(first: Mask, second: Mask) -> MagnitudeDisplaced | None:
    """Return how far the masks of two images lie apart where both are one mask, moved."""
    if max(first.mean(), second.mean()) > 1 - LEAST_BLANKED or not (first.any() and second.any()):
        return None
    apart = [
        float(np.average(np.arange(n), weights=_profile(first, axis)))
        - float(np.average(np.arange(n), weights=_profile(second, axis)))
        for axis, n in enumerate(first.shape)
    ]
    x, y, z = (float(round(step)) for step in apart)
    back = np.roll(first, (-int(x), -int(y), -int(z)), (0, 1, 2))
    same = 2 * (back & second).sum() / (first.sum() + second.sum())
    return MagnitudeDisplaced(x, y, z) if any((x, y, z)) and same > SAME_MASK else None


def _profile(mask: Mask, axis: int) -> NDArray[np.int64]:
    return cast("NDArray[np.int64]", mask.sum(axis=tuple(a for a in range(3) if a != axis)))


class Offset(NamedTuple):
    """Displacement of the magnitude along one axis, in voxels, and its standard error."""

    voxels: float
    error: float


def smoothness(phase_rad: Array) -> Array:
    """Return how smoothly the phase (x, y, z) goes on in each voxel: 1 in signal, 0 in noise.

    The mean cosine of its second differences along the three axes, which a linear field leaves
    zero.
    """
    out = np.zeros(phase_rad.shape, np.float32)
    for axis in range(3):
        bend = np.diff(phase_rad, 2, axis=axis)
        width = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        out += np.pad(np.cos(bend), width, constant_values=np.float32(1 / 3))
    return out / np.float32(3)


def steadiness(magnitude: Array) -> Array:
    """Return the signal that stands against the noise of the phase's second differences.

    The noise of the phase is that of the signal over the magnitude, so that the squares of its
    inverse add up over the voxels of a difference. With the magnitude of the middle voxel alone the
    head would be a voxel larger than where its phase is smooth, and a slab that tapers would fit
    better elsewhere.
    """
    return cast("Array", 1 / np.sqrt(inverse_squares(magnitude)))


def inverse_squares(magnitude: Array) -> Array:
    """Return the variance of the phase's second differences, added up over the axes.

    For noise of 1 in the signal; the magnitude of one echo, shape (x, y, z).
    """
    floor = np.float32(1e-3 * magnitude.max() + 1e-30)
    inverse = 1 / np.maximum(magnitude, floor) ** 2
    total = np.zeros(magnitude.shape, np.float32)
    for axis in range(3):
        total += ndimage.convolve1d(inverse, (1.0, 4.0, 1.0), axis=axis, mode="nearest")
    return total


def expected_smoothness(magnitude: Array, smooth: Array, known: Mask) -> Array:
    """Return the smoothness that voxels of each magnitude have in this scan, rising with it."""
    values = magnitude[known]
    steps = np.linspace(0, 1, LEVELS + 1)[1:-1]
    levels = np.unique(np.quantile(values[:: max(1, values.size // MOST_VOXELS)], steps))
    index = np.searchsorted(levels, values)
    count = np.bincount(index, minlength=levels.size + 1)
    total = np.bincount(index, smooth[known], levels.size + 1)
    # Brighter is never rougher, but for few voxels: vessels, and the rim of a shifted head.
    rising = np.maximum.accumulate(total / np.maximum(count, 1))
    out = np.zeros(magnitude.shape, np.float32)
    out[known] = rising[index]
    return out


class DisplacementFit(NamedTuple):
    """How well the magnitude fits the phase at each displacement along one axis.

    Attributes
    ----------
    sums
        Of the voxels of each block, for each displacement; shape (displacements, blocks, 6).
    places
        In which part along each axis every block lies; shape (blocks, 3).
    """

    sums: Sums
    places: NDArray[np.intp]

    def whole(self) -> Offset | None:
        """Return the displacement of the whole; None where too little is seen."""
        return jackknife(self.sums)

    def most_of_a_part(self) -> float:
        """Return the largest displacement of an outer third that is believed; 0 without one."""
        most = 0.0
        for axis, third in product(range(3), (0, BLOCKS - 1)):
            part = self.sums[:, self.places[:, axis] == third]
            total = part.sum(axis=1)
            # The error takes more time than the displacement.
            least = max(abs(most), LEAST_OF_PART)
            if part.shape[1] < FEWEST_BLOCKS or abs(float(_peaks(total))) <= least:
                continue
            found = jackknife(part)
            if found is None or correlations(total).max() < LEAST_FIT_OF_PART:
                continue
            if abs(found.voxels) > CERTAINLY_OF_PART * found.error:
                most = found.voxels
        return most


def fit_along(
    expected: Array, smooth: Array, known: Mask, axis: int, parts: int = BLOCKS
) -> DisplacementFit | None:
    """Return the fit at each displacement along an axis; None where nothing tells.

    Parameters
    ----------
    expected, smooth, known
        From the magnitude, from the phase, and where both are known; shape (x, y, z).
    axis
        Of the array.
    parts
        Blocks along each axis.
    """
    expected, smooth = (np.moveaxis(part, axis, 0) for part in (expected, smooth))
    known = np.moveaxis(known, axis, 0)
    if known.shape[0] <= 2 * REACH + 2:
        return None
    # Every voxel counts at each displacement or at none: else the choice of voxels would decide.
    window = np.ones((2 * REACH + 1, 1, 1), bool)
    steady = ndimage.binary_erosion(known, window)[REACH:-REACH]
    if not steady.any():
        return None
    stride = max(1, int(np.sqrt(steady.size / MOST_VOXELS)))
    thin = np.s_[:, ::stride, ::stride]
    blocks = _Blocks.of(steady[thin], parts)
    phase = blocks.values(smooth[REACH:-REACH][thin])
    magnitudes = [
        blocks.values(expected[REACH + s : expected.shape[0] - REACH + s][thin])
        for s in range(-REACH, REACH + 1)
    ]
    # The displaced axis was moved to the front.
    order = np.argsort([axis, *(a for a in range(3) if a != axis)])
    return DisplacementFit(blocks.sums(magnitudes, phase), blocks.places[:, order])


def jackknife(sums: Sums) -> Offset | None:
    """Return where the fit is best, with the error by leaving out one block at a time.

    Neighbours err together, blocks hardly.
    """
    count = sums.shape[1]
    if count < FEWEST_BLOCKS:
        return None
    total = sums.sum(axis=1)
    without = _peaks(total[:, None] - sums)
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return Offset(float(_peaks(total)), float(error))


class _Blocks(NamedTuple):
    """The voxels that count, block by block.

    Attributes
    ----------
    where
        Flat index of each voxel, those of a block one after the other.
    starts
        Where each block that has voxels begins.
    places
        In which part along each axis each of them lies; shape (blocks, 3).
    """

    where: NDArray[np.intp]
    starts: NDArray[np.intp]
    places: NDArray[np.intp]

    @classmethod
    def of(cls, used: Mask, parts: int) -> _Blocks:
        """Part what is used into so many parts along each axis."""
        cuts = [(np.arange(n) * parts // n).astype(np.int16) for n in used.shape]
        x, y, z = np.ix_(*cuts)
        block = ((x * parts + y) * parts + z)[used]
        order = np.argsort(block, kind="stable")
        starts = np.flatnonzero(np.diff(block[order], prepend=-1))
        number = block[order][starts].astype(np.intp)
        places = np.stack(np.unravel_index(number, (parts, parts, parts)), axis=-1)
        return cls(np.flatnonzero(used)[order], starts, places)

    def values(self, image: Array) -> NDArray[np.float64]:
        """Return an image at the voxels, in double precision: squares of many are added up."""
        return image.reshape(-1)[self.where].astype(np.float64)

    def sums(self, firsts: list[NDArray[np.float64]], second: NDArray[np.float64]) -> Sums:
        """Return number, sums, squares and product for each first; (firsts, blocks, 6)."""

        def total(part: NDArray[np.float64]) -> NDArray[np.float64]:
            return cast("NDArray[np.float64]", np.add.reduceat(part, self.starts))

        # What does not change with the displacement is added up once.
        n, b, bb = (total(part) for part in (np.ones_like(second), second, second * second))
        rows = [(n, total(a), b, total(a * a), bb, total(a * second)) for a in firsts]
        return np.stack([np.stack(row, axis=-1) for row in rows])


def correlations(sums: Sums) -> NDArray[np.float64]:
    """Return the correlation of each displacement, from sums as in ``DisplacementFit``."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    variances = (n * aa - a * a) * (n * bb - b * b)
    result: NDArray[np.float64] = (n * ab - a * b) / np.sqrt(np.maximum(variances, 1e-12))
    return result


def _peaks(sums: Sums) -> NDArray[np.float64]:
    """Return the displacement with the largest correlation, between voxels by a parabola.

    Sums of shape (displacements, ..., 6) give shape (...).
    """
    height = correlations(sums)
    best = height.argmax(axis=0)
    inner = np.clip(best, 1, len(height) - 2)
    low, top, high = (np.take_along_axis(height, (inner + s)[None], 0)[0] for s in (-1, 0, 1))
    between = (high - low) / 2 / np.maximum(2 * top - low - high, 1e-12)
    return cast("NDArray[np.float64]", best - REACH + np.where(best == inner, between, 0))


def mirrored(expected: Array, smooth: Array, known: Mask) -> tuple[tuple[int, ...], float]:
    """Return the axes along which the magnitude is to be mirrored to fit the phase best.

    Every place of the mirrored image is tried (the middle of a head is not that of its image).

    Returns
    -------
    axes
        None of them where the magnitude fits best as it is.
    gain
        By how much the correlation is above that of the image as it is, at its best place.
    """
    count = int(known.sum())
    factor = max(1, int(np.ceil((known.size / LARGEST_TRANSFORM) ** (1 / 3))))
    factors = (factor, factor, factor)
    a, b = (
        block_mean(np.where(known, part - part[known].sum() / count, 0), factors)
        for part in (expected, smooth)
    )
    transform, other = np.conj(fft.rfftn(a)), fft.rfftn(b)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    heights = {}
    for number in range(4):
        for axes in combinations(range(3), number):
            turned = _mirrored_transform(other, axes)
            heights[axes] = float(fft.irfftn(transform * turned, a.shape).max()) / norm
    best = max(heights, key=lambda axes: heights[axes])
    return best, heights[best] - heights[()]


def _mirrored_transform(transform: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Return the ``rfftn`` of a real image mirrored about its first voxel, from its own.

    About the first voxel instead of the middle is another place of the same image, and every place
    is tried.
    """
    # Only half of the last axis is there. The other half is the conjugate at the opposite place,
    # so that mirroring the last axis is the conjugate of mirroring the two others.
    last = 2 in axes
    turned = [axis for axis in (0, 1) if (axis in axes) != last]
    for axis in turned:
        transform = np.roll(np.flip(transform, axis), 1, axis)
    return np.conj(transform) if last else transform
