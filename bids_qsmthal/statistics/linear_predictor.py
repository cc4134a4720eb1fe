r"""Coefficients of any kind of model on one scale: that of a partial correlation.

A correlation compares what a predictor moves with what it leaves. On the scale of the linear
predictor every family has such a rest: the residual variance of a linear model (within sites, where
sites have intercepts of their own), :math:`\pi^2/3` of logistic and proportional odds models,
:math:`\ln(1+\omega/\lambda+\alpha)` of counts with mean :math:`\lambda` (Nakagawa, Johnson &
Schielzeth 2017, doi:10.1098/rsif.2017.0213). With it, and with the spread that a predictor has when
the others are held fixed, :math:`r = z/\sqrt{1+z^2}` for :math:`z = b\,s_{x|others}/\sigma`. For
least squares this is the partial correlation itself.
"""

from __future__ import annotations

import math

import numpy as np

from bids_qsmthal.statistics import regression
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.regression import Fit

LOGISTIC_SD = math.pi / math.sqrt(3)
"""Of the standard logistic distribution."""


def unit(fit: Fit, term: str) -> float:
    r"""Return the coefficient whose z is 1: :math:`\sigma/s_{x|others}`.

    Missing where the term has no spread of its own: a model without a fit, a column that others
    determine, or one that is the same for everybody at a site that has its own intercept.
    """
    made = fit.design
    if made is None or not fit.fitted:
        return math.nan
    weights = regression.combinations(fit.model, made).get(term)
    if weights is None:
        return math.nan
    spread = _spread(fit, made)
    kept, _ = regression.independent(fit.model, made)
    if np.delete(weights, kept).any():
        return math.nan
    return spread * math.sqrt(_variance(_centred(fit, made, kept), weights[kept]))


def correlation(coefficient: float, of_one: float) -> float:
    """Return the partial correlation that a coefficient stands for."""
    z = coefficient / of_one
    return z / math.hypot(1, z)


def coefficient(r: float, of_one: float) -> float:
    """Return the coefficient that stands for a partial correlation."""
    return of_one * r / math.sqrt(1 - r**2)


def _centred(fit: Fit, made: Design, kept: list[int]) -> Floats:
    """Return the columns of the model with what stands for its intercepts taken out of them."""
    columns = made.predictors[:, kept]
    if fit.model.family == "ordinal":
        # Thresholds stand for the intercept.
        centred: Floats = columns - columns.mean(axis=0)
        return centred
    if not fit.model.random:
        return columns
    _, place = np.unique(made.clusters, return_inverse=True)
    member = np.eye(place.max() + 1)[place]
    means = (member.T @ columns) / member.sum(axis=0)[:, None]
    within: Floats = columns - means[place]
    return within


def _variance(columns: Floats, weights: Floats) -> float:
    """Return the variance of a combination of coefficients, for one participant of variance 1."""
    lengths = np.linalg.norm(columns, axis=0)
    # A column of nothing: an intercept, or what is the same for everybody at a site.
    usable = lengths > 1e-9 * math.sqrt(len(columns))
    if weights[~usable].any():
        return math.nan
    scaled = columns[:, usable] / lengths[usable]
    combination = weights[usable] / lengths[usable]
    upper = np.linalg.qr(scaled)[1]
    if np.abs(np.diag(upper)).min() < 1e-7:
        return math.nan
    return len(columns) * float(np.sum(np.linalg.solve(upper.T, combination) ** 2))


def _spread(fit: Fit, made: Design) -> float:
    """Return the standard deviation of the outcome about the linear predictor, on its scale."""
    match fit.model.family:
        case "binomial" | "ordinal":
            return LOGISTIC_SD
        case "poisson" | "negative_binomial":
            return math.sqrt(math.log1p(_dispersion(fit, made) / made.outcome.mean() + fit.alpha))
    if fit.model.method == "huber" or fit.model.random:
        return fit.residual_sd
    return float(np.sqrt(np.mean(fit.residuals**2)))


def _dispersion(fit: Fit, made: Design) -> float:
    r"""Return :math:`\omega`: Pearson's, where robust errors allow for more than Poisson's law."""
    if fit.model.family != "poisson" or fit.model.method != "hc3":
        return 1.0
    mean = made.outcome - fit.residuals
    df = made.n - len(regression.independent(fit.model, made)[0])
    return max(float(np.sum(fit.residuals**2 / mean)) / df, 1.0)
