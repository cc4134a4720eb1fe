"""The frame in which anatomy computes: axes nearest to R, A, S and no more than the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.core.crop import Crop, around, margin_voxels
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, reoriented

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A box in the upright image; knows the way back to the grid of the file.

    Attributes
    ----------
    native
        Any image on the grid of the file.
    crop
        The box, of the upright image.
    """

    native: Image
    crop: Crop

    @classmethod
    def around(cls, mask: Image, margin_mm: float) -> Frame:
        """Frame a mask with a margin."""
        upright = reoriented(mask)
        margin = margin_voxels(margin_mm, upright.grid.voxel_size_mm)
        crop = around(upright.data > 0, margin=margin)
        if crop is None:
            raise DataError("anatomy: the brain mask is empty; look at the brain extraction.")
        return cls(mask, crop)

    def cut(self, image: Image) -> Image:
        """Bring an image on the grid of the file into the frame; no resampling."""
        return self.crop.of(reoriented(image))

    def paste(self, data: NDArray[Any]) -> Image:
        """Bring an array in the frame back to the grid of the file; zero outside the frame."""
        # Only the axes are needed: the array is not read.
        upright = reoriented(self.native.like(np.empty(self.native.shape, dtype=np.bool_)))
        return self.native.like(_turned_back(self.crop.paste(data), upright, self.native))


def _turned_back(data: NDArray[Any], upright: Image, native: Image) -> NDArray[Any]:
    """Undo the swaps and flips of ``reoriented``."""
    # Both grids have the same voxels: the quotient of their axes is a signed permutation.
    turn = np.rint(np.linalg.solve(upright.affine[:3, :3], native.affine[:3, :3])).astype(int)
    # Column j of turn says which upright axis native axis j is, and in which direction.
    order = [int(np.argmax(np.abs(turn[:, axis]))) for axis in range(3)]
    flips = [axis for axis in range(3) if turn[order[axis], axis] < 0]
    # Transposed first: the flips count native axes.
    return np.ascontiguousarray(np.flip(np.transpose(data, order), flips))
