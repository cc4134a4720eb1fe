"""Gadolinium-enhancing lesions from T1w before and after contrast.

The image after contrast is predicted from the one before, by a transfer of intensities and a
smooth gain; what is brighter than noise and registration explain, lies in a T2 lesion, and is
no vessel, plexus or dura, enhances.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import around_each
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.scan_warnings import EnhancementWithoutLesions, ScanWarning
from bids_qsmthal.lesions.context import (
    VENTRICLES,
    BrainBox,
    Context,
    Mask,
    Volume,
    box_around,
    softened_priors,
    white_is_likeliest,
)
from bids_qsmthal.lesions.flair import Lesions
from bids_qsmthal.lesions.growth import components, grow_to_half_height
from bids_qsmthal.lesions.settings import EnhancingLesions
from bids_qsmthal.lesions.table import lesion_table
from bids_qsmthal.lesions.tissue import polynomials
from bids_qsmthal.lesions.ventricles import enclosed_by_ventricles, lesions_touching

log = logging.getLogger(__name__)

_BINS = 64  # of T1w intensity, for the transfer of intensities
_SAMPLES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Enhancement:
    """Enhancing lesions.

    Attributes
    ----------
    mask
        bool, on the T1w grid.
    table
        One row per enhancing lesion, as in ``lesion_table``, and peak_sd.
    confidence
        0..1, a score and not a probability. Present: 1 - exp(-(peak - threshold) / threshold) of
        the brightest, at least 0.5. Absent: fraction of the T2 lesions and their rim where the
        smallest enhancement of ``visible_fraction`` would have had a voxel above the threshold.
    quality
        Numbers to judge the input by.
    warnings
        What a reader should know.
    """

    mask: Image
    table: pd.DataFrame
    confidence: float
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...]

    @property
    def count(self) -> int:
        """Number of enhancing lesions."""
        return len(self.table)

    @property
    def volume_mm3(self) -> float:
        """Total volume."""
        return float(self.mask.data.sum() * self.mask.voxel_volume_mm3)

    @property
    def present(self) -> bool:
        """Whether any lesion enhances."""
        return self.count > 0


@dataclass(frozen=True, slots=True, eq=False)
class _Uptake:
    """Signal after contrast above the expected one, and how many deviations that is."""

    excess: Volume
    deviations: Volume
    noise: Volume
    fluid: Mask
    brain: Mask
    white: float


@dataclass(frozen=True, slots=True, eq=False)
class _SearchRegion:
    """Where enhancing lesions are sought: within T2 lesions, and ``near`` them with a margin."""

    within: Mask
    near: Mask


def find_enhancing(
    t1w: Image,
    ce_t1w: Image,
    lesions: Lesions | None,
    context: Context,
    *,
    ce_to_t1w: Affine | None = None,
    settings: EnhancingLesions | None = None,
) -> Enhancement:
    """Find enhancing lesions.

    Parameters
    ----------
    t1w
        T1w before contrast, corrected for its gain.
    ce_t1w
        T1w after contrast, any grid and gain.
    lesions
        T2 lesions on the grid of ``t1w``; None searches all white matter, which needs priors and
        gives more false positives.
    context
        Brain mask, and priors and labels if known, on the grid of ``t1w``.
    ce_to_t1w
        4x4 matrix from the world of ``ce_t1w`` to that of ``t1w``; None means the same world.
    settings
        Constants of the method.

    Returns
    -------
    Enhancement
        Mask, table, confidence, quality and warnings.
    """
    settings = settings or EnhancingLesions()
    world = np.eye(4) if ce_to_t1w is None else np.asarray(ce_to_t1w, np.float64)
    box = box_around(context.brain)
    region, warnings = _search_region(lesions, context, box, settings)
    uptake = _uptake(t1w, ce_t1w, context, box, world, settings)
    mask, heights = _enhancing_mask(uptake, region, context, box, settings)
    whole = context.brain.like(box.crop.paste(mask))
    table = lesion_table(whole, context).assign(peak_sd=heights)
    return Enhancement(
        mask=whole,
        table=table,
        confidence=_confidence(heights, uptake, region.near, box, settings),
        quality={
            "noise_percent": 100 * float(np.median(uptake.noise[uptake.brain])) / uptake.white
        },
        warnings=warnings,
    )


def _search_region(
    lesions: Lesions | None, context: Context, box: BrainBox, settings: EnhancingLesions
) -> tuple[_SearchRegion, tuple[ScanWarning, ...]]:
    """Return where an enhancing lesion may be, and warnings."""
    if lesions is not None:
        if lesions.mask.shape != context.brain.shape:
            raise DataError(
                f"lesion mask has the grid {lesions.mask.shape}, T1w has {context.brain.shape};"
                " segment the lesions with the T1w"
            )
        within = np.asarray(box.crop.cut(lesions.mask.data) > 0)
        return _SearchRegion(within, box.dilate(within, settings.near_lesion_mm)), ()
    if context.prior_wm is None:
        everywhere = np.asarray(box.crop.cut(context.brain.data) > 0)
    else:
        everywhere = np.asarray(box.crop.cut(context.prior_wm.data) > 0.9)
    return _SearchRegion(everywhere, everywhere), (EnhancementWithoutLesions(),)


def _uptake(
    t1w: Image,
    ce_t1w: Image,
    context: Context,
    box: BrainBox,
    world: Affine,
    settings: EnhancingLesions,
) -> _Uptake:
    """Return what contrast agent added."""
    there = np.asarray(np.linalg.inv(world), np.float64)
    frame = box.crop.of(context.brain)
    # Cubic splines swing below zero beside sharp edges; a T1w has no negative intensity.
    after = np.maximum(resample(ce_t1w, frame, world=there, order=3).data, 0)
    before = box.crop.cut(t1w.data).astype(np.float32)
    brain = (box.crop.cut(context.brain.data) > 0) & (after > 0) & (before > 0)
    if brain.sum() < 0.5 * context.brain.data.sum():
        raise DataError(
            "post-contrast T1w covers less than half of the brain; look at its registration"
        )
    expected, gain = _expected(before, after, brain)
    # The difference, not the ratio: noise is as strong in dark voxels, where a ratio would explode.
    excess = box.blur(after / gain - expected, 0.5)
    white = _bright_tissue(before, brain)
    level = float(np.median(expected[white]))
    noise = robust.spread(excess[white])
    # Where intensities change, a registration off by a fraction of a voxel looks like uptake:
    # there the threshold rises with the slope.
    slope = np.sqrt(
        sum(
            (component / size) ** 2
            for component, size in zip(
                np.gradient(box.blur(expected, 0.5)), box.voxel_size_mm, strict=True
            )
        )
    )
    total = np.sqrt(noise**2 + (settings.registration_error_mm * slope) ** 2).astype(np.float32)
    half = 0.5 * float(np.median(before[white]))
    return _Uptake(excess, excess / total, total, (before < half) | ~brain, brain, level)


def _bright_tissue(t1w: Volume, brain: Mask) -> Mask:
    """Return white matter by its brightness: the middle of the upper half of the T1w."""
    # By brightness and not by priors: those may be missing, and the noise is wanted, not the
    # tissue.
    low, high = np.quantile(t1w[brain], (0.6, 0.95))
    return np.asarray(brain & (t1w > low) & (t1w < high))


def _expected(before: Volume, after: Volume, brain: Mask) -> tuple[Volume, Volume]:
    """Return the image expected without uptake, and the gain of the image after contrast.

    The transfer is the median of the image after contrast in each bin of the one before; the
    gain is a polynomial of third order. Medians do not see vessels and lesions, a few per cent.
    """
    everywhere = np.flatnonzero(brain)
    sampled = everywhere[:: max(1, everywhere.size // _SAMPLES)]
    x, y, z = np.unravel_index(sampled, brain.shape)
    # Third order: a surface coil's gain over a head, which N4 has not corrected after contrast.
    basis = np.stack([a[x] * b[y] * c[z] for a, b, c in polynomials(brain.shape)], -1)
    old, new = before.ravel()[sampled], after.ravel()[sampled]
    weights = np.zeros(basis.shape[1])
    # Transfer and gain are fitted in turns: each is a median or a fit without the other's error.
    for _ in range(4):
        knots, medians = _transfer(old, new * np.exp(-basis @ weights))
        # A gain multiplies: in the logarithm it is a sum and a linear fit finds it.
        ratio = np.log(np.maximum(new, 1e-6) / np.interp(old, knots, medians))
        rest = ratio - basis @ weights
        calm = np.abs(rest - np.median(rest)) < 3 * robust.spread(rest, 0.0)
        weights = np.linalg.lstsq(basis[calm], ratio[calm], rcond=None)[0]
        # basis[0] is the constant; scale belongs to the transfer, else both could drift against
        # each other.
        weights[0] -= (basis @ weights).mean()
    expected = np.interp(before, knots, medians).astype(np.float32)
    logarithm = np.zeros(brain.shape, np.float32)
    for weight, (a, b, c) in zip(weights, polynomials(brain.shape), strict=True):
        plane = (weight * a[:, None] * b).astype(np.float32)
        logarithm += plane[:, :, None] * c.astype(np.float32)
    return expected, np.exp(logarithm)


def _transfer(
    old: NDArray[np.floating], new: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return knots of a monotone curve from old to new intensities."""
    # Equal numbers in each bin; equal quantiles (integers of a narrow range) leave fewer bins.
    edges = np.unique(np.quantile(old, np.linspace(0, 1, _BINS + 1)))
    owner = np.clip(np.searchsorted(edges, old, "right") - 1, 0, len(edges) - 2)
    index = np.arange(len(edges) - 1)
    knots = np.asarray(ndimage.median(old, owner, index), np.float64)
    medians = np.asarray(ndimage.median(new, owner, index), np.float64)
    # Monotone: brighter before stays brighter after, also in bins with few voxels.
    return knots, np.maximum(np.maximum.accumulate(medians), 1e-6)


