"""Grids of the scans, and how the head lies in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from bids_qsmthal.core.affine import rescaled, starting_at, with_origin
from bids_qsmthal.core.image import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_CENTRE_MM = np.array([0.0, -20.0, 8.0])
"""Middle of the brain, where scans are planned."""

SCANS = ("t1w", "gre", "flair", "gad")


def draw_poses(motion: float, generator: np.random.Generator) -> dict[str, Affine]:
    """Return head to world (4x4, mm) for each scan: one position in the scanner, and motion.

    Parameters
    ----------
    motion
        Root mean square of the angles (degrees) and shifts (mm) from scan to scan.
    generator
        Source of randomness.
    """
    base = rigid(*generator.normal(0, 3.0, (2, 3)).tolist())
    poses = {}
    for scan in SCANS:
        step = rigid(*generator.normal(0, motion, (2, 3)).tolist())
        poses[scan] = step @ base
    return poses


def rigid(angles_deg: Sequence[float], shift_mm: Sequence[float]) -> Affine:
    """Return a rotation about the middle of the brain and a shift, as a 4x4 matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = HEAD_CENTRE_MM - matrix[:3, :3] @ HEAD_CENTRE_MM + shift_mm
    return matrix


def scan_affine(
    shape: tuple[int, int, int],
    voxel_size_mm: tuple[float, float, float],
    *,
    rotation: Affine | None = None,
    centre_mm: Sequence[float] = (0.0, -18.0, 6.0),
    flip_x: bool = True,
) -> Affine:
    """Return voxel to world of a grid around the head.

    Parameters
    ----------
    shape, voxel_size_mm
        Of the scan.
    rotation
        4x4; turns the slab in the world (oblique scans).
    centre_mm
        World position of the middle of the grid.
    flip_x
        Store from left to right descending, as most scanners do.
    """
    direction = np.diag([-1.0 if flip_x else 1.0, 1.0, 1.0])
    if rotation is not None:
        direction = rotation[:3, :3] @ direction
    affine = np.eye(4)
    affine[:3, :3] = direction * voxel_size_mm
    return starting_at(with_origin(affine, centre_mm), -(np.array(shape) - 1) / 2)


def finer(affine: Affine, factor: tuple[int, int, int]) -> Affine:
    """Return voxel to world of the grid that splits each voxel."""
    parts = np.array(factor)
    # The first centre of the finer grid lies before that of the coarse voxel that holds it.
    return rescaled(starting_at(affine, -(parts - 1) / (2 * parts)), 1 / parts)
