"""The study's tables from its sufficient statistics, and its values beside ours on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.core.documents import parse
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.group import (
    analysis_file,
    dictionary,
    labels,
    study_figure,
    study_sections,
    study_words,
)
from bids_qsmthal.statistics import evidence, published, regression, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.regression import Fit, Model
from bids_qsmthal.statistics.tables import ModelTable, Row
from tests import cohorts

ANALYSIS = analysis_file.read(None)

TABLE_1 = {
    "Thalamic volume": "9.0 -28.0 to 46.1 .63 | 9.4 -28.9 to 47.7 .63",
    "Total gray matter volume": "-860 -2026 to 305 .15 | -720 -1731 to 291 .16",
    "Cortical thickness": "-0.0007 -0.003 to 0.002 .62 | -0.00008 -0.003 to 0.002 .95",
    "White matter T2 lesion volume": "0.026 0.0016 to 0.051 .037* | 0.029 0.0057 to 0.053 .015*",
}
# The printed p of the adjusted age is .02. Its own coefficient and interval say .028, and so does
# the text: see test_the_printed_p_of_age_contradicts_its_own_interval.
TABLE_2 = {
    "Presence of enhancing lesions": "8.40 0.41 to 16.40 .04* | 10.68 2.28 to 19.09 .013*",
    "Age": "0.19 -0.037 to 0.42 .099 | 0.27 0.031 to 0.52 .028*",
    "Sex": "0.75 -4.36 to 5.85 .77 | 1.45 -3.69 to 6.58 .58",
    "Use of disease-modifying therapies": "-0.57 -5.46 to 4.32 .82 | 0.44 -4.43 to 5.32 .86",
    "Disease duration": "-0.023 -0.33 to 0.28 .88 | -0.066 -0.39 to 0.26 .69",
}


def fits_of(frame: pd.DataFrame) -> dict[str, Fit]:
    return {model.name: regression.fit(model, frame) for model in ANALYSIS.models}


@pytest.fixture(scope="module")
def study() -> dict[str, Fit]:
    return fits_of(cohorts.published())


def compared(fits: dict[str, Fit]) -> pd.DataFrame:
    return published.compare(ANALYSIS.published, fits)


def weighed(fits: dict[str, Fit]) -> pd.DataFrame:
    return evidence.weigh(ANALYSIS.tables, fits, ANALYSIS.evidence, {"chi": "ppb"})


@pytest.mark.parametrize(("place", "expected"), [(0, TABLE_1), (1, TABLE_2)], ids=["1", "2"])
def test_the_sufficient_statistics_print_both_columns_of_the_papers_tables_digit_by_digit(
    study: dict[str, Fit], place: int, expected: dict[str, str]
) -> None:
    table = ANALYSIS.tables[place]
    printed = tables.printed(table, tables.numbers(table, study))
    for _, row in printed.iterrows():
        sides = [
            f"{row[f'{side} coefficient']} {row[f'{side} 95% CI']} {row[f'{side} p']}"
            for side in ("Unadjusted", "Adjusted")
        ]
        assert " | ".join(sides).replace("\N{MINUS SIGN}", "-") == expected[row[""]]


def test_the_covariates_of_the_lesion_model_have_the_p_values_of_the_text(
    study: dict[str, Fit],
) -> None:
    p = study["lesion_adjusted"].coefficients.set_index("term")["p"].astype(float)
    assert [round(p[name], 2) for name in ("age", "sex", "dmt")] == [0.25, 0.90, 0.81]
    assert p["duration"] < 0.001


def test_the_printed_p_of_age_contradicts_its_own_interval() -> None:
    # Every coefficient and interval that would be printed as 0.27 (0.031 to 0.52).
    lows, highs = np.meshgrid(np.linspace(0.0305, 0.0315, 21), np.linspace(0.515, 0.525, 21))
    middles, halves = (lows + highs) / 2, (highs - lows) / 2
    possible = middles < 0.275
    t = stats.t.ppf(0.975, 89) * middles / halves
    p = 2 * stats.t.sf(t, 89)[possible]
    assert p.min() > 0.025
    assert (round(p.min(), 3), round(p.max(), 3)) == (0.027, 0.028)


def test_published_and_printed_are_one_table(study: dict[str, Fit]) -> None:
    """The values of the analysis file are those that the tests above hold against the paper."""
    (study_of_file,) = ANALYSIS.published
    lines = {**TABLE_1, **TABLE_2}
    texts = [
        f"{v.coefficient} {v.interval[0]} to {v.interval[1]} {v.p}" for v in study_of_file.entries
    ]
    expected = [side for line in lines.values() for side in line.replace("*", "").split(" | ")]
    assert [text for text in texts if text not in expected] == ["0.27 0.031 to 0.52 .02"]
    assert len(texts) == len(expected) == 18
    n_terms = {v.model: v.covariates for v in study_of_file.entries}
    for name, covariates in n_terms.items():
        assert len(study[name].design.names) - 2 == covariates


def test_the_study_read_as_here_agrees_with_itself_and_turned_does_not(
    study: dict[str, Fit],
) -> None:
    text = study_words.read_study(ANALYSIS.published[0], compared(study))
    assert "with the signs as printed, 0 of 18 values differ" in text
    assert "with the signs turned (see Direction of the number), 8 of 18 values differ" in text
    assert (
        "Table 1, T2 lesion volume, after adjustment: published 0.029 (95% CI 0.0057 to 0.053, "
        "p = .015), here 0.0293 (95% CI 0.00574 to 0.0529, n = 95); difference 0.000"
    ) in text
    assert (
        "In the paper's own numbers: Table 2, age, after adjustment: the printed coefficient and "
        "interval give p .0272 to .0279, not .02."
    ) in text
    assert "The study had a chance of 68% to find a correlation as large as the one here" in text


def test_the_methods_text_names_bound_priors_and_study(study: dict[str, Fit]) -> None:
    own = replace(
        ANALYSIS, evidence=evidence.EvidenceSettings(smallest_effect=0.19, regression_scale=0.5)
    )
    text = " ".join(study_words.methods(own, weighed(study)))
    assert "the smallest one of interest, \u00b1.19" in text
    assert "JZS prior of scale 0.5" in text
    assert "those of Chiang et al. 2018 (n = 95) as of two independent samples, in both" in text
    nothing = weighed(study).assign(verdict="")
    assert list(study_words.methods(replace(own, published=()), nothing)) == []


def test_every_null_is_one_careful_sentence(study: dict[str, Fit]) -> None:
    text = study_words.read_evidence(weighed(study), 0.28)
    minus = "\N{MINUS SIGN}"
    assert (
        f"Thalamic volume (adjusted): r = .05 (95% CI {minus}.16 to .25): correlations beyond "
        "\u00b1.28 are excluded (equivalence p = .013), as are all beyond \u00b1.22; a smaller one "
        "may be there; the Bayes factor of 0.51 says little either way."
    ) in text
    assert (
        f"Total gray matter volume (adjusted): r = {minus}.15 (95% CI {minus}.34 to .06): neither "
        "an association nor its absence is shown: correlations up to \u00b1.31 remain possible"
    ) in text
    # A sentence a row of the two tables, and what the figures mean.
    assert len(text.split("\n\n")) == 10


def test_three_people_have_no_evidence_and_no_comparison_and_the_page_says_so() -> None:
    fits = fits_of(cohorts.published().head(3))
    assert weighed(fits)["verdict"].eq("").all()
    lines = compared(fits)
    sections = study_sections.make(ANALYSIS, weighed(fits), lines)
    assert [section.title for section in sections] == [
        "Effect sizes and evidence", "Beside Chiang et al. 2018",
    ]  # fmt: skip
    nothing = compared(fits_of(cohorts.published().head(2)))
    assert study_words.read_study(ANALYSIS.published[0], nothing) == (
        "None of the published values has a counterpart here."
    )


def test_the_forest_has_both_studies_and_both_readings(study: dict[str, Fit]) -> None:
    lines = study_figure.lines_of(compared(study))
    assert len(lines) == 3 * 18
    lesion = lines[lines["label"] == "Table 1, T2 lesion volume, after adjustment"]
    by_who = lesion.set_index("who")["estimate"]
    assert by_who["published, sign turned"] == -by_who["published"]
    assert by_who["here"] == pytest.approx(0.253, abs=0.001)
    assert b"<svg" in study_figure.forest(lines).svg


def test_effects_of_a_logistic_model_are_read_as_odds_ratios() -> None:
    frame = cohorts.published()
    model = Model(name="m", formula="enhancing ~ chi", family="binomial")
    fits = {"m": regression.fit(model, frame)}
    table = ModelTable(name="t", title="T", rows=(Row(label="L", term="chi", adjusted="m"),))
    lines = evidence.weigh([table], fits, evidence.EvidenceSettings(), {"chi": "ppb"})
    per_10 = float(np.exp(10 * fits["m"].row("chi")["coefficient"]))
    shown = study_sections.printed_evidence(lines).iloc[0]
    assert shown["Per 10 ppb (95% CI)"].startswith(f"{per_10:.2f} (")
    assert shown["Per 10 ppb (95% CI)"].endswith("), odds ratio")
    line = lines.iloc[0]
    text = study_words.read_evidence(lines, 0.28)
    # Standardised before it is fitted, so that a coefficient is that of one standard deviation.
    scaled = frame.assign(chi=frame["chi"] / frame["chi"].std())
    per_sd = np.exp(regression.fit(model, scaled).row("chi")["coefficient"])
    bound = np.exp(0.28 / np.sqrt(1 - 0.28**2) * np.pi / np.sqrt(3) * (95 / 94) ** 0.5)
    assert f"r \u2248 .{100 * line['partial_r']:.0f} (95% CI" in text
    assert f"odds ratio per SD {per_sd:.2f} (" in text
    assert f"of interest from {1 / bound:.2f} or {bound:.1f} on" in text
    assert f"Bayes factor of {line['bf10']:.1f} says little" in text


def test_tables_of_evidence_and_comparison_are_described(study: dict[str, Fit]) -> None:
    assert list(dictionary.EVIDENCE) == list(weighed(study).columns)
    assert list(dictionary.PUBLISHED) == list(compared(study).columns)


def read(text: str) -> Analysis:
    return analysis_file.analysed(parse(text, Path("a.yaml")))


SMALL = """
Name: small
Variables: {chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb},
            age: {Columns: [age]}}
