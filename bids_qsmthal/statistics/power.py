"""What effect a sample can detect, and what sample an effect needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import optimize, stats

SMALLEST_SAMPLE = 5
"""Fisher's transform has variance 1/(n-3); below five there is nothing to solve for."""

SAMPLES_FOR = (0.1, 0.2, 0.28, 0.3, 0.4, 0.5)
"""Correlations whose sample size is tabulated: Cohen's small, medium, large and between."""


def of_correlation(r: float, n: float, *, alpha: float = 0.05) -> float:
    """Return the power to find a correlation, two-sided.

    Fisher's transform with the bias of its mean, and the critical value from Student's t: the
    method of R's ``pwr.r.test``.

    References
    ----------
    Cohen (1988). Statistical power analysis for the behavioral sciences, 2nd ed., p. 546.
    """
    # n may be any real number: needed_sample looks for it between whole ones.
    t = stats.t.isf(alpha / 2, n - 2)
    # The correlation that is just significant, from t = r sqrt(n-2) / sqrt(1-r^2).
    critical = np.arctanh(np.sqrt(t**2 / (t**2 + n - 2)))
    # Fisher (1921): atanh of a sample correlation is biased by r / 2(n-1); its variance is 1/(n-3).
    mean = np.arctanh(r) + r / (2 * (n - 1))
    spread = np.sqrt(n - 3)
    above = stats.norm.cdf((mean - critical) * spread)
    # Two-sided: significance with the wrong sign counts, too, as in pwr.r.test.
    below = stats.norm.cdf((-mean - critical) * spread)
    return float(above + below)


def detectable_correlation(n: int, *, n_covariates: int = 0, power: float = 0.8) -> float:
    """Return the smallest (partial) correlation found with a given power at alpha 0.05.

    Each covariate held fixed costs one observation (Fisher 1924).
    """
    effective = n - n_covariates
    if effective < SMALLEST_SAMPLE:
        return np.nan
    # Power grows from alpha at r = 0 to 1 at r = 1 (where atanh is infinite), so there is one root.
    root = optimize.brentq(lambda r: of_correlation(r, effective) - power, 1e-9, 1 - 1e-9)
    return float(root)


def needed_sample(r: float, *, n_covariates: int = 0, power: float = 0.8) -> int:
    """Return how many participants a (partial) correlation needs at alpha 0.05."""
    n = optimize.brentq(lambda n: of_correlation(r, n) - power, SMALLEST_SAMPLE, 1e7)
    # A whole number that the root finder has missed by rounding stays what it is.
    return int(np.ceil(n - 1e-9)) + n_covariates


def table(samples: dict[str, tuple[int, int]], *, power: float = 0.8) -> pd.DataFrame:
    """Return detectable correlations of each model and the samples that effects need.

    Parameters
    ----------
    samples
        Number of participants and of covariates beside the predictor for each model.
    power
        Chance of finding the effect.
    """
    rows = [
        {
            "question": "detectable correlation",
            "model": name,
            "n": n,
            "n_covariates": covariates,
            "power": power,
            "alpha": 0.05,
            "r": detectable_correlation(n, n_covariates=covariates, power=power),
            "note": ""
            if n - covariates >= SMALLEST_SAMPLE
            else f"too few participants: {n} for {covariates} covariates",
        }
        for name, (n, covariates) in samples.items()
    ]
    rows += [
        {
            "question": "needed sample",
            "model": "",
            "n": needed_sample(r, power=power),
            "n_covariates": 0,
            "power": power,
            "alpha": 0.05,
            "r": r,
            "note": "",
        }
        for r in SAMPLES_FOR
    ]
    return pd.DataFrame(rows)
