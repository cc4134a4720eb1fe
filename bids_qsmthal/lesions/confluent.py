"""Confluent lesions taken apart, and a number for each that stays over reruns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import around_each, margin_voxels
from bids_qsmthal.lesions.context import box_around
from bids_qsmthal.lesions.growth import components

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.lesions.context import Context, Mask, Volume

SMOOTHING_MM = 1.5  # a mask is a step, which has no curvature before it is smoothed
LEAST_CENTRE_MM3 = 10.0  # ten voxels of 1 mm, as the authors' program
FLAT = 1e-6  # per mm^2: inside a wide lesion the map is flat, where rounding has any sign


@dataclass(frozen=True, slots=True, eq=False)
class DistinctLesions:
    """Lesions with a number each.

    Attributes
    ----------
    labels
        int32, 1..n from foot to head, then from back to front and from left to right; 0 for none.
    unsplit
        For each of them the number of the touching group that it is a part of (id in the table of
        lesions).
    """

    labels: Image
    unsplit: tuple[int, ...]


def lesions_apart(mask: Image, probability: Image, context: Context) -> DistinctLesions:
    """Return the lesions of a head, confluent ones apart by the map of their probability.

    Those beyond the brain's box are left out, as in ``lesion_table``, whose ids ``unsplit`` has.
    """
    crop = box_around(context.brain).crop
    return distinct_lesions(mask.like(crop.paste(crop.cut(mask.data))), probability)


def distinct_lesions(mask: Image, probability: Image | None = None) -> DistinctLesions:
    """Return the lesions of a mask, confluent ones apart.

    The centre of a lesion is where the map of lesion probability is curved downwards along every
    direction: all eigenvalues of its Hessian are negative. Each voxel of a group that touches
    belongs to the nearest centre (Dworkin et al. 2018, doi:10.3174/ajnr.A5556). A group with less
    than two centres stays whole.

    Parameters
    ----------
    mask
        Any value above 0 is lesion.
    probability
        Of a lesion, on the same grid; the mask stands in for it where there is none.
    """
    inside = mask.data > 0
    texture = inside.astype(np.float32)
    if probability is not None:
        texture = texture * probability.data.astype(np.float32)
    size_mm = mask.grid.voxel_size_mm
    groups, _ = components(inside)
    parts = np.zeros(mask.shape, np.int32)
    group_of: list[int] = []
    for number, crop in around_each(groups, margin=margin_voxels(4 * SMOOTHING_MM, size_mm)):
        group = groups[crop.slices] == number
        centres = _centres(np.where(group, texture[crop.slices], 0), group, size_mm)
        found, count = _nearest(group, centres, size_mm)
        parts[crop.slices][group] = found[group] + len(group_of)
        group_of += [number] * count
    order = _by_place(parts, len(group_of), mask)
    numbers = np.zeros(len(group_of) + 1, np.int32)
    numbers[order + 1] = np.arange(1, len(group_of) + 1)
    return DistinctLesions(mask.like(numbers[parts]), tuple(group_of[i] for i in order))


def _centres(texture: Volume, group: Mask, size_mm: tuple[float, float, float]) -> Mask:
    """Return where the smoothed map is curved downwards along all directions, large parts only."""
    sigma = [SMOOTHING_MM / size for size in size_mm]
    hessian = np.empty((*texture.shape, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            order = [int(axis == i) + int(axis == j) for axis in range(3)]
            second = ndimage.gaussian_filter(texture.astype(np.float64), sigma, order=order)
            hessian[..., i, j] = hessian[..., j, i] = second / (size_mm[i] * size_mm[j])
    # The largest eigenvalue decides for all; only voxels of the group are asked.
    curved = np.zeros(group.shape, bool)
    curved[group] = np.linalg.eigvalsh(hessian[group])[:, -1] < -FLAT
    labels, count = components(curved)
    least = LEAST_CENTRE_MM3 / float(np.prod(size_mm))
    large = np.bincount(labels.ravel(), minlength=count + 1) >= least
    large[0] = False
    return np.asarray(large[labels])


def _nearest(
    group: Mask, centres: Mask, size_mm: tuple[float, float, float]
) -> tuple[NDArray[np.int32], int]:
    """Return for each voxel the number of the nearest centre, and how many there are."""
    labels, count = components(centres)
    if count < 2:
        return group.astype(np.int32), 1
    places = ndimage.distance_transform_edt(
        labels == 0, size_mm, return_distances=False, return_indices=True
    )
    nearest: NDArray[np.int32] = labels[tuple(places)]
    return nearest, count


def _by_place(parts: NDArray[np.int32], count: int, mask: Image) -> NDArray[np.intp]:
    """Return the order of the parts from foot to head, back to front, left to right."""
    if count == 0:
        return np.zeros(0, np.intp)
    voxels = np.array(ndimage.center_of_mass(parts > 0, parts, range(1, count + 1)))
    # Whole millimetres: noise of a voxel at the border should not change the order.
    x, y, z = np.round(apply(mask.affine, voxels)).T
    order: NDArray[np.intp] = np.lexsort((x, y, z))
    return order
