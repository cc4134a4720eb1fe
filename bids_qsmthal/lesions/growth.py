"""From seeds to whole lesions: growth to an outline, growth to similar intensities, edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import around_each, margin_voxels
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions.context import BrainBox, Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

TOUCHING = np.ones((3, 3, 3), bool)
"""Voxels that share a corner touch."""


def components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Return labels 1..n of the parts that do not touch, not even at a corner, and n."""
    labels = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, TOUCHING, output=labels)
    return labels, int(count)


def large_enough(part: Mask, voxel_size_mm: Sequence[float], minimum_extent_mm: float) -> bool:
    """Return whether a part is as large as a lesion: its longest axis, and its volume."""
    extent_mm = max(
        (np.ptp(axis) + 1) * size
        for axis, size in zip(np.nonzero(part), voxel_size_mm, strict=True)
    )
    # Half of a ball: partial voxels at the border may miss the half of their height.
    smallest_mm3 = np.pi / 6 * minimum_extent_mm**3 / 2
    volume_mm3 = float(np.count_nonzero(part) * np.prod(voxel_size_mm))
    return bool(extent_mm >= minimum_extent_mm and volume_mm3 >= smallest_mm3)


def peaks(labels: NDArray[np.int32], count: int, values: Volume, quantile: float) -> Volume:
    """Return a quantile of the values in each component; index 0 is no component."""
    where = np.flatnonzero(labels)
    owner, value = labels.ravel()[where], values.ravel()[where]
    # All quantiles by one sort: a loop over components would read the image once for each.
    order = np.lexsort((value, owner))
    owner, value = owner[order], value[order]
    first = np.searchsorted(owner, np.arange(1, count + 1), "left")
    last = np.searchsorted(owner, np.arange(1, count + 1), "right") - 1
    height = np.zeros(count + 1, np.float32)
    height[1:] = value[np.round(last - (1 - quantile) * (last - first)).astype(int)]
    return height


HEIGHT_QUANTILE = 0.9
"""The height of a lesion is this quantile of its seed: near the top, yet not one voxel."""


def heights(labels: NDArray[np.int32], count: int, excess: Volume, noise: float) -> Volume:
    """Return the height of each seed without what noise of this standard deviation adds to it."""
    # What the 0.9 quantile of noise alone is.
    without: Volume = peaks(labels, count, excess, HEIGHT_QUANTILE) - np.float32(
        noise * ndtri(HEIGHT_QUANTILE)
    )
    return without


def expected_largest(number: int) -> float:
    """Return the expected largest of so many standard normal values (Blom 1958)."""
    return float(ndtri((number - 0.375) / (number + 0.25)))


def grow_to_half_height(
    seeds: Mask, excess: Volume, allowed: Mask, box: BrainBox, *, noise: float, reach_mm: float
) -> Mask:
    """Grow each seed to where the signal falls to half of the seed's height.

    The edge of an object blurred by a symmetric point spread lies at half its height above the
    surroundings, whatever the contrast, as long as the object is wider than the blur; one of
    radius R loses about sigma^2 / R of its radius. The brightest voxels owe part of their
    height to noise: without it, faint lesions would end too early.

    Parameters
    ----------
    seeds
        Cores of lesions.
    excess
        Signal above the surrounding normal tissue.
    allowed
        Where a lesion may grow.
    box
        Voxel size.
    noise
        Standard deviation of ``excess`` in normal tissue.
    reach_mm
        Farthest growth from a seed.
    """
    labels, count = components(seeds)
    if count == 0:
        return seeds.copy()
    height = heights(labels, count, excess, noise)
    distance, nearest = ndimage.distance_transform_edt(
        labels == 0, box.voxel_size_mm, return_indices=True
    )
    owner = labels[tuple(nearest)]
    # Each voxel is judged by the height of the nearest seed: a bright lesion would else stop a
    # faint one beside it.
    candidate = (distance <= reach_mm) & allowed & (excess > 0.5 * height[owner])
    # Faces only, while components touch at corners: growth should not slip through a corner.
    grown: Mask = ndimage.binary_propagation(seeds & candidate, mask=candidate)
    return grown


