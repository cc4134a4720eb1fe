"""From a formula and a table to the numbers a model is fitted to."""

from __future__ import annotations

import builtins
import functools
import operator
import warnings
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError
from numpy.typing import NDArray

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import expressions, formulas
from bids_qsmthal.statistics.calls import Factor, shown
from bids_qsmthal.statistics.formulas import Formula
from bids_qsmthal.statistics.levels import NOTHING, Vocabulary, reference_of

Floats = NDArray[np.float64]

INTERCEPT = "Intercept"

ALIAS_TOLERANCE = 1e-7
"""A column whose part that is new is smaller than this is collinear (R's ``lm``: ``tol``)."""

SOLE_LEVERAGE = 1 - 1e-10
"""From here on a row decides a coefficient alone: without it the design has no unique solution
(Belsley, Kuh & Welsch 1980, chapter 2, doi:10.1002/0471725153). The margin is rounding."""


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

    not_finite_rows: tuple[Hashable, ...] = ()
    """Their index in the table they came from."""


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

    clusters: NDArray[Any]
    """Whose intercept each row shares, shape (rows,); empty where there is no such variable."""

    exposure: Floats
    """What counts are in proportion to, shape (rows,); 1 where there is no such variable."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.outcome)

    def without_intercept(self) -> Design:
        """Return the design without the constant column, where it has one."""
        if INTERCEPT not in self.names:
            return self
        place = self.names.index(INTERCEPT)
        moved = {
            term: tuple(column - (column > place) for column in columns)
            for term, columns in self.terms.items()
            if columns != (place,)
        }
        return replace(
            self,
            predictors=np.delete(self.predictors, place, axis=1),
            names=tuple(name for name in self.names if name != INTERCEPT),
            terms=moved,
        )


def build(
    formula: str,
    frame: pd.DataFrame,
    *,
    filter: str = "",  # noqa: A002 - the word of BIDS Stats Models
    levels: Vocabulary = NOTHING,
    exposure: str = "",
    cluster: str = "",
) -> Design:
    """Return the design of a formula on the complete rows that pass the filter.

    ``levels`` are the words that the filter may use for codes; ``exposure`` is a variable that
    counts are in proportion to, ``cluster`` one whose levels have intercepts of their own.

    Raises
    ------
    UsageError
        The formula or the filter cannot be read, is too large, computes with words, or names a
        variable the table lacks.
    """
    parsed = formulas.parse(formula)
    # Exposure and cluster have to be known like any other variable, though they are no columns.
    beside = [name for name in (exposure, cluster) if name]
    variables = tuple(dict.fromkeys([*parsed.variables, *beside]))
    for name in variables:
        if name not in frame:
            raise UsageError(
                f"Formula '{parsed.text}': no variable '{name}'. There are: "
                f"{', '.join(frame.columns)}."
            )
    # The filter comes first: who is outside it is not counted as missing. Incomplete rows go before
    # the formula is evaluated, so that center, scale and splines see only the people of the model.
    # Only the columns of the model: a cohort's table has hundreds, and each would be copied.
    passed = frame.loc[expressions.keep(filter, frame, levels), list(variables)]
    complete = passed.dropna()
    # After the rows are chosen: a level that nobody of them has would be a column of zeros.
    complete = _with_references(complete, levels)
    _check_columns(parsed, complete)
    # Counted in all who pass the filter, one variable at a time: the counts may add up to more than
    # n_incomplete.
    missing = {name: int(passed[name].isna().sum()) for name in variables}
    outcome, predictors, terms, rows, n_lost = _matrices(parsed, complete)
    return Design(
        outcome=outcome.to_numpy(dtype=float)[:, 0],
        predictors=predictors.to_numpy(dtype=float),
        outcome_name=str(outcome.columns[0]),
        names=tuple(str(name) for name in predictors.columns),
        rows=rows,
        terms=terms,
        clusters=complete.loc[rows, cluster].to_numpy() if cluster else np.empty(0),
        exposure=complete.loc[rows, exposure].to_numpy(dtype=float)
        if exposure
        else np.ones(len(rows)),
        losses=Losses(
            n_found=len(frame),
            n_filtered=len(frame) - len(passed),
            n_incomplete=len(passed) - len(complete),
            missing={name: n for name, n in missing.items() if n},
            n_not_finite=n_lost,
            not_finite_rows=tuple(complete.index.difference(rows, sort=False)),
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
        # Relative to its own length: a column in mm3 and one of 0 and 1 are judged alike.
        length = np.linalg.norm(rest)
        if length <= ALIAS_TOLERANCE * np.linalg.norm(values) or len(kept) == len(predictors):
            aliased.append(column)
            continue
        kept.append(column)
        basis = np.column_stack([basis, rest / length])
    return kept, aliased


def leverage(predictors: Floats) -> Floats:
    """Return how much each row decides its own fitted value: 0 not at all, 1 alone."""
    # The diagonal of the hat matrix Q Q'. From QR, since X'X would square the condition number.
    values: Floats = np.sum(np.linalg.qr(predictors)[0] ** 2, axis=1)
    return values


def decided_alone(predictors: Floats) -> dict[int, tuple[int, ...]]:
    """Return the columns whose coefficient one row decides, each with the rows that do.

    Such a row has leverage 1: its unit vector is a combination of the columns, and what is in
    that combination has no estimate without the row.
    """
    scaled = predictors / np.linalg.norm(predictors, axis=0)
    if not _may_decide_alone(scaled):
        return {}
    # The weights of a unit vector are the columns of the pseudo-inverse, row by row.
    basis, upper = np.linalg.qr(scaled)
    # With X = QR the weights of the unit vector e_i are R^-1 Q' e_i, exact only where its leverage
    # is 1.
    rows = np.flatnonzero(np.sum(basis**2, axis=1) > SOLE_LEVERAGE)
    weights = np.abs(np.linalg.solve(upper, basis[rows].T))
    alone: dict[int, tuple[int, ...]] = {}
    # With a condition number up to 1 / ALIAS_TOLERANCE rounding leaves about 1e-9 of a zero.
    for column, row in np.argwhere(weights > 1e-6 * weights.max(axis=0, initial=0)):
        alone[int(column)] = (*alone.get(int(column), ()), int(rows[row]))
    return alone


def _may_decide_alone(scaled: Floats) -> bool:
    """Return whether some row may have a leverage of 1, by the cheap normal equations."""
    gram = scaled.T @ scaled
    # They square the condition number; below this the leverages have six digits at least.
    if np.linalg.cond(gram) > 1e10:
        return True
    return bool(np.sum(scaled @ np.linalg.inv(gram) * scaled, axis=1).max(initial=0) > 0.9)


def partners(predictors: Floats, kept: list[int], column: int) -> list[int]:
    """Return which kept columns together make up an aliased one."""
    scales = np.linalg.norm(predictors, axis=0)
    # Weights of columns of one length, so that "not zero" has one meaning for all.
    scales = np.where(scales > 0, scales, 1.0)
    scaled = predictors / scales
    weights = np.linalg.lstsq(scaled[:, kept], scaled[:, column], rcond=None)[0]
    return [kept[i] for i in np.flatnonzero(np.abs(weights) > 1e-6)]


Matrices = tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]], pd.Index, int]


def _with_references(complete: pd.DataFrame, levels: Vocabulary) -> pd.DataFrame:
    """Return the rows with the level first, in words, that others are compared with.

    Without one the first in the alphabet is it, as in R.
    """
    changed = {}
    for name, known in levels.items():
        reference = reference_of(known)
        if reference is not None and name in complete:
            # A reference that nobody has stays the first category: its column is the one that is
            # dropped, and the others keep their meaning (and are then collinear with the intercept,
            # which is said).
            present = sorted(set(complete[name].dropna()) - {reference})
            changed[name] = pd.Categorical(complete[name], categories=[reference, *present])
    return complete.assign(**changed)


def _check_columns(formula: Formula, complete: pd.DataFrame) -> None:
    """See that functions get numbers, and that the design has a size that can be fitted.

    A number times a word would be the word repeated, until memory is full.
    """
    n_levels = {}
    for part in formula.factors:
        words = [name for name in part.variables if holds_words(complete[name])]
        if words and part.needs_numbers:
            raise UsageError(
                f"Formula '{formula.text}': '{part.text}' needs numbers; {words[0]} holds words."
            )
        if words or is_counted(part):
            # Full dummy coding, one column more than there will be: the bound has to hold without
            # an intercept, too.
            n_levels[part.text] = max(int(complete[part.variables[0]].nunique()), 1)
    formulas.check_size(formula, n_levels)


def holds_words(column: pd.Series[Any]) -> bool:
    """Return whether a column has values that are not numbers."""
    return not pd.api.types.is_numeric_dtype(column) and bool(column.notna().any())


def is_counted(part: Factor) -> bool:
    """Return whether a factor has a column for each level although it may hold numbers: C(x)."""
    # 0 columns is also the mark of a plain variable, whose text is its own name.
    return part.n_columns == 0 and part.text not in part.variables


def _matrices(formula: Formula, complete: pd.DataFrame) -> Matrices:
    rows = complete.index
    # formulaic joins its parts by index, and an index of the cohort's table has gaps.
    values = complete[list(formula.variables)].reset_index(drop=True)
    n_lost = 0
    while True:
        outcome, predictors, terms = _evaluate(formula, values)
        # An outcome of words becomes a column for each level.
        if outcome.shape[1] != 1:
            raise UsageError(
                f"Formula '{formula.text}': the outcome must be one column of numbers."
            )
        if predictors.shape[1] == 0:
            raise UsageError(f"Formula '{formula.text}': no predictor is left.")
        finite = np.isfinite(outcome.to_numpy(dtype=float)).all(axis=1)
        finite &= np.isfinite(predictors.to_numpy(dtype=float)).all(axis=1)
        if finite.all():
            return outcome, predictors, terms, rows, n_lost
        # Bases such as splines depend on all rows, so they are made again without the lost ones.
        n_lost += int((~finite).sum())
        rows = rows[finite]
        values = values[finite].reset_index(drop=True)


CANNOT = (FormulaicError, ValueError, np.linalg.LinAlgError)
"""What evaluating a checked formula may raise: the library wraps what a function of a factor
raises, and lets pass what coding its columns does (knots of two values, say)."""

HIDDEN: dict[str, None] = dict.fromkeys(dir(builtins))
"""What a formula sees in place of Python's own functions: nothing.