def _enhancing_mask(
    uptake: _Uptake,
    region: _SearchRegion,
    context: Context,
    box: BrainBox,
    settings: EnhancingLesions,
) -> tuple[Mask, list[float]]:
    """Return the mask of enhancing lesions and the peak of each in standard deviations."""
    inner = box.distance_mm(~uptake.brain) > settings.surface_mm
    bright = uptake.brain & (uptake.deviations > settings.threshold_sd)
    template, own = _ventricles(context, uptake.fluid & uptake.brain, box)
    # Only seeds are bound to T2 lesions; growth may leave them, and ``_is_lesion`` judges how far.
    seeds = bright & region.near & inner & ~template
    grown = grow_to_half_height(
        seeds,
        uptake.excess,
        bright | seeds,
        box,
        noise=float(uptake.noise.min()),  # where no edge adds to it
        reach_mm=10.0,
    )
    plexus = _plexus(grown, own, uptake.fluid)
    mask = _lesions_of(grown & ~plexus, region.near, uptake.fluid, box, settings)
    # Plexus and a lesion at its side enhance as one part. No margin here: plexus would be within.
    beside = lesions_touching(plexus, own, _mostly_white(context, box))
    mask |= _lesions_of(beside, region.within, uptake.fluid, box, settings)
    # Labelled again as ``lesion_table`` does it: heights and rows must have one order.
    labels, count = components(mask)
    heights = ndimage.maximum(uptake.deviations, labels, range(1, count + 1)) if count else []
    return mask, [float(height) for height in heights]


