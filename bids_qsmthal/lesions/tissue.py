"""Normal tissue in two contrasts: what T1w and FLAIR look like where there is no lesion.

A mixture of gray matter, white matter, CSF and their partial volumes is fitted with spatial
priors by expectation-maximisation. Voxels far from every class weigh little (Van Leemput et al.
2001, doi:10.1109/42.938237), so that lesions do not shape what is normal; a smooth gain of the
FLAIR is fitted in the same loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core import robust
from bids_qsmthal.lesions.context import Mask, Volume

Vector = NDArray[np.float64]

GM, WM, CSF = 0, 1, 2
_MIXED = ((GM, WM), (GM, CSF))  # partial volume of neighbouring tissues
_CLASSES = 3 + len(_MIXED)
_OUTLIER_DISTANCE = 3.0  # Mahalanobis; Van Leemput 2001 found 2.7-3.3 best
_MAX_SAMPLES = 150_000  # enough for 6 parameters a class; bounds the time


def _truncation() -> float:
    """Return the variance kept by a Gaussian in two dimensions once outliers weigh less."""
    square = np.linspace(0.0, 40.0, 4001)
    weight = np.exp(-square / 2) / (1 + np.exp((square - _OUTLIER_DISTANCE**2) / 2))
    return float((weight * square).sum() / weight.sum() / 2)


_KEPT_VARIANCE = _truncation()


@dataclass(frozen=True, slots=True, eq=False)
class NormalTissue:
    """Means (class, channel) and covariances (class, channel, channel); channels T1w, FLAIR.

    ``gain`` holds the coefficients of the logarithm of the FLAIR's gain on ``polynomials``.
    """

    mean: Vector
    covariance: Vector
    gain: Vector

    @property
    def spread(self) -> Vector:
        """Standard deviation of each class in each channel."""
        spread: Vector = np.sqrt(self.covariance[:, [0, 1], [0, 1]])
        return spread

    def with_flair_of_csf(self, mean: float, spread: float) -> NormalTissue:
        """Return the model with another FLAIR distribution of CSF, independent of T1w."""
        means, covariances = self.mean.copy(), self.covariance.copy()
        means[CSF, 1] = mean
        covariances[CSF] = np.diag((covariances[CSF, 0, 0], spread**2))
        return replace(self, mean=means, covariance=covariances)

    def classes(self) -> Iterator[tuple[Vector, Vector]]:
        """Yield mean and covariance of the pure classes, then of the mixed ones.

        A mixture of two tissues in equal fractions between 0 and 1 has the mean of their means, and
        a variance of a third of the sum of theirs plus the square of their distance over 12.
        """
        for k in range(len(self.mean)):
            yield self.mean[k], self.covariance[k]
        for a, b in _MIXED:
            step = (self.mean[a] - self.mean[b])[:, None]
            spread = (self.covariance[a] + self.covariance[b]) / 3
            # Fraction f uniform in 0..1: E f^2 = 1/3 gives the third of the variances, Var f = 1/12
            # the spread of the means.
            yield (self.mean[a] + self.mean[b]) / 2, spread + step @ step.T / 12


def polynomials(shape: tuple[int, ...], order: int = 3) -> Iterator[tuple[Vector, ...]]:
    """Yield products of powers of x, y, z up to a total order, each as three axes of -1..1."""
    axes = [np.asarray((np.arange(n) - n / 2) / (n / 2), np.float64) for n in shape]
    for i in range(order + 1):
        for j in range(order + 1 - i):
            for k in range(order + 1 - i - j):
                yield axes[0] ** i, axes[1] ** j, axes[2] ** k


def gain_field(model: NormalTissue, shape: tuple[int, int, int]) -> Volume:
    """Return the multiplicative gain of the FLAIR, about 1."""
    logarithm = np.zeros(shape, np.float32)
    for weight, (x, y, z) in zip(model.gain, polynomials(shape), strict=True):
        plane = (weight * x[:, None] * y).astype(np.float32)
        logarithm += plane[:, :, None] * z.astype(np.float32)
    field: Volume = np.exp(logarithm)
    return field


def density(values: NDArray[np.floating], mean: Vector, covariance: Vector) -> Vector:
    """Return the density of a bivariate normal at (n, 2) values."""
    inverse = np.linalg.inv(covariance)
    t1w, flair = values[:, 0] - mean[0], values[:, 1] - mean[1]
    square = inverse[0, 0] * t1w**2 + 2 * inverse[0, 1] * t1w * flair + inverse[1, 1] * flair**2
    peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return np.asarray(peak * np.exp(-0.5 * square))


def class_priors(tissue: NDArray[np.floating], floor: float) -> NDArray[np.floating]:
    """Return priors (n, class) of pure and mixed classes from those of the three tissues (n, 3).

    ``floor`` is the fraction that the template leaves open. Mixtures of two tissues are expected
    where both are.
    """
    # A prior of zero could never be overruled, and a voxel outside the template would have none.
    pure = np.clip(tissue, 0, 1) * (1 - floor) + floor / 3
    pure /= pure.sum(-1, keepdims=True)
    # Geometric mean: zero where either tissue is impossible, a half of the pure prior where both
    # are alike.
    mixed = [0.5 * np.sqrt(pure[..., a] * pure[..., b]) for a, b in _MIXED]
    both = np.concatenate((pure, np.stack(mixed, -1)), -1)
    return np.asarray(both / both.sum(-1, keepdims=True))


def fit_tissue(
    t1w: Volume,
    flair: Volume,
    priors: tuple[Volume, Volume, Volume],
    selected: Mask,
    *,
    iterations: int = 12,
) -> NormalTissue:
    """Fit the normal tissue of the cerebrum.

    Parameters
    ----------
    t1w, flair
        Intensities on one grid.
    priors
        Probabilities of gray matter, white matter and CSF.
    selected
        Voxels to learn from: cortex, white matter and CSF, without the deep gray nuclei, whose
        T1w lies between the tissues.
    iterations
        Rounds of expectation-maximisation; means change by less than 1 % after 10.
    """
    everywhere = np.flatnonzero(selected)
    sampled = everywhere[:: max(1, everywhere.size // _MAX_SAMPLES)]
    x, y, z = np.unravel_index(sampled, selected.shape)
    basis = np.stack([a[x] * b[y] * c[z] for a, b, c in polynomials(selected.shape)], -1)
    values = np.stack([v.ravel()[sampled] for v in (t1w, flair)], -1).astype(np.float64)
    tissue = np.stack([p.ravel()[sampled] for p in priors], -1).astype(np.float64)
    # A tenth of the prior is left open: a template placed 2 mm off must not fix the classes.
    fractions = class_priors(tissue, floor=0.1)
    model = _start(values, tissue)
    model = replace(model, gain=np.zeros(basis.shape[1]))
    # The gain is fitted to the raw values each round: corrections do not pile up.
    levelled = values.copy()
    for _ in range(iterations):
        weights = _typical(levelled, model, fractions)
        model = replace(_maximise(levelled, weights[:, :3]), gain=model.gain)
        gain = _fit_gain(basis, values[:, 1], weights, model)
        model = replace(model, gain=gain)
        levelled[:, 1] = values[:, 1] * np.exp(-basis @ gain)
    return model


def _start(values: Vector, tissue: Vector) -> NormalTissue:
    """Return the modes of the voxels that the template is sure of, found by trimming."""
    means, covariances = np.zeros((3, 2)), np.zeros((3, 2, 2))
    for k in range(3):
        sure = values[tissue[:, k] >= np.quantile(tissue[:, k], 0.9)]
        centre = np.median(sure, axis=0)
        # Trimming, as the prior's sure voxels of patients hold lesions and those of CSF hold
        # cortex.
        for _ in range(5):
            spread = robust.spread_of_columns(sure, centre) + 1e-6
            centre = sure[(np.abs(sure - centre) < 1.5 * spread).all(1)].mean(axis=0)
        means[k], covariances[k] = centre, np.diag(spread**2)
    return NormalTissue(means, covariances, np.zeros(0))


def _typical(values: Vector, model: NormalTissue, fractions: NDArray[np.floating]) -> Vector:
    """Return the posterior of each class times the typicality of the voxel."""
    likelihood = np.empty((len(values), _CLASSES))
    outlier = np.empty(_CLASSES)
    for k, (mean, covariance) in enumerate(model.classes()):
        likelihood[:, k] = density(values, mean, covariance)
        peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
        outlier[k] = peak * np.exp(-0.5 * _OUTLIER_DISTANCE**2)
    weights = fractions * likelihood
    # A voxel at the outlier distance from a class keeps half of its weight.
    weights /= (weights.sum(1) + fractions @ outlier)[:, None]
    return np.asarray(weights)


def _maximise(values: Vector, weights: Vector) -> NormalTissue:
    """Return weighted means and covariances of the three pure classes."""
    total = weights.sum(0)
    means = weights.T @ values / total[:, None]
    covariances = np.zeros((3, 2, 2))
    for k in range(3):
        rest = values - means[k]
        covariances[k] = (weights[:, k, None] * rest).T @ rest / total[k] / _KEPT_VARIANCE
        # Keeps a class without voxels invertible.
        covariances[k] += 1e-6 * np.diag(means[k] ** 2 + 1e-12)
    return NormalTissue(means, covariances, np.zeros(0))


def _fit_gain(basis: Vector, flair: Vector, weights: Vector, model: NormalTissue) -> Vector:
    """Return the polynomial nearest to log(FLAIR / tissue mean), by weighted least squares."""
    precision, target = np.zeros(len(flair)), np.zeros(len(flair))
    # Zeros of skull-stripped images have no logarithm.
    logarithm = np.log(np.maximum(flair, 1e-3 * model.mean[WM, 1]))
    # Without CSF: it is dark on FLAIR, and its noise in the logarithm tells nothing of the gain.
    for k in (GM, WM):
        # The variance of log(x) is var(x) / mean(x)^2.
        weight = weights[:, k] * model.mean[k, 1] ** 2 / model.covariance[k, 1, 1]
        precision += weight
        target += weight * (logarithm - np.log(model.mean[k, 1]))
    normal = (basis * precision[:, None]).T @ basis
    # A touch of ridge: on a thin slab the third-order terms along z are nearly dependent.
    normal += 1e-6 * precision.sum() * np.eye(len(normal))
    gain = np.linalg.solve(normal, basis.T @ target)
    gain[0] -= np.average(basis @ gain, weights=precision)  # basis[0] is the constant
    return np.asarray(gain)
