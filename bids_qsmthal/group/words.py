"""The tables in plain language: what was seen, how sure it is, and no more than that."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from bids_qsmthal.statistics import normality, tables
from bids_qsmthal.statistics.analysis import Analysis, Variable
from bids_qsmthal.statistics.tables import Row, Table

CAUTION = (
    "These are associations in one cohort: they do not show what causes what. A p above .05 does "
    "not show that there is no association; the confidence interval says which ones remain "
    "possible. The p values are not corrected for the number of tests unless they say so."
)


def read_row(row: Row, line: pd.Series, analysis: Analysis) -> str:
    """Return one line of a table in words, from the adjusted model where there is one."""
    side = "adjusted" if row.adjusted else "unadjusted"
    estimate, low, high, p = (
        float(line[f"{name}_{side}"]) for name in ("coefficient", "ci_low", "ci_high", "p")
    )
    if math.isnan(estimate):
        reason = f" ({line['note']})" if line["note"] else ""
        return f"{row.label}: no result{reason}."
    compatible = p < tables.SIGNIFICANT
    finding = (
        f"{'larger' if estimate > 0 else 'smaller'} with {_step(row.term, analysis)}"
        if compatible
        else f"no association with {_step(row.term, analysis)} was found"
    )
    shown = [tables.rounded(value, row) for value in (estimate, low, high)]
    held = ", other terms of the model held fixed" if row.adjusted else ""
    subject = _subject(str(line["outcome"]), analysis)
    text = (
        f"{subject}: {finding}{held}: {shown[0]} per unit (95% CI {shown[1]} to {shown[2]}, "
        f"p {_p(p)}, n = {int(line[f'n_{side}'])})."
    )
    corrected = float(line.get(f"p_holm_{side}", float("nan")))
    if compatible and corrected >= tables.SIGNIFICANT:
        text += f" After correction for the lines of this table (Holm) p is {_p(corrected)}."
    if line["note"]:
        text += f" Note: {line['note']}."
    return text


def read_table(table: Table, numbers: pd.DataFrame, analysis: Analysis) -> str:
    """Return a table in words, a paragraph a line."""
    lines = [
        read_row(row, line, analysis)
        for row, (_, line) in zip(table.rows, numbers.iterrows(), strict=True)
    ]
    return "\n\n".join([*lines, CAUTION])


def read_normality(results: pd.DataFrame, analysis: Analysis) -> str:
    """Return what the ladder of powers suggests for each variable."""
    lines = []
    for name, rungs in results.groupby("variable", sort=False):
        label = analysis.variables[str(name)].label
        best = normality.best_rung(rungs)
        identity = rungs[rungs["transform"] == "identity"].iloc[0]
        if not best:
            lines.append(f"{label}: not tested ({identity['note']}).")
            continue
        p = float(identity["p_adjusted"])
        verdict = (
            "the values as they are do not depart from a normal distribution"
            if p >= tables.SIGNIFICANT
            else "the values as they are depart from a normal distribution"
        )
        lines.append(
            f"{label}: {verdict} (p {_p(p)}, n = {int(identity['n'])}); nearest to normal on the "
            f"ladder is {best}."
        )
    lines.append(
        "A regression needs residuals, not outcomes, that are near normal; with few participants "
        "the tests find little, with very many they find what does not matter."
    )
    return "\n\n".join(lines)


def read_power(power: pd.DataFrame) -> str:
    """Return what correlation the cohort could find."""
    found = power[power["question"] == "detectable correlation"].dropna(subset=["r"])
    if found.empty:
        return "There are too few participants to say what correlation could be found."
    largest = found.sort_values("n").iloc[-1]
    return (
        f"{int(largest['n'])} participants give {100 * largest['power']:.0f}% power to find a "
        f"correlation of {largest['r']:.2f} at a two-sided level of {largest['alpha']:g}. "
        "Smaller associations may well be there and be missed."
    )


def read_diagnostics(results: pd.DataFrame) -> str:
    """Return what residuals suggest, model by model, where anything stands out."""
    examined = results[results["advice"] != ""]
    if examined.empty:
        return "No model could be examined."
    remarkable = examined[examined["advice"] != "nothing stands out"]
    lines = [f"{row.model}: {row.advice}." for row in remarkable.itertuples()]
    quiet = len(examined) - len(remarkable)
    lines.append(f"In {quiet} of {len(examined)} models nothing stands out.")
    return "\n\n".join(lines)


def read_sensitivity(results: pd.DataFrame, analysis: Analysis) -> str:
    """Return how far each coefficient of the tables depends on choices."""
    lines = []
    for (model, term), rows in results.groupby(["model", "term"], sort=False):
        tried = rows[rows["p"].notna()]
        if tried.empty:
            continue
        estimates = tried["coefficient"].astype(float)
        main = estimates.iloc[0]
        same_sign = int((estimates * main > 0).sum())
        below = int((tried["p"].astype(float) < tables.SIGNIFICANT).sum())
        label = analysis.variables[str(term)].label if term in analysis.variables else str(term)
        lines.append(
            f"{label} in {model}: {len(tried)} specifications tried; same sign in {same_sign}, "
            f"p below .05 in {below}."
        )
    if not lines:
        return "There are too few participants, or nothing else was asked for."
    lines.append(
        "The specifications share the same participants, so they are not independent "
        "confirmations; they show whether the result hangs on one choice."
    )
    return "\n\n".join(lines)


def _step(term: str, analysis: Analysis) -> str:
    variable = analysis.variables.get(term)
    if variable is None:
        return term
    if len(variable.levels) == 2:
        return _two_levels(variable)
    label = variable.label[0].lower() + variable.label[1:]
    return f"higher {label}" + (f" (per {variable.unit})" if variable.unit else "")


def _two_levels(variable: Variable) -> str:
    ordered = sorted(variable.levels.items(), key=lambda entry: str(entry[1].value))
    low, high = (word for word, _ in ordered)
    return f"{variable.label.lower()} ({high} against {low})"


def _subject(outcome: str, analysis: Analysis) -> str:
    names: Mapping[str, Variable] = analysis.variables
    if outcome in names:
        return names[outcome].label
    for name, variable in names.items():
        if outcome == f"log({name})":
            return f"{variable.label} (natural logarithm)"
    return outcome


def _p(p: float) -> str:
    text = tables.print_p(p).removesuffix("*")
    return text if text.startswith(("<", ">")) else f"= {text}"
