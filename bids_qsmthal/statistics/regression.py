"""Linear models: one row a coefficient."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import counts, design, formulas, logistic, longitudinal, ordinal
from bids_qsmthal.statistics.design import Design, Floats
from bids_qsmthal.statistics.levels import Vocabulary, word_of
from bids_qsmthal.statistics.satterthwaite import MixedFit

Family = Literal["gaussian", "binomial", "poisson", "negative_binomial", "ordinal"]
Method = Literal["ols", "hc3", "huber"]

FEW_DEGREES_OF_FREEDOM = 10
"""Below this many a fit is given with a remark (Austin & Steyerberg 2015 ask for two
participants a coefficient at the least; doi:10.1016/j.jclinepi.2014.12.014)."""

NAMES: dict[Family, str] = {
    "gaussian": "linear",
    "binomial": "logistic",
    "poisson": "Poisson",
    "negative_binomial": "negative binomial",
    "ordinal": "proportional odds",
}
"""What the regression of each family is called."""

EVENTS: tuple[Family, ...] = ("binomial", "poisson", "negative_binomial")
"""Families whose outcomes add up to a number of events."""

MOST_STEPS = 500
"""Of the reweighted least squares of Huber's estimate."""

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
    exposure: str = ""
    """Variable that counts are in proportion to: years of follow-up, a volume."""

    random: str = ""
    """Variable whose levels (sites) each have an intercept of their own, by REML."""

    description: str = ""
    contrasts: dict[str, dict[str, float]] = field(default_factory=dict)
    """Weights of coefficients for each named contrast."""

    places: dict[str, str] = field(default_factory=dict)
    """Where in the analysis file each contrast stands, for messages."""

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
    residual_sd: float = float("nan")
    """Standard deviation of the residuals of a linear model; within sites where these have
    intercepts of their own, Huber's scale where he estimates."""

    alpha: float = 0.0
    """Dispersion of a negative binomial model: the variance is mean + alpha mean squared."""

    def row(self, term: str) -> pd.Series:
        """Return the row of a term; all missing, with the note, where there is none."""
        found = np.flatnonzero(self.coefficients["term"].to_numpy() == term)
        if not len(found):
            return unfitted(self.model, self.note or "not in the model", term=term).iloc[0]
        chosen: pd.Series[Any] = self.coefficients.iloc[found[0]]
        return chosen


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
    made = _design(model, frame)
    kept, aliased = independent(model, made)
    reason = _why_not(model, made, kept) or _no_estimate(model, made, kept)
    if reason:
        # One row a coefficient also without a fit: tables find their line and its reason.
        rows = [unfitted(model, reason, term=name, n=made.n) for name in made.names]
        table = pd.concat(rows, ignore_index=True)
        return Fit(model=model, design=made, coefficients=table, fitted=False, note=reason)
    results = _solve(model, made, kept)
    table = _estimate(model, made, kept, results, confidence)
    alone = _decided_alone(model, made, kept)
    table["note"] = [
        "; ".join(filter(None, [
            _note(made, kept, aliased, name), SOLE if name in alone else "",
            _level_note(model, made, name), results.remark,
        ]))
        for name in table["term"]
    ]  # fmt: skip
    table = table.assign(
        model=model.name,
        outcome=made.outcome_name,
        n=made.n,
        n_events=float(made.outcome.sum()) if model.family in EVENTS else np.nan,
        method=method_name(model),
        formula=model.formula,
        filter=model.filter,
    )[COLUMNS]
    return Fit(
        model=model,
        design=made,
        coefficients=table,
        fitted=True,
        residuals=results.residuals,
        residual_sd=results.residual_sd,
        alpha=results.alpha,
    )


def _design(model: Model, frame: pd.DataFrame) -> Design:
    """Return the design of a model on the rows that have all it needs."""
    made = design.build(
        model.formula, frame, filter=model.filter, levels=model.levels,
        exposure=model.exposure, cluster=model.random,
    )  # fmt: skip
    # The thresholds of an ordered outcome take the place of the intercept.
    return made.without_intercept() if model.family == "ordinal" else made


