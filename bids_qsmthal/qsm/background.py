"""Background removal: from the total field to the field of what lies inside the mask.

Each method is a frozen dataclass of its parameters that can be called.
To add one, write it in a module and name it in ``BACKGROUNDS``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np

from bids_qsmthal.qsm.device import HOST, Device
from bids_qsmthal.qsm.functional import free_outside, functional
from bids_qsmthal.qsm.measurement import (
    Measurement,
    block_factors,
    coarser,
    coarser_grid,
    inside,
    repeat_blocks,
)
from bids_qsmthal.qsm.medi import SplitBregman
from bids_qsmthal.qsm.operators import box_around, convolve, dipole_kernel
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from bids_qsmthal.core.crop import Crop
    from bids_qsmthal.core.grid import Array, Grid, Mask

log = logging.getLogger(__name__)


class LocalField(NamedTuple):
    """The field left when the background is gone, in ppm, and where it can be believed."""

    field_ppm: Array
    mask: Mask
    converged: bool


class Background(Protocol):
    """Anything that takes the field of sources outside the mask away."""

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the mask that it returns."""


MOST_LOCAL_PPM = 0.4
"""No local field in a brain is stronger: beside a vein it is 0.15 ppm, beside a calcification 0.3.
What is stronger after a first background removal is an error of the field map, often a whole turn.
"""


