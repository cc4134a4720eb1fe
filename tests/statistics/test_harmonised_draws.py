"""Resampling of harmonised values: every cohort that is drawn goes through ComBat itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import (
    harmonisation,
    harmonised_draws,
    mediation,
    regression,
    resampling,
    sensitivity,
)
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.harmonised_draws import Redrawn
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question

HOW = Harmonisation(site="site", variables=("chi",), keep=("age",))
FEW = Resampling(n_bootstraps=20)
SLOPE = Model(name="m", formula="volume ~ chi + age")
MODELS = {
    "least squares": SLOPE,
    "a filter and a curve": replace(
        SLOPE, formula="log(volume) ~ chi + I(age**2)", filter="age < 55"
    ),
    "robust errors": replace(SLOPE, method="hc3"),
    "odds": replace(SLOPE, formula="ill ~ chi + age", family="binomial"),
}


def measured(n: int = 48) -> pd.DataFrame:
    """Return two sessions of each participant at two sites that differ by shift and scale."""
    rng = np.random.default_rng(4)
    who = np.repeat(np.arange(n), 2)
    frame = pd.DataFrame({"participant_id": [f"sub-{one:02d}" for one in who]})
    frame["session_id"] = np.tile(["ses-1", "ses-2"], n)
    frame["site"] = np.where(who % 3 == 0, "north", "south")
    frame["age"] = rng.uniform(20, 60, n)[who] + np.tile([0.0, 1.0], n)
    noise = rng.normal(0, np.where(frame["site"] == "north", 4.0, 9.0))
    frame["chi"] = -29 + 0.3 * frame["age"] + 20.0 * (frame["site"] == "north") + noise
    frame["volume"] = 300.0 + 2 * frame["chi"] + rng.normal(0, 20, 2 * n)
    frame["ill"] = (rng.random(2 * n) < 0.5).astype(float)
    # In no model, yet it moves what harmonisation does to the others.
    frame.loc[7, "volume"] = np.nan
    frame.loc[7, "chi"] += 900
    return frame


def analysed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the second session of everybody, harmonised over all sessions."""
    made, _ = harmonisation.harmonise(frame, HOW)
    return made[made["session_id"] == "ses-2"].reset_index(drop=True)


@pytest.fixture(scope="module")
def drawn() -> Redrawn:
    found = harmonised_draws.redrawn(measured(), HOW, analysed(measured()), FEW)
    assert found is not None
    return found


def by_hand(people: list[str], model: Model) -> pd.Series:
    """Return the row of the slope where these participants alone are the cohort."""
    frame = measured()
    rows = [frame[frame["participant_id"] == who] for who in people]
    return regression.fit(model, analysed(pd.concat(rows, ignore_index=True))).row("chi")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_without_each_is_the_cohort_without_that_one_harmonised_and_fitted(
    model: Model, drawn: Redrawn
) -> None:
    frame = analysed(measured())
    left = harmonised_draws.refitted(regression.fit(model, frame), "chi", frame, drawn.without_each)
    everybody = list(frame["participant_id"])
    for place in (0, 20, 47):
        row = by_hand([who for who in everybody if who != everybody[place]], model)
        assert left.coefficients[place] == pytest.approx(row["coefficient"], rel=1e-8)
        if model.method == "ols":
            assert left.p[place] == pytest.approx(row["p"], rel=1e-8)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_draw_is_the_participants_as_often_as_they_are_drawn_harmonised_and_fitted(
    model: Model, drawn: Redrawn
) -> None:
    frame = analysed(measured())
    fits = harmonised_draws.refitted(regression.fit(model, frame), "chi", frame, drawn.bootstrap)
    for draw in (0, 13):
        rows = drawn.bootstrap.labels[drawn.bootstrap.which == draw]
        people = list(frame.loc[rows, "participant_id"])
        assert len(people) == len(frame)
        assert len(set(people)) < len(frame)
        expected = by_hand(people, model)["coefficient"]
        assert fits.coefficients[draw] == pytest.approx(expected, rel=1e-8)


def test_sites_keep_their_sizes_in_every_draw(drawn: Redrawn) -> None:
    frame = analysed(measured())
    for draw in range(drawn.bootstrap.n):
        rows = drawn.bootstrap.labels[drawn.bootstrap.which == draw]
        assert frame.loc[rows, "site"].value_counts().to_dict() == {"south": 32, "north": 16}


