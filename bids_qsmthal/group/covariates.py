"""What is known about each participant beside the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.measures import convert
from bids_qsmthal.statistics.analysis import Variable


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One TSV file with its data dictionary."""

    path: Path
    frame: pd.DataFrame
    """``participant_id``, perhaps ``session_id``, and columns of text."""

    dictionary: dict[str, Any]


def find(bids_dir: Path) -> list[Source]:
    """Return the tables that may hold covariates: the nearest to the session first.

    Raises
    ------
    DataError
        One of them is malformed or names a participant (and session) twice.
    """
    sources = []
    sessions = sorted(bids_dir.glob("sub-*/sub-*_sessions.tsv"))
    if sessions:
        sources.append(_sessions(sessions, bids_dir))
    one_row_each = [bids_dir / "participants.tsv", *sorted(bids_dir.glob("phenotype/*.tsv"))]
    for path in one_row_each:
        if path.exists():
            frame = table_reading.participant_ids(table_reading.read(path), path)
            frame = _session_ids(frame)
            _check_unique(frame, path)
            described = table_reading.dictionary(path.with_suffix(".json"))
            sources.append(Source(path, frame, dict(described)))
    return sources


def listed(sources: list[Source]) -> list[str]:
    """Return the participants of participants.tsv."""
    for source in sources:
        if source.path.name == "participants.tsv":
            return list(source.frame["participant_id"])
    return []


def columns(sources: list[Source]) -> list[str]:
    """Return the names of all columns that hold something about participants."""
    names = [str(name) for source in sources for name in source.frame.columns]
    return [name for name in dict.fromkeys(names) if name not in ("participant_id", "session_id")]


def collect(variable: Variable, sources: list[Source], rows: pd.MultiIndex) -> pd.DataFrame | None:
    """Return the values of a variable for each participant and session, and where they are from.

    The first of the variable's columns that some table has is used; a table with sessions goes
    before one without. ``None`` where no table has any of the columns.

    Returns
    -------
    Columns ``value`` and ``source``, with the given index.

    Raises
    ------
    DataError
        Text in a numeric column, an unknown level, or a unit that cannot be converted.
    """
    for column in variable.columns:
        found = [source for source in sources if column in source.frame]
        if not found:
            continue
        values = pd.Series(np.nan, index=rows, dtype=object)
        origins = pd.Series("n/a", index=rows, dtype=object)
        for source in found:
            here = _align(_parsed(variable, column, source), source.frame, rows)
            fresh = values.isna() & here.notna()
            values = values.where(~fresh, here)
            origins = origins.where(~fresh, f"{source.path.name}: {column}")
        return pd.DataFrame({"value": values.infer_objects(), "source": origins})
    return None


def years_since_first(sources: list[Source], rows: pd.Index) -> pd.Series[float]:
    """Return the years between each session and the participant's first (``acq_time``).

    Zero for whoever has one session; NaN where a date is missing.

    Raises
    ------
    DataError
        A time of acquisition cannot be read.
    """
    times = pd.Series(pd.NaT, index=rows, dtype="datetime64[ns]")
    for source in sources:
        if not {"session_id", "acq_time"} <= set(source.frame.columns):
            continue
        cells = source.frame["acq_time"]
        missing = table_reading.is_missing(cells)
        read = pd.to_datetime(cells.where(~missing), errors="coerce", format="ISO8601", utc=True)
        if (read.isna() & ~missing).any():
            wrong = cells[read.isna() & ~missing].iloc[0]
            raise DataError(
                f"{source.path}, column 'acq_time': '{wrong}' is not a time such as "
                "2020-03-01T09:30:00."
            )
        found = _align(read.dt.tz_localize(None), source.frame, rows)
        times = times.fillna(pd.to_datetime(found))
    people = rows.get_level_values("participant_id")
    first = times.groupby(people).transform("min")
    days = (times - first).dt.total_seconds() / 86_400
    alone = pd.Series(people, index=rows).map(pd.Series(people).value_counts()).eq(1)
    return (days / 365.25).where(~alone, 0.0)


def _parsed(variable: Variable, column: str, source: Source) -> pd.Series[Any]:
    cells = source.frame[column]
    where = f"{source.path}, column '{column}'"
    described = source.dictionary.get(column, {})
    described = described if isinstance(described, dict) else {}
    if variable.levels:
        return _levels(variable, cells, described.get("Levels", {}), source)
    values = table_reading.numbers(cells, where, source.frame["participant_id"])
    return convert(values, str(described.get("Units", "")), variable.unit, where)


def _levels(
    variable: Variable, cells: pd.Series[str], meanings: object, source: Source
) -> pd.Series[Any]:
    """Return the value of each level; a code is looked up in the data dictionary if need be."""
    by_word = {word: level.value for level in variable.levels.values() for word in level.words}
    coded = (
        {str(code): str(word) for code, word in meanings.items()}
        if isinstance(meanings, dict)
        else {}
    )
    values: dict[str, float | str] = {}
    missing = table_reading.is_missing(cells)
    for word in cells[~missing].unique():
        plain = str(word).removesuffix(".0").lower()
        meaning = coded.get(str(word), coded.get(str(word).removesuffix(".0"), "")).lower()
        if meaning in by_word:
            values[word] = by_word[meaning]
        elif plain in by_word:
            values[word] = by_word[plain]
        else:
            whose = source.frame.loc[cells == word, "participant_id"].iloc[0]
            known = "; ".join(
                f"{name}: {', '.join(level.words)}" for name, level in variable.levels.items()
            )
            raise DataError(
                f"{source.path}, column '{cells.name}': unknown level '{word}' of {whose}; "
                f"expected one of {known}. Add it to 'Words' in the analysis file."
            )
    return cells.where(~missing).map(values)


def _align(values: pd.Series[Any], frame: pd.DataFrame, rows: pd.Index) -> pd.Series[Any]:
    """Return the values on the rows wanted: by session where the table has sessions."""
    if "session_id" in frame:
        keys = pd.MultiIndex.from_frame(frame[["participant_id", "session_id"]])
        return pd.Series(values.to_numpy(), index=keys, dtype=object).reindex(rows)
    by_participant = pd.Series(values.to_numpy(), index=frame["participant_id"], dtype=object)
    people = rows.get_level_values("participant_id")
    return pd.Series(by_participant.reindex(people).to_numpy(), index=rows, dtype=object)


def _sessions(paths: list[Path], bids_dir: Path) -> Source:
    frames = []
    for path in paths:
        frame = table_reading.read(path)
        if "session_id" not in frame:
            raise DataError(f"{path}: no column 'session_id'.")
        frame = _session_ids(frame.assign(participant_id=path.parent.name))
        _check_unique(frame, path)
        frames.append(frame)
    inherited = bids_dir / "sessions.json"
    beside = paths[0].with_suffix(".json")
    described = table_reading.dictionary(beside if beside.exists() else inherited)
    together = pd.concat(frames, ignore_index=True).fillna("n/a")
    return Source(bids_dir / "sessions.tsv", together, dict(described))


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
        raise DataError(f"{path}: {whose} is there twice; keep one row for each.")
