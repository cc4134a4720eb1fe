import math

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (pd.NA, "n/a"),
        (np.float32("nan"), "n/a"),
        (True, "True"),
        ("x", "x"),
        (12345, "12,345"),
        (-3, "\u22123"),
        (0.0, "0.000"),
        (-18.0421, "\u221218.04"),
        (612345.6, "612,346"),
        (0.00123456, "0.001235"),
        (1.5e-7, "1.500\u00d710\u207b\u2077"),
        (1731.2, "1731"),
        (-2026, "\u22122026"),
        (np.float64(2.5), "2.500"),
    ],
)
def test_a_cell_is_written_with_four_digits_and_a_true_minus(value: object, text: str) -> None:
    assert numbers.text(value) == text


def test_a_rounded_zero_has_no_minus() -> None:
    assert numbers.fixed(-0.04, 1) == "0.0"
    assert numbers.fixed(-0.06, 1) == "\u22120.1"


def test_a_missing_quantity_has_no_unit() -> None:
    assert numbers.quantity(math.nan, "ppb", 1) == "n/a"
    assert numbers.quantity(-18.04, "ppb", 1) == "\u221218.0 ppb"


@pytest.mark.parametrize(
    ("value", "text"),
    [(100.0, "100"), (-100, "\u2212100"), (25412.0, "25,412"), (58.84, "58.8"), (0.0, "0")],
)
def test_a_tick_is_brief(value: float, text: str) -> None:
    assert numbers.brief(value) == text