def independent(model: Model, made: Design) -> tuple[list[int], list[int]]:
    """Return the columns of a design that can be estimated, and those that others determine."""
    if model.family != "ordinal":
        return design.independent_columns(made.predictors)
    # A column that is constant, or all levels of a factor, are what the thresholds are already.
    with_constant = np.column_stack([np.ones(made.n), made.predictors])
    kept, aliased = design.independent_columns(with_constant)
    return [column - 1 for column in kept if column], [column - 1 for column in aliased]


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
    if model.random:
        return "random intercepts"
    if model.family == "gaussian":
        return model.method
    name = NAMES[model.family]
    return f"{name} {model.method}" if model.method == "hc3" else name


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


def _no_estimate(model: Model, made: Design, kept: list[int]) -> str:
    """Return why the likelihood of a family has no maximum, or nothing."""
    predictors = made.predictors[:, kept]
    match model.family:
        case "binomial":
            return logistic.why_not(made.outcome, predictors)
        case "poisson" | "negative_binomial":
            return counts.why_not(made.outcome, predictors, made.exposure)
        case "ordinal":
            return ordinal.why_not(made.outcome, predictors)
    if model.random and len(set(made.clusters)) < 2:
        return f"{model.random} has only one level: random intercepts cannot be estimated"
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
    model: Model, made: Design, kept: list[int], results: Estimate, confidence: float
) -> pd.DataFrame:
    """Return the rows of all coefficients and contrasts."""
    weights = combinations(model, made)
    rows = [_row(results, term, weight, kept, confidence) for term, weight in weights.items()]
    table = pd.DataFrame(rows)
    gaussian = model.family == "gaussian" and model.method != "huber" and not model.random
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
    return table


def combinations(model: Model, made: Design) -> dict[str, Floats]:
    """Return each coefficient and contrast as weights of the columns of the design."""
    n_columns = len(made.names)
    weights = {name: np.eye(n_columns)[place] for place, name in enumerate(made.names)}
    # A coefficient is the contrast with a single weight of 1, so one function does both.
    for name in model.contrasts:
        if name in weights:
            raise UsageError(
                f"{_place(model, name)}the contrast '{name}' has the name of a coefficient; "
                "give it another one."
            )
        weights[name] = _contrast_weights(model, made, name)
    return weights


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Estimate:
    """Estimates with their covariance, whatever the method."""

    params: Floats
    covariance: Floats
    residuals: Floats
    df_residual: float
    uses_t: bool = True
    scale: float = float("nan")
    """Variance of the residuals."""

    remark: str = ""
    """What a reader must know of every coefficient of the fit."""

    residual_sd: float = float("nan")
    """Standard deviation of the residuals, where not the square root of ``scale``."""

    alpha: float = 0.0
    """Dispersion of a negative binomial model."""

    mixed: MixedFit | None = None
    """What gives each combination degrees of freedom of its own (random intercepts)."""


def least_squares(outcome: Floats, predictors: Floats, *, robust: bool = False) -> Estimate:
    """Return the least-squares solution; ``robust`` takes the errors from HC3.

    References
    ----------
    MacKinnon & White (1985). J Econometrics 29(3), 305-325. doi:10.1016/0304-4076(85)90158-7
    """
    # Columns of unit length: beside volumes in mm3 a 0/1 column would lose half its digits.
    lengths = np.linalg.norm(predictors, axis=0)
    # By X = QR as R's lm does; a pseudo-inverse, as statsmodels has it, takes five times as long.
    basis, upper = np.linalg.qr(predictors / lengths)
    inverse = np.linalg.inv(upper)
    params = inverse @ (basis.T @ outcome) / lengths
    residuals = outcome - predictors @ params
    df = len(outcome) - predictors.shape[1]
    scale = float(residuals @ residuals) / df
    middle = scale * np.eye(len(upper))
    if robust:
        # The rows of Q have the leverages as squared lengths.
        shares = basis * (residuals / (1 - np.sum(basis**2, axis=1)))[:, None]
        middle = shares.T @ shares
    return Estimate(
        params=params,
        covariance=inverse @ middle @ inverse.T / np.outer(lengths, lengths),
        residuals=residuals,
        df_residual=float(df),
        scale=scale,
    )


