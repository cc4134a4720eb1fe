"""White matter lesions from FLAIR and T1w, without training data.

Normal tissue is modelled in both contrasts (``tissue``); a lesion is what is bright on FLAIR
and improbable as normal tissue of its place. Seeds are found in a Markov random field and grown
to half of their height; small lesions are found by a filter of their size (``small_lesions``).
In the tradition of Van Leemput et al. 2001 (doi:10.1109/42.938237) and the lesion growth algorithm
of Schmidt et al. 2012 (doi:10.1016/j.neuroimage.2011.11.032).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.affine import starting_at
from bids_qsmthal.core.crop import around_each
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.scan_warnings import FlairCoversPart, ScanWarning
from bids_qsmthal.lesions.context import BrainBox, Context, Mask, Volume, box_around
from bids_qsmthal.lesions.evidence import Evidence, flair_alone, flair_and_t1w
from bids_qsmthal.lesions.growth import (
    HEIGHT_QUANTILE,
    components,
    grow_to_half_height,
    large_enough,
    peaks,
)
from bids_qsmthal.lesions.settings import FlairLesions
from bids_qsmthal.lesions.small_lesions import small_lesions
from bids_qsmthal.lesions.table import lesion_table
from bids_qsmthal.lesions.ventricles import lesions_touching
from bids_qsmthal.lesions.volume import Rescan, corrected_mm3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """Lesions found on FLAIR.

    Attributes
    ----------
    mask
        bool, on the T1w grid (on the FLAIR grid when there is no T1w).
    probability
        Posterior of lesion before growth, float32, same grid.
    mask_flair
        The mask on the FLAIR grid.
    table
        One row per lesion, see ``lesion_table``; with ``corrected_mm3`` where it was estimated.
    quality
        Numbers to judge the input and the fit by.
    warnings
        What a reader should know.
    """

    mask: Image
    probability: Image
    mask_flair: Image
    table: pd.DataFrame
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...]

    @property
    def count(self) -> int:
        """Number of lesions."""
        return len(self.table)

    @property
    def volume_mm3(self) -> float:
        """Total volume of the mask."""
        return float(self.mask.data.sum() * self.mask.voxel_volume_mm3)

    @property
    def corrected_mm3(self) -> float:
        """Total volume without the bias of the outline; that of the mask where it is unknown."""
        return float(self.table[self.volume_column].sum())

    @property
    def volume_column(self) -> str:
        """Column of the table that holds the best known volume of each lesion."""
        return "corrected_mm3" if "corrected_mm3" in self.table else "volume_mm3"


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """FLAIR, the matrix of its world to that of T1w, and the grid of T1w in the box."""

    flair: Image
    world: Affine
    frame: Image
    box: BrainBox

    def on_t1w(self, data: Volume, settings: FlairLesions) -> Volume:
        """Return what lies on FLAIR's voxels on the grid of T1w, smoothed as the evidence is."""
        back = np.asarray(np.linalg.inv(self.world), np.float64)
        sampled = resample(self.flair.like(data), self.frame, world=back, order=3).data
        return self.box.blur(sampled, settings.smoothing_mm)


def segment_flair(
    flair: Image,
    t1w: Image | None,
    context: Context,
    *,
    flair_to_t1w: Affine | None = None,
    settings: FlairLesions | None = None,
) -> Lesions:
    """Segment T2 lesions.

    Parameters
    ----------
    flair
        FLAIR, any voxel size; a smooth gain is estimated here.
    t1w
        T1w on the grid of ``context``, corrected for its gain (N4); None when there is none.
    context
        Brain mask and, with a T1w, priors and labels.
    flair_to_t1w
        4x4 matrix from the world of FLAIR to the world of T1w; None means the same world.
    settings
        Constants of the method.

    Returns
    -------
    Lesions
        Masks, table, quality and warnings.

    Raises
    ------
    DataError
        If FLAIR and brain mask hardly overlap, or have no contrast.
    """
    # Whatever its axis: slices may be axial, sagittal or coronal.
    thickness_mm = max(flair.grid.voxel_size_mm)
    settings = settings or FlairLesions()
    world = np.eye(4) if flair_to_t1w is None else np.asarray(flair_to_t1w, np.float64)
    box = box_around(context.brain)
    on_grid, brain, warnings = _flair_in_box(flair, context, box, world)
    if t1w is not None and context.has_priors:
        sharp = box.crop.of(t1w)
        evidence = flair_and_t1w(on_grid, sharp.data, brain, context, box, settings)
        if thickness_mm >= settings.thick_mm:
            seen = t1w_in_slices_of_flair(sharp, flair, world)
            mixed = flair_and_t1w(on_grid, seen.data, brain, context, box, settings)
            # Both kinds of T1w: the sharp one alone takes thick mixtures of cortex for lesions.
            evidence = evidence.agreeing_with(mixed)
    else:
        evidence = flair_alone(on_grid, brain, box, settings)
    mask, posterior = _segment(evidence, box, settings)
    whole = context.brain.like(box.crop.paste(mask))
    table = lesion_table(whole, context)
    if t1w is not None and context.has_priors:
        # FLAIR alone does not tell its noise, nor, on its own voxels, what their thickness takes.
        scan = _Scan(flair, world, box.crop.of(context.brain), box)
        table["corrected_mm3"] = _corrected_mm3(mask, posterior, evidence, scan, settings)
    return Lesions(
        mask=whole,
        probability=context.brain.like(box.crop.paste(posterior)),
        mask_flair=on_flair(whole, flair, world),
        table=table,
        quality=evidence.quality,
        warnings=(*warnings, *evidence.warnings),
    )


