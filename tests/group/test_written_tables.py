"""The tables of the group level against the participants' files and against other libraries."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from bids_qsmthal import group
from bids_qsmthal.group import analysis_file, assembly, fitting, table_writing
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts, pictures
from tests.seam import NAME, Study

TSV = {"sep": "\t", "na_values": "n/a", "keep_default_na": False}


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", **TSV)


def tables(bids_dir: Path, output_dir: Path) -> Path:
    """Write the tables alone: sensitivity and pictures take seconds."""
    analysis = replace(analysis_file.read(None), sensitivity=None)
    cohort = assembly.assemble(bids_dir, output_dir, analysis, strict=False)
    results = fitting.fit_all(analysis, cohort, Resampling())
    table_writing.write(output_dir / "group", analysis, cohort, results)
    return output_dir / "group"


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    people = cohorts.simulated(40, np.random.default_rng(11), {"age": 0.3, "lesion_volume": 0.03})
    people.loc[3, "chi"] += 60  # one who moves the models much
    return people


@pytest.fixture(scope="module")
def folder(cohort: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables(*cohorts.write(cohort, tmp_path_factory.mktemp("group")))


FORMULAS = {
    "thalamic_volume_unadjusted": "thalamic_volume ~ chi",
    "gray_matter_adjusted": "gray_matter_volume ~ chi + age + sex + duration + dmt",
    "lesion_adjusted": "np.log(lesion_volume) ~ chi + age + sex + duration + dmt",
    "chi_adjusted": "chi ~ enhancing + age + sex + dmt + duration",
}


@pytest.mark.parametrize("model", FORMULAS)
def test_influence_is_counted_beyond_four_over_n(folder: Path, model: str) -> None:
    """Cook's distances by statsmodels from the wide table; one participant stands out."""
    wide = read(folder, "measures")
    found = read(folder, "diagnostics").set_index("model").loc[model]
    cooks = smf.ols(FORMULAS[model], wide).fit().get_influence().cooks_distance[0]
    assert found["n"] == len(wide)
    assert found["n_influential"] == (cooks > 4 / len(wide)).sum() > 0
    assert found["largest_cooks_distance"] == pytest.approx(cooks.max(), rel=1e-6)
    assert found["most_influential"] == wide["participant_id"][int(cooks.argmax())]


@pytest.mark.parametrize("model", FORMULAS)
def test_coefficients_are_those_of_the_wide_table(folder: Path, model: str) -> None:
    wide = read(folder, "measures")
    fit = smf.ols(FORMULAS[model], wide).fit()
    rows = read(folder, "models").set_index(["model", "term"]).loc[model]
    for term in rows.index.difference(["Intercept"]):
        row = rows.loc[term]
        assert row["coefficient"] == pytest.approx(fit.params[term], rel=1e-6), term
        assert row["standard_error"] == pytest.approx(fit.bse[term], rel=1e-6), term
        assert row["p"] == pytest.approx(fit.pvalues[term], rel=1e-5), term
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(fit.conf_int().loc[term]))
        assert row["n"] == fit.nobs, term


@pytest.mark.parametrize(
    ("unit", "value", "years"),
    [
        ("months", "18", 1.5),
        ("week", "104.357143", 2.0),
        ("day", "1461", 4.0),
    ],
)
def test_a_duration_is_in_years_whatever_unit_its_dictionary_names(
    tmp_path: Path, unit: str, value: str, years: float
) -> None:
    people = cohorts.simulated(4, np.random.default_rng(1), {})
    bids_dir, output_dir = cohorts.write(people, tmp_path)
    path = bids_dir / "participants.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str)
    table["disease_duration"] = value
    table.to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text(json.dumps({"disease_duration": {"Units": unit}}))
    folder = tables(bids_dir, output_dir)
    assert read(folder, "measures")["duration"].to_numpy() == pytest.approx(years, rel=1e-6)
    described = json.loads((folder / "measures.json").read_text())
    assert described["duration"]["Units"] == "year"


