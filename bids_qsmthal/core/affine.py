"""Affines: 4x4 matrices that map voxel indices, or points of one world, to points of another.

Points are in mm (RAS+), voxel indices count from 0 at the centre of the first voxel. A map that
follows another is written ``second @ first``, its inverse ``np.linalg.inv``: only what numpy does
not say in one word stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Affine = NDArray[np.float64]
"""Shape (4, 4); the last row is 0, 0, 0, 1."""


def apply(affine: NDArray[np.floating[Any]], points: ArrayLike) -> NDArray[np.float64]:
    """Return where points go, shape (..., 3); they are its rows.

    >>> apply(with_origin(np.diag([2.0, 2.0, 2.0, 1.0]), (5.0, 0.0, 0.0)), (1, 2, 3)).tolist()
    [7.0, 4.0, 6.0]
    """
    # Points are rows, so the matrix stands transposed on their right: (A p)^T = p^T A^T.
    moved: NDArray[np.float64] = np.asarray(points) @ affine[:3, :3].T + affine[:3, 3]
    return moved


def apply_to_columns(
    affine: NDArray[np.floating[Any]], points: NDArray[Any]
) -> NDArray[np.floating[Any]]:
    """Return where points go, shape (3, n): one array for each axis, as ``np.indices`` gives them.

    In the precision of both arguments: whole heads are mapped in single precision.
    """
    moved: NDArray[np.floating[Any]] = affine[:3, :3] @ points + affine[:3, 3:]
    return moved


def between(source: Affine, onto: Affine, world: NDArray[np.floating[Any]] | None = None) -> Affine:
    """Return the map from voxels of one grid to voxels of another.

    Parameters
    ----------
    source
        Affine of the grid whose indices come back.
    onto
        Affine of the grid whose indices are put in.
    world
        From the world of ``onto`` to that of ``source``; they share one by default.
    """
    step: Affine = np.linalg.inv(source) @ (np.eye(4) if world is None else world) @ onto
    return step


def voxel_sizes_mm(affine: Affine) -> NDArray[np.float64]:
    """Return the distance between voxel centres along each axis, shape (3,)."""
    # The norm of a column, not its diagonal entry: right for oblique scans as well.
    sizes: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return sizes


def directions(affine: Affine) -> NDArray[np.float64]:
    """Return the unit vector of each voxel axis in the world, shape (3, 3): one a column."""
    axes: NDArray[np.float64] = affine[:3, :3] / voxel_sizes_mm(affine)
    return axes


def starting_at(affine: Affine, voxel: ArrayLike) -> Affine:
    """Return the affine of the same lattice counted from another voxel, shape (3,).

    The voxel may be a fraction: the grid is then shifted by parts of a voxel.
    """
    shifted = affine.copy()
    shifted[:3, 3] += shifted[:3, :3] @ np.asarray(voxel)
    return shifted


def rescaled(affine: Affine, factor: ArrayLike) -> Affine:
    """Return the affine with voxels longer by a factor for each axis; the first centre stays."""
    scaled = affine.copy()
    scaled[:3, :3] *= np.asarray(factor)
    return scaled


def with_origin(affine: Affine, origin_mm: ArrayLike) -> Affine:
    """Return the affine with the first voxel's centre at a place of the world."""
    placed = affine.copy()
    placed[:3, 3] = origin_mm
    return placed


def lattice(voxel_size_mm: ArrayLike, origin_mm: ArrayLike) -> Affine:
    """Return the affine of a grid along the world's axes, from its first voxel's centre."""
    return with_origin(np.diag([*np.broadcast_to(voxel_size_mm, 3), 1.0]), origin_mm)