def _flair_in_box(
    flair: Image, context: Context, box: BrainBox, world: Affine
) -> tuple[Volume, Mask, tuple[ScanWarning, ...]]:
    """Return FLAIR in the box, the brain that it covers, and warnings about the cover."""
    there = np.asarray(np.linalg.inv(world), np.float64)
    frame = box.crop.of(context.brain)
    sampled = resample(flair, frame, world=there, order=3).data
    inside = resample(flair.like(np.ones(flair.shape, np.float32)), frame, world=there).data
    brain = frame.data > 0
    # Ones carried along tell the field of view; zero is the skull-stripped outside.
    seen = brain & (inside > 0.5) & (sampled > 0)
    cover = seen.sum() / brain.sum()
    if cover < 0.5:
        raise DataError(
            f"FLAIR covers {100 * cover:.0f} % of the brain mask, expected most of it;"
            " look at the registration of FLAIR to T1w"
        )
    warnings = (FlairCoversPart(100 * float(cover)),) if cover < 0.9 else ()
    return np.maximum(sampled, 0), seen, warnings


def t1w_in_slices_of_flair(t1w: Image, flair: Image, world: Affine) -> Image:
    """Return T1w as it would be with the slices of FLAIR, on its own grid.

    Where cortex and white matter share a thick slice FLAIR is bright; beside a T1w that shows
    white matter alone that looks like a lesion.
    """
    thick = flair.like(_averaged(t1w, flair, world))
    back = np.asarray(np.linalg.inv(world), np.float64)
    return t1w.like(np.maximum(resample(thick, t1w, world=back, order=3).data, 0))


def _corrected_mm3(
    mask: Mask,
    posterior: Volume,
    evidence: Evidence,
    scan: _Scan,
    settings: FlairLesions,
) -> NDArray[np.float64]:
    """Return the volume of each lesion without the bias of its outline."""
    share = scan.frame.like(mask.astype(np.float32))
    # One draw, always the same: the volume of a scan does not change from run to run.
    drawn = np.random.default_rng(0).standard_normal(scan.flair.shape).astype(np.float32)
    noise = scan.on_t1w(drawn, settings)
    calm = evidence.white if evidence.white.any() else evidence.brain
    sd = robust.spread(noise[calm])
    rescan = Rescan(
        share=scan.on_t1w(_averaged(share, scan.flair, scan.world), settings),
        noise=noise * np.float32(evidence.noise / sd),
    )
    seeds = posterior > settings.seed_probability
    return corrected_mm3(mask, seeds, evidence, rescan, scan.box, reach_mm=settings.reach_mm)


def _segment(evidence: Evidence, box: BrainBox, settings: FlairLesions) -> tuple[Mask, Volume]:
    """Return the mask and the posterior of lesion."""
    posterior = _random_field(evidence, box, settings.neighbours)
    seeds = posterior > settings.seed_probability
    labels, count = components(seeds)
    seeds &= (peaks(labels, count, evidence.excess, HEIGHT_QUANTILE) > evidence.smallest_peak)[
        labels
    ]
    grown = grow_to_half_height(
        seeds,
        evidence.excess,
        evidence.allowed,
        box,
        noise=evidence.noise,
        reach_mm=settings.reach_mm,
    )
    # After growth: what the field has found is no small lesion of its own.
    grown |= small_lesions(evidence, grown, box, settings)
    return _plausible(grown, evidence, box, settings), posterior


