"""What ``check`` says of a gradient echo: how it was acquired, and whether it holds the thalami."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import directions
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.input_checks import SMALLEST_HEAD, THALAMI_MM
from bids_qsmthal.report.acquisition import Polarity, polarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.bids.gre_series import MagnitudeSeries
    from bids_qsmthal.qsm.phase import PhaseReport


class Coverage(StrEnum):
    """How much of the thalami lies in a slab, by an estimate without registration."""

    WHOLE = "covered (estimate)"
    PART = "perhaps cut (estimate)"
    NONE = "outside (estimate)"
    UNKNOWN = "unknown"


THALAMI_BELOW_VERTEX_MM = (109.0, 109.0 - THALAMI_MM)
"""Lower and upper end of the thalami below the top of the head in the packaged atlas: the head of
``desc-head_T1w`` ends at z = 104 mm, the thalami of ``desc-deepgray_dseg`` reach from -5 to 18."""

VERTEX_ML = 2.0
"""So much tissue lies above the level that is taken for the top of the head: more than noise and
less than a centimetre of scalp."""

TISSUE_SHARE = 0.2
"""Of the 99th percentile: above it is tissue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreOverview:
    """A gradient echo in words, a column each; ``n/a`` where it cannot be told."""

    field: str
    frequency: str
    echoes: str
    polarity: str
    orientation: str
    thalami: Coverage


def overview(
    series: MagnitudeSeries, report: PhaseReport | None = None, head: Image | None = None
) -> GreOverview:
    """Describe a scan.

    Parameters
    ----------
    series
        What headers and sidecars say.
    report
        What the phase says, where it was read.
    head
        A scan of the whole head in the same session, where its voxels were read.
    """
    acquisition = series.acquisition
    times_ms = [1000 * time for time in acquisition.echo_times_s]
    shape, affine = nifti.shape_and_affine(series.first[0].path)
    # One byte seen as a whole volume: a grid that takes no memory.
    slab = Image(np.broadcast_to(np.int8(0), shape[:3]), affine, series.b0.direction)
    tuned = acquisition.imaging_frequency_hz
    return GreOverview(
        field=f"{acquisition.field_strength_t:.4g} T",
        frequency="n/a" if tuned is None else f"{1e-6 * tuned:.6g} MHz",
        echoes=f"{len(times_ms)}: {', '.join(f'{time:.3g}' for time in times_ms)} ms",
        polarity="n/a" if report is None else POLARITIES[polarity(report)],
        orientation=_orientation(slab),
        thalami=coverage(slab, head),
    )


POLARITIES = {
    Polarity.ALTERNATING: "bipolar",
    Polarity.ONE_DIRECTION: "monopolar",
    Polarity.UNKNOWN: "unknown",
    Polarity.NO_PHASE: "n/a",
}
"""In a word, for a table; two echoes do not tell."""


def _orientation(slab: Image) -> str:
    """Return the world's axes that the voxel axes run along, and how far B0 is from the nearest."""
    axes = directions(slab.affine)
    letters = ""
    for column in axes.T:
        along = int(np.abs(column).argmax())
        letters += ("RAS" if column[along] > 0 else "LPI")[along]
    cosine = float(np.abs(slab.grid.b0_direction).max())
    degrees = np.degrees(np.arccos(min(cosine, 1.0)))
    return f"{letters}, B0 {degrees:.0f} degrees off an axis"


def coverage(slab: Image, head: Image | None) -> Coverage:
    """Estimate whether the thalami lie in a slab, from the top of the head.

    In the scanner's frame alone: nothing is registered. Where the head is not seen to end at the
    top, in T1w or in the slab itself, nothing can be said.
    """
    top_mm = None if head is None else vertex_mm(head)
    if top_mm is None:
        return Coverage.UNKNOWN
    low, high = _levels_mm(slab)
    below = THALAMI_BELOW_VERTEX_MM
    # Of the smallest head to that of the atlas: all of them between the ends, or none of them.
    if low <= top_mm - below[0] and high >= top_mm - SMALLEST_HEAD * below[1]:
        return Coverage.WHOLE
    if high < top_mm - below[0] or low > top_mm - SMALLEST_HEAD * below[1]:
        return Coverage.NONE
    return Coverage.PART


def _levels_mm(slab: Image) -> tuple[float, float]:
    """Return the lowest and highest level (world z) of a slab on the line through its middle."""
    last = np.array(slab.shape, float) - 1
    middle = slab.affine[:3, :3] @ (last / 2) + slab.affine[:3, 3]
    # Voxels passed for each millimetre up; the first face that the line reaches ends the slab.
    up = np.linalg.solve(slab.affine[:3, :3], (0.0, 0.0, 1.0))
    moving = np.abs(up) > 1e-6
    reach_mm = float(((last[moving] + 1) / 2 / np.abs(up[moving])).min())
    return float(middle[2]) - reach_mm, float(middle[2]) + reach_mm


def vertex_mm(head: Image) -> float | None:
    """Return the level (world z) of the top of a head; None where its image does not show it."""
    data: NDArray[np.floating] = head.data
    tissue = data > TISSUE_SHARE * np.percentile(data, 99)
    least = VERTEX_ML * 1000 / head.voxel_volume_mm3
    if tissue.sum() <= least:
        return None
    z = _heights_mm(head)
    # Only a few voxels lie above this one.
    heights = np.sort(z[tissue])[::-1]
    top = float(heights[int(least)])
    # Tissue up to the border of the image: the head goes on beyond it, or the air is noise.
    _, highest = _levels_mm(head)
    return None if top > highest - EDGE_MM else top


EDGE_MM = 3.0
"""Between the top of a head and the border of an image that shows it there is air."""


def _heights_mm(image: Image) -> NDArray[np.float64]:
    x, y, z = np.ogrid[tuple(slice(0, n) for n in image.shape)]
    a, b, c, d = image.affine[2]
    heights: NDArray[np.float64] = a * x + b * y + c * z + d
    return heights
