"""Whether an association may run through a third variable: the product of two coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bids_qsmthal.statistics import design, formulas, harmonised_draws
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.harmonised_draws import Drawn, Redrawn
from bids_qsmthal.statistics.levels import Vocabulary, word_of
from bids_qsmthal.statistics.resampling import Resampling

COLUMNS = [
    "model", "path", "coefficient", "ci_low", "ci_high", "n", "cause", "mediator", "outcome",
    "covariates", "note",
]  # fmt: skip

PATHS = (
    "cause to mediator (a)",
    "mediator to outcome (b)",
    "direct (c')",
    "indirect (a b)",
    "total (c)",
)

NO_INTERVAL = "no interval: harmonised values of one participant depend on all others"

MOST_FAILED = 0.1
"""Share of draws without a solution from which on there is no interval."""

FAILED_DRAWS = "no interval: more than one draw of participants in ten has no solution"

CAUTION = (
    "a mediated effect is shown only if the arrows are right and nothing "
    "unmeasured moves mediator and outcome together, which no regression can tell"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mediation:
    """Cause, mediator and outcome, each a variable or a transform of one."""

    name: str
    cause: str
    mediator: str
    outcome: str
    covariates: tuple[str, ...] = ()
    levels: Vocabulary = field(default_factory=dict)
    """The words for the values of its variables, which say what others are compared with."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that is needed."""
        return formulas.variables(self._formula)

    @property
    def _formula(self) -> str:
        return f"{self.outcome} ~ {' + '.join([self.mediator, self.cause, *self.covariates])}"

    def design(self, frame: pd.DataFrame) -> design.Design:
        """Return outcome, and predictors in the order mediator, cause, covariates."""
        return design.build(self._formula, frame, levels=self.levels)


def fit(
    path: Mediation,
    frame: pd.DataFrame,
    how: Resampling,
    *,
    harmonised: bool = False,
    redrawn: Redrawn | None = None,
) -> pd.DataFrame:
    """Return one row a path, with bootstrap intervals; total = direct + indirect exactly.

    Where a variable was harmonised its values depend on all participants: intervals need the
    cohort drawn again and harmonised anew (``redrawn``), and are missing without.

    References
    ----------
    Preacher & Hayes (2008). Behav Res Methods 40(3), 879-891. doi:10.3758/BRM.40.3.879
    """
    made = path.design(frame)
    n_columns = len(made.names)
    try:
        mediator, cause = (_column(made, term) for term in (path.mediator, path.cause))
    except NoPathError as error:
        return not_fitted(path, str(error))
    # A mediator is an outcome, too (of the path a), and words are no outcome of a linear model.
    if design.holds_words(frame[formulas.factor(path.mediator).variables[0]]):
        return not_fitted(path, f"'{path.mediator}' holds words: a mediator must be a number")
    kept, aliased = design.independent_columns(made.predictors)
    # Two residual degrees of freedom at least; a draw of rows has fewer different people still.
    if made.n < n_columns + 2 or aliased:
        named = ", ".join(made.names[column] for column in aliased)
        few = f"too few participants: {made.n} for {n_columns} coefficients"
        return not_fitted(path, f"collinear or constant: {named}" if aliased and kept else few)
    estimates = _paths(made.outcome, made.predictors, mediator, cause)
    table = pd.DataFrame({"path": PATHS, "coefficient": estimates, "n": made.n})
    remark = f"{_compared(path, made, cause, frame)}{CAUTION}"
    if harmonised and redrawn is None:
        return _named(table, path, f"{NO_INTERVAL}; {remark}")
    if redrawn is None:
        drawn = _drawn(made, mediator, cause, how)
    else:
        drawn = _harmonised_anew(path, frame, made.names, (mediator, cause), redrawn.bootstrap)
    low, high = _interval(drawn)
    note = "percentile bootstrap" if np.isfinite(low).all() else FAILED_DRAWS
    return _named(table.assign(ci_low=low, ci_high=high), path, f"{note}; {remark}")


