"""The minimum that the consensus asks to report of a scan and its reconstruction, as values.

QSM Consensus Organization Committee, Bilgic et al. 2024 (doi 10.1002/mrm.30006): sequence, timing,
resolution, field and its direction, and each step from mask to reference with its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import pandas as pd

from bids_qsmthal import choices
from bids_qsmthal.core.sources import Maker
from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.report import numbers
from bids_qsmthal.report.steps import origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.report.methods_run import MagnitudeRun, MethodsRun, RegionsRun, ScanRun

Value = str | float | tuple[float, ...] | None

DIGITS = 6
"""Enough for a frequency of 127.774 MHz and an echo time of 24.2875 ms."""


class Origin(StrEnum):
    """Where a parameter was read."""

    SIDECAR = "sidecar"
    HEADER = "image header"
    DATA = "data"
    RUN = "this run"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a scan or of its reconstruction; None where nobody says it."""

    name: str
    value: Value
    unit: str
    origin: Origin


class Polarity(StrEnum):
    """In which directions the echoes were read, as far as their phase tells."""

    ALTERNATING = "alternating (bipolar)"
    ONE_DIRECTION = "one direction (monopolar)"
    UNKNOWN = "too few echoes to tell"
    NO_PHASE = "no phase to tell"


def parameters(run: MethodsRun) -> tuple[Parameter, ...]:
    """Return every parameter in the order of the consensus; none without a gradient echo."""
    if run.magnitude is not None:
        mask = Parameter("mask", _mask(run), "", Origin.RUN)
        return (*_sequence(run.magnitude), *_grid(run.magnitude), mask)
    if run.scan is None:
        return ()
    return (*_acquired(run.scan), *_reconstructed(run, run.scan))


def table(run: MethodsRun) -> pd.DataFrame:
    """Return the parameters as a table for readers."""
    rows = [(one.name, _text(one.value), one.unit, one.origin.value) for one in parameters(run)]
    return pd.DataFrame(rows, columns=["parameter", "value", "unit", "from"])


BOX = (
    ("Scanner", ("scanner", "field strength")),
    ("Sequence", ("sequence", "dimensions")),
    ("TE", ("echo times",)),
    ("TR", ("repetition time",)),
    ("Flip angle", ("flip angle",)),
    ("Voxel", ("voxel size",)),
    ("Acquired voxel", ("acquired voxel size",)),
    ("Matrix", ("matrix",)),
)
"""What a reader wants to know of a scan at first sight, and the parameters that say it."""


def box(run: MethodsRun) -> list[tuple[str, str]]:
    """Return the scan in a few words: label and text, without what nobody says."""
    known = {one.name: one for one in parameters(run) if one.value is not None}
    rows = []
    for label, names in BOX:
        parts = [known[name] for name in names if name in known]
        texts = [f"{_short(one)} {one.unit}".strip() for one in parts]
        if texts:
            rows.append((label, ", ".join(texts)))
    return rows


def _short(one: Parameter) -> str:
    """Return a value with three digits; sizes as 1 x 1 x 2, echoes as a list."""
    if isinstance(one.value, tuple):
        sign = ", " if one.unit == "ms" else " \N{MULTIPLICATION SIGN} "
        return sign.join(numbers.brief(part) for part in one.value)
    return numbers.brief(one.value) if isinstance(one.value, float | int) else str(one.value)


def _acquired(scan: ScanRun) -> Iterator[Parameter]:
    yield from _sequence(scan)
    # BIDS has no field for it: alternating echoes show in the phase.
    yield Parameter("readout polarity", polarity(scan.phase), "", Origin.DATA)
    yield from _grid(scan)


def _sequence(scan: ScanRun | MagnitudeRun) -> Iterator[Parameter]:
    protocol, acquisition = scan.protocol, scan.acquisition
    # BIDS has seconds; papers have milliseconds.
    times_ms = tuple(1000 * time for time in acquisition.echo_times_s)
    repetition = protocol.repetition_time_s
    for name, value, unit in (
        ("scanner", _joined(protocol.manufacturer, protocol.model, protocol.software), ""),
        ("receive coil", protocol.coil, ""),
        ("sequence", protocol.sequence, ""),
        ("dimensions", protocol.dimensions, ""),
        ("field strength", acquisition.field_strength_t, "T"),
        ("imaging frequency", protocol.imaging_frequency_mhz, "MHz"),
        ("repetition time", None if repetition is None else 1000 * repetition, "ms"),
        ("flip angle", protocol.flip_angle_deg, "degrees"),
        ("bandwidth", protocol.pixel_bandwidth_hz, "Hz/pixel"),
        ("echo times", times_ms, "ms"),
        ("acceleration in plane", protocol.acceleration, ""),
        ("acquired matrix", protocol.acquired_matrix, "steps"),
        ("acquired voxel size", protocol.acquired_voxel_size_mm, "mm"),
        ("slice thickness", protocol.slice_thickness_mm, "mm"),
        ("slice spacing", protocol.slice_spacing_mm, "mm"),
    ):
        yield Parameter(name, value, unit, Origin.SIDECAR)


