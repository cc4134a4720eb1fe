"""How much gray matter, white matter and fluid each voxel holds.

A voxel holds one tissue or is crossed by the border of two. Intensities of pure voxels are
normal; those of a crossed voxel are the normal density averaged over all mixtures (Santago and
Gage 1993, doi 10.1109/42.241881). Priors come from the template: with tissue probabilities p, two
points drawn in the voxel are both of tissue a with p_a^2 and of a and b with 2 p_a p_b. Neighbours
pull by a mean-field Potts term (Zhang 2001, doi 10.1109/42.906424). Means, spreads and shares are
found by expectation maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from bids_qsmthal.core import robust
from bids_qsmthal.core.distance import distance_mm

if TYPE_CHECKING:
    from collections.abc import Sequence

Float = NDArray[np.float32]

CSF, GM, WM = 0, 1, 2
MIXTURES = ((CSF, GM), (GM, WM), (CSF, WM))


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueModel:
    """Parameters of the tissue classification.

    Attributes
    ----------
    iterations
        Of expectation maximisation, at most.
    tolerance
        Stop when no mean moves more than this share of the range of means.
    neighbour_weight
        Strength of the pull of the six neighbours.
    prior_floor
        Smallest tissue probability of the prior, so that an odd brain can differ from the
        template.
    """

    iterations: int = 25
    tolerance: float = 2e-4
    neighbour_weight: float = 0.3
    prior_floor: float = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Fractions:
    """Share of each tissue in each voxel, 0 to 1, and the model that was found.

    Attributes
    ----------
    csf, gm, wm
        Float32, shape (x, y, z); they sum to one in the mask.
    means, spread
        Of the three tissues' intensities (CSF, GM, WM).
    converged
        Whether the means stood still before the last iteration.
    """

    csf: Float
    gm: Float
    wm: Float
    means: tuple[float, float, float]
    spread: tuple[float, float, float]
    converged: bool


def fractions(
    t1w: Float, mask: NDArray[np.bool_], priors: Sequence[Float], settings: TissueModel
) -> Fractions:
    """Estimate tissue fractions.

    Parameters
    ----------
    t1w
        Even intensities, lesions filled, shape (x, y, z).
    mask
        The brain.
    priors
        CSF, GM, WM of the template.
    settings
        The model's parameters.
    """
    values = t1w[mask].astype(np.float64)
    # Double precision: sums over a million voxels lose digits in single.
    prior = _prior(mask, priors, settings.prior_floor)
    means, spread = _start(values, prior)
    # Six classes: three pure, three mixtures. Their sizes may differ from the template's, so the
    # prior is rescaled in each round.
    share = np.ones(6)
    posterior = prior
    converged = False
    for _ in range(settings.iterations):
        # Mean field: the neighbours' posteriors of the last round stand for their unknown classes.
        pull = np.exp(settings.neighbour_weight * _neighbours(posterior, mask))
        weights = prior * pull * share
        likelihood = _likelihood(values, means, spread)
        posterior = weights * likelihood
        # A voxel far from every class has no likelihood at all; the floor keeps it zero, not NaN.
        posterior /= np.maximum(posterior.sum(1, keepdims=True), 1e-30)
        share = _shares(posterior, prior * pull)
        new_means, spread = _moments(values, posterior)
        # Relative to the range of the means: the rule does not depend on the scale of the
        # intensities.
        moved = np.abs(new_means - means).max() / (means[WM] - means[CSF])
        means = new_means
        if moved < settings.tolerance:
            converged = True
            break
    found = _expected(values, posterior, means, spread)
    maps = []
    for column in found.T:
        volume = np.zeros(mask.shape, dtype=np.float32)
        volume[mask] = column
        maps.append(volume)
    c, g, w = means.tolist()
    return Fractions(maps[CSF], maps[GM], maps[WM], (c, g, w), tuple(spread.tolist()), converged)


MENINGES_MM = 1.5
"""Dura and vessels are sheets and strings thinner than twice this; no gyrus is."""


def without_meninges(found: Fractions, voxel_mm: tuple[float, float, float]) -> Fractions:
    """Count as fluid the gray sheets at the border of the skull that hang on no gyrus.

    Dura and the vessels round the brain are as bright as gray matter, but thin, and fluid parts
    them from the cortex. What remains of gray and white matter when everything thinner than
    ``2 MENINGES_MM`` is taken away, and is in one piece, is brain; gray matter further than
    ``MENINGES_MM`` + 1 mm from that is not.
    """
    thick = distance_mm(found.gm + found.wm <= 0.5, voxel_mm)
    labels, count = ndimage.label(thick > MENINGES_MM)
    if not count:
        return found
    brain = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    # One millimetre more than was taken away gives back partial voxels at the border of the cortex.
    far = distance_mm(brain, voxel_mm) > MENINGES_MM + 1.0
    moved = np.where(far, found.gm, 0).astype(np.float32)
    return replace(found, gm=found.gm - moved, csf=found.csf + moved)


def without_false_gray(found: Fractions, t1w: Float, walls: NDArray[np.bool_]) -> Fractions:
    """Part fluid and white matter where they meet with no gray matter between them.

    From white matter to fluid the intensity passes through that of gray matter: the walls of the
    ventricles and the surface of the brainstem would get a sheet of it.

    Parameters
    ----------
    found
        What ``fractions`` returned.
    t1w
        The intensities it saw, shape (x, y, z).
    walls
        Where fluid borders on white matter.
    """
    fluid, _, white = found.means
    # The intensity alone divides the voxel: two tissues and a linear mixture.
    share = np.clip((t1w - fluid) / (white - fluid), 0, 1)
    return replace(
        found,
        csf=np.where(walls, 1 - share, found.csf).astype(np.float32),
        gm=np.where(walls, 0, found.gm).astype(np.float32),
        wm=np.where(walls, share, found.wm).astype(np.float32),
    )


SULCAL_FLUID_ROUNDS = 20


def with_sulcal_fluid(found: Fractions, t1w: Float, sulci: NDArray[np.bool_]) -> Fractions:
    """Part the cortex from the fluid in the sulci, which is brighter than that in the ventricles.

    Vessels and membranes run in the fluid round the cortex. Its intensity is the mean of the voxels
    that are mostly fluid, as in a classification without mixtures; it decides which voxels those
    are, so both are found in turns. On a head with surfaces of cortex drawn by others it brings,
    with ``without_false_gray``, mean thickness from 2.58 to 2.45 mm, where the surfaces have
    2.41 mm (``benchmarks/anatomy.py surfaces``).

    Parameters
    ----------
    found
        What ``fractions`` returned.
    t1w
        The intensities it saw, shape (x, y, z).
    sulci
        Fluid and cortex outside the ventricles.
    """
    fluid, gray, _ = found.means
    both = (found.gm + found.csf)[sulci]
    share = found.gm[sulci] / np.maximum(both, 1e-6)
    values = t1w[sulci]
    parted, shift = share, 0.0
    for _ in range(SULCAL_FLUID_ROUNDS):
        mostly_fluid = both * (1 - parted) > 0.5
        if not mostly_fluid.any():
            return found
        before = shift
        # Where the fluid of the sulci lies on the way from that of the ventricles to gray matter.
        # At most half of the way: what is brighter is cortex.
        shift = float(np.clip((values[mostly_fluid].mean() - fluid) / (gray - fluid), 0, 0.5))
        # The scale from old fluid to gray becomes one from sulcal fluid to gray.
        parted = np.clip((share - shift) / (1 - shift), 0, 1)
        if abs(shift - before) < 1e-3:
            break
    gm, csf = found.gm.copy(), found.csf.copy()
    gm[sulci], csf[sulci] = both * parted, both * (1 - parted)
    return replace(found, gm=gm, csf=csf)


def _prior(mask: NDArray[np.bool_], priors: Sequence[Float], floor: float) -> NDArray[np.float64]:
    """Prior of the six classes: three pure, three crossed; shape (voxels, 6)."""
    tissue = np.stack([prior[mask] for prior in priors], axis=1).astype(np.float64)
    outside = tissue.sum(1) < 0.5
    # Beyond the template's brain, inside the mask: fluid and meninges round the brain.
    tissue[outside] = (1.0, 0.0, 0.0)
    tissue = np.maximum(tissue, floor)
    tissue /= tissue.sum(1, keepdims=True)
    crossed = [2 * tissue[:, a] * tissue[:, b] for a, b in MIXTURES]
    # The squares and the doubled products sum to one, as (a + b + c)^2 does.
    return np.column_stack([tissue**2, *crossed])


def _start(
    values: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians and robust spreads where the prior is sure."""
    means, spread = np.empty(3), np.empty(3)
    for tissue in range(3):
        # An average brain has hardly any pure CSF: the surest hundredth where 0.7 is rare.
        level = min(0.7, float(np.quantile(prior[:, tissue], 0.99)))
        sure = values[prior[:, tissue] >= level]
        means[tissue] = np.median(sure)
        # Other tissue sits among the sure voxels wherever the template is off: a plain mean would
        # take it in.
        spread[tissue] = robust.spread(sure, means[tissue])
    return means, np.maximum(spread, 1e-3 * abs(means[WM]))


