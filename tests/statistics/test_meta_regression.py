"""Changes that are known to different degrees, on what people are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.statistics import meta_regression, regression
from bids_qsmthal.statistics.meta_regression import ChangeModel
from bids_qsmthal.statistics.regression import Model
from tests.statistics.referee import ask


def people(seed: int, n: int = 30, between: float = 0.6, noise: float = 1.0) -> pd.DataFrame:
    """Return a change a year of each participant with its error; .05 more for each year of age."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.uniform(25, 65, n), "error": rng.uniform(0.2, 3, n)})
    frame["sex"] = rng.integers(0, 2, n).astype(float)
    frame["change"] = -1 + 0.05 * (frame["age"] - 45) + rng.normal(0, between, n)
    frame["change"] += noise * rng.normal(0, 1, n) * frame["error"]
    return frame


MODEL = ChangeModel(name="m", formula="change ~ age + sex")


@pytest.mark.parametrize(("between", "noise"), [(0.0, 0.5), (2.0, 1.0)])
def test_coefficients_agree_with_the_formulas_and_metafor_in_r(
    between: float, noise: float, tmp_path: Path
) -> None:
    data = people(6, between=between, noise=noise)
    case = {"kind": "meta_regression", "formula": "change ~ age + sex", "data": data}
    (truth,) = ask([case], tmp_path)
    found = meta_regression.fit(MODEL, data, data["error"])
    np.testing.assert_allclose(found["coefficient"], truth["coefficient"], rtol=1e-6)
    np.testing.assert_allclose(found["standard_error"], truth["standard_error"], rtol=1e-5)
    np.testing.assert_allclose(found["p"], truth["p"], rtol=1e-5)
    assert found["tau"].iloc[0] == pytest.approx(truth["tau"], rel=1e-5, abs=1e-7)
    assert found["heterogeneity_p"].iloc[0] == pytest.approx(truth["heterogeneity"], rel=1e-6)
    # Both branches are looked at: with and without variance beside the errors.
    assert (found["tau"].iloc[0] > 0) == (between > 0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    n_held = 0
    for seed in range(400):
        data = people(seed + 100, n=20)
        found = meta_regression.fit(MODEL, data, data["error"]).set_index("term").loc["age"]
        n_held += found["ci_low"] <= 0.05 <= found["ci_high"]
    # Four standard errors of a share of .95 of 400.
    assert n_held / 400 == pytest.approx(0.95, abs=0.044)


def test_without_errors_it_is_least_squares() -> None:
    data = people(3)
    found = meta_regression.fit(MODEL, data, data["error"] * np.nan)
    plain = regression.fit(Model(name="m", formula=MODEL.formula), data).coefficients
    for name in ("coefficient", "standard_error", "ci_low", "ci_high", "p"):
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-9)
    assert found["note"].iloc[0] == meta_regression.NO_ERRORS
    assert found[["i_squared_percent", "heterogeneity_p"]].isna().all().all()


def test_who_has_no_error_is_left_out_beside_others_and_named() -> None:
    data = people(4)
    errors = data["error"].mask(data.index < 3)
    found = meta_regression.fit(MODEL, data, errors)
    alone = meta_regression.fit(MODEL, data[3:], data["error"][3:])
    assert (found["n"] == 27).all()
    np.testing.assert_array_equal(found["coefficient"], alone["coefficient"])
    assert found["note"].iloc[0] == "without 3 whose change has no standard error"
    assert alone["note"].iloc[0] == ""


def test_a_well_known_change_weighs_more() -> None:
    data = pd.DataFrame({"change": [0.0, 0.1, 5.0], "error": [0.1, 0.1, 10.0]})
    mean = meta_regression.fit(ChangeModel(name="m", formula="change ~ 1"), data, data["error"])
    assert mean["coefficient"].iloc[0] == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (people(1, n=3), "too few participants: 3 for 3 coefficients"),
        (people(1).assign(sex=1.0), "collinear or constant: sex"),
    ],
)
def test_what_cannot_be_fitted_says_why(data: pd.DataFrame, reason: str) -> None:
    (row,) = meta_regression.fit(MODEL, data, data["error"]).to_dict("records")
    assert row["note"] == reason
    assert np.isnan(row["coefficient"])


def test_equal_changes_have_no_error_and_no_p() -> None:
    data = pd.DataFrame({"change": [1.0, 1.0, 1.0]})
    (row,) = meta_regression.fit(
        ChangeModel(name="m", formula="change ~ 1"), data, data["change"] * np.nan
    ).to_dict("records")
    assert (row["coefficient"], row["standard_error"]) == (1.0, 0.0)
    assert np.isnan(row["p"])
