"""From files to the table that is analysed, with a count of everyone on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.group import (
    acquisitions,
    alternatives,
    covariates,
    exclusions,
    finished,
    flow,
    lesion_iron,
    measures,
    overview,
    participant_tables,
    questionable,
    ratings,
    reader_agreement,
    sessions,
    visit_changes,
)
from bids_qsmthal.group.concerns import Concern, Kind
from bids_qsmthal.group.covariates import CovariateSource, VariableValues
from bids_qsmthal.group.finished import FinishedTables
from bids_qsmthal.group.flow import FlowStep, Line
from bids_qsmthal.group.measures import Catalogue
from bids_qsmthal.group.overview import Overview
from bids_qsmthal.group.questionable import Questionable
from bids_qsmthal.group.reasons import Code, Reason, shortened
from bids_qsmthal.settings import Selection
from bids_qsmthal.statistics import expressions, harmonisation
from bids_qsmthal.statistics.analysis import Analysis, Variable, model_variables
from bids_qsmthal.statistics.levels import word_of

log = logging.getLogger(__name__)

EDITS = "edits"
"""Where readers put their decisions."""

DISAGREEMENT = ("participant_id", "session_id", "variable", "table", "image", "table_source")

KEY = ["participant_id", "session_id"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cohort:
    """Everyone who is analysed."""

    sessions: pd.DataFrame
    """One row a participant and session: identity, variables, their sources, all measures."""

    frame: pd.DataFrame
    """One row a participant, of the session the analysis asks for."""

    exclusions: pd.DataFrame
    """One row a participant, session and run: decision, reason in words, who decided."""

    measured: pd.DataFrame
    """The sessions as measured; other than ``sessions`` where these were harmonised."""

    harmonised: pd.DataFrame
    """What was done to each measure at each site; empty where nothing was asked."""

    flow: tuple[Line, ...]
    catalogue: Catalogue
    """The measures in the wide table, by their columns."""

    scans: dict[str, list[str]]
    """Names of the scans of each participant, as their reports are called."""

    overview: Overview
    """Results and quality measures of every scan."""

    n_found: int
    """Participants with a table of measures, believed or not."""

    absent: dict[str, Reason] = field(default_factory=dict)
    """Variables for which there is no source at all, and why."""

    disagreements: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(DISAGREEMENT))
    )
    """Where a table says yes and the images say no, or the other way round; the table won."""

    readers: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(reader_agreement.COLUMNS))
    )
    """How well readers agree who did the same scans."""

    choices: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(participant_tables.CHOICES))
    )
    """How far other choices of mask, reference and background removal move the number."""

    acquisitions: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(acquisitions.COLUMNS))
    )
    """How the scans were acquired and reconstructed, and who differs."""

    lesions: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(lesion_iron.COLUMNS_OF_ROWS))
    )
    """Susceptibility of each lesion of those who are analysed (``lesion_iron.of_participants``)."""

    changes: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=visit_changes.COLUMNS_OF_CHANGE)
    )
    """Changes between the usable visits of those who are analysed (``visit_changes.read``)."""

    kinds_of_scans: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Scanner and protocol of each participant and session (the index)."""

    questionable: tuple[Questionable, ...] = ()
    """Values that cannot be read or cannot be true."""

    concerns: tuple[Concern, ...] = ()
    """What a reader must know."""


