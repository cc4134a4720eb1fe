"""The group level from files to files."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import group
from bids_qsmthal.core.errors import DataError, LevelUnavailableError, MissingInputError
from bids_qsmthal.group import (
    analysis_file,
    assembly,
    dictionary,
    fitting,
    participant_tables,
    table_writing,
)
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

TSV = {"sep": "\t", "na_values": "n/a", "keep_default_na": False}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The group folder of a cohort with the published sufficient statistics."""
    bids_dir, output_dir = cohorts.write(cohorts.published(), tmp_path_factory.mktemp("published"))
    return group.process(bids_dir, output_dir).folder


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", **TSV)


def without_page(bids_dir: Path, output_dir: Path) -> Path:
    """The tables alone: sensitivity and pictures take seconds and are tested above."""
    analysis = replace(analysis_file.read(None), sensitivity=None)
    cohort = assembly.assemble(bids_dir, output_dir, analysis, strict=False)
    results = fitting.fit_all(analysis, cohort, Resampling())
    table_writing.write(output_dir / "group", analysis, cohort, results)
    return output_dir / "group"


def plain(path: Path) -> str:
    return path.read_text().replace("\N{MINUS SIGN}", "-")


def small(root: Path, n: int = 30) -> tuple[Path, Path, pd.DataFrame]:
    cohort = cohorts.simulated(n, np.random.default_rng(5), {"age": 0.3})
    return *cohorts.write(cohort, root), cohort


def test_the_published_sufficient_statistics_print_the_published_table_1(study: Path) -> None:
    printed = plain(study / "table1.md")
    for line in (
        "Thalamic volume | 9.0 | -28.0 to 46.1 | .63 | 95 | 9.4 | -28.9 to 47.7 | .63 |",
        "Total gray matter volume | -860 | -2026 to 305 | .15 | 95 | -720 | -1731 to 291 | .16 |",
        "Cortical thickness | -0.0007 | -0.003 to 0.002 | .62 | 95 | -0.00008 | -0.003 to 0.002 |",
        r"White matter T2 lesion volume | 0.026 | 0.0016 to 0.051 | .037\* | 95 | 0.029 |",
    ):
        assert line in printed


def test_no_table_of_an_analysis_can_take_the_name_of_a_file(study: Path) -> None:
    own = {table.name for table in analysis_file.read(None).tables}
    written = {path.name.partition(".")[0].lower() for path in study.iterdir()}
    assert written - own <= dictionary.FILES
    assert len(written - own) > 10


def test_the_published_sufficient_statistics_print_the_published_table_2(study: Path) -> None:
    printed = plain(study / "table2.md")
    for line in (
        r"Presence of enhancing lesions | 8.40 | 0.41 to 16.40 | .04\* |",
        "Age | 0.19 | -0.037 to 0.42 | .099 |",
        "Sex | 0.75 | -4.36 to 5.85 | .77 |",
        "Use of disease-modifying therapies | -0.57 | -5.46 to 4.32 | .82 |",
        "Disease duration | -0.023 | -0.33 to 0.28 | .88 |",
    ):
        assert line in printed


def test_the_printed_statistics_agree_with_the_printed_standard_deviations(study: Path) -> None:
    cohort = read(study, "cohort").set_index("variable")
    assert round(cohort.loc["chi", "sd"], 1) == 11.7
    assert round(cohort.loc["thalamic_volume", "sd"] / 1000, 1) == 2.1
    assert round(cohort.loc["gray_matter_volume", "sd"] / 1000) == 67
    assert round(cohort.loc["cortical_thickness", "sd"], 2) == 0.16
    assert round(cohort.loc["age", "sd"]) == 10
    assert round(cohort.loc["duration", "sd"], 1) == 7.8


def test_ninety_five_participants_detect_the_published_correlation(study: Path) -> None:
    power = read(study, "power").set_index("model")
    assert round(power.loc["lesion_unadjusted", "r"], 2) == 0.28


