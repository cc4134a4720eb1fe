"""Numbers as a reader wants them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence

import pandas as pd

MINUS = "\N{MINUS SIGN}"
MISSING = "n/a"


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
        return _signed(f"{int(value):,}")
    return significant(float(value))


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, never in the form 1e+05 below 1e9."""
    if not math.isfinite(value):
        return _signed(str(value))
    size = 0 if value == 0 else math.floor(math.log10(abs(value)))
    if size < -4 or size >= 9:
        return _signed(f"{value:.{digits - 1}e}")
    return fixed(value, max(0, digits - 1 - size))


def fixed(value: float, decimals: int) -> str:
    """Return a number with so many decimals and a true minus sign; no minus before zero."""
    written = f"{value:,.{decimals}f}"
    return _signed(
        # -0.04 with one decimal is -0.0, which no reader wants.
        written if any(digit in "123456789" for digit in written) else written.lstrip("-")
    )


def brief(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits and no zeros after the last: 100, 12.5."""
    written = significant(value, digits)
    return written.rstrip("0").rstrip(".") if "." in written and "e" not in written else written


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


def _signed(written: str) -> str:
    # The first only: an exponent keeps its hyphen.
    return written.replace("-", MINUS, 1) if written.startswith("-") else written
