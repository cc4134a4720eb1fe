"""The published study beside the data: what its printed numbers stand for, and the comparison."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.group import analysis_file
from bids_qsmthal.statistics import power, published, regression
from bids_qsmthal.statistics.published import Reading, Study, Value
from bids_qsmthal.statistics.regression import Fit, Model
from tests import cohorts

AGE = Value(
    model="age", term="age", place="Table 2, age", coefficient="0.19",
    interval=("-0.037", "0.42"), p=".099", covariates=0,
)  # fmt: skip
STUDY = Study(name="S", doi="10.3174/ajnr.A5537", n=95, entries=(AGE,), open_direction="chi")


def fit_of(frame: pd.DataFrame) -> dict[str, Fit]:
    return {"age": regression.fit(Model(name="age", formula="chi ~ age"), frame)}


def compared(frame: pd.DataFrame, study: Study = STUDY) -> pd.DataFrame:
    return published.compare([study], fit_of(frame)).set_index("reading")


def test_a_printed_interval_gives_the_p_that_is_printed_beside_it() -> None:
    theirs = published.estimate_of(AGE, 95)
    p = 2 * stats.t.sf(abs(theirs.coefficient / theirs.error), theirs.df)
    assert round(p, 2) == 0.10
    assert theirs.n_effective == 95
    assert published.estimate_of(replace(AGE, covariates=4), 95).n_effective == 91


def test_a_cohort_with_the_published_statistics_does_not_differ_from_them() -> None:
    line = compared(cohorts.published()).loc[Reading.AS_HERE]
    assert abs(line["z"]) < 0.02
    assert line["published_r"] == pytest.approx(line["partial_r"], abs=0.003)
    assert line["power_there"] == pytest.approx(line["power_here"], abs=0.01)


def test_the_difference_has_the_error_of_two_independent_samples() -> None:
    frame = cohorts.simulated(40, np.random.default_rng(2), {"age": 0.5})
    line = compared(frame).loc[Reading.AS_HERE]
    fit = fit_of(frame)["age"].row("age")
    theirs = (0.42 + 0.037) / 2 / 1.985802
    error = math.hypot(fit["standard_error"], theirs)
    assert line["difference"] == pytest.approx(fit["coefficient"] - 0.19)
    assert line["z"] == pytest.approx((fit["coefficient"] - 0.19) / error, rel=1e-6)
    # Two samples of 95 and 40: Student's t of at least 38 degrees of freedom, nearly normal.
    reach = (line["difference_ci_high"] - line["difference_ci_low"]) / 2
    assert 1.95 * error < reach < 2.03 * error


def test_the_difference_of_samples_from_one_population_is_significant_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    draws, hits = 600, 0
    for _ in range(draws):
        theirs, ours = simple(rng, 95), simple(rng, 12)
        value = Value(
            model="m", term="x", place="P", coefficient=f"{theirs['coefficient']:.9f}",
            interval=(f"{theirs['ci_low']:.9f}", f"{theirs['ci_high']:.9f}"), p=".5", covariates=0,
        )  # fmt: skip
        study = Study(name="S", doi="", n=95, entries=(value,))
        line = published._line(study, value, Reading.AS_HERE, Fixed(ours))
        hits += line["p_difference"] < 0.05
    assert abs(hits / draws - 0.05) < 3 * math.sqrt(0.05 * 0.95 / draws)


def simple(rng: np.random.Generator, n: int) -> dict[str, object]:
    """Return the row of a regression with one predictor, by its closed form."""
    x, noise = rng.normal(size=n), rng.normal(size=n)
    found = stats.linregress(x, 0.3 * x + noise)
    reach = stats.t.ppf(0.975, n - 2) * found.stderr
    return {
        "term": "x", "outcome": "y", "coefficient": found.slope, "standard_error": found.stderr,
        "ci_low": found.slope - reach, "ci_high": found.slope + reach, "p": found.pvalue, "n": n,
        "partial_r": found.rvalue, "df_residual": n - 2, "note": "",
    }  # fmt: skip


class Fixed:
    """A fit that has one row."""

    def __init__(self, row: dict[str, object]) -> None:
        self._row = row

    def row(self, term: str) -> dict[str, object]:
        assert term == self._row["term"]
        return self._row


def test_turning_the_sign_turns_value_interval_and_correlation_and_nothing_else() -> None:
    frame = cohorts.simulated(60, np.random.default_rng(3), {"age": 0.2})
    lines = compared(frame)
    here, turned = lines.loc[Reading.AS_HERE], lines.loc[Reading.TURNED]
    assert turned["published"] == -0.19
    assert (turned["published_ci_low"], turned["published_ci_high"]) == (-0.42, 0.037)
    assert turned["published_r_low"] == -here["published_r_high"]
    # Our sign turned instead gives the same distance.
    mirrored = compared(frame.assign(chi=-frame["chi"])).loc[Reading.AS_HERE]
    assert turned["z"] == pytest.approx(-mirrored["z"])
    for name in ("published_p", "coefficient", "partial_r", "power_there", "power_here"):
        assert turned[name] == here[name]
    assert list(compared(frame, replace(STUDY, open_direction="dmt")).index) == [Reading.AS_HERE]


def test_the_power_is_that_of_a_correlation_at_the_others_number_of_participants() -> None:
    line = compared(cohorts.simulated(400, np.random.default_rng(3), {"age": 0.2})).iloc[0]
    assert line["power_there"] == pytest.approx(power.of_correlation(line["partial_r"], 95))
    assert line["power_here"] == pytest.approx(power.of_correlation(line["published_r"], 400))


def test_an_interval_that_was_rounded_coarsely_says_so() -> None:
    coarse = replace(AGE, coefficient="-0.0007", interval=("-0.003", "0.002"), p=".62")
    line = compared(cohorts.published(), replace(STUDY, entries=(coarse,))).iloc[0]
    assert line["note"] == "the printed interval is rounded to 20 % of its half width"
    assert compared(cohorts.published()).iloc[0]["note"] == ""


def test_what_a_paper_prints_may_contradict_itself() -> None:
    # Chiang et al. 2018, Table 2 and text: by hand the half width of 0.27 (0.031 to 0.52) is 0.2418
    # to 0.2445, so t of 89 degrees of freedom is 2.23 to 2.25 and p .0272 to .0279.
    age = replace(
        AGE, coefficient="0.27", interval=("0.031", "0.52"), p=".02", covariates=4, place="T"
    )
    smallest, largest = published.p_range(age, 95) or (0, 0)
    assert (smallest, largest) == pytest.approx((0.0272, 0.0279), abs=5e-5)
    says = "the printed coefficient and interval give p .0272 to .0279, not .02"
    line = compared(cohorts.published(), replace(STUDY, entries=(age,))).iloc[0]
    assert line["note"] == says
    assert published.contradiction(replace(age, p=".028"), 95) == ""
    aside = replace(age, coefficient="0.25")
    assert "not in the middle" in published.contradiction(aside, 95)


def test_no_rounding_of_a_true_result_is_a_contradiction() -> None:
    rng = np.random.default_rng(6)
    for _ in range(300):
        n = int(rng.integers(8, 200))
        b, error = rng.normal(0, 2), rng.uniform(0.2, 2)
        reach = stats.t.ppf(0.975, n - 2) * error
        p = 2 * stats.t.sf(abs(b) / error, n - 2)
        decimals, of_p = rng.integers(1, 4, 2)
        value = replace(
            AGE, coefficient=f"{b:.{decimals}f}", p=f"{p:.{of_p}f}",
            interval=(f"{b - reach:.{decimals}f}", f"{b + reach:.{decimals}f}"),
        )  # fmt: skip
        assert published.contradiction(value, n) == ""


def test_of_the_studys_own_values_one_contradicts_itself() -> None:
    (study,) = analysis_file.read(None).published
    wrong = [value.place for value in study.entries if published.contradiction(value, study.n)]
    assert wrong == ["Table 2, age, after adjustment"]


def test_a_value_without_a_counterpart_here_stands_alone() -> None:
    frame = cohorts.published().head(2)
    line = compared(frame).iloc[0]
    assert line["published"] == 0.19
    assert math.isnan(line["z"])
    assert "too few participants" in line["note"]