def test_every_table_has_a_dictionary_of_its_columns(study: Path) -> None:
    for path in study.glob("*.tsv"):
        described = json.loads(path.with_suffix(".json").read_text())
        assert list(described) == list(pd.read_csv(path, **TSV).columns)


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    bids_dir, output_dir, _ = small(tmp_path, 12)
    first = {p: p.read_bytes() for p in group.process(bids_dir, output_dir).folder.rglob("*.*")}
    second = {p: p.read_bytes() for p in group.process(bids_dir, output_dir).folder.rglob("*.*")}
    assert first == second


@pytest.mark.slow
def test_without_any_participant_the_level_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LevelUnavailableError, match="run the participant level first"):
        group.process(tmp_path, tmp_path)


@pytest.mark.slow
def test_three_participants_give_flagged_rows_and_no_crash(tmp_path: Path) -> None:
    bids_dir, output_dir, _ = small(tmp_path, 3)
    result = group.process(bids_dir, output_dir)
    models = read(result.folder, "models")
    adjusted = models[models["model"] == "lesion_adjusted"]
    assert adjusted["coefficient"].isna().all()
    assert adjusted["note"].str.contains("3 complete for 6 coefficients, at least 7").all()
    assert "lesion_adjusted" in result.not_fitted
    unadjusted = models[models["model"] == "lesion_unadjusted"]
    assert unadjusted["coefficient"].notna().all()
    assert unadjusted["note"].str.contains("do not rely on it").all()


@pytest.mark.slow
def test_a_covariate_that_nobody_has_leaves_out_the_models_that_need_it(tmp_path: Path) -> None:
    bids_dir, output_dir, _ = small(tmp_path)
    path = bids_dir / "participants.tsv"
    pd.read_csv(path, sep="\t").drop(columns="dmt").to_csv(path, sep="\t", index=False)
    folder = without_page(bids_dir, output_dir)
    models = read(folder, "models").set_index("model")
    assert "no column dmt in participants.tsv" in models.loc["chi_dmt", "note"]
    assert np.isnan(models.loc["chi_dmt", "coefficient"])
    assert models.loc["chi_age", "coefficient"].notna().all()


@pytest.mark.slow
def test_a_column_the_users_analysis_asks_for_must_be_there(tmp_path: Path) -> None:
    bids_dir, output_dir, _ = small(tmp_path)
    path = bids_dir / "participants.tsv"
    pd.read_csv(path, sep="\t").drop(columns="dmt").to_csv(path, sep="\t", index=False)
    own = tmp_path / "own.yaml"
    without_edss = re.sub(r"  edss:\n.*\n.*\n", "", analysis_file.packaged())
    own.write_text(without_edss.replace("edss, dmt", "dmt"))
    with pytest.raises(MissingInputError, match=r"no column dmt .*There are: age, sex.*'Columns'"):
        group.process(bids_dir, output_dir, analysis=own)


def break_participants(bids_dir: Path, change: tuple[str, str]) -> None:
    path = bids_dir / "participants.tsv"
    path.write_text(path.read_text().replace(*change, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sub-0002", "sub-0001"), "sub-0001 has more than one row"),
        (("participant_id", "subject"), "no column 'participant_id'. There are: subject, age"),
        (("sub-0001\t", "sub-0001\told\t"), "line 2: 7 cells under 6 column names"),
        (("disease_duration", "age"), "the column 'age' occurs twice"),
    ],
)
def test_wrong_participants_tables_are_refused_with_the_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    bids_dir, output_dir, _ = small(tmp_path)
    break_participants(bids_dir, change)
    with pytest.raises(DataError) as raised:
        group.process(bids_dir, output_dir)
    assert message in str(raised.value)
    assert "participants.tsv" in str(raised.value)