def assemble(
    bids_dir: Path,
    output_dir: Path,
    analysis: Analysis,
    *,
    strict: bool,
    selection: Selection | None = None,
) -> Cohort:
    """Return the cohort of an analysis.

    Parameters
    ----------
    bids_dir, output_dir
        The dataset with the covariates, and the results of the participant level.
    analysis
        Which variables are wanted, and what excludes a participant.
    strict
        Whether a variable that no table has is an error (the user asked for it) or only makes the
        models that need it impossible (the packaged analysis).
    selection
        Participants, sessions and runs that the command line names.

    Raises
    ------
    LevelUnavailableError
        There are no results.
    DataError
        A table is malformed.
    MissingInputError
        No table has a column the user's analysis asks for, or a label has no results.
    """
    # Identities before covariates: tables of the dataset are matched to those who have results.
    tables = finished.finished_tables(bids_dir, output_dir, selection or Selection())
    scans = _scans(tables, output_dir, analysis)
    sources = covariates.with_matched_ids(covariates.covariate_tables(bids_dir), scans.participants)
    wide = measures.wide(scans.usable)
    changes = visit_changes.read(scans.tables.change, wide.index)
    per_year, of_changes = visit_changes.columns(visit_changes.of_each(changes))
    # Of a person, and so the same at each session; models of sessions refuse them.
    wide = wide.join(per_year, on="participant_id")
    catalogue = {**scans.catalogue, **of_changes}
    values = _variables(analysis, wide, catalogue, sources, strict=strict)
    times = covariates.acquisition_times(bids_dir, sources, scans.sessions)
    # Computed variables come in before the filter, which may use them.
    values.frame["quality"] = _quality(scans.decided, wide.index)
    values.frame["years"] = covariates.years_since_first(times).reindex(wide.index)
    everybody = pd.concat([values.frame, wide], axis=1).reset_index()
    # Filter, then harmonisation, then the choice of a session: sites are brought to one scale over
    # all sessions of the people who are analysed, and of nobody else.
    passes = expressions.keep(analysis.filter, everybody, analysis.vocabulary)
    passing = everybody[passes].reset_index(drop=True)
    rows, harmonised = _harmonised(analysis, passing, values, catalogue)
    # The times are of all sessions, excluded ones included: the first session is not the first
    # usable one.
    chosen = sessions.chosen_sessions(rows, times, analysis.session)
    problems = values.problems_of(set(chosen.frame["participant_id"]))
    questionable.log_problems(problems)
    return Cohort(
        measured=passing,
        harmonised=harmonised,
        sessions=rows,
        frame=chosen.frame,
        exclusions=exclusions.printed(scans.decided),
        flow=_flow(scans, sources, chosen, _filtered(analysis, everybody, rows)),
        catalogue=catalogue,
        scans=scans.names,
        overview=overview.gather(scans.checks, scans.tidy, scans.decided),
        n_found=len(scans.with_results),
        absent=values.absent,
        disagreements=disagreements(analysis, rows, wide, catalogue),
        readers=reader_agreement.table(output_dir),
        choices=participant_tables.differences(scans.choices, scans.usable),
        acquisitions=acquisitions.table(scans.tables.acquisition),
        lesions=lesion_iron.of_participants(
            scans.tables.lesions, _scans_of(scans.usable, chosen.frame)
        ),
        changes=changes[changes["participant_id"].isin(chosen.frame["participant_id"])],
        kinds_of_scans=acquisitions.kinds(
            scans.tables.acquisition,
            participant_tables.distinct(scans.usable, participant_tables.IDENTITY, ["scan"]),
        ),
        questionable=problems,
        concerns=(
            *_concerns_of_variables(analysis, values.absent, problems),
            *_concerns_of_groups(analysis, sources, chosen.frame, strict=strict),
            *_concerns_of_cohort(analysis, chosen, scans.tables),
        ),
    )


def _scans_of(usable: pd.DataFrame, analysed: pd.DataFrame) -> pd.DataFrame:
    """Return participant and name of the usable scans of the sessions that are analysed."""
    each = participant_tables.distinct(usable, participant_tables.IDENTITY, ["scan"])
    return each.merge(analysed[KEY].astype("str"), on=KEY)[["participant_id", "scan"]]


