"""What the page holds of an image: the box of the brain, axes to R, A and S, in few bytes.

Half of the voxels of a head scan are air. Without a graphics card each costs the browser time when
a map is loaded, and again with every stroke (``benchmarks/view.py``).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.core.image import Image, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Box = tuple[slice, slice, slice]
"""Of the voxels of an image whose axes run to R, A and S."""

WHOLE: Final[Box] = (slice(None), slice(None), slice(None))

MARGIN_MM: Final = 10.0
"""Around the brain: its outline can be drawn further out, and a reader sees where it ends."""

STEPS: Final = 2048
"""Between black and white; a screen has 256. Numbers of 16 bits reach 16 windows to both sides of
their middle."""

MOST: Final = 2**15 - 1
"""The largest number of 16 bits with a sign."""


def extent(mask: Image, margin_mm: float = 0.0) -> Box | None:
    """Return the box of what is not zero and a margin, within the image; ``None``: nothing is."""
    inside = turned(mask)
    lines = [np.any(inside.data, axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    if not lines[0].any():
        return None
    margins = np.ceil(margin_mm / voxel_sizes_mm(inside.affine)).astype(int).tolist()
    sides = []
    for line, margin in zip(lines, margins, strict=True):
        hits = np.flatnonzero(line)
        low, high = max(0, int(hits[0]) - margin), min(line.size, int(hits[-1]) + 1 + margin)
        sides.append(slice(low, high))
    return sides[0], sides[1], sides[2]


def around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all."""
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def part(image: Image, box: Box) -> Image:
    """Return a box of an image, axes to R, A and S: a view of the same data."""
    whole = turned(image)
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start or 0 for side in box]
    return Image(whole.data[box], affine, image.b0_direction)


def put(onto: Image, drawing: Image) -> Box | None:
    """Write the voxels of a drawing where they lie in an image; return where that is.

    Parameters
    ----------
    onto
        Its data are changed.
    drawing
        A box of the same grid, its axes in any order.

    Returns
    -------
    box
        Of the image with axes to R, A and S; ``None``, and nothing is written, where the voxels
        of the drawing are not voxels of the image.
    """
    whole, given = turned(onto), turned(drawing)
    first = np.linalg.solve(whole.affine, given.affine[:, 3])[:3]
    begin = np.rint(first).astype(int).tolist()
    sizes = zip(begin, given.shape, whole.shape, strict=True)
    if not all(at >= 0 and at + n <= most for at, n, most in sizes):
        return None
    spans = [slice(at, at + n) for at, n in zip(begin, given.shape, strict=True)]
    box = (spans[0], spans[1], spans[2])
    # In mm; NIfTI's numbers of 32 bits are that exact for any head.
    if not np.allclose(part(onto, box).affine, given.affine, atol=1e-3):
        return None
    whole.data[box] = given.data
    return box


IN_BRAIN: Final = (0.1, 99.9)
"""Percentiles of a brain that are black and white: lesions, of which there is a millilitre or more,
are not all as white as the brightest tissue."""

IN_HEAD: Final = (2.0, 98.0)
"""The same where no brain is known: half of it is air, and fat is brighter than any tissue."""


def window(
    values: NDArray[np.floating], brain: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return black and white of a map that has none of its own, by its values in the brain."""
    # Every 64th voxel of a head: some 100,000.
    some = values[::4, ::4, ::4]
    inside = np.isfinite(some)
    if brain is not None:
        inside &= brain[::4, ::4, ::4]
    if not inside.any():
        return 0.0, 1.0
    percentiles = IN_HEAD if brain is None else IN_BRAIN
    low, high = (float(value) for value in np.percentile(some[inside], percentiles))
    return (low, high) if high > low else (low, low + max(1.0, abs(low)))


def packed_map(image: Image, limits: tuple[float, float], scale: float = 1.0) -> bytes:
    """Return a map for the eye: numbers of 16 bits, in steps of a part of its window; gzipped.

    Parameters
    ----------
    limits
        Black and white, in the unit of the screen.
    scale
        From the unit of the image to that.
    """
    step, middle = (limits[1] - limits[0]) / STEPS, (limits[0] + limits[1]) / 2
    numbers = np.empty(image.shape, np.int16, order="F")
    # Slice by slice, as they lie in the file: each stays in the processor's cache, which makes
    # this three times as fast as the whole at once.
    for at in range(image.shape[2]):
        numbers[:, :, at] = _rounded(image.data[:, :, at], middle / scale, step / scale)
    seen = image.like(numbers)
    return compressed(nifti.content(seen, scaling=(step, middle), window=limits))


def _rounded(values: NDArray[np.floating], middle: float, step: float) -> NDArray[np.int16]:
    """Return how many steps values are from a middle; none where one is no number."""
    low, high = middle - MOST * step, middle + MOST * step
    # Clipped first: what is infinite, or no value of a head, becomes a number all the same. Then in
    # place: a slice is gone through as seldom as can be.
    steps = values.clip(low, high)
    steps -= middle
    steps *= 1 / step
    np.rint(steps, out=steps).clip(-MOST, MOST, out=steps)
    # The sum of numbers is one; it is sooner made than each of them is looked at.
    if np.isnan(steps.sum()):
        steps[np.isnan(steps)] = 0
    rounded: NDArray[np.int16] = steps.astype(np.int16)
    return rounded


def packed_label(image: Image, highest: int = 1) -> bytes:
    """Return small whole numbers, a byte a voxel, gzipped."""
    return compressed(nifti.content(image, dtype=np.uint8, window=(0.0, float(highest))))


def compressed(content: bytes | bytearray) -> bytes:
    """Return gzipped bytes."""
    # Of repetitions only runs are looked for: masks are made of them, and noise has no others. At
    # the study's matrix 0.05 s for a map and no larger than with all that level 1 does in 0.09 s.
    packing = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_RLE)
    return packing.compress(content) + packing.flush()
