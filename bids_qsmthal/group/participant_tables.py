"""What the participant level wrote beside the measures: quality checks, other choices."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import table_reading

IDENTITY = ["participant_id", "session_id", "run_id", "scan"]

QUALITY = "_desc-qsmthal_quality.tsv"
SENSITIVITY = "_desc-qsmthal_sensitivity.tsv"

CHOICES = (
    *("choice", "variant", "hemisphere", "n", "mean_difference", "sd_difference"),
    *("minimum", "maximum", "correlation"),
)

FEWEST_FOR_SPREAD = 3
"""Two participants have a difference, but no spread worth a number."""


def together(paths: list[Path], ending: str, columns: list[str]) -> pd.DataFrame:
    """Return many files with equal columns as one table of text.

    They are parsed at once, since there may be ten thousand. ``scan`` is added: how the names of
    the scan's files begin.

    Raises
    ------
    DataError
        A file has other columns, or rows of another length.
    """
    header = "\t".join(columns)
    bodies = []
    scans: list[str] = []
    for path in paths:
        first, _, body = table_reading.text(path).partition("\n")
        body = body.rstrip("\n")
        if first.rstrip("\t ") != header:
            raise DataError(f"{path}: the columns are '{first}'; expected '{header}'.")
        rows = body.count("\n") + 1 if body else 0
        if body.count("\t") != (len(columns) - 1) * rows:
            raise DataError(f"{path}: a row does not have {len(columns)} cells.")
        bodies += [body] if body else []
        scans += [path.name.removesuffix(ending)] * rows
    frame = pd.read_csv(
        io.StringIO("\n".join([header, *bodies])),
        sep="\t",
        dtype="str",
        keep_default_na=False,
        quoting=3,
    )
    return frame.assign(scan=scans)


def quality(output_dir: Path) -> pd.DataFrame:
    """Return the checks that some scan did not pass: scan, verdict and reason."""
    columns = ["name", "value", "unit", "threshold", "verdict", "reason", "source"]
    frame = together(_find(output_dir, QUALITY), QUALITY, columns)
    return frame.loc[frame["verdict"].isin(["check", "exclude"]), ["scan", "verdict", "reason"]]


def other_choices(output_dir: Path) -> pd.DataFrame:
    """Return relative susceptibility under other choices: what the participants wrote, and scan."""
    columns = ["choice", "variant", "hemisphere", "value", "difference", "unit", "n_voxels"]
    frame = together(_find(output_dir, SENSITIVITY), SENSITIVITY, columns)
    frame = frame[frame["choice"] != "default"]
    where = f"{output_dir}, *{SENSITIVITY}"
    numbers = {
        name: table_reading.numbers(frame[name], where, frame["scan"])
        for name in ("value", "difference")
    }
    return frame.assign(**numbers)


def as_measures(frame: pd.DataFrame, tidy: pd.DataFrame) -> pd.DataFrame:
    """Return other choices as rows of the tidy table.

    The measure is named ``chi_relative_csf_veins_not_removed``, say.
    """
    if frame.empty:
        return tidy.iloc[:0]
    slugs = (frame["choice"] + "_" + frame["variant"]).str.lower()
    named = slugs.str.replace(r"\W+", "_", regex=True)
    who = tidy[IDENTITY].drop_duplicates("scan")
    rows = frame[["scan", "hemisphere", "unit", "value"]].assign(
        measure="chi_relative_csf_" + named, region="thalamus", qc="include"
    )
    return rows.merge(who, on="scan").reindex(columns=tidy.columns)


def shifts(frame: pd.DataFrame, usable: pd.DataFrame) -> pd.DataFrame:
    """Return how far each other choice moves the number over the participants that are used.

    Scans of one participant are averaged first, so nobody counts twice. Columns as in
    ``CHOICES``; the standard deviation and the correlation need three participants.
    """
    who = usable[["participant_id", "scan"]].drop_duplicates("scan")
    merged = frame.merge(who, on="scan")
    merged["own"] = merged["value"] - merged["difference"]
    key = ["choice", "variant", "hemisphere"]
    numbers = ["value", "difference", "own"]
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


def _find(output_dir: Path, ending: str) -> list[Path]:
    return sorted(
        [
            *output_dir.glob(f"sub-*/anat/sub-*{ending}"),
            *output_dir.glob(f"sub-*/ses-*/anat/sub-*{ending}"),
        ]
    )
