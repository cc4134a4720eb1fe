"""Spread of most values, whatever the rest are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NORMAL_SD = 1.4826
"""SD of a normal sample over its median absolute deviation: 1 / (normal quantile of 3/4)."""


def spread(values: NDArray[Any], centre: float | None = None) -> float:
    """Return the standard deviation that most values have, by the median absolute deviation.

    Up to half of the values may be outliers (Rousseeuw and Croux 1993,
    doi 10.1080/01621459.1993.10476408).

    Parameters
    ----------
    values
        Any shape, not empty.
    centre
        What deviations are counted from; the median by default.
    """
    # The median absolute deviation of a constant is 0: who divides by it needs a floor.
    middle = float(np.median(values)) if centre is None else centre
    return NORMAL_SD * float(np.median(np.abs(values - middle)))


def spread_of_columns(values: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.float64]:
    """Return the same for each column of values, shape (n, columns), about centres (columns,)."""
    spreads: NDArray[np.float64] = NORMAL_SD * np.median(np.abs(values - centres), axis=0)
    return spreads
