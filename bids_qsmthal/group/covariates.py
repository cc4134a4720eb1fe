"""What is known about each participant beside the images."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.bids.sidecars import without_zeros
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.measures import convert
from bids_qsmthal.group.questionable import Problem, Questionable
from bids_qsmthal.group.reasons import shortened
from bids_qsmthal.statistics.analysis import Variable

log = logging.getLogger(__name__)

PARTICIPANTS = "participants.tsv"

CALLED_UNKNOWN = (table_reading.UNKNOWN | table_reading.MISSING) - {"", "none"}
"""What a data dictionary says of a code for unknown. "None" is no such word there: it says that
somebody has none of it."""

MOST_UNREADABLE = 0.5
"""Share of a column: where most cells cannot be read, the column is not what the analysis takes
it for, and nothing in it can be believed; where fewer cannot, they are somebody's exceptions."""

DAYS_A_YEAR = 365.25

GROUP_NAME = re.compile(
    r"group|diagnos|^dx$|^diag$|^arm$|patient_?control|case_?control", re.IGNORECASE
)
"""Columns that part people into groups: the names in BIDS's own examples, and their kin."""

MOST_GROUPS = 12
"""A column with more values names sites, scanners or people, not groups."""


@dataclass(frozen=True, slots=True, eq=False)
class CovariateSource:
    """One TSV file with its data dictionary."""

    path: Path
    frame: pd.DataFrame
    """``participant_id``, perhaps ``session_id``, and columns of text."""

    dictionary: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class VariableValues:
    """The values of a variable, and those that cannot be read."""

    frame: pd.DataFrame
    """Columns ``value`` and ``source``, one row a participant and session."""

    questionable: tuple[Questionable, ...]


def covariate_tables(bids_dir: Path) -> list[CovariateSource]:
    """Return the tables that may hold covariates: the nearest to the session first.

    Raises
    ------
    DataError
        One of them is malformed or names a participant (and session) twice.
    """
    sources = []
    # The order is the order of precedence: variable_values takes the first table with a value.
    sessions = sorted(bids_dir.glob("sub-*/sub-*_sessions.tsv"))
    if sessions:
        sources += _sessions(sessions, bids_dir)
    # [!.]: macOS leaves ._name.tsv beside name.tsv on foreign disks, which is no table.
    one_row_each = [bids_dir / PARTICIPANTS, *sorted(bids_dir.glob("phenotype/[!.]*.tsv"))]
    for path in one_row_each:
        if path.exists():
            frame = table_reading.participant_ids(table_reading.read(path), path)
            frame = _session_ids(frame)
            _check_unique(frame, path)
            described = table_reading.dictionary(path.with_suffix(".json"))
            sources.append(CovariateSource(path, frame, dict(described)))
    return sources


def with_matched_ids(
    sources: list[CovariateSource], participants: Collection[str]
) -> list[CovariateSource]:
    """Return the tables with the participants named as their results are.

    Spreadsheets make 1 of 0001: an identity that has no results is taken for the one that
    differs in leading zeros alone, where that is unambiguous.

    Parameters
    ----------
    participants
        Who has results, such as ``sub-0001``.

    Raises
    ------
    DataError
        participants.tsv names nobody who has results, or an identity fits two of them.
    """
    by_plain: dict[str, list[str]] = {}
    for name in sorted(participants):
        # A list: sub-1 and sub-01 may both have results, and a third spelling fits both.
        by_plain.setdefault(without_zeros(name), []).append(name)
    return [_source_with_matched_ids(source, set(participants), by_plain) for source in sources]


def listed_participants(sources: list[CovariateSource]) -> list[str]:
    """Return the participants of participants.tsv."""
    for source in sources:
        if source.path.name == PARTICIPANTS:
            return list(source.frame["participant_id"])
    return []


def column_names(sources: list[CovariateSource]) -> list[str]:
    """Return the names of all columns that hold something about participants."""
    names = [str(name) for source in sources for name in source.frame.columns]
    return [name for name in dict.fromkeys(names) if name not in ("participant_id", "session_id")]


