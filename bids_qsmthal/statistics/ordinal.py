r"""Ordered outcomes, such as the EDSS: the proportional odds model.

:math:`\mathrm{logit}\,P(y \le k) = \theta_k - x^Tb` (McCullagh 1980,
doi:10.1111/j.2517-6161.1980.tb01109.x): one odds ratio for "higher", wherever the scale is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from bids_qsmthal.statistics import logistic

Floats = NDArray[np.float64]

MOST_STEPS = 100

FEWEST_ON_A_SIDE = 5
"""Participants a coefficient on the smaller side of a cut that the test of one odds ratio uses:
with fewer the binary models are biased (Vittinghoff & McCulloch 2007, doi:10.1093/aje/kwk052)."""


@dataclass(frozen=True, slots=True, eq=False)
class OrderedFit:
    """Slopes with their covariance; the thresholds stand in their order."""

    params: Floats
    covariance: Floats
    thresholds: Floats
    converged: bool


def fit(outcome: Floats, predictors: Floats) -> OrderedFit:
    """Return the maximum likelihood fit by Newton's method.

    Parameters
    ----------
    outcome
        Numbers whose order counts; each that occurs is a level.
    predictors
        Without a constant, for which the thresholds stand.
    """
    levels, place = np.unique(outcome, return_inverse=True)
    centre, spread = predictors.mean(axis=0), predictors.std(axis=0)
    x = (predictors - centre) / spread
    below = np.cumsum(np.bincount(place))[:-1] / len(place)
    # At the observed shares with slopes of 0: where the model without predictors has its maximum.
    start = np.concatenate([special.logit(below), np.zeros(x.shape[1])])
    solution, information, converged = _maximised(start, x, place, len(levels))
    n_cuts = len(levels) - 1
    covariance = np.linalg.inv(information)[n_cuts:, n_cuts:] / np.outer(spread, spread)
    slopes = solution[n_cuts:] / spread
    return OrderedFit(slopes, covariance, solution[:n_cuts] + centre @ slopes, converged)


def _maximised(
    start: Floats, x: Floats, place: NDArray[np.intp], n_levels: int
) -> tuple[Floats, Floats, bool]:
    values = start
    likelihood, gradient, information = _likelihood(values, x, place, n_levels)
    for _ in range(MOST_STEPS):
        step = np.linalg.solve(information, gradient)
        # The likelihood is concave (Pratt 1981, doi:10.1080/01621459.1981.10477613), so a step
        # that overshoots, or that crosses thresholds (-inf), is halved until it climbs.
        size = 1.0
        while size > 1e-10:
            found = _likelihood(values + size * step, x, place, n_levels)
            if found[0] >= likelihood - 1e-12 * abs(likelihood):
                break
            size /= 2
        values = values + size * step
        likelihood, gradient, information = found
        if np.abs(size * step).max() < 1e-9 * max(1.0, np.abs(values).max()):
            return values, information, True
    return values, information, False


def _likelihood(
    values: Floats, x: Floats, place: NDArray[np.intp], n_levels: int
) -> tuple[float, Floats, Floats]:
    """Return the log likelihood, its gradient, and the observed information."""
    n_cuts = n_levels - 1
    cuts, slopes = values[:n_cuts], values[n_cuts:]
    along = x @ slopes
    upper = np.concatenate([cuts, [np.inf]])[place] - along
    lower = np.concatenate([[-np.inf], cuts])[place] - along
    chance = special.expit(upper) - special.expit(lower)
    if (chance <= 0).any():
        return -np.inf, np.zeros(len(values)), np.eye(len(values))
    # Densities of the two ends, and their derivatives; 0 at an end that is infinite.
    at = [(special.expit(end) * special.expit(-end)) for end in (upper, lower)]
    bend = [d * (1 - 2 * special.expit(e)) for d, e in zip(at, (upper, lower), strict=True)]
    first = [at[0] / chance, -at[1] / chance]
    one = np.eye(n_levels)
    # How each end moves with each parameter: its own threshold up, every slope down.
    ends = [
        np.column_stack([one[place][:, :n_cuts], -x]),
        np.column_stack([one[place][:, 1:], -x]),
    ]
    gradient = first[0] @ ends[0] + first[1] @ ends[1]
    up = ends[0].T * (first[0] ** 2 - bend[0] / chance) @ ends[0]
    low = ends[1].T * (first[1] ** 2 + bend[1] / chance) @ ends[1]
    both = ends[0].T * (first[0] * first[1]) @ ends[1]
    return float(np.log(chance).sum()), gradient, up + low + both + both.T


def why_not(outcome: Floats, predictors: Floats) -> str:
    """Return why there is no estimate, or nothing."""
    levels = np.unique(outcome)
    if len(levels) < 3:
        return "an ordered outcome has three levels or more; use Family binomial for two"
    if len(levels) > len(outcome) / 2:
        return f"{len(levels)} levels of {len(outcome)} participants: this is no ordered outcome"
    if separated(outcome, predictors):
        return "perfect separation: a combination of predictors tells the levels apart"
    return ""


def separated(outcome: Floats, predictors: Floats) -> bool:
    """Return whether predictors tell the ordered levels apart, even if not all of them.

    Thresholds and slopes that move every upper end up (or not at all) and every lower end down,
    and some end at all: along them the likelihood never falls, so it has no single maximum
    (Albert & Anderson 1984, doi:10.1093/biomet/71.1.1, for ordered levels).
    """
    scales = np.abs(predictors).max(axis=0)
    x = predictors / np.where(scales > 0, scales, 1.0)
    levels, place = np.unique(outcome, return_inverse=True)
    n_cuts = len(levels) - 1
    one = np.eye(len(levels))[place]
    upper = np.column_stack([one[:, :n_cuts], -x])[place < n_cuts]
    lower = np.column_stack([-one[:, 1:], x])[place > 0]
    margins = np.concatenate([upper, lower])
    result = optimize.linprog(
        -margins.sum(axis=0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1)
    )
    return bool(-result.fun > 1e-7)


def proportional_odds_p(outcome: Floats, predictors: Floats, found: OrderedFit) -> float:
    """Return p of one odds ratio at every cut of the scale; NaN where it cannot be tested.

    Binary models at cuts with enough people on either side, and between one cut and the next, are
    compared by Wald's test. Their covariance is that under one odds ratio: with the chances of the
    binary models themselves the test rejects 10-54 % of true hypotheses at 5 % where a scale has
    12-15 levels (40 to 300 people), with these 5-10 %.

    Parameters
    ----------
    outcome, predictors
        As for ``fit``.
    found
        What it returned for them.

    References
    ----------
    Brant (1990). Biometrics 46(4), 1171-1178. doi:10.2307/2532457
    """
    n, p = predictors.shape
    x = np.column_stack([np.ones(n), predictors])
    slopes, chances = [], []
    counted = 0.0
    for cut, threshold in zip(np.unique(outcome)[:-1], found.thresholds, strict=True):
        above = (outcome > cut) * 1.0
        below = n - above.sum()
        fewest = min(above.sum(), below, below - counted)
        if fewest < FEWEST_ON_A_SIDE * p or logistic.separated(above, x):
            continue
        counted = below
        slopes.append(np.asarray(logistic.fit(above, x).params)[1:])
        chances.append(special.expit(predictors @ found.params - threshold))
    if len(slopes) < 2:
        return float("nan")
    covariance = _covariance_of_cuts(x, np.array(chances))
    # Each cut against the first one.
    n_cuts = len(slopes)
    against = np.kron(np.column_stack([-np.ones(n_cuts - 1), np.eye(n_cuts - 1)]), np.eye(p))
    difference = against @ np.concatenate(slopes)
    statistic = difference @ np.linalg.solve(against @ covariance @ against.T, difference)
    return float(stats.chi2.sf(statistic, len(difference)))


def _covariance_of_cuts(x: Floats, chances: Floats) -> Floats:
    """Return the covariance of the slopes of all binary models (Brant 1990, section 2)."""
    p = x.shape[1] - 1
    inverse = [np.linalg.inv((x.T * (c * (1 - c))) @ x) for c in chances]
    blocks = np.zeros((len(chances) * p, len(chances) * p))
    for i, lower in enumerate(chances):
        for j in range(i, len(chances)):
            # Whoever is above the higher cut is above the lower one: E(z_i z_j) = P(above j).
            shared = (x.T * (chances[j] - lower * chances[j])) @ x
            block = (inverse[i] @ shared @ inverse[j])[1:, 1:]
            blocks[i * p : (i + 1) * p, j * p : (j + 1) * p] = block
            blocks[j * p : (j + 1) * p, i * p : (i + 1) * p] = block.T
    return blocks
