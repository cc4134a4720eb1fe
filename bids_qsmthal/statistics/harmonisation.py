"""Several scanners: ComBat, by the library of its authors.

neuroCombat 0.2.12 is the reference implementation (MIT licence, numpy and pandas only). The better
kept neuroHarmonize wraps the same code but cannot be installed beside numpy 2. It is optional:
``pip install bids_qsmthal[harmonisation]``.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import design

FEWEST_PER_SITE = 3
"""Below this a site has no spread to speak of."""

FEWEST_FOR_SHRINKAGE = 10
"""ComBat's prior is estimated from the measures: with fewer, each is adjusted on its own."""

STRONGLY_CONFOUNDED = 0.5
"""Share of a kept variable's variance between sites from which on the reader is warned."""

COLUMNS = ["variable", "site", "n", "mean_before", "mean_after", "sd_before", "sd_after", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmonisation:
    """Which measures are brought to one scale across sites, and what is kept."""

    site: str
    variables: tuple[str, ...]
    keep: tuple[str, ...] = ()
    """Variables whose association with the measures must survive."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every variable that is needed."""
        return (self.site, *self.variables, *self.keep)


def harmonise(frame: pd.DataFrame, how: Harmonisation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table with harmonised measures, and what was done to each.

    Participants without a value of any variable involved keep no value of the measures: mixing
    harmonised and raw values would be worse.

    References
    ----------
    Johnson, Li & Rabinovic (2007). Biostatistics 8(1), 118-127. doi:10.1093/biostatistics/kxj037
    Fortin et al. (2018). NeuroImage 167, 104-120. doi:10.1016/j.neuroimage.2017.11.024

    Raises
    ------
    UsageError
        Site and a kept variable cannot be told apart, a site is too small, or the library is not
        installed.
    """
    complete = frame.dropna(subset=list(how.names))
    sites = complete[how.site].astype(str)
    _check_sites(sites, how)
    doubts = _confounding(complete, sites, how)
    if sites.nunique() < 2:
        return frame, _summary(complete, complete, sites, how, ["one site: nothing to harmonise"])
    made = frame.copy()
    made[list(how.variables)] = np.nan
    values = complete[list(how.variables)].to_numpy(dtype=float)
    made.loc[complete.index, list(how.variables)] = _combat(values, complete, sites, how)
    return made, _summary(complete, made.loc[complete.index], sites, how, doubts)


def _combat(
    values: design.Floats, complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation
) -> design.Floats:
    try:
        from neuroCombat import neuroCombat  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(
            "Harmonisation needs the library neuroCombat: pip install neuroCombat==0.2.12"
        ) from error
    covariates = pd.DataFrame({"site": sites.to_numpy()})
    for name in how.keep:
        covariates[name] = complete[name].to_numpy()
    texts = [name for name in how.keep if not pd.api.types.is_numeric_dtype(complete[name])]
    # The library reports its progress to stdout, which belongs to results.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # It estimates the prior even where none is used, from a single measure perhaps.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = neuroCombat(
            dat=values.T,
            covars=covariates,
            batch_col="site",
            categorical_cols=texts,
            continuous_cols=[name for name in how.keep if name not in texts],
            eb=len(how.variables) >= FEWEST_FOR_SHRINKAGE,
        )
    return np.asarray(found["data"], dtype=float).T


def _check_sites(sites: pd.Series[str], how: Harmonisation) -> None:
    for site, n in sites.value_counts().items():
        if n < FEWEST_PER_SITE:
            raise UsageError(
                f"Harmonisation: site '{site}' has {n} complete participants; "
                f"{FEWEST_PER_SITE} are needed. Leave it out with a filter, or join it to another."
            )
    if sites.empty:
        raise UsageError(f"Harmonisation: nobody has {', '.join(how.names)} all together.")


def _confounding(complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation) -> list[str]:
    """Return warnings where site and a kept variable go together.

    Raises
    ------
    UsageError
        They cannot be told apart at all.
    """
    dummies = pd.get_dummies(sites).to_numpy(dtype=float)
    kept = pd.get_dummies(complete[list(how.keep)], drop_first=True).astype(float)
    doubts = []
    for name in kept.columns:
        values = kept[name].to_numpy()
        if np.ptp(values) == 0:
            continue
        columns = np.column_stack([dummies, values])
        if design.independent_columns(columns)[1]:
            raise UsageError(
                f"Harmonisation: '{name}' is the same within each site, so site and {name} cannot "
                "be told apart; harmonising would remove or invent its effect."
            )
        within = values - dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0]
        share = 1 - float(within @ within) / float(np.sum((values - values.mean()) ** 2))
        if share > STRONGLY_CONFOUNDED:
            doubts.append(
                f"{100 * share:.0f} % of the variance of {name} lies between sites: what "
                "harmonisation does to its effect cannot be checked"
            )
    return doubts


def _summary(
    before: pd.DataFrame,
    after: pd.DataFrame,
    sites: pd.Series[str],
    how: Harmonisation,
    notes: list[str],
) -> pd.DataFrame:
    rows = [
        {
            "variable": name,
            "site": site,
            "n": int((sites == site).sum()),
            "mean_before": before.loc[sites == site, name].mean(),
            "mean_after": after.loc[sites == site, name].mean(),
            "sd_before": before.loc[sites == site, name].std(),
            "sd_after": after.loc[sites == site, name].std(),
            "note": "; ".join(notes),
        }
        for name in how.variables
        for site in sorted(sites.unique())
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
