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
    estimate, low, high = tables.shown_values(line, side)
    p = float(line[f"p_{side}"])
    if math.isnan(estimate):
        reason = f" ({line['note']})" if line["note"] else ""
        return f"{row.label}: no result{reason}."
    shown = [tables.rounded(value, row) for value in (estimate, low, high)]
    subject, unit = _subject(str(line["outcome"]), analysis)
    odds = line[f"effect_{side}"] == tables.Effect.LOG_ODDS_RATIO
    interval = f"{shown[1]} to {shown[2]}{'' if odds else unit}"
    figures = f"95% CI {interval}, p {_p(p)}, n = {tables.print_n(line, side)}"
    step = _step(row.term, analysis)
    if odds:
        found = f"the odds of {subject} were {shown[0]} times as high"
    elif p < tables.SIGNIFICANT:
        size = shown[0].lstrip("\N{MINUS SIGN}")
        found = f"{subject} was {size}{unit} {'larger' if estimate > 0 else 'smaller'} on average"
    else:
        found = f"{subject} differed by {shown[0]}{unit}"
    if p < tables.SIGNIFICANT:
        text = f"{row.label}: {step}, {found} ({figures})." + _doubt(line, side)
    else:
        text = (
            f"{row.label}: no association was shown. {step[0].upper()}{step[1:]}, {found}, and the "
            f"data are compatible with anything in the interval ({figures})."
        )
    if row.adjusted:
        text += " The other terms of the model are held fixed."
    return text + (f" Note: {line['note']}." if line["note"] else "")


def _doubt(line: pd.Series, side: str) -> str:
    """Return what correction for several tests makes of a p below the level."""
    corrected = float(line.get(f"p_holm_{side}", float("nan")))
    if math.isnan(corrected) or corrected < tables.SIGNIFICANT:
        return ""
    return (
        f" Corrected for the lines of this table (Holm) p {_p(corrected)}, so it may well be a "
        "chance finding."
    )


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
            "there is no evidence against a normal distribution of the values as they are"
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
    # The correlation of two variables in the whole cohort: each covariate costs one participant.
    ordered = found.sort_values(["n", "n_covariates"], ascending=[False, True], kind="stable")
    largest = ordered.iloc[0]
    return (
        f"{int(largest['n'])} participants give {100 * largest['power']:.0f}% power to find a "
        f"correlation of {largest['r']:.2f} at a two-sided level of {largest['alpha']:g}. "
        "Smaller associations may well be there and be missed."
    )


def read_diagnostics(results: pd.DataFrame) -> str:
    """Return what residuals suggest, model by model, where anything stands out."""
    examined = results[results["n_findings"].notna()]
    if examined.empty:
        return "No model could be examined."
    remarkable = examined[examined["n_findings"] > 0]
    lines = [f"{row.model}: {row.advice}." for row in remarkable.itertuples()]
    quiet = len(examined) - len(remarkable)
    lines.append(f"In {quiet} of {len(examined)} models nothing stands out.")
    return "\n\n".join(lines)


def read_sensitivity(results: pd.DataFrame, analysis: Analysis) -> str:
    """Return how far each coefficient of the tables depends on choices."""
    lines = []
    for (model, term), rows in results.groupby(["model", "term"], sort=False):
        tried = rows[rows["distinct"].eq(1) & rows["p"].notna()]
        if tried.empty:
            continue
        estimates = tried["coefficient"].astype(float)
        main = estimates.iloc[0]
        same_sign = int((estimates * main > 0).sum())
        below = int((tried["p"].astype(float) < tables.SIGNIFICANT).sum())
        label = analysis.variables[str(term)].label if term in analysis.variables else str(term)
        lines.append(
            f"{label} in {model}: {len(tried)} different estimates; same sign in {same_sign}, "
            f"p below .05 in {below}."
        )
    if not lines:
        return "There are too few participants, or nothing else was asked for."
    lines.append(
        "The specifications share the same participants, so they are not independent "
        "confirmations; they show whether the result depends on one choice."
    )
    return "\n\n".join(lines)


def _step(term: str, analysis: Analysis) -> str:
    variable = analysis.variables.get(term)
    if variable is None:
        return f"per unit of {term}"
    label = _inside(variable.label)
    if len(variable.levels) == 2:
        ordered = sorted(variable.levels.items(), key=lambda entry: str(entry[1].value))
        low, high = (word for word, _ in ordered)
        return f"for {label} '{high}' against '{low}'"
    return f"per {variable.unit or 'unit'} more of {label}"


def _subject(outcome: str, analysis: Analysis) -> tuple[str, str]:
    """Return the outcome as it reads in a sentence, and its unit."""
    variables: Mapping[str, Variable] = analysis.variables
    if outcome in variables:
        unit = variables[outcome].unit
        return _inside(variables[outcome].label), f" {unit}" if unit else ""
    for name, variable in variables.items():
        if outcome == f"log({name})":
            return f"the natural logarithm of {_inside(variable.label)}", ""
    return outcome, ""


def _inside(label: str) -> str:
    """Return a label as it stands within a sentence; abbreviations keep their capitals."""
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def _p(p: float) -> str:
    text = tables.print_p(p).removesuffix("*")
    return text if text.startswith(("<", ">")) else f"= {text}"
