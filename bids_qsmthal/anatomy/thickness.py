"""Thickness of the cortex from tissue fractions.

Both borders of the cortex are known to a fraction of a voxel: the surface where half of the
tissue is white matter, and the surface where half is fluid. Each is turned into points (crossings
of the level between neighbouring voxels), and the thickness at a gray voxel is its distance to
the inner surface plus its distance to the outer one. In narrow sulci whose banks touch there is no
fluid to see; there the outer border is where the distances from two opposite banks meet
(the sulcal ridge, as in projection-based thickness, Dahnke 2013,
doi 10.1016/j.neuroimage.2012.09.050).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thickness:
    """Parameters of the thickness map.

    Attributes
    ----------
    largest_mm
        No cortex is thicker (FreeSurfer caps at 5 mm as well).
    ridge_angle_deg
        Directions to the inner surface that differ by more than this on two sides of an edge
        belong to two banks.
    ridge_depth_mm
        Banks can meet only at least this far from the inner surface: half the thinnest cortex.
    """

    largest_mm: float = 5.0
    ridge_angle_deg: float = 100.0
    ridge_depth_mm: float = 1.0


def thickness_map(
    gm: Float,
    wm: Float,
    cortex: Mask,
    voxel_mm: tuple[float, float, float],
    settings: Thickness,
) -> Float:
    """Measure the thickness of the cortex at each of its voxels.

    Parameters
    ----------
    gm, wm
        Fractions, 0 to 1, shape (x, y, z); what the cortex encloses (deep nuclei, ventricles)
        counts as white matter.
    cortex
        Where the cortex may be.
    voxel_mm
        Size of a voxel.
    settings
        Parameters.

    Returns
    -------
    NDArray
        Thickness in mm, float32; zero outside the cortex.
    """
    size = np.array(voxel_mm, dtype=np.float64)
    result = np.zeros(gm.shape, dtype=np.float32)
    inner = _crossings(wm, size)
    ribbon = cortex & (gm > 0.5)
    if len(inner) == 0 or not ribbon.any():
        return result
    voxels = np.argwhere(ribbon)
    places = voxels * size
    to_inner, found = cKDTree(inner).query(places)
    outer = _crossings(gm + wm, size)
    ridge = _ridge(voxels, gm.shape, to_inner, inner[found] - places, size, settings)
    to_outer, _ = cKDTree(np.concatenate([outer, ridge])).query(places)
    # A voxel centre can lie a little outside its own borders; there the distance counts back.
    inside_white = wm[ribbon] > 0.5
    total = np.where(inside_white, 0.0, to_inner) + to_outer
    result[ribbon] = np.minimum(total, settings.largest_mm)
    return result


def mean_thickness_mm(thickness: Float, gm: Float, where: Mask) -> float:
    """Mean over the area of the cortex.

    Each voxel stands for a piece of cortex of area (gray volume)/(thickness); a plain mean over
    voxels would count thick cortex more.
    """
    chosen = where & (thickness > 0)
    if not chosen.any():
        return float("nan")
    area = gm[chosen] / thickness[chosen]
    return float((thickness[chosen] * area).sum() / area.sum())


def _crossings(level: Float, size: NDArray[np.float64]) -> Points:
    """Points (mm) where a map crosses one half, on the edges between neighbouring voxels."""
    points = []
    for axis, (first, second) in _pairs():
        low, high = level[first], level[second]
        crossed = (low > 0.5) != (high > 0.5)
        where = np.argwhere(crossed).astype(np.float64)
        a, b = low[crossed].astype(np.float64), high[crossed].astype(np.float64)
        where[:, axis] += (0.5 - a) / (b - a)
        points.append(where * size)
    return np.concatenate(points)


def _pairs() -> Iterator[tuple[int, tuple[tuple[slice, ...], ...]]]:
    for axis in range(3):
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        yield axis, (tuple(first), tuple(second))


def _ridge(
    voxels: NDArray[np.int64],
    shape: tuple[int, ...],
    distance_mm: NDArray[np.float64],
    direction: Points,
    size: NDArray[np.float64],
    settings: Thickness,
) -> Points:
    """Points where two banks of a sulcus touch: neighbours that look to opposite inner surfaces."""
    row = np.full(shape, -1, dtype=np.int32)
    row[tuple(voxels.T)] = np.arange(len(voxels))
    unit = direction / np.maximum(distance_mm, 1e-9)[:, None]
    limit = np.cos(np.deg2rad(settings.ridge_angle_deg))
    points = []
    for axis, (first, second) in _pairs():
        a, b = row[first], row[second]
        both = (a >= 0) & (b >= 0)
        a, b = a[both], b[both]
        deep = np.minimum(distance_mm[a], distance_mm[b]) + size[axis] / 2 > settings.ridge_depth_mm
        opposite = np.einsum("ij,ij->i", unit[a], unit[b]) < limit
        # The two banks must lie on the two sides of the edge, not along it.
        apart = (unit[a, axis] < 0) & (unit[b, axis] > 0)
        a, b = a[deep & opposite & apart], b[deep & opposite & apart]
        share = np.clip(0.5 + (distance_mm[b] - distance_mm[a]) / (2 * size[axis]), 0, 1)
        place = voxels[a] * size
        place[:, axis] += share * size[axis]
        points.append(place)
    return np.concatenate(points)
