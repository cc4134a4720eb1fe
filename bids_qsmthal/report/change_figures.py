"""Pictures of change: courses over the visits, visits in one place, lesions before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from scipy import ndimage

from bids_qsmthal.core import colors
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.image import reoriented
from bids_qsmthal.report import drawing, lesion_figures, numbers, panels, scan_figures
from bids_qsmthal.report.change_contents import CHANGE_WORDS
from bids_qsmthal.report.contents import Registration
from bids_qsmthal.report.lesion_figures import AROUND_MM, PLANES, SHORT
from bids_qsmthal.report.mosaic import Window
from bids_qsmthal.report.page import Figure, Flicker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.report.change_contents import ChangeReport, LesionStep, VisitShown


@dataclass(frozen=True, slots=True)
class Shown:
    """A number whose course is drawn: its place in the table and how it is written."""

    title: str
    measure: str
    region: str
    hemisphere: str
    column: str
    unit: str

    @property
    def shown_unit(self) -> str:
        """The unit as a reader sees it."""
        return self.unit.replace("mm3", "mm\N{SUPERSCRIPT THREE}")


PERCENT = "change_percent"

COURSES = (
    Shown("Thalamus, susceptibility", "chi_relative_csf", "thalamus", "LR", "change", "ppb"),
    Shown("Thalamus, volume", "volume", "thalamus", "LR", PERCENT, "%"),
    Shown("Lateral ventricles, volume", "volume", "lateral_ventricle", "LR", PERCENT, "%"),
    Shown("Gray matter, volume", "volume", "gray_matter", "n/a", PERCENT, "%"),
    Shown("White matter, volume", "volume", "white_matter", "n/a", PERCENT, "%"),
    Shown("Cortex, thickness", "thickness_mean", "cortex", "LR", "change", "mm"),
    Shown("Lesions, volume", "volume", "lesion", "n/a", "change", "mm3"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A number at each visit less that at the first, and half of its 95 % interval."""

    change: NDArray[np.float64]
    half_width: NDArray[np.float64]


def rows_of(table: pd.DataFrame, what: Shown) -> pd.DataFrame:
    """Return the rows of a number, of the map of the run where there are others."""
    sides = table["hemisphere"].fillna("n/a")
    own = table["variant"].fillna("default") == "default"
    place = (table["measure"] == what.measure) & (table["region"] == what.region)
    return table[place & (sides == what.hemisphere) & own]


def course(table: pd.DataFrame, what: Shown, sessions: Sequence[str]) -> Course | None:
    """Return the course of a number over the visits; ``None`` where no pair has it.

    The visit is compared with the first itself where the table has that pair; else the steps from
    visit to visit are added, and so are the squares of their intervals, as if their errors were
    independent.
    """
    rows = rows_of(table, what)
    # An interval has the unit of the change; a percentage has that of the column.
    scale = 100 / rows["value"] if what.column == PERCENT else 1.0
    pairs = zip(rows["session_from"], rows["session_to"], strict=True)
    half_widths = (rows["change_ci_high"] - rows["change"]) * scale
    values = zip(rows[what.column], half_widths**2, strict=True)
    found = dict(zip(pairs, values, strict=True))
    if not rows[what.column].notna().any():
        return None
    change, squared = np.zeros(len(sessions)), np.zeros(len(sessions))
    for place, session in enumerate(sessions[1:], 1):
        direct, step = (sessions[0], session), (sessions[place - 1], session)
        before = 0 if direct in found else place - 1
        more, wider = found.get(direct) or found.get(step) or (np.nan, np.nan)
        change[place], squared[place] = change[before] + more, squared[before] + wider
    return Course(change, np.sqrt(squared))


