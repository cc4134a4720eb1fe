"""Nulls as results: equivalence tests, Bayes factors and effect sizes against R and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import bayes, evidence, regression
from bids_qsmthal.statistics.evidence import Conclusion, EvidenceSettings
from bids_qsmthal.statistics.regression import Fit, Model
from bids_qsmthal.statistics.tables import ModelTable, Row
from tests.statistics import referee

FORMULA = "y ~ x + age + sex"


def people(seed: int, n: int = 60, slope: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(-30, 12, n), "age": rng.uniform(20, 60, n)})
    frame["sex"] = np.arange(n) % 2.0
    frame["y"] = slope * frame["x"] / 12 + 0.03 * frame["age"] + rng.normal(size=n)
    frame["sick"] = (frame["y"] > frame["y"].median()).astype(float)
    return frame


def weighed(
    frame: pd.DataFrame, model: Model, term: str = "x", scale: EvidenceSettings | None = None
) -> dict:
    fits = {model.name: regression.fit(model, frame)}
    table = ModelTable(name="t", title="T", rows=(Row(label="X", term=term, adjusted=model.name),))
    made = evidence.weigh([table], fits, scale or EvidenceSettings(), {"x": "ppb", "age": "year"})
    return made.iloc[0].to_dict()


REGRESSIONS = ((1, 20, 0.0), (2, 60, 0.2), (3, 150, 0.6))
CORRELATIONS = (
    (95, 0.05, 1.0, 0.28), (95, -0.25, 1.0, 0.28), (20, 0.6, 1 / 3, 0.5), (200, 0.1, 0.5, 0.2),
)  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What R finds, in one call: it takes longer to start than to compute."""
    asked = [
        {"kind": "bayes", "formula": FORMULA, "without": "y ~ age + sex",
         "scale": bayes.REGRESSION_SCALE, "data": people(*case)}
        for case in REGRESSIONS
    ]  # fmt: skip
    asked += [
        {"kind": "correlation", "n": n, "r": r, "width": width, "bound": bound}
        for n, r, width, bound in CORRELATIONS
    ]
    return referee.ask([*asked, {"kind": "attitude"}], tmp_path_factory.mktemp("r"))


@pytest.mark.parametrize("place", range(len(REGRESSIONS)))
def test_bayes_factors_of_coefficients_are_the_integrals_that_r_finds(
    answers: list[dict[str, Any]], place: int
) -> None:
    frame, expected = people(*REGRESSIONS[place]), answers[place]
    line = weighed(frame, Model(name="m", formula=FORMULA))
    assert line["bf10"] == pytest.approx(expected["coefficient"], rel=1e-6)
    explained = float(regression.fit(Model(name="m", formula=FORMULA), frame).row("x")["r_squared"])
    whole = bayes.log_of_regression(explained, len(frame), 3, bayes.REGRESSION_SCALE)
    assert math.exp(whole) == pytest.approx(expected["full"], rel=1e-6)


@pytest.mark.parametrize("place", range(len(CORRELATIONS)))
def test_bayes_factors_and_equivalence_of_correlations_are_those_of_r(
    answers: list[dict[str, Any]], place: int
) -> None:
    (n, r, width, bound), expected = CORRELATIONS[place], answers[len(REGRESSIONS) + place]
    assert math.exp(bayes.log_of_correlation(r, n, width)) == pytest.approx(
        expected["bf10"], rel=1e-6
    )
    assert evidence.equivalence(r, n - 2, bound).p == pytest.approx(expected["tost"], rel=1e-9)
    assert evidence.partial_interval(r, n - 2) == pytest.approx(expected["interval"], rel=1e-9)


def test_the_example_of_the_manual_of_bayesfactor_is_met(answers: list[dict[str, Any]]) -> None:
    r_squared = answers[-1]["r_squared"]
    # regressionBF(rating ~ complaints, attitude) prints 417938.6.
    found = math.exp(bayes.log_of_regression(r_squared, 30, 1, bayes.REGRESSION_SCALE))
    assert round(found, 1) == 417938.6


def test_one_participant_says_nothing_about_a_correlation() -> None:
    # With n = 1 the likelihood is flat, whatever the prior.
    assert bayes.log_of_correlation(0.0, 1, 1.0) == pytest.approx(0, abs=1e-12)
    assert bayes.log_of_correlation(0.0, 1, 0.3) == pytest.approx(0, abs=1e-12)


def test_bayes_factors_of_ten_thousand_people_do_not_overflow() -> None:
    assert bayes.log_of_correlation(0.5, 10_000) > 1400
    assert bayes.log_of_coefficient(0.26, 0.5, 10_000, 5) > 1400
    line = weighed(people(5, 5000, 1.0), Model(name="m", formula="y ~ x"))
    assert line["bf10"] == pytest.approx(evidence.LARGEST_FACTOR)