def _alternatives(analysis: Analysis, catalogue: Catalogue) -> dict[str, str]:
    """Return the measures that may replace harmonised variables, each with that variable."""
    measures_of = analysis.sensitivity.measures if analysis.sensitivity else ()
    columns = {one.name: measure_column(one.variable, catalogue) for one in measures_of}
    return alternatives.of_harmonised(analysis, columns, catalogue)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Scans:
    """What the participants' tables hold, and which scans may be used."""

    tables: FinishedTables
    tidy: pd.DataFrame
    catalogue: Catalogue
    choices: pd.DataFrame
    checks: pd.DataFrame
    decided: pd.DataFrame
    usable: pd.DataFrame
    n_unusable: int

    @property
    def with_results(self) -> set[str]:
        """Everyone with a table that is wanted, believed or not."""
        left_out = {session.participant_id for session in self.tables.left_out}
        return {*self.tidy["participant_id"].unique(), *left_out}

    @property
    def participants(self) -> set[str]:
        """Everyone with a table."""
        return {*self.with_results, *self.tables.not_wanted}

    @property
    def sessions(self) -> pd.MultiIndex:
        """Every participant and session with a table that is wanted, believed or not."""
        known = participant_tables.distinct(self.tidy, KEY)
        keys = set(known.itertuples(index=False, name=None))
        keys |= {(one.participant_id, one.session_id) for one in self.tables.left_out}
        return pd.MultiIndex.from_tuples(sorted(keys), names=KEY)

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the scans of each participant."""
        each = participant_tables.distinct(self.tidy, ["participant_id", "scan"])
        by_participant = each.groupby("participant_id", sort=True)["scan"]
        return {str(who): sorted(scans) for who, scans in by_participant}


def _scans(tables: FinishedTables, output_dir: Path, analysis: Analysis) -> _Scans:
    """Return the measures of all scans and what was decided about them."""
    tidy = measures.read(tables.measures)
    choices = participant_tables.other_choices(tables.sensitivity)
    more = participant_tables.as_measures(choices, tidy)
    # Other choices of the participant level become measures of their own, so that the sensitivity
    # analysis can name them like any other.
    tidy, catalogue = measures.in_one_unit(participant_tables.packed([tidy, more], measures.TEXT))
    gates = {measure_column(analysis.variables[name], catalogue) for name in analysis.exclude_when}
    checks = participant_tables.checks(tables.quality)
    failed = participant_tables.failed_checks(checks)
    decided = exclusions.decisions(tidy, failed, gates, ratings.read(output_dir / EDITS))
    usable, n_unusable = exclusions.usable_measures(tidy, decided)
    left_out = exclusions.of_left_out(tables.left_out)
    return _Scans(
        tables=tables,
        tidy=tidy,
        catalogue=catalogue,
        choices=choices,
        checks=checks,
        decided=pd.concat([decided, left_out], ignore_index=True) if len(left_out) else decided,
        usable=usable,
        n_unusable=n_unusable,
    )


def _harmonised(
    analysis: Analysis, rows: pd.DataFrame, values: _Values, catalogue: Catalogue
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows after harmonisation, where it is asked for, and what it did."""
    how = analysis.harmonisation
    # Without a site (or a variable to keep) for anybody there is nothing to harmonise by; the
    # absence is said as a concern.
    if how is None or set(how.names) & set(values.absent):
        return rows, pd.DataFrame(columns=harmonisation.COLUMNS)
    return harmonisation.harmonise(rows, how, _alternatives(analysis, catalogue))


def _filtered(analysis: Analysis, everybody: pd.DataFrame, rows: pd.DataFrame) -> Line | None:
    """Return the count of those whom the filter of the whole analysis leaves out."""
    lost = sorted(set(everybody["participant_id"]) - set(rows["participant_id"]))
    if not lost:
        return None
    return Line(step=FlowStep.FILTERED, n=len(lost), about=analysis.filter, detail=shortened(lost))


def _flow(
    scans: _Scans,
    sources: list[CovariateSource],
    chosen: sessions.ChosenSessions,
    filtered: Line | None,
) -> tuple[Line, ...]:
    """Return the count of everyone on the way; log who has results and is not listed."""
    listed = covariates.listed_participants(sources)
    unknown = sorted(scans.with_results - set(listed)) if listed else []
    if unknown:
        log.warning(
            "participants.tsv does not list %s: covariates are missing.", shortened(unknown)
        )
    counted = flow.Counted(
        with_results=scans.with_results,
        listed=listed,
        decided=scans.decided,
        n_unusable=scans.n_unusable,
        tables=scans.tables,
        chosen=chosen,
        filtered=filtered,
    )
    return flow.of_cohort(counted)