@pytest.mark.slow
def test_a_participant_with_unusable_images_is_excluded_with_the_reason(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    cohorts.write_measures(output_dir, "sub-0001", values, qc={"chi": "exclude"})
    folder = without_page(bids_dir, output_dir)
    decisions = read(folder, "exclusions").set_index("participant_id")
    assert decisions.loc["sub-0001", "decision"] == "exclude"
    assert "chi_relative_csf_thalamus_LR" in decisions.loc["sub-0001", "reason"]
    flow = read(folder, "flow").set_index("step")["n"]
    assert flow["with results"] == 30
    assert flow["in the analysis"] == 29
    assert flow["excluded: quality control: chi_relative_csf_thalamus_LR"] == 1


@pytest.mark.slow
def test_an_unusable_lesion_mask_costs_only_the_lesion_models(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    cohorts.write_measures(output_dir, "sub-0001", values, qc={"lesion_volume": "exclude"})
    models = read(without_page(bids_dir, output_dir), "models").set_index("model")
    assert (models.loc["lesion_unadjusted", "n"] == 29).all()
    assert (models.loc["thickness_unadjusted", "n"] == 30).all()


@pytest.mark.slow
def test_the_users_decision_wins_over_quality_control(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    cohorts.write_measures(output_dir, "sub-0001", values, qc={"chi": "exclude"})
    edits = output_dir / "edits" / "exclusions.tsv"
    edits.parent.mkdir()
    edits.write_text(
        "participant_id\tdecision\treason\nsub-0001\tinclude\tlooked at it\n"
        "sub-0002\texclude\tmoved\n"
    )
    folder = without_page(bids_dir, output_dir)
    decisions = read(folder, "exclusions").set_index("participant_id")
    assert list(decisions.loc["sub-0001", ["decision", "source"]]) == ["include", "edited"]
    assert list(decisions.loc["sub-0002", ["decision", "reason"]]) == ["exclude", "moved"]
    used = set(read(folder, "measures")["participant_id"])
    assert "sub-0001" in used
    assert "sub-0002" not in used


@pytest.mark.slow
def test_volumes_in_mixed_units_are_brought_to_one(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    expected = values["thalamic_volume"]
    values["thalamic_volume"] = expected / 1000
    cohorts.write_measures(output_dir, "sub-0001", values, units={"thalamic_volume": "mL"})
    wide = read(without_page(bids_dir, output_dir), "measures")
    assert wide["thalamic_volume"].iloc[0] == pytest.approx(expected)


@pytest.mark.slow
def test_a_unit_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    cohorts.write_measures(output_dir, "sub-0001", values, units={"thalamic_volume": "percent"})
    with pytest.raises(DataError, match=r"sub-0001, volume_thalamus_LR: the unit is 'percent'"):
        group.process(bids_dir, output_dir)


@pytest.mark.slow
def test_several_runs_are_averaged_and_the_first_session_is_used(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    values = cohort.iloc[0].to_dict()
    for path in (output_dir / "sub-0001").rglob("*.tsv"):
        path.unlink()
    for run, chi in (("run-1", -30.0), ("run-2", -20.0)):
        cohorts.write_measures(output_dir, "sub-0001", values | {"chi": chi}, labels=("ses-a", run))
    cohorts.write_measures(output_dir, "sub-0001", values | {"chi": 5.0}, labels=("ses-b", "n/a"))
    folder = without_page(bids_dir, output_dir)
    wide = read(folder, "measures").set_index(["participant_id", "session_id"])
    assert wide.loc[("sub-0001", "ses-a"), "chi"] == -25.0
    assert wide.loc[("sub-0001", "ses-b"), "chi"] == 5.0
    assert read(folder, "flow").set_index("step").loc["in the analysis", "n"] == 30


@pytest.mark.slow
def test_the_presence_of_enhancement_comes_from_the_images_where_the_table_lacks_it(
    tmp_path: Path,
) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    path = bids_dir / "participants.tsv"
    people = pd.read_csv(path, sep="\t", dtype=str)
    people.loc[0, "enhancing_lesions"] = "n/a"
    people.loc[1, "enhancing_lesions"] = "1"
    people.to_csv(path, sep="\t", index=False)
    measures = cohorts.write_measures(output_dir, "sub-0001", cohort.iloc[0].to_dict())
    cells = ["sub-0001", "n/a", "n/a", "enhancing_present", "enhancing", "n/a", "1"]
    row = "\t".join([*cells, "n/a", "n/a", "n/a", "test", "test", "include\n"])
    measures.write_text(measures.read_text() + row)
    wide = read(without_page(bids_dir, output_dir), "measures")
    assert list(wide["enhancing"].iloc[:2]) == [1, 1]
    assert wide["enhancing_source"].iloc[0] == "image: enhancing_present"
    assert wide["enhancing_source"].iloc[1] == "participants.tsv: enhancing_lesions"


@pytest.mark.slow
def test_codes_are_read_through_the_data_dictionary(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path)
    path = bids_dir / "participants.tsv"
    people = pd.read_csv(path, sep="\t", dtype=str)
    people["sex"] = people["sex"].map({"F": "1", "M": "2"})
    people.to_csv(path, sep="\t", index=False)
    levels = {"sex": {"Levels": {"1": "female", "2": "male"}}}
    path.with_suffix(".json").write_text(json.dumps(levels))
    wide = read(without_page(bids_dir, output_dir), "measures")
    assert list(wide["sex"]) == list(cohort["sex"])


def test_the_page_names_each_participants_report_and_loads_nothing_from_outside(
    study: Path,
) -> None:
    text = (study / "group.html").read_text()
    assert 'href="../sub-0001.html"' in text
    assert 'src="http' not in text


@pytest.mark.slow
def test_failed_checks_of_a_scan_decide_and_give_the_reason(tmp_path: Path) -> None:
    bids_dir, output_dir, _ = small(tmp_path)
    header = "name\tvalue\tunit\tthreshold\tverdict\treason\tsource\n"
    for who, verdict in (("sub-0001", "exclude"), ("sub-0002", "check"), ("sub-0003", "include")):
        path = output_dir / who / "anat" / f"{who}_desc-qsmthal_quality.tsv"
        path.write_text(f"{header}snr\t3\t1\tcheck < 20\t{verdict}\ttoo much noise\tpaper\n")
    folder = without_page(bids_dir, output_dir)
    decisions = read(folder, "exclusions").set_index("participant_id")
    assert list(decisions.loc["sub-0001", ["decision", "reason"]]) == ["exclude", "too much noise"]
    assert list(decisions.loc["sub-0002", ["decision", "reason"]]) == ["check", "too much noise"]
    assert decisions.loc["sub-0003", "decision"] == "include"
    wide = read(folder, "measures").set_index("participant_id")
    assert "sub-0001" not in wide.index
    assert wide.loc["sub-0002", "quality"] == "check"


@pytest.mark.slow
def test_other_choices_of_a_scan_enter_the_sensitivity_analysis(tmp_path: Path) -> None:
    bids_dir, output_dir, cohort = small(tmp_path, 20)
    header = "choice\tvariant\themisphere\tvalue\tdifference\tunit\tn_voxels\n"
    for place, chi in enumerate(cohort["chi"], start=1):
        who = f"sub-{place:04d}"
        path = output_dir / who / "anat" / f"{who}_desc-qsmthal_sensitivity.tsv"
        rows = [f"default\tdefault\tLR\t{chi}\t0\tppb\t9"]
        rows += [f"veins\tnot removed\tLR\t{2 * chi}\t1\tppb\t9"]
        path.write_text(header + "\n".join(rows) + "\n")
    analysis = analysis_file.read(None)
    made = assembly.assemble(bids_dir, output_dir, analysis, strict=False)
    results = fitting.fit_all(analysis, made, Resampling(n_permutations=99, n_bootstraps=100))
    rows = results.sensitivity.set_index(["model", "specification"])
    plainly = rows.loc[("thickness_adjusted", "as in the table")]
    doubled = rows.loc[("thickness_adjusted", "veins not removed")]
    assert doubled["coefficient"] == pytest.approx(plainly["coefficient"] / 2)
    assert doubled["p"] == pytest.approx(plainly["p"])
    moved = made.choices.set_index(["choice", "variant", "hemisphere"])
    assert moved.loc[("veins", "not removed", "LR"), "n"] == 20


def test_shifts_of_other_choices_count_each_participant_once_and_leave_out_the_excluded() -> None:
    scans = ["sub-1_run-1", "sub-1_run-2", "sub-2", "sub-3", "sub-4"]
    others = pd.DataFrame(
        {
            "scan": scans,
            "choice": "background",
            "variant": "pdf",
            "hemisphere": "LR",
            "value": [-10.0, -12.0, -22.0, -33.0, 500.0],
            "difference": [1.0, 3.0, 4.0, 6.0, 400.0],
        }
    )
    usable = pd.DataFrame(
        {"scan": scans[:4], "participant_id": ["sub-1", "sub-1", "sub-2", "sub-3"]}
    )

    row = participant_tables.differences(others, usable).iloc[0]

    assert row["n"] == 3
    assert row["mean_difference"] == pytest.approx(4.0)
    assert row["sd_difference"] == pytest.approx(2.0)
    assert (row["minimum"], row["maximum"]) == (2.0, 6.0)
    own = np.array([-13.0, -26.0, -39.0])
    assert row["correlation"] == pytest.approx(
        np.corrcoef(own, own + np.array([2.0, 4.0, 6.0]))[0, 1]
    )


def test_the_spread_of_two_participants_is_not_given() -> None:
    others = pd.DataFrame(
        {
            "scan": ["sub-1", "sub-2"],
            "choice": "veins",
            "variant": "not removed",
            "hemisphere": "L",
            "value": [1.0, 2.0],
            "difference": [0.5, 0.7],
        }
    )
    usable = pd.DataFrame({"scan": ["sub-1", "sub-2"], "participant_id": ["sub-1", "sub-2"]})

    row = participant_tables.differences(others, usable).iloc[0]

    assert row["mean_difference"] == pytest.approx(0.6)
    assert np.isnan(row["sd_difference"])
    assert np.isnan(row["correlation"])


@pytest.mark.slow
def test_sessions_make_a_longitudinal_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cohort = cohorts.simulated(12, rng, {})
    bids_dir, output_dir = tmp_path / "bids", tmp_path / "derivatives"
    bids_dir.mkdir()
    cohorts.participants(cohort).to_csv(
        bids_dir / "participants.tsv", sep="\t", index=False, na_rep="n/a"
    )
    for place, (_, row) in enumerate(cohort.iterrows(), start=1):
        who = f"sub-{place:04d}"
        table = bids_dir / who / f"{who}_sessions.tsv"
        table.parent.mkdir()
        table.write_text("session_id\tacq_time\nses-1\t2020-01-01T00:00:00\nses-2\t2022-01-01\n")
        for visit, years in (("ses-1", 0.0), ("ses-2", 2.0)):
            values = row.to_dict() | {"chi": row["chi"] + 0.7 * years + rng.normal(0, 0.1)}
            cohorts.write_measures(output_dir, who, values, labels=(visit, "n/a"))
    own = tmp_path / "own.yaml"
    without_edss = re.sub(r"  edss:\n.*\n.*\n", "", analysis_file.packaged())
    more = "\nLongitudinal:\n  - {Name: change, Formula: chi ~ years}\n"
    own.write_text(without_edss.replace("edss, dmt", "dmt").partition("Sensitivity:")[0] + more)
    folder = group.process(bids_dir, output_dir, analysis=own).folder
    change = read(folder, "longitudinal").set_index("term")
    assert change.loc["years", "coefficient"] == pytest.approx(0.7, abs=0.08)
    assert change.loc["years", "n_sessions"] == 24
    assert "Change over time" in (folder / "group.html").read_text()


@pytest.mark.slow
def test_the_lesion_model_without_the_old_keeps_those_who_are_just_fifty(tmp_path: Path) -> None:
    cohort = cohorts.simulated(40, np.random.default_rng(5), {})
    cohort.loc[:1, "age"] = [50.0, 50.1]
    bids_dir, output_dir = cohorts.write(cohort, tmp_path)
    folder = without_page(bids_dir, output_dir)
    models = read(folder, "models").set_index("model")
    young = int((cohort["age"] <= 50).sum())
    assert (models.loc["lesion_adjusted_age_50", "n"] == young).all()
    flow = read(folder, "flow").set_index("step")
    outside = flow.loc["model lesion_adjusted_age_50", "detail"]
    assert outside == f"{40 - young} outside the filter"


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_participants_get_tables_without_models(tmp_path: Path, n: int) -> None:
    bids_dir, output_dir = cohorts.write(cohorts.published().head(n), tmp_path)
    result = group.process(bids_dir, output_dir)
    models = pd.read_csv(output_dir / "group" / "models.tsv", sep="\t")
    assert result.n_participants == n
    assert models["coefficient"].isna().all()
    assert models["note"].str.contains("too few participants|not estimable").all()
