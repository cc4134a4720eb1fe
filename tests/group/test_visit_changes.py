"""Change between visits at the group level: from the participants' tables to models and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.bids import manifest
from bids_qsmthal.group import analysis_file, assembly, fitting, page, table_writing, visit_changes
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.participant import change_rows
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

CHI = ("chi_relative_csf", "thalamus", "LR", "default", "ppb")
VOLUME = ("volume", "thalamus", "LR", "n/a", "mm3")
NEW = ("new_count", "lesion", "n/a", "n/a", "1")

ANALYSIS = """
Name: changes
Variables:
  age: {Columns: [age]}
  chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}
  iron: {Measure: chi_relative_csf_change_per_year, Region: thalamus, Hemisphere: LR,
         Units: ppb/year}
  atrophy: {Measure: volume_change_per_year, Region: thalamus, Hemisphere: LR, Units: mL/year}
Models: [{Name: level, Formula: chi ~ age}]
Longitudinal: [{Name: wrong, Formula: iron ~ years}]
Change:
  - {Name: iron_age, Formula: iron ~ age}
  - {Name: volume_age, Formula: atrophy ~ age}
"""


def row(  # noqa: PLR0913 - the cells of a row
    who: str,
    pair: tuple[str, str],
    years: float,
    place: tuple[str, str, str, str, str],
    change: float,
    error: float = float("nan"),
    *,
    value: float = float("nan"),
    reliable: str = "",
) -> dict[str, object]:
    """Return a row as the participant level writes it."""
    measure, region, hemisphere, variant, unit = place
    known = "n/a" if np.isnan(error) else ("yes" if abs(change) > 1.96 * error else "no")
    cells: dict[str, object] = dict.fromkeys(change_rows.DICTIONARY, float("nan"))
    return cells | {
        "participant_id": who, "session_from": pair[0], "session_to": pair[1], "years": years,
        "measure": measure, "region": region, "hemisphere": hemisphere, "variant": variant,
        "value": value, "change": change, "unit": unit, "change_se": error,
        "change_percent": 100 * change / value, "change_per_year": change / years,
        "change_per_year_se": error / years, "reliable": reliable or known,
    }  # fmt: skip


def write_changes(output_dir: Path, who: str, rows: list[dict[str, object]]) -> Path:
    """Write the table of change of a participant, and the manifest of the comparison."""
    path = output_dir / who / "anat" / f"{who}_desc-qsmthal_change.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows, columns=list(change_rows.DICTIONARY))
    frame.to_csv(path, sep="\t", index=False, na_rep="n/a", float_format="%.12g")
    manifest.finish(output_dir, who, who, [path])
    return path


STEPS = [("ses-1", "ses-2"), ("ses-2", "ses-3"), ("ses-1", "ses-3")]


def rows_of(who: str, iron: float, volume: float, error: float) -> list[dict[str, object]]:
    """Return three visits, one and two years apart: what changes in a year, with its error."""
    made = []
    for pair, years in zip(STEPS, (1.0, 2.0, 3.0), strict=True):
        made.append(row(who, pair, years, CHI, iron * years, error))
        made.append(row(who, pair, years, VOLUME, volume * years, 20 * error, value=14_000.0))
    # New lesions are said of neighbours alone.
    made += [
        row(who, pair, y, NEW, n) for pair, y, n in zip(STEPS[:2], (1.0, 2.0), (2, 1), strict=True)
    ]
    return made


N = 12


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path, pd.DataFrame]:
    """Twelve people at three visits; iron grows by .1 ppb a year for each year of age."""
    rng = np.random.default_rng(8)
    cohort = cohorts.simulated(N, rng, {})
    bids_dir, output_dir = tmp_path / "bids", tmp_path / "derivatives"
    bids_dir.mkdir()
    people = cohorts.participants(cohort)
    people.to_csv(bids_dir / "participants.tsv", sep="\t", index=False, na_rep="n/a")
    for who, (_, one) in zip(people["participant_id"], cohort.iterrows(), strict=True):
        dates = ("2020-01-01", "2020-12-31", "2023-01-01")
        lines = [f"ses-{number}\t{date}\n" for number, date in enumerate(dates, 1)]
        table = bids_dir / who / f"{who}_sessions.tsv"
        table.parent.mkdir()
        table.write_text("session_id\tacq_time\n" + "".join(lines))
        for session in ("ses-1", "ses-2", "ses-3"):
            cohorts.write_measures(output_dir, who, one.to_dict(), labels=(session, "n/a"))
    cohorts.finish(output_dir)
    for who, age in zip(people["participant_id"], cohort["age"], strict=True):
        iron = 0.1 * (float(age) - 45)
        write_changes(output_dir, str(who), rows_of(str(who), iron, -50.0, rng.uniform(0.5, 1.5)))
    return bids_dir, output_dir, people


def results(
    study: tuple[Path, Path, pd.DataFrame], text: str = ANALYSIS
) -> tuple[Results, assembly.Cohort]:
    bids_dir, output_dir, _ = study
    own = bids_dir.parent / "own.yaml"
    own.write_text(text)
    analysis = analysis_file.read(own)
    cohort = assembly.assemble(bids_dir, output_dir, analysis, strict=True)
    found = fitting.fit_all(analysis, cohort, Resampling())
    (output_dir / "group").mkdir(exist_ok=True)
    table_writing.write(output_dir / "group", analysis, cohort, found)
    page.write(output_dir / "group", analysis, cohort, found, Resampling())
    return found, cohort


def test_columns_are_those_that_the_participant_level_writes() -> None:
    assert list(change_rows.DICTIONARY) == visit_changes.COLUMNS_OF_CHANGE


def place_of(table: pd.DataFrame, place: tuple[str, str, str, str, str]) -> pd.DataFrame:
    wanted = pd.Series(dict(zip(visit_changes.PLACE, place[:4], strict=True)))
    return table[(table[visit_changes.PLACE] == wanted).all(axis=1)]


@pytest.mark.slow
def test_each_participant_counts_with_the_visits_that_lie_furthest_apart(
    study: tuple[Path, Path, pd.DataFrame],
) -> None:
    found, cohort = results(study)
    people = study[2]
    ages = people["age"].to_numpy(dtype=float)
    each = place_of(found.each_change, CHI)
    assert each["participant_id"].tolist() == people["participant_id"].tolist()
    assert set(zip(each["session_from"], each["session_to"], strict=True)) == {STEPS[2]}
    np.testing.assert_allclose(each["change"], 0.3 * (ages - 45), rtol=1e-9)
    new = place_of(found.each_change, NEW)
    # Two and one in three years.
    assert set(new["change"]) == {3.0}
    assert set(new["change_per_year"]) == {1.0}

    # What is true enters the models: .1 ppb a year for each year of age, and -50 mm3 for all.
    models = found.change.set_index(["model", "term"])
    assert models.loc[("iron_age", "age"), "coefficient"] == pytest.approx(0.1, abs=1e-9)
    assert models.loc[("iron_age", "age"), "tau"] == 0.0
    assert models.loc[("volume_age", "Intercept"), "coefficient"] == pytest.approx(-0.05, abs=1e-9)
    assert (models["n"] == N).all()
    wide = cohort.frame["chi_relative_csf_change_per_year_se_thalamus_LR"]
    np.testing.assert_allclose(wide, each["change_per_year_se"].to_numpy(), rtol=1e-9)

    mean = place_of(found.annual_change, CHI).iloc[0]
    weights = 1 / (each["change_per_year_se"] ** 2 + mean["tau"] ** 2)
    expected = np.average(each["change_per_year"], weights=weights)
    assert mean["change_per_year"] == pytest.approx(expected, rel=1e-9)
    assert mean["n_increase"] == (each["change"] > 1.96 * each["change_se"]).sum() > 0
    assert mean["n_decrease"] == (each["change"] < -1.96 * each["change_se"]).sum() > 0
    atrophy = place_of(found.annual_change, VOLUME).iloc[0]
    assert atrophy["percent_per_year"] == pytest.approx(-100 * 50 / 14_000)
    # One number a participant has no place in a model of sessions.
    assert "one number per participant" in found.longitudinal["note"].iloc[0]

    described_and_drawn(study[1] / "group")


def described_and_drawn(folder: Path) -> None:
    """See the files of the group folder."""
    described = json.loads((folder / "annual_change.json").read_text())
    assert list(described) == list(visit_changes.COLUMNS)
    assert (folder / "each_change.tsv").exists()
    shown = (folder / "group.html").read_text()
    assert "Change between visits" in shown
    assert f"n = {N}). Of {N} whose change can be judged" in shown
    assert (folder / "figures" / "change_since_the_first_visit.pdf").exists()
    measures = json.loads((folder / "measures.json").read_text())
    assert measures["volume_change_per_year_thalamus_LR"]["Units"] == "mm3/year"


@pytest.mark.slow
def test_a_visit_that_is_excluded_leaves_the_pairs_without_it(
    study: tuple[Path, Path, pd.DataFrame],
) -> None:
    output_dir = study[1]
    (output_dir / "edits").mkdir()
    lines = ["sub-0001\tses-3\tn/a\texclude\tmoved", "sub-0002\tses-2\tn/a\texclude\tmoved"]
    header = "participant_id\tsession_id\trun_id\tdecision\treason"
    (output_dir / "edits" / "exclusions.tsv").write_text("\n".join([header, *lines, ""]))
    found, cohort = results(study)
    each = place_of(found.each_change, CHI).set_index("participant_id")
    assert tuple(each.loc["sub-0001", ["session_from", "session_to"]]) == STEPS[0]
    assert tuple(each.loc["sub-0002", ["session_from", "session_to"]]) == STEPS[2]
    courses = visit_changes.courses(cohort.changes, visit_changes.SHOWN[0])
    assert courses["sub-0001"][:, 0].tolist() == [0, 1]
    assert courses["sub-0002"][:, 0].tolist() == [0, 3]
    assert courses["sub-0003"][:, 0].tolist() == [0, 1, 3]
    # The steps add up to the change from the first to the last.
    assert courses["sub-0003"][-1, 1] == pytest.approx(each.loc["sub-0003", "change"])


@pytest.mark.slow
def test_a_comparison_that_a_later_run_outdated_is_left_out_and_named(
    study: tuple[Path, Path, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    output_dir = study[1]
    manifest.begin(output_dir, "sub-0001", "sub-0001")
    table = output_dir / "sub-0002" / "anat" / "sub-0002_desc-qsmthal_change.tsv"
    table.write_text(table.read_text().replace("ppb", "ppm"))
    found, _ = results(study)
    assert not {"sub-0001", "sub-0002"} & set(found.each_change["participant_id"])
    assert "the change over visits of sub-0001, sub-0002 is not used" in caplog.text


def test_rows_between_other_voxels_are_no_change_of_the_group(tmp_path: Path) -> None:
    same = row("sub-1", STEPS[0], 1.0, VOLUME, -100.0, 10.0, value=14_000.0)
    other = row("sub-2", STEPS[0], 1.0, VOLUME, 900.0, 10.0, value=14_000.0, reliable="n/a")
    paths = [write_changes(tmp_path, str(one["participant_id"]), [one]) for one in (same, other)]
    sessions = pd.MultiIndex.from_product([["sub-1", "sub-2"], ["ses-1", "ses-2"]])
    rows = visit_changes.read(paths, sessions)
    assert rows["participant_id"].tolist() == ["sub-1"]


def test_without_dates_a_change_is_known_and_none_in_a_year(tmp_path: Path) -> None:
    nothing = float("nan")
    own = [row("sub-1", pair, nothing, CHI, change, 1.0) for pair, change in
           zip(STEPS, (1.0, 4.0, 5.0), strict=True)]  # fmt: skip
    sessions = pd.MultiIndex.from_product([["sub-1"], ["ses-1", "ses-2", "ses-3"]])
    rows = visit_changes.read([write_changes(tmp_path, "sub-1", own)], sessions)
    each = visit_changes.of_each(rows)
    assert each["change"].tolist() == [5.0]
    assert each["reliable"].tolist() == ["increase"]
    mean = visit_changes.table(each).iloc[0]
    assert (mean["n"], mean["n_increase"]) == (0, 1)
    assert np.isnan(mean["change_per_year"])
    assert visit_changes.courses(rows, visit_changes.SHOWN[0]) == {}


@pytest.mark.slow
def test_the_example_of_the_documentation_finds_what_was_made(
    study: tuple[Path, Path, pd.DataFrame],
) -> None:
    doc = (Path(__file__).parents[2] / "docs" / "longitudinal.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", doc, flags=re.DOTALL)
    found, cohort = results(study, text)
    age = found.change.set_index("term").loc["age", "coefficient"]
    assert age == pytest.approx(0.1, abs=1e-9)
    assert set(cohort.frame["new"]) == {1.0}


def test_the_outcome_of_a_model_of_change_is_a_measure(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    for formula in ("age ~ iron", "log(iron) ~ age"):
        own.write_text(ANALYSIS.replace("iron ~ age", formula))
        with pytest.raises(Exception, match=r"own.yaml.*the outcome is .*expected a variable with"):
            analysis_file.read(own)


@pytest.mark.parametrize(
    "pairs", [[STEPS[0], STEPS[0][::-1]], [STEPS[0], STEPS[1], STEPS[1][::-1]]]
)
def test_a_damaged_table_that_leads_in_a_circle_ends(
    tmp_path: Path, pairs: list[tuple[str, ...]]
) -> None:
    own = [row("sub-1", pair, 1.0, CHI, 1.0, 1.0) for pair in pairs]
    sessions = pd.MultiIndex.from_product([["sub-1"], ["ses-1", "ses-2", "ses-3"]])
    rows = visit_changes.read([write_changes(tmp_path, "sub-1", own)], sessions)
    course = visit_changes.courses(rows, visit_changes.SHOWN[0])["sub-1"]
    assert len(course) <= len(pairs) + 1
