"""What the figures share: windows, outlines, and the words around a mosaic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core import colors
from bids_qsmthal.core.image import Image
from bids_qsmthal.report import mosaic, numbers
from bids_qsmthal.report.mosaic import Overlay, Strip, Window
from bids_qsmthal.report.page import Figure
from bids_qsmthal.report.slices import tilt_degrees

TILT_DEGREES = 5.0
"""Slices that are tilted by more are said to be."""


def figure(strips: Sequence[Strip], title: str, name: str, caption: str) -> Figure:
    """Draw a mosaic, and say in words what it shows: windows, sides, tilt."""
    stated = "; ".join(_stated(strips))
    marks = list(dict.fromkeys(overlay.name for strip in strips for overlay in strip.overlays))
    slices = sum(len(strip.where.indices) for strip in strips)
    alt = f"{title}: {slices} slices" + (f" with {', '.join(marks)} marked" if marks else "")
    tilt = max(tilt_degrees(strip.where.base) for strip in strips)
    tilted = f" Slices are tilted by {tilt:.0f}\N{DEGREE SIGN}." if tilt > TILT_DEGREES else ""
    full = f"{caption} Window: {stated}.{tilted}"
    return Figure(title, full.strip(), alt + ".", mosaic.draw(strips), "svg", name)


def bright(image: Image, mask: Image | None, label: str, *, percentile: float = 99.5) -> Window:
    """Return a window from zero to a percentile of what is inside a mask."""
    data = np.asarray(image.data, np.float32)
    same = mask is not None and mask.shape == image.shape and bool(np.any(mask.data))
    # The brain alone: skull and fat are brighter than what is looked at.
    values = data[mask.data > 0] if same and mask is not None else data[data > 0]
    return bright_values(values, label, percentile=percentile)


def bright_values(values: NDArray[np.floating], label: str, *, percentile: float = 99.5) -> Window:
    """Return a window from zero to a percentile of values."""
    # Not the maximum, which is a vessel or an artefact.
    top = float(np.percentile(values, percentile)) if values.size else 1.0
    return Window(0.0, top if top > 0 else 1.0, f"{label} (a.u.)")


def sides(labels: Image, left: int, right: int) -> list[Overlay]:
    """Return the outlines of both thalami by their labels."""
    return [
        Overlay(labels, "left thalamus", colors.THALAMI[1], value=left),
        Overlay(labels, "right thalamus", colors.THALAMI[2], value=right),
    ]


def _stated(strips: Sequence[Strip]) -> list[str]:
    """Return the windows in words, those of one meaning together."""
    ranges: dict[str, list[str]] = {}
    for window in dict.fromkeys(strip.shown for strip in strips):
        text = f"{numbers.brief(window.low)} to {numbers.brief(window.high)}"
        ranges.setdefault(window.label, []).append(text)
    return [f"{', '.join(texts)}, {label}" for label, texts in ranges.items()]
