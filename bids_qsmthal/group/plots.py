"""What the figures of the group level are made of: panels, clouds of points, lines, quantiles."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import Formatter
from scipy import stats

from bids_qsmthal.core import colors
from bids_qsmthal.core.digits import APART_FROM, MINUS, count
from bids_qsmthal.report import drawing
from bids_qsmthal.statistics.design import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRAY = "#555555"

MANY_POINTS = 500
"""From here on points hide each other: cells that count them, or boxes, are drawn instead."""

CELLS_ACROSS = 28
"""Hexagons across a panel of 3.5 inches: an eighth of an inch each, still told apart in print."""

MOST_QUANTILES = 300
"""So many points of a quantile plot touch each other; more would only make the file larger."""

WIDEST = 38
"""Letters of 8 points that stand beside a panel of 3.5 inches."""

WIDTH_INCHES = 7.2
"""Two columns of a journal."""

LEFT_INCHES, BOTTOM_INCHES, TOP_INCHES = 0.95, 0.68, 0.42
"""Borders of a panel: a title of three lines and seven digits, one of three lines, one of two."""

RIGHT_INCHES = 0.25
"""Half of the number at a tick that stands at the very end of an axis: six digits."""


@dataclass(frozen=True, slots=True)
class LineWithBand:
    """A slope, and half the 95% intervals of it and of the mean of y."""

    slope: float
    of_slope: float
    of_mean: float


def grid(n: int, *, columns: int, height_inches: float) -> tuple[Canvas, list[Axes]]:
    """Return a canvas as wide as a journal's page with ``n`` panels, each row so high.

    Borders are fixed: finding them from the texts takes as long as drawing them.
    """
    rows = -(-n // columns)
    height = height_inches * rows
    canvas = Canvas(figsize=(WIDTH_INCHES, height))
    inner = WIDTH_INCHES - columns * LEFT_INCHES - RIGHT_INCHES
    canvas.subplots_adjust(
        left=LEFT_INCHES / WIDTH_INCHES,
        right=1 - RIGHT_INCHES / WIDTH_INCHES,
        bottom=BOTTOM_INCHES / height,
        top=1 - TOP_INCHES / height,
        wspace=LEFT_INCHES * columns / inner,
        hspace=(BOTTOM_INCHES + TOP_INCHES) / (height_inches - BOTTOM_INCHES - TOP_INCHES),
    )
    panels = [canvas.add_subplot(rows, columns, place) for place in range(1, n + 1)]
    for axes in panels:
        axes.tick_params(labelsize=7)
        # A panel is narrow and volumes in mm3 have seven digits: more labels would overlap.
        axes.locator_params(nbins=4)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(TickText())
    return canvas, panels


def tick_text(value: float) -> str:
    """Return the number at a tick: thousands kept apart, never as an offset or a power of ten."""
    # Eight digits: more would show that 0.3 is 0.30000000000000004. Adding zero takes its minus.
    comma = "," if abs(value) >= APART_FROM else ""
    return f"{value + 0.0:{comma}.8g}".replace("-", MINUS)


class TickText(Formatter):
    """Writes the numbers at the ticks of an axis as ``tick_text``, all with the same decimals.

    On a logarithmic axis each has its own: 0.1, 1, 10.
    """

    def __call__(self, value: float, pos: float | None = None) -> str:  # noqa: ARG002 - matplotlib's signature
        """Return one number, wherever it stands."""
        return tick_text(value)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the numbers at all ticks of an axis."""
        texts = [tick_text(value) for value in values]
        scale = getattr(self.axis, "get_scale", lambda: "")()
        if scale != "linear" or "e" in "".join(texts):
            return texts
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        # A number without a point gets one, and zeros.
        wanted = [text if "." in text or not decimals else f"{text}." for text in texts]
        return [
            text + "0" * (decimals - len(text.partition(".")[2])) if decimals else text
            for text in wanted
        ]


def lines_with_names(
    height_inches: float, *, names_inches: float = 2.6, top_inches: float = 0.4
) -> tuple[Canvas, Axes]:
    """Return a canvas of this height with room for the name of each line on the left."""
    canvas = Canvas(figsize=(WIDTH_INCHES, height_inches))
    left, bottom = names_inches / WIDTH_INCHES, 0.5 / height_inches
    top = top_inches / height_inches
    axes = canvas.add_axes((left, bottom, 0.98 - left, 1 - bottom - top))
    axes.tick_params(labelsize=8)
    return canvas, axes


