"""Background removal by spherical means: a harmonic field equals its mean over any ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from bids_qsmthal.qsm.background import LocalField
from bids_qsmthal.qsm.measurement import inside
from bids_qsmthal.qsm.operators import box_around, convolve, sphere_kernel

if TYPE_CHECKING:
    from bids_qsmthal.qsm.grid import Grid
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
        good = box.cut(total.believed)
        field = box.cut(inside(total.field_ppm, total.believed))
        spectrum, support = fft.rfftn(field), fft.rfftn(good.astype(np.float32))
        filtered, done = np.zeros_like(field), np.zeros_like(good)
        least = max(self.smallest_mm, *grid.voxel_size_mm)
        largest = None
        for radius_mm in np.arange(self.largest_mm, least - 1e-6, -self.step_mm):
            ball = sphere_kernel(box.grid, float(radius_mm))
            fits = good & ~done & (fft.irfftn(support * ball, s=field.shape) > 0.999)
            if largest is None and fits.any():
                largest = ball
            filtered[fits] = (field - fft.irfftn(spectrum * ball, s=field.shape))[fits]
            done |= fits
        if largest is None:
            return LocalField(np.zeros(grid.shape, np.float32), box.paste(done), converged=False)
        gain = 1 - largest
        undo = np.where(np.abs(gain) > self.threshold, 1 / np.where(gain == 0, 1, gain), 0)
        local = convolve(filtered, undo.astype(np.float32))
        kept = box.paste(done)
        return LocalField(inside(box.paste(local), kept), kept, converged=True)
