"""What tables say about people: read as it is meant, or refused, or listed; never guessed."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.group import (
    analysis_file,
    assembly,
    covariates,
    fitting,
    flow,
    questionable,
    sessions,
)
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.concerns import Kind
from bids_qsmthal.group.questionable import Problem
from bids_qsmthal.group.sessions import natural_key
from bids_qsmthal.statistics.analysis import Variable
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

N = 24

OWN = """
Name: own
{more}
Variables:
  chi: {{Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}}
  lesion_volume: {{Measure: volume, Region: lesion, Units: mL}}
  age: {{Columns: [age], Units: year, {age}}}
  dmt:
    Columns: [dmt]
    Levels:
      "no": {{Value: 0, Words: ["0", none, untreated]}}
      "yes": {{Value: 1, Words: ["1", treated]}}
Models:
  - {{Name: by_age, Formula: chi ~ age}}
  - {{Name: by_dmt, Formula: chi ~ dmt}}
  - {{Name: lesions, Formula: log(lesion_volume) ~ chi}}
"""


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    cohort = cohorts.simulated(N, np.random.default_rng(4), {"age": 0.5})
    return cohorts.write(cohort, tmp_path)


def people(study: tuple[Path, Path]) -> pd.DataFrame:
    return pd.read_csv(study[0] / "participants.tsv", sep="\t", dtype="str")


def rewrite(study: tuple[Path, Path], **columns: Mapping[int, str]) -> pd.DataFrame:
    """Change cells of participants.tsv by the number of the row; return the table before."""
    before = people(study)
    after = before.copy()
    for name, cells in columns.items():
        for row, cell in cells.items():
            after.loc[row, name] = cell
    after.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    return before


def describe(study: tuple[Path, Path], **columns: object) -> None:
    levels = {name: {"Levels": described} for name, described in columns.items()}
    (study[0] / "participants.json").write_text(json.dumps(levels))


def assembled(study: tuple[Path, Path], *, more: str = "", age: str = "Label: Age") -> Cohort:
    path = study[0].parent / "own.yaml"
    path.write_text(OWN.format(more=more, age=age))
    return assembly.assemble(*study, analysis_file.read(path), strict=True)


def values(cohort: Cohort, name: str) -> pd.Series:
    return cohort.frame.set_index("participant_id")[name]


def test_codes_for_unknown_and_impossible_values_are_missing_and_listed(
    study: tuple[Path, Path],
) -> None:
    before = rewrite(
        study, age={3: "999", 9: "-9"}, disease_duration={2: "-3", 4: "99"}, dmt={0: "n/a"}
    )
    cohort = assembly.assemble(*study, analysis_file.read(None), strict=False)
    found = {(q.participant_id, q.variable): (q.value, q.problem) for q in cohort.questionable}
    assert found == {
        ("sub-0004", "age"): ("999", Problem.IMPOSSIBLE),
        ("sub-0010", "age"): ("-9", Problem.IMPOSSIBLE),
        ("sub-0003", "duration"): ("-3", Problem.IMPOSSIBLE),
        ("sub-0005", "duration"): ("99", Problem.CODE),
    }
    right = before.set_index("participant_id")["age"].astype(float).drop(["sub-0004", "sub-0010"])
    pd.testing.assert_series_equal(values(cohort, "age").dropna(), right, check_names=False)
    assert any("Age" in concern.text for concern in cohort.concerns)


@pytest.mark.parametrize("label", ["Disease duration", "Duration of disease (years)"])
def test_what_a_column_of_another_language_is_its_label_says(
    study: tuple[Path, Path], label: str
) -> None:
    table = people(study).rename(columns={"disease_duration": "jahre_krank"})
    table.loc[4, "jahre_krank"] = "-3"
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    dauer = f"dauer: {{Label: {label}, Columns: [jahre_krank], Units: year"
    cohort = assembled(study, age=f"Label: Age}}\n  {dauer}")
    found = [(q.participant_id, q.variable, q.problem) for q in cohort.questionable]
    assert found == [("sub-0005", "dauer", Problem.IMPOSSIBLE)]
    assert np.isnan(values(cohort, "dauer")["sub-0005"])


def test_edss_outside_the_scale_is_missing_and_between_its_steps_is_listed(
    study: tuple[Path, Path],
) -> None:
    cells = {row: f"{1 + row % 12 / 2}" for row in range(N)} | {0: "22", 1: "3.2"}
    table = people(study).assign(edss=[cells[row] for row in range(N)])
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    cohort = assembly.assemble(*study, analysis_file.read(None), strict=False)
    edss = values(cohort, "edss")
    assert np.isnan(edss["sub-0001"])
    assert edss["sub-0002"] == 3.2
    assert [(q.value, q.problem, q.used) for q in cohort.questionable] == [
        ("22", Problem.IMPOSSIBLE, False),
        ("3.2", Problem.BETWEEN_STEPS, True),
    ]


def test_a_range_of_the_analysis_file_goes_before_what_is_known_of_the_kind(
    study: tuple[Path, Path],
) -> None:
    before = people(study)["age"].astype(float)
    cohort = assembled(study, age="Range: [18, 50]")
    assert values(cohort, "age").notna().sum() == (before <= 50).sum()


def test_a_measure_that_nobody_has_is_listed_and_kept_for_quality_control_decides(
    tmp_path: Path,
) -> None:
    cohort = cohorts.simulated(N, np.random.default_rng(4), {})
    cohort.loc[3, "thalamic_volume"] = 14.0  # in mL under the unit mm3
    study = cohorts.write(cohort, tmp_path)
    made = assembly.assemble(*study, analysis_file.read(None), strict=False)
    assert [(q.participant_id, q.variable, q.problem, q.used) for q in made.questionable] == [
        ("sub-0004", "thalamic_volume", Problem.FAR_OUT, True)
    ]
    assert values(made, "thalamic_volume")["sub-0004"] == 14.0


def test_a_disease_that_is_longer_than_the_life_is_listed(study: tuple[Path, Path]) -> None:
    rewrite(study, age={6: "30"}, disease_duration={6: "31"})
    cohort = assembly.assemble(*study, analysis_file.read(None), strict=False)
    assert [(q.participant_id, q.problem) for q in cohort.questionable] == [
        ("sub-0007", Problem.LONGER_THAN_LIFE)
    ]
    assert values(cohort, "duration")["sub-0007"] == 31


@pytest.mark.parametrize("cell", ["89+", "about 43", "unknown"])
def test_one_cell_that_is_no_number_costs_one_person_one_model(
    study: tuple[Path, Path], cell: str
) -> None:
    rewrite(study, age={7: cell})
    cohort = assembled(study)
    assert [(q.participant_id, q.value, q.used) for q in cohort.questionable] == [
        ("sub-0008", cell, False)
    ]
    assert len(cohort.frame) == N
    analysis = analysis_file.read(study[0].parent / "own.yaml")
    fits = fitting.fit_all(analysis, cohort, Resampling()).fits
    assert {name: fit.design.n for name, fit in fits.items()} == {
        "by_age": N - 1,
        "by_dmt": N,
        "lesions": N,
    }


def test_one_level_that_the_analysis_does_not_know_costs_one_person(
    study: tuple[Path, Path],
) -> None:
    rewrite(study, sex={7: "O"})
    cohort = assembly.assemble(*study, analysis_file.read(None), strict=False)
    assert [(q.value, q.problem) for q in cohort.questionable] == [("O", Problem.NO_LEVEL)]
    assert values(cohort, "sex").isna().sum() == 1


def test_a_column_most_of_which_cannot_be_read_is_refused(study: tuple[Path, Path]) -> None:
    rewrite(study, age=dict.fromkeys(range(13), "old"))
    with pytest.raises(DataError, match=r"column 'age': 'old' of sub-0001 is not a number \(13 "):
        assembled(study)


@pytest.mark.parametrize(
    ("unit", "impossible"), [("year", [130.0, 1500.0]), ("month", [1500.0]), ("moon", [])]
)
def test_durations_are_judged_in_their_own_unit(unit: str, impossible: list[float]) -> None:
    rows = pd.MultiIndex.from_product(
        [["sub-1", "sub-2", "sub-3"], ["n/a"]], names=["participant_id", "session_id"]
    )
    variable = Variable(name="duration", label="Duration", columns=("disease_duration",), unit=unit)
    kept, listed = questionable.without_impossible(pd.Series([60.0, 130.0, 1500.0], rows), variable)
    assert [float(one.value) for one in listed] == impossible
    assert kept.isna().sum() == len(impossible)


def test_missing_and_top_coded_cells_of_the_analysis_file_are_read_so(
    study: tuple[Path, Path],
) -> None:
    rewrite(study, age={0: "89+", 1: "77"}, dmt={2: "9"})
    cohort = assembled(study, more="Missing: [9, 77]", age="TopCoded: {89+: 89}, Range: [0, 100]")
    assert values(cohort, "age")["sub-0001"] == 89
    assert values(cohort, "age").isna().sum() == 1
    assert np.isnan(values(cohort, "dmt")["sub-0003"])
    assert cohort.questionable == ()


def test_a_declared_word_goes_before_the_words_for_missing_values(
    study: tuple[Path, Path],
) -> None:
    before = people(study)["dmt"]
    rewrite(study, dmt={row: "none" for row in range(N) if before[row] == "0"})
    dmt = values(assembled(study), "dmt")
    assert list(dmt) == [float(cell) for cell in before]


def test_a_meaning_that_the_analysis_does_not_know_is_refused_and_how_to_declare_it_shown(
    study: tuple[Path, Path],
) -> None:
    describe(study, dmt={"0": "on interferon", "1": "none"})
    with pytest.raises(DataError, match=r"'0' means 'on interferon'.*Words: \[\.\.\., on interf"):
        assembled(study)


def test_the_data_dictionary_says_what_a_code_means(study: tuple[Path, Path]) -> None:
    before = people(study)["dmt"].astype(float)
    describe(study, dmt={"0": {"Description": "Treated"}, "1": {"Description": "None"}})
    assert list(values(assembled(study), "dmt")) == list(1 - before)


def test_a_code_that_the_dictionary_calls_unknown_is_missing(study: tuple[Path, Path]) -> None:
    rewrite(study, dmt={0: "9"})
    describe(study, dmt={"0": "untreated", "1": "treated", "9": "Unknown"})
    cohort = assembled(study)
    assert values(cohort, "dmt").isna().sum() == 1
    assert [q.problem for q in cohort.questionable] == [Problem.UNKNOWN]


@pytest.mark.parametrize(
    ("levels", "spelled"),
    [
        ({"0.0": "treated", "1.0": "untreated"}, "{:.0f}"),
        ({"00": "treated", "01": "untreated"}, "{:.1f}"),
        ({"0": {"LongName": "Treated"}, "1": {"Label": "Untreated"}}, "{:02.0f}"),
        ({"0": {"description": "treated"}, "1": {"description": "untreated"}}, "{:.0f}"),
    ],
)
def test_a_code_is_found_in_the_dictionary_however_both_are_spelled(
    study: tuple[Path, Path], levels: dict[str, object], spelled: str
) -> None:
    before = people(study)["dmt"].astype(float)
    rewrite(study, dmt={row: spelled.format(value) for row, value in before.items()})
    describe(study, dmt=levels)
    assert list(values(assembled(study), "dmt")) == list(1 - before)


@pytest.mark.parametrize(("name", "key"), [("DMT", "Levels"), ("dmt", "levels")])
def test_capitals_of_a_dictionary_do_not_hide_what_a_code_means(
    study: tuple[Path, Path], name: str, key: str
) -> None:
    before = people(study)["dmt"].astype(float)
    meant = {name: {key: {"0": "treated", "1": "untreated"}}}
    (study[0] / "participants.json").write_text(json.dumps(meant))
    assert list(values(assembled(study), "dmt")) == list(1 - before)


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        (["0: treated", "1: untreated"], "expected an object, each code with its meaning"),
        ("0 = treated, 1 = untreated", "expected an object, each code with its meaning"),
        ({"0": {"TermURL": "x"}, "1": "treated"}, "a word or an object with a Description"),
    ],
)
def test_levels_of_a_dictionary_that_cannot_be_read_are_refused(
    study: tuple[Path, Path], levels: object, says: str
) -> None:
    describe(study, dmt=levels)
    with pytest.raises(DataError, match=says):
        assembled(study)


def test_a_code_of_a_level_that_the_dictionary_calls_unknown_is_missing(
    study: tuple[Path, Path],
) -> None:
    before = people(study)["dmt"]
    describe(study, dmt={"0": "untreated", "1": "refused"})
    dmt = values(assembled(study), "dmt")
    assert dmt.isna().sum() == (before == "1").sum()
    assert (dmt.dropna() == 0).all()


def test_a_number_that_the_dictionary_calls_unknown_is_missing_and_none_is_a_number(
    study: tuple[Path, Path],
) -> None:
    rewrite(study, age=dict.fromkeys(range(3), "9") | {3: "30"})
    describe(study, age={"9": "Not recorded", "30": "none"})
    cohort = assembled(study)
    assert values(cohort, "age").isna().sum() == 3
    assert values(cohort, "age")["sub-0004"] == 30
    assert {q.problem for q in cohort.questionable} == {Problem.UNKNOWN}


def test_a_word_and_a_contradicting_dictionary_are_refused(study: tuple[Path, Path]) -> None:
    rewrite(study, dmt=dict.fromkeys(range(N), "none"))
    describe(study, dmt={"none": "treated"})
    with pytest.raises(DataError, match="'none' means 'treated', but the analysis takes it for an"):
        assembled(study)


@pytest.mark.parametrize("spelled", ["{}", "{}.0", "sub-{}", "sub-000{}", "SUB-{}", "Sub_{}"])
def test_people_without_leading_zeros_or_otherwise_spelled_are_matched(
    study: tuple[Path, Path], spelled: str
) -> None:
    table = people(study)
    right = table.set_index("participant_id")["age"].astype(float)
    numbers = range(1, N + 1)
    table["participant_id"] = [spelled.format(number) for number in numbers]
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    cohort = assembled(study)
    pd.testing.assert_series_equal(values(cohort, "age"), right, check_names=False)


def test_people_who_may_be_two_are_refused(study: tuple[Path, Path]) -> None:
    cohorts.write_measures(study[1], "sub-01", {"chi": -20.0})
    table = people(study)
    table.loc[0, "participant_id"] = "1"
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    with pytest.raises(DataError, match="'sub-1' may be sub-0001 or sub-01"):
        assembled(study)


def test_a_table_of_other_people_is_refused(study: tuple[Path, Path]) -> None:
    table = people(study)
    table["participant_id"] = [f"sub-x{name}" for name in table["participant_id"]]
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    with pytest.raises(DataError, match="none of whom has results; there are results for sub-0001"):
        assembled(study)


def test_groups_that_no_model_tells_apart_are_said_and_a_filter_leaves_one(
    study: tuple[Path, Path],
) -> None:
    groups = ["patient"] * 14 + ["control"] * 10
    table = people(study).assign(group=groups)
    table.to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    pooled = assembled(study)
    assert any("group has several values" in concern.text for concern in pooled.concerns)
    assert any("(control: 10, patient: 14)" in concern.text for concern in pooled.concerns)
    more = "Filter: age > 40"
    kept = assembled(study, more=more)
    old = people(study)["age"].astype(float) > 40
    assert list(kept.frame["participant_id"]) == list(people(study)["participant_id"][old])
    steps = flow.table(kept.flow).set_index("step")["n"]
    assert steps["outside the filter of the analysis: age > 40"] == N - old.sum()


def test_who_has_no_lesions_is_counted_and_named_where_a_log_leaves_them_out(
    tmp_path: Path,
) -> None:
    cohort = cohorts.simulated(N, np.random.default_rng(4), {})
    cohort.loc[[2, 5], "lesion_volume"] = 0.0
    study = cohorts.write(cohort, tmp_path)
    made = assembled(study)
    analysis = analysis_file.read(tmp_path / "own.yaml")
    results = fitting.fit_all(analysis, made, Resampling())
    lines = flow.table(results.flow).set_index("step")
    assert lines.loc["model lesions", "n"] == N - 2
    assert lines.loc["model lesions", "detail"].endswith("(sub-0003, sub-0006)")
    (concern,) = results.concerns
    assert concern.about == ("log(lesion_volume)", "sub-0003, sub-0006", "lesions")


def test_labels_sort_as_people_sort_them() -> None:
    assert sorted(["ses-10", "ses-2", "ses-1b", "ses-1"], key=natural_key) == [
        *("ses-1", "ses-1b", "ses-2", "ses-10")
    ]


def visits(root: Path, times: Mapping[str, str], table: str) -> tuple[Path, Path]:
    """One person with a visit for each label, whose chi is 1, 2, 3 ... in the order given."""
    bids_dir, output_dir = root / "bids", root / "derivatives"
    (bids_dir / "sub-01").mkdir(parents=True)
    people_table = "participant_id\tage\tdmt\nsub-01\t40\t0\n"
    (bids_dir / "participants.tsv").write_text(people_table)
    for chi, session in enumerate(times, start=1):
        labels = (session, "n/a")
        values_now = {"chi": float(chi), "lesion_volume": 1.0}
        cohorts.write_measures(output_dir, "sub-01", values_now, labels=labels)
    rows = "".join(f"{session}\t{time}\n" for session, time in times.items())
    if table == "sessions":
        path = bids_dir / "sub-01" / "sub-01_sessions.tsv"
        path.write_text(f"session_id\tacq_time\n{rows}")
    if table == "scans":
        for session, time in times.items():
            path = bids_dir / "sub-01" / session / f"sub-01_{session}_scans.tsv"
            path.parent.mkdir()
            path.write_text(f"filename\tacq_time\nanat/x.nii.gz\t2031-01-01\nanat/y\t{time}\n")
    return bids_dir, output_dir


PRE_POST = {"ses-post": "2021-05-01T10:00:00", "ses-pre": "2020-05-01T10:00:00"}
NUMBERED = {"ses-10": "n/a", "ses-2": "n/a", "ses-1": "n/a"}


@pytest.mark.parametrize(
    ("times", "table", "wanted", "chi"),
    [
        (PRE_POST, "sessions", "first", 2.0),
        (PRE_POST, "sessions", "last", 1.0),
        (PRE_POST, "scans", "first", 2.0),
        (PRE_POST, "none", "first", 1.0),
        (NUMBERED, "none", "first", 3.0),
        (NUMBERED, "none", "last", 1.0),
        (NUMBERED, "none", "2", 2.0),
    ],
)
def test_sessions_are_in_the_order_of_time_then_of_their_numbers(
    tmp_path: Path, times: Mapping[str, str], table: str, wanted: str, chi: float
) -> None:
    cohort = assembled(visits(tmp_path, times, table), more=f"Session: {wanted}")
    assert list(cohort.frame["chi"]) == [chi]
    label = list(times)[int(chi) - 1]
    assert f"in the analysis with {label}" in set(flow.table(cohort.flow)["step"])


@pytest.mark.parametrize(
    ("times", "is_said"),
    [
        (("2021-01-01", "2021-01-01"), True),  # days that were removed for privacy
        (("2021-01-01T09:00:00", "2021-01-01T09:30:00"), False),
        (("2021-01-01T09:00:00+02:00", "2021-01-01T07:00:00Z"), True),
        (("2021-01-01", "n/a"), True),
    ],
)
def test_sessions_that_dates_do_not_put_in_order_are_said(
    tmp_path: Path, times: tuple[str, str], *, is_said: bool
) -> None:
    dates = dict(zip(("ses-pre", "ses-post"), times, strict=True))
    cohort = assembled(visits(tmp_path, dates, "sessions"))
    said = [one for one in cohort.concerns if one.kind is Kind.ORDERED_BY_NAME]
    assert bool(said) == is_said
    # By name: post goes before pre. By time: pre, whose chi is 1.
    assert list(cohort.frame["chi"]) == [2.0 if is_said else 1.0]


def test_a_session_that_nobody_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    study = visits(tmp_path, PRE_POST, "sessions")
    with pytest.raises(
        MissingInputError, match=r"no participant has results for ses-week4.*ses-post, ses-"
    ):
        assembled(study, more="Session: week4")


def test_a_first_session_that_is_excluded_is_not_replaced_unless_that_is_asked_for(
    tmp_path: Path,
) -> None:
    study = visits(tmp_path, PRE_POST, "sessions")
    edits = study[1] / "edits" / "exclusions.tsv"
    edits.parent.mkdir()
    edits.write_text("participant_id\tsession_id\tdecision\nsub-01\tses-pre\texclude\n")
    left_out = assembled(study)
    assert left_out.frame.empty
    steps = flow.table(left_out.flow).set_index("step")["n"]
    assert steps.filter(like="ses-pre, the session that the analysis asks for").tolist() == [1]
    replaced = assembled(study, more="Session: first usable")
    assert list(replaced.frame["chi"]) == [1.0]


def test_the_data_dictionary_of_one_participants_sessions_is_not_anothers(tmp_path: Path) -> None:
    study = cohorts.write(cohorts.simulated(4, np.random.default_rng(4), {}), tmp_path)
    people(study).drop(columns="dmt").to_csv(study[0] / "participants.tsv", sep="\t", index=False)
    codes = {"sub-0001": ("treated", "untreated"), "sub-0002": ("untreated", "treated")}
    for who, (one, two) in codes.items():
        folder = study[0] / who
        folder.mkdir(exist_ok=True)
        (folder / f"{who}_sessions.tsv").write_text("session_id\tdmt\nses-1\t1\n")
        levels = json.dumps({"dmt": {"Levels": {"1": one, "2": two}}})
        (folder / f"{who}_sessions.json").write_text(levels)
    sources = covariates.covariate_tables(study[0])
    variable = analysis_file.read(None).variables["dmt"]
    rows = pd.MultiIndex.from_tuples(
        [(who, "ses-1") for who in codes], names=["participant_id", "session_id"]
    )
    found = covariates.variable_values(variable, sources, rows)
    assert found is not None
    assert list(found.frame["value"]) == [1.0, 0.0]


def test_where_no_session_can_be_used_none_is_chosen() -> None:
    rows = [("sub-1", "ses-1"), ("sub-2", "ses-1")]
    times = pd.Series(pd.NaT, index=pd.MultiIndex.from_tuples(rows, names=sessions.KEY))
    none = pd.DataFrame({"participant_id": [], "session_id": [], "chi": []})
    chosen = sessions.chosen_sessions(none, times, "first")
    assert list(chosen.frame) == ["participant_id", "session_id", "chi"]
    assert len(chosen.frame) == 0


def test_what_only_rows_of_the_specifications_need_is_no_warning(
    study: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        cohort = assembly.assemble(*study, analysis_file.read(None), strict=False)
    assert {"rim_count", "any_rim", "lesion_chi", "intracranial_volume", "edss"} <= set(
        cohort.absent
    )
    texts = " ".join([concern.text for concern in cohort.concerns] + caplog.messages)
    assert "no column edss" in texts
    for measure in ("rim_count", "rim_present", "chi_relative_nawm", "intracranial"):
        assert measure not in texts
