"""Several sessions of each participant: linear mixed models."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import design, expressions, formulas, satterthwaite
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.levels import Vocabulary
from bids_qsmthal.statistics.satterthwaite import MixedFit

COLUMNS = [
    "model", "outcome", "kind", "term", "coefficient", "standard_error", "df", "ci_low", "ci_high",
    "p", "n_participants", "n_sessions", "log_likelihood", "formula", "random", "filter", "note",
]  # fmt: skip

RESIDUALS = "SD of residuals"
"""The row of a person's scatter about the course of the model."""

FEWEST_REPEATED = 5
"""Below this many participants with two sessions the variance between them cannot be told
(Bolker 2015, Ecological statistics, chapter 13: five to six levels of a random effect)."""

OPTIMISERS: dict[str, dict[str, float]] = {
    "bfgs": {"maxiter": 2000, "gtol": 1e-8},
    "lbfgs": {"maxiter": 2000, "pgtol": 1e-10, "factr": 10.0},
    "powell": {"maxiter": 2000, "xtol": 1e-8, "ftol": 1e-12},
}
"""Tight enough for six digits; a likelihood is flat at its top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedModel:
    """A model with an intercept, and perhaps slopes, of each participant's own."""

    name: str
    formula: str
    random_slopes: tuple[str, ...] = ()
    filter: str = ""
    levels: Vocabulary = field(default_factory=dict)
    """The words for the values of its variables, for its filter and reference levels."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that is needed."""
        names = (
            *formulas.variables(self.formula),
            *self.random_slopes,
            *expressions.filter_variables(self.filter),
        )
        return tuple(dict.fromkeys(names))

    @property
    def random(self) -> str:
        """The random part as lme4 writes it."""
        return f"({' + '.join(['1', *self.random_slopes])} | participant_id)"


