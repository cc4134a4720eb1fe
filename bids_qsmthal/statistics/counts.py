"""Regression of counts, such as lesions: coefficients are logarithms of rate ratios."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]

LOG_DISPERSION = (-14.0, 5.0)
"""Limits between which the logarithm of the dispersion is looked for. At the lower one the variance
of a count of 1000 is larger than Poisson's by a thousandth."""


@dataclass(frozen=True, slots=True, eq=False)
class CountFit:
    """Estimates with their covariance."""

    params: Floats
    covariance: Floats
    residuals: Floats
    """Counts minus what is expected."""

    remark: str = ""
    """What a reader must know about the variance."""

    alpha: float = 0.0
    """The variance is mean + alpha mean squared."""

    converged: bool = True
    """Whether another step would leave the coefficients where they are."""


def poisson(outcome: Floats, predictors: Floats, offset: Floats, *, robust: bool) -> CountFit:
    """Return the maximum likelihood fit; ``robust`` takes the errors from HC3.

    Counts of lesions mostly vary more than Poisson's law allows. Then its errors are too small,
    which the remark says (Pearson's chi-squared, p < .05; McCullagh & Nelder 1989, 6.2).
    """
    results = _glm(outcome, predictors, offset, sm.families.Poisson())
    covariance = np.asarray(results.cov_params())
    remark = ""
    if robust:
        # Zeileis (2006), doi:10.18637/jss.v016.i09, as for logistic models: canonical link.
        left = results.resid_response / (1 - results.get_hat_matrix_diag(observed=False))
        covariance = covariance @ (predictors.T * left**2) @ predictors @ covariance
    elif results.df_resid > 0:
        pearson = float(results.pearson_chi2)
        if stats.chi2.sf(pearson, results.df_resid) < 0.05:
            remark = (
                f"the variance is {pearson / results.df_resid:.2g} times what Poisson's law says: "
                "use Family negative_binomial, or Method hc3"
            )
    still = _stands_still(results, predictors, 0.0)
    params = np.asarray(results.params)
    return CountFit(params, covariance, results.resid_response, remark, converged=still)


def negative_binomial(outcome: Floats, predictors: Floats, offset: Floats) -> CountFit:
    r"""Return the fit with variance :math:`\mu + \alpha\mu^2`, both by maximum likelihood.

    The errors are those of a known :math:`\alpha`: it is asymptotically independent of the
    coefficients (Lawless 1987, doi:10.2307/3314912), and R's ``glm.nb`` gives the same.
    """

    def fitted(log_alpha: float) -> Any:  # noqa: ANN401 - statsmodels is untyped
        family = sm.families.NegativeBinomial(alpha=float(np.exp(log_alpha)))
        return _glm(outcome, predictors, offset, family)

    # The likelihood of the dispersion with the coefficients at their best for each.
    found = optimize.minimize_scalar(
        lambda value: -fitted(value).llf,
        bounds=LOG_DISPERSION,
        method="bounded",
        options={"xatol": 1e-7},
    )
    results = fitted(found.x)
    alpha = float(np.exp(found.x))
    remark = f"variance = mean + {alpha:.3g} mean squared"
    if found.x < LOG_DISPERSION[0] + 0.1:
        remark = "no more variance than Poisson's law says: the same as Family poisson"
    # GLM scales by 1 for this family, so this is the inverse information as it is.
    covariance = np.asarray(results.cov_params())
    still = _stands_still(results, predictors, alpha)
    params = np.asarray(results.params)
    return CountFit(params, covariance, results.resid_response, remark, alpha, converged=still)


def _stands_still(results: Any, predictors: Floats, alpha: float) -> bool:  # noqa: ANN401
    """Return whether Fisher's next step is nothing beside the errors.

    The library's own word is about the deviance, which also stands still far away: with exposures
    that differ by thousands it gave a slope of -3.4, p 1e-74, for one of 0.1.
    """
    score = predictors.T @ (results.resid_response / (1 + alpha * results.fittedvalues))
    covariance = np.asarray(results.cov_params())
    step = np.abs(covariance @ score) / np.sqrt(np.diag(covariance))
    return bool(np.isfinite(step).all() and step.max() < 1e-3)


def why_not(outcome: Floats, predictors: Floats, exposure: Floats) -> str:
    """Return why there is no estimate: wrong values or separation; nothing where there is one."""
    if (outcome < 0).any() or (outcome != np.round(outcome)).any():
        return "the outcome must be counts: whole numbers from 0 on"
    if (exposure <= 0).any():
        return f"an exposure is a number above 0; found {exposure.min():g}"
    if separated(outcome, predictors):
        return "separation: a combination of predictors identifies those with a count of zero"
    return ""


def separated(outcome: Floats, predictors: Floats) -> bool:
    r"""Return whether some :math:`b` has :math:`x_i^Tb = 0` where counts are above 0, else <= 0.

    Then the likelihood grows without end along it.

    References
    ----------
    Santos Silva & Tenreyro (2010). Econ Lett 107(2), 310-312. doi:10.1016/j.econlet.2010.02.020
    """
    scales = np.abs(predictors).max(axis=0)
    scaled = predictors / np.where(scales > 0, scales, 1.0)
    none, some = scaled[outcome == 0], scaled[outcome > 0]
    if not len(none):
        return False
    # The smallest sum over those without any is 0 only where no such direction exists.
    result = optimize.linprog(
        none.sum(axis=0),
        A_ub=none,
        b_ub=np.zeros(len(none)),
        A_eq=some if len(some) else None,
        b_eq=np.zeros(len(some)) if len(some) else None,
        bounds=(-1, 1),
    )
    # As for logistic models: the tolerance with which the solver keeps to its constraints.
    return bool(-result.fun > 1e-7)


def _glm(outcome: Floats, predictors: Floats, offset: Floats, family: Any) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        # Of the clipped variance where the dispersion is at its limit; the profile goes on.
        warnings.simplefilter("ignore")
        # The deviance stands still before the coefficients do, so the tolerance is small.
        return sm.GLM(outcome, predictors, family=family, offset=offset).fit(tol=1e-12, scale=1.0)