def _concerns_of_variables(
    analysis: Analysis, absent: Mapping[str, Reason], problems: Sequence[Questionable]
) -> list[Concern]:
    kinds = {Code.NO_COLUMN: Kind.NO_COLUMN, Code.NO_MEASURE: Kind.NO_MEASURE}
    labels = {name: variable.label for name, variable in analysis.variables.items()}
    concerns = [
        Concern(kinds[reason.code], (labels[name], reason.text))
        for name, reason in absent.items()
        if not _tells_groups(name, analysis) and not _is_of_choices(name, analysis)
    ]
    for name in dict.fromkeys(one.variable for one in problems):
        here = [one for one in problems if one.variable == name]
        n_left_out = sum(not one.used for one in here)
        counts = (str(n_left_out), str(len(here) - n_left_out))
        concerns.append(Concern(Kind.QUESTIONABLE, (labels[name], *counts)))
    return concerns


def _concerns_of_cohort(
    analysis: Analysis, chosen: sessions.ChosenSessions, tables: FinishedTables
) -> list[Concern]:
    concerns = [] if tables.vouched else [Concern(Kind.NO_LOGS)]
    if chosen.ordered_by_name and analysis.session in sessions.WORDS:
        concerns.append(Concern(Kind.ORDERED_BY_NAME, (shortened(chosen.ordered_by_name),)))
    return concerns


def _concerns_of_groups(
    analysis: Analysis, sources: list[CovariateSource], frame: pd.DataFrame, *, strict: bool
) -> list[Concern]:
    """Return who is analysed apart, and the groups that are not told apart all the same."""
    groups = analysis.groups
    concerns = []
    people = frame
    if groups and groups.variable in frame:
        inside = expressions.keep(groups.filter, frame, analysis.vocabulary)
        people = frame[inside]
        if not inside.all():
            levels = analysis.variables[groups.variable].levels
            others = frame.loc[~inside, groups.variable].map(
                lambda value: word_of(value, levels) if pd.notna(value) else "not known"
            )
            counted = ", ".join(f"{word}: {n}" for word, n in others.value_counts().items())
            about = (" and ".join(groups.analysed), str(int(inside.sum())), counted)
            concerns.append(Concern(Kind.GROUPS_APART, about))
    used = {name for model in analysis.models for name in model_variables(model)}
    used |= {name for model in analysis.models for name in model.group_by}
    columns = {
        column.lower()
        for name in used & set(analysis.variables)
        for column in (name, *analysis.variables[name].columns)
    }
    # What a user's own file declares as one group is one; the packaged one pools nothing unsaid.
    used |= {groups.variable} if groups and strict else set()
    pooled = covariates.grouping_columns(sources, set(people["participant_id"]))
    for column, counts in pooled.items():
        # A grouping that a model or its filter knows is the user's own choice.
        if column.lower() not in columns:
            counted = ", ".join(f"{word}: {n}" for word, n in counts.items())
            concerns.append(Concern(Kind.POOLED_GROUPS, (column, counted)))
    for concern in concerns:
        log.warning("%s %s", concern.text, concern.advice)
    return concerns


