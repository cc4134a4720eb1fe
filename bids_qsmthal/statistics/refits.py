"""The same model fitted again, many times: one family of kernels for each way to estimate.

``resampling`` asks the same three questions of every model (bootstrap, permutation, leaving one
out); here each question has its answer for the family and method of the model it stands beside.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from bids_qsmthal.statistics import (
    batches,
    count_refits,
    design,
    ordinal_refits,
    regression,
    resampling,
    site_refits,
)
from bids_qsmthal.statistics import logistic as logistic_model
from bids_qsmthal.statistics.batches import (
    LARGEST_LOGIT,
    MOST_STEPS,
    TOLERANCE,
    Batch,
    Refits,
    chunks,
    crossed,
    moments,
    solved,
    times,
)
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.regression import Family, Method, Model
from bids_qsmthal.statistics.resampling import LeaveOneOut, Resampling

HUBER_TURN = 1.345
"""Residual, in scales, from which on it counts less: 95 % efficient for normal errors (Huber 1964,
doi:10.1214/aoms/1177703732; Holland & Welsch 1977, doi:10.1080/03610927708827533)."""


def logistic(outcome: Floats, predictors: Floats, counts: Floats) -> Batch:
    r"""Return logistic fits in which each row counts as often as said.

    Newton's method: :math:`b \leftarrow b + (X^TWX)^{-1}X^T(c\,(y-\mu))` with
    :math:`W = c\,\mu(1-\mu)` (McCullagh & Nelder 1989, 4.4). Not converged where the outcomes can
    be told apart, as then there is no estimate.

    Parameters
    ----------
    outcome
        0 or 1, shape (rows,).
    predictors
        Shape (rows, columns), or (fits, rows, columns).
    counts
        Shape (fits, rows).
    """
    x, sizes = batches.scaled(predictors, len(counts))
    # From 0, where all weights are equal, the first step is that of a linear model.
    b = np.zeros((len(counts), x.shape[-1]))
    converged = np.zeros(len(counts), dtype=bool)
    for _ in range(MOST_STEPS):
        # Else exp overflows, and log of a probability of 0 would be -inf in the deviance.
        logit = np.clip(times(x, b), -LARGEST_LOGIT, LARGEST_LOGIT)
        mu = 1 / (1 + np.exp(-logit))
        information = crossed(x, counts * mu * (1 - mu))
        step = solved(information, moments(x, counts * (outcome - mu)))
        # Newton's method may leap where the start is far: no step beyond a logit of 5.
        step *= np.minimum(1, 5 / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        b = b + step
        converged = np.abs(step).max(axis=1) < TOLERANCE * np.maximum(np.abs(b).max(axis=1), 1)
        if converged.all():
            break
    # Coefficients that run away never converge; the deviance of such a fit does.
    # A clipped row has no gradient left, so a separated fit may seem to stand still.
    certain = np.abs(times(x, b)).max(axis=1) > LARGEST_LOGIT
    likelihood = counts * np.where(outcome > 0, np.log(mu), np.log1p(-mu))
    b, covariance = batches.unscaled(b, batches.inverse(information), sizes)
    return Batch(b, covariance, -2 * likelihood.sum(axis=1), converged & ~certain)


def huber(outcomes: Floats, predictors: Floats) -> Batch:
    """Return Huber's M-estimates by reweighted least squares, the scale from the MAD each time.

    The covariance is Huber's H1 (Huber 1981, Robust statistics, 7.6), as in statsmodels.

    Parameters
    ----------
    outcomes
        Shape (fits, rows).
    predictors
        Shape (rows, columns), or (fits, rows, columns).
    """
    x, sizes = batches.scaled(predictors, len(outcomes))
    weights = np.ones_like(outcomes)
    b = np.zeros((len(outcomes), x.shape[-1]))
    converged = np.zeros(len(outcomes), dtype=bool)
    for _ in range(MOST_STEPS):
        before = b
        # Weights of 1 first: it starts from least squares, as statsmodels does.
        b = solved(crossed(x, weights), moments(x, weights * outcomes))
        rest = outcomes - times(x, b)
        # About 0, not about their median: as in statsmodels and MASS::rlm.
        # 1 / 0.6745 makes the MAD of normal errors their SD.
        sigma = np.median(np.abs(rest), axis=1) / stats.norm.ppf(0.75)
        # A draw in which most rows repeat may be fitted exactly by half of them: sigma is 0.
        z = rest / np.maximum(sigma, 1e-300)[:, None]
        weights = np.minimum(1, HUBER_TURN / np.maximum(np.abs(z), 1e-300))
        change = np.abs(b - before).max(axis=1)
        converged = change < TOLERANCE * np.maximum(np.abs(b).max(axis=1), 1e-300)
        if converged.all():
            break
    n, p = x.shape[1:]
    inside = (np.abs(z) <= HUBER_TURN).mean(axis=1)
    spread = np.sum(np.clip(z, -HUBER_TURN, HUBER_TURN) ** 2, axis=1) * sigma**2 / (n - p)
    # Huber (1981), 7.6, with the share of residuals inside as mean of the derivative.
    correction = 1 + p / n * (1 - inside) / inside
    factor = (correction / inside) ** 2 * spread
    covariance = factor[:, None, None] * batches.inverse(crossed(x, np.ones_like(outcomes)))
    b, covariance = batches.unscaled(b, covariance, sizes)
    return Batch(b, covariance, np.full(len(b), np.nan), converged)


def _robust_logistic_left_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
    """Return the logistic coefficient without each row, its p with errors from HC3."""
    plain = LOGISTIC.leave_one_out(outcome, predictors, column)
    p = np.full(len(outcome), np.nan)
    for row in np.flatnonzero(np.isfinite(plain.coefficients)):
        x, y = np.delete(predictors, row, axis=0), np.delete(outcome, row)
        if design.decided_alone(x):
            continue
        found = logistic_model.fit(y, x)
        error = np.sqrt(logistic_model.robust_covariance(found, x)[column, column])
        p[row] = 2 * stats.norm.sf(abs(plain.coefficients[row] / error))
    return LeaveOneOut(plain.coefficients, p)


def _huber_draws(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> Floats:
    n, p = predictors.shape
    rng = np.random.default_rng(how.seed)
    drawn = []
    for size in chunks(how.bootstraps(n), n * p):
        # Rows, not counts: the MAD is a median of rows, and a weighted one would be another
        # estimate.
        rows = rng.integers(0, n, (size, n))
        drawn.append(_huber_coefficients(outcome[rows], predictors[rows], column))
    return np.concatenate(drawn)


def _huber_coefficients(outcomes: Floats, predictors: Floats, column: int) -> Floats:
    """Return a coefficient of each fit, missing where the design has no unique solution."""
    lengths = np.linalg.norm(predictors, axis=1, keepdims=True)
    scaled = predictors / np.where(lengths > 0, lengths, 1)
    solvable = np.linalg.cond(np.swapaxes(scaled, 1, 2) @ scaled) < resampling.WORST_CONDITION
    values = np.full(len(outcomes), np.nan)
    if solvable.any():
        fits = huber(outcomes[solvable], predictors[solvable])
        values[solvable] = np.where(fits.converged, fits.coefficients[:, column], np.nan)
    return values


def _huber_left_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
    n, p = predictors.shape
    # Without such a row the design is singular; its place stays NaN.
    alone = [row for rows in design.decided_alone(predictors).values() for row in rows]
    coefficients, statistic = np.full(n, np.nan), np.full(n, np.nan)
    places = np.setdiff1d(np.arange(n), alone)
    done = 0
    for size in chunks(len(places), n * p):
        here = places[done : done + size]
        rows = np.stack([np.delete(np.arange(n), place) for place in here])
        fits = huber(outcome[rows], predictors[rows])
        coefficients[here] = np.where(fits.converged, fits.coefficients[:, column], np.nan)
        statistic[here] = np.where(fits.converged, fits.statistic(column), np.nan)
        done += size
    return LeaveOneOut(coefficients, 2 * stats.norm.sf(np.abs(statistic)))


def _huber_permutation_p(
    outcome: Floats, predictors: Floats, column: int, how: Resampling
) -> float:
    """Return p by permuting the residuals of the model without the term (Freedman & Lane 1983)."""
    n, p = predictors.shape
    others = np.delete(predictors, column, axis=1)
    fitted = np.zeros(n)
    if others.shape[1]:
        # The reduced model by the same method: residuals of least squares would be those of another
        # null hypothesis.
        fitted = others @ huber(outcome[None], others).coefficients[0]
    observed = abs(huber(outcome[None], predictors).statistic(column)[0])
    rng = np.random.default_rng(how.seed)
    wanted = how.permutations(n)
    beyond = 0
    for size in chunks(wanted, n * p):
        shuffled = rng.permuted(np.tile(outcome - fitted, (size, 1)), axis=1)
        statistic = np.abs(huber(fitted + shuffled, predictors).statistic(column))
        beyond += int(np.sum(statistic >= observed * (1 - 1e-9)))
    return (beyond + 1) / (wanted + 1)


def _robust_permutation_p(
    outcome: Floats, predictors: Floats, column: int, how: Resampling
) -> float:
    """Return Freedman and Lane's p with errors from HC3 in every permutation."""
    n = len(outcome)
    others = np.delete(predictors, column, axis=1)
    residuals = resampling.rest(outcome, others)
    basis, upper = np.linalg.qr(predictors)
    # The row of (X'X)^-1 X' that gives the coefficient: HC3 is then a weighted sum of its squares.
    solved = np.linalg.solve(upper, basis.T)[column]
    # The predictors do not change with the order of the residuals, so neither do leverages.
    free = 1 - np.sum(basis**2, axis=1)

    def statistic(values: Floats) -> Floats:
        left = values - (values @ basis) @ basis.T
        ratio: Floats = np.abs(values @ solved) / np.sqrt(((left / free) ** 2) @ solved**2)
        return ratio

    rng = np.random.default_rng(how.seed)
    observed = statistic(residuals[None])[0]
    wanted = how.permutations(n)
    beyond = 0
    for size in chunks(wanted, n):
        shuffled = rng.permuted(np.tile(residuals, (size, 1)), axis=1)
        beyond += int(np.sum(statistic(shuffled) >= observed * (1 - 1e-12)))
    return (beyond + 1) / (wanted + 1)


