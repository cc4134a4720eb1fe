"""Tables of lesions: size and place of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from bids_qsmthal.image import Image
from bids_qsmthal.lesions.context import BRAINSTEM, CEREBELLUM, LATERAL_VENTRICLES, Context
from bids_qsmthal.lesions.growth import components

PERIVENTRICULAR, JUXTACORTICAL = "periventricular", "juxtacortical"
INFRATENTORIAL, DEEP_WHITE_MATTER = "infratentorial", "deep white matter"
_COLUMNS = ("id", "volume_mm3", "location", "x_mm", "y_mm", "z_mm")
_CONTACT_MM = 2.0  # "in contact" within the error of the registered template


def lesion_table(mask: Image, context: Context) -> pd.DataFrame:
    """Return one row per lesion: id, volume_mm3, location and centre (x_mm, y_mm, z_mm; RAS+).

    Locations follow the MAGNIMS rules (Filippi et al. 2016, doi:10.1016/S1474-4422(15)00393-2;
    2019, doi:10.1093/brain/awz144): infratentorial in brainstem or cerebellum; periventricular
    when in contact with a lateral ventricle; juxtacortical when in contact with the cortex; else
    deep white matter. Contact means within 2 mm, the error of the template. Location is "n/a"
    where no atlas is known.
    """
    labels, count = components(mask.data > 0)
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:] * mask.voxel_volume_mm3
    places = _places(labels, count, context)
    rows = []
    for number, found in enumerate(ndimage.find_objects(labels, count)):
        voxels = np.argwhere(labels[found] == number + 1) + [cut.start for cut in found]
        centre = mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]
        rows.append((number + 1, float(size[number]), places[number], *centre.round(1).tolist()))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.astype({"id": "int64", "volume_mm3": "float64", "location": "object"})


def _places(labels: np.ndarray, count: int, context: Context) -> list[str]:
    """Return the location class of each component."""
    if context.labels is None or context.prior_gm is None or count == 0:
        return ["n/a"] * count
    size_mm, atlas, index = (
        context.brain.grid.voxel_size_mm,
        context.labels.data,
        range(1, count + 1),
    )
    below = ndimage.mean(np.isin(atlas, (*BRAINSTEM, *CEREBELLUM)), labels, index)
    nearest = []
    cortex = (context.prior_gm.data > 0.5) & (atlas == 0)
    for place in (np.isin(atlas, LATERAL_VENTRICLES), cortex):
        distance = ndimage.distance_transform_edt(~place, size_mm) if place.any() else None
        nearest.append(
            np.full(count, np.inf) if distance is None else ndimage.minimum(distance, labels, index)
        )
    places = []
    for share, ventricle_mm, cortex_mm in zip(below, *nearest, strict=True):
        if share > 0.5:
            places.append(INFRATENTORIAL)
        elif ventricle_mm <= _CONTACT_MM:
            places.append(PERIVENTRICULAR)
        elif cortex_mm <= _CONTACT_MM:
            places.append(JUXTACORTICAL)
        else:
            places.append(DEEP_WHITE_MATTER)
    return places
