"""What the participant level wrote beside the measures: quality checks, other choices."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.files import plain_cell
from bids_qsmthal.group import finished, table_reading

IDENTITY = ["participant_id", "session_id", "run_id", "scan"]

CHOICES = (
    *("choice", "variant", "hemisphere", "n", "mean_difference", "sd_difference"),
    *("minimum", "maximum", "correlation"),
)

FEWEST_FOR_SPREAD = 3
"""Two participants have a difference, but no spread worth a number."""


BATCH = 500
"""Files that are parsed at once: one by one takes long, and the text of all at once gigabytes."""


def joined(paths: Sequence[Path], ending: str, columns: list[str]) -> pd.DataFrame:
    """Return many files with equal columns as one table of text.

    ``scan`` is added: how the names of the scan's files begin.

    Raises
    ------
    DataError
        A file has other columns, or rows of another length.
    """
    return pd.concat(batches(paths, ending, columns), ignore_index=True)


def batches(paths: Sequence[Path], ending: str, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Return what ``joined`` does in parts, each of many files; at least one, which may be empty.

    Raises
    ------
    DataError
        As of ``joined``.
    """
    for begin in range(0, max(len(paths), 1), BATCH):
        yield _parsed(paths[begin : begin + BATCH], ending, columns)


def packed(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Return tables under each other; text stands once in each column, and rows have its number.

    Twenty thousand participants with 600 measures each are twelve million rows of a dozen columns;
    as references to text they take a hundred bytes each, and so does every copy of them.

    Parameters
    ----------
    frames
        The tables.
    columns
        Those that hold text of few kinds. Its order is that of the alphabet, as that of text is.
    """
    if not columns:
        return pd.concat(frames, ignore_index=True)
    made = {
        name: union_categoricals(
            [frame[name].astype("category").array for frame in frames], sort_categories=True
        )
        for name in columns
    }
    rest = [name for name in frames[0].columns if name not in made]
    joined_rest = pd.concat([frame[rest] for frame in frames], ignore_index=True)
    return joined_rest.assign(**made)[list(frames[0].columns)]


def distinct(frame: pd.DataFrame, columns: list[str], by: list[str] | None = None) -> pd.DataFrame:
    """Return the different rows of some columns, as text; by some of these the first ones."""
    return frame[columns].drop_duplicates(by).astype("str")


def numbered(
    frame: pd.DataFrame, columns: list[str]
) -> tuple[NDArray[np.integer[Any]], pd.DataFrame]:
    """Return which of the different rows of some columns every row is, and these, as text."""
    groups = frame.groupby(columns, sort=False, observed=True, dropna=False)
    number = groups.ngroup().to_numpy()
    _, first = np.unique(number, return_index=True)
    return number, frame[columns].iloc[first].astype("str")


def _parsed(paths: Sequence[Path], ending: str, columns: list[str]) -> pd.DataFrame:
    header = "\t".join(columns)
    bodies = []
    scans: list[str] = []
    for path in paths:
        first, _, body = table_reading.text(path).partition("\n")
        body = body.rstrip("\n")
        # Columns are compared as a whole: a table of another version would be read into wrong ones.
        if first.rstrip("\t ") != header:
            raise DataError(
                f"{path}: the columns are '{first}'; expected '{header}'. Another version of this "
                "program wrote it: run the participant level again with this one."
            )
        rows = body.count("\n") + 1 if body else 0
        # Tabs of the whole body and not of each row: there may be ten thousand files, which are our
        # own.
        if body.count("\t") != (len(columns) - 1) * rows:
            raise DataError(f"{path}: a row does not have {len(columns)} cells.")
        bodies += [body] if body else []
        scans += [path.name.removesuffix(ending)] * rows
    frame = pd.read_csv(
        io.StringIO("\n".join([header, *bodies])),
        sep="\t",
        dtype="str",
        keep_default_na=False,
        # 3 is csv.QUOTE_NONE: our tables put no quotes around cells, and a lone one would swallow
        # lines.
        quoting=3,
    )
    # plain_cell on every cell is slow, and an apostrophe is rare.
    if any("'" in body for body in bodies):
        frame = frame.map(plain_cell)
    return frame.assign(scan=scans)


def checks(paths: Sequence[Path]) -> pd.DataFrame:
    """Return every check of every scan, as text, with the name of the scan."""
    columns = ["name", "value", "unit", "threshold", "verdict", "reason", "source"]
    return joined(paths, finished.QUALITY, columns)


def failed_checks(every: pd.DataFrame) -> pd.DataFrame:
    """Return the checks that some scan did not pass: scan, verdict and reason."""
    return every.loc[
        every["verdict"].isin([Decision.CHECK, Decision.EXCLUDE]), ["scan", "verdict", "reason"]
    ]


def other_choices(paths: Sequence[Path]) -> pd.DataFrame:
    """Return relative susceptibility under other choices: what the participants wrote, and scan."""
    columns = ["choice", "variant", "hemisphere", "value", "difference", "unit", "n_voxels"]
    frame = joined(paths, finished.SENSITIVITY, columns)
    frame = frame[frame["choice"] != "default"]
    where = f"*{finished.SENSITIVITY}"
    numbers = {
        name: table_reading.numbers(frame[name], where, frame["scan"])
        for name in ("value", "difference")
    }
    return frame.assign(**numbers)


def as_measures(choices: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Return other choices as rows of the tidy table of measures.

    The measure is named ``chi_relative_csf_veins_not_removed``, say.
    """
    if choices.empty:
        return measures.iloc[:0]
    slugs = (choices["choice"] + "_" + choices["variant"]).str.lower()
    named = slugs.str.replace(r"\W+", "_", regex=True)
    identity = distinct(measures, IDENTITY, ["scan"])
    rows = choices[["scan", "hemisphere", "unit", "value"]].assign(
        measure="chi_relative_csf_" + named, region="thalamus", qc="include"
    )
    return rows.merge(identity, on="scan").reindex(columns=measures.columns)


def differences(choices: pd.DataFrame, usable: pd.DataFrame) -> pd.DataFrame:
    """Return how far each other choice moves the number over the participants that are used.

    Scans of one participant are averaged first, so nobody counts twice. Columns as in
    ``CHOICES``; the standard deviation and the correlation need three participants.
    """
    identity = distinct(usable, ["participant_id", "scan"], ["scan"])
    merged = choices.merge(identity, on="scan")
    # The number as reported: difference is variant minus reported.
    merged["own"] = merged["value"] - merged["difference"]
    key = ["choice", "variant", "hemisphere"]
    numbers = ["value", "difference", "own"]
    # sort=False keeps the order in which the participant level lists its choices.
    each = merged.groupby([*key, "participant_id"], sort=False)[numbers].mean().dropna()
    rows = [
        (
            *place,
            len(rows),
            rows["difference"].mean(),
            rows["difference"].std() if len(rows) >= FEWEST_FOR_SPREAD else float("nan"),
            rows["difference"].min(),
            rows["difference"].max(),
            rows["value"].corr(rows["own"]) if len(rows) >= FEWEST_FOR_SPREAD else float("nan"),
        )
        for place, rows in each.groupby(level=key, sort=False)
    ]
    return pd.DataFrame(rows, columns=list(CHOICES))
