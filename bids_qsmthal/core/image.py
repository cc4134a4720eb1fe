"""Images as values: an array and where its voxels are.

One convention in memory: ``data`` is C-contiguous with shape (x, y, z[, n]), and ``affine`` maps
voxel indices to the RAS+ world in mm. A rigid motion between two scans is a 4x4 matrix on world
points. Conversion to and from any other convention happens at the door (``nifti``, ``anatomy``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import Affine, between, directions, voxel_sizes_mm
from bids_qsmthal.core.grid import Grid

__all__ = ["Affine", "Image", "reoriented", "resample", "turned"]


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An array and where its voxels are.

    Attributes
    ----------
    data
        Shape (x, y, z[, n]).
    affine
        Voxel indices to RAS+ mm.
    b0_direction
        Unit vector of the main field in that world: z where the world is the scanner's.
    """

    data: NDArray[Any]
    affine: Affine
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along the three axes of space."""
        x, y, z = self.data.shape[:3]
        return x, y, z

    @property
    def grid(self) -> Grid:
        """The grid of the image, with the main field turned into its frame."""
        # The dipole kernel lives in voxel axes, while B0 is known in the world: an oblique slab
        # tilts it.
        b0 = np.linalg.solve(directions(self.affine), self.b0_direction)
        # A sheared affine (never a scanner's) would leave the vector longer or shorter.
        b0 /= np.linalg.norm(b0)
        dx, dy, dz = voxel_sizes_mm(self.affine).tolist()
        bx, by, bz = b0.tolist()
        return Grid(self.shape, (dx, dy, dz), (bx, by, bz))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def like(self, data: NDArray[Any]) -> Image:
        """Return other data on the same grid."""
        if data.shape[:3] != self.shape:
            raise ValueError(f"data of shape {data.shape} do not fit a grid of {self.shape}")
        return replace(self, data=data)


def resample(
    moving: Image, onto: Image, *, world: Affine | None = None, order: int = 1, fill: float = 0.0
) -> Image:
    """Sample an image on the grid of another.

    Parameters
    ----------
    moving
        The image to sample, shape (x, y, z).
    onto
        The image whose grid is wanted; its data are not read.
    world
        4x4 matrix that takes a world point (mm) of ``onto`` to the world of ``moving``;
        identity by default.
    order
        Order of the spline: 0 nearest (labels), 1 linear, 3 cubic.
    fill
        Value outside the moving image.

    Returns
    -------
    Image
        float32 for ``order`` > 0, else the type of ``moving``; on the grid of ``onto``.
    """
    step = between(moving.affine, onto.affine, world)
    if order == 1:
        # Only now: what looks at headers alone does not wait for the compiler's library.
        from bids_qsmthal.core.interpolation import linear  # noqa: PLC0415

        return replace(onto, data=linear(moving.data, step, onto.shape, fill=fill))
    dtype = moving.data.dtype if order == 0 else np.dtype(np.float32)
    # Labels keep their type: in float32 numbers above 2^24 would change.
    source = moving.data.astype(dtype, copy=False)
    # affine_transform wants the map from output to input voxels, which between() gives. Mode
    # constant does not interpolate beyond the outermost voxel centres: half a voxel of the rim
    # becomes fill.
    sampled = ndimage.affine_transform(
        source, step[:3, :3], step[:3, 3], onto.shape, dtype, order=order, cval=fill
    )
    return replace(onto, data=np.ascontiguousarray(sampled))


def turned(image: Image) -> Image:
    """Return the same image with axes nearest to R, A, S: a view of the same data, not a copy.

    Flips and swaps only, no resampling.
    """
    order = _nearest_axes(directions(image.affine))
    data = np.moveaxis(image.data, order, (0, 1, 2))
    # Column j of the permutation says which old axis the new axis j is.
    swap = np.zeros((4, 4))
    swap[3, 3] = 1.0
    for new, old in enumerate(order):
        swap[old, new] = 1.0
    affine = image.affine @ swap
    for axis in range(3):
        # Flipping an axis moves the first voxel to the other end; the world position of each voxel
        # stays.
        if affine[axis, axis] < 0:
            data = np.flip(data, axis)
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Image(data, affine, image.b0_direction)


def reoriented(image: Image) -> Image:
    """Return the same image with axes nearest to R, A, S, its data contiguous."""
    made = turned(image)
    return made.like(np.ascontiguousarray(made.data))


def _nearest_axes(direction: NDArray[np.float64]) -> tuple[int, int, int]:
    """Return, for each world axis, the voxel axis that runs along it most."""
    best, score = (0, 1, 2), -1.0
    # All six, not axis by axis: near 45 degrees two axes could else claim the same one.
    for candidate in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        total = sum(abs(direction[axis, voxel]) for axis, voxel in enumerate(candidate))
        if total > score:
            best, score = candidate, total
    return best
