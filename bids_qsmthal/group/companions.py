"""What the participant level wrote beside the measures: quality checks, other choices."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from bids_qsmthal.errors import DataError
from bids_qsmthal.group import tables_in

IDENTITY = ["participant_id", "session_id", "run_id", "scan"]

QUALITY = "_desc-qsmthal_quality.tsv"
SENSITIVITY = "_desc-qsmthal_sensitivity.tsv"


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
        first, _, body = tables_in.text(path).partition("\n")
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


def other_choices(output_dir: Path, tidy: pd.DataFrame) -> pd.DataFrame:
    """Return relative susceptibility under other choices, as rows of the tidy table.

    The measure is named ``chi_relative_csf_veins_not_removed``, say.
    """
    columns = ["choice", "variant", "hemisphere", "value", "difference", "unit", "n_voxels"]
    frame = together(_find(output_dir, SENSITIVITY), SENSITIVITY, columns)
    frame = frame[frame["choice"] != "default"]
    if frame.empty:
        return tidy.iloc[:0]
    slugs = (frame["choice"] + "_" + frame["variant"]).str.lower()
    named = slugs.str.replace(r"\W+", "_", regex=True)
    who = tidy[IDENTITY].drop_duplicates("scan")
    rows = frame[["scan", "hemisphere", "unit"]].assign(
        measure="chi_relative_csf_" + named,
        region="thalamus",
        qc="include",
        value=tables_in.numbers(frame["value"], f"{output_dir}, *{SENSITIVITY}", frame["scan"]),
    )
    return rows.merge(who, on="scan").reindex(columns=tidy.columns)


def _find(output_dir: Path, ending: str) -> list[Path]:
    return sorted(
        [
            *output_dir.glob(f"sub-*/anat/sub-*{ending}"),
            *output_dir.glob(f"sub-*/ses-*/anat/sub-*{ending}"),
        ]
    )
