"""How much a result depends on choices: the same coefficient under many specifications."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from bids_qsmthal.statistics import (
    design,
    formulas,
    harmonised_draws,
    measurement_error,
    refits,
    regression,
    resampling,
)
from bids_qsmthal.statistics.batches import Refits
from bids_qsmthal.statistics.harmonised_draws import Redrawn
from bids_qsmthal.statistics.regression import Family, Fit, Method, Model
from bids_qsmthal.statistics.resampling import LeaveOneOut, Resampling

log = logging.getLogger(__name__)

Kind = Literal["model", "inference", "sample", "term", "measure", "outcome", "region", "any"]

OTHER_QUESTIONS: frozenset[Kind] = frozenset({"region", "any"})
"""Rows that stand beside a question and are no other answer to it: the same of another region, and
whether there is any at all beside how much."""

MAIN = "as in the table"

COLUMNS = [
    "model", "outcome", "term", "specification", "kind", "coefficient", "ci_low", "ci_high", "p",
    "partial_r", "n", "n_events", "distinct", "note",
]  # fmt: skip

HC3 = "robust errors (HC3)"

ROBUST: dict[Family, dict[str, Method]] = {
    "gaussian": {HC3: "hc3", "Huber M-estimate": "huber"},
    "binomial": {HC3: "hc3"},
    "poisson": {HC3: "hc3"},
}
"""Other methods beside the one of the table."""

SAME_PEOPLE = "unadjusted, participants of the adjusted model"
COMPLETE = "complete cases of all models of the tables"
ANY = "any at all (two-part; log odds ratio)"
CALIBRATED = "without the noise of the number (regression calibration)"

HARMONISED = "not given: harmonised values of one participant depend on all others"
ANEW = "each harmonised again"
SAME_AT_A_SITE = "not given: the same for everybody at a site, so nothing can be permuted"

BOOTSTRAP = "bootstrap (BCa)"
PERMUTATION = "permutation"
LEAVE_OUT = "leave one out (range)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """One change to a model."""

    name: str
    kind: Kind
    filter: str = ""
    """Who is in the model, beside the filter it has."""

    terms: Mapping[str, str] = field(default_factory=dict)
    """What stands for a variable in the formula."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column of the table stands for a variable."""

    added: tuple[str, ...] = ()
    """Variables that are put into the formula."""

    outcomes: tuple[str, ...] = ()
    """Of which outcomes alone it is asked; of all where nothing is named."""

    absent: str = ""
    """Why it cannot be tried, if so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A coefficient whose dependence on choices is asked for."""

    adjusted: Model
    term: str
    unadjusted: Model | None = None
    harmonised: bool = False
    """Whether a variable of it was harmonised across sites."""

    noise: str = ""
    """Column with the standard error of the term's own values, where there is one."""

    zero_add: float = float("nan")
    """What is added within a logarithm of the outcome; where not given, half of the smallest value
    above zero."""


def explore(
    questions: Sequence[Question],
    frame: pd.DataFrame,
    specifications: Sequence[Specification],
    how: Resampling,
    redrawn: Redrawn | None = None,
) -> pd.DataFrame:
    """Return one row a coefficient and specification; what cannot be fitted says why.

    ``partial_r`` compares specifications whose coefficients have different units. ``redrawn`` is
    the cohort drawn again and harmonised anew, for questions about harmonised variables.
    """
    rows: list[dict[str, object]] = []
    mains = [regression.fit(question.adjusted, frame) for question in questions]
    everywhere = _complete(mains, frame)
    for place, (question, main) in enumerate(zip(questions, mains, strict=True), start=1):
        log.info(
            "Sensitivity to choices [%d/%d]: %s in %s.",
            place, len(questions), question.term, question.adjusted.name,
        )  # fmt: skip
        rows.append(_row(question, MAIN, "model", main))
        if question.unadjusted:
            fit = regression.fit(question.unadjusted, frame)
            rows.append(_row(question, "unadjusted", "model", fit))
        rows += _of_the_same_people(question, main, everywhere, frame)
        rows += _of_zeros(question, main, frame)
        rows += _calibrated(question, main, frame)
        rows += _inference(question, main, frame, how, redrawn)
        for specification in specifications:
            row = _changed(question, specification, frame, main)
            rows += [row] if row else []
    made = pd.DataFrame(rows, columns=COLUMNS)
    return made.assign(distinct=_distinct(made))


