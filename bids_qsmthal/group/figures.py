"""Pictures of the cohort and of the models, as SVG files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from scipy import stats

from bids_qsmthal.report import drawing
from bids_qsmthal.statistics import normality
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.regression import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRAY = "#555555"

MAIN = "as in the table"

WIDEST = 36
"""Letters of 8 points that stand beside a panel of 3.4 inches."""

MANY_POINTS = 400
"""Above this a cloud is drawn as an image instead of shapes."""


def forest(lines: pd.DataFrame) -> bytes:
    """Draw coefficients with intervals in units of standard deviations.

    Parameters
    ----------
    lines
        Columns ``label``, ``side``, ``estimate``, ``low``, ``high``, already standardised.
    """
    labels = list(dict.fromkeys(lines["label"]))
    canvas = Canvas(figsize=(8.0, 1.2 + 0.55 * len(labels)), layout="constrained")
    axes = canvas.add_subplot()
    axes.axvline(0, color=GRAY, linewidth=1)
    # Shape and height differ, not color alone: for prints and the color-blind.
    looks = {"unadjusted": (GRAY, "o", 0.14), "adjusted": (drawing.BLUE, "s", -0.14)}
    for side, rows in lines.groupby("side", sort=False):
        color, marker, shift = looks[str(side)]
        # Matplotlib counts upwards, tables downwards.
        height = [len(labels) - 1 - labels.index(label) + shift for label in rows["label"]]
        # Distances and not ends, as errorbar wants; the intervals are not symmetric.
        reach = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
        axes.errorbar(
            rows["estimate"], height, xerr=reach, fmt=marker, color=color, capsize=3, label=side
        )
    axes.set_yticks(range(len(labels)), labels[::-1])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("partial correlation with 95 % confidence interval")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return _finished(canvas, [axes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One association to be drawn, with the titles of its axes."""

    fit: Fit
    term: str
    title: str
    x_label: str
    y_label: str


def partial_regressions(panels: Sequence[Panel]) -> bytes:
    """Draw outcome against one term, both after removing what the other terms explain.

    The slope of the line is the coefficient of the term in the whole model (Frisch, Waugh and
    Lovell); with one predictor it is the plain scatter plot, centred.
    """
    canvas, grid = _grid(len(panels), width=3.4, height=3.4)
    for axes, panel in zip(grid, panels, strict=True):
        fit, term = panel.fit, panel.term
        assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
        names = fit.design.names
        # Collinear columns may be among them: lstsq projects on what they span.
        others = fit.design.predictors[:, [i for i, name in enumerate(names) if name != term]]
        column = fit.design.predictors[:, names.index(term)]
        x, y = _rest(column, others), _rest(fit.design.outcome, others)
        _cloud(axes, x, y)
        row = fit.row(term)
        _line_with_band(axes, x, y, float(row["coefficient"]), float(row["df_residual"]))
        what = "other terms removed" if others.shape[1] > 1 else "minus its mean"
        axes.set_title(f"{_folded(panel.title)}\nn = {fit.design.n}", fontsize=9)
        axes.set_xlabel(f"{_folded(panel.x_label)},\n{what}", fontsize=8)
        axes.set_ylabel(f"{_folded(panel.y_label)},\n{what}", fontsize=8)
    return _finished(canvas, grid)


def residuals(fits: Sequence[tuple[Fit, str]]) -> bytes:
    """Draw, for each model, the quantiles of the residuals, and residuals by fitted value.

    Parameters
    ----------
    fits
        Each model with the title of the axis of its outcome.
    """
    canvas, grid = _grid(2 * len(fits), width=3.6, height=3.0, columns=2)
    for place, (fit, outcome) in enumerate(fits):
        assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
        left, right = grid[2 * place], grid[2 * place + 1]
        left.set_title(fit.model.name, fontsize=10)
        _quantiles(left, fit.residuals)
        left.set_xlabel("normal quantile", fontsize=9)
        left.set_ylabel(f"residual of\n{_folded(outcome)}", fontsize=8)
        right.axhline(0, color=GRAY, linewidth=1)
        _cloud(right, fit.design.outcome - fit.residuals, fit.residuals)
        right.set_xlabel(f"fitted value of\n{_folded(outcome)}", fontsize=8)
        right.set_ylabel("residual", fontsize=9)
    return _finished(canvas, grid)


