"""What the analysis file asks to be done about sites is in every model that does not name them."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.group import analysis_file, site_forest, table_writing
from bids_qsmthal.report import drawing
from bids_qsmthal.statistics import regression, sites
from bids_qsmthal.statistics.regression import Model
from tests.group.test_groups import N, results, written

OWN = """
Name: own
Variables:
  chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}
  thalamic_volume: {Measure: volume, Region: thalamus, Hemisphere: LR, Units: mm3}
  age: {Columns: [age], Units: year}
  scanner:
    Columns: [scanner]
    Levels: {a: {Value: a}, b: {Value: b}, c: {Value: c}, d: {Value: d}, e: {Value: e}}
Site: {Variable: scanner, As: WAY}
Models:
  - {Name: by_age, Formula: chi ~ age}
  - {Name: scanners, Formula: chi ~ scanner}
Tables:
  - Name: table
    Title: Age
    Rows: [{Label: Age, Term: age, Unadjusted: by_age}]
"""

SCANNERS = list("abcde") * (N // 5)


@pytest.mark.parametrize("way", ["fixed", "random", "meta"])
def test_the_site_is_in_every_model_that_does_not_name_it(tmp_path: Path, way: str) -> None:
    truth, *folders = written(tmp_path, scanner=SCANNERS)
    truth = truth.assign(scanner=SCANNERS)
    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("WAY", way))
    cohort, found = results(*folders, own)
    model = Model(name="m", formula="chi ~ age + scanner")
    if way == "random":
        model = Model(name="m", formula="chi ~ age", random="scanner")
    expected = regression.fit(model, truth).row("age")
    row = found.fits["by_age"].row("age")
    assert row["coefficient"] == pytest.approx(expected["coefficient"], rel=1e-6)
    assert row["p"] == pytest.approx(expected["p"], rel=1e-5)
    assert len(found.fits["scanners"].coefficients) == 5
    assert len(found.sites) == (6 if way == "meta" else 0)
    if way == "meta":
        alone = regression.fit(Model(name="m", formula="chi ~ age"), truth[::5]).row("age")
        assert found.sites["coefficient"][0] == pytest.approx(alone["coefficient"], rel=1e-6)
        assert found.sites["site"].iloc[-1] == sites.TOGETHER
        table_writing.write(tmp_path / "group", analysis_file.read(own), cohort, found)
        described = json.loads((tmp_path / "group" / "sites.json").read_text())
        assert set(described) == set(found.sites.columns)


@pytest.mark.parametrize("way", ["fixed", "random", "meta"])
def test_the_site_is_in_mediations_and_models_of_all_sessions(tmp_path: Path, way: str) -> None:
    truth, *folders = written(tmp_path, scanner=SCANNERS)
    truth = truth.assign(scanner=SCANNERS)
    own = tmp_path / "own.yaml"
    more = """
  volume: {Measure: volume, Region: thalamus, Hemisphere: LR, Units: mm3}
