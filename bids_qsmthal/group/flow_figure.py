"""The flow of participants as a drawing of boxes, as CONSORT and STROBE ask for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Canvas
from matplotlib.patches import FancyBboxPatch

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import plots
from bids_qsmthal.group.flow import FlowStep, Line
from bids_qsmthal.report.drawing import Drawing, to_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_INCHES = 0.165
"""Height of a line of 8 points."""

GAP_INCHES = 0.22

STEM = (0.1, 3.3)
"""Left border and width of the boxes of those who go on, in inches."""

SIDE = (3.75, 3.35)
"""The same of those who leave."""

LETTERS = 46
"""Letters of 8 points that fit into a box."""

STAY = {
    FlowStep.LISTED: "Participants in participants.tsv",
    FlowStep.WITH_RESULTS: "Participants with results",
    FlowStep.ANALYSED: "Participants analysed",
}
"""Counts of the stem, from top to bottom."""

LEAVE = {
    FlowStep.WITHOUT_RESULTS: "No results",
    FlowStep.NOT_LISTED: "Added: results, but not in participants.tsv",
    FlowStep.NOT_WANTED: "Not selected on the command line",
    FlowStep.EXCLUDED: "Excluded: {0}",
    FlowStep.FILTERED: "Outside the filter: {0}",
}
"""Counts beside the stem, each after the count of the stem that it follows."""


@dataclass(frozen=True, slots=True)
class Box:
    """A text with its place: the left border, the width and the top, in inches."""

    lines: tuple[str, ...]
    left: float
    width: float
    top: float

    @property
    def height(self) -> float:
        """Room for the lines and a border around them."""
        return LINE_INCHES * (len(self.lines) + 0.7)

    @property
    def bottom(self) -> float:
        """Where the next box may begin."""
        return self.top + self.height


def draw(lines: Sequence[Line]) -> Drawing:
    """Draw the counts from the dataset to the participants analysed, then the models."""
    stem, side = boxes(lines)
    models = _models(lines, stem[-1].bottom + GAP_INCHES)
    everything = [*stem, *side, *models]
    height = max(box.bottom for box in everything) + 0.1
    canvas = Canvas(figsize=(plots.WIDTH_INCHES, height))
    axes = canvas.add_axes((0, 0, 1, 1))
    # Inches from the upper left corner, as a page is read.
    axes.set(xlim=(0, plots.WIDTH_INCHES), ylim=(height, 0))
    axes.set_axis_off()
    for box in everything:
        _draw_box(axes, box)
    for above, below in zip(stem, [*stem[1:], *models], strict=False):
        _arrow(axes, (_middle(above), above.bottom), (_middle(above), below.top))
    for box in side:
        height_of = (box.top + box.bottom) / 2
        _arrow(axes, (_middle(stem[0]), height_of), (box.left, height_of))
    return to_files(canvas)


def boxes(lines: Sequence[Line]) -> tuple[list[Box], list[Box]]:
    """Return the boxes of those who go on, and of those who leave on the way."""
    stem: list[Box] = []
    side: list[Box] = []
    top = 0.1
    for line in lines:
        if line.step in STAY:
            stem.append(_box(STAY[line.step], line, STEM, top))
            top = stem[-1].bottom + GAP_INCHES
        elif line.step in LEAVE:
            side.append(_box(LEAVE[line.step].format(line.about), line, SIDE, top))
            top = side[-1].bottom + GAP_INCHES
    return stem, side


def _models(lines: Sequence[Line], top: float) -> list[Box]:
    """Return one box with the participants of each model, all models of one n together."""
    models = [line for line in lines if line.step == FlowStep.MODEL]
    if not models:
        return []
    by_n: dict[int, list[str]] = {}
    for line in models:
        by_n.setdefault(line.n, []).append(line.about)
    width = SIDE[0] + SIDE[1] - STEM[0]
    texts = ["Participants in the models (complete cases)"]
    for n, names in sorted(by_n.items(), reverse=True):
        texts += textwrap.wrap(
            f"n = {count(n)}: {', '.join(names)}", 2 * LETTERS, subsequent_indent="    "
        )
    return [Box(tuple(texts), STEM[0], width, top)]


def _box(text: str, line: Line, place: tuple[float, float], top: float) -> Box:
    wrapped = textwrap.wrap(f"{text} (n = {count(line.n)})", LETTERS)
    return Box(tuple(wrapped), *place, top)


def _draw_box(axes: Axes, box: Box) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (box.left, box.top), box.width, box.height,
            boxstyle="round,pad=0,rounding_size=0.05", facecolor="white", edgecolor=plots.GRAY,
        )
    )  # fmt: skip
    for number, text in enumerate(box.lines):
        height = box.top + LINE_INCHES * (number + 0.85)
        axes.text(box.left + 0.1, height, text, fontsize=8, va="center", parse_math=False)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": plots.GRAY, "shrinkA": 0, "shrinkB": 0},
    )


def _middle(box: Box) -> float:
    return box.left + 0.5 * box.width
