"""Several scanners: ComBat, by the library of its authors.

neuroCombat 0.2.12 is the reference implementation (MIT licence, numpy and pandas only). The better
kept neuroHarmonize wraps the same code but cannot be installed beside numpy 2. It is optional:
``pip install bids_qsmthal[harmonisation]``.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

SUFFIX = "_harmonised"
"""Ends the name of a column with another measure after harmonisation."""

COLUMNS = [
    "variable", "site", "n", "n_sessions", "mean_before", "mean_after", "sd_before", "sd_after",
    "note",
]  # fmt: skip


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


def harmonise(
    frame: pd.DataFrame, how: Harmonisation, alternatives: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table with harmonised measures, and what was done to each.

    A participant without site or a kept variable keeps no value of the measures (mixing harmonised
    and raw values would be worse); without one measure only that one is lacking. Sessions of one
    participant are taken as independent, but sites are judged by their participants.

    Parameters
    ----------
    frame
        One row a participant and session.
    alternatives
        Other columns with the variable that each may replace: harmonised as if it did, into a
        column with ``SUFFIX``, so that a comparison of measures compares nothing else.

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
    known = _with_levels(frame.dropna(subset=[how.site, *how.keep]), how)
    made = frame.copy()
    # Sites of those who are known in full: one that is left with nobody does not count.
    if len(known[how.site].unique()) == 1:
        notes = ["one site: nothing to harmonise"]
        parts = [_summary(frame, made, how, (name, name), notes) for name in how.variables]
        return made, pd.concat(parts, ignore_index=True)
    summaries = []
    for name in how.variables:
        values, notes = _one(known, how, name, name)
        made[name] = values.reindex(frame.index)
        summaries.append(_summary(frame, made, how, (name, name), notes))
    for column, replaced in (alternatives or {}).items():
        harmonised, notes = _alternative(known, how, column, replaced)
        made[f"{column}{SUFFIX}"] = harmonised.reindex(frame.index)
        summaries.append(_summary(frame, made, how, (column, f"{column}{SUFFIX}"), notes))
    return made, pd.concat(summaries, ignore_index=True)


def values(frame: pd.DataFrame, how: Harmonisation) -> pd.DataFrame:
    """Return the harmonised variables of a table alone, as ``harmonise`` does.

    Raises
    ------
    UsageError
        As ``harmonise``.
    """
    known = _with_levels(frame.dropna(subset=[how.site, *how.keep]), how)
    return pd.DataFrame(
        {name: _one(known, how, name, name)[0].reindex(frame.index) for name in how.variables}
    )


def _with_levels(known: pd.DataFrame, how: Harmonisation) -> pd.DataFrame:
    """Return the rows with every level of words known, so that any part has the same columns."""
    # get_dummies makes columns of the categories, so _kept has the same ones for any part of the
    # rows.
    words = [name for name in how.keep if design.holds_words(known[name])]
    return known.assign(**{name: pd.Categorical(known[name]) for name in words})


def _alternative(
    known: pd.DataFrame, how: Harmonisation, column: str, replaced: str
) -> tuple[pd.Series[float], list[str]]:
    """Return another measure after harmonisation, or nothing of it with the reason."""
    try:
        return _one(known, how, column, replaced)
    except UsageError as error:
        # Another measure may be there at some sites only. That must not end a run whose models do
        # without it, so the reason goes into the table.
        return pd.Series(np.nan, index=known.index), [str(error)]


def _one(
    known: pd.DataFrame, how: Harmonisation, column: str, replaced: str
) -> tuple[pd.Series[float], list[str]]:
    """Return one measure harmonised where it is known, and what makes it doubtful."""
    # An alternative takes the place of its variable in the prior; it is not one measure more.
    together = [column if name == replaced else name for name in how.variables]
    # With many measures the prior of a site is estimated from all of them together.
    shared = len(together) >= FEWEST_FOR_SHRINKAGE
    # A prior over the measures needs the same people in all of them.
    complete = known.dropna(subset=together if shared else [column])
    sites = complete[how.site].astype(str)
    _check_sites(complete, sites, how, column)
    doubts = _confounding(complete, sites, how)
    mine = known.dropna(subset=[column])
    if sites.nunique() < 2:
        return mine[column], ["measured at one site only: nothing to harmonise"]
    names = together if shared else [column]
    place = names.index(column)
    found = _combat(complete, sites, how, names)
    # neuroCombat has measures in rows and participants in columns, as genes were.
    values = pd.Series(np.asarray(found["data"], dtype=float)[place], index=complete.index)
    # Who has this measure but lacks another one: the same shift and scale, taken from the others.
    others = mine.drop(index=complete.index)
    if len(others):
        learned = _learned(found["estimates"], complete, how, len(names))
        values = pd.concat([values, learned.applied(others, how, column, place)])
    return values, doubts


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """What ComBat found: shift and scale of each site, and what the kept variables explain.

    For participants who lack another of the measures that share a prior.
    """

    sites: tuple[str, ...]
    shifts: design.Floats
    """Shape (sites, measures), in residual standard deviations."""

    scales: design.Floats
    weights: design.Floats
    """Of the constant and the kept variables on each measure."""

    sds: design.Floats

    def applied(
        self, frame: pd.DataFrame, how: Harmonisation, column: str, place: int
    ) -> pd.Series[float]:
        """Return a measure on the common scale (Johnson, Li & Rabinovic 2007, step 3)."""
        # A site with nobody complete has no estimate; its people keep no value.
        known = frame[frame[how.site].astype(str).isin(self.sites)]
        # z = (y - expected)/sd; then minus the shift of the site, over the root of its scale.
        batch = known[how.site].astype(str).map(self.sites.index).to_numpy()
        expected = _kept(known, how) @ self.weights[:, place]
        sd = self.sds[place]
        z = (known[column].to_numpy(dtype=float) - expected) / sd
        z = (z - self.shifts[batch, place]) / np.sqrt(self.scales[batch, place])
        return pd.Series(z * sd + expected, index=known.index)


def _kept(frame: pd.DataFrame, how: Harmonisation) -> design.Floats:
    """Return a constant and the kept variables as columns, words as one column a level."""
    if not how.keep:
        return np.ones((len(frame), 1))
    # All levels beside a constant: not of full rank, but lstsq gives the smallest weights, and what
    # is expected is the same.
    kept = pd.get_dummies(frame[list(how.keep)], dtype=float)
    return np.column_stack([np.ones(len(frame)), kept.to_numpy(dtype=float)])


def _learned(
    estimates: Mapping[str, Any], complete: pd.DataFrame, how: Harmonisation, n_measures: int
) -> _Learned:
    # What is expected without site is linear in the kept variables, for anyone who has them. (The
    # library keeps these in single precision, which moves the seventh digit.)
    expected = np.asarray(estimates["stand.mean"] + estimates["mod.mean"], dtype=float).T
    weights = np.linalg.lstsq(_kept(complete, how), expected, rcond=None)[0]
    return _Learned(
        sites=tuple(str(site) for site in np.asarray(estimates["batches"])),
        shifts=np.asarray(estimates["gamma.star"], dtype=float).reshape(-1, n_measures),
        scales=np.asarray(estimates["delta.star"], dtype=float).reshape(-1, n_measures),
        weights=weights,
        # Divided by n, not by n minus coefficients, as the library does.
        sds=np.sqrt(np.asarray(estimates["var.pooled"], dtype=float).ravel()),
    )


def _combat(
    complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation, names: list[str]
) -> Any:  # noqa: ANN401 - the library is untyped
    try:
        from neuroCombat import neuroCombat  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(
            "Harmonisation needs the library neuroCombat: pip install neuroCombat==0.2.12"
        ) from error
    kept = _independent_of_sites(complete, sites, how)
    covariates = pd.DataFrame(kept, columns=[f"kept_{place}" for place in range(kept.shape[1])])
    covariates.insert(0, "site", sites.to_numpy())
    # The library reports its progress to stdout, which belongs to results.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # It estimates the prior even where none is used, from a single measure perhaps.
        warnings.simplefilter("ignore", RuntimeWarning)
        return neuroCombat(
            dat=complete[names].to_numpy(dtype=float).T,
            covars=covariates,
            batch_col="site",
            continuous_cols=list(covariates.columns[1:]),
            # Without it shift and scale of each site are those of the measure itself.
            eb=len(names) >= FEWEST_FOR_SHRINKAGE,
        )


def _independent_of_sites(
    complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation
) -> design.Floats:
    """Return the kept variables as columns that sites and earlier ones do not determine.

    The library inverts their cross products: a constant, or age beside age in months, would be a
    singular matrix. What is kept is the same without such a column.
    """
    dummies = pd.get_dummies(sites).to_numpy(dtype=float)
    # The first column is the constant, which the sites make up.
    kept = _kept(complete, how)[:, 1:]
    columns, _ = design.independent_columns(np.column_stack([dummies, kept]))
    n_sites = dummies.shape[1]
    return kept[:, [column - n_sites for column in columns if column >= n_sites]]


def _check_sites(
    complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation, column: str
) -> None:
    if sites.empty:
        needed = ", ".join(dict.fromkeys([how.site, column, *how.keep]))
        raise UsageError(f"Harmonisation: no participant has all of {needed}.")
    # Sessions of one person do not show how people of a site differ.
    for site, n in _people(complete).groupby(sites).nunique().items():
        if n < FEWEST_PER_SITE:
            raise UsageError(
                f"Harmonisation of {column}: site '{site}' has {n} complete participants; "
                f"{FEWEST_PER_SITE} are needed. Leave it out with a filter, or join it to another."
            )


def _people(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return who each row is of; a table without identities has one row each."""
    if "participant_id" in frame:
        return frame["participant_id"]
    return pd.Series(frame.index, index=frame.index)


