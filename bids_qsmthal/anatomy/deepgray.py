"""Thalamus and ventricles where the image shows them, starting from where the atlas puts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy.structures import LATERAL_VENTRICLES, VENTRICLES

if TYPE_CHECKING:
    from bids_qsmthal.anatomy.tissue import Fractions

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

LOGISTIC = np.pi / np.sqrt(3)
"""Slope of the logistic curve whose standard deviation is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepGray:
    """How borders are moved from the atlas to the image.

    Attributes
    ----------
    border_uncertainty_mm
        How far the warped border of the thalamus is expected from the true one (standard
        deviation); registrations of this kind leave about one voxel.
    reach_mm
        No border moves farther than this.
    outlier_share
        Share of voxels whose intensity says nothing (partial volume, vessels, lesions, nuclei
        of other kinds): bounds how far intensity can overrule the atlas.
    ventricle_reach_mm
        Fluid this near to the warped ventricles can belong to them.
    """

    border_uncertainty_mm: float = 1.0
    reach_mm: float = 3.0
    outlier_share: float = 0.01
    ventricle_reach_mm: float = 4.0


def refined_thalamus(
    t1w: Float, prior: Float, tissue: Fractions, voxel_mm: tuple[float, float, float], how: DeepGray
) -> Float:
    """Move the border of one thalamus to where intensities change.

    The thalamus grows brighter towards the capsule; its intensity is therefore a plane in space
    fitted to its inside. Outside are the tissues of the neighbourhood. A voxel's share of thalamus
    is the posterior of inside against outside, the prior being the distance from the warped
    border in units of its uncertainty.

    Parameters
    ----------
    t1w
        Even intensities, shape (x, y, z).
    prior
        Warped probability of this thalamus.
    tissue
        Fractions and intensities of the tissues.
    voxel_mm
        Size of a voxel.
    how
        Parameters.

    Returns
    -------
    NDArray
        Share of thalamus in each voxel, 0 to 1.
    """
    result = np.zeros(t1w.shape, dtype=np.float32)
    if not (prior > 0.5).any():
        return result
    box = _box(prior > 0.5, voxel_mm, how.reach_mm + 6.0)
    signed_mm = _signed_distance(prior[box] > 0.5, voxel_mm)
    values = t1w[box].astype(np.float64)
    span = abs(tissue.means[2] - tissue.means[0])
    inside_mean, inside_sd = _plane(values, signed_mm >= 1.5, voxel_mm)
    inside = _normal(values, inside_mean, inside_sd)
    outside = _outside(values, tissue, box, signed_mm)
    inside, outside = (
        (1 - how.outlier_share) * density + how.outlier_share / span
        for density in (inside, outside)
    )
    # A voxel is decided together with its neighbours, or noise would fray the border.
    evidence = ndimage.gaussian_filter(np.log(inside / outside), 1.0)
    expected = LOGISTIC * signed_mm / how.border_uncertainty_mm
    posterior = 1 / (1 + np.exp(-np.clip(expected + evidence, -30, 30)))
    posterior = np.where(np.abs(signed_mm) < how.reach_mm, posterior, signed_mm > 0)
    whole = _largest(ndimage.binary_opening(posterior > 0.5))
    whole = ndimage.binary_propagation(
        whole, mask=ndimage.binary_dilation(whole) & (posterior > 0.5)
    )
    # Beside the voxels that are thalamus lie those which it shares with something else; what
    # is fluid there is no thalamus.
    rim = ndimage.binary_dilation(whole)
    result[box] = np.where(rim, np.minimum(posterior, 1 - tissue.csf[box]), 0)
    return result


