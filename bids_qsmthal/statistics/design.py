"""From a formula and a table to the numbers a model is fitted to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import formulaic
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import expressions

Floats = NDArray[np.float64]

INTERCEPT = "Intercept"

ALIAS_TOLERANCE = 1e-7
"""A column whose part that is new is smaller than this is collinear (R's ``lm``: ``tol``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Where participants were lost on the way into a model."""

    n_found: int
    n_filtered: int = 0
    n_incomplete: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    """How many rows lack each variable; one row may lack several."""

    n_not_finite: int = 0
    """Rows with a value that a transform cannot take, such as the log of zero."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Design:
    """Outcome and predictors of the rows that can be used."""

    outcome: Floats
    """Shape (rows,)."""

    predictors: Floats
    """Shape (rows, columns)."""

    outcome_name: str
    names: tuple[str, ...]
    """Name of each column of the predictors."""

    rows: pd.Index
    """Index of the rows in the table they came from."""

    losses: Losses
    terms: dict[str, tuple[int, ...]]
    """Columns of each term of the formula."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.outcome)


def build(formula: str, frame: pd.DataFrame, *, filter: str = "") -> Design:  # noqa: A002
    """Return the design of a formula on the complete rows that pass the filter.

    Raises
    ------
    UsageError
        The formula or the filter cannot be read or names a variable the table lacks.
    """
    variables = expressions.formula_variables(formula)
    for name in (*variables, *expressions.filter_variables(filter)):
        if name not in frame:
            raise UsageError(
                f"Formula '{formula}': no variable '{name}'. There are: {', '.join(frame.columns)}."
            )
    passed = frame[expressions.keep(filter, frame)]
    complete = passed.dropna(subset=list(variables))
    missing = {name: int(passed[name].isna().sum()) for name in variables}
    outcome, predictors, terms, rows, n_lost = _matrices(formula, complete, variables)
    return Design(
        outcome=outcome.to_numpy(dtype=float)[:, 0],
        predictors=predictors.to_numpy(dtype=float),
        outcome_name=str(outcome.columns[0]),
        names=tuple(str(name) for name in predictors.columns),
        rows=rows,
        terms=terms,
        losses=Losses(
            n_found=len(frame),
            n_filtered=len(frame) - len(passed),
            n_incomplete=len(passed) - len(complete),
            missing={name: n for name, n in missing.items() if n},
            n_not_finite=n_lost,
        ),
    )


def independent_columns(predictors: Floats) -> tuple[list[int], list[int]]:
    """Return the columns to keep and those that the kept ones before them determine.

    As in R's ``lm``, a later column gives way to an earlier one.
    """
    kept: list[int] = []
    aliased: list[int] = []
    basis = np.empty((len(predictors), 0))
    for column in range(predictors.shape[1]):
        values = predictors[:, column]
        # Twice is enough: the second pass removes what rounding left of the first.
        rest = values - basis @ (basis.T @ values)
        rest = rest - basis @ (basis.T @ rest)
        length = np.linalg.norm(rest)
        if length <= ALIAS_TOLERANCE * np.linalg.norm(values) or len(kept) == len(predictors):
            aliased.append(column)
            continue
        kept.append(column)
        basis = np.column_stack([basis, rest / length])
    return kept, aliased


def partners(predictors: Floats, kept: list[int], column: int) -> list[int]:
    """Return which kept columns together make up an aliased one."""
    scales = np.linalg.norm(predictors, axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    scaled = predictors / scales
    weights = np.linalg.lstsq(scaled[:, kept], scaled[:, column], rcond=None)[0]
    return [kept[i] for i in np.flatnonzero(np.abs(weights) > 1e-6)]


Matrices = tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]], pd.Index, int]


def _matrices(formula: str, complete: pd.DataFrame, variables: tuple[str, ...]) -> Matrices:
    rows = complete.index
    values = complete[list(variables)].reset_index(drop=True)
    n_lost = 0
    while True:
        outcome, predictors, terms = _evaluate(formula, values)
        if outcome.shape[1] != 1:
            raise UsageError(f"Formula '{formula}': the outcome must be one column of numbers.")
        finite = np.isfinite(outcome.to_numpy(dtype=float)).all(axis=1)
        finite &= np.isfinite(predictors.to_numpy(dtype=float)).all(axis=1)
        if finite.all():
            return outcome, predictors, terms, rows, n_lost
        # Bases such as splines depend on all rows, so they are made again without the lost ones.
        n_lost += int((~finite).sum())
        rows = rows[finite]
        values = values[finite].reset_index(drop=True)


def _evaluate(
    formula: str, values: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]]]:
    if values.empty:
        return _empty(formula)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = formulaic.model_matrix(formula, values, na_action="ignore", output="pandas")
    except Exception as error:  # formulaic wraps whatever a formula raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"Formula '{formula}': cannot be evaluated ({reason}).") from error
    indices = made.rhs.model_spec.term_indices
    terms = {str(term): tuple(columns) for term, columns in indices.items()}
    return made.lhs, made.rhs, terms


def _empty(formula: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]]]:
    """Return the terms of a formula for which there is no row to evaluate."""
    outcome, _, right = formula.partition("~")
    parsed = formulaic.Formula(right.strip())
    names = [INTERCEPT if str(term) == "1" else str(term) for term in parsed]
    terms: dict[str, tuple[int, ...]] = {name: (place,) for place, name in enumerate(names)}
    return (
        pd.DataFrame(columns=[outcome.strip()], dtype=float),
        pd.DataFrame(columns=names, dtype=float),
        terms,
    )
