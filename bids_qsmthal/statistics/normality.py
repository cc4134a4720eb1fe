"""Tests of normality and Tukey's ladder of powers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.core.digits import count

Floats = NDArray[np.float64]

LADDER: dict[str, Callable[[Floats], Floats]] = {
    "cubic": lambda y: y**3,
    "square": lambda y: y**2,
    "identity": lambda y: y,
    "square root": np.sqrt,
    "log": np.log,
    "1/square root": lambda y: 1 / np.sqrt(y),
    "inverse": lambda y: 1 / y,
    "1/square": lambda y: 1 / y**2,
    "1/cubic": lambda y: 1 / y**3,
}
"""Tukey's ladder from its top rung down, the rungs of STATA's ``ladder``."""

# The root of 0 exists. It is refused, too, so that all of these are possible for the same data.
NEEDS_POSITIVE = frozenset(LADDER) - {"cubic", "square", "identity"}

SMALLEST_SAMPLE = 8
"""D'Agostino's approximation of the distribution of skewness holds from here on."""

COLUMNS = [
    "variable", "transform", "n", "skewness", "kurtosis", "p_skewness", "p_kurtosis",
    "k_squared", "p", "k_squared_adjusted", "p_adjusted", "w", "p_shapiro", "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkewnessKurtosis:
    """The omnibus test of D'Agostino and its parts."""

    skewness: float
    kurtosis: float
    p_skewness: float
    p_kurtosis: float
    k_squared: float
    p: float
    k_squared_adjusted: float
    p_adjusted: float


def skewness_kurtosis(values: Floats) -> SkewnessKurtosis:
    r"""Return :math:`K^2 = Z_1(\sqrt{b_1})^2 + Z_2(b_2)^2`, as it is and adjusted.

    The adjusted figure is what STATA's ``sktest`` and ``ladder`` print.

    References
    ----------
    D'Agostino, Belanger & D'Agostino (1990). Am Stat 44(4), 316-321. doi:10.2307/2684359
    Royston (1991). sg3.5: Comment on sg3.4 and an improved D'Agostino test. Stata Technical
    Bulletin 3, 23-24.
    """
    with warnings.catch_warnings():
        # Below 20 values the kurtosis part is approximate; the table says so in its note.
        warnings.filterwarnings("ignore", message=".*kurtosistest")
        z_skewness, p_skewness = stats.skewtest(values)
        z_kurtosis, p_kurtosis = stats.kurtosistest(values)
    k_squared = float(z_skewness**2 + z_kurtosis**2)
    p_adjusted = _royston(k_squared, len(values))
    return SkewnessKurtosis(
        # Moment estimates with n below, not n - 1: the tests are made for these.
        skewness=float(stats.skew(values)),
        kurtosis=float(stats.kurtosis(values, fisher=False)),
        p_skewness=float(p_skewness),
        p_kurtosis=float(p_kurtosis),
        k_squared=k_squared,
        p=float(stats.chi2.sf(k_squared, 2)),
        # Computed back from p, so that it may be read as chi-squared with two degrees of freedom.
        k_squared_adjusted=float(stats.chi2.isf(p_adjusted, 2)),
        p_adjusted=p_adjusted,
    )


def ladder(values: pd.Series[float]) -> pd.DataFrame:
    """Return one row a rung of the ladder of powers, with its tests.

    ``kurtosis`` is 3 for a normal distribution. Rungs that need positive values are flagged
    where there are others, rather than shifting the data.
    """
    known = np.asarray(values.dropna(), dtype=np.float64)
    rows = [
        {"variable": str(values.name), "transform": rung, "n": len(known)} | _test(known, rung)
        for rung in LADDER
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def best_rung(rungs: pd.DataFrame) -> str:
    """Return the rung with the smallest test statistic, or nothing where none could be tested."""
    tested = rungs.dropna(subset=["k_squared_adjusted"])
    if tested.empty:
        return ""
    return str(tested.sort_values("k_squared_adjusted")["transform"].iloc[0])


def transform(values: Floats, rung: str) -> Floats:
    """Return the values on a rung of the ladder."""
    return LADDER[rung](values)


def why_not(values: Floats, rung: str) -> str:
    """Return why a rung cannot be tested, or nothing."""
    if len(values) < SMALLEST_SAMPLE:
        return f"too few values: {len(values)}, the test needs {SMALLEST_SAMPLE}"
    if np.ptp(values) == 0:
        return "all values are the same"
    if rung in NEEDS_POSITIVE and values.min() <= 0:
        n = int((values <= 0).sum())
        return f"{count(n)} of {count(len(values))} values are not positive"
    return ""


def _test(values: Floats, rung: str) -> dict[str, object]:
    reason = why_not(values, rung)
    if reason:
        return {"note": reason}
    # A power of large numbers may overflow; the tests ignore scale, so divide by it first.
    changed = transform(values / np.abs(values).mean(), rung)
    test = skewness_kurtosis(changed)
    n = len(changed)
    # The approximation of its p is fitted to 3 to 5000 values (Royston 1995, doi:10.2307/2986146).
    w, p_shapiro = stats.shapiro(changed) if n <= 5000 else (np.nan, np.nan)
    return {
        "skewness": test.skewness,
        "kurtosis": test.kurtosis,
        "p_skewness": test.p_skewness,
        "p_kurtosis": test.p_kurtosis,
        "k_squared": test.k_squared,
        "p": test.p,
        "k_squared_adjusted": test.k_squared_adjusted,
        "p_adjusted": test.p_adjusted,
        "w": float(w),
        "p_shapiro": float(p_shapiro),
        "note": _caution(n),
    }


def _caution(n: int) -> str:
    if n < 20:
        return "p_kurtosis is approximate below 20 values"
    return "Shapiro-Wilk is valid for up to 5000 values" if n > 5000 else ""


def _royston(k_squared: float, n: int) -> float:
    """Return the adjusted probability (Royston 1991)."""
    log_n = np.log(n)
    # The normal deviate whose upper tail is that of chi-squared with two degrees of freedom.
    deviate = float(stats.norm.isf(np.exp(-k_squared / 2)))
    turn = 0.55 * n**0.2 - 0.21
    # Constants of Royston (1991), as in the ado file of STATA's sktest; fitted to simulations.
    a1 = (-5 + 3.46 * log_n) * np.exp(-1.37 * log_n)
    b1 = 1 + (0.854 - 0.148 * log_n) * np.exp(-0.55 * log_n)
    b2_step = 2.13 / (1 - 2.37 * log_n)
    # Three pieces: no change in the lower tail, then two straight lines that meet at the turn.
    if deviate < -1:
        adjusted = deviate
    elif deviate < turn:
        adjusted = a1 + b1 * deviate
    else:
        adjusted = a1 - b2_step * turn + (b2_step + b1) * deviate
    return float(stats.norm.sf(adjusted))
