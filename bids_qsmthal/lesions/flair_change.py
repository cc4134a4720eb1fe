"""Lesions that changed between two visits, from the difference of their FLAIR and its noise.

Two segmentations differ at every border, and a small lesion is above the threshold of one and below
that of the other. Here both FLAIR are put on one grid and one intensity, and their difference
is compared with its own noise (statistical detection of change: Bosc et al. 2003, NeuroImage
20:643-656): the noise of the two scans and, at borders, what a small misregistration and the place
of thick slices make of them. All are learnt from the difference itself, in tissue of which most did
not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

from bids_qsmthal.core import robust
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.affine import between as between_grids
from bids_qsmthal.core.crop import between
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.lesions.context import BrainBox, Mask, Volume, box_around
from bids_qsmthal.lesions.flair import t1w_in_slices_of_flair
from bids_qsmthal.lesions.growth import grow_to_half_height
from bids_qsmthal.lesions.settings import FlairLesions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LOCAL_MM = 12.0
"""Both FLAIR are made even over this distance: coils differ smoothly, lesions do not."""

LITTLE = 0.02
"""As much as this share of white matter around counts for the mean of the whole brain."""

SURE = 0.9
"""Share of white matter from which a voxel is taken for nothing else."""

FALSE_PEAKS = 0.05
"""Expected number of peaks that noise alone makes in the white matter of a pair."""

BINS = 24
"""Groups of equal number, by the steepness of the image, in which the noise is learnt."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitFlair:
    """FLAIR of one visit, and its tissue.

    Attributes
    ----------
    flair
        In the world of the visit's T1w.
    white, gray
        Share of white and of gray matter in each voxel of T1w; lesions count as white matter.
    """

    flair: Image
    white: Image
    gray: Image


@dataclass(frozen=True, slots=True, eq=False)
class FlairDifference:
    """The difference of two FLAIR, later less earlier, in a box of the later T1w.

    Attributes
    ----------
    box, frame
        The box, and the grid in it.
    change
        Smoothed difference, in shares of the intensity of white matter.
    score
        The difference after a filter of a small lesion's size, in its standard deviations.
    threshold
        Score that noise hardly reaches.
    noise
        Standard deviation of ``change`` in white matter.
    white
        White matter that both FLAIR show: where a lesion may be.
    levels
        Earlier and later FLAIR, white matter at 1.
    gray
        Level of gray matter in both, and its standard deviation.
    """

    box: BrainBox
    frame: Image
    change: Volume
    score: Volume
    threshold: float
    noise: float
    white: Mask
    levels: tuple[Volume, Volume]
    gray: tuple[float, float]


