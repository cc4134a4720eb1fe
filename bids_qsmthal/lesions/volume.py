"""Volume of lesions, without what slices, noise and the half of the height do to their outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.lesions.context import BrainBox, Mask, Volume
from bids_qsmthal.lesions.growth import components, grow_to_half_height, heights

if TYPE_CHECKING:
    from bids_qsmthal.lesions.evidence import Evidence


@dataclass(frozen=True, slots=True, eq=False)
class Rescan:
    """What a second scan would show, on the grid of the mask.

    Attributes
    ----------
    share
        The mask through the slices: 1 in a wide lesion, 0 far from any.
    noise
        Noise through the slices, of the standard deviation that the evidence has.
    """

    share: Volume
    noise: Volume


def corrected_mm3(
    mask: Mask,
    seeds: Mask,
    evidence: Evidence,
    rescan: Rescan,
    box: BrainBox,
    *,
    reach_mm: float,
) -> NDArray[np.float64]:
    """Return the volume of each lesion, corrected for the bias of its outline.

    A blurred edge lies at half of the height only where it is flat: where a lesion is convex, or
    thinner than a slice, the outline lies within it, and noise adds voxels outside. What that
    amounts to, the found lesion tells. It is put into a scan of the same contrast, slices and noise
    and outlined again; what the second outline lost, the first is taken to have lost as well (a
    parametric bootstrap of the bias: Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    chapter 10). The mask stays: where the lost voxels lie, nobody knows. Lesions that were not
    found stay missing.

    Parameters
    ----------
    mask
        Lesions, shape (x, y, z).
    seeds
        What they were grown from; a lesion without any is outlined from its highest voxel.
    evidence
        FLAIR above the normal tissue around, its noise, and where lesions could grow.
    rescan
        The same lesions in a second scan.
    box
        Voxel size.
    reach_mm
        Farthest growth from a seed.

    Returns
    -------
    ndarray
        mm3, in the order of ``components(mask)``; none below 0.
    """
    lesions, count = components(mask)
    seeded = np.zeros(count + 1, bool)
    seeded[lesions[seeds & mask]] = True
    top = np.asarray(ndimage.maximum(rescan.share, lesions, np.arange(count + 1)), np.float32)
    core = mask & np.where(seeded[lesions], seeds, rescan.share >= top[lesions])
    cores, number = components(core)
    nearest = tuple(
        ndimage.distance_transform_edt(
            ~core, box.voxel_size_mm, return_distances=False, return_indices=True
        )
    )
    # The contrast of a wide lesion of which this height is left; the smallest number bars zero.
    left = np.maximum(heights(cores, number, rescan.share, 0.0), np.finfo(np.float32).tiny)
    contrast = np.maximum(heights(cores, number, evidence.excess, evidence.noise), 0) / left
    scan = contrast[cores[nearest]] * rescan.share + rescan.noise
    outlined = grow_to_half_height(
        core, scan, evidence.allowed | mask, box, noise=evidence.noise, reach_mm=reach_mm
    )
    found = np.bincount(lesions.ravel(), minlength=count + 1)[1:]
    again = np.bincount(lesions[nearest][outlined], minlength=count + 1)[1:]
    unbiased = np.maximum(2.0 * found - again, 0)
    return np.asarray(unbiased * np.prod(box.voxel_size_mm), np.float64)
