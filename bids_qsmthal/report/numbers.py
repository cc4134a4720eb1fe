"""Numbers as a reader wants them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence

import pandas as pd

from bids_qsmthal.core.digits import MINUS, MISSING, count, fixed, significant

__all__ = ["MINUS", "MISSING", "aligned", "brief", "fixed", "quantity", "significant", "text"]

TIMES = "\N{MULTIPLICATION SIGN}"


def text(value: object) -> str:
    """Return a table cell: four significant digits, thousands kept apart, ``n/a`` for missing."""
    # By identity: a comparison with NA is neither true nor false.
    if value is None or value is pd.NA or value is pd.NaT:
        return MISSING
    if isinstance(value, numbers.Real) and math.isnan(value):
        return MISSING
    # True is an integer to Python, and would become 1.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return count(int(value))
    return significant(float(value))


def brief(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits and no zeros after the last: 100, 12.5."""
    written = significant(value, digits)
    return written.rstrip("0").rstrip(".") if "." in written and TIMES not in written else written


def quantity(value: float | None, unit: str, decimals: int) -> str:
    """Return a number with its unit, or ``n/a``."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{fixed(value, decimals)} {unit}".rstrip()


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return rows as lines whose columns stand below each other.

    Parameters
    ----------
    rows
        Cells, as many in each row.
    right
        Columns that are flush right: numbers.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