def grow(
    image: Image, seeds: Image, *, reach_mm: float = 20.0, within: Image | None = None
) -> Image:
    """Grow a reader's seeds to similar intensities across slices.

    What the study did in Olea Sphere with a threshold set by hand for each lesion. Here a seed
    spreads to touching voxels brighter than a threshold between the median under the seed and
    that of the tissue around; of the thresholds from half of this height up, whose outlines stay
    near the seeds, that with the sharpest outline counts. A fixed tolerance leaks into the cortex.

    Parameters
    ----------
    image
        The image the reader looked at, usually FLAIR: lesions are brighter than what is around.
    seeds
        Mask on the same grid; each touching group is one seed.
    reach_mm
        Farthest growth from the nearest seed: a lesion longer than that needs more than one.
    within
        Mask on the same grid that is never left, such as the brain.

    Returns
    -------
    Image
        bool mask, on the grid of ``image``; holds all seeds.
    """
    if seeds.shape != image.shape:
        raise UsageError(
            f"seeds have the grid {seeds.shape}, the image has {image.shape}: draw the seeds on "
            "the image in which they are to be grown"
        )
    size_mm = image.grid.voxel_size_mm
    grown = seeds.data > 0
    labels, _ = components(grown)
    away_mm = distance_mm(grown, size_mm)
    free = np.isfinite(image.data) if within is None else within.data > 0
    # A voxel's noise must not decide: a blur of half a millimetre, as for the lesions found here.
    even = ndimage.gaussian_filter(image.data.astype(np.float32), [0.5 / size for size in size_mm])
    for number, crop in around_each(labels, margin=margin_voxels(2 * reach_mm, size_mm)):
        box = crop.slices
        near = free[box] & (away_mm[box] <= reach_mm)
        # One voxel less than ``near``: who gets beyond it was stopped by the reach and not by an
        # outline.
        inner = away_mm[box] <= reach_mm - max(size_mm)
        grown[box] |= _sharpest(even[box], labels[box] == number, near, inner)
    return image.like(grown)


_HEIGHT_FRACTIONS = np.arange(0.5, 0.86, 0.05)  # below half of it lies what is around


def _sharpest(image: Volume, seed: Mask, near: Mask, inner: Mask) -> Mask:
    """Return what is grown from the seed at the threshold whose outline is sharpest.

    Voxels stay in ``near``; growth that leaves ``inner`` has leaked.
    """
    around = float(np.median(image[near])) if near.any() else 0.0
    height = float(np.median(image[seed])) - around
    best, sharpest = seed, -np.inf
    for fraction in _HEIGHT_FRACTIONS:
        bright = near & (image > around + fraction * height)
        # The seed itself is always in: the reader drew it.
        candidate = ndimage.binary_propagation(seed, mask=bright | seed)
        if (candidate & ~inner).any():
            continue
        rim = candidate & ~ndimage.binary_erosion(candidate)
        outside = ndimage.binary_dilation(candidate) & ~candidate
        contrast = float(image[rim].mean() - image[outside].mean())
        if contrast > sharpest:
            best, sharpest = candidate, contrast
    return best


def seeds_at(points_mm: NDArray[np.floating], onto: Image) -> Image:
    """Return a mask with one voxel at each world point (n, 3) in mm RAS+.

    Raises
    ------
    UsageError
        If a point lies outside the image.
    """
    points = np.atleast_2d(np.asarray(points_mm, float))
    to_voxel = np.linalg.inv(onto.affine)
    voxels = np.round(apply(to_voxel, points)).astype(int)
    for point, voxel in zip(points, voxels, strict=True):
        if (voxel < 0).any() or (voxel >= onto.shape).any():
            raise UsageError(
                f"seed at {point.tolist()} mm lies outside the image; give RAS+ world"
                " coordinates of that image in mm"
            )
    mask = np.zeros(onto.shape, bool)
    mask[tuple(voxels.T)] = True
    return onto.like(mask)


def edited_mask(mask: Image, *, add: Image | None = None, remove: Image | None = None) -> Image:
    """Return a mask with a reader's additions and without the reader's removals.

    What is in both is removed: a removal is the later, more careful look.
    """
    result = mask.data > 0
    for change, keep in ((add, True), (remove, False)):
        if change is None:
            continue
        if change.shape != mask.shape:
            raise UsageError(
                f"an edit has the grid {change.shape}, the lesion mask has {mask.shape}:"
                " save the edit on the grid of the mask"
            )
        result = result | (change.data > 0) if keep else result & ~(change.data > 0)
    return mask.like(result)
