"""What the sidecars of one gradient-echo scan say together: one value each, or a clear line."""

from __future__ import annotations

import re
import reprlib
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.scan_warnings import (
    FrequencyInOtherUnit,
    FrequencyOfAnotherField,
    FrequencyUnusable,
    GapBetweenSlices,
    SlicesElsewhere,
    ZeroFilled,
)
from bids_qsmthal.qsm.acquisition import GYROMAGNETIC_RATIO_HZ_PER_T

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_qsmthal.core.scan_warnings import ScanWarning

SAME_NUMBER = 1e-3
"""Relative difference of two roundings of one number: 2.89362 and 2.8936 T are one field."""

MOST_FREQUENCY_DIFFERENCE = 0.05
"""A "3 T" magnet of Siemens is one of 2.894 T, 3.5 % less; a larger difference is a mistake."""

FREQUENCY_UNITS_HZ = {"MHz": 1e6, "kHz": 1e3, "Hz": 1.0}
"""BIDS wants MHz; the others are told by the field strength."""

CONTRAST_KEYS = ("ContrastBolusAgent", "ContrastBolusIngredient")


NUMBERS = ("EchoTime", "MagneticFieldStrength", "ImagingFrequency")
"""What susceptibility is computed from; ``EchoTime`` of a 4-D file is a list of numbers."""

WRITTEN_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d+)?")
"""A number as JSON writes it. A decimal comma is none: 1,500 would be two numbers."""


