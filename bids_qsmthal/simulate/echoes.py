"""The complex image of each echo: precession on a fine grid, reception, k-space, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.affine import rescaled, starting_at, voxel_sizes_mm
from bids_qsmthal.simulate.coils import Reception
from bids_qsmthal.simulate.signals import block_mean, cropped, white_noise
from bids_qsmthal.simulate.tissues import ROW, r2star_at_hz

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.core.image import Affine
    from bids_qsmthal.simulate.effects import Effects
    from bids_qsmthal.simulate.flow import Blood, Flow
    from bids_qsmthal.simulate.gradient_echo import FineModel
    from bids_qsmthal.simulate.parameters import Parameters

Float = NDArray[np.float32]
Complex = NDArray[np.complex64]

WHITE_LEVEL: Final = 300.0
"""White matter at TE = 0 in stored units."""


class Scene(NamedTuple):
    """What precesses in a scan.

    Attributes
    ----------
    model, total_hz
        Tissue and frequency on the fine grid.
    to_head
        The fine grid to head mm.
    blood
        What moves in it, where flow is simulated.
    """

    model: FineModel
    total_hz: Float
    to_head: Affine
    blood: Blood | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Spins:
    """Signal of what rests, at TE = 0: amplitude and phase, and how it decays."""

    amplitude: Float
    phase_rad: Float
    r2star_hz: Float
    total_hz: Float

    def at(self, echo_time_s: float, readout_rad: Float | None = None) -> Complex:
        """Return the signal of an echo; ``readout_rad`` is a phase of its own along axis 0."""
        signal = np.empty(self.amplitude.shape, np.complex64)
        # Plane by plane: whole complex arrays of the fine grid would take gigabytes.
        for plane in range(len(signal)):
            magnitude = self.amplitude[plane] * np.exp(
                -self.r2star_hz[plane] * np.float32(echo_time_s)
            )
            phase = (
                self.phase_rad[plane] + np.float32(2 * np.pi * echo_time_s) * self.total_hz[plane]
            )
            if readout_rad is not None:
                phase += readout_rad[plane]
            signal[plane].real = magnitude * np.cos(phase)
            signal[plane].imag = magnitude * np.sin(phase)
        return signal


@dataclass(frozen=True, slots=True, eq=False)
class MovingSpins:
    """Signal of blood: where it lies, and how its phase and place depend on the echo time."""

    flow: Flow
    blood: Blood
    amplitude: Float
    phase_rad: Float
    hz: Float
    rad_per_s2: Float
    size_mm: float

    def add_to(self, signal: Complex, echo_time_s: float, readout_rad: Float | None) -> None:
        """Add the blood to the signal of an echo, at the place where it is seen."""
        per_plane = signal.shape[1] * signal.shape[2]
        plane, rest = np.divmod(self.blood.flat, per_plane)
        phase = self.phase_rad + np.float32(2 * np.pi * echo_time_s) * self.hz
        phase += self.rad_per_s2 * np.float32(echo_time_s**2)
        if readout_rad is not None:
            phase += readout_rad[plane]
        decay = np.exp(-self.blood.r2star_hz * np.float32(echo_time_s))
        values = self.amplitude * decay * np.exp(1j * phase)
        place = plane + self.flow.shift_voxels(self.blood, echo_time_s, self.size_mm)
        low = np.floor(place).astype(np.intp)
        # Shared by both neighbours, so that blood moves by parts of a voxel.
        for target, share in ((low, 1 - (place - low)), (low + 1, place - low)):
            inside = (target >= 0) & (target < signal.shape[0])
            where = target[inside] * per_plane + rest[inside]
            np.add.at(signal.reshape(-1), where, (share * values)[inside].astype(np.complex64))


def echo_signals(
    scene: Scene, parameters: Parameters, effects: Effects, generator: np.random.Generator
) -> Iterator[Complex]:
    """Yield the complex image of each echo; phase grows with positive frequency offset.

    Parameters
    ----------
    scene
        Tissue, field and blood.
    parameters
        Protocol, coil and noise.
    effects
        What else the scanner does.
    generator
        Source of randomness.
    """
    protocol = parameters.protocol
    factor = protocol.oversampling
    reception = _reception(scene, effects, factor)
    resting, moving = _spins(scene, parameters, effects, reception, generator)
    white_hz = r2star_at_hz(protocol.acquisition.effective_field_t)[ROW["white"]]
    echo_times_s = protocol.acquisition.echo_times_s
    # SNR is that of white matter in the first echo.
    sigma = WHITE_LEVEL * np.exp(-white_hz * echo_times_s[0]) / parameters.snr
    for echo, echo_time_s in enumerate(echo_times_s):
        readout_rad = None
        if effects.bipolar is not None:
            readout_rad = effects.bipolar.phase_rad(scene.total_hz.shape[0], echo)
        signal = resting.at(echo_time_s, readout_rad)
        if moving is not None:
            moving.add_to(signal, echo_time_s, readout_rad)
        image = _encoded(signal, effects, factor, echo_time_s)
        noise = white_noise(image.shape, float(sigma), generator)
        if effects.k_space is not None:
            image = effects.k_space(image)
            # As strong as asked for afterwards: the window takes some of the noise away.
            noise = effects.k_space(noise) / np.float32(effects.k_space.noise_gain(noise.shape))
        if reception is not None:
            noise = noise * reception.noise
        # Noise after the cut of k-space: a scanner adds it to the samples that it reads.
        image = np.asarray(image + noise, np.complex64)
        yield image if effects.filtering is None else effects.filtering(image)


def _encoded(
    signal: Complex, effects: Effects, factor: tuple[int, int, int], echo_time_s: float
) -> Complex:
    """Return what is sampled of a fine signal: k-space in 3-D, slice by slice in 2-D."""
    if effects.slices is None:
        return cropped(signal, factor)
    in_plane = cropped(signal, (factor[0], factor[1], 1))
    return effects.slices(effects.slices.sliced(in_plane, factor[2]), echo_time_s)


def _spins(
    scene: Scene,
    parameters: Parameters,
    effects: Effects,
    reception: Reception | None,
    generator: np.random.Generator,
) -> tuple[Spins, MovingSpins | None]:
    """Return what rests and what moves, as the coils see it at TE = 0."""
    model = scene.model
    shape = model.grid.shape
    # Drawn before the echoes: the phase at TE = 0 and the gain are the same in all of them.
    coil = smooth_field(shape, generator) * np.float32(parameters.coil_phase_rad)
    level = WHITE_LEVEL * (1 + parameters.bias * smooth_field(shape, generator))
    for offset in effects.phase_offsets:
        coil += offset.phase_rad(scene.to_head, shape)
    if reception is not None:
        level *= reception.gain
    if effects.slab is not None:
        level *= effects.slab.profile(shape[2], parameters.protocol.oversampling[2])
    amplitude = model.spin_density * level
    moving = None
    if effects.flow is not None and scene.blood is not None:
        moving = _moving(effects.flow, scene.blood, scene, amplitude, level, coil)
        amplitude.reshape(-1)[scene.blood.flat] *= 1 - scene.blood.fraction
    return Spins(amplitude, coil, model.r2star_hz, scene.total_hz), moving


def _moving(
    flow: Flow, blood: Blood, scene: Scene, amplitude: Float, level: Float, coil: Float
) -> MovingSpins:
    size_mm = float(voxel_sizes_mm(scene.to_head)[0])
    moment_rad, rad_per_s2 = flow.phase_rad(blood, scene.total_hz, size_mm)
    inflowing = blood.inflow * level.reshape(-1)[blood.flat]
    bright = np.where(blood.inflow > 0, inflowing, amplitude.reshape(-1)[blood.flat])
    return MovingSpins(
        flow=flow,
        blood=blood,
        amplitude=(blood.fraction * bright).astype(np.float32),
        phase_rad=coil.reshape(-1)[blood.flat] + moment_rad,
        hz=scene.total_hz.reshape(-1)[blood.flat],
        rad_per_s2=rad_per_s2,
        size_mm=size_mm,
    )


def _reception(scene: Scene, effects: Effects, factor: tuple[int, int, int]) -> Reception | None:
    """Return gain on the fine grid and noise on that of the images; both are 1 in the brain."""
    if effects.coils is None:
        return None
    brain = scene.model.brain
    parts = np.array(factor)
    coarse = rescaled(starting_at(scene.to_head, (parts - 1) / 2), parts)
    x, y, z = (n // f for n, f in zip(brain.shape, factor, strict=True))
    gain = effects.coils.reception(scene.to_head, scene.model.grid.shape).gain
    noise = effects.coils.reception(coarse, (x, y, z)).noise
    inside = block_mean(brain.astype(np.float32), factor) >= 0.5
    # SNR stays that of the parameters, on average over the brain.
    return Reception(gain / gain[brain].mean(), noise / np.sqrt((noise[inside] ** 2).mean()))


def smooth_field(shape: tuple[int, ...], generator: np.random.Generator) -> Float:
    """Return a random third-order polynomial of space within -1 and 1: what a coil adds."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    field = np.zeros(shape, np.float32)
    for powers in np.ndindex(4, 4, 4):
        # No constant: level and phase in the middle of the image stay what they are.
        if 0 < sum(powers) <= 3:
            weight = np.float32(generator.normal(0, 1 / sum(powers)))
            x, y, z = (axis**power for axis, power in zip(axes, powers, strict=True))
            field += weight * x[:, None, None] * y[None, :, None] * z[None, None, :]
    return np.asarray(field / np.abs(field).max())
