"""The tables of a paper: chosen coefficients side by side, as numbers and as printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core import digits
from bids_qsmthal.statistics import multiplicity
from bids_qsmthal.statistics.regression import Family, Fit, Model

SIDES = ("unadjusted", "adjusted")

# The conventional level; printed tables mark what is below it with a star.
SIGNIFICANT = 0.05

PRINTED = ("coefficient", "95% CI", "p", "n")
"""Columns of each side of a printed table."""


class Effect(StrEnum):
    """What the coefficients of a model are."""

    DIFFERENCE = "difference"
    LOG_ODDS_RATIO = "log odds ratio"
    LOG_RATE_RATIO = "log rate ratio"


EFFECTS: dict[Family, Effect] = {
    "gaussian": Effect.DIFFERENCE,
    "binomial": Effect.LOG_ODDS_RATIO,
    "ordinal": Effect.LOG_ODDS_RATIO,
    "poisson": Effect.LOG_RATE_RATIO,
    "negative_binomial": Effect.LOG_RATE_RATIO,
}

RATIOS = {Effect.LOG_ODDS_RATIO: "odds ratio", Effect.LOG_RATE_RATIO: "rate ratio"}
"""What readers get in place of a logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: a term, and the models it is read from."""

    label: str
    term: str
    unadjusted: str = ""
    adjusted: str = ""
    decimals: int | None = None
    """Digits after the point; ``None`` gives two significant digits, and two decimals at least."""

    significant_digits: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """What a table shows."""

    name: str
    title: str
    rows: tuple[Row, ...]
    description: str = ""


def numbers(table: ModelTable, fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Return the table in full precision: one line a row, missing where not fitted."""
    made = pd.DataFrame([_line(row, fits) for row in table.rows])
    for side in SIDES:
        if f"p_{side}" in made:
            # A family is one column of one table: adjusted and unadjusted models test the same
            # questions.
            adjusted = multiplicity.adjust(made[f"p_{side}"].astype(float))
            place = list(made.columns).index(f"p_{side}") + 1
            # Inserted at one place in turn, so p_holm comes to stand before p_fdr.
            made.insert(place, f"p_fdr_{side}", adjusted["p_fdr"])
            made.insert(place, f"p_holm_{side}", adjusted["p_holm"])
    return made


def _line(row: Row, fits: Mapping[str, Fit]) -> dict[str, object]:
    line: dict[str, object] = {"label": row.label, "term": row.term}
    notes = []
    for side in SIDES:
        name = getattr(row, side)
        if not name:
            continue
        fit = fits[name]
        found = fit.row(row.term)
        # The adjusted model comes last, so its outcome stands where the two sides differ.
        line["outcome"] = found["outcome"]
        for column in ("coefficient", "ci_low", "ci_high", "p", "partial_r", "n", "n_events"):
            line[f"{column}_{side}"] = found[column]
        line[f"effect_{side}"] = effect_of(fit.model)
        if found["note"]:
            notes.append(f"{side}: {found['note']}")
    return line | {"note": "; ".join(notes)}


def effect_of(model: Model) -> Effect:
    """Return what the coefficients of a model are."""
    return EFFECTS[model.family]


def shown_values(line: pd.Series[Any], side: str) -> tuple[float, float, float]:
    """Return estimate and interval as readers get them: ratios, not their logarithms."""
    values = [float(line[f"{name}_{side}"]) for name in ("coefficient", "ci_low", "ci_high")]
    if line[f"effect_{side}"] in RATIOS:
        with np.errstate(over="ignore"):
            values = [float(np.exp(value)) for value in values]
    return values[0], values[1], values[2]


def print_n(line: pd.Series[Any], side: str) -> str:
    """Return the participants of a cell, and the events where the outcome counts them."""
    n, events = float(line[f"n_{side}"]), float(line[f"n_events_{side}"])
    text = digits.count(n)
    return text if math.isnan(events) else f"{text} ({digits.count(events)} events)"


def printed(table: ModelTable, made: pd.DataFrame) -> pd.DataFrame:
    """Return the table as a paper prints it: texts, rounded, * where p < 0.05."""
    lines = []
    for row, (_, line) in zip(table.rows, made.iterrows(), strict=True):
        cells = {"": row.label}
        for side in SIDES:
            if f"p_{side}" not in made:
                continue
            word = side.capitalize()
            if not getattr(row, side):
                cells |= dict.fromkeys([f"{word} {name}" for name in PRINTED], "n/a")
                continue
            estimate, low, high = (rounded(value, row) for value in shown_values(line, side))
            ratio = RATIOS.get(line[f"effect_{side}"]) if estimate != "n/a" else None
            cells[f"{word} coefficient"] = f"{estimate} ({ratio})" if ratio else estimate
            cells[f"{word} 95% CI"] = "n/a" if "n/a" in (low, high) else f"{low} to {high}"
            cells[f"{word} p"] = print_p(float(line[f"p_{side}"]))
            cells[f"{word} n"] = print_n(line, side)
        lines.append(cells)
    return pd.DataFrame(lines)


def print_p(p: float) -> str:
    """Return a p value in the manner of the American Journal of Neuroradiology.

    Three decimals below 0.1 and two above, no zero before the point, none at the end below 0.1.
    A value that rounding would put on the line of significance keeps more digits.
    """
    if math.isnan(p):
        return digits.MISSING
    # An exact p of 0 (underflow) is printed like this, too: never as zero.
    if p < 0.001:
        return "<.001*"
    star = "*" if p < SIGNIFICANT else ""
    if p > 0.99:
        return ">.99"
    if p >= 0.1:
        return digits.bounded(p)
    # .0496 printed as .05 would look as if it were on the other side.
    text = f"{p:.3f}" if f"{p:.3f}" != "0.050" else f"{p:.5f}"
    return text.removeprefix("0").rstrip("0") + star


def rounded(value: float, row: Row) -> str:
    """Return a number with the digits of its line of the table."""
    if math.isnan(value):
        return digits.MISSING
    decimals = row.decimals
    if decimals is None:
        decimals = max(_decimals(value, row.significant_digits), row.significant_digits)
    return digits.fixed(value, decimals)


def _decimals(value: float, significant_digits: int) -> int:
    """Return the decimals that show so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return significant_digits
    # Rounding may add a digit before the point: 0.0999 is 0.10 at two digits.
    shown = float(f"{value:.{significant_digits - 1}e}")
    return significant_digits - 1 - math.floor(math.log10(abs(shown)))
