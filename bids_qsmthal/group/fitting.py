"""All models of an analysis on one cohort."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_qsmthal.group import (
    acquisitions,
    alternatives,
    flow,
    groups,
    head_size,
    measures,
    progress,
    site,
    visit_changes,
)
from bids_qsmthal.group.assembly import Cohort, measure_column
from bids_qsmthal.group.concerns import Concern, Kind
from bids_qsmthal.group.flow import Line
from bids_qsmthal.group.progress import GroupStage
from bids_qsmthal.group.reasons import shortened
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import (
    diagnostics,
    evidence,
    expressions,
    formulas,
    harmonised_draws,
    imputation,
    longitudinal,
    mediation,
    meta_regression,
    normality,
    power,
    published,
    regression,
    reliable_change,
    sensitivity,
    tables,
)
from bids_qsmthal.statistics.analysis import (
    Alternative,
    Analysis,
    Sensitivity,
    Variable,
    model_variables,
)
from bids_qsmthal.statistics.harmonisation import FEWEST_FOR_SHRINKAGE, SUFFIX
from bids_qsmthal.statistics.harmonised_draws import Redrawn
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.regression import Fit, Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Specification

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Results:
    """Every table of the group level."""

    analysed: pd.DataFrame
    """One row a participant of the groups that the models are about."""

    fits: Mapping[str, Fit]
    models: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    cohort: pd.DataFrame
    normality: pd.DataFrame
    power: pd.DataFrame
    flow: tuple[Line, ...]
    """From the dataset to the participants, then each model."""

    diagnostics: pd.DataFrame
    sensitivity: pd.DataFrame
    longitudinal: pd.DataFrame
    reliable_change: pd.DataFrame
    """The change of each participant with an index; empty without models of all sessions."""

    change: pd.DataFrame
    """Models of change between visits; empty where not asked for."""

    annual_change: pd.DataFrame
    """Mean change between visits in a year; empty where no visits were compared."""

    each_change: pd.DataFrame
    """The same change of each participant."""

    mediation: pd.DataFrame
    sites: pd.DataFrame
    """The coefficients of the tables at each site and together; empty where not asked for."""

    imputation: pd.DataFrame
    """The coefficients of the tables with missing values filled; empty where not asked for."""

    evidence: pd.DataFrame
    """Effect sizes, equivalence tests and Bayes factors of every cell of the tables."""

    published: pd.DataFrame
    """Published values beside those found here."""

    concerns: tuple[Concern, ...]
    """Who is lost by a formula that cannot take a value."""


def fit_all(analysis: Analysis, cohort: Cohort, how: Resampling) -> Results:
    """Return every model, table and summary an analysis asks for."""
    by_site = groups.applied(analysis, cohort)
    analysis = site.applied(by_site, cohort)
    # Of tables and tests that have no filter of their own.
    analysed = groups.analysed(analysis, cohort, cohort.frame)
    fits = _fits(analysis, cohort)
    who = cohort.frame["participant_id"]
    repeated = _longitudinal(analysis, cohort)
    here = cohort.changes["participant_id"].isin(analysed["participant_id"])
    each_change = visit_changes.of_each(cohort.changes[here])
    redrawn = _redrawn(analysis, cohort, fits, how)
    examined = [diagnostics.examine(fit, who) for fit in fits.values()]
    return Results(
        fits=fits,
        models=pd.concat([fit.coefficients for fit in fits.values()], ignore_index=True),
        tables={table.name: tables.numbers(table, fits) for table in analysis.tables},
        analysed=analysed,
        cohort=_summary(analysis, analysed),
        normality=_normality(analysis, analysed),
        power=power.table(
            {name: (_n(fit), _n_covariates(fit)) for name, fit in fits.items() if fit.design}
        ),
        flow=(*cohort.flow, *flow.of_models(fits, cohort.frame)),
        # Also of models without a fit: their row says why there is nothing to examine.
        diagnostics=pd.DataFrame(examined, columns=diagnostics.COLUMNS),
        sensitivity=_sensitivity(analysis, cohort, fits, how, redrawn),
        longitudinal=repeated,
        reliable_change=_reliable_change(analysis, cohort, repeated),
        change=_change(analysis, cohort),
        annual_change=visit_changes.table(each_change),
        each_change=each_change,
        mediation=_mediation(analysis, cohort, analysed, how, redrawn),
        sites=site.forests(by_site, cohort, cohort.frame),
        imputation=_imputation(analysis, cohort, analysed, fits, how.seed),
        evidence=evidence.weigh(
            analysis.tables,
            fits,
            analysis.evidence,
            {name: variable.unit for name, variable in analysis.variables.items()},
        ),
        published=published.compare(analysis.published, fits),
        concerns=_not_finite(fits, cohort),
    )


def _not_finite(fits: Mapping[str, Fit], cohort: Cohort) -> tuple[Concern, ...]:
    """Return who cannot be in models because of their formula, one entry an outcome."""
    models: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, fit in fits.items():
        lost = flow.not_finite(fit, cohort.frame)
        if lost and fit.design:
            models.setdefault((fit.design.outcome_name, lost), []).append(name)
    concerns = tuple(
        Concern(Kind.NOT_FINITE, (outcome, shortened(lost), ", ".join(names)))
        for (outcome, lost), names in models.items()
    )
    for concern in concerns:
        log.warning("%s", concern.text)
    return concerns


def _fits(analysis: Analysis, cohort: Cohort) -> dict[str, Fit]:
    fits: dict[str, Fit] = {}
    for model in analysis.models:
        # A variable without source is all NaN: the fit would say "nobody", but not that a column is
        # missing. A grouped model without its groups would have no part at all, and no row.
        reason = _absence_text((*model_variables(model), *model.group_by), cohort)
        if reason:
            fits[model.name] = regression.not_fitted(model, reason)
            continue
        for part in regression.grouped(model, cohort.frame):
            fits[part.name] = regression.fit(part, cohort.frame)
    return fits | _without_people(analysis, fits)


def _without_people(analysis: Analysis, fits: Mapping[str, Fit]) -> dict[str, Fit]:
    """Return the parts of grouped models that a table shows and nobody is in."""
    shown = {
        name
        for table in analysis.tables
        for row in table.rows
        for name in (row.unadjusted, row.adjusted)
        if name and name not in fits
    }
    return {
        name: regression.not_fitted(
            replace(model, name=name, group_by=()), "nobody is in this group"
        )
        for name in sorted(shown)
        for model in analysis.models
        if name.startswith(f"{model.name}[")
    }


def _redrawn(
    analysis: Analysis, cohort: Cohort, fits: Mapping[str, Fit], how: Resampling
) -> Redrawn | None:
    """Return the cohort drawn again and harmonised anew, where an interval needs it."""
    asked = [path.variables for path in analysis.mediation]
    if analysis.sensitivity:
        rows = [row for table in analysis.tables for row in table.rows]
        asked += [model_variables(fits[row.adjusted or row.unadjusted].model) for row in rows]
    names = {name for variables in asked for name in variables}
    wanted = analysis.harmonisation
    if wanted is None or not _are_harmonised(sorted(names), analysis, cohort):
        return None
    # Measures that share a prior are harmonised together, asked for or not.
    if len(wanted.variables) < FEWEST_FOR_SHRINKAGE:
        wanted = replace(wanted, variables=tuple(v for v in wanted.variables if v in names))
    log.info("Participants are resampled and harmonised again, for intervals.")
    return harmonised_draws.redrawn(cohort.measured, wanted, cohort.frame, how)


def _sensitivity(
    analysis: Analysis,
    cohort: Cohort,
    fits: Mapping[str, Fit],
    how: Resampling,
    redrawn: Redrawn | None,
) -> pd.DataFrame:
    """Return the adjusted coefficient of every line of every table under other choices."""
    if analysis.sensitivity is None:
        return pd.DataFrame(columns=sensitivity.COLUMNS)
    # The parts of grouped models, not the models of the file: a table names a part.
    models = {name: fit.model for name, fit in fits.items()}
    questions = [
        _question(row, models, analysis, cohort) for table in analysis.tables for row in table.rows
    ]
    # Specifications would repeat the same reason for each; models.tsv has it once.
    possible = [
        question
        for question in questions
        if not set(model_variables(question.adjusted)) & set(cohort.absent)
    ]
    progress.begin(GroupStage.CHOICES)
    frame = cohort.frame.join(cohort.kinds_of_scans, on=["participant_id", "session_id"])
    specifications = [
        *_specifications(analysis, analysis.sensitivity, cohort),
        *(acquisitions.specifications(frame) if len(cohort.kinds_of_scans) else ()),
    ]
    head = analysis.sensitivity.head_size
    if head and not {head.variable, *head.outcomes} & set(cohort.absent):
        analysed = groups.analysed(analysis, cohort, frame).index
        frame = frame.join(head_size.columns(frame, head, analysed))
    return sensitivity.explore(possible, frame, specifications, how, redrawn)


def _question(
    row: tables.Row, models: Mapping[str, Model], analysis: Analysis, cohort: Cohort
) -> sensitivity.Question:
    adjusted = models[row.adjusted or row.unadjusted]
    wanted = analysis.sensitivity or Sensitivity()
    noise = ""
    if row.term in wanted.noise:
        noise = measure_column(wanted.noise[row.term], cohort.catalogue)
    outcome = formulas.parse(adjusted.formula).outcome.variables[0]
    return sensitivity.Question(
        adjusted=adjusted,
        term=row.term,
        unadjusted=models[row.unadjusted] if row.adjusted and row.unadjusted else None,
        harmonised=_are_harmonised(model_variables(adjusted), analysis, cohort),
        noise=noise if noise in cohort.frame else "",
        zero_add=wanted.zero_add.get(outcome, float("nan")),
    )


def _specifications(analysis: Analysis, wanted: Sensitivity, cohort: Cohort) -> list[Specification]:
    made = [
        Specification(name=name, kind="sample", filter=text)
        for name, text in wanted.filters.items()
        if not set(expressions.filter_variables(text)) & set(cohort.absent)
    ]
    made += [
        Specification(name=name, kind="term", terms=terms) for name, terms in wanted.terms.items()
    ]
    made += [
        Specification(name=name, kind="term", added=added, absent=_absence_text(added, cohort))
        for name, added in wanted.covariates.items()
    ]
    if wanted.head_size:
        head = wanted.head_size
        absent = _absence_text((head.variable, *head.outcomes), cohort)
        made += head_size.specifications(head, absent)
    for alternative in wanted.measures:
        own = analysis.variables[alternative.replaces].region
        made += _alternatives(alternative, own, cohort)
    return made


def _alternatives(alternative: Alternative, own: str, cohort: Cohort) -> list[Specification]:
    """Return a specification for a measure, or one for every region that has it.

    ``own`` is the region of the variable that is replaced.
    """
    column = measure_column(alternative.variable, cohort.catalogue)
    named = alternatives.named_columns(alternative, column, cohort.catalogue, own)
    return [
        Specification(
            name=name,
            kind="region" if own and alternative.variable.region != own else "measure",
            columns={alternative.replaces: _comparable(source, cohort)},
            absent="" if source in cohort.frame else f"no participant has the measure {source}",
        )
        for name, source in named.items()
    ]


def _comparable(column: str, cohort: Cohort) -> str:
    """Return a measure's column after harmonisation, where the variable it replaces has one."""
    harmonised = f"{column}{SUFFIX}"
    return harmonised if harmonised in cohort.frame else column