def variable_values(
    variable: Variable, sources: list[CovariateSource], rows: pd.MultiIndex
) -> VariableValues | None:
    """Return the values of a variable for each participant and session, and where they are from.

    The first of the variable's columns that some table has is used; a table with sessions goes
    before one without. ``None`` where no table has any of the columns.

    Raises
    ------
    DataError
        Most of a column cannot be read (text for numbers, unknown levels), the data dictionary
        gives a code a meaning that the analysis does not know, or a unit cannot be converted.
    """
    people = set(rows.get_level_values("participant_id"))
    for column in variable.columns:
        # One column name for everybody: age of one table and age_at_scan of another may mean
        # different things.
        holders = [source for source in sources if column in source.frame]
        if not holders:
            continue
        # object: levels may be words. infer_objects makes numbers of it at the end.
        values = pd.Series(np.nan, index=rows, dtype=object)
        origins = pd.Series("n/a", index=rows, dtype=object)
        problems: list[Questionable] = []
        for source in holders:
            parsed, wrong = _cell_values(variable, column, source)
            here = _on_rows(parsed, source.frame, rows)
            fresh = values.isna() & here.notna()
            values = values.where(~fresh, here)
            origins = origins.where(~fresh, f"{source.path.name}: {column}")
            # People without images are not in the analysis; their cells are nobody's concern here.
            problems += [value for value in wrong if value.participant_id in people]
        frame = pd.DataFrame({"value": values.infer_objects(), "source": origins})
        return VariableValues(frame, tuple(problems))
    return None


def acquisition_times(
    bids_dir: Path, sources: list[CovariateSource], rows: pd.MultiIndex
) -> pd.Series[Any]:
    """Return when each session was, NaT where no table says it.

    From ``acq_time`` of a table with sessions, else the earliest one of the session's
    ``*_scans.tsv``.

    Raises
    ------
    DataError
        A time of acquisition cannot be read.
    """
    # One resolution throughout: pandas infers s or us from texts, and fillna would not mix them.
    times = pd.Series(pd.NaT, index=rows, dtype="datetime64[ns]")
    for source in sources:
        if {"session_id", "acq_time"} <= set(source.frame.columns):
            read = _times(source.frame["acq_time"], source.path)
            times = times.fillna(pd.to_datetime(_on_rows(read, source.frame, rows)))
    of_scans = [
        _time_of_scans(bids_dir / who / session / f"{who}_{session}_scans.tsv")
        if pd.isna(time) and session != "n/a"
        else pd.NaT
        for who, session, time in table_reading.by_session(times)
    ]
    return times.fillna(pd.Series(of_scans, index=rows, dtype="datetime64[ns]"))


def years_since_first(times: pd.Series[Any]) -> pd.Series[float]:
    """Return the years between each session and the participant's first.

    Zero for whoever has one session; NaN where a date is missing.
    """
    people = times.index.get_level_values("participant_id")
    # min skips NaT; a session without a date still gets NaN years, since its own time is missing.
    first = times.groupby(people).transform("min")
    days = (times - first).dt.total_seconds() / 86_400
    # A single session is the first one, whether it has a date or not.
    alone = pd.Series(people, index=times.index).map(pd.Series(people).value_counts()).eq(1)
    return (days / DAYS_A_YEAR).where(~alone, 0.0)


def grouping_columns(
    sources: list[CovariateSource], participants: Collection[str]
) -> dict[str, dict[str, int]]:
    """Return the columns that look like groups and hold several, with a count of each value."""
    parts: dict[str, list[pd.Series[str]]] = {}
    paths: dict[str, Path] = {}
    for source in sources:
        here = source.frame[source.frame["participant_id"].isin(participants)]
        here = here.drop_duplicates("participant_id")
        for column in filter(GROUP_NAME.search, map(str, here.columns)):
            # The nearest table that has it; tables of sessions may come in several parts.
            if paths.setdefault(column, source.path) == source.path:
                parts.setdefault(column, []).append(here[column])
    groups: dict[str, dict[str, int]] = {}
    for column, cells_of in parts.items():
        cells = pd.concat(cells_of)
        counts = cells[~table_reading.is_missing(cells)].value_counts().sort_index()
        # One value: the cohort is one group, and nothing is pooled.
        if 1 < len(counts) <= MOST_GROUPS:
            groups[column] = {str(word): int(n) for word, n in counts.items()}
    return groups


def _time_of_scans(path: Path) -> Any:  # noqa: ANN401 - a time or NaT
    """Return the earliest time of acquisition in a ``scans.tsv``; NaT where it has none."""
    frame = table_reading.read(path) if path.exists() else pd.DataFrame()
    return _times(frame["acq_time"], path).min() if "acq_time" in frame else pd.NaT


