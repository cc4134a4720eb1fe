"""The methods text and the checklist say what ran, with its numbers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bids_qsmthal.group import analysis_file, methods_text, strobe
from bids_qsmthal.group.flow import FlowStep, Line
from bids_qsmthal.report import MethodsRun, methods
from bids_qsmthal.statistics import power, regression
from bids_qsmthal.statistics.analysis import Analysis, HeadSize, Sensitivity
from bids_qsmthal.statistics.imputation import Imputation
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sites import Site
from tests import cohorts

FLOW = (
    Line(step=FlowStep.LISTED, n=100),
    Line(step=FlowStep.WITH_RESULTS, n=97),
    Line(step=FlowStep.EXCLUDED, n=2, about="the last run failed"),
    Line(step=FlowStep.ANALYSED, n=95),
)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analysis_file.read(None)


@pytest.fixture(scope="module")
def results(analysis: Analysis) -> Any:
    frame = cohorts.published()
    fits = {model.name: regression.fit(model, frame) for model in analysis.models[:9]}
    table = pd.DataFrame(
        {"variable": ["age", "edss"], "label": ["Age", "EDSS"], "n_missing": [0, 7]}
    )
    return SimpleNamespace(
        flow=FLOW, fits=fits, cohort=table, analysed=frame,
        sensitivity=pd.DataFrame(
            {"model": ["m"] * 4 + ["other"], "term": list("xxxzx"), "distinct": [1, 1, 0, 1, 1]}
        ),
        power=power.table({"chi_age": (95, 0)}), longitudinal=(), reliable_change=(),
        annual_change=(),
        mediation=(), evidence=(), published=(), imputation=(),
    )  # fmt: skip


def test_the_methods_name_every_model_with_its_n_and_every_exclusion(
    analysis: Analysis, results: Any
) -> None:
    texts = methods_text.describe(analysis, results, Resampling(n_bootstraps=1234, seed=7))
    assert texts["Participants"].startswith(
        "100 participants were listed in participants.tsv, 97 had results and 95 were analysed. "
        "Excluded were 2 (the last run failed)."
    )
    assert "group" not in texts["Participants"]  # nobody has that column
    assert "EDSS (7)" in texts["Missing values"]
    assert "Age" not in texts["Missing values"]
    for name, fit in results.fits.items():
        assert f"{name}: {fit.model.formula} (linear regression by least squares" in texts["Models"]
    n_young = results.fits["lesion_adjusted_age_50"].design.n
    assert f"participants with age <= 50; n = {n_young})" in texts["Models"]
    assert "1234 draws" in texts["Inference"]
    assert "under up to 2 specifications that give different" in texts["Inference"]
    assert "seed 7" in texts["Inference"]


def test_the_methods_tell_of_every_choice_of_the_analysis_file(
    analysis: Analysis, results: Any
) -> None:
    sensitivity = Sensitivity(
        filters={"young": "age <= 50"}, noise={"chi": analysis.variables["chi"]},
        head_size=HeadSize(variable="icv", outcomes=("thalamic_volume",)),
        zero_add={"lesion_volume": 0.05},
    )  # fmt: skip
    age = replace(analysis.variables["age"], range=(18.0, 80.0), top_coded={"89+": 89.0})
    asked = replace(
        analysis, sensitivity=sensitivity, site=Site(variable="scanner", way="meta"),
        variables={**analysis.variables, "age": age}, exclude_when=("chi",),
    )  # fmt: skip
    text = methods_text.describe(asked, results, Resampling(seed=7))["Choices"]
    for part in (
        "The analysis is 'chiang2018'.", "Age (18 to 80 years)",
        "Total gray matter volume (150,000 to 1,500,000 mm\N{SUPERSCRIPT THREE})",
        "Top-coded values were taken as their limit: Age.",
        "left out of all analyses: Relative susceptibility of the thalami.",
        "The site (scanner) was accounted for by fitting each site alone",
        "asked for: young.", "Head size (icv)", "reliability of chi.",
        "0.05 was added to lesion_volume",
    ):  # fmt: skip
        assert part in text


def test_filled_values_are_told_only_where_they_were_filled(
    analysis: Analysis, results: Any
) -> None:
    asked = replace(analysis, imputation=Imputation(datasets=37, cycles=4))
    filled = SimpleNamespace(**{**vars(results), "imputation": ("a row",)})
    how = Resampling(n_bootstraps=10, seed=7)
    assert "imput" not in strobe.checklist(asked, results).to_string()
    assert "filled" not in methods_text.describe(asked, results, how)["Missing values"]
    assert "multiple imputation" in strobe.checklist(asked, filled).to_string()
    text = methods_text.describe(asked, filled, how)["Missing values"]
    assert "filled 37 times" in text
    assert "(4 cycles)" in text


def test_changes_of_single_participants_are_told_where_there_are_any(results: Any) -> None:
    asked = replace(analysis_file.read(None), longitudinal=(MixedModel(name="a", formula="y ~ 1"),))
    how = Resampling(n_bootstraps=10, seed=7)
    assert "Jacobson" not in methods_text.describe(asked, results, how)["Inference"]
    changed = SimpleNamespace(**{**vars(results), "reliable_change": ("a row",)})
    assert "Jacobson & Truax 1991" in methods_text.describe(asked, changed, how)["Inference"]


def test_the_texts_of_the_group_stand_in_the_methods_with_their_headings() -> None:
    run = MethodsRun(analysis="own", group_texts={"Models": "m: y ~ x [1]."})
    described = methods.describe(run)
    assert described.paragraphs[-1] == methods.Paragraph("Models", "m: y ~ x [1].")
    assert "## Models\n\nm: y ~ x [1]." in described.markdown


def test_the_checklist_has_what_the_run_knows_and_leaves_the_rest_to_the_author(
    analysis: Analysis, results: Any
) -> None:
    listed = strobe.checklist(analysis, results).set_index("Item")["What this run knows"]
    assert listed["13"].startswith("100 listed, 97 with results, 95 analysed")
    assert "(left out: 2 the last run failed)" in listed["13"]
    assert listed["4"].startswith("Cross-sectional: one session of each participant (first).")
    assert "95 participants give 80% power to find a correlation of .28" in listed["10"]
    assert listed["12a"].startswith("Linear regression; the formula")
    assert "thalamic_volume: n = 95" in listed["15"]
    assert "Missing values: EDSS 7." in listed["14"]
    assert "Logarithm of white matter T2 lesion volume" in listed["7"]
    assert listed["12b"] == "Models of a part of the participants: lesion_adjusted_age_50."
    assert listed["12e"].startswith("Up to 2 specifications of each coefficient")
    assert listed["22"] == strobe.YOURS
    assert {str(item).rstrip("abcde") for item in listed.index} == {str(n) for n in range(1, 23)}
