"""Truths that need no referee: closed forms, identities, published examples, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import (
    design,
    diagnostics,
    harmonisation,
    longitudinal,
    mediation,
    normality,
    power,
    regression,
    resampling,
    sensitivity,
    tables,
)
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.levels import Level
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question, Specification
from tests import cohorts

# Miles per gallon of the 74 cars that come with STATA, and what its manual prints for them.
MPG = [
    22, 17, 22, 20, 15, 18, 26, 20, 16, 19, 14, 14, 21, 29, 16, 22, 22, 24, 19, 30, 18, 16, 17, 28,
    21, 12, 12, 14, 22, 14, 15, 18, 14, 20, 21, 19, 19, 18, 19, 24, 16, 28, 34, 25, 26, 18, 18, 18,
    19, 19, 19, 24, 17, 23, 25, 23, 35, 24, 21, 21, 25, 28, 30, 14, 26, 35, 18, 31, 18, 23, 41, 25,
    25, 17,
]  # fmt: skip
STATA_LADDER = {
    "cubic": (43.59, 0.000), "square": (27.03, 0.000), "identity": (10.95, 0.004),
    "square root": (4.94, 0.084), "log": (0.87, 0.647), "1/square root": (0.20, 0.905),
    "inverse": (2.36, 0.307), "1/square": (11.99, 0.002), "1/cubic": (24.30, 0.000),
}  # fmt: skip


def cohort(n: int = 80, seed: int = 7) -> pd.DataFrame:
    made = cohorts.simulated(n, np.random.default_rng(seed), {"age": 0.3, "lesion_volume": 0.03})
    return made.assign(participant_id=[f"sub-{i:02d}" for i in range(n)])


def test_the_ladder_of_powers_prints_what_stata_prints_for_its_cars() -> None:
    rungs = normality.ladder(pd.Series(MPG, name="mpg", dtype=float)).set_index("transform")
    for rung, (chi_squared, p) in STATA_LADDER.items():
        assert round(rungs.loc[rung, "k_squared_adjusted"], 2) == chi_squared
        assert round(rungs.loc[rung, "p_adjusted"], 3) == p
    assert normality.best_rung(rungs.reset_index()) == "1/square root"


def test_rungs_that_need_positive_values_say_so() -> None:
    rungs = normality.ladder(pd.Series([-1.0, *range(1, 20)], name="x")).set_index("transform")
    assert rungs.loc["log", "note"] == "1 of 20 values are not positive"
    assert np.isfinite(rungs.loc["identity", "p"])


@pytest.mark.parametrize(
    ("values", "note"), [([1.0, 2.0], "too few values"), ([3.0] * 12, "all values are the same")]
)
def test_a_ladder_that_cannot_be_climbed_says_why(values: list[float], note: str) -> None:
    rungs = normality.ladder(pd.Series(values, name="x"))
    assert rungs["note"].str.contains(note).all()
    assert rungs["p"].isna().all()


def test_the_study_had_80_percent_power_for_a_correlation_of_28_hundredths() -> None:
    assert round(power.detectable_correlation(95), 2) == 0.28
    assert power.of_correlation(power.detectable_correlation(95), 95) == pytest.approx(0.8)
    assert power.needed_sample(power.detectable_correlation(95)) == 95


def test_known_coefficients_are_found_exactly_without_noise() -> None:
    frame = cohort(20)
    frame["y"] = 3.0 - 0.25 * frame["chi"] + 2.0 * frame["sex"] + 0.001 * frame["age"] ** 2
    made = design.build("y ~ chi + sex + I(age * age)", frame)
    solved = np.linalg.lstsq(made.predictors, made.outcome, rcond=None)[0]
    np.testing.assert_allclose(solved, [3.0, -0.25, 2.0, 0.001], rtol=1e-8)


def test_everyone_lost_on_the_way_into_a_model_is_counted() -> None:
    frame = cohort(30)
    frame.loc[:3, "age"] = np.nan
    frame.loc[3:5, "chi"] = np.nan
    frame.loc[10, "lesion_volume"] = 0.0
    made = design.build("log(lesion_volume) ~ chi + age", frame, filter="sex == 0 or sex == 1")
    assert made.losses.n_found == 30
    assert made.losses.n_incomplete == 6
    assert made.losses.missing == {"chi": 3, "age": 4}
    assert made.losses.n_not_finite == 1
    assert made.n == 23
    note = regression.fit(Model(name="m", formula="log(lesion_volume) ~ chi + age"), frame).row(
        "chi"
    )["note"]
    assert "1 left out: the formula cannot take their value" in note


def test_a_constant_column_and_a_collinear_one_are_flagged_and_the_rest_stands() -> None:
    frame = cohort().assign(dmt=1.0, double=lambda d: 2 * d["age"])
    fit = regression.fit(Model(name="m", formula="chi ~ age + dmt + sex + double"), frame)
    rest = regression.fit(Model(name="m", formula="chi ~ age + sex"), frame)
    assert fit.row("dmt")["note"] == "the same (1) in all 80 participants: not estimable"
    assert fit.row("double")["note"] == "collinear with age: not estimable"
    assert "stands for both" in fit.row("age")["note"]
    assert np.isnan(fit.row("dmt")["coefficient"])
    assert fit.row("sex")["p"] == pytest.approx(rest.row("sex")["p"], rel=1e-9)


def test_perfect_separation_is_named_and_not_fitted() -> None:
    frame = cohort().assign(sick=lambda d: (d["chi"] > d["chi"].median()).astype(float))
    fit = regression.fit(Model(name="m", formula="sick ~ chi + age", family="binomial"), frame)
    assert not fit.fitted
    assert "perfect separation" in fit.note
    mixed = regression.fit(Model(name="m", formula="sick ~ age", family="binomial"), frame)
    assert mixed.fitted


def test_a_contrast_of_groups_is_the_difference_of_their_means() -> None:
    frame = cohort().assign(group=lambda d: np.where(d["sex"] == 1, "patient", "control"))
    model = Model(name="m", formula="chi ~ group - 1", contrasts={
        "patients - controls": {"group[patient]": 1.0, "group[control]": -1.0}
    })  # fmt: skip
    row = regression.fit(model, frame).row("patients - controls")
    means = frame.groupby("group")["chi"].mean()
    assert row["coefficient"] == pytest.approx(means["patient"] - means["control"])
    simple = regression.fit(Model(name="m", formula="chi ~ group"), frame).row("group[T.patient]")
    assert row["p"] == pytest.approx(simple["p"])


def test_a_contrast_of_an_unknown_condition_names_the_known_ones() -> None:
    model = Model(name="m", formula="chi ~ age", contrasts={"c": {"agge": 1.0}})
    with pytest.raises(UsageError, match="'agge', which is no coefficient"):
        regression.fit(model, cohort())


def test_a_grouped_model_is_fitted_once_in_each_group() -> None:
    frame = cohort()
    model = Model(name="m", formula="chi ~ age", filter="age < 60", group_by=("sex",))
    parts = regression.grouped(model, frame)
    assert [part.name for part in parts] == ["m[sex=0]", "m[sex=1]"]
    n = [regression.fit(part, frame).design.n for part in parts]
    assert n == [int(((frame["age"] < 60) & (frame["sex"] == s)).sum()) for s in (0, 1)]


def test_leaving_one_out_in_closed_form_is_leaving_one_out() -> None:
    frame = cohort(25)
    model = Model(name="m", formula="log(lesion_volume) ~ chi + age + sex")
    made = design.build(model.formula, frame)
    left = resampling.leave_one_out(made.outcome, made.predictors, 1)
    for place in (0, 7, 24):
        row = regression.fit(model, frame.drop(index=place)).row("chi")
        assert left.coefficients[place] == pytest.approx(row["coefficient"], rel=1e-9)
        assert left.p[place] == pytest.approx(row["p"], rel=1e-9)


def test_permutation_and_bootstrap_agree_with_theory_where_errors_are_normal() -> None:
    frame = cohort(300, seed=3)
    model = Model(name="m", formula="cortical_thickness ~ chi + age + sex")
    made = design.build(model.formula, frame)
    row = regression.fit(model, frame).row("chi")
    how = Resampling(n_permutations=20_000, n_bootstraps=20_000, seed=1)
    p = resampling.permutation_p(made.outcome, made.predictors, 1, how)
    assert p == pytest.approx(row["p"], abs=4 * np.sqrt(row["p"] * (1 - row["p"]) / 20_000) + 0.01)
    low, high = resampling.bca_interval(
        resampling.bootstrap(made.outcome, made.predictors, 1, how),
        row["coefficient"],
        resampling.leave_one_out(made.outcome, made.predictors, 1).coefficients,
    )
    width = row["ci_high"] - row["ci_low"]
    assert abs(low - row["ci_low"]) < 0.1 * width
    assert abs(high - row["ci_high"]) < 0.1 * width


def test_a_permutation_p_of_no_effect_is_uniform() -> None:
    rng = np.random.default_rng(11)
    predictors = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
    how = Resampling(n_permutations=199)
    p = [
        resampling.permutation_p(rng.exponential(size=30), predictors, 1, replace(how, seed=seed))
        for seed in range(400)
    ]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_a_doubled_participant_shows_as_influential() -> None:
    frame = cohort(40)
    frame.loc[5, ["chi", "thalamic_volume"]] = [60.0, 40_000.0]
    fit = regression.fit(Model(name="m", formula="thalamic_volume ~ chi"), frame)
    found = diagnostics.examine(fit, frame["participant_id"])
    assert found["most_influential"] == "sub-05"
    assert found["largest_cooks_distance"] > 1
    assert "sub-05 has a strong influence on the result" in str(found["advice"])


def test_each_broken_assumption_is_noticed_and_none_where_all_hold() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 4, 400)
    noise = rng.normal(size=400)
    who = pd.Series([str(i) for i in range(400)])
    said = {}
    for name, y in {
        "fine": x + noise,
        "normal": x + rng.exponential(size=400) ** 2,
        "equal": x + noise * x,
        "bent": x + 2 * x**2 + noise,
    }.items():
        fit = regression.fit(Model(name="m", formula="y ~ x"), pd.DataFrame({"x": x, "y": y}))
        said[name] = str(diagnostics.examine(fit, who)["advice"])
    assert said["fine"] == "nothing stands out"
    assert "residuals are not normal" in said["normal"]
    assert "residual variance is not equal" in said["equal"]
    assert "may be bent" in said["bent"]


def test_every_choice_of_the_sensitivity_analysis_changes_what_it_says() -> None:
    frame = cohort().assign(left=lambda d: d["chi"] + 1.0)
    adjusted = Model(name="m", formula="log(lesion_volume) ~ chi + age")
    question = Question(adjusted=adjusted, term="chi")
    specifications = [
        Specification(name="young", kind="sample", filter="age <= 50"),
        Specification(name="log age", kind="term", terms={"age": "log(age)"}),
        Specification(name="left", kind="measure", columns={"chi": "left"}),
        Specification(name="none", kind="measure", columns={"chi": "x"}, absent="nobody has x"),
        Specification(name="not used", kind="term", terms={"sex": "dmt"}),
    ]
    rows = sensitivity.explore(
        [question], frame, specifications, Resampling(n_permutations=99, n_bootstraps=200)
    ).set_index("specification")
    young = regression.fit(adjusted, frame[frame["age"] <= 50]).row("chi")
    assert rows.loc["young", "coefficient"] == pytest.approx(young["coefficient"])
    assert rows.loc["left", "coefficient"] == pytest.approx(rows["coefficient"].iloc[0])
    logged = regression.fit(
        Model(name="m", formula="log(lesion_volume) ~ chi + log(age)"), frame
    ).row("chi")
    assert rows.loc["log age", "p"] == pytest.approx(logged["p"])
    assert rows.loc["none", "note"] == "nobody has x"
    assert "not used" not in rows.index


def test_direct_and_indirect_effect_add_up_to_the_total() -> None:
    frame = cohort(60).assign(edss=lambda d: 2 + 0.05 * d["chi"] + 0.3 * d["sex"])
    path = Mediation(name="m", cause="log(lesion_volume)", mediator="chi", outcome="edss",
                     covariates=("age",))  # fmt: skip
    table = mediation.fit(path, frame, Resampling(n_bootstraps=200)).set_index("path")
    value = table["coefficient"]
    assert value["total (c)"] == pytest.approx(value["direct (c')"] + value["indirect (a b)"])
    assert value["indirect (a b)"] == pytest.approx(
        value["cause to mediator (a)"] * value["mediator to outcome (b)"]
    )
    assert value["mediator to outcome (b)"] == pytest.approx(0.05, abs=0.01)
    inside = (table["ci_low"] <= value) & (value <= table["ci_high"])
    assert inside.all()


def test_mixed_models_need_participants_with_two_sessions() -> None:
    frame = cohort(30).assign(years=0.0)
    table = longitudinal.fit(MixedModel(name="m", formula="chi ~ age"), frame)
    assert table["note"].iloc[0] == "0 participants with two complete sessions; 5 are needed"


def scanners(shift: float, scale: float) -> pd.DataFrame:
    frame = cohort(200).assign(site=np.repeat(["a", "b"], 100))
    there = frame["site"] == "b"
    frame.loc[there, "chi"] = -29 + shift + scale * (frame.loc[there, "chi"] + 29)
    return frame


def test_combat_removes_a_scanner_and_keeps_age() -> None:
    pytest.importorskip("neuroCombat")
    frame = scanners(15.0, 1.5)
    how = Harmonisation(site="site", variables=("chi",), keep=("age", "sex", "enhancing"))
    made, summary = harmonisation.harmonise(frame, how)
    model = Model(name="m", formula="chi ~ age + sex + enhancing + site")
    before = regression.fit(model, frame).row("site[T.b]")
    after = regression.fit(model, made).row("site[T.b]")
    assert before["p"] < 1e-6
    assert abs(after["coefficient"]) < 0.1
    assert regression.fit(model, made).row("age")["coefficient"] == pytest.approx(0.3, abs=0.12)
    spread = made.groupby("site")["chi"].std()
    assert spread["a"] == pytest.approx(spread["b"], rel=0.1)
    assert list(summary["n"]) == [100, 100]


def test_a_site_that_is_a_group_cannot_be_harmonised() -> None:
    frame = scanners(5.0, 1.0).assign(patient=lambda d: (d["site"] == "b").astype(float))
    how = Harmonisation(site="site", variables=("chi",), keep=("patient",))
    with pytest.raises(UsageError, match="site and patient cannot be distinguished"):
        harmonisation.harmonise(frame, how)


def test_a_site_that_nearly_is_a_group_is_warned_about() -> None:
    pytest.importorskip("neuroCombat")
    frame = scanners(5.0, 1.0).assign(patient=lambda d: (d["site"] == "b").astype(float))
    frame.loc[[0, 1, 150], "patient"] = [1.0, 1.0, 0.0]
    how = Harmonisation(site="site", variables=("chi",), keep=("patient",))
    _, summary = harmonisation.harmonise(frame, how)
    assert summary["note"].str.contains("of the variance of patient lies between sites").all()


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0372, ".037*"), (0.0396, ".04*"), (0.0992, ".099"), (0.15, ".15"), (0.8, ".80"),
        (0.00042, "<.001*"), (0.04996, ".04996*"), (0.0503, ".0503"), (0.999, ">.99"),
        (float("nan"), "n/a"),
    ],
)  # fmt: skip
def test_p_values_are_printed_as_in_the_journal(p: float, text: str) -> None:
    assert tables.print_p(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.19153, "0.19"), (-0.0371, "-0.037"), (8.4005, "8.40"), (0.0016, "0.0016"), (0.0, "0.00"),
     (16.396, "16.40"), (-0.0999, "-0.10"), (-12.3456, "-12.35")],
)  # fmt: skip
def test_coefficients_have_two_decimals_and_two_digits_at_least(value: float, text: str) -> None:
    printed = tables.rounded(value, tables.Row(label="", term=""))
    assert printed.replace("\N{MINUS SIGN}", "-") == text


def test_a_mixed_model_without_a_maximum_is_a_row_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(sm.MixedLM, "fit", fails)
    frame = pd.concat([cohort(12).assign(years=0.0), cohort(12).assign(years=1.0)])
    frame = frame.assign(participant_id=[f"sub-{i:02d}" for i in range(12)] * 2)
    table = longitudinal.fit(MixedModel(name="m", formula="chi ~ years"), frame.reset_index())
    assert list(table["note"]) == ["no maximum of the likelihood was found"]


def test_a_contrast_with_the_name_of_a_coefficient_is_refused() -> None:
    model = Model(name="m", formula="chi ~ age", contrasts={"age": {"age": 2.0}})
    with pytest.raises(UsageError, match="the contrast 'age' has the name of a coefficient"):
        regression.fit(model, cohort(20))


def test_a_contrast_of_a_level_that_a_filter_leaves_out_has_no_estimate_and_says_so() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"y": rng.normal(size=30), "arm": ["a", "b", "c"] * 10})
    contrasts = {"b - c": {"arm[T.b]": 1.0, "arm[T.c]": -1.0}}
    model = Model(name="m", formula="y ~ arm", filter="arm != 'c'", contrasts=contrasts)
    row = regression.fit(model, frame).row("b - c")
    assert np.isnan(row["coefficient"])
    assert row["note"] == "nobody at arm[T.c]: not estimable"
    whole = regression.fit(replace(model, filter=""), frame).row("b - c")
    assert np.isfinite(whole["coefficient"])
    # A level that its variable does not have is an error, not a level that nobody is at.
    levels = {"arm": {word: Level(value=word, words=(word,)) for word in "abc"}}
    wrong = replace(model, levels=levels, contrasts={"x": {"arm[T.d]": 1.0}})
    with pytest.raises(UsageError, match=r"a contrast names 'arm\[T\.d\]'"):
        regression.fit(wrong, frame)
