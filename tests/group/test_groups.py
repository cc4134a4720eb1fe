"""Patients and controls are never pooled without a word; models of their own compare them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.group import analysis_file, assembly, fitting, table_writing
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.concerns import Kind
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.statistics import regression
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

N = 40

OWN = """
Name: own
Variables:
  chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}
  age: {Columns: [age], Units: year}
  arm:
    Columns: [arm]
    Reference: healthy
    Levels:
      healthy: {Value: healthy}
      early: {Value: early}
      late: {Value: late}
Groups: {Variable: arm, Analyse: [early, late], Compare: [chi], Adjust: [age]}
Models:
  - {Name: by_age, Formula: chi ~ age}
  - {Name: old, Formula: chi ~ age, Filter: age > 35 or age < 30}
  - {Name: each, Formula: chi ~ age, GroupBy: [arm]}
  - {Name: together, Formula: chi ~ age + arm}
"""


def written(root: Path, **columns: list[str]) -> tuple[pd.DataFrame, Path, Path]:
    """Write a cohort with more columns of its people; return its numbers, and both folders."""
    truth = cohorts.simulated(N, np.random.default_rng(4), {"age": 0.5})
    bids_dir, output_dir = cohorts.write(truth, root)
    table = pd.read_csv(bids_dir / "participants.tsv", sep="\t", dtype="str").assign(**columns)
    table.to_csv(bids_dir / "participants.tsv", sep="\t", index=False)
    return truth, bids_dir, output_dir


def results(
    bids_dir: Path, output_dir: Path, analysis: Path | None = None, *, choices: bool = False
) -> tuple[Cohort, Results]:
    wanted = analysis_file.read(analysis)
    # Sensitivity takes seconds; one test looks at it.
    wanted = wanted if choices else replace(wanted, sensitivity=None)
    cohort = assembly.assemble(bids_dir, output_dir, wanted, strict=analysis is not None)
    few = Resampling(n_permutations=99, n_bootstraps=200)
    return cohort, fitting.fit_all(wanted, cohort, few)


@pytest.mark.slow
def test_the_packaged_analysis_is_about_patients_and_compares_them_with_controls(
    tmp_path: Path,
) -> None:
    words = ["RRMS"] * 25 + ["HC"] * 15
    truth, *folders = written(tmp_path, diagnosis=words)
    cohort, found = results(*folders, choices=True)
    patients = truth[:25]
    alone = regression.fit(Model(name="m", formula="chi ~ age"), patients).row("age")
    row = found.fits["chi_age"].row("age")
    assert row["n"] == 25
    assert row["coefficient"] == pytest.approx(alone["coefficient"], rel=1e-9)
    apart = [concern for concern in cohort.concerns if concern.kind == Kind.GROUPS_APART]
    assert [concern.about for concern in apart] == [("patient", "25", "control: 15")]
    assert Kind.POOLED_GROUPS not in {concern.kind for concern in cohort.concerns}
    compared = truth.assign(group=[0.0 if word == "HC" else 1.0 for word in words])
    difference = regression.fit(Model(name="m", formula="chi ~ group + age + sex"), compared)
    here = found.fits["groups_chi"].row("group[T.patient]")
    assert here["n"] == N
    assert here["coefficient"] == pytest.approx(difference.row("group")["coefficient"], rel=1e-9)
    assert set(found.cohort["n"] + found.cohort["n_missing"]) == {25}
    assert len(found.analysed) == 25
    assert (found.sensitivity["n"].dropna() <= 25).all()


def test_subtypes_of_patients_that_the_packaged_analysis_takes_together_are_still_said(
    tmp_path: Path,
) -> None:
    _, *folders = written(tmp_path, group=["RRMS"] * 20 + ["SPMS"] * 10 + ["HC"] * 10)
    cohort, _ = results(*folders)
    pooled = [concern for concern in cohort.concerns if concern.kind == Kind.POOLED_GROUPS]
    assert [concern.about for concern in pooled] == [("group", "RRMS: 20, SPMS: 10")]


def test_a_column_of_other_groups_is_pooled_with_a_warning(tmp_path: Path) -> None:
    _, *folders = written(tmp_path, group=["placebo", "drug"] * 20)
    cohort, found = results(*folders)
    assert found.fits["chi_age"].row("age")["n"] == N
    pooled = [concern for concern in cohort.concerns if concern.kind == Kind.POOLED_GROUPS]
    assert [concern.about for concern in pooled] == [("group", "drug: 20, placebo: 20")]


def test_without_a_column_of_groups_nothing_is_said_of_them(tmp_path: Path) -> None:
    _, *folders = written(tmp_path)
    cohort, found = results(*folders)
    assert "group" not in cohort.frame
    assert "groups_chi" not in found.fits
    kinds = {concern.kind for concern in cohort.concerns}
    assert not kinds & {Kind.GROUPS_APART, Kind.POOLED_GROUPS}
    assert not any("roup" in concern.text for concern in cohort.concerns)


def test_an_own_analysis_without_a_column_of_groups_has_one_group_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, *folders = written(tmp_path, edss=["1.5", "2"] * 20)
    own = tmp_path / "own.yaml"
    own.write_text(analysis_file.packaged().replace("Label: Age", "Label: Years"))
    cohort, found = results(*folders, analysis=own)
    assert "group" not in cohort.frame
    assert found.fits["chi_age"].row("age")["n"] == N
    assert any("all are one group" in record.getMessage() for record in caplog.records)


def test_models_that_name_the_groups_have_everybody_and_the_others_the_analysed(
    tmp_path: Path,
) -> None:
    arms = ["early"] * 15 + ["late"] * 12 + ["healthy"] * 10 + ["n/a"] * 3
    truth, *folders = written(tmp_path, arm=arms)
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    cohort, found = results(*folders, own)
    analysed = truth[:27]
    old = (analysed["age"] > 35) | (analysed["age"] < 30)
    n = {name: fit.coefficients["n"].iloc[0] for name, fit in found.fits.items()}
    assert n == {
        "by_age": 27, "old": old.sum(), "each[arm=early]": 15, "each[arm=healthy]": 10,
        "each[arm=late]": 12, "together": 37, "groups_chi": 37,
    }  # fmt: skip
    apart = [concern for concern in cohort.concerns if concern.kind == Kind.GROUPS_APART]
    assert [concern.about for concern in apart] == [
        ("early and late", "27", "healthy: 10, not known: 3")
    ]


def test_a_group_of_two_is_not_compared(tmp_path: Path) -> None:
    _, *folders = written(tmp_path, diagnosis=["MS"] * 38 + ["HC"] * 2)
    _, found = results(*folders)
    assert "groups_chi" not in found.fits


@pytest.mark.parametrize(
    ("change", "marked", "says"),
    [
        (("[early, late]", "[early, mild]"), "[early, mild]", "'arm' has no level 'mild'"),
        (("Variable: arm", "Variable: arms"), "arms", "no variable 'arms'"),
        (("Name: old", "Name: groups_chi"), "[chi]", "the model groups_chi is made by Compare"),
    ],
)
def test_wrong_groups_are_refused_with_the_place(
    tmp_path: Path, change: tuple[str, str], marked: str, says: str
) -> None:
    text = OWN.replace(*change, 1)
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(UsageError, match=says.replace("[", r"\[")) as raised:
        analysis_file.read(own)
    line = text.count("\n", 0, text.index(marked)) + 1
    assert f"{own}, line {line}, column " in str(raised.value)


IMPUTED = """
Name: own
Variables:
  chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}
  age: {Columns: [age], Units: year}
  duration: {Columns: [disease_duration], Units: year}
