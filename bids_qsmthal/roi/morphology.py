"""Shapes measured in mm: erosion, dilation and depth on voxels of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import around, margin_voxels
from bids_qsmthal.core.distance import distance_mm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bids_qsmthal.qsm import Array, Mask

Labels: TypeAlias = NDArray[np.integer[Any]]
"""Integer labels of shape (x, y, z); 0 is background."""

VoxelSize: TypeAlias = tuple[float, float, float]
"""Size of a voxel along its three axes, in mm."""


def signed_depth_mm(mask: Mask, voxel_size_mm: VoxelSize) -> Array:
    """Return the distance of each voxel centre to the border of a mask: positive inside.

    The border lies between voxels: half a voxel outside the outermost ones inside. Half the
    smallest voxel edge stands for that half, so a thick voxel is never called deeper than it is.
    """
    half = 0.5 * min(voxel_size_mm)
    inside = _distance_inside(mask, voxel_size_mm)
    outside = distance_mm(mask, voxel_size_mm)
    depth: Array = np.where(mask, inside - half, half - outside).astype(np.float32)
    return depth


FINE_MM = 0.5
"""Distance of the points at which a voxel is asked how deep it lies: half of the thinnest rim."""


def share_deeper(
    depth_mm: Array, depths_mm: Iterable[float], voxel_size_mm: VoxelSize
) -> list[NDArray[np.float32]]:
    """Return for each of some depths the share of each voxel that lies deeper.

    Parameters
    ----------
    depth_mm
        As ``signed_depth_mm`` gives it, shape (x, y, z).
    """
    points = [max(1, round(size / FINE_MM)) for size in voxel_size_mm]
    # The depth is smooth across voxels, which places a border better than their edges.
    fine = ndimage.zoom(depth_mm, points, order=1, grid_mode=True, mode="nearest")
    pairs = zip(depth_mm.shape, points, strict=True)
    blocks = fine.reshape([size for pair in pairs for size in pair])
    return [(blocks > depth).mean(axis=(1, 3, 5), dtype=np.float32) for depth in depths_mm]


def _distance_inside(mask: Mask, voxel_size_mm: VoxelSize) -> Array:
    """Return the distance (mm) to the nearest voxel centre outside; the image's edge is outside."""
    # Padding makes the image's edge a border like any other.
    padded = distance_mm(~np.pad(mask, 1), voxel_size_mm)
    distance: Array = padded[1:-1, 1:-1, 1:-1]
    return distance


def eroded(mask: Mask, voxel_size_mm: VoxelSize, radius_mm: float) -> Mask:
    """Return the voxels whose whole sphere of ``radius_mm`` lies inside the mask."""
    if radius_mm <= 0:
        return mask.copy()
    inside = _distance_inside(mask, voxel_size_mm)
    kept: Mask = inside - 0.5 * min(voxel_size_mm) >= radius_mm
    return kept


def dilated(mask: Mask, voxel_size_mm: VoxelSize, radius_mm: float) -> Mask:
    """Return the voxels whose centre lies within ``radius_mm`` of a voxel centre of the mask."""
    grown = np.asarray(mask, dtype=bool).copy()
    crop = around(grown, margin=margin_voxels(radius_mm, voxel_size_mm))
    if crop is None:
        return grown
    box = crop.slices
    distance = distance_mm(grown[box], voxel_size_mm)
    # A micrometre for rounding: a neighbour at just the radius belongs to it.
    grown[box] = distance <= radius_mm + 1e-6
    return grown


def largest_components(mask: Mask, *, count: int) -> Mask:
    """Return the largest face-connected components of a mask."""
    labels, number = ndimage.label(mask)
    if number <= count:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    # Label 0 is the background.
    sizes[0] = 0
    kept: Mask = np.isin(labels, np.argsort(sizes)[-count:])
    return kept


def robust_centre_and_spread(values: Array) -> tuple[float, float]:
    """Return median and 1.4826 MAD: the mean and SD of a normal sample, deaf to outliers."""
    centre = float(np.median(values))
    return centre, robust.spread(values, centre)
