"""The measures of all participants: many tidy files in, one wide table out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal.core.decision import SEVERITY
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import finished, participant_tables, table_reading

COLUMNS = [
    "participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value", "unit",
    "n_voxels", "n_lost", "method", "source", "qc",
]  # fmt: skip

TEXT = [
    *("participant_id", "session_id", "run_id", "scan"),
    *("measure", "region", "hemisphere", "unit", "qc"),
]
"""Columns of text that are kept; nothing here asks for the others."""

PLACE = ["measure", "region", "hemisphere"]

KEY = ["participant_id", "session_id", "scan", "run_id", "measure", "region", "hemisphere"]

CONVERSIONS = {
    ("mm3", "mL"): 1e-3,
    ("mL", "mm3"): 1e3,
    ("ppm", "ppb"): 1e3,
    ("ppb", "ppm"): 1e-3,
    ("cm", "mm"): 10.0,
    ("month", "year"): 1 / 12,
    ("week", "year"): 7 / 365.25,
    ("day", "year"): 1 / 365.25,
}
"""What a number in the first unit is multiplied with to be in the second."""

SPELLINGS = {
    "mm^3": "mm3", "mm³": "mm3", "cm3": "mL", "cm^3": "mL", "cm³": "mL", "cc": "mL", "ml": "mL",
    "years": "year", "yr": "year", "yrs": "year", "y": "year", "a": "year", "months": "month",
    "weeks": "week", "days": "day", "d": "day",
}  # fmt: skip


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the measures of every participant under each other.

    ``value`` is a number, NaN where the file says n/a; all other columns are text (``packed``).
    ``scan`` is added: how the names of the participant's files begin.

    Raises
    ------
    DataError
        A file is malformed, or holds a measure twice.
    """
    parts = participant_tables.batches(paths, finished.MEASURES, COLUMNS)
    frame = participant_tables.packed([_understood(part) for part in parts], TEXT)
    # Two folders have a file of one name: what is there twice need not be in one part.
    if len({path.name for path in paths}) < len(paths):
        _check_repeated(frame)
    return frame


def _check_repeated(frame: pd.DataFrame) -> None:
    repeated = frame[frame.duplicated(KEY)]
    if not repeated.empty:
        row = repeated.iloc[0]
        raise DataError(
            f"measures.tsv of {row['participant_id']}: {row['measure']} of {row['region']} "
            f"({row['hemisphere']}) is given twice; remove one."
        )