Models:
  - {Name: alone, Formula: chi ~ age}
  - {Name: together, Formula: chi ~ age + duration}
Tables:
  - Name: table
    Title: Age
    Rows: [{Label: Age, Term: age, Unadjusted: alone, Adjusted: together}]
Imputation: {Datasets: 20, Cycles: 5}
"""


def test_an_analysis_may_ask_for_missing_values_to_be_filled(tmp_path: Path) -> None:
    _, *folders = written(tmp_path)
    table = pd.read_csv(folders[0] / "participants.tsv", sep="\t", dtype="str")
    table.loc[:7, "disease_duration"] = "n/a"
    table.to_csv(folders[0] / "participants.tsv", sep="\t", index=False)
    own = tmp_path / "own.yaml"
    own.write_text(IMPUTED)
    cohort, found = results(*folders, own)
    rows = found.imputation.set_index("model")
    assert list(rows["complete_n"]) == [N, N - 8]
    assert list(rows["n"]) == [N, N]
    assert list(rows["n_imputed"]) == [0, 8]
    assert rows.loc["together", "complete_coefficient"] == pytest.approx(
        found.fits["together"].row("age")["coefficient"]
    )
    table_writing.write(tmp_path / "group", analysis_file.read(own), cohort, found)
    described = json.loads((tmp_path / "group" / "imputation.json").read_text())
    assert set(described) == set(found.imputation.columns)
