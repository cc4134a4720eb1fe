"""How a gradient echo was acquired, as far as its sidecars say it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_qsmthal.qsm.separation import SliceStack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bids_qsmthal.bids.gre_series import MagnitudeSeries
    from bids_qsmthal.core.grid import Grid

LONGEST_TR_S = 5.0

LONGEST = 80
"""Characters of a word of a sidecar that a table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionProtocol:
    """What the consensus asks to report of a scan (Bilgic 2024, doi 10.1002/mrm.30006).

    None where the sidecars are silent, disagree between echoes, or hold what cannot be the value.

    Attributes
    ----------
    sequence
        ``PulseSequenceType``, else ``SequenceName``, else ``ScanningSequence``.
    dimensions
        ``2D`` or ``3D``.
    imaging_frequency_mhz
        As the sidecar has it.
    pixel_bandwidth_hz
        Of one pixel along the readout.
    acquired_voxel_size_mm
        Before interpolation.
    acquired_matrix
        Steps along the readout and of phase encoding, before interpolation.
    slice_thickness_mm, slice_spacing_mm
        Of a slice, and from the middle of one to that of the next.
    acceleration
        In-plane parallel imaging factor.
    """

    sequence: str | None = None
    dimensions: str | None = None
    repetition_time_s: float | None = None
    flip_angle_deg: float | None = None
    pixel_bandwidth_hz: float | None = None
    imaging_frequency_mhz: float | None = None
    acquired_voxel_size_mm: tuple[float, ...] | None = None
    acquired_matrix: tuple[float, ...] | None = None
    slice_thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    acceleration: float | None = None
    manufacturer: str | None = None
    model: str | None = None
    software: str | None = None
    coil: str | None = None


def read(series: MagnitudeSeries) -> AcquisitionProtocol:
    """Return how a scan was acquired."""
    sidecars = [echo.metadata for echo in series.echoes]
    sequence = (_word(sidecars, key) for key in SEQUENCE_KEYS)
    dimensions = _word(sidecars, "MRAcquisitionType")
    return AcquisitionProtocol(
        sequence=next((word for word in sequence if word), None),
        dimensions=dimensions if dimensions in ("2D", "3D") else None,
        # RepetitionTimeExcitation is what BIDS calls the TR of a gradient echo; converters also
        # write RepetitionTime.
        repetition_time_s=_number(
            sidecars,
            ("RepetitionTimeExcitation", "RepetitionTime"),
            # An excitation lasts longer than its last echo. A gradient echo of more than 5 s would
            # take an hour: such a number is in ms.
            above=max(series.acquisition.echo_times_s),
            below=LONGEST_TR_S,
        ),
        flip_angle_deg=_number(sidecars, ("FlipAngle",), above=0, below=180),
        pixel_bandwidth_hz=_number(sidecars, ("PixelBandwidth",), above=0, below=1e6),
        # Below 1 or above 1000 it is in another unit; 14 T is 596 MHz.
        imaging_frequency_mhz=_number(sidecars, ("ImagingFrequency",), above=1, below=1000),
        acquired_voxel_size_mm=_sizes(sidecars, "AcquisitionVoxelSize"),
        acquired_matrix=_matrix(sidecars),
        slice_thickness_mm=_number(sidecars, ("SliceThickness",), above=0, below=100),
        slice_spacing_mm=_number(sidecars, ("SpacingBetweenSlices",), above=0, below=100),
        acceleration=_number(sidecars, ("ParallelReductionFactorInPlane",), above=0, below=100),
        manufacturer=_word(sidecars, "Manufacturer"),
        model=_word(sidecars, "ManufacturersModelName"),
        software=_word(sidecars, "SoftwareVersions"),
        coil=_word(sidecars, "ReceiveCoilName"),
    )


