"""The border of the thalamus where the image shows it, starting from where the atlas puts it.

The warped border is displaced along its normal by some d. A voxel at the signed distance s from
it (mm, positive inside) holds the fraction a = clip(1/2 + (s + d) / h, 0, 1) of thalamus, h being
the size of a voxel, and its intensity is

    I = a T + (1 - a) O + noise,

where T is the intensity of the thalamus at the nearest place well inside, and O one of those that
occur outside near by. Voxels on a border between two tissues are thereby no evidence for or against
either: they look like what they are. Each d is judged by the voxel and its neighbours, which weigh
the less the farther they are (local likelihood, Tibshirani and Hastie 1987,
doi 10.1080/01621459.1987.10478466). Before that, d is normal with the uncertainty of the
registration about an offset that both thalami of a head share: the atlas may be wider or narrower
than what the image shows. The offset is found from all of the border by expectation maximisation
(empirical Bayes, Efron and Morris 1973, doi 10.1080/01621459.1973.10481350), so that a border which
cannot be seen moves as the rest does. What is returned is the posterior mean of a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import Crop, around
from bids_qsmthal.core.distance import distance_mm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.anatomy.tissue import Fractions

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Mask = NDArray[np.bool_]

FRACTIONS = np.linspace(0, 1, 11)
"""Fractions of thalamus for which the density of intensities is computed."""

STEP_MM = 0.5
"""Between the displacements that are tried."""

OFFSET_ROUNDS = 10
"""Of expectation maximisation."""

INTENSITIES = 20
"""Bins of what occurs beside the thalamus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """How the border of the thalamus is moved from the atlas to the image.

    Attributes
    ----------
    uncertainty_mm
        How far the warped border is expected from the true one (standard deviation);
        registrations of this kind leave about one voxel.
    reach_mm
        It moves no farther than this.
    sure_mm
        This far inside and outside of it everything is what it seems.
    around_mm
        What lies between ``sure_mm`` and this outside of it is what the thalamus borders on.
    near_mm
        Standard deviation of the neighbourhood in which that is looked for.
    neighbours_voxels
        Standard deviation of the neighbourhood that is displaced together.
    outlier_fraction
        Fraction of voxels whose intensity says nothing (vessels, lesions): bounds how far one voxel
        can overrule the atlas.
    rounds
        The second takes inside and outside from the border of the first.
    """

    uncertainty_mm: float = 1.0
    reach_mm: float = 3.0
    sure_mm: float = 1.5
    around_mm: float = 6.0
    near_mm: float = 3.0
    neighbours_voxels: float = 0.5
    outlier_fraction: float = 0.01
    rounds: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One thalamus in a box of the image: intensities, distance to the warped border in mm."""

    crop: Crop
    values: Double
    signed_mm: Double
    voxel_mm: tuple[float, float, float]

    @property
    def size_mm(self) -> float:
        return float(np.mean(self.voxel_mm))


def refined_thalami(
    t1w: Float,
    priors: tuple[Float, Float],
    tissue: Fractions,
    voxel_mm: tuple[float, float, float],
    how: Border,
) -> tuple[Float, Float]:
    """Move the borders of both thalami to where intensities change.

    Parameters
    ----------
    t1w
        Even intensities, shape (x, y, z).
    priors
        Warped probability of the left and of the right one.
    tissue
        Intensities of the tissues; their range is that of outliers.
    voxel_mm
        Size of a voxel.
    how
        Parameters.

    Returns
    -------
    tuple
        Fraction of the left and of the right thalamus in each voxel, 0 to 1.
    """
    sides = [_side(t1w, prior, voxel_mm, how) for prior in priors]
    there = [side for side in sides if side is not None]
    # Density of a uniform law over the range of the tissues, whose sign depends on the contrast.
    outlier = how.outlier_fraction / abs(tissue.means[2] - tissue.means[0])
    fractions = iter(_refined(there, outlier, how)) if there else iter(())
    left, right = (
        np.zeros(t1w.shape, dtype=np.float32)
        if side is None
        else _largest_piece(side, next(fractions))
        for side in sides
    )
    return left, right


def _refined(sides: Sequence[_Side], outlier: float, how: Border) -> list[Double]:
    """Return the fraction of thalamus in the box of each side."""
    # The first round takes the atlas's border for inside and outside; the second its own result.
    moved = fractions = [np.zeros_like(side.values) for side in sides]
    for _ in range(how.rounds):
        evidence = [
            _evidence(side, side.signed_mm + by, outlier, how)
            for side, by in zip(sides, moved, strict=True)
        ]
        borders = [
            # Only voxels at the border tell where it is: those far off fit every displacement
            # alike.
            of[:, np.abs(side.signed_mm) <= side.size_mm]
            for side, of in zip(sides, evidence, strict=True)
        ]
        offset = _offset_mm(np.concatenate(borders, axis=1), how)
        found = [
            _displaced(side, of, offset, how) for side, of in zip(sides, evidence, strict=True)
        ]
        fractions, moved = [fraction for fraction, _ in found], [by for _, by in found]
    return fractions


def _side(
    t1w: Float, prior: Float, voxel_mm: tuple[float, float, float], how: Border
) -> _Side | None:
    """Cut one thalamus out; ``None`` where the atlas has none."""
    inside = prior > 0.5
    crop = around(inside, margin=[round((how.reach_mm + how.around_mm) / mm) for mm in voxel_mm])
    if crop is None:
        return None
    signed_mm = _signed_distance(crop.cut(inside), voxel_mm)
    return _Side(crop, crop.cut(t1w).astype(np.float64), signed_mm, voxel_mm)


def _largest_piece(side: _Side, fraction: Double) -> Float:
    """Put the piece that hangs together into the image."""
    # Opening cuts bridges of one voxel to the caudate; what it took from the piece itself is then
    # grown back.
    whole = _largest(ndimage.binary_opening(fraction > 0.5))
    whole = ndimage.binary_propagation(
        whole, mask=ndimage.binary_dilation(whole) & (fraction > 0.5)
    )
    # Beside the voxels that are mostly thalamus lie those which hold less of it.
    return side.crop.paste(np.where(ndimage.binary_dilation(whole), fraction, 0).astype(np.float32))


def _moves_mm(how: Border) -> Double:
    # Half a step beyond: rounding must not lose the last displacement.
    return np.arange(-how.reach_mm, how.reach_mm + STEP_MM / 2, STEP_MM, dtype=np.float64)


def _fractions(side: _Side, move_mm: float) -> Double:
    """Fraction of thalamus in each voxel if the border is displaced outwards."""
    fraction: Double = np.clip(0.5 + (side.signed_mm + move_mm) / side.size_mm, 0, 1)
    return fraction


def _evidence(side: _Side, signed_mm: Double, outlier: float, how: Border) -> Double:
    """Logarithm of the likelihood of each displacement at each voxel, shape (moves, x, y, z)."""
    density = _densities(side.values, signed_mm, side.voxel_mm, how)
    # A floor of evenly spread outliers: a vessel's intensity has no density under either side,
    # and its logarithm would outweigh all neighbours.
    own = np.log((1 - how.outlier_fraction) * density + outlier)
    # Scaled so that the voxel's own evidence keeps weight one and the neighbours' is added.
    together = 1 / _peak(how.neighbours_voxels)
    found = []
    for move in _moves_mm(how):
        level = np.rint(_fractions(side, move) * (len(FRACTIONS) - 1)).astype(int)
        at_move = np.take_along_axis(own, level[None], axis=0)[0]
        found.append(together * ndimage.gaussian_filter(at_move, how.neighbours_voxels))
    return np.stack(found)


def _posterior(evidence: Double, offset_mm: float, how: Border) -> Double:
    """Probability of each displacement, along the first axis."""
    away = (_moves_mm(how) - offset_mm) / how.uncertainty_mm
    weight = evidence - 0.5 * (away**2).reshape(-1, *[1] * (evidence.ndim - 1))
    # The largest exponent becomes zero: none overflows, and the sum is never zero.
    weight = np.exp(weight - weight.max(axis=0))
    posterior: Double = weight / weight.sum(axis=0)
    return posterior


def _offset_mm(evidence: Double, how: Border) -> float:
    """Mean displacement of the border, by expectation maximisation; evidence (moves, voxels)."""
    offset = 0.0
    for _ in range(OFFSET_ROUNDS):
        offset = float((_moves_mm(how) @ _posterior(evidence, offset, how)).mean())
    return offset


def _displaced(
    side: _Side, evidence: Double, offset_mm: float, how: Border
) -> tuple[Double, Double]:
    """Return the posterior means of the fraction and of the displacement."""
    moves, posterior = _moves_mm(how), _posterior(evidence, offset_mm, how)
    fraction, by = np.zeros_like(side.values), np.zeros_like(side.values)
    for move, weight in zip(moves, posterior, strict=True):
        fraction += weight * _fractions(side, move)
        by += weight * move
    return fraction, by


def _peak(sigma_voxels: float) -> float:
    """Weight of a voxel itself in a Gaussian average."""
    impulse = np.zeros((15, 15, 15))
    impulse[7, 7, 7] = 1
    return float(ndimage.gaussian_filter(impulse, sigma_voxels)[7, 7, 7])


def _densities(
    values: Double, signed_mm: Double, voxel_mm: tuple[float, float, float], how: Border
) -> Double:
    """Density of each voxel's intensity for each of ``FRACTIONS``, shape (fractions, x, y, z)."""
    inside = signed_mm >= how.sure_mm
    plane, spread = _plane(values, inside, voxel_mm)
    # Not beyond where it was fitted: the lateral thalamus brightens towards the capsule.
    nearest = ndimage.distance_transform_edt(
        ~inside, sampling=voxel_mm, return_distances=False, return_indices=True
    )
    thalamus = plane[tuple(nearest)]
    beside = (signed_mm < -how.sure_mm) & (signed_mm > -how.around_mm)
    levels, amounts = _beside(values, beside, tuple(how.near_mm / size for size in voxel_mm))
    bin_width = levels[1] - levels[0]
    density = np.zeros((len(FRACTIONS), *values.shape))
    for level, amount in zip(levels, amounts, strict=True):
        for row, fraction in enumerate(FRACTIONS):
            mixed = fraction * thalamus + (1 - fraction) * level
            density[row] += amount * _normal(
                values, mixed, float(np.hypot(spread, (1 - fraction) * bin_width / 2))
            )
    return density


