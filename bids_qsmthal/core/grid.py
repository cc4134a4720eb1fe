"""The sampling grid every reconstruction array lives on."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
"""A real image of shape (x, y, z)."""

Mask: TypeAlias = NDArray[np.bool_]
"""A boolean image of shape (x, y, z)."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular 3D grid in the frame of the image.

    Attributes
    ----------
    shape
        Number of voxels along each axis.
    voxel_size_mm
        Distance between voxel centres along each axis.
    b0_direction
        Unit vector of the main magnetic field.
    """

    shape: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        length = np.linalg.norm(self.b0_direction)
        # A longer vector would give a wrong dipole kernel and a wrong map, silently.
        if not np.isclose(length, 1.0):
            raise ValueError(f"b0_direction must be a unit vector, but its length is {length:g}")

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.voxel_size_mm))
