"""Charts of numbers: distributions in regions, and how a result moves with the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Canvas

from bids_qsmthal.core import colors
from bids_qsmthal.report import drawing, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

LINES = (
    (colors.BLUE, "-"),
    ("#D55E00", "--"),
    ("#444444", ":"),
    (colors.PURPLE, "-."),
    ("#007A5E", (0, (5, 1, 1, 1))),
)
"""Colour and dash of each line: told apart without colour too."""


def histogram(
    samples: Mapping[str, NDArray[np.floating]], label: str, limits: tuple[float, float]
) -> bytes:
    """Draw the distribution of values in regions, with their means; return the SVG file."""
    canvas = Canvas(figsize=(8.0, 3.6))
    axes = canvas.add_subplot()
    # 80 bins; over 200 ppb that is 2.5 ppb each.
    edges = np.linspace(*limits, 81)
    for (name, values), (color, dash) in zip(samples.items(), LINES, strict=False):
        mean = float(np.mean(values))
        # Values beyond the limits are missing in the curve; mean, SD and number are those of all.
        density, _ = np.histogram(values, edges, density=True)
        spread = numbers.fixed(float(np.std(values)), 1)
        text = f"{name}: mean {numbers.fixed(mean, 1)}, SD {spread}, {len(values)} voxels"
        axes.stairs(density, edges, color=color, linestyle=dash, linewidth=1.8, label=text)
        axes.axvline(mean, color=color, linestyle=dash, linewidth=1.0, alpha=0.7)
    axes.set(xlabel=label, ylabel="density", xlim=limits)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return _finished(canvas, axes)


def intervals(
    names: Sequence[str],
    values: NDArray[np.floating],
    half_widths: NDArray[np.floating],
    label: str,
) -> bytes:
    """Draw one value with its interval per row, the first marked as the one reported."""
    return drawing.to_svg(_interval_chart(names, values, half_widths, label))


def interval_files(
    names: Sequence[str],
    values: NDArray[np.floating],
    half_widths: NDArray[np.floating],
    label: str,
) -> drawing.Drawing:
    """Draw the same as ``intervals``, in every form an author needs."""
    return drawing.to_files(_interval_chart(names, values, half_widths, label))


def _interval_chart(
    names: Sequence[str],
    values: NDArray[np.floating],
    half_widths: NDArray[np.floating],
    label: str,
) -> Canvas:
    canvas = Canvas(figsize=(8.0, 0.9 + 0.32 * len(names)))
    axes = canvas.add_subplot()
    # The first row on top: matplotlib counts upwards.
    rows = np.arange(len(names))[::-1]
    axes.axvline(float(values[0]), color="#888888", linewidth=1.0)
    for row, value, half, first in zip(rows, values, half_widths, rows == rows[0], strict=True):
        color = colors.BLUE if first else "#444444"
        # NaN where a row has no interval of its own.
        if np.isfinite(half):
            axes.plot([value - half, value + half], [row, row], color=color, linewidth=1.6)
        axes.plot([value], [row], "D" if first else "o", color=color, markersize=6)
    axes.set_yticks(rows, names)
    axes.set(xlabel=label, ylim=(-0.6, len(names) - 0.4))
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    return _plain(canvas, axes)


def _finished(canvas: Canvas, axes: Axes) -> bytes:
    return drawing.to_svg(_plain(canvas, axes))


def _plain(canvas: Canvas, axes: Axes) -> Canvas:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    canvas.tight_layout()
    return canvas