def _beside(values: Double, beside: Mask, near_voxels: tuple[float, ...]) -> tuple[Double, Double]:
    """Return intensities that occur beside the thalamus, and their fraction near each voxel."""
    low, high = np.quantile(values[beside], (0.005, 0.995))
    levels = np.linspace(low, high, INTENSITIES)
    place = np.clip((values - levels[0]) / (levels[1] - levels[0]), 0, INTENSITIES - 1)
    amounts = []
    for level in range(INTENSITIES):
        found = beside * np.clip(1 - np.abs(place - level), 0, 1)
        # A trace of the whole neighbourhood's intensities, where nothing is near.
        near = ndimage.gaussian_filter(found, near_voxels) + 1e-4 * found.sum() / beside.sum()
        amounts.append(near)
    stacked = np.stack(amounts)
    return levels, stacked / stacked.sum(axis=0)


def _signed_distance(mask: Mask, voxel_mm: tuple[float, float, float]) -> Double:
    """Distance to the border in mm, positive inside."""
    inside, outside = distance_mm(~mask, voxel_mm), distance_mm(mask, voxel_mm)
    # Centres on both sides of a border are one voxel apart, and the border lies half-way.
    half = float(np.mean(voxel_mm)) / 2
    signed: Double = np.where(mask, inside - half, half - outside)
    return signed


def _plane(
    values: Double, inside: Mask, voxel_mm: tuple[float, float, float]
) -> tuple[Double, float]:
    """Fit a plane to the inside, outliers (lesions, veins) dropped once; value anywhere, spread."""
    grid = np.indices(values.shape).reshape(3, -1).T * np.array(voxel_mm)
    design = np.column_stack([np.ones(len(grid)), grid - grid[inside.ravel()].mean(0)])
    chosen = inside.ravel()
    flat = values.ravel()
    for _ in range(2):
        weights = np.linalg.lstsq(design[chosen], flat[chosen], rcond=None)[0]
        residual = flat - design @ weights
        spread = robust.spread(residual[chosen], 0.0)
        # Three spreads of a normal law leave out three voxels in a thousand.
        chosen = inside.ravel() & (np.abs(residual) < 3 * spread)
    fitted = (design @ weights).reshape(values.shape)
    return fitted, max(spread, 1e-6)


def _normal(values: Double, mean: Double, spread: float) -> Double:
    density: Double = np.exp(-0.5 * ((values - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    return density


def _largest(mask: Mask) -> Mask:
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest: Mask = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return largest
