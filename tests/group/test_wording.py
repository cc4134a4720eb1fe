"""What the page says in words agrees with the numbers beside it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bids_qsmthal.group import (
    analysis_file,
    figures,
    interpretation,
    labels,
    pictures,
    study_words,
)
from bids_qsmthal.report import drawing
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import normality, published, regression, tables
from bids_qsmthal.statistics.analysis import Analysis
from tests import cohorts

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analysis_file.read(None)


def numbers_of(analysis: Analysis, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    fits = {model.name: regression.fit(model, frame) for model in analysis.models}
    return {table.name: tables.numbers(table, fits) for table in analysis.tables}


def test_with_three_people_the_words_are_about_the_numbers_that_the_table_shows(
    analysis: Analysis,
) -> None:
    frame = cohorts.simulated(3, np.random.default_rng(5), {"age": 0.3}).assign(
        sex=[0.0, 1.0, 0.0], participant_id=["a", "b", "c"]
    )
    table = analysis.tables[0]
    numbers = numbers_of(analysis, frame)[table.name]
    printed = tables.printed(table, numbers)
    text = interpretation.read_row(table.rows[0], numbers.iloc[0], analysis)
    assert printed["Adjusted coefficient"].iloc[0] == "n/a"
    assert (
        f"differed by {printed['Unadjusted coefficient'].iloc[0]} mm\N{SUPERSCRIPT THREE}" in text
    )
    assert "This is the unadjusted model; the adjusted one has no result." in text
    assert "no result." not in text.replace("the adjusted one has no result.", "")
    assert list(printed["Unadjusted n"]) == ["3"] * 4


def test_a_difference_of_logarithms_reads_as_a_change_in_per_cent(analysis: Analysis) -> None:
    numbers = numbers_of(analysis, cohorts.published())["table1"]
    (row,) = (row for row in analysis.tables[0].rows if row.unadjusted == "lesion_unadjusted")
    line = numbers.iloc[analysis.tables[0].rows.index(row)]
    text = interpretation.read_row(replace(row, adjusted=""), line, analysis)
    # 100 (exp(b) - 1) of the published .026 (.0016 to .051).
    assert "white matter T2 lesion volume was 2.6% larger on average (95% CI 0.2% to 5.2%" in text
    assert "coefficient of the natural logarithm 0.026, 95% CI 0.0016 to 0.051" in text


def test_both_readings_of_the_studys_formula_stand_with_their_signs(analysis: Analysis) -> None:
    frame = cohorts.published()
    text = interpretation.read_direction(analysis, frame, numbers_of(analysis, frame))
    assert f"Thalamus minus CSF has a mean of {MINUS}29.0 ppb in these 95 participants" in text
    assert "CSF minus thalamus 29.0 ppb" in text
    # Signs of the adjusted models of a cohort with the published statistics.
    for label, signs in (
        ("White matter T2 lesion volume", f"+ / {MINUS}"),
        ("Total gray matter volume", f"{MINUS} / +"),
        ("Presence of enhancing lesions", f"+ / {MINUS}"),
        ("Age", f"+ / {MINUS}"),
    ):
        assert f"{label} {signs}" in text


def test_an_analysis_without_relative_susceptibility_has_no_paragraph_on_its_sign(
    analysis: Analysis,
) -> None:
    frame = cohorts.published().assign(chi=np.nan)
    assert interpretation.read_direction(analysis, frame, {}) == ""


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("chi", "Relative susceptibility of the thalami (ppb)"),
        ("age", "Age (years)"),
        ("sex", "Sex (0 = female, 1 = male)"),
        ("log(lesion_volume)", "Natural logarithm of\nWhite matter T2 lesion volume (mL)"),
        ("thalamic_volume", "Thalamic volume (mm\N{SUPERSCRIPT THREE})"),
        ("scale(age)", "Age (standard deviations from its mean)"),
        ("center(age)", "Age (years),\nminus its mean"),
        ("sqrt(lesion_volume)", "Square root of\nWhite matter T2 lesion volume (mL)"),
        ("site[T.b]", "site: b (1) or not (0)"),
        (
            "chi:age",
            "Relative susceptibility of the thalami (ppb) \N{MULTIPLICATION SIGN} Age (years)",
        ),
        ("bs(age, df=3)[1]", "bs(age, df=3)[1]"),
    ],
)
def test_axes_are_titled_in_words_with_units(analysis: Analysis, name: str, title: str) -> None:
    assert labels.axis(name, analysis) == title


def test_the_figures_of_a_table_have_titles_in_words_and_n(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    nothing = drawing.Drawing(b"", b"", b"")
    monkeypatch.setattr(drawing, "to_files", lambda canvas: drawn.append(canvas) or nothing)
    frame = cohorts.published()
    fits = {model.name: regression.fit(model, frame) for model in analysis.models}
    first, *_, last = pictures._associations(analysis.tables[0], analysis, fits)
    figures.associations([first, last])
    figures.residuals([(fits["thalamic_volume_adjusted"], first.y_label)])
    measured, partial, lesion, _ = drawn[0].axes
    volume = "Thalamic volume (mm\N{SUPERSCRIPT THREE})"
    susceptibility = "Relative susceptibility of the thalami (ppb)"
    assert measured.get_title(loc="left") == "Thalamic volume\nas measured, n = 95"
    assert measured.get_xlabel().replace("\n", " ") == susceptibility
    assert measured.get_ylabel() == volume
    assert partial.get_xlabel().replace("\n", " ") == f"{susceptibility}, other terms removed"
    assert partial.get_ylabel().replace("\n", " ") == f"{volume}, other terms removed"
    assert lesion.get_ylabel() == "White matter T2 lesion volume (mL)"
    assert drawn[1].axes[0].get_ylabel() == f"Residual of\n{volume}"
    assert drawn[1].axes[1].get_xlabel() == f"Fitted value of\n{volume}"


def test_the_numbers_of_a_line_of_the_cohort_have_the_same_decimals() -> None:
    frame = pd.DataFrame({"age": [40.0, 44.25, 51.5], "volume": [1e4, 2e4, 3e4], "one": [2.5] * 3})
    units = dict.fromkeys(frame, "")
    table = summary.summarise(frame, labels={n: n for n in frame}, units=units, levels={})
    printed = summary.printed(table).set_index("Characteristic")
    plus = "\N{PLUS-MINUS SIGN}"
    assert list(printed.loc["age"])[1:] == [f"45.2 {plus} 5.8", "40.0 to 51.5"]
    assert list(printed.loc["volume"])[1:] == [f"20,000 {plus} 10,000", "10,000 to 30,000"]
    assert list(printed.loc["one"])[1:] == [f"2.5 {plus} 0.0", "2.5 to 2.5"]


def test_sizes_without_a_verdict_are_said_to_be_of_too_few_participants() -> None:
    lines = pd.DataFrame({"verdict": ["", ""], "per_sd": [-581.5, np.nan]})
    text = study_words.read_evidence(lines, 0.28)
    assert text.startswith("There are too few participants to weigh an effect")
    assert "The table has sizes alone." in text
    assert "no model has" not in text.lower()
    nothing = study_words.read_evidence(lines.assign(per_sd=np.nan), 0.28)
    assert nothing == "No model has an estimate to weigh."


def test_large_numbers_of_participants_are_written_alike_wherever_they_stand(
    analysis: Analysis,
) -> None:
    # Twelve thousand lines: the published cohort again and again.
    frame = pd.concat([cohorts.published()] * 127, ignore_index=True)
    n = "12,065"
    numbers = numbers_of(analysis, frame)
    fits = {model.name: regression.fit(model, frame) for model in analysis.models}
    (study,) = analysis.published
    compared = published.compare(analysis.published, fits)
    texts = [
        interpretation.read_direction(analysis, frame, numbers),
        study_words.read_study(study, compared),
        interpretation.read_normality(normality.ladder(frame["chi"]), analysis),
    ]
    for text in texts:
        assert n in text
        assert n.replace(",", "") not in text


def test_one_coefficient_is_one() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.0, 4.0], "x": [0.0, 0.0, 0.0], "z": [1.0, 5.0, 2.0]})
    notes = [
        regression.fit(regression.Model(name="m", formula=formula), frame).row("Intercept")["note"]
        for formula in ("y ~ x", "y ~ z")
    ]
    assert notes == [
        "only 3 participants for 1 coefficient: do not rely on it",
        "only 3 participants for 2 coefficients: do not rely on it",
    ]