def disagreements(
    analysis: Analysis, rows: pd.DataFrame, wide: pd.DataFrame, catalogue: Catalogue
) -> pd.DataFrame:
    """Return whoever has one level in a table and another in the images, one row each.

    Only variables with levels are compared: numbers from two sources never agree to the digit.
    """
    parts = []
    for name, variable in analysis.variables.items():
        measured = _measured_values(variable, wide, catalogue) if variable.levels else None
        if measured is None or not variable.columns:
            continue
        keys = pd.MultiIndex.from_frame(rows[KEY])
        # By position from here on: rows of the table and keys are in one order, their indices are
        # not.
        seen = measured.reindex(keys).to_numpy(dtype=float)
        given = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=float)
        # Where the value is from the image, it cannot disagree with it.
        from_table = ~rows[f"{name}_source"].isin([_image_source(variable), "n/a"])
        differ = from_table.to_numpy() & np.isfinite(seen) & np.isfinite(given) & (seen != given)
        words = {level.value: word for word, level in variable.levels.items()}
        parts.append(
            rows.loc[differ, KEY].assign(
                variable=name,
                table=[words.get(value, value) for value in given[differ]],
                image=[words.get(value, value) for value in seen[differ]],
                table_source=rows.loc[differ, f"{name}_source"],
            )
        )
        if differ.any():
            log.warning(
                "%s: tables and images disagree in %d participant(s) (%s); the tables are used.",
                *(name, int(differ.sum()), shortened(list(rows.loc[differ, "participant_id"]))),
            )
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=list(DISAGREEMENT))
    all_of_them: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return all_of_them.reindex(columns=list(DISAGREEMENT))


def _image_source(variable: Variable) -> str:
    """Return what stands as the source of a value that was measured in the images."""
    return f"image: {variable.measure}"


def measure_column(variable: Variable, catalogue: Catalogue) -> str:
    """Return the column of the wide table that a variable is taken from.

    Where the analysis names no hemisphere, both together will do; where it names no region, the
    only one that has the measure.
    """
    exact = measures.column_name(variable.measure, variable.region, variable.hemisphere)
    if exact in catalogue or not variable.measure:
        return exact
    if not variable.hemisphere and f"{exact}_LR" in catalogue:
        return f"{exact}_LR"
    # Several regions: which is meant nobody can tell, so the name stays as it is and is absent.
    having = [name for name, one in catalogue.items() if one.measure == variable.measure]
    candidates = having if not variable.region else []
    return candidates[0] if len(candidates) == 1 else exact


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Values:
    """All variables of an analysis."""

    frame: pd.DataFrame
    absent: dict[str, Reason]
    questionable: tuple[Questionable, ...]

    def problems_of(self, participants: set[str]) -> tuple[Questionable, ...]:
        """Return the values of some participants that cannot be read or cannot be true."""
        return tuple(one for one in self.questionable if one.participant_id in participants)


def _variables(
    analysis: Analysis,
    wide: pd.DataFrame,
    catalogue: Catalogue,
    sources: list[CovariateSource],
    *,
    strict: bool,
) -> _Values:
    """Return the columns of all variables, why some have no source, and what is questionable."""
    assert isinstance(wide.index, pd.MultiIndex)  # noqa: S101 - for the type checker
    made: dict[str, pd.Series[Any]] = {}
    absent: dict[str, Reason] = {}
    problems: list[Questionable] = []
    for name, variable in analysis.variables.items():
        optional = _tells_groups(name, analysis) and not strict
        from_tables = _from_tables(variable, sources, wide.index, optional=optional)
        if from_tables is None and _tells_groups(name, analysis):
            # Most datasets have patients only, and no column for that: all are one group.
            absent[name] = Reason(Code.NO_COLUMN, variable.columns)
            if strict:
                log.warning("%s: %s; all are one group.", name, absent[name].text)
            continue
        measured = _measured_values(variable, wide, catalogue)
        if from_tables is None and measured is None:
            level = logging.INFO if _is_of_choices(name, analysis) else logging.WARNING
            absent[name] = _absence(variable, sources, strict=strict, level=level)
            # The column is there all the same: cohort table and filters need not ask whether it is.
            made[name] = pd.Series(np.nan, index=wide.index)
            continue
        joined = _values_and_sources(variable, from_tables, measured, wide.index)
        values = joined["value"]
        problems += from_tables.questionable if from_tables else ()
        if not variable.levels:
            # Only numbers have a range; levels were checked against their words.
            values, wrong = questionable.without_impossible(values.astype(float), variable)
            problems += wrong
        made[name] = values
        if variable.measure and variable.columns:
            made[f"{name}_source"] = joined["source"]
    # Tables give objects; formulas and filters tell words from numbers by dtype.
    frame = pd.DataFrame(made, index=wide.index).infer_objects()
    problems += questionable.longer_than_life(frame, analysis.variables.values())
    return _Values(frame=frame, absent=absent, questionable=tuple(problems))


