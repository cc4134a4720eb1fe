"""Tables: odds ratios as such, n in every cell, and no result of one participant as a group's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import (
    design,
    diagnostics,
    longitudinal,
    mediation,
    regression,
    sensitivity,
    tables,
)
from bids_qsmthal.statistics.levels import Level, Vocabulary
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question, Specification
from bids_qsmthal.statistics.tables import ModelTable, Row

LEVELS = {"sex": {"female": Level(0.0, ("f", "female")), "male": Level(1.0, ("m", "male"))}}


def people(n: int = 95) -> pd.DataFrame:
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"x": rng.normal(size=n), "age": rng.uniform(20, 60, n)})
    frame["sex"] = np.arange(n) % 2.0
    frame["y"] = frame["x"] + 0.1 * frame["age"] + rng.normal(size=n)
    # Two by two: 30 of 50 who are exposed fall ill, 9 of 45 of the others; odds ratio 6 by hand.
    frame["exposed"] = (np.arange(n) < 50).astype(float)
    frame["sick"] = np.where(np.arange(n) < 50, np.arange(n) < 30, np.arange(n) < 59).astype(float)
    frame["participant_id"] = [f"sub-{place:02d}" for place in range(n)]
    return frame


def table(*rows: Row) -> ModelTable:
    return ModelTable(name="t", title="T", rows=rows)


def test_a_logistic_line_prints_the_odds_ratio_and_the_events() -> None:
    model = Model(name="m", formula="sick ~ exposed", family="binomial")
    fits = {"m": regression.fit(model, people())}
    wanted = table(Row(label="Exposure", term="exposed", adjusted="m"))
    numbers = tables.numbers(wanted, fits)
    printed = tables.printed(wanted, numbers).iloc[0]
    ratio = (30 / 20) / (9 / 36)
    # Woolf's interval: the variance of the log odds ratio is the sum of 1/count.
    reach = 1.959964 * np.sqrt(1 / 30 + 1 / 20 + 1 / 9 + 1 / 36)
    low, high = np.exp(np.log(ratio) + np.array([-reach, reach]))
    assert printed["Adjusted coefficient"] == "6.00 (odds ratio)"
    assert printed["Adjusted 95% CI"] == f"{low:.2f} to {high:.2f}"
    assert printed["Adjusted n"] == "95 (39 events)"
    assert numbers["coefficient_adjusted"].iloc[0] == pytest.approx(np.log(ratio), rel=1e-8)
    assert list(numbers["effect_adjusted"]) == ["log odds ratio"]
    assert list(numbers["n_events_adjusted"]) == [39]


def test_every_cell_has_its_own_n() -> None:
    frame = people()
    frame.loc[:4, "age"] = np.nan
    fits = {
        name: regression.fit(Model(name=name, formula=formula), frame)
        for name, formula in {"alone": "y ~ x", "all": "y ~ x + age"}.items()
    }
    wanted = table(Row(label="X", term="x", unadjusted="alone", adjusted="all"))
    printed = tables.printed(wanted, tables.numbers(wanted, fits)).iloc[0]
    assert (printed["Unadjusted n"], printed["Adjusted n"]) == ("95", "90")


def test_grouped_models_are_filtered_by_the_words_of_their_levels() -> None:
    frame = people()
    model = Model(name="m", formula="y ~ x", filter="age < 55", group_by=("sex",), levels=LEVELS)
    parts = regression.grouped(model, frame)
    assert [part.filter for part in parts] == [
        "sex == 'female' and (age < 55)",
        "sex == 'male' and (age < 55)",
    ]
    assert tuple(part.name for part in parts) == regression.possible_parts(model)
    counts = [regression.fit(part, frame).design.n for part in parts]
    assert counts == [int(((frame["age"] < 55) & (frame["sex"] == sex)).sum()) for sex in (0, 1)]


def test_filters_of_sensitivity_and_of_change_over_time_know_the_words() -> None:
    frame = people()
    model = Model(name="m", formula="y ~ x", filter="sex != 'male'", levels=LEVELS)
    rows = sensitivity.explore(
        [Question(adjusted=model, term="x")],
        frame,
        [Specification(name="young", kind="sample", filter="sex in ['F'] and age < 40")],
        Resampling(n_permutations=99, n_bootstraps=1000),
    ).set_index("specification")
    women = frame["sex"] == 0
    assert rows.loc["as in the table", "n"] == women.sum()
    assert rows.loc["young", "n"] == (women & (frame["age"] < 40)).sum()
    visits = pd.concat([frame.assign(years=0.0), frame.assign(years=1.0)], ignore_index=True)
    visits["y"] += np.random.default_rng(1).normal(size=len(visits))
    change = MixedModel(name="m", formula="y ~ years", filter="sex == 'Female'", levels=LEVELS)
    assert longitudinal.fit(change, visits)["n_participants"].iloc[0] == women.sum()


def test_a_contrast_may_name_the_words_of_coded_levels() -> None:
    frame = people()
    model = Model(
        name="m", formula="y ~ C(sex) - 1", levels=LEVELS,
        contrasts={"men - women": {"C(sex)[male]": 1.0, "C(sex)[female]": -1.0}},
    )  # fmt: skip
    means = frame.groupby("sex")["y"].mean()
    found = regression.fit(model, frame).row("men - women")["coefficient"]
    assert found == pytest.approx(means[1.0] - means[0.0])


def test_the_reference_level_is_the_one_that_others_are_compared_with() -> None:
    frame = people().assign(arm=lambda d: np.where(d["sex"] == 1, "drug", "none"))
    levels = {
        "arm": {"none": Level("none", ("none",), is_reference=True), "drug": Level("drug", ())}
    }
    made = design.build("y ~ arm", frame, levels=levels)
    assert made.names == ("Intercept", "arm[T.drug]")
    assert design.build("y ~ arm", frame).names == ("Intercept", "arm[T.none]")


def test_one_carrier_of_a_level_is_no_result_of_a_group() -> None:
    frame = people().assign(rare=0.0)
    frame.loc[7, "rare"] = 1.0
    fit = regression.fit(Model(name="m", formula="y ~ rare + x + age"), frame)
    assert "depends on one participant alone" in fit.row("rare")["note"]
    for term in ("Intercept", "x", "age"):
        assert fit.row(term)["note"] == ""
    examined = diagnostics.examine(fit, frame["participant_id"])
    assert examined["largest_leverage"] == pytest.approx(1)
    assert examined["decided_alone"] == "rare (sub-07)"
    assert examined["n_findings"] == 1
    assert "one participant alone decides rare (sub-07)" in str(examined["advice"])
    assert examined["most_influential"] != "sub-07"
    two = people().assign(rare=0.0)
    two.loc[[7, 8], "rare"] = 1.0
    assert regression.fit(Model(name="m", formula="y ~ rare"), two).row("rare")["note"] == ""


@pytest.mark.parametrize("formula", ["y ~ C(sex) + x + age - 1", "y ~ x + age - 1"])
def test_a_model_without_an_intercept_is_examined_as_the_model_it_is(formula: str) -> None:
    frame = people()
    fit = regression.fit(Model(name="m", formula=formula), frame)
    examined = diagnostics.examine(fit, frame["participant_id"])
    import statsmodels.formula.api as smf  # noqa: PLC0415 - the referee of this test alone

    referee = smf.ols(formula, frame).fit().get_influence()
    cooks = referee.cooks_distance[0]
    assert examined["most_influential"] == frame["participant_id"][int(np.argmax(cooks))]
    assert examined["largest_leverage"] == pytest.approx(referee.hat_matrix_diag.max())


def test_a_mediation_compares_with_the_reference_level_as_the_models_do() -> None:
    frame = people().assign(arm=lambda d: np.where(d["sex"] == 1, "drug", "none"))
    levels = {
        "arm": {"none": Level("none", ("none",), is_reference=True), "drug": Level("drug", ())}
    }
    path = Mediation(name="m", cause="arm", mediator="x", outcome="y", levels=levels)
    total = mediation.fit(path, frame, SMALL).set_index("path")["coefficient"]["total (c)"]
    means = frame.groupby("arm")["y"].mean()
    assert total == pytest.approx(means["drug"] - means["none"])


SMALL = Resampling(n_bootstraps=100)


def test_a_mediation_does_not_depend_on_how_a_term_is_spelled() -> None:
    frame = people().assign(dose=lambda d: d["age"], edss=lambda d: d["x"] + 0.2 * d["age"])
    found = [
        mediation.fit(
            Mediation(name="m", cause=cause, mediator="x", outcome="edss"), frame, SMALL
        ).set_index("path")["coefficient"]
        for cause in ("log( dose )", "log(dose)", " log(dose)")
    ]
    assert found[0]["total (c)"] == found[1]["total (c)"] == found[2]["total (c)"]
    slope = np.polyfit(np.log(frame["dose"]), frame["edss"], 1)[0]
    assert found[0]["total (c)"] == pytest.approx(slope)


@pytest.mark.parametrize(
    ("cause", "mediator", "note"),
    [
        ("poly(age, 2)", "x", "'poly(age, 2)' makes 2 columns: a path needs a single one"),
        ("arm", "x", "'arm' makes 2 columns: a path needs a single one"),
        ("age", "word", "'word' holds words: a mediator must be a number"),
    ],
)
def test_a_path_that_is_no_single_number_is_not_fitted_and_says_why(
    cause: str, mediator: str, note: str
) -> None:
    frame = people(90).assign(arm=["a", "b", "c"] * 30, word=["u", "v"] * 45)
    path = Mediation(name="m", cause=cause, mediator=mediator, outcome="y")
    assert list(mediation.fit(path, frame, SMALL)["note"]) == [note]


def test_a_cause_of_two_words_is_the_difference_between_them() -> None:
    frame = people().assign(arm=lambda d: np.where(d["sex"] == 1, "b", "a"))
    path = Mediation(name="m", cause="arm", mediator="x", outcome="y")
    table = mediation.fit(path, frame, SMALL).set_index("path")
    means = frame.groupby("arm")["y"].mean()
    assert table.loc["total (c)", "coefficient"] == pytest.approx(means["b"] - means["a"])


@pytest.mark.parametrize(
    ("cause", "reference", "said", "sign"),
    [
        ("arm", "", "arm: b compared with a; ", 1),
        ("arm", "b", "arm: a compared with b; ", -1),
        ("C(sex)", "", "sex: male compared with female; ", 1),
        ("sex", "", "", 1),
    ],
)
def test_a_mediation_says_which_level_of_its_cause_is_compared_with_which(
    cause: str, reference: str, said: str, sign: int
) -> None:
    frame = people().assign(arm=lambda d: np.where(d["sex"] == 1, "b", "a"))
    levels: Vocabulary = {
        "arm": {w: Level(w, (w,), is_reference=w == reference) for w in ("a", "b")},
        "sex": {"female": Level(0.0, ("f",)), "male": Level(1.0, ("m",))},
    }
    path = Mediation(name="m", cause=cause, mediator="x", outcome="y", levels=levels)
    table = mediation.fit(path, frame, SMALL).set_index("path")
    means = frame.groupby("sex")["y"].mean()
    total = table.loc["total (c)", "coefficient"]
    assert total == pytest.approx(sign * (means[1.0] - means[0.0]))
    assert set(table["note"]) == {f"percentile bootstrap; {said}{mediation.CAUTION}"}


def test_a_random_slope_on_words_is_refused_in_one_line() -> None:
    frame = people().assign(arm="a", years=0.0)
    with pytest.raises(UsageError, match="a random slope needs numbers; arm holds words"):
        longitudinal.fit(MixedModel(name="m", formula="y ~ years", random_slopes=("arm",)), frame)