def _confounding(complete: pd.DataFrame, sites: pd.Series[str], how: Harmonisation) -> list[str]:
    """Return warnings where site and a kept variable go together.

    Raises
    ------
    UsageError
        They cannot be told apart at all.
    """
    if not how.keep:
        return []
    dummies = pd.get_dummies(sites).to_numpy(dtype=float)
    # One level is left out, as in a design with a constant.
    kept = pd.get_dummies(complete[list(how.keep)], drop_first=True).astype(float)
    doubts = []
    for name in kept.columns:
        values = kept[name].to_numpy()
        # The same everywhere: it has no effect that could be lost, and no variance to divide by.
        if np.ptp(values) == 0:
            continue
        columns = np.column_stack([dummies, values])
        if design.independent_columns(columns)[1]:
            raise UsageError(
                f"Harmonisation: '{name}' is the same within each site, so site and {name} cannot "
                "be distinguished; harmonising would remove or invent its effect."
            )
        within = values - dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0]
        # Eta squared: the part of the variance that lies between the means of the sites.
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
    how: Harmonisation,
    columns: tuple[str, str],
    notes: list[str],
) -> pd.DataFrame:
    raw, harmonised = before[columns[0]], after[columns[1]]
    # Sites may be numbers in the table; NaN stays NaN, so that nobody is at a site "nan".
    sites = before[how.site].where(before[how.site].isna(), before[how.site].astype(str))
    people = _people(before)
    lost = raw.notna() & harmonised.isna()
    reasons = [
        f"{people[lost & before[name].isna()].nunique()} without {name}"
        for name in (how.site, *how.keep)
        if (lost & before[name].isna()).any()
    ]
    why = [f"no value is left of {', '.join(reasons)}"] if reasons else []
    rows = [
        {
            "variable": columns[0],
            "site": site,
            "n": people[here].nunique(),
            "n_sessions": int(here.sum()),
            "mean_before": raw[here].mean(),
            "mean_after": harmonised[here].mean(),
            "sd_before": raw[here].std(),
            "sd_after": harmonised[here].std(),
            "note": "; ".join([*notes, *why]),
        }
        for site in sorted(sites.dropna().unique())
        # Before and after of the same people; else a mean would move by who is lost.
        for here in [(sites == site) & harmonised.notna()]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