def with_numbers(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return metadata in which numbers in quotes, or in a list of one, are numbers.

    Tables of a lab that are turned into sidecars leave them so. Anything else stays as it is.
    """
    numbers = {key: _number(sidecar[key]) for key in NUMBERS if key in sidecar}
    return sidecar | numbers


def written_otherwise(sidecars: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the keys whose numbers ``with_numbers`` has to read from something else."""
    found = {
        key
        for sidecar in sidecars
        for key, value in with_numbers(sidecar).items()
        if value is not sidecar[key]
    }
    return tuple(key for key in NUMBERS if key in found)


def _number(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case str() if WRITTEN_NUMBER.fullmatch(value.strip()):
            return float(value)
        case [str() | int() | float() as one]:
            return _number(one)
        case list():
            items = [_number(item) if isinstance(item, str) else item for item in value]
            return items if items != value else value
    return value


def field_strength_t(sidecars: Sequence[dict[str, Any]], name: str) -> float:
    """Return the main field: as stated, or by the imaging frequency where nothing is stated.

    Raises
    ------
    MissingInputError
        Neither is known.
    """
    value = one_value(sidecars, "MagneticFieldStrength", name)
    if is_number(value):
        return float(value)
    frequency = one_value(sidecars, "ImagingFrequency", name)
    # Only where nothing is stated: a wrong text must be corrected, not replaced in silence.
    if value is None and is_number(frequency) and frequency > 0:
        return float(frequency) * FREQUENCY_UNITS_HZ["MHz"] / GYROMAGNETIC_RATIO_HZ_PER_T
    raise MissingInputError(
        f"{name}: MagneticFieldStrength in the sidecars is {shown(value)}, expected tesla; "
        "add it to the JSON files."
    )


def imaging_frequency_hz(
    sidecars: Sequence[dict[str, Any]], nominal_hz: float, name: str
) -> tuple[float | None, ScanWarning | None]:
    """Return the frequency the scanner was tuned to, and a warning where it is doubtful.

    Parameters
    ----------
    sidecars
        Of every echo and part.
    nominal_hz
        Larmor frequency at the stated field strength.
    name
        Of the scan, for messages.

    Returns
    -------
    frequency_hz
        ``None`` where no sidecar has a positive number.
    warning
        ``None`` where there is nothing to say.
    """
    stored = one_value(sidecars, "ImagingFrequency", name)
    if stored is None:
        return None, None
    if not is_number(stored) or stored <= 0:
        return None, FrequencyUnusable(shown(stored))
    # The units are a thousand apart and the tolerance is 5 %: at most one fits.
    for unit, factor in FREQUENCY_UNITS_HZ.items():
        if abs(stored * factor / nominal_hz - 1) <= MOST_FREQUENCY_DIFFERENCE:
            warning = None if unit == "MHz" else FrequencyInOtherUnit(float(stored), unit)
            return float(stored) * factor, warning
    # The frequency is taken: the scanner was tuned to it, while the field is often a nominal value.
    frequency_hz = float(stored) * FREQUENCY_UNITS_HZ["MHz"]
    fields_t = (value / GYROMAGNETIC_RATIO_HZ_PER_T for value in (frequency_hz, nominal_hz))
    return frequency_hz, FrequencyOfAnotherField(float(stored), *fields_t)


def one_word(sidecars: Sequence[dict[str, Any]], key: str, name: str) -> str | None:
    """Return the one text that all sidecars agree on, whatever its case.

    Raises
    ------
    DataError
        It is no text, or the sidecars differ.
    """
    value = one_value(sidecars, key, name)
    if not isinstance(value, str | None):
        raise DataError(
            f"{name}: {key} in the sidecars is {shown(value)}, expected a text; correct the JSON "
            "files."
        )
    return value


def words(sidecars: Sequence[dict[str, Any]], *keys: str) -> tuple[str, ...]:
    """Return every text that any sidecar holds under these keys, once; lists are taken apart."""
    found: dict[str, None] = {}
    for sidecar in sidecars:
        for key in keys:
            value = sidecar.get(key)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and item.strip():
                    found[item.strip()] = None
    return tuple(found)


def contrast_agent(sidecars: Sequence[dict[str, Any]]) -> str:
    """Return the contrast agent that a sidecar names; empty where none does."""
    # Converters fill the key with words for nothing.
    unused = {"none", "no", "n/a", "na", "unknown", "0"}
    named = [word for word in words(sidecars, *CONTRAST_KEYS) if word.lower() not in unused]
    return " ".join(named)


SAME_SIZE = 0.02
"""Relative difference of two sizes of a voxel that is rounding."""

MOST_OF_ACQUIRED = 1.1
"""A matrix that is larger than the acquired one by more is interpolated; less is rounding to even
numbers."""


def geometry_doubts(
    sidecars: Sequence[dict[str, Any]], voxel_size_mm: Sequence[float]
) -> tuple[ScanWarning, ...]:
    """Return what the sidecars say about slices and matrix that the header does not show."""
    doubts: list[ScanWarning] = []
    thickness, spacing = (
        _positive(sidecars, key) for key in ("SliceThickness", "SpacingBetweenSlices")
    )
    if thickness and spacing and spacing > thickness * (1 + SAME_SIZE):
        doubts.append(GapBetweenSlices(thickness, spacing))
    if spacing and all(abs(size - spacing) > SAME_SIZE * spacing for size in voxel_size_mm):
        shown_mm = " x ".join(f"{size:.3g}" for size in voxel_size_mm)
        doubts.append(SlicesElsewhere(spacing, shown_mm))
    acquired, made = (_positive(sidecars, key) for key in ("AcquisitionMatrixPE", "ReconMatrixPE"))
    if acquired and made and made > MOST_OF_ACQUIRED * acquired:
        doubts.append(ZeroFilled(round(acquired), round(made)))
    return tuple(doubts)


def _positive(sidecars: Sequence[dict[str, Any]], key: str) -> float | None:
    """Return the positive number that the sidecars agree on; else None."""
    values = [sidecar[key] for sidecar in sidecars if is_number(sidecar.get(key))]
    alike = values and all(_same(value, values[0]) for value in values)
    return float(values[0]) if alike and values[0] > 0 else None


def one_value(sidecars: Sequence[dict[str, Any]], key: str, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return the one value that all sidecars agree on; ``None`` where none has it.

    Raises
    ------
    DataError
        They differ by more than rounding, or the case of letters.
    """
    # Sidecars that are silent agree with the others: converters drop keys from single echoes.
    values = [sidecar[key] for sidecar in sidecars if sidecar.get(key) is not None]
    if any(not _same(value, values[0]) for value in values):
        raise DataError(
            f"{name}: {key} differs between the sidecars of one scan: {shown(values)}, expected "
            "one value; correct the JSON files."
        )
    return values[0] if values else None


def _same(one: object, other: object) -> bool:
    if is_number(one) and is_number(other):
        return abs(one - other) <= SAME_NUMBER * max(abs(one), abs(other))
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().casefold() == other.strip().casefold()
    return one == other


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a JSON value is a finite number that fits the machine's."""
    # True and False are integers to Python.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # Also false for NaN and infinity, which Python's JSON reader accepts, and for integers that no
    # float holds.
    return bool(abs(value) < sys.float_info.max)


def shown(value: object) -> str:
    """Return a JSON value as a message can show it: in one line, and not for pages."""
    return reprlib.repr(value)
