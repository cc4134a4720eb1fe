"""What a reader has done to a drawing at once: arrays in, arrays out, and nothing is saved."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

IN_SLICE: Final = np.ones((3, 3, 1), dtype=bool)
"""A voxel and its eight neighbours in the slice: slices are some times as thick as voxels are
wide, so that the next slice is no near neighbour."""

TOUCHING: Final = np.ones((3, 3, 3), dtype=bool)
"""Voxels of one lesion touch with a side, an edge or a corner, as in the tables of lesions."""


def smooth(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what most of the nine voxels around each in its slice are; as it was where tied."""
    values = np.arange(int(drawing.max(initial=0)) + 1)
    made = drawing.copy()
    box = around(drawing)
    part = drawing[box]
    votes = np.stack(
        [
            ndimage.convolve(
                (part == value).astype(np.uint8), IN_SLICE.astype(np.uint8), mode="nearest"
            )
            for value in values
        ]
    )
    # Its own vote counts a bit more than another's, which decides ties and nothing else.
    votes = 2 * votes.astype(np.int16) + (values[:, None, None, None] == part)
    made[box] = votes.argmax(axis=0)
    return made


def between_slices(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a drawing whose empty slices between drawn ones are filled.

    Signed distances to the outlines of the slices on both sides, linear in between: Raya & Udupa
    (1990), doi:10.1109/42.52976. Slices on which something of the same value is drawn stay.
    """
    made = drawing.copy()
    for value in range(1, int(drawing.max(initial=0)) + 1):
        mask = drawing == value
        drawn = np.flatnonzero(mask.any(axis=(0, 1)))
        for low, high in pairwise(drawn):
            below, above = (_signed_distance(mask[:, :, at]) for at in (low, high))
            for at in range(low + 1, high):
                share = (at - low) / (high - low)
                inside = (1 - share) * below + share * above > 0
                # What is drawn of another value there stays.
                made[:, :, at][inside & (made[:, :, at] == 0)] = value
    return made


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance to the outline in voxels: positive inside, half a voxel at its edge."""
    inner = ndimage.distance_transform_edt(mask)
    outer = ndimage.distance_transform_edt(~mask)
    distance: NDArray[np.float64] = np.where(mask, inner - 0.5, 0.5 - outer)
    return distance


def nudge(drawing: NDArray[np.uint8], other: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a drawing without what lies in another label or touches it in its slice."""
    return np.where(ndimage.binary_dilation(other, IN_SLICE), 0, drawing).astype(np.uint8)


def within(
    drawing: NDArray[np.uint8], values: NDArray[np.floating], low: float, high: float
) -> NDArray[np.uint8]:
    """Return a drawing without voxels whose value is outside of two limits."""
    kept = (values >= low) & (values <= high)
    return np.where(kept, drawing, 0).astype(np.uint8)


def sides(drawing: NDArray[np.uint8], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a drawing split by the plane x = 0 of the world: 1 left of it, 2 right of it."""
    x, y, z = np.ogrid[tuple(slice(0, n) for n in drawing.shape)]
    world_x_mm = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] * z + affine[0, 3]
    return np.where(drawing > 0, np.where(world_x_mm < 0, 1, 2), 0).astype(np.uint8)


def without_piece(drawing: NDArray[np.uint8], voxel: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a drawing without the piece at a voxel; as it was where nothing is drawn there."""
    box = around(drawing)
    part, _ = ndimage.label(drawing[box] > 0, TOUCHING)
    local = tuple(at - one.start for at, one in zip(voxel, box, strict=True))
    inside = all(0 <= at < n for at, n in zip(local, part.shape, strict=True))
    number = int(part[local]) if inside else 0
    made = drawing.copy()
    if number:
        made[box][part == number] = 0
    return made


@dataclass(frozen=True, slots=True)
class Piece:
    """Voxels that belong together.

    Attributes
    ----------
    voxel
        One of them, the nearest to their middle.
    """

    number: int
    voxel: tuple[int, ...]
    n_voxels: int


def pieces(drawing: NDArray[np.uint8], labels: NDArray[Any] | None = None) -> list[Piece]:
    """Return what is drawn and touches, or, given labels, the voxels of each number of theirs.

    Largest first.
    """
    inside = drawing > 0 if labels is None else labels > 0
    box = around(inside)
    part = ndimage.label(inside[box], TOUCHING)[0] if labels is None else labels[box]
    found = []
    for number, own in enumerate(ndimage.find_objects(part), 1):
        if own is None:
            # Not every number is a lesion on this grid.
            continue
        # The middle of a curved piece may lie outside of it.
        members = np.argwhere(part[own] == number) + [one.start for one in own]
        nearest = ((members - members.mean(axis=0)) ** 2).sum(axis=1).argmin()
        voxel = tuple(int(at) + one.start for at, one in zip(members[nearest], box, strict=True))
        found.append(Piece(number, voxel, len(members)))
    return sorted(found, key=lambda piece: (-piece.n_voxels, piece.voxel))


def with_others(lesions: NDArray[Any], drawn: NDArray[np.uint8]) -> NDArray[Any]:
    """Return numbered lesions, and behind them the pieces of a drawing that lie beside them.

    A lesion that vanished is none of those of its visit.
    """
    rest = (drawn > 0) & (lesions == 0)
    if not rest.any():
        return lesions
    box = around(rest.astype(np.uint8))
    more = ndimage.label(rest[box], TOUCHING)[0]
    made = lesions.copy()
    made[box] = np.where(more > 0, more + lesions.max(initial=0), lesions[box])
    return made


def with_lesion(
    drawing: NDArray[np.uint8], lesions: NDArray[Any], number: int, value: int
) -> NDArray[np.uint8]:
    """Return a drawing in which all voxels of one numbered lesion have a value; 0 erases it."""
    return np.where(lesions == number, np.uint8(value), drawing).astype(np.uint8)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask that touch its outside in their slice."""
    sides_only = ndimage.generate_binary_structure(2, 1)[..., None]
    edge = np.zeros_like(mask)
    box = around(mask)
    # Beyond the image is outside.
    edge[box] = mask[box] & ~ndimage.binary_erosion(mask[box], sides_only)
    return edge


def around(mask: NDArray[Any]) -> tuple[slice, ...]:
    """Return the box of what is not zero and one voxel around it within the image."""
    lines = [np.flatnonzero(np.any(mask, axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not lines[0].size:
        return tuple(slice(0, 1) for _ in mask.shape)
    return tuple(
        slice(max(0, int(line[0]) - 1), min(n, int(line[-1]) + 2))
        for line, n in zip(lines, mask.shape, strict=True)
    )
