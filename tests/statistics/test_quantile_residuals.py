"""Quantile residuals of every family: normal where the model is right, and not where it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from bids_qsmthal.statistics import quantile_residuals, regression
from bids_qsmthal.statistics.regression import Family, Fit, Model

FAMILIES: list[Family] = ["binomial", "poisson", "negative_binomial", "ordinal"]


def people(n: int, seed: int = 1) -> pd.DataFrame:
    """Return people with an outcome of each family, each by its own law."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, n)
    mean = np.exp(0.5 + 0.6 * x)
    latent = x + rng.logistic(0, 1, n)
    return pd.DataFrame(
        {
            "x": x,
            "binomial": (rng.random(n) < special.expit(x - 0.5)).astype(float),
            "poisson": rng.poisson(mean).astype(float),
            "negative_binomial": rng.poisson(mean * rng.gamma(1.0, 1.0, n)).astype(float),
            "ordinal": np.digitize(latent, [-1.0, 0.5, 2.0]).astype(float),
        }
    )


def fitted(outcome: str, family: Family, frame: pd.DataFrame) -> Fit:
    fit = regression.fit(Model(name="m", formula=f"{outcome} ~ x", family=family), frame)
    assert fit.fitted, fit.note
    return fit


@pytest.mark.parametrize("family", FAMILIES)
def test_residuals_are_normal_at_every_fitted_value_where_the_model_is_right(
    family: Family,
) -> None:
    expected, found = quantile_residuals.of_fit(fitted(family, family, people(1500)))
    # The 1.6 of Kolmogorov's test is p = .01.
    assert stats.kstest(found, "norm").statistic * np.sqrt(1500) < 1.6
    for part in np.array_split(np.argsort(expected), 3):
        assert abs(found[part].mean()) * np.sqrt(len(part)) < 3
        assert found[part].std() == pytest.approx(1, abs=0.1)


def test_counts_that_vary_more_than_poissons_law_allows_leave_the_line() -> None:
    _, found = quantile_residuals.of_fit(fitted("negative_binomial", "poisson", people(1500)))
    assert found.std() > 1.3


def test_a_bend_that_the_model_lacks_is_a_bend_of_the_residuals() -> None:
    frame = people(1500)
    rng = np.random.default_rng(5)
    chance = special.expit(1.5 * frame["x"] ** 2 - 1)
    frame["bent"] = (rng.random(len(frame)) < chance).astype(float)
    _, found = quantile_residuals.of_fit(fitted("bent", "binomial", frame))
    outer = frame["x"].abs() > 1
    assert found[outer].mean() - found[~outer].mean() > 0.5


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_each_residual_lies_within_the_step_of_the_law_at_its_outcome(family: Family) -> None:
    frame = people(200, seed=3)
    fit = fitted(family, family, frame)
    expected, found = quantile_residuals.of_fit(fit)
    outcome = frame[family].to_numpy()
    for level in np.unique(outcome)[:3]:
        here = outcome == level
        ends = np.array([law_of(fit, expected, level - step)[here] for step in (1, 0)])
        assert (stats.norm.cdf(found[here]) >= ends[0] - 1e-9).all()
        assert (stats.norm.cdf(found[here]) <= ends[1] + 1e-9).all()


def law_of(fit: Fit, expected: np.ndarray, level: float) -> np.ndarray:
    """Return the probability of a level or less, by sums of the law's own formula."""
    if fit.model.family == "binomial":
        return np.where(level < 0, 0.0, np.where(level < 1, 1 - expected, 1.0))
    k = np.arange(level + 1)[:, None]
    if fit.model.family == "poisson":
        terms = np.exp(k * np.log(expected) - expected - special.gammaln(k + 1))
    else:
        size = 1 / fit.alpha
        ratio = fit.alpha * expected / (1 + fit.alpha * expected)
        terms = np.exp(
            special.gammaln(k + size) - special.gammaln(size) - special.gammaln(k + 1)
            + k * np.log(ratio) + size * np.log(1 - ratio)
        )  # fmt: skip
    return terms.sum(axis=0)


def test_residuals_of_a_linear_model_are_its_own_in_the_unit_of_the_outcome() -> None:
    frame = people(60).assign(y=lambda table: 3 * table["x"] + np.sin(np.arange(60)))
    fit = regression.fit(Model(name="m", formula="y ~ x"), frame)
    expected, found = quantile_residuals.of_fit(fit)
    np.testing.assert_allclose(found, fit.residuals)
    np.testing.assert_allclose(expected + found, frame["y"])
