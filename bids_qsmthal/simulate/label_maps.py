"""Label maps of heads: read, checked, and taken apart into tissues.

Numbers inside the brain are FreeSurfer's (``aseg``, SynthSeg, parcels as well), outside it those of
charm (Puonti 2020, doi 10.1016/j.neuroimage.2020.117044).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import rescaled, voxel_sizes_mm
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.core.labels import CORTICAL_PARCELS, TABLE, WHITE_PARCELS, Group, TissueClass

if TYPE_CHECKING:
    from pathlib import Path

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]

STEP_MM: Final = 1.0
LARGEST_MM: Final = 2.0
"""Labels of larger voxels hold no cortex: it is 2 to 4 mm thick."""

UNEVEN_MM: Final = 0.25
"""Voxels that differ from ``STEP_MM`` by more are resampled to it, nearest label."""

UNKNOWN: Final = 0.02
"""Fraction of the brain that may have numbers which are not known, at the borders of a program's
own structures."""

OTHER_NUMBERS: Final = {136: 31, 137: 31, 163: 63, 164: 63}
"""Choroid plexus of body and horn, left and right, in SynthSeg's training heads
(doi 10.1016/j.media.2023.102789): FreeSurfer has one number a side."""

NEEDED: Final = ("thalamus", "lateral_ventricle", "cerebral_white_matter")

SKULL: Final = 165
HEAD: Final = 258
"""FreeSurfer's numbers of skull and scalp."""

CHARM: Final = range(500, CORTICAL_PARCELS.start)

AGE_LESIONS: Final = (25, 57)
"""FreeSurfer's left and right lesion; in SynthSeg's training heads, lesions of age."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Labels of a head in voxels of about 1 mm.

    Attributes
    ----------
    labels
        Numbers; inside the brain only such as ``TABLE`` and the parcels have.
    brain
        What is labelled inside the skull, fluid included.
    outside
        What is labelled outside.
    """

    labels: Image
    brain: Mask
    outside: Mask


def read(path: Path) -> LabelMap:
    """Read and check a label map.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        Not a label map of a whole brain with known numbers.
    """
    image = nifti.load(path)
    labels = _evenly(image.like(_numbers(image, path)))
    for theirs, number in OTHER_NUMBERS.items():
        labels.data[labels.data == theirs] = number
    outside = np.isin(labels.data, (*CHARM, SKULL, HEAD))
    brain = (labels.data > 0) & ~outside
    _check_whole(labels.data, path)
    unknown = brain & (tissue_of(labels.data) == 0)
    _check_known(labels.data, brain, unknown, path)
    return LabelMap(labels.like(nearest(labels.data, brain & ~unknown, unknown)), brain, outside)


def tissue_of(labels: Labels) -> NDArray[np.uint8]:
    """Return the ``TissueClass`` of each voxel inside the brain; 0 for a number that is not known.

    Lesions, brainstem and ventral diencephalon (most of which is white) are white matter.
    """
    table = np.zeros(max(int(labels.max()) + 1, WHITE_PARCELS.stop), np.uint8)
    for kind in TissueClass:
        table[list(TABLE.of_tissue(kind))] = kind
    white = (*TABLE.indices(Group.LESIONS), *AGE_LESIONS, *TABLE.pair("ventral_dc"))
    table[list(white)] = TissueClass.WHITE
    table[CORTICAL_PARCELS.start : CORTICAL_PARCELS.stop] = TissueClass.GRAY
    table[WHITE_PARCELS.start : WHITE_PARCELS.stop] = TissueClass.WHITE
    return table[labels]


def nearest(values: NDArray[np.generic], good: Mask, wanted: Mask) -> NDArray[np.generic]:
    """Return the values, where ``wanted`` those of the nearest voxel that is good."""
    if not wanted.any():
        return values
    where = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    filled = values.copy()
    filled[wanted] = values[tuple(axis[wanted] for axis in where)]
    return filled


def _numbers(image: Image, path: Path) -> Labels:
    values = image.data
    # FreeSurfer goes up to 14,175.
    whole = values.ndim == 3 and bool((values == np.round(values)).all())
    if not whole or values.min() < 0 or values.max() >= 2**15:
        raise DataError(
            f"{path}: not a label map; expected three axes and whole numbers from 0 on, those of "
            "FreeSurfer. Give the labels (aseg.mgz, or what SynthSeg wrote), not a scan."
        )
    size_mm = voxel_sizes_mm(image.affine).max()
    if size_mm > LARGEST_MM + 0.01:
        raise DataError(
            f"{path}: voxels of {size_mm:.3g} mm; expected {LARGEST_MM:g} mm at most. Segment a "
            "scan of about 1 mm."
        )
    return values.astype(np.int32)


def _evenly(labels: Image) -> Image:
    """Return the labels in voxels of about 1 mm along each axis."""
    size_mm = voxel_sizes_mm(labels.affine)
    if np.abs(size_mm - STEP_MM).max() <= UNEVEN_MM:
        return labels
    x, y, z = (int(np.ceil(n * s / STEP_MM)) for n, s in zip(labels.shape, size_mm, strict=True))
    fine = rescaled(labels.affine, STEP_MM / size_mm)
    return resample(labels, Image(np.broadcast_to(np.uint8(0), (x, y, z)), fine), order=0)


def _check_whole(labels: Labels, path: Path) -> None:
    present = set(np.unique(labels).tolist())
    numbers = {index for name in NEEDED for index in TABLE.pair(name)}
    missing = [TABLE.labels[index] for index in sorted(numbers - present)]
    if missing:
        raise DataError(
            f"{path}: no voxel of {', '.join(missing)}; expected FreeSurfer's numbers (thalami 10 "
            "and 49) in a whole brain. Segment it with FreeSurfer, SynthSeg or charm."
        )


def _check_known(labels: Labels, brain: Mask, unknown: Mask, path: Path) -> None:
    share = float(unknown.sum()) / float(brain.sum())
    if share > UNKNOWN:
        numbers = ", ".join(map(str, np.unique(labels[unknown])[:5].tolist()))
        raise DataError(
            f"{path}: {100 * share:.0f} % of the brain has numbers that are not known ({numbers}); "
            "expected those of FreeSurfer. Change them, or set them to 0."
        )
