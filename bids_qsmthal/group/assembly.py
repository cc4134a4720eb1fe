"""From files to the table that is analysed, with a count of everyone on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.group import covariates, exclusions, measures, participant_tables, ratings
from bids_qsmthal.group.covariates import Source
from bids_qsmthal.statistics import harmonisation
from bids_qsmthal.statistics.analysis import Analysis, Variable

log = logging.getLogger(__name__)

EDITS = "edits"
"""Where readers put their decisions."""


DISAGREEMENT = ("participant_id", "session_id", "variable", "table", "image", "table_source")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cohort:
    """Everyone who is analysed."""

    sessions: pd.DataFrame
    """One row a participant and session: identity, variables, their sources, all measures."""

    frame: pd.DataFrame
    """One row a participant, of the session the analysis asks for."""

    exclusions: pd.DataFrame
    harmonised: pd.DataFrame
    """What was done to each measure at each site; empty where nothing was asked."""

    flow: pd.DataFrame
    units: dict[str, str]
    """Unit of each measure in the wide table."""

    scans: dict[str, list[str]]
    """Names of the scans of each participant, as their reports are called."""

    absent: dict[str, str] = field(default_factory=dict)
    """Variables for which there is no source at all, and why."""

    disagreements: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(DISAGREEMENT))
    )
    """Where a table says yes and the images say no, or the other way round; the table won."""

    choices: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(participant_tables.CHOICES))
    )
    """How far other choices of mask, reference and background removal move the number."""


def assemble(bids_dir: Path, output_dir: Path, analysis: Analysis, *, strict: bool) -> Cohort:
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

    Raises
    ------
    LevelUnavailableError
        There are no results.
    DataError
        A table is malformed.
    MissingInputError
        No table has a column the user's analysis asks for.
    """
    tidy = measures.read(output_dir)
    others = participant_tables.other_choices(output_dir)
    tidy = pd.concat([tidy, participant_tables.as_measures(others, tidy)], ignore_index=True)
    tidy, units = measures.in_one_unit(tidy)
    gates = {measure_column(analysis.variables[name], units) for name in analysis.exclude_when}
    checks = participant_tables.quality(output_dir)
    decisions = exclusions.decide(tidy, checks, gates, ratings.read(output_dir / EDITS))
    usable, n_unusable = exclusions.apply(tidy, decisions)
    wide = measures.wide(usable)
    sources = covariates.find(bids_dir)
    values, absent = _variables(analysis, wide, units, sources, strict=strict)
    values["quality"] = _quality(decisions, wide.index)
    values["years"] = covariates.years_since_first(sources, values.index)
    sessions = pd.concat([values, wide], axis=1).reset_index()
    harmonised = pd.DataFrame(columns=harmonisation.COLUMNS)
    if analysis.harmonisation and not set(analysis.harmonisation.names) & set(absent):
        sessions, harmonised = harmonisation.harmonise(sessions, analysis.harmonisation)
    frame = _one_each(sessions, analysis.session)
    return Cohort(
        harmonised=harmonised,
        sessions=sessions,
        frame=frame,
        exclusions=decisions,
        flow=_flow(tidy, decisions, covariates.listed(sources), frame, n_unusable),
        units=units,
        scans={
            str(who): sorted(rows["scan"].unique())
            for who, rows in tidy.groupby("participant_id", sort=True)
        },
        absent=absent,
        disagreements=disagreements(analysis, sessions, wide, units),
        choices=participant_tables.shifts(others, usable),
    )


def disagreements(
    analysis: Analysis, sessions: pd.DataFrame, wide: pd.DataFrame, units: dict[str, str]
) -> pd.DataFrame:
    """Return whoever has one level in a table and another in the images, one row each.

    Only variables with levels are compared: numbers from two sources never agree to the digit.
    """
    found = []
    for name, variable in analysis.variables.items():
        measured = _measured(variable, wide, units) if variable.levels else None
        if measured is None or not variable.columns:
            continue
        rows = pd.MultiIndex.from_frame(sessions[["participant_id", "session_id"]])
        seen = measured.reindex(rows).to_numpy(dtype=float)
        said = pd.to_numeric(sessions[name], errors="coerce").to_numpy(dtype=float)
        from_table = ~sessions[f"{name}_source"].astype(str).str.startswith(("image:", "n/a"))
        differ = from_table.to_numpy() & np.isfinite(seen) & np.isfinite(said) & (seen != said)
        words = {level.value: word for word, level in variable.levels.items()}
        found.append(
            sessions.loc[differ, ["participant_id", "session_id"]].assign(
                variable=name,
                table=[words.get(value, value) for value in said[differ]],
                image=[words.get(value, value) for value in seen[differ]],
                table_source=sessions.loc[differ, f"{name}_source"],
            )
        )
        if differ.any():
            log.warning(
                "%s: tables and images disagree in %d participant(s) (%s); the tables count.",
                *(name, int(differ.sum()), _few(list(sessions.loc[differ, "participant_id"]))),
            )
    parts = [part for part in found if not part.empty]
    if not parts:
        return pd.DataFrame(columns=list(DISAGREEMENT))
    together: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return together.reindex(columns=list(DISAGREEMENT))


def measure_column(variable: Variable, units: Mapping[str, str]) -> str:
    """Return the column of the wide table that a variable is taken from.

    Where the analysis names no hemisphere, both together will do; where it names no region, the
    only one that has the measure.
    """
    exact = measures.column_name(variable.measure, variable.region, variable.hemisphere)
    if exact in units or not variable.measure:
        return exact
    if not variable.hemisphere and f"{exact}_LR" in units:
        return f"{exact}_LR"
    begin = f"{variable.measure}_"
    candidates = [name for name in units if name.startswith(begin)] if not variable.region else []
    return candidates[0] if len(candidates) == 1 else exact


