"""Evidence and the published study in plain language: one careful sentence a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import digits
from bids_qsmthal.group.digits import chance, correlation, p_value
from bids_qsmthal.report import numbers
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.evidence import Conclusion, EvidenceScale
from bids_qsmthal.statistics.published import Reading, Study, Value, contradiction

LITTLE = 3.0
"""Bayes factors between 1/3 and 3 are "not worth more than a bare mention" (Jeffreys 1961, app. B;
Kass & Raftery 1995, doi:10.1080/01621459.1995.10476572)."""

EVIDENCE_NOTE = (
    "Smallest correlation of interest: \u00b1{bound}. An equivalence test (two one-sided tests) "
    "with p below .05 says that the correlation is smaller than that, not that it is zero; a p "
    "above .05 of the table alone says neither. Bayes factors compare the model with and without "
    "the term under the JZS prior and depend on that prior. A correlation written with \u2248 is "
    "that of a model that has none of its own (odds, rates, robust errors, sites): its "
    "coefficient on the scale of the linear predictor. Neither is corrected for the number of "
    "tests; evidence.tsv has the equivalence tests also by Holm."
)

READINGS = {
    Reading.AS_HERE: "with the signs as printed",
    Reading.TURNED: "with the signs turned (see Direction of the number)",
}


def methods(analysis: Analysis, evidence: pd.DataFrame) -> Iterator[str]:
    """Return what the methods text says of equivalence, Bayes factors and published values."""
    if len(evidence) and evidence["verdict"].fillna("").ne("").any():
        scale = analysis.evidence
        yield (
            "Whether a (partial) correlation is smaller than the smallest one of interest, "
            f"\u00b1{correlation(scale.smallest_effect)}, was examined by two one-sided tests on "
            "Fisher's scale (Schuirmann 1987). Bayes factors compare each model with and "
            "without the term "
            f"under the JZS prior of scale {scale.regression_scale:.3g} (Rouder and Morey 2012), "
            "and the correlation with none under a stretched beta prior of width "
            f"{scale.correlation_width:g} (Ly et al. 2016)."
        )
        if (evidence["scale"] == EvidenceScale.APPROXIMATE).any():
            yield (
                "Coefficients of models other than least squares were compared with the "
                "coefficient that this correlation stands for on the scale of the linear "
                "predictor (Nakagawa et al. 2017), each by its own standard error; their Bayes "
                "factors are from estimate and standard error alone (Wakefield 2009)."
            )
        if scale.smallest_ratio is not None:
            yield (
                f"Odds and rate ratios beyond {scale.smallest_ratio:g} per standard deviation "
                "were regarded as of interest."
            )
    for study in analysis.published:
        text = (
            f"Coefficients were compared with those of {study.name} (n = {study.n}) as of two "
            "independent samples"
        )
        yield f"{text}, in both readings of their sign." if study.open_direction else f"{text}."


def read_evidence(lines: pd.DataFrame, bound: float) -> str:
    """Return one sentence a row of the tables, from the adjusted model where it has a result."""
    known = lines[lines["verdict"].fillna("") != ""]
    if known.empty and lines["per_sd"].notna().any():
        return (
            "There are too few participants to weigh an effect against chance: a model needs at "
            "least two more than it has coefficients. The table has sizes alone."
        )
    if known.empty:
        return "No model has an estimate to weigh."
    # Adjusted lines come after unadjusted ones of the same table.
    chosen = known.drop_duplicates(["table", "label"], keep="last")
    sentences = [_weighed(line) for line in chosen.to_dict("records")]
    return "\n\n".join([*sentences, EVIDENCE_NOTE.format(bound=correlation(bound))])


def _weighed(line: Mapping[Any, Any]) -> str:
    r, low, high = (correlation(line[f"partial_r{end}"]) for end in ("", "_low", "_high"))
    beyond, bound = line["excluded_beyond"], correlation(line["smallest_effect"])
    equals = "=" if line["scale"] == EvidenceScale.EXACT else "\N{ALMOST EQUAL TO}"
    found = f"{line['label']} ({line['side']}): r {equals} {r} (95% CI {low} to {high})"
    found += _ratio(line)
    test = f"equivalence p {p_value(line['p_equivalence'])}"
    said = {
        Conclusion.ASSOCIATED: f"an association, which may be as large as is of interest ({test})",
        Conclusion.SMALL: f"an association, but one smaller than \u00b1{bound} ({test})",
        Conclusion.EQUIVALENT: f"correlations beyond \u00b1{bound} are excluded ({test}), as are "
        f"all beyond \u00b1{correlation(beyond)}; a smaller one may be there",
        Conclusion.UNDECIDED: "neither an association nor its absence is shown: correlations up to "
        f"\u00b1{correlation(beyond)} remain possible ({test})",
    }[Conclusion(line["verdict"])]
    return f"{found}: {said}{_factor(line['bf10'])}."


def _ratio(line: Mapping[Any, Any]) -> str:
    """Return an odds or rate ratio per SD with the bound it is held against, in half a sentence."""
    ratio = tables.RATIOS.get(line["effect"])
    if ratio is None or pd.isna(line["sd_term"]):
        return ""
    values = [line["per_sd"], line["per_sd_low"], line["per_sd_high"]]
    with np.errstate(over="ignore"):
        shown = digits.with_interval(*(float(np.exp(value)) for value in values))
        bound = float(np.exp(line["smallest_coefficient"] * line["sd_term"]))
    return (
        f", {ratio} per SD {shown}, of interest from {digits.significant(1 / bound, 2)} or "
        f"{digits.significant(bound, 2)} on"
    )


def _factor(bf10: float) -> str:
    """Return what a Bayes factor says, in half a sentence."""
    if math.isnan(bf10):
        return ""
    if 1 / LITTLE < bf10 < LITTLE:
        return f"; the Bayes factor of {numbers.significant(bf10, 2)} says little either way"
    times = bf10 if bf10 > 1 else 1 / bf10
    way = "with" if bf10 > 1 else "without"
    shown = "more than 1000" if times > 1000 else numbers.significant(times, 2)
    return f"; the data are {shown} times as likely {way} the term as {_other(way)} it"


def _other(way: str) -> str:
    return "without" if way == "with" else "with"


def read_study(study: Study, lines: pd.DataFrame) -> str:
    """Return how the results here go with those of a study, in both readings of its sign."""
    compared = lines[lines["z"].notna()]
    if compared.empty:
        return "None of the published values has a counterpart here."
    counts = [
        f"{READINGS[reading]}, {_differing(rows)} of {len(rows)} values differ (p below .05)"
        for reading in Reading
        if len(rows := compared[compared["reading"] == reading])
    ]
    opening = (
        f"{study.name} (n = {study.n}, doi:{study.doi}) beside the same models here. Read "
        f"{'; read '.join(counts)}. The values are not independent: this is a count, not a test."
    )
    last = _last_of_each(study, compared)
    disagreements = [
        f"{value.place}: {wrong}"
        for value in study.entries
        if (wrong := contradiction(value, study.n))
    ]
    doubted = [f"In the paper's own numbers: {'; '.join(disagreements)}."] if disagreements else []
    return "\n\n".join([opening, *doubted, *(_beside(value, compared) for value in last)])


def _differing(rows: pd.DataFrame) -> int:
    return int((rows["p_difference"] < tables.SIGNIFICANT).sum())


def _last_of_each(study: Study, compared: pd.DataFrame) -> list[Value]:
    """Return of each outcome and term the value with most covariates that could be compared."""
    places = compared.drop_duplicates(["outcome", "term"], keep="last")["place"]
    return [value for value in study.entries if value.place in set(places)]


def _beside(value: Value, compared: pd.DataFrame) -> str:
    rows = by_reading(value, compared)
    line = rows[Reading.AS_HERE]
    here, low, high, apart, apart_low, apart_high = (
        digits.significant(line[name], 3)
        for name in ("coefficient", "ci_low", "ci_high", "difference", "difference_ci_low",
                     "difference_ci_high")
    )  # fmt: skip
    text = (
        f"{value.place}: published {printed(value)}, here {here} (95% CI {low} to {high}, "
        f"n = {count(int(line['n']))}); difference {apart} ({apart_low} to {apart_high}), "
        f"z = {numbers.fixed(line['z'], 2)}"
    )
    if Reading.TURNED in rows:
        text += f" (sign turned: {numbers.fixed(rows[Reading.TURNED]['z'], 2)})"
    return f"{text}.{_powers(line['power_there'], line['power_here'])}"


def by_reading(value: Value, compared: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the lines of one published value by the reading of its sign."""
    lines = compared[compared["place"] == value.place].to_dict("records")
    return {line["reading"]: {str(name): cell for name, cell in line.items()} for line in lines}


def _powers(there: float, here: float) -> str:
    if math.isnan(there) or math.isnan(here):
        return ""
    return (
        f" The study had a chance of {chance(there)} to find a correlation as large as the one "
        f"here; this cohort has one of {chance(here)} to find one as large as the study's."
    )


def printed(value: Value) -> str:
    """Return a published value as the paper prints it."""
    low, high = value.interval
    text = f"{value.coefficient} (95% CI {low} to {high}, p = {value.p})"
    return text.replace("-", numbers.MINUS)