def test_the_wide_table_has_everybodys_own_numbers(folder: Path, cohort: pd.DataFrame) -> None:
    wide = read(folder, "measures").set_index("participant_id")
    people = cohorts.participants(cohort)["participant_id"]
    assert list(wide.index) == list(people)
    for column in ("chi", "thalamic_volume", "gray_matter_volume", "cortical_thickness"):
        np.testing.assert_allclose(wide[column], cohort[column], rtol=1e-9, err_msg=column)
    np.testing.assert_allclose(wide["lesion_volume"], cohort["lesion_volume"], rtol=1e-9)
    np.testing.assert_allclose(
        wide["volume_lesion"], 1000 * cohort["lesion_volume"], rtol=1e-9
    )  # mm3 beside mL
    for column in ("age", "sex", "duration", "dmt", "enhancing"):
        np.testing.assert_allclose(wide[column], cohort[column], rtol=1e-9, err_msg=column)
    described = json.loads((folder / "measures.json").read_text())
    assert described["volume_lesion"]["Units"] == "mm3"
    assert described["lesion_volume"]["Units"] == "mL"
    assert described["chi"]["Units"] == "ppb"


def test_each_session_keeps_its_own_numbers_and_the_first_is_analysed(tmp_path: Path) -> None:
    people = cohorts.simulated(6, np.random.default_rng(2), {})
    bids_dir, output_dir = cohorts.write(people, tmp_path)
    for place, (_, row) in enumerate(people.iterrows(), start=1):
        who = f"sub-{place:04d}"
        for path in (output_dir / who).rglob("*.tsv"):
            path.unlink()
        for session, chi in (("ses-2", 200.0 + place), ("ses-1", 100.0 + place)):
            values = row.to_dict() | {"chi": chi}
            cohorts.write_measures(output_dir, who, values, labels=(session, "n/a"))
    folder = tables(bids_dir, output_dir)
    wide = read(folder, "measures")
    assert list(wide["session_id"]) == ["ses-1", "ses-2"] * 6
    for _, row in wide.iterrows():
        place = int(row["participant_id"][-4:])
        assert row["chi"] == 100.0 * int(row["session_id"][-1]) + place
    summary = read(folder, "cohort").set_index("variable").loc["chi"]
    assert (summary["n"], summary["minimum"], summary["maximum"]) == (6, 101.0, 106.0)


def test_who_is_left_out_is_counted_with_the_own_reason_of_each(tmp_path: Path) -> None:
    people = cohorts.simulated(12, np.random.default_rng(3), {})
    bids_dir, output_dir = cohorts.write(people, tmp_path)
    reasons = {"sub-0002": "head moved", "sub-0005": "wrong slab", "sub-0007": "head moved"}
    header = "name\tvalue\tunit\tthreshold\tverdict\treason\tsource\n"
    for who, reason in reasons.items():
        place = output_dir / who / "anat" / f"{who}_desc-qsmthal_quality.tsv"
        fine = "snr\t80\t1\tcheck < 20\tinclude\t\tpaper\n"
        doubt = "overlap\t.8\t1\tcheck < .9\tcheck\tsome doubt\tpaper\n"
        place.write_text(f"{header}{fine}{doubt}ghost\t1\t1\tx\texclude\t{reason}\tpaper\n")
    folder = tables(bids_dir, output_dir)
    decisions = read(folder, "exclusions").set_index("participant_id")
    assert dict(decisions[decisions["decision"] == "exclude"]["reason"]) == reasons
    assert (decisions["decision"] == "exclude").sum() == 3
    flow = read(folder, "flow").set_index("step")
    assert flow.loc["with results", "n"] == 12
    assert flow.loc["excluded: head moved", "n"] == 2
    assert flow.loc["excluded: head moved", "detail"] == "sub-0002, sub-0007"
    assert flow.loc["excluded: wrong slab", "n"] == 1
    assert flow.loc["in the analysis", "n"] == 9
    assert set(read(folder, "measures")["participant_id"]).isdisjoint(reasons)
    assert (read(folder, "models")["n"] <= 9).all()
    assert read(folder, "cohort").set_index("variable").loc["chi", "n"] == 9


