"""Cerebrospinal fluid as zero reference: where it is, from R2*.

CSF relaxes slowly and its susceptibility is the same everywhere, which MEDI+0 makes a term of the
functional. Each choice is a frozen dataclass of its parameters that can be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask


class CsfReference(Protocol):
    """Anything that finds CSF in a map of R2*."""

    def __call__(self, r2star_hz: Array, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels; ``mask`` is where R2* can be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalCsf:
    """All voxels of low R2* below the rim of the brain: ventricles, cisterns and deep sulci.

    A uniform fluid that reaches everywhere holds down the smooth errors that background removal
    leaves, which the ventricles alone, in the middle, cannot; and it is the steadier reference.

    Attributes
    ----------
    most_r2star_hz
        CSF relaxes more slowly than this.
    depth_mm
        The rim is left out: partial volume, pial veins and doubtful masks.

    References
    ----------
    Dimov et al. (2022). Magn Reson Med 87(6), 2922-2932. doi:10.1002/mrm.29140
    """

    most_r2star_hz: float = 5.0
    depth_mm: float = 4.0

    def __call__(self, r2star_hz: Array, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels."""
        return mask & (r2star_hz < self.most_r2star_hz) & deeper(mask, grid, self.depth_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class VentricularCsf:
    """Voxels of low R2* that hang together with the ventricles, as MEDI+0 was published.

    Components of low R2* within a sphere at the centroid: the largest are seeds; in the brain
    without its rim, every component that overlaps a seed is kept.

    Attributes
    ----------
    most_r2star_hz
        CSF relaxes more slowly than this.
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

    most_r2star_hz: float = 5.0
    radius_mm: float = 30.0
    depth_mm: float = 10.0
    seeds: int = 3

    def __call__(self, r2star_hz: Array, mask: Mask, grid: Grid) -> Mask:
        """Return the CSF voxels."""
        if not mask.any():
            return np.zeros_like(mask)
        low = mask & (r2star_hz < self.most_r2star_hz)
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


def depth(mask: Mask, grid: Grid) -> Array:
    """Return the distance to the edge of the mask, or of the image, in mm."""
    padded = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=grid.voxel_size_mm)
    distance: Array = padded[1:-1, 1:-1, 1:-1].astype(np.float32)
    return distance


def deeper(mask: Mask, grid: Grid, depth_mm: float) -> Mask:
    """Return the voxels farther than this from the edge of the mask, or of the image.

    The same as ``depth(mask, grid) > depth_mm``, but it looks no farther than that.
    """
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