def _times(cells: pd.Series[str], path: Path) -> pd.Series[Any]:
    missing = table_reading.is_missing(cells)
    # BIDS lets acq_time have a zone or none, and utc=True takes both. Only order and distance of
    # the sessions of one person are used.
    read = pd.to_datetime(cells.where(~missing), errors="coerce", format="ISO8601", utc=True)
    if (read.isna() & ~missing).any():
        wrong = cells[read.isna() & ~missing].iloc[0]
        raise DataError(
            f"{path}, column 'acq_time': '{wrong}' is not a time such as 2020-03-01T09:30:00."
        )
    return read.dt.tz_localize(None).astype("datetime64[ns]")


def _source_with_matched_ids(
    source: CovariateSource, known: set[str], by_plain: dict[str, list[str]]
) -> CovariateSource:
    names = source.frame["participant_id"]
    taken = set(names) & known
    new: dict[str, str] = {}
    for name in names.unique():
        # Who is named exactly in this table is no candidate for another spelling.
        fits = [one for one in by_plain.get(without_zeros(name), []) if one not in taken]
        if name in known or not fits:
            continue
        if len(fits) > 1:
            raise DataError(
                f"{source.path}: '{name}' may be {' or '.join(fits)}; write the participants as "
                "in the names of their folders."
            )
        new[name] = fits[0]
    # Only participants.tsv has to know them: a phenotype table may be of other people.
    if source.path.name == PARTICIPANTS and not taken and not new:
        raise DataError(
            f"{source.path}: lists {shortened(list(names), 3) or 'nobody'}, none of whom has "
            f"results; there are results for {shortened(sorted(known), 3)}. Write the "
            "participants as in the names of their folders."
        )
    if not new:
        return source
    log.warning(
        "%s: %d participants were matched by number, without leading zeros (%s).",
        source.path, len(new), shortened([f"{name} is {one}" for name, one in new.items()], 3),
    )  # fmt: skip
    frame = source.frame.assign(participant_id=names.replace(new))
    # Two spellings (1 and 01) may have become one participant.
    _check_unique(frame, source.path)
    return replace(source, frame=frame)


def _cell_values(
    variable: Variable, column: str, source: CovariateSource
) -> tuple[pd.Series[Any], list[Questionable]]:
    cells = source.frame[column]
    where = f"{source.path}, column '{column}'"
    described = _described(source, column)
    meanings = _meanings(described, source, column)
    if variable.levels:
        return _levels(variable, cells, meanings, source)
    # The order matters: what the file declares missing first, then top-coded cells, then usual
    # words for unknown; what remains and is no number is wrong.
    cells = cells.where(~_declared_missing(variable, cells), "n/a")
    cells = cells.mask(
        cells.str.lower().isin(variable.top_coded),
        cells.str.lower().map({cell: str(n) for cell, n in variable.top_coded.items()}),
    )
    # A 9 may be a grade; where the data dictionary calls it unknown, it is none.
    said = cells.map({cell: meanings.get(_plain_code(str(cell)), "") for cell in cells.unique()})
    unknown = cells.str.lower().isin(table_reading.UNKNOWN) | said.isin(CALLED_UNKNOWN)
    values, wrong = table_reading.readable_numbers(cells.where(~unknown, "n/a"))
    # Of the cells that hold something, missing ones aside: a sparse column is no wrong one.
    if wrong.sum() > MOST_UNREADABLE * (~table_reading.is_missing(cells)).sum():
        raise DataError(
            table_reading.no_number(cells, wrong, where, source.frame["participant_id"])
        )
    problems = _questionable(variable, source, cells, unknown, Problem.UNKNOWN)
    problems += _questionable(variable, source, cells, wrong, Problem.NO_NUMBER)
    return convert(values, str(described.get("units", "")), variable.unit, where), problems


def _declared_missing(variable: Variable, cells: pd.Series[str]) -> pd.Series[bool]:
    """Return which cells the analysis file declares as not known (``Missing``)."""
    # Missing: [999] also means 999.0, as a float column writes it.
    plain = cells.str.lower().str.removesuffix(".0")
    return plain.isin(variable.missing) | cells.str.lower().isin(variable.missing)


