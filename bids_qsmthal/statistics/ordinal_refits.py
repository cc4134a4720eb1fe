"""Proportional odds models, many at once, also where a draw lacks a level of the outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from bids_qsmthal.statistics import batches
from bids_qsmthal.statistics.batches import LARGEST_LOGIT, MOST_STEPS, TOLERANCE, Batch
from bids_qsmthal.statistics.design import Floats

MOST_HALVINGS = 30
"""Of a step of Newton's method that makes the likelihood smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """Rows of all fits, and where the cuts of each fit are."""

    x: Floats
    """Shape (fits, rows, columns)."""

    counts: Floats
    """Shape (fits, rows)."""

    member: Floats
    """1 where a row is at a level, shape (rows, levels)."""

    upper: Floats
    """1 where a level ends at a cut of the fit, shape (fits, levels, cuts)."""

    lower: Floats
    """1 where it begins at one."""

    unused: Floats
    """1 for cuts that a fit has not, shape (fits, cuts)."""


def fitted(outcome: Floats, predictors: Floats, counts: Floats) -> Batch:
    """Return proportional odds fits in which each row counts as often as said.

    A level that a fit has nobody at has no likelihood, and its neighbours share one cut: the same
    model of fewer levels, with the same slopes. Not converged where the predictors tell levels
    apart, or where a fit has one level alone.

    Parameters
    ----------
    outcome
        Numbers whose order counts.
    predictors
        Without a constant; shape (rows, columns), or (fits, rows, columns).
    counts
        Shape (fits, rows).
    """
    x, sizes = batches.scaled(predictors - predictors.mean(axis=-2, keepdims=True), len(counts))
    data, values = _prepared(outcome, x, counts)
    values, information, likelihood, converged = _maximised(data, values)
    n_cuts = data.unused.shape[1]
    slopes, certain = values[:, n_cuts:], np.zeros(len(counts), dtype=bool)
    if x.shape[-1]:
        certain = np.abs(batches.times(x, slopes)).max(axis=1) > LARGEST_LOGIT
    covariance = batches.inverse(information)[:, n_cuts:, n_cuts:]
    slopes, covariance = batches.unscaled(slopes, covariance, sizes)
    alone = data.unused.all(axis=1)
    return Batch(slopes, covariance, -2 * likelihood, converged & ~certain & ~alone)


def _prepared(outcome: Floats, x: Floats, counts: Floats) -> tuple[_Data, Floats]:
    """Return the data with the cuts of each fit, and where its parameters start."""
    levels, place = np.unique(outcome, return_inverse=True)
    n_levels, n_cuts = len(levels), len(levels) - 1
    member = np.eye(n_levels)[place]
    at = counts @ member
    present = at > 0
    # The rank of a level among those that the fit has: its upper cut; the one before, its lower.
    rank = np.cumsum(present, axis=1) - 1
    last = rank[:, -1:]
    cuts = np.arange(n_cuts)
    upper = present[:, :, None] & (rank < last)[:, :, None] & (rank[:, :, None] == cuts)
    lower = present[:, :, None] & (rank[:, :, None] - 1 == cuts)
    unused = cuts >= last
    below = np.cumsum(at, axis=1) / counts.sum(axis=1, keepdims=True)
    start = np.where(upper, special.logit(np.clip(below, 1e-9, 1 - 1e-9))[:, :, None], 0)
    values = np.concatenate([start.sum(axis=1), np.zeros((len(counts), x.shape[-1]))], axis=1)
    return _Data(
        x, counts, member, *(each.astype(float) for each in (upper, lower, unused))
    ), values


