"""Cohorts drawn again, each brought to one scale across sites anew.

A harmonised value depends on everybody else, so it cannot be drawn as if it stood alone: ComBat is
a step of the estimate, and the spread that it adds is seen only where each draw goes through it
(Davison & Hinkley 1997, Bootstrap methods and their application, 2.1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import design, expressions, formulas, harmonisation, regression
from bids_qsmthal.statistics.design import Design
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.regression import Fit, Model
from bids_qsmthal.statistics.resampling import LeaveOneOut, Resampling

KEY = ["participant_id", "session_id"]

MOST_DRAWS = 1000
"""Each takes 9 ms a measure; the ends of BCa intervals need a thousand (Efron & Tibshirani 1993,
doi:10.1201/9780429246593, 14.3)."""

MOST_PARTICIPANTS = 2000
"""Beyond it the draws would take minutes, and a normal approximation is as good."""

Integers = NDArray[np.int_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drawn:
    """Harmonised cohorts, one below the other."""

    n: int
    """How many were drawn; one that could not be harmonised has no rows."""

    which: Integers
    """The cohort of each row, in rising order."""

    labels: pd.Index
    """The row of the analysed table that each row is."""

    values: pd.DataFrame
    """The harmonised variables of each row."""

    def table(self, frame: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, Integers]:
        """Return some variables of the rows that a table has, and the cohort of each."""
        there = self.labels.isin(frame.index)
        rows = frame.loc[self.labels[there], list(names)].reset_index(drop=True)
        own = {
            name: self.values.loc[there, name].to_numpy() for name in names if name in self.values
        }
        return rows.assign(**own), self.which[there]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Redrawn:
    """A cohort drawn again in the two ways that intervals need."""

    bootstrap: Drawn
    """Whole participants, with replacement, within each site."""

    without_each: Drawn
    """Without each participant in turn, in the order of the analysed table."""

    measured: pd.DataFrame
    """What was harmonised, as it was measured: one row a participant and session."""

    how: Harmonisation


def redrawn(
    measured: pd.DataFrame, how: Harmonisation, frame: pd.DataFrame, resampling: Resampling
) -> Redrawn | None:
    """Return the cohort drawn again and harmonised; nothing where it is too large for that.

    Parameters
    ----------
    measured
        What was harmonised, as it was measured: one row a participant and session.
    how
        Only the variables that are asked for need be in it, unless measures share a prior.
    frame
        The analysed table: one row a participant, of the session that was chosen.
    """
    if len(frame) > MOST_PARTICIPANTS:
        return None
    sessions = measured.groupby(KEY[0], sort=False).indices
    rng = np.random.default_rng(resampling.seed)
    strata = _by_site(measured, how)
    draws = [
        np.concatenate([rng.choice(people, len(people)) for people in strata])
        for _ in range(min(MOST_DRAWS, resampling.bootstraps(len(frame))))
    ]
    everybody = np.concatenate(strata)
    without = [everybody[everybody != who] for who in frame[KEY[0]]]
    analysed = pd.Series(frame.index, pd.MultiIndex.from_frame(frame[KEY]))
    labels = analysed.reindex(pd.MultiIndex.from_frame(measured[KEY]))

    def harmonised(cohorts: Sequence[NDArray[Any]]) -> Drawn:
        rows = [np.concatenate([sessions[who] for who in cohort]) for cohort in cohorts]
        return _harmonised(measured, how, labels, rows)

    return Redrawn(
        bootstrap=harmonised(draws), without_each=harmonised(without), measured=measured, how=how
    )


def _by_site(measured: pd.DataFrame, how: Harmonisation) -> list[NDArray[Any]]:
    """Return the participants of each site, those without one by themselves."""
    # Sites keep their sizes: a draw by chance alone would leave small ones with nobody.
    first = measured.drop_duplicates(KEY[0])
    return [
        people.to_numpy(dtype=object)
        for _, people in first[KEY[0]].groupby(first[how.site], dropna=False)
    ]


def _harmonised(
    measured: pd.DataFrame, how: Harmonisation, labels: pd.Series[Any], cohorts: Sequence[Integers]
) -> Drawn:
    """Return cohorts of rows, each brought to one scale."""
    which, kept, values = [], [], []
    for place, rows in enumerate(cohorts):
        drawn = measured.iloc[rows].reset_index(drop=True)
        try:
            made = harmonisation.values(drawn, how)
        except UsageError:
            # Too few different people of a site were drawn: this draw has no estimate.
            continue
        # Sessions that were not chosen have served their purpose.
        chosen = labels.iloc[rows].notna().to_numpy()
        values.append(made[chosen])
        kept.append(labels.iloc[rows][chosen].to_numpy(dtype=int))
        which.append(np.full(int(chosen.sum()), place))
    if not values:
        nobody = np.empty(0, dtype=int)
        return Drawn(n=len(cohorts), which=nobody, labels=pd.Index(nobody),
                     values=pd.DataFrame(columns=list(how.variables), dtype=float))  # fmt: skip
    return Drawn(
        n=len(cohorts),
        which=np.concatenate(which),
        labels=pd.Index(np.concatenate(kept)),
        values=pd.concat(values, ignore_index=True),
    )


def designs(
    build: Callable[[pd.DataFrame], Design], table: pd.DataFrame, which: Integers
) -> Iterator[tuple[int, Design, slice]]:
    """Yield each cohort with the design of all of them, and the rows of it that are its own.

    One design for all: knots of splines and means of ``center`` are those of all cohorts together,
    which takes a thousandth of the time and leaves every slope as it is.
    """
    made = build(table)
    own = which[made.rows.to_numpy(dtype=int)]
    bounds = np.searchsorted(own, np.unique(own), side="left").tolist()
    for start, stop in itertools.pairwise([*bounds, len(own)]):
        yield int(own[start]), made, slice(start, stop)


def refitted(main: Fit, term: str, frame: pd.DataFrame, drawn: Drawn) -> LeaveOneOut:
    """Return a coefficient of a model and its p in each cohort, NaN where it has none."""
    model = main.model
    table, which = drawn.table(frame, _needed(model))
    found = LeaveOneOut(np.full(drawn.n, np.nan), np.full(drawn.n, np.nan))
    if len(table) == 0 or main.design is None:
        return found
    one_by_one = _least_squares(main, term, table, which)
    if (model.family, model.method, model.random) not in LINEAR:
        one_by_one = _whole_models(model, term, table, which)
    for place, coefficient, p in one_by_one:
        found.coefficients[place], found.p[place] = coefficient, p
    return found


def why_no_permutation(main: Fit, redrawn: Redrawn) -> str:
    """Return why a model of a harmonised outcome cannot be permuted, or nothing."""
    model, how = main.model, redrawn.how
    outcome = formulas.parse(model.formula).outcome
    if set(outcome.variables) & set(how.keep):
        return "not given: the outcome is kept in the harmonisation of its own predictors"
    if (model.family, model.method, model.random) not in LINEAR or outcome.variables != (
        outcome.text,
    ):
        return "not given: for a linear model of the harmonised values as they are"
    if redrawn.measured[KEY[0]].duplicated().any():
        return "not given: several sessions of one participant were harmonised together"
    return ""


def permutation_p(
    main: Fit, term: str, frame: pd.DataFrame, redrawn: Redrawn, resampling: Resampling
) -> tuple[float, int]:
    """Return the two-sided p of a coefficient for a harmonised outcome, and of how many draws.

    Under the null hypothesis the values as they were *measured* are a shift of their site, what the
    other terms explain, and residuals that can change places within a site, whose spread is its
    own. Each exchange gives measured values again, which are harmonised and fitted anew.

    References
    ----------
    Freedman & Lane (1983). J Bus Econ Stat 1(4), 292-298. doi:10.1080/07350015.1983.10509354
    Winkler et al. (2015). NeuroImage 123, 253-268. doi:10.1016/j.neuroimage.2015.05.092
    """
    made, measured, how = main.design, redrawn.measured, redrawn.how
    assert made is not None  # noqa: S101 - the caller has checked
    (name,) = formulas.parse(main.model.formula).outcome.variables
    kept, _ = regression.independent(main.model, made)
    x = made.predictors[:, kept]
    column = kept.index(made.names.index(term))
    people = measured[KEY[0]].reset_index(drop=True)
    rows = pd.Index(people).get_indexer(frame.loc[made.rows, KEY[0]])
    raw = measured[name].to_numpy(dtype=float)
    site = measured[how.site].astype(str).to_numpy()[rows]
    null = np.column_stack([np.delete(x, column, axis=1), pd.get_dummies(site)]).astype(float)
    fitted = null @ np.linalg.lstsq(null, raw[rows], rcond=None)[0]
    residuals = raw[rows] - fitted
    # One measure alone is the same whatever the others are; with a shared prior all go together.
    alone = len(how.variables) < harmonisation.FEWEST_FOR_SHRINKAGE
    wanted = replace(how, variables=(name,)) if alone else how
    robust = main.model.method == "hc3"

    def statistic(values: design.Floats) -> float:
        changed = raw.copy()
        changed[rows] = values
        table = measured.reset_index(drop=True).assign(**{name: changed})
        outcome = harmonisation.values(table, wanted)[name].to_numpy(dtype=float)[rows]
        fit = regression.least_squares(outcome, x, robust=robust)
        return float(abs(fit.params[column]) / np.sqrt(fit.covariance[column, column]))

    rng = np.random.default_rng(resampling.seed)
    observed, n = statistic(raw[rows]), min(MOST_DRAWS, resampling.permutations(len(frame)))
    beyond = 0
    for _ in range(n):
        drawn = statistic(fitted + residuals[_exchanged(site, rng)])
        beyond += drawn >= observed * (1 - 1e-9)  # ties by rounding count as beyond
    return (beyond + 1) / (n + 1), n


def _exchanged(site: NDArray[Any], rng: np.random.Generator) -> Integers:
    """Return who takes the place of each, within sites."""
    places = np.arange(len(site))
    for one in np.unique(site):
        own = np.flatnonzero(site == one)
        places[own] = rng.permutation(own)
    return places


def _needed(model: Model) -> list[str]:
    """Return the variables of a model and of its filter."""
    beside = [name for name in (model.exposure, model.random) if name]
    filtered = expressions.filter_variables(model.filter)
    return list(dict.fromkeys([*formulas.variables(model.formula), *filtered, *beside]))


def _least_squares(
    main: Fit, term: str, table: pd.DataFrame, which: Integers
) -> Iterator[tuple[int, float, float]]:
    """Yield place, coefficient and p of each cohort for a linear model."""
    model = main.model
    assert main.design is not None  # noqa: S101 - the caller has checked
    kept, _ = regression.independent(model, main.design)
    wanted = [main.design.names[column] for column in kept]
    column = wanted.index(term)

    def build(rows: pd.DataFrame) -> Design:
        return design.build(model.formula, rows, filter=model.filter, levels=model.levels)

    for place, made, rows in designs(build, table, which):
        columns = [made.names.index(name) for name in wanted if name in made.names]
        x = made.predictors[rows][:, columns]
        # A level that was not drawn, or nobody to spare: no estimate.
        if len(columns) < len(wanted) or len(x) <= len(wanted) or design.independent_columns(x)[1]:
            continue
        fit = regression.least_squares(made.outcome[rows], x, robust=False)
        t = fit.params[column] / np.sqrt(fit.covariance[column, column])
        p = 2 * stats.t.sf(abs(t), fit.df_residual) if model.method == "ols" else np.nan
        yield place, float(fit.params[column]), float(p)


def _whole_models(
    model: Model, term: str, table: pd.DataFrame, which: Integers
) -> Iterator[tuple[int, float, float]]:
    """Yield place, coefficient and p of each cohort for a model of any family."""
    for place in np.unique(which).tolist():
        try:
            row = regression.fit(model, table[which == place].reset_index(drop=True)).row(term)
        except UsageError:
            # The formula cannot be evaluated for these people (splines of three values, say).
            continue
        yield place, float(row["coefficient"]), float(row["p"])


LINEAR = (("gaussian", "ols", ""), ("gaussian", "hc3", ""))
"""Family, method and intercepts of sites of models that least squares fit."""