The checked tree names none of them. Should a change ever let one through, it is not there.
"""


def _evaluate(
    formula: Formula, values: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]]]:
    if values.empty:
        return _empty(formula)
    if all(part.text in part.variables and is_plain(values[part.text]) for part in formula.factors):
        return _products(formula, values)
    try:
        # log(0) and sqrt(-1) are not errors here: the rows are found by isfinite and counted.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # na_action: no value is missing any more. "drop" would also drop rows that a transform
            # has made NaN, and nobody would count them.
            made = formulaic.model_matrix(
                formula.text, values, context=HIDDEN, na_action="ignore", output="pandas"
            )
    except CANNOT as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"Formula '{formula.text}': cannot be evaluated ({shown(reason)})."
        ) from error
    indices = made.rhs.model_spec.term_indices
    terms = {str(term): tuple(columns) for term, columns in indices.items()}
    return made.lhs, made.rhs, terms


def is_plain(column: pd.Series[Any]) -> bool:
    """Return whether a variable is a column of the design as it is: a number, no word, no yes."""
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"


@functools.lru_cache(maxsize=512)
def _library_terms(text: str) -> tuple[formulaic.parser.types.Term, ...]:
    """Return the terms of the predictors in the library's order, the intercept as ``1``."""
    return tuple(formulaic.Formula(text).rhs)