def _compared(path: Mediation, made: design.Design, cause: int, frame: pd.DataFrame) -> str:
    """Return which of two levels of the cause is compared with which; nothing for numbers."""
    part = formulas.factor(path.cause)
    variable = part.variables[0]
    if not (design.is_counted(part) or design.holds_words(frame[variable])):
        return ""
    words = path.levels.get(variable, {})
    # The column is 1 for the level that is compared, and 0 for the other one.
    compared = made.predictors[:, cause] == 1
    values = frame.loc[made.rows, variable].to_numpy()
    one, other = (word_of(values[rows][0], words) for rows in (compared, ~compared))
    return f"{variable}: {one} compared with {other}; "


def _drawn(made: design.Design, mediator: int, cause: int, how: Resampling) -> Floats:
    """Return each path in draws of participants, NaN where it has no solution."""
    rng = np.random.default_rng(how.seed)
    drawn = np.full((how.bootstraps(made.n), len(PATHS)), np.nan)
    for draw in range(len(drawn)):
        # Whole participants: a and b are of the same draw, which keeps their covariance.
        rows = rng.integers(0, made.n, made.n)
        if len(design.independent_columns(made.predictors[rows])[1]) == 0:
            drawn[draw] = _paths(made.outcome[rows], made.predictors[rows], mediator, cause)
    return drawn


def _harmonised_anew(
    path: Mediation,
    frame: pd.DataFrame,
    names: tuple[str, ...],
    columns: tuple[int, int],
    cohorts: Drawn,
) -> Floats:
    """Return each path in cohorts that were drawn and then harmonised."""
    drawn = np.full((cohorts.n, len(PATHS)), np.nan)
    table, which = cohorts.table(frame, path.variables)
    for place, made, rows in harmonised_draws.designs(path.design, table, which):
        x = made.predictors[rows]
        if made.names == names and not design.independent_columns(x)[1]:
            drawn[place] = _paths(made.outcome[rows], x, *columns)
    return drawn


def _interval(drawn: Floats) -> Floats:
    """Return the percentiles of each path over draws of participants."""
    # As for BCa intervals: draws fail where a level is rare, and the rest would be a biased sample.
    if np.isnan(drawn[:, 0]).mean() > MOST_FAILED:
        return np.full((2, len(PATHS)), np.nan)
    # Percentiles, not a normal interval: a product of two normal estimates is skewed
    # (MacKinnon, Lockwood & Williams 2004, doi:10.1207/s15327906mbr3901_4).
    limits: Floats = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return limits


class NoPathError(Exception):
    """A term that cannot be a step of a path."""


def _column(made: design.Design, term: str) -> int:
    """Return the one column of a term, however it is spelled."""
    text = formulas.factor(term).text
    columns = made.terms[text]
    if len(columns) != 1:
        raise NoPathError(f"'{text}' makes {len(columns)} columns: a path needs a single one")
    return columns[0]


def not_fitted(path: Mediation, reason: str) -> pd.DataFrame:
    """Return the row of a mediation that was not fitted, with the reason."""
    return _named(pd.DataFrame({"path": ["indirect (a b)"]}), path, reason)


def _paths(outcome: Floats, predictors: Floats, mediator: int, cause: int) -> Floats:
    """Return the coefficients of the five paths."""
    without = np.delete(predictors, mediator, axis=1)
    # Columns behind the mediator have moved up by one.
    place = cause - (cause > mediator)
    # In one sample total = direct + indirect holds to rounding for least squares only.
    whole = np.linalg.lstsq(predictors, outcome, rcond=None)[0]
    a = np.linalg.lstsq(without, predictors[:, mediator], rcond=None)[0][place]
    total = np.linalg.lstsq(without, outcome, rcond=None)[0][place]
    b, direct = whole[mediator], whole[cause]
    return np.array([a, b, direct, a * b, total])


def _named(table: pd.DataFrame, path: Mediation, note: str) -> pd.DataFrame:
    return table.assign(
        model=path.name,
        cause=path.cause,
        mediator=path.mediator,
        outcome=path.outcome,
        covariates=" + ".join(path.covariates),
        note=note,
    ).reindex(columns=COLUMNS)
