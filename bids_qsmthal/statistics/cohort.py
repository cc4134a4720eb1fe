"""Who was studied: one row a variable or a level of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from bids_qsmthal.core import digits

COLUMNS = [
    "variable", "label", "unit", "level", "n", "n_missing", "count", "percent", "mean", "sd",
    "median", "q1", "q3", "minimum", "maximum",
]  # fmt: skip


def summarise(
    frame: pd.DataFrame,
    *,
    labels: Mapping[str, str],
    units: Mapping[str, str],
    levels: Mapping[str, Mapping[str, float | str]],
) -> pd.DataFrame:
    """Return mean, SD, median, quartiles and range, or counts where a variable has levels.

    Parameters
    ----------
    frame
        One row a participant; the columns named in ``labels`` are summarised.
    labels, units
        Name for readers and unit of each variable.
    levels
        Word for each value of the variables that are not measured but counted.
    """
    rows: list[dict[str, object]] = []
    for name, label in labels.items():
        column = frame[name]
        base: dict[str, object] = {
            "variable": name,
            "label": label,
            "unit": units.get(name, ""),
            "n": int(column.notna().sum()),
            "n_missing": int(column.isna().sum()),
        }
        # Words without declared levels (a site, say) have no mean, so they are counted, too.
        counted = levels.get(name) or _text_levels(column)
        rows += _counts(base, column, counted) if counted else [base | _moments(column)]
    return pd.DataFrame(rows, columns=COLUMNS)


def printed(table: pd.DataFrame, units: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the summary as a paper prints it: mean and SD with range, or count and percent.

    ``units`` holds how a unit is printed, where not as it is.
    """
    lines = []
    for row in table.to_dict("records"):
        unit = (units or {}).get(row["unit"], row["unit"])
        unit = f" ({unit})" if unit else ""
        line = {"Characteristic": f"{row['label']}{unit}", "n": row["n"]}
        # Rows of measured variables have NaN as level: the columns are those of the longest row.
        if isinstance(row["level"], str):
            line["Characteristic"] = f"{row['label']}: {row['level']}"
            value = f"{digits.count(row['count'])} ({row['percent']:.0f}%)" if row["n"] else "n/a"
            spread = ""
        elif not row["n"]:
            value, spread = "n/a", "n/a"
        else:
            # One number of decimals for the whole line, so that mean, SD and range can be compared.
            decimals = _decimals(row["sd"])
            mean, sd, low, high = (
                _fixed(row[name], decimals) for name in ("mean", "sd", "minimum", "maximum")
            )
            value = f"{mean} \N{PLUS-MINUS SIGN} {sd}"
            spread = f"{low} to {high}"
        lines.append(line | {"Mean \N{PLUS-MINUS SIGN} SD, or count": value, "Range": spread})
    return pd.DataFrame(lines)


def _decimals(sd: float) -> int:
    """Return the decimals of a whole line: two digits of the SD at least, none from 100 on."""
    # Written so that NaN (a single value has no SD) goes the same way as 0.
    if not sd > 0 or sd >= 100:
        return 0 if sd >= 100 else 1
    return max(1, 1 - math.floor(math.log10(sd)))


def _fixed(value: float, decimals: int) -> str:
    return digits.MISSING if pd.isna(value) else digits.fixed(value, decimals)


def _text_levels(column: pd.Series) -> Mapping[str, float | str]:
    if pd.api.types.is_numeric_dtype(column):
        return {}
    return {str(value): str(value) for value in sorted(column.dropna().unique())}


def _counts(
    base: dict[str, object], column: pd.Series, levels: Mapping[str, float | str]
) -> list[dict[str, object]]:
    known = column.dropna()
    rows = []
    for word, value in levels.items():
        count = int((known == value).sum())
        # Percent of those who are known: a missing value is not a level.
        percent = 100 * count / len(known) if len(known) else float("nan")
        rows.append(base | {"level": word, "count": count, "percent": percent})
    return rows


def _moments(column: pd.Series) -> dict[str, object]:
    known = column.dropna().astype(float)
    if known.empty:
        return {}
    return {
        "mean": known.mean(),
        "sd": known.std(ddof=1) if len(known) > 1 else float("nan"),
        "median": known.median(),
        # Linear interpolation between order statistics (type 7 of Hyndman & Fan 1996), as R and
        # numpy.
        "q1": known.quantile(0.25),
        "q3": known.quantile(0.75),
        "minimum": known.min(),
        "maximum": known.max(),
    }
