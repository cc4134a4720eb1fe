"""Solvers of the MEDI functional: accelerated splitting, and Gauss-Newton as published."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np

from bids_qsmthal.qsm.device import HOST, Device
from bids_qsmthal.qsm.functional import InverseProblem, objective, reweighted
from bids_qsmthal.qsm.operators import convolve, gradient, gradient_adjoint
from bids_qsmthal.qsm.passes import ArrayPasses, CompiledPasses, Passes, Penalties
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array

log = logging.getLogger(__name__)


class SolverResult(NamedTuple):
    """Susceptibility in rad at the fixed scale and how the solver got there."""

    chi: Array
    objective: float
    iterations: int
    transforms: int
    converged: bool


class Solver(Protocol):
    """Anything that minimises the functional."""

    def __call__(self, problem: InverseProblem) -> SolverResult:
        """Return the minimiser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBregman:
    """The alternating direction method of multipliers with closed-form steps (accelerated mode).

    Splits z = D chi, y = grad chi and s = chi in the CSF. Chi follows from one division in k-space,
    the splits from one pass over the volume; an iteration costs four real Fourier transforms, which
    travel as two complex ones. The
    data term stays nonlinear: one Newton step per voxel and iteration.

    Attributes
    ----------
    iterations
        Number of iterations.
    doublings
        Iterations at which the penalties double.
    relaxation
        Over-relaxation of the splits.
    reweighting
        Iterations after which MERIT lowers the weights of outliers.
    rho_data, rho_gradient, rho_csf
        Penalties; the first two at lambda = 1000.
    tolerance
        Relative change of chi that counts as converged.
    device
        Where the iterations run.

    References
    ----------
    Bilgic et al. (2014). Magn Reson Med 72(5), 1444-1459. doi:10.1002/mrm.25029
    Milovic et al. (2018). Magn Reson Med 80(2), 814-821. doi:10.1002/mrm.27073
    """

    iterations: int = 24
    doublings: tuple[int, ...] = (10, 20)
    relaxation: float = 1.6
    reweighting: tuple[int, ...] = (10,)
    rho_data: float = 0.25
    rho_gradient: float = 50.0
    rho_csf: float = 10.0
    tolerance: float = 0.02
    device: Device = HOST

    def __call__(self, problem: InverseProblem) -> SolverResult:
        """Return the minimiser, or the best iterate where the objective rises."""
        passes, weights = self._passes(problem), self._weights(problem)
        nothing = before = np.zeros_like(problem.field)
        start = objective(problem, nothing, nothing)
        best, diverged = _Iterate(start, nothing, nothing), False
        for iteration in range(1, self.iterations + 1):
            passes.solve(weights)
            if iteration == self.iterations - 1:
                before = passes.chi()
            if self._watched(iteration):
                chi, simulated = passes.chi(), passes.simulated()
                value = objective(problem, chi, simulated)
                # Weak penalties let the first iterates swing: only the best that was seen counts.
                if value < best.objective:
                    best = _Iterate(value, chi, simulated)
                # Written with not: the comparison is false for NaN as well.
                elif not value <= MOST_RISE * start:
                    log.warning("MEDI diverged: objective %.3g; kept %.3g", value, best.objective)
                    diverged = True
                    break
            if iteration in self.reweighting:
                problem = reweighted(problem, passes.simulated())
                # Other weights make another functional: values of before and after do not compare.
                passes.reweight(problem.energy)
                best = best._replace(objective=objective(problem, best.chi, best.simulated))
            if iteration < self.iterations:
                old, weights = weights, weights.times(2.0 if iteration in self.doublings else 1.0)
                passes.split(old, weights, self.relaxation)
        converged = not diverged and _relative_change(chi, before) <= self.tolerance
        return SolverResult(best.chi, best.objective, iteration, 4 * iteration, converged)

    def _watched(self, iteration: int) -> bool:
        """Tell whether to look at the objective after an iteration."""
        return iteration == self.iterations or iteration % WATCH == 0

    def _passes(self, problem: InverseProblem) -> Passes:
        """Return the loop's state where it is to run."""
        if self.device.is_host:
            return CompiledPasses(problem)
        return ArrayPasses(problem, self.device)

    def _weights(self, problem: InverseProblem) -> Penalties:
        """Return the penalties that suit the weight of the data."""
        inside = problem.energy > 0
        # Penalties in proportion to the data keep the number of iterations the same at any lambda
        # (rho_gradient with its square root, as the 1-norm scales); measured at lambda = 1000.
        strength = float(problem.energy[inside].mean(dtype=np.float64)) if inside.any() else 0.0
        bound = problem.csf_weight > 0 and bool(problem.csf.any())
        return Penalties(
            # All penalties grow together (see Penalties.times), so one factor rescales every dual.
            data=self.rho_data * strength,
            gradient=self.rho_gradient * float(np.sqrt(max(strength, 1e-6) / 1000)),
            csf=self.rho_csf if bound else 0.0,
            csf_weight=problem.csf_weight,
        )


