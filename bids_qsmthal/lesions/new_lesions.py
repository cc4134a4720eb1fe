"""Lesions that changed between two visits: a proposal, which a reader confirms or rejects.

By the difference of both FLAIR where the masks were found in them, else by the two masks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.crop import around_each
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.lesions.flair_change import VisitFlair, changed, flair_difference
from bids_qsmthal.lesions.growth import TOUCHING, components, large_enough
from bids_qsmthal.lesions.settings import FlairLesions


class LesionChange(IntEnum):
    """What became of a lesion since the visit before; the numbers of its label image."""

    NEW = 1
    ENLARGED = 2
    SHRUNK = 3
    VANISHED = 4


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
    scan
        FLAIR and tissue; ``None`` where the mask was not found in this FLAIR, but supplied or
        corrected by somebody.
    """

    numbered: Image
    mask: Image
    brain: Image
    scan: VisitFlair | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LesionsChanged:
    """What became of the lesions.

    Attributes
    ----------
    changes
        ``LesionChange`` on the grid of the later visit's T1w, uint8; what vanished lies where it
        was.
    by_flair
        Whether the FLAIR of both visits were compared; else the masks alone, which do not say what
        is larger or smaller.
    """

    changes: Image
    by_flair: bool


def lesion_changes(
    earlier: VisitLesions, later: VisitLesions, to_earlier: Affine
) -> LesionsChanged:
    """Return the lesions that changed between two visits.

    Parameters
    ----------
    to_earlier
        4x4, a point of the later visit's world in the world of the earlier one.
    """
    masks = _by_masks(earlier, later, to_earlier)
    by_flair = _by_flair(earlier, later, to_earlier, masks)
    if by_flair is None:
        return LesionsChanged(masks, by_flair=False)
    return LesionsChanged(by_flair, by_flair=True)


def _by_masks(earlier: VisitLesions, later: VisitLesions, to_earlier: Affine) -> Image:
    """Return the lesions that are new at the later visit, and the earlier ones that vanished.

    Which ones are larger or smaller two masks do not say: segmentations of one scan differ at
    every border.
    """
    to_later: Affine = np.linalg.inv(to_earlier).astype(np.float64)
    new = new_lesions(later.numbered, earlier.mask, earlier.brain, to_earlier)
    gone = new_lesions(earlier.numbered, later.mask, later.brain, to_later)
    there = resample(gone, later.numbered, world=to_earlier, order=0)
    # A voxel of a lesion that is still there stays that lesion's, whatever the grids are.
    vanished = (there.data > 0) & (later.mask.data == 0)
    return new.like(np.where(vanished, LesionChange.VANISHED, new.data).astype(np.uint8))


def _by_flair(
    earlier: VisitLesions, later: VisitLesions, to_earlier: Affine, masks: Image
) -> Image | None:
    """Return what the difference of both FLAIR shows; ``None`` where it cannot be looked at.

    What changed and touches a lesion of the other visit is a part of it: the lesion is larger, or
    smaller. A lesion that the masks call new or vanished is drawn as a whole where the difference
    shows it.
    """
    if earlier.scan is None or later.scan is None:
        return None
    before = resample(
        earlier.mask.like((earlier.mask.data > 0).astype(np.uint8)),
        later.mask,
        world=to_earlier,
        order=0,
    )
    lesions = {1: before.data > 0, -1: later.mask.data > 0}
    known = before.like((lesions[1] | lesions[-1]).astype(np.uint8))
    found = flair_difference(earlier.scan, later.scan, later.brain, to_earlier, known=known)
    if found is None:
        return None
    box = found.box.crop
    frame = found.frame
    made = np.zeros(frame.shape, np.uint8)
    drawn = box.cut(masks.data)
    # What is new is drawn last: it is there to be seen.
    for sign, alone, part_of in (
        (-1, LesionChange.VANISHED, LesionChange.SHRUNK),
        (1, LesionChange.NEW, LesionChange.ENLARGED),
    ):
        # Where the other visit has lesions: the earlier one for what became more.
        others = box.cut(lesions[sign])
        parts, count = components(changed(found, sign))
        if not count:
            continue
        near = np.unique(parts[ndimage.binary_dilation(others, TOUCHING)])
        touches = np.isin(np.arange(count + 1), near)
        touches[0] = False
        # Within the old lesion nothing grew: it became brighter.
        grown = _large(touches[parts] & ~others, frame)
        apart = _large((parts > 0) & ~touches[parts], frame)
        made[grown] = part_of
        made[_whole(apart, drawn == alone)] = alone
    return later.mask.like(box.paste(made))


def _large(mask: NDArray[np.bool_], frame: Image) -> NDArray[np.bool_]:
    """Return the parts that are as large as a lesion."""
    labels, count = components(mask)
    kept = np.zeros(count + 1, bool)
    smallest_mm = FlairLesions().minimum_extent_mm
    for number, crop in around_each(labels):
        part = labels[crop.slices] == number
        kept[number] = large_enough(part, frame.grid.voxel_size_mm, smallest_mm)
    large: NDArray[np.bool_] = kept[labels]
    return large


def _whole(parts: NDArray[np.bool_], lesions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return parts and all of the lesions that they meet."""
    labels, _ = components(lesions)
    met = np.unique(labels[parts])
    whole: NDArray[np.bool_] = parts | np.isin(labels, met[met > 0])
    return whole


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
