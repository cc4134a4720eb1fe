"""Background removal by harmonic functions: they equal their mean over any ball (SHARP family)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import fft, ndimage

from bids_qsmthal.qsm.background import LocalField
from bids_qsmthal.qsm.measurement import inside
from bids_qsmthal.qsm.operators import (
    box_around,
    convolve,
    gradient,
    gradient_adjoint,
    sphere_kernel,
)
from bids_qsmthal.qsm.solvers import conjugate_gradient

if TYPE_CHECKING:
    from bids_qsmthal.core.crop import Crop
    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.measurement import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class SphericalMean:
    r"""Subtract spherical means of shrinking radius and undo the filter (V-SHARP).

    The background is harmonic inside the mask, so it equals its mean over any ball that fits. Each
    voxel uses the largest ball that stays inside; the rim needs small ones. The filter
    :math:`1 - S` of the largest ball is undone by division, truncated where it is small.

    Attributes
    ----------
    largest_mm, smallest_mm, step_mm
        Radii of the balls; none is smaller than the largest voxel dimension.
    threshold
        Frequencies where the filter is below this are left out.

    References
    ----------
    Wu et al. (2012). Magn Reson Med 67(1), 137-147. doi:10.1002/mrm.23000
    """

    largest_mm: float = 12.0
    smallest_mm: float = 1.0
    step_mm: float = 1.0
    threshold: float = 0.05

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the (eroded) mask."""
        box = box_around(total.mask, grid, 2 * self.largest_mm)
        good = box.cut(total.mask)
        field = box.cut(_filled(total))
        spectrum, support = fft.rfftn(field), fft.rfftn(good.astype(np.float32))
        filtered, done = np.zeros_like(field), np.zeros_like(good)
        # A ball smaller than a voxel is the voxel itself: its filter would take everything away.
        least = max(self.smallest_mm, *grid.voxel_size_mm)
        largest = None
        # From large to small, and done voxels stay: a large ball takes away less of the local
        # field.
        for radius_mm in np.arange(self.largest_mm, least - 1e-6, -self.step_mm):
            ball = sphere_kernel(box.grid(grid), float(radius_mm))
            # The mean over the ball is 1 where the whole ball lies inside; 0.999 leaves room for
            # rounding in float32.
            fits = good & ~done & (fft.irfftn(support * ball, s=field.shape) > 0.999)
            if largest is None and fits.any():
                largest = ball
            filtered[fits] = (field - fft.irfftn(spectrum * ball, s=field.shape))[fits]
            done |= fits
        if largest is None:
            return LocalField(np.zeros(grid.shape, np.float32), box.paste(done), converged=False)
        # Every voxel is undone with the filter of the largest ball, as published: at the rim, where
        # smaller ones were used, that is an approximation.
        gain = 1 - largest
        undo = np.where(np.abs(gain) > self.threshold, 1 / np.where(gain == 0, 1, gain), 0)
        local = convolve(filtered, undo.astype(np.float32))
        kept = box.paste(done)
        return LocalField(inside(box.paste(local), kept), kept, converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegularisedSphericalMean:
    r"""Undo the spherical mean filter by regularised least squares (RESHARP).

    .. math:: \min_l \|M_e (1 - S) * (f - l)\|^2 + \lambda \|l\|^2

    Attributes
    ----------
    radius_mm
        Radius of the ball; the mask loses a rim of this width.
    regularisation
        lambda.
    iterations
        Conjugate gradient steps.

    References
    ----------
    Sun & Wilman (2014). Magn Reson Med 71(3), 1151-1157. doi:10.1002/mrm.24765
    """

    radius_mm: float = 6.0
    regularisation: float = 1e-3
    iterations: int = 60

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the (eroded) mask."""
        box, good, ball = _box_and_ball(total, grid, self.radius_mm)
        # A ball that reaches beyond the mask mixes in a field that nobody measured.
        gain, kept = 1 - ball, _fits(good, ball)
        field = box.cut(_filled(total))

        # Filter, mask, filter again: the normal equations, as 1 - S is its own adjoint.
        def high(values: Array) -> Array:
            return cast("Array", convolve(kept * convolve(values, gain), gain))

        def normal(values: Array) -> Array:
            return high(values) + np.float32(self.regularisation) * values

        found = conjugate_gradient(
            normal, high(field), max_iterations=self.iterations, tolerance=1e-3
        )
        mask = box.paste(kept)
        return LocalField(inside(box.paste(found.x), mask), mask, converged=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class IteratedSphericalMean:
    """Replace the field by its spherical mean until it is harmonic (iSMV).

    What is harmonic inside with the measured values in the rim is background.

    Attributes
    ----------
    radius_mm
        Radius of the ball; the mask loses a rim of this width.
    iterations
        Most repetitions.
    tolerance
        Relative change at which it stops.

    References
    ----------
    Wen et al. (2014). Magn Reson Med 72(4), 1065-1071. doi:10.1002/mrm.24998
    """

    radius_mm: float = 5.0
    iterations: int = 300
    tolerance: float = 1e-4

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the (eroded) mask."""
        box, good, ball = _box_and_ball(total, grid, self.radius_mm)
        kept = _fits(good, ball)
        field = box.cut(_filled(total))
        background, change = field.copy(), np.inf
        least = self.tolerance * float(np.linalg.norm(field))
        for _ in range(self.iterations):
            # Dirichlet values: outside the eroded mask the measured field stays as it is.
            smooth = np.where(kept, convolve(background, ball), field)
            change = float(np.linalg.norm(smooth - background))
            background = smooth
            if change <= least:
                break
        mask = box.paste(kept)
        local = inside(box.paste(field - background), mask)
        return LocalField(local, mask, converged=change <= least)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaplacianBoundaryValues:
    r"""Solve Laplace's equation with the field at the rim as boundary values (LBV).

    The local field has the Laplacian of the whole inside and is taken as zero at the rim.

    Attributes
    ----------
    iterations
        Most conjugate gradient steps.
    tolerance
        Relative residual at which it stops.

    References
    ----------
    Zhou et al. (2014). NMR Biomed 27(3), 312-319. doi:10.1002/nbm.3064
    """

    iterations: int = 500
    tolerance: float = 1e-3

    def __call__(self, total: Measurement, grid: Grid) -> LocalField:
        """Return the local field in ppm, zero outside the (eroded) mask."""
        box = box_around(total.mask, grid, 2 * max(grid.voxel_size_mm))
        good = box.cut(total.mask)
        # A voxel inside has all its neighbours in the mask; the rest are boundary.
        inner = ndimage.binary_erosion(good)
        field = box.cut(_filled(total))

        boxed = box.grid(grid)

        def curvature(values: Array) -> Array:
            # Zero outside inner on both sides makes the map self-adjoint, as conjugate gradients
            # need it; the iterates never leave inner, which is the boundary condition.
            return np.where(inner, gradient_adjoint(gradient(values, boxed), boxed), 0)

        found = conjugate_gradient(
            curvature, curvature(field), max_iterations=self.iterations, tolerance=self.tolerance
        )
        mask = box.paste(inner)
        return LocalField(inside(box.paste(found.x), mask), mask, found.converged)


def _filled(total: Measurement) -> Array:
    """Return the field with what is not believed replaced by the mean of its neighbours.

    A hole would take a whole ball out of the mask.
    """
    weight = total.believed.astype(np.float32)
    mean = ndimage.gaussian_filter(weight * inside(total.field_ppm, total.believed), 1.0)
    mean /= np.maximum(ndimage.gaussian_filter(weight, 1.0), 1e-3)
    return inside(np.where(total.believed, total.field_ppm, mean), total.mask)


def _box_and_ball(total: Measurement, grid: Grid, radius_mm: float) -> tuple[Crop, Mask, Array]:
    """Return a box with room for the ball, the mask in it, and the ball's spectrum."""
    # A smaller ball would be the voxel itself, whose mean is its own value.
    radius_mm = max(radius_mm, *grid.voxel_size_mm)
    box = box_around(total.mask, grid, 2 * radius_mm)
    return box, box.cut(total.mask), sphere_kernel(box.grid(grid), radius_mm)


def _fits(mask: Mask, ball: Array) -> Mask:
    """Return the voxels round which the whole ball lies in the mask."""
    fits: Mask = mask & (convolve(mask.astype(np.float32), ball) > 0.999)
    return fits
