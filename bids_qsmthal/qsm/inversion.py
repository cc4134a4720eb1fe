"""Dipole inversion: from the local field to susceptibility.

Each method is a frozen dataclass of its parameters that can be called.
To add one, write it here and name it in ``INVERSIONS``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bids_qsmthal.qsm.functional import EDGE_SHARE, functional
from bids_qsmthal.qsm.measurement import Measurement, inside
from bids_qsmthal.qsm.medi import Solver, SplitBregman
from bids_qsmthal.qsm.operators import box_around, convolve, dipole_kernel, laplace_kernel

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid

log = logging.getLogger(__name__)


class SusceptibilityMap(NamedTuple):
    """Susceptibility in ppm, zero outside the mask, and whether to trust it."""

    chi_ppm: Array
    converged: bool
    objective: float = float("nan")
    iterations: int = 0
    transforms: int = 0


class Inversion(Protocol):
    """Anything that turns a local field into susceptibility."""

    def __call__(self, local: Measurement, grid: Grid) -> SusceptibilityMap:
        """Return susceptibility in ppm, zero outside the mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdedDivision:
    """Divide by the dipole kernel where it is not small (TKD).

    References
    ----------
    Shmueli et al. (2009). Magn Reson Med 62(6), 1510-1522. doi:10.1002/mrm.22135
    """

    threshold: float = 0.2
    margin_mm: float = 20.0

    def __call__(self, local: Measurement, grid: Grid) -> SusceptibilityMap:
        """Return susceptibility in ppm, zero outside the mask."""
        box = box_around(local.mask, grid, self.margin_mm)
        kernel = dipole_kernel(box.grid(grid))
        # Near the magic angle the kernel is small: it keeps its sign and gets the threshold's size.
        safe = np.where(kernel < 0, -1, 1) * np.maximum(np.abs(kernel), np.float32(self.threshold))
        # The mean of a field says nothing of sources: at the centre of k-space the kernel is 0.
        safe[0, 0, 0] = np.inf
        boxed = box.cut(inside(local.field_ppm, local.believed))
        chi = box.paste(convolve(boxed, (1 / safe).astype(np.float32)))
        return SusceptibilityMap(inside(chi, local.mask), converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFormL2:
    r"""Minimise :math:`\|D \chi - f\|^2 + \lambda \|G \chi\|^2` in one division in k-space.

    References
    ----------
    Bilgic et al. (2014). J Magn Reson Imaging 40(1), 181-191. doi:10.1002/jmri.24365
    """

    weight_mm2: float = 0.02
    margin_mm: float = 20.0

    def __call__(self, local: Measurement, grid: Grid) -> SusceptibilityMap:
        """Return susceptibility in ppm, zero outside the mask."""
        box = box_around(local.mask, grid, self.margin_mm)
        kernel = dipole_kernel(box.grid(grid))
        stiff = kernel**2 + np.float32(self.weight_mm2) * laplace_kernel(box.grid(grid))
        # The mean of chi is free (D(0) = 0): it stays zero.
        stiff[0, 0, 0] = 1
        boxed = box.cut(inside(local.field_ppm, local.believed))
        chi = box.paste(convolve(boxed, (kernel / stiff).astype(np.float32)))
        return SusceptibilityMap(inside(chi, local.mask), converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Medi:
    r"""Morphology-enabled dipole inversion with CSF as zero reference (MEDI+0).

    See ``functional`` for the functional and the meaning of lambda.

    Attributes
    ----------
    regularisation
        lambda, the weight of the data; chosen on simulated heads between smoother maps (less) and
        differences between people that are not flattened (more), see ``docs/qsm.md``.
    csf_regularisation
        lambda_CSF; zero for plain MEDI.
    edge_share
        Number of gradient components taken as edges, as a share of the voxels in the mask.
    smv_radius_mm
        Radius of the spherical mean value filter on field and kernel; zero for none.
    margin_mm
        Room between the mask and its periodic copies.
    solver
        What minimises the functional.

    References
    ----------
    Liu et al. (2012). NeuroImage 59(3), 2560-2568. doi:10.1016/j.neuroimage.2011.08.082
    Liu et al. (2018). Magn Reson Med 79(5), 2795-2803. doi:10.1002/mrm.26946
    """

    regularisation: float = 1200.0
    csf_regularisation: float = 100.0
    edge_share: float = EDGE_SHARE
    smv_radius_mm: float = 0.0
    margin_mm: float = 12.0
    solver: Solver = field(default_factory=SplitBregman)

    def __call__(self, local: Measurement, grid: Grid) -> SusceptibilityMap:
        """Return susceptibility in ppm, zero outside the mask."""
        if not local.mask.any():
            return SusceptibilityMap(np.zeros(grid.shape, np.float32), converged=False)
        box = box_around(local.mask, grid, self.margin_mm)
        # Chi and D chi are periodic in the box: the margin keeps the dipole field of a copy away
        # from the mask.
        problem, radians_per_ppm = functional(
            Measurement(*(box.cut(a) for a in local)),
            box.grid(grid),
            (self.regularisation, self.csf_regularisation),
            edge_share=self.edge_share,
            smv_radius_mm=self.smv_radius_mm,
        )
        result = self.solver(problem)
        # From the fixed scale of the functional, at which lambda means the same for every scan.
        chi = box.paste(result.chi) / np.float32(radians_per_ppm)
        return SusceptibilityMap(
            inside(chi, local.mask),
            converged=result.converged,
            objective=result.objective,
            iterations=result.iterations,
            transforms=result.transforms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalVariation:
    r"""Minimise :math:`\|G \chi\|_1 + \lambda \|w (e^{i D \chi} - e^{i f})\|^2`: no edges, no CSF.

    The same splitting as MEDI with an empty edge mask. For the phase of a local field the data term
    is nearly the linear one, :math:`w (D \chi - f)`, of the reference, which has no weights either.

    Attributes
    ----------
    regularisation
        lambda, the weight of the data.
    weighted
        Whether noise lowers the weight of a voxel.
    margin_mm
        Room between the mask and its periodic copies.
    solver
        What minimises the functional.

    References
    ----------
    Bilgic et al. (2014). Magn Reson Med 72(5), 1444-1459. doi:10.1002/mrm.25029
    """

    regularisation: float = 1200.0
    weighted: bool = True
    margin_mm: float = 20.0
    solver: SplitBregman = field(default_factory=lambda: SplitBregman(reweighting=()))

    def __call__(self, local: Measurement, grid: Grid) -> SusceptibilityMap:
        """Return susceptibility in ppm, zero outside the mask."""
        plain = Medi(
            regularisation=self.regularisation,
            csf_regularisation=0.0,
            margin_mm=self.margin_mm,
            solver=self.solver,
        )
        # Without contrast in the magnitude no gradient is excused as an edge.
        local = local._replace(magnitude=np.zeros_like(local.magnitude))
        if not self.weighted:
            # Infinite noise is what takes a voxel out of the data; a weight of one would believe
            # outliers.
            alike = np.where(local.believed, np.float32(1), np.float32(np.inf))
            local = local._replace(noise_ppm=alike)
        return plain(local, grid)


INVERSIONS: dict[str, type[Inversion]] = {
    "medi": Medi,
    "tv": TotalVariation,
    "l2": ClosedFormL2,
    "tkd": ThresholdedDivision,
}