def _products(
    formula: Formula, values: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]]]:
    """Return the columns of a formula of plain numbers, each a product of variables.

    The same numbers and names as the library's, which takes eight milliseconds a model: a page
    with fifty regions has five hundred models.
    """
    columns = {}
    for term in _library_terms(formula.text):
        parts = [values[factor.expr] for factor in term.factors if factor.expr != "1"]
        name = str(term) if parts else INTERCEPT
        columns[name] = functools.reduce(operator.mul, parts, np.ones(len(values)))
    outcome = formula.outcome.text
    terms: dict[str, tuple[int, ...]] = {
        "1" if name == INTERCEPT else name: (place,) for place, name in enumerate(columns)
    }
    return values[[outcome]], pd.DataFrame(columns, index=values.index), terms


def _empty(formula: Formula) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, tuple[int, ...]]]:
    """Return the terms of a formula for which there is no row to evaluate."""
    parsed = formulaic.Formula(formulas.printed(formula.predictors))
    names = [INTERCEPT if str(term) == "1" else str(term) for term in parsed]
    terms: dict[str, tuple[int, ...]] = {name: (place,) for place, name in enumerate(names)}
    return (
        pd.DataFrame(columns=[formula.outcome.text], dtype=float),
        pd.DataFrame(columns=names, dtype=float),
        terms,
    )