@pytest.mark.parametrize(
    ("r", "n", "expected"),
    [
        (0.0, 200, Conclusion.EQUIVALENT),
        (0.0, 30, Conclusion.UNDECIDED),
        (0.35, 95, Conclusion.ASSOCIATED),
        (0.08, 2000, Conclusion.SMALL),
        (-0.08, 2000, Conclusion.SMALL),
    ],
)
def test_two_tests_make_four_verdicts(r: float, n: int, expected: Conclusion) -> None:
    t = r * math.sqrt((n - 2) / (1 - r**2))
    p = float(2 * stats.t.sf(abs(t), n - 2))
    assert evidence.verdict(p, evidence.equivalence(r, n - 2, 0.28).p) == expected


def test_the_bound_that_is_just_excluded_has_an_equivalence_p_of_a_twentieth() -> None:
    beyond = evidence.equivalence(-0.12, 70, 0.28).excluded_beyond
    assert beyond > 0.12
    assert evidence.equivalence(-0.12, 70, beyond).p == pytest.approx(0.05)


def test_an_equivalence_test_is_right_as_often_as_it_says() -> None:
    # At a true correlation on the bound, 5 % of samples are taken for equivalent.
    rng = np.random.default_rng(9)
    n, rho, draws = 95, 0.28, 2000
    x = rng.normal(size=(draws, n))
    y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(draws, n))
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    r = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    share = np.mean([evidence.equivalence(value, n - 2, rho).p < 0.05 for value in r])
    assert abs(share - 0.05) < 3 * math.sqrt(0.05 * 0.95 / draws)


def test_effects_are_also_per_standard_deviation_and_per_10_ppb() -> None:
    frame = people(2)
    line = weighed(frame, Model(name="m", formula=FORMULA))
    fit = regression.fit(Model(name="m", formula=FORMULA), frame).row("x")
    again = frame.assign(x=frame["x"] / frame["x"].std())
    per_sd = regression.fit(Model(name="m", formula=FORMULA), again).row("x")
    for end, name in {"": "coefficient", "_low": "ci_low", "_high": "ci_high"}.items():
        assert line[f"per_sd{end}"] == pytest.approx(per_sd[name])
        assert line[f"per_10_ppb{end}"] == pytest.approx(10 * fit[name])
    scaled = again.assign(y=frame["y"] / frame["y"].std())
    both = regression.fit(Model(name="m", formula=FORMULA), scaled).row("x")
    assert line["standardised"] == pytest.approx(both["coefficient"])
    assert math.isnan(weighed(frame, Model(name="m", formula=FORMULA), "age")["per_10_ppb"])


def test_a_partial_correlation_is_weighed_with_one_participant_less_for_each_term_held_fixed() -> (
    None
):
    frame = people(3, 40)
    others = np.column_stack([np.ones(40), frame[["age", "sex"]]])
    x, y = (
        values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
        for values in (frame["x"].to_numpy(), frame["y"].to_numpy())
    )
    r = float(np.corrcoef(x, y)[0, 1])
    line = weighed(frame, Model(name="m", formula=FORMULA))
    assert line["partial_r"] == pytest.approx(r)
    assert line["bf10_correlation"] == pytest.approx(math.exp(bayes.log_of_correlation(r, 38)))
    assert line["partial_r_high"] == pytest.approx(np.tanh(np.arctanh(r) + 1.959964 / 35**0.5))


def test_a_model_without_an_intercept_has_no_bayes_factor_against_the_mean() -> None:
    frame = people(2).assign(arm=lambda d: np.where(d["sex"] == 1, "b", "a"))
    through_zero = weighed(frame, Model(name="m", formula="y ~ x - 1"))
    assert math.isnan(through_zero["bf10"])
    # The two arms add up to an intercept: the same model as with one.
    arms = weighed(frame, Model(name="m", formula="y ~ arm + x - 1"))
    plain = weighed(frame, Model(name="m", formula="y ~ arm + x"))
    assert arms["bf10"] == pytest.approx(plain["bf10"])


def test_the_smallest_effect_of_interest_is_that_of_the_analysis() -> None:
    frame = people(4, 200, 0.0)
    model = Model(name="m", formula=FORMULA)
    wide = weighed(frame, model, scale=EvidenceSettings(smallest_effect=0.5))
    narrow = weighed(frame, model, scale=EvidenceSettings(smallest_effect=0.05))
    assert wide["p_equivalence"] < 0.001
    assert narrow["p_equivalence"] > 0.05
    assert (wide["verdict"], narrow["verdict"]) == (Conclusion.EQUIVALENT, Conclusion.UNDECIDED)


def test_equivalence_is_corrected_for_the_lines_of_one_column_of_one_table() -> None:
    frame = people(4, 200, 0.0)
    fits: dict[str, Fit] = {
        name: regression.fit(Model(name=name, formula=f"y ~ {name}"), frame)
        for name in ("x", "sex")
    }
    rows = tuple(Row(label=name, term=name, unadjusted=name) for name in fits)
    table = ModelTable(name="t", title="T", rows=rows)
    made = evidence.weigh([table], fits, EvidenceSettings(), {})
    raw, holm = made["p_equivalence"], made["p_equivalence_holm"]
    assert holm.min() == pytest.approx(2 * raw.min())
