"""One iteration of the accelerated MEDI solver: compiled on the host, as arrays on a device.

Both hold the splits and know how to solve for chi and how to update the splits; ``medi`` decides
when. What they do is said once, in ``admm`` and ``ArrayPasses``, and tests hold the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from scipy import fft

from bids_qsmthal.qsm import admm
from bids_qsmthal.qsm.operators import difference_lines

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array
    from bids_qsmthal.qsm.device import Device
    from bids_qsmthal.qsm.functional import InverseProblem


class Penalties(NamedTuple):
    """Weights of the splits' quadratic terms, and the pull of the CSF to its mean."""

    data: float
    gradient: float
    csf: float
    csf_weight: float

    def times(self, growth: float) -> Penalties:
        """Return all weights multiplied."""
        return Penalties(
            self.data * growth, self.gradient * growth, self.csf * growth, self.csf_weight
        )

    @property
    def limit(self) -> float:
        """Threshold of the shrinkage, which bounds the dual of the gradient."""
        return 1 / self.gradient

    @property
    def pull(self) -> float:
        """Return how far the CSF split is pulled to its mean."""
        return self.csf_weight / (self.csf_weight + self.csf) if self.csf > 0 else 0.0


class Passes(Protocol):
    """The state of the splitting loop."""

    def solve(self, weights: Penalties) -> None:
        """Solve for chi and D chi in k-space."""

    def split(self, old: Penalties, new: Penalties, relaxation: float) -> None:
        """Update the splits and make the next right-hand sides; to be called after ``solve``."""

    def reweight(self, energy: Array) -> None:
        """Take other weights of the data."""

    def chi(self) -> Array:
        """Return a copy of chi; valid between ``solve`` and ``split``."""

    def simulated(self) -> Array:
        """Return a copy of D chi; valid between ``solve`` and ``split``."""


class CompiledPasses:
    """The host's: chi and D chi in one complex image, updated in place."""

    def __init__(self, problem: InverseProblem) -> None:
        self.problem = problem
        shape = problem.field.shape
        self.energy = problem.energy
        self.z = np.where(problem.energy > 0, problem.field, 0).astype(np.float32)
        self.dual = np.zeros(shape, np.float32)
        self.gradients = np.zeros((3, *shape), np.float32)
        # CSF is a few per cent of the box: a list of its voxels costs less than one more volume.
        self.csf = np.flatnonzero(problem.csf)
        self.csf_split = np.zeros(self.csf.size, np.float32)
        self.csf_mean = 0.0
        self.lines = difference_lines(problem.grid)
        # The first right-hand side: the data term alone, z = f where the field is known.
        self.image = self.z.astype(np.complex64)

    def solve(self, weights: Penalties) -> None:
        """Solve for chi and D chi in k-space: a complex transform there, one back."""
        spectrum = fft.fftn(self.image, overwrite_x=True)
        numbers = _floats(weights.data, weights.gradient, weights.csf)
        admm.solve(spectrum, self.problem.kernel, self.lines, numbers)
        self.image = fft.ifftn(spectrum, overwrite_x=True)

    def split(self, old: Penalties, new: Penalties, relaxation: float) -> None:
        """Update the splits and make the next right-hand sides."""
        dual_scale = old.data / new.data
        # Before the pass over the volume, which overwrites chi in the image.
        csf_push = self._split_csf(old, new, relaxation, dual_scale)
        along = (old.limit, new.limit, dual_scale, new.gradient, relaxation)
        sizes = self.problem.grid.voxel_size_mm
        admm.split(
            self.image,
            (self.problem.field, self.energy, self.z, self.dual),
            self.gradients,
            self.problem.edges,
            (
                _floats(new.data, relaxation, dual_scale),
                tuple(_floats(*along, 1 / size_mm) for size_mm in sizes),
                np.float32(new.csf),
            ),
        )
        if csf_push is not None:
            self.image.ravel()[self.csf] += 1j * np.float32(new.csf) * csf_push

    def _split_csf(
        self, old: Penalties, new: Penalties, relaxation: float, dual_scale: float
    ) -> Array | None:
        """Update the split of the CSF term; return its push, if there is any."""
        if new.csf <= 0:
            return None
        common = (old.pull, dual_scale, relaxation, self.csf_mean)
        mean = admm.csf_mean(self.image, self.csf, self.csf_split, _floats(*common))
        numbers = _floats(*common, new.pull, mean)
        self.csf_mean = mean
        return cast("Array", admm.split_csf(self.image, self.csf, self.csf_split, numbers))

    def reweight(self, energy: Array) -> None:
        """Take other weights of the data."""
        self.energy = energy

    def chi(self) -> Array:
        """Return a copy of chi."""
        return self.image.real.copy()

    def simulated(self) -> Array:
        """Return a copy of D chi."""
        return self.image.imag.copy()


