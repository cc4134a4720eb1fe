"""Phase that was high-pass filtered, as for susceptibility-weighted images.

Such a filter divides the signal by a smooth copy of itself. What it takes away is the slow part of
the field and the phase offset of the coils: the phase of the smoothed signal is near zero
everywhere and in every echo, which no head in a scanner gives. The lost part holds a share of the
susceptibility of the thalami, so the phase is of no use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import PhaseCalledFiltered, PhaseLooksFiltered
from bids_qsmthal.qsm.measurement import block_factors, block_mean, coarser_grid, complex_signal

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition

SMOOTHING_MM = 12.0
"""Standard deviation of the smoothing: wider than the filters in use leave anything of."""

BLOCK_MM = 3.0

LEAST_SLOW_RAD = 0.15
"""A filtered first echo of 5 ms has at most this (measured below)."""

LEAST_SLOW_PPM = 0.016
"""Slow phase as a field: 2 Hz at 3 T. Set between filtered and unfiltered phantoms of one kind (at
1.5, 3 and 7 T, echoes of 5 to 30 ms, slabs of 64 to 176 mm, a phase offset of 0.4 rad; Gaussian
windows of 2 to 6 cycles in a field of view, Hann windows of 16, 32 and 64 of 256): filtered at most
0.13 rad at 5 ms, 0.22 at 20 ms and 3 T, 0.31 at 30 ms and 7 T; not filtered at least 0.16, 0.32 and
0.36. On scans that had no part in it the last echo has 1.7 and 2.6 rad in two people, 0.7 to 1.9 in
six simulated heads, 0.43 to 0.77 in another phantom at three field strengths (0.19 for echoes of
2.3 and 4.6 ms without any offset); with Hann windows of 32 and 64 at most 0.09. Weaker windows
pass; a head so well shimmed that its field spreads by less than 1 Hz would be refused."""

MOST_SLOW_RAD = 0.4
"""The limit grows no further: a field of many turns dephases in the smoothing (0.53 at 7 T)."""

LABELLED = 2.0
"""Where the header speaks of a filter, it is believed up to this many times the limits."""

NAMES = ("swi", "pha_images", "filtered", "swan", "mip", "hpf")
"""Parts of ImageType, SeriesDescription, ScanOptions and ProtocolName that go with such phase."""


def check_not_filtered(  # noqa: PLR0913 - a scan, where it is, and what else is known
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    acquisition: Acquisition,
    labels: tuple[str, ...] = (),
    *,
    insisted: bool = False,
) -> PhaseCalledFiltered | PhaseLooksFiltered | None:
    """Return a warning where header and data, or the user, disagree about a filter.

    Parameters
    ----------
    magnitude, phase_rad
        Finite signal of each echo, shape (x, y, z, echo).
    mask
        The head or brain.
    grid, acquisition
        Sampling, echo times and field.
    labels
        What the header calls the phase.
    insisted
        Whether the user says that the phase was not filtered: then it is never refused.

    Raises
    ------
    DataError
        The phase is high-pass filtered.
    """
    named = [label for label in labels if any(name in label.lower() for name in NAMES)]
    times = acquisition.echo_times_s
    # A phase offset of the coils shows in the first echo, the field in the last: a filter takes
    # away both.
    ends = {0: times[0], len(times) - 1: times[-1]}
    slow = {j: slow_phase_rad(magnitude[..., j], phase_rad[..., j], mask, grid) for j in ends}
    ppm = 1e6 / (2 * np.pi * acquisition.centre_frequency_hz)
    limits = {
        j: min(max(LEAST_SLOW_RAD, LEAST_SLOW_PPM * time / ppm), MOST_SLOW_RAD)
        for j, time in ends.items()
    }
    over = max(slow[j] / limits[j] for j in ends)
    if over >= (LABELLED if named else 1.0):
        return PhaseCalledFiltered(", ".join(named)) if named else None
    last = len(times) - 1
    slow_hz = slow[last] / (2 * np.pi * times[-1])
    if insisted:
        return PhaseLooksFiltered(slow[last], slow_hz)
    raise DataError(
        "The phase is high-pass filtered"
        + (f" (its header says {', '.join(named)})" if named else "")
        + (
            f": its slow part is {slow[last]:.2f} rad in the last echo, {slow_hz:.2g} Hz, where a "
            "head has tens of Hz. The filter removed a part of the susceptibility that cannot be "
            "recovered; export the phase of the sequence without the filter for SWI. If you know "
            "that no filter was used, give --phase-filter no."
        )
    )


def slow_phase_rad(magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid) -> float:
    """Return the rms phase of the smoothed signal of one echo, about zero, in rad."""
    factors = block_factors(grid, BLOCK_MM)
    inside_head = np.where(mask, complex_signal(magnitude, phase_rad), np.complex64(0))
    signal = block_mean(inside_head, factors)
    widths = [SMOOTHING_MM / size for size in coarser_grid(grid, factors).voxel_size_mm]
    # The complex signal is smoothed, not its angle: wraps would falsify a mean of angles.
    smooth = ndimage.gaussian_filter(signal, widths)
    inside = block_mean(mask.astype(np.float32), factors) > 0.5
    weight = np.abs(smooth[inside]).astype(np.float64)
    # Nothing to judge: infinity passes every limit, and a scan without signal is refused elsewhere.
    if not weight.sum() > 0:
        return float("inf")
    return float(np.sqrt((weight * np.angle(smooth[inside]) ** 2).sum() / weight.sum()))
