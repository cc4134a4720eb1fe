r"""Degrees of freedom of the fixed effects of a mixed model, after Satterthwaite.

With few participants (or sites) a normal distribution makes intervals too narrow. A combination
:math:`l^Tb` has :math:`2 (l^TCl)^2 / (g^TAg)` degrees of freedom: C is the covariance of the fixed
effects, g the gradient of :math:`l^TCl` by the parameters of the random part, and A their
covariance, twice the inverse Hessian of -2 log restricted likelihood (Giesbrecht & Burns 1985,
doi:10.2307/2530874; Kuznetsova et al. 2017, doi:10.18637/jss.v082.i13).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP = 2e-3
"""Of the numerical derivatives, in parameters of size 1 or so. Two steps cancel the error of second
order; the degrees of freedom of six simulated data sets agreed with pbkrtest in five digits."""

SMALLEST_CURVATURE = 1e-8
"""Of the likelihood, relative to the largest: along flatter directions nothing is known, and they
are left out as in lmerTest."""


@dataclass(frozen=True, slots=True, eq=False)
class MixedFit:
    """A fitted model in the sums that its likelihood needs, and its random part."""

    crossed: Floats
    """Of predictors and outcome with themselves."""

    random_crossed: Floats
    """Of the random columns of each group with themselves, shape (groups, q, q)."""

    random_with: Floats
    """Of these with predictors and outcome, shape (groups, q, p + 1)."""

    n: int
    parameters: Floats
    """Cholesky factor of the random part by the residual SD, row by row; log of this SD."""

    column_sizes: Floats

    def degrees_of_freedom(self, weights: Floats) -> float:
        """Return those of a weighted sum of fixed effects."""
        combination = weights / self.column_sizes

        def variance(parameters: Floats) -> float:
            return float(combination @ self._of(parameters)[1] @ combination)

        gradient = _gradient(variance, self.parameters)
        spread = float(gradient @ self._parameter_covariance() @ gradient)
        if not spread > 0:
            return float("nan")
        return 2 * variance(self.parameters) ** 2 / spread

    def _parameter_covariance(self) -> Floats:
        hessian = _hessian(lambda parameters: self._of(parameters)[0], self.parameters)
        values, vectors = np.linalg.eigh(hessian)
        usable = values > SMALLEST_CURVATURE * values.max()
        inverse: Floats = (vectors[:, usable] * (2 / values[usable])) @ vectors[:, usable].T
        return inverse

    def _of(self, parameters: Floats) -> tuple[float, Floats]:
        """Return -2 log restricted likelihood, but for a constant, and the covariance."""
        factor, residual = _unpacked(parameters, self.random_crossed.shape[-1])
        # V = s^2 (I + W W') with W = Z L: by Woodbury only sums over each group are needed.
        inner = np.eye(len(factor)) + factor.T @ self.random_crossed @ factor
        with_others = factor.T @ self.random_with
        taken = np.swapaxes(with_others, 1, 2) @ np.linalg.solve(inner, with_others)
        weighted = (self.crossed - taken.sum(axis=0)) / residual**2
        information, right = weighted[:-1, :-1], weighted[:-1, -1]
        left = float(weighted[-1, -1] - right @ np.linalg.solve(information, right))
        determinants = float(np.linalg.slogdet(inner)[1].sum()) + 2 * self.n * np.log(residual)
        deviance = determinants + float(np.linalg.slogdet(information)[1]) + left
        return deviance, np.linalg.inv(information)


def summed(
    outcome: Floats,
    predictors: Floats,
    slopes: Floats,
    groups: NDArray[np.generic],
    random: tuple[Floats, float],
) -> MixedFit:
    """Return what degrees of freedom are computed from.

    Parameters
    ----------
    outcome, predictors
        In any unit; shapes (rows,) and (rows, p).
    slopes
        Columns whose slope each group has of its own, shape (rows, q - 1).
    groups
        Who each row is of.
    random
        Covariance of intercepts and slopes, and variance of the residuals, by REML.
    """
    z = np.column_stack([np.ones(len(outcome)), slopes])
    z_sizes, x_sizes = np.abs(z).max(axis=0), np.linalg.norm(predictors, axis=0)
    both = np.column_stack([predictors / x_sizes, outcome])
    z = z / z_sizes
    parts = [groups == group for group in np.unique(groups)]
    covariance = np.atleast_2d(random[0]) * np.outer(z_sizes, z_sizes) / random[1]
    # A variance at its border is zero or a hair below; a factor exists just above.
    floor = max(
        1e-12, 1e-12 * float(np.trace(covariance)) - float(np.linalg.eigvalsh(covariance)[0])
    )
    factor = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    rows = np.tril_indices(len(factor))
    return MixedFit(
        crossed=both.T @ both,
        random_crossed=np.array([z[part].T @ z[part] for part in parts]),
        random_with=np.array([z[part].T @ both[part] for part in parts]),
        n=len(outcome),
        parameters=np.append(factor[rows], 0.5 * np.log(random[1])),
        column_sizes=x_sizes,
    )


def _unpacked(parameters: Floats, size: int) -> tuple[Floats, float]:
    factor = np.zeros((size, size))
    factor[np.tril_indices(size)] = parameters[:-1]
    return factor, float(np.exp(parameters[-1]))


def _gradient(function: Callable[[Floats], float], at: Floats) -> Floats:
    steps = np.eye(len(at)) * STEP * np.maximum(np.abs(at), 1)

    def central(size: float) -> Floats:
        pairs = [function(at + size * step) - function(at - size * step) for step in steps]
        return np.array(pairs) / (2 * size * np.diag(steps))

    # Richardson: the error of second order cancels.
    gradient: Floats = (4 * central(1) - central(2)) / 3
    return gradient


def _hessian(function: Callable[[Floats], float], at: Floats) -> Floats:
    steps = np.eye(len(at)) * STEP * np.maximum(np.abs(at), 1)
    lengths = np.diag(steps)

    def central(size: float) -> Floats:
        second = [
            [
                function(at + size * (a + b))
                - function(at + size * (a - b))
                - function(at - size * (a - b))
                + function(at - size * (a + b))
                for b in steps
            ]
            for a in steps
        ]
        return np.array(second) / (4 * size**2 * np.outer(lengths, lengths))

    hessian: Floats = (4 * central(1) - central(2)) / 3
    return hessian
