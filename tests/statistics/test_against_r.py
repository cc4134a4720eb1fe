"""R referees: the same cohorts, the same models, six digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import (
    diagnostics,
    longitudinal,
    multiplicity,
    normality,
    power,
    regression,
)
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.regression import Model
from tests import cohorts
from tests.statistics import referee

SIX_DIGITS = {"rtol": 1e-6, "atol": 0}

FORMULAS = [
    "y ~ a",
    "y ~ a + b + c",
    "log(z) ~ a + b",
    "y ~ a + g",
    "y ~ a * b",
    "y ~ a + g + a:g",
]


def random_cohort(seed: int) -> pd.DataFrame:
    """Return a cohort of a shape that the seed decides: size, scales, gaps, unbalanced groups."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([9, 14, 40, 95, 300]))
    scales = 10.0 ** rng.uniform(-3, 5, 3)
    frame = pd.DataFrame(
        {name: scale * (rng.normal(size=n) + rng.normal() * 3)
         for name, scale in zip("abc", scales, strict=True)}
    )  # fmt: skip
    frame["g"] = rng.choice(["control", "patient", "relative"], n, p=[0.2, 0.6, 0.2])
    frame.loc[:5, "g"] = ["control", "patient", "relative"] * 2
    drive = (frame[list("abc")] / scales) @ rng.normal(size=3)
    frame["y"] = 10.0 ** rng.uniform(-4, 6) * (drive + rng.standard_t(4, n) + 5)
    frame["z"] = np.exp(0.3 * drive + rng.normal(size=n))
    if seed % 3 == 0 and n > 20:
        for name in ("a", "b", "y", "z"):
            frame.loc[rng.random(n) < 0.1, name] = np.nan
    return frame