def _solve(model: Model, made: Design, kept: list[int]) -> Estimate:
    predictors = made.predictors[:, kept]
    match model.family:
        case "binomial":
            return _logistic(made, predictors, robust=model.method == "hc3")
        case "poisson" | "negative_binomial":
            return _counted(model, made, predictors)
        case "ordinal":
            return _ordered(made, predictors)
    if model.random:
        return _with_random_intercepts(model, made, predictors)
    if model.method == "huber":
        return huber(made.outcome, predictors)
    return least_squares(made.outcome, predictors, robust=model.method == "hc3")


def _logistic(made: Design, predictors: Floats, *, robust: bool) -> Estimate:
    results = logistic.fit(made.outcome, predictors)
    covariance = logistic.robust_covariance(results, predictors) if robust else results.cov_params()
    return Estimate(
        params=np.asarray(results.params),
        covariance=np.asarray(covariance),
        residuals=np.asarray(results.resid_response, dtype=float),
        df_residual=float(results.df_resid),
        uses_t=False,
    )


def _counted(model: Model, made: Design, predictors: Floats) -> Estimate:
    offset = np.log(made.exposure)
    if model.family == "negative_binomial":
        found = counts.negative_binomial(made.outcome, predictors, offset)
    else:
        found = counts.poisson(made.outcome, predictors, offset, robust=model.method == "hc3")
    return Estimate(
        params=found.params,
        covariance=found.covariance,
        residuals=found.residuals,
        df_residual=float(made.n - predictors.shape[1]),
        uses_t=False,
        alpha=found.alpha,
        remark=found.remark if found.converged else NOT_CONVERGED,
    )


def _ordered(made: Design, predictors: Floats) -> Estimate:
    found = ordinal.fit(made.outcome, predictors)
    p = ordinal.proportional_odds_p(made.outcome, predictors, found)
    remark = f"one odds ratio at every cut: Brant's test p = {p:.2g}"
    if np.isnan(p):
        remark = "one odds ratio at every cut: too few participants at the cuts to test it"
    if not found.converged:
        remark = NOT_CONVERGED
    return Estimate(
        params=found.params,
        covariance=found.covariance,
        residuals=np.full(made.n, np.nan),
        df_residual=float(made.n - predictors.shape[1] - len(found.thresholds)),
        uses_t=False,
        remark=remark,
    )


def _with_random_intercepts(model: Model, made: Design, predictors: Floats) -> Estimate:
    """Return fixed effects beside an intercept of each level (site), by REML as lme4 does."""
    found = longitudinal.random_intercepts(made.outcome, predictors, made.clusters)
    n_levels = len(set(made.clusters))
    remark = f"random intercepts of {n_levels} levels of {model.random}, SD {found.spread:.3g}"
    if n_levels < longitudinal.FEWEST_REPEATED:
        remark += f"; fewer than {longitudinal.FEWEST_REPEATED} levels: better as fixed effects"
    if not found.converged:
        remark = NOT_CONVERGED
    return Estimate(
        params=found.params,
        covariance=found.covariance,
        residuals=made.outcome - predictors @ found.params,
        df_residual=float(made.n - predictors.shape[1]),
        remark=remark,
        residual_sd=found.residual_sd,
        mixed=found.sums,
    )


NOT_CONVERGED = "the fit did not converge: do not use it"


def huber(outcome: Floats, predictors: Floats) -> Estimate:
    """Return Huber's M-estimate with k = 1.345: 95 % efficient where errors are normal.

    References
    ----------
    Huber (1964). Ann Math Stat 35(1), 73-101. doi:10.1214/aoms/1177703732
    """
    # The tolerance is absolute, and stops by coefficients, since those are reported: outcome and
    # columns get one size, or volumes in mm3 would never be still enough.
    size = float(np.std(outcome)) or 1.0
    lengths = np.sqrt(np.mean(predictors**2, axis=0))
    model = sm.RLM(outcome / size, predictors / lengths, M=sm.robust.norms.HuberT())
    results = model.fit(maxiter=MOST_STEPS, tol=1e-11, conv="coefs")
    # The library ends at the limit without a word; its history counts the steps.
    stopped = results.fit_history["iteration"] >= MOST_STEPS
    return Estimate(
        params=np.asarray(results.params) * size / lengths,
        covariance=np.asarray(results.cov_params()) * size**2 / np.outer(lengths, lengths),
        residuals=np.asarray(results.resid, dtype=float) * size,
        df_residual=float(results.df_resid),
        uses_t=False,
        residual_sd=float(results.scale) * size,
        remark=NOT_CONVERGED if stopped else "",
    )


