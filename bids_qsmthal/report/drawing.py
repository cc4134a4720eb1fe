"""From a matplotlib figure to the bytes of a file, the same bytes every time."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

import matplotlib as mpl
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

EMBEDDED = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def to_svg(canvas: Canvas) -> bytes:
    """Return a figure as SVG, without dates, its raster images packed well."""
    stream = io.BytesIO()
    # Without the salt ids are random, and the date is in the file: no two runs would give the same
    # bytes. Text becomes outlines, so that no font has to be there.
    with mpl.rc_context({"svg.hashsalt": "bids_qsmthal", "svg.fonttype": "path"}):
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return EMBEDDED.sub(_packed, stream.getvalue())


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
