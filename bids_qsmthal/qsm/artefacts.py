"""Signs of motion in a gradient-echo scan: ghosts of the head in the air beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask

HEAD_SHARE = 0.15
"""Of the median signal of the brain: the head is above, air below. Ghosts stay under it."""

CLEARANCE_MM = 8.0
"""Air counts from this far from the head: nearer, the head's own point spread is seen."""

SPECK_MM3 = 1000.0
"""Smaller bright pieces are noise above ``HEAD_SHARE``, or too small to matter."""

FEWEST = 500
"""Voxels of air on a pair of sides below which they say nothing."""

MOST_BY_CHANCE = 5.0
"""Standard errors that two sides of equal noise may differ by: interpolated voxels err together."""


def ghost_to_signal(magnitude: Array, brain: Mask, grid: Grid) -> float | None:
    """Return the ghost of the head over the signal of the brain.

    Motion repeats the head along the phase-encoding axis alone, while noise fills the air alike:
    the ghost is the excess of the signal beside the head along one in-plane axis over that along
    the other, beyond chance. It needs not be known which of them was phase-encoded.

    Parameters
    ----------
    magnitude
        First echo, shape (x, y, z).
    brain
        The brain, shape (x, y, z).
    grid
        Sampling and direction of B0.

    Returns
    -------
    ``None`` where there is too little air to tell, or where it was blanked.

    References
    ----------
    Giannelli et al. (2010). J Appl Clin Med Phys 11(4), 3237. doi:10.1120/jacmp.v11i4.3237
    """
    level = float(np.median(magnitude[brain])) if brain.any() else 0.0
    if not level > 0:
        return None
    near = _near_head(magnitude > HEAD_SHARE * level, brain, grid)
    first, second = (axis for axis in range(3) if axis != _slice_axis(grid))
    energies, errors = [], []
    for axis, other in ((first, second), (second, first)):
        # Air that a line along this axis leads to from the head, and a line across does not.
        beside = near.any(axis=axis, keepdims=True) & ~near.any(axis=other, keepdims=True) & ~near
        energy = magnitude[beside].astype(np.float64) ** 2
        # Scanners and anonymisers write zeros into air: blanked air has no ghost to see.
        if energy.size < FEWEST or np.mean(energy > 0) < 0.5:
            return None
        energies.append(float(energy.mean()))
        # The power of Rayleigh noise is exponentially distributed: its standard deviation is its
        # mean.
        errors.append(float(energy.mean() / np.sqrt(energy.size)))
    excess = abs(energies[0] - energies[1]) - MOST_BY_CHANCE * float(np.hypot(errors[0], errors[1]))
    return float(np.sqrt(max(excess, 0.0))) / level


def _near_head(bright: Mask, brain: Mask, grid: Grid) -> Mask:
    """Return the brain, what is bright and joined to it, and a clearance round both."""
    width = [2 * int(np.ceil(CLEARANCE_MM / size)) + 1 for size in grid.voxel_size_mm]
    pieces, _ = ndimage.label(bright | brain)
    large = np.bincount(pieces.ravel()) * float(np.prod(grid.voxel_size_mm)) > SPECK_MM3
    large[0] = False
    # A ghost that lies apart from the head in air is bright, too, but does not count as head.
    # Scalp and face do, though dark skull parts them from the brain: gaps up to twice the clearance
    # are bridged, but not from speck to speck of noise.
    solid = large[pieces]
    labels, _ = ndimage.label(ndimage.maximum_filter(solid, size=width))
    own = np.unique(labels[brain])
    head = (np.isin(labels, own[own > 0]) & solid) | brain
    near: Mask = ndimage.maximum_filter(head, size=width)
    return near


def _slice_axis(grid: Grid) -> int:
    """Return the axis nearest to B0: that of the slices of an axial slab, oblique or not."""
    return int(np.argmax(np.abs(grid.b0_direction)))
