"""The page of documentation on the analysis file: all keys, and examples that run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.documents import parse
from bids_qsmthal.group import analysis_file, assembly, fitting, table_writing
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.statistics import regression, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts
from tools import write_schemas

PAGE = write_schemas.PAGE.read_text(encoding="utf-8")
EXAMPLES = {
    re.search(r"Name: (\w+)", text)[1]: text
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
}
N = 36


def analysis_of(name: str) -> Analysis:
    return analysis_file.analysed(parse(EXAMPLES[name], Path(f"{name}.yaml")))


def run(name: str, root: Path) -> Results:
    """Run an example on the dataset below a folder, and write its tables."""
    analysis = analysis_of(name)
    cohort = assembly.assemble(root / "bids", root / "derivatives", analysis, strict=True)
    results = fitting.fit_all(analysis, cohort, Resampling(n_permutations=99, n_bootstraps=99))
    # A column without a description would be an error here.
    table_writing.write(root / "group", analysis, cohort, results)
    return results


def written(root: Path, truth: pd.DataFrame, **columns: object) -> None:
    """Write a cohort, with more columns of its people."""
    bids_dir, _ = cohorts.write(truth, root)
    table = pd.read_csv(bids_dir / "participants.tsv", sep="\t").assign(**columns)
    table.to_csv(bids_dir / "participants.tsv", sep="\t", index=False, na_rep="n/a")


def people(seed: int = 6) -> pd.DataFrame:
    return cohorts.simulated(N, np.random.default_rng(seed), {"age": 0.4})


def slope(frame: pd.DataFrame, formula: str, term: str) -> float:
    return float(regression.fit(Model(name="m", formula=formula), frame).row(term)["coefficient"])


def test_the_page_has_every_key_of_the_schema_as_it_is_now() -> None:
    assert write_schemas.with_grammar(PAGE) == PAGE, "run: python tools/write_schemas.py"
    for key in ("Filter", "Groups", "TopCoded", "SmallestEffect", "OpenDirection"):
        assert f"| `{key}` |" in PAGE


def test_there_are_five_examples() -> None:
    assert len(EXAMPLES) == 5


def test_example_of_the_study_prints_its_line_and_compares_it(tmp_path: Path) -> None:
    written(tmp_path, cohorts.published())
    results = run("lesions_as_in_the_study", tmp_path)
    analysis = analysis_of("lesions_as_in_the_study")
    printed = tables.printed(analysis.tables[0], results.tables["table1"]).iloc[0]
    assert printed["Adjusted coefficient"] == "0.029"
    assert printed["Adjusted p"] == ".015*"
    as_here = results.published[results.published["reading"] == "as here"]
    assert as_here["z"].abs().max() < 0.05
    assert len(results.published) == 4
    assert results.evidence["smallest_effect"].eq(0.2).all()


def test_example_of_patients_and_controls_compares_them_and_keeps_models_to_patients(
    tmp_path: Path,
) -> None:
    words = np.resize(["HC", "RRMS", "CIS", "PPMS"], N)
    kind = np.resize(["control", "relapsing", "relapsing", "progressive"], N)
    truth = people()
    truth["chi"] += np.where(kind == "control", -8.0, np.where(kind == "progressive", 5.0, 0.0))
    written(tmp_path, truth, group=words)
    results = run("patients_and_controls", tmp_path)
    frame = truth.assign(group=kind)
    patients = frame[kind != "control"]
    fits = results.fits
    assert fits["age_of_patients"].row("age")["coefficient"] == pytest.approx(
        slope(patients, "chi ~ age", "age")
    )
    contrast = fits["three_groups"].row("progressive - relapsing")["coefficient"]
    # Fitted with relapsing as the reference by hand, the same difference is a coefficient.
    by_hand = frame.assign(p=(kind == "progressive") * 1.0, c=(kind == "control") * 1.0)
    assert contrast == pytest.approx(slope(by_hand, "chi ~ p + c + age", "p"))
    against = fits["groups_chi"].row("group[T.progressive]")["coefficient"]
    by_hand["r"] = (kind == "relapsing") * 1.0
    assert against == pytest.approx(slope(by_hand, "chi ~ p + r + age", "p"))


def test_example_of_change_finds_the_change_that_was_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truth = people().head(12)
    bids_dir = tmp_path / "bids"
    bids_dir.mkdir()
    table = cohorts.participants(truth)
    table.to_csv(bids_dir / "participants.tsv", sep="\t", index=False, na_rep="n/a")
    for who, (_, row) in zip(table["participant_id"], truth.iterrows(), strict=True):
        sessions = bids_dir / who / f"{who}_sessions.tsv"
        sessions.parent.mkdir()
        # ses-10 comes last by its time, and would come second by the alphabet.
        visits = {"ses-1": (2020, 0.0), "ses-2": (2022, 2.0), "ses-10": (2024, 4.0)}
        lines = [f"{label}\t{year}-01-01T00:00:00" for label, (year, _) in visits.items()]
        sessions.write_text("\n".join(["session_id\tacq_time", *lines, ""]))
        own = 0.7 + rng.normal(0, 0.1)
        for label, (_, years) in visits.items():
            chi = row["chi"] + own * years + rng.normal(0, 0.1)
            cohorts.write_measures(
                tmp_path / "derivatives", who, {"chi": chi}, labels=(label, "n/a")
            )
    found = run("change", tmp_path).longitudinal
    yearly = found[found["term"] == "years"].set_index("model")["coefficient"].astype(float)
    np.testing.assert_allclose(yearly[["yearly", "yearly_by_person"]], 0.7, atol=0.12)
    assert found["n_sessions"].eq(36).all()


def test_example_of_sites_finds_the_slope_within_sites_and_each_site_alone(
    tmp_path: Path,
) -> None:
    truth = people().sort_values("age", ignore_index=True)
    # The old are mostly in the south, whose scanner reads 20 ppb more.
    site = np.where(np.arange(N) % 3 < 1 + (np.arange(N) > N // 2), "south", "north")
    truth["chi"] += np.where(site == "south", 20.0, 0.0)
    written(tmp_path, truth, site=site)
    fits = run("sites", tmp_path).fits
    frame = truth.assign(south=(site == "south") * 1.0)
    within, pooled = slope(frame, "chi ~ age + south", "age"), slope(frame, "chi ~ age", "age")
    assert abs(pooled - within) > 0.1
    assert fits["age"].row("age")["coefficient"] == pytest.approx(within)
    alone = slope(frame[site == "south"], "chi ~ age", "age")
    assert fits["age_of_each[site=south]"].row("age")["coefficient"] == pytest.approx(alone)
    assert (tmp_path / "group" / "sites.tsv").is_file()


def test_example_of_counts_gives_the_ratio_of_the_rates(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    truth = people()
    follow_up = np.resize([1.0, 2.0, 4.0], N)
    lesions = rng.poisson(follow_up * np.where(truth["dmt"] == 1, 0.5, 1.5))
    edss = np.round(rng.uniform(0, 6, N) * 2) / 2
    written(tmp_path, truth, new_lesions=lesions, follow_up=follow_up, edss=edss)
    results = run("counts_and_grades", tmp_path)
    treated = truth["dmt"].to_numpy() == 1
    rates = [lesions[who].sum() / follow_up[who].sum() for who in (treated, ~treated)]
    found = results.fits["rate"].row("dmt")["coefficient"]
    assert np.exp(found) == pytest.approx(rates[0] / rates[1], rel=1e-6)
    assert all(fit.fitted for fit in results.fits.values())
    shown = tables.printed(analysis_of("counts_and_grades").tables[0], results.tables["activity"])
    assert list(shown["Unadjusted coefficient"].str.extract(r"\((.*)\)")[0]) == [
        "rate ratio", "odds ratio", "odds ratio",
    ]  # fmt: skip


def test_example_of_the_sources_apart_tells_iron_from_myelin(tmp_path: Path) -> None:
    page = (write_schemas.PAGE.parent / "separation.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    analysis = analysis_file.analysed(parse(text, Path("separation.yaml")))
    truth = people().drop(columns=["chi"])
    rng = np.random.default_rng(9)
    truth["paramagnetic"] = 20 + 0.4 * truth["age"] + rng.normal(0, 3, N)
    truth["diamagnetic"] = -36 + rng.normal(0, 3, N)
    cohorts.write(truth, tmp_path)
    cohort = assembly.assemble(tmp_path / "bids", tmp_path / "derivatives", analysis, strict=True)
    fits = fitting.fit_all(analysis, cohort, Resampling(n_permutations=0, n_bootstraps=0)).fits
    for outcome in ("paramagnetic", "diamagnetic"):
        found = fits[outcome].row("age")["coefficient"]
        assert found == pytest.approx(slope(truth, f"{outcome} ~ age + sex", "age"))
