"""A slope that the noise of its predictor has made too small, put right by the noise's own size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

LEAST_RELIABILITY = 0.3
"""Below it the correction multiplies the slope by more than three, and depends on the size of the
noise more than on the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A slope per unit of the true predictor."""

    slope: float
    ci_low: float
    ci_high: float
    reliability: float
    """Share of the predictor's variance, the other predictors given, that is no noise."""


def calibrated(
    slope: float, error: float, predictor: Floats, others: Floats, noise: Floats
) -> Calibrated:
    r"""Return a least-squares slope divided by the reliability of its predictor.

    :math:`\lambda = 1 - \overline{\sigma_i^2} / s^2`, :math:`s^2` the residual variance of the
    predictor given the others (regression calibration; Carroll et al. 2006, Measurement error in
    nonlinear models, 4.2, doi:10.1201/9781420010138). The noise is independent of everything
    else; the interval counts the uncertainty of :math:`\lambda` by the delta method.

    Parameters
    ----------
    slope, error
        Coefficient and standard error of the predictor.
    predictor
        As measured, shape (rows,).
    others
        The other columns of the design, with the constant, shape (rows, columns).
    noise
        Standard error of each measured value.
    """
    n, p = others.shape
    left = predictor - others @ np.linalg.lstsq(others, predictor, rcond=None)[0]
    variance = float(left @ left) / (n - p)
    share = float(np.mean(noise**2)) / variance
    reliability = 1 - share
    if reliability < LEAST_RELIABILITY:
        missing = float("nan")
        return Calibrated(slope=missing, ci_low=missing, ci_high=missing, reliability=reliability)
    # The variance of a normal predictor's variance is 2 s^4 / (n - p).
    of_share = share**2 * (2 / (n - p) + np.var(noise**2) / (n * np.mean(noise**2) ** 2))
    corrected = slope / reliability
    spread = np.sqrt((error / reliability) ** 2 + (corrected / reliability) ** 2 * of_share)
    reach = float(stats.t.ppf(0.975, n - p - 1) * spread)
    return Calibrated(
        slope=corrected,
        ci_low=corrected - reach,
        ci_high=corrected + reach,
        reliability=reliability,
    )
