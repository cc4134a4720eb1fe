"""Stored phase values to radians: by header, units and manufacturer, never by the data's range.

The range of the data may only contradict: then the conversion is refused with a clear line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bids_qsmthal.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array

UNITS_RAD = {"rad": 1.0, "mrad": 1e-3, "deg": np.pi / 180, "degrees": np.pi / 180}
"""Units that say the scale themselves; BIDS allows ``rad`` and ``arbitrary``."""

LEAST_PEAK_RAD = 0.5
"""A phase image whose largest value is below this was scaled wrongly or holds no signal."""


def scale_to_radians(
    values: NDArray[Any],
    *,
    units: str | None,
    manufacturer: str | None,
    header_slope: float | None = None,
    header_intercept: float | None = None,
) -> Array:
    """Return phase in radians, float32; voxels that are not finite stay so.

    Parameters
    ----------
    values
        Phase of one echo with the header's slope and intercept already applied, as every NIfTI
        reader does.
    units
        BIDS ``Units`` of the sidecar; ``arbitrary`` and none mean the manufacturer's own.
    manufacturer
        BIDS ``Manufacturer``. Siemens: integers of +-4096 or 0..4095 for +-pi; GE: mrad; Philips:
        mrad or rad, which the slope tells.
    header_slope, header_intercept
        As in the header; none or not finite where the header has none.

    Raises
    ------
    DataError
        If the scale is unknown, or the values contradict it.
    """
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.any():
        raise DataError("The phase image holds no finite value but zero; check the file.")
    low, high = float(finite.min()), float(finite.max())
    unit = (units or "arbitrary").strip().lower()
    if unit in UNITS_RAD:
        factor, shift = UNITS_RAD[unit], 0.0
    elif unit in ("arbitrary", "a.u.", "au", "1", ""):
        slope = header_slope if header_slope is not None and np.isfinite(header_slope) else 1.0
        factor, shift = _of_manufacturer((manufacturer or "").lower(), slope, low)
    else:
        raise DataError(f"Phase has Units {units!r}, but BIDS knows 'rad' and 'arbitrary'.")
    _refuse_contradiction((low, high), factor, shift, f"Units {units!r}, {manufacturer!r}")
    offset = header_intercept or 0.0
    if not np.isfinite(offset):
        raise DataError(f"The phase header has the intercept {offset}; repair the file.")
    return cast("Array", (values * np.float32(factor) + np.float32(shift)).astype(np.float32))


def _of_manufacturer(name: str, slope: float, low: float) -> tuple[float, float]:
    """Return factor and shift from the manufacturer's own units to radians."""
    if "siemens" in name:
        # Signed and unsigned 12 bit differ by half a turn; only unsigned has no negative value.
        return (np.pi / 4096, 0.0) if low < 0 else (2 * np.pi / 4096, -np.pi)
    if "philips" in name:
        span = abs(slope) * 4096
        if np.isclose(span, 2 * np.pi, rtol=0.02):
            return 1.0, 0.0
        if np.isclose(span, 2000 * np.pi, rtol=0.02):
            return 1e-3, 0.0
        raise DataError(
            f"Philips phase with slope {slope:g}: 4096 steps are neither 2 pi rad nor 2000 pi mrad,"
            " so its scale is lost; convert to rad and set Units to 'rad'."
        )
    if name in ("ge", "g.e.") or "general electric" in name or name.startswith("ge "):
        return 1e-3, 0.0
    raise DataError(
        f"The scale of arbitrary phase of manufacturer {name or 'unknown'!r} is not known; "
        "convert to rad and set Units to 'rad'."
    )


def _refuse_contradiction(
    span: tuple[float, float], factor: float, shift: float, claim: str
) -> None:
    """Raise where converted values cannot be a wrapped phase."""
    low, high = span[0] * factor + shift, span[1] * factor + shift
    peak = max(abs(low), abs(high))
    if not peak >= LEAST_PEAK_RAD or high - low > 2 * np.pi * 1.02:
        raise DataError(
            f"Phase ({claim}) spans {span[0]:g} to {span[1]:g}, that is {low:.3g} to {high:.3g} rad"
            ", but a wrapped phase spans up to 2 pi; correct Units or the header's slope."
        )