def _distinct(rows: pd.DataFrame) -> pd.Series[int]:
    """Return 1 where a row answers the question with an estimate that no row before it has.

    The same coefficient tested in another way, a filter that leaves out nobody, or the same values
    in another unit is no second finding, and another region is another question. Estimates are
    compared to nine digits; solvers differ in later ones.
    """
    estimates = rows["coefficient"].astype(float)
    correlations = rows["partial_r"].astype(float)
    answers = estimates.notna() & ~rows["kind"].isin(OTHER_QUESTIONS)
    # The same people and the same number: one estimate, however many rows show it.
    keys = rows[["model", "term", "n"]].assign(b=[f"{value:.9g}" for value in estimates])
    again = keys[answers].duplicated()
    # Another unit changes the coefficient and not the correlation.
    known = answers & correlations.notna()
    keys["b"] = [f"{value:.9g}" for value in correlations]
    again = again | keys[known].duplicated().reindex(again.index, fill_value=False)
    return (answers & ~again.reindex(rows.index, fill_value=True)).astype(int)


def most_answers(rows: pd.DataFrame) -> int:
    """Return how many different estimates the question with most of them has."""
    counts = rows.groupby(["model", "term"])["distinct"].sum()
    return int(counts.max()) if len(counts) else 0


def _row(question: Question, name: str, kind: Kind, fit: Fit) -> dict[str, object]:
    found = fit.row(question.term)
    return {
        "model": question.adjusted.name,
        "outcome": found["outcome"],
        "term": question.term,
        "specification": name,
        "kind": kind,
        # From coefficient on; distinct is known only when all rows are there.
        **{column: found[column] for column in COLUMNS[5:] if column != "distinct"},
    }


def _changed(
    question: Question, specification: Specification, frame: pd.DataFrame, main: Fit
) -> dict[str, object] | None:
    """Return the coefficient under one change, or nothing where the change changes nothing.

    Terms that stand for others (splines, say) need more participants than the model itself, and
    cannot even be evaluated for one or two: where the model has no fit, they have none.
    """
    model = question.adjusted
    # Compared with the printed form of the formula, since substitute prints it: spaces and
    # parentheses would else look like a change.
    formula = formulas.substitute(model.formula, specification.terms)
    if specification.terms and (
        question.term in specification.terms or formula == formulas.parse(model.formula).text
    ):
        return None
    outcome = formulas.parse(model.formula).outcome.variables
    if specification.outcomes and not set(outcome) & set(specification.outcomes):
        return None
    if specification.added:
        new = [name for name in specification.added if name not in formulas.variables(formula)]
        if not new:
            return None
        formula = " + ".join([formula, *new])
    # A variable of the filter alone is no other measure of what the model is about.
    if specification.columns and not set(specification.columns) & set(
        formulas.variables(model.formula)
    ):
        return None
    # Parentheses: "and" binds tighter than an "or" within either filter.
    filters = [f"({part})" for part in (model.filter, specification.filter) if part]
    changed = replace(
        model,
        formula=formula,
        filter=" and ".join(filters),
    )
    why_not = specification.absent or (main.note if specification.terms and not main.fitted else "")
    if why_not:
        fit = regression.not_fitted(changed, why_not)
    else:
        columns = {name: frame[column] for name, column in specification.columns.items()}
        # The other measure under the variable's own name, so that formula and term stay as they
        # are.
        fit = regression.fit(changed, frame.assign(**columns))
    return _row(question, specification.name, specification.kind, fit)


