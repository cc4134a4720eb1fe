"""ComBat: the library's own numbers; nobody loses more than what is not known."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import pytest
from neuroCombat import neuroCombat

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import harmonisation, mediation
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.resampling import Resampling

FEW = Harmonisation(site="site", variables=("chi", "volume"), keep=("age", "arm"))
MANY = Harmonisation(
    site="site", variables=tuple(f"m{place}" for place in range(12)), keep=("age", "arm")
)


def people(n: int = 90) -> pd.DataFrame:
    """Return three scanners of different shift and scale, and an effect of age and arm."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"participant_id": [f"sub-{place:02d}" for place in range(n)]})
    frame["site"] = np.tile(["a", "b", "c"], n // 3)
    frame["age"] = rng.uniform(20, 60, n)
    frame["arm"] = rng.choice(["drug", "none"], n)
    place = frame["site"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
    for name in ("chi", "volume", "left", *MANY.variables):
        noise = rng.normal(0, np.array([4.0, 6.0, 9.0])[place])
        shift = np.array([0.0, 10.0, -15.0])[place]
        frame[name] = -29 + 0.3 * frame["age"] + 5 * (frame["arm"] == "drug") + shift + noise
    return frame


def by_the_library(frame: pd.DataFrame, names: list[str], *, shrunk: bool) -> pd.DataFrame:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = neuroCombat(
            dat=frame[names].to_numpy().T, covars=frame[["site", "age", "arm"]], batch_col="site",
            categorical_cols=["arm"], continuous_cols=["age"], eb=shrunk,
        )  # fmt: skip
    return pd.DataFrame(found["data"].T, columns=names, index=frame.index)


@pytest.mark.parametrize("how", [FEW, MANY], ids=["each on its own", "with a common prior"])
def test_complete_participants_get_what_the_library_gives(how: Harmonisation) -> None:
    frame = people()
    made, _ = harmonisation.harmonise(frame, how)
    names = list(how.variables)
    expected = by_the_library(frame, names, shrunk=len(names) >= 10)
    np.testing.assert_allclose(made[names], expected, rtol=1e-9)


@pytest.mark.parametrize("how", [FEW, MANY], ids=["each on its own", "with a common prior"])
def test_who_lacks_one_measure_loses_that_one_only(how: Harmonisation) -> None:
    frame = people()
    first, second = how.variables[:2]
    frame.loc[[3, 7], first] = np.nan
    made, summary = harmonisation.harmonise(frame, how)
    assert list(made.index[made[first].isna()]) == [3, 7]
    assert made[second].notna().all()
    complete = frame.drop(index=[3, 7])
    shrunk = how is MANY
    expected = by_the_library(complete, list(how.variables), shrunk=shrunk)
    kept = frame.index.difference([3, 7])
    np.testing.assert_allclose(made.loc[kept, first], expected[first], rtol=1e-9)
    if how is FEW:  # another measure's gap changes nothing of this one
        everyone = by_the_library(frame, [second], shrunk=False)
        np.testing.assert_allclose(made[second], everyone[second], rtol=1e-9)
    counts = summary.set_index(["variable", "site"])["n"]
    assert (counts[first].sum(), counts[second].sum()) == (88, 90)


def test_who_lacks_a_measure_of_many_gets_the_others_by_what_the_complete_ones_gave() -> None:
    frame = people()
    # A copy of someone complete who lacks another measure must get that one's values.
    copy = frame.loc[[10]].assign(m0=np.nan, participant_id="sub-copy")
    together = pd.concat([frame, copy], ignore_index=True)
    made, _ = harmonisation.harmonise(together, MANY)
    names = list(MANY.variables[1:])
    np.testing.assert_allclose(made.loc[90, names], made.loc[10, names], rtol=1e-5)
    assert np.isnan(made.loc[90, "m0"])


def test_who_lacks_site_or_a_kept_variable_has_no_value_and_the_true_reason_is_said() -> None:
    frame = people()
    frame.loc[0, "site"] = None
    frame.loc[[1, 2], "age"] = np.nan
    made, summary = harmonisation.harmonise(frame, FEW)
    for name in FEW.variables:
        assert list(made.index[made[name].isna()]) == [0, 1, 2]
    assert summary["note"].str.endswith("no value is left of 1 without site, 2 without age").all()


def test_sessions_are_not_people() -> None:
    frame = people(30)
    twice = pd.concat([frame, frame.assign(chi=frame["chi"] + 1)], ignore_index=True)
    _, summary = harmonisation.harmonise(twice, FEW)
    assert list(summary["n"]) == [10] * 6
    assert list(summary["n_sessions"]) == [20] * 6
    one = frame[(frame["site"] != "c") | (frame.index == 2)]
    visits = pd.concat([one, one, one, one], ignore_index=True)
    with pytest.raises(UsageError, match="site 'c' has 1 complete participants; 3 are needed"):
        harmonisation.harmonise(visits, FEW)


def test_another_measure_is_harmonised_as_the_variable_it_replaces() -> None:
    frame = people()
    made, summary = harmonisation.harmonise(frame, FEW, {"left": "chi"})
    expected = by_the_library(frame, ["left"], shrunk=False)["left"]
    np.testing.assert_allclose(made["left_harmonised"], expected, rtol=1e-9)
    pd.testing.assert_series_equal(made["left"], frame["left"])
    assert set(summary["variable"]) == {"chi", "volume", "left"}
    swapped = {"left": MANY.variables[4]}
    made, _ = harmonisation.harmonise(frame, MANY, swapped)
    names = ["left" if name == MANY.variables[4] else name for name in MANY.variables]
    expected = by_the_library(frame, names, shrunk=True)["left"]
    np.testing.assert_allclose(made["left_harmonised"], expected, rtol=1e-9)


def test_another_measure_that_cannot_be_harmonised_is_missing_with_the_reason() -> None:
    frame = people()
    frame.loc[(frame["site"] == "c") & (frame.index > 3), "left"] = np.nan
    made, summary = harmonisation.harmonise(frame, FEW, {"left": "chi"})
    assert made["left_harmonised"].isna().all()
    assert made["chi"].notna().all()
    assert not len(summary[(summary["variable"] == "left") & (summary["n"] > 0)])


def test_one_site_changes_nothing_and_loses_nobody() -> None:
    frame = people().assign(site="a")
    frame.loc[5, "age"] = np.nan
    made, summary = harmonisation.harmonise(frame, FEW)
    pd.testing.assert_frame_equal(made, frame)
    assert (summary["note"] == "one site: nothing to harmonise").all()


def test_without_kept_variables_sites_are_brought_to_one_mean_and_spread() -> None:
    how = Harmonisation(site="site", variables=("chi",))
    made, _ = harmonisation.harmonise(people(), how)
    spread = made.groupby("site")["chi"].agg(["mean", "std"])
    np.testing.assert_allclose(spread["mean"], spread["mean"].mean(), rtol=1e-6)
    np.testing.assert_allclose(spread["std"], spread["std"].mean(), rtol=1e-6)


def test_a_path_through_harmonised_values_has_no_bootstrap_interval() -> None:
    path = Mediation(name="m", cause="age", mediator="chi", outcome="volume")
    plain = mediation.fit(path, people(), Resampling(n_bootstraps=100))
    table = mediation.fit(path, people(), Resampling(n_bootstraps=100), harmonised=True)
    pd.testing.assert_series_equal(table["coefficient"], plain["coefficient"])
    assert plain["ci_low"].notna().all()
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert table["note"].str.contains("depend on all others").all()


@pytest.mark.parametrize(
    "more",
    [
        {"months": lambda frame: 12 * frame["age"]},
        {"one": 1.0},
        {"drug": lambda frame: (frame["arm"] == "drug") * 1.0},
    ],
    ids=["age in months beside age", "a constant", "a number beside its word"],
)
def test_a_kept_variable_that_says_nothing_new_changes_nothing(more: dict[str, object]) -> None:
    frame = people().assign(**more)
    usual, _ = harmonisation.harmonise(frame, FEW)
    (name,) = more
    how = Harmonisation(site="site", variables=FEW.variables, keep=(*FEW.keep, name))
    made, _ = harmonisation.harmonise(frame, how)
    np.testing.assert_allclose(made["chi"], usual["chi"], rtol=1e-5)


def test_a_rare_level_leaves_a_path_without_an_interval_and_says_so() -> None:
    frame = people().assign(rare=0.0)
    frame.loc[4, "rare"] = 1.0
    path = Mediation(
        name="m", cause="age", mediator="chi", outcome="volume", covariates=("arm", "rare")
    )
    # One carrier of 90 is in no draw of 90 with a probability of (1 - 1/90)^90 = .37.
    table = mediation.fit(path, frame, Resampling(n_bootstraps=200))
    assert table["ci_low"].isna().all()
    assert np.isfinite(table["coefficient"]).all()
    assert table["note"].str.startswith("no interval: more than one draw").all()
