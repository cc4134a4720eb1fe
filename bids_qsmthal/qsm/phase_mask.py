"""Where the phase can be believed: a mask from the phase itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask

MaskName = Literal["brain", "magnitude", "phase", "brain+phase"]

MASKS: dict[MaskName, str] = {
    "brain": "The brain that the network finds on T1w, or on the magnitude where there is no T1w.",
    "magnitude": "The brain that the network finds on the magnitude, also where there is a T1w.",
    "phase": "Where the phase is reliable, whatever tissue it is: the head, or a phantom.",
    "brain+phase": "The part of the brain where the phase is reliable; holes inside are kept. What "
    "a consensus recommends. Bilgic et al. (2024). Magn Reson Med 91(5), 1834-1862. "
    "doi:10.1002/mrm.30006",
}
"""What susceptibility can be reconstructed in, by the user's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseQuality:
    """Call the phase reliable where it is smooth from voxel to voxel.

    The quality of a voxel is 1 less the size of the wrapped second difference of the phase over pi,
    averaged over axes, echoes and a block of three voxels a side. A linear phase, however steep,
    has quality 1. Pure noise has 0.5, and phase noise of 1 / SNR has 1 - 0.62 / SNR.

    Attributes
    ----------
    threshold
        Least quality. Half way between noise and noiseless phase by default: an SNR of 2.5 in the
        mean over the echoes. In simulated dropouts (``benchmarks/qsm.py masks``) .7 to .8 serve
        alike; less keeps voxels without signal, more loses sound brain.

    References
    ----------
    Abdul-Rahman et al. (2007). Appl Opt 46(26), 6623-6635. doi:10.1364/AO.46.006623 (second
    differences as reliability). Hagberg et al. (2022). Magn Reson Med 88(5), 2267-2276.
    doi:10.1002/mrm.29368 (of test functions for masks, second derivatives served best).
    """

    threshold: float = 0.75

    def quality(self, magnitude: Array, phase_rad: Array) -> Array:
        """Return the quality of each voxel, 0 to 1, shape (x, y, z).

        ``magnitude`` and ``phase_rad`` have shape (x, y, z, echo). Where an echo has no signal, or
        no echo has a phase, it is 0.
        """
        echoes = phase_rad.shape[3]
        mean = np.zeros(phase_rad.shape[:3], np.float32)
        # Echo by echo: a whole series is hundreds of megabytes.
        for echo in range(echoes):
            mean += _smoothness(phase_rad[..., echo]) / np.float32(echoes)
        # A phase that a program set to zero is perfectly smooth, and no measurement.
        measured = (magnitude > 0).all(axis=3) & (phase_rad != 0).any(axis=3)
        measured &= np.isfinite(phase_rad).all(axis=3)
        # One voxel of noise has a quality of 0.5 +- 0.29 / sqrt(3 echoes); a block is told from
        # tissue without mistakes.
        block = ndimage.uniform_filter(np.where(measured, mean, 0), 3, mode="nearest")
        found: Array = np.where(measured, block, 0)
        return found

    def __call__(self, magnitude: Array, phase_rad: Array, inside: Mask) -> Mask:
        """Return the largest connected reliable part of ``inside``, its holes filled.

        Holes are strong sources such as haemorrhage and veins: the fit gives their voxels no
        weight, and what surrounds them knows their field. Outside of the mask they would be
        background.
        """
        reliable = inside & (self.quality(magnitude, phase_rad) >= self.threshold)
        parts, count = ndimage.label(reliable)
        if count == 0:
            return np.zeros_like(inside)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        # Second differences and blocks reach over the border: they cost one voxel of tissue there
        # (balls of 8 voxels in noise: volume -36 % at an SNR of 5, -24 % at 60; so -11 and +5 %).
        whole = ndimage.binary_dilation(parts == sizes.argmax())
        filled: Mask = ndimage.binary_fill_holes(whole) & inside
        return filled


NOISE_QUALITY = 0.6
"""Less, in the mean over the head, is noise: an SNR of 1.5, at which no convention of the phase can
be told from chance."""


LEAST_SIGNAL = 0.3
"""Of the brightest echo: with so much signal an echo of SNR 1.5 belongs to a scan of SNR 5, which
is excluded for that. Later echoes that have decayed into noise do no harm."""


def echo_qualities(phase_rad: Array, inside: Mask) -> tuple[float, ...]:
    """Return the mean quality of the phase inside, for each echo.

    ``phase_rad`` has shape (x, y, z, echo). Noise has 0.5, and a phase without noise 1; without a
    voxel inside it is 1, as nothing speaks against it.
    """
    echoes = range(phase_rad.shape[3])
    if not inside.any():
        return tuple(1.0 for _ in echoes)
    return tuple(float(_smoothness(phase_rad[..., echo])[inside].mean()) for echo in echoes)


def noise_with_signal(
    magnitude: Array, inside: Mask, qualities: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the echoes, counted from 0, whose phase is noise where their magnitude is not."""
    signal = [float(magnitude[..., echo][inside].mean()) for echo in range(len(qualities))]
    return tuple(
        echo
        for echo, quality in enumerate(qualities)
        if quality < NOISE_QUALITY and signal[echo] >= LEAST_SIGNAL * max(signal)
    )


def _smoothness(phase_rad: Array) -> Array:
    """Return 1 - |second difference| / pi, the mean over the axes that have three voxels."""
    total = np.zeros(phase_rad.shape, np.float32)
    axes = [axis for axis, length in enumerate(phase_rad.shape) if length > 2]
    known = np.where(np.isfinite(phase_rad), phase_rad, 0).astype(np.float32)
    for axis in axes:
        # Views: the axis to look along comes last.
        _add_smoothness(np.moveaxis(known, axis, 2), np.moveaxis(total, axis, 2))
    return total / np.float32(max(len(axes), 1))


@njit(cache=True, nogil=True)
def _add_smoothness(phase_rad: Array, total: Array) -> None:
    """Add 1 - |second difference along the last axis| / pi, of at least three voxels, to a sum."""
    a, b, c = phase_rad.shape
    half_turn = np.float32(np.pi)
    for i in range(a):
        for j in range(b):
            for k in range(c):
                # A voxel at the end of the array has the bend of its neighbour.
                m = min(max(k, 1), c - 2)
                bend = phase_rad[i, j, m - 1] - 2 * phase_rad[i, j, m] + phase_rad[i, j, m + 1]
                turns = bend / (2 * half_turn)
                total[i, j, k] += 1 - 2 * abs(turns - np.rint(turns))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskChoice:
    """In which voxels susceptibility is reconstructed.

    Attributes
    ----------
    name
        One of ``MASKS``.
    reliable
        What reliable phase is, where the name asks for it.
    """

    name: MaskName = "brain"
    reliable: PhaseQuality = PhaseQuality()

    @property
    def by_phase(self) -> bool:
        """Whether the phase has a say."""
        return self.name in {"phase", "brain+phase"}


def reliable_mask(
    magnitude: Image, phase_rad: Image, inside: Image | None, rule: PhaseQuality
) -> Image:
    """Return the voxels, of ``inside`` or of the whole image, whose phase is reliable.

    Raises
    ------
    DataError
        There are none.
    """
    where = np.ones(magnitude.shape[:3], np.bool_) if inside is None else inside.data > 0
    found = rule(magnitude.data, phase_rad.data, where)
    if not found.any():
        raise DataError(
            f"No voxel has a phase of quality {rule.threshold:g} (1 smooth, 0.5 noise): check "
            "magnitude and phase, lower --mask-threshold, or take --mask brain."
        )
    return Image(found, magnitude.affine, magnitude.b0_direction)
