"""Rows of the sensitivity analysis: the same people, zeros, the noise of the number, head size."""

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.group import head_size
from bids_qsmthal.statistics import measurement_error, regression, sensitivity
from bids_qsmthal.statistics.analysis import HeadSize
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question, Specification

FEW = Resampling(n_permutations=99, n_bootstraps=50)


def people(n: int = 60, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"chi": rng.normal(-40, 10, n), "age": rng.uniform(25, 70, n)})
    frame["head"] = rng.normal(1.5e6, 1.5e5, n)
    noise = rng.normal(0, 400, n)
    frame["volume"] = 6000 + 0.005 * frame["head"] - 30 * frame["chi"] + noise
    frame["lesions"] = np.exp(1 + 0.03 * frame["chi"] + rng.normal(0, 1, n))
    return frame


def explored(
    frame: pd.DataFrame, *questions: Question, more: list[Specification] | None = None
) -> pd.DataFrame:
    found = sensitivity.explore(questions, frame, more or [], FEW)
    return found.set_index(["model", "specification"])


def model(formula: str, name: str = "m", **more: object) -> Model:
    return Model(name=name, formula=formula, **more)  # type: ignore[arg-type]


def test_the_same_people_unadjusted_and_in_every_model_where_models_lose_different_ones() -> None:
    frame = people()
    frame.loc[:9, "age"] = np.nan
    frame.loc[50:, "lesions"] = np.nan
    volume = Question(
        adjusted=model("volume ~ chi + age", "volume"), unadjusted=model("volume ~ chi"), term="chi"
    )
    lesions = Question(adjusted=model("lesions ~ chi + age", "lesions"), term="chi")
    found = explored(frame, volume, lesions)
    same = found.loc["volume", sensitivity.SAME_PEOPLE]
    truth = regression.fit(model("volume ~ chi"), frame[10:]).row("chi")
    assert same["n"] == 50
    assert same["coefficient"] == pytest.approx(truth["coefficient"], rel=1e-9)
    complete = found.loc["volume", sensitivity.COMPLETE]
    truth = regression.fit(model("volume ~ chi + age"), frame[10:50]).row("chi")
    assert complete["n"] == 40
    assert complete["p"] == pytest.approx(truth["p"], rel=1e-9)
    # Who is in the model of lesions is in both.
    assert ("lesions", sensitivity.COMPLETE) not in found.index
    assert sensitivity.SAME_PEOPLE not in {name for _, name in explored(people(), volume).index}


def test_a_model_of_some_people_alone_does_not_make_them_the_complete_cases() -> None:
    frame = people().assign(sex=np.arange(60) % 2.0)
    frame.loc[:9, "age"] = np.nan
    frame.loc[10:12, "lesions"] = [0.0, np.nan, 0.0]  # men are rows 1, 3, 5, ...
    found = explored(
        frame,
        Question(adjusted=model("volume ~ chi", "volume"), term="chi"),
        Question(adjusted=model("log(lesions) ~ chi + age", "men", filter="sex == 1"), term="chi"),
    )
    row = found.loc["volume", sensitivity.COMPLETE]
    # Ten without age, and one without lesions; zeros of women are of no model.
    truth = regression.fit(model("volume ~ chi"), frame.drop(index=[*range(10), 11])).row("chi")
    assert row["n"] == 49
    assert row["coefficient"] == pytest.approx(truth["coefficient"], rel=1e-9)


def test_who_has_no_lesions_is_kept_by_an_added_constant_and_a_two_part_model() -> None:
    frame = people()
    frame.loc[[3, 7, 20, 33, 41, 52], "lesions"] = 0.0
    question = Question(adjusted=model("log(lesions) ~ chi + age"), term="chi")
    found = explored(frame, question).loc["m"]
    assert found.loc["as in the table", "n"] == 54
    half = float(f"{frame['lesions'][frame['lesions'] > 0].min() / 2:.3g}")
    added = found.loc[f"log(x + {half:g})"]
    truth = regression.fit(model(f"log(lesions + {half}) ~ chi + age"), frame).row("chi")
    assert added["n"] == 60
    assert added["coefficient"] == pytest.approx(truth["coefficient"], rel=1e-9)
    either = found.loc[sensitivity.ANY]
    present = frame.assign(any=(frame["lesions"] > 0) * 1.0)
    truth = regression.fit(model("any ~ chi + age", family="binomial"), present).row("chi")
    assert either["coefficient"] == pytest.approx(truth["coefficient"], rel=1e-9)
    assert (either["n"], either["n_events"]) == (60, 54)
    given = Question(adjusted=question.adjusted, term="chi", zero_add=0.1)
    assert explored(frame, given).loc["m"].loc["log(x + 0.1)", "n"] == 60


