"""Many data sets fitted at once, and how a model of any kind is resampled with them.

The kernels are plain numpy over all draws: a fit by statsmodels takes 0.2 ms (0.08 ms of it
arithmetic), which 15,000 fits of each coefficient of two tables would turn into a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.statistics import resampling
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.resampling import CHUNK_NUMBERS, LeaveOneOut, Resampling

TOLERANCE = 1e-9
"""Change of the coefficients, relative to the largest, at which an iteration has converged."""

MOST_STEPS = 100

LARGEST_LOGIT = 30.0
"""Beyond it probabilities are 0 and 1 in double precision."""

Draw = Callable[[Floats, Floats, int, Resampling], Floats]
Permute = Callable[[Floats, Floats, int, Resampling], float]
Jackknife = Callable[[Floats, Floats, int], Floats]
LeaveOut = Callable[[Floats, Floats, int], LeaveOneOut]


@dataclass(frozen=True, slots=True)
class Refits:
    """How a model of one kind is fitted again."""

    bootstrap: Draw
    """Coefficient of each draw of rows; missing where a draw has no solution."""

    permutation_p: Permute
    leave_one_out: LeaveOut
    permutation: str
    """Whose permutation it is."""

    is_closed_form: bool = False
    """Whether leaving one out needs no fit."""

    drawn: str = "participants"
    """Of what the bootstrap takes draws."""

    jackknife: Jackknife | None = None
    """The coefficient without each of what is drawn, where that is not a row."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Estimates of many data sets, one row each."""

    coefficients: Floats
    covariance: Floats
    """Shape (fits, columns, columns)."""

    deviance: Floats
    converged: NDArray[np.bool_]

    def statistic(self, column: int) -> Floats:
        """Return the coefficient of a column over its standard error."""
        error = np.sqrt(self.covariance[:, column, column])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Floats = self.coefficients[:, column] / error
        return ratio