def _grid(scan: ScanRun | MagnitudeRun) -> Iterator[Parameter]:
    grid = scan.grid
    for name, value, unit in (
        ("matrix", tuple(map(float, grid.shape)), "voxels"),
        ("voxel size", grid.voxel_size_mm, "mm"),
        ("direction of B0 along the voxel axes", grid.b0_direction, ""),
    ):
        yield Parameter(name, value, unit, Origin.HEADER)


def _reconstructed(run: MethodsRun, scan: ScanRun) -> Iterator[Parameter]:
    reconstruction = scan.reconstruction
    # Differs from the sidecar's where that is silent: then it follows from the field strength.
    frequency_mhz = 1e-6 * scan.acquisition.centre_frequency_hz
    yield Parameter("frequency that ppm are relative to", frequency_mhz, "MHz", Origin.RUN)
    inverted = scan.chi.maker is Maker.OURS
    ours = scan.total_field.maker is Maker.OURS
    for name, value in (
        ("mask", _mask(run)),
        ("phase offset", scan.offset if ours else origin(scan.total_field)),
        (
            "unwrapping",
            described(reconstruction.fitting.unwrapping) if ours else origin(scan.total_field),
        ),
        ("background removal", described(reconstruction.background)),
        ("CSF kept uniform", _fluid(scan) if inverted else None),
        ("inversion", described(reconstruction.inversion) if inverted else origin(scan.chi)),
        ("left out of the thalamus", None if run.regions is None else _left_out(run.regions)),
        ("reference", None if run.regions is None else run.regions.reference.label),
    ):
        yield Parameter(name, value, "", Origin.RUN)


def _mask(run: MethodsRun) -> str:
    """Return whose brain mask the gradient echo had."""
    brain = run.brains.get("gradient echo")
    if brain is None:
        return "brain of T1w"
    return "brain of the magnitude" if brain.maker is Maker.OURS else origin(brain)


def _left_out(regions: RegionsRun) -> str:
    """Return by what rules voxels of the thalamus are left out, whether there were any or not."""
    if regions.thalamus.maker is not Maker.OURS:
        return origin(regions.thalamus)
    rules = (
        ("rim", not regions.rim_kept),
        ("large veins" if regions.large_veins_only else "veins", True),
        ("fluid", True),
        ("lesions", not regions.lesions_kept),
    )
    return ", ".join(name for name, applies in rules if applies)


def _fluid(scan: ScanRun) -> str:
    """Return which fluid the inversion kept uniform."""
    method = scan.reconstruction.inversion
    held = isinstance(method, Medi) and method.csf_regularisation > 0 and scan.csf_held
    return described(scan.reconstruction.csf) if held else "none"


def described(method: object) -> str:
    """Return the name of a method with its numbers, such as ``medi: regularisation 1200``."""
    name = choices.name_of(method)
    if not is_dataclass(method):
        return name
    values = [(item.name, getattr(method, item.name)) for item in fields(method)]
    settings = [
        _setting(key, value)
        for key, value in values
        # Numbers only: to Python a switch is an int, too, and a method inside a method is not
        # named.
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return f"{name}: {', '.join(settings)}" if settings else name


UNITS = {"mm": "mm", "mm2": "mm2", "mm3": "mm3", "hz": "Hz", "rad": "rad", "ppm": "ppm"}
"""How the last word of a field's name is written behind its number."""


def _setting(key: str, value: float) -> str:
    """Return a parameter as a reader has it: ``margin 20 mm`` for ``margin_mm=20.0``."""
    name, _, unit = key.rpartition("_")
    if name and unit in UNITS:
        return f"{name.replace('_', ' ')} {numbers.brief(value)} {UNITS[unit]}"
    return f"{key.replace('_', ' ')} {numbers.brief(value)}"


def polarity(report: PhaseReport | None) -> Polarity:
    """Return in which directions the echoes were read; None stands for a scan without phase."""
    if report is None:
        return Polarity.NO_PHASE
    if report.bipolar_rad:
        return Polarity.ALTERNATING
    told = report.bipolar_left_rad is not None
    return Polarity.ONE_DIRECTION if told else Polarity.UNKNOWN


def _joined(*words: str | None) -> str | None:
    return ", ".join(word for word in words if word) or None


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(numbers.brief(one, DIGITS) for one in value)
    if isinstance(value, float | int):
        return numbers.brief(value, DIGITS)
    return numbers.MISSING if value is None else str(value)