def test_a_slope_is_put_right_by_the_noise_of_its_predictor() -> None:
    slopes, covered, naive = [], [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = 120
        age, truth = rng.normal(0, 1, n), rng.normal(0, 8, n)
        truth = truth + 4 * age
        noise = rng.uniform(3, 7, n)
        y = 2.0 * truth - 3 * age + rng.normal(0, 10, n)
        frame = pd.DataFrame({"y": y, "x": truth + rng.normal(0, noise), "age": age})
        found = regression.fit(model("y ~ x + age"), frame).row("x")
        others = np.column_stack([np.ones(n), age])
        made = measurement_error.calibrated(
            float(found["coefficient"]), float(found["standard_error"]),
            frame["x"].to_numpy(), others, noise,
        )  # fmt: skip
        slopes.append(made.slope)
        covered.append(made.ci_low < 2.0 < made.ci_high)
        naive.append(found["coefficient"])
    assert np.mean(naive) == pytest.approx(2 * 64 / (64 + (49 + 9 + 21) / 3), rel=0.02)
    assert np.mean(slopes) == pytest.approx(2.0, rel=0.03)
    assert 0.91 < np.mean(covered) < 0.99


def test_the_row_of_the_noise_says_the_reliability_and_is_of_predictors_alone() -> None:
    frame = people().assign(noise=5.0)
    question = Question(adjusted=model("volume ~ chi + age"), term="chi", noise="noise")
    row = explored(frame, question).loc["m"].loc[sensitivity.CALIBRATED]
    left = regression.fit(model("chi ~ age"), frame).residuals
    reliability = 1 - 25 / (left @ left / 58)
    main = regression.fit(question.adjusted, frame).row("chi")
    assert row["coefficient"] == pytest.approx(main["coefficient"] / reliability, rel=1e-9)
    assert row["note"].startswith(f"reliability {reliability:.2f} ")
    noisy = explored(frame.assign(noise=9.0), question).loc["m"].loc[sensitivity.CALIBRATED]
    assert np.isnan(noisy["coefficient"])
    assert noisy["note"].endswith("too low to correct for")


def test_the_size_of_heads_is_a_covariate_a_ratio_and_a_residual() -> None:
    frame = people()
    frame.loc[55:, "head"] = np.nan
    head = HeadSize(variable="head", outcomes=("volume",))
    known = frame[:55]
    wide = frame.join(head_size.columns(frame, head, frame.index))
    questions = [
        Question(adjusted=model("volume ~ chi", "volume"), term="chi"),
        Question(adjusted=model("lesions ~ chi", "lesions"), term="chi"),
    ]
    found = explored(wide, *questions, more=head_size.specifications(head, ""))
    assert {name for which, name in found.index if which == "lesions"}.isdisjoint(
        one.name for one in head_size.specifications(head, "")
    )
    ratio = known["volume"] / known["head"] * known["head"].mean()
    line = np.polyfit(known["head"], known["volume"], 1)
    residual = known["volume"] - line[0] * (known["head"] - known["head"].mean())
    for name, formula, outcome in (
        ("head size as covariate", "volume ~ chi + head", known["volume"]),
        ("ratio to head size", "volume ~ chi", ratio),
        ("residual from head size", "volume ~ chi", residual),
    ):
        truth = regression.fit(model(formula), known.assign(volume=outcome)).row("chi")
        row = found.loc["volume", name]
        assert row["n"] == 55
        assert row["coefficient"] == pytest.approx(truth["coefficient"], rel=1e-6)
        assert row["p"] == pytest.approx(truth["p"], rel=1e-6)
    nobody = explored(frame, questions[0], more=head_size.specifications(head, "nobody has it"))
    assert (nobody.loc["volume"].loc["ratio to head size", "note"]) == "nobody has it"
