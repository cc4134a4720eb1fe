"""What storing a complex signal in integers may have done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.errors import DataError

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array

TURN_OF_16_BIT = 65536
LARGEST_SIGNED = 32767

LEAST_OF_NEIGHBOUR = 0.51
"""A mended voxel is continued where a neighbour has at least this share of it. More than half: -1
would become 65535, and no neighbour that did not overflow has half of that."""

NOISE = 300
"""Negative numbers down to this, 1 % of the signed range, may be noise beside a bright voxel:"""

LEAST_BESIDE_NOISE = 0.9
"""they need a neighbour with this share of them."""

MOST_CENTRE = 5.0
"""The most frequent values of a part, those of air, lie around zero within this many of their half
widths. Measured on heads of 1.5 to 7 T: at most 0.22; with an offset of 18 standard deviations of
the noise 59."""

LEAST_OFFSET = 0.02
"""An offset below this fraction of the signal turns its phase by less than 0.02 rad, as noise does
at an SNR of 50. Air that is nearly free of noise would otherwise betray a converter's last bits."""

BRIGHT = 90.0
"""Percentile of the absolute values that stands for the signal of the brain."""

COMMON = 0.1
"""Share of the voxels that the most frequent values are."""


def repair_overflow(magnitude: Array) -> tuple[Array, int]:
    """Return the magnitude without negative values, and how many had overflowed.

    A magnitude cannot be negative. A negative whole number may be an unsigned 16 bit number that
    was read as a signed one: 65536 is missing. That is believed where the mended voxel continues
    its neighbours; every other negative value is noise of an interpolation and becomes zero.

    Parameters
    ----------
    magnitude
        Shape (x, y, z) or (x, y, z, echo), finite.
    """
    negative = magnitude < 0
    if not negative.any():
        return magnitude, 0
    clipped = np.maximum(magnitude, 0)
    # Interpolated images have fractions; an integer that overflowed has none.
    whole = negative & (magnitude == np.round(magnitude)) & (magnitude >= -LARGEST_SIGNED - 1)
    if not whole.any():
        return cast("Array", clipped), 0
    mended = np.where(whole, magnitude + TURN_OF_16_BIT, clipped)
    share = np.where(magnitude < -NOISE, LEAST_OF_NEIGHBOUR, LEAST_BESIDE_NOISE)
    window = (3, 3, 3, 1)[: magnitude.ndim]
    proven = clipped
    while True:
        # Grows from what did not overflow inwards, so that the middle of a bright patch is reached.
        near = ndimage.maximum_filter(proven, window)
        more = whole & (proven == 0) & (near >= share * mended)
        if not more.any():
            return proven.astype(magnitude.dtype), int((proven > LARGEST_SIGNED).sum())
        proven = np.where(more, mended, proven)


def check_parts(real: Array, imaginary: Array) -> None:
    """Refuse real and imaginary parts that were stored with an offset.

    Raises
    ------
    DataError
        The background of a part is not zero.
    """
    for name, part in (("real", real), ("imag", imaginary)):
        # The mean would not do: signal of an uneven head has any mean, but air is symmetric about
        # the true zero.
        values = part[np.isfinite(part)].reshape(-1)
        if not values.size:
            continue
        centre, half_width = _most_frequent(values)
        bright = float(np.percentile(np.abs(values[:: max(1, values.size // 1_000_000)]), BRIGHT))
        if abs(centre) > max(MOST_CENTRE * half_width, LEAST_OFFSET * bright):
            raise DataError(
                f"part-{name} spans {values.min():.5g} to {values.max():.5g} around {centre:.5g}, "
                "but the parts of a complex signal are positive and negative alike, around 0: it "
                "was stored with an offset. Export it again, or subtract the offset from both "
                "parts."
            )


def _most_frequent(values: Array) -> tuple[float, float]:
    """Return centre and half width of the shortest interval that holds a share of the values."""
    # Shortest interval that holds a share of the values: a mode that needs no bin width.
    ordered = np.sort(values.reshape(-1)[:: max(1, values.size // 1_000_000)])
    count = max(int(COMMON * ordered.size), 1)
    widths = ordered[count:] - ordered[:-count]
    if not widths.size:
        return 0.0, 1.0
    first = int(np.argmin(widths))
    half_width = float(widths[first]) / 2
    return float(ordered[first]) + half_width, max(half_width, 1e-12)