class _Iterate(NamedTuple):
    """The best so far."""

    objective: float
    chi: Array
    simulated: Array


WATCH = 8
"""The objective is looked at every so many iterations."""

MOST_RISE = 2.0
"""An objective this many times that of no susceptibility at all counts as divergence."""


def _relative_change(after: Array, before: Array) -> float:
    """Return the relative change in the 2-norm."""
    size = float(np.linalg.norm(after))
    return float(np.linalg.norm(after - before)) / size if size > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussNewton:
    """Lagged diffusivity and Gauss-Newton with conjugate gradients, as published (reference).

    Attributes
    ----------
    iterations, cg_iterations
        Largest numbers of outer and inner steps.
    tolerance, cg_tolerance
        Relative change of chi and relative residual at which they stop.
    epsilon
        Rounds the corner of the absolute value, (rad/mm)^2.
    reweighting
        Whether MERIT lowers the weights of outliers at each outer step.

    References
    ----------
    Liu et al. (2012). NeuroImage 59(3), 2560-2568. doi:10.1016/j.neuroimage.2011.08.082
    Liu et al. (2013). Magn Reson Med 69(2), 467-476. doi:10.1002/mrm.24272
    """

    iterations: int = 10
    cg_iterations: int = 100
    tolerance: float = 0.1
    cg_tolerance: float = 0.01
    epsilon: float = 1e-6
    reweighting: bool = True

    def __call__(self, problem: InverseProblem) -> SolverResult:
        """Return the minimiser; a step is halved while it raises the objective."""
        chi = np.zeros_like(problem.field)
        value, transforms, change, count = objective(problem, chi, chi), 0, np.inf, 0
        while count < self.iterations and change > self.tolerance:
            step, used = self._newton_step(problem, chi)
            chi, value, change = _safe_step(problem, chi, step, value)
            transforms += used
            count += 1
            if self.reweighting:
                simulated = convolve(chi, problem.kernel)
                problem = reweighted(problem, simulated)
                # The next line search must compare with the value under the new weights.
                value = objective(problem, chi, simulated)
        return SolverResult(chi, value, count, transforms, converged=bool(change <= self.tolerance))

    def _newton_step(self, problem: InverseProblem, chi: Array) -> tuple[Array, int]:
        """Return the Gauss-Newton step from ``chi`` and the real transforms it took."""
        grid, kernel, energy = problem.grid, problem.kernel, problem.energy
        free = np.stack([(problem.edges & bit) > 0 for bit in (1, 2, 4)])
        slopes = gradient(chi, grid)
        # Lagged diffusivity: |g| is replaced by g^2 / sqrt(g_old^2 + epsilon), which is quadratic.
        diffusivity = np.where(free, 0, 1 / np.sqrt(slopes**2 + self.epsilon)).astype(np.float32)
        csf, csf_weight = problem.csf, np.float32(problem.csf_weight)

        def pull_to_mean(x: Array) -> Array:
            out = np.zeros_like(x)
            if csf.any():
                out[csf] = csf_weight * (x[csf] - x[csf].mean(dtype=np.float64))
            return out

        def normal(x: Array) -> Array:
            data = convolve(2 * energy * convolve(x, kernel), kernel)
            smooth = gradient_adjoint(diffusivity * gradient(x, grid), grid)
            return cast("Array", data + smooth + pull_to_mean(x))

        # d/dx |exp(ix) - exp(if)|^2 = 2 sin(x - f).
        misfit = np.sin(convolve(chi, kernel) - problem.field)
        downhill = -convolve(2 * energy * misfit, kernel)
        downhill -= gradient_adjoint(diffusivity * slopes, grid) + pull_to_mean(chi)
        # Loose tolerance: the next outer step changes weights and diffusivity anyway.
        found = conjugate_gradient(
            normal, downhill, max_iterations=self.cg_iterations, tolerance=self.cg_tolerance
        )
        return found.x, 4 * (found.iterations + 1)


def _safe_step(
    problem: InverseProblem, chi: Array, step: Array, value: float
) -> tuple[Array, float, float]:
    """Return chi after the step (halved until the objective falls), its value and the change."""
    # Six halvings make a step of 1/64; what still raises the objective is no descent direction.
    for _ in range(6):
        trial = chi + step
        new = objective(problem, trial)
        if np.isfinite(new) and new <= value * (1 + 1e-6):
            return trial, new, _relative_change(trial, trial - step)
        step = step / 2
    return chi, value, 0.0
