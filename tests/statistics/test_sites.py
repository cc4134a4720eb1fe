"""Several sites: random intercepts as lme4, meta-analysis by the formulas of its papers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import regression, sites
from bids_qsmthal.statistics.regression import Model
from tests.statistics.referee import ask


def people(n_sites: int = 8, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(n_sites), 15)
    age = rng.uniform(25, 70, len(place)) + 2 * place
    chi = -40 + 0.3 * age + rng.normal(0, 6, n_sites)[place] + rng.normal(0, 8, len(place))
    return pd.DataFrame({"chi": chi, "age": age, "site": [f"s{number}" for number in place]})


def test_random_intercepts_of_sites_agree_with_lme4(tmp_path: Path) -> None:
    data = people()
    (truth,) = ask([{"kind": "mixed", "formula": "chi ~ age + (1 | site)", "data": data}], tmp_path)
    fit = regression.fit(Model(name="m", formula="chi ~ age", random="site"), data)
    table = fit.coefficients
    np.testing.assert_allclose(table["coefficient"], truth["coefficient"], rtol=1e-5)
    np.testing.assert_allclose(table["standard_error"], truth["standard_error"], rtol=1e-5)
    np.testing.assert_allclose(table["df_residual"], truth["df"], rtol=1e-4)
    p = 2 * stats.t.sf(np.abs(table["statistic"]), table["df_residual"])
    np.testing.assert_allclose(table["p"], p, rtol=1e-9)
    if truth["p"] is not None:
        np.testing.assert_allclose(table["p"], truth["p"], rtol=1e-4)
    note = f"random intercepts of 8 levels of site, SD {truth['random'][0]:.3g}"
    assert (table["note"] == note).all()
    assert (table["method"] == "random intercepts").all()


def test_few_sites_and_people_without_a_site_are_said() -> None:
    data = people(3)
    data.loc[:4, "site"] = None
    fit = regression.fit(Model(name="m", formula="chi ~ age", random="site"), data)
    assert "fewer than 5 levels: better as fixed effects" in fit.row("age")["note"]
    assert fit.design is not None
    assert fit.design.losses.missing == {"site": 5}
    alone = regression.fit(Model(name="m", formula="chi ~ age", random="site"), data[15:30])
    assert not alone.fitted
    assert alone.note.startswith("site has only one level")


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_several_sites_together_agree_with_the_formulas_in_r(spread: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    error = rng.uniform(0.5, 2, 7)
    data = pd.DataFrame({"effect": 2 + rng.normal(0, spread, 7) + rng.normal(0, 1, 7) * error,
                         "error": error})  # fmt: skip
    (truth,) = ask([{"kind": "meta", "data": data}], tmp_path)
    made = sites.combined(data["effect"].to_numpy(), data["error"].to_numpy())
    assert made.effect == pytest.approx(truth["effect"], rel=1e-6)
    assert made.error == pytest.approx(truth["error"], rel=1e-6)
    assert made.tau == pytest.approx(truth["tau"], rel=1e-5, abs=1e-8)
    assert made.i_squared == pytest.approx(truth["i_squared"], rel=1e-9, abs=1e-12)
    assert made.heterogeneity_p == pytest.approx(truth["p"], rel=1e-9)


def test_the_variance_between_sites_agrees_with_r_on_every_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    tables = [
        # Where Newton's steps from zero go below it.
        pd.DataFrame({"effect": [-28.88825, -138.96273, -43.7499, -53.04984, 34.1107],
                      "error": [51.4603, 42.57596, 74.21821, 34.9919, 47.43038]})
    ]  # fmt: skip
    for k in (3, 5, 12, 5, 8, 20):
        error = rng.lognormal(0, 1, k)
        effect = rng.normal(0, rng.choice([0, 1, 3]), k) + rng.normal(0, 1, k) * error
        unit = 10.0 ** rng.integers(-3, 3)
        tables.append(pd.DataFrame({"effect": unit * effect, "error": unit * error}))
    truths = ask([{"kind": "meta", "data": table} for table in tables], tmp_path)
    found = 0
    for table, truth in zip(tables, truths, strict=True):
        made = sites.combined(table["effect"].to_numpy(), table["error"].to_numpy())
        size = table["error"].mean()
        assert made.tau == pytest.approx(truth["tau"], rel=1e-5, abs=1e-7 * size)
        assert made.effect == pytest.approx(truth["effect"], rel=1e-6, abs=1e-7 * size)
        assert made.error == pytest.approx(truth["error"], rel=1e-5)
        assert made.i_squared == pytest.approx(truth["i_squared"], rel=1e-9, abs=1e-12)
        found += made.tau > 0
    assert 2 < found < 7


def test_a_forest_has_each_site_as_it_is_alone_and_one_row_of_all() -> None:
    data = people()
    data.loc[data["site"] == "s7", "age"] = 50.0
    model = Model(name="m", formula="chi ~ age")
    fits = [(name, regression.fit(model, part)) for name, part in data.groupby("site")]
    table = sites.forest("age", fits, "m").set_index("site")
    own = fits[2][1].row("age")
    assert table.loc["s2", "coefficient"] == own["coefficient"]
    assert table.loc["s2", "ci_low"] == own["ci_low"]
    # One age cannot have a slope.
    assert "not estimable" in table.loc["s7", "note"]
    whole = table.loc[sites.TOGETHER]
    made = sites.combined(*(
        np.array([fit.row("age")[name] for _, fit in fits[:7]])
        for name in ("coefficient", "standard_error")
    ))  # fmt: skip
    assert whole["coefficient"] == pytest.approx(made.effect)
    assert whole["ci_high"] == pytest.approx(made.effect + stats.t(6).ppf(0.975) * made.error)
    assert whole["n"] == 105
    assert whole["note"] == "without 1 sites"
    assert table["weight_percent"][:7].sum() == pytest.approx(100)


def test_a_variance_of_zero_leaves_the_degrees_of_freedom_of_least_squares() -> None:
    data = people(6, 4)
    # The same mean at each site: less variance between sites than chance would give.
    data["chi"] -= data.groupby("site")["chi"].transform("mean")
    table = regression.fit(Model(name="m", formula="chi ~ age", random="site"), data).coefficients
    np.testing.assert_allclose(table["df_residual"], len(data) - 2, rtol=1e-3)


def test_with_equal_sites_degrees_of_freedom_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(4)
    place = np.repeat(np.arange(12), 8)
    within = rng.normal(size=96)
    within -= np.bincount(place, within)[place] / 8
    frame = pd.DataFrame({"site": [f"s{one}" for one in place], "x": within})
    frame["field"] = place % 2.0
    frame["y"] = frame["x"] + 2 * rng.normal(size=12)[place] + rng.normal(size=96)
    fitted = regression.fit(Model(name="m", formula="y ~ x + field", random="site"), frame)
    # A comparison of sites has as many as there are sites less two means; one within sites has the
    # participants less the sites and one slope.
    assert fitted.row("field")["df_residual"] == pytest.approx(10, rel=1e-3)
    assert fitted.row("x")["df_residual"] == pytest.approx(96 - 12 - 1, rel=1e-3)
