"""Missing values filled by chained equations: Rubin's rules; slopes that complete cases bias."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.statistics import imputation, regression
from bids_qsmthal.statistics.imputation import Imputation
from bids_qsmthal.statistics.regression import Model
from tests.statistics.referee import ask

MODEL = Model(name="m", formula="y ~ x + age")


def people(seed: int, n: int = 150) -> pd.DataFrame:
    """Return people of whom those with a large outcome often lack x."""
    rng = np.random.default_rng(seed)
    age = rng.normal(0, 1, n)
    x = 0.5 * age + rng.normal(0, 1, n)
    y = 1.0 * x + 0.5 * age + rng.normal(0, 1, n)
    lost = rng.random(n) < 1 / (1 + np.exp(1.5 - y))
    return pd.DataFrame({"y": y, "x": np.where(lost, np.nan, x), "age": age})


def test_rubins_rules_agree_with_their_formulas_in_r(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"estimate": rng.normal(3, 0.4, 25), "error": rng.uniform(0.8, 1.2, 25)})
    (truth,) = ask([{"kind": "pooled", "data": data, "df": 37}], tmp_path)
    made = imputation.pooled(data["estimate"].to_numpy(), data["error"].to_numpy(), 37)
    assert made.estimate == pytest.approx(truth["estimate"], rel=1e-12)
    assert made.error == pytest.approx(truth["error"], rel=1e-12)
    assert made.df == pytest.approx(truth["df"], rel=1e-10)
    assert made.fraction_missing == pytest.approx(truth["fraction"], rel=1e-10)


@pytest.mark.slow
def test_filled_values_undo_the_bias_of_complete_cases_and_say_how_unsure_they_are() -> None:
    complete, filled, covered = [], [], []
    for seed in range(20):
        frame = people(seed)
        fit = regression.fit(MODEL, frame)
        how = Imputation(datasets=8, cycles=4)
        row = imputation.explore([(fit, "x")], frame, how, seed).iloc[0]
        complete.append(row["complete_coefficient"])
        filled.append(row["coefficient"])
        covered.append(row["ci_low"] < 1 < row["ci_high"])
        assert row["n"] == 150
        assert row["n_imputed"] == frame["x"].isna().sum() == 150 - row["complete_n"]
    # Selection by the outcome pulls the slope of complete cases towards zero.
    assert np.mean(complete) < 0.93
    assert np.mean(filled) == pytest.approx(1.0, abs=0.06)
    assert np.mean(covered) >= 0.84


def test_only_observed_values_are_filled_in_and_the_seed_decides() -> None:
    frame = people(3).assign(sex=np.arange(150) % 2.0, site=["a", "b", "c"] * 50)
    frame.loc[:20, "sex"] = np.nan
    frame.loc[5, "site"] = None
    names = ["y", "x", "age", "sex", "site"]
    once, again, other = (
        imputation.imputed(frame, names, 3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(once, again)
    assert not once["x"].equals(other["x"])
    assert set(once["sex"]) == {0.0, 1.0}
    assert set(once["x"]) <= set(frame["x"].dropna())
    known = frame["x"].notna()
    assert (once["x"][known] == frame["x"][known]).all()
    # A word is no number that could be matched.
    assert once["site"].isna().sum() == 1


def test_nothing_missing_gives_the_model_itself() -> None:
    frame = people(4).fillna({"x": 0.3})
    fit = regression.fit(MODEL, frame)
    row = imputation.explore([(fit, "x")], frame, Imputation(datasets=20), 1).iloc[0]
    found = fit.row("x")
    assert row["coefficient"] == pytest.approx(found["coefficient"], rel=1e-12)
    assert row["standard_error"] == pytest.approx(found["standard_error"], rel=1e-12)
    assert (row["fraction_missing"], row["n_imputed"]) == (0, 0)


def test_a_variable_that_hardly_anybody_has_is_not_filled() -> None:
    frame = people(5)
    frame.loc[8:, "age"] = np.nan
    made = imputation.imputed(frame, ["y", "x", "age"], 2, np.random.default_rng(1))
    assert made["age"].isna().sum() == 142
    assert made["x"].notna().all()
