"""Dipole inversion: from the local field to susceptibility.

Each method is a frozen dataclass of its parameters that can be called.
To add one, write it here and name it in ``INVERSIONS``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.qsm.background import weights
from bids_qsmthal.qsm.medi import (
    RADIANS_PER_PPM,
    GaussNewton,
    Problem,
    Solver,
    SplitBregman,
    edge_mask,
)
from bids_qsmthal.qsm.operators import (
    box_around,
    convolve,
    dipole_kernel,
    laplace_kernel,
    sphere_kernel,
)

if TYPE_CHECKING:
    from bids_qsmthal.qsm.grid import Array, Grid, Mask

log = logging.getLogger(__name__)


class Local(NamedTuple):
    """What an inversion may look at.

    Attributes
    ----------
    field_ppm
        Local field, relative to the main field, shape (x, y, z).
    noise
        Standard deviation of the field in any unit; infinite where it is not known.
    magnitude
        Magnitude image with the anatomy's edges.
    mask
        Where the field can be believed.
    csf
        Voxels of cerebrospinal fluid for the zero reference; may be empty.
    """

    field_ppm: Array
    noise: Array
    magnitude: Array
    mask: Mask
    csf: Mask


class Susceptibility(NamedTuple):
    """Susceptibility in ppm, zero outside the mask, and whether to trust it."""

    chi_ppm: Array
    converged: bool
    objective: float = float("nan")
    iterations: int = 0
    transforms: int = 0


class Inversion(Protocol):
    """Anything that turns a local field into susceptibility."""

    def __call__(self, local: Local, grid: Grid) -> Susceptibility:
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

    def __call__(self, local: Local, grid: Grid) -> Susceptibility:
        """Return susceptibility in ppm, zero outside the mask."""
        box = box_around(local.mask, grid, self.margin_mm)
        kernel = dipole_kernel(box.grid)
        safe = np.where(kernel < 0, -1, 1) * np.maximum(np.abs(kernel), np.float32(self.threshold))
        boxed = box.cut(np.where(local.mask, local.field_ppm, 0).astype(np.float32))
        chi = box.paste(convolve(boxed, (1 / safe).astype(np.float32)))
        return Susceptibility(_inside(chi, local.mask), converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFormL2:
    r"""Minimise :math:`\|D \chi - f\|^2 + \lambda \|G \chi\|^2` in one division in k-space.

    References
    ----------
    Bilgic et al. (2014). J Magn Reson Imaging 40(1), 181-191. doi:10.1002/jmri.24365
    """

    weight_mm2: float = 0.02
    margin_mm: float = 20.0

    def __call__(self, local: Local, grid: Grid) -> Susceptibility:
        """Return susceptibility in ppm, zero outside the mask."""
        box = box_around(local.mask, grid, self.margin_mm)
        kernel = dipole_kernel(box.grid)
        stiff = kernel**2 + np.float32(self.weight_mm2) * laplace_kernel(box.grid)
        stiff[0, 0, 0] = 1
        boxed = box.cut(np.where(local.mask, local.field_ppm, 0).astype(np.float32))
        chi = box.paste(convolve(boxed, (kernel / stiff).astype(np.float32)))
        return Susceptibility(_inside(chi, local.mask), converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Medi:
    r"""Morphology-enabled dipole inversion with CSF as zero reference (MEDI+0).

    See ``medi`` for the functional and the meaning of lambda.

    Attributes
    ----------
    regularisation
        lambda, the weight of the data.
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

    regularisation: float = 1000.0
    csf_regularisation: float = 100.0
    edge_share: float = 0.9
    smv_radius_mm: float = 0.0
    margin_mm: float = 20.0
    solver: Solver = field(default_factory=SplitBregman)

    def __call__(self, local: Local, grid: Grid) -> Susceptibility:
        """Return susceptibility in ppm, zero outside the mask."""
        if not local.mask.any():
            return Susceptibility(np.zeros(grid.shape, np.float32), converged=False)
        box = box_around(local.mask, grid, self.margin_mm)
        cut = Local(*(box.cut(a) for a in local))
        # A float of infinity times zero outside the image would be NaN.
        cut = cut._replace(field_ppm=_inside(cut.field_ppm, cut.mask))
        result = self.solver(self.problem(cut, box.grid))
        chi = box.paste(result.chi) / np.float32(RADIANS_PER_PPM)
        return Susceptibility(
            _inside(chi, local.mask),
            converged=result.converged,
            objective=result.objective,
            iterations=result.iterations,
            transforms=result.transforms,
        )

    def problem(self, local: Local, grid: Grid) -> Problem:
        """Return the functional for a field on a grid with room round the mask."""
        kernel, mask = dipole_kernel(grid), local.mask
        value, noise = local.field_ppm, np.where(np.isfinite(local.noise), local.noise, 0)
        if self.smv_radius_mm > 0:
            ball = sphere_kernel(grid, self.smv_radius_mm)
            mask = mask & (convolve(mask.astype(np.float32), ball) > 0.999)
            kernel = kernel * (1 - ball)
            value = value - convolve(value, ball)
            noise = np.sqrt(np.maximum(convolve(noise**2, ball), 0) + noise**2)
        edges = edge_mask(local.magnitude, local.mask, grid, self.edge_share)
        weight = weights(noise.astype(np.float32), mask)
        return Problem(
            field=(np.float32(RADIANS_PER_PPM) * _inside(value, mask)).astype(np.float32),
            energy=(np.float32(self.regularisation) * weight**2).astype(np.float32),
            edges=edges,
            csf=local.csf & local.mask,
            csf_weight=self.csf_regularisation,
            kernel=kernel,
            grid=grid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalVariation:
    r"""Minimise :math:`\|G \chi\|_1 + \lambda \|w (D \chi - f)\|^2`: no edges, no CSF term.

    The same splitting as MEDI with an empty edge mask.

    References
    ----------
    Bilgic et al. (2014). J Magn Reson Imaging 40(1), 181-191. doi:10.1002/jmri.24365
    """

    regularisation: float = 1000.0
    margin_mm: float = 20.0
    iterations: int = 24

    def __call__(self, local: Local, grid: Grid) -> Susceptibility:
        """Return susceptibility in ppm, zero outside the mask."""
        plain = Medi(
            regularisation=self.regularisation,
            csf_regularisation=0.0,
            margin_mm=self.margin_mm,
            solver=SplitBregman(iterations=self.iterations, reweighting=()),
        )
        return plain(local._replace(magnitude=np.zeros_like(local.magnitude)), grid)


def _inside(values: Array, mask: Mask) -> Array:
    """Return the values in the mask, zero elsewhere and where they are not finite, float32."""
    return cast("Array", np.where(mask & np.isfinite(values), values, 0).astype(np.float32))


def csf_mask(r2star_hz: Array, mask: Mask, grid: Grid, most_r2star_hz: float = 5.0) -> Mask:
    """Return ventricular CSF for the zero reference of MEDI+0: low R2* near the brain's middle.

    Components of low R2* within 30 mm of the centroid: the three largest are seeds; in the brain
    eroded by 10 mm, every component that overlaps a seed is kept.

    References
    ----------
    Liu et al. (2018). Magn Reson Med 79(5), 2795-2803. doi:10.1002/mrm.26946
    """
    if not mask.any():
        return np.zeros_like(mask)
    sizes = np.asarray(grid.voxel_size_mm)
    centre = np.array([float(np.mean(i)) for i in np.nonzero(mask)])
    axes = np.ogrid[tuple(slice(0, n) for n in mask.shape)]
    distance_squared = sum(((axes[a] - centre[a]) * sizes[a]) ** 2 for a in range(3))
    low = mask & (r2star_hz < most_r2star_hz)
    near, count = ndimage.label(low & (distance_squared < 30.0**2))
    if not count:
        return np.zeros_like(mask)
    volume = np.bincount(near.ravel())
    volume[0] = 0
    seeds = np.isin(near, np.argsort(volume)[::-1][: min(3, count)]) & (near > 0)
    deep = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=grid.voxel_size_mm)
    parts, _ = ndimage.label(low & (deep[1:-1, 1:-1, 1:-1] > 10.0))
    kept = np.setdiff1d(np.unique(parts[seeds]), [0])
    return np.isin(parts, kept)


INVERSIONS: dict[str, type[Inversion]] = {
    "medi": Medi,
    "tv": TotalVariation,
    "l2": ClosedFormL2,
    "tkd": ThresholdedDivision,
}

__all__ = [
    "INVERSIONS",
    "ClosedFormL2",
    "GaussNewton",
    "Inversion",
    "Local",
    "Medi",
    "Susceptibility",
    "ThresholdedDivision",
    "TotalVariation",
    "csf_mask",
]
