"""How well each voxel fits a lesion and how well normal tissue of its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import (
    FlairNoisy,
    GrayLikeWhiteMatter,
    LesionsFromFlairAlone,
    ScanWarning,
)
from bids_qsmthal.lesions.context import (
    BRAINSTEM,
    CEREBELLUM,
    DEEP_GRAY,
    LIMBIC,
    TEMPLATE_ERROR_MM,
    VENTRICLES,
    BrainBox,
    Context,
    Mask,
    Volume,
    softened_priors,
    white_is_likeliest,
)
from bids_qsmthal.lesions.settings import FlairLesions
from bids_qsmthal.lesions.tissue import (
    CSF,
    GM,
    WM,
    NormalTissue,
    Vector,
    class_priors,
    density,
    fit_tissue,
    gain_field,
)
from bids_qsmthal.lesions.ventricles import (
    between_ventricle_and_thalamus,
    enclosed_by_ventricles,
)

_LOCAL_MM = 12.0  # normal white matter is compared with that around it
_HEIGHTS_SD = 10.0  # lesions reach about 10 noise levels of white matter above gray matter
_NOISY_SHARE = 0.15  # spread of white matter on FLAIR, of its mean, that hides small lesions
_CORTEX_MM = 10.0  # depth of most sulci and their cortex below the brain's surface


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Log-odds of lesion against normal tissue, and what growth needs to know.

    Attributes
    ----------
    log_odds
        Logarithm of p(lesion) / p(normal) of each voxel alone.
    excess
        FLAIR above the normal white matter around.
    noise
        Standard deviation of ``excess`` in normal tissue.
    smallest_peak
        Excess that the peak of a lesion must reach.
    allowed
        Where a lesion may grow.
    fluid
        CSF and what is outside the brain.
    brain
        Brain that FLAIR covers.
    ventricle
        Inside the ventricles, which hold no lesions.
    floor
        Between lateral ventricle and thalamus, where plexus hangs; nowhere if no template says so.
    white
        Surely white matter by its place.
    mostly_white
        White matter is the likeliest tissue of the place; nowhere if no template says so.
    quality
        Numbers to judge the fit by.
    warnings
        What a reader should know.
    """

    log_odds: Volume
    excess: Volume
    noise: float
    smallest_peak: float
    allowed: Mask
    fluid: Mask
    brain: Mask
    ventricle: Mask
    floor: Mask
    white: Mask
    mostly_white: Mask
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...]

    def agreeing_with(self, other: Evidence) -> Evidence:
        """Return the evidence of what both hold for a lesion."""
        return replace(
            self,
            # The smaller odds: a lesion must be one with the T1w as it is and as FLAIR's slices
            # show it.
            log_odds=np.minimum(self.log_odds, other.log_odds),
            smallest_peak=max(self.smallest_peak, other.smallest_peak),
            allowed=self.allowed & other.allowed,
        )