def _robust_left_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
    plain = resampling.leave_one_out(outcome, predictors, column)
    p = np.full(len(outcome), np.nan)
    for row in np.flatnonzero(np.isfinite(plain.coefficients)):
        x = np.delete(predictors, row, axis=0)
        if design.decided_alone(x):
            continue
        # The coefficient has a closed form without the row, its HC3 error has not: every leverage
        # changes.
        found = regression.least_squares(np.delete(outcome, row), x, robust=True)
        error = np.sqrt(found.covariance[column, column])
        p[row] = 2 * stats.t.sf(abs(found.params[column] / error), found.df_residual)
    return LeaveOneOut(plain.coefficients, p)


ORDINARY = Refits(
    resampling.bootstrap,
    resampling.permutation_p,
    resampling.leave_one_out,
    "Freedman-Lane",
    is_closed_form=True,
)
ROBUST = Refits(resampling.bootstrap, _robust_permutation_p, _robust_left_out, "Freedman-Lane, HC3")
HUBER = Refits(_huber_draws, _huber_permutation_p, _huber_left_out, "Freedman-Lane, Huber")
LOGISTIC = batches.by_likelihood(logistic, "Potter")
ROBUST_LOGISTIC = Refits(
    LOGISTIC.bootstrap, LOGISTIC.permutation_p, _robust_logistic_left_out, LOGISTIC.permutation
)
ORDERED = batches.by_likelihood(ordinal_refits.fitted)

OF_MODEL: dict[tuple[Family, Method], Refits] = {
    ("gaussian", "ols"): ORDINARY,
    ("gaussian", "hc3"): ROBUST,
    ("gaussian", "huber"): HUBER,
    ("binomial", "ols"): LOGISTIC,
    # HC3 changes neither bootstrap nor likelihood ratio, but p without each row.
    ("binomial", "hc3"): ROBUST_LOGISTIC,
    ("ordinal", "ols"): ORDERED,
}
"""Of what needs no more than outcome and predictors."""


def of(model: Model, made: Design) -> Refits:
    """Return how a model is fitted again to draws of the rows of its design."""
    if model.random:
        return site_refits.of(made.clusters)
    known = OF_MODEL.get((model.family, model.method))
    if known:
        return known
    # What is left are counts, which are in proportion to something that goes with the rows.
    offset = np.log(made.exposure)
    if model.family == "negative_binomial":
        return batches.by_likelihood(count_refits.negative_binomial(offset))
    if model.method == "hc3":
        return count_refits.robust(offset)
    return batches.by_likelihood(count_refits.poisson(offset))
