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

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numba import njit

from bids_qsmthal.qsm.measurement import inside
from bids_qsmthal.qsm.operators import convolve, dipole_kernel, gradient, sphere_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.measurement import Measurement

RADIANS_PER_PPM = 4.0
"""Scale of the functional: the phase of 1 ppm at 3 T after 5 ms, 2 pi x 127.7 Hz x 5 ms = 4.0."""

EDGE_SHARE = 0.3
"""Gradient components taken as edges, as a share of the voxels in the mask: one component in ten.

The toolbox takes .9, three in ten. Chosen on 15 simulated heads of two simulators, of which .3 made
better maps (``docs/qsm.md``).
"""


class InverseProblem(NamedTuple):
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


def functional(
    local: Measurement,
    grid: Grid,
    weights: tuple[float, float],
    *,
    edge_share: float = EDGE_SHARE,
    smv_radius_mm: float = 0.0,
) -> tuple[InverseProblem, float]:
    """Return the functional of a measurement on a grid with room round the mask, and its scale.

    Parameters
    ----------
    local
        Local field and what is known about it.
    grid
        Grid of the measurement.
    weights
        lambda and lambda_CSF.
    edge_share
        Number of gradient components taken as edges, as a share of the voxels in the mask.
    smv_radius_mm
        Radius of the spherical mean value filter on field and kernel (MEDI-SMV); zero for none.

    Returns
    -------
    Problem, float
        And the radians per ppm of its ``field`` and of the solvers' chi.
    """
    kernel, edges = dipole_kernel(grid), edge_mask(local.magnitude, local.mask, grid, edge_share)
    if smv_radius_mm > 0:
        ball = sphere_kernel(grid, smv_radius_mm)
        mask = local.mask & (convolve(local.mask.astype(np.float32), ball) > 0.999)
        value, noise = inside(local.field_ppm, local.mask), inside(local.noise_ppm, local.mask)
        # As in the MEDI toolbox: the mean variance over the ball, more than the variance of its
        # mean; only ratios of weights count. A convolution by FFT can undershoot zero.
        spread = np.sqrt(np.maximum(convolve(noise**2, ball), 0) + local.noise_ppm**2)
        local = local._replace(field_ppm=value - convolve(value, ball), noise_ppm=spread, mask=mask)
        # Field and kernel pass the same filter, so chi is that of the unfiltered problem.
        kernel = kernel * (1 - ball)
    problem = InverseProblem(
        field=np.float32(RADIANS_PER_PPM) * inside(local.field_ppm, local.mask),
        energy=(np.float32(weights[0]) * local.weight**2).astype(np.float32),
        edges=edges,
        csf=local.csf & local.mask,
        csf_weight=weights[1],
        kernel=kernel,
        grid=grid,
    )
    return problem, RADIANS_PER_PPM


def free_outside(problem: InverseProblem) -> InverseProblem:
    """Return the functional with the gradient free wherever no field was measured."""
    outside = problem.energy == 0
    return problem._replace(edges=np.where(outside, 7, problem.edges).astype(np.uint8))


def objective(problem: InverseProblem, chi: Array, simulated: Array | None = None) -> float:
    """Return the value of the functional; ``simulated`` is D chi where it is at hand."""
    if simulated is None:
        simulated = convolve(chi, problem.kernel)
    sizes = tuple(np.float32(d) for d in problem.grid.voxel_size_mm)
    total = _data_and_gradient(chi, simulated, problem.field, problem.energy, problem.edges, sizes)
    if problem.csf_weight > 0 and problem.csf.any():
        total += problem.csf_weight / 2 * float(problem.csf.sum()) * float(chi[problem.csf].var())
    return float(total)


@njit(cache=True, error_model="numpy")
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
                # The splitting is periodic; here no difference is taken across the faces of the
                # box, where the margin makes it small.
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


def edge_mask(magnitude: Array, mask: Mask, grid: Grid, share: float) -> NDArray[np.uint8]:
    """Return, as bits of each voxel, the axes along which the magnitude has an edge.

    The toolbox's rule: the threshold starts at 1 % of the largest value and moves by 5 % until the
    number of gradient components above it crosses ``share`` of the number of voxels in the mask.

    References
    ----------
    Liu et al. (2012). NeuroImage 59(3), 2560-2568. doi:10.1016/j.neuroimage.2011.08.082
    """
    image = np.where(mask, magnitude, 0).astype(np.float32)
    steps = np.abs(gradient(image, grid))
    ordered = np.sort(np.concatenate([along[mask] for along in steps]))
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


def merit_factor(misfit_rad: Array, weight: Array) -> Array:
    """Return by how much MERIT raises the noise of each voxel (1 for most).

    A voxel whose misfit is more than six standard deviations is trusted less.

    Parameters
    ----------
    misfit_rad
        Simulated less measured field in the voxels that count, in any order.
    weight
        sqrt(lambda) w of these voxels.
    """
    # |exp(ia) - exp(ib)| = 2 |sin((a - b) / 2)|
    rest = 2 * np.abs(np.sin(misfit_rad / 2)) * weight
    # In double precision, for millions of voxels are summed.
    rest -= np.float32(rest.mean(dtype=np.float64))
    limit = 6 * float(rest.std(dtype=np.float64))
    return cast("Array", np.maximum(np.abs(rest) / np.float32(max(limit, 1e-30)), 1) ** 2)


def reweighted(problem: InverseProblem, simulated: Array) -> InverseProblem:
    """Return the problem with the weights of outliers lowered, their mean kept."""
    inside = problem.energy > 0
    if not inside.any():
        return problem
    weight = np.sqrt(problem.energy[inside])
    lowered = weight / merit_factor(simulated[inside] - problem.field[inside], weight)
    lowered *= np.float32(weight.mean(dtype=np.float64) / lowered.mean(dtype=np.float64))
    energy = np.zeros_like(problem.energy)
    energy[inside] = lowered**2
    return problem._replace(energy=energy)
