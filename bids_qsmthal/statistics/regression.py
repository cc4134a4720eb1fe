"""Linear models: one row a coefficient."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import design, logistic
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.levels import Vocabulary, word_of

Family = Literal["gaussian", "binomial"]
Method = Literal["ols", "hc3", "huber"]

FEW_DEGREES_OF_FREEDOM = 10
"""Below this many a fit is given with a remark (Austin & Steyerberg 2015 ask for two
participants a coefficient at the least; doi:10.1016/j.jclinepi.2014.12.014)."""

COLUMNS = [
    "model", "outcome", "term", "coefficient", "standard_error", "statistic", "df_residual",
    "ci_low", "ci_high", "p", "partial_r", "n", "n_events", "r_squared", "adjusted_r_squared",
    "residual_sd", "method", "formula", "filter", "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is fitted, in words of the analysis file."""

    name: str
    formula: str
    filter: str = ""
    family: Family = "gaussian"
    method: Method = "ols"
    description: str = ""
    contrasts: dict[str, dict[str, float]] = field(default_factory=dict)
    """Weights of coefficients for each named contrast."""

    group_by: tuple[str, ...] = ()
    """Fitted once in each level of these variables."""

    levels: Vocabulary = field(default_factory=dict)
    """The words for the values of its variables, for filters, groups and contrasts."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fit:
    """A fitted model, or the reason why there is none."""

    model: Model
    design: Design | None
    coefficients: pd.DataFrame
    """One row a coefficient, the columns named in ``COLUMNS``."""

    fitted: bool
    note: str = ""
    residuals: Floats = field(default_factory=lambda: np.empty(0))

    def row(self, term: str) -> pd.Series:
        """Return the row of a term; all missing, with the note, where there is none."""
        found = self.coefficients[self.coefficients["term"] == term]
        if found.empty:
            return unfitted(self.model, self.note or "not in the model", term=term).iloc[0]
        return found.iloc[0]


def fit(model: Model, frame: pd.DataFrame, *, confidence: float = 0.95) -> Fit:
    """Fit a model to the complete rows of a table.

    Notes
    -----
    Ordinary least squares with intervals from Student's t. A column that earlier ones determine
    (collinear, or constant) is left out as R's ``lm`` does, and its row and those of its partners
    say so. A model that cannot be fitted comes back with ``fitted=False`` and a note.

    Raises
    ------
    UsageError
        The formula or filter is wrong, or names a variable the table lacks.
    """
    made = design.build(model.formula, frame, filter=model.filter, levels=model.levels)
    kept, aliased = design.independent_columns(made.predictors)
    reason = _why_not(model, made, kept)
    if not reason and model.family == "binomial":
        reason = logistic.why_not(made.outcome, made.predictors[:, kept])
    if reason:
        # One row a coefficient also without a fit: tables find their line and its reason.
        rows = [unfitted(model, reason, term=name, n=made.n) for name in made.names]
        table = pd.concat(rows, ignore_index=True)
        return Fit(model=model, design=made, coefficients=table, fitted=False, note=reason)
    table, residuals = _estimate(model, made, kept, confidence)
    alone = _decided_alone(model, made, kept)
    table["note"] = [
        _note(made, kept, aliased, name) + (f"; {SOLE}" if name in alone else "")
        for name in table["term"]
    ]
    table["note"] = table["note"].str.removeprefix("; ")
    table = table.assign(
        model=model.name,
        outcome=made.outcome_name,
        n=made.n,
        n_events=float(made.outcome.sum()) if model.family == "binomial" else np.nan,
        method=method_name(model),
        formula=model.formula,
        filter=model.filter,
    )[COLUMNS]
    return Fit(model=model, design=made, coefficients=table, fitted=True, residuals=residuals)


def grouped(model: Model, frame: pd.DataFrame) -> list[Model]:
    """Return a model for each combination of levels of what it is grouped by."""
    if not model.group_by:
        return [model]
    combinations = frame[list(model.group_by)].dropna().drop_duplicates()
    models = []
    for values in combinations.sort_values(list(model.group_by)).itertuples(index=False):
        words = [
            word_of(value, model.levels.get(name, {}))
            for name, value in zip(model.group_by, values, strict=True)
        ]
        pairs = zip(model.group_by, values, words, strict=True)
        # A group is a filter like any other, so it is counted and printed like one.
        conditions = [f"{name} == {_literal(*pair)}" for name, *pair in pairs]
        conditions += [f"({model.filter})"] if model.filter else []
        name = part_name(model, words)
        models.append(replace(model, name=name, filter=" and ".join(conditions)))
    return models


def _literal(value: float | str, word: str) -> str:
    """Return how a filter writes a value: a word between quotes, a number in full."""
    # repr has all digits; :g would round 0.1234567 and find nobody.
    if isinstance(value, float) and word == f"{value:g}":
        return repr(value)
    return f'"{word}"' if "'" in word else f"'{word}'"


def possible_parts(model: Model) -> tuple[str, ...]:
    """Return the names that the parts of a grouped model can have, by the levels of its groups.

    The name of the model itself where it is not grouped; nothing where levels are not declared.
    """
    if not model.group_by:
        return (model.name,)
    words = [list(model.levels.get(name, {})) for name in model.group_by]
    return tuple(part_name(model, combination) for combination in itertools.product(*words))


def part_name(model: Model, words: Sequence[str]) -> str:
    """Return the name of a grouped model in one combination of levels."""
    pairs = zip(model.group_by, words, strict=True)
    return f"{model.name}[{', '.join(f'{name}={word}' for name, word in pairs)}]"


def method_name(model: Model) -> str:
    """Return how a model is estimated, in one word or two."""
    if model.family == "gaussian":
        return model.method
    return "logistic hc3" if model.method == "hc3" else "logistic"


def unfitted(model: Model, reason: str, *, term: str, n: int = 0) -> pd.DataFrame:
    """Return a row that says why there is no coefficient."""
    outcome = model.formula.partition("~")[0].strip()
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "model": model.name, "outcome": outcome, "term": term, "n": n, "method": method_name(model),
        "formula": model.formula, "filter": model.filter, "note": reason,
    }  # fmt: skip
    return pd.DataFrame([row], columns=COLUMNS)


def not_fitted(model: Model, reason: str) -> Fit:
    """Return a model that was never tried, with the reason."""
    return Fit(
        model=model,
        design=None,
        coefficients=unfitted(model, reason, term=""),
        fitted=False,
        note=reason,
    )


def _why_not(model: Model, made: Design, kept: list[int]) -> str:
    """Return why a design cannot be fitted, or nothing."""
    if made.n == 0:
        return f"no participant has all variables ({_losses(made)})"
    # Counted before collinear columns are left out: who asks for so many must have the people.
    if made.n <= len(made.names):
        return (
            f"too few participants: {made.n} complete for {len(made.names)} coefficients, "
            f"at least {len(made.names) + 1} are needed"
        )
    # R squared and partial correlation would be 0/0, and a p of such a fit is rounding.
    if np.ptp(made.outcome) == 0:
        return f"the outcome is the same ({made.outcome[0]:g}) in all {made.n} participants"
    # HC3 divides by (1 - leverage)^2, which is 0 there.
    if model.method == "hc3" and design.decided_alone(made.predictors[:, kept]):
        return "one participant alone decides a coefficient: robust errors do not exist"
    return ""


def _losses(made: Design) -> str:
    losses = made.losses
    parts = [f"{losses.n_found} found"]
    if losses.n_filtered:
        parts.append(f"{losses.n_filtered} outside the filter")
    parts += [f"{n} without {name}" for name, n in losses.missing.items()]
    if losses.n_not_finite:
        parts.append(f"{losses.n_not_finite} with a value the formula cannot take")
    return ", ".join(parts)


def _estimate(
    model: Model, made: Design, kept: list[int], confidence: float
) -> tuple[pd.DataFrame, Floats]:
    """Return the rows of all coefficients and contrasts, and the residuals."""
    results = _solve(model, made, kept)
    n_columns = len(made.names)
    weights = {name: np.eye(n_columns)[place] for place, name in enumerate(made.names)}
    # A coefficient is the contrast with a single weight of 1, so one function does both.
    for name, parts in model.contrasts.items():
        weights[name] = _contrast_weights(model, made, parts)
    rows = [_row(results, term, weight, kept, confidence) for term, weight in weights.items()]
    table = pd.DataFrame(rows)
    gaussian = model.family == "gaussian" and model.method != "huber"
    total = float(np.var(made.outcome, ddof=1))
    # R squared against the mean, also for formulas without an intercept: comparable between models
    # (lm takes it against 0 there).
    # scale is RSS / (n - p): both variances are then sums of squares over n - 1.
    unexplained = results.scale * results.df_residual / (made.n - 1)
    table["r_squared"] = 1 - unexplained / total if gaussian else np.nan
    table["adjusted_r_squared"] = 1 - results.scale / total if gaussian else np.nan
    table["residual_sd"] = float(np.sqrt(results.scale)) if gaussian else np.nan
    slopes = ~table["term"].isin([design.INTERCEPT])
    # The formula holds for the ordinary t only; a t with robust errors gives no correlation.
    if gaussian and model.method == "ols":
        t = table["statistic"]
        # Cohen, Cohen, West & Aiken (2003), Applied multiple regression, 3.3.
        table["partial_r"] = (t / np.sqrt(t**2 + table["df_residual"])).where(slopes)
    else:
        table["partial_r"] = np.nan
    return table, results.residuals


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LeastSquares:
    """Estimates with their covariance, whatever the method."""

    params: Floats
    covariance: Floats
    residuals: Floats
    df_residual: float
    uses_t: bool = True
    scale: float = float("nan")
    """Variance of the residuals."""


def least_squares(outcome: Floats, predictors: Floats, *, robust: bool = False) -> LeastSquares:
    """Return the least-squares solution; ``robust`` takes the errors from HC3.

    References
    ----------
    MacKinnon & White (1985). J Econometrics 29(3), 305-325. doi:10.1016/0304-4076(85)90158-7
    """
    # Columns of unit length: beside volumes in mm3 a 0/1 column would lose half its digits.
    lengths = np.linalg.norm(predictors, axis=0)
    model = sm.OLS(outcome, predictors / lengths)
    results = model.fit(cov_type="HC3" if robust else "nonrobust", use_t=True)
    return LeastSquares(
        params=results.params / lengths,
        covariance=results.cov_params() / np.outer(lengths, lengths),
        residuals=results.resid,
        df_residual=float(results.df_resid),
        scale=float(results.scale),
    )


def _solve(model: Model, made: Design, kept: list[int]) -> LeastSquares:
    predictors = made.predictors[:, kept]
    covariance = None
    if model.family == "gaussian" and model.method != "huber":
        return least_squares(made.outcome, predictors, robust=model.method == "hc3")
    if model.family == "binomial":
        results = logistic.fit(made.outcome, predictors)
        residuals = results.resid_response
        if model.method == "hc3":
            covariance = logistic.robust_covariance(results, predictors)
    else:
        # Huber's proposal with k = 1.345: 95 % efficient where errors are normal.
        # Stopped by coefficients, since those are reported. The tolerance is absolute: for volumes
        # in mm3 rounding alone may exceed it, and then all 500 steps are made.
        results = sm.RLM(made.outcome, predictors, M=sm.robust.norms.HuberT()).fit(
            maxiter=500, tol=1e-10, conv="coefs"
        )
        residuals = results.resid
    return LeastSquares(
        params=np.asarray(results.params),
        covariance=np.asarray(results.cov_params() if covariance is None else covariance),
        residuals=np.asarray(residuals, dtype=float),
        df_residual=float(results.df_resid),
        uses_t=False,
    )


def _row(
    results: LeastSquares,
    term: str,
    weight: Floats,
    kept: list[int],
    confidence: float,
) -> dict[str, object]:
    """Return one linear combination of coefficients with its interval."""
    # A contrast with a weight on an aliased column cannot be estimated either.
    left_out = np.delete(weight, kept).any()
    if left_out:
        return {"term": term} | dict.fromkeys(
            ["coefficient", "standard_error", "statistic", "df_residual", "ci_low", "ci_high", "p"],
            np.nan,
        )
    combination = weight[kept]
    estimate = float(combination @ results.params)
    error = float(np.sqrt(combination @ results.covariance @ combination))
    # M-estimates and log odds ratios are normal in large samples only; t would promise more.
    df = results.df_residual if results.uses_t else np.inf
    reach = stats.t.ppf(0.5 + confidence / 2, df) * error
    # An exact fit has an error of 0: p of an infinite t would be 0 for what is rounding.
    statistic = estimate / error if error > 0 else np.nan
    return {
        "term": term,
        "coefficient": estimate,
        "standard_error": error,
        "statistic": statistic,
        "df_residual": results.df_residual,
        "ci_low": estimate - reach,
        "ci_high": estimate + reach,
        "p": float(2 * stats.t.sf(abs(statistic), df)),
    }


def _contrast_weights(model: Model, made: Design, parts: dict[str, float]) -> Floats:
    weights = np.zeros(len(made.names))
    spelled = coefficient_names(made, model.levels)
    for name, weight in parts.items():
        if name not in spelled:
            raise UsageError(
                f"Model '{model.name}': a contrast names '{name}', which is no coefficient. "
                f"There are: {', '.join(made.names)}."
            )
        weights[made.names.index(spelled[name])] = weight
    return weights


# As formulaic names dummies: sex[T.male] against a reference, sex[male] without intercept.
LEVEL_OF = re.compile(r"(?:C\((\w+)\)|(\w+))\[(T\.)?([^\]]+)\]", re.ASCII)


def coefficient_names(made: Design, levels: Vocabulary) -> dict[str, str]:
    """Return each coefficient by its name, and by its name with the words of coded levels.

    The coefficient ``C(sex)[T.1.0]`` is also found as ``C(sex)[T.male]``.
    """

    def worded(found: re.Match[str]) -> str:
        """Put the word for the code into the name of one factor."""
        known = levels.get(found.group(1) or found.group(2), {})
        codes = {str(level.value): name for name, level in known.items()}
        begin, end = found.span(4)[0] - found.start(), found.span(4)[1] - found.start()
        whole = found.group()
        return whole[:begin] + codes.get(found.group(4), found.group(4)) + whole[end:]

    # The library's own names win where a word for one level is the code of another.
    return {LEVEL_OF.sub(worded, name): name for name in made.names} | {
        name: name for name in made.names
    }


def _note(made: Design, kept: list[int], aliased: list[int], term: str) -> str:
    """Return what a reader must know about one coefficient."""
    notes = []
    if term in made.names:
        notes += _alias_notes(made, kept, aliased, made.names.index(term))
    df = made.n - len(kept)
    if df < FEW_DEGREES_OF_FREEDOM:
        notes.append(f"only {made.n} participants for {len(kept)} coefficients: do not rely on it")
    if made.losses.n_not_finite:
        notes.append(
            f"{made.losses.n_not_finite} left out: the formula cannot take their value "
            "(the log of zero, say)"
        )
    return "; ".join(notes)


SOLE = "one participant alone decides it: it says nothing about a group"


def _decided_alone(model: Model, made: Design, kept: list[int]) -> set[str]:
    """Return the coefficients and contrasts that one participant decides."""
    columns = design.decided_alone(made.predictors[:, kept])
    names = {made.names[kept[column]] for column in columns}
    spelled = coefficient_names(made, model.levels)
    contrasts = {
        name
        for name, parts in model.contrasts.items()
        if any(weight and spelled[part] in names for part, weight in parts.items())
    }
    return names | contrasts


def _alias_notes(made: Design, kept: list[int], aliased: list[int], place: int) -> list[str]:
    notes = []
    for column in aliased:
        others = design.partners(made.predictors, kept, column)
        name = made.names[column]
        if place == column:
            # Only the intercept makes it up: constant. Nothing does: a column of zeros.
            if [made.names[i] for i in others] in ([design.INTERCEPT], []):
                value = made.predictors[0, column]
                return [f"the same ({value:g}) in all {made.n} participants: not estimable"]
            named = ", ".join(made.names[i] for i in others)
            return [f"collinear with {named}: not estimable"]
        # The intercept is part of nearly every collinear set; a note there would say nothing.
        if place in others and made.names[place] != design.INTERCEPT:
            notes.append(f"collinear with {name}, which was left out: stands for both")
    return notes
