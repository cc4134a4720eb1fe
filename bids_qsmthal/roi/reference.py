"""The CSF reference: where susceptibility is zero by definition.

The atria of the lateral ventricles (Chiang et al. 2018, doi 10.3174/ajnr.A5537) hold the largest
pools of pure CSF and also the choroid plexus, which is vascular and often calcified. The
candidates are therefore eroded and cleaned by R2*, magnitude and susceptibility, and a written
ladder says what happens when too little is left. Below which R2* a voxel is fluid says
``qsm.fluid``, for MEDI+0 and here alike: it follows the tissue of the scan and its field strength.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, spatial

from bids_qsmthal.core import robust
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm import fluid
from bids_qsmthal.roi.morphology import (
    eroded,
    largest_components,
    robust_centre_and_spread,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import Labels, VoxelSize


class ReferenceRegion(StrEnum):
    """Where the reference lies; the values are those of ``ReferenceRule.region``."""

    CIRCLES = "circles"
    ATRIA = "atria"
    VENTRICLES = "ventricles"
    GLOBAL_CSF = "global"
    BRAIN = "brain"
    EXTERNAL = "external"


LABELS = {
    ReferenceRegion.CIRCLES: "a circle in each atrium",
    ReferenceRegion.ATRIA: "atria",
    ReferenceRegion.VENTRICLES: "lateral ventricles",
    ReferenceRegion.GLOBAL_CSF: "global CSF",
    ReferenceRegion.BRAIN: "whole brain",
    ReferenceRegion.EXTERNAL: "external mask",
}
"""What tables and the log call each."""

LADDER = (
    ReferenceRegion.CIRCLES,
    ReferenceRegion.ATRIA,
    ReferenceRegion.VENTRICLES,
    ReferenceRegion.GLOBAL_CSF,
    ReferenceRegion.BRAIN,
)
"""Every region from the smallest down: the ladder starts at the one that the rule names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLevel:
    """A level of the reference ladder.

    Attributes
    ----------
    region
        Where it lies.
    erosion_mm
        By how much that region was eroded; None where it is not eroded in steps.
    radius_mm
        Of each circle; None where the reference is no circle.
    step
        How many levels were tried before; 0 is the first choice.
    """

    region: ReferenceRegion
    erosion_mm: float | None = None
    radius_mm: float | None = None
    step: int

    @property
    def label(self) -> str:
        """What tables call it, such as ``atria eroded by 1 mm``."""
        name = LABELS[self.region]
        if self.radius_mm is not None:
            return f"{name}, radius {self.radius_mm:g} mm"
        return name if self.erosion_mm is None else f"{name} eroded by {self.erosion_mm:g} mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRule:
    """How the CSF reference is chosen.

    Attributes
    ----------
    region
        Where the ladder starts.
    erosions_mm
        Erosions of the atria to try, deepest first: 2, 1 and 0 voxels of a 1 mm T1w image. The
        border errs by about that much whatever the size of the GRE voxels, and a voxel counts
        only if its whole box is that deep.
    circles_mm
        Radius of the circles and erosion of the atria they lie in, to be tried in this order. The
        study (Chiang 2018) says "small" and no more; atria of young people are about 10 mm wide.
    minimum_voxels
        Fewer independent voxels lead to the next level. Below a hundred, noise of 10-20 ppb a
        voxel with its spatial correlation moves the mean by more than about 2 ppb.
    minimum_side_share
        Each side must hold this share of the voxels, or the next level is tried: the reference
        is both atria, so a gradient of background field cancels.
    outlier_spreads
        Distance from the median, in 1.4826 MAD, beyond which a voxel is not CSF: 3.5 (Iglewicz
        and Hoaglin 1993), or one in 2000 of a normal sample.
    centre_radius_mm, brain_erosion_mm
        Global CSF lies within this radius of the brain centre and this deep in the brain (MEDI+0).
    """

    region: ReferenceRegion = ReferenceRegion.ATRIA
    erosions_mm: tuple[float, ...] = (2.0, 1.0, 0.0)
    circles_mm: tuple[tuple[float, float], ...] = ((3.0, 1.0), (2.0, 1.0), (2.0, 0.0))
    minimum_voxels: int = 100
    minimum_side_share: float = 0.15
    outlier_spreads: float = 3.5
    centre_radius_mm: float = 30.0
    brain_erosion_mm: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceImages:
    """What the reference is chosen from, all of shape (x, y, z) on the GRE grid.

    Attributes
    ----------
    chi_ppm, magnitude, r2star_hz
        The maps; ``r2star_hz`` is None for a single echo.
    usable
        Where susceptibility was reconstructed.
    side
        1 left, 2 right of the midplane.
    atria_depth_mm, ventricles_depth_mm
        How deep in the label the shallowest point of each voxel lies; None without labels.
    csf_probability
        Share of CSF in each voxel; None if unknown.
    thalami
        Both thalami as labelled; None if there are none.
    slice_axis
        The voxel axis that runs most nearly from foot to head.
    voxels_per_acquired
        How many voxels are one independent voxel, after interpolation.
    fluid
        Where the echoes say fluid (the reference of MEDI+0); None where the map is external.
    """

    chi_ppm: Array
    magnitude: Array
    usable: Mask
    side: Labels
    r2star_hz: Array | None = None
    atria_depth_mm: Array | None = None
    ventricles_depth_mm: Array | None = None
    csf_probability: Array | None = None
    thalami: Mask | None = None
    slice_axis: int = 2
    voxels_per_acquired: float = 1.0
    fluid: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The voxels chosen and why.

    Attributes
    ----------
    labels
        uint8, shape (x, y, z): 1 left, 2 right.
    level
        The level of the ladder that was used.
    rejected
        Voxels of that level lost to each criterion.
    """

    labels: Labels
    level: ReferenceLevel
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def mask(self) -> Mask:
        """Both sides together."""
        mask: Mask = self.labels > 0
        return mask

    @property
    def fluid(self) -> Mask:
        """The voxels that are CSF: none where the reference is the whole brain."""
        brain = self.level.region is ReferenceRegion.BRAIN
        return np.zeros_like(self.mask) if brain else self.mask


def csf_reference(
    images: ReferenceImages, voxel_size_mm: VoxelSize, *, rule: ReferenceRule
) -> Reference:
    """Return the first level of the ladder that holds enough clean CSF on both sides.

    The levels: a circle in each atrium, where the rule starts there; atria eroded by each of
    ``rule.erosions_mm``; the whole lateral ventricles, eroded and not; global CSF; the whole brain,
    which always suffices and is not CSF.
    """
    tried = 0
    if rule.region is ReferenceRegion.CIRCLES and images.atria_depth_mm is not None:
        for radius_mm, depth_mm in rule.circles_mm:
            deep = images.usable & (images.atria_depth_mm >= depth_mm)
            kept, rejected = cleaned(deep, images, voxel_size_mm, rule=rule)
            circles = circle_of_each_side(kept, images, voxel_size_mm, radius_mm)
            if circles is not None:
                level = ReferenceLevel(
                    region=ReferenceRegion.CIRCLES, radius_mm=radius_mm, step=tried
                )
                return _result(circles, images, level, rejected)
            tried += 1
    ladder = _ladder(images, voxel_size_mm, rule)
    for step, (region, erosion_mm, candidates) in enumerate(ladder, tried):
        level = ReferenceLevel(region=region, erosion_mm=erosion_mm, step=step)
        if region is ReferenceRegion.BRAIN:
            return _result(candidates, images, level, {})
        kept, rejected = cleaned(candidates, images, voxel_size_mm, rule=rule)
        if _enough(kept, images, rule):
            return _result(kept, images, level, rejected)
    raise AssertionError("the ladder ends with the whole brain")


def _ladder(
    images: ReferenceImages, voxel_size_mm: VoxelSize, rule: ReferenceRule
) -> Iterator[tuple[ReferenceRegion, float | None, Mask]]:
    """Yield region, erosion and candidates of each level, from the first that the rule allows."""
    start = LADDER.index(rule.region) - LADDER.index(ReferenceRegion.ATRIA)
    if start <= 0 and images.atria_depth_mm is not None:
        for radius in rule.erosions_mm:
            deep = images.usable & (images.atria_depth_mm >= radius)
            yield ReferenceRegion.ATRIA, radius, deep
    if start <= 1 and images.ventricles_depth_mm is not None:
        # The atria are the widest part of the ventricles: the deepest erosion leaves little else.
        for radius in rule.erosions_mm[1:]:
            deep = images.usable & (images.ventricles_depth_mm >= radius)
            yield ReferenceRegion.VENTRICLES, radius, deep
    if start <= 2:
        yield ReferenceRegion.GLOBAL_CSF, None, global_csf(images, voxel_size_mm, rule=rule)
    yield ReferenceRegion.BRAIN, None, images.usable


def circle_of_each_side(
    fluid: Mask, images: ReferenceImages, voxel_size_mm: VoxelSize, radius_mm: float
) -> Mask | None:
    """Return a circle of fluid in one slice of each side, next to the thalamus of that side.

    As a reader places them (Chiang 2018, doi 10.3174/ajnr.A5537): wholly in the fluid of an axial
    slice, "adjacent to the thalamus". None where it does not fit on both sides.
    """
    fits = ndimage.binary_erosion(fluid, _disc(voxel_size_mm, radius_mm, images.slice_axis))
    circles = np.zeros_like(fluid)
    for side in (1, 2):
        centres = np.argwhere(fits & (images.side == side))
        if not len(centres):
            return None
        near = centres[np.argmin(_to_thalamus_mm(centres, images, side, voxel_size_mm))]
        circles[tuple(near)] = True
    grown: Mask = ndimage.binary_dilation(
        circles, _disc(voxel_size_mm, radius_mm, images.slice_axis)
    )
    return grown


def _disc(voxel_size_mm: VoxelSize, radius_mm: float, slice_axis: int) -> Mask:
    """Return a circle of voxels in one slice, odd and symmetric: its own mirror image."""
    reach = [0 if a == slice_axis else int(radius_mm / d) for a, d in enumerate(voxel_size_mm)]
    offsets = [
        np.arange(-n, n + 1) * size_mm for n, size_mm in zip(reach, voxel_size_mm, strict=True)
    ]
    x, y, z = np.ix_(*offsets)
    inside: Mask = x**2 + y**2 + z**2 <= radius_mm**2 + 1e-6
    return inside


def _to_thalamus_mm(
    points: NDArray[np.intp], images: ReferenceImages, side: int, voxel_size_mm: VoxelSize
) -> Array:
    """Return how far each voxel is from the nearest one of the thalamus of its side."""
    thalami = np.zeros_like(images.usable) if images.thalami is None else images.thalami
    own = np.argwhere(thalami & (images.side == side))
    if not len(own):
        # Nothing to be next to: the first place in the order of the voxels.
        return np.zeros(len(points), np.float32)
    distances_mm, _ = spatial.KDTree(own * voxel_size_mm).query(points * voxel_size_mm)
    return np.asarray(distances_mm, np.float32)


def global_csf(images: ReferenceImages, voxel_size_mm: VoxelSize, *, rule: ReferenceRule) -> Mask:
    """Return all CSF in the middle of the brain, ventricular or not.

    With R2* this is the mask of MEDI+0 (Liu 2018): slow decay, the three largest components
    within 30 mm of the brain's centre as seeds, then every component that meets one of them
    inside the brain eroded by 10 mm. Slow decay is that of the echoes where they are known, else
    of the map. Without R2*, a CSF share of at least nine tenths takes the place of slow decay;
    without either, nothing is found.
    """
    slow = images.usable.copy()
    if images.fluid is not None:
        slow &= images.fluid
    elif images.r2star_hz is not None:
        below_hz = _fluid_below_hz(images.r2star_hz, images.usable, voxel_size_mm)
        # A negative R2* is a failed fit, not slow decay.
        slow &= (images.r2star_hz < below_hz) & (images.r2star_hz >= 0)
    elif images.csf_probability is None:
        return np.zeros_like(images.usable)
    if images.csf_probability is not None:
        slow &= images.csf_probability >= 0.9
    deep = slow & eroded(images.usable, voxel_size_mm, rule.brain_erosion_mm)
    if not deep.any():
        return deep
    points = np.argwhere(images.usable).mean(axis=0)
    # The sphere is one of millimetres, whatever the voxels' shape.
    offsets = [
        (np.arange(n) - centre) * size
        for n, centre, size in zip(images.usable.shape, points, voxel_size_mm, strict=True)
    ]
    x, y, z = np.ix_(*offsets)
    near = x**2 + y**2 + z**2 <= rule.centre_radius_mm**2
    # Ventricles are the largest pools near the middle; single noisy voxels are not.
    seeds = largest_components(deep & near, count=3)
    components, _ = ndimage.label(deep)
    met = np.unique(components[seeds])
    chosen: Mask = np.isin(components, met[met > 0])
    return chosen


def cleaned(
    candidates: Mask, images: ReferenceImages, voxel_size_mm: VoxelSize, *, rule: ReferenceRule
) -> tuple[Mask, dict[str, int]]:
    """Return the candidates that look like CSF, and how many failed each test.

    Choroid plexus decays faster than CSF; calcification is dark and diamagnetic; vessels are
    paramagnetic. R2* is limited by the larger of what ``qsm.fluid`` calls fluid and what its own
    noise in these voxels allows, so a noisy map does not cut into CSF. Clusters that fail take
    their neighbours with them, because plexus does not end at a voxel's edge; single voxels
    that fail (noise) do not.
    """
    failed = np.zeros_like(candidates)
    rejected = {}
    tests = (
        ("r2star", _decays_fast(candidates, images, voxel_size_mm, rule)),
        ("magnitude", _dark(candidates, images.magnitude, rule)),
        ("chi", _outlying(candidates, images.chi_ppm, rule)),
    )
    # What fails several tests is counted under the first.
    for name, bad in tests:
        rejected[name] = int((bad & ~failed).sum())
        failed |= bad
    grown = failed | (ndimage.binary_dilation(_clusters(failed)) & candidates)
    rejected["neighbour"] = int((grown & ~failed).sum())
    return candidates & ~grown, rejected


WIDTHS_MM = (0.0, 0.75, 1.0, 1.25)
"""Gaussians (SD) that are tried: wider ones take plexus that fills a quarter of the atria into the
mean of fluid (a fifth of the reference at noise of 12/s; 4-6 % with these)."""


def _decays_fast(
    candidates: Mask, images: ReferenceImages, voxel_size_mm: VoxelSize, rule: ReferenceRule
) -> Mask:
    if images.r2star_hz is None or not candidates.any():
        return np.zeros_like(candidates)
    below_hz = _fluid_below_hz(images.r2star_hz, images.usable, voxel_size_mm)
    # Twice the limit is nearer to tissue (three times the limit) than to CSF, however noisy the
    # map.
    most_hz = 2 * below_hz
    grid = Grid(candidates.shape, voxel_size_mm)
    # Where noise reaches beyond that, neighbours are averaged as they are for MEDI+0: a test of
    # single voxels would throw out most of the fluid, and keep what noise made look like it.
    for width_mm in WIDTHS_MM:
        values = fluid.map_averaged(images.r2star_hz, candidates, grid, width_mm)
        noisy_hz = _most_by_noise_hz(values[candidates], rule)
        if noisy_hz <= most_hz:
            break
    fast: Mask = candidates & (values > min(max(below_hz, noisy_hz), most_hz))
    return fast


def _most_by_noise_hz(values_hz: Array, rule: ReferenceRule) -> float:
    """Return the largest R2* (1/s) that noise explains among voxels that are mostly fluid."""
    centre, _ = robust_centre_and_spread(values_hz)
    # Noise spreads to both sides, plexus only upwards: the lower side tells noise alone.
    return centre + rule.outlier_spreads * robust.spread(values_hz[values_hz <= centre], centre)


def _fluid_below_hz(r2star_hz: Array, usable: Mask, voxel_size_mm: VoxelSize) -> float:
    return fluid.threshold_of_map(r2star_hz, usable, Grid(usable.shape, voxel_size_mm))


def _dark(candidates: Mask, magnitude: Array, rule: ReferenceRule) -> Mask:
    if not candidates.any():
        return np.zeros_like(candidates)
    centre, spread = robust_centre_and_spread(magnitude[candidates])
    # Receive sensitivity alone varies by some 5 % over the ventricles, however low the noise.
    # One-sided: a voxel that is brighter than its neighbours may be inflow or the receive coil.
    dark: Mask = candidates & (
        magnitude < centre - rule.outlier_spreads * max(spread, 0.05 * centre)
    )
    return dark


def _outlying(candidates: Mask, values: Array, rule: ReferenceRule) -> Mask:
    if not candidates.any():
        return np.zeros_like(candidates)
    centre, spread = robust_centre_and_spread(values[candidates])
    outlying: Mask = candidates & (np.abs(values - centre) > rule.outlier_spreads * spread)
    return outlying


def _clusters(failed: Mask) -> Mask:
    # Voxels that meet at a corner belong together: plexus runs at any angle to the grid.
    labels, _ = ndimage.label(failed, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    # Label 0 is the background.
    sizes[0] = 0
    clusters: Mask = (sizes >= 2)[labels]
    return clusters


def _enough(mask: Mask, images: ReferenceImages, rule: ReferenceRule) -> bool:
    total = int(mask.sum())
    # A slow error of the background field has opposite signs on both sides and cancels in a
    # mean of both; one atrium alone would keep it.
    least = min(int((mask & (images.side == one)).sum()) for one in (1, 2))
    independent = total / images.voxels_per_acquired
    return independent >= rule.minimum_voxels and least >= rule.minimum_side_share * total


def _result(
    mask: Mask, images: ReferenceImages, level: ReferenceLevel, rejected: dict[str, int]
) -> Reference:
    return Reference(np.where(mask, images.side, 0).astype(np.uint8), level, rejected)
