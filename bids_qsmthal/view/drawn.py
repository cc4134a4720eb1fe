"""A drawing that a browser sends: unpacked within its bounds, and checked against its grid."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.view import images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.view.images import Label

HEADER_BYTES: Final = 352
"""Of a NIfTI-1 file before its voxels, with the four bytes that say that no extension follows."""

MOST_BYTES: Final = 2**24
"""Of a compressed drawing: more than a byte for every voxel of a head of 256 x 256 x 200."""


def read(body: bytes, place: Path, label: Label) -> NDArray[np.uint8]:
    """Return the voxels of a drawing, on the grid of the label that was drawn on.

    Parameters
    ----------
    body
        A NIfTI file of one byte a voxel in the order of the grid, gzipped.
    place
        The file of the label.

    Raises
    ------
    DataError
        It has another grid, or values that the label has not.
    """
    expected, affine = images.grid(place)
    content = _unpacked(body, HEADER_BYTES + math.prod(expected))
    shape = np.frombuffer(content, "<i2", 4, offset=40)
    if tuple(shape) != (3, *expected) or not np.allclose(_sform(content), affine[:3], atol=1e-3):
        raise DataError(
            f"the drawing has the shape {shape[1:].tolist()} or lies elsewhere; expected the grid "
            f"{list(expected)} of the {label.title}; load the participant again."
        )
    voxels = np.frombuffer(content, np.uint8, offset=HEADER_BYTES)
    # NIfTI's first axis runs fastest.
    drawing = np.ascontiguousarray(voxels.reshape(expected, order="F"))
    if drawing.max() > len(label.values):
        raise DataError(
            f"the drawing has the value {drawing.max()}; expected 0 to {len(label.values)} in the "
            f"{label.title}; draw with the labels of the page."
        )
    return drawing


def _unpacked(body: bytes, size: int) -> bytes:
    """Return what was compressed, which has exactly this size; no more is ever unpacked."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        content = unpacking.decompress(body, size + 1)
    except zlib.error as error:
        raise DataError(f"the drawing cannot be unpacked ({error}); save it again.") from error
    if len(content) != size or not unpacking.eof:
        raise DataError(
            f"the drawing has not the {size} bytes of its grid; load the participant again."
        )
    return content


def _sform(content: bytes) -> NDArray[Any]:
    """Return the upper three rows of the affine in a header."""
    return np.frombuffer(content, "<f4", 12, offset=280).reshape(3, 4)