def specification_curve(rows: pd.DataFrame, title: str) -> bytes:
    """Draw one coefficient under every specification as a partial correlation.

    Parameters
    ----------
    rows
        Columns ``specification``, ``kind``, ``partial_r``, ``n``, ``low`` and ``high``.
    """
    ordered = rows.sort_values("partial_r", kind="stable").reset_index(drop=True)
    canvas = Canvas(figsize=(8.0, 1.1 + 0.28 * len(ordered)), layout="constrained")
    axes = canvas.add_subplot()
    axes.axvline(0, color=GRAY, linewidth=1)
    for height, (_, row) in enumerate(ordered.iterrows()):
        main = row["specification"] == MAIN
        color, marker = (drawing.BLUE, "s") if main else ("black", "o")
        axes.plot([row["low"], row["high"]], [height, height], color=color, linewidth=1.4)
        axes.plot(row["partial_r"], height, marker, color=color, markersize=6 if main else 4)
    names = [f"{row.specification} (n = {row.n})" for row in ordered.itertuples()]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("partial correlation with 95 % confidence interval", fontsize=9)
    axes.set_title(title, fontsize=10)
    return _finished(canvas, [axes])


def quantile_normal(values: pd.Series[float], label: str) -> bytes:
    """Draw the quantile-normal plot of each rung of the ladder of powers."""
    known = np.asarray(values.dropna(), dtype=float)
    canvas = Canvas(figsize=(8.0, 7.2), layout="constrained")
    canvas.suptitle(label, fontsize=11)
    panels = []
    for place, rung in enumerate(normality.LADDER, start=1):
        axes = canvas.add_subplot(3, 3, place)
        axes.set_title(rung, fontsize=9)
        reason = normality.why_not(known, rung)
        if reason:
            axes.text(
                0.5, 0.5, reason, ha="center", va="center", wrap=True, fontsize=8,
                transform=axes.transAxes,
            )  # fmt: skip
            axes.set(xticks=[], yticks=[])
        else:
            _quantiles(axes, normality.transform(known / np.abs(known).mean(), rung))
        panels.append(axes)
    return _finished(canvas, panels)


def _folded(text: str) -> str:
    """Return a title in lines that fit beside a narrow panel."""
    return "\n".join(textwrap.fill(line, WIDEST) for line in text.split("\n"))


def _rest(values: Floats, others: Floats) -> Floats:
    weights = np.linalg.lstsq(others, values, rcond=None)[0]
    rest: Floats = values - others @ weights
    return rest


def _line_with_band(axes: Axes, x: Floats, y: Floats, slope: float, df: float) -> None:
    """Draw the regression line with the 95 % band of its mean."""
    grid = np.linspace(x.min(), x.max(), 60)
    # Degrees of freedom of the whole model: the other terms used up theirs before this picture.
    error = np.sqrt(np.sum((y - slope * x) ** 2) / df)
    # Standard error of the mean at x; x has a mean of 0, since the intercept is among the others.
    reach = stats.t.ppf(0.975, df) * error * np.sqrt(1 / len(x) + grid**2 / np.sum(x**2))
    axes.plot(grid, slope * grid, color="black", linewidth=1.4)
    axes.fill_between(grid, slope * grid - reach, slope * grid + reach, color=GRAY, alpha=0.2)


def _grid(n: int, *, width: float, height: float, columns: int = 3) -> tuple[Canvas, list[Axes]]:
    """Return a canvas with ``n`` panels, the last row perhaps not full."""
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = Canvas(figsize=(width * columns, height * rows), layout="constrained")
    panels = [canvas.add_subplot(rows, columns, place) for place in range(1, n + 1)]
    for axes in panels:
        axes.tick_params(labelsize=8)
        # A panel is narrow and volumes in mm3 have seven digits: more labels would overlap.
        axes.locator_params(nbins=4)
    return canvas, panels


def _cloud(axes: Axes, x: Floats, y: Floats) -> None:
    """Draw points; many of them as an image, which stays small."""
    axes.scatter(
        x,
        y,
        s=14,
        color=drawing.BLUE,
        # More points are more transparent, so that density stays visible.
        alpha=min(0.7, 0.1 + 60 / len(x)),
        linewidths=0,
        rasterized=len(x) > MANY_POINTS,
    )


def _quantiles(axes: Axes, values: Floats) -> None:
    ordered = np.sort(values)
    # Blom's positions, nearly the expected order statistics of a normal sample.
    positions = (np.arange(1, len(ordered) + 1) - 0.375) / (len(ordered) + 0.25)
    normal = stats.norm.ppf(positions)
    # The line of a normal distribution with this mean and SD, not one through the quartiles.
    axes.plot(normal, ordered.mean() + ordered.std(ddof=1) * normal, color=GRAY, linewidth=1)
    many = len(ordered) > MANY_POINTS
    axes.scatter(normal, ordered, s=10, color=drawing.BLUE, linewidths=0, rasterized=many)
    axes.tick_params(labelsize=7)


def _finished(canvas: Canvas, panels: list[Axes]) -> bytes:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return drawing.to_svg(canvas)
