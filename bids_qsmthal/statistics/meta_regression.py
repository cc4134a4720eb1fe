"""Estimates with known standard errors, of sites or of people: random-effects meta-regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bids_qsmthal.statistics import design, expressions, formulas
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.levels import Vocabulary

COLUMNS = [
    "model", "outcome", "term", "coefficient", "standard_error", "df", "ci_low", "ci_high", "p",
    "n", "tau", "i_squared_percent", "heterogeneity_p", "formula", "filter", "note",
]  # fmt: skip

NO_ERRORS = "no standard errors are known: all participants have the same weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeModel:
    """A model of one change of each participant, weighted by how well it is known."""

    name: str
    formula: str
    filter: str = ""
    levels: Vocabulary = field(default_factory=dict)
    """The words for the values of its variables, for its filter and reference levels."""

    @property
    def outcome(self) -> str:
        """The variable of the outcome."""
        return formulas.parse(self.formula).outcome.variables[0]

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that is needed."""
        names = (*formulas.variables(self.formula), *expressions.filter_variables(self.filter))
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedFit:
    """Coefficients of estimates on predictors.

    Attributes
    ----------
    coefficients, standard_errors
        Of each predictor, shape (columns,); errors after Knapp and Hartung.
    df
        Degrees of freedom of Student's t.
    tau
        Standard deviation of what the predictors do not explain, beyond the known errors.
    i_squared, heterogeneity_p
        Share of the variance that is no known error; p of there being none. NaN without errors.
    weights
        Of each row, shape (rows,); their sum is 1.
    """

    coefficients: Floats
    standard_errors: Floats
    df: int
    tau: float
    i_squared: float
    heterogeneity_p: float
    weights: Floats


def estimated(effects: Floats, errors: Floats, predictors: Floats) -> WeightedFit:
    """Return the coefficients of effects on predictors, by inverse variance.

    The variance beyond the known errors is Paule and Mandel's, the error Hartung and Knapp's. Where
    all errors are zero this is least squares.

    Parameters
    ----------
    effects, errors
        Values and their standard errors, shape (rows,).
    predictors
        Shape (rows, columns) with more rows than columns, the columns independent.

    References
    ----------
    Paule & Mandel (1982). J Res Natl Bur Stand 87(5), 377-385. doi:10.6028/jres.087.022
    Knapp & Hartung (2003). Stat Med 22(17), 2693-2710. doi:10.1002/sim.1482
    Veroniki et al. (2016), which estimators to prefer. doi:10.1002/jrsm.1164
    """
    df = len(effects) - predictors.shape[1]
    known = bool((errors > 0).all())
    variance = between(effects, errors, predictors)
    coefficients, information, rest = _weighted(effects, errors, predictors, variance)
    # Perfect agreement leaves no scale: the errors are zero then, and p is not a number.
    scale = rest / df
    q = _weighted(effects, errors, predictors, 0.0)[2] if known else np.nan
    weights = 1 / (errors**2 + variance) if known or variance > 0 else np.ones(len(effects))
    return WeightedFit(
        coefficients=coefficients,
        standard_errors=np.sqrt(scale * np.diag(np.linalg.inv(information))),
        df=df,
        tau=float(np.sqrt(variance)),
        i_squared=(max(0.0, 1 - df / q) if q > 0 else 0.0) if known else np.nan,
        heterogeneity_p=float(stats.chi2.sf(q, df)) if known else np.nan,
        weights=weights / weights.sum(),
    )


def between(effects: Floats, errors: Floats, predictors: Floats) -> float:
    """Return the variance beyond the known errors at which Q is what is expected of it, or 0.

    Q falls with the variance, so there is one root, and a bracket finds it on any scale. (The
    iteration of statsmodels 0.15 may step below zero and end there: slopes of -29, -139, -44, -53
    and 34 with errors of 51, 43, 74, 35 and 47 got no variance instead of 43 squared.)
    """
    expected = len(effects) - predictors.shape[1]
    # No weight is above 1 / variance: at that of the residuals Q is what is expected or less.
    upper = _weighted(effects, np.zeros(len(effects)), predictors, 1.0)[2] / expected
    if not (errors > 0).all():
        return float(upper)

    def excess(variance: float) -> float:
        return float(_weighted(effects, errors, predictors, variance)[2] - expected)

    if upper <= 0 or excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, upper, xtol=upper * 1e-14, rtol=1e-12))


