"""Named scans as they come from scanners: protocol, parameters and effects together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bids_qsmthal.qsm import Acquisition
from bids_qsmthal.simulate.coils import CoilArray, FringeLine, PhaseBump
from bids_qsmthal.simulate.effects import PLAIN, Effects, Slab, TissueOffset
from bids_qsmthal.simulate.flow import Flow
from bids_qsmthal.simulate.parameters import Parameters, Protocol
from bids_qsmthal.simulate.sampling import (
    BipolarReadout,
    HighPassPhase,
    InterleavedSlices,
    KSpace,
)
from bids_qsmthal.simulate.sources import SourceSpread


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way in which a scan is not the plain one.

    Attributes
    ----------
    title
        For people.
    effects
        On the signal; where they depend on the protocol, a function of it.
    parameters
        What changes of the person's parameters, protocol included.
    """

    title: str
    effects: Effects | Callable[[Protocol], Effects] = PLAIN
    parameters: Callable[[Parameters], Parameters] = lambda parameters: parameters

    def applied(self, parameters: Parameters) -> tuple[Parameters, Effects]:
        """Return the parameters and effects of a scan that was planned as a plain one."""
        changed = self.parameters(parameters)
        if isinstance(self.effects, Effects):
            return changed, self.effects
        return changed, self.effects(changed.protocol)


def with_acquisition(parameters: Parameters, acquisition: Acquisition) -> Parameters:
    """Return parameters whose protocol has another field or other echoes."""
    return replace(parameters, protocol=replace(parameters.protocol, acquisition=acquisition))


def at_1_5_tesla(parameters: Parameters) -> Parameters:
    """Return the scan at 1.5 T: echoes twice as late, half the signal-to-noise ratio."""
    times = tuple(round(2 * t, 6) for t in parameters.protocol.acquisition.echo_times_s)
    acquisition = Acquisition(echo_times_s=times, field_strength_t=1.5)
    return replace(with_acquisition(parameters, acquisition), snr=parameters.snr / 2)


def at_7_tesla(parameters: Parameters) -> Parameters:
    """Return the scan at 7 T: echoes in 3/7 of the time, so that phases stay."""
    times = tuple(round(t * 3 / 7, 6) for t in parameters.protocol.acquisition.echo_times_s)
    return with_acquisition(parameters, Acquisition(echo_times_s=times, field_strength_t=7.0))


def with_low_frequency(parameters: Parameters) -> Parameters:
    """Return the scan on a "3 T" magnet that is tuned to 123.2 MHz, which are 2.894 T."""
    acquisition = replace(parameters.protocol.acquisition, imaging_frequency_hz=123.2e6)
    return with_acquisition(parameters, acquisition)


def sagittal(parameters: Parameters) -> Parameters:
    """Return the scan with sagittal slices that cover the head from ear to ear."""
    return replace(parameters, protocol=turned(parameters.protocol), oblique_deg=0.0, tilt_deg=90.0)


def turned(protocol: Protocol) -> Protocol:
    """Return a protocol for slices across the left-right axis: readout along the head's z axis."""
    (nx, ny, nz), (dx, dy, dz) = protocol.shape, protocol.voxel_size_mm
    shape = (2 * round(nz * dz / dx / 2), ny, 2 * round(nx * dx / dz / 2))
    return replace(protocol, shape=shape, voxel_size_mm=(dx, dy, dz))


def oblique(parameters: Parameters) -> Parameters:
    """Return the scan with its slab turned by 45 degrees about the left-right axis."""
    return replace(parameters, oblique_deg=45.0)


def flat(parameters: Parameters) -> Parameters:
    """Return the scan with axial slices, so that slabs end where they are meant to."""
    return replace(parameters, oblique_deg=0.0, tilt_deg=0.0)


def slab(low_mm: float, high_mm: float) -> Callable[[Protocol], Effects]:
    """Return a slab between two heights of the atlas, where the protocol is axial."""

    def of(protocol: Protocol) -> Effects:
        # The middle of the protocol lies 6 mm above the atlas's origin.
        step_mm = protocol.voxel_size_mm[2]
        bottom_mm = 6.0 - protocol.shape[2] * step_mm / 2
        first = round((low_mm - bottom_mm) / step_mm)
        slices = round((high_mm - low_mm) / step_mm)
        return Effects(slab=Slab(first=first, slices=slices))

    return of