def _maximised(data: _Data, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return parameters, information and log likelihood at the maximum, and which converged."""
    likelihood, gradient, information = _likelihood(data, values)
    converged = np.zeros(len(values), dtype=bool)
    for _ in range(MOST_STEPS):
        step = batches.solved(information, gradient)
        size = np.minimum(1, 5 / np.maximum(np.abs(step).max(axis=1), 1e-300))
        for _ in range(MOST_HALVINGS):
            found = _likelihood(data, values + size[:, None] * step)
            # The likelihood is concave (Pratt 1981, doi:10.1080/01621459.1981.10477613): a step
            # that overshoots, or that crosses cuts (-inf), is halved until it climbs.
            worse = found[0] < likelihood - 1e-12 * np.abs(likelihood)
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        values = values + size[:, None] * step
        likelihood, gradient, information = found
        largest = np.maximum(np.abs(values).max(axis=1), 1)
        converged = np.abs(size[:, None] * step).max(axis=1) < TOLERANCE * largest
        if converged.all():
            break
    return values, information, likelihood, converged


def _likelihood(data: _Data, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the log likelihood of each fit, its gradient, and the observed information."""
    n_cuts = data.unused.shape[1]
    cuts, slopes = values[:, :n_cuts], values[:, n_cuts:]
    along = batches.times(data.x, slopes) if slopes.shape[1] else np.zeros(data.counts.shape)
    ends = []
    for cut_of, missing in ((data.upper, np.inf), (data.lower, -np.inf)):
        of_level = np.einsum("fkc,fc->fk", cut_of, cuts)
        of_level = np.where(cut_of.any(axis=2), of_level, missing)
        ends.append(of_level[:, data.member.argmax(axis=1)] - along)
    chance = special.expit(ends[0]) - special.expit(ends[1])
    # Rows that do not count have no level in this fit.
    counted = data.counts > 0
    impossible = (counted & ~(chance > 0)).any(axis=1)
    chance = np.where(counted & (chance > 0), chance, 1.0)
    likelihood = np.where(impossible, -np.inf, np.sum(data.counts * np.log(chance), axis=1))
    return likelihood, *_derivatives(data, ends, chance)


def _derivatives(data: _Data, ends: list[Floats], chance: Floats) -> tuple[Floats, Floats]:
    """Return gradient and observed information: sums over levels for cuts, over rows for slopes."""
    steep = [special.expit(end) * special.expit(-end) for end in ends]
    bend = [d * (1 - 2 * special.expit(e)) for d, e in zip(steep, ends, strict=True)]
    first = [steep[0] / chance, -steep[1] / chance]
    # Second derivatives by both upper ends, both lower ends, and one of each.
    second = [
        data.counts * (first[0] ** 2 - bend[0] / chance),
        data.counts * (first[1] ** 2 + bend[1] / chance),
        data.counts * first[0] * first[1],
    ]
    cut_of = [data.upper, data.lower]
    weighted = [data.counts * one for one in first]
    by_cut = sum(np.einsum("fkc,fk->fc", cut_of[i], weighted[i] @ data.member) for i in range(2))
    by_slope = -batches.moments(data.x, weighted[0] + weighted[1])
    sums = [one @ data.member for one in second]
    mixed = np.einsum("fka,fk,fkb->fab", data.upper, sums[2], data.lower)
    cuts = mixed + np.swapaxes(mixed, 1, 2)
    for i in range(2):
        cuts += np.einsum("fka,fk,fkb->fab", cut_of[i], sums[i], cut_of[i])
    # A cut that the fit has not keeps its place: no gradient, and a curvature of 1.
    cuts += np.einsum("fa,ab->fab", data.unused, np.eye(data.unused.shape[1]))
    across = -sum(
        np.einsum("fkc,fkp->fcp", cut_of[i], _by_level(data, second[i] + second[2]))
        for i in range(2)
    )
    slopes = batches.crossed(data.x, second[0] + second[1] + 2 * second[2])
    top = np.concatenate([cuts, across], axis=2)
    bottom = np.concatenate([np.swapaxes(across, 1, 2), slopes], axis=2)
    gradient = np.concatenate([by_cut, by_slope], axis=1)
    return gradient, np.concatenate([top, bottom], axis=1)


def _by_level(data: _Data, weights: Floats) -> Floats:
    """Return the weighted sums of each column over the rows of each level."""
    sums: Floats = np.matmul(data.member.T, weights[:, :, None] * data.x)
    return sums
