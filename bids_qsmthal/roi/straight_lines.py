"""The straight lines through a lesion: where a vein may run.

Veins of 10 to 25 mm are nearly straight within a lesion; the central vein of lesions of MS runs
through them (Sati et al. 2016, doi:10.1038/nrneurol.2016.166).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize

Vector: TypeAlias = NDArray[np.float64]


class StraightLine(NamedTuple):
    """A point (mm from the centre of the first voxel) and a unit direction."""

    point_mm: Vector
    direction: Vector

    def beside(self, step_mm: float, turn_rad: float) -> list[StraightLine]:
        """Return the line moved, and turned, to four sides each."""
        aside = [sign * vector for vector in _across(self.direction) for sign in (-1, 1)]
        moved = [self._replace(point_mm=self.point_mm + step_mm * vector) for vector in aside]
        turned = [self.direction + turn_rad * vector for vector in aside]
        return [
            *moved,
            *(self._replace(direction=vector / np.linalg.norm(vector)) for vector in turned),
        ]


DIRECTIONS = 40
"""Of lines, over half a sphere: 18 degrees apart."""
APART_MM = 1.0
"""Between parallel lines."""
BEYOND_MM = 5.0
"""How far a vein goes on outside the lesion."""
STEP_MM = 0.4
NUDGES = ((0.6, 0.18), (0.3, 0.09))
"""Steps by which the best line is moved (mm) and turned (rad), half the distance of lines first."""


class StraightLines:
    """The straight lines through a lesion that a vein may follow."""

    def __init__(self, lesion: Mask, voxel_size_mm: VoxelSize) -> None:
        self._size, self._shape = np.array(voxel_size_mm), lesion.shape
        volume_mm3 = float(lesion.sum() * np.prod(self._size))
        radius_mm = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
        self._along_mm = np.arange(-radius_mm - BEYOND_MM, radius_mm + BEYOND_MM, STEP_MM)
        centre = np.array(ndimage.center_of_mass(lesion)) * self._size
        aside = np.arange(-radius_mm, radius_mm + APART_MM / 2, APART_MM)
        places = [(u, v) for u in aside for v in aside if u * u + v * v <= radius_mm**2]
        self._lines = [
            StraightLine(centre + u * across[0] + v * across[1], direction)
            for direction in _half_sphere(DIRECTIONS)
            for across in [_across(direction)]
            for u, v in places
        ]

    @property
    def count(self) -> int:
        """How many there are, any of them as likely as another."""
        return len(self._lines)

    def brightest(self, image: Array, number: int) -> list[StraightLine]:
        """Return the lines along which an image is brightest."""
        points = np.array([line.point_mm for line in self._lines])
        directions = np.array([line.direction for line in self._lines])
        along = self._along_mm[::2]
        places = points[:, None] + along[:, None] * directions[:, None]
        voxels = (places / self._size).reshape(-1, 3).T
        values = ndimage.map_coordinates(image, voxels, order=1)
        order = np.argsort(-values.reshape(self.count, -1).sum(axis=1), kind="stable")
        return [self._lines[index] for index in order[:number]]

    def drawn(self, line: StraightLine) -> Array:
        """Return a line of 1 ppb mm2 as susceptibility in ppb."""
        points = (line.point_mm + self._along_mm[:, None] * line.direction) / self._size
        lowest = np.floor(points).astype(int)
        beyond = points - lowest
        image = np.zeros(self._shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(np.array(corner), beyond, 1 - beyond), axis=1)
            place = lowest + corner
            inside = ((place >= 0) & (place < self._shape)).all(axis=1)
            np.add.at(image, tuple(place[inside].T), weight[inside])
        return image * np.float32(STEP_MM / np.prod(self._size))


def _half_sphere(number: int) -> Vector:
    """Return unit vectors evenly over half a sphere: a spiral by the golden angle."""
    index = np.arange(number) + 0.5
    height = 1 - index / number
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    return np.column_stack([flat * np.cos(angle), flat * np.sin(angle), height])


def _across(direction: Vector) -> tuple[Vector, Vector]:
    """Return two unit vectors at right angles to a direction and to each other."""
    axis = np.eye(3)[np.abs(direction).argmin()]
    first: Vector = np.cross(direction, axis)
    first = first / np.linalg.norm(first)
    return first, np.cross(direction, first).astype(np.float64)
