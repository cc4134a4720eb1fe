"""Veins at the thalamus: tubes that are bright on susceptibility and on R2*.

The internal cerebral veins and the basal veins of Rosenthal run along the medial and lower border
of the thalamus and the thalamostriate veins along its upper one; smaller veins cross it. Each
holds about 0.3 ppm against a few hundredths in tissue, so few voxels move the mean by much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.crop import around, margin_voxels
from bids_qsmthal.roi.morphology import (
    dilated,
    eroded,
    robust_centre_and_spread,
)

if TYPE_CHECKING:
    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize


@dataclass(frozen=True, slots=True, kw_only=True)
class VeinRule:
    """How veins are found.

    Attributes
    ----------
    radii_mm
        Radii of the tubes looked for: from veins thinner than a voxel to the internal cerebral
        vein (about 1 mm).
    neighbourhood_mm
        How far round the thalami veins are looked for.
    background_mm
        Width of the median filter that gives the tissue a vein stands in: four times the
        thickest vein, so a vein never fills half of it.
    seed_spreads, growth_spreads
        Contrast, in robust SD of the thalamus, of a sure vein voxel and of one connected to it.
    prior_gain
        Spreads by which both thresholds fall where the prior is certain of a vein.
    dilation_mm
        Width of the shell added, for the voxels a vein fills only in part: about a vein's
        radius. Voxels wider than this hold the shell already, so nothing is added to them.
    large_only
        Leave out the large veins along the border alone, as the reader of Chiang 2018 did
        (doi 10.3174/ajnr.A5537): the internal cerebral and basal veins, not those inside.
    large_length_mm
        Least extent of a large vein: a third of the 30 mm that an internal cerebral vein has.
    border_mm
        How deep in the thalamus they are cut away: the largest diameter of ``radii_mm`` fits twice
        into no more, and what lies deeper is a vein of the thalamus's own.
    """

    radii_mm: tuple[float, ...] = (0.5, 1.0, 1.5)
    neighbourhood_mm: float = 6.0
    background_mm: float = 8.0
    seed_spreads: float = 4.0
    growth_spreads: float = 2.5
    prior_gain: float = 1.0
    dilation_mm: float = 0.5
    large_only: bool = False
    large_length_mm: float = 10.0
    border_mm: float = 2.0


def vesselness(values: Array, voxel_size_mm: VoxelSize, *, radii_mm: tuple[float, ...]) -> Array:
    """Return how much each voxel looks like a bright tube: 0 to 1, the best over radii.

    Frangi et al. 1998 (doi 10.1007/BFb0056195) with alpha = beta = 1/2 and c half the largest
    norm of the Hessian, which is taken per mm so voxels of any shape give the same answer. A
    Gaussian narrower than 0.6 voxel cannot be sampled, so along a thick axis it is widened.
    """
    best = np.zeros(values.shape, dtype=np.float32)
    for radius in radii_mm:
        eigenvalues = _hessian_eigenvalues(values, voxel_size_mm, radius)
        np.maximum(best, _frangi(eigenvalues), out=best)
    return best


def _hessian_eigenvalues(values: Array, voxel_size_mm: VoxelSize, radius_mm: float) -> Array:
    """Return the eigenvalues of the scale-normalised Hessian, by ascending magnitude."""
    sigma = [max(radius_mm / size, 0.6) for size in voxel_size_mm]
    hessian = np.empty((*values.shape, 3, 3), dtype=np.float32)
    for i in range(3):
        for j in range(i, 3):
            order = [0, 0, 0]
            order[i] += 1
            order[j] += 1
            second = ndimage.gaussian_filter(values, sigma, order=order, mode="nearest")
            # Per voxel squared to per mm squared, times the scale squared (Lindeberg 1998).
            scale = sigma[i] * voxel_size_mm[i] * sigma[j] * voxel_size_mm[j]
            hessian[..., i, j] = hessian[..., j, i] = second * (
                scale / (voxel_size_mm[i] * voxel_size_mm[j])
            )
    eigenvalues = np.linalg.eigvalsh(hessian)
    ascending = np.argsort(np.abs(eigenvalues), axis=-1)
    sorted_values: Array = np.take_along_axis(eigenvalues, ascending, axis=-1)
    return sorted_values


def _frangi(eigenvalues: Array) -> Array:
    along, across, strongest = np.moveaxis(eigenvalues, -1, 0)
    norm = np.sqrt(along**2 + across**2 + strongest**2)
    # Where the map is flat all eigenvalues are 0, and so are both quotients.
    tiny = np.finfo(np.float32).tiny
    plate = np.abs(across) / np.maximum(np.abs(strongest), tiny)
    ball = np.abs(along) / np.maximum(np.sqrt(np.abs(across * strongest)), tiny)
    half = max(0.5 * float(norm.max(initial=0.0)), float(tiny))
    # With alpha = beta = 1/2 the factor 1 / (2 alpha^2) is 2.
    tube = (
        (1 - np.exp(-2 * plate**2)) * np.exp(-2 * ball**2) * (1 - np.exp(-0.5 * (norm / half) ** 2))
    )
    # Curved downwards in both directions across: a bright tube. Venous blood is paramagnetic.
    bright: Array = np.where((across < 0) & (strongest < 0), tube, 0.0).astype(np.float32)
    return bright


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VeinImages:
    """What veins are found from, all of shape (x, y, z) on the GRE grid.

    Attributes
    ----------
    chi_ppm, r2star_hz
        The maps; ``r2star_hz`` is None for a single echo.
    usable
        Where susceptibility was reconstructed.
    thalami
        Both thalami as labelled.
    iron_rich
        Neighbours as bright as a vein (caudate, pallidum, ...): no vein is sought there.
    prior
        Probability of a vein at each place, or None.
    """

    chi_ppm: Array
    usable: Mask
    thalami: Mask
    iron_rich: Mask
    r2star_hz: Array | None = None
    prior: Array | None = None


def veins(images: VeinImages, voxel_size_mm: VoxelSize, *, rule: VeinRule) -> Mask:
    """Return the veins in and round the thalami.

    A seed stands out from the tissue round it (a median over ``rule.background_mm``) by
    ``seed_spreads`` and is part of a tube, or shows by R2* as well; voxels that touch it and
    stand out by ``growth_spreads`` follow. Spreads are robust and measured in the thalamus
    itself, so the thresholds follow the noise and the iron pattern of the image at hand.
    """
    mask = np.zeros_like(images.usable)
    # Beyond the neighbourhood 8 mm more: four sigma of the widest Gaussian (6 mm) and half of the
    # median filter (4 mm) do not reach the cut edge.
    margin = margin_voxels(2 * rule.neighbourhood_mm + 2.0, voxel_size_mm)
    crop = around(images.thalami, margin=margin)
    if crop is None:
        return mask
    box = crop.slices
    thalami, usable = images.thalami[box], images.usable[box]
    chi = _filled(images.chi_ppm[box], thalami, usable)
    contrast = _contrast(chi, thalami & usable, voxel_size_mm, rule)
    if images.prior is not None:
        contrast = contrast + np.float32(rule.prior_gain) * images.prior[box]
    sought = dilated(thalami, voxel_size_mm, rule.neighbourhood_mm) & usable
    # Iron in a neighbour is as bright as blood: there brightness tells no vein.
    sought &= thalami | ~images.iron_rich[box]
    # Any score above 0: its size depends on the sharpest edge of the crop (c of Frangi), so that a
    # threshold on it would differ between scans. How bright is enough the contrast decides.
    sure = vesselness(chi, voxel_size_mm, radii_mm=rule.radii_mm) > 0
    if images.r2star_hz is not None:
        decay = _filled(images.r2star_hz[box], thalami, usable)
        r2star = _contrast(decay, thalami & usable, voxel_size_mm, rule)
        # Deoxygenated blood decays faster than tissue, also where a vein is no tube (confluences).
        sure |= r2star > rule.growth_spreads
    seeds = sought & sure & (contrast > rule.seed_spreads)
    grown = ndimage.binary_propagation(
        seeds, structure=np.ones((3, 3, 3)), mask=sought & (contrast > rule.growth_spreads)
    )
    found = dilated(grown, voxel_size_mm, rule.dilation_mm) & usable
    mask[box] = large(found, thalami, voxel_size_mm, rule) if rule.large_only else found
    return mask


def large(found: Mask, thalami: Mask, voxel_size_mm: VoxelSize, rule: VeinRule) -> Mask:
    """Return of the veins those along the border of the thalami that are long."""
    # Cut at this depth first: a small vein inside that meets a large one is no part of it.
    along = found & ~eroded(thalami, voxel_size_mm, rule.border_mm)
    parts, _ = ndimage.label(along, structure=np.ones((3, 3, 3)))
    kept = np.zeros_like(found)
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        extent_mm = np.hypot.reduce(
            [(p.stop - p.start) * size for p, size in zip(place, voxel_size_mm, strict=True)]
        )
        if extent_mm >= rule.large_length_mm:
            kept[place] |= parts[place] == number
    return kept


def _filled(values: Array, tissue: Mask, usable: Mask) -> Array:
    """Return values with tissue where nothing was measured: the edge of a mask is no vein."""
    seen = tissue & usable
    level = np.median(values[seen]) if seen.any() else 0.0
    filled: Array = np.where(usable, values, level).astype(np.float32)
    return filled


def _contrast(values: Array, tissue: Mask, voxel_size_mm: VoxelSize, rule: VeinRule) -> Array:
    """Return how far each voxel stands out from its surroundings, in spreads of the tissue."""
    # Odd, so that the filter has a middle voxel.
    width = [max(3, round(rule.background_mm / size) | 1) for size in voxel_size_mm]
    excess = values - ndimage.median_filter(values, size=width, mode="nearest")
    if not tissue.any():
        return np.zeros_like(values)
    centre, spread = robust_centre_and_spread(excess[tissue])
    if not spread > 0:
        return np.zeros_like(values)
    contrast: Array = (excess - centre) / spread
    return contrast
