"""The STROBE checklist of observational studies, filled with what a run knows.

von Elm et al. 2007, doi 10.1016/S0140-6736(07)61602-X. The items are named in our own words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import interpretation, labels, methods_text
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.group.flow import FlowStep
from bids_qsmthal.statistics import sensitivity
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.tables import SIDES

YOURS = "For you to write."

COLUMNS = ("Item", "What to report", "What this run knows")

ITEMS = (
    ("1", "Title and abstract: design, what was done, what was found"),
    ("2", "Background and rationale"),
    ("3", "Objectives and hypotheses"),
    ("4", "Study design"),
    ("5", "Setting, places and dates"),
    ("6", "Participants: who could take part, how they were chosen"),
    ("7", "Variables: outcomes, exposures, confounders"),
    ("8", "Data sources and measurement"),
    ("9", "Bias: what was done about it"),
    ("10", "Study size: how it was arrived at"),
    ("11", "Quantitative variables: how they were handled"),
    ("12a", "Statistical methods, control of confounding"),
    ("12b", "Subgroups and interactions"),
    ("12c", "Missing data"),
    ("12d", "Matching, loss to follow-up or sampling"),
    ("12e", "Sensitivity analyses"),
    ("13", "Participants: numbers at each stage, reasons, a flow diagram"),
    ("14", "Descriptive data: characteristics, missing values"),
    ("15", "Outcome data"),
    ("16", "Main results: unadjusted and adjusted, with intervals"),
    ("17", "Other analyses"),
    ("18", "Key results"),
    ("19", "Limitations"),
    ("20", "Interpretation"),
    ("21", "Generalisability"),
    ("22", "Funding"),
)
"""Number and subject of each item."""


def checklist(analysis: Analysis, results: Results) -> pd.DataFrame:
    """Return the list; what no program can know is left to the author."""
    known = {
        **_participants(analysis, results),
        **_variables(analysis, results),
        **_methods(analysis, results),
        **_results(analysis, results),
    }
    rows = [(item, subject, known.get(item, YOURS)) for item, subject in ITEMS]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _participants(analysis: Analysis, results: Results) -> Mapping[str, str]:
    counts = {line.step: line.n for line in results.flow}
    chosen = f"Filter of the analysis: {analysis.filter}. " if analysis.filter else ""
    unusable = [analysis.variables[name].label for name in analysis.exclude_when]
    if unusable:
        chosen += f"Left out where the image of these was unusable: {', '.join(unusable)}. "
    reasons = [
        f"{count(line.n)} {line.about}" for line in results.flow if line.step == FlowStep.EXCLUDED
    ]
    left_out = f" (left out: {'; '.join(reasons)})" if reasons else ""
    listed = counts.get(FlowStep.LISTED)
    of_listed = f"{count(listed)} listed, " if listed is not None else ""
    repeated = bool(analysis.longitudinal)
    return {
        "3": f"{analysis.description.strip()} {YOURS}".strip(),
        "4": f"Repeated sessions, and one session of each participant for all other models. {YOURS}"
        if repeated
        else f"Cross-sectional: one session of each participant ({analysis.session}). {YOURS}",
        "6": f"{chosen}{YOURS}",
        "13": f"{of_listed}{count(counts.get(FlowStep.WITH_RESULTS, 0))} with results, "
        f"{count(counts.get(FlowStep.ANALYSED, 0))} analysed{left_out}; the flow diagram is "
        "figures/flow_of_participants, and exclusions.tsv names everybody.",
    }


def _variables(analysis: Analysis, results: Results) -> Mapping[str, str]:
    rows = results.cohort.drop_duplicates("variable")
    lacking = [
        f"{row['label']} {count(int(row['n_missing']))}"
        for row in rows.to_dict("records")
        if row["n_missing"]
    ]
    missing = f"Missing values: {', '.join(lacking)}." if lacking else "No missing values."
    names = sorted({fit.design.outcome_name for fit in results.fits.values() if fit.design})
    outcomes = [labels.label(name, analysis) for name in names]
    words = [v.label for v in analysis.variables.values() if v.levels]
    measured = [v.label for v in analysis.variables.values() if v.measure]
    tables = [v.label for v in analysis.variables.values() if v.columns]
    return {
        "7": f"Outcomes of the models: {', '.join(outcomes)}. {YOURS}",
        "8": f"From the images: {', '.join(measured)} (see the methods of each participant's "
        f"report). From tables: {', '.join(tables)}. {YOURS}",
        "11": f"With levels: {', '.join(words) or 'none'}; all others as numbers; logarithms and "
        "other transformations are in the formulas of the models.",
        "14": f"See 'Characteristics'. {missing}",
    }


def _methods(analysis: Analysis, results: Results) -> Mapping[str, str]:
    filters = [fit.model.name for fit in results.fits.values() if fit.model.filter]
    n = sensitivity.most_answers(results.sensitivity)
    return {
        "9": "Quality control of every scan, exclusions by rule or by a reader, and the "
        f"sensitivity to choices are reported. {YOURS}",
        "10": f"{interpretation.read_power(results.power)} {YOURS}",
        "12a": f"{_families(results)}; the formula of each model names its confounders (see "
        "'Methods').",
        "12b": f"Models of a part of the participants: {', '.join(filters) or 'none'}.",
        "12c": "Models of complete cases, n in every cell"
        + (", and multiple imputation beside them" if len(results.imputation) else "")
        + "; see 'Methods'.",
        "12d": "Mixed models of all sessions." if analysis.longitudinal else YOURS,
        "12e": f"Up to {n} specifications of each coefficient that give different estimates; see "
        "'Sensitivity to choices'."
        if n
        else "None.",
    }


def _results(analysis: Analysis, results: Results) -> Mapping[str, str]:
    named = ", ".join(table.name for table in analysis.tables) or "none"
    adjusted = any(getattr(row, SIDES[1]) for table in analysis.tables for row in table.rows)
    sides = "unadjusted and adjusted" if adjusted else "unadjusted only"
    other = {
        "longitudinal": len(results.longitudinal),
        "change between visits": len(results.annual_change),
        "mediation": len(results.mediation),
        "effect sizes and evidence": len(results.evidence),
        "comparison with a published study": len(results.published),
    }
    done = [name for name, n in other.items() if n]
    return {
        "15": f"{_outcomes(results)}. See 'Characteristics' for their distribution.",
        "16": f"Tables {named}: {sides}, with 95% confidence intervals.",
        "17": f"{', '.join(done) or 'none'}.".capitalize(),
        "18": f"The sentences below each table say it line by line. {YOURS}",
        "19": f"Associations only; see also 'Direction of the number' where it is there. {YOURS}",
    }


def _families(results: Results) -> str:
    """Return the kinds of models that were fitted, each once."""
    families = dict.fromkeys(fit.model.family for fit in results.fits.values())
    text = ", ".join(methods_text.FAMILIES[family] for family in families)
    return text[:1].upper() + text[1:]


def _outcomes(results: Results) -> str:
    """Return each outcome with the participants, and events, of the largest model of it."""
    largest: dict[str, tuple[int, float]] = {}
    for fit in results.fits.values():
        if not fit.fitted or fit.design is None:
            continue
        events = float(fit.coefficients["n_events"].iloc[0])
        found = fit.design.n, events
        name = fit.design.outcome_name
        largest[name] = max(largest.get(name, found), found)
    counted = [
        f"{name}: n = {count(n)}" + ("" if math.isnan(events) else f", {count(events)} events")
        for name, (n, events) in largest.items()
    ]
    return "; ".join(counted) or "No model was fitted"