def _complete(mains: Sequence[Fit], frame: pd.DataFrame) -> pd.Index:
    """Return the rows that lack nothing any fitted model needs, in or outside of its filter.

    A model of women alone does not make the complete cases women.
    """
    rows = frame.index
    for fit in mains:
        if not fit.fitted or fit.design is None:
            continue
        beside = [name for name in (fit.model.exposure, fit.model.random) if name]
        variables = [*formulas.variables(fit.model.formula), *beside]
        rows = rows.intersection(frame[variables].dropna().index, sort=False)
        rows = rows.difference(pd.Index(fit.design.losses.not_finite_rows), sort=False)
    return rows


def _of_the_same_people(
    question: Question, main: Fit, everywhere: pd.Index, frame: pd.DataFrame
) -> list[dict[str, object]]:
    """Return coefficients of the people whom several models share, where these are others.

    An unadjusted and an adjusted coefficient differ by the covariates and by who lacks one of
    them; among the same people only the covariates are left.
    """
    if not main.fitted or main.design is None:
        return []
    rows = []
    if question.unadjusted:
        own = regression.fit(question.unadjusted, frame)
        if own.design is not None and len(own.design.rows.difference(main.design.rows)):
            fit = regression.fit(question.unadjusted, frame.loc[main.design.rows])
            rows.append(_row(question, SAME_PEOPLE, "sample", fit))
    if len(main.design.rows.difference(everywhere)):
        fit = regression.fit(question.adjusted, frame.loc[everywhere])
        rows.append(_row(question, COMPLETE, "sample", fit))
    return rows


