"""From a matplotlib figure to the bytes of a file, the same bytes every time."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image as Picture

from bids_qsmthal.report.recording import Recorded

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# What the palette of a PNG holds.
MOST_COLORS = 256
MOST_PNG_BYTES = 450_000
JPEG_QUALITY = 90

PNG_DPI = 300
"""What journals ask of pictures with lines and text."""

PNG_COMPRESSION = 3
"""Of zlib: at 6 a figure takes twice as long, and is a sixth smaller."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MINUS_ROW_ABOVE = 2
"""The filter of PNG that suits figures: most rows are as the one above (W3C PNG 3, 9.2)."""

METERS_PER_INCH = 0.0254

TRUETYPE = 42
"""What a PDF holds its fonts as; journals refuse type 3, matplotlib's default."""

EMBEDDED = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure in each form an author needs: to edit, to print, to paste."""

    svg: bytes
    """Text is text; it is drawn in DejaVu Sans, or in what a reader has in its place."""

    pdf: bytes
    """With its fonts, as text; the fonts are TrueType."""

    png: bytes
    """300 dots an inch."""


def to_files(canvas: Canvas) -> Drawing:
    """Return a figure in every form, the same bytes every time."""
    drawn = Recorded(canvas)
    svg, png = _svg(drawn, fonts="none"), _png(drawn)
    # Last, as it changes the fonts of the canvas.
    for text in canvas.findobj(Text):
        # Letters that the small font lacks (Cyrillic, say) come from the whole one.
        text.set_fontfamily([_small_font(), "DejaVu Sans"])
    return Drawing(svg, _pdf(drawn), png)


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
    # matplotlib 3.11 sizes the parts of a font for PDF by the type that PostScript would have: at 3
    # every minus sign brings a second copy of the font.
    with mpl.rc_context({"pdf.fonttype": TRUETYPE, "ps.fonttype": TRUETYPE}):
        canvas.savefig(stream, format="pdf", metadata={"CreationDate": None})
    return stream.getvalue()


@cache
def _small_font() -> str:
    """Return the family of the packaged part of DejaVu Sans (``tools/build_font.py``).

    Each PDF gets the letters it needs: cut out of all of DejaVu Sans that takes 0.12 s a figure,
    twice the time of the drawing, and out of this part 0.02 s.
    """
    with as_file(files("bids_qsmthal") / "data" / "fonts" / "figures.ttf") as path:
        font_manager.fontManager.addfont(path)
        return font_manager.get_font(path).family_name


def _png(canvas: Canvas) -> bytes:
    dpi = canvas.dpi
    canvas.set_dpi(PNG_DPI)
    drawn: Any = FigureCanvasAgg(canvas)  # its methods have no types
    drawn.draw()
    picture = Picture.fromarray(np.asarray(drawn.buffer_rgba())).convert("RGB")
    canvas.set_dpi(dpi)
    return _png_of(np.asarray(picture))


def _png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG of RGB pixels, shape (rows, columns, 3).

    Pillow tries five filters on every row, which takes most of the time of a large figure.
    """
    rows, columns, _ = pixels.shape
    flat = pixels.reshape(rows, 3 * columns)
    filtered = np.empty((rows, 1 + 3 * columns), np.uint8)
    filtered[:, 0] = MINUS_ROW_ABOVE
    filtered[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=filtered[1:, 1:])  # modulo 256, as PNG has it
    per_meter = round(PNG_DPI / METERS_PER_INCH)
    chunks = (
        # 8 bits a channel, colour type 2 (RGB), deflate, filters, not interlaced.
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", per_meter, per_meter, 1)),
        (b"IDAT", zlib.compress(filtered.data, PNG_COMPRESSION)),
        (b"IEND", b""),
    )
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


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
