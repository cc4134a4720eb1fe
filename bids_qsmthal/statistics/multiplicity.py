"""Several tests at once: adjusted p values beside the raw ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats


def adjust(p: pd.Series[float]) -> pd.DataFrame:
    """Return ``p_holm`` and ``p_fdr`` of a family of tests; missing ones are not counted.

    References
    ----------
    Holm (1979). Scand J Statist 6(2), 65-70. https://www.jstor.org/stable/4615733
    Benjamini & Hochberg (1995). J R Stat Soc B 57(1), 289-300.
    doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    adjusted = pd.DataFrame({"p_holm": np.nan, "p_fdr": np.nan}, index=p.index)
    # A model that was not fitted tested nothing, so it must not make the others pay.
    known = p.notna()
    if known.any():
        adjusted.loc[known, "p_holm"] = _holm(np.asarray(p[known], dtype=np.float64))
        adjusted.loc[known, "p_fdr"] = stats.false_discovery_control(p[known])
    return adjusted


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p values adjusted by Holm's steps.

    statsmodels has them, too, but collects garbage in each call: 0.2 s beside large tables.
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
