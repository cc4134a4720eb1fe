"""How well two readers agree: of numbers, of decisions, and of masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient of agreement with its 95% confidence interval; NaN where it is not defined."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def icc_2_1(values: NDArray[np.float64]) -> Agreement:
    """Return the intraclass correlation for absolute agreement of single readers.

    Two-way random effects, ICC(2,1) of Shrout & Fleiss (1979), doi:10.1037/0033-2909.86.2.420; the
    interval is theirs, with Satterthwaite's degrees of freedom.

    Parameters
    ----------
    values
        A row for every scan and a column for every reader, without gaps.

    Returns
    -------
    Agreement
        NaN where there are fewer than two scans or readers, or no value differs from another.
    """
    n, k = values.shape
    if n < 2 or k < 2 or np.ptp(values) == 0:
        return Agreement(math.nan, math.nan, math.nan, n)
    scans, readers, rest = _mean_squares(values)
    value = (scans - rest) / (scans + (k - 1) * rest + k * (readers - rest) / n)
    low, high = _icc_interval((scans, readers, rest), value, n, k)
    return Agreement(value, low, high, n)


def _mean_squares(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean squares of scans, of readers and of the residuals."""
    n, k = values.shape
    by_scan, by_reader = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_scan[:, None] - by_reader[None, :] + values.mean()
    return (
        k * float(by_scan.var(ddof=1)),
        n * float(by_reader.var(ddof=1)),
        float((rest**2).sum()) / ((n - 1) * (k - 1)),
    )


def _icc_interval(
    squares: tuple[float, float, float], value: float, n: int, k: int
) -> tuple[float, float]:
    scans, readers, rest = squares
    # Rounding leaves some 1e-30 of equal readers, of which the ratios below would be noise.
    if rest <= 1e-12 * scans and readers <= 1e-12 * scans:
        return 1.0, 1.0
    # Written in the mean squares themselves, so that residuals of zero divide nothing.
    a, b = k * value * readers, (n * (1 + (k - 1) * value) - k * value) * rest
    df = (k - 1) * (n - 1) * (a + b) ** 2 / ((n - 1) * a**2 + b**2)
    upper_f, lower_f = stats.f.ppf(0.975, n - 1, df), stats.f.ppf(0.975, df, n - 1)
    others = k * readers + (k * n - k - n) * rest
    low = n * (scans - upper_f * rest) / (upper_f * others + n * scans)
    high = n * (lower_f * scans - rest) / (others + n * lower_f * scans)
    return float(low), float(high)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Return Cohen's kappa of two readers' decisions about the same scans.

    Cohen (1960), doi:10.1177/001316446002000104; the interval is value ± 1.96 standard errors of
    Fleiss, Cohen & Everitt (1969), doi:10.1037/h0028106, cut at -1 and 1.

    Returns
    -------
    Agreement
        NaN where there are no scans, or both say the same single thing of all: nothing could be
        agreed by more than chance.
    """
    n = len(first)
    names = list(dict.fromkeys([*first, *second]))
    shares = np.zeros((len(names), len(names)))
    for one, other in zip(first, second, strict=True):
        shares[names.index(one), names.index(other)] += 1 / n
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    chance, seen = float(rows @ columns), float(np.trace(shares))
    # Shares of n scans are known to 1 / n at best; below this, chance is 1 but for rounding.
    if n == 0 or 1 - chance < 1e-9:
        return Agreement(math.nan, math.nan, math.nan, n)
    value = (seen - chance) / (1 - chance)
    half = 1.96 * _kappa_error(shares, value, chance, n)
    return Agreement(value, max(-1.0, value - half), min(1.0, value + half), n)


def _kappa_error(shares: NDArray[np.float64], value: float, chance: float, n: int) -> float:
    """Return the standard error of kappa, not under the assumption that it is zero."""
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    agreed = np.diag(shares)
    on = agreed @ (1 - (rows + columns) * (1 - value)) ** 2
    sums = (columns[:, None] + rows[None, :]) ** 2
    off = (1 - value) ** 2 * ((shares * sums).sum() - agreed @ np.diag(sums))
    variance = (on + off - (value - chance * (1 - value)) ** 2) / (n * (1 - chance) ** 2)
    # Equal decisions leave a zero that rounding makes negative.
    return math.sqrt(max(0.0, float(variance)))


def dice(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the overlap of two masks; 1 where both are empty.

    Twice the voxels of the same label in both, divided by the voxels of one plus those of the
    other: a left thalamus that is called right does not agree. Dice (1945), doi:10.2307/1932409.
    """
    total = np.count_nonzero(first) + np.count_nonzero(second)
    same = np.count_nonzero((first == second) & (first > 0))
    return 2 * same / total if total else 1.0
