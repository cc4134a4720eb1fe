"""Crops: a box of a grid, the way into it and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.affine import starting_at
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.core.affine import Affine
    from bids_qsmthal.core.grid import Mask

Triple = tuple[int, int, int]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Crop:
    """A box of voxels; it may reach beyond the grid, where there is nothing (zero).

    Attributes
    ----------
    start
        Index of its first voxel in the grid; negative before the grid.
    shape
        Its number of voxels along each axis.
    whole_shape
        That of the grid.
    """

    start: Triple
    shape: Triple
    whole_shape: Triple

    @property
    def slices(self) -> Slices:
        """The voxels of the grid that lie in the box."""
        return self._slices(
            # A negative start would count from the end of the array.
            (max(first, 0), min(first + size, whole))
            for first, size, whole in zip(self.start, self.shape, self.whole_shape, strict=True)
        )

    @property
    def filled(self) -> Slices:
        """Where these voxels lie in the box: all of it unless it reaches beyond the grid."""
        return self._slices(
            (part.start - first, part.stop - first)
            for part, first in zip(self.slices, self.start, strict=True)
        )

    def cut(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the content of the box, a copy of shape (x, y, z[, n])."""
        boxed = np.zeros((*self.shape, *data.shape[3:]), dtype=data.dtype)
        boxed[self.filled] = data[self.slices]
        return boxed

    def paste(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the whole grid with the content of the box; zero elsewhere."""
        whole = np.zeros((*self.whole_shape, *data.shape[3:]), dtype=data.dtype)
        whole[self.slices] = data[self.filled]
        return whole

    def affine(self, whole: Affine) -> Affine:
        """Return the affine of the box: the same voxels at the same places of the world."""
        return starting_at(whole, self.start)

    def of(self, image: Image) -> Image:
        """Return the part of an image in the box, at its place in the world."""
        return Image(self.cut(image.data), self.affine(image.affine), image.b0_direction)

    def grid(self, whole: Grid) -> Grid:
        """Return the grid of the box."""
        return Grid(self.shape, whole.voxel_size_mm, whole.b0_direction)

    def grown(self, margin: Sequence[int]) -> Crop:
        """Return the box with a margin in voxels, as far as the grid goes."""
        starts = (first - width for first, width in zip(self.start, margin, strict=True))
        sides = zip(self.start, self.shape, margin, strict=True)
        return between(
            starts, (first + size + width for first, size, width in sides), self.whole_shape
        )

    def refined(self, factors: Triple, whole_shape: Triple) -> Crop:
        """Return the box on a finer grid: each voxel becomes a block of voxels.

        The last blocks may end beyond the finer grid, whose shape need not be a multiple.
        """
        start, shape = (
            _triple(size * factor for size, factor in zip(sizes, factors, strict=True))
            for sizes in (self.start, self.shape)
        )
        return Crop(start, shape, whole_shape)

    @staticmethod
    def _slices(bounds: Iterable[tuple[int, int]]) -> Slices:
        x, y, z = (slice(first, end) for first, end in bounds)
        return x, y, z


def between(first: Iterable[int], end: Iterable[int], whole_shape: Triple) -> Crop:
    """Return the box from a first voxel up to, and without, an end; no more than the grid."""
    pairs = zip(first, end, whole_shape, strict=True)
    bounds = [(max(int(low), 0), min(int(high), size)) for low, high, size in pairs]
    return Crop(
        _triple(low for low, _ in bounds), _triple(high - low for low, high in bounds), whole_shape
    )


def around(mask: Mask, *, margin: Sequence[int] = (0, 0, 0)) -> Crop | None:
    """Return the smallest box that holds a mask and a margin in voxels; ``None`` if it is empty.

    The box ends where the grid ends.
    """
    edges = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if not filled.size:
            return None
        # Projections on each axis: np.argwhere of a whole head would make a list of millions of
        # indices.
        edges.append((int(filled[0]), int(filled[-1]) + 1))
    starts = (first - width for (first, _), width in zip(edges, margin, strict=True))
    ends = (end + width for (_, end), width in zip(edges, margin, strict=True))
    return between(starts, ends, _triple(mask.shape))


def around_each(
    labels: NDArray[np.integer[Any]], *, margin: Sequence[int] = (0, 0, 0)
) -> Iterator[tuple[int, Crop]]:
    """Yield each label from 1 on with the smallest box that holds it and a margin in voxels."""
    whole_shape = _triple(labels.shape)
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        # find_objects gives None for a number that no voxel has.
        if found is not None:
            starts = (part.start - width for part, width in zip(found, margin, strict=True))
            ends = (part.stop + width for part, width in zip(found, margin, strict=True))
            yield number, between(starts, ends, whole_shape)


def margin_voxels(margin_mm: float, voxel_size_mm: Sequence[float]) -> Triple:
    """Return how many voxels along each axis cover a distance."""
    return _triple(int(np.ceil(margin_mm / size)) for size in voxel_size_mm)


def _triple(numbers: Iterable[int]) -> Triple:
    x, y, z = numbers
    return x, y, z
