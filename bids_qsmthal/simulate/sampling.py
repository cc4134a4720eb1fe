"""What a scanner does to a signal while it reads and reconstructs it.

Axis 0 of the images is the readout, axis 2 goes through the slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Complex = NDArray[np.complex64]
Float = NDArray[np.float32]

SMALLEST: Final = np.float32(1e-12)
"""Keeps a smooth copy of zero, as in blanked air, from dividing by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KSpace:
    """Which part of k-space is acquired, and how it is weighted before the transform.

    Attributes
    ----------
    acquired
        Fraction of the image's matrix that is acquired along each axis, about its middle; the rest
        is filled with zeros, so that voxels are smaller than what was resolved (Bernstein 2001,
        doi 10.1002/jmri.1183).
    window
        Against ringing: ``hamming`` (0.54 + 0.46 cos), ``tukey`` (a cosine over the outer part),
        ``none`` (Harris 1978, doi 10.1109/PROC.1978.10837).
    taper
        Fraction of the acquired width over which ``tukey`` falls, half at either end.
    """

    acquired: tuple[float, float, float] = (1.0, 1.0, 1.0)
    window: Literal["none", "hamming", "tukey"] = "none"
    taper: float = 0.5

    def weights(self, length: int, axis: int) -> Float:
        """Return the weight of each sample of an axis, in the order of ``fft``."""
        # By distance from k = 0 alone: a real image stays real.
        away = np.abs(fft.fftfreq(length)) * 2 / self.acquired[axis]
        return np.where(away <= 1, self._taper(np.minimum(away, 1)), 0).astype(np.float32)

    def _taper(self, away: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the window at a distance from the middle, 1 at the edge of what is acquired."""
        if self.window == "hamming":
            return np.asarray(0.54 + 0.46 * np.cos(np.pi * away))
        if self.window == "tukey":
            falling = np.clip((away - 1 + self.taper) / self.taper, 0, 1)
            return np.asarray(0.5 + 0.5 * np.cos(np.pi * falling))
        return np.ones_like(away)

    def __call__(self, image: Complex) -> Complex:
        """Return the image of the weighted samples."""
        spectrum = fft.fftn(image)
        for axis, length in enumerate(image.shape):
            shape = [1, 1, 1]
            shape[axis] = length
            spectrum *= self.weights(length, axis).reshape(shape)
        return np.asarray(fft.ifftn(spectrum, overwrite_x=True), np.complex64)

    def noise_gain(self, shape: tuple[int, int, int]) -> float:
        """Return the deviation that white noise of deviation one has afterwards."""
        power = [np.mean(self.weights(n, axis).astype(float) ** 2) for axis, n in enumerate(shape)]
        return float(np.sqrt(np.prod(power)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BipolarReadout:
    """Echoes read in alternating directions: a phase that changes its sign from echo to echo.

    Linear by gradient delays (Lu 2008, doi 10.1002/mrm.21583), quadratic by concomitant fields
    (Bernstein 1998, doi 10.1002/mrm.1910390218).

    Attributes
    ----------
    linear_rad, quadratic_rad
        Phase at the end of the field of view along the readout.
    """

    linear_rad: float = 1.0
    quadratic_rad: float = 0.5

    def phase_rad(self, length: int, echo: int) -> Float:
        """Return the phase of an echo (0, 1, ...) at each point along the readout."""
        place = np.linspace(-1, 1, length, dtype=np.float32)
        half = np.float32(self.linear_rad) * place + np.float32(self.quadratic_rad) * place**2
        return np.asarray(half if echo % 2 == 0 else -half)


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedSlices:
    """A 2-D scan: even slices first, then the odd ones, when the frequency is another.

    Breathing moves the frequency by some Hz (Van de Moortele 2002, doi 10.1002/mrm.10145), and so
    do gradients that warm up (Foerster 2005, doi 10.1002/mrm.20695).

    Attributes
    ----------
    step_hz
        Odd slices against even ones.
    """

    step_hz: float = 3.0

    def __call__(self, image: Complex, echo_time_s: float) -> Complex:
        """Return the image with the phase of the odd slices turned."""
        image = image.copy()
        image[:, :, 1::2] *= np.complex64(np.exp(2j * np.pi * self.step_hz * echo_time_s))
        return image

    @staticmethod
    def sliced(fine: Complex, factor: int) -> Complex:
        """Return the mean over the fine planes of each slice: nothing is encoded across it."""
        x, y, z = fine.shape
        return np.asarray(fine.reshape(x, y, z // factor, factor).mean(axis=3), np.complex64)


@dataclass(frozen=True, slots=True, kw_only=True)
class HighPassPhase:
    """Phase as for susceptibility-weighted images: divided by a smooth copy of the signal.

    Attributes
    ----------
    window
        Samples of k-space along either axis of a slice that make the smooth copy, under a Hann
        window (Haacke 2004, doi 10.1002/mrm.20198).
    """

    window: int = 32

    def __call__(self, image: Complex) -> Complex:
        """Return the image with its magnitude and the filtered phase."""
        spectrum = fft.fft2(image, axes=(0, 1))
        for axis in (0, 1):
            length = image.shape[axis]
            wave = np.abs(fft.fftfreq(length) * length)
            hann = np.where(
                wave < self.window / 2, 0.5 + 0.5 * np.cos(2 * np.pi * wave / self.window), 0
            )
            spectrum *= hann.astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        smooth = fft.ifft2(spectrum, axes=(0, 1), overwrite_x=True)
        turned = image * np.conj(smooth) / np.maximum(np.abs(smooth), SMALLEST)
        return np.asarray(turned, np.complex64)
