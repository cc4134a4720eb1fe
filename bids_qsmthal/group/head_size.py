"""Volumes beside the size of the head: covariate, ratio and residual."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_qsmthal.statistics.analysis import HeadSize
from bids_qsmthal.statistics.sensitivity import Specification

RATIO = "_by_head_size"
RESIDUAL = "_at_mean_head_size"
"""End the names of columns; no variable of an analysis file is to be hidden by one."""


def columns(frame: pd.DataFrame, head: HeadSize, analysed: pd.Index) -> pd.DataFrame:
    """Return each volume in proportion to the head, and at the mean size of heads.

    The ratio is multiplied by the mean size, so that both keep the unit of the volume. The residual
    is taken along the line of the people who are ``analysed``, as the mean is (Voevodskaya et al.
    2014, doi:10.3389/fnagi.2014.00264).
    """
    size = frame[head.variable].to_numpy(dtype=float)
    here = frame.index.isin(analysed)
    made = {}
    for name in head.outcomes:
        values = frame[name].to_numpy(dtype=float)
        both = here & np.isfinite(values) & np.isfinite(size)
        # Nobody, or heads of one size: there is no line, and no row of the sensitivity analysis.
        if not both.any() or np.ptp(size[both]) == 0:
            made[f"{name}{RATIO}"] = made[f"{name}{RESIDUAL}"] = np.full(len(frame), np.nan)
            continue
        mean = size[both].mean()
        centred = size - mean
        slope = (centred[both] @ values[both]) / (centred[both] @ centred[both])
        made[f"{name}{RATIO}"] = values / size * mean
        made[f"{name}{RESIDUAL}"] = values - slope * centred
    return pd.DataFrame(made, index=frame.index)


def specifications(head: HeadSize, absent: str) -> list[Specification]:
    """Return the three ways to take the size of the head into account."""
    ratios = {name: f"{name}{RATIO}" for name in head.outcomes}
    residuals = {name: f"{name}{RESIDUAL}" for name in head.outcomes}
    return [
        Specification(
            name="head size as covariate",
            kind="term",
            added=(head.variable,),
            outcomes=head.outcomes,
            absent=absent,
        ),
        Specification(
            name="ratio to head size",
            kind="measure",
            columns=ratios,
            outcomes=head.outcomes,
            absent=absent,
        ),
        Specification(
            name="residual from head size",
            kind="measure",
            columns=residuals,
            outcomes=head.outcomes,
            absent=absent,
        ),
    ]
