"""How numbers are written for people, on every page and in every printed table."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
MISSING = "n/a"

APART_FROM = 10_000
"""Thousands are kept apart from here on: the study prints -1731, and 42915 is hard to read."""

RAISED = str.maketrans(
    "0123456789-",
    "\N{SUPERSCRIPT ZERO}\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}"
    "\N{SUPERSCRIPT FOUR}\N{SUPERSCRIPT FIVE}\N{SUPERSCRIPT SIX}\N{SUPERSCRIPT SEVEN}"
    "\N{SUPERSCRIPT EIGHT}\N{SUPERSCRIPT NINE}\N{SUPERSCRIPT MINUS}",
)


def count(n: float) -> str:
    """Return a number of people, sessions or draws.

    >>> count(1200), count(12000)
    ('1200', '12,000')
    """
    return fixed(n, 0)


def fixed(value: float, decimals: int) -> str:
    """Return a number with so many decimals and a true minus sign; no minus before zero.

    >>> fixed(1731.4, 0), fixed(42915, 0), fixed(-0.04, 1)
    ('1731', '42,915', '0.0')
    """
    if not math.isfinite(value):
        return _signed(str(value))
    plain = f"{value:.{decimals}f}"
    # What is printed decides: 9999.6 without decimals is 10,000.
    written = f"{value:,.{decimals}f}" if abs(float(plain)) >= APART_FROM else plain
    # -0.04 with one decimal is -0.0: a direction that the printed digits do not show.
    shown = any(digit in "123456789" for digit in written)
    return _signed(written if shown else written.lstrip("-"))


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits; powers of ten below 1e-4 and from 1e9 on.

    >>> significant(0.123456), significant(1234567.0)
    ('0.1235', '1,234,567')
    """
    if not math.isfinite(value):
        return _signed(str(value))
    size = 0 if value == 0 else math.floor(math.log10(abs(value)))
    if size < -4 or size >= 9:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return _signed(f"{mantissa}\N{MULTIPLICATION SIGN}10{str(int(power)).translate(RAISED)}")
    return fixed(value, max(0, digits - 1 - size))


def bounded(value: float, decimals: int = 2) -> str:
    """Return what cannot be above 1 (a p, a correlation, a power) without a zero before the point.

    >>> bounded(0.284), bounded(1.0)
    ('.28', '1.00')
    """
    text = fixed(value, decimals)
    return text.replace("0.", ".", 1) if text.lstrip(MINUS).startswith("0.") else text


def _signed(written: str) -> str:
    return written.replace("-", MINUS, 1) if written.startswith("-") else written