def _described(source: CovariateSource, column: str) -> Mapping[str, Any]:
    """Return what the data dictionary says of a column, its keys in lower case."""
    described = source.dictionary.get(column)
    if described is None:
        # A table says Age where its dictionary says age: one column, unless both are columns.
        alike = [name for name in source.dictionary if name.lower() == column.lower()]
        alike = [name for name in alike if name not in source.frame]
        described = source.dictionary[alike[0]] if len(alike) == 1 else None
    if not isinstance(described, dict):
        return {}
    return {str(key).lower(): value for key, value in described.items()}


def _meanings(described: Mapping[str, Any], source: CovariateSource, column: str) -> dict[str, str]:
    """Return what each code means by a data dictionary: a word, or an object that describes it.

    Raises
    ------
    DataError
        Levels are there, but not as codes with meanings: ignoring them would read bare codes.
    """
    levels = described.get("levels")
    if levels is None:
        return {}
    where = f"{source.path.with_suffix('.json')}, column '{column}'"
    if not isinstance(levels, dict):
        raise DataError(
            f"{where}: Levels are {json.dumps(levels)[:80]}; expected an object, "
            'each code with its meaning: {"0": "no", "1": "yes"}.'
        )
    return {_plain_code(str(code)): _meaning(said, where) for code, said in levels.items()}


def _meaning(said: object, where: str) -> str:
    """Return the word that a data dictionary has for a code, in lower case."""
    if isinstance(said, dict):
        named = {str(key).lower(): value for key, value in said.items()}
        # BIDS has Description (and TermURL); LongName and Label are what people write beside.
        words = [named[key] for key in ("description", "longname", "label", "name") if key in named]
        if not words:
            raise DataError(
                f"{where}: a level is {json.dumps(said)[:80]}; expected a word or an object with a "
                "Description."
            )
        said = words[0]
    return str(said).strip().lower()


def _plain_code(cell: str) -> str:
    """Return one spelling of a code: 1 for 1.0, 01 and 1, words in lower case."""
    try:
        return f"{float(cell):g}"
    except ValueError:
        return cell.strip().lower()


def _levels(
    variable: Variable, cells: pd.Series[str], meanings: Mapping[str, str], source: CovariateSource
) -> tuple[pd.Series[Any], list[Questionable]]:
    """Return the value of each level, and the cells that are none.

    What the analysis declares comes first: ``none`` is a level where it is one of its words, and
    missing where not. A code is what the data dictionary says.
    """
    by_word = {word: level.value for level in variable.levels.values() for word in level.words}
    declared = cells.str.lower().isin(by_word)
    missing = (table_reading.is_missing(cells) | _declared_missing(variable, cells)) & ~declared
    values: dict[str, float | str] = {}
    unknown: list[str] = []
    for word in cells[~missing].unique():
        plain = str(word).removesuffix(".0").lower()
        # A code 1 may be 1.0 in the table, and 1 in the dictionary, or the other way round.
        meaning = meanings.get(_plain_code(str(word)), "")
        _check_meaning(variable, by_word, source, str(cells.name), plain, meaning)
        # What the dictionary calls unknown is that, even if the bare code is a level's.
        unsaid = meaning in CALLED_UNKNOWN and meaning not in by_word
        if unsaid or (plain in table_reading.UNKNOWN and not {meaning, plain} & set(by_word)):
            unknown.append(str(word))
            continue
        value = by_word.get(meaning, by_word.get(plain, by_word.get(_plain_code(str(word)))))
        if value is not None:
            values[word] = value
    is_unknown = cells.isin(unknown)
    wrong = ~missing & ~is_unknown & ~cells.isin(values)
    if wrong.sum() > MOST_UNREADABLE * (~missing).sum():
        first = cells[wrong].iloc[0]
        raise DataError(
            f"{source.path}, column '{cells.name}': unknown level '{first}' of "
            f"{source.frame.loc[wrong, 'participant_id'].iloc[0]}; expected one of "
            f"{_spellings(variable)}. Add it to 'Words' in the analysis file."
        )
    problems = _questionable(variable, source, cells, is_unknown, Problem.UNKNOWN)
    problems += _questionable(variable, source, cells, wrong, Problem.NO_LEVEL)
    return cells.where(~missing).map(values), problems


