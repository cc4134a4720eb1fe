"""Small lesions: bright islands in white matter, too small for the random field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import between
from bids_qsmthal.lesions.context import BrainBox, Mask, Volume
from bids_qsmthal.lesions.growth import TOUCHING, expected_largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.lesions.evidence import Evidence
    from bids_qsmthal.lesions.settings import FlairLesions

_PEAK_MM = 2.0  # a summit is the highest of its neighbours


def small_lesions(evidence: Evidence, found: Mask, box: BrainBox, settings: FlairLesions) -> Mask:
    """Return bright islands in white matter beyond the lesions found already.

    The random field asks a voxel's neighbours to agree, which those of a lesion of 3 mm cannot.
    Here a filter of a small lesion's size gathers its voxels instead (a matched filter, the best
    linear detector of a known shape in noise). What it finds is an island if at its outline, half
    of its height, it ends on all sides within ``small_lesion_mm``: cortex, a sheet, goes on.

    Parameters
    ----------
    evidence
        FLAIR above normal white matter, and where white matter is.
    found
        Lesions found already.
    box
        Voxel size.
    settings
        How high and how large.
    """
    summits, height = _summits(evidence, found, box, settings)
    # A summit is the largest of its neighbours, and owes to chance what the largest of so many
    # values does.
    luck = evidence.noise * expected_largest(int(np.prod(box.cube(_PEAK_MM))))
    reach = np.array([round(settings.small_lesion_mm / size) for size in box.voxel_size_mm])
    result = np.zeros(found.shape, bool)
    for summit in summits:
        # Only this box is looked at: what reaches its walls is larger than a small lesion.
        crop = between(summit - reach, summit + reach + 1, evidence.brain.shape)
        near = crop.slices
        bright = evidence.excess[near] > 0.5 * (height[tuple(summit)] - luck)
        labels, _ = ndimage.label(bright & ~evidence.fluid[near], TOUCHING)
        # The filtered summit itself can lie below the outline, in a ring or beside a lesion.
        own = labels[tuple(summit - crop.start)]
        if own == 0:
            continue
        lesion = labels == own
        extent_mm = (np.ptp(np.argwhere(lesion), axis=0) + 1) * box.voxel_size_mm
        if extent_mm.max() <= settings.small_lesion_mm:
            result[near] |= lesion
    return result


def _summits(
    evidence: Evidence, found: Mask, box: BrainBox, settings: FlairLesions
) -> tuple[NDArray[np.intp], Volume]:
    """Return the summits of the filtered FLAIR, shape (n, 3), and the height around each voxel."""
    height: Volume = ndimage.maximum_filter(evidence.excess, box.cube(_PEAK_MM))
    # Found lesions would widen the noise that small ones are measured by.
    calm = evidence.white & ~found
    if not calm.any():
        return np.zeros((0, 3), np.intp), height
    filtered = box.blur(evidence.excess, settings.small_lesion_filter_mm)
    middle = float(np.median(filtered[calm]))
    noise = robust.spread(filtered[calm], middle)
    summit = (ndimage.maximum_filter(filtered, box.cube(_PEAK_MM)) == filtered) & ~found
    summit &= evidence.mostly_white & (filtered > middle + settings.small_lesion_sd * noise)
    return np.argwhere(summit & (height > evidence.smallest_peak)), height
