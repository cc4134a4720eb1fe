"""Pictures of iron in lesions: all of them in colour, those that may have a rim close by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from scipy import ndimage

from bids_qsmthal.core import colors
from bids_qsmthal.core.crop import between
from bids_qsmthal.core.image import Image, reoriented
from bids_qsmthal.report import drawing, numbers, panels
from bids_qsmthal.report.mosaic import PLATE, Heat, Overlay, Strip, Window
from bids_qsmthal.report.page import Figure
from bids_qsmthal.report.slices import SIDES, Axis, Cut, cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_qsmthal.report.contents import LesionIronMaps, LesionMaps, RimCandidate

    Picture = tuple[Cut, NDArray[np.uint8], NDArray[np.float32] | None]
    """A cut, its colours, and the outline that is drawn on it."""

LESION_WINDOW = Window(-60.0, 60.0, "mean susceptibility above white matter (ppb)", "coolwarm")
"""White stands for white matter; lesions of the first years are 38 ppb above it (SD 13; Chen 2014,
doi 10.1148/radiol.13130353)."""

CLOSE_WINDOW = Window(-50.0, 100.0, "susceptibility above white matter (ppb)")
"""Rims reach 80 ppb."""

AROUND_MM = 14.0
"""From the middle of a lesion to the edge of its pictures: the largest rims are some 20 mm wide."""

PLANES: tuple[tuple[Axis, str], ...] = ((2, "axial"), (1, "coronal"), (0, "sagittal"))
SHORT = 4
"""Rows of the gallery that fit a window; more are shown as wide as the text."""

TILE_INCH, NOTE_INCH, HEAD_INCH, GAP_INCH = 1.6, 1.35, 0.3, 0.03


def susceptibility_of_lesions(maps: LesionMaps, iron: LesionIronMaps) -> Figure | None:
    """Show every lesion in the colour of its mean susceptibility on FLAIR."""
    ground = maps.flair if maps.flair is not None else maps.t1w
    known = {number: value for number, value in iron.means_ppb.items() if np.isfinite(value)}
    labels = iron.labels_t1w
    if ground is None or not known:
        return None
    # One place for each number; a lesion without a value keeps its outline alone.
    values = np.zeros(int(labels.data.max()) + 1, np.float32)
    values[list(known)] = list(known.values())
    inside = labels.like(np.isin(labels.data, list(known)).astype(np.uint8))
    overlays = [Overlay(labels, "lesion", colors.LESIONS)]
    rims = labels.like(np.isin(labels.data, list(iron.rims)).astype(np.uint8))
    if rims.data.any():
        overlays.append(Overlay(rims, "lesion with a rim", colors.RIMS))
    strip = Strip(
        cut(ground, show=labels, through=labels, count=12),
        panels.bright(ground, None, "signal"),
        overlays,
        heat=Heat(labels.like(values[labels.data]), LESION_WINDOW, inside),
        columns=4,
    )
    return panels.figure(
        [strip],
        "Lesions by susceptibility",
        "desc-lesionchi_FLAIR",
        "Each lesion has the colour of its mean susceptibility, minus that of normal-appearing "
        "white matter.",
    )


def rim_gallery(maps: LesionMaps, iron: LesionIronMaps) -> Figure | None:
    """Show the lesions that may have a rim: susceptibility and FLAIR in three planes."""
    if not iron.candidates:
        return None
    scans = 2 if maps.flair is not None else 1
    width = NOTE_INCH + 3 * scans * TILE_INCH
    height = HEAD_INCH + len(iron.candidates) * TILE_INCH
    canvas = Canvas(figsize=(width, height), facecolor="black")
    for row, candidate in enumerate(iron.candidates):
        bottom = (height - HEAD_INCH - (row + 1) * TILE_INCH) / height
        middle = bottom + 0.5 * TILE_INCH / height
        note: dict[str, Any] = {"color": "white", "fontsize": 8.5, "va": "center"}
        canvas.text(0.01, middle, _note(candidate), **note)
        pictures = _pictures(candidate, maps.flair, iron)
        for column, (where, picture, outline) in enumerate(pictures):
            left = (NOTE_INCH + column * TILE_INCH) / width
            size = (TILE_INCH - GAP_INCH) / width, (TILE_INCH - GAP_INCH) / height
            draw(canvas.add_axes((left, bottom, *size)), where, picture, outline)
    _head(canvas, scans, width, height)
    low, high = (numbers.brief(end) for end in (CLOSE_WINDOW.low, CLOSE_WINDOW.high))
    flair = "; FLAIR at the same voxels, the lesion outlined" if scans == 2 else ""
    return Figure(
        "Lesions that may have a paramagnetic rim",
        f"Cut through the middle of each lesion, {2 * AROUND_MM:.0f} mm wide. A rim is a bright "
        "border, closed or nearly so, around a darker inside, in more than one plane; a vein is a "
        "line that goes on beyond the lesion. "
        f"Window: {low} to {high}, {CLOSE_WINDOW.label}{flair}.",
        f"{len(iron.candidates)} lesions in three planes.",
        drawing.to_svg(canvas),
        "svg",
        "desc-rims_Chimap",
        tall=len(iron.candidates) > SHORT,
    )


def _note(candidate: RimCandidate) -> str:
    """Return what stands beside the pictures of a lesion."""
    score = candidate.probability
    likely = "no score" if np.isnan(score) else f"probability {score:.2f}"
    return (
        f"lesion {candidate.number}\nrim: {candidate.said}\n{likely}\n"
        f"{candidate.diameter_mm:.0f} mm wide"
    )


def _pictures(candidate: RimCandidate, flair: Image | None, iron: LesionIronMaps) -> list[Picture]:
    """Return the pictures of a lesion from left to right, those of FLAIR with its outline."""
    chi_ppb = iron.chi_ppm.like(1000 * iron.chi_ppm.data - np.float32(iron.normal_white_ppb))
    lesion = iron.labels_gre.like((iron.labels_gre.data == candidate.number).astype(np.uint8))
    cuts = three_planes(reoriented(chi_ppb), reoriented(lesion))
    made: list[Picture] = [
        (where, CLOSE_WINDOW.colored(where.own_tiles()[0]), None) for where in cuts
    ]
    if flair is None:
        return made
    tiles = [where.tiles(flair, world=iron.gre_to_t1w)[0] for where in cuts]
    # Fluid is dark on FLAIR and fat lies outside the box: the brightest voxels are lesion.
    window = Window(0.0, max(1e-6, *(float(np.percentile(tile, 99.5)) for tile in tiles)), "FLAIR")
    outlines = [where.tiles(lesion)[0] for where in cuts]
    made += [
        (where, window.colored(tile), outline)
        for where, tile, outline in zip(cuts, tiles, outlines, strict=True)
    ]
    return made


def three_planes(base: Image, lesion: Image) -> list[Cut]:
    """Return a cut along each axis through the middle of a lesion, all of one width in mm."""
    middle = np.round(ndimage.center_of_mass(lesion.data)).astype(int)
    reach = np.round(AROUND_MM / np.array(base.grid.voxel_size_mm)).astype(int)
    box = between(middle - reach, middle + reach + 1, base.shape)
    return [Cut(base, box, axis, (int(middle[axis]),)) for axis, _ in PLANES]


def draw(
    axes: Axes, where: Cut, picture: NDArray[np.uint8], outline: NDArray[np.float32] | None
) -> None:
    """Draw one picture of a lesion with its sides, and its outline where there is one."""
    rows, columns = picture.shape[:2]
    width_mm, height_mm = where.pixel_mm
    extent = (0.0, columns * width_mm, 0.0, rows * height_mm)
    # No interpolation: a rim is one or two voxels wide, and what a reader judges are the voxels.
    axes.imshow(picture, origin="lower", extent=extent, interpolation="none", aspect="equal")
    if outline is not None and outline.max() > 0.5:
        x, y = (np.arange(columns) + 0.5) * width_mm, (np.arange(rows) + 0.5) * height_mm
        axes.contour(x, y, outline, [0.5], colors=[colors.LESIONS], linewidths=0.9)
    axes.set_axis_off()
    axes.set_facecolor("black")
    style: dict[str, Any] = {"color": "white", "fontsize": 6.5, "transform": axes.transAxes}
    for side, x_share, align in zip(
        SIDES[where.axis], (0.02, 0.98), ("left", "right"), strict=True
    ):
        axes.text(x_share, 0.5, side, va="center", ha=align, bbox=PLATE, **style)


def _head(canvas: Canvas, scans: int, width: float, height: float) -> None:
    """Write which scan and plane each column shows."""
    for scan, name in zip(range(scans), ("QSM", "FLAIR"), strict=False):
        for place, (_, plane) in enumerate(PLANES):
            x = (NOTE_INCH + (3 * scan + place + 0.5) * TILE_INCH) / width
            y = 1 - 0.5 * HEAD_INCH / height
            style: dict[str, Any] = {
                "color": "white",
                "fontsize": 9,
                "ha": "center",
                "va": "center",
            }
            canvas.text(x, y, f"{name}, {plane}", **style)