class ArrayPasses:
    """A device's: the same updates in operations on whole arrays of its namespace."""

    def __init__(self, problem: InverseProblem, device: Device) -> None:
        self.device, self.problem, self.xp = device, problem, device.namespace
        send, shape = device.send, problem.field.shape
        self.field, self.energy = send(problem.field), send(problem.energy)
        self.kernel = send(problem.kernel)
        lx, ly, lz = difference_lines(problem.grid)
        self.stiffness = send(lx[:, None, None] + ly[None, :, None] + lz)
        self.penalised = [send(((problem.edges & b) == 0).astype(np.float32)) for b in (1, 2, 4)]
        self.csf = send(problem.csf.astype(np.float32))
        self.csf_voxels = max(int(problem.csf.sum()), 1)
        nothing = send(np.zeros(shape, np.float32))
        self.z = send(np.where(problem.energy > 0, problem.field, 0).astype(np.float32))
        self.dual, self.csf_split, self.csf_mean = nothing, nothing, 0.0
        self.gradients = [nothing, nothing, nothing]
        self.data_push, self.rest_push = self.z, nothing
        self.susceptibility = self.simulation = nothing

    def solve(self, weights: Penalties) -> None:
        """Solve for chi and D chi in k-space: two real transforms there, two back."""
        transform, shape = self.xp.fft, self.problem.field.shape
        stiff = weights.data * self.kernel**2 + weights.gradient * self.stiffness + weights.csf
        # Without a CSF term the stiffness at k = 0 is zero; infinity sets the free mean of chi to
        # zero.
        share = 1 / self.xp.where(stiff > 0, stiff, self.xp.asarray(np.inf, dtype=stiff.dtype))
        data = transform.rfftn(self.data_push)
        rest = transform.rfftn(self.rest_push)
        chi = (weights.data * self.kernel * data + rest) * share
        self.susceptibility = transform.irfftn(chi, s=shape, axes=(0, 1, 2))
        self.simulation = transform.irfftn(self.kernel * chi, s=shape, axes=(0, 1, 2))

    def split(self, old: Penalties, new: Penalties, relaxation: float) -> None:
        """Update the splits and make the next right-hand sides."""
        dual_scale = old.data / new.data
        self._split_data(new.data, relaxation, dual_scale)
        self.rest_push = new.csf * self.susceptibility
        for axis, size_mm in enumerate(self.problem.grid.voxel_size_mm):
            push = self._split_gradient(axis, size_mm, (old, new), relaxation)
            self.rest_push = self.rest_push + self.xp.roll(push, 1, axis=axis) - push
        if new.csf > 0:
            self.rest_push = self.rest_push + self._split_csf(old, new, relaxation)

    def _split_data(self, rho: float, relaxation: float, dual_scale: float) -> None:
        xp, z = self.xp, self.z
        v = relaxation * self.simulation + (1 - relaxation) * z + dual_scale * self.dual
        bend = xp.maximum(xp.cos(z - self.field), xp.asarray(admm.LEAST_BEND))
        e = 2 * self.energy
        self.z = (e * (bend * z - xp.sin(z - self.field)) + rho * v) / (e * bend + rho)
        self.dual = v - self.z
        self.data_push = 2 * self.z - v

    def _split_gradient(
        self, axis: int, size_mm: float, weights: tuple[Penalties, Penalties], relaxation: float
    ) -> Any:  # noqa: ANN401 - an array of the namespace
        xp, (old, new) = self.xp, weights
        before, penalised = self.gradients[axis], self.penalised[axis]
        dual = _clipped(xp, before, old.limit * penalised)
        slope = (xp.roll(self.susceptibility, -1, axis=axis) - self.susceptibility) / size_mm
        v = relaxation * slope + (1 - relaxation) * (before - dual) + dual * (old.data / new.data)
        self.gradients[axis] = v
        return new.gradient / size_mm * (v - 2 * _clipped(xp, v, new.limit * penalised))

    def _split_csf(
        self,
        old: Penalties,
        new: Penalties,
        relaxation: float,
    ) -> Any:  # noqa: ANN401 - an array of the namespace
        before = self.csf_split
        s = before + old.pull * (self.csf_mean - before)
        v = relaxation * self.susceptibility + (1 - relaxation) * s
        v = v + (before - s) * (old.data / new.data)
        self.csf_mean = float(self.xp.sum(v * self.csf)) / self.csf_voxels
        self.csf_split = v
        s = v + new.pull * (self.csf_mean - v)
        return new.csf * self.csf * (2 * s - v - self.susceptibility)

    def reweight(self, energy: Array) -> None:
        """Take other weights of the data."""
        self.energy = self.device.send(energy)

    def chi(self) -> Array:
        """Return a copy of chi on the host."""
        return cast("Array", np.array(self.device.fetch(self.susceptibility)))

    def simulated(self) -> Array:
        """Return a copy of D chi on the host."""
        return cast("Array", np.array(self.device.fetch(self.simulation)))


def _clipped(xp: Any, values: Any, limit: Any) -> Any:  # noqa: ANN401 - arrays of the namespace
    return xp.minimum(xp.maximum(values, -limit), limit)


def _floats(*numbers: float) -> tuple[np.float32, ...]:
    """Return the numbers as float32, which keeps the compiled passes in single precision."""
    return tuple(np.float32(n) for n in numbers)