NEAR_THALAMUS: Final = (PhaseBump(centre_mm=(22.0, 0.0, 0.0)),)
THROUGH_THALAMUS: Final = (FringeLine(first_mm=(12.0, 30.0), second_mm=(12.0, -50.0)),)
LATERAL_FRINGE: Final = (FringeLine(),)

SCENARIOS: Final = {
    "plain": Scenario(title="plain"),
    "zero-filled": Scenario(
        title="two thirds of the matrix acquired in plane, the rest zero-filled",
        effects=Effects(k_space=KSpace(acquired=(2 / 3, 2 / 3, 1.0))),
    ),
    "hamming": Scenario(
        title="Hamming window on k-space", effects=Effects(k_space=KSpace(window="hamming"))
    ),
    "tukey": Scenario(
        title="Tukey window on three quarters of k-space, zero-filled",
        effects=Effects(k_space=KSpace(acquired=(0.75, 0.75, 0.75), window="tukey")),
    ),
    "eight-channel": Scenario(
        title="eight-channel coil, dark centre", effects=Effects(coils=CoilArray())
    ),
    "normalised": Scenario(
        title="eight-channel coil, normalised: noise in the centre",
        effects=Effects(coils=CoilArray(normalised=True)),
    ),
    "phase-bump": Scenario(
        title="local coil phase of 0.5 rad", effects=Effects(phase_offsets=NEAR_THALAMUS)
    ),
    "fringe-line": Scenario(
        title="open-ended fringe line lateral to the nuclei",
        effects=Effects(phase_offsets=LATERAL_FRINGE),
    ),
    "fringe-line-thalamus": Scenario(
        title="open-ended fringe line through a thalamus",
        effects=Effects(phase_offsets=THROUGH_THALAMUS),
    ),
    "flow": Scenario(title="flow in veins and arteries", effects=Effects(flow=Flow())),
    "bipolar": Scenario(
        title="bipolar readouts, linear and quadratic phase",
        effects=Effects(bipolar=BipolarReadout()),
    ),
    "interleaved-2d": Scenario(
        title="2-D, odd slices 3 Hz off", effects=Effects(slices=InterleavedSlices())
    ),
    "high-pass": Scenario(
        title="phase filtered as for SWI", effects=Effects(filtering=HighPassPhase())
    ),
    "slab-to-thalamus": Scenario(
        title="slab of 48 mm that begins below the thalami",
        effects=slab(-4.0, 44.0),
        parameters=flat,
    ),
    "slab-from-below": Scenario(
        title="slab of 60 mm that ends above the thalami",
        effects=slab(-36.0, 24.0),
        parameters=flat,
    ),
    "sagittal": Scenario(title="sagittal slices", parameters=sagittal),
    "oblique-45": Scenario(title="slab turned by 45 degrees", parameters=oblique),
    "1.5t": Scenario(title="1.5 T", parameters=at_1_5_tesla),
    "7t": Scenario(title="7 T", parameters=at_7_tesla),
    "frequency": Scenario(
        title="magnet of 2.894 T that is called 3 T", parameters=with_low_frequency
    ),
    "tissue-below-csf": Scenario(
        title="gray and white matter 20 ppb lower", effects=Effects(tissue=TissueOffset(ppb=-20.0))
    ),
    "tissue-above-csf": Scenario(
        title="gray and white matter 20 ppb higher", effects=Effects(tissue=TissueOffset(ppb=20.0))
    ),
    "sources": Scenario(
        title="iron and myelin vary apart, R2* follows both",
        effects=Effects(sources=SourceSpread()),
    ),
    "many": Scenario(
        title="eight channels, normalised, zero-filled, Tukey window, flow, oblique, 2.894 T",
        effects=Effects(
            coils=CoilArray(normalised=True),
            k_space=KSpace(acquired=(0.75, 0.75, 1.0), window="tukey", taper=0.3),
            flow=Flow(),
        ),
        parameters=lambda parameters: with_low_frequency(
            replace(parameters, oblique_deg=20.0, tilt_deg=5.0)
        ),
    ),
}
"""By name; ``plain`` is what every other one is to be compared with."""