def _random_field(evidence: Evidence, box: BrainBox, strength: float, rounds: int = 6) -> Volume:
    """Return the mean-field posterior of a Potts model with Gaussian neighbourhoods.

    The neighbourhood has a standard deviation of 0.7 mm, so that the six nearest neighbours at
    1 mm count most.
    """
    # No single voxel may outvote all its neighbours together.
    odds = np.clip(evidence.log_odds, -8, 8)
    posterior = np.asarray(1 / (1 + np.exp(-odds)), np.float32)
    for _ in range(rounds):
        around = box.blur(posterior, 0.7)
        field = odds + np.float32(strength) * (2 * around - 1)
        # Odds of 8 and a field of 6 at most: the exponential stays far from overflow in float32.
        posterior = (evidence.brain / (1 + np.exp(-field))).astype(np.float32)
    return posterior


def _plausible(mask: Mask, evidence: Evidence, box: BrainBox, settings: FlairLesions) -> Mask:
    """Drop what is too small, and what lies in fluid: choroid plexus, septum, flow artefacts.

    A lesion at a ventricle has white matter on its other side; a part with most of its surface
    in CSF is not one. In thick slices plexus and CSF mix on T1w, so the template's ventricles
    speak too: three quarters, as a lesion may reach 2 mm, the template's error, into them. A plexus
    that wide ventricles press to the thalamus has little fluid around it: what has most of its
    surface between the two is plexus, but for what lies in white matter: a lesion that touches it.
    """
    kept = _sound(mask, evidence, box, settings)
    hanging = _hanging(mask, evidence)
    beyond = lesions_touching(hanging, evidence.floor, evidence.mostly_white)
    return (kept & ~hanging) | _sound(beyond, evidence, box, settings)


def _sound(mask: Mask, evidence: Evidence, box: BrainBox, settings: FlairLesions) -> Mask:
    """Return the parts of a mask that are large enough, and mostly outside of fluid."""
    labels, count = components(mask)
    kept = np.zeros(count + 1, bool)
    for number, crop in around_each(labels, margin=(1, 1, 1)):
        near = crop.slices
        lesion = labels[near] == number
        # ``around_each`` with a margin of one voxel: the shell is never cut off inside the image.
        wet = float(evidence.fluid[near][_shell(lesion)].mean())
        large = large_enough(lesion, box.voxel_size_mm, settings.minimum_extent_mm)
        outside = evidence.ventricle[near][lesion].mean() < 0.75
        kept[number] = large and wet < 0.5 and outside
    result: Mask = kept[labels]
    return result


def _hanging(mask: Mask, evidence: Evidence) -> Mask:
    """Return the parts of a mask with most of their surface between ventricle and thalamus."""
    labels, count = components(mask)
    hangs = np.zeros(count + 1, bool)
    for number, crop in around_each(labels, margin=(1, 1, 1)):
        shell = _shell(labels[crop.slices] == number)
        hangs[number] = evidence.floor[crop.slices][shell].mean() >= 0.5
    result: Mask = hangs[labels]
    return result


def _shell(part: Mask) -> Mask:
    """Return the voxels that share a face with a part."""
    return np.asarray(ndimage.binary_dilation(part) & ~part)


def on_flair(mask: Image, flair: Image, world: Affine) -> Image:
    """Return the voxels of FLAIR of which at least half is lesion."""
    fraction = _averaged(mask.like(mask.data.astype(np.float32)), flair, world)
    return flair.like(fraction >= 0.5)


def _averaged(source: Image, flair: Image, world: Affine) -> Volume:
    """Return the mean of a finer image in each voxel of FLAIR."""
    # Parts as fine as the source: coarser ones would step over its voxels.
    fine = min(source.grid.voxel_size_mm)
    steps = [max(1, round(size / fine)) for size in flair.grid.voxel_size_mm]
    # A voxel of FLAIR is the mean over its own thickness, sampled at the middle of each thin part.
    total = np.zeros(flair.shape, np.float32)
    for offset in np.ndindex(*steps):
        shift = [(o + 0.5) / n - 0.5 for o, n in zip(offset, steps, strict=True)]
        shifted = Image(flair.data, starting_at(flair.affine, shift))
        total += resample(source, shifted, world=world).data
    return total / np.float32(np.prod(steps))
