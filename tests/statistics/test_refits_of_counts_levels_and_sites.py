"""Counts, ordered levels and models with intercepts of sites are resampled as what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.statistics import design, refits, regression, sensitivity, site_refits
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question

MODELS = {
    "poisson": Model(name="m", formula="lesions ~ x + age", family="poisson", exposure="years"),
    "robust poisson": Model(
        name="m", formula="lesions ~ x + age", family="poisson", method="hc3", exposure="years"
    ),
    "negative binomial": Model(
        name="m", formula="lesions ~ x + age", family="negative_binomial", exposure="years"
    ),
    "ordered": Model(name="m", formula="edss ~ x + age", family="ordinal"),
    "few sites": Model(name="m", formula="y ~ x + age", random="site"),
    "many sites": Model(name="m", formula="y ~ x + age", random="town"),
}


def people(seed: int = 4, n: int = 72) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, age = rng.normal(-40, 11, n), rng.uniform(25, 70, n)
    years = rng.uniform(0.5, 4, n)
    rate = np.exp(0.4 + 0.02 * (x + 40) + 0.01 * (age - 45)) * years * rng.gamma(1.5, 1 / 1.5, n)
    drive = 0.05 * (x + 40) + 0.04 * (age - 45) + rng.logistic(0, 1, n)
    place = np.arange(n)
    frame = pd.DataFrame({"x": x, "age": age, "years": years, "lesions": rng.poisson(rate) * 1.0})
    frame["edss"] = np.digitize(drive, [-1.5, -0.3, 0.8, 2.0]).astype(float)
    frame["site"], frame["town"] = [f"s{i % 6}" for i in place], [f"t{i % 24:02}" for i in place]
    frame["y"] = 0.03 * x + (place % 6) * 0.6 + (place % 24) * 0.1 + rng.normal(size=n)
    return frame


def parts(model: Model, frame: pd.DataFrame) -> tuple[refits.Refits, np.ndarray, np.ndarray, int]:
    """Return how a model is resampled, with its outcome, predictors and the column of x."""
    made = design.build(model.formula, frame, exposure=model.exposure, cluster=model.random)
    made = made.without_intercept() if model.family == "ordinal" else made
    return refits.of(model, made), made.outcome, made.predictors, made.names.index("x")


@pytest.mark.parametrize("kind", MODELS)
def test_leaving_one_out_is_the_model_fitted_without_that_one(kind: str) -> None:
    frame, model = people(), MODELS[kind]
    again, outcome, predictors, column = parts(model, frame)
    left = again.leave_one_out(outcome, predictors, column)
    for row in (0, 31):
        expected = regression.fit(model, frame.drop(index=row)).row("x")
        assert left.coefficients[row] == pytest.approx(expected["coefficient"], rel=1e-3)
        # Random intercepts: the degrees of freedom are those of all rows, less one.
        assert left.p[row] == pytest.approx(expected["p"], rel=0.02 if model.random else 1e-4)


@pytest.mark.parametrize("kind", ["poisson", "negative binomial", "ordered"])
def test_a_draw_is_the_model_fitted_to_the_rows_as_often_as_they_are_drawn(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, model = people(), MODELS[kind]
    again, outcome, predictors, column = parts(model, frame)
    how = Resampling(n_bootstraps=3, largest=1)
    monkeypatch.setattr(Resampling, "bootstraps", lambda *_: 3)
    drawn = again.bootstrap(outcome, predictors, column, how)
    n = len(frame)
    counts = np.random.default_rng(how.seed).multinomial(n, np.full(n, 1 / n), size=3)
    for value, times in zip(drawn, counts, strict=True):
        repeated = frame.loc[frame.index.repeat(times)].reset_index(drop=True)
        assert value == pytest.approx(regression.fit(model, repeated).row("x")["coefficient"])


def test_a_draw_without_a_level_of_the_outcome_is_a_model_of_fewer_levels() -> None:
    frame, model = people(), MODELS["ordered"]
    _, outcome, predictors, _ = parts(model, frame)
    counts = np.ones((4, len(frame)))
    counts[1, outcome == 2] = 0
    counts[2, (outcome == 0) | (outcome == 4)] = 0
    counts[3, outcome != 1] = 0
    fits = refits.ordinal_refits.fitted(outcome, predictors, counts)
    for row in range(3):
        expected = regression.fit(model, frame[counts[row] > 0]).coefficients
        np.testing.assert_allclose(
            fits.coefficients[row], expected["coefficient"].astype(float), rtol=1e-6
        )
        error = np.sqrt(np.diag(fits.covariance[row]))
        np.testing.assert_allclose(error, expected["standard_error"].astype(float), rtol=1e-5)
    # One level alone says nothing about the slopes.
    assert list(fits.converged) == [True, True, True, False]


@pytest.mark.slow
def test_drawn_sites_count_as_sites_of_their_own() -> None:
    frame, model = people(), MODELS["many sites"]
    again, outcome, predictors, column = parts(model, frame)
    assert again.drawn == "sites"
    how = Resampling(n_bootstraps=1000, largest=1)
    drawn = again.bootstrap(outcome, predictors, column, how)
    counts = np.random.default_rng(how.seed).multinomial(24, np.full(24, 1 / 24), size=1000)
    towns = sorted(frame["town"].unique())
    for place in (0, 1):
        copies = [
            frame[frame["town"] == town].assign(town=f"{town}-{copy}")
            for town, times in zip(towns, counts[place], strict=True)
            for copy in range(times)
        ]
        expected = regression.fit(model, pd.concat(copies, ignore_index=True)).row("x")
        assert drawn[place] == pytest.approx(expected["coefficient"], rel=2e-3)
    assert again.jackknife is not None
    without = again.jackknife(outcome, predictors, column)
    expected = regression.fit(model, frame[frame["town"] != towns[5]]).row("x")
    assert without[5] == pytest.approx(expected["coefficient"], rel=2e-3)


def test_with_few_sites_participants_are_drawn_within_each() -> None:
    frame = people()
    again, outcome, predictors, column = parts(MODELS["few sites"], frame)
    assert again.drawn == "participants within sites"
    member = (frame["site"].to_numpy()[:, None] == sorted(set(frame["site"]))).astype(float)
    sites = site_refits.Sites(member)
    counts = sites.rows_drawn(np.random.default_rng(1), 50)
    assert (counts @ member == 12).all()
    shuffled = sites.shuffled(np.arange(72.0), np.random.default_rng(1), 20)
    assert np.allclose(shuffled @ member, np.arange(72.0) @ member)
    assert (shuffled[0] != np.arange(72.0)).mean() > 0.8
    row = regression.fit(MODELS["few sites"], frame).row("x")
    drawn = again.bootstrap(outcome, predictors, column, Resampling(n_bootstraps=400))
    assert np.std(drawn) == pytest.approx(row["standard_error"], rel=0.25)


def test_a_predictor_that_is_the_same_within_sites_is_not_permuted_and_says_why() -> None:
    frame = people().assign(field=lambda data: data["site"].isin(["s1", "s4"]) * 1.0)
    model = Model(name="m", formula="y ~ field + age", random="site")
    rows = sensitivity.explore(
        [Question(adjusted=model, term="field")], frame, [], Resampling(n_bootstraps=1000)
    ).set_index("specification")
    permutation = rows.loc["permutation (Freedman-Lane, within sites)"]
    assert np.isnan(permutation["p"])
    assert permutation["note"] == sensitivity.SAME_AT_A_SITE
    assert np.isnan(rows.loc["bootstrap (BCa)", "ci_low"])
    assert np.isfinite(rows.loc["leave one out (range)", "ci_low"])


@pytest.mark.parametrize("kind", MODELS)
def test_no_model_is_left_without_resamplings(kind: str) -> None:
    rows = sensitivity.explore(
        [Question(adjusted=MODELS[kind], term="x")],
        people(),
        [],
        Resampling(n_bootstraps=200, n_permutations=99),
    ).set_index("specification")
    main, interval = rows.loc["as in the table"], rows.loc["bootstrap (BCa)"]
    assert interval["ci_low"] < main["coefficient"] < interval["ci_high"]
    width = (interval["ci_high"] - interval["ci_low"]) / (main["ci_high"] - main["ci_low"])
    # Poisson's errors are too small for counts that vary more: the bootstrap shows it.
    assert 1.3 < width < 4 if kind == "poisson" else 0.5 < width < 1.7
    permutation = rows.filter(like="permutation", axis=0).iloc[0]
    assert permutation["p"] == pytest.approx(rows["p"].iloc[0], abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["poisson", "ordered", "few sites"])
def test_a_permutation_p_of_no_effect_is_uniform_for_every_kind_of_model(kind: str) -> None:
    found = []
    for seed in range(120):
        frame = people(100 + seed, 48)
        frame["x"] = np.random.default_rng(seed).normal(size=48)
        frame["y"] -= 0.03 * frame["x"]
        # Counts that vary more than Poisson's law says: its likelihood is wrong, the p is not.
        again, outcome, predictors, column = parts(MODELS[kind], frame)
        how = Resampling(n_permutations=39, seed=seed)
        found.append(again.permutation_p(outcome, predictors, column, how))
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.065)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_counts_that_a_predictor_tells_apart_have_no_estimate() -> None:
    frame = people()
    frame.loc[frame["x"] < -40, "lesions"] = 0
    frame["x"] = (frame["x"] < -40).astype(float)
    made = design.build("lesions ~ x", frame)
    for kernel in (
        refits.count_refits.poisson(np.zeros(72)),
        refits.count_refits.negative_binomial(np.zeros(72)),
    ):
        fits = kernel(made.outcome, made.predictors, np.ones((1, 72)))
        assert not fits.converged[0]


def test_a_fit_of_counts_that_ran_away_says_so() -> None:
    rng = np.random.default_rng(0)
    x, age = rng.normal(-40, 11, 40), rng.uniform(20, 70, 40)
    frame = pd.DataFrame({"x": x, "age": age, "years": np.where(np.arange(40) % 7, 5.0, 1e-3)})
    frame["lesions"] = np.round(1e6 * np.exp(0.01 * x + rng.normal(0, 0.2, 40)))
    model = Model(
        name="m", formula="lesions ~ x + age", family="negative_binomial", exposure="years"
    )
    assert regression.fit(model, frame).row("x")["note"] == regression.NOT_CONVERGED
    poisson = regression.fit(replace(model, family="poisson"), frame).row("x")
    assert poisson["note"] != regression.NOT_CONVERGED
    even = regression.fit(model, frame.assign(years=1.0)).row("x")
    assert regression.NOT_CONVERGED not in even["note"]
    assert even["coefficient"] == pytest.approx(0.01, abs=0.012)