def _understood(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what is kept of rows of text.

    Raises
    ------
    DataError
        A value is no number, ``qc`` no verdict, or a measure is there twice.
    """
    frame["participant_id"] = "sub-" + frame["participant_id"].str.removeprefix("sub-")
    frame["run_id"] = run_names(frame["run_id"])
    frame["value"] = table_reading.numbers(
        frame["value"], "measures.tsv, column 'value'", frame["participant_id"]
    )
    # n/a: no check exists for this measure, which is no reason to doubt it.
    frame["qc"] = frame["qc"].str.lower().replace("n/a", "include")
    wrong = frame[~frame["qc"].isin(SEVERITY)]
    if not wrong.empty:
        raise DataError(
            f"measures.tsv of {wrong['participant_id'].iloc[0]}: qc is "
            f"'{wrong['qc'].iloc[0]}'; expected one of {', '.join(SEVERITY)}."
        )
    _check_repeated(frame)
    return frame[[*TEXT, "value"]].astype(dict.fromkeys(TEXT, "category"))


def run_names(cells: pd.Series[str]) -> pd.Series[str]:
    """Return run labels with their entity: ``run-1`` for 1, ``acq-a_run-1`` and n/a as they are.

    Participants' tables, ratings and tables that people write name a run either way.
    """
    # An entity always has a hyphen (run-1, acq-a), a bare label never.
    bare = ~cells.str.contains("-", regex=False) & ~table_reading.is_missing(cells)
    return cells.where(~bare, "run-" + cells)


def column_name(measure: str, region: str, hemisphere: str) -> str:
    """Return the name of a measure in the wide table."""
    parts = [part for part in (measure, region, hemisphere) if part and part != "n/a"]
    # A hyphen is a minus in formulas, and a column must be nameable there.
    return "_".join(parts).replace("-", "_")


def columns_of(frame: pd.DataFrame) -> pd.Categorical:
    """Return of each row the name of its measure in the wide table."""
    number, places = participant_tables.numbered(frame, PLACE)
    spelled, different = pd.factorize(
        np.array([column_name(*row) for row in places.itertuples(index=False)], dtype=object)
    )
    return pd.Categorical.from_codes(spelled[number], categories=pd.Index(different))


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a participant and session; several runs are averaged.

    A measure that says whether something is there is true where any run says so.
    """
    number, everyone = participant_tables.numbered(frame, ["participant_id", "session_id"])
    rows = pd.DataFrame(
        {"row": number, "column": columns_of(frame), "value": frame["value"].to_numpy()}
    )
    values = rows.pivot_table(
        index="row",
        columns="column",
        values="value",
        aggfunc="mean",
        # A column without any value stays: it was asked for, and its absence is to be seen.
        dropna=False,
        observed=True,
    )
    values.columns = pd.Index(values.columns.astype("str"), name="column")
    # 0 or 1 in each run; a mean of 0.5 is no level, and one run that shows it is enough.
    present = [name for name in values.columns if str(name).startswith("enhancing_present")]
    values[present] = np.ceil(values[present])
    whose = pd.MultiIndex.from_frame(everyone)
    return values.set_axis(whose[values.index]).sort_index(axis=0).sort_index(axis=1)


def convert(values: pd.Series[float], found: str, wanted: str, where: str) -> pd.Series[float]:
    """Return values in another unit.

    Raises
    ------
    DataError
        There is no known way from the one unit to the other.
    """
    rate = "/year"
    if found.endswith(rate) and wanted.endswith(rate):
        return convert(values, found.removesuffix(rate), wanted.removesuffix(rate), where)
    found, wanted = (SPELLINGS.get(unit, unit) for unit in (found, wanted))
    # A table without a unit is taken to be in the one of the analysis; questionable values show a
    # wrong guess by their Range.
    if not wanted or not found or found in (wanted, "n/a"):
        return values
    if (found, wanted) not in CONVERSIONS:
        raise DataError(f"{where}: the unit is '{found}'; expected {wanted}.")
    return values * CONVERSIONS[found, wanted]


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """What a column of the wide table holds. Its name alone does not tell measure from region."""

    measure: str
    region: str
    unit: str


Catalogue = Mapping[str, MeasureColumn]
"""The columns of the wide table by their names."""


def in_one_unit(frame: pd.DataFrame) -> tuple[pd.DataFrame, Catalogue]:
    """Return the table with each measure in the unit it has most often, and what there is.

    Raises
    ------
    DataError
        A measure comes in units that cannot be converted into each other.
    """
    catalogue: dict[str, MeasureColumn] = {}
    values = frame["value"].copy()
    for (measure, region, hemisphere), rows in frame[[*PLACE, "unit"]].groupby(
        PLACE, sort=False, observed=True
    ):
        spelled = rows["unit"].astype("str").replace(SPELLINGS)
        name = column_name(str(measure), str(region), str(hemisphere))
        # The most frequent one, so that few numbers are converted; mode is sorted, so ties are
        # stable.
        wanted = str(spelled.mode().iloc[0])
        catalogue[name] = MeasureColumn(str(measure), str(region), wanted)
        for unit in spelled.unique():
            if unit != wanted:
                index = spelled.index[spelled == unit]
                where = f"measures.tsv of {frame.loc[index[0], 'participant_id']}, {name}"
                values.loc[index] = convert(values.loc[index], str(unit), wanted, where)
    return frame.assign(value=values), catalogue
