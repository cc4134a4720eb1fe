"""Who changed by more than the scatter of their own sessions explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import longitudinal, reliable_change
from bids_qsmthal.statistics.longitudinal import MixedModel

YEARLY = MixedModel(name="yearly", formula="chi ~ years")


def visits(n: int, n_visits: int, seed: int, scatter: float = 2.0) -> pd.DataFrame:
    """Return people of different levels whom nothing but scatter changes."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), n_visits)
    frame = pd.DataFrame({"participant_id": [f"sub-{one:03d}" for one in who]})
    frame["years"] = np.tile(np.arange(n_visits, dtype=float), n)
    # Later sessions come first in the table: the years decide, not the order of rows.
    frame["session_id"] = [f"ses-{int(n_visits - year)}" for year in frame["years"]]
    frame["chi"] = rng.normal(0, 10, n)[who] + rng.normal(0, scatter, len(who))
    return frame.iloc[::-1].reset_index(drop=True)


def changes(frame: pd.DataFrame, model: MixedModel = YEARLY) -> pd.DataFrame:
    return reliable_change.of_everyone(model, longitudinal.fit(model, frame), frame)


def test_one_in_twenty_is_called_changed_where_nobody_changed() -> None:
    # The scatter that is in the values stands for a fit, which would take seconds.
    fit = pd.DataFrame({"term": [longitudinal.RESIDUALS], "coefficient": [2.0], "note": [""]})
    found = reliable_change.of_everyone(YEARLY, fit, visits(1500, 2, seed=4))
    assert len(found) == 1500
    called = float((found["reliable"] != "no").mean())
    # Four standard errors of a share of .05 of 1,500.
    assert called == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 1500))


def test_the_error_of_a_change_is_that_of_the_difference_of_two_sessions() -> None:
    frame = visits(40, 2, seed=9)
    found = changes(frame)
    wide = frame.pivot_table(index="participant_id", columns="years", values="chi")
    differences = (wide[1.0] - wide[0.0]).to_numpy()
    np.testing.assert_allclose(found["change"], differences)
    # With two sessions and one mean change, REML's residual SD is that of the differences over
    # the root of 2 (a paired t test).
    np.testing.assert_allclose(found["change_se"], differences.std(ddof=1), rtol=1e-4)
    np.testing.assert_allclose(found["index"], differences / differences.std(ddof=1), rtol=1e-4)
    assert set(found["session_from"]) == {"ses-2"}
    assert set(found["session_to"]) == {"ses-1"}


def test_who_changed_is_named_with_the_direction() -> None:
    frame = visits(60, 3, seed=2)
    last = frame["years"] == 2
    frame.loc[last & (frame["participant_id"] == "sub-007"), "chi"] += 30
    frame.loc[last & (frame["participant_id"] == "sub-011"), "chi"] -= 30
    found = changes(frame).set_index("participant_id")
    assert found.loc["sub-007", "reliable"] == "increase"
    assert found.loc["sub-011", "reliable"] == "decrease"
    assert (found["years"] == 2).all()
    expected = np.abs(found["index"]) > stats.norm.ppf(0.975)
    assert list(found["reliable"] != "no") == list(expected)


def test_sessions_without_a_date_or_outside_the_filter_are_no_change() -> None:
    frame = visits(30, 2, seed=3).assign(sex=lambda d: (d["participant_id"] < "sub-015") * 1.0)
    frame.loc[frame["participant_id"] == "sub-002", "years"] = np.nan
    frame.loc[(frame["participant_id"] == "sub-003") & (frame["years"] == 1), "chi"] = np.nan
    undated = MixedModel(name="level", formula="chi ~ 1 + sex")
    assert "sub-002" not in set(changes(frame, undated)["participant_id"])
    women = MixedModel(name="women", formula="chi ~ years", filter="sex == 1")
    names = {f"sub-{one:03d}" for one in range(15)} - {"sub-002", "sub-003"}
    assert set(changes(frame, women)["participant_id"]) == names


def test_an_undated_session_among_dated_ones_has_no_place_in_time() -> None:
    frame = visits(12, 3, seed=8)
    middle = (frame["participant_id"] == "sub-004") & (frame["years"] == 1)
    values = frame[frame["participant_id"] == "sub-004"].set_index("years")["chi"]
    frame.loc[middle, "years"] = np.nan
    fit = pd.DataFrame({"term": [longitudinal.RESIDUALS], "coefficient": [2.0], "note": [""]})
    level = MixedModel(name="level", formula="chi ~ 1")
    found = reliable_change.of_everyone(level, fit, frame).set_index("participant_id")
    assert found.loc["sub-004", "change"] == pytest.approx(values[2.0] - values[0.0])
    assert found.loc["sub-004", "session_to"] == "ses-1"


def test_a_model_without_a_fit_calls_nobody_changed() -> None:
    frame = visits(4, 2, seed=5)
    assert longitudinal.fit(YEARLY, frame)["coefficient"].isna().all()
    assert changes(frame).empty
