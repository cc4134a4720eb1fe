"""Regressions of counts, many at once: Poisson, and negative binomial with a dispersion of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from bids_qsmthal.statistics import batches
from bids_qsmthal.statistics.batches import MOST_STEPS, TOLERANCE, Batch, Kernel, Refits
from bids_qsmthal.statistics.counts import LOG_DISPERSION
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.resampling import LeaveOneOut

LARGEST_LOG = 30.0
"""Logarithm of a rate ratio within one data set beyond which its coefficients run away: ten to the
thirteenth."""


def poisson(offset: Floats) -> Kernel:
    """Return a kernel for counts in proportion to the exponential of the offset."""

    def fitted(outcome: Floats, predictors: Floats, counts: Floats) -> Batch:
        x, sizes = batches.scaled(predictors, len(counts))
        b = _start(outcome, x, counts, offset)
        b, information, converged = _maximised(outcome, x, counts, (b, offset), None)
        eta = offset + batches.times(x, b)
        likelihood = np.sum(counts * (outcome * eta - np.exp(np.minimum(eta, 500))), axis=1)
        b, covariance = batches.unscaled(b, batches.inverse(information), sizes)
        return Batch(b, covariance, -2 * likelihood, converged)

    return fitted


def negative_binomial(offset: Floats) -> Kernel:
    r"""Return a kernel for counts with variance :math:`\mu + \alpha\mu^2`, each with its own alpha.

    Coefficients and dispersion are improved in turn: they are asymptotically independent (Lawless
    1987, doi:10.2307/3314912), so few turns are needed.
    """

    def fitted(outcome: Floats, predictors: Floats, counts: Floats) -> Batch:
        x, sizes = batches.scaled(predictors, len(counts))
        b = _start(outcome, x, counts, offset)
        log_alpha = np.zeros(len(counts))
        converged = np.zeros(len(counts), dtype=bool)
        for _ in range(MOST_STEPS):
            before = b
            b, information, still = _maximised(
                outcome, x, counts, (b, offset), np.exp(log_alpha), most_steps=2
            )
            eta = offset + batches.times(x, b)
            mean = np.exp(np.clip(eta, -500, 500))
            log_alpha, at_best = _dispersion(outcome, mean, counts, log_alpha)
            moved = np.abs(b - before).max(axis=1) > 1e-7 * np.maximum(np.abs(b).max(axis=1), 1)
            converged = still & at_best & ~moved
            away = np.ptp(eta - offset, axis=1) > LARGEST_LOG
            if (converged | away).all():
                break
        b, covariance = batches.unscaled(b, batches.inverse(information), sizes)
        likelihood = _negative_binomial(outcome, mean, counts, np.exp(-log_alpha))
        return Batch(b, covariance, -2 * likelihood, converged & ~away)

    return fitted


def robust(offset: Floats) -> Refits:
    """Return how a Poisson model with errors from HC3 is resampled."""
    plain = batches.by_likelihood(poisson(offset))

    def leave_one_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
        return _robust_left_out(plain.leave_one_out, offset, (outcome, predictors), column)

    # HC3 changes neither bootstrap nor likelihood ratio, but p without each row.
    return Refits(plain.bootstrap, plain.permutation_p, leave_one_out, plain.permutation)


def _robust_left_out(
    plain: Callable[[Floats, Floats, int], LeaveOneOut],
    offset: Floats,
    data: tuple[Floats, Floats],
    column: int,
) -> LeaveOneOut:
    outcome, predictors = data
    n, p = predictors.shape
    error = np.full(n, np.nan)
    kernel = poisson(offset)
    done = 0
    for size in batches.chunks(n, n * p):
        counts = np.ones((size, n))
        counts[np.arange(size), np.arange(done, done + size)] = 0
        fits = kernel(outcome, predictors, counts)
        mean = np.exp(np.clip(offset + fits.coefficients @ predictors.T, -500, 500))
        # Zeileis (2006), doi:10.18637/jss.v016.i09: the bread is the inverse information.
        solved = fits.covariance @ predictors.T
        leverage = mean * np.einsum("fpn,np->fn", solved, predictors)
        # A row that alone decides a coefficient has no residual left to judge by.
        free = np.where(1 - leverage > 1e-10, 1 - leverage, np.nan)
        left = counts * (outcome - mean) / np.where(counts > 0, free, 1.0)
        error[done : done + size] = np.sqrt(np.sum((solved[:, column] * left) ** 2, axis=1))
        done += size
    found = plain(outcome, predictors, column)
    return LeaveOneOut(found.coefficients, 2 * stats.norm.sf(np.abs(found.coefficients / error)))


def _start(outcome: Floats, x: Floats, counts: Floats, offset: Floats) -> Floats:
    """Return the weighted least squares fit of the logarithm: a start near the maximum."""
    # As R's glm begins, with a little added where a count of zero has no logarithm.
    around = outcome + 0.1
    weights = counts * around
    right = batches.moments(x, weights * (np.log(around) - offset))
    return batches.solved(batches.crossed(x, weights), right)


def _maximised(
    outcome: Floats,
    x: Floats,
    counts: Floats,
    at: tuple[Floats, Floats],
    alpha: Floats | None,
    most_steps: int = MOST_STEPS,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    r"""Return coefficients after Fisher scoring, their information, and which stand still.

    Weights are :math:`c\,\mu/(1+\alpha\mu)` (McCullagh & Nelder 1989, 6.2 and 11.2).
    """
    b, offset = at
    share = np.zeros((len(b), 1)) if alpha is None else alpha[:, None]
    converged = np.zeros(len(b), dtype=bool)
    for _ in range(most_steps):
        along = batches.times(x, b)
        mean = np.exp(np.clip(offset + along, -500, 500))
        weights = counts / (1 + share * mean)
        information = batches.crossed(x, weights * mean)
        step = batches.solved(information, batches.moments(x, weights * (outcome - mean)))
        # No step beyond a factor of e^5 of the mean: Newton's method may leap.
        step *= np.minimum(1, 5 / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        b = b + step
        converged = np.abs(step).max(axis=1) < TOLERANCE * np.maximum(np.abs(b).max(axis=1), 1)
        # Coefficients that tell who has none at all run away and never stand still.
        away = np.ptp(along, axis=1) > LARGEST_LOG
        if (converged | away).all():
            break
    return b, information, converged & ~away


def _dispersion(
    outcome: Floats, mean: Floats, counts: Floats, log_alpha: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the logarithm of alpha after a Newton step, and which are at their best."""
    r = np.exp(-log_alpha)
    values, place = np.unique(outcome, return_inverse=True)
    # Polygammas are dear, and counts repeat: once for each value, not for each row.
    first = (special.digamma(values + r[:, None]) - special.digamma(r)[:, None])[:, place]
    second = (special.polygamma(1, values + r[:, None]) - special.polygamma(1, r)[:, None])[
        :, place
    ]
    whole = r[:, None] + mean
    by_r = np.sum(
        counts * (first + np.log(r)[:, None] + 1 - np.log(whole) - (outcome + r[:, None]) / whole),
        axis=1,
    )
    bend = np.sum(
        counts * (second + 1 / r[:, None] - 2 / whole + (outcome + r[:, None]) / whole**2), axis=1
    )
    # From r to log alpha = -log r.
    gradient, curvature = -r * by_r, r**2 * bend + r * by_r
    # Where the likelihood is not concave the gradient alone says which way is up.
    step = np.where(curvature < 0, -gradient / np.minimum(curvature, -1e-300), np.sign(gradient))
    step = np.clip(step, -1, 1)
    moved = np.clip(log_alpha + step, *LOG_DISPERSION)
    return moved, np.abs(moved - log_alpha) < 1e-6


def _negative_binomial(outcome: Floats, mean: Floats, counts: Floats, r: Floats) -> Floats:
    """Return the log likelihood of each fit, without the factorials of the counts."""
    values, place = np.unique(outcome, return_inverse=True)
    gammas = (special.gammaln(values + r[:, None]) - special.gammaln(r)[:, None])[:, place]
    whole = r[:, None] + mean
    sums = gammas + r[:, None] * np.log(r[:, None] / whole) + outcome * np.log(mean / whole)
    likelihood: Floats = np.sum(counts * sums, axis=1)
    return likelihood