def cloud(axes: Axes, x: Floats, y: Floats) -> None:
    """Draw points, or from 500 on hexagons that are the darker the more points they hold."""
    if len(x) < MANY_POINTS:
        axes.scatter(x, y, s=12, color=colors.BLUE, alpha=0.6, linewidths=0)
        return
    # bins="log" colours by the logarithm: the rim of the cloud stays visible beside its middle.
    axes.hexbin(
        x,
        y,
        gridsize=(CELLS_ACROSS, CELLS_ACROSS * 2 // 3),
        bins="log",
        mincnt=1,
        cmap="Blues",
        vmin=0.3,  # below one: a single participant must not be white
        linewidths=0.1,
        yscale="log" if axes.get_yscale() == "log" else "linear",
    )
    # Setting the scale, as hexbin does, brings powers of ten back.
    axes.yaxis.set_major_formatter(TickText())


def strips(axes: Axes, x: Floats, y: Floats, words: Mapping[float, str]) -> None:
    """Draw the values at each level of a predictor: points side by side, or boxes from 500 on."""
    levels = sorted(set(x.tolist()))
    groups = [y[x == level] for level in levels]
    if len(y) < MANY_POINTS:
        for level, values in zip(levels, groups, strict=True):
            axes.scatter(
                level + beside(len(values), 0.09),
                values,
                s=12,
                color=colors.BLUE,
                alpha=0.6,
                linewidths=0,
            )
    else:
        # Whiskers at fixed quantiles: at 1.5 quartile ranges every large group has outliers.
        axes.boxplot(
            groups, positions=levels, widths=0.35, whis=(5, 95), showfliers=False,
            medianprops={"color": colors.BLUE},
        )  # fmt: skip
    names = [words.get(level, f"{level:g}") for level in levels]
    counted = [
        f"{name}\n(n = {count(len(group))})" for name, group in zip(names, groups, strict=True)
    ]
    axes.set_xticks(levels, counted)
    reach = 0.5 * max(1.0, levels[-1] - levels[0])
    axes.set_xlim(levels[0] - reach, levels[-1] + reach)


def beside(n: int, width: float) -> Floats:
    """Return where points of one level stand, so that they hide each other less.

    The golden ratio spreads any number of points evenly and is no random number: the same picture
    every time.
    """
    golden = (np.sqrt(5) - 1) / 2
    places: Floats = (np.arange(n) * golden % 1 - 0.5) * 2 * width
    return places


def line_with_band(
    axes: Axes, x: Floats, middle: tuple[float, float], line: LineWithBand, *, logged: bool = False
) -> None:
    """Draw a regression line with the 95% band of its mean.

    Parameters
    ----------
    x
        The values that the line goes over: from the least to the greatest.
    middle
        Where the line passes: the means of both axes.
    logged
        Whether the model is of the natural logarithm of what the axis shows.
    """
    along = np.linspace(x.min(), x.max(), 60)
    from_middle = along - middle[0]
    y = middle[1] + line.slope * from_middle
    # The errors of mean and slope are independent where x is centred.
    reach = np.hypot(line.of_mean, line.of_slope * from_middle)
    shown, low, high = (np.exp(v) if logged else v for v in (y, y - reach, y + reach))
    axes.plot(along, shown, color="black", linewidth=1.4)
    axes.fill_between(along, low, high, color=GRAY, alpha=0.2, linewidth=0)


def quantiles(axes: Axes, values: Floats) -> None:
    """Draw ordered values against the quantiles of a normal distribution, with its line."""
    normal, ordered = normal_quantiles(values)
    # The line of a normal distribution with this mean and SD, not one through the quartiles.
    ends = normal[[0, -1]]
    axes.plot(ends, values.mean() + values.std(ddof=1) * ends, color=GRAY, linewidth=1)
    axes.scatter(normal, ordered, s=8, color=colors.BLUE, linewidths=0)


def normal_quantiles(values: Floats) -> tuple[Floats, Floats]:
    """Return quantiles of a normal distribution and of the values: as many as can be seen."""
    ordered = np.sort(values)
    # Blom's positions, nearly the expected order statistics of a normal sample.
    positions = (np.arange(1, len(ordered) + 1) - 0.375) / (len(ordered) + 0.25)
    normal = stats.norm.ppf(positions)
    shown = thinned(normal)
    return normal[shown], ordered[shown]


def thinned(places: Floats) -> np.ndarray:
    """Return which of some ordered points to draw: the ends all, of the dense middle some."""
    if len(places) <= MOST_QUANTILES:
        return np.arange(len(places))
    # Evenly along the axis, so that both tails, where departures show, keep every point.
    wanted = np.linspace(places[0], places[-1], MOST_QUANTILES)
    return np.unique(np.searchsorted(places, wanted).clip(max=len(places) - 1))


def folded(text: str, widest: int = WIDEST) -> str:
    """Return a title in lines that fit beside a narrow panel."""
    return "\n".join(textwrap.fill(line, widest) for line in text.split("\n"))


def with_n(text: str, counts: Iterable[int], widest: int) -> str:
    """Return the name of a line of a forest with its participants below: one n, or one a side."""
    return f"{folded(text, widest)}\n(n = {' and '.join(f'{count(n)}' for n in counts)})"


def finished(canvas: Canvas, panels: Sequence[Axes]) -> drawing.Drawing:
    """Return the files of a figure."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return drawing.to_files(canvas)
