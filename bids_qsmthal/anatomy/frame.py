"""The frame in which anatomy computes: axes nearest to R, A, S and no more than the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.core.affine import starting_at, voxel_sizes_mm
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
    box
        Slices of the upright image.
    """

    native: Image
    box: tuple[slice, slice, slice]

    @classmethod
    def around(cls, mask: Image, margin_mm: float) -> Frame:
        """Frame a mask with a margin."""
        upright = reoriented(mask)
        slices = []
        for axis, size_mm in enumerate(voxel_sizes_mm(upright.affine)):
            others = tuple(other for other in range(3) if other != axis)
            planes = np.nonzero(upright.data.any(axis=others))[0]
            margin = int(np.ceil(margin_mm / size_mm))
            start, stop = int(planes[0]) - margin, int(planes[-1]) + margin + 1
            slices.append(slice(max(0, start), min(upright.shape[axis], stop)))
        return cls(mask, (slices[0], slices[1], slices[2]))

    def cut(self, image: Image) -> Image:
        """Bring an image on the grid of the file into the frame; no resampling."""
        upright = reoriented(image)
        affine = starting_at(upright.affine, [part.start for part in self.box])
        return Image(np.ascontiguousarray(upright.data[self.box]), affine)

    def paste(self, data: NDArray[Any]) -> Image:
        """Bring an array in the frame back to the grid of the file; zero outside the frame."""
        upright = reoriented(self.native.like(np.empty(self.native.shape, dtype=np.bool_)))
        whole = np.zeros(upright.shape, dtype=data.dtype)
        whole[self.box] = data
        return self.native.like(_turned_back(whole, upright, self.native))


def _turned_back(data: NDArray[Any], upright: Image, native: Image) -> NDArray[Any]:
    """Undo the swaps and flips of ``reoriented``."""
    turn = np.rint(np.linalg.solve(upright.affine[:3, :3], native.affine[:3, :3])).astype(int)
    # Column j of turn says which upright axis native axis j is, and in which direction.
    order = [int(np.argmax(np.abs(turn[:, axis]))) for axis in range(3)]
    flips = [axis for axis in range(3) if turn[order[axis], axis] < 0]
    return np.ascontiguousarray(np.flip(np.transpose(data, order), flips))