def _plexus(mask: Mask, ventricles: Mask, fluid: Mask) -> Mask:
    """Return the parts of a mask that are plexus."""
    labels, count = components(mask)
    is_plexus = np.zeros(count + 1, bool)
    for number, crop in around_each(labels, margin=(1, 1, 1)):
        near = crop.slices
        part = labels[near] == number
        is_plexus[number] = _is_plexus(part, ventricles[near], _wet(part, fluid[near]))
    result: Mask = is_plexus[labels]
    return result


def _mostly_white(context: Context, box: BrainBox) -> Mask:
    """Return where white matter is the likeliest tissue; nowhere if no template says so."""
    if not context.has_priors:
        return np.zeros(box.crop.shape, bool)
    return white_is_likeliest(softened_priors(context, box))


def _lesions_of(
    mask: Mask, searched: Mask, fluid: Mask, box: BrainBox, settings: EnhancingLesions
) -> Mask:
    """Return the parts of a mask that are lesions."""
    labels, count = components(mask)
    kept = np.zeros(count + 1, bool)
    for number, crop in around_each(labels, margin=(1, 1, 1)):
        near = crop.slices
        lesion = labels[near] == number
        kept[number] = _is_lesion(lesion, searched[near], _wet(lesion, fluid[near]), box, settings)
    result: Mask = kept[labels]
    return result


