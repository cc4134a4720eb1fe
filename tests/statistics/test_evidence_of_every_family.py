"""Equivalence tests and Bayes factors of models that have no partial correlation of their own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.statistics import bayes, evidence, linear_predictor, regression
from bids_qsmthal.statistics.evidence import Conclusion, EvidenceScale, EvidenceSettings
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.tables import ModelTable, Row
from tests.statistics import referee

MODELS = {
    "logistic": Model(name="m", formula="sick ~ x + age", family="binomial"),
    "poisson": Model(name="m", formula="lesions ~ x + age", family="poisson"),
    "hc3_poisson": Model(name="m", formula="lesions ~ x + age", family="poisson", method="hc3"),
    "negative": Model(name="m", formula="lesions ~ x + age", family="negative_binomial"),
    "ordinal": Model(name="m", formula="edss ~ x + age", family="ordinal"),
    "hc3": Model(name="m", formula="y ~ x + age", method="hc3"),
    "huber": Model(name="m", formula="y ~ x + age", method="huber"),
}


def people(seed: int = 2, n: int = 90, slope: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, age = rng.normal(-40, 11, n), rng.uniform(25, 70, n)
    drive = slope * (x + 40) / 11 + 0.02 * (age - 45)
    frame = pd.DataFrame({"x": x, "age": age, "y": drive + rng.standard_t(4, n)})
    frame["sick"] = (drive + rng.logistic(0, 1, n) > 0).astype(float)
    frame["edss"] = np.digitize(drive + rng.logistic(0, 1, n), [-1, 0, 1]).astype(float)
    frame["lesions"] = rng.poisson(np.exp(0.7 + drive / 2) * rng.gamma(2, 0.5, n)).astype(float)
    frame["site"] = np.array([f"s{i % 9}" for i in range(n)])
    return frame


def weighed(
    frame: pd.DataFrame, model: Model, term: str = "x", scale: EvidenceSettings | None = None
) -> dict[str, Any]:
    fits = {model.name: regression.fit(model, frame)}
    table = ModelTable(name="t", title="T", rows=(Row(label="X", term=term, adjusted=model.name),))
    line = evidence.weigh([table], fits, scale or EvidenceSettings(), {}).iloc[0].to_dict()
    return {str(name): value for name, value in line.items()}


def test_every_family_is_weighed_as_r_weighs_it(tmp_path: Path) -> None:
    frame = people()
    lines = {name: weighed(frame, model) for name, model in MODELS.items()}
    error = regression.fit(MODELS["huber"], frame).row("x")["standard_error"]
    asked = [
        {"kind": "any_family", "model": name, "formula": model.formula, "term": "x", "r": 0.28,
         "scale": bayes.REGRESSION_SCALE, "data": frame, "error": error}
        for name, model in MODELS.items()
    ]  # fmt: skip
    for (name, line), truth in zip(lines.items(), referee.ask(asked, tmp_path), strict=True):
        fit = regression.fit(MODELS[name], frame)
        assert linear_predictor.unit(fit, "x") == pytest.approx(truth["one"], rel=1e-4), name
        assert line["partial_r"] == pytest.approx(truth["r"], rel=1e-4), name
        assert line["smallest_coefficient"] == pytest.approx(truth["bound"], rel=1e-4), name
        assert line["p_equivalence"] == pytest.approx(truth["tost"], rel=5e-3), name
        assert line["bf10"] == pytest.approx(truth["bf10"], rel=5e-3), name
        ends = (line["partial_r_low"], line["partial_r_high"])
        assert ends == pytest.approx(truth["interval"], rel=2e-3), name
        assert line["scale"] == EvidenceScale.APPROXIMATE
        assert line["smallest_effect"] == pytest.approx(0.28)
        assert np.isnan(line["bf10_correlation"])


@pytest.mark.parametrize("term", ["x", "age"])
def test_of_least_squares_the_scale_of_the_linear_predictor_is_the_partial_correlation(
    term: str,
) -> None:
    fit = regression.fit(Model(name="m", formula="y ~ x + age"), people())
    row = fit.row(term)
    one = linear_predictor.unit(fit, term)
    assert linear_predictor.correlation(row["coefficient"], one) == pytest.approx(row["partial_r"])
    back = linear_predictor.coefficient(row["partial_r"], one)
    assert back == pytest.approx(row["coefficient"])


def test_a_contrast_is_weighed_like_the_coefficient_that_it_is() -> None:
    frame = people().assign(arm=["a", "b", "c"] * 30)
    model = Model(
        name="m", formula="y ~ arm + x", contrasts={"b - c": {"arm[T.b]": 1, "arm[T.c]": -1}}
    )
    fit = regression.fit(model, frame)
    turned = frame.assign(arm=frame["arm"].replace({"a": "z", "c": "0"}))
    other = regression.fit(Model(name="m", formula="y ~ arm + x"), turned)
    found = linear_predictor.unit(fit, "b - c")
    assert found == pytest.approx(linear_predictor.unit(other, "arm[T.b]"))


@pytest.mark.parametrize("name", ["logistic", "ordinal"])
def test_a_latent_correlation_is_found_again_in_a_large_sample(name: str) -> None:
    frame = people(3, 5000, 0.5)
    rng = np.random.default_rng(1)
    latent = 0.5 * (frame["x"] + 40) / 11 + 0.02 * (frame["age"] - 45)
    latent += rng.logistic(0, 1, len(frame))
    own = [
        v - np.polynomial.Polynomial.fit(frame["age"], v, 1)(frame["age"])
        for v in (frame["x"], latent)
    ]
    truth = np.corrcoef(*own)[0, 1]
    assert weighed(frame, MODELS[name])["partial_r"] == pytest.approx(truth, abs=0.03)


def test_bayes_factors_by_estimate_and_error_are_those_of_jzs_in_a_large_sample() -> None:
    for seed, slope in ((1, 0.0), (2, 0.02), (3, 0.06)):
        frame = people(seed, 4000, slope)
        exact = weighed(frame, Model(name="m", formula="y ~ x"))["bf10"]
        fit = regression.fit(Model(name="m", formula="y ~ x"), frame)
        row, one = fit.row("x"), linear_predictor.unit(fit, "x")
        found = bayes.log_of_estimate(
            row["coefficient"], row["standard_error"], bayes.REGRESSION_SCALE * one
        )
        assert found == pytest.approx(math.log(exact), abs=0.02)


def test_with_intercepts_of_sites_the_correlation_is_that_within_sites() -> None:
    rng = np.random.default_rng(5)
    frame = people(5, 180, 0.4)
    site = frame["site"].str[1:].astype(int)
    frame["x"] += 8.0 * site
    frame["y"] += 3.0 * rng.permutation(9)[site]
    line = weighed(frame, Model(name="m", formula="y ~ x + age", random="site"))
    fixed = regression.fit(Model(name="m", formula="y ~ x + age + site"), frame).row("x")
    assert line["partial_r"] == pytest.approx(fixed["partial_r"], abs=0.01)
    assert line["scale"] == EvidenceScale.APPROXIMATE
    assert line["bf10"] > 3
    # What is the same for everybody at a site has no correlation within sites.
    frame["field"] = (site > 4).astype(float)
    model = Model(name="m", formula="y ~ field + age", random="site")
    between = weighed(frame, model, "field")
    assert between["verdict"] == ""
    assert evidence.NO_SPREAD in between["note"]


def test_the_smallest_ratio_of_the_analysis_takes_the_place_of_the_correlation() -> None:
    frame = people(4, 400, 0.0)
    settings = EvidenceSettings(smallest_ratio=1.6)
    line = weighed(frame, MODELS["logistic"], scale=settings)
    assert line["smallest_coefficient"] * line["sd_term"] == pytest.approx(math.log(1.6))
    assert 0 < line["smallest_effect"] < 0.28
    # Differences are not ratios.
    assert weighed(frame, MODELS["hc3"], scale=settings)["smallest_effect"] == pytest.approx(0.28)
    strict = weighed(frame, MODELS["logistic"], scale=EvidenceSettings(smallest_ratio=1.05))
    assert strict["verdict"] == Conclusion.UNDECIDED
    assert weighed(frame, MODELS["logistic"])["verdict"] == Conclusion.EQUIVALENT


@pytest.mark.slow
def test_an_equivalence_test_of_odds_is_right_as_often_as_it_says() -> None:
    # At a true effect on the bound, 5 % of samples are taken for equivalent.
    name = "logistic"
    whole = people(50, 40_000, 0.45)
    fit = regression.fit(MODELS[name], whole)
    truth = linear_predictor.correlation(
        fit.row("x")["coefficient"], linear_predictor.unit(fit, "x")
    )
    settings = EvidenceSettings(smallest_effect=truth)
    found = [
        weighed(people(1000 + seed, 150, 0.45), MODELS[name], scale=settings)["p_equivalence"]
        for seed in range(250)
    ]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_a_coefficient_without_an_estimate_has_no_verdict_and_keeps_its_reason() -> None:
    frame = people()
    frame["sick"] = (frame["x"] > -40).astype(float)
    line = weighed(frame, MODELS["logistic"])
    assert line["verdict"] == ""
    assert "separation" in line["note"]
    assert evidence.NO_SPREAD not in line["note"]
