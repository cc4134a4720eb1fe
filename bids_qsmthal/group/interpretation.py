"""The tables in plain language: what was seen, how sure it is, and no more than that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import labels, visit_changes
from bids_qsmthal.group.digits import alike, correlation, p_value
from bids_qsmthal.report import numbers
from bids_qsmthal.statistics import normality, reliable_change, sensitivity, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.tables import ModelTable, Row

CAUTION = (
    "These are associations in one cohort: they do not show what causes what. A p above .05 does "
    "not show that there is no association; the confidence interval says which ones remain "
    "possible. The p values are not corrected for the number of tests unless they say so."
)


RATIOS = {tables.Effect.LOG_ODDS_RATIO: "odds", tables.Effect.LOG_RATE_RATIO: "rate"}
"""What is a number of times as high."""

MOST_TIMES = 100
"""Up to so many times as much, the interval of a logarithm is also given in per cent: of three
participants it reaches to 2,591,349,779,612,774%, which tells nobody anything."""

RELATIVE_SUSCEPTIBILITY = "chi_relative_csf"

OPPOSITE = {"+": numbers.MINUS, numbers.MINUS: "+"}

DIRECTION = (
    "Relative susceptibility is here the mean of the thalami minus the mean of the CSF reference: "
    "a larger number is more paramagnetic, which in deep gray matter is read as more iron. The "
    "study (Chiang et al. 2018) says that it was calculated \u201cby subtracting the mean "
    "susceptibility in the thalami from that in the CSF ROI\u201d, which word for word is CSF "
    "minus thalamus: the same sizes and p values with every sign turned. The paper does not let "
    "one decide which was done. Thalamus minus CSF has a mean of {ours} in these {n} "
    "participants, CSF minus thalamus {theirs}. Word for word, the study's results agree with "
    "most later work, which finds lower thalamic susceptibility in multiple sclerosis (Zivadinov "
    "2018, PMC6219694; Schweser 2018, PMC5845810; Salman 2025, "
    "doi:10.1371/journal.pone.0332478)."
)
"""Both readings; nobody can tell from the paper which is meant."""


def read_row(row: Row, line: pd.Series, analysis: Analysis) -> str:
    """Return one line of a table in words.

    From the adjusted model where it has a result; from the unadjusted one where not, since that
    is what the table shows then.
    """
    sides = [side for side in ("adjusted", "unadjusted") if getattr(row, side)]
    side = next((s for s in sides if not math.isnan(line[f"coefficient_{s}"])), "")
    note = f" Note: {line['note']}." if line["note"] else ""
    if not side:
        return f"{row.label}: no result.{note}"
    text = f"{row.label}: {_association(row, line, analysis, side)}"
    if side == "adjusted":
        text += " The other terms of the model are held fixed."
    elif "adjusted" in sides:
        text += " This is the unadjusted model; the adjusted one has no result."
    return text + note


def _association(row: Row, line: pd.Series, analysis: Analysis, side: str) -> str:
    """Return what one model says of its term: how much, how sure."""
    estimate, low, high = tables.shown_values(line, side)
    p = float(line[f"p_{side}"])
    shown = [tables.rounded(value, row) for value in (estimate, low, high)]
    subject, unit = labels.outcome(str(line["outcome"]), analysis)
    ratio = RATIOS.get(line[f"effect_{side}"])
    interval = f"{shown[1]} to {shown[2]}{'' if ratio else unit}"
    sure = f"p {p_value(p)}, n = {tables.print_n(line, side)}"
    figures = f"95% CI {interval}, {sure}"
    step = labels.step(row.term, analysis)
    logged = "" if ratio else labels.logged_outcome(str(line["outcome"]), analysis)
    if logged and high < math.log(MOST_TIMES):
        difference, percent = _in_percent(logged, (estimate, low, high), p)
        own = f"coefficient of the natural logarithm {shown[0]}, 95% CI {interval}"
        figures = f"95% CI {percent}, {sure}; {own}"
    # A ratio is a factor, so "larger by" would be wrong; below 1 it reads as it is.
    elif ratio:
        difference = f"the {ratio} of {subject} {'were' if ratio[-1] == 's' else 'was'} "
        difference += f"{shown[0]} times as high"
    elif p < tables.SIGNIFICANT:
        size = shown[0].lstrip("\N{MINUS SIGN}")
        way = "larger" if estimate > 0 else "smaller"
        difference = f"{subject} was {size}{unit} {way} on average"
    else:
        difference = f"{subject} differed by {shown[0]}{unit}"
    if p < tables.SIGNIFICANT:
        return f"{step}, {difference} ({figures}).{_chance_finding(line, side)}"
    return (
        f"no association was shown. {step[0].upper()}{step[1:]}, {difference}; the data are "
        f"compatible with any value in the interval ({figures})."
    )


def _in_percent(subject: str, values: tuple[float, float, float], p: float) -> tuple[str, str]:
    """Return a difference of logarithms as a change in per cent, and its interval.

    The ratio of geometric means is exp(b), so the change is 100 (exp(b) - 1) per cent.
    """
    change, low, high = alike(*(100 * math.expm1(value) for value in values))
    interval = f"{low}% to {high}%"
    if p < tables.SIGNIFICANT:
        way = "larger" if values[0] > 0 else "smaller"
        return f"{subject} was {change.lstrip(numbers.MINUS)}% {way} on average", interval
    return f"{subject} differed by {change}%", interval


def _chance_finding(line: pd.Series, side: str) -> str:
    """Return what correction for several tests makes of a p below the level."""
    corrected = float(line.get(f"p_holm_{side}", float("nan")))
    # NaN where p was not corrected.
    if math.isnan(corrected) or corrected < tables.SIGNIFICANT:
        return ""
    return (
        f" Corrected for the lines of this table (Holm) p {p_value(corrected)}, so it may well be "
        "a chance finding."
    )


def read_table(table: ModelTable, numbers: pd.DataFrame, analysis: Analysis) -> str:
    """Return a table in words, a paragraph a line."""
    lines = [
        read_row(row, line, analysis)
        for row, (_, line) in zip(table.rows, numbers.iterrows(), strict=True)
    ]
    return "\n\n".join([*lines, CAUTION])


def read_direction(
    analysis: Analysis, frame: pd.DataFrame, shown: Mapping[str, pd.DataFrame]
) -> str:
    """Return both readings of the study's formula, with the signs that each gives here.

    Empty where the analysis has no relative susceptibility.

    Parameters
    ----------
    frame
        One row a participant.
    shown
        The tables of the analysis as numbers.
    """
    names = [n for n, v in analysis.variables.items() if v.measure == RELATIVE_SUSCEPTIBILITY]
    known = frame[names[0]].dropna() if names else pd.Series(dtype=float)
    if known.empty:
        return ""
    mean = float(known.mean())
    signs = [
        f"{label} {sign} / {OPPOSITE[sign]}" for label, sign in _signs(names[0], analysis, shown)
    ]
    associations = f" Signs of the associations in the two readings: {'; '.join(signs)}."
    return DIRECTION.format(
        ours=numbers.quantity(mean, "ppb", 1),
        theirs=numbers.quantity(-mean, "ppb", 1),
        n=count(len(known)),
    ) + (associations if signs else "")


def _signs(
    name: str, analysis: Analysis, shown: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, str]]:
    """Return the sign of each line of the tables that has the relative susceptibility in it."""
    for table in analysis.tables:
        for row, line in zip(table.rows, shown[table.name].to_dict("records"), strict=True):
            estimates = [line.get(f"coefficient_{side}", math.nan) for side in tables.SIDES[::-1]]
            estimate = next((value for value in estimates if not math.isnan(value)), 0.0)
            if name in (row.term, line["outcome"]) and estimate:
                yield row.label, "+" if estimate > 0 else numbers.MINUS


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
        nearest = (
            "nothing on the ladder is nearer to normal"
            if best == "identity"
            else f"nearest to normal on the ladder is {best}"
        )
        # Lower rungs might be nearer: that they were not looked at is part of the result.
        lacking = rungs.loc[rungs["k_squared_adjusted"].isna(), "note"]
        tried = f", of those that could be tried: {lacking.iloc[0]}" if len(lacking) else ""
        lines.append(
            f"{label}: {verdict} (p {p_value(p)}, n = {count(int(identity['n']))}); "
            f"{nearest}{tried}."
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
        f"{count(int(largest['n']))} participants give {100 * largest['power']:.0f}% power to find "
        f"a correlation of {correlation(largest['r'])} at a two-sided level of "
        f"{largest['alpha']:g}. Smaller associations may well be there and be missed."
    )


def read_diagnostics(results: pd.DataFrame) -> str:
    """Return what residuals suggest, model by model, where anything stands out."""
    examined = results[results["n_findings"].notna()]
    if examined.empty:
        return "No model could be examined."
    remarkable = examined[examined["n_findings"] > 0]
    lines = [f"{row.model}: {row.advice}." for row in remarkable.itertuples()]
    quiet = len(examined) - len(remarkable)
    lines.append(f"Models examined: {len(examined)}; nothing stands out in {quiet} of them.")
    return "\n\n".join(lines)


def read_reliable_change(rows: pd.DataFrame) -> str:
    """Return how many changed beyond the scatter of their sessions, beside what chance gives."""
    lines = []
    for model, here in rows.groupby("model", sort=False):
        found = reliable_change.counts(here)
        n = len(here)
        people = "1 participant" if n == 1 else f"{count(n)} participants"
        lines.append(
            f"{model}: of {people} with two dated sessions or more, "
            f"{count(found[reliable_change.INCREASE])} increased and "
            f"{count(found[reliable_change.DECREASE])} decreased by more than the scatter of "
            f"sessions explains (index beyond 1.96); if nobody changed, about "
            f"{numbers.fixed(reliable_change.LEVEL * n, 1)} would."
        )
    return "\n\n".join(lines)


def read_visit_changes(summary: pd.DataFrame) -> str:
    """Return the mean change between visits in words, and how many changed reliably."""
    lines = []
    for shown in visit_changes.SHOWN:
        for row in visit_changes.of_place(summary, shown).to_dict("records"):
            found = visit_changes.mean_of(summary, shown)
            mean, low, high = alike(*found)
            unit = "%" if shown.unit == "%" else f" {shown.unit}"
            line = f"{shown.title}: no mean change in a year ({row['note']})."
            if np.isfinite(found).all():
                line = (
                    f"{shown.title}: {mean}{unit} in a year (95% CI {low} to {high}; "
                    f"n = {count(int(row['n']))})."
                )
            n_known = int(row["n_known"])
            if n_known:
                chance = numbers.fixed(visit_changes.LEVEL / 2 * n_known, 1)
                line += (
                    f" Of {count(n_known)} whose change can be judged, "
                    f"{count(int(row['n_increase']))} increased and "
                    f"{count(int(row['n_decrease']))} decreased reliably; if nobody changed, "
                    f"about {chance} would do each."
                )
            lines.append(line)
    return "\n\n".join(lines)


def _agreement(rows: pd.DataFrame, main: float) -> tuple[int, int]:
    """Return how many estimates have the sign of the table's, and how many p are below .05."""
    same_sign = int((rows["coefficient"].astype(float) * main > 0).sum())
    return same_sign, int((rows["p"].astype(float) < tables.SIGNIFICANT).sum())


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def read_sensitivity(results: pd.DataFrame, analysis: Analysis) -> str:
    """Return how far each coefficient of the tables depends on choices."""
    lines = []
    for (model, term), rows in results.groupby(["model", "term"], sort=False):
        # The sign is compared with that of the table: without it there is nothing to compare.
        main = float(rows.loc[rows["specification"] == sensitivity.MAIN, "coefficient"].iloc[0])
        # Another test of the same estimate is no second estimate, and one without p was not tested.
        tried = rows[rows["distinct"].eq(1) & rows["p"].notna()]
        if tried.empty or np.isnan(main):
            continue
        same_sign, below = _agreement(tried, main)
        outcome = str(rows["outcome"].iloc[0])
        named = labels.question(str(term), outcome, str(model), analysis)
        if len(tried) == 1:
            line = f"{named}: no other specification gives another estimate."
        else:
            line = (
                f"{named}: {len(tried)} different estimates; same sign in {same_sign}, p below .05 "
                f"in {below}."
            )
        elsewhere = rows[rows["kind"].eq("region") & rows["p"].notna()]
        if len(elsewhere):
            same_sign, below = _agreement(elsewhere, main)
            regions = "1 other region" if len(elsewhere) == 1 else f"{len(elsewhere)} other regions"
            line += (
                f" Of {regions}, not counted here, {same_sign} {_have(same_sign)} the same sign "
                f"and {below} {_have(below)} p below .05."
            )
        lines.append(line)
    if not lines:
        return "There are too few participants, or nothing else was asked for."
    lines.append(
        "The specifications share the same participants, so they are not independent "
        "confirmations; they show whether the result depends on one choice."
    )
    return "\n\n".join(lines)
