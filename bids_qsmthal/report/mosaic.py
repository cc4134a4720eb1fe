"""Mosaics of slices with the outlines of masks, as in a radiologist's light box."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import ndimage

from bids_qsmthal.report import drawing, numbers
from bids_qsmthal.report.slices import SIDES, Cut

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Affine, Image

WIDTH_INCH = 11.0
BAR_INCH = 1.05
LEGEND_ROW_INCH = 0.24
LEGEND_COLUMNS = 6
LEGEND_SIGN_INCH, LEGEND_LETTER_INCH = 0.55, 0.07
"""Width of a sign with its gaps, and of a letter of 9 points on average (measured)."""
POINTS_PER_INCH = 72
GAP_PIXELS = 2
TINT = 0.5
MIDDLE_GRAY = 0.6
"""Of gray matter on T1w between black and white."""
PLATE = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 0.8}
"""What stands behind a label, so that it can be read on bright tissue."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is black, what is white, and what the values mean."""

    low: float
    high: float
    label: str
    colors: str = "gray"

    def colored(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return RGB bytes, shape (..., 3)."""
        shade = Normalize(self.low, self.high, clip=True)(np.nan_to_num(values))
        rgba = colormaps[self.colors](np.asarray(shade), bytes=True)
        return np.asarray(rgba[..., :3])


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A mask (or one value of a label image) drawn on top, as an outline or a tint.

    A tint that is ``edged`` has its own colour, undiluted, along its border: the colour of the
    legend is then in the picture, whatever gray lies below.
    """

    image: Image
    name: str
    color: str
    value: int | None = None
    line: Literal["-", "--", ":"] = "-"
    filled: bool = False
    edged: bool = False

    def tiles(self, where: Cut) -> NDArray[np.float32]:
        """Return the share of the mask at each voxel shown."""
        data = self.image.data > 0 if self.value is None else self.image.data == self.value
        return where.tiles(self.image.like(data.astype(np.uint8)))


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Values shown in colour inside a mask, or where they are above zero."""

    image: Image
    window: Window
    inside: Image | None = None

    def painted(
        self, picture: NDArray[np.uint8], where: Cut, layout: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return the picture with the values on top."""
        # The nearest voxel: between cortex and its zero surroundings there is no half thickness.
        values = _sheet(where.tiles(self.image, order=0), layout, fill=0.0)
        shown = values
        if self.inside is not None:
            shown = _sheet(where.tiles(self.inside, order=0), layout, fill=0.0)
        return np.where((shown > 0)[..., None], self.window.colored(values), picture)


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """One row or block of slices of one image."""

    where: Cut
    window: Window
    overlays: Sequence[Overlay] = ()
    title: str = ""
    columns: int = 6
    other: Image | None = None
    other_world: Affine | None = None
    heat: Heat | None = None

    @property
    def shown(self) -> Window:
        """The window that the colour bar explains."""
        return self.window if self.heat is None else self.heat.window

    @property
    def layout(self) -> tuple[int, int]:
        """Rows and columns."""
        count = len(self.where.indices)
        columns = min(self.columns, count)
        return -(-count // columns), columns

    def values(self) -> NDArray[np.float32]:
        """Return what is shown: the image itself, or another one sampled at its voxels."""
        if self.other is None:
            return self.where.own_tiles()
        return self.where.tiles(self.other, world=self.other_world)


class _Mask(NamedTuple):
    """An overlay, and its share of each voxel of a strip's picture."""

    overlay: Overlay
    share: NDArray[np.float32]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where the picture shows it."""
        return self.share > 0.5


def draw(strips: Sequence[Strip]) -> bytes:
    """Draw blocks of slices under each other; return the SVG file."""
    masks = [_masks(strip) for strip in strips]
    # The legend names what can be seen: no lesions where there are none in these slices.
    drawn = [mask.overlay for own in masks for mask in own]
    inner = WIDTH_INCH - BAR_INCH
    heights = [inner * _aspect(strip) + (0.28 if strip.title else 0.0) for strip in strips]
    height = sum(heights) + _foot(drawn)
    canvas = Canvas(figsize=(WIDTH_INCH, height), facecolor="black")
    top = height
    for number, (strip, block) in enumerate(zip(strips, heights, strict=True)):
        top -= block
        picture = inner * _aspect(strip)
        axes = canvas.add_axes((0, top / height, inner / WIDTH_INCH, picture / height))
        _draw_strip(axes, strip, masks[number], number)
        if strip.title:
            y = (top + picture + 0.07) / height
            canvas.text(0.01, y, strip.title, color="white", fontsize=11, va="bottom")
    for window, place in _bars(strips, heights, height):
        _draw_bar(canvas, window, place, height)
    _draw_legend(canvas, drawn)
    return drawing.to_svg(canvas)


def _masks(strip: Strip) -> list[_Mask]:
    """Return the masks of the overlays that are in at least one of the slices."""
    sheets = (
        _Mask(overlay, _sheet(overlay.tiles(strip.where), strip.layout, fill=0.0))
        for overlay in strip.overlays
    )
    return [mask for mask in sheets if mask.inside.any()]


def _draw_strip(axes: Axes, strip: Strip, masks: Sequence[_Mask], number: int) -> None:
    if SIDES[strip.where.axis] == ("L", "R"):
        # The page mirrors each column of these by itself, for readers who want the right side on
        # the left: their number and width in hundredths of a point are all it needs to know.
        width = round(100 * POINTS_PER_INCH * (WIDTH_INCH - BAR_INCH) / strip.layout[1])
        axes.set_gid(f"mirror-{strip.layout[1]}-{width}-{number}")
    picture = _picture(strip, masks)
    rows, columns = picture.shape[:2]
    width_mm, height_mm = strip.where.pixel_mm
    extent = (0.0, columns * width_mm, 0.0, rows * height_mm)
    # No interpolation: what a reader judges are the voxels.
    axes.imshow(picture, origin="lower", extent=extent, interpolation="none", aspect="auto")
    x, y = (np.arange(columns) + 0.5) * width_mm, (np.arange(rows) + 0.5) * height_mm
    for overlay, share in masks:
        if not overlay.filled:
            style: dict[str, Any] = {"colors": [overlay.color], "linestyles": [overlay.line]}
            axes.contour(x, y, share, [0.5], linewidths=1.3, **style)
    axes.set_axis_off()
    _write_labels(axes, strip, extent, number)


def _picture(strip: Strip, masks: Sequence[_Mask]) -> NDArray[np.uint8]:
    """Return the slices side by side in colour, with all that is painted on them."""
    picture = strip.window.colored(_sheet(strip.values(), strip.layout, fill=strip.window.low))
    if strip.heat is not None:
        picture = strip.heat.painted(picture, strip.where, strip.layout)
    for mask in masks:
        overlay, inside = mask.overlay, mask.inside
        if overlay.filled:
            # Half colour, half image: the anatomy stays visible below.
            tint = np.array(to_rgb(overlay.color)) * 255
            share = TINT * inside[..., None]
            if overlay.edged:
                share[inside & ~ndimage.binary_erosion(inside)] = 1.0
            picture = ((1 - share) * picture + share * tint).astype(np.uint8)
    return picture


def _write_labels(
    axes: Axes, strip: Strip, extent: tuple[float, float, float, float], strip_number: int
) -> None:
    rows, columns = strip.layout
    tile_width, tile_height = extent[1] / columns, extent[3] / rows
    left, right = SIDES[strip.where.axis]
    for number, label in enumerate(strip.where.labels()):
        row, column = divmod(number, columns)
        x, y = column * tile_width, extent[3] - (row + 1) * tile_height
        style: dict[str, Any] = {"color": "white", "fontsize": 8, "bbox": PLATE}
        name = f"{strip_number}-{number}"
        place = axes.text(x + 0.02 * tile_width, y + 0.02 * tile_height, label, **style)
        place.set(va="bottom", gid=f"place-{name}")
        middle = y + tile_height / 2
        first = axes.text(x + 0.01 * tile_width, middle, left, va="center", **style)
        first.set_gid(f"first-{name}")
        second = axes.text(x + 0.99 * tile_width, middle, right, va="center", ha="right", **style)
        second.set_gid(f"second-{name}")


def _draw_bar(canvas: Canvas, window: Window, place: tuple[float, float], height: float) -> None:
    bottom, top = place
    length = min(top - bottom - 0.3, 2.4)
    middle = (top + bottom) / 2
    left = (WIDTH_INCH - BAR_INCH + 0.12) / WIDTH_INCH
    box = (left, (middle - length / 2) / height, 0.14 / WIDTH_INCH, length / height)
    axes = canvas.add_axes(box)
    shades = ScalarMappable(Normalize(window.low, window.high), window.colors)
    bar = canvas.colorbar(shades, cax=axes)
    bar.set_label(window.label, color="white", fontsize=8.5)
    ticks = [window.low, (window.low + window.high) / 2, window.high]
    bar.set_ticks(ticks, labels=[numbers.brief(tick) for tick in ticks])
    bar.ax.tick_params(colors="white", labelsize=8)
    bar.outline.set_edgecolor("white")


def _bars(
    strips: Sequence[Strip], heights: Sequence[float], top: float
) -> list[tuple[Window, tuple[float, float]]]:
    """Return each window and the height range in inches of the strips that use it."""
    bars: list[tuple[Window, tuple[float, float]]] = []
    for strip, block in zip(strips, heights, strict=True):
        bottom = top - block
        # Strips in one window share a bar.
        if bars and bars[-1][0] == strip.shown:
            bars[-1] = (strip.shown, (bottom, bars[-1][1][1]))
        else:
            bars.append((strip.shown, (bottom, top)))
        top = bottom
    return bars


def _draw_legend(canvas: Canvas, drawn: Sequence[Overlay]) -> None:
    # By name: an outline that is in several strips has one entry in the legend.
    handles: dict[str, Artist] = {}
    for overlay in drawn:
        if overlay.filled:
            handles[overlay.name] = _swatch(overlay)
        else:
            handles[overlay.name] = Line2D(
                [], [], color=overlay.color, linestyle=overlay.line, label=overlay.name
            )
    if handles:
        columns, entries = _legend_columns(handles), list(handles.values())
        # Matplotlib fills column after column; entries are read row by row.
        canvas.legend(
            handles=[one for first in range(columns) for one in entries[first::columns]],
            loc="lower left",
            ncols=columns,
            fontsize=9,
            frameon=False,
            labelcolor="white",
            bbox_to_anchor=(0.0, 0.0),
            borderaxespad=0.3,
            columnspacing=1.2,
        )


def _swatch(overlay: Overlay) -> Patch:
    """Return the sign of a tint in a legend: as it looks on tissue of middle brightness."""
    face = TINT * np.array(to_rgb(overlay.color)) + (1 - TINT) * MIDDLE_GRAY
    edge = overlay.color if overlay.edged else tuple(face)
    return Patch(facecolor=tuple(face), edgecolor=edge, linewidth=1.6, label=overlay.name)


def _foot(drawn: Sequence[Overlay]) -> float:
    """Return the height in inches that the legend needs."""
    names = {overlay.name for overlay in drawn}
    return 0.05 + LEGEND_ROW_INCH * -(-len(names) // _legend_columns(names))


def _legend_columns(names: Collection[str]) -> int:
    """Return in how many columns of the longest name the fewest rows are about equally long."""
    longest = max((len(name) for name in names), default=0)
    room = WIDTH_INCH / (LEGEND_SIGN_INCH + LEGEND_LETTER_INCH * longest)
    most = int(min(LEGEND_COLUMNS, max(room, 1)))
    rows = max(-(-len(names) // most), 1)
    return max(-(-len(names) // rows), 1)


def _aspect(strip: Strip) -> float:
    """Return height over width of a block of slices."""
    rows, columns = strip.layout
    right, up = (strip.where.box.slices[axis] for axis in strip.where.in_plane)
    width_mm, height_mm = strip.where.pixel_mm
    width = columns * (right.stop - right.start + GAP_PIXELS) * width_mm
    height = rows * (up.stop - up.start + GAP_PIXELS) * height_mm
    return float(height / width)


def _sheet(
    tiles: NDArray[np.float32], layout: tuple[int, int], *, fill: float
) -> NDArray[np.float32]:
    """Lay tiles (n, up, right) out row by row from the top; origin at the lower left."""
    rows, columns = layout
    count, height, width = tiles.shape
    height, width = height + GAP_PIXELS, width + GAP_PIXELS
    sheet = np.full((rows * height, columns * width), fill, np.float32)
    for number in range(count):
        row, column = divmod(number, columns)
        # The origin is below: the first row of tiles lies highest. One pixel of the gap on each
        # side.
        bottom, left = (rows - 1 - row) * height + 1, column * width + 1
        sheet[bottom : bottom + height - 2, left : left + width - 2] = tiles[number]
    return sheet
