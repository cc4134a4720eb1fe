"""Veins as tubes thinner than a voxel, drawn with their fraction of each voxel.

Courses are polylines in the space of the atlas (mm), after the venous anatomy of the deep system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from bids_qsmthal.core.affine import apply, voxel_sizes_mm

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine
    from bids_qsmthal.simulate.warps import RandomWarp

PAIRED: Final = (
    # Radius, course of the right side.
    (1.0, ((2.5, 1, 6), (2.5, -6, 11), (2.8, -16, 13.5), (3, -26, 13), (2, -34, 9), (0, -39, 8))),
    (
        0.9,
        ((9, 2, -18), (15, -6, -18), (18, -16, -13), (17, -26, -6), (10, -34, 1), (0, -40, 7)),
    ),
    (0.7, ((2.5, 1, 6), (8, 2, 11), (13, -4, 15.5), (17, -14, 18), (20, -22, 18))),
    (0.5, ((2.5, 1, 6), (4, 10, 10), (5, 18, 14))),
    (0.6, ((2.5, -30, 11), (10, -33, 15), (18, -37, 12), (24, -44, 8))),
)
"""Internal cerebral, basal (Rosenthal), thalamostriate, septal and atrial veins."""

MIDLINE: Final = (
    (2.0, ((0, -39, 8), (0, -44, 11), (0, -46, 15))),
    (2.5, ((0, -46, 15), (0, -58, 4), (0, -74, -8), (0, -88, -14))),
)
"""Vein of Galen and straight sinus."""


@dataclass(frozen=True, slots=True, eq=False)
class Vein:
    """A course in the head (n, 3) in mm, points 0.4 mm apart, and its radius."""

    course_mm: NDArray[np.float64]
    radius_mm: float


def draw_veins(warp: RandomWarp, generator: np.random.Generator) -> tuple[Vein, ...]:
    """Draw a participant's veins: the named ones, some inside the thalami, medullary veins."""
    courses = [(radius, np.array(points, float)) for radius, points in MIDLINE]
    for radius, points in PAIRED:
        right = np.array(points, float)
        courses += [(radius, right), (radius, right * (-1, 1, 1))]
    for side in (-1, 1):
        courses += [(0.35, _intrathalamic(side, generator)) for _ in range(3)]
        courses += [(0.3, _medullary(side, generator)) for _ in range(14)]
    return tuple(
        Vein(warp.to_head(_smooth(points).T).T, radius * float(generator.uniform(0.85, 1.15)))
        for radius, points in courses
    )


def _intrathalamic(side: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """From within the thalamus to the internal cerebral vein above its medial edge."""
    start = generator.uniform((8, -26, 2), (16, -10, 10))
    end = np.array([3.0, generator.uniform(-24, -8), 13.0])
    middle = (start + end) / 2 + generator.normal(0, 1.0, 3)
    return np.stack([start, middle, end]) * (side, 1, 1)


def _medullary(side: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """From the wall of the lateral ventricle out into the white matter."""
    start = np.array([generator.uniform(14, 22), generator.uniform(-35, 25), 24.0])
    direction = np.array([generator.uniform(0.4, 1), generator.normal(0, 0.3), 1.0])
    direction /= np.linalg.norm(direction)
    length_mm = generator.uniform(10, 22)
    middle = start + direction * length_mm / 2 + generator.normal(0, 1.0, 3)
    return np.stack([start, middle, start + direction * length_mm]) * (side, 1, 1)


def _smooth(points: NDArray[np.float64], spacing_mm: float = 0.4) -> NDArray[np.float64]:
    """Return a spline through the points, sampled at equal steps."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    # Monotone between the points: a cubic spline would overshoot at sharp bends.
    spline = interpolate.PchipInterpolator(length, points)
    return np.asarray(spline(np.arange(0, length[-1], spacing_mm)))


def vein_fraction(
    veins: tuple[Vein, ...], affine: Affine, shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return the fraction of each voxel of a grid (``affine`` to head mm) that lies in a vein.

    A voxel of mean size h at distance d from the axis holds clip(1/2 + (r - d)/h, 0, 1) of a
    plane-walled vein; for a tube thinner than a voxel the fraction is limited to its cross-section,
    pi r^2 / h^2, so that the moment of the vein is right.
    """
    fraction = np.zeros(shape, np.float32)
    for vein in veins:
        flat, inside, _ = painted(vein, affine, shape)
        # Points of a course overlap: the largest counts, a sum would count the same blood twice.
        np.maximum.at(fraction.reshape(-1), flat, inside)
    return fraction


def painted(
    vein: Vein, affine: Affine, shape: tuple[int, int, int]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp]]:
    """Return voxels near a vein, the fraction that it fills of each, and a point of its course.

    A voxel comes once for each point of the course that reaches it.
    """
    # Cube root of the volume: voxels of the fine grid are nearly cubes.
    size_mm = float(abs(np.linalg.det(affine[:3, :3])) ** (1 / 3))
    reach = np.ceil((vein.radius_mm + size_mm) / voxel_sizes_mm(affine))
    offsets = np.stack(
        np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1
    ).reshape(-1, 3)
    index = apply(np.linalg.inv(affine), vein.course_mm)
    voxels = np.round(index)[:, None, :] + offsets
    # In head mm, as poses are rigid: distances are those of the world.
    away = (voxels - index[:, None, :]) @ affine[:3, :3].T
    distance = np.linalg.norm(away, axis=2)
    # A tube thinner than the voxel can fill no more of it than its cross-section does.
    most = min(1.0, np.pi * vein.radius_mm**2 / size_mm**2)
    inside = np.clip(0.5 + (vein.radius_mm - distance) / size_mm, 0, most)
    where = voxels.astype(np.intp)
    kept = (inside > 0) & (where >= 0).all(2) & (where < shape).all(2)
    flat = np.ravel_multi_index(tuple(where[kept].T), shape)
    return flat, inside[kept].astype(np.float32), np.nonzero(kept)[0]


def through_head(
    points_mm: tuple[tuple[float, float, float], ...], warp: RandomWarp
) -> tuple[NDArray[np.float64], ...]:
    """Return a course of the atlas in a head: one on the midline, or that of either side."""
    right = np.array(points_mm, float)
    sides = [right] if not right[:, 0].any() else [right, right * (-1, 1, 1)]
    return tuple(warp.to_head(_smooth(points).T).T for points in sides)
