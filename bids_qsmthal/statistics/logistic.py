"""Logistic regression, and the check that its estimate exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]


def fit(outcome: Floats, predictors: Floats) -> Any:  # noqa: ANN401 - statsmodels is untyped
    """Return the maximum likelihood fit; coefficients are log odds ratios."""
    # The deviance is flat at its minimum, so it stands still before the coefficients do: a small
    # tolerance gives these their digits.
    return sm.GLM(outcome, predictors, family=sm.families.Binomial()).fit(tol=1e-12)


def robust_covariance(results: Any, predictors: Floats) -> Floats:  # noqa: ANN401 - untyped
    r"""Return HC3: :math:`B X^T\mathrm{diag}((y-\mu)^2/(1-h)^2) X B`, B the inverse information.

    References
    ----------
    MacKinnon & White (1985), doi:10.1016/0304-4076(85)90158-7; for generalised linear models
    Zeileis (2006). J Stat Softw 16(9). doi:10.18637/jss.v016.i09
    """
    # The dispersion of a binomial outcome is 1, so this is the inverse information as it is.
    bread = np.asarray(results.normalized_cov_params)
    # Response residuals: with the canonical link they are the scores but for the predictors.
    residuals = results.resid_response / (1 - results.get_hat_matrix_diag(observed=False))
    covariance: Floats = bread @ (predictors.T * residuals**2) @ predictors @ bread
    return covariance


def why_not(outcome: Floats, predictors: Floats) -> str:
    """Return why there is no estimate: wrong values or separation; nothing where there is one."""
    if not np.isin(outcome, [0.0, 1.0]).all():
        return "a binomial outcome must be 0 or 1"
    if separated(outcome, predictors):
        return "perfect separation: a combination of predictors tells the two outcomes apart"
    return ""


def separated(outcome: Floats, predictors: Floats) -> bool:
    r"""Return whether some :math:`b` has :math:`(2y_i-1)x_i^Tb \ge 0` for all and not all zero.

    Then the likelihood has no maximum, whatever a solver reports.

    References
    ----------
    Albert & Anderson (1984). Biometrika 71(1), 1-10. doi:10.1093/biomet/71.1.1
    """
    # Columns within -1 to 1, so that the unit box and the limit at the end have one meaning for
    # all.
    scales = np.abs(predictors).max(axis=0)
    # A linear programme: the largest sum of margins within the unit box is 0 only where no
    # direction separates, not even with some points on the border (quasi-complete separation).
    signed = (2 * outcome - 1)[:, None] * (predictors / np.where(scales > 0, scales, 1.0))
    result = optimize.linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(outcome)), bounds=(-1, 1)
    )
    # 1e-7 is the tolerance with which the solver (HiGHS) keeps to its constraints.
    return bool(-result.fun > 1e-7)
