"""Small lesions: bright islands in white matter, too small for the random field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.lesions.context import Box, Mask, Volume
from bids_qsmthal.lesions.growth import TOUCHING, expected_largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.lesions.evidence import Evidence
    from bids_qsmthal.lesions.settings import FlairLesions

_PEAK_MM = 2.0  # a summit is the highest of its neighbours


def islands(evidence: Evidence, found: Mask, box: Box, settings: FlairLesions) -> Mask:
    """Return bright islands in white matter beyond the lesions found already.

    The random field asks a voxel's neighbours to agree, which those of a lesion of 3 mm cannot.
    Here a filter of a small lesion's size gathers its voxels instead (a matched filter, the best
    linear detector of a known shape in noise). What it finds is an island if at its outline, half
    of its height, it ends on all sides within ``island_mm``: cortex, a sheet, goes on.

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
    luck = evidence.noise * expected_largest(int(np.prod(box.cube(_PEAK_MM))))
    reach = [round(settings.island_mm / size) for size in box.voxel_size_mm]
    result = np.zeros(found.shape, bool)
    for summit in summits:
        cut = tuple(slice(max(0, i - n), i + n + 1) for i, n in zip(summit, reach, strict=True))
        bright = evidence.excess[cut] > 0.5 * (height[tuple(summit)] - luck)
        labels, _ = ndimage.label(bright & ~evidence.fluid[cut], TOUCHING)
        own = labels[tuple(min(i, n) for i, n in zip(summit, reach, strict=True))]
        if own == 0:
            continue
        part = labels == own
        voxels = np.argwhere(part)
        extent_mm = (np.ptp(voxels, axis=0) + 1) * box.voxel_size_mm
        if extent_mm.max() <= settings.island_mm:
            result[cut] |= part
    return result


def _summits(
    evidence: Evidence, found: Mask, box: Box, settings: FlairLesions
) -> tuple[NDArray[np.intp], Volume]:
    """Return the summits of the filtered FLAIR, shape (n, 3), and the height around each voxel."""
    height: Volume = ndimage.maximum_filter(evidence.excess, box.cube(_PEAK_MM))
    calm = evidence.white & ~found
    if not calm.any():
        return np.zeros((0, 3), np.intp), height
    filtered = box.blur(evidence.excess, settings.island_filter_mm)
    middle = float(np.median(filtered[calm]))
    noise = robust.spread(filtered[calm], middle)
    summit = (ndimage.maximum_filter(filtered, box.cube(_PEAK_MM)) == filtered) & ~found
    summit &= evidence.mostly_white & (filtered > middle + settings.island_sd * noise)
    return np.argwhere(summit & (height > evidence.smallest_peak)), height
