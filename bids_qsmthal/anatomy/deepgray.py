"""Ventricles, atria and nuclei where the image shows them, starting from the atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.structures import LATERAL_VENTRICLES, VENTRICLES
from bids_qsmthal.core.labels import LATERAL_VENTRICLE, SIDES, parsed

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

NUCLEI_TABLE = "desc-thalamicnuclei_dseg"
"""Label table of the atlas's thalamic nuclei (THOMAS, Saranathan 2021,
doi 10.1038/s41597-021-01062-y)."""

OUTSIDE_THALAMUS = frozenset({"lgn", "mgn", "hb"})
"""Geniculate bodies and habenula, which outlines of the whole thalamus leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ventricles:
    """How ventricles are moved from the atlas to the image.

    Attributes
    ----------
    reach_mm
        Fluid this near to the warped ventricles can belong to them.
    """

    reach_mm: float = 4.0


def refined_ventricles(
    labels: NDArray[np.uint8], csf: Float, voxel_mm: tuple[float, float, float], how: Ventricles
) -> NDArray[np.uint8]:
    """Give the fluid in and near the warped ventricles to them; the rest of the labels stay.

    Fluid counts where more than half of the voxel is fluid, and where the nearest warped label
    among the ventricles is near; it must hang together with the ventricle's inside.
    """
    warped = np.where(np.isin(labels, VENTRICLES), labels, 0)
    distance, nearest = ndimage.distance_transform_edt(
        warped == 0, sampling=voxel_mm, return_indices=True
    )
    owner = warped[tuple(nearest)]
    lateral = np.isin(owner, LATERAL_VENTRICLES)
    # The midline ventricles open into cisterns, which have no wall to stop at.
    reach = np.where(lateral, how.reach_mm, 1.0)
    fluid = (csf > 0.5) & (distance <= reach)
    refined = np.zeros_like(warped)
    for index in VENTRICLES:
        parts, _ = ndimage.label(fluid & (owner == index))
        # A part with no voxel in the warped ventricle is a sulcus or a cistern near by.
        inside = np.unique(parts[(warped == index) & fluid])
        refined[np.isin(parts, inside[inside > 0])] = index
    return refined


def refined_atria(
    atria: NDArray[np.uint8],
    ventricles: NDArray[np.uint8],
    voxel_mm: tuple[float, float, float],
    reach_mm: float = 4.0,
) -> NDArray[np.uint8]:
    """Extend the warped atria to the fluid of the lateral ventricle within ``reach_mm``."""
    refined = np.zeros_like(atria)
    for value, ventricle in zip((1, 2), LATERAL_VENTRICLE, strict=True):
        # Grown sideways only: in front and behind the ventricle goes on as body and horn.
        rows = np.nonzero((atria == value).any(axis=(0, 2)))[0]
        levels = np.nonzero((atria == value).any(axis=(0, 1)))[0]
        if rows.size == 0:
            continue
        box = np.zeros(atria.shape, dtype=bool)
        box[:, rows[0] : rows[-1] + 1, levels[0] : levels[-1] + 1] = True
        near = ndimage.binary_dilation(atria == value, _octahedron(reach_mm, voxel_mm))
        refined[box & near & (ventricles == ventricle)] = value
    return refined


def _octahedron(reach_mm: float, voxel_mm: tuple[float, float, float]) -> Mask:
    """Return the voxels that steps along the axes, ``reach_mm`` in all, lead to."""
    steps = [np.arange(-int(reach_mm / size), int(reach_mm / size) + 1) * size for size in voxel_mm]
    x, y, z = np.meshgrid(*steps, indexing="ij")
    return np.asarray(np.abs(x) + np.abs(y) + np.abs(z) <= reach_mm + 1e-6)


def refined_nuclei(
    nuclei: NDArray[np.uint8], thalamus: tuple[Mask, Mask], voxel_mm: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Fit the warped nuclei to the refined thalamus: cut what is outside, fill what is new.

    Geniculate bodies and habenula, outside the whole-thalamus outline, stay as warped.
    """
    regions = {index: parsed(name) for index, name in atlas.names(NUCLEI_TABLE).items()}
    apart = np.isin(nuclei, [i for i, region in regions.items() if region.name in OUTSIDE_THALAMUS])
    refined = np.where(apart, nuclei, 0).astype(np.uint8)
    for side, mask in zip(SIDES, thalamus, strict=True):
        own = np.isin(nuclei, [i for i, region in regions.items() if region.hemisphere == side])
        own &= ~apart
        if not own.any():
            continue
        nearest = ndimage.distance_transform_edt(
            ~own, voxel_mm, return_distances=False, return_indices=True
        )
        inside = mask & ~apart
        refined[inside] = nuclei[tuple(nearest)][inside]
    return refined
