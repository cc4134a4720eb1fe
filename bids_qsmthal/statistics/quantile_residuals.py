r"""Residuals of odds, counts and levels that are normal where the model is right.

The plain residual of a yes or no has two values for each prediction and is never normal, so its
quantiles say nothing about the model. The distribution function of the model at what was observed
is uniform; where the outcome jumps, a point is drawn between the two ends of the step. Its normal
quantile is the residual.

References
----------
Dunn & Smyth (1996). J Comput Graph Stat 5(3), 236-244. doi:10.1080/10618600.1996.10474708
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from bids_qsmthal.statistics import ordinal, regression
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.regression import Fit

SEED = 19960901
"""Of the points within the steps: the same figure every time."""

NARROWEST = 1e-12
"""Distance of a probability from 0 and 1, whose normal quantiles are infinite: 7 standard
deviations, farther out than anybody of any cohort is expected."""


def of_fit(fit: Fit) -> tuple[Floats, Floats]:
    """Return fitted values and residuals of a fitted model, as they are looked at.

    Of linear models both are in the unit of the outcome. Of other families residuals are
    randomized quantile residuals in standard deviations, and fitted values are probabilities,
    counts, or for levels the linear predictor.
    """
    made = fit.design
    assert made is not None  # noqa: S101 - the caller has fitted models only
    if fit.model.family == "gaussian":
        return made.outcome - fit.residuals, fit.residuals
    if fit.model.family == "ordinal":
        fitted, below, up_to = _levels(fit, made)
    else:
        fitted = made.outcome - fit.residuals
        below, up_to = _counted(fit, made.outcome, fitted)
    drawn = np.random.default_rng(SEED).uniform(below, up_to)
    return fitted, stats.norm.ppf(np.clip(drawn, NARROWEST, 1 - NARROWEST))


def _counted(fit: Fit, outcome: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities of less than what was observed, and of no more than it."""
    match fit.model.family:
        case "binomial":
            law = stats.bernoulli(np.clip(mean, 0.0, 1.0))
        case "negative_binomial" if fit.alpha > 0:
            law = stats.nbinom(1 / fit.alpha, 1 / (1 + fit.alpha * mean))
        case _:
            law = stats.poisson(mean)
    return law.cdf(outcome - 1), law.cdf(outcome)


def _levels(fit: Fit, made: Design) -> tuple[Floats, Floats, Floats]:
    """Return the linear predictor, and the probabilities below a level and up to it."""
    kept, _ = regression.independent(fit.model, made)
    predictors = made.predictors[:, kept]
    found = ordinal.fit(made.outcome, predictors)
    along = predictors @ found.params
    _, place = np.unique(made.outcome, return_inverse=True)
    cuts = np.concatenate([[-np.inf], found.thresholds, [np.inf]])
    below, up_to = (special.expit(cuts[place + step] - along) for step in (0, 1))
    return along, below, up_to