def models() -> list[tuple[str, pd.DataFrame]]:
    return [(FORMULAS[seed % len(FORMULAS)], random_cohort(seed)) for seed in range(36)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """R's answers to all linear models, asked at once."""
    cases = [{"kind": "linear", "formula": f, "data": data} for f, data in models()]
    return referee.ask(cases, tmp_path_factory.mktemp("linear"))


def plain(term: str) -> str:
    """Return the name R gives to one of our coefficients."""
    return term.replace("Intercept", "(Intercept)").replace("[T.", "").replace("]", "")


@pytest.mark.parametrize("case", range(36))
def test_least_squares_agree_with_lm_on_cohorts_of_every_shape(
    case: int, answers: list[dict[str, Any]]
) -> None:
    formula, data = models()[case]
    fit = regression.fit(Model(name="m", formula=formula), data)
    expected = answers[case]
    ours = fit.coefficients.assign(term=[plain(t) for t in fit.coefficients["term"]])
    ours = ours.set_index("term").loc[expected["terms"]]
    for name in ("coefficient", "standard_error", "p", "ci_low", "ci_high"):
        np.testing.assert_allclose(ours[name].astype(float), expected[name], **SIX_DIGITS)
    for name in ("n", "r_squared", "adjusted_r_squared", "residual_sd"):
        np.testing.assert_allclose(ours[name].iloc[0], expected[name], **SIX_DIGITS)


@pytest.mark.parametrize("case", range(0, 35, 5))
def test_robust_errors_and_influence_agree_with_r(case: int, answers: list[dict[str, Any]]) -> None:
    formula, data = models()[case]
    robust = regression.fit(Model(name="m", formula=formula, method="hc3"), data)
    plainly = regression.fit(Model(name="m", formula=formula), data)
    assert plainly.design is not None
    made = plainly.design
    cooks, leverage = diagnostics.influence(
        diagnostics.least_squares(made.outcome, made.predictors)
    )
    expected = answers[case]
    order = [plain(t) for t in robust.coefficients["term"]]
    wanted = [expected["hc3"][expected["terms"].index(term)] for term in order]
    np.testing.assert_allclose(robust.coefficients["standard_error"], wanted, **SIX_DIGITS)
    np.testing.assert_allclose(leverage, expected["leverage"], **SIX_DIGITS)
    np.testing.assert_allclose(cooks, expected["cooks"], rtol=1e-5)


def test_diagnostics_agree_with_lmtest_and_car(tmp_path: Path) -> None:
    chosen = [models()[case] for case in (1, 7, 13, 19)]
    asked = [{"kind": "diagnostics", "formula": f, "data": data} for f, data in chosen]
    for (formula, data), expected in zip(chosen, referee.ask(asked, tmp_path), strict=True):
        fit = regression.fit(Model(name="m", formula=formula), data)
        assert fit.design is not None
        x, y = fit.design.predictors, fit.design.outcome
        results = diagnostics.least_squares(y, x)
        found = diagnostics.breusch_pagan(results), diagnostics.reset(results)
        np.testing.assert_allclose(found, [expected["bp"], expected["reset"]], **SIX_DIGITS)
        np.testing.assert_allclose(diagnostics.inflation(results)[0], expected["vif"], **SIX_DIGITS)


def test_robust_errors_that_do_not_exist_are_not_invented(answers: list[dict[str, Any]]) -> None:
    formula, data = models()[35]  # one group has a single participant beyond its coefficients
    assert answers[35]["hc3"] == [None] * 6
    fit = regression.fit(Model(name="m", formula=formula, method="hc3"), data)
    assert not fit.fitted
    assert "robust errors do not exist" in fit.note


def collinear_cohort() -> pd.DataFrame:
    frame = random_cohort(2)
    return frame.assign(twice=2 * frame["a"], same=1.0, total=frame["a"] - 3 * frame["b"])


@pytest.mark.parametrize(
    "formula", ["y ~ a + twice + b", "y ~ a + same", "y ~ a + b + total + c", "y ~ total + a + b"]
)
def test_collinear_columns_give_way_as_in_lm(formula: str, tmp_path: Path) -> None:
    data = collinear_cohort()
    expected = referee.ask([{"kind": "linear", "formula": formula, "data": data}], tmp_path)[0]
    fit = regression.fit(Model(name="m", formula=formula), data)
    ours = fit.coefficients.set_index("term")["coefficient"].astype(float)
    theirs = [np.nan if value is None else value for value in expected["coefficient"]]
    np.testing.assert_allclose(ours, theirs, **SIX_DIGITS)
    notes = fit.coefficients.set_index("term")["note"]
    assert notes[ours.isna()].str.contains("not estimable").all()


def test_logistic_and_huber_regression_agree_with_glm_and_rlm(tmp_path: Path) -> None:
    data = random_cohort(4).assign(sick=lambda d: (d["z"] > d["z"].median()).astype(float))
    cases = [
        {"kind": "logistic", "formula": "sick ~ a + b", "data": data},
        {"kind": "huber", "formula": "y ~ a + b", "data": data},
    ]
    glm, rlm = referee.ask(cases, tmp_path)
    ours = regression.fit(Model(name="m", formula="sick ~ a + b", family="binomial"), data)
    for name in ("coefficient", "standard_error", "p"):
        np.testing.assert_allclose(ours.coefficients[name].astype(float), glm[name], rtol=1e-5)
    robust = regression.fit(Model(name="m", formula="y ~ a + b", method="huber"), data)
    # rlm rounds the normal quantile in its scale to 0.6745, which moves the fifth digit.
    np.testing.assert_allclose(
        robust.coefficients["coefficient"].astype(float), rlm["coefficient"], rtol=5e-5
    )


@pytest.mark.slow
def test_normality_tests_agree_with_r(tmp_path: Path) -> None:
    data = [random_cohort(seed) for seed in (1, 2, 4, 5, 7)]
    cases = [{"kind": "normality", "variable": "z", "data": frame} for frame in data]
    for frame, expected in zip(data, referee.ask(cases, tmp_path), strict=True):
        ours = normality.ladder(frame["z"]).set_index("transform").loc["identity"]
        assert ours["k_squared"] == pytest.approx(expected["k_squared"][0], rel=1e-6)
        assert ours["p"] == pytest.approx(expected["p"][0], rel=1e-6)
        assert ours["w"] == pytest.approx(expected["w"], rel=1e-6)
        assert ours["p_shapiro"] == pytest.approx(expected["p_shapiro"], rel=1e-6)


def test_power_agrees_with_pwr(tmp_path: Path) -> None:
    cases = [{"kind": "power", "n": n, "r": r} for n, r in ((95, 0.28), (20, 0.5), (400, 0.1))]
    for case, expected in zip(cases, referee.ask(cases, tmp_path), strict=True):
        r = power.detectable_correlation(case["n"])
        # pwr.r.test leaves its own solution at the tolerance of uniroot, 1e-4.
        assert r == pytest.approx(expected["r"], abs=2e-5)
        assert power.of_correlation(case["r"], case["n"]) == pytest.approx(
            expected["power"], rel=1e-6
        )
        assert power.needed_sample(case["r"]) == int(np.ceil(expected["n"]))


def test_corrections_for_several_tests_agree_with_r(tmp_path: Path) -> None:
    p = pd.Series(np.random.default_rng(3).uniform(0, 0.2, 9))
    expected = referee.ask([{"kind": "adjusted", "data": p.to_frame("p")}], tmp_path)[0]
    ours = multiplicity.adjust(p)
    np.testing.assert_allclose(ours["p_holm"], expected["holm"], **SIX_DIGITS)
    np.testing.assert_allclose(ours["p_fdr"], expected["fdr"], **SIX_DIGITS)


def visits(seed: int, n: int = 40) -> pd.DataFrame:
    """Return yearly sessions, some missing, with intercepts and slopes of each participant."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "age": rng.uniform(25, 65, n),
            "level": rng.normal(0, 8, n),
            "trend": rng.normal(0.6, 0.7, n),
        }
    )
    rows = people.loc[people.index.repeat(5)].reset_index(drop=True)
    rows["years"] = np.tile(np.arange(5.0), n) + rng.uniform(-0.2, 0.2, len(rows))
    rows["chi"] = -35 + rows["level"] + rows["trend"] * rows["years"] + 0.2 * rows["age"]
    rows["chi"] += rng.normal(0, 3, len(rows))
    return rows[rng.random(len(rows)) > 0.15].reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("slopes", [(), ("years",)], ids=["intercepts", "slopes"])
def test_mixed_models_agree_with_lme4(slopes: tuple[str, ...], tmp_path: Path) -> None:
    data = visits(8)
    model = MixedModel(name="m", formula="chi ~ years + age", random_slopes=slopes)
    formula = f"chi ~ years + age + {model.random}"
    expected = referee.ask([{"kind": "mixed", "formula": formula, "data": data}], tmp_path)[0]
    table = longitudinal.fit(model, data)
    fixed = table[table["kind"] == "fixed"]
    np.testing.assert_allclose(fixed["coefficient"], expected["coefficient"], rtol=1e-5)
    np.testing.assert_allclose(fixed["standard_error"], expected["standard_error"], rtol=1e-5)
    np.testing.assert_allclose(fixed["df"], expected["df"], rtol=1e-4)
    if expected["p"] is not None:
        np.testing.assert_allclose(fixed["p"], expected["p"], rtol=1e-4, atol=1e-12)
    reach = (fixed["ci_high"] - fixed["ci_low"]) / 2 / fixed["standard_error"]
    np.testing.assert_allclose(reach, stats.t.ppf(0.975, fixed["df"]), rtol=1e-9)
    random = table[table["kind"] == "random"]
    np.testing.assert_allclose(random["coefficient"], expected["random"], rtol=1e-4)
    assert table["log_likelihood"].iloc[0] == pytest.approx(expected["log_likelihood"], rel=1e-8)


def test_the_published_cohort_agrees_with_r(tmp_path: Path) -> None:
    data = cohorts.published()
    formula = "log(lesion_volume) ~ chi + age + sex + duration + dmt"
    expected = referee.ask([{"kind": "linear", "formula": formula, "data": data}], tmp_path)[0]
    ours = regression.fit(Model(name="m", formula=formula), data).coefficients
    for name in ("coefficient", "ci_low", "ci_high", "p"):
        np.testing.assert_allclose(ours[name].astype(float), expected[name], **SIX_DIGITS)
