"""How the group level writes its numbers in sentences and small tables: one home for the rules.

- p: as in the tables (``tables.print_p``), with its sign of relation.
- Correlations and other values that cannot exceed 1: two decimals, no zero before the point.
- Estimates with their interval: three significant digits each.
- Per cent: no blank before the sign, as in the tables; change and interval with the same decimals.

Coefficients of the tables have the digits of their row (``tables.rounded``); everything else on the
page follows ``core.digits``.
"""

from __future__ import annotations

import math

import pandas as pd

from bids_qsmthal.core import digits
from bids_qsmthal.statistics import tables


def p_value(p: float) -> str:
    """Return a p value for a sentence.

    >>> p_value(0.0312), p_value(0.0002)
    ('= .031', '<.001')
    """
    text = tables.print_p(p).removesuffix("*")
    return text if text.startswith(("<", ">")) else f"= {text}"


def correlation(value: float) -> str:
    """Return a correlation, or ``n/a``.

    >>> correlation(0.284)
    '.28'
    """
    return digits.MISSING if pd.isna(value) else digits.bounded(value)


def chance(value: float) -> str:
    """Return a probability in per cent, or ``n/a``.

    >>> chance(0.683), chance(0.9991)
    ('68%', 'more than 99%')
    """
    if pd.isna(value):
        return digits.MISSING
    # 100% would promise what no test can.
    return f"{100 * value:.0f}%" if value < 0.995 else "more than 99%"


def with_interval(estimate: float, low: float, high: float) -> str:
    """Return an estimate with its interval, or ``n/a`` where any of them is missing.

    >>> with_interval(1.2345, 0.1, 23.0)
    '1.23 (0.100 to 23.0)'
    """
    return _interval([significant(value, 3) for value in (estimate, low, high)])


def correlation_with_interval(estimate: float, low: float, high: float) -> str:
    """Return a correlation with its interval, or ``n/a`` where any of them is missing.

    >>> correlation_with_interval(0.2345, 0.1, 0.5)
    '.23 (.10 to .50)'
    """
    return _interval([correlation(value) for value in (estimate, low, high)])


def alike(estimate: float, low: float, high: float) -> tuple[str, str, str]:
    """Return an estimate and the ends of its interval with the same decimals.

    Two significant digits of half the interval decide: more would be of the noise.

    >>> alike(2.57, 0.16, 5.23), alike(0.14, 3.0, 79.1)
    (('2.6', '0.2', '5.2'), ('0', '3', '79'))
    """
    half = (high - low) / 2
    known = math.isfinite(half) and half > 0
    decimals = max(0, 1 - math.floor(math.log10(half))) if known else 2
    first, second, third = (digits.fixed(value, decimals) for value in (estimate, low, high))
    return first, second, third


def _interval(texts: list[str]) -> str:
    first, second, third = texts
    return digits.MISSING if digits.MISSING in texts else f"{first} ({second} to {third})"


def significant(value: float, n_digits: int) -> str:
    """Return a number with so many significant digits, or ``n/a``."""
    return digits.MISSING if pd.isna(value) else digits.significant(float(value), n_digits)


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals, or ``n/a``."""
    if value is None or pd.isna(value):
        return digits.MISSING
    return digits.fixed(float(value), decimals)
