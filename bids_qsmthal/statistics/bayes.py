"""Bayes factors of a coefficient and of a correlation, from what a regression prints anyway."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

REGRESSION_SCALE = math.sqrt(2) / 4
"""Scale r of the prior of standardised slopes: the "medium" one of R's BayesFactor."""

CORRELATION_WIDTH = 1.0
"""Width of the prior of a correlation: 1 holds every correlation equally likely (Jeffreys 1961)."""

STEP = 0.02
"""Step of the integral over log g. The integrand is smooth and about 1 / sqrt(p) wide, where a
trapezoid rule converges exponentially; halving the step changes nothing in ten digits."""


def log_of_regression(r_squared: float, n: int, n_predictors: int, scale: float) -> float:
    """Return the log Bayes factor of a regression against its intercept alone (JZS).

    Parameters
    ----------
    r_squared
        Share of the variance that the predictors explain.
    n, n_predictors
        Participants, and predictors without the intercept.
    scale
        Of the Cauchy prior of standardised slopes.

    Notes
    -----
    Zellner-Siow prior: slopes normal given g, g inverse gamma (1/2, n scale^2 / 2). Every predictor
    is taken as a number, as ``regressionBF`` does.

    References
    ----------
    Rouder & Morey (2012). Multivar Behav Res 47(6), 877-903. doi:10.1080/00273171.2012.734737
    Liang et al. (2008). J Am Stat Assoc 103, 410-423. doi:10.1198/016214507000001337
    """
    if n_predictors == 0:
        return 0.0
    rate = n * scale**2 / 2
    # On log g the integrand falls off like exp(-rate / g) below and g^-(p+1)/2 above, the latter
    # only where g exceeds 1 / (1 - R2): 60 units of log g beyond leave less than exp(-60).
    end = max(math.log(rate), -math.log1p(-r_squared)) + 60
    log_g = np.arange(math.log(rate) - 7, end, STEP)
    g = np.exp(log_g)
    likelihood = (n - n_predictors - 1) * np.log1p(g) - (n - 1) * np.log1p(g * (1 - r_squared))
    prior = 0.5 * math.log(rate) - special.gammaln(0.5) - 1.5 * log_g - rate / g
    # + log g: from dg to d log g.
    return float(special.logsumexp(likelihood / 2 + prior + log_g) + math.log(STEP))


def log_of_coefficient(
    r_squared: float, partial_r: float, n: int, n_predictors: int, scale: float = REGRESSION_SCALE
) -> float:
    """Return the log Bayes factor of a regression against the same one without one predictor.

    Both are compared with the intercept alone; what is without the predictor explains
    1 - (1 - R2) / (1 - r2), r being the partial correlation.
    """
    without = 1 - (1 - r_squared) / (1 - partial_r**2)
    # Rounding can leave a share of nothing a hair below zero.
    without = max(without, 0.0)
    return log_of_regression(r_squared, n, n_predictors, scale) - log_of_regression(
        without, n, n_predictors - 1, scale
    )


def log_of_correlation(r: float, n: int, width: float = CORRELATION_WIDTH) -> float:
    """Return the log Bayes factor of a correlation against none.

    Parameters
    ----------
    r
        Correlation in the sample; for a partial one ``n`` is less the variables held fixed.
    width
        The prior is a beta distribution stretched to -1..1 with both parameters 1 / width.

    References
    ----------
    Ly, Verhagen & Wagenmakers (2016). J Math Psychol 72, 19-32. doi:10.1016/j.jmp.2015.06.004
    """
    a = 1 / width
    constant = (1 - 2 * a) * math.log(2) + 0.5 * math.log(math.pi) - special.betaln(a, a)
    gammas = special.gammaln(a + (n - 1) / 2) - special.gammaln(a + n / 2)
    # Euler's transformation of their 2F1((n-1)/2, (n-1)/2; a + n/2; r^2), which overflows for
    # thousands of participants; this one stays near 1.
    series = special.hyp2f1(a + 0.5, a + 0.5, a + n / 2, r**2)
    return float(constant + gammas + (a + 1 - n / 2) * math.log1p(-(r**2)) + math.log(series))


def log_of_estimate(estimate: float, error: float, scale: float) -> float:
    """Return the log Bayes factor of a coefficient against none, from its estimate and error alone.

    Parameters
    ----------
    estimate, error
        The likelihood is taken as normal about the estimate, as it is in large samples.
    scale
        Of the Cauchy prior of the coefficient: the JZS prior of one predictor whose rest of the
        outcome is known.

    References
    ----------
    Wakefield (2009). Genet Epidemiol 33(1), 79-86. doi:10.1002/gepi.20359 (likelihood)
    Rouder & Morey (2012). Multivar Behav Res 47(6), 877-903. doi:10.1080/00273171.2012.734737
    """
    rate = scale**2 / 2
    # The prior is normal given its variance, which is inverse gamma; below, its factor exp(-rate/g)
    # is nothing, and above the larger of both variances the integrand falls off like 1 / g.
    log_g = np.arange(math.log(rate) - 7, max(math.log(rate), 2 * math.log(error)) + 60, STEP)
    g = np.exp(log_g)
    shrunk = g / (g + error**2)
    likelihood = ((estimate / error) ** 2 * shrunk - np.log1p(g / error**2)) / 2
    prior = 0.5 * math.log(rate) - special.gammaln(0.5) - 1.5 * log_g - rate / g
    return float(special.logsumexp(likelihood + prior + log_g) + math.log(STEP))