def test_rows_of_the_specifications_are_of_cohorts_that_were_harmonised_anew(
    drawn: Redrawn,
) -> None:
    frame = analysed(measured())
    question = Question(adjusted=SLOPE, term="chi", harmonised=True)
    rows = sensitivity.explore([question], frame, [], FEW, drawn).set_index("specification")
    fit = regression.fit(SLOPE, frame)
    boot, left = rows.loc[sensitivity.BOOTSTRAP], rows.loc[sensitivity.LEAVE_OUT]
    draws = harmonised_draws.refitted(fit, "chi", frame, drawn.bootstrap).coefficients
    assert (
        draws.min()
        <= boot["ci_low"]
        < fit.row("chi")["coefficient"]
        < boot["ci_high"]
        <= draws.max()
    )
    assert boot["note"] == "20 draws of participants within sites, each harmonised again"
    without = harmonised_draws.refitted(fit, "chi", frame, drawn.without_each).coefficients
    # The participant of row 3 has no volume, hence is in no model that could lose them.
    own = np.delete(without, 3)
    assert not own.min() <= without[3] <= own.max()
    assert (left["ci_low"], left["ci_high"]) == (pytest.approx(own.min()), pytest.approx(own.max()))
    assert left["note"].endswith("each harmonised again")
    # Harmonisation has not seen the volume: what is permuted is the model as it is.
    permuted = rows.loc["permutation (Freedman-Lane)"]
    assert fit.design is not None
    made = fit.design
    assert permuted["p"] == resampling.permutation_p(
        made.outcome, made.predictors, made.names.index("chi"), FEW
    )


def one_session(seed: int, *, slope: float = 0.0, n: int = 40) -> pd.DataFrame:
    """Return one session each, at sites that differ in shift, spread and age."""
    rng = np.random.default_rng(seed)
    site = np.resize(["north", "south", "south"], n)
    age = rng.uniform(20, 60, n) + 12.0 * (site == "south")
    drug = (rng.random(n) < np.where(site == "south", 0.7, 0.3)).astype(float)
    chi = -29 + 0.3 * age + slope * drug + 20.0 * (site == "south")
    chi += rng.normal(0, np.where(site == "south", 4.0, 9.0))
    who = [f"sub-{one:02d}" for one in range(n)]
    return pd.DataFrame({"participant_id": who, "session_id": "n/a", "site": site, "age": age,
                         "drug": drug, "chi": chi})  # fmt: skip


DRUG = Model(name="m", formula="chi ~ drug + age")


def permuted(frame: pd.DataFrame, n: int, how: Harmonisation = HOW, model: Model = DRUG) -> float:
    whole, _ = harmonisation.harmonise(frame, how)
    some = Resampling(n_permutations=n, n_bootstraps=1)
    made = harmonised_draws.redrawn(frame, how, whole, some)
    assert made is not None
    fit = regression.fit(model, whole)
    assert harmonised_draws.why_no_permutation(fit, made) == ""
    return harmonised_draws.permutation_p(fit, "drug", whole, made, some)[0]


def test_a_permuted_outcome_is_harmonised_anew_and_agrees_with_sites_as_a_factor() -> None:
    # With as much to tell, sites as a factor with spreads of their own (HC3) find the same.
    for slope in (2.5, 4.0):
        frame = one_session(7, slope=slope, n=120)
        factor = regression.fit(
            Model(name="m", formula="chi ~ drug + age + C(site)", method="hc3"), frame
        )
        assert permuted(frame, 299) == pytest.approx(factor.row("drug")["p"], abs=0.05)
    assert permuted(one_session(7, slope=40.0), 99) == 0.01


def test_every_exchange_is_of_measured_values_within_sites_and_goes_through_combat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = one_session(5)
    whole, _ = harmonisation.harmonise(frame, HOW)
    some = Resampling(n_permutations=12, n_bootstraps=1)
    made = harmonised_draws.redrawn(frame, HOW, whole, some)
    fit = regression.fit(DRUG, whole)
    assert made is not None
    null = regression.fit(Model(name="m", formula="chi ~ age + C(site)"), frame)
    seen, real = [], harmonisation.values
    monkeypatch.setattr(
        harmonisation, "values", lambda table, how: seen.append(table) or real(table, how)
    )
    p, n = harmonised_draws.permutation_p(fit, "drug", whole, made, some)
    assert (n, len(seen)) == (12, 13)
    # By hand from what ComBat was given: t of the table, and t of every exchange.
    tables = [frame.assign(chi=real(table, HOW)["chi"]) for table in seen]
    t = [abs(regression.fit(DRUG, table).row("drug")["statistic"]) for table in tables]
    assert t[0] == pytest.approx(abs(fit.row("drug")["statistic"]))
    assert p == (1 + sum(one >= t[0] for one in t[1:])) / 13
    assert null.residuals is not None
    fitted = frame["chi"] - null.residuals
    for table in seen[1:]:
        rest = table["chi"] - fitted
        for site in ("north", "south"):
            there = frame["site"] == site
            np.testing.assert_allclose(np.sort(rest[there]), np.sort(null.residuals[there]))
        assert not np.allclose(rest, null.residuals)


@pytest.mark.slow
def test_a_permutation_p_of_no_effect_is_uniform_where_the_outcome_is_harmonised() -> None:
    # ComBat keeps the tested term, too, and does so in every exchange.
    how = replace(HOW, keep=("age", "drug"))
    found = [permuted(one_session(seed), 29, how) for seed in range(60)]
    assert stats.kstest(found, stats.uniform.cdf).pvalue > 0.01
    # One in ten of 60 are 6; more than 12 come one time in a hundred.
    assert np.sum(np.array(found) < 0.101) <= 12
    assert len(set(found)) > 12