Models: [{Name: m, Formula: chi ~ age}]
"""
STUDY = """
Published:
  - {Study: S, N: 20, Values: [{Model: m, Term: age, Place: T, Coefficient: "0.2",
     Interval: ["0.1", "0.3"], P: ".01"}]}
"""


def test_smallest_effect_and_priors_come_from_the_analysis_file() -> None:
    assert read(SMALL).evidence == evidence.EvidenceSettings()
    chosen = read(SMALL + "Evidence: {SmallestEffect: 0.1, CorrelationWidth: 0.5}\n").evidence
    assert chosen == replace(
        evidence.EvidenceSettings(), smallest_effect=0.1, correlation_width=0.5
    )
    assert ANALYSIS.evidence.smallest_effect == 0.28
    assert ANALYSIS.evidence.regression_scale == pytest.approx(0.5**1.5)
    assert read(SMALL).published == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Model: m", "Model: other", "no model 'other'"),
        ('["0.1", "0.3"]', '["0.3", "0.1"]', "smaller end first"),
        ("N: 20", "N: 20, OpenDirection: sex", "no variable 'sex'"),
        ('P: ".01"', 'P: ".01", Covariates: 18', "18 covariates for N 20"),
    ],
)
def test_a_published_value_that_cannot_be_compared_is_refused_with_its_place(
    old: str, new: str, message: str
) -> None:
    assert read(SMALL + STUDY).published[0].n == 20
    with pytest.raises(UsageError, match=message) as error:
        read(SMALL + STUDY.replace(old, new))
    assert "a.yaml, line" in str(error.value)


def test_another_unit_than_the_papers_is_refused_and_not_compared() -> None:
    text = analysis_file.packaged()
    region = "    Region: gray_matter\n    Units: "
    changed = text.replace(f"{region}mm3", f"{region}mL")
    assert changed != text
    with pytest.raises(UsageError, match="has gray_matter_volume in mm3, and Variables in mL"):
        read(changed)


def test_a_printed_number_without_quotes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"text \(in quotes"):
        read(SMALL + STUDY.replace('"0.2"', "0.2"))


def test_p_and_power_in_printed_tables_are_written_as_in_sentences(study: dict[str, Fit]) -> None:
    small = weighed(study).assign(p_equivalence=[1e-106, 0.0261, *[np.nan] * 16])
    shown = study_sections.printed_evidence(small)["Equivalence p"]
    assert list(shown[:3]) == ["<.001", ".026", "n/a"]
    certain = compared(study).assign(power_there=0.0712, power_here=0.99999)
    printed = study_sections.printed_study(ANALYSIS.published[0], certain)
    assert set(printed["Power there"]) == {"7%"}
    assert set(printed["Power here"]) == {"more than 99%"}
    unknown = study_sections.printed_study(
        ANALYSIS.published[0], certain.assign(power_there=np.nan)
    )
    assert set(unknown["Power there"]) == {"n/a"}


def test_questions_are_named_in_words_and_models_of_one_question_told_apart() -> None:
    asked = "Logarithm of white matter T2 lesion volume by relative susceptibility of the thalami"
    for model in ("lesion_adjusted", "lesion_adjusted_age_50"):
        named = labels.question("chi", "log(lesion_volume)", model, ANALYSIS)
        assert named == f"{asked} (model {model})"
