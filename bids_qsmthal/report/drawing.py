"""From a matplotlib figure to the bytes of a file, the same bytes every time."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image as Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# The Okabe-Ito colours, told apart by readers of every kind of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#00B98A", "#F0E442"
BLUE, VERMILION, PURPLE, WHITE = "#0072B2", "#FF6A13", "#CC79A7", "#FFFFFF"

# What the palette of a PNG holds.
MOST_COLORS = 256
MOST_PNG_BYTES = 450_000
JPEG_QUALITY = 90

PNG_DPI = 300
"""What journals ask of pictures with lines and text."""

PNG_COMPRESSION = 3
"""Of zlib: at 9 a figure takes three times as long, and is a fifth smaller."""

EMBEDDED = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure in each form an author needs: to edit, to print, to paste."""

    svg: bytes
    """Text is text; it is drawn in DejaVu Sans, or in what a reader has in its place."""

    pdf: bytes
    """With its fonts, as text."""

    png: bytes
    """300 dots an inch."""


def to_files(canvas: Canvas) -> Drawing:
    """Return a figure in every form, the same bytes every time."""
    # The layout costs as much as a drawing and is the same for all three.
    if layout := canvas.get_layout_engine():
        layout.execute(canvas)
        canvas.set_layout_engine("none")
    return Drawing(_svg(canvas, fonts="none"), _pdf(canvas), _png(canvas))


def to_svg(canvas: Canvas) -> bytes:
    """Return a figure as SVG, without dates, its raster images packed well."""
    # Text becomes outlines, so that no font has to be there.
    return EMBEDDED.sub(_packed, _svg(canvas, fonts="path"))


def _svg(canvas: Canvas, *, fonts: str) -> bytes:
    stream = io.BytesIO()
    # Without the salt ids are random, and a date in the file would give other bytes in every run.
    with mpl.rc_context({"svg.hashsalt": "bids_qsmthal", "svg.fonttype": fonts}):
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _pdf(canvas: Canvas) -> bytes:
    stream = io.BytesIO()
    # Fonts are embedded as type 3, matplotlib's default: TrueType would take twice the time of the
    # whole drawing. Text can be searched and copied; to edit it there is the SVG.
    canvas.savefig(stream, format="pdf", metadata={"CreationDate": None})
    return stream.getvalue()


def _png(canvas: Canvas) -> bytes:
    dpi = canvas.dpi
    canvas.set_dpi(PNG_DPI)
    drawn: Any = FigureCanvasAgg(canvas)  # its methods have no types
    drawn.draw()
    picture = Picture.fromarray(np.asarray(drawn.buffer_rgba())).convert("RGB")
    canvas.set_dpi(dpi)
    stream = io.BytesIO()
    picture.save(stream, "png", compress_level=PNG_COMPRESSION, dpi=(PNG_DPI, PNG_DPI))
    return stream.getvalue()


def _packed(match: re.Match[bytes]) -> bytes:
    """Store an embedded image with a palette: a third of the size.

    A gray image keeps every level; where tints give more than 256 colours, the nearest is taken.
    Images of very fine scans would make pages too large to send and become JPEG.
    """
    with Picture.open(io.BytesIO(base64.b64decode(match.group(1)))) as picture:
        opaque = picture.convert("RGB")
    # None where there are more colours than that.
    used = opaque.getcolors(MOST_COLORS)
    few = opaque.quantize(len(used or range(MOST_COLORS)), dither=Picture.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, "png", optimize=True)
    if stream.tell() <= MOST_PNG_BYTES:
        return b"data:image/png;base64," + base64.b64encode(stream.getvalue())
    stream = io.BytesIO()
    # subsampling 0 keeps colour at full resolution: thin outlines would smear.
    opaque.save(stream, "jpeg", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return b"data:image/jpeg;base64," + base64.b64encode(stream.getvalue())