def _are_harmonised(names: Sequence[str], analysis: Analysis, cohort: Cohort) -> bool:
    """Return whether any of some variables was brought to one scale across sites."""
    if analysis.harmonisation is None or cohort.harmonised["site"].nunique() < 2:
        return False
    return bool(set(names) & set(analysis.harmonisation.variables))


def _longitudinal(analysis: Analysis, cohort: Cohort) -> pd.DataFrame:
    parts = []
    for model in analysis.longitudinal:
        reason = _absence_text(model.variables, cohort) or _of_person(analysis, model)
        if reason:
            parts.append(longitudinal.not_fitted(model, reason))
        else:
            # All sessions, not the chosen one of each participant.
            parts.append(longitudinal.fit(model, cohort.sessions))
    columns = longitudinal.COLUMNS
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _of_person(analysis: Analysis, model: MixedModel) -> str:
    """Return that the outcome of a model of sessions is the same at each of them, or nothing."""
    outcome = formulas.parse(model.formula).outcome.variables[0]
    variable = analysis.variables.get(outcome)
    if variable is None or not visit_changes.is_of_person(variable):
        return ""
    return f"{outcome} is one number per participant, not one per session: use Change"


def _change(analysis: Analysis, cohort: Cohort) -> pd.DataFrame:
    parts = []
    for model in analysis.change:
        reason = _absence_text(model.variables, cohort)
        if reason:
            parts.append(meta_regression.not_fitted(model, reason))
        else:
            errors = _errors_of(analysis.variables[model.outcome], cohort)
            parts.append(meta_regression.fit(model, cohort.frame, errors))
    columns = meta_regression.COLUMNS
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _errors_of(variable: Variable, cohort: Cohort) -> pd.Series[float]:
    """Return the standard error of each participant's value; NaN where it is not known."""
    wanted = visit_changes.error_of(variable)
    column = measure_column(wanted, cohort.catalogue)
    if column not in cohort.frame:
        return pd.Series(np.nan, index=cohort.frame.index)
    unit = cohort.catalogue[column].unit
    return measures.convert(cohort.frame[column], unit, wanted.unit, f"measure {column}")