def flair_difference(
    earlier: VisitFlair,
    later: VisitFlair,
    brain: Image,
    to_earlier: Affine,
    *,
    known: Image,
    settings: FlairLesions | None = None,
) -> FlairDifference | None:
    """Return the difference of two FLAIR and its noise.

    Parameters
    ----------
    earlier, later
        The visits.
    brain
        Brain of the later visit, on the grid of its T1w.
    to_earlier
        4x4, a point of the later visit's world in the world of the earlier one.
    known
        Lesions of either visit, on the grid of ``brain``: nothing is learnt from them.
    settings
        Size of small lesions.

    Returns
    -------
    FlairDifference or None
        ``None`` where both show no white matter in common.
    """
    how = settings or FlairLesions()
    box = box_around(brain)
    frame = box.crop.of(brain)
    ways: tuple[Affine, Affine] = (np.asarray(to_earlier, np.float64), np.eye(4))
    flairs = (_near(earlier.flair, frame, ways[0]), _near(later.flair, frame, ways[1]))
    scans = [_on_frame(one, frame, way) for one, way in zip(flairs, ways, strict=True)]
    seen = (frame.data > 0) & _covered(flairs, ways, frame, box)
    slices = _Slices(flairs, to_earlier, how.thick_mm)
    # Each as through the slices of the other: a border in thick slices that lie otherwise is no
    # change.
    scans = [slices.through(scan, 1 - number) for number, scan in enumerate(scans)]
    white, gray, place = _shares(earlier, later, box, frame, ways[0])
    free = seen & ~box.dilate(box.crop.cut(known.data) > 0, how.smoothing_mm * 4)
    calm = free & (white > SURE)
    if not calm.any():
        return None
    levels = [_even(scan.data, calm, box) for scan in scans]
    difference = levels[1] - levels[0]
    # What is left of other coils: the mean difference of the white matter around.
    difference = difference - _local_mean(difference, _usual(difference, calm), box)
    inside = free & (gray > SURE)
    mean = (levels[0] + levels[1]) / 2
    both = mean[inside] if inside.any() else np.ones(1)
    learnt = free & (white + gray > SURE)
    terms = [_steepness(box.blur(mean, how.small_lesion_filter_mm), box)]
    if slices.any_thick:
        tissue = frame.like(np.asarray(white + gray * np.float32(np.median(both)), np.float32))
        unlike = slices.unlike(tissue)
        terms.append(box.blur(unlike, how.small_lesion_filter_mm))
        difference = difference - _share_of(unlike, difference, learnt) * unlike
    filtered = box.blur(difference, how.small_lesion_filter_mm)
    score = filtered / _noise(filtered, terms, learnt)
    change = box.blur(difference, how.smoothing_mm)
    return FlairDifference(
        box=box,
        frame=frame,
        change=change,
        score=score,
        threshold=_threshold(calm, box, how.small_lesion_filter_mm),
        noise=robust.spread(change[calm]),
        white=seen & (place >= 0.5),
        levels=(levels[0], levels[1]),
        gray=(float(np.median(both)), robust.spread(both)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Slices:
    """The slices of both FLAIR, and from where on they are thick."""

    flairs: tuple[Image, Image]
    to_earlier: Affine
    thick_mm: float

    def _thick(self, number: int) -> bool:
        return max(self.flairs[number].grid.voxel_size_mm) >= self.thick_mm

    @property
    def any_thick(self) -> bool:
        """Whether either has thick slices."""
        return self._thick(0) or self._thick(1)

    def through(self, image: Image, number: int) -> Image:
        """Return an image of the later T1w's grid as through the slices of a FLAIR."""
        if not self._thick(number):
            return image
        # From the world of the FLAIR to that of the later T1w.
        way = np.linalg.inv(self.to_earlier) if number == 0 else np.eye(4)
        return t1w_in_slices_of_flair(image, self.flairs[number], np.asarray(way, np.float64))

    def unlike(self, tissue: Image) -> Volume:
        """Return what both scans show differently of the same tissue, later less earlier.

        A scan knows of its slices' insides nothing but the mean: what lies between two slices
        depends on where they lie.
        """
        one, two = (
            self.through(self.through(tissue, number), 1 - number).data for number in (0, 1)
        )
        return np.asarray(two - one, np.float32)


def _share_of(model: Volume, values: Volume, where: Mask) -> np.float32:
    """Return by how much a model has to be multiplied to explain values, 0 to 1."""
    known, found = model[where].astype(np.float64), values[where].astype(np.float64)
    # The tenth that is most unlike: elsewhere the model is zero, and noise all there is.
    large = np.abs(known) >= np.quantile(np.abs(known), 0.9)
    square = float((known[large] ** 2).sum())
    return np.float32(np.clip((known[large] * found[large]).sum() / max(square, 1e-12), 0, 1))


def _shares(
    earlier: VisitFlair, later: VisitFlair, box: BrainBox, frame: Image, to_earlier: Affine
) -> tuple[Volume, Volume, Volume]:
    """Return the shares of white and of gray matter at both visits, and of white at either."""
    whites, grays = (
        (resample(one, frame, world=to_earlier).data, box.crop.cut(two.data))
        for one, two in ((earlier.white, later.white), (earlier.gray, later.gray))
    )
    # A lesion that the segmentation of its visit missed may look gray there.
    return np.minimum(*whites), np.minimum(*grays), np.maximum(*whites)


def _near(flair: Image, frame: Image, world: Affine) -> Image:
    """Return the part of FLAIR that covers a grid: neck and air are not looked at."""
    ends = np.array(list(np.ndindex(2, 2, 2))) * (np.array(frame.shape) - 1)
    there = apply(between_grids(flair.affine, frame.affine, world), ends)
    # Cubic interpolation reaches two voxels, and what lies beyond the part is mirrored once more.
    margin = 4
    low, high = np.floor(there.min(0)) - margin, np.ceil(there.max(0)) + margin + 1
    low, high = (np.clip(end, 0, flair.shape).astype(int) for end in (low, high))
    # A scan that lies elsewhere covers nothing of the grid, which is found out later.
    if (low >= high).any():
        return flair
    return between(low.tolist(), high.tolist(), flair.shape).of(flair)


def _on_frame(flair: Image, frame: Image, world: Affine) -> Image:
    made = resample(flair, frame, world=world, order=3)
    return made.like(np.maximum(made.data, 0))


def _covered(
    flairs: tuple[Image, Image], ways: tuple[Affine, Affine], frame: Image, box: BrainBox
) -> Mask:
    """Return where both scans are, without the slice in which either ends.

    At the end of a scan interpolation takes in what is not there. What is zero, as a stripped
    skull is, is not there either.
    """
    covered = np.ones(frame.shape, bool)
    for flair, way in zip(flairs, ways, strict=True):
        there = flair.like((flair.data > 0).astype(np.float32))
        inside = resample(there, frame, world=way).data > 0.5
        # Holes are fluid that is dark: only what reaches the outside is no scan.
        inside = ndimage.binary_fill_holes(inside)
        covered &= ~box.dilate(~inside, max(flair.grid.voxel_size_mm))
    return covered


def _usual(values: Volume, where: Mask) -> Mask:
    """Return the voxels of a region whose value is not far off the most."""
    middle = float(np.median(values[where]))
    near = np.abs(values - middle) < 3 * robust.spread(values[where], middle)
    return np.asarray(where & near)


def _even(flair: Volume, calm: Mask, box: BrainBox) -> Volume:
    """Return FLAIR with the white matter around each voxel at 1."""
    middle = float(np.median(flair[calm]))
    share = flair / np.float32(max(middle, 1e-6))
    return np.asarray(share / (1 + _local_mean(share - 1, _usual(share, calm), box)), np.float32)


def _local_mean(values: Volume, where: Mask, box: BrainBox) -> Volume:
    """Return the mean of a region around each voxel, drawn to zero where there is little of it."""
    weight = where.astype(np.float32)
    total = box.blur_widely(weight, LOCAL_MM) + np.float32(LITTLE)
    return np.asarray(box.blur_widely(weight * values, LOCAL_MM) / total, np.float32)


def _steepness(image: Volume, box: BrainBox) -> Volume:
    """Return the length of the gradient, for each mm."""
    parts = np.gradient(image, *box.voxel_size_mm)
    return np.asarray(np.sqrt(sum(part**2 for part in parts)), np.float32)


def _noise(values: Volume, terms: Sequence[Volume], where: Mask) -> Volume:
    """Return the standard deviation of a difference at each voxel.

    The variance is ``a + b term1^2 + ...``: noise of the scans, and what grows with the steepness
    of the image (a misregistration) or with what slices hide. The terms are fitted to the scatter
    in groups of voxels with equal terms.
    """
    value = values[where]
    squares = [term[where].astype(np.float64) ** 2 for term in terms]
    design, variance = [], []
    for order in (np.argsort(one) for one in squares):
        for group in np.array_split(order, min(BINS, max(1, len(order) // 100))):
            design.append([1.0, *(float(one[group].mean()) for one in squares)])
            variance.append(robust.spread(value[group], 0.0) ** 2)
    # In shares of what is measured: a variance is known to a share of itself.
    scale = np.maximum(np.array(variance), np.finfo(np.float32).tiny)[:, None]
    found, _ = optimize.nnls(np.array(design) / scale, np.ones(len(scale)))
    total = np.full(values.shape, found[0] + 1e-12, np.float32)
    for share, term in zip(found[1:], terms, strict=True):
        total += np.float32(share) * term**2
    return np.asarray(np.sqrt(total), np.float32)


def _threshold(calm: Mask, box: BrainBox, filter_mm: float) -> float:
    """Return the score that ``FALSE_PEAKS`` peaks of noise pass in the white matter.

    The expected Euler characteristic of a Gaussian field (Worsley et al. 1996, Hum Brain Mapp
    4:58-73) whose smoothness is that of white noise after the filter: interpolated noise is
    smoother and has fewer peaks.
    """
    volume_mm3 = float(calm.sum() * np.prod(box.voxel_size_mm))
    width_mm = filter_mm * np.sqrt(8 * np.log(2))
    resels = volume_mm3 / width_mm**3

    def surplus(score: float) -> float:
        density = (4 * np.log(2)) ** 1.5 / (2 * np.pi) ** 2 * (score**2 - 1)
        return float(resels * density * np.exp(-(score**2) / 2) - FALSE_PEAKS)

    # The density is largest at sqrt(3): from there on it falls.
    lowest = float(np.sqrt(3))
    return float(optimize.brentq(surplus, lowest, 20.0)) if surplus(lowest) > 0 else lowest


def changed(
    found: FlairDifference, sign: int, settings: FlairLesions | None = None
) -> NDArray[np.bool_]:
    """Return where FLAIR of white matter became brighter (+1) or less bright (-1), as lesions do.

    At the visit that shows more, it is brighter than gray matter.

    Returns
    -------
    numpy.ndarray
        Boolean, in the box of the difference.
    """
    how = settings or FlairLesions()
    score, change = sign * found.score, sign * found.change
    bright = found.box.blur(found.levels[1 if sign > 0 else 0], how.smoothing_mm)
    gray, sd = found.gray
    seeds = found.white & (score > found.threshold) & (bright > gray + how.peak_gm_sd * sd)
    # An old lesion is bright at both visits: at least half of a new one's height is new.
    seeds &= change > 0.5 * (bright - 1)
    return grow_to_half_height(
        seeds,
        change,
        found.white,
        found.box,
        noise=found.noise,
        reach_mm=how.reach_mm,
    )