def courses(report: ChangeReport) -> Figure | None:
    """Draw each number over the visits with its interval."""
    sessions = [visit.session_id for visit in report.visits]
    made = [(what, course(report.table, what, sessions)) for what in COURSES]
    known = [(what, one) for what, one in made if one is not None]
    if not known:
        return None
    years = np.array([visit.years for visit in report.visits])
    dated = bool(np.isfinite(years).all())
    places = years if dated else np.arange(len(years), dtype=float)
    columns = 3
    rows = -(-len(known) // columns)
    canvas = Canvas(figsize=(10.5, 0.3 + 2.5 * rows))
    for number, (what, one) in enumerate(known, 1):
        axes = canvas.add_subplot(rows, columns, number)
        _draw_course(axes, places, one)
        axes.set_title(what.title, fontsize=9.5, loc="left")
        axes.set_ylabel(f"change ({what.shown_unit})", fontsize=8.5)
        if dated:
            axes.set_xlabel("years since the first visit", fontsize=8.5)
        else:
            axes.set_xticks(range(len(sessions)), sessions, fontsize=8)
    canvas.tight_layout()
    return Figure(
        "Change since the first visit",
        "Points are visits, bars are 95 % intervals; the dashed line is no change. A point without "
        "a bar has no known error. A visit between the first and the last is reached step by step, "
        "and its bar adds the errors of the steps.",
        "Courses of " + ", ".join(what.title.lower() for what, _ in known) + ".",
        drawing.to_svg(canvas),
        "svg",
        "desc-change_courses",
        tall=rows > 2,
    )


def _draw_course(axes: Axes, places: NDArray[np.float64], one: Course) -> None:
    axes.axhline(0.0, color="#888888", linewidth=1.0, linestyle="--")
    axes.plot(places, one.change, "o-", color=colors.BLUE, markersize=5, linewidth=1.4)
    for place, change, half in zip(places[1:], one.change[1:], one.half_width[1:], strict=True):
        if np.isfinite(half):
            axes.plot([place] * 2, [change - half, change + half], color=colors.BLUE, linewidth=1.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def flickers(report: ChangeReport) -> Iterator[Flicker]:
    """Yield each visit and the next one in one place."""
    for first, second in zip(report.visits, report.visits[1:], strict=False):
        yield _flicker(first, second, report)


def _flicker(first: VisitShown, second: VisitShown, report: ChangeReport) -> Flicker:
    pair = Registration(
        name=f"{first.session_id} and {second.session_id}",
        fixed=first.t1w,
        moving=second.t1w,
        matrix=np.eye(4),
        outlines=report.outlines,
        shown=(first.session_id, second.session_id),
    )
    return scan_figures.visits(pair)


MOST_LESIONS = 30
"""Lesions in a gallery; beyond it the viewer is the better place."""

PIECES = np.ones((3, 3, 3), bool)


def gallery(step: LesionStep) -> Figure | None:
    """Show the lesions that changed: before and after in three planes, the largest first."""
    found, count = _pieces(step.changes)
    if not count:
        return None
    window = panels.bright(step.later, None, step.scan)
    shown = found[:MOST_LESIONS]
    canvas, height = _canvas(len(shown))
    _head(canvas, step, height)
    for row, (lesion, word, note) in enumerate(shown):
        pictures = _pictures(step, lesion, window, at_earlier=word == CHANGE_WORDS[4])
        _draw_row(canvas, row, height, pictures)
        middle = 1 - (lesion_figures.HEAD_INCH + (row + 0.5) * lesion_figures.TILE_INCH) / height
        canvas.text(0.01, middle, note, color="white", fontsize=8.5, va="center")
    more = f" The {count - len(shown)} smallest are not shown." if count > len(shown) else ""
    name = f"{step.session_from}to{step.session_to}".replace("ses-", "").replace("-", "")
    return Figure(
        f"Lesions that changed from {step.session_from} to {step.session_to}",
        f"Cut through the middle of each lesion, {2 * AROUND_MM:.0f} mm wide: {step.scan} of both "
        f"visits in one place, with the outline where the lesion is seen: at the later visit, or "
        f"at the earlier one if it vanished. A new lesion is bright in {step.session_to} alone, "
        f"one that vanished in {step.session_from} alone, in more than one plane.{more}",
        f"{len(shown)} lesions in three planes at two visits.",
        drawing.to_svg(canvas),
        "svg",
        f"desc-lesionchange{name}_{step.scan}",
        tall=len(shown) > SHORT,
    )


def _pieces(changes: Image) -> tuple[list[tuple[Image, str, str]], int]:
    """Return the mask of each changed lesion, what became of it and its note; and how many."""
    found: list[tuple[int, int, str, NDArray[np.int32]]] = []
    for value, word in CHANGE_WORDS.items():
        labels, count = ndimage.label(changes.data == value, PIECES)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        found += [(int(sizes[n]), n, word, labels) for n in range(1, count + 1)]
    found.sort(key=lambda one: -one[0])
    made = []
    for size, number, word, labels in found[:MOST_LESIONS]:
        mask = labels == number
        place = apply(changes.affine, np.array(ndimage.center_of_mass(mask)))
        x, y, z = (numbers.fixed(float(value), 0) for value in place)
        volume = numbers.brief(size * changes.voxel_volume_mm3)
        note = f"{word}\n{volume} mm\N{SUPERSCRIPT THREE}\nat {x}, {y},\n{z} mm"
        made.append((reoriented(changes.like(mask.astype(np.uint8))), word, note))
    return made, len(found)


def _canvas(rows: int) -> tuple[Canvas, float]:
    width = lesion_figures.NOTE_INCH + 6 * lesion_figures.TILE_INCH
    height = lesion_figures.HEAD_INCH + rows * lesion_figures.TILE_INCH
    return Canvas(figsize=(width, height), facecolor="black"), height


def _pictures(
    step: LesionStep, lesion: Image, window: Window, *, at_earlier: bool
) -> list[lesion_figures.Picture]:
    """Return both visits in three planes, with the outline at the visit that shows the lesion."""
    cuts = lesion_figures.three_planes(lesion, lesion)
    earlier = [where.tiles(step.earlier, world=step.to_earlier)[0] for where in cuts]
    later = [where.tiles(step.later)[0] for where in cuts]
    # Scanners scale each scan anew: each is shown by its own window.
    before = panels.bright(step.earlier, None, step.scan)
    outlines = [where.tiles(lesion)[0] for where in cuts]
    return [
        (where, shades.colored(tile), outline if drawn else None)
        for shades, tiles, drawn in ((before, earlier, at_earlier), (window, later, not at_earlier))
        for where, tile, outline in zip(cuts, tiles, outlines, strict=True)
    ]


def _draw_row(
    canvas: Canvas, row: int, height: float, pictures: Sequence[lesion_figures.Picture]
) -> None:
    tile, gap = lesion_figures.TILE_INCH, lesion_figures.GAP_INCH
    width = lesion_figures.NOTE_INCH + len(pictures) * tile
    bottom = (height - lesion_figures.HEAD_INCH - (row + 1) * tile) / height
    for column, (where, picture, outline) in enumerate(pictures):
        left = (lesion_figures.NOTE_INCH + column * tile) / width
        axes = canvas.add_axes((left, bottom, (tile - gap) / width, (tile - gap) / height))
        lesion_figures.draw(axes, where, picture, outline)


def _head(canvas: Canvas, step: LesionStep, height: float) -> None:
    """Write which visit and plane each column shows."""
    tile = lesion_figures.TILE_INCH
    width = lesion_figures.NOTE_INCH + 6 * tile
    style: dict[str, Any] = {"color": "white", "fontsize": 9, "ha": "center", "va": "center"}
    for visit, session in enumerate((step.session_from, step.session_to)):
        for place, (_, plane) in enumerate(PLANES):
            x = (lesion_figures.NOTE_INCH + (3 * visit + place + 0.5) * tile) / width
            canvas.text(
                x, 1 - 0.5 * lesion_figures.HEAD_INCH / height, f"{session}, {plane}", **style
            )
