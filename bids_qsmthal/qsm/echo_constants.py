"""A constant phase of its own in each echo, as of echoes that were acquired or reconstructed apart.

Such a constant is no field, but it makes every voxel misfit the line that the phase follows over
the echoes. It is estimated over the whole head, like the offset at time zero, and taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.qsm.measurement import block_factors
from bids_qsmthal.qsm.smooth import wrapped
from bids_qsmthal.qsm.unwrapping import Romeo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask

LEAST_RAD = 0.05
"""Smaller constants do no harm. The estimate errs by 0.005 rad at most (1.5 to 7 T, SNR 15 and
60)."""

LEAST_AGREEMENT = 0.3
"""Length of the mean of the unit vectors over the head: below it voxels tell no common constant."""

SPACING_MM = 3.0
"""A constant needs few voxels."""

FEWEST = 1000

TURNS = (0, -1, 1)
"""The whole field map may be off by a turn; that is a constant frequency and no matter."""


def corrected(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> tuple[Array, float]:
    """Return the phase without constants of single echoes, and the largest of them in rad.

    Parameters
    ----------
    magnitude, phase_rad
        Signal of each echo, shape (x, y, z, echo); readouts in one direction.
    mask
        Where there is signal.
    grid
        Sampling of the images.
    echo_times_s
        Three or more; two echoes cannot tell a constant from a frequency, and need not.
    """
    found = constants(magnitude, phase_rad, mask, grid, echo_times_s)
    largest = float(np.abs(found).max())
    if largest < LEAST_RAD:
        return phase_rad, 0.0
    return wrapped(phase_rad - found.astype(np.float32)), largest


def constants(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the constant of each echo in rad; zero for the first two, which set the frequency.

    All zero where there are too few echoes or voxels, or where the voxels do not agree.
    """
    none = np.zeros(len(echo_times_s))
    thin = tuple(slice(None, None, stride) for stride in block_factors(grid, SPACING_MM))
    size, angle = magnitude[thin], phase_rad[thin]
    inside = mask[thin] & (size > 0).all(axis=-1)
    if len(echo_times_s) < 3 or inside.sum() < FEWEST:
        return none
    deviation = deviations(size, angle, inside, _thin_grid(grid, inside), echo_times_s)
    ratio = _ratios(echo_times_s)
    weight = size[inside].astype(np.float64) ** 2
    mean = np.array(
        [(w * np.exp(1j * d)).sum() / w.sum() for w, d in zip(weight.T, deviation.T, strict=True)]
    )
    # Unwrapping that failed or motion between echoes scatters the deviations; a mean angle of such
    # a scatter would be taken out of every voxel.
    if (np.abs(mean) < LEAST_AGREEMENT).any():
        return none
    # A turn more or less in the rise changes each echo by a turn times its ratio, which is no whole
    # turn where echoes are uneven.
    candidates = [np.angle(mean * np.exp(2j * np.pi * turn * ratio)) for turn in TURNS]
    return min(candidates, key=lambda found: float(np.abs(found).max()))


def deviations(
    magnitude: Array, phase_rad: Array, inside: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> Array:
    """Return how far each echo is from the line through the first two, rad, (voxel, echo)."""
    first, second = phase_rad[..., 0], phase_rad[..., 1]
    strength = np.sqrt(magnitude[..., 0] * magnitude[..., 1])
    # Only the rise needs unwrapping: it is multiplied by ratios that need not be whole numbers.
    rise = Romeo()(wrapped(second - first), strength, inside, grid)[inside]
    ratio = _ratios(echo_times_s).astype(np.float32)
    return wrapped(phase_rad[inside] - first[inside][:, None] - rise[:, None] * ratio)


def _ratios(echo_times_s: tuple[float, ...]) -> NDArray[np.float64]:
    times = np.asarray(echo_times_s, np.float64)
    ratios: NDArray[np.float64] = (times - times[0]) / (times[1] - times[0])
    return ratios


def _thin_grid(grid: Grid, inside: Mask) -> Grid:
    """Return the grid of every n-th voxel."""
    dx, dy, dz = (
        size * stride
        for size, stride in zip(grid.voxel_size_mm, block_factors(grid, SPACING_MM), strict=True)
    )
    nx, ny, nz = inside.shape
    return type(grid)((nx, ny, nz), (dx, dy, dz), grid.b0_direction)
