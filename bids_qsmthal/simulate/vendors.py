"""Complex images as scanners write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bids_qsmthal.simulate.parameters import Vendor

MILLIRADIAN_STEP = 2000 * np.pi / 4096
"""Philips phase: 12-bit integers over one turn, a slope turns them to mrad."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One part of a complex image as stored.

    Attributes
    ----------
    part
        BIDS ``part`` entity: ``mag``, ``phase``, ``real`` or ``imag``.
    integers
        What is in the file, int16.
    slope
        Stored value to value, as in the NIfTI header.
    units
        BIDS ``Units``, for the parts that need them.
    """

    part: str
    integers: NDArray[np.int16]
    slope: float = 1.0
    units: str | None = None


def encoded(signal: NDArray[np.complex64], vendor: Vendor) -> tuple[Stored, ...]:
    """Return what a scanner stores of a signal whose phase grows with positive frequency.

    The magnitude is rounded to integers, so the signal should come scaled to some hundreds.
    """
    # The conjugate turns the phase and leaves the magnitude.
    if vendor.phase_sign < 0:
        signal = np.conj(signal)
    if vendor.chopped:
        signal = signal.copy()
        # GE leaves out the shift of the transform along slices: every other one comes out negated.
        signal[:, :, 1::2] *= -1
    if vendor.storage == "complex":
        return (
            Stored("real", _integers(signal.real), units="arbitrary"),
            Stored("imag", _integers(signal.imag), units="arbitrary"),
        )
    magnitude = Stored("mag", _integers(np.abs(signal)))
    turns = np.angle(signal) / (2 * np.pi)
    if vendor.storage == "milliradian":
        # +pi has no step of its own in signed integers: it is stored one step below.
        steps = np.clip(np.round(turns * 4096), -2048, 2047).astype(np.int16)
        return magnitude, Stored("phase", steps, MILLIRADIAN_STEP, "arbitrary")
    steps = np.clip(np.round(turns * 8192), -4096, 4095).astype(np.int16)
    return magnitude, Stored("phase", steps, units="arbitrary")


def _integers(values: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.round(values), -32768, 32767).astype(np.int16)
