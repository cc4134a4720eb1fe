"""How much a result depends on choices: the same coefficient under many specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from bids_qsmthal.statistics import design, formulas, regression, resampling
from bids_qsmthal.statistics.regression import Fit, Method, Model
from bids_qsmthal.statistics.resampling import Resampling

Kind = Literal["model", "inference", "sample", "term", "measure"]

COLUMNS = [
    "model", "outcome", "term", "specification", "kind", "coefficient", "ci_low", "ci_high", "p",
    "partial_r", "n", "note",
]  # fmt: skip

ROBUST: dict[str, Method] = {"robust errors (HC3)": "hc3", "Huber M-estimate": "huber"}


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

    absent: str = ""
    """Why it cannot be tried, if so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A coefficient whose dependence on choices is asked for."""

    adjusted: Model
    term: str
    unadjusted: Model | None = None


def explore(
    questions: Sequence[Question],
    frame: pd.DataFrame,
    specifications: Sequence[Specification],
    how: Resampling,
) -> pd.DataFrame:
    """Return one row a coefficient and specification; what cannot be fitted says why.

    ``partial_r`` compares specifications whose coefficients have different units.
    """
    rows: list[dict[str, object]] = []
    for question in questions:
        main = regression.fit(question.adjusted, frame)
        rows.append(_row(question, "as in the table", "model", main))
        if question.unadjusted:
            fit = regression.fit(question.unadjusted, frame)
            rows.append(_row(question, "unadjusted", "model", fit))
        rows += _inference(question, main, frame, how)
        for specification in specifications:
            row = _changed(question, specification, frame, main)
            rows += [row] if row else []
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(question: Question, name: str, kind: Kind, fit: Fit) -> dict[str, object]:
    found = fit.row(question.term)
    return {
        "model": question.adjusted.name,
        "outcome": found["outcome"],
        "term": question.term,
        "specification": name,
        "kind": kind,
        **{column: found[column] for column in COLUMNS[5:]},
    }


def _changed(
    question: Question, specification: Specification, frame: pd.DataFrame, main: Fit
) -> dict[str, object] | None:
    """Return the coefficient under one change, or nothing where the change changes nothing.

    Terms that stand for others (splines, say) need more participants than the model itself, and
    cannot even be evaluated for one or two: where the model has no fit, they have none.
    """
    model = question.adjusted
    formula = formulas.substitute(model.formula, specification.terms)
    if specification.terms and (
        question.term in specification.terms or formula == formulas.parse(model.formula).text
    ):
        return None
    if specification.columns and not set(specification.columns) & set(
        formulas.variables(model.formula)
    ):
        return None
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
        fit = regression.fit(changed, frame.assign(**columns))
    return _row(question, specification.name, specification.kind, fit)


def _inference(
    question: Question, main: Fit, frame: pd.DataFrame, how: Resampling
) -> list[dict[str, object]]:
    """Return the same model under other ways to estimate and to test."""
    rows = [
        _row(question, name, "inference", regression.fit(
            replace(question.adjusted, method=method), frame
        ))
        for name, method in ROBUST.items()
    ]  # fmt: skip
    found = main.row(question.term)
    if main.design is None or not np.isfinite(found["coefficient"]):
        return rows
    kept, _ = design.independent_columns(main.design.predictors)
    predictors = main.design.predictors[:, kept]
    column = kept.index(main.design.names.index(question.term))
    outcome = main.design.outcome
    base = _row(question, "", "inference", main) | {"partial_r": np.nan}
    low, high = resampling.bootstrap_interval(outcome, predictors, column, how)
    rows.append(
        base
        | {"specification": "bootstrap (BCa)", "ci_low": low, "ci_high": high, "p": np.nan,
           "note": f"{how.bootstraps(len(outcome))} draws of participants"}
    )  # fmt: skip
    p = resampling.permutation_p(outcome, predictors, column, how)
    rows.append(
        base
        | {"specification": "permutation (Freedman-Lane)", "ci_low": np.nan, "ci_high": np.nan,
           "p": p, "note": f"{how.permutations(len(outcome))} permutations"}
    )  # fmt: skip
    return [*rows, base | _left_out(main, predictors, column, frame)]


def _left_out(
    main: Fit, predictors: design.Floats, column: int, frame: pd.DataFrame
) -> dict[str, object]:
    """Return the range of the coefficient when any one participant is left out."""
    assert main.design is not None  # noqa: S101 - the caller has checked
    left = resampling.leave_one_out(main.design.outcome, predictors, column)
    name = "leave one out (range)"
    blank = {"specification": name, "ci_low": np.nan, "ci_high": np.nan, "p": np.nan}
    if main.design.n - predictors.shape[1] < 2 or np.isnan(left.coefficients).all():
        return blank | {"note": "too few participants to leave one out"}
    who = frame.loc[main.design.rows]
    named = who["participant_id"] if "participant_id" in who else pd.Series(who.index)
    moved = np.nanargmax(np.abs(left.coefficients - np.nanmean(left.coefficients)))
    return blank | {
        "ci_low": float(np.nanmin(left.coefficients)),
        "ci_high": float(np.nanmax(left.coefficients)),
        "p": float(np.nanmax(left.p)),
        "note": f"smallest and largest coefficient, largest p; most without {named.iloc[moved]}",
    }
