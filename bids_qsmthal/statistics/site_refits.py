r"""Models with an intercept of each site, many at once, by REML.

With one variance ratio :math:`\lambda = \sigma_u^2/\sigma^2` everything else has a closed form, and
:math:`V_s^{-1} = I - \frac{\lambda}{1+n_s\lambda} 11^T` (Laird & Ware 1982, doi:10.2307/2529876)
needs sums over each site only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.statistics import batches, resampling, satterthwaite
from bids_qsmthal.statistics.batches import Refits
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.resampling import LeaveOneOut, Resampling

LOG_RATIOS = np.log(np.geomspace(1e-4, 1e3, 15))
"""Where the likelihood is looked for first; nearer and nearer to the best one afterwards."""

ZOOMS = 6
"""Each makes the distance between the ratios that are tried a third: from a factor of 3.2 to one of
1.002, which moves no coefficient by a thousandth of its error."""

FEWEST_DRAWN = 20
"""Sites that can stand for all there are: with fewer, draws of whole sites give intervals that are
too narrow (Cameron, Gelbach & Miller 2008, doi:10.1162/rest.90.3.414)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What the likelihood of each fit needs; the last column is the outcome."""

    crossed: Floats
    """Shape (fits, columns, columns)."""

    of_site: Floats
    """Sums of each column at each site, shape (fits, sites, columns)."""

    sizes: Floats
    """Rows of each site, shape (fits, sites)."""

    drawn: Floats
    """How often each site counts, shape (fits, sites)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """Which rows belong to which site."""

    member: Floats
    """1 where a row is of a site, shape (rows, sites)."""

    def rows_drawn(self, rng: np.random.Generator, size: int) -> Floats:
        """Return how often each row is drawn, each site keeping its size; shape (size, rows)."""
        counts = np.zeros((size, len(self.member)))
        for site in self.member.T > 0:
            n = int(site.sum())
            counts[:, site] = rng.multinomial(n, np.full(n, 1 / n), size=size)
        return counts

    def shuffled(self, values: Floats, rng: np.random.Generator, size: int) -> Floats:
        """Return values in new orders within each site, shape (size, rows)."""
        made = np.tile(values, (size, 1))
        for site in self.member.T > 0:
            made[:, site] = rng.permuted(made[:, site], axis=1)
        return made

    def vary(self, predictors: Floats, column: int) -> bool:
        """Return whether a column varies within sites beyond what the other columns explain."""
        others = np.column_stack([np.delete(predictors, column, axis=1), self.member])
        # Sites and an intercept are collinear, so least squares by SVD.
        values = predictors[:, column]
        left = values - others @ np.linalg.lstsq(others, values, rcond=1e-10)[0]
        return bool(np.linalg.norm(left) > 1e-6 * np.linalg.norm(values))


