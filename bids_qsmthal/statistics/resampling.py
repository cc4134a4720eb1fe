"""Inference for one coefficient that does not lean on normal errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from bids_qsmthal.statistics.design import Floats

CHUNK_NUMBERS = 2**24
"""How many random numbers are held at once (128 MiB)."""

WORST_CONDITION = 1e12
"""Of normal equations: beyond it four of sixteen digits are left, and a draw has no solution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How often is drawn, and from which seed.

    With 9999 permutations a p of .05 has a standard error of .002 (Davison & Hinkley 1997,
    Bootstrap methods and their application, 4.2.5).
    """

    n_permutations: int = 9999
    n_bootstraps: int = 4000
    seed: int = 20180301
    largest: int = 10_000_000
    """Draws times participants; beyond it fewer are drawn, but never below a thousand."""

    def permutations(self, n: int) -> int:
        """Return how often is permuted with so many participants."""
        # 999, not 1000: with the observed order there are a thousand.
        return min(self.n_permutations, max(999, self.largest // n))

    def bootstraps(self, n: int) -> int:
        """Return how often is drawn with so many participants."""
        return min(self.n_bootstraps, max(1000, self.largest // n))


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """A coefficient with each row left out in turn."""

    coefficients: Floats
    p: Floats


def permutation_p(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> float:
    """Return the two-sided p of one coefficient by permuting residuals.

    The residuals of the model without the term are permuted and compared by their t statistic,
    which keeps the covariates where they are.

    References
    ----------
    Freedman & Lane (1983). J Bus Econ Stat 1(4), 292-298. doi:10.1080/07350015.1983.10509354
    Winkler et al. (2014). NeuroImage 92, 381-397. doi:10.1016/j.neuroimage.2014.01.060
    """
    others = np.delete(predictors, column, axis=1)
    # By the theorem of Frisch, Waugh and Lovell the coefficient is the slope on what of its
    # column the others do not explain, so one product a permutation gives it.
    orthonormal = np.linalg.qr(predictors)[0]
    direction = rest(predictors[:, column], others)
    direction = direction / np.linalg.norm(direction)
    residuals = rest(outcome, others)
    # A t statistic, not the coefficient: it is pivotal, which Winkler et al. ask for.
    df = len(outcome) - predictors.shape[1]

    def statistic(shuffled: Floats) -> Floats:
        along = shuffled @ direction
        # The columns of all permutations have one length, so only the explained part differs.
        # Rounding may make the difference negative where a permutation is fitted exactly.
        left = np.maximum(residuals @ residuals - np.sum((shuffled @ orthonormal) ** 2, axis=1), 0)
        with np.errstate(divide="ignore"):
            ratio: Floats = np.abs(along) / np.sqrt(left / df)
        return ratio

    rng = np.random.default_rng(how.seed)
    # The statistic of the outcome itself: what the others explain is orthogonal to the direction.
    observed = statistic(residuals[None, :])[0]
    wanted = how.permutations(len(outcome))
    beyond, done = 0, 0
    while done < wanted:
        n = min(wanted - done, max(1, CHUNK_NUMBERS // len(outcome)))
        shuffled = rng.permuted(np.tile(residuals, (n, 1)), axis=1)
        # Ties by rounding count as beyond.
        beyond += int(np.sum(statistic(shuffled) >= observed * (1 - 1e-12)))
        done += n
    # The observed order is one of the possible ones: p is never 0 (Phipson & Smyth 2010,
    # doi:10.2202/1544-6115.1585).
    return (beyond + 1) / (wanted + 1)


def bca_interval(
    drawn: Floats, estimate: float, jackknife: Floats, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval of one coefficient.

    Draws without an estimate (a rare level not drawn, outcomes told apart) are not used; with more
    than one in ten of these there is no interval (NaN).

    Parameters
    ----------
    drawn
        The coefficient in each draw of rows, missing where there is none.
    estimate
        The coefficient of all rows.
    jackknife
        The coefficient without each row.

    References
    ----------
    Efron (1987). J Am Stat Assoc 82(397), 171-185. doi:10.1080/01621459.1987.10478410
    """
    usable = drawn[np.isfinite(drawn)]
    # Draws fail where an effect is large or a level rare: an interval of the rest would be biased.
    if len(usable) < 0.9 * len(drawn) or not np.isfinite(jackknife).all():
        return float("nan"), float("nan")
    spread = jackknife.mean() - jackknife
    # A sixth of the skewness of the jackknife values (Efron 1987).
    acceleration = np.sum(spread**3) / (6 * np.sum(spread**2) ** 1.5)
    # At 0 or 1 the normal quantile would be infinite.
    below = np.clip(np.mean(usable < estimate), 1 / len(usable), 1 - 1 / len(usable))
    bias = stats.norm.ppf(below)
    ends = bias + stats.norm.ppf([0.5 - confidence / 2, 0.5 + confidence / 2])
    # With bias and acceleration 0 these are 2.5 and 97.5 %, the percentile interval.
    levels = stats.norm.cdf(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(usable, levels)
    return float(low), float(high)


def leave_one_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
    """Return the coefficient and its p without each row; NaN where it then has no solution.

    Closed form: no model is fitted again (Belsley, Kuh & Welsch 1980, doi:10.1002/0471725153).
    """
    n, p = predictors.shape
    basis, upper = np.linalg.qr(predictors)
    leverage = np.sum(basis**2, axis=1)
    solved = np.linalg.solve(upper, basis.T)
    coefficient = float(solved[column] @ outcome)
    residuals = rest(outcome, predictors)
    with np.errstate(divide="ignore", invalid="ignore"):
        free = np.where(1 - leverage > 1e-10, 1 - leverage, np.nan)
        # Without row i: b - (X'X)^-1 x_i e_i / (1 - h_i) (Belsley, Kuh & Welsch).
        without = coefficient - solved[column] * residuals / free
        # Its residual sum of squares is smaller by e_i^2 / (1 - h_i).
        variance = (residuals @ residuals - residuals**2 / free) / (n - p - 1)
        error = np.sqrt(variance * (solved[column] @ solved[column] + solved[column] ** 2 / free))
        probability = 2 * stats.t.sf(np.abs(without / error), n - p - 1)
    return LeaveOneOut(without, probability)


def bootstrap(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> Floats:
    """Return the least-squares coefficient of each draw of rows, NaN where it has no solution.

    A draw is a count for each row, so the normal equations of all draws are one matrix product.
    """
    n, p = predictors.shape
    # Normal equations square the condition number, so units must not add to it.
    scales = np.linalg.norm(predictors, axis=0)
    predictors = predictors / scales
    products = (predictors[:, :, None] * predictors[:, None, :]).reshape(n, p * p)
    moments = predictors * outcome[:, None]
    rng = np.random.default_rng(how.seed)
    wanted = how.bootstraps(n)
    drawn: list[Floats] = []
    done = 0
    while done < wanted:
        size = min(wanted - done, max(1, CHUNK_NUMBERS // (4 * n)))
        # Rows by number, then counted: a multinomial draw takes six times as long.
        rows = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(rows.ravel(), minlength=size * n).reshape(size, n).astype(float)
        normal = (counts @ products).reshape(size, p, p)
        right = counts @ moments
        # Before solving: one singular matrix would raise for all draws of the chunk.
        solvable = np.linalg.cond(normal) < WORST_CONDITION
        normal[~solvable] = np.eye(p)
        values = np.linalg.solve(normal, right[:, :, None])[:, column, 0]
        drawn.append(np.where(solvable, values, np.nan))
        done += size
    return np.concatenate(drawn) / float(scales[column])


def rest(values: Floats, others: Floats) -> Floats:
    """Return what of some values other columns do not explain."""
    # A formula without intercept and with one term: nothing to take out, and qr needs a column.
    if others.shape[1] == 0:
        return values
    basis = np.linalg.qr(others)[0]
    left: Floats = values - basis @ (basis.T @ values)
    return left
