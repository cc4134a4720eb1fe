"""Stored phase values to radians: by header, units and manufacturer, confirmed by the data.

A wrapped phase fills one turn: noise in air and wraps reach every angle. So the range of the last
echo, which has turned furthest, confirms a scale or contradicts it; where the header is silent, a
range that is a known whole turn decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import (
    PhaseScaleByRange,
    PhaseScaleUnconfirmed,
    PhaseUnwrappedAlready,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array

TWO_PI = 2 * np.pi

TURN_OF_UNITS = {
    "rad": TWO_PI,
    "radian": TWO_PI,
    "radians": TWO_PI,
    "mrad": 2000 * np.pi,
    "deg": 360.0,
    "degree": 360.0,
    "degrees": 360.0,
}
"""Length of a turn in units that say the scale; BIDS allows ``rad`` and ``arbitrary``."""

SILENT_UNITS = frozenset({"arbitrary", "a.u.", "au", "1", ""})

WHOLE_TURNS = (
    (-4096.0, 4096.0),
    (0.0, 4096.0),
    (-2048.0, 2048.0),
    (-1000 * np.pi, 1000 * np.pi),
    (0.0, 2000 * np.pi),
    (-np.pi, np.pi),
    (0.0, TWO_PI),
    (-180.0, 180.0),
    (0.0, 360.0),
)
"""Ranges in which scanners and converters store one turn: 13 and 12 bit, mrad, rad, degrees."""

END_TOLERANCE = 0.02
"""Of a turn: how far the ends of a range may be from those of a whole turn (Siemens' -4096..4094,
clipped or rounded values)."""

LEAST_FILLED = 0.95
"""Of a turn: what noise in air or wraps fill (heads of 1.5 to 7 T, 5 to 30 ms: 1.000 with air,
0.99 where a masked head wraps, as little as 0.08 where it does not)."""

FEW = 1e-3
"""Of the voxels: so many may lie beyond the turn (spikes); they are taken as not measured."""

FILLER = 0.05
"""Of the voxels: a value more frequent than this was put there, as zero outside a mask."""

LEAST_JUMPS = 5e-4
"""Of the pairs of neighbours: where more differ by over half the range, the range is that of a turn
that wraps. Measured: 0.25 with air, 0.0008 and more in masked heads that wrap, 0 in a phase that
does not."""

FEWEST_WRAPS = 20
"""So many jumps tell how high a wrap is."""

MANY_JUMPS = 0.02
"""Of the pairs of neighbours: so many wraps, or noise in air, fill a turn (heads of 1.5 to 7 T that
fill less have at most 0.005)."""

WRAP_TOLERANCE = 0.1
"""Relative. Heads without air at 2 to 2.5 mm, echoes of 4 to 22 ms, SNR 15 and 60: 0.986 to 1.005
of a turn; at 4 mm with steep fields 0.93 to 1.02."""

LEAST_SPAN_RAD = 0.2
"""A phase image that spans less was scaled wrongly or holds no signal."""

MOST_UNWRAPPED_TURNS = 100
"""A head does not turn the phase further within an echo; more is another unit."""

MOST_SAMPLES = 4_000_000
"""Whole slices are left out of larger images when the scale is judged."""

Source = Literal["units", "manufacturer", "range", "user"]


class Range(NamedTuple):
    """What the values of one phase image span.

    Attributes
    ----------
    low, high
        Ends of the range without a few voxels far off.
    jumps
        Share of neighbours that differ by more than half the range.
    step
        Median difference of neighbours.
    wrap
        By how much values jump beyond what the voxels on both sides of a jump let expect, which is
        the turn itself; 0 where too few jump.
    """

    low: float
    high: float
    jumps: float
    step: float
    wrap: float = 0.0

    @property
    def span(self) -> float:
        """Length of the range."""
        return self.high - self.low


class Scale(NamedTuple):
    """How stored values become radians.

    Attributes
    ----------
    turn
        Length of a turn in stored values.
    lowest, highest
        Stored values beyond these belong to no turn.
    shift_rad
        Added after scaling.
    source
        What told the scale.
    warning
        Where the scale is not the header's own, or nothing confirms it; else None.
    unwrapped
        Whether the values reach beyond a turn because the phase is unwrapped already.
    """

    turn: float
    lowest: float
    highest: float
    shift_rad: float
    source: Source
    warning: PhaseScaleByRange | PhaseScaleUnconfirmed | PhaseUnwrappedAlready | None = None
    unwrapped: bool = False


def find_scale(
    last_echo: NDArray[Any],
    *,
    units: str | None,
    manufacturer: str | None,
    header_slope: float | None = None,
) -> Scale:
    """Return the scale of the phase of a scan from its headers and its last echo.

    Parameters
    ----------
    last_echo
        Phase of the last echo with the header's slope and intercept applied, as every NIfTI reader
        does.
    units
        BIDS ``Units`` of the sidecar; ``arbitrary`` and none mean the manufacturer's own.
    manufacturer
        BIDS ``Manufacturer``. Siemens: integers of +-4096 or 0..4095 for +-pi; GE: mrad; Philips:
        mrad or rad, which the slope tells.
    header_slope
        As in the header; none or not finite where the header has none.

    Raises
    ------
    DataError
        The scale is unknown, or the values contradict the header.
    """
    seen = measured_range(last_echo)
    unit = (units or "").strip().lower()
    if unit in TURN_OF_UNITS:
        claim = f"Units {units!r}"
        return _by_units(seen, TURN_OF_UNITS[unit], claim)
    if unit not in SILENT_UNITS:
        raise DataError(f"Phase has Units {units!r}, but BIDS knows 'rad' and 'arbitrary'.")
    slope = header_slope if header_slope is not None and np.isfinite(header_slope) else 1.0
    return _without_units(seen, (manufacturer or "").strip().lower(), slope)


def scale_of_user(
    last_echo: NDArray[Any], choice: Literal["rad", "mrad", "deg", "siemens", "range"]
) -> Scale:
    """Return the scale the user insists on; only values beyond any turn contradict it."""
    seen = measured_range(last_echo)
    # Siemens stores a turn in 8192 steps where values are signed, in 4096 where they are not.
    turn = {
        "siemens": 8192.0 if seen.low < 0 else 4096.0,
        "range": seen.span,
        **TURN_OF_UNITS,
    }[choice]
    scale = _scale(seen, turn, "user")
    return scale._replace(unwrapped=seen.span > turn * (1 + END_TOLERANCE))


def to_radians(values: NDArray[Any], scale: Scale) -> tuple[Array, int]:
    """Return the phase of one echo in rad, float32, and how many voxels lay beyond the turn.

    Those few become NaN, as voxels that are not finite stay; an unwrapped phase is wrapped.

    Raises
    ------
    DataError
        Many voxels lie beyond the turn: this echo has another scale than the last one.
    """
    factor = np.float32(TWO_PI / scale.turn)
    angle = (values * factor + np.float32(scale.shift_rad)).astype(np.float32)
    if scale.unwrapped:
        return cast("Array", np.angle(np.exp(1j * angle)).astype(np.float32)), 0
    with np.errstate(invalid="ignore"):
        beyond = (values < scale.lowest) | (values > scale.highest)
    angle[beyond] = np.nan
    if beyond.any():
        # Padding is not counted: it says nothing about the scale of the echo.
        beyond &= ~np.isin(values, _fillers(values[np.isfinite(values)]))
    count = int(beyond.sum())
    if count > FEW * values.size:
        finite = values[np.isfinite(values)]
        raise DataError(
            f"Phase spans {finite.min():g} to {finite.max():g}, but in the last echo a turn lies "
            f"between {scale.lowest:.5g} and {scale.highest:.5g}; the echoes are not scaled "
            "alike: export them together."
        )
    return cast("Array", angle), count


def measured_range(values: NDArray[Any]) -> Range:
    """Return what the values of a phase image span, without fillers and a few outliers.

    Raises
    ------
    DataError
        No voxel holds a number other than a filler.
    """
    every = max(1, values.size // MOST_SAMPLES)
    # Every n-th slice, not every n-th voxel: neighbours within a slice must stay neighbours.
    thin = np.asarray(values[..., ::every], np.float64)
    valid = np.isfinite(thin)
    valid &= ~np.isin(thin, _fillers(thin[valid]))
    samples = thin[valid]
    if not samples.size or not np.ptp(samples) > 0:
        raise DataError("The phase image holds no finite value but zero; check the file.")
    # The quantiles find the range, the nearest samples its ends: quantiles alone would cut a full
    # turn short.
    low, high = np.quantile(samples, (FEW, 1 - FEW))
    margin = 0.05 * (high - low)
    near = samples[(samples >= low - margin) & (samples <= high + margin)]
    low, high = float(near.min()), float(near.max())
    jumps, step = _neighbours(thin, valid, high - low)
    return Range(low, high, jumps, step, _wrap(thin, valid, high - low))


def _fillers(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that fill a part of the image: zero, or an angle of minus zero."""
    if not samples.size:
        return samples
    found, counts = np.unique(samples[:: max(1, samples.size // 100_000)], return_counts=True)
    fillers: NDArray[np.float64] = found[counts > FILLER * counts.sum()]
    return fillers


def _neighbours(
    values: NDArray[np.float64], valid: NDArray[np.bool_], span: float
) -> tuple[float, float]:
    """Return the share of neighbours over half the range apart, and their median difference."""
    pairs = valid[1:] & valid[:-1]
    if not pairs.any():
        return 0.0, 0.0
    apart = np.abs(values[1:][pairs] - values[:-1][pairs])
    return float((apart > span / 2).mean()), float(np.median(apart))


def _wrap(values: NDArray[np.float64], valid: NDArray[np.bool_], span: float) -> float:
    """Return the median height of jumps above the slope of the values beside them."""
    rows = valid[3:] & valid[2:-1] & valid[1:-2] & valid[:-3]
    rise = np.diff(values, axis=0)
    jump = rise[1:-1][rows]
    slope = ((rise[:-2] + rise[2:]) / 2)[rows]
    far = np.abs(jump) > span / 2
    # Beside another jump the slope is unknown.
    far &= (np.abs(rise[:-2][rows]) < span / 2) & (np.abs(rise[2:][rows]) < span / 2)
    if far.sum() < FEWEST_WRAPS:
        return 0.0
    return float(np.median(np.abs(jump - slope)[far]))


def _by_units(seen: Range, turn: float, claim: str) -> Scale:
    """Return the scale that Units state, unless the data contradict it."""
    scale = _claimed(seen, turn, claim, "units")
    if seen.span <= turn * (1 + END_TOLERANCE):
        return scale
    # Unwrapped phase has small steps everywhere; values in another unit jump.
    smooth = seen.jumps < LEAST_JUMPS and seen.step < turn / 6
    if smooth and seen.span < MOST_UNWRAPPED_TURNS * turn:
        warning = PhaseUnwrappedAlready(seen.span / turn)
        return scale._replace(warning=warning, unwrapped=True)
    raise DataError(_contradiction(seen, turn, claim))


def _without_units(seen: Range, manufacturer: str, slope: float) -> Scale:
    """Return the scale by manufacturer and range where Units are silent."""
    turn = _turn_of_manufacturer(manufacturer, slope, seen.low)
    whole = _whole_turn(seen)
    # The manufacturer is taken at its word only where the range agrees: converters rescale without
    # saying so.
    if turn is not None and _fills(seen, turn):
        return _claimed(seen, turn, manufacturer, "manufacturer")
    if whole is not None:
        warning = PhaseScaleByRange(seen.low, seen.high)
        return _scale(seen, whole[1] - whole[0], "range")._replace(warning=warning)
    if turn is None:
        raise DataError(
            f"The scale of arbitrary phase of manufacturer {manufacturer or 'unknown'!r}"
            f"{f' with slope {slope:g}' if 'philips' in manufacturer else ''} is not known, and "
            f"its range, {seen.low:.5g} to {seen.high:.5g}, is not that of a known full turn; "
            "convert to rad and set Units to 'rad'."
        )
    if seen.span > turn * (1 + END_TOLERANCE):
        raise DataError(_contradiction(seen, turn, f"Manufacturer {manufacturer!r}"))
    return _claimed(seen, turn, f"Manufacturer {manufacturer!r}", "manufacturer")


def _claimed(seen: Range, turn: float, claim: str, source: Source) -> Scale:
    """Return a scale that the header claims, unless less than a turn is filled and wraps."""
    scale = _scale(seen, turn, source)
    if seen.span >= LEAST_FILLED * turn:
        return scale
    # A masked head may wrap without reaching every angle: then its wraps have the height of a turn.
    if abs(seen.wrap / turn - 1) <= WRAP_TOLERANCE:
        return scale
    # No turn is smaller than the range: lower jumps are edges of veins or of the head, not wraps.
    wraps = seen.jumps >= LEAST_JUMPS and seen.wrap >= (1 - WRAP_TOLERANCE) * seen.span
    if wraps or seen.jumps >= MANY_JUMPS or seen.span * TWO_PI / turn < LEAST_SPAN_RAD:
        raise DataError(_contradiction(seen, turn, claim))
    return scale._replace(warning=PhaseScaleUnconfirmed(seen.span / turn))


def _contradiction(seen: Range, turn: float, claim: str) -> str:
    """Return why values cannot have the scale that a header claims."""
    how = "jump by more than half of that" if seen.jumps >= LEAST_JUMPS else "do not wrap"
    ratio = seen.span / turn
    cause = (
        "It was unwrapped already, scaled twice, or is not in these units"
        if ratio > 1
        else "It was scaled down, or is not in these units"
    )
    return (
        f"Phase ({claim}) spans {seen.low:.5g} to {seen.high:.5g} and its values {how}: that is "
        f"{ratio:.3g} of the turn of {turn:.5g}, but a wrapped phase fills one. {cause}; give the "
        "phase as the scanner stores it, or correct Units or the header's slope."
    )


def _turn_of_manufacturer(name: str, slope: float, low: float) -> float | None:
    """Return the length of a turn in the manufacturer's own units; ``None`` where unknown."""
    if "siemens" in name:
        # Signed and unsigned 12 bit differ by half a turn; only unsigned has no negative value.
        return 8192.0 if low < 0 else 4096.0
    if "philips" in name:
        span = abs(slope) * 4096
        return next((t for t in (TWO_PI, 2000 * np.pi) if np.isclose(span, t, rtol=0.02)), None)
    if name in ("ge", "g.e.") or "general electric" in name or name.startswith("ge "):
        return 2000 * np.pi
    return None


def _fills(seen: Range, turn: float) -> bool:
    return LEAST_FILLED * turn <= seen.span <= (1 + END_TOLERANCE) * turn


def _whole_turn(seen: Range) -> tuple[float, float] | None:
    """Return the known whole turn that a range is; ``None`` where it is none."""
    for low, high in WHOLE_TURNS:
        margin = END_TOLERANCE * (high - low)
        if abs(seen.low - low) <= margin and abs(seen.high - high) <= margin:
            return low, high
    return None


def _scale(seen: Range, turn: float, source: Source) -> Scale:
    """Return a scale with its bounds: no value is more than a turn from those that were seen."""
    margin = END_TOLERANCE * turn
    lowest = min(seen.low, seen.high - turn) - margin
    highest = max(seen.high, seen.low + turn) + margin
    # Unsigned integers have zero phase in the middle; an angle is left as it is.
    shift_rad = -np.pi if turn == 4096 and seen.low >= -margin else 0.0
    return Scale(turn, lowest, highest, shift_rad, source)
