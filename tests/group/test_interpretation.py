"""What the page says about numbers: odds as odds, nulls as nulls, counts of what differs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.group import analysis_file, interpretation
from bids_qsmthal.statistics import normality, power, regression, sensitivity, tables
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.sensitivity import Question, Specification
from bids_qsmthal.statistics.tables import ModelTable, Row

ANALYSIS = replace(analysis_file.read(None), sensitivity=None)


def people(n: int = 95) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"chi": rng.normal(-29, 11, n), "age": rng.uniform(20, 60, n)})
    risk = 1 / (1 + np.exp(-0.08 * (frame["chi"] + 29)))
    return frame.assign(enhancing=(rng.random(n) < risk).astype(float))


def read(model: Model, term: str = "chi") -> tuple[str, pd.Series]:
    wanted = ModelTable(name="t", title="T", rows=(Row(label="Line", term=term, adjusted="m"),))
    numbers = tables.numbers(wanted, {"m": regression.fit(model, people())})
    return interpretation.read_row(wanted.rows[0], numbers.iloc[0], ANALYSIS), numbers.iloc[0]


def test_a_log_odds_ratio_is_read_as_odds() -> None:
    text, line = read(Model(name="m", formula="enhancing ~ chi", family="binomial"))
    ratio = float(np.exp(line["coefficient_adjusted"]))
    assert f"the odds of presence of enhancing lesions were {ratio:.2f} times as high" in text
    assert "larger" not in text
    assert "smaller" not in text
    events = int(line["n_events_adjusted"])
    assert f"n = 95 ({events} events)" in text


@pytest.mark.parametrize("n", [95, 3])
def test_a_logarithm_is_read_in_per_cent_where_its_interval_says_something(n: int) -> None:
    frame = people(n)
    # Of three people the slope is unsure by a factor of thousands.
    frame["lesion_volume"] = np.exp(np.random.default_rng(4).normal(1, 1.5, n))
    frame["chi"] /= 1 if n == 95 else 20
    wanted = ModelTable(name="t", title="T", rows=(Row(label="Line", term="chi", adjusted="m"),))
    fit = regression.fit(Model(name="m", formula="log(lesion_volume) ~ chi"), frame)
    line = tables.numbers(wanted, {"m": fit}).iloc[0]
    text = interpretation.read_row(wanted.rows[0], line, ANALYSIS)
    end = f"{100 * math.expm1(line['ci_high_adjusted']):.1f}%"
    if n == 95:
        assert f" to {end}, p" in text
    else:
        assert len(end) > 6
        assert "%" not in text.replace("95%", "")
        assert "logarithm of white matter T2 lesion volume differed by" in text


def test_a_difference_keeps_its_words() -> None:
    text, line = read(Model(name="m", formula="chi ~ age"), "age")
    size = tables.rounded(line["coefficient_adjusted"], Row(label="", term=""))
    assert f"relative susceptibility of the thalami differed by {size} ppb" in text


def test_ninety_five_participants_find_a_correlation_of_28_hundredths_whatever_models_there_are(
) -> None:  # fmt: skip
    rows = power.table({"adjusted": (95, 5), "alone": (95, 0), "few": (40, 0), "more": (95, 4)})
    assert "95 participants give 80% power to find a correlation of .28" in (
        interpretation.read_power(rows)
    )


def test_a_test_that_finds_nothing_is_no_evidence_of_a_normal_distribution() -> None:
    values = pd.Series(np.random.default_rng(1).normal(50, 9, 60), name="age")
    text = interpretation.read_normality(normality.ladder(values), ANALYSIS)
    assert "no evidence against a normal distribution" in text
    assert "do not depart" not in text


def test_powers_that_need_positive_values_are_said_to_be_untried() -> None:
    values = pd.Series(np.random.default_rng(1).exponential(9, 60), name="age")
    whole = interpretation.read_normality(normality.ladder(values), ANALYSIS)
    assert "nearest to normal on the ladder is log." in whole
    values[:4] = 0
    text = interpretation.read_normality(normality.ladder(values), ANALYSIS)
    assert (
        "nothing on the ladder is nearer to normal, of those that could be tried: 4 of 60 values "
        "are not positive."
    ) in text


def test_the_same_estimate_counts_once() -> None:
    rows = sensitivity.explore(
        [Question(adjusted=Model(name="m", formula="chi ~ age"), term="age")],
        people(),
        [Specification(name="all", kind="sample", filter="age > 0")],
        Resampling(n_permutations=99, n_bootstraps=1000),
    )
    assert len(rows) == 7
    text = interpretation.read_sensitivity(rows, ANALYSIS)
    assert "by age (model m): 2 different estimates" in text


def test_other_regions_are_told_apart_from_other_choices() -> None:
    names = [sensitivity.MAIN, "median", "right", "putamen", "caudate", "pallidum", "cortex"]
    rows = pd.DataFrame(
        {
            "model": "m", "term": "age", "outcome": "chi", "specification": names,
            "kind": ["model", "measure", "measure", *["region"] * 4],
            "coefficient": [1.0, 2.0, -1.0, 3.0, -2.0, -1.0, np.nan],
            "p": [0.01, 0.02, 0.5, 0.03, 0.04, 0.6, np.nan],
            "distinct": [1, 1, 1, 0, 0, 0, 0],
        }
    )  # fmt: skip
    text = interpretation.read_sensitivity(rows, ANALYSIS)
    assert "3 different estimates; same sign in 2, p below .05 in 2. Of 3 other regions, " in text
    assert "not counted here, 1 has the same sign and 2 have p below .05." in text
    # Against the table and not against what happens to come first.
    rows.loc[0, ["coefficient", "p"]] = np.nan
    assert "too few participants" in interpretation.read_sensitivity(rows, ANALYSIS)


def test_who_changed_stands_beside_what_chance_would_give() -> None:
    rows = pd.DataFrame({"model": ["a"] * 40 + ["b"], "reliable": ["no"] * 41})
    rows.loc[:2, "reliable"] = "increase"
    rows.loc[3, "reliable"] = "decrease"
    text = interpretation.read_reliable_change(rows)
    assert "a: of 40 participants with two dated sessions or more, 3 increased and 1 de" in text
    assert "if nobody changed, about 2.0 would" in text
    assert "b: of 1 participants" not in text
