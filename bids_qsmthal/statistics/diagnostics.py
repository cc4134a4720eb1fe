"""What the residuals of a model say about its assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.diagnostic import het_breuschpagan, linear_reset
from statsmodels.stats.outliers_influence import OLSInfluence, variance_inflation_factor

from bids_qsmthal.statistics import design, normality
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.regression import Fit

COLUMNS = [
    "model", "n", "skewness_kurtosis_p", "shapiro_p", "breusch_pagan_p", "reset_p",
    "largest_vif", "largest_vif_term", "largest_cooks_distance", "most_influential",
    "n_influential", "largest_leverage", "decided_alone", "n_findings", "advice", "note",
]  # fmt: skip

HIGH_VIF = 5.0
"""Above this the standard error is more than doubled (sqrt 5) by the other predictors.
Fox & Monette (1992), doi:10.1080/01621459.1992.10475190; Sheather (2009), 6.4."""

LARGE_COOK = 1.0
"""About the median of F(p, n - p): leaving the row out moves the estimates to the edge of their
joint 50 % confidence region (Cook 1977, doi:10.1080/00401706.1977.10489493)."""

QUIET = "nothing stands out"
"""What tables say of a model whose residuals are as they should be."""


def examine(fit: Fit, names: pd.Series[str]) -> dict[str, object]:
    """Return tests and influence measures of one fitted least-squares model.

    ``names`` holds who each row of the analysed table is. Influential is who has a Cook's distance
    above 4/n.

    References
    ----------
    Koenker (1981), studentised Breusch-Pagan test. doi:10.1016/0304-4076(81)90062-2
    Ramsey (1969), test of a bend (squares and cubes of the fitted values).
    doi:10.1111/j.2517-6161.1969.tb00796.x
    Cook (1977). Technometrics 19(1), 15-18. doi:10.1080/00401706.1977.10489493
    """
    blank: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    blank |= {"model": fit.model.name, "largest_vif_term": "", "most_influential": ""}
    blank |= {"decided_alone": "", "advice": "", "note": fit.note, "n": 0}
    # Residuals of a logistic model are neither normal nor of equal variance, so these tests do not
    # apply to it.
    if not fit.fitted or fit.design is None or fit.model.family != "gaussian" or fit.model.random:
        return blank
    kept, _ = design.independent_columns(fit.design.predictors)
    predictors = fit.design.predictors[:, kept]
    n, p = predictors.shape
    # Of a perfect fit the residuals are rounding, and tests of rounding say nothing.
    if n - p < 2 or np.ptp(fit.residuals) < 1e-9 * np.ptp(fit.design.outcome):
        return blank | {"n": n, "note": "too few participants, or a perfect fit: not examined"}
    results = least_squares(fit.design.outcome, predictors)
    cooks, leverage = influence(results)
    who = names.loc[fit.design.rows]
    vif, columns = inflation(results)
    worst = int(np.argmax(vif)) if len(vif) else -1
    found = blank | {
        "n": n,
        **_normality(fit.residuals),
        "breusch_pagan_p": breusch_pagan(results),
        "reset_p": reset(results),
        "largest_vif": vif[worst] if len(vif) else np.nan,
        "largest_vif_term": fit.design.names[kept[columns[worst]]] if len(vif) else "",
        # NaN where leverage is 1; n - p >= 2 leaves at least one other row.
        "largest_cooks_distance": float(np.nanmax(cooks)),
        "most_influential": str(who.iloc[int(np.nanargmax(cooks))]),
        # Bollen & Jackman (1985), doi:10.1177/0049124185013004004: 4/n marks whom to look at.
        "n_influential": int(np.sum(cooks > 4 / n)),
        "largest_leverage": float(leverage.max()),
        "decided_alone": _alone(fit, predictors, kept, who),
    }
    findings = advise(found)
    advice = "; ".join(findings) or QUIET
    return found | {"n_findings": len(findings), "advice": advice}


def _alone(fit: Fit, predictors: Floats, kept: list[int], who: pd.Series[str]) -> str:
    """Return which coefficients one participant decides, each with that participant."""
    assert fit.design is not None  # noqa: S101 - the caller has checked
    return ", ".join(
        f"{fit.design.names[kept[column]]} ({', '.join(str(who.iloc[row]) for row in rows)})"
        for column, rows in design.decided_alone(predictors).items()
    )


def least_squares(outcome: Floats, predictors: Floats) -> Any:  # noqa: ANN401 - untyped library
    """Return the library's fit of the standardised outcome to columns of unit length.

    Leverage, Cook's distance, VIF and the tests do not depend on scale, but the cubes of volumes
    in mm3 that the test of a bend needs would leave no digits.
    """
    # Centring changes nothing but the intercept where there is one. The columns are not centred:
    # the constant one has to stay constant for the library to see it.
    centre = outcome.mean() if _has_intercept(predictors) else 0.0
    scaled = (outcome - centre) / outcome.std()
    return sm.OLS(scaled, predictors / np.linalg.norm(predictors, axis=0)).fit()


def _has_intercept(predictors: Floats) -> bool:
    """Say whether a constant is a sum of the columns: ``1 + x`` has one, ``group - 1`` as well."""
    ones = np.ones(len(predictors))
    rest = ones - predictors @ np.linalg.lstsq(predictors, ones, rcond=None)[0]
    return bool(np.abs(rest).max() < 1e-8)


def _with_constant(predictors: Floats) -> tuple[Floats, list[int]]:
    """Return columns of which the first is constant, and which column each of the others was.

    A level that the constant makes superfluous is dropped, so that the columns stay independent.
    """
    constant = np.ptp(predictors, axis=0) == 0
    if constant.any():
        first = int(np.argmax(constant))
        others = [column for column in range(predictors.shape[1]) if column != first]
        return predictors[:, [first, *others]], others
    wider = np.column_stack([np.ones(len(predictors)), predictors])
    kept, _ = design.independent_columns(wider)
    return wider[:, kept], [column - 1 for column in kept[1:]]


def influence(results: Any) -> tuple[Floats, Floats]:  # noqa: ANN401 - untyped library
    """Return Cook's distance and leverage of each row.

    Cook's distance is missing for a row of leverage 1: its residual is 0 whatever its outcome.
    """
    measures = OLSInfluence(results)
    leverage: Floats = measures.hat_matrix_diag
    # e^2 h / (p s^2 (1 - h)^2) is 0/0 at leverage 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        cooks = measures.cooks_distance[0]
    return np.where(leverage > design.SOLE_LEVERAGE, np.nan, cooks), leverage


def inflation(results: Any) -> tuple[Floats, list[int]]:  # noqa: ANN401 - untyped library
    """Return the variance inflation factors beside the constant, and the column of each."""
    predictors, columns = _with_constant(results.model.exog)
    # A single predictor has no other one that could inflate its variance.
    if len(columns) < 2:
        return np.ones(len(columns)), columns
    places = range(1, predictors.shape[1])
    return np.array([variance_inflation_factor(predictors, place) for place in places]), columns


def breusch_pagan(results: Any) -> float:  # noqa: ANN401 - untyped library
    """Return p of equal variance: whether the predictors explain the squared residuals."""
    predictors = results.model.exog
    if predictors.shape[1] < 2:
        return float("nan")
    return float(het_breuschpagan(results.resid, _with_constant(predictors)[0])[1])


def reset(results: Any) -> float:  # noqa: ANN401 - untyped library
    """Return p of a straight relation; NaN where there is too little data for the test."""
    predictors, fitted = results.model.exog, results.fittedvalues
    p = predictors.shape[1]
    # Two more columns need residual degrees of freedom of their own. The outcome has an SD of 1
    # here, so 1e-12 is rounding: nothing is explained, and there is no curve to look for.
    if results.df_resid < 3 or np.ptp(fitted) < 1e-12:
        return float("nan")
    # A fitted value that takes two values only has no square of its own.
    wider = np.column_stack([predictors, fitted**2, fitted**3])
    kept, _ = design.independent_columns(wider)
    # Column p of the wider matrix is the square, p + 1 the cube.
    powers = [2 + column - p for column in kept if column >= p]
    # F, not chi-squared: with few participants the latter finds too much.
    return float(linear_reset(results, power=powers, use_f=True).pvalue) if powers else np.nan


def advise(found: Mapping[str, Any]) -> list[str]:
    """Return in words what the figures suggest, one entry a finding."""
    said = []
    if found["decided_alone"]:
        said.append(
            f"one participant alone decides {found['decided_alone']}: this is not a result of the "
            "group"
        )
    # Comparisons with NaN are false, so a test that could not be made gives no advice. Shapiro-Wilk
    # is not asked as well: two tests of one thing would double the false alarms.
    if found["skewness_kurtosis_p"] < 0.05:
        said.append("the residuals are not normal: look at the bootstrap and permutation rows")
    if found["breusch_pagan_p"] < 0.05:
        said.append("residual variance is not equal: prefer the robust (HC3) row")
    if found["reset_p"] < 0.05:
        said.append("the relation may be bent: consider a transform or a spline")
    if found["largest_vif"] > HIGH_VIF:
        said.append(f"{found['largest_vif_term']} is nearly explained by the other predictors")
    if found["largest_cooks_distance"] > LARGE_COOK:
        said.append(
            f"{found['most_influential']} has a strong influence on the result: look at the images"
        )
    return said


def _normality(residuals: Floats) -> dict[str, float]:
    n = len(residuals)
    enough = n >= normality.SMALLEST_SAMPLE
    test = normality.skewness_kurtosis(residuals).p_adjusted if enough else float("nan")
    # Royston's (1995, doi:10.2307/2986146) approximation of its p covers 3 to 5000 values.
    shapiro = float(stats.shapiro(residuals)[1]) if 3 <= n <= 5000 else float("nan")
    return {"skewness_kurtosis_p": test, "shapiro_p": shapiro}