def _check_meaning(
    variable: Variable,
    by_word: Mapping[str, float | str],
    source: CovariateSource,
    column: str,
    code: str,
    meaning: str,
) -> None:
    """See that what the data dictionary says of a code is understood, and no contradiction.

    A number says nothing by itself, so one whose meaning is not understood must not be read as
    what the analysis happens to call it. A word such as ``yes`` says what it means.

    Raises
    ------
    DataError
        It is not; the message shows how to declare it.
    """
    if not meaning or meaning in CALLED_UNKNOWN:
        return
    here = f"{source.path.with_suffix('.json')}, column '{column}': '{code}' means '{meaning}'"
    # A word that the analysis knows says enough, whatever the dictionary adds. A number does not: 1
    # is female in one table and male in another.
    if meaning not in by_word and (code not in by_word or not code.isalpha()):
        level = next(iter(variable.levels))
        raise DataError(
            f"{here}, which is none of the words that the analysis knows for {variable.name} "
            f"({_spellings(variable)}). Declare it there: Levels: {{{level}: {{Value: ..., "
            f"Words: [..., {meaning}]}}}}."
        )
    if (
        meaning in by_word
        and code.isalpha()
        and by_word.get(code, by_word[meaning]) != by_word[meaning]
    ):
        raise DataError(
            f"{here}, but the analysis takes it for another level; correct one of them."
        )


def _spellings(variable: Variable) -> str:
    return "; ".join(f"{name}: {', '.join(level.words)}" for name, level in variable.levels.items())


def _questionable(
    variable: Variable,
    source: CovariateSource,
    cells: pd.Series[str],
    here: pd.Series[bool],
    problem: Problem,
) -> list[Questionable]:
    """Return the cells of some rows as values that are not used."""
    rows = source.frame[here]
    sessions = rows["session_id"] if "session_id" in rows else pd.Series("n/a", index=rows.index)
    return [
        Questionable(
            participant_id=str(who),
            session_id=str(session),
            variable=variable.name,
            value=str(cell),
            problem=problem,
        )
        for who, session, cell in zip(rows["participant_id"], sessions, cells[here], strict=True)
    ]


def _on_rows(values: pd.Series[Any], frame: pd.DataFrame, rows: pd.Index) -> pd.Series[Any]:
    """Return the values on the rows wanted: by session where the table has sessions."""
    if "session_id" in frame:
        keys = pd.MultiIndex.from_frame(frame[["participant_id", "session_id"]])
        return pd.Series(values.to_numpy(), index=keys, dtype=object).reindex(rows)
    # A table without sessions says the same of all sessions of a participant.
    by_participant = pd.Series(values.to_numpy(), index=frame["participant_id"], dtype=object)
    people = rows.get_level_values("participant_id")
    return pd.Series(by_participant.reindex(people).to_numpy(), index=rows, dtype=object)


def _sessions(paths: list[Path], bids_dir: Path) -> list[CovariateSource]:
    """Return the tables of sessions, those with the same data dictionary as one."""
    inherited = dict(table_reading.dictionary(bids_dir / "sessions.json"))
    frames: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        frame = table_reading.read(path)
        if "session_id" not in frame:
            raise DataError(f"{path}: no column 'session_id'.")
        frame = _session_ids(frame.assign(participant_id=path.parent.name))
        _check_unique(frame, path)
        # The nearer file wins, name by name (BIDS, inheritance principle): codes of one
        # participant's dictionary say nothing about another's.
        described = inherited | dict(table_reading.dictionary(path.with_suffix(".json")))
        frames.setdefault(json.dumps(described, sort_keys=True), []).append(frame)
    return [
        # A column that one participant's file lacks is empty for that participant.
        CovariateSource(
            bids_dir / "sessions.tsv",
            pd.concat(alike, ignore_index=True).fillna("n/a"),
            json.loads(described),
        )
        for described, alike in frames.items()
    ]


def _session_ids(frame: pd.DataFrame) -> pd.DataFrame:
    if "session_id" not in frame:
        return frame
    plain = frame["session_id"].str.removeprefix("ses-")
    return frame.assign(session_id="ses-" + plain)


def _check_unique(frame: pd.DataFrame, path: Path) -> None:
    key = [name for name in ("participant_id", "session_id") if name in frame]
    repeated = frame[frame.duplicated(key)]
    if not repeated.empty:
        whose = " ".join(repeated[key].iloc[0])
        raise DataError(f"{path}: {whose} has more than one row; keep one row for each.")
