"""R2* from the decay of the magnitude over the echoes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numba import njit
from scipy.stats import chi2

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.core.image import Image

MOST_R2STAR_HZ = 1000.0
"""T2* of 1 ms: nothing decays faster that a gradient echo still shows."""

SAME_GAP_S = 1e-9


class Relaxation(Protocol):
    """Anything that turns the decay of the magnitude into R2*."""

    def __call__(self, magnitude: Array, mask: Mask, echo_times_s: tuple[float, ...]) -> Array:
        """Return R2* in 1/s, zero outside the mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedExponential:
    r"""Fit :math:`S_0 e^{-R_2^* t}` with the weights of the noise; any echo times.

    A log-linear fit weighted with the squared signal is the start of Gauss-Newton steps on the
    signal itself, which remove the bias that the logarithm gives to noisy late echoes.
    """

    iterations: int = 4

    def __call__(self, magnitude: Array, mask: Mask, echo_times_s: tuple[float, ...]) -> Array:
        """Return R2* in 1/s, zero outside the mask."""
        if len(echo_times_s) < 2:
            return np.zeros(mask.shape, np.float32)
        times = np.asarray(echo_times_s, np.float64)
        return cast("Array", _exponential(magnitude, mask, times, self.iterations))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arlo:
    r"""Auto-regression on linear operations; needs three or more evenly spaced echoes.

    .. math:: R_2^* = \frac{\sum \delta_j S_j + (\Delta / 3) \sum \delta_j^2}{\cdots}

    Falls back on ``WeightedExponential`` for uneven or fewer than three echoes.

    References
    ----------
    Pei et al. (2015). Magn Reson Med 73(2), 843-850. doi:10.1002/mrm.25137
    """

    @staticmethod
    def fits(echo_times_s: tuple[float, ...]) -> bool:
        """Say whether there are three or more echoes, evenly spaced to 1 %."""
        gaps = np.diff(echo_times_s)
        return len(gaps) > 1 and bool(np.ptp(gaps) <= 0.01 * float(gaps.mean()))

    def __call__(self, magnitude: Array, mask: Mask, echo_times_s: tuple[float, ...]) -> Array:
        """Return R2* in 1/s, zero outside the mask."""
        if not self.fits(echo_times_s):
            return WeightedExponential()(magnitude, mask, echo_times_s)
        step = float(np.diff(echo_times_s).mean())
        first, second, third = magnitude[..., :-2], magnitude[..., 1:-1], magnitude[..., 2:]
        # Simpson's rule over two gaps: hence three echoes and even spacing.
        integral = step / 3 * (first + 4 * second + third)
        drop = first - third
        up = (integral * drop).sum(-1) + step / 3 * (drop**2).sum(-1)
        down = (integral**2).sum(-1) + step / 3 * (integral * drop).sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Pure noise can make the denominator negative; such a voxel has no rate.
            rate = np.where(mask & (down > 0), up / down, 0)
        return cast("Array", np.clip(np.nan_to_num(rate), 0, MOST_R2STAR_HZ).astype(np.float32))


def r2star_map(
    magnitude: Image, brain: Image, echo_times_s: tuple[float, ...], method: Relaxation
) -> Image:
    """Return R2* in 1/s of a magnitude of shape (x, y, z, echo); zero outside the brain."""
    return brain.like(method(magnitude.data, brain.data > 0, echo_times_s))


def decay_snr(
    magnitude: Image, brain: Image, r2star_hz: Image, echo_times_s: tuple[float, ...]
) -> float:
    """Return the signal-to-noise ratio of the first echo; NaN with fewer than three echoes.

    The noise is what the decays leave: two parameters describe a voxel, so two echoes leave
    nothing. Where the echoes hold no decay at all it is as large as the signal.
    """
    inside = brain.data > 0
    freedom = len(echo_times_s) - 2
    if freedom < 1 or not inside.any():
        return float("nan")
    rate = r2star_hz.data[inside].astype(np.float32)
    decays = [np.exp(-rate * time) for time in echo_times_s]
    signals = [magnitude.data[..., echo][inside] for echo in range(len(echo_times_s))]
    power = sum(decay**2 for decay in decays)
    start = sum(map(np.multiply, signals, decays)) / power
    left = sum((signal - start * decay) ** 2 for signal, decay in zip(signals, decays, strict=True))
    # The median, because vessels and the sinuses do not decay exponentially.
    variance = float(np.median(left)) / float(chi2.median(freedom))
    first = float(np.median(start * decays[0]))
    return first / variance**0.5 if variance > 0 else float("inf")


RELAXATIONS: dict[str, type[Relaxation]] = {"exponential": WeightedExponential, "arlo": Arlo}


@njit(cache=True, error_model="numpy")
def _exponential(magnitude, mask, times, iterations):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return R2* of each voxel in the mask."""
    out = np.zeros(mask.shape, np.float32)
    for x in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            for z in range(mask.shape[2]):
                if mask[x, y, z]:
                    out[x, y, z] = _decay(magnitude[x, y, z], times, iterations)
    return out


@njit(cache=True, error_model="numpy")
def _decay(signal, times, iterations):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return R2* of one voxel."""
    # var(ln S) = (sigma / S)^2, so S^2 are the weights of the straight line through ln S.
    s0 = s1 = s2 = b0 = b1 = 0.0
    for j in range(times.size):
        s = float(signal[j])
        if s > 0:
            w = s * s
            s0 += w
            s1 += w * times[j]
            s2 += w * times[j] ** 2
            b0 += w * np.log(s)
            b1 += w * times[j] * np.log(s)
    determinant = s0 * s2 - s1 * s1
    if determinant <= 0:
        return 0.0
    rate = (s1 * b0 - s0 * b1) / determinant
    start = np.exp((s2 * b0 - s1 * b1) / determinant)
    for _ in range(iterations):
        change_start, change_rate = _step(signal, times, start, rate)
        start += change_start
        rate += change_rate
    # Noise makes fluid grow over the echoes: a negative rate is no rate.
    return min(max(rate, 0.0), MOST_R2STAR_HZ)


@njit(cache=True, error_model="numpy")
def _step(signal, times, start, rate):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return a Gauss-Newton step of an exponential's amplitude and rate."""
    a00 = a01 = a11 = g0 = g1 = gap = 0.0
    # Keeps exp within range while a step overshoots; -100/s leaves room for a start that noise made
    # negative.
    bounded = min(max(rate, -100.0), MOST_R2STAR_HZ)
    decay, factor = np.exp(-bounded * times[0]), 1.0
    for j in range(times.size):
        # Exponentials are the cost; evenly spaced echoes need one.
        if j > 0 and abs(times[j] - times[j - 1] - gap) > SAME_GAP_S:
            gap = times[j] - times[j - 1]
            factor = np.exp(-bounded * gap)
        decay *= factor
        slope = -times[j] * start * decay
        misfit = float(signal[j]) - start * decay
        a00 += decay * decay
        a01 += decay * slope
        a11 += slope * slope
        g0 += decay * misfit
        g1 += slope * misfit
    determinant = a00 * a11 - a01 * a01
    if determinant <= 0:
        return 0.0, 0.0
    return (a11 * g0 - a01 * g1) / determinant, (a00 * g1 - a01 * g0) / determinant