def _reliable_change(analysis: Analysis, cohort: Cohort, fitted: pd.DataFrame) -> pd.DataFrame:
    """Return who changed beyond the scatter of their sessions, for each model of all sessions."""
    empty = pd.DataFrame(columns=reliable_change.COLUMNS)
    parts = [
        reliable_change.of_everyone(model, fitted[fitted["model"] == model.name], cohort.sessions)
        for model in analysis.longitudinal
        # Its row says why there is no fit; a design of absent variables cannot be made.
        if not set(model.variables) & set(cohort.absent) and not _of_person(analysis, model)
    ]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else empty


def _imputation(
    analysis: Analysis,
    cohort: Cohort,
    analysed: pd.DataFrame,
    fits: Mapping[str, Fit],
    seed: int,
) -> pd.DataFrame:
    """Return the coefficients of the tables with missing values filled, where that is asked for."""
    how = analysis.imputation
    rows = [row for table in analysis.tables for row in table.rows]
    questions = [
        (fits[name], row.term)
        for row in rows
        for name in (row.unadjusted, row.adjusted)
        # What has no source for anybody cannot be filled; models.tsv says so.
        if name and not set(model_variables(fits[name].model)) & set(cohort.absent)
    ]
    if how is None or not questions:
        return pd.DataFrame(columns=imputation.COLUMNS)
    # Models that name the groups need everybody; others are filled from their own kind alone.
    named = analysis.groups.variable if analysis.groups else ""
    together = any(named in formulas.variables(fit.model.formula) for fit, _ in questions)
    return imputation.explore(questions, cohort.frame if together else analysed, how, seed)


