"""Lesions that only one of two visits shows: a proposal, which a reader confirms or rejects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.image import Affine, Image, resample


class LesionChange(IntEnum):
    """What became of a lesion since the visit before; the numbers of its label image."""

    NEW = 1
    ENLARGED = 2
    SHRUNK = 3
    VANISHED = 4


TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels touch with a side, an edge or a corner, as in the tables of lesions."""

SEEN = 0.5
"""So much of a lesion has to lie in the brain of the earlier visit; else nobody saw it absent."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitLesions:
    """What one visit shows, on the grid of its T1w.

    Attributes
    ----------
    numbered
        The lesions, each with a number.
    mask, brain
        Everything that is lesion, and the brain.
    """

    numbered: Image
    mask: Image
    brain: Image


def lesion_changes(earlier: VisitLesions, later: VisitLesions, to_earlier: Affine) -> Image:
    """Return the lesions that are new at the later visit, and the earlier ones that vanished.

    Which ones are larger or smaller only a reader says: two segmentations of one scan differ at
    every border.

    Parameters
    ----------
    to_earlier
        4x4, a point of the later visit's world in the world of the earlier one.

    Returns
    -------
    Image
        ``LesionChange`` on the grid of the later visit, uint8; what vanished lies where it was.
    """
    to_later: Affine = np.linalg.inv(to_earlier).astype(np.float64)
    new = new_lesions(later.numbered, earlier.mask, earlier.brain, to_earlier)
    gone = new_lesions(earlier.numbered, later.mask, later.brain, to_later)
    there = resample(gone, later.numbered, world=to_earlier, order=0)
    # A voxel of a lesion that is still there stays that lesion's, whatever the grids are.
    vanished = (there.data > 0) & (later.mask.data == 0)
    return new.like(np.where(vanished, LesionChange.VANISHED, new.data).astype(np.uint8))


def new_lesions(lesions: Image, earlier: Image, earlier_brain: Image, to_earlier: Affine) -> Image:
    """Return the lesions of a visit that touch none of the visit before, each as a whole.

    A lesion that grew touches what it was. What two segmentations draw otherwise at a border, a
    voxel apart, makes no new lesion either.

    Parameters
    ----------
    lesions
        Numbered lesions of the later visit, on its grid.
    earlier, earlier_brain
        Masks of lesions and brain of the visit before, on its own grid.
    to_earlier
        4x4, a point of the later visit's world in the world of the earlier one.

    Returns
    -------
    Image
        ``LesionChange.NEW`` where a lesion is new, uint8, on the grid of ``lesions``.
    """
    numbers = lesions.data.astype(np.int64)
    sizes = np.bincount(numbers.ravel())
    around = earlier.like(ndimage.binary_dilation(earlier.data > 0, TOUCHING))
    touched = _counts(numbers, around, lesions, to_earlier)
    seen = _counts(numbers, earlier_brain, lesions, to_earlier)
    new = (sizes > 0) & (touched == 0) & (seen >= SEEN * sizes)
    new[0] = False
    return lesions.like(np.where(new[numbers], LesionChange.NEW, 0).astype(np.uint8))


def _counts(
    numbers: NDArray[np.int64], mask: Image, onto: Image, to_earlier: Affine
) -> NDArray[np.int64]:
    """Return how many voxels of each number lie in a mask of the earlier visit."""
    inside = resample(mask.like((mask.data > 0).astype(np.uint8)), onto, world=to_earlier, order=0)
    found: NDArray[np.int64] = np.bincount(
        numbers[inside.data > 0], minlength=int(numbers.max(initial=0)) + 1
    )
    return found
