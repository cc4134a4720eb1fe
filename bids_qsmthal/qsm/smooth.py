"""Smooth angles: a robust polynomial in space that need not be unwrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.interpolation import linear
from bids_qsmthal.qsm.measurement import block_factors, block_mean, coarser_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask

TWO_PI = 2 * np.pi


def wrapped(angle: Array) -> Array:
    """Return the angle in [-pi, pi]."""
    return cast("Array", angle - angle.dtype.type(TWO_PI) * np.round(angle / TWO_PI))


MOST_DEPENDENT = 1e-12
"""Directions of the normal equations below this share of the largest are left alone: in a slab of
fewer slices than the degree some monomials are the same."""


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
    # A polynomial of order 4 has 35 coefficients: 40,000 voxels fix them, more only cost time.
    every = max(1, len(energy) // 40000)
    where = np.argwhere(mask)[::every]
    trust = np.sqrt(energy[::every].astype(np.float64))
    angle = phase_rad[tuple(where.T)].astype(np.float64)
    # Coordinates within about -1 to 1: powers of voxel numbers would make the fit ill-conditioned.
    centre, scale = where.mean(0), np.maximum(np.ptp(where, axis=0) / 2, 1.0)
    powers = _powers(order)
    basis = _monomials([(where[:, a] - centre[a]) / scale[a] for a in range(3)], powers)
    coefficients = np.zeros(len(powers))
    if order:
        # Several turns across the head are common (delays of the receiver); the wrapped misfit
        # alone would settle on a wrong slope.
        coefficients[1:4] = _linear_start(phase_rad, mask) * scale
    rest = angle - coefficients @ basis
    coefficients[0] = np.angle((trust * np.exp(1j * rest)).sum())
    # Four more rounds at full degree let the weights settle.
    for degree in (*range(1, order + 1), order, order, order, order):
        # Low degrees come first.
        used = [power for power in powers if sum(power) <= degree]
        misfit = wrapped(angle - coefficients @ basis)
        # About zero, not about the median: the misfit of a good fit has no offset.
        spread = max(robust.spread(misfit, 0.0), 1e-6)
        # The factor is squared by the least squares: a quarter of the weight at two spreads.
        weight = (trust / (1 + (misfit / (2 * spread)) ** 2)) ** 2
        columns = basis[: len(used)]
        weighted = columns * weight
        # Normal equations: 35 unknowns and coordinates within one lose no digit that counts, at a
        # tenth of the cost of a decomposition of all voxels.
        step, *_ = np.linalg.lstsq(weighted @ columns.T, weighted @ misfit, rcond=MOST_DEPENDENT)
        coefficients[: len(used)] += step
    axes = [(np.arange(n) - centre[a]) / scale[a] for a, n in enumerate(mask.shape)]
    return _polynomial(coefficients, powers, axes)


def local_angles(
    angle: Array, weight: Array, mask: Mask, grid: Grid, width_mm: float
) -> tuple[Array, Array]:
    """Return the weighted mean of an angle around each voxel of a mask, and on a coarse grid.

    Parameters
    ----------
    angle, weight
        Of the voxels of the mask, in its order.
    mask, grid
        Where they are.
    width_mm
        Standard deviation of the Gaussian within which angles are averaged.

    Returns
    -------
    mean
        For each voxel of the mask, float32; 0 where angles have none in common.
    coarse
        The same in blocks of about 3 mm that lie mostly in the mask, without order.
    """
    factors = block_factors(grid, LOCAL_BLOCK_MM)
    # As complex numbers: outliers are bounded, and the mean of a part of a block needs no count.
    signal = np.zeros(mask.shape, np.complex64)
    signal[mask] = weight * np.exp(1j * angle)
    spread_weight = np.zeros(mask.shape, np.float32)
    spread_weight[mask] = weight
    blocks = block_mean(signal, factors)
    widths = [width_mm / size for size in coarser_grid(grid, factors).voxel_size_mm]
    smoothed = ndimage.gaussian_filter(blocks, widths)
    total = ndimage.gaussian_filter(block_mean(spread_weight, factors), widths)
    # Where angles are all over the circle, as without signal, their mean says nothing.
    agree = np.abs(smoothed) > LEAST_AGREEMENT * total
    mean = np.where(agree, np.angle(smoothed), 0).astype(np.float32)
    # Middles of blocks lie (factor - 1) / 2 voxels behind their first voxel.
    to_blocks = lattice(
        [1 / factor for factor in factors], [(1 - factor) / (2 * factor) for factor in factors]
    )
    fine = linear(mean, to_blocks, mask.shape, beyond="nearest")
    inside = block_mean(mask.astype(np.float32), factors) > 0.5
    return fine[mask], mean[inside & agree]


LOCAL_BLOCK_MM = 3.0

LEAST_AGREEMENT = 0.5
"""Length of the mean of unit vectors: normal angles of 1.2 rad have half (exp(-SD^2 / 2)), those of
a scan of SNR 15 have 0.98 and more, random ones near 0."""


def _polynomial(
    coefficients: NDArray[np.float64],
    powers: list[tuple[int, int, int]],
    axes: list[NDArray[np.float64]],
) -> Array:
    """Return a polynomial on a grid, float32; one axis after the other, so it costs one product."""
    degree = max(sum(power) for power in powers)
    # Contract one axis after the other: (degree + 1) products a voxel instead of one a monomial.
    cube = np.zeros((degree + 1,) * 3)
    for power, c in zip(powers, coefficients, strict=True):
        cube[power] = c
    x, y, z = (np.vander(axis, degree + 1, increasing=True) for axis in axes)
    plane = np.einsum("abc,yb,zc->ayz", cube, y, z, optimize=True).astype(np.float32)
    return cast("Array", np.tensordot(x.astype(np.float32), plane, axes=1))


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


def _monomials(
    axes: list[NDArray[np.float64]], powers: list[tuple[int, int, int]]
) -> NDArray[np.float64]:
    """Return one row for each monomial."""
    degree = max(sum(power) for power in powers)
    # Products instead of powers, which cost twenty times as much.
    tables = [np.vander(axis, degree + 1, increasing=True).T for axis in axes]
    rows = [tables[0][x] * tables[1][y] * tables[2][z] for x, y, z in powers]
    return np.stack(rows)


def _linear_start(phase_rad: Array, mask: Mask) -> NDArray[np.float64]:
    """Return the mean slope of an angle along each axis in rad per voxel, from neighbours."""
    out = np.zeros(3)
    for axis in range(3):
        low = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        step = (phase_rad[high] - phase_rad[low])[mask[high] & mask[low]]
        out[axis] = np.angle(np.exp(1j * step).sum()) if step.size else 0.0
    return out