def _mediation(
    analysis: Analysis,
    cohort: Cohort,
    frame: pd.DataFrame,
    how: Resampling,
    redrawn: Redrawn | None,
) -> pd.DataFrame:
    parts = []
    for path in analysis.mediation:
        reason = _absence_text(path.variables, cohort)
        if reason:
            parts.append(mediation.not_fitted(path, reason))
        else:
            harmonised = _are_harmonised(path.variables, analysis, cohort)
            anew = redrawn if harmonised else None
            parts.append(mediation.fit(path, frame, how, harmonised=harmonised, redrawn=anew))
    columns = mediation.COLUMNS
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _absence_text(names: Sequence[str], cohort: Cohort) -> str:
    """Return which of some variables have no source, and why if it is one; or nothing."""
    lacking = [name for name in names if name in cohort.absent]
    if len(lacking) == 1:
        return f"{lacking[0]}: {cohort.absent[lacking[0]].text}"
    return f"nobody has values of {', '.join(lacking)}" if lacking else ""


def _n(fit: Fit) -> int:
    return fit.design.n if fit.design else 0


def _n_covariates(fit: Fit) -> int:
    """Return how many predictors stand beside the one of interest."""
    # Less the intercept and the predictor of interest.
    return max(len(fit.design.names) - 2, 0) if fit.design else 0


def _summary(analysis: Analysis, frame: pd.DataFrame) -> pd.DataFrame:
    variables = {name: analysis.variables[name] for name in analysis.cohort}
    return summary.summarise(
        frame,
        labels={name: variable.label for name, variable in variables.items()},
        units={name: variable.unit for name, variable in variables.items()},
        levels={
            name: {word: level.value for word, level in variable.levels.items()}
            for name, variable in variables.items()
        },
    )


def _normality(analysis: Analysis, frame: pd.DataFrame) -> pd.DataFrame:
    rungs = [normality.ladder(frame[name]) for name in analysis.normality]
    return pd.concat(rungs, ignore_index=True) if rungs else pd.DataFrame(columns=normality.COLUMNS)
