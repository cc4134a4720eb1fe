"""A drawing that a browser sends: unpacked within its bounds, and checked against its grid."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.view import shown, voxels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.view.images import Label

HEADER_BYTES: Final = 352
"""Of a NIfTI-1 file before its voxels, with the four bytes that say that no extension follows."""

MOST_BYTES: Final = 2**24
"""Of a compressed drawing: more than a byte for every voxel of a head of 256 x 256 x 200."""


SMALLEST_MM3: Final = 1e-6
"""No voxel of a head is smaller; a volume of 0 is that of no grid."""


class Unpacking(Protocol):
    """What zlib unpacks with; its own type has no name."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was given and not unpacked yet."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most so many bytes more."""


@dataclass(frozen=True, slots=True)
class SentDrawing:
    """What a browser drew.

    Attributes
    ----------
    voxels
        On the grid of the label's file; zero where nothing was sent.
    box
        What was sent of it, with axes to R, A and S.
    """

    voxels: NDArray[np.uint8]
    box: shown.Box


def read(body: bytes, place: Path, label: Label) -> SentDrawing:
    """Return the voxels of a drawing, on the grid of the label that was drawn on.

    Parameters
    ----------
    body
        A NIfTI file of one byte a voxel, gzipped: a box of the grid, axes in any order, that holds
        all that is drawn.
    place
        The file of the label.

    Raises
    ------
    DataError
        It lies on another grid, or has values that the label has not.
    """
    shape, affine = voxels.grid(place)
    sent = _image(body, shape)
    drawing = np.zeros(shape, np.uint8)
    box = shown.put(Image(drawing, affine), sent)
    if box is None:
        raise DataError(
            f"the drawing has the shape {list(sent.shape)} or a different position; expected a "
            f"part of the grid {list(shape)} of the {label.title}; load the participant again."
        )
    if sent.data.max() > len(label.values):
        raise DataError(
            f"the drawing has the value {sent.data.max()}; expected 0 to {len(label.values)} in "
            f"the {label.title}; draw with the labels of the page."
        )
    return SentDrawing(drawing, box)


def _image(body: bytes, most: tuple[int, ...]) -> Image:
    """Return what was sent; no more is unpacked than its header says, nor than the grid has."""
    unpacking = zlib.decompressobj(wbits=31)
    header = _unpacked(unpacking, body, HEADER_BYTES)
    axes, *shape = np.frombuffer(header, "<i2", 4, offset=40).tolist()
    size = math.prod(shape)
    if axes != 3 or min(shape) < 1 or size > math.prod(most):
        raise DataError(
            f"the drawing has the shape {shape}; expected a part of the grid {list(most)}; load "
            "the participant again."
        )
    content = _unpacked(unpacking, unpacking.unconsumed_tail, size + 1)
    if len(content) != size or not unpacking.eof:
        raise DataError(
            f"the drawing does not have the {size} bytes that its shape needs; load the "
            "participant again."
        )
    # NIfTI's first axis runs fastest.
    voxels = np.frombuffer(content, np.uint8).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3] = np.frombuffer(header, "<f4", 12, offset=280).reshape(3, 4)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < SMALLEST_MM3:
        raise DataError(
            "the drawing has no valid position (its affine); load the participant again."
        )
    return Image(voxels, affine)


def _unpacked(unpacking: Unpacking, packed: bytes, most: int) -> bytes:
    try:
        return unpacking.decompress(packed, most)
    except zlib.error as error:
        raise DataError(f"the drawing cannot be unpacked ({error}); save it again.") from error