@pytest.mark.parametrize(("change", "reason"), [
    ({"formula": "log(chi + 200) ~ drug"}, "for a linear model of the harmonised values"),
    ({"formula": "age ~ chi + drug"}, "the outcome is kept in the harmonisation"),
    ({"formula": "chi ~ drug", "method": "huber"}, "for a linear model"),
])  # fmt: skip
def test_what_cannot_be_permuted_and_harmonised_says_why(
    change: dict[str, str], reason: str
) -> None:
    frame = one_session(3)
    whole, _ = harmonisation.harmonise(frame, HOW)
    made = harmonised_draws.redrawn(frame, HOW, whole, FEW)
    question = Question(adjusted=replace(DRUG, **change), term="drug", harmonised=True)
    rows = sensitivity.explore([question], whole, [], FEW, made).set_index("specification")
    row = rows.loc[sensitivity.PERMUTATION]
    assert reason in row["note"]
    assert np.isnan(row["p"])
    frame = measured().assign(drug=1.0)
    frame.loc[::3, "drug"] = 0.0
    whole = harmonisation.harmonise(frame, HOW)[0].drop_duplicates("participant_id")
    whole = whole.reset_index(drop=True)
    twice = harmonised_draws.redrawn(frame, HOW, whole, FEW)
    assert twice is not None
    why = harmonised_draws.why_no_permutation(regression.fit(DRUG, whole), twice)
    assert "several sessions of one participant" in why


def test_too_few_people_of_a_site_leave_draws_and_the_interval_without_an_estimate() -> None:
    frame = measured()
    few = frame[
        (frame["site"] == "south") | frame["participant_id"].isin(["sub-00", "sub-03", "sub-06"])
    ]
    few = few.reset_index(drop=True)
    chosen = analysed(few)
    found = harmonised_draws.redrawn(few, HOW, chosen, FEW)
    assert found is not None
    question = Question(adjusted=SLOPE, term="chi", harmonised=True)
    rows = sensitivity.explore([question], chosen, [], FEW, found).set_index("specification")
    assert np.isnan(rows.loc[sensitivity.BOOTSTRAP, "ci_low"])
    assert rows.loc[sensitivity.BOOTSTRAP, "note"].endswith("too many without an estimate")


def test_a_path_through_harmonised_values_has_the_interval_of_cohorts_harmonised_anew(
    drawn: Redrawn,
) -> None:
    frame = analysed(measured())
    path = Mediation(name="m", cause="age", mediator="chi", outcome="volume")
    table = mediation.fit(path, frame, FEW, harmonised=True, redrawn=drawn).set_index("path")
    main = regression.fit(SLOPE, frame)
    draws = harmonised_draws.refitted(main, "chi", frame, drawn.bootstrap).coefficients
    expected = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose(
        table.loc["mediator to outcome (b)", ["ci_low", "ci_high"]].astype(float), expected
    )


def test_a_large_cohort_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harmonised_draws, "MOST_PARTICIPANTS", 47)
    assert harmonised_draws.redrawn(measured(), HOW, analysed(measured()), FEW) is None
    question = Question(adjusted=SLOPE, term="chi", harmonised=True)
    rows = sensitivity.explore([question], analysed(measured()), [], FEW).set_index("specification")
    assert rows.loc[sensitivity.BOOTSTRAP, "note"].startswith("not given")


@pytest.mark.slow
def test_draws_that_are_harmonised_anew_spread_as_cohorts_do() -> None:
    """A group of one site: what ComBat takes from the site moves the slope of every cohort."""
    rng = np.random.default_rng(11)
    slopes, spreads = [], []
    model = Model(name="m", formula="chi ~ age")
    for place in range(80):
        n = 30
        frame = pd.DataFrame({"participant_id": [f"sub-{one:02d}" for one in range(n)]})
        frame["session_id"], frame["site"] = "n/a", np.where(np.arange(n) < 8, "a", "b")
        frame["age"] = rng.normal(np.where(frame["site"] == "a", 35, 55), 8)
        frame["chi"] = 0.3 * frame["age"] + rng.normal(0, 6, n) + 12 * (frame["site"] == "a")
        made, _ = harmonisation.harmonise(frame, HOW)
        fit = regression.fit(model, made)
        slopes.append(fit.row("age")["coefficient"])
        if place < 6:
            how = Resampling(n_bootstraps=50, seed=place)
            found = harmonised_draws.redrawn(frame, HOW, made, how)
            assert found is not None
            drawn = harmonised_draws.refitted(fit, "age", made, found.bootstrap).coefficients
            spreads.append(np.nanstd(drawn, ddof=1))
    ratio = np.sqrt(np.mean(np.square(spreads))) / np.std(slopes, ddof=1)
    assert 0.75 < ratio < 1.35