def _weighted(
    effects: Floats, errors: Floats, predictors: Floats, variance: float
) -> tuple[Floats, Floats, float]:
    """Return coefficients, information and weighted sum of squared residuals (Cochran's Q)."""
    total = errors**2 + variance
    # Without errors and without scatter everybody weighs the same.
    weights = 1 / total if (total > 0).all() else np.ones(len(effects))
    information = predictors.T @ (weights[:, None] * predictors)
    coefficients = np.linalg.solve(information, predictors.T @ (weights * effects))
    residuals = effects - predictors @ coefficients
    q = float(weights @ residuals**2)
    return np.asarray(coefficients, np.float64), information, q


def fit(
    model: ChangeModel,
    frame: pd.DataFrame,
    errors: pd.Series[float],
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return the coefficients of a model of change.

    Parameters
    ----------
    frame
        One row a participant.
    errors
        Standard error of each one's outcome, with the index of ``frame``. Who has an outcome
        without one is left out; where nobody has one, everybody weighs the same.
    """
    with_errors = errors.notna() & (errors > 0)
    known = bool((with_errors & frame[model.outcome].notna()).any())
    usable = frame[with_errors] if known else frame
    made = design.build(model.formula, usable, filter=model.filter, levels=model.levels)
    everybody = design.build(model.formula, frame, filter=model.filter, levels=model.levels).n
    reason = _why_not(made)
    if reason:
        return not_fitted(model, reason, made.n)
    of_rows = np.asarray(errors[made.rows] if known else np.zeros(made.n), np.float64)
    found = estimated(made.outcome, of_rows, made.predictors)
    notes = [] if known else [NO_ERRORS]
    if everybody > made.n:
        notes.append(f"without {everybody - made.n} whose change has no standard error")
    return _rows(model, made, found, confidence).assign(note="; ".join(notes))[COLUMNS]


def _why_not(made: Design) -> str:
    """Return why there is nothing to fit, or nothing."""
    if made.n <= len(made.names):
        return f"too few participants: {made.n} for {len(made.names)} coefficients"
    aliased = design.independent_columns(made.predictors)[1]
    if aliased:
        named = ", ".join(made.names[column] for column in aliased)
        return f"collinear or constant: {named}"
    return ""


def _rows(model: ChangeModel, made: Design, found: WeightedFit, confidence: float) -> pd.DataFrame:
    t = stats.t(found.df)
    reach = float(t.ppf(0.5 + confidence / 2)) * found.standard_errors
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t.sf(np.abs(found.coefficients / found.standard_errors))
    return pd.DataFrame(
        {
            "model": model.name,
            "outcome": made.outcome_name,
            "term": made.names,
            "coefficient": found.coefficients,
            "standard_error": found.standard_errors,
            "df": found.df,
            "ci_low": found.coefficients - reach,
            "ci_high": found.coefficients + reach,
            "p": np.where(found.standard_errors > 0, p, np.nan),
            "n": made.n,
            "tau": found.tau,
            "i_squared_percent": 100 * found.i_squared,
            "heterogeneity_p": found.heterogeneity_p,
            "formula": model.formula,
            "filter": model.filter,
        }
    )


def not_fitted(model: ChangeModel, reason: str, n: int = 0) -> pd.DataFrame:
    """Return the row of a model without a fit, with the reason."""
    row: Mapping[str, object] = dict.fromkeys(COLUMNS, np.nan) | {
        "model": model.name,
        "outcome": model.formula.partition("~")[0].strip(),
        "term": "",
        "n": n,
        "formula": model.formula,
        "filter": model.filter,
        "note": reason,
    }
    return pd.DataFrame([row], columns=COLUMNS)
