"""From a participant's T1w image to the template and back, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.affine import rescaled, starting_at, voxel_sizes_mm
from bids_qsmthal.core.image import Affine, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

Volume = NDArray[np.float32]
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
    # Zero outside keeps the map defined: there the affine part alone moves a point.
    components = [field.data[..., axis] for axis in range(3)]
    return np.stack(_linear(components, field.affine, points))


def sample_images(images: Sequence[Image], points: Points, *, order: int = 1) -> list[NDArray[Any]]:
    """Sample images of one grid at world points, linearly or (0) the nearest; zero outside."""
    # Once for all: the images share a grid.
    affine = images[0].affine
    if order == 0:
        return _nearest([image.data for image in images], affine, points)
    return _linear([image.data for image in images], affine, points)


def _linear(volumes: Sequence[NDArray[Any]], affine: Affine, points: Points) -> list[Volume]:
    """Sample volumes of one grid; a tenth of the time of ``ndimage.map_coordinates``.

    Where a point lies is worked out once for all volumes.
    """
    found = [np.zeros(points.shape[1:], np.float32) for _ in volumes]
    # All of one type and writable: Numba counts on equal types in a tuple.
    alike = tuple(np.require(volume, np.float32, ("C", "W")) for volume in volumes)
    to_voxel: Affine = np.linalg.inv(affine).astype(np.float64)
    _linear_kernel(alike, to_voxel, points, tuple(found))
    return found


def _nearest(volumes: Sequence[NDArray[Any]], affine: Affine, points: Points) -> list[NDArray[Any]]:
    index = np.empty(points.shape[1:], np.int64)
    to_voxel: Affine = np.linalg.inv(affine).astype(np.float64)
    _nearest_kernel(volumes[0].shape, to_voxel, points, index)
    outside = index < 0
    return [np.where(outside, volume.dtype.type(0), volume.ravel()[index]) for volume in volumes]


@numba.njit(cache=True, nogil=True)
def _linear_kernel(
    volumes: tuple[Volume, ...], to_voxel: Affine, points: Points, out: tuple[Volume, ...]
) -> None:
    nx, ny, nz = volumes[0].shape
    _, px, py, pz = points.shape
    for i in range(px):
        for j in range(py):
            for k in range(pz):
                x, y, z = _voxel(to_voxel, points, i, j, k)
                # Nothing is interpolated beyond the outermost centres, as in ``core.image``.
                if not (0 <= x <= nx - 1 and 0 <= y <= ny - 1 and 0 <= z <= nz - 1):
                    continue
                # On the last centre itself the cell before it serves.
                a, b, c = min(int(x), nx - 2), min(int(y), ny - 2), min(int(z), nz - 2)
                u, v, w = x - a, y - b, z - c
                for n in range(len(volumes)):
                    part = volumes[n]
                    low = (part[a, b, c] * (1 - w) + part[a, b, c + 1] * w) * (1 - v) + (
                        part[a, b + 1, c] * (1 - w) + part[a, b + 1, c + 1] * w
                    ) * v
                    a1 = a + 1
                    high = (part[a1, b, c] * (1 - w) + part[a1, b, c + 1] * w) * (1 - v) + (
                        part[a1, b + 1, c] * (1 - w) + part[a1, b + 1, c + 1] * w
                    ) * v
                    out[n][i, j, k] = low * (1 - u) + high * u


@numba.njit(cache=True, nogil=True)
def _nearest_kernel(
    shape: tuple[int, int, int], to_voxel: Affine, points: Points, index: NDArray[np.int64]
) -> None:
    """Say which voxel holds each point, counted in C order; -1 outside."""
    nx, ny, nz = shape
    _, px, py, pz = points.shape
    for i in range(px):
        for j in range(py):
            for k in range(pz):
                x, y, z = _voxel(to_voxel, points, i, j, k)
                if 0 <= x <= nx - 1 and 0 <= y <= ny - 1 and 0 <= z <= nz - 1:
                    row = int(x + 0.5) * ny + int(y + 0.5)
                    index[i, j, k] = row * nz + int(z + 0.5)
                else:
                    index[i, j, k] = -1


@numba.njit(cache=True, nogil=True)
def _voxel(to_voxel: Affine, points: Points, i: int, j: int, k: int) -> tuple[float, float, float]:
    p, q, r = points[0, i, j, k], points[1, i, j, k], points[2, i, j, k]
    return (
        to_voxel[0, 0] * p + to_voxel[0, 1] * q + to_voxel[0, 2] * r + to_voxel[0, 3],
        to_voxel[1, 0] * p + to_voxel[1, 1] * q + to_voxel[1, 2] * r + to_voxel[1, 3],
        to_voxel[2, 0] * p + to_voxel[2, 1] * q + to_voxel[2, 2] * r + to_voxel[2, 3],
    )
