"""The spread of most values."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

import bids_qsmthal
from bids_qsmthal.core import robust


def test_the_spread_of_a_normal_sample_is_its_standard_deviation():
    values = np.random.default_rng(0).normal(7.0, 2.5, 200_000)

    assert robust.spread(values) == pytest.approx(2.5, rel=0.01)
    assert robust.spread(values) == pytest.approx(
        median_abs_deviation(values, scale="normal"), rel=1e-5
    )


def test_a_third_of_outliers_does_not_carry_it_away():
    values = np.random.default_rng(0).normal(0.0, 1.0, 30_000)
    values[:10_000] = 1e6

    assert robust.spread(values) < 2.5


def test_deviations_are_counted_from_the_centre_that_is_handed_in():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0], np.float32)

    assert robust.spread(values) == pytest.approx(robust.NORMAL_SD * 1.0)
    assert robust.spread(values, 0.0) == pytest.approx(robust.NORMAL_SD * 3.0)


def test_columns_are_judged_each_on_its_own():
    values = np.random.default_rng(1).normal((0.0, 5.0), (1.0, 3.0), (50_000, 2))

    spreads = robust.spread_of_columns(values, np.array((0.0, 5.0)))

    np.testing.assert_allclose(spreads, (1.0, 3.0), rtol=0.02)


def test_the_factor_stands_in_one_place():
    package = Path(bids_qsmthal.__file__).parent
    found = [
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
        if abs(node.value - robust.NORMAL_SD) < 1e-3
    ]

    assert found == ["robust.py"]
