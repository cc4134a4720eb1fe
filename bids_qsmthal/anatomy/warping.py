"""From a participant's T1w image to the template and back, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.image import Affine, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

Points = NDArray[np.float32]
"""World points in mm, RAS; shape (3, x, y, z)."""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Where each point of the T1w image lies in the template.

    A point is moved by the displacements from the last found to the first, then by the matrix.

    Attributes
    ----------
    matrix
        4x4, RAS world to RAS world.
    displacements_mm
        Images of shape (x, y, z, 3), RAS.
    inverse_mm
        Displacement the other way, in the world of the T1w image: a template point p lies at
        q + inverse(q) with q = matrix^-1 p.
    """

    matrix: Affine
    displacements_mm: tuple[Image, ...]
    inverse_mm: Image | None = None

    def template_points(self, image: Image) -> Points:
        """Return the template point of every voxel centre of an image."""
        points = world_points(image)
        for field in reversed(self.displacements_mm):
            points += vectors_at(field, points)
        return transformed(self.matrix, points)


def world_points(image: Image) -> Points:
    """Return the world point of every voxel centre."""
    return transformed(image.affine, np.indices(image.shape, dtype=np.float32))


def transformed(matrix: NDArray[Any], points: Points) -> Points:
    """Apply a 4x4 matrix to points."""
    moved = np.tensordot(matrix[:3, :3].astype(np.float32), points, axes=1)
    moved += matrix[:3, 3].astype(np.float32)[:, None, None, None]
    return np.ascontiguousarray(moved, dtype=np.float32)


def vectors_at(field: Image, points: Points) -> Points:
    """Sample a displacement field; zero outside its grid."""
    index = transformed(np.linalg.inv(field.affine), points)
    found = [
        ndimage.map_coordinates(field.data[..., axis], index, np.float32, order=1, cval=0.0)
        for axis in range(3)
    ]
    return np.stack(found)


def sampled(images: Sequence[Image], points: Points, *, order: int = 1) -> list[NDArray[Any]]:
    """Sample images of one grid at world points; zero outside."""
    index = transformed(np.linalg.inv(images[0].affine), points)
    return [
        ndimage.map_coordinates(
            image.data, index, image.data.dtype if order == 0 else np.float32, order=order, cval=0
        )
        for image in images
    ]
