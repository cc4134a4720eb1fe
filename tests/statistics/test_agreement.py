from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.statistics import agreement
from tests.statistics import referee

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Ratings of six targets by four judges: table 2 of Shrout & Fleiss (1979)."""


def cohort(seed: int, n: int, k: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scans, readers = rng.normal(0, 3, (n, 1)), rng.normal(0, 1.5, (1, k))
    return 50 + scans + readers + rng.normal(0, 1, (n, k))


def test_the_icc_of_shrout_and_fleiss_with_its_interval() -> None:
    found = agreement.icc_2_1(SHROUT_FLEISS)
    # The paper has .29; psych::ICC and irr::icc print the interval .019 to .761 for these data.
    assert found.value == pytest.approx(0.2898, abs=5e-5)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.0188, 0.7611), abs=5e-5)
    assert found.n == 6


@pytest.mark.slow
def test_the_icc_is_that_of_r_s_mixed_model_and_its_mean_squares(tmp_path) -> None:
    tables = [cohort(seed, n, k) for seed, n, k in ((1, 12, 3), (2, 30, 2), (3, 8, 6))]
    cases = []
    for values in tables:
        scans, readers = np.indices(values.shape).reshape(2, -1)
        long = pd.DataFrame({"scan": scans, "reader": readers, "value": values.ravel()})
        cases.append({"kind": "readers", "data": long})
    for values, answer in zip(tables, referee.ask(cases, tmp_path), strict=True):
        n, k = values.shape
        assert agreement.icc_2_1(values).value == pytest.approx(answer["icc"], rel=1e-4)
        scans, readers, rest = answer["squares"]
        by_squares = (scans - rest) / (scans + (k - 1) * rest + k * (readers - rest) / n)
        assert agreement.icc_2_1(values).value == pytest.approx(by_squares, rel=1e-9)


def test_the_interval_of_the_icc_holds_the_truth_in_95_of_100_cohorts() -> None:
    # Of scans 9, of readers 2.25, of the rest 1.
    truth = 9 / 12.25
    found = [agreement.icc_2_1(cohort(seed, 20, 8)) for seed in range(400)]
    covered = sum(one.ci_low <= truth <= one.ci_high for one in found)
    # 95% of 400, with four standard errors of their count.
    assert covered == pytest.approx(380, abs=18)


def test_a_constant_difference_of_readers_lowers_the_icc_for_absolute_agreement() -> None:
    values = np.arange(10.0)[:, None] + [0, 0]
    assert agreement.icc_2_1(values).value == pytest.approx(1)
    assert agreement.icc_2_1(values).ci_low == 1
    apart = agreement.icc_2_1(values + np.array([0, 3]))
    # Scans 55/6 a reader, readers 4.5, the rest 0: what the formula leaves.
    assert apart.value == pytest.approx((55 / 6) / (55 / 6 + 4.5))
    assert math.isfinite(apart.ci_low)


@pytest.mark.parametrize("values", [np.ones((5, 2)), np.arange(2.0)[None, :], np.empty((0, 2))])
def test_an_icc_that_is_not_defined_is_no_number(values) -> None:
    assert math.isnan(agreement.icc_2_1(values).value)


def kappa_of(shares: np.ndarray) -> float:
    chance = shares.sum(axis=1) @ shares.sum(axis=0)
    return (np.trace(shares) - chance) / (1 - chance)


@pytest.mark.parametrize("counts", [[[20, 5], [10, 15]], [[9, 2, 1], [3, 14, 4], [0, 5, 22]]])
def test_kappa_and_its_error_are_those_of_the_delta_method(counts) -> None:
    table = np.array(counts, float)
    n = int(table.sum())
    pairs = [
        (one, other) for (one, other), count in np.ndenumerate(table) for _ in range(int(count))
    ]
    found = agreement.cohen_kappa(*zip(*pairs, strict=True))
    shares = table / n
    assert found.value == pytest.approx(kappa_of(shares))
    step = 1e-6
    slopes = np.array(
        [
            (kappa_of(shares + step * one) - kappa_of(shares - step * one)) / (2 * step)
            for one in np.eye(shares.size).reshape(-1, *shares.shape)
        ]
    )
    p = shares.ravel()
    error = math.sqrt((slopes**2 @ p - (slopes @ p) ** 2) / n)
    half = stats.norm.ppf(0.975) * error
    assert found.ci_low == pytest.approx(found.value - half, rel=1e-3)
    assert found.ci_high == pytest.approx(found.value + half, rel=1e-3)


def test_the_kappa_of_a_table_of_two_by_two() -> None:
    # .7 agreed, .5 by chance.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert agreement.cohen_kappa(first, second).value == pytest.approx(0.4)


@pytest.mark.parametrize("decisions", [[], ["include"] * 7])
def test_kappa_without_anything_to_agree_on_is_no_number(decisions) -> None:
    assert math.isnan(agreement.cohen_kappa(decisions, decisions).value)


def test_dice_tells_sides_apart() -> None:
    one = np.array([1, 1, 2, 2, 0, 0])
    assert agreement.dice(one, one) == 1
    assert agreement.dice(one, 3 - one) == 0
    assert agreement.dice(one, np.array([1, 1, 0, 0, 0, 0])) == pytest.approx(2 / 3)
    assert agreement.dice(0 * one, 0 * one) == 1