def _variables(
    analysis: Analysis,
    wide: pd.DataFrame,
    units: dict[str, str],
    sources: list[Source],
    *,
    strict: bool,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns of all variables, and why some have no source."""
    assert isinstance(wide.index, pd.MultiIndex)  # noqa: S101 - for the type checker
    made: dict[str, pd.Series[Any]] = {}
    absent: dict[str, str] = {}
    for name, variable in analysis.variables.items():
        column = covariates.collect(variable, sources, wide.index)
        measured = _measured(variable, wide, units)
        if column is None and measured is None:
            absent[name] = _say_absent(variable, sources, strict=strict)
            made[name] = pd.Series(np.nan, index=wide.index)
        elif column is None:
            assert measured is not None  # noqa: S101 - for the type checker
            made[name] = measured
        else:
            made[name] = column["value"]
        if variable.measure and variable.columns:
            joined = _filled(variable, column, measured, wide.index)
            made[name], made[f"{name}_source"] = joined["value"], joined["source"]
    return pd.DataFrame(made, index=wide.index).infer_objects(), absent


def _measured(
    variable: Variable, wide: pd.DataFrame, units: dict[str, str]
) -> pd.Series[float] | None:
    column = measure_column(variable, units)
    if not variable.measure or column not in wide:
        return None
    return measures.convert(wide[column], units[column], variable.unit, f"measure {column}")


def _filled(
    variable: Variable,
    column: pd.DataFrame | None,
    measured: pd.Series[float] | None,
    rows: pd.MultiIndex,
) -> pd.DataFrame:
    """Return what the tables say, and what the images say where the tables are silent."""
    blank = pd.DataFrame({"value": np.nan, "source": "n/a"}, index=rows)
    said = column if column is not None else blank
    if measured is None:
        return said
    needed = said["value"].isna() & measured.notna()
    if column is not None and needed.any():
        log.warning(
            "%s: %d participant(s) without a value in the tables; taken from the images.",
            variable.name, int(needed.sum()),
        )  # fmt: skip
    return pd.DataFrame(
        {
            "value": said["value"].where(~needed, measured).infer_objects(),
            "source": said["source"].where(~needed, f"image: {variable.measure}"),
        }
    )


def _quality(decisions: pd.DataFrame, rows: pd.Index) -> pd.Series[str]:
    """Return whether any run in use of a session is doubtful."""
    used = decisions[decisions["decision"] != "exclude"]
    doubtful = used["decision"].eq("check").groupby([used["participant_id"], used["session_id"]])
    worst = doubtful.any().map({True: "check", False: "include"})
    return worst.reindex(rows).fillna("include")


def _say_absent(variable: Variable, sources: list[Source], *, strict: bool) -> str:
    if not variable.columns:
        named = measures.column_name(variable.measure, variable.region, variable.hemisphere)
        reason = f"no participant has the measure {named}"
        log.warning("%s: %s.", variable.name, reason)
        return reason
    wanted = " or ".join(variable.columns)
    reason = f"no column {wanted} in participants.tsv, sessions.tsv or phenotype/"
    if strict:
        raise MissingInputError(
            f"Variable '{variable.name}': {reason}. There are: "
            f"{', '.join(covariates.columns(sources)) or 'none'}. Name the column under "
            f"'Columns' of this variable in the analysis file."
        )
    log.warning("%s: %s; models that need it are not fitted.", variable.name, reason)
    return reason


def _one_each(sessions: pd.DataFrame, wanted: str) -> pd.DataFrame:
    """Return the session of each participant that the analysis asks for."""
    ordered = sessions.sort_values(["participant_id", "session_id"])
    if wanted in ("first", "last"):
        keep: Literal["first", "last"] = "first" if wanted == "first" else "last"
        return ordered.drop_duplicates("participant_id", keep=keep).reset_index(drop=True)
    return ordered.loc[ordered["session_id"] == f"ses-{wanted}"].reset_index(drop=True)


def _flow(
    tidy: pd.DataFrame,
    decisions: pd.DataFrame,
    listed: list[str],
    frame: pd.DataFrame,
    n_unusable: int,
) -> pd.DataFrame:
    """Return how many participants there are at each step."""
    found = set(tidy["participant_id"])
    remaining = set(frame["participant_id"])
    lines: list[tuple[str, int, str]] = []
    if listed:
        lines.append(("listed in participants.tsv", len(listed), ""))
        lacking = sorted(set(listed) - found)
        if lacking:
            lines.append(("of these without results", len(lacking), _few(lacking)))
        unknown = sorted(found - set(listed))
        if unknown:
            lines.append(("with results but not listed", len(unknown), _few(unknown)))
            log.warning("participants.tsv does not list %s: covariates are missing.", _few(unknown))
    lines.append(("with results", len(found), ""))
    left_out = decisions[~decisions["participant_id"].isin(remaining)]
    left_out = left_out.drop_duplicates("participant_id")
    for reason, rows in left_out.groupby("reason", sort=True):
        lines.append((f"excluded: {reason}", len(rows), _few(list(rows["participant_id"]))))
    lines.append(("in the analysis", len(remaining), ""))
    if n_unusable:
        lines.append(("single values left out by quality control", n_unusable, ""))
    return pd.DataFrame(lines, columns=["step", "n", "detail"])


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