def _of_zeros(question: Question, main: Fit, frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the coefficient with those whose outcome is 0, which has no logarithm.

    Once with something added to everybody's, and once as the other half of a two-part model:
    whether there is any at all, beside how much in those who have some, which is the model itself
    (Duan et al. 1983, doi:10.2307/1391852).
    """
    outcome = formulas.parse(question.adjusted.formula).outcome
    name = outcome.variables[0]
    functions = [
        f for f in ("log", "log2", "log10") if formulas.parse(f"{f}({name}) ~ 1").outcome == outcome
    ]
    if main.design is None or not functions or not main.design.losses.n_not_finite:
        return []
    lost = frame.loc[list(main.design.losses.not_finite_rows), name]
    if not (lost == 0).all():
        return []
    values = frame[name]
    added = question.zero_add
    if np.isnan(added):
        added = float(f"{values[values > 0].min() / 2:.3g}")
    predictors = question.adjusted.formula.partition("~")[2]
    model = replace(question.adjusted, formula=f"{functions[0]}({name} + {added!r}) ~{predictors}")
    any_name = f"any_{name}"
    either = replace(
        question.adjusted, formula=f"{any_name} ~{predictors}", family="binomial", method="ols"
    )
    present = (values > 0).astype(float).where(values.notna())
    return [
        _row(question, f"{functions[0]}(x + {added:g})", "outcome", regression.fit(model, frame)),
        _row(question, ANY, "any", regression.fit(either, frame.assign(**{any_name: present}))),
    ]


def _calibrated(question: Question, main: Fit, frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the slope without the attenuation by the noise of its predictor."""
    found = main.row(question.term)
    if (
        not question.noise
        or question.harmonised
        or main.design is None
        or not np.isfinite(found["coefficient"])
        or (main.model.family, main.model.method) != ("gaussian", "ols")
    ):
        return []
    noise = frame.loc[main.design.rows, question.noise].to_numpy(dtype=float)
    kept, _ = regression.independent(main.model, main.design)
    place = main.design.names.index(question.term)
    row = _row(question, CALIBRATED, "measure", main)
    blank = dict.fromkeys(("coefficient", "ci_low", "ci_high", "partial_r"), np.nan)
    if np.isnan(noise).any():
        note = f"{int(np.isnan(noise).sum())} participants without a standard error of the number"
        return [row | blank | {"p": np.nan, "note": note}]
    made = measurement_error.calibrated(
        float(found["coefficient"]),
        float(found["standard_error"]),
        main.design.predictors[:, place],
        main.design.predictors[:, [column for column in kept if column != place]],
        noise,
    )
    note = f"reliability {made.reliability:.2f} by the standard errors of the numbers"
    if np.isnan(made.slope):
        return [row | blank | {"p": np.nan, "note": f"{note}: too low to correct for"}]
    # The test of no association is that of the slope as it is (Carroll et al. 2006, 10.1).
    return [
        row
        | blank
        | {
            "coefficient": made.slope,
            "ci_low": made.ci_low,
            "ci_high": made.ci_high,
            "note": note,
        }
    ]


def _inference(
    question: Question, main: Fit, frame: pd.DataFrame, how: Resampling, redrawn: Redrawn | None
) -> list[dict[str, object]]:
    """Return the same model under other ways to estimate and to test.

    Each row fits a model of the same family and method again, but for those that are named after
    another method.
    """
    rows = [
        _row(question, name, "inference", regression.fit(replace(main.model, method=method), frame))
        for name, method in ROBUST.get(main.model.family, {}).items()
        if method != main.model.method and not main.model.random
    ]
    found = main.row(question.term)
    if main.design is None or not np.isfinite(found["coefficient"]):
        return rows
    kept, _ = regression.independent(main.model, main.design)
    predictors = main.design.predictors[:, kept]
    if question.term not in main.design.names:
        return rows  # a contrast has no column of its own
    column = kept.index(main.design.names.index(question.term))
    # The coefficient is the same; what the rows do not compute must not seem to be theirs.
    base = _row(question, "", "inference", main) | {"partial_r": np.nan, "ci_low": np.nan}
    base |= {"ci_high": np.nan, "p": np.nan}
    if question.harmonised:
        return [
            *rows,
            *(base | row for row in _harmonised_anew(question, main, frame, how, redrawn)),
        ]
    again = refits.of(main.model, main.design)
    outcome = main.design.outcome
    left = _without_each(again, outcome, predictors, column, how)
    # The jackknife of BCa is what leaving one out has made anyway, where participants are drawn.
    jackknife = left.coefficients
    if again.jackknife:
        jackknife = again.jackknife(outcome, predictors, column)
    low, high = resampling.bca_interval(
        again.bootstrap(outcome, predictors, column, how), float(found["coefficient"]), jackknife
    )
    draws = f"{how.bootstraps(len(outcome))} draws of {again.drawn}"
    note = draws if np.isfinite(low) else f"{draws}: too many without an estimate, or left out"
    rows.append(base | {"specification": BOOTSTRAP, "ci_low": low, "ci_high": high, "note": note})
    p = again.permutation_p(outcome, predictors, column, how)
    note = f"{how.permutations(len(outcome))} permutations"
    if np.isnan(p):
        note = SAME_AT_A_SITE
    name = f"{PERMUTATION} ({again.permutation})"
    rows.append(base | {"specification": name, "p": p, "note": note})
    return [*rows, base | _left_out(main, left, frame)]


def _harmonised_anew(
    question: Question, main: Fit, frame: pd.DataFrame, how: Resampling, redrawn: Redrawn | None
) -> list[dict[str, object]]:
    """Return intervals and p from cohorts that were drawn and then harmonised."""
    nothing = {"coefficient": np.nan, "note": HARMONISED}
    if redrawn is None or main.design is None:
        return [{"specification": name, **nothing} for name in (BOOTSTRAP, PERMUTATION, LEAVE_OUT)]
    drawn = harmonised_draws.refitted(main, question.term, frame, redrawn.bootstrap)
    everybody = harmonised_draws.refitted(main, question.term, frame, redrawn.without_each)
    # Of those whom the model has: without others only the harmonisation changes.
    places = frame.index.get_indexer(main.design.rows)
    left = LeaveOneOut(everybody.coefficients[places], everybody.p[places])
    estimate = float(main.row(question.term)["coefficient"])
    low, high = resampling.bca_interval(drawn.coefficients, estimate, left.coefficients)
    note = f"{redrawn.bootstrap.n} draws of participants within sites, {ANEW}"
    if np.isnan(low):
        note = f"{note}: too many without an estimate"
    bootstrap: dict[str, object] = {"specification": BOOTSTRAP, "ci_low": low, "ci_high": high}
    without = _left_out(main, left, frame)
    return [
        bootstrap | {"note": note},
        _permuted_anew(question, main, frame, how, redrawn),
        without | {"note": f"{without['note']}; {ANEW}"},
    ]


def _permuted_anew(
    question: Question, main: Fit, frame: pd.DataFrame, how: Resampling, redrawn: Redrawn
) -> dict[str, object]:
    """Return the permutation p of a model with harmonised variables."""
    assert main.design is not None  # noqa: S101 - the caller has checked
    outcome = set(formulas.parse(main.model.formula).outcome.variables)
    if not outcome & set(redrawn.how.names):
        # Harmonisation has not seen the outcome: its predictors stay what they are.
        kept, _ = regression.independent(main.model, main.design)
        again = refits.of(main.model, main.design)
        column = kept.index(main.design.names.index(question.term))
        predictors = main.design.predictors[:, kept]
        p = again.permutation_p(main.design.outcome, predictors, column, how)
        note = (
            f"{how.permutations(main.design.n)} permutations"
            if np.isfinite(p)
            else (SAME_AT_A_SITE)
        )
        return {"specification": f"{PERMUTATION} ({again.permutation})", "p": p, "note": note}
    if reason := harmonised_draws.why_no_permutation(main, redrawn):
        return {"specification": PERMUTATION, "coefficient": np.nan, "note": reason}
    p, n = harmonised_draws.permutation_p(main, question.term, frame, redrawn, how)
    note = f"{n} permutations of measured values within sites, {ANEW}"
    return {"specification": f"{PERMUTATION} (Freedman-Lane)", "p": p, "note": note}


def _without_each(
    again: Refits, outcome: design.Floats, predictors: design.Floats, column: int, how: Resampling
) -> LeaveOneOut:
    """Return the coefficient without each row, or nothing where that would be too many fits."""
    n = len(outcome)
    # n fits of n rows: the same bound on draws times participants as for the bootstrap.
    if not again.is_closed_form and n * n > how.largest:
        nothing = np.full(n, np.nan)
        return LeaveOneOut(nothing, nothing)
    return again.leave_one_out(outcome, predictors, column)


def _left_out(main: Fit, left: LeaveOneOut, frame: pd.DataFrame) -> dict[str, object]:
    """Return the range of the coefficient when any one participant is left out."""
    assert main.design is not None  # noqa: S101 - the caller has checked
    blank: dict[str, object] = {"specification": LEAVE_OUT}
    # One degree of freedom has to be left after a participant is taken out.
    if main.design.n - main.design.predictors.shape[1] < 2:
        return blank | {"note": "too few participants to leave one out"}
    if np.isnan(left.coefficients).all():
        return blank | {"note": "not tried: too many participants to leave out one at a time"}
    who = frame.loc[main.design.rows]
    named = who["participant_id"] if "participant_id" in who else pd.Series(who.index)
    # Whose absence moves the coefficient most, not who has the largest residual.
    moved = np.nanargmax(np.abs(left.coefficients - np.nanmean(left.coefficients)))
    lost = int(np.isnan(left.coefficients).sum())
    without = f"; no estimate without {lost} of them" if lost else ""
    p = float(np.nanmax(left.p)) if np.isfinite(left.p).any() else np.nan
    return blank | {
        "ci_low": float(np.nanmin(left.coefficients)),
        "ci_high": float(np.nanmax(left.coefficients)),
        "p": p,
        "note": "smallest and largest coefficient, largest p; largest change without "
        f"{named.iloc[moved]}{without}",
    }