def outliers(local_ppm: Array, total: Measurement) -> Mask:
    """Return voxels whose local field is too strong to be true."""
    believed = total.believed
    # About the median: a constant offset of the field is no error of single voxels.
    middle = float(np.median(local_ppm[believed])) if believed.any() else 0.0
    wild: Mask = believed & (np.abs(local_ppm - np.float32(middle)) > MOST_LOCAL_PPM)
    return wild


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionOntoDipoleFields:
    r"""Explain the field by sources outside the mask and subtract their field (PDF).

    .. math:: \min_x \| W M (f - D (1 - M) x) \|^2

    Solved by conjugate gradients: first on a coarse grid in a large box, where far sources are
    cheap to find, then on the grid itself in a small box for the sources beside the mask. The large
    box reaches well beyond the mask on every side: a mask that touches the end of the slab has its
    strongest sources out there.

    Attributes
    ----------
    margin_mm, fine_margin_mm
        Room round the mask for background sources on each grid.
    coarse_mm
        Voxels of the coarse grid are about this long.
    coarse_iterations, fine_iterations
        Conjugate gradient steps on each grid.
    device
        Where they run.

    References
    ----------
    Liu et al. (2011). NMR Biomed 24(9), 1129-1136. doi:10.1002/nbm.1670
    """

    margin_mm: float = 80.0
    fine_margin_mm: float = 20.0
    coarse_mm: float = 2.5
    coarse_iterations: int = 60
    fine_iterations: int = 8
    device: Device = HOST

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the mask."""
        factors = block_factors(grid, self.coarse_mm)
        # A short first look finds the outliers; what it did to please them is thrown away.
        glance = self._coarse(coarser(total, factors), grid, factors, self.coarse_iterations // 3)
        shape = grid.shape
        seen = repeat_blocks(glance[1].paste(convolve(glance[0], glance[2])), factors, shape)
        # Outliers are looked for on the fine grid: a mean over a block hides a single voxel that is
        # off by a turn.
        total = total.without(outliers(inside(total.field_ppm - seen, total.mask), total))
        sources, box, _ = self._coarse(
            coarser(total, factors), grid, factors, self.coarse_iterations
        )
        # What coarse blocks cannot draw lies just outside the mask: a short fit on the grid itself.
        local = subtracted(total, sources, box, grid, factors)
        # Few steps: conjugate gradients fit the strong background first and would go on to explain
        # local field.
        if self.fine_iterations:
            box = box_around(total.mask, grid, self.fine_margin_mm)
            kernel, weight, mask = (
                dipole_kernel(box.grid(grid)),
                box.cut(total.weight),
                box.cut(total.mask),
            )
            found = fit_outside(
                box.cut(local), weight, mask, kernel, self.fine_iterations, self.device
            )
            local = inside(local - box.paste(convolve(found, kernel)), total.mask)
        return LocalField(local, total.mask, converged=True)

    def _coarse(
        self, small: Measurement, grid: Grid, factors: tuple[int, int, int], iterations: int
    ) -> tuple[Array, Crop, Array]:
        """Return the sources that a coarse grid sees outside, its box and its kernel."""
        coarse = coarser_grid(grid, factors)
        box = box_around(small.mask, coarse, self.margin_mm)
        kernel, mask = dipole_kernel(box.grid(coarse)), box.cut(small.mask)
        field_ppm, weight = box.cut(small.field_ppm), box.cut(small.weight)
        found = fit_outside(field_ppm, weight, mask, kernel, iterations, self.device)
        return found, box, kernel


def subtracted(
    total: Measurement, sources: Array, box: Crop, grid: Grid, factors: tuple[int, int, int]
) -> Array:
    """Return the field less that of coarse sources outside the mask; ``box`` is of their grid."""
    box = box.refined(factors, grid.shape)
    # A block at the border holds voxels of the mask: a source there would take away local field.
    fine = repeat_blocks(sources, factors, box.shape)
    fine[box.cut(total.mask)] = 0
    background = box.paste(convolve(fine, dipole_kernel(box.grid(grid))))
    return inside(total.field_ppm - background, total.mask)


def fit_outside(
    local: Array, weight: Array, mask: Mask, kernel: Array, steps: int, device: Device = HOST
) -> Array:
    """Return the sources outside a mask whose field comes nearest to a field inside it."""
    # Normal equations: D is symmetric and real in k-space, so it is its own adjoint.
    energy, outside, spectrum = (
        device.send(a) for a in (weight**2, (~mask).astype(np.float32), kernel)
    )

    def normal(sources: Array) -> Array:
        return cast("Array", convolve(energy * convolve(sources, spectrum), spectrum) * outside)

    # Sources start at zero inside the mask and every step is zero there, so that the normal map
    # need not mask what it is given.
    right = convolve(energy * device.send(local), spectrum) * outside
    found = conjugate_gradient(normal, right, max_iterations=steps, tolerance=1e-3)
    return device.fetch(found.x)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointDipoleFields:
    r"""Find sources inside and outside the mask together; subtract the field of those outside.

    Methods that look at the field alone (PDF, LBV, the SHARP family) take away whatever sources
    outside could explain, and that includes a part of the local field: the largest error of the
    chain, and one that shrinks differences between people. Here the sources inside are unknowns of
    the same fit. MEDI's functional tells them apart: the gradient of susceptibility is sparse
    inside and free outside.

    .. math:: \min_\chi \|M_G \nabla \chi\|_1 + \lambda \|w M (e^{i D \chi} - e^{i f})\|^2
              + \text{CSF term}

    with chi everywhere and :math:`M_G = 0` outside the mask. It starts from PDF, which does most of
    the work, and needs only a coarse grid, for the field it corrects is smooth.

    Attributes
    ----------
    first
        What takes away most of the background.
    coarse_mm
        Voxels of the coarse grid are about this long.
    margin_mm
        Room round the mask for sources that correct the first step.
    regularisation, csf_regularisation
        lambda and lambda_CSF as in MEDI, chosen as there.
    solver
        What minimises the functional. Weak, constant penalties and many steps: sources outside
        move only as fast as the penalty of the gradient lets them. Doubling it, which hurries the
        inversion of a known local field, would freeze them. With 48 steps and a penalty of 50 a
        change of the thalamus was seen at 93 %, with these at 94 to 95 % (97 % where the local
        field is known).

    References
    ----------
    Liu Z et al. (2017). Magn Reson Med 78(1), 303-315. doi:10.1002/mrm.26331
    """

    first: Background = field(default_factory=ProjectionOntoDipoleFields)
    coarse_mm: float = 2.0
    margin_mm: float = 30.0
    regularisation: float = 2000.0
    csf_regularisation: float = 100.0
    solver: SplitBregman = field(
        default_factory=lambda: SplitBregman(iterations=120, doublings=(), rho_gradient=10.0)
    )

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the mask."""
        start = self.first(total, grid)
        local = total._replace(field_ppm=start.field_ppm, mask=start.mask)
        # A voxel that is off by a whole turn would be explained by a false source.
        local = local.without(outliers(start.field_ppm, local))
        factors = block_factors(grid, self.coarse_mm)
        small = coarser(local, factors)
        coarse = coarser_grid(grid, factors)
        box = box_around(small.mask, coarse, self.margin_mm)
        boxed = Measurement(*(box.cut(a) for a in small))
        # The weights are not those of the inversion: on the coarse grid only the sources outside
        # are kept.
        weights = (self.regularisation, self.csf_regularisation)
        problem, radians_per_ppm = functional(boxed, box.grid(coarse), weights)
        result = self.solver(free_outside(problem))
        # Only the sources outside count as background; those inside are found again, finer, by the
        # inversion.
        sources = np.where(boxed.mask, 0, result.chi) / np.float32(radians_per_ppm)
        field_ppm = subtracted(local, sources, box, grid, factors)
        return LocalField(field_ppm, start.mask, start.converged and result.converged)
