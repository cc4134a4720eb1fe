"""The same coefficient at several sites, and all of them together: random-effects meta-analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.statistics import meta_regression
from bids_qsmthal.statistics.regression import Fit

Floats = NDArray[np.float64]

Way = Literal["fixed", "random", "meta", "combat"]

COLUMNS = [
    "model", "outcome", "term", "site", "coefficient", "standard_error", "ci_low", "ci_high", "p",
    "weight_percent", "n", "n_events", "tau", "i_squared_percent", "heterogeneity_p", "note",
]  # fmt: skip

TOGETHER = "all sites"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Which variable tells the sites, and what is done about them."""

    variable: str
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """One effect of several."""

    effect: float
    error: float
    tau: float
    """Standard deviation of the effect between sites."""

    i_squared: float
    heterogeneity_p: float
    weights: Floats


def combined(effects: Floats, errors: Floats) -> Combined:
    """Return the mean effect, its variance between sites, and its error."""
    found = meta_regression.estimated(effects, errors, np.ones((len(effects), 1)))
    return Combined(
        effect=float(found.coefficients[0]),
        error=float(found.standard_errors[0]),
        tau=found.tau,
        i_squared=found.i_squared,
        heterogeneity_p=found.heterogeneity_p,
        weights=found.weights,
    )


def forest(term: str, fits: Sequence[tuple[str, Fit]], name: str) -> pd.DataFrame:
    """Return one row a site and one of all; sites without an estimate say why.

    Parameters
    ----------
    fits
        Each site with the model fitted in it.
    name
        What the model is called where sites are together.
    """
    rows = [_row(name, term, site, fit.row(term)) for site, fit in fits]
    table = pd.DataFrame(rows, columns=COLUMNS)
    usable = table["standard_error"].astype(float) > 0
    if usable.sum() < 2:
        note = f"{int(usable.sum())} site with an estimate: nothing to combine"
        return pd.concat([table, _together(table, {"note": note})], ignore_index=True)
    values = table.loc[usable, ["coefficient", "standard_error"]].to_numpy(dtype=float)
    made = combined(values[:, 0], values[:, 1])
    table.loc[usable, "weight_percent"] = 100 * made.weights
    t = stats.t(int(usable.sum()) - 1)
    reach = float(t.ppf(0.975)) * made.error
    counted = table.loc[usable, ["n", "n_events"]].sum(min_count=1)
    whole = {
        "coefficient": made.effect,
        "standard_error": made.error,
        "ci_low": made.effect - reach,
        "ci_high": made.effect + reach,
        "p": float(2 * t.sf(abs(made.effect) / made.error)) if made.error > 0 else np.nan,
        "weight_percent": 100.0,
        "n": counted["n"],
        "n_events": counted["n_events"],
        "tau": made.tau,
        "i_squared_percent": 100 * made.i_squared,
        "heterogeneity_p": made.heterogeneity_p,
        "note": "" if usable.all() else f"without {int((~usable).sum())} sites",
    }
    return pd.concat([table, _together(table, whole)], ignore_index=True)


def _row(name: str, term: str, site: str, found: pd.Series) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    shared = [column for column in COLUMNS if column in found.index]
    row |= {column: found[column] for column in shared}
    return row | {"model": name, "term": term, "site": site}


def _together(table: pd.DataFrame, values: dict[str, object]) -> pd.DataFrame:
    same = {name: table[name].iloc[0] for name in ("model", "outcome", "term")}
    return pd.DataFrame([same | {"site": TOGETHER} | values]).reindex(columns=COLUMNS)