Longitudinal: [{Name: yearly, Formula: chi ~ years}, {Name: own, Formula: chi ~ years + scanner}]
Mediation: [{Name: path, Cause: age, Mediator: chi, Outcome: volume}]
Site:"""
    own.write_text(OWN.replace("WAY", way).replace("\nSite:", more, 1))
    _, found = results(*folders, own)
    assert list(found.longitudinal["formula"]) == [
        "chi ~ years + C(scanner)",
        "chi ~ years + scanner",
    ]
    model = Model(name="m", formula="thalamic_volume ~ chi + age + scanner")
    expected = regression.fit(model, truth)
    paths = found.mediation.set_index("path")["coefficient"]
    assert paths["direct (c')"] == pytest.approx(expected.row("age")["coefficient"], rel=1e-6)
    b = expected.row("chi")["coefficient"]
    assert paths["mediator to outcome (b)"] == pytest.approx(b, rel=1e-6)


def test_one_site_changes_no_model(tmp_path: Path) -> None:
    _, *folders = written(tmp_path, scanner=["a"] * N)
    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("WAY", "fixed"))
    _, found = results(*folders, own)
    assert found.fits["by_age"].model.formula == "chi ~ age"


def test_combat_by_site_is_the_harmonisation_of_the_same_measures(tmp_path: Path) -> None:
    own, other = tmp_path / "own.yaml", tmp_path / "other.yaml"
    by_site = "Site: {Variable: scanner, As: combat, Variables: [chi], Keep: [age]}"
    plain = "Harmonisation: {Site: scanner, Variables: [chi], Keep: [age]}"
    own.write_text(OWN.replace("Site: {Variable: scanner, As: WAY}", by_site))
    other.write_text(OWN.replace("Site: {Variable: scanner, As: WAY}", plain))
    read, expected = analysis_file.read(own), analysis_file.read(other)
    assert read.harmonisation == expected.harmonisation


@pytest.mark.parametrize(
    ("site", "says"),
    [
        ("{Variable: scanner, As: combat}", "Variables .and Keep. are for As: combat"),
        ("{Variable: scanner, As: fixed, Keep: [age]}", "found As: fixed"),
        ("{Variable: scaner, As: fixed}", "no variable 'scaner'"),
        ("{Variable: scanner, As: mixed}", "'fixed', 'random', 'meta' or 'combat'"),
        (
            "{Variable: scanner, As: combat, Variables: [chi]}\nHarmonisation: {Site: scanner, "
            "Variables: [chi]}",
            "leave one of them out",
        ),
    ],
)
def test_a_wrong_site_is_refused_with_the_place(tmp_path: Path, site: str, says: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("{Variable: scanner, As: WAY}", site))
    with pytest.raises(UsageError, match=says) as raised:
        analysis_file.read(own)
    assert f"{own}, line 10, column " in str(raised.value)


FOREST = pd.DataFrame(
    {
        "model": "by_age", "outcome": "chi", "term": "age",
        "site": ["Lyon", "Oslo", sites.TOGETHER], "coefficient": [0.3, -0.1, 0.2],
        "ci_low": [0.1, -0.9, 0.0], "ci_high": [0.5, 0.7, 0.4], "p": [0.004, 0.8, 0.05],
        "weight_percent": [75.0, 25.0, 100.0], "n": [1200, 30, 1230],
        "tau": [math.nan, math.nan, 0.15], "i_squared_percent": [math.nan, math.nan, 40.0],
    }
)  # fmt: skip


def test_the_forest_of_sites_has_each_site_with_its_n_and_a_diamond_as_wide_as_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Figure] = []
    nothing = drawing.Drawing(b"", b"", b"")
    monkeypatch.setattr(drawing, "to_files", lambda canvas: drawn.append(canvas) or nothing)
    site_forest.draw(FOREST, "Age in by_age", "Coefficient")
    (axes,) = drawn[0].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Lyon (n = 1200)", "Oslo (n = 30)", "all sites (n = 1230)"]
    heights = dict(zip(names, axes.get_yticks(), strict=True))
    assert heights["Lyon (n = 1200)"] > heights["Oslo (n = 30)"] > 0
    squares = axes.collections[1]
    np.testing.assert_allclose(squares.get_offsets(), [[0.3, 2], [-0.1, 1]])
    large, small = squares.get_sizes()
    assert large > 2 * small
    (diamond,) = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert np.ptp(diamond.get_xy()[:, 0]) == pytest.approx(0.4)
    assert set(diamond.get_xy()[:, 1].round(9)) == {0.0, 0.28, -0.28}


def test_the_printed_table_of_sites_has_rounded_numbers_and_words() -> None:
    analysis = analysis_file.read(None)
    printed = site_forest.printed(FOREST, analysis)
    assert list(printed.iloc[0]) == [
        "Age in by_age", "Lyon", "1200", "0.300 (0.100 to 0.500)", ".004*", "75.0", "n/a", "n/a",
    ]  # fmt: skip
    assert list(printed.iloc[2])[-3:] == ["100.0", "0.15", "40"]
    assert site_forest.unit(FOREST, analysis) == (
        "Coefficient: Relative susceptibility of the thalami (ppb), per additional year of age"
    )