def flair_and_t1w(
    flair: Volume, t1w: Volume, brain: Mask, context: Context, box: BrainBox, settings: FlairLesions
) -> Evidence:
    """Return the evidence of both contrasts and the priors."""
    priors = softened_priors(context, box)
    atlas = _atlas(context, box)
    # Nothing is learnt from these: their T1w lies between the tissues and would widen the classes.
    special = box.dilate(np.isin(atlas, (*DEEP_GRAY, *LIMBIC, *CEREBELLUM, *BRAINSTEM)), 2.0)
    model = fit_tissue(t1w, flair, priors, brain & ~special)
    _check(model)
    flair = flair / gain_field(model, brain.shape)
    # Half-way on T1w: a voxel below it is mostly fluid.
    border = (model.mean[CSF, 0] + model.mean[GM, 0]) / 2
    model = _with_pure_csf(model, flair, brain & (priors[CSF] > 0.5) & (t1w < border))
    level, spread = _local_white_matter(flair, t1w, brain & (priors[WM] > 0.5), model, box)
    _set_level(level, spread, flair, brain & (t1w > border) & np.isin(atlas, BRAINSTEM), model)
    smooth = box.blur(flair, settings.smoothing_mm) - level
    never = _excluded(t1w, priors[GM], atlas, model, box)
    likeliest = white_is_likeliest(priors)
    white = brain & (priors[WM] > 0.9)
    sooner_gray = priors[WM] < priors[GM]
    priors = _with_mixed_brainstem(priors, atlas)
    # Lesions lie in white matter, and the template may be off by its error.
    near_white = ndimage.maximum_filter(priors[WM], box.cube(TEMPLATE_ERROR_MM))
    normal = _Normal(model, priors, spread)
    odds = _log_odds(smooth, t1w, normal, settings.prior_lesion * near_white, brain)
    # All neighbours together add 6 (``flair._random_field``): such a voxel never becomes a seed.
    odds[never] = -8
    # Dark on T1w and bright on FLAIR is a black hole, which growth may enter; fluid is dark on
    # both.
    fluid = ((t1w < border) & (smooth < model.mean[GM, 1])) | ~brain
    excess = smooth - np.float32(model.mean[WM, 1])
    smallest_peak = float(
        model.mean[GM, 1] + settings.peak_gm_sd * model.spread[GM, 1] - model.mean[WM, 1]
    )
    # A lesion's outline is less bright than deep gray matter: a lesion would fill a nucleus.
    nucleus = np.isin(atlas, DEEP_GRAY) & (excess <= smallest_peak)
    return Evidence(
        log_odds=odds,
        excess=excess,
        noise=robust.spread(excess[white]) if white.any() else float(model.spread[WM, 1]),
        smallest_peak=smallest_peak,
        allowed=brain & ~fluid & (odds > -4) & ~nucleus,
        # Wider for what surrounds a lesion: plexus and flow are dark on T1w and bright on FLAIR.
        fluid=(t1w < border) | ~brain,
        brain=brain,
        ventricle=np.isin(atlas, VENTRICLES),
        floor=between_ventricle_and_thalamus(atlas, t1w < border, sooner_gray, box),
        white=white,
        mostly_white=brain & likeliest & ~never & ~np.isin(atlas, BRAINSTEM),
        quality=_quality(model),
        warnings=_warnings(model),
    )


def flair_alone(flair: Volume, brain: Mask, box: BrainBox, settings: FlairLesions) -> Evidence:
    """Return the evidence of FLAIR without T1w or priors: bright, and away from the cortex.

    Gray and white matter are one class here, whose mode and spread (from its darker half, free
    of lesions) are estimated after CSF is cut off at half of the median. Gray matter is 10-20 %
    brighter than white, so a lesion must exceed the mode by a fifth, and peak at three tenths.
    """
    tissue = brain & (flair > 0.5 * np.median(flair[brain]))
    level, spread = _mode(flair[tissue])
    smooth = box.blur(flair, settings.smoothing_mm)
    # Height of the blurred image in units of the spread of the unblurred one, gray matter included.
    z = (smooth - level) / spread
    prior = settings.prior_lesion * (box.distance_mm(~brain) > _CORTEX_MM)
    # From 12 deviations on the guard of 1e-30 below decides; the bound keeps the squares small.
    normal = (1 - prior) * np.exp(-0.5 * np.minimum(z, 30) ** 2) / np.sqrt(2 * np.pi)
    lesion = prior * _onset(z, max(1.5, 0.2 * level / spread), 0.5) / _HEIGHTS_SD
    odds = np.log((lesion + 1e-30) / (normal + 1e-30)).astype(np.float32)
    fluid = ~tissue
    return Evidence(
        log_odds=np.where(brain, odds, np.float32(-8)),
        excess=(smooth - level).astype(np.float32),
        noise=0.0,  # gray matter beside white matter is no noise, and they are one class here
        smallest_peak=max(3.0 * spread, 0.3 * level),
        allowed=tissue & (odds > -4),
        # Without T1w single dark voxels are noise: fluid is what holds a cube of two voxels.
        fluid=ndimage.binary_opening(fluid, structure=np.ones((2, 2, 2))),
        brain=brain,
        ventricle=np.zeros_like(brain),
        floor=np.zeros_like(brain),
        white=np.zeros_like(brain),
        mostly_white=np.zeros_like(brain),
        quality={"tissue_flair_sd_percent": 100 * spread / level},
        warnings=(LesionsFromFlairAlone(_CORTEX_MM),),
    )


def _mode(values: Volume) -> tuple[float, float]:
    """Return the mode by trimming, and the standard deviation of the side below it."""
    centre = float(np.median(values))
    for _ in range(8):
        spread = robust.spread(values, centre)
        # Within 1.5 SD lie gray and white matter; lesions and fluid, the tails, are left out.
        centre = float(values[np.abs(values - centre) < 1.5 * spread].mean())
    # The side above the mode holds gray matter and lesions: it would widen the spread.
    below = values[(values < centre) & (values > 0.5 * centre)]
    return centre, robust.spread(below, centre)


