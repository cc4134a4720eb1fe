"""Where the signal decays as slowly as that of fluid, told with a known rate of mistakes.

CSF relaxes several times more slowly than tissue. How sure R2* tells the two apart depends on noise
and echo times: with an error of 5/s one voxel of gray matter in forty looks like fluid, and the
brain holds far more gray matter than deep fluid. A reference of CSF that is mostly tissue holds
tissue and fluid at one susceptibility. So the echoes of neighbours are averaged until mistakes are
rare, and where they never are, no voxel is called fluid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numba import njit
from scipy import ndimage
from scipy.special import ndtr

from bids_qsmthal.core.crop import around
from bids_qsmthal.core.smoothing import blurred_widely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.relaxation import Relaxation

WIDEST_MM = 3.0
"""An atrium is some 12 mm wide: with a wider kernel none of it stays free of tissue."""

FEWEST_SOME = 1000
"""Of so many voxels a hundred lie below the quantile that is asked for."""

AROUND_MM = 10.0
"""Noise and coil sensitivity change over centimetres; this far around a voxel they are averaged."""


class Fluid(NamedTuple):
    """What the decay of the signal says about fluid.

    Attributes
    ----------
    mask
        Voxels that relax as slowly as fluid, bool, shape (x, y, z).
    below_hz
        R2* below which a voxel counts as fluid, in 1/s.
    width_mm
        Standard deviation of the Gaussian over which echoes were averaged; 0 for single voxels.
    purity
        Expected fraction of ``mask`` that is no tissue by mistake of the noise, 0 to 1.
    """

    mask: Mask
    below_hz: float
    width_mm: float
    purity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDecay:
    r"""Fluid by its R2*, known so well that tissue is hardly ever taken for it.

    The standard error of R2* is that of the slope of the logarithm of the signal,

    .. math:: \sigma_{R_2^*} = \sigma / \sqrt{\textstyle\sum_j S_j^2 (t_j - \bar t)^2},

    with noise :math:`\sigma` of the signals :math:`S_j` at the times :math:`t_j` and
    :math:`\bar t` weighted with :math:`S_j^2`. Around each voxel the error of the tissue tells how
    often tissue falls below the threshold.

    Attributes
    ----------
    fraction
        Fluid relaxes more slowly than this fraction of the R2* of the slowest tissue. At 3 T cortex
        has a T2* of 66 ms, and a third of its R2* is the published threshold of 5/s; at 1.5 and 7 T
        (84 and 33 ms) it follows the tissue.
    quantile
        Where in the distribution of R2* over the brain, averaged widely, tissue begins: about a
        tenth of the brain is fluid or holds some.
    mistaken
        Fraction of the tissue that noise may take for fluid. A brain holds about fifty times more
        tissue than fluid below its rim, so one voxel of the reference in a hundred is mistaken.
    mistaken_with_t1w
        The same where T1w must call the voxel fluid as well, which leaves little tissue to mistake.
    widths_mm
        Gaussians that are tried in their order.

    References
    ----------
    Liu et al. (2018). Magn Reson Med 79(5), 2795-2803. doi:10.1002/mrm.26946
    Peters et al. (2007). Magn Reson Imaging 25(6), 748-753. doi:10.1016/j.mri.2007.02.014
    """

    fraction: float = 1 / 3
    quantile: float = 0.1
    mistaken: float = 2e-4
    mistaken_with_t1w: float = 0.02
    widths_mm: tuple[float, ...] = (0.0, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, WIDEST_MM)

    def __call__(  # noqa: PLR0913 - the signal, where it is, when it was read, how sure it is
        self,
        magnitude: Array,
        mask: Mask,
        grid: Grid,
        echo_times_s: tuple[float, ...],
        *,
        noise: float,
        relaxation: Relaxation,
        r2star_hz: Array,
        fluid_probability: Array | None = None,
    ) -> Fluid:
        """Return the fluid.

        Parameters
        ----------
        magnitude
            Shape (x, y, z, echo), two echoes or more.
        mask
            Where the echoes can be believed.
        noise
            Standard deviation of one channel of the complex signal, in the unit of ``magnitude``.
        relaxation, r2star_hz
            How R2* is fitted, and what it gave for single voxels, in 1/s.
        fluid_probability
            Of each voxel by T1w, 0 to 1, shape (x, y, z), if there is one.
        """
        # Outside the mask nothing is averaged: the box of the mask is all there is to work on.
        box = around(mask, margin=(0, 0, 0))
        if box is None:
            return Fluid(np.zeros_like(mask), 0.0, 0.0, 0.0)
        magnitude, mask, known_hz = (box.cut(whole) for whole in (magnitude, mask, r2star_hz))
        grid = box.grid(grid)
        if fluid_probability is not None:
            fluid_probability = box.cut(fluid_probability)
        best = Fluid(np.zeros_like(mask), 0.0, 0.0, 0.0)
        # The widest kernel: noise must not stretch the distribution in which tissue begins.
        wide, _ = averaged(magnitude, mask, grid, WIDEST_MM)
        some = _every_second(mask)
        below_hz = self.threshold_hz(relaxation(wide, some, echo_times_s)[some])
        tissue_hz = below_hz / self.fraction
        likely = mask if fluid_probability is None else mask & (fluid_probability > 0.5)
        allowed = self.mistaken if fluid_probability is None else self.mistaken_with_t1w
        for width_mm in self.widths_mm:
            echoes, noise_left = averaged(magnitude, mask, grid, width_mm)
            r2star_hz = relaxation(echoes, mask, echo_times_s) if width_mm else known_hz
            error_hz = noise * noise_left * error_per_noise(echoes, np.asarray(echo_times_s))
            # The error of tissue counts, not that of fluid: how often is tissue mistaken?
            around_hz = mean_around(error_hz, mask & (r2star_hz > below_hz), grid)
            # One-sided: only an R2* that noise makes too low looks like fluid. Tissue is taken at
            # its lowest, so the rate is a cautious one.
            mistaken = ndtr((below_hz - tissue_hz) / around_hz)
            slow = likely & (mistaken <= allowed) & (r2star_hz < below_hz)
            # A wider kernel first makes more voxels certain, then takes tissue into their mean.
            if slow.sum() < best.mask.sum():
                break
            mistakes = float(mistaken[likely & (mistaken <= allowed) & ~slow].sum())
            purity = max(0.0, 1 - mistakes / slow.sum()) if slow.any() else 0.0
            best = Fluid(slow, below_hz, width_mm, purity)
        return best._replace(mask=box.paste(best.mask))

    def threshold_hz(self, r2star_hz: Array) -> float:
        """Return the R2* below which a voxel is fluid, from R2* over the brain, averaged widely."""
        return self.fraction * float(np.quantile(r2star_hz, self.quantile))


def threshold_of_map(r2star_hz: Array, mask: Mask, grid: Grid) -> float:
    """Return the R2* (1/s) below which a voxel of a map is fluid; 0 for an empty mask.

    The rule of ``SlowDecay`` where the echoes are not at hand: it follows tissue and field.
    """
    if not mask.any():
        return 0.0
    return SlowDecay().threshold_hz(map_averaged(r2star_hz, mask, grid, WIDEST_MM)[mask])


def map_averaged(values: Array, mask: Mask, grid: Grid, width_mm: float) -> Array:
    """Return a map averaged over neighbours in the mask; zero far from it."""
    if not width_mm:
        return values
    widths = [width_mm / size_mm for size_mm in grid.voxel_size_mm]
    share = np.maximum(_blurred(mask.astype(np.float32), widths), 1e-6)
    return cast("Array", _blurred(np.where(mask, values, 0).astype(np.float32), widths) / share)


def averaged(magnitude: Array, mask: Mask, grid: Grid, width_mm: float) -> tuple[Array, float]:
    """Return echoes averaged over neighbours in the mask, and what that leaves of the noise.

    Parameters
    ----------
    magnitude
        Shape (x, y, z, echo).
    width_mm
        Standard deviation of the Gaussian; 0 returns the echoes as they are.
    """
    if not width_mm:
        return magnitude, 1.0
    widths = [width_mm / size_mm for size_mm in grid.voxel_size_mm]
    inside = mask.astype(np.float32)
    # Dividing by the blurred mask keeps the mean right at the rim, where a part of the kernel is
    # outside.
    share = np.maximum(_blurred(inside, widths), 1e-6)
    echoes = np.empty_like(magnitude, np.float32)
    for echo in range(magnitude.shape[-1]):
        echoes[..., echo] = _blurred(magnitude[..., echo] * inside, widths) / share
    # White noise keeps the root of the sum of the squared weights of the kernel.
    # 81 samples hold the widest kernel, 3 SD of 3 mm to both sides, down to voxels of 0.23 mm.
    point = np.eye(1, 81, 40)[0]
    lines = [ndimage.gaussian_filter1d(point, width, truncate=3.0) for width in widths]
    left = float(np.prod([np.sqrt((line**2).sum()) for line in lines]))
    return echoes, left


def error_per_noise(magnitude: Array, echo_times_s: NDArray[np.float64]) -> Array:
    """Return the standard error of R2* (1/s) for noise of 1; infinite where there is no signal."""
    error = np.full(magnitude.shape[:3], np.inf, np.float32)
    _errors(magnitude, echo_times_s - echo_times_s.mean(), error)
    return error


@njit(cache=True, nogil=True)
def _errors(magnitude: Array, times_s: NDArray[np.float64], error: Array) -> None:
    """Put the standard error of R2* of each voxel that has one, by times about their middle."""
    nx, ny, nz, count = magnitude.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                s0, s1, s2 = 0.0, 0.0, 0.0
                for echo in range(count):
                    energy = np.float64(magnitude[i, j, k, echo]) ** 2
                    s0 += energy
                    s1 += energy * times_s[echo]
                    s2 += energy * times_s[echo] ** 2
                # Rounding can make the difference of two nearly equal sums negative.
                spread = s2 - s1**2 / s0 if s0 > 0 else 0.0
                if spread > 0:
                    error[i, j, k] = 1 / np.sqrt(spread)


def mean_around(values: Array, mask: Mask, grid: Grid) -> Array:
    """Return the mean of the finite values in the mask around each voxel; infinite far from any."""
    good = mask & np.isfinite(values)
    widths = [AROUND_MM / size_mm for size_mm in grid.voxel_size_mm]
    weight = blurred_widely(good, widths, mode="constant")
    total = blurred_widely(np.where(good, values, 0), widths, mode="constant")
    return cast("Array", np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), np.inf))


def _every_second(mask: Mask) -> Mask:
    """Return every second voxel along each axis, where a smooth map has the same quantiles.

    All of them where a mask is small, or so thin that few are left.
    """
    chosen = np.zeros_like(mask)
    every = (slice(None, None, 2),) * 3
    chosen[every] = mask[every]
    return chosen if chosen.sum() >= FEWEST_SOME else mask


def _blurred(values: Array, widths: list[float]) -> Array:
    # Beyond the array there is nothing, as there is beyond the mask.
    blurred = ndimage.gaussian_filter(values, widths, truncate=3.0, mode="constant")
    return cast("Array", blurred)