def fit(model: MixedModel, frame: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return fixed effects, and standard deviations of the random ones, by REML.

    Parameters
    ----------
    frame
        One row a participant and session, with a column ``participant_id``.

    Notes
    -----
    Intervals and p are of Student's t with Satterthwaite's degrees of
    freedom. The likelihood is maximised with the outcome in units of its standard deviation and
    each predictor in units of its largest value, then brought back. Where no optimiser finds a
    maximum, the row says so.
    """
    reason, made = _prepared(model, frame)
    if reason or made is None:
        return _unfitted(model, reason, made)
    who = frame.loc[made.rows, "participant_id"].to_numpy()
    slopes = frame.loc[made.rows, list(model.random_slopes)].to_numpy(dtype=float)
    # Volumes in mm3 vary by thousands, and gtol is absolute: the outcome gets an SD of 1.
    scale = float(made.outcome.std(ddof=1))
    try:
        results = _maximised(made.outcome / scale, made.predictors, who, slopes)
        errors = _errors(results, made.predictors, who, slopes) * scale
    except np.linalg.LinAlgError:
        return _unfitted(model, "no maximum of the likelihood was found", made)
    df = _degrees_of_freedom(results, (made.outcome / scale, made.predictors, who, slopes))
    fixed = _fixed(results, made, scale, np.array([errors, df]), confidence)
    random = _random(results, model, scale)
    table = pd.concat([fixed, random], ignore_index=True)
    note = "" if results.converged else "did not converge: do not use it"
    if results.converged and _singular(results):
        note = "a random standard deviation is at zero: the data do not support this random part"
    return table.assign(
        model=model.name,
        outcome=made.outcome_name,
        n_participants=len(set(who)),
        n_sessions=made.n,
        log_likelihood=_log_likelihood(results, made, scale),
        formula=model.formula,
        random=model.random,
        filter=model.filter,
        note=note,
    )[COLUMNS]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RandomIntercepts:
    """Fixed effects beside an intercept of each group."""

    params: Floats
    covariance: Floats
    spread: float
    """Standard deviation of the intercepts."""

    converged: bool
    residual_sd: float = float("nan")
    """Standard deviation of the residuals within a group."""

    sums: MixedFit | None = None
    """What degrees of freedom are computed from."""


def random_intercepts(outcome: Floats, predictors: Floats, groups: Any) -> RandomIntercepts:  # noqa: ANN401
    """Return the REML fit with an intercept of each group (a site, say).

    Where no optimiser finds a maximum, everything is NaN and not converged.
    """
    scale = float(outcome.std(ddof=1))
    slopes = np.empty((len(outcome), 0))
    try:
        results = _maximised(outcome / scale, predictors, groups, slopes)
        covariance = _covariance(results, predictors, groups, slopes) * scale**2
    except np.linalg.LinAlgError:
        p = predictors.shape[1]
        nothing = np.full((p, p), np.nan)
        return RandomIntercepts(
            params=nothing[0], covariance=nothing, spread=float("nan"), converged=False
        )
    return RandomIntercepts(
        params=np.asarray(results.fe_params) * scale / results.column_scales,
        covariance=covariance,
        spread=float(np.sqrt(max(float(np.atleast_2d(results.cov_re)[0, 0]), 0.0))) * scale,
        converged=bool(results.converged),
        residual_sd=float(np.sqrt(results.scale)) * scale,
        sums=_sums(results, (outcome / scale, predictors, groups, slopes)),
    )


_Rows = tuple[Floats, Floats, Any, Floats]
"""Outcome in its SDs, predictors, who each row is of, columns with slopes of each."""


def _sums(results: Any, rows: _Rows) -> MixedFit:  # noqa: ANN401
    outcome, predictors, who, slopes = rows
    random = (np.atleast_2d(results.cov_re), float(results.scale))
    return satterthwaite.summed(outcome, predictors, slopes, np.asarray(who), random)


def _degrees_of_freedom(results: Any, rows: _Rows) -> Floats:  # noqa: ANN401
    sums = _sums(results, rows)
    return np.array([sums.degrees_of_freedom(one) for one in np.eye(rows[1].shape[1])])


def _prepared(model: MixedModel, frame: pd.DataFrame) -> tuple[str, Design | None]:
    """Return why there is nothing to fit, or the design."""
    # A slope variable need not be in the formula, so the design would not ask for it.
    usable = frame.dropna(subset=list(model.random_slopes)) if model.random_slopes else frame
    words = [name for name in model.random_slopes if design.holds_words(usable[name])]
    if words:
        raise UsageError(
            f"Model '{model.name}': a random slope needs numbers; {words[0]} holds words."
        )
    made = design.build(model.formula, usable, filter=model.filter, levels=model.levels)
    sessions = frame.loc[made.rows, "participant_id"].value_counts()
    repeated = int((sessions > 1).sum())
    if repeated < FEWEST_REPEATED:
        return (
            f"{repeated} participants with two complete sessions; {FEWEST_REPEATED} are needed"
        ), made
    # REML needs a residual beside the fixed effects, and the random intercept one more.
    if made.n <= len(made.names) + 1:
        return f"too few sessions: {made.n} for {len(made.names)} coefficients", made
    aliased = design.independent_columns(made.predictors)[1]
    if aliased:
        named = ", ".join(made.names[column] for column in aliased)
        return f"collinear or constant: {named}", made
    return "", made


def _maximised(outcome: Floats, predictors: Floats, who: Any, slopes: Floats) -> Any:  # noqa: ANN401
    """Return the fit with the highest likelihood that some optimiser finds."""
    # The intercept keeps its size: scaling it by its own 1 would change nothing.
    scales = np.where(predictors.std(axis=0) > 0, np.abs(predictors).max(axis=0), 1.0)
    # Slopes keep their units, since their SD is reported in them.
    random = np.column_stack([np.ones(len(outcome)), slopes])
    best: Any = None
    with warnings.catch_warnings():
        # Each attempt may fail loudly; what counts is the best one, and whether it converged.
        warnings.simplefilter("ignore")
        model = sm.MixedLM(outcome, predictors / scales, groups=who, exog_re=random)
        for optimiser, options in OPTIMISERS.items():
            try:
                found = model.fit(reml=True, method=optimiser, **options)
            except (np.linalg.LinAlgError, ValueError):
                continue
            # One that runs away may end where the likelihood overflows, "converged".
            if not np.isfinite(found.llf):
                continue
            # Optimisers end on different shoulders of a flat likelihood: the highest counts.
            if best is None or found.llf > best.llf + 1e-9:
                best = found
    if best is None:
        raise np.linalg.LinAlgError("no optimiser found a maximum of the likelihood")
    # They travel with the fit: coefficients and likelihood cannot be read without them.
    best.column_scales = scales
    return best


def _log_likelihood(results: Any, made: Design, scale: float) -> float:  # noqa: ANN401
    """Return the restricted likelihood in the units of the data.

    Scaling the outcome changes the density by a factor for each free residual, scaling a predictor
    changes the determinant that REML adds.
    """
    # REML integrates the fixed effects out: as many residuals as rows minus columns are left.
    free = made.n - len(made.names)
    return float(results.llf - free * np.log(scale) - np.sum(np.log(results.column_scales)))


def _errors(results: Any, predictors: Floats, who: Any, slopes: Floats) -> Floats:  # noqa: ANN401
    """Return standard errors in SDs of the outcome, but units of the predictors."""
    # The predictors are not scaled here: the caller multiplies by the SD of the outcome only.
    errors: Floats = np.sqrt(np.diag(_covariance(results, predictors, who, slopes)))
    return errors


def _covariance(results: Any, predictors: Floats, who: Any, slopes: Floats) -> Floats:  # noqa: ANN401
    r"""Return the covariance :math:`(\sum_i X_i^TV_i^{-1}X_i)^{-1}`, as lme4 does.

    The library's own also count the uncertainty of the random part, in a way of its own.
    """
    random = np.column_stack([np.ones(len(predictors)), slopes])
    covariance = np.atleast_2d(results.cov_re)
    information = np.zeros((predictors.shape[1],) * 2)
    for person in np.unique(who):
        here = who == person
        z, x = random[here], predictors[here]
        # Laird & Ware (1982), doi:10.2307/2529876: V_i = s^2 I + Z_i D Z_i'.
        variance = results.scale * np.eye(len(z)) + z @ covariance @ z.T
        information += x.T @ np.linalg.solve(variance, x)
    inverse: Floats = np.asarray(np.linalg.inv(information), dtype=np.float64)
    return inverse


def _fixed(
    results: Any,  # noqa: ANN401
    made: Design,
    scale: float,
    errors_and_df: Floats,
    confidence: float,
) -> pd.DataFrame:
    # y / s = (X / c) b' gives b = b' s / c.
    factor = scale / results.column_scales
    estimates = np.asarray(results.fe_params) * factor
    errors, df = errors_and_df
    reach = stats.t.ppf(0.5 + confidence / 2, df) * errors
    return pd.DataFrame(
        {
            "kind": "fixed",
            "term": made.names,
            "coefficient": estimates,
            "standard_error": errors,
            "df": df,
            "ci_low": estimates - reach,
            "ci_high": estimates + reach,
            "p": 2 * stats.t.sf(np.abs(estimates / errors), df),
        }
    )


def _random(results: Any, model: MixedModel, scale: float) -> pd.DataFrame:  # noqa: ANN401
    # A variance at its border may be negative by rounding. statsmodels gives cov_re in units of the
    # outcome, not of the residual variance as lme4's theta.
    spread = np.sqrt(np.maximum(np.diag(np.atleast_2d(results.cov_re)), 0)) * scale
    names = ["SD of participants' intercepts"]
    names += [f"SD of participants' slopes on {slope}" for slope in model.random_slopes]
    rows = pd.DataFrame({"kind": "random", "term": names, "coefficient": spread})
    residual = {
        "kind": "random",
        "term": RESIDUALS,
        "coefficient": float(np.sqrt(results.scale)) * scale,
    }
    return pd.concat([rows, pd.DataFrame([residual])], ignore_index=True)


def _singular(results: Any) -> bool:  # noqa: ANN401
    # A variance at zero is on the border of what it can be: its tests and errors do not hold there
    # (Self & Liang 1987, doi:10.1080/01621459.1987.10478472).
    return bool(np.linalg.eigvalsh(np.atleast_2d(results.cov_re))[0] < 1e-6 * results.scale)


def _unfitted(model: MixedModel, reason: str, made: Design | None) -> pd.DataFrame:
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "model": model.name,
        "outcome": model.formula.partition("~")[0].strip(),
        "kind": "fixed",
        "term": "",
        "n_sessions": made.n if made else 0,
        "formula": model.formula,
        "random": model.random,
        "filter": model.filter,
        "note": reason,
    }
    return pd.DataFrame([row], columns=COLUMNS)


def not_fitted(model: MixedModel, reason: str) -> pd.DataFrame:
    """Return the row of a model that was never tried, with the reason."""
    return _unfitted(model, reason, None)