def _ventricles(context: Context, fluid: Mask, box: BrainBox) -> tuple[Mask, Mask]:
    """Return the template's ventricles, and with them what the head's own enclose: the plexus."""
    if context.labels is None:
        nowhere = np.zeros(box.crop.shape, bool)
        return nowhere, nowhere
    atlas = box.crop.cut(context.labels.data)
    template = np.isin(atlas, VENTRICLES)
    return template, template | enclosed_by_ventricles(atlas, fluid, box)


def _is_lesion(
    lesion: Mask, searched: Mask, wet: float, box: BrainBox, settings: EnhancingLesions
) -> bool:
    """Tell a lesion from noise (small), vessels (slender, leaving the lesion) and what is wet."""
    extents = np.sort(_extents_mm(lesion, box))
    volume_mm3 = lesion.sum() * float(np.prod(box.voxel_size_mm))
    # Half of the ball of the smallest extent: growth to half of the height may shave a small one.
    if volume_mm3 < np.pi / 12 * settings.minimum_extent_mm**3:
        return False
    if lesion.sum() < settings.minimum_voxels:
        return False
    if extents[-1] < settings.minimum_extent_mm or (lesion & searched).sum() < 0.5 * lesion.sum():
        return False
    # A vessel is long in one direction only; a sheet (dura) and a ball (lesion) are not.
    slender = extents[-1] > settings.slenderness * extents[-2]
    vessel = slender and extents[-2] < settings.vessel_width_mm
    return bool(wet < 0.5 and not vessel)


def _wet(lesion: Mask, fluid: Mask) -> float:
    """Return the share of the voxels next to a lesion that are fluid."""
    shell = ndimage.binary_dilation(lesion) & ~lesion
    return float(fluid[shell].mean())


def _is_plexus(lesion: Mask, ventricles: Mask, wet: float) -> bool:
    """Tell plexus, which lies in a ventricle and hangs in its fluid, from a lesion at its wall.

    On five simulated heads (anatomies that others segmented) plexus lay in the ventricles
    by 68 to 78 % and had 39 to 47 % of its surface in fluid, lesions 0 to 36 and 0 to 10 %.
    """
    return bool(ventricles[lesion].mean() > 0.5 and wet > 0.2)


def _extents_mm(lesion: Mask, box: BrainBox) -> NDArray[np.float64]:
    """Return full lengths along the principal axes, as of a uniform ellipsoid (4.47 deviations).

    A voxel's own width counts: its variance is a twelfth of its size squared.
    """
    size = np.asarray(box.voxel_size_mm)
    points = np.argwhere(lesion) * size
    scatter = np.cov(points.T, bias=True) if len(points) > 1 else np.zeros((3, 3))
    lengths = np.sqrt(20 * np.linalg.eigvalsh(scatter + np.diag(size**2 / 12)))
    return np.asarray(lengths)


def _confidence(
    heights: list[float], uptake: _Uptake, region: Mask, box: BrainBox, settings: EnhancingLesions
) -> float:
    """Return how sure presence or absence is; see ``Enhancement``."""
    if heights:
        # A choice, no calibrated probability: 0.5 at the threshold, .63 at twice of it.
        above = (max(heights) - settings.threshold_sd) / settings.threshold_sd
        return max(0.5, 1 - float(np.exp(-above)))
    searched = region & uptake.brain
    if not searched.any():
        return 1.0
    # A filter as wide as the smallest lesion: it is seen if its quietest voxel passes the
    # threshold.
    reach = [max(1, round(settings.minimum_extent_mm / size)) for size in box.voxel_size_mm]
    noise = ndimage.minimum_filter(uptake.noise, reach)[searched]
    seen = settings.visible_fraction * uptake.white > settings.threshold_sd * noise
    return float(seen.mean())