def chunks(wanted: int, numbers_each: int) -> Iterator[int]:
    """Yield how many fits are made at once, until all are."""
    # About four arrays of this size live at once in a kernel.
    size = max(1, CHUNK_NUMBERS // (4 * numbers_each))
    while wanted > 0:
        yield min(size, wanted)
        wanted -= size


Kernel = Callable[[Floats, Floats, Floats], Batch]
"""Fits outcome and predictors with a count of each row, shapes (rows,), (rows, columns) or
(fits, rows, columns), and (fits, rows)."""


def by_likelihood(kernel: Kernel, name: str = "regressor residuals") -> Refits:
    """Return how a model with a likelihood is resampled, given how many of it are fitted at once.

    Outcomes of 0 and 1, counts and levels have no residuals that could be exchanged, so those of
    the predictor are, and likelihood ratios are compared.

    References
    ----------
    Potter (2005), logistic models. Stat Med 24(5), 693-708. doi:10.1002/sim.1931
    Werft & Benner (2010), generalised linear models. R J 2(1), 39-43. doi:10.32614/RJ-2010-007
    """

    def bootstrap(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> Floats:
        return _drawn(kernel, (outcome, predictors), column, how)

    def permutation_p(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> float:
        return _permuted(kernel, (outcome, predictors), column, how)

    def leave_one_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
        return _left_out(kernel, outcome, predictors, column)

    return Refits(bootstrap, permutation_p, leave_one_out, name)


def _drawn(kernel: Kernel, data: tuple[Floats, Floats], column: int, how: Resampling) -> Floats:
    n, p = data[1].shape
    rng = np.random.default_rng(how.seed)
    drawn = []
    for size in chunks(how.bootstraps(n), n * p):
        # A bootstrap draw as counts: the rows stay in place, and only the weights differ.
        counts = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float)
        fits = kernel(*data, counts)
        drawn.append(np.where(fits.converged, fits.coefficients[:, column], np.nan))
    return np.concatenate(drawn)


def _left_out(kernel: Kernel, outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
    n, p = predictors.shape
    parts = []
    done = 0
    for size in chunks(n, n * p):
        counts = np.ones((size, n))
        # A weight of 0 leaves the row out without a copy of the predictors.
        counts[np.arange(size), np.arange(done, done + size)] = 0
        fits = kernel(outcome, predictors, counts)
        usable = np.where(fits.converged, 1.0, np.nan)
        parts.append((fits.coefficients[:, column] * usable, fits.statistic(column) * usable))
        done += size
    coefficients, statistic = (np.concatenate(part) for part in zip(*parts, strict=True))
    return LeaveOneOut(coefficients, 2 * stats.norm.sf(np.abs(statistic)))


def _permuted(kernel: Kernel, data: tuple[Floats, Floats], column: int, how: Resampling) -> float:
    outcome, predictors = data
    n, p = predictors.shape
    others = np.delete(predictors, column, axis=1)
    own = resampling.rest(predictors[:, column], others)
    rng = np.random.default_rng(how.seed)
    # The likelihood ratio needs no standard error, which separated permutations do not have.
    # Where nothing else is in the formula, a column of zeros is the model without the term.
    reduced = others if others.shape[1] else np.zeros((n, 1))
    null = kernel(outcome, reduced, np.ones((1, n))).deviance[0]
    observed = null - kernel(outcome, predictors, np.ones((1, n))).deviance[0]
    wanted = how.permutations(n)
    beyond = 0
    for size in chunks(wanted, n * p):
        shuffled = rng.permuted(np.tile(own, (size, 1)), axis=1)
        x = np.concatenate(
            [np.broadcast_to(others, (size, *others.shape)), shuffled[:, :, None]], axis=2
        )
        # The null model has no permuted column, so it is fitted once.
        explained = null - kernel(outcome, x, np.ones((size, n))).deviance
        # A margin, since the order of additions moves a deviance in its last digits.
        beyond += int(np.sum(explained >= observed - 1e-9 * max(1, abs(null))))
    return (beyond + 1) / (wanted + 1)


def scaled(predictors: Floats, n_fits: int) -> tuple[Floats, Floats]:
    """Return columns of one size for each fit, and their sizes.

    A volume beside 0 and 1 would cost the information matrix its digits.
    """
    sizes = np.sqrt(np.mean(predictors**2, axis=-2, keepdims=True))
    sizes = np.where(sizes > 0, sizes, 1.0)
    x = np.broadcast_to(predictors / sizes, (n_fits, *predictors.shape[-2:]))
    return x, sizes[..., 0, :] if sizes.ndim == 3 else sizes[0]


def unscaled(b: Floats, covariance: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Return coefficients and covariance in the units of the predictors."""
    return b / sizes, covariance / (sizes[..., :, None] * sizes[..., None, :])


def times(x: Floats, b: Floats) -> Floats:
    """Return what each fit expects of each row: shape (fits, rows)."""
    values: Floats = np.matmul(x, b[:, :, None])[:, :, 0]
    return values


def moments(x: Floats, values: Floats) -> Floats:
    """Return the sum of values times each column: shape (fits, columns)."""
    sums: Floats = np.matmul(values[:, None, :], x)[:, 0, :]
    return sums


def crossed(x: Floats, weights: Floats) -> Floats:
    """Return the weighted products of columns: shape (fits, columns, columns)."""
    products: Floats = np.matmul(np.swapaxes(x, 1, 2) * weights[:, None, :], x)
    return products


def inverse(matrices: Floats) -> Floats:
    """Return the inverse of each matrix."""
    # A trace of ridge lets singular ones through; their fits do not converge and are left out.
    p = matrices.shape[-1]
    trace = np.trace(matrices, axis1=1, axis2=2)[:, None, None]
    found: Floats = np.linalg.inv(matrices + np.eye(p) * np.maximum(trace * 1e-15, 1e-300))
    return found


def solved(matrices: Floats, right: Floats) -> Floats:
    """Return the solution of each system of equations."""
    p = matrices.shape[-1]
    trace = np.trace(matrices, axis1=1, axis2=2)[:, None, None]
    # The same trace of ridge as in inverse: LAPACK would refuse the whole batch for one singular
    # draw.
    ridge = np.eye(p) * np.maximum(trace * 1e-15, 1e-300)
    values: Floats = np.linalg.solve(matrices + ridge, right[:, :, None])[:, :, 0]
    return values