def _outside(
    values: NDArray[np.float64],
    tissue: Fractions,
    box: tuple[slice, ...],
    signed_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Density of intensities beside the thalamus: the three tissues as they are mixed there."""
    around = ((signed_mm < -1.0) & (signed_mm > -6.0)).astype(np.float32)
    amounts = [
        ndimage.gaussian_filter(part[box] * around, 2.0)
        for part in (tissue.csf, tissue.gm, tissue.wm)
    ]
    total = np.maximum(sum(amounts), 1e-6)
    density = np.zeros(values.shape)
    for amount, mean, spread in zip(amounts, tissue.means, tissue.spread, strict=True):
        density += np.clip(amount / total, 0.02, 1) * _normal(values, mean, spread)
    return density


def refined_ventricles(
    labels: NDArray[np.uint8], csf: Float, voxel_mm: tuple[float, float, float], how: DeepGray
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
    reach = np.where(lateral, how.ventricle_reach_mm, 1.0)
    fluid = (csf > 0.5) & (distance <= reach)
    refined = np.zeros_like(warped)
    for index in VENTRICLES:
        parts, _ = ndimage.label(fluid & (owner == index))
        inside = np.unique(parts[(warped == index) & fluid])
        refined[np.isin(parts, inside[inside > 0])] = index
    return refined


def refined_atria(atria: NDArray[np.uint8], ventricles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Extend the warped atria to the fluid of the lateral ventricle beside them."""
    refined = np.zeros_like(atria)
    for value, ventricle in zip((1, 2), LATERAL_VENTRICLES, strict=True):
        rows = np.nonzero((atria == value).any(axis=(0, 2)))[0]
        levels = np.nonzero((atria == value).any(axis=(0, 1)))[0]
        if rows.size == 0:
            continue
        box = np.zeros(atria.shape, dtype=bool)
        box[:, rows[0] : rows[-1] + 1, levels[0] : levels[-1] + 1] = True
        near = ndimage.binary_dilation(atria == value, iterations=4)
        refined[box & near & (ventricles == ventricle)] = value
    return refined


def refined_nuclei(nuclei: NDArray[np.uint8], thalamus: tuple[Mask, Mask]) -> NDArray[np.uint8]:
    """Fit the warped nuclei to the refined thalamus: cut what is outside, fill what is new.

    Geniculate bodies and habenula, outside the whole-thalamus outline, stay as warped.
    """
    apart = np.isin(nuclei % 20, (7, 8, 11)) & (nuclei > 0)
    refined = np.where(apart, nuclei, 0).astype(np.uint8)
    for side, mask in zip((0, 20), thalamus, strict=True):
        own = (nuclei > side) & (nuclei <= side + 12) & ~apart
        if not own.any():
            continue
        nearest = ndimage.distance_transform_edt(~own, return_distances=False, return_indices=True)
        inside = mask & ~apart
        refined[inside] = nuclei[tuple(nearest)][inside]
    return refined


def _box(mask: Mask, voxel_mm: tuple[float, float, float], margin_mm: float) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, part.start - round(margin_mm / size)), part.stop + round(margin_mm / size))
        for part, size in zip(found, voxel_mm, strict=True)
    )


def _signed_distance(mask: Mask, voxel_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance to the border in mm, positive inside."""
    inside = ndimage.distance_transform_edt(mask, sampling=voxel_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=voxel_mm)
    half = float(np.mean(voxel_mm)) / 2
    signed: NDArray[np.float64] = np.where(mask, inside - half, half - outside)
    return signed


def _plane(
    values: NDArray[np.float64], inside: Mask, voxel_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float64], float]:
    """Fit a plane to the inside, outliers (lesions, veins) dropped once; value anywhere, spread."""
    grid = np.indices(values.shape).reshape(3, -1).T * np.array(voxel_mm)
    design = np.column_stack([np.ones(len(grid)), grid - grid[inside.ravel()].mean(0)])
    chosen = inside.ravel()
    flat = values.ravel()
    for _ in range(2):
        weights = np.linalg.lstsq(design[chosen], flat[chosen], rcond=None)[0]
        residual = flat - design @ weights
        spread = 1.4826 * float(np.median(np.abs(residual[chosen])))
        chosen = inside.ravel() & (np.abs(residual) < 3 * spread)
    fitted = (design @ weights).reshape(values.shape)
    return fitted, max(spread, 1e-6)


def _normal(
    values: NDArray[np.float64], mean: NDArray[np.float64] | float, spread: float
) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-0.5 * ((values - mean) / spread) ** 2) / (
        spread * np.sqrt(2 * np.pi)
    )
    return density


def _largest(mask: Mask) -> Mask:
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest: Mask = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return largest
