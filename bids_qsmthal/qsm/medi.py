r"""Morphology-enabled dipole inversion (MEDI): one functional, two solvers.

.. math::

    E(\chi) = \|M_G \nabla \chi\|_1 + \lambda \|w (e^{i D \chi} - e^{i f})\|_2^2
              + \frac{\lambda_{CSF}}{2} \|M_{CSF} (\chi - \bar\chi_{CSF})\|_2^2

Units
-----
The toolbox measures chi and f in radians over one echo spacing, so its lambda means something else
at every field strength and echo spacing. Here both are in radians at a fixed scale of
``RADIANS_PER_PPM``, and w has mean 1 in the mask: one lambda, one meaning.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
from numba import njit
from scipy import fft

from bids_qsmthal.qsm import admm
from bids_qsmthal.qsm.operators import (
    convolve,
    gradient,
    gradient_adjoint,
)
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.qsm.grid import Array, Grid, Mask

log = logging.getLogger(__name__)

RADIANS_PER_PPM = 4.0
"""Scale of the functional: the phase of 1 ppm at 3 T after 5 ms, 2 pi x 127.7 Hz x 5 ms = 4.0."""


class Problem(NamedTuple):
    """The functional on a box: everything the solvers share.

    Attributes
    ----------
    field
        Local field in rad at the fixed scale.
    energy
        lambda w^2.
    edges
        Bit ``axis`` is set where the gradient along that axis is free; uint8.
    csf
        CSF voxels.
    csf_weight
        lambda_CSF.
    kernel
        Dipole kernel on the half spectrum.
    grid
        Grid of the box.
    """

    field: Array
    energy: Array
    edges: NDArray[np.uint8]
    csf: Mask
    csf_weight: float
    kernel: Array
    grid: Grid


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


def objective(problem: Problem, chi: Array, simulated: Array | None = None) -> float:
    """Return the value of the functional; ``simulated`` is D chi where it is at hand."""
    if simulated is None:
        simulated = convolve(chi, problem.kernel)
    sizes = tuple(np.float32(d) for d in problem.grid.voxel_size_mm)
    total = _data_and_gradient(chi, simulated, problem.field, problem.energy, problem.edges, sizes)
    if problem.csf_weight > 0 and problem.csf.any():
        total += problem.csf_weight / 2 * float(problem.csf.sum()) * float(chi[problem.csf].var())
    return float(total)


@njit(cache=True)
def _data_and_gradient(chi, simulated, field, energy, edges, sizes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the data and gradient terms, summed in double precision."""
    nx, ny, nz = chi.shape
    total = 0.0
    for x in range(nx):
        for y in range(ny):
            row = 0.0
            for z in range(nz):
                here = chi[x, y, z]
                bits = edges[x, y, z]
                if not bits & 1 and x + 1 < nx:
                    row += abs(chi[x + 1, y, z] - here) / sizes[0]
                if not bits & 2 and y + 1 < ny:
                    row += abs(chi[x, y + 1, z] - here) / sizes[1]
                if not bits & 4 and z + 1 < nz:
                    row += abs(chi[x, y, z + 1] - here) / sizes[2]
                if energy[x, y, z] > 0:
                    d = simulated[x, y, z] - field[x, y, z]
                    row += energy[x, y, z] * (2 - 2 * np.cos(d))
            total += row
    return total


def edge_mask(magnitude: Array, mask: Mask, grid: Grid, share: float = 0.9) -> NDArray[np.uint8]:
    """Return, as bits of each voxel, the axes along which the magnitude has an edge.

    The toolbox's rule: the threshold starts at 1 % of the largest value and moves by 5 % until the
    number of gradient components above it crosses ``share`` of the number of voxels in the mask,
    which leaves about 30 % of the components as edges.

    References
    ----------
    Liu et al. (2012). NeuroImage 59(3), 2560-2568. doi:10.1016/j.neuroimage.2011.08.082
    """
    image = np.where(mask, magnitude, 0).astype(np.float32)
    steps = np.abs(gradient(image, grid))
    steps[:, ~mask] = 0
    ordered = np.sort(steps[:, mask], axis=None)
    wanted = share * int(mask.sum())

    def above(threshold: float) -> int:
        return int(ordered.size - np.searchsorted(ordered, np.float32(threshold), side="right"))

    threshold = 0.01 * float(image.max(initial=0.0))
    if threshold > 0:
        factor = 1.05 if above(threshold) > wanted else 0.95
        while (above(threshold) > wanted) == (factor > 1) and threshold > 1e-12:
            threshold *= factor
    bits = np.zeros(mask.shape, np.uint8)
    for axis in range(3):
        bits |= ((steps[axis] > threshold) & mask).astype(np.uint8) << axis
    return bits


def merit_factor(problem: Problem, simulated: Array) -> Array:
    """Return by how much MERIT raises the noise of each voxel (1 for most).

    A voxel whose misfit is more than six standard deviations is trusted less.
    """
    misfit = np.abs(np.exp(1j * simulated) - np.exp(1j * problem.field)).astype(np.float32)
    inside = problem.energy > 0
    if not inside.any():
        return np.ones_like(misfit)
    weighted = misfit * np.sqrt(problem.energy)
    rest = weighted - weighted[inside].mean()
    limit = 6 * float(rest[inside].std())
    factor = np.maximum(np.abs(rest) / max(limit, 1e-30), 1)
    return cast("Array", np.where(inside, factor, 1).astype(np.float32) ** 2)


def _reweighted(problem: Problem, simulated: Array) -> Problem:
    """Return the problem with the weights of outliers lowered, their mean kept."""
    inside = problem.energy > 0
    weight = np.sqrt(problem.energy)
    lowered = weight / merit_factor(problem, simulated)
    if inside.any():
        lowered *= weight[inside].mean(dtype=np.float64) / lowered[inside].mean(dtype=np.float64)
    return problem._replace(energy=(lowered**2).astype(np.float32))


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
        best_chi, best, change = loop.chi.copy(), objective(problem, loop.chi, loop.chi), np.inf
        for iteration in range(1, self.iterations + 1):
            watch = iteration == self.iterations or iteration % 8 == 0
            before = loop.chi.copy() if watch else loop.chi
            loop.step()
            if watch:
                change = _relative_change(loop.chi, before)
                value = objective(loop.problem, loop.chi, loop.simulated)
                if value < best:
                    best, best_chi = value, loop.chi.copy()
                elif not np.isfinite(value) or value > MOST_RISE * best:
                    log.warning("MEDI objective rose to %.3g; stopped at %.3g", value, best)
                    break
            if iteration in self.reweighting:
                loop.reweight()
                best = objective(loop.problem, best_chi)
            loop.split(2.0 if iteration in self.doublings else 1.0)
        return Result(
            best_chi, best, iteration, 4 * iteration, converged=bool(change <= self.tolerance)
        )


MOST_RISE = 1.5
"""An objective this many times the best so far counts as divergence."""


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
        self.problem = _reweighted(self.problem, self.simulated)


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
                problem = _reweighted(problem, simulated)
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