def _atlas(context: Context, box: BrainBox) -> Volume:
    """Return the labels in the box; zero everywhere without an atlas."""
    if context.labels is None:
        return np.zeros(box.crop.shape, np.int32)
    return np.asarray(box.crop.cut(context.labels.data))


def _check(model: NormalTissue) -> None:
    """Refuse contrasts that are no T1w and FLAIR pair."""
    t1w, flair = model.mean.T
    if not (t1w[WM] > t1w[GM] > t1w[CSF] and flair[CSF] < min(flair[GM], flair[WM])):
        raise DataError(
            f"T1w means of GM, WM, CSF are {t1w.round(1).tolist()}, FLAIR means"
            f" {flair.round(1).tolist()}; expected T1w with WM > GM > CSF and FLAIR with dark CSF:"
            " look at the registration and at which file is which"
        )


def _with_pure_csf(model: NormalTissue, flair: Volume, dark: Mask) -> NormalTissue:
    """Return the model with CSF's FLAIR free of partial volume, by median and deviation."""
    if dark.sum() < 100:
        return model
    middle = float(np.median(flair[dark]))
    spread = robust.spread(flair[dark], middle)
    # Never wider than fitted: what else is dark on T1w there (vessels, plexus) would widen it.
    return model.with_flair_of_csf(middle, min(spread, float(model.spread[CSF, 1])))


def _local_white_matter(
    flair: Volume, t1w: Volume, white: Mask, model: NormalTissue, box: BrainBox
) -> tuple[Volume, Volume]:
    """Return the shift of white matter's FLAIR and its standard deviation around each voxel.

    Means over normal white matter, drawn to the global ones where there is little of it.
    """
    centre, spread = model.mean[WM].astype(np.float32), model.spread[WM].astype(np.float32)
    normal = white & (np.abs(t1w - centre[0]) < 2 * spread[0])
    normal &= np.abs(flair - centre[1]) < 3 * spread[1]
    weight = normal.astype(np.float32)
    # As much as 2 % of normal voxels around: with less evidence the global values count.
    little = np.float32(0.02)
    total = box.blur_widely(weight, _LOCAL_MM) + little
    # Differences from the global mean: squares of whole intensities would lose digits in float32.
    rest = weight * (flair - centre[1])
    level = box.blur_widely(rest, _LOCAL_MM) / total
    square = box.blur_widely(weight * (flair - centre[1] - level) ** 2, _LOCAL_MM)
    variance = (square + little * spread[1] ** 2) / total
    # Never below the global spread: a calm place must not turn slight brightness into a lesion.
    return level, np.sqrt(np.maximum(variance, spread[1] ** 2))


def _set_level(
    level: Volume, spread: Volume, flair: Volume, structure: Mask, model: NormalTissue
) -> None:
    """Give a structure its own level and spread: the brainstem is brighter than white matter."""
    # Too few voxels for a median that replaces the model's level, as where FLAIR cuts the brainstem
    # off.
    if structure.sum() < 1000:
        return
    middle = float(np.median(flair[structure]))
    deviation = robust.spread(flair[structure], middle)
    level[structure] = middle - model.mean[WM, 1]
    spread[structure] = max(deviation, float(model.spread[WM, 1]))


def _with_mixed_brainstem(
    priors: tuple[Volume, Volume, Volume], atlas: Volume
) -> tuple[Volume, Volume, Volume]:
    """Return priors by which the brainstem, tracts between nuclei, is white as much as gray."""
    stem = np.isin(atlas, BRAINSTEM)
    gm, wm, csf = (prior.copy() for prior in priors)
    gm[stem], wm[stem], csf[stem] = 0.5, 0.5, 0
    return gm, wm, csf


def _excluded(t1w: Volume, gray: Volume, atlas: Volume, model: NormalTissue, box: BrainBox) -> Mask:
    """Return where no seed is believed, however bright it is on FLAIR.

    Hippocampus and its neighbours have the longest T2 of normal gray matter (Georgiades et al.
    2001, AJNR 22:1732-1737, PMC7974454); folia of the cerebellar cortex are finer than its
    template; septum and fornix between the ventricles are thinner than a voxel and flow; plexus is
    as bright as a lesion and lies in fluid; fat and vessels are brighter than white matter on T1w,
    lesions are not.
    """
    border = (model.mean[CSF, 0] + model.mean[GM, 0]) / 2
    limbic = box.dilate(np.isin(atlas, LIMBIC), TEMPLATE_ERROR_MM)
    folia = np.isin(atlas, CEREBELLUM) & (gray > 0.5)
    fat = t1w > model.mean[WM, 0] + 3 * model.spread[WM, 0]
    return np.asarray(limbic | folia | fat | enclosed_by_ventricles(atlas, t1w < border, box))


