"""Tables of lesions: size and place of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import around_each
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.lesions.context import (
    BRAINSTEM,
    CEREBELLUM,
    LATERAL_VENTRICLES,
    BrainBox,
    Context,
    box_around,
)
from bids_qsmthal.lesions.growth import components

PERIVENTRICULAR, JUXTACORTICAL = "periventricular", "juxtacortical"
INFRATENTORIAL, DEEP_WHITE_MATTER = "infratentorial", "deep white matter"
LOCATIONS = (PERIVENTRICULAR, JUXTACORTICAL, INFRATENTORIAL, DEEP_WHITE_MATTER)
_COLUMNS = ("id", "volume_mm3", "location", "x_mm", "y_mm", "z_mm", "thalamus_mm3")
_CONTACT_MM = 2.0  # "in contact" within the error of the registered template


def lesion_table(mask: Image, context: Context) -> pd.DataFrame:
    """Return one row per lesion: id, volume_mm3, location, x_mm, y_mm, z_mm and thalamus_mm3.

    x, y, z are its centre (RAS+), thalamus_mm3 is how much of it lies in the atlas's thalami.

    Locations follow the MAGNIMS rules (Filippi et al. 2016, doi:10.1016/S1474-4422(15)00393-2;
    2019, doi:10.1093/brain/awz144): infratentorial in brainstem or cerebellum; periventricular
    when in contact with a lateral ventricle; juxtacortical when in contact with the cortex; else
    deep white matter. Contact means within 2 mm, the error of the template. Location is "n/a"
    and thalamus_mm3 missing where no atlas is known.
    """
    box = box_around(context.brain)
    mask = box.crop.of(mask)
    labels, count = components(mask.data > 0)
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:] * mask.voxel_volume_mm3
    locations = _locations(labels, count, context, box)
    thalamus_mm3 = _in_thalamus(labels, count, context, box) * mask.voxel_volume_mm3
    rows = []
    for number, crop in around_each(labels):
        voxels = np.argwhere(labels[crop.slices] == number) + crop.start
        centre_mm = apply(mask.affine, voxels.mean(0)).round(1).tolist()
        first = (number, float(size[number - 1]), locations[number - 1])
        rows.append((*first, *centre_mm, float(thalamus_mm3[number - 1])))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    numbers = dict.fromkeys(("volume_mm3", "x_mm", "y_mm", "z_mm", "thalamus_mm3"), "float64")
    return table.astype({"id": "int64", "location": "object", **numbers})


def _in_thalamus(
    labels: NDArray[np.int32], count: int, context: Context, box: BrainBox
) -> NDArray[np.float64]:
    """Return the voxels of each component in the thalami."""
    if context.labels is None:
        return np.full(count, np.nan)
    inside = np.isin(box.crop.cut(context.labels.data), THALAMUS)
    return np.bincount(labels[inside], minlength=count + 1)[1:].astype(np.float64)


def _locations(labels: NDArray[np.int32], count: int, context: Context, box: BrainBox) -> list[str]:
    """Return the location class of each component."""
    if context.labels is None or context.prior_gm is None or count == 0:
        return ["n/a"] * count
    atlas, gray = box.crop.cut(context.labels.data), box.crop.cut(context.prior_gm.data)
    index = range(1, count + 1)
    below = ndimage.mean(np.isin(atlas, (*BRAINSTEM, *CEREBELLUM)), labels, index)
    # Gray prior where no structure is labelled: deep nuclei are no cortex.
    landmarks = (np.isin(atlas, LATERAL_VENTRICLES), (gray > 0.5) & (atlas == 0))
    nearest = [ndimage.minimum(box.distance_mm(landmark), labels, index) for landmark in landmarks]
    locations = []
    for fraction, ventricle_mm, cortex_mm in zip(below, *nearest, strict=True):
        # Order decides: a lesion at both ventricle and cortex is periventricular.
        if fraction > 0.5:
            locations.append(INFRATENTORIAL)
        elif ventricle_mm <= _CONTACT_MM:
            locations.append(PERIVENTRICULAR)
        elif cortex_mm <= _CONTACT_MM:
            locations.append(JUXTACORTICAL)
        else:
            locations.append(DEEP_WHITE_MATTER)
    return locations
