"""Cerebrospinal fluid as zero reference: which of the fluid is taken.

CSF relaxes slowly (``fluid`` says where), and its susceptibility is the same everywhere, which
MEDI+0 makes a term of the functional. Each choice is a frozen dataclass that can be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.distance import distance_mm

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask


class CsfReference(Protocol):
    """Anything that chooses CSF among what relaxes slowly."""

    def __call__(self, slow: Mask, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels; ``slow`` relaxes as fluid does, ``mask`` is the brain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalCsf:
    """All fluid below the rim of the brain: ventricles, cisterns and deep sulci.

    A uniform fluid that reaches everywhere holds down the smooth errors that background removal
    leaves, which the ventricles alone, in the middle, cannot; and it is the steadier reference.

    Attributes
    ----------
    depth_mm
        The rim is left out: partial volume, pial veins and doubtful masks.
    least_mm3
        Smaller islands are left out: fluid hangs together, noise does not.

    References
    ----------
    Dimov et al. (2022). J Neuroimaging 32(1), 141-147. doi:10.1111/jon.12923
    """

    depth_mm: float = 4.0
    least_mm3: float = 30.0

    def __call__(self, slow: Mask, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels."""
        found = mask & slow & deeper(mask, grid, self.depth_mm)
        return without_islands(found, self.least_mm3 / grid.voxel_volume_mm3)


@dataclass(frozen=True, slots=True, kw_only=True)
class VentricularCsf:
    """Fluid that is connected with the ventricles, as MEDI+0 was published.

    Components of fluid within a sphere at the centroid: the largest are seeds; in the brain
    without its rim, every component that overlaps a seed is kept.

    Attributes
    ----------
    radius_mm
        Radius of the sphere.
    depth_mm
        Width of the rim that is left out.
    seeds
        Number of seeds.

    References
    ----------
    Liu et al. (2018). Magn Reson Med 79(5), 2795-2803. doi:10.1002/mrm.26946
    """

    radius_mm: float = 30.0
    depth_mm: float = 10.0
    seeds: int = 3

    def __call__(self, slow: Mask, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels."""
        if not mask.any():
            return np.zeros_like(mask)
        # The ventricles reach from the sphere into the rest of the brain: seeds are found in the
        # sphere, whole components without it.
        low = mask & slow
        # The centroid of the brain lies near the ventricles, which are the largest parts of the
        # fluid within the radius.
        near, count = ndimage.label(low & (_from_centre_mm(mask, grid) < self.radius_mm))
        if not count:
            return np.zeros_like(mask)
        volume = np.bincount(near.ravel())
        volume[0] = 0
        largest = np.argsort(volume)[::-1][: min(self.seeds, count)]
        parts, _ = ndimage.label(low & deeper(mask, grid, self.depth_mm))
        kept = np.setdiff1d(np.unique(parts[np.isin(near, largest)]), [0])
        return np.isin(parts, kept)


CSF_REFERENCES: dict[str, type[CsfReference]] = {
    "global": GlobalCsf,
    "ventricles": VentricularCsf,
}


def without_islands(mask: Mask, least_voxels: float) -> Mask:
    """Return the mask without parts of fewer voxels than this (26 neighbours)."""
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    size = np.bincount(parts.ravel())
    size[0] = 0
    kept: Mask = (size >= least_voxels)[parts]
    return kept


def depth(mask: Mask, grid: Grid) -> Array:
    """Return the distance to the edge of the mask, or of the image, in mm."""
    # The padding counts the border of the image as an edge: a slab cuts the brain there.
    padded = distance_mm(~np.pad(mask, 1), grid.voxel_size_mm)
    distance: Array = padded[1:-1, 1:-1, 1:-1]
    return distance


def deeper(mask: Mask, grid: Grid, depth_mm: float) -> Mask:
    """Return the voxels farther than this from the edge of the mask, or of the image.

    The same as ``depth(mask, grid) > depth_mm``, but it looks no farther than that.
    """
    # Squared distances, one axis after the other (Felzenszwalb & Huttenlocher 2012,
    # doi:10.4086/toc.2012.v008a019), cut off at the depth that is asked for.
    squared = np.where(np.pad(mask, 1), np.float32(np.inf), np.float32(0))
    for axis, size_mm in enumerate(grid.voxel_size_mm):
        before = np.moveaxis(squared, axis, 0)
        after = before.copy()
        for step in range(1, min(int(depth_mm / size_mm), before.shape[0] - 1) + 1):
            farther = np.float32((step * size_mm) ** 2)
            np.minimum(after[step:], before[:-step] + farther, out=after[step:])
            np.minimum(after[:-step], before[step:] + farther, out=after[:-step])
        squared = np.moveaxis(after, 0, axis)
    inner: Mask = squared[1:-1, 1:-1, 1:-1] > depth_mm**2
    return inner


def _from_centre_mm(mask: Mask, grid: Grid) -> Array:
    """Return the distance to the centroid of the mask."""
    axes = np.ogrid[tuple(slice(0, n) for n in mask.shape)]
    offsets = [
        (axis - float(where.mean())) * d
        for axis, where, d in zip(axes, np.nonzero(mask), grid.voxel_size_mm, strict=True)
    ]
    distance: Array = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2)
    return distance
