"""Counts and ordered outcomes: R's glm, glm.nb and polr, and what has no estimate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import counts, ordinal, regression, tables
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.tables import ModelTable, Row
from tests.statistics.referee import ask


def people(n: int = 90, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    chi, age = rng.normal(-40, 11, n), rng.uniform(25, 70, n)
    years = rng.uniform(0.5, 4, n)
    rate = np.exp(0.4 + 0.03 * (chi + 40) + 0.01 * (age - 45)) * years * rng.gamma(1.5, 1 / 1.5, n)
    drive = 0.06 * (chi + 40) + 0.05 * (age - 45) + rng.logistic(0, 1, n)
    edss = np.digitize(drive, [-1.5, -0.3, 0.8, 2.0]).astype(float)
    return pd.DataFrame(
        {"chi": chi, "age": age, "years": years, "lesions": rng.poisson(rate) * 1.0, "edss": edss}
    )


def test_counts_agree_with_glm_and_glm_nb(tmp_path: Path) -> None:
    data = people()
    formula = "lesions ~ chi + age"
    (answer,) = ask(
        [{"kind": "counts", "formula": f"{formula} + offset(log(years))", "data": data}], tmp_path
    )
    for family, method, truth, errors in (
        ("poisson", "ols", answer["poisson"], answer["poisson"]["standard_error"]),
        ("poisson", "hc3", answer["poisson"], answer["hc3"]),
        ("negative_binomial", "ols", answer["negative"], answer["negative"]["standard_error"]),
    ):
        model = Model(name="m", formula=formula, family=family, method=method, exposure="years")  # type: ignore[arg-type]
        table = regression.fit(model, data).coefficients
        np.testing.assert_allclose(table["coefficient"], truth["coefficient"], rtol=1e-6)
        np.testing.assert_allclose(table["standard_error"], errors, rtol=1e-5)
        if method == "ols":
            np.testing.assert_allclose(table["p"], truth["p"], rtol=1e-4)
        assert (table["n_events"] == data["lesions"].sum()).all()
    poisson, negative = (
        regression.fit(Model(name="m", formula=formula, family=f, exposure="years"), data)  # type: ignore[arg-type]
        for f in ("poisson", "negative_binomial")
    )
    times = answer["pearson"] / (len(data) - 3)
    assert f"the variance is {times:.2g} times" in poisson.row("chi")["note"]
    assert f"mean + {1 / answer['theta']:.3g} mean squared" in negative.row("chi")["note"]


def test_ordered_levels_agree_with_polr_and_brants_test(tmp_path: Path) -> None:
    data = people(160)
    cuts = [0.0, 1.0, 2.0, 3.0]
    (answer,) = ask(
        [{"kind": "ordered_levels", "formula": "edss ~ chi + age", "data": data, "cuts": cuts}],
        tmp_path,
    )
    model = Model(name="m", formula="edss ~ chi + age", family="ordinal")
    table = regression.fit(model, data).coefficients
    assert list(table["term"]) == answer["terms"]
    np.testing.assert_allclose(table["coefficient"], answer["coefficient"], rtol=1e-5)
    np.testing.assert_allclose(table["standard_error"], answer["standard_error"], rtol=1e-3)
    x = data[["chi", "age"]].to_numpy()
    found = ordinal.fit(data["edss"].to_numpy(), x)
    np.testing.assert_allclose(found.thresholds, answer["thresholds"], rtol=1e-4, atol=1e-4)
    p = ordinal.proportional_odds_p(data["edss"].to_numpy(), x, found)
    assert p == pytest.approx(answer["brant"], rel=1e-6)
    assert f"Brant's test p = {p:.2g}" in table["note"].iloc[0]


def test_two_levels_of_a_proportional_odds_model_are_a_logistic_model() -> None:
    data = people()
    above = (data["edss"] > 1).astype(float).to_numpy()
    x = data[["chi", "age"]].to_numpy()
    table = regression.fit(
        Model(name="m", formula="above ~ chi + age", family="binomial"), data.assign(above=above)
    )
    found = ordinal.fit(above, x)
    np.testing.assert_allclose(found.params, table.coefficients["coefficient"][1:], rtol=1e-7)
    errors = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(errors, table.coefficients["standard_error"][1:], rtol=1e-6)


def brant(outcome: np.ndarray, predictors: np.ndarray) -> float:
    return ordinal.proportional_odds_p(outcome, predictors, ordinal.fit(outcome, predictors))


@pytest.mark.slow
def test_brants_test_keeps_its_size_on_a_scale_of_many_levels() -> None:
    p = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((95, 2))
        latent = 0.5 * x[:, 0] + rng.logistic(size=95)
        outcome = np.digitize(latent, np.quantile(latent, np.linspace(0, 1, 16)[1:-1]))
        p.append(brant(outcome.astype(float), x))
    # One in twenty, within what sixty cohorts can tell; it was four in ten.
    assert np.mean(np.array(p) < 0.05) < 0.15
    assert min(p) > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, 0.12])
def test_brants_test_finds_odds_ratios_that_differ_and_is_uniform_where_they_do_not(
    slope: float,
) -> None:
    p = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 10, 300)
        # With a slope of its own the upper cut depends on x and the lower one does not.
        low, high = rng.logistic(0, 1, 300), rng.logistic(0, 1, 300)
        same = 0.05 * x + low
        outcome = (
            np.digitize(same, [-1.0, 1.0])
            if slope == 0
            else (low > -1) * (1 + (high + slope * x > 1))
        )
        p.append(brant(outcome.astype(float), x[:, None]))
    if slope == 0:
        assert stats.kstest(p, "uniform").pvalue > 0.01
    else:
        assert np.mean(np.array(p) < 0.05) > 0.9


@pytest.mark.parametrize(
    ("change", "family", "says"),
    [
        ({"lesions": 0.5}, "poisson", "the outcome must be counts"),
        ({"lesions": -1.0}, "negative_binomial", "the outcome must be counts"),
        ({"years": 0.0}, "poisson", "an exposure is a number above 0; found 0"),
        ({}, "ordinal", "a combination of predictors tells the levels apart"),
    ],
)
def test_what_has_no_estimate_says_why(change: dict[str, float], family: str, says: str) -> None:
    data = people().assign(treated=0.0)
    for name, value in change.items():
        data.loc[4, name] = value
    data["treated"] = (data["edss"] > 2).astype(float)
    outcome = "edss ~ treated + age" if family == "ordinal" else "lesions ~ chi"
    exposure = "years" if family != "ordinal" else ""
    fit = regression.fit(
        Model(name="m", formula=outcome, family=family, exposure=exposure),  # type: ignore[arg-type]
        data,
    )
    assert not fit.fitted
    assert says in fit.note


def test_a_group_without_any_lesion_has_no_rate_ratio() -> None:
    data = people().assign(group=0.0)
    data.loc[:9, "group"] = 1.0
    data.loc[:9, "lesions"] = 0.0
    x = np.column_stack([np.ones(len(data)), data["group"]])
    assert counts.separated(data["lesions"].to_numpy(), x)
    data.loc[3, "lesions"] = 1.0
    assert not counts.separated(data["lesions"].to_numpy(), x)


def test_a_line_of_counts_prints_the_rate_ratio_and_the_events() -> None:
    data = people()
    model = Model(name="m", formula="lesions ~ chi", family="poisson", method="hc3")
    fits = {"m": regression.fit(model, data)}
    table = ModelTable(name="t", title="", rows=(Row(label="Lesions", term="chi", adjusted="m"),))
    line = tables.printed(table, tables.numbers(table, fits)).iloc[0]
    b = float(fits["m"].row("chi")["coefficient"])
    assert line["Adjusted coefficient"] == f"{np.exp(b):.2f} (rate ratio)"
    assert line["Adjusted n"] == f"90 ({data['lesions'].sum():.0f} events)"


def test_who_has_no_exposure_is_counted_as_missing_it() -> None:
    data = people()
    data.loc[:2, "years"] = np.nan
    model = Model(name="m", formula="lesions ~ chi", family="poisson", exposure="years")
    fit = regression.fit(model, data)
    assert fit.design is not None
    assert fit.design.losses.missing == {"years": 3}
    assert fit.design.n == 87