def _likelihood(
    values: NDArray[np.float64], means: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Density of each value under the six classes; shape (voxels, 6)."""
    pure = [
        np.exp(-0.5 * ((values - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
        for m, s in zip(means, spread, strict=True)
    ]
    crossed = []
    for a, b in MIXTURES:
        s = np.hypot(spread[a], spread[b]) / np.sqrt(2)
        # A mixture is uniform between both means, blurred by the noise: the difference of two
        # normal distribution functions (Shattuck 2001, doi 10.1006/nimg.2000.0730).
        low, high = sorted((means[a], means[b]))
        inside = special.ndtr((high - values) / s) - special.ndtr((low - values) / s)
        crossed.append(inside / max(high - low, 1e-6))
    return np.column_stack([*pure, *crossed])


def _neighbours(posterior: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sum of the tissue shares of the six neighbours, for each of the six classes."""
    tissue = _tissue_fraction(posterior)
    kernel = ndimage.generate_binary_structure(3, 1).astype(np.float32)
    # A voxel is no neighbour of itself: it would hold on to its first class.
    kernel[1, 1, 1] = 0
    sums = []
    for column in tissue.T:
        volume = np.zeros(mask.shape, dtype=np.float32)
        volume[mask] = column
        sums.append(ndimage.convolve(volume, kernel, mode="constant")[mask])
    # A border runs between voxels of both kinds; inside one tissue there is none.
    crossed = [2 * np.minimum(sums[a], sums[b]) for a, b in MIXTURES]
    return np.column_stack([*sums, *crossed])


def _tissue_fraction(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fold the crossed classes into the three tissues, half each."""
    tissue = posterior[:, :3].copy()
    for column, (a, b) in enumerate(MIXTURES, start=3):
        tissue[:, a] += posterior[:, column] / 2
        tissue[:, b] += posterior[:, column] / 2
    return tissue


def _shares(posterior: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much more or less of each class there is than the prior says."""
    normal = weights / weights.sum(1, keepdims=True)
    share: NDArray[np.float64] = posterior.sum(0) / np.maximum(normal.sum(0), 1e-9)
    # Bounded, so that no class takes over or dies out before the means have settled.
    return np.clip(share, 0.2, 5.0)


def _moments(
    values: NDArray[np.float64], posterior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weight = posterior[:, :3].sum(0)
    means = posterior[:, :3].T @ values / weight
    squares = sum(posterior[:, k] @ (values - means[k]) ** 2 for k in range(3))
    # One spread for all: it is the noise of the image. Left free, the class next to a mixture
    # shrinks to its far end and the mixture takes the rest.
    spread = np.sqrt(max(squares / weight.sum(), 1e-6 * means[WM] ** 2))
    return means, np.full(3, spread)


def _expected(
    values: NDArray[np.float64],
    posterior: NDArray[np.float64],
    means: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the expected share of each tissue; crossed voxels: mean of a truncated normal."""
    found = posterior[:, :3].copy()
    for column, (a, b) in enumerate(MIXTURES, start=3):
        s = np.hypot(spread[a], spread[b]) / np.sqrt(2)
        span = means[b] - means[a]
        share_of_b = _truncated_mean((values - means[a]) / span, s / abs(span))
        found[:, a] += posterior[:, column] * (1 - share_of_b)
        found[:, b] += posterior[:, column] * share_of_b
    return found


def _truncated_mean(centre: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Mean of a normal of given centre and width, cut to 0..1."""
    low, high = -centre / width, (1 - centre) / width
    density = np.exp(-0.5 * low**2) - np.exp(-0.5 * high**2)
    mass = special.ndtr(high) - special.ndtr(low)
    mean = centre + width * density / np.sqrt(2 * np.pi) / np.maximum(mass, 1e-12)
    # Far out in a tail mass and density vanish and their quotient is noise: the nearer end is taken
    # there.
    return np.clip(np.where(mass > 1e-9, mean, np.clip(centre, 0, 1)), 0, 1)