def _from_tables(
    variable: Variable, sources: list[CovariateSource], rows: pd.MultiIndex, *, optional: bool
) -> VariableValues | None:
    """Return what the tables of the dataset say; nothing where an optional column says no words."""
    try:
        return covariates.variable_values(variable, sources, rows)
    except DataError as error:
        if not optional:
            raise
        # Treatment arms, say, in a column that the packaged analysis takes for patients and
        # controls: it goes on without groups, and a concern says that they are pooled.
        log.warning("%s", error)
        return None


def _tells_groups(name: str, analysis: Analysis) -> bool:
    return analysis.groups is not None and name == analysis.groups.variable


def _is_of_choices(name: str, analysis: Analysis) -> bool:
    """Return whether only rows of the sensitivity analysis need a variable; they say what lacks."""
    if analysis.sensitivity is None:
        return False
    asked = {one for added in analysis.sensitivity.covariates.values() for one in added}
    if analysis.sensitivity.head_size:
        asked.add(analysis.sensitivity.head_size.variable)
    needed = {used for model in analysis.models for used in model_variables(model)}
    needed |= {*analysis.cohort, *analysis.normality}
    return name in asked - needed


def _measured_values(
    variable: Variable, wide: pd.DataFrame, catalogue: Catalogue
) -> pd.Series[float] | None:
    column = measure_column(variable, catalogue)
    if not variable.measure or column not in wide:
        return None
    return measures.convert(
        wide[column], catalogue[column].unit, variable.unit, f"measure {column}"
    )


def _values_and_sources(
    variable: Variable,
    from_tables: VariableValues | None,
    measured: pd.Series[float] | None,
    rows: pd.MultiIndex,
) -> pd.DataFrame:
    """Return what the tables say, and where the tables have nothing, what was measured."""
    blank = pd.DataFrame({"value": np.nan, "source": "n/a"}, index=rows)
    given = from_tables.frame if from_tables else blank
    if measured is None:
        return given
    needed = given["value"].isna() & measured.notna()
    if from_tables and needed.any():
        log.warning(
            "%s: %d participant(s) without a value in the tables; taken from the images.",
            variable.name, int(needed.sum()),
        )  # fmt: skip
    return pd.DataFrame(
        {
            "value": given["value"].where(~needed, measured).infer_objects(),
            "source": given["source"].where(~needed, _image_source(variable)),
        }
    )


def _quality(decisions: pd.DataFrame, rows: pd.Index) -> pd.Series[str]:
    """Return whether any run in use of a session is doubtful."""
    used = decisions[decisions["decision"] != Decision.EXCLUDE]
    doubtful = (
        used["decision"].eq(Decision.CHECK).groupby([used["participant_id"], used["session_id"]])
    )
    worst = doubtful.any().map({True: str(Decision.CHECK), False: str(Decision.INCLUDE)})
    return worst.reindex(rows).fillna(str(Decision.INCLUDE))


def _absence(
    variable: Variable, sources: list[CovariateSource], *, strict: bool, level: int
) -> Reason:
    """Return why a variable has no values; log it at a level.

    Raises
    ------
    MissingInputError
        The user's own analysis names columns that no table has.
    """
    if not variable.columns:
        named = measures.column_name(variable.measure, variable.region, variable.hemisphere)
        reason = Reason(Code.NO_MEASURE, (named,))
        log.log(level, "%s: %s.", variable.name, reason.text)
        return reason
    reason = Reason(Code.NO_COLUMN, variable.columns)
    if strict:
        raise MissingInputError(
            f"Variable '{variable.name}': {reason.text}. There are: "
            f"{', '.join(covariates.column_names(sources)) or 'none'}. Name the column under "
            f"'Columns' of this variable in the analysis file."
        )
    log.log(level, "%s: %s; models that need it are not fitted.", variable.name, reason.text)
    return reason
