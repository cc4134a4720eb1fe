"""Tables of lesions: size and place of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import around_each
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.lesions.confluent import DistinctLesions
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
    return _rows(labels, count, mask, context, box)


def distinct_table(
    distinct: DistinctLesions, context: Context, *, enhancing: Image | None = None
) -> pd.DataFrame:
    """Return one row per distinct lesion: the columns of ``lesion_table`` and what follows.

    Columns: ``group``, the id of the touching group in ``lesion_table``; ``diameter_mm`` of the
    ball of its volume; ``ventricle_mm``, from its nearest voxel to the lateral ventricles, missing
    where no ventricle is known; ``enhancing_mm3``, how much of it enhances, missing where nobody
    looked.
    """
    box = box_around(context.brain)
    image = box.crop.of(distinct.labels)
    labels, count = image.data, len(distinct.unsplit)
    table = _rows(labels, count, image, context, box)
    table.insert(1, "group", np.array(distinct.unsplit, np.int64))
    table["diameter_mm"] = (6 * table["volume_mm3"] / np.pi) ** (1 / 3)
    table["ventricle_mm"] = _to_ventricles_mm(labels, count, context, box)
    lit = None if enhancing is None else box.crop.cut(enhancing.data) > 0
    table["enhancing_mm3"] = (
        np.nan
        if lit is None
        else np.bincount(labels[lit], minlength=count + 1)[1:] * image.voxel_volume_mm3
    )
    return table


def _to_ventricles_mm(
    labels: NDArray[np.int32], count: int, context: Context, box: BrainBox
) -> NDArray[np.float64]:
    """Return the distance of each lesion's nearest voxel to a voxel of the lateral ventricles."""
    fluid = None if context.labels is None else box.crop.cut(context.labels.data)
    inside = np.isin(fluid, LATERAL_VENTRICLES) if fluid is not None else np.zeros(0, bool)
    if not inside.any() or count == 0:
        return np.full(count, np.nan)
    # A tree of the ventricles: distances are asked at lesions alone, a map of them takes seconds.
    tree = KDTree(np.argwhere(inside) * box.voxel_size_mm)
    places = np.argwhere(labels)
    away_mm, _ = tree.query(places * box.voxel_size_mm)
    nearest = np.full(count + 1, np.inf)
    np.minimum.at(nearest, labels[tuple(places.T)], away_mm)
    return nearest[1:]


def _rows(
    labels: NDArray[np.int32], count: int, mask: Image, context: Context, box: BrainBox
) -> pd.DataFrame:
    """Return size and place of each label; ``mask`` is an image on the grid of the labels."""
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
