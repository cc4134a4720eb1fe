"""Volumes of tissues and structures, and the mean thickness of the cortex."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.anatomy.structures import CEREBRUM, NOT_CORTEX
from bids_qsmthal.anatomy.thickness import mean_thickness_mm
from bids_qsmthal.core.labels import FOUND, SIDES, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy.cropping import Cropped

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]


def volumes(
    cropped: Cropped,
    tissue: tuple[Float, Float, Float],
    thalamus: tuple[Float, Float],
    labels: NDArray[Any],
    small: tuple[NDArray[Any], Mapping[int, str]],
) -> dict[str, float]:
    """Return the volume of each region in mm3, such as ``thalamus_L`` or ``gray_matter``.

    Parameters
    ----------
    cropped
        Brain, its regions and voxel size.
    tissue
        Fractions of gray matter, white matter and fluid, shape (x, y, z); partial voxels count by
        what they hold.
    thalamus
        Fraction of the left and of the right thalamus.
    labels
        Structures, FreeSurfer's numbers; their voxels are counted.
    small
        Small nuclei, and what their numbers mean; counted as well.
    """
    unit = cropped.voxel_volume_mm3
    gm, wm, csf = tissue
    # Cerebellar gray matter is in ``gray_matter`` but not here.
    cortex = np.isin(cropped.regions, CEREBRUM) & ~np.isin(labels, NOT_CORTEX)
    found = {
        "gray_matter": float(gm.sum()) * unit,
        "white_matter": float(wm.sum()) * unit,
        "csf": float(csf.sum()) * unit,
        "intracranial": float(cropped.brain.sum()) * unit,
        "cortical_gray_matter": float(gm[cortex].sum()) * unit,
    }
    for side, fraction in zip(SIDES, thalamus, strict=True):
        found[f"thalamus_{side}"] = float(fraction.sum()) * unit
    found["thalamus_LR"] = found["thalamus_L"] + found["thalamus_R"]
    # 256 bins at least: a structure that is not there counts zero, and no index lies beyond the
    # array.
    counts = np.bincount(labels.ravel(), minlength=256)
    for index, (name, side) in FOUND.regions.items():
        if name != "thalamus":  # its fractions count more finely, above
            found[f"{name}_{side}" if side in SIDES else name] = float(counts[index]) * unit
    numbers, names = small
    counts = np.bincount(numbers.ravel(), minlength=256)
    for index, label in names.items():
        nucleus = parsed(label)
        found[f"{nucleus.name}_{nucleus.hemisphere}"] = float(counts[index]) * unit
    return found


def thickness_means_mm(thickness: Float, gm: Float, regions: Labels) -> dict[str, float]:
    """Return the mean thickness of the cortex: ``whole``, ``L``, ``R``."""
    means = {"whole": mean_thickness_mm(thickness, gm, np.isin(regions, CEREBRUM))}
    for side, number in zip(SIDES, CEREBRUM, strict=True):
        means[side] = mean_thickness_mm(thickness, gm, regions == number)
    return means