def of(groups: NDArray[np.generic]) -> Refits:
    """Return how a model with an intercept of each group is resampled.

    From twenty sites on whole sites are drawn; below, participants within each site, which keeps
    to the sites there are. Residuals change places within sites only (Winkler et al. 2015,
    doi:10.1016/j.neuroimage.2015.05.092). A predictor that is the same for everybody at a site has
    no such permutation.
    """
    sites = Sites((groups[:, None] == np.unique(groups)).astype(float))
    many = sites.member.shape[1] >= FEWEST_DRAWN

    def draw(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> Floats:
        return (_sites_drawn if many else _rows_drawn)(sites, (outcome, predictors), column, how)

    def permute(outcome: Floats, predictors: Floats, column: int, how: Resampling) -> float:
        return _permuted(sites, (outcome, predictors), column, how)

    def leave_out(outcome: Floats, predictors: Floats, column: int) -> LeaveOneOut:
        return _left_out(sites, (outcome, predictors), column)

    def without_sites(outcome: Floats, predictors: Floats, column: int) -> Floats:
        drawn = 1 - np.eye(sites.member.shape[1])
        sums = _of_sites(_table(outcome, predictors), sites, drawn)
        return reml(sums)[0][:, column]

    return Refits(
        draw,
        permute,
        leave_out,
        "Freedman-Lane, within sites",
        drawn="sites" if many else "participants within sites",
        jackknife=without_sites if many else None,
    )


def reml(sums: _Sums) -> tuple[Floats, Floats, Floats]:
    """Return coefficients, their covariance, and the variance ratio of each fit."""
    n_fits = len(sums.crossed)
    grid = np.array([_deviance(sums, np.full(n_fits, value)) for value in LOG_RATIOS])
    best = LOG_RATIOS[grid.argmin(axis=0)]
    step = float(LOG_RATIOS[1] - LOG_RATIOS[0])
    for _ in range(ZOOMS):
        step /= 3
        tried = best + step * np.arange(-2, 3)[:, None]
        found = np.array([_deviance(sums, values) for values in tried])
        best = tried[found.argmin(axis=0), np.arange(n_fits)]
    # The border of no variance between sites, which no ratio above zero reaches.
    none = np.full(n_fits, -np.inf)
    best = np.where(_deviance(sums, none) <= _deviance(sums, best), none, best)
    normal = _normal(sums, np.exp(best))
    inverse = batches.inverse(normal[:, :-1, :-1])
    coefficients = np.einsum("fab,fb->fa", inverse, normal[:, :-1, -1])
    variance = _rest(normal) / _free(sums)
    return coefficients, inverse * variance[:, None, None], np.exp(best)


def _normal(sums: _Sums, ratio: Floats) -> Floats:
    """Return the products of all columns, weighted by the inverse of the covariance."""
    shrunk = ratio[:, None] / (1 + sums.sizes * ratio[:, None]) * sums.drawn
    taken = np.matmul(np.swapaxes(sums.of_site, 1, 2) * shrunk[:, None, :], sums.of_site)
    normal: Floats = sums.crossed - taken
    return normal


def _rest(normal: Floats) -> Floats:
    """Return the weighted residual sum of squares."""
    right = normal[:, :-1, -1]
    explained = np.sum(right * batches.solved(normal[:, :-1, :-1], right), axis=1)
    rest: Floats = np.maximum(normal[:, -1, -1] - explained, 1e-300)
    return rest


def _free(sums: _Sums) -> Floats:
    n = np.sum(sums.sizes * sums.drawn, axis=1)
    free: Floats = n - (sums.crossed.shape[1] - 1)
    return free


def _deviance(sums: _Sums, log_ratio: Floats) -> Floats:
    """Return -2 log restricted likelihood, but for a constant."""
    ratio = np.exp(log_ratio)
    normal = _normal(sums, ratio)
    determinants = np.sum(sums.drawn * np.log1p(sums.sizes * ratio[:, None]), axis=1)
    of_fixed = np.linalg.slogdet(normal[:, :-1, :-1])[1]
    deviance: Floats = determinants + of_fixed + _free(sums) * np.log(_rest(normal))
    return deviance


def _table(outcome: Floats, predictors: Floats) -> Floats:
    return np.column_stack([predictors, outcome])


def _of_rows(table: Floats, sites: Sites, counts: Floats) -> _Sums:
    """Return the sums where each row counts as often as said, shape (fits, rows)."""
    x = np.broadcast_to(table, (len(counts), *table.shape[-2:]))
    weighted = counts[:, :, None] * x
    sizes = counts @ sites.member
    # A site without rows has no sum and no part in the likelihood.
    return _Sums(
        batches.crossed(x, counts),
        np.matmul(sites.member.T, weighted),
        sizes,
        np.ones_like(sizes),
    )


def _of_sites(table: Floats, sites: Sites, drawn: Floats) -> _Sums:
    """Return the sums where each site counts as often as said, shape (fits, sites)."""
    once = np.einsum("ns,na,nb->sab", sites.member, table, table)
    shape = (len(drawn), *sites.member.shape[1:])
    return _Sums(
        np.einsum("fs,sab->fab", drawn, once),
        np.broadcast_to(sites.member.T @ table, (*shape, table.shape[1])),
        np.broadcast_to(sites.member.sum(axis=0), shape),
        drawn,
    )


_Data = tuple[Floats, Floats]
"""Outcome and predictors."""


def _scaled(data: _Data, column: int) -> tuple[_Data, float]:
    """Return outcome and columns of one size, and what the coefficient is in them."""
    outcome, predictors = data
    sizes = np.sqrt(np.mean(predictors**2, axis=0))
    spread = float(np.std(outcome))
    return (outcome / spread, predictors / sizes), spread / float(sizes[column])


def _rows_drawn(sites: Sites, data: _Data, column: int, how: Resampling) -> Floats:
    (outcome, predictors), unit = _scaled(data, column)
    n, p = predictors.shape
    if not sites.vary(predictors, column):
        return np.full(how.bootstraps(n), np.nan)
    table = _table(outcome, predictors)
    rng = np.random.default_rng(how.seed)
    drawn = []
    for size in batches.chunks(how.bootstraps(n), n * (p + 1)):
        sums = _of_rows(table, sites, sites.rows_drawn(rng, size))
        drawn.append(_solvable(sums, reml(sums)[0][:, column]))
    return unit * np.concatenate(drawn)


def _sites_drawn(sites: Sites, data: _Data, column: int, how: Resampling) -> Floats:
    (outcome, predictors), unit = _scaled(data, column)
    n_sites = sites.member.shape[1]
    table = _table(outcome, predictors)
    rng = np.random.default_rng(how.seed)
    drawn = []
    for size in batches.chunks(how.bootstraps(len(outcome)), n_sites * table.shape[1]):
        counts = rng.multinomial(n_sites, np.full(n_sites, 1 / n_sites), size=size).astype(float)
        sums = _of_sites(table, sites, counts)
        drawn.append(_solvable(sums, reml(sums)[0][:, column]))
    return unit * np.concatenate(drawn)


def _solvable(sums: _Sums, values: Floats) -> Floats:
    """Return values, missing where a draw lacks a level and has no unique solution."""
    condition = np.linalg.cond(sums.crossed[:, :-1, :-1])
    return np.where(condition < resampling.WORST_CONDITION, values, np.nan)


def _left_out(sites: Sites, data: _Data, column: int) -> LeaveOneOut:
    (outcome, predictors), unit = _scaled(data, column)
    n, p = predictors.shape
    table = _table(outcome, predictors)
    # Of all rows, less one: without each they differ in the second digit of what is a range of p.
    df = _degrees_of_freedom(sites, (outcome, predictors), column) - 1
    coefficients, statistic = np.full(n, np.nan), np.full(n, np.nan)
    done = 0
    for size in batches.chunks(n, n * (p + 1)):
        here = np.arange(done, done + size)
        counts = np.ones((size, n))
        counts[np.arange(size), here] = 0
        sums = _of_rows(table, sites, counts)
        found, covariance, _ = reml(sums)
        coefficients[here] = _solvable(sums, found[:, column])
        statistic[here] = found[:, column] / np.sqrt(covariance[:, column, column])
        done += size
    p_values = 2 * stats.t.sf(np.abs(statistic), df) if df > 0 else np.full(n, np.nan)
    return LeaveOneOut(unit * coefficients, np.where(np.isnan(coefficients), np.nan, p_values))


def _degrees_of_freedom(sites: Sites, data: _Data, column: int) -> float:
    """Return Satterthwaite's degrees of freedom of a coefficient."""
    outcome, predictors = data
    n, p = predictors.shape
    sums = _of_rows(_table(outcome, predictors), sites, np.ones((1, n)))
    ratio = reml(sums)[2]
    normal = _normal(sums, ratio)
    variance = float(_rest(normal)[0]) / (n - p)
    random = (np.atleast_2d(ratio[0] * variance), variance)
    groups = sites.member.argmax(axis=1)
    made = satterthwaite.summed(outcome, predictors, np.empty((n, 0)), groups, random)
    return made.degrees_of_freedom(np.eye(p)[column])


def _permuted(sites: Sites, data: _Data, column: int, how: Resampling) -> float:
    (outcome, predictors), _ = _scaled(data, column)
    n, p = predictors.shape
    if not sites.vary(predictors, column):
        return float("nan")
    expected = _without_term(sites, outcome, np.delete(predictors, column, axis=1))

    def statistic(outcomes: Floats) -> Floats:
        x = np.broadcast_to(predictors, (len(outcomes), n, p))
        table = np.concatenate([x, outcomes[:, :, None]], axis=2)
        found, covariance, _ = reml(_of_rows(table, sites, np.ones_like(outcomes)))
        ratio: Floats = np.abs(found[:, column]) / np.sqrt(covariance[:, column, column])
        return ratio

    observed = statistic(outcome[None])[0]
    rng = np.random.default_rng(how.seed)
    wanted = how.permutations(n)
    beyond = 0
    for size in batches.chunks(wanted, n * (p + 1)):
        made = expected + sites.shuffled(outcome - expected, rng, size)
        beyond += int(np.sum(statistic(made) >= observed * (1 - 1e-9)))
    return (beyond + 1) / (wanted + 1)


def _without_term(sites: Sites, outcome: Floats, others: Floats) -> Floats:
    """Return what the model without the term expects of each row, its site's intercept included."""
    sums = _of_rows(_table(outcome, others), sites, np.ones((1, len(outcome))))
    left = outcome
    ratio = np.zeros(1)
    if others.shape[1]:
        coefficients, _, ratio = reml(sums)
        left = outcome - others @ coefficients[0]
    # The best linear unbiased prediction of each intercept: the mean, shrunk.
    shrunk = ratio[0] / (1 + sums.sizes[0] * ratio[0])
    expected: Floats = outcome - left + sites.member @ (shrunk * (left @ sites.member))
    return expected
