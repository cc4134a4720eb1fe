"""How sure a regional mean is when neighbouring voxels err together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from bids_qsmthal.core.crop import around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize


@dataclass(frozen=True, slots=True)
class Mean:
    """A regional mean: value, SD of the voxels, standard error, and how many voxels."""

    value: float
    sd: float
    standard_error: float
    count: int


def mean(values: Array, mask: Mask, voxel_size_mm: VoxelSize) -> Mean:
    """Return the mean over a mask with a standard error that heeds spatial correlation.

    The variance of a mean of n correlated voxels is (1/n^2) sum_ij C(x_i - x_j). The covariance
    C is estimated from the voxels themselves as a function of distance (the correlogram of all
    pairs) up to its first zero, beyond which pairs only add noise. What varies within the
    region for anatomical reasons counts as error too, so the result errs to the safe side; what
    moves the whole region (a slow background field) is not seen, and is for others to add.
    """
    count = int(mask.sum())
    if count == 0:
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    inside = values[mask].astype(np.float64)
    sd = float(inside.std(ddof=1)) if count > 1 else float("nan")
    error = float(np.sqrt(_variance_of_mean(values, mask, voxel_size_mm))) if count > 1 else sd
    return Mean(float(inside.mean()), sd, error, count)


def plain(values: Array, mask: Mask) -> Mean:
    """Return mean and SD without an error, for regions too large to need one."""
    inside = values[mask].astype(np.float64)
    if inside.size == 0:
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    return Mean(float(inside.mean()), float(inside.std()), float("nan"), inside.size)


def pooled(parts: Sequence[Mean]) -> Mean:
    """Return the mean over regions that lie too far apart for their noise to be shared."""
    held = [part for part in parts if part.count]
    count = sum(part.count for part in held)
    if not count:
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    value = sum(part.count * part.value for part in held) / count
    # Within the parts and between them: the decomposition of the sum of squares.
    squares = sum(
        (part.count - 1) * np.nan_to_num(part.sd) ** 2 + part.count * (part.value - value) ** 2
        for part in held
    )
    error = np.sqrt(sum((part.count * part.standard_error) ** 2 for part in held)) / count
    sd = float(np.sqrt(squares / (count - 1))) if count > 1 else float("nan")
    return Mean(float(value), sd, float(error), count)


def _variance_of_mean(values: Array, mask: Mask, voxel_size_mm: VoxelSize) -> float:
    pairs, products, distance_mm = _pair_sums(values, mask, voxel_size_mm)
    # Shells as wide as the longest edge, so that each holds pairs of all directions.
    width_mm = max(voxel_size_mm)
    shell = np.floor(distance_mm / width_mm + 0.5).astype(int)
    # Shell 0 is the lag zero alone, the variance itself; thin voxels would fall into it.
    shell[distance_mm > 0] = np.maximum(shell[distance_mm > 0], 1)
    pairs_of = np.bincount(shell.ravel(), pairs.ravel())
    products_of = np.bincount(shell.ravel(), products.ravel())
    # The counts come from an FFT, which leaves 1e-10 where there is no pair.
    present = pairs_of > 0.5
    negative = np.flatnonzero(present & (products_of <= 0))
    end = int(negative[0]) if negative.size else products_of.size
    count = float(mask.sum())
    independent = products_of[0] / count**2
    # The mean was taken from the same voxels, which costs one degree of freedom.
    return float(max(products_of[:end].sum() / count**2, independent) * count / (count - 1))


def _pair_sums(values: Array, mask: Mask, voxel_size_mm: VoxelSize) -> tuple[Array, Array, Array]:
    """Return, for each lag, the number of pairs, the sum of their products and the distance."""
    crop = around(mask)
    assert crop is not None  # noqa: S101 - the caller counted the voxels
    box = crop.slices
    inside = mask[box]
    deviation = np.where(inside, values[box] - values[mask].mean(dtype=np.float64), 0.0)
    # Padded: a circular correlation would pair voxels at opposite faces of the box.
    shape = [fft.next_fast_len(2 * n - 1, real=True) for n in inside.shape]
    # Wiener-Khinchin: the autocorrelation of the deviations sums products of pairs, and that of the
    # mask counts the pairs, for all lags at once.
    products = fft.irfftn(np.abs(fft.rfftn(deviation, shape)) ** 2, shape)
    pairs = fft.irfftn(np.abs(fft.rfftn(inside.astype(np.float64), shape)) ** 2, shape)
    axes = [np.fft.fftfreq(n, 1.0 / n) * size for n, size in zip(shape, voxel_size_mm, strict=True)]
    x, y, z = np.ix_(*axes)
    return pairs, products, np.sqrt(x**2 + y**2 + z**2)
