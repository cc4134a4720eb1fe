"""What the residuals of a model say about its assumptions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.statistics import design, normality
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.regression import Fit

COLUMNS = [
    "model", "n", "skewness_kurtosis_p", "shapiro_p", "breusch_pagan_p", "reset_p",
    "largest_vif", "largest_vif_term", "largest_cooks_distance", "most_influential",
    "n_influential", "largest_leverage", "advice", "note",
]  # fmt: skip

HIGH_VIF = 5.0
"""Above this the standard error is more than doubled (sqrt 5) by the other predictors.
Fox & Monette (1992), doi:10.1080/01621459.1992.10475190; Sheather (2009), 6.4."""


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
    blank |= {"advice": "", "note": fit.note, "n": 0}
    if not fit.fitted or fit.design is None or fit.model.family != "gaussian":
        return blank
    kept, _ = design.independent_columns(fit.design.predictors)
    predictors = fit.design.predictors[:, kept]
    n, p = predictors.shape
    if n - p < 2 or np.ptp(fit.residuals) < 1e-9 * np.ptp(fit.design.outcome):
        return blank | {"n": n, "note": "too few participants, or a perfect fit: not examined"}
    cooks, leverage = influence(predictors, fit.residuals)
    who = names.loc[fit.design.rows]
    vif = inflation(predictors)
    worst = int(np.argmax(vif)) if len(vif) else -1
    found = blank | {
        "n": n,
        **_normality(fit.residuals),
        "breusch_pagan_p": breusch_pagan(predictors, fit.residuals),
        "reset_p": reset(fit.design.outcome, predictors),
        "largest_vif": vif[worst] if len(vif) else np.nan,
        "largest_vif_term": fit.design.names[kept[1 + worst]] if len(vif) else "",
        "largest_cooks_distance": float(cooks.max()),
        "most_influential": str(who.iloc[int(cooks.argmax())]),
        "n_influential": int(np.sum(cooks > 4 / n)),
        "largest_leverage": float(leverage.max()),
    }
    return found | {"advice": advise(found)}


def influence(predictors: Floats, residuals: Floats) -> tuple[Floats, Floats]:
    """Return Cook's distance and leverage of each row."""
    n, p = predictors.shape
    leverage = np.sum(np.linalg.qr(predictors)[0] ** 2, axis=1)
    variance = residuals @ residuals / (n - p)
    free = np.maximum(1 - leverage, 1e-12)
    cooks: Floats = residuals**2 * leverage / (p * variance * free**2)
    return cooks, leverage


def inflation(predictors: Floats) -> Floats:
    """Return the variance inflation factor of each column after the intercept."""
    slopes = predictors[:, 1:]
    if slopes.shape[1] < 2:
        return np.ones(slopes.shape[1])
    correlation = np.corrcoef(slopes, rowvar=False)
    factors: Floats = np.diag(np.linalg.inv(correlation))
    return factors


def breusch_pagan(predictors: Floats, residuals: Floats) -> float:
    """Return p of equal variance: whether the predictors explain the squared residuals."""
    squared = residuals**2
    explained = _r_squared(squared, predictors)
    return float(stats.chi2.sf(len(residuals) * explained, predictors.shape[1] - 1))


def reset(outcome: Floats, predictors: Floats) -> float:
    """Return p of a straight relation; NaN where there is too little data for the test."""
    n, p = predictors.shape
    fitted = outcome - _residuals(outcome, predictors)
    spread = np.ptp(fitted)
    if n - p - 2 < 1 or spread == 0:
        return float("nan")
    scaled = (fitted - fitted.mean()) / spread
    wider = np.column_stack([predictors, scaled**2, scaled**3])
    kept, _ = design.independent_columns(wider)
    extra = len(kept) - p
    if extra < 1:
        return float("nan")
    before, after = (np.sum(_residuals(outcome, x) ** 2) for x in (predictors, wider[:, kept]))
    df = n - len(kept)
    return float(stats.f.sf((before - after) / extra / (after / df), extra, df))


def advise(found: dict[str, object]) -> str:
    """Return in words what the figures suggest, or that nothing stands out."""
    said = []
    if _below(found["skewness_kurtosis_p"], 0.05):
        said.append("residuals depart from normal: look at the bootstrap and permutation rows")
    if _below(found["breusch_pagan_p"], 0.05):
        said.append("residual variance is not equal: prefer the robust (HC3) row")
    if _below(found["reset_p"], 0.05):
        said.append("the relation may be bent: consider a transform or a spline")
    if isinstance(found["largest_vif"], float) and found["largest_vif"] > HIGH_VIF:
        said.append(f"{found['largest_vif_term']} is nearly explained by the other predictors")
    if isinstance(found["largest_cooks_distance"], float) and found["largest_cooks_distance"] > 1:
        said.append(f"{found['most_influential']} moves the result much: look at the images")
    return "; ".join(said) or "nothing stands out"


def _below(p: object, level: float) -> bool:
    return isinstance(p, float) and p < level


def _normality(residuals: Floats) -> dict[str, float]:
    n = len(residuals)
    enough = n >= normality.SMALLEST_SAMPLE
    test = normality.skewness_kurtosis(residuals).p_adjusted if enough else float("nan")
    shapiro = float(stats.shapiro(residuals)[1]) if 3 <= n <= 5000 else float("nan")
    return {"skewness_kurtosis_p": test, "shapiro_p": shapiro}


def _residuals(outcome: Floats, predictors: Floats) -> Floats:
    basis = np.linalg.qr(predictors)[0]
    rest: Floats = outcome - basis @ (basis.T @ outcome)
    return rest


def _r_squared(outcome: Floats, predictors: Floats) -> float:
    centred = outcome - outcome.mean()
    return float(1 - np.sum(_residuals(outcome, predictors) ** 2) / (centred @ centred))
