"""From a participant's T1w image to the template and back, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import rescaled, starting_at, voxel_sizes_mm
from bids_qsmthal.core.image import Affine, Image

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
        return map_points(self.matrix, points)

    def t1w_points(self, image: Image) -> Points:
        """Return the point of the T1w image of every voxel centre of an image of the template.

        Raises
        ------
        ValueError
            The inverse displacement is not known.
        """
        if self.inverse_mm is None:
            raise ValueError("the way back from the template was not computed")
        # The forward map displaces first and applies the matrix last, so the way back begins with
        # the matrix.
        points = map_points(np.linalg.inv(self.matrix), world_points(image))
        return points + vectors_at(self.inverse_mm, points)


FIELD_MM = 2.0
"""Voxel size of the fields that are saved: they are smooth over several times that."""


def fields(warp: Warp, t1w: Image, template: Image) -> tuple[Image, Image]:
    """Return the whole transformation as two displacement fields, affine part included.

    Parameters
    ----------
    warp
        From T1w to the template.
    t1w, template
        Images whose fields of view are to be covered.

    Returns
    -------
    to_template, to_t1w
        Shape (x, y, z, 3), mm, RAS. The first says for each point of the template how far the
        same point of T1w is: with it T1w is resampled onto the template. The second is the other
        way round.
    """
    on_template, on_t1w = (_covering(image, FIELD_MM) for image in (template, t1w))
    to_template = warp.t1w_points(on_template) - world_points(on_template)
    to_t1w = warp.template_points(on_t1w) - world_points(on_t1w)
    first, second = (np.moveaxis(vectors, 0, -1) for vectors in (to_template, to_t1w))
    return on_template.like(first), on_t1w.like(second)


def _covering(image: Image, size_mm: float) -> Image:
    """Return an empty image along the same axes that reaches one voxel beyond another."""
    sizes = voxel_sizes_mm(image.affine)
    # One voxel on each side: linear interpolation at the border needs a neighbour beyond it.
    shape = tuple(int(n) for n in np.ceil(np.array(image.shape) * sizes / size_mm) + 2)
    factor = size_mm / sizes
    affine = rescaled(starting_at(image.affine, -1.5 * size_mm / sizes + factor / 2), factor)
    return Image(np.zeros(shape, dtype=np.uint8), affine)


def world_points(image: Image) -> Points:
    """Return the world point of every voxel centre."""
    return map_points(image.affine, np.indices(image.shape, dtype=np.float32))


def map_points(matrix: NDArray[Any], points: Points) -> Points:
    """Apply a 4x4 matrix to points."""
    # Single precision holds head coordinates (below 300 mm) to about 0.00002 mm, in half of the
    # memory.
    moved = np.tensordot(matrix[:3, :3].astype(np.float32), points, axes=1)
    moved += matrix[:3, 3].astype(np.float32)[:, None, None, None]
    return np.ascontiguousarray(moved, dtype=np.float32)


def vectors_at(field: Image, points: Points) -> Points:
    """Sample a displacement field; zero outside its grid."""
    index = map_points(np.linalg.inv(field.affine), points)
    found = [
        ndimage.map_coordinates(field.data[..., axis], index, np.float32, order=1, cval=0.0)
        for axis in range(3)
    ]
    # Zero outside keeps the map defined: there the affine part alone moves a point.
    return np.stack(found)


def sample_images(images: Sequence[Image], points: Points, *, order: int = 1) -> list[NDArray[Any]]:
    """Sample images of one grid at world points; zero outside."""
    # Once for all: the images share a grid.
    index = map_points(np.linalg.inv(images[0].affine), points)
    return [
        ndimage.map_coordinates(
            image.data, index, image.data.dtype if order == 0 else np.float32, order=order, cval=0
        )
        for image in images
    ]
