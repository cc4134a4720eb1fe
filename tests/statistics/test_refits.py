"""Every resampling fits the model that it stands beside: the same family, the same method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from bids_qsmthal.statistics import design, refits, regression, resampling, sensitivity
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question
from tests.statistics import referee

SICK = Model(name="sick", formula="sick ~ x + age + sex", family="binomial")
HUBER = Model(name="robust", formula="y ~ x + age + sex", method="huber")


def people(n: int = 70, seed: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"x": rng.normal(-30, 10, n), "age": rng.uniform(20, 60, n), "sex": np.arange(n) % 2.0}
    )
    logit = 0.06 * (frame["x"] + 30) + 0.03 * (frame["age"] - 40)
    frame["sick"] = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    frame["y"] = 2000 + 15 * frame["x"] + rng.standard_t(2, n) * 90
    return frame


def rows_of(model: Model, frame: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    rows = sensitivity.explore([Question(adjusted=model, term="x")], frame, [], how)
    return rows.set_index("specification")


@pytest.mark.slow
def test_a_logistic_model_is_resampled_as_one_and_agrees_with_r(tmp_path: Path) -> None:
    frame = people()
    asked = [
        {"kind": "logistic_again", "formula": SICK.formula, "data": frame},
        {"kind": "bca", "family": "binomial", "formula": SICK.formula, "data": frame},
    ]
    expected, boot = referee.ask(asked, tmp_path)
    robust = regression.fit(replace(SICK, method="hc3"), frame).coefficients
    np.testing.assert_allclose(robust["standard_error"].astype(float), expected["hc3"], rtol=1e-6)

    made = design.build(SICK.formula, frame)
    left = refits.LOGISTIC.leave_one_out(made.outcome, made.predictors, 1)
    np.testing.assert_allclose(left.coefficients, expected["coefficient"], rtol=1e-6)
    np.testing.assert_allclose(left.p, expected["p"], rtol=1e-5)

    rows = rows_of(SICK, frame, Resampling(n_permutations=4000, n_bootstraps=4000))
    assert rows.loc["robust errors (HC3)", "p"] == pytest.approx(robust["p"].iloc[1])
    assert "Huber M-estimate" not in rows.index
    p = rows.loc["permutation (Potter)", "p"]
    spread = np.sqrt(p * (1 - p) * (1 / 1000 + 1 / 4000))
    assert abs(p - expected["permutation"]) < 4 * spread
    interval = rows.loc["bootstrap (BCa)", ["ci_low", "ci_high"]].astype(float)
    np.testing.assert_allclose(interval, boot["interval"], atol=0.25 * boot["spread"])
    smallest = rows.loc["leave one out (range)", "ci_low"]
    assert smallest == pytest.approx(min(expected["coefficient"]), rel=1e-6)


@pytest.mark.slow
def test_a_huber_model_is_resampled_as_one_and_agrees_with_statsmodels_and_r(
    tmp_path: Path,
) -> None:
    frame = people()
    made = design.build(HUBER.formula, frame)
    x, y = made.predictors, made.outcome
    for row in (0, 30):
        kept = np.delete(np.arange(len(y)), row)
        theirs = sm.RLM(y[kept], x[kept]).fit(maxiter=500, tol=1e-10, conv="coefs")
        ours = refits.huber(y[None, kept], x[kept])
        np.testing.assert_allclose(ours.coefficients[0], theirs.params, rtol=1e-6)
        np.testing.assert_allclose(ours.covariance[0], theirs.cov_params(), rtol=1e-5)
        left = refits.HUBER.leave_one_out(y, x, 1)
        assert left.coefficients[row] == pytest.approx(theirs.params[1], rel=1e-6)
        assert left.p[row] == pytest.approx(theirs.pvalues[1], rel=1e-5)

    case = {"kind": "bca", "family": "gaussian", "formula": HUBER.formula, "data": frame}
    boot = referee.ask([case], tmp_path)[0]
    rows = rows_of(HUBER, frame, Resampling(n_permutations=999, n_bootstraps=4000))
    interval = rows.loc["bootstrap (BCa)", ["ci_low", "ci_high"]].astype(float)
    np.testing.assert_allclose(interval, boot["interval"], atol=0.25 * boot["spread"])
    assert "Huber M-estimate" not in rows.index
    main = rows.loc["as in the table"]
    assert rows.loc["permutation (Freedman-Lane, Huber)", "p"] == pytest.approx(main["p"], abs=0.03)
    ordinary = refits.ORDINARY.leave_one_out(y, x, 1).coefficients
    assert rows.loc["leave one out (range)", "ci_low"] != pytest.approx(ordinary.min(), rel=1e-3)


def test_a_model_with_robust_errors_keeps_them_without_each_and_in_each_permutation() -> None:
    frame = people(40)
    model = Model(name="m", formula="y ~ x + age", method="hc3")
    made = design.build(model.formula, frame)
    left = refits.ROBUST.leave_one_out(made.outcome, made.predictors, 1)
    for row in (0, 39):
        refitted = regression.fit(model, frame.drop(index=row)).row("x")
        assert left.coefficients[row] == pytest.approx(refitted["coefficient"], rel=1e-9)
        assert left.p[row] == pytest.approx(refitted["p"], rel=1e-9)
    how = Resampling(n_permutations=999)
    noise = people(40).assign(y=np.random.default_rng(0).permutation(made.outcome))
    made = design.build(model.formula, noise)
    p = refits.ROBUST.permutation_p(made.outcome, made.predictors, 1, how)
    assert p == pytest.approx(regression.fit(model, noise).row("x")["p"], abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logistic", "huber", "robust"])
def test_a_permutation_p_of_no_effect_is_uniform_for_every_family(kind: str) -> None:
    again = {"logistic": refits.LOGISTIC, "huber": refits.HUBER, "robust": refits.ROBUST}[kind]
    rng = np.random.default_rng(5)
    found = []
    for seed in range(120):
        x = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
        y = (rng.random(30) < 0.5).astype(float) if kind == "logistic" else rng.standard_t(3, 30)
        found.append(again.permutation_p(y, x, 1, Resampling(n_permutations=99, seed=seed)))
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.065)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_draws_whose_outcomes_can_be_told_apart_have_no_estimate() -> None:
    x = np.column_stack([np.ones(12), np.arange(12.0)])
    y = (np.arange(12) > 5).astype(float)
    y[[5, 6]] = [1.0, 0.0]
    counts = np.ones((3, 12))
    counts[1, [5, 6]] = 0  # told apart by a line
    counts[2, y > 0] = 0  # one outcome only
    fits = refits.logistic(y, x, counts)
    assert list(fits.converged) == [True, False, False]
    theirs = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-12)
    np.testing.assert_allclose(fits.coefficients[0], theirs.params, rtol=1e-7)
    np.testing.assert_allclose(fits.covariance[0], theirs.cov_params(), rtol=1e-6)
    assert fits.deviance[0] == pytest.approx(theirs.deviance, rel=1e-9)
    drawn = refits.LOGISTIC.bootstrap(y, x, 1, Resampling(n_bootstraps=500))
    # Told apart unless both of the rows that are out of order are drawn.
    expected = 2 * (11 / 12) ** 12 - (10 / 12) ** 12
    assert np.isnan(drawn).mean() == pytest.approx(expected, abs=0.06)


def test_harmonised_values_are_not_resampled_as_if_each_stood_alone() -> None:
    question = Question(adjusted=replace(SICK, name="m"), term="x", harmonised=True)
    rows = sensitivity.explore([question], people(), [], Resampling()).set_index("specification")
    for name in (sensitivity.BOOTSTRAP, sensitivity.PERMUTATION, sensitivity.LEAVE_OUT):
        assert rows.loc[name, ["coefficient", "ci_low", "p"]].isna().all()
        assert "depend on all others" in rows.loc[name, "note"]


def test_only_estimates_that_differ_count_as_different() -> None:
    frame = people()
    rows = sensitivity.explore(
        [Question(adjusted=Model(name="m", formula="y ~ x + age"), term="x")],
        frame,
        [
            sensitivity.Specification(name="everyone", kind="sample", filter="age < 900"),
            sensitivity.Specification(name="young", kind="sample", filter="age < 40"),
        ],
        Resampling(n_permutations=99, n_bootstraps=1000),
    ).set_index("specification")
    different = rows.index[rows["distinct"] == 1]
    assert list(different) == ["as in the table", "Huber M-estimate", "young"]


def test_another_region_or_another_unit_is_no_further_specification() -> None:
    frame = people()
    rng = np.random.default_rng(11)
    frame["x_in_ppm"] = frame["x"] / 1000
    frame["putamen"] = frame["x"] + rng.normal(0, 1, len(frame))
    frame["median"] = frame["x"] + rng.normal(0, 1, len(frame))
    changed = {"other unit": ("measure", "x_in_ppm"), "elsewhere": ("region", "putamen"),
               "median": ("measure", "median")}  # fmt: skip
    rows = sensitivity.explore(
        [Question(adjusted=Model(name="m", formula="y ~ x + age"), term="x")],
        frame,
        [
            sensitivity.Specification(name=name, kind=kind, columns={"x": column})
            for name, (kind, column) in changed.items()
        ],
        Resampling(n_permutations=99, n_bootstraps=1000),
    ).set_index("specification")
    other = rows.loc["other unit"]
    assert other["coefficient"] == pytest.approx(1000 * rows.loc[sensitivity.MAIN, "coefficient"])
    assert rows.loc["elsewhere", "p"] > 0
    different = rows.index[rows["distinct"] == 1]
    assert list(different) == [sensitivity.MAIN, "Huber M-estimate", "median"]


@pytest.mark.parametrize("model", [SICK, HUBER, replace(HUBER, method="ols")])
def test_bootstrap_draws_are_coefficients_of_the_drawn_rows(model: Model) -> None:
    frame = people(50)
    made = design.build(model.formula, frame)
    again = refits.OF_MODEL[model.family, model.method]
    drawn = again.bootstrap(made.outcome, made.predictors, 1, Resampling(n_bootstraps=1000))
    row = regression.fit(model, frame).row("x")
    assert np.nanmedian(drawn) == pytest.approx(row["coefficient"], abs=0.3 * row["standard_error"])
    assert np.nanstd(drawn) == pytest.approx(row["standard_error"], rel=0.35)
    resampling.bca_interval(drawn, row["coefficient"], drawn[:50])


def test_a_logistic_model_without_an_intercept_is_permuted_against_even_odds() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1, 60)
    outcome = (rng.random(60) < 1 / (1 + np.exp(-0.8 * x))).astype(float)
    how = Resampling(n_permutations=999)
    p = refits.LOGISTIC.permutation_p(outcome, x[:, None], 0, how)
    # The signed values are all that counts: permuting them is drawing which of them go together.
    fit = sm.GLM(outcome, x[:, None], family=sm.families.Binomial()).fit()
    null = 2 * 60 * np.log(2)
    explained = null - fit.deviance
    shuffled = [
        null - sm.GLM(outcome, rng.permutation(x)[:, None], family=sm.families.Binomial())
        .fit().deviance
        for _ in range(300)
    ]  # fmt: skip
    assert p == pytest.approx(np.mean(np.array(shuffled) >= explained), abs=0.03)


def test_a_logistic_model_with_robust_errors_keeps_them_without_each() -> None:
    rng = np.random.default_rng(9)
    x = np.column_stack([np.ones(40), rng.normal(0, 1, 40)])
    outcome = (rng.random(40) < 1 / (1 + np.exp(-x[:, 1]))).astype(float)
    left = refits.OF_MODEL["binomial", "hc3"].leave_one_out(outcome, x, 1)
    for row in (0, 17):
        frame = pd.DataFrame({"y": np.delete(outcome, row), "x": np.delete(x[:, 1], row)})
        model = Model(name="m", formula="y ~ x", family="binomial", method="hc3")
        found = regression.fit(model, frame).row("x")
        assert left.coefficients[row] == pytest.approx(found["coefficient"], rel=1e-6)
        assert left.p[row] == pytest.approx(found["p"], rel=1e-5)


def test_a_huber_fit_that_stops_at_its_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"y": rng.standard_t(2, 30), "x": rng.normal(0, 1, 30)})
    model = Model(name="m", formula="y ~ x", method="huber")
    assert regression.fit(model, frame).row("x")["note"] == ""
    monkeypatch.setattr(regression, "MOST_STEPS", 2)
    assert regression.fit(model, frame).row("x")["note"] == regression.NOT_CONVERGED


@pytest.mark.parametrize("kind", ["nonrobust", "HC3"])
def test_least_squares_are_those_of_statsmodels_beside_volumes_in_mm3(kind: str) -> None:
    rng = np.random.default_rng(23)
    # Nearly collinear columns whose sizes differ by seven orders of magnitude.
    volume = rng.normal(1.4e6, 1e5, 60)
    area = volume * 0.01 + rng.normal(0, 10, 60)
    x = np.column_stack([np.ones(60), volume, area, volume > 1.4e6])
    y = x @ [3.0, -1e-5, 2e-3, 4.0] + rng.normal(0, np.where(x[:, 3] > 0, 1, 3))
    found = regression.least_squares(y, x, robust=kind == "HC3")
    lengths = np.linalg.norm(x, axis=0)
    expected = sm.OLS(y, x / lengths).fit(cov_type=kind, use_t=True)
    np.testing.assert_allclose(found.params * lengths, expected.params, rtol=1e-9)
    errors = np.sqrt(np.diag(found.covariance)) * lengths
    np.testing.assert_allclose(errors, expected.bse, rtol=1e-9)
    assert found.scale == pytest.approx(expected.scale)
    assert found.df_residual == 56


def test_draws_of_the_bootstrap_have_as_many_rows_as_the_cohort() -> None:
    # The mean of draws is the coefficient and their spread HC0's, which whole draws alone give.
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(400), rng.normal(size=400)])
    y = x @ [1.0, 2.0] + rng.normal(size=400) * (1 + np.abs(x[:, 1]))
    drawn = resampling.bootstrap(y, x, 1, Resampling(seed=1))
    hc0 = sm.OLS(y, x).fit(cov_type="HC0")
    assert len(drawn) == 4000
    # Four standard errors of a mean and of an SD of 4,000 draws, and a bias of the order 1/n.
    assert drawn.mean() == pytest.approx(hc0.params[1], abs=0.08 * hc0.bse[1])
    assert drawn.std() == pytest.approx(hc0.bse[1], rel=0.06)