def voxels_per_acquired(series: MagnitudeSeries, grid: Grid) -> float:
    """Return how many voxels of the image one acquired voxel was interpolated to; 1 if unsaid.

    By the acquired voxel size, else by the matrices: rows of k-space along the phase encoding
    (``AcquisitionMatrixPE`` of ``ReconMatrixPE``) and along the readout (``BaseResolution`` of the
    size of the image).
    """
    sidecars = [echo.metadata for echo in series.echoes]
    size_mm = _sizes(sidecars, "AcquisitionVoxelSize")
    if size_mm is not None:
        return max(1.0, math.prod(size_mm) / grid.voxel_volume_mm3)
    acquired, made, base = (
        _number(sidecars, (key,), above=0, below=1e5)
        for key in ("AcquisitionMatrixPE", "ReconMatrixPE", "BaseResolution")
    )
    encoded = _one(sidecars, "PhaseEncodingDirection")
    # The readout is the other axis of the plane; where the header does not name one, the longer.
    readout = {"j": 0, "i": 1}.get(str(encoded)[:1])
    length = max(grid.shape[:2]) if readout is None else grid.shape[readout]
    along_phase = made / acquired if acquired and made else 1.0
    along_readout = length / base if base else 1.0
    return max(1.0, along_phase) * max(1.0, along_readout)


SAME_SIZE = 0.02
"""Relative difference of two sizes of a voxel that is rounding."""


def slice_stack(series: MagnitudeSeries, grid: Grid) -> SliceStack | None:
    """Return how the slices of a 2-D scan lie; ``None`` where it is not known to be one.

    Across the axis that ``SliceEncodingDirection`` names; else the one axis whose voxels have the
    size of ``SpacingBetweenSlices`` or ``SliceThickness``, for tools that reorient images keep
    sizes and forget directions; else the third, along which converters stack slices.
    """
    found = read(series)
    if found.dimensions != "2D":
        return None
    sidecars = [echo.metadata for echo in series.echoes]
    named = str(_one(sidecars, "SliceEncodingDirection"))[:1]
    stated_mm = found.slice_spacing_mm or found.slice_thickness_mm
    fits = [
        axis
        for axis, size_mm in enumerate(grid.voxel_size_mm)
        if stated_mm is not None and abs(size_mm - stated_mm) <= SAME_SIZE * stated_mm
    ]
    axis = {"i": 0, "j": 1, "k": 2}.get(named, fits[0] if len(fits) == 1 else 2)
    thickness_mm = found.slice_thickness_mm or grid.voxel_size_mm[axis]
    # Slices that overlap are reconstructed or interpolated ones: each still dephases over its own
    # thickness.
    return SliceStack(axis=axis, thickness=thickness_mm / grid.voxel_size_mm[axis])


SEQUENCE_KEYS = ("PulseSequenceType", "SequenceName", "ScanningSequence")
"""From the plainest to the most technical."""


def _one(sidecars: Iterable[Mapping[str, Any]], key: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value that all sidecars that have one agree on; else None."""
    values = [sidecar[key] for sidecar in sidecars if key in sidecar]
    return values[0] if values and all(value == values[0] for value in values) else None


def _word(sidecars: Iterable[Mapping[str, Any]], key: str) -> str | None:
    value = _one(sidecars, key)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        # ScanningSequence is a list in DICOM, and so in sidecars.
        value = " ".join(value)
    if not isinstance(value, str) or not value.strip():
        return None
    return " ".join(value.split())[:LONGEST]


def _number(
    sidecars: Iterable[Mapping[str, Any]], keys: tuple[str, ...], *, above: float, below: float
) -> float | None:
    """Return the first of some keys that holds a number within bounds."""
    for key in keys:
        value = _one(sidecars, key)
        if _is_number(value) and above < value <= below:
            return float(value)
    return None


def _matrix(sidecars: Sequence[Mapping[str, Any]]) -> tuple[float, ...] | None:
    """Return readout and phase-encoding steps, as dcm2niix names them."""
    steps = [
        _number(sidecars, (key,), above=0, below=10000)
        for key in ("BaseResolution", "AcquisitionMatrixPE")
    ]
    return tuple(step for step in steps if step is not None) or None


def _sizes(sidecars: Iterable[Mapping[str, Any]], key: str) -> tuple[float, ...] | None:
    value = _one(sidecars, key)
    if not isinstance(value, list) or len(value) != 3:
        return None
    if not all(_is_number(size) and size > 0 for size in value):
        return None
    return tuple(float(size) for size in value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # In this order: an integer of hundreds of digits would overflow in isfinite.
    return abs(value) < 1e12 and math.isfinite(value)
