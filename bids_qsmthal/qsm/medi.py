"""Solvers of the MEDI functional: accelerated splitting, and Gauss-Newton as published."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
from scipy import fft

from bids_qsmthal.qsm import admm
from bids_qsmthal.qsm.functional import Problem, objective, reweighted
from bids_qsmthal.qsm.operators import convolve, gradient, gradient_adjoint
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from bids_qsmthal.qsm.grid import Array

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """Susceptibility in rad at the fixed scale and how the solver got there."""

    chi: Array
    objective: float
    iterations: int
    transforms: int
    converged: bool


class Solver(Protocol):
    """Anything that minimises the functional."""

    def __call__(self, problem: Problem) -> Result:
        """Return the minimiser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBregman:
    """The alternating direction method of multipliers with closed-form steps (accelerated mode).

    Splits z = D chi, y = grad chi and s = chi in the CSF. Chi follows from one division in k-space,
    the splits from one pass over the volume; an iteration costs four real Fourier transforms. The
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
    workers
        Threads of the Fourier transforms.

    References
    ----------
    Bilgic et al. (2014). J Magn Reson Imaging 40(1), 181-191. doi:10.1002/jmri.24365
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
    workers: int = 1

    def __call__(self, problem: Problem) -> Result:
        """Return the minimiser, or the best iterate where the objective rises."""
        loop = _Loop(self, problem)
        start = objective(problem, loop.chi, loop.chi)
        best_chi, best, change = loop.chi.copy(), start, np.inf
        for iteration in range(1, self.iterations + 1):
            watch = iteration == self.iterations or iteration % 8 == 0
            before = loop.chi.copy() if watch else loop.chi
            loop.step()
            if watch:
                change = _relative_change(loop.chi, before)
                value = objective(loop.problem, loop.chi, loop.simulated)
                if value < best:
                    best, best_chi = value, loop.chi.copy()
                elif not value <= MOST_RISE * start:
                    log.warning("MEDI diverged: objective %.3g; kept %.3g", value, best)
                    break
            if iteration in self.reweighting:
                loop.reweight()
                best = objective(loop.problem, best_chi)
            loop.split(2.0 if iteration in self.doublings else 1.0)
        return Result(
            best_chi, best, iteration, 4 * iteration, converged=bool(change <= self.tolerance)
        )


MOST_RISE = 2.0
"""An objective this many times that of no susceptibility at all counts as divergence."""


def _relative_change(after: Array, before: Array) -> float:
    """Return the relative change in the 2-norm."""
    size = float(np.linalg.norm(after))
    return float(np.linalg.norm(after - before)) / size if size > 0 else 0.0


class _Loop:
    """The state of the splitting loop; arrays are reused from iteration to iteration."""

    def __init__(self, tuning: SplitBregman, problem: Problem) -> None:
        self.tuning, self.problem = tuning, problem
        shape = problem.field.shape
        scale = float(problem.energy.max(initial=0.0))
        inside = problem.energy > 0
        strength = float(problem.energy[inside].mean()) if inside.any() else scale
        self.rho_data = tuning.rho_data * strength
        self.rho_gradient = tuning.rho_gradient * np.sqrt(strength / 1000)
        self.rho_csf = tuning.rho_csf if problem.csf_weight > 0 and problem.csf.any() else 0.0
        self.chi = np.zeros(shape, np.float32)
        self.simulated = np.zeros(shape, np.float32)
        self.z = np.zeros(shape, np.float32)
        self.dual = np.zeros(shape, np.float32)
        self.gradients = np.zeros((3, *shape), np.float32)
        self.csf = np.flatnonzero(problem.csf)
        self.csf_split = np.zeros(self.csf.size, np.float32)
        self.csf_mean = 0.0
        self.data_push = np.zeros(shape, np.float32)
        self.rest_push = np.zeros(shape, np.float32)
        grid = problem.grid
        lines = []
        for axis, n in enumerate(shape):
            k = np.arange(n // 2 + 1) if axis == 2 else np.arange(n)
            lines.append(
                ((2 - 2 * np.cos(2 * np.pi * k / n)) / grid.voxel_size_mm[axis] ** 2).astype(
                    np.float32
                )
            )
        self.lines = (lines[0], lines[1], lines[2])
        # The first right-hand side: the data term alone, z = f where the field is known.
        self.z[:] = np.where(inside, problem.field, 0)
        self.data_push[:] = self.z

    def step(self) -> None:
        """Solve for chi and D chi in k-space: two transforms there, two back."""
        shape, workers = self.problem.field.shape, self.tuning.workers
        data = fft.rfftn(self.data_push, workers=workers)
        rest = fft.rfftn(self.rest_push, workers=workers)
        numbers = (self.rho_data, self.rho_gradient, self.rho_csf)
        admm.solve_chi(data, rest, self.problem.kernel, self.lines, _floats(numbers))
        self.chi = fft.irfftn(rest, s=shape, workers=workers, overwrite_x=True)
        self.simulated = fft.irfftn(data, s=shape, workers=workers, overwrite_x=True)

    def split(self, growth: float) -> None:
        """Update the splits; ``growth`` multiplies the penalties first."""
        old_limit, old_pull = 1 / self.rho_gradient, self._csf_pull()
        self.rho_data *= growth
        self.rho_gradient *= growth
        self.rho_csf *= growth
        tuning, dual_scale = self.tuning, 1 / growth
        np.copyto(self.data_push, self.simulated)
        numbers = (self.rho_data, tuning.relaxation, dual_scale)
        state = (self.problem.energy.ravel(), self.z.ravel(), self.dual.ravel())
        field = self.problem.field.ravel()
        admm.update_data(field, self.data_push.ravel(), state, _floats(numbers))
        sizes = self.problem.grid.voxel_size_mm
        limits = (old_limit, 1 / self.rho_gradient, dual_scale, self.rho_gradient)
        self.rest_push.fill(0)
        admm.update_gradient(
            self.chi,
            self.gradients,
            self.problem.edges,
            _floats((*limits, tuning.relaxation, *sizes)),
            self.rest_push,
        )
        if self.rho_csf > 0:
            self._split_csf(old_pull, dual_scale)

    def _csf_pull(self) -> float:
        """Return how far the CSF split is pulled to the mean."""
        weight = self.problem.csf_weight
        return weight / (weight + self.rho_csf) if self.rho_csf > 0 else 0.0

    def _split_csf(self, old_pull: float, dual_scale: float) -> None:
        """Update the split of the CSF term and add its push."""
        flat = self.chi.ravel()
        self.rest_push += np.float32(self.rho_csf) * self.chi
        common = (old_pull, dual_scale, self.tuning.relaxation, self.csf_mean)
        mean = admm.csf_mean(flat, self.csf, self.csf_split, _floats(common))
        numbers = _floats((*common, self._csf_pull(), mean, self.rho_csf))
        admm.update_csf(flat, self.csf, self.csf_split, numbers, self.rest_push)
        self.csf_mean = mean

    def reweight(self) -> None:
        """Let MERIT lower the weights of voxels that the model cannot explain."""
        self.problem = reweighted(self.problem, self.simulated)


def _floats(numbers: tuple[float, ...]) -> tuple[np.float32, ...]:
    """Return the numbers as float32, which keeps the compiled passes in single precision."""
    return tuple(np.float32(n) for n in numbers)


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
    workers: int = 1

    def __call__(self, problem: Problem) -> Result:
        """Return the minimiser; a step is halved while it raises the objective."""
        chi = np.zeros_like(problem.field)
        value, transforms, change, count = objective(problem, chi, chi), 0, np.inf, 0
        while count < self.iterations and change > self.tolerance:
            step, used = self._newton_step(problem, chi)
            chi, value, change = _safe_step(problem, chi, step, value)
            transforms += used
            count += 1
            if self.reweighting:
                simulated = convolve(chi, problem.kernel, self.workers)
                problem = reweighted(problem, simulated)
                value = objective(problem, chi, simulated)
        return Result(chi, value, count, transforms, converged=bool(change <= self.tolerance))

    def _newton_step(self, problem: Problem, chi: Array) -> tuple[Array, int]:
        """Return the Gauss-Newton step from ``chi`` and the real transforms it took."""
        grid, kernel, energy = problem.grid, problem.kernel, problem.energy
        free = np.stack([(problem.edges & bit) > 0 for bit in (1, 2, 4)])
        slopes = gradient(chi, grid)
        diffusivity = np.where(free, 0, 1 / np.sqrt(slopes**2 + self.epsilon)).astype(np.float32)
        csf, csf_weight = problem.csf, np.float32(problem.csf_weight)

        def pull_to_mean(x: Array) -> Array:
            out = np.zeros_like(x)
            if csf.any():
                out[csf] = csf_weight * (x[csf] - x[csf].mean(dtype=np.float64))
            return out

        def normal(x: Array) -> Array:
            data = convolve(2 * energy * convolve(x, kernel, self.workers), kernel, self.workers)
            smooth = gradient_adjoint(diffusivity * gradient(x, grid), grid)
            return cast("Array", data + smooth + pull_to_mean(x))

        misfit = np.sin(convolve(chi, kernel, self.workers) - problem.field)
        downhill = -convolve(2 * energy * misfit, kernel, self.workers)
        downhill -= gradient_adjoint(diffusivity * slopes, grid) + pull_to_mean(chi)
        found = conjugate_gradient(
            normal, downhill, max_iterations=self.cg_iterations, tolerance=self.cg_tolerance
        )
        return found.x, 4 * (found.iterations + 1)


def _safe_step(
    problem: Problem, chi: Array, step: Array, value: float
) -> tuple[Array, float, float]:
    """Return chi after the step (halved until the objective falls), its value and the change."""
    for _ in range(6):
        trial = chi + step
        new = objective(problem, trial)
        if np.isfinite(new) and new <= value * (1 + 1e-6):
            return trial, new, _relative_change(trial, trial - step)
        step = step / 2
    return chi, value, 0.0


SOLVERS: dict[str, type[Solver]] = {"admm": SplitBregman, "gauss-newton": GaussNewton}