def _row(
    results: Estimate,
    term: str,
    weight: Floats,
    kept: list[int],
    confidence: float,
) -> dict[str, object]:
    """Return one linear combination of coefficients with its interval."""
    # A contrast with a weight on an aliased column cannot be estimated either, nor one of a level
    # that nobody has.
    left_out = np.isnan(weight).any() or np.delete(weight, kept).any()
    if left_out:
        return {"term": term} | dict.fromkeys(
            ["coefficient", "standard_error", "statistic", "df_residual", "ci_low", "ci_high", "p"],
            np.nan,
        )
    combination = weight[kept]
    estimate = float(combination @ results.params)
    error = float(np.sqrt(combination @ results.covariance @ combination))
    own_df = results.df_residual
    if results.mixed is not None:
        own_df = results.mixed.degrees_of_freedom(combination)
    # M-estimates and log odds ratios are normal in large samples only; t would promise more.
    df = own_df if results.uses_t else np.inf
    reach = stats.t.ppf(0.5 + confidence / 2, df) * error
    # An exact fit has an error of 0: p of an infinite t would be 0 for what is rounding.
    statistic = estimate / error if error > 0 else np.nan
    return {
        "term": term,
        "coefficient": estimate,
        "standard_error": error,
        "statistic": statistic,
        "df_residual": own_df,
        "ci_low": estimate - reach,
        "ci_high": estimate + reach,
        "p": float(2 * stats.t.sf(abs(statistic), df)),
    }


def _place(model: Model, contrast: str) -> str:
    """Return where a contrast stands, to put before a message."""
    place = model.places.get(contrast, "")
    return f"{place}: model '{model.name}': " if place else f"Model '{model.name}': "


def _contrast_weights(model: Model, made: Design, contrast: str) -> Floats:
    """Return a contrast as weights of columns; missing where nobody is at one of its levels."""
    weights = np.zeros(len(made.names))
    spelled = coefficient_names(made, model.levels)
    for name, weight in model.contrasts[contrast].items():
        if name in spelled:
            weights[made.names.index(spelled[name])] = weight
        elif _is_level(name, model):
            # A filter, a group or a site without this level: other people may have it.
            weights[:] = np.nan
        else:
            raise UsageError(
                f"{_place(model, contrast)}a contrast names '{name}', which is no coefficient. "
                f"There are: {', '.join(made.names)}."
            )
    return weights


def _is_level(name: str, model: Model) -> bool:
    """Return whether a coefficient could be that of a level that nobody here has."""
    found = LEVEL_OF.fullmatch(name)
    if found is None:
        return False
    variable = found.group(1) or found.group(2)
    known = model.levels.get(variable, {})
    codes = {str(level.value) for level in known.values()}
    in_formula = variable in formulas.variables(model.formula)
    return in_formula and (not known or found.group(4) in {*known, *codes})


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
        some = "1 coefficient" if len(kept) == 1 else f"{len(kept)} coefficients"
        notes.append(f"only {made.n} participants for {some}: do not rely on it")
    if made.losses.n_not_finite:
        notes.append(
            f"{made.losses.n_not_finite} left out: the formula cannot take their value "
            "(the log of zero, say)"
        )
    return "; ".join(notes)


def _level_note(model: Model, made: Design, contrast: str) -> str:
    """Return which levels of a contrast nobody in the model has, or nothing."""
    spelled = coefficient_names(made, model.levels)
    lost = [name for name in model.contrasts.get(contrast, {}) if name not in spelled]
    return f"nobody at {', '.join(lost)}: not estimable" if lost else ""


SOLE = "depends on one participant alone: it says nothing about the group"


def _decided_alone(model: Model, made: Design, kept: list[int]) -> set[str]:
    """Return the coefficients and contrasts that one participant decides."""
    columns = design.decided_alone(made.predictors[:, kept])
    names = {made.names[kept[column]] for column in columns}
    spelled = coefficient_names(made, model.levels)
    contrasts = {
        name
        for name, parts in model.contrasts.items()
        if any(weight and spelled.get(part) in names for part, weight in parts.items())
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