def test_the_printed_tables_are_the_numbers_of_the_models(folder: Path) -> None:
    models = read(folder, "models").set_index(["model", "term"])
    table = read(folder, "table1").set_index("label")
    printed = (folder / "table1.md").read_text().replace("\u2212", "-")
    latex = (folder / "table1.tex").read_text().replace("$-$", "-")
    for label, model in (
        ("Thalamic volume", "thalamic_volume"),
        ("Total gray matter volume", "gray_matter"),
        ("White matter T2 lesion volume", "lesion"),
    ):
        for side in ("unadjusted", "adjusted"):
            row = models.loc[(f"{model}_{side}", "chi")]
            for name in ("coefficient", "ci_low", "ci_high", "p", "n"):
                assert table.loc[label, f"{name}_{side}"] == pytest.approx(row[name]), (label, name)
        (line,) = (line for line in printed.splitlines() if line.startswith(f"| {label} |"))
        shown = [cell.strip() for cell in line.strip("| ").split("|")]
        first = float(shown[1].replace(",", ""))
        assert first == pytest.approx(
            models.loc[(f"{model}_unadjusted", "chi"), "coefficient"], rel=0.06, abs=0.6
        )
        assert shown[1] in latex


@pytest.fixture(params=[pytest.param(one, marks=pytest.mark.slow) for one in ("tiny", "seam")])
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = request.getfixturevalue(f"{request.param}_study")
    return made


def test_the_wide_table_of_a_real_run_has_the_numbers_of_the_participant(study: Study) -> None:
    wide = read(study.out / "group", "measures")
    assert list(wide["participant_id"]) == [NAME]
    compared = 0
    for _, row in study.measures.iterrows():
        parts = [row["measure"], row["region"], row["hemisphere"]]
        column = "_".join(part for part in parts if part != "n/a").replace("-", "_")
        if row["value"] != "n/a":
            assert wide[column].iloc[0] == pytest.approx(float(row["value"]), rel=1e-8), column
            compared += 1
    assert compared > 50
    assert wide["chi"].iloc[0] == pytest.approx(
        study.value("chi_relative_csf", "thalamus", "LR"), rel=1e-8
    )


def test_the_chart_of_choices_moves_as_the_participant_did(study: Study) -> None:
    choices = read(study.out / "group", "choices").set_index(["choice", "variant", "hemisphere"])
    own = read(study.anat, f"{NAME}_desc-qsmthal_sensitivity")
    for _, row in own[own["choice"] != "default"].iterrows():
        found = choices.loc[(row["choice"], row["variant"], row["hemisphere"])]
        assert found["n"] == 1
        assert found["mean_difference"] == pytest.approx(row["difference"], abs=1e-6)
    figure = pictures.read_file(study.out / "group" / "figures" / "how_choices_move_the_number.svg")
    assert "difference of relative susceptibility (ppb)" in figure.words()


@pytest.mark.slow
def test_figures_of_the_group_page_are_of_its_own_tables(
    cohort: pd.DataFrame, tmp_path: Path
) -> None:
    """Run twice with other numbers: no figure of the first run may be left or be shown again."""
    bids_dir, output_dir = cohorts.write(cohort, tmp_path)
    first = group.process(bids_dir, output_dir).folder
    before = {path.name: path.read_bytes() for path in (first / "figures").iterdir()}
    shifted = cohort.assign(chi=-cohort["chi"])
    for place, (_, row) in enumerate(shifted.iterrows(), start=1):
        cohorts.write_measures(output_dir, f"sub-{place:04d}", row.to_dict())
    group.process(bids_dir, output_dir)
    after = {path.name: path.read_bytes() for path in (first / "figures").iterdir()}
    assert set(before) == set(after)
    changed = {name for name in before if before[name] != after[name]}
    assert {name for name in before if re.search("forest|associations", name)} <= changed
    forest = pictures.read_file(first / "figures" / "forest_plot_of_table_1.svg")
    for label in ("Thalamic volume", "White matter T2 lesion volume", "unadjusted", "adjusted"):
        assert label in forest.words()
