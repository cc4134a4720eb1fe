"""From tissue to signal: sequence formulas, k-space cropping, noise.

Every contrast follows from the same relaxation times and proton densities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bids_qsmthal.qsm import Array

Complex = NDArray[np.complex64]


def spoiled_gradient_echo(t1_s: Array, *, repetition_time_s: float, flip_angle_deg: float) -> Array:
    """Return the steady-state signal per unit of proton density at TE = 0 (Ernst formula)."""
    angle = np.deg2rad(flip_angle_deg)
    decay = np.exp(-repetition_time_s / t1_s)
    return np.asarray(np.sin(angle) * (1 - decay) / (1 - np.cos(angle) * decay))


def mprage(t1_s: Array) -> Array:
    """Return the signed signal at the centre of k-space per unit of proton density.

    Inversion, recovery, a train of 9-degree pulses 7.1 ms apart, recovery; repeated every 2.3 s
    with TI = 0.9 s (Deichmann 2000, doi 10.1006/nimg.2000.0601; the ADNI-like protocol). The
    magnetisation before an inversion is the fixed point of the cycle.
    """
    flip, spacing_s, pulses = np.deg2rad(9.0), 0.0071, 176
    train_s = spacing_s * pulses
    # TI counts to the middle of the train, where the centre of k-space is read.
    before_s = 0.9 - train_s / 2
    after_s = 2.3 - before_s - train_s
    # During the train T1 recovery and the loss to each pulse act together (Look and Locker 1970,
    # doi 10.1063/1.1684482): an exponential towards ``level`` with a shorter time constant.
    driven_s = 1 / (1 / t1_s - np.log(np.cos(flip)) / spacing_s)
    level = driven_s / t1_s
    recovery, end = np.exp(-before_s / t1_s), np.exp(-after_s / t1_s)
    # Half of the train: start to the centre of k-space; squared, the whole of it.
    half = np.exp(-train_s / 2 / driven_s)
    # last = 1 + (train_end - 1) end, train_end = level + (start - level) half^2,
    # start = 1 - (1 + last) recovery: linear in `last`.
    slope = -recovery * half**2 * end
    last = (1 + (level + (1 - recovery - level) * half**2 - 1) * end) / (1 - slope)
    start = 1 - (1 + last) * recovery
    return np.asarray(np.sin(flip) * (level + (start - level) * half))


def fluid_attenuated(t1_s: Array, t2_s: Array) -> Array:
    """Return the FLAIR signal per unit of proton density: TR 9 s, TI 2.5 s, TE 95 ms."""
    # The time of the echo train, during which nothing recovers, is neglected.
    longitudinal = 1 - 2 * np.exp(-2.5 / t1_s) + np.exp(-9.0 / t1_s)
    return np.asarray(longitudinal * np.exp(-0.095 / t2_s))


def cropped(fine: Complex, oversampling: tuple[int, int, int]) -> Complex:
    """Return the image that a scanner with fewer k-space samples would make of a fine signal.

    The central part of k-space is kept, so intravoxel dephasing and ringing are those of a scan.
    A ramp of phase moves the samples to the centres of the coarse voxels, which lie between fine
    voxels when the factor is even.

    Parameters
    ----------
    fine
        Complex signal, every length divisible by its factor.
    oversampling
        Factor for each axis.
    """
    for axis in (2, 1, 0):
        # One axis after the other: each transform then works on what the last has made smaller.
        fine = _decimated(fine, axis, oversampling[axis])
    return fine


def _decimated(fine: Complex, axis: int, factor: int) -> Complex:
    if factor == 1:
        return fine
    length = fine.shape[axis]
    kept = length // factor
    spectrum = np.moveaxis(fft.fft(fine, axis=axis), axis, 2)
    # Whole waves over the field of view, in the order of the transform; rounded, as n (k / n) may
    # not be k.
    wave = np.round(fft.fftfreq(kept) * kept).astype(int)
    # A coarse voxel's centre lies (factor - 1) / 2 fine voxels behind that of its first one.
    ramp = np.exp(2j * np.pi * wave / length * (factor - 1) / 2).astype(np.complex64) / factor
    central = spectrum[..., wave % length] * ramp
    if kept % 2 == 0:
        # The Nyquist sample stands for +k and -k alike: their mean.
        other = spectrum[..., kept // 2] * np.conj(ramp[kept // 2])
        central[..., kept // 2] = (central[..., kept // 2] + other) / 2
    image = fft.ifft(central, axis=2, overwrite_x=True)
    return np.ascontiguousarray(np.moveaxis(image, 2, axis), dtype=np.complex64)


def block_mean(fine: NDArray[np.float32], factor: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the mean over the fine voxels of each coarse voxel: what truth means there."""
    for axis in (2, 1, 0):
        if factor[axis] > 1:
            shape = list(fine.shape)
            shape[axis : axis + 1] = [shape[axis] // factor[axis], factor[axis]]
            fine = fine.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    return fine


def noisy(signal: Complex, sigma: float, generator: np.random.Generator) -> Complex:
    """Return the signal with white complex noise of the given deviation in each part."""
    return np.asarray(signal + white_noise(signal.shape, sigma, generator), dtype=np.complex64)


def white_noise(shape: tuple[int, ...], sigma: float, generator: np.random.Generator) -> Complex:
    """Return complex white noise of the given deviation in each part."""
    noise = generator.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)
    return np.asarray(np.float32(sigma) * noise[..., 0])