@dataclass(frozen=True, slots=True, eq=False)
class _Normal:
    """Normal tissue at each voxel: the classes, their priors, and white matter's own spread."""

    model: NormalTissue
    priors: tuple[Volume, Volume, Volume]
    spread: Volume


def _log_odds(
    excess: Volume, t1w: Volume, normal: _Normal, prior_lesion: Volume, brain: Mask
) -> Volume:
    """Return log p(lesion) / p(normal) of each voxel, -8 outside the brain.

    Lesion: FLAIR uniform over ``_HEIGHTS_SD`` standard deviations above gray matter, T1w normal
    about the middle of gray and white matter and wide enough for black holes.
    """
    where = np.flatnonzero(brain)
    values = np.stack((t1w.ravel()[where], excess.ravel()[where]), -1)
    prior = prior_lesion.ravel()[where]
    lesion = prior * _lesion_density(values, normal.model)
    other = (1 - prior) * _normal_density(values, normal, where)
    odds = np.full(brain.shape, -8, np.float32)
    # Far from every class both densities vanish: the odds are then even, and not infinite.
    odds.ravel()[where] = np.log((lesion + 1e-30) / (other + 1e-30))
    return odds


def _normal_density(values: Volume, normal: _Normal, where: NDArray[np.intp]) -> Vector:
    """Return the density of normal tissue at (n, 2) values of the voxels ``where``."""
    model = normal.model
    # A hundredth left open: enough for a cortex where the template has none, yet few false GM.
    fractions = class_priors(np.stack([p.ravel()[where] for p in normal.priors], -1), floor=0.01)
    calm = model.spread[WM, 1] / normal.spread.ravel()[where]
    total = np.zeros(len(values))
    for k, (mean, covariance) in enumerate(model.classes()):
        here = values
        if k == WM:  # its own spread at each place
            here = values.copy()
            # Values are drawn to the mean by the ratio of the spreads, in place of a covariance for
            # each voxel; the peak stays that of the global spread.
            here[:, 1] = mean[1] + (values[:, 1] - mean[1]) * calm
        total += fractions[:, k] * density(here, mean, covariance)
    return total


def _lesion_density(values: Volume, model: NormalTissue) -> Vector:
    """Return the density of lesion at (n, 2) values of T1w and FLAIR."""
    (t1w_gm, flair_gm), (t1w_wm, _), (t1w_csf, _) = model.mean
    height = _onset(values[:, 1], flair_gm, 0.5 * model.spread[GM, 1])
    # A third of the way from white matter to fluid: black holes lie within, fluid some two of it
    # away.
    centre, wide = (t1w_gm + t1w_wm) / 2, (t1w_wm - t1w_csf) / 3
    shade = np.exp(-0.5 * ((values[:, 0] - centre) / wide) ** 2) / (np.sqrt(2 * np.pi) * wide)
    return np.asarray(height * shade / (_HEIGHTS_SD * model.spread[WM, 1]))


def _onset(values: Volume, start: float, width: float) -> Volume:
    """Return a step from 0 to 1 at ``start``, smooth over ``width``."""
    return np.asarray(1 / (1 + np.exp(-np.clip((values - start) / width, -30, 30))), np.float32)


def _quality(model: NormalTissue) -> dict[str, float]:
    """Return the contrast and noise of FLAIR."""
    flair, spread = model.mean[:, 1], model.spread[:, 1]
    return {
        "wm_flair_sd_percent": float(100 * spread[WM] / flair[WM]),
        "gm_wm_flair_contrast_sd": float((flair[GM] - flair[WM]) / spread[WM]),
        "gm_wm_t1w_contrast_sd": float(
            (model.mean[WM, 0] - model.mean[GM, 0]) / model.spread[WM, 0]
        ),
    }


def _warnings(model: NormalTissue) -> tuple[ScanWarning, ...]:
    """Return what makes this pair of images hard."""
    found: list[ScanWarning] = []
    if model.spread[WM, 1] > _NOISY_SHARE * model.mean[WM, 1]:
        found.append(FlairNoisy(100 * _NOISY_SHARE))
    if model.mean[GM, 0] + model.spread[WM, 0] > model.mean[WM, 0]:
        found.append(GrayLikeWhiteMatter())
    return tuple(found)
