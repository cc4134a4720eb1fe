"""How the group level writes its numbers in sentences and small tables: one home for the rules.

- p: as in the tables (``tables.print_p``), with its sign of relation.
- Correlations: two decimals, no zero before the point.
- Estimates with their interval: three significant digits each, or decimals that are given.
- Per cent: no blank before the sign, as in the tables.

Coefficients of the tables have the digits of their row (``tables.rounded``); everything else on the
page follows ``report.numbers``.
"""

from __future__ import annotations

import pandas as pd

from bids_qsmthal.report import numbers
from bids_qsmthal.statistics import tables


def p_value(p: float) -> str:
    """Return a p value for a sentence.

    >>> p_value(0.0312), p_value(0.0002)
    ('= .031', '<.001')
    """
    text = tables.print_p(p).removesuffix("*")
    return text if text.startswith(("<", ">")) else f"= {text}"


def correlation(value: float) -> str:
    """Return a correlation.

    >>> correlation(0.284)
    '.28'
    """
    text = numbers.fixed(value, 2)
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def chance(value: float) -> str:
    """Return a probability in per cent.

    >>> chance(0.683), chance(0.9991)
    ('68%', 'more than 99%')
    """
    # 100% would promise what no test can.
    return f"{100 * value:.0f}%" if value < 0.995 else "more than 99%"


def with_interval(estimate: float, low: float, high: float, *, decimals: int | None = None) -> str:
    """Return an estimate with its interval, or ``n/a`` where any of them is missing.

    >>> with_interval(1.2345, 0.1, 23.0)
    '1.23 (0.100 to 23.0)'
    """
    if any(pd.isna(value) for value in (estimate, low, high)):
        return numbers.MISSING
    first, second, third = (
        numbers.significant(float(value), 3) if decimals is None else numbers.fixed(value, decimals)
        for value in (estimate, low, high)
    )
    return f"{first} ({second} to {third})"


def significant(value: float, digits: int) -> str:
    """Return a number with so many significant digits, or ``n/a``."""
    return numbers.MISSING if pd.isna(value) else numbers.significant(float(value), digits)


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals, or ``n/a``."""
    if value is None or pd.isna(value):
        return numbers.MISSING
    return numbers.fixed(float(value), decimals)
