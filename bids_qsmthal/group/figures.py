"""Pictures of the cohort and of the models, as SVG files."""

from __future__ import annotations

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
    looks = {"unadjusted": (GRAY, "o", 0.14), "adjusted": (drawing.BLUE, "s", -0.14)}
    for side, rows in lines.groupby("side", sort=False):
        color, marker, shift = looks[str(side)]
        height = [len(labels) - 1 - labels.index(label) + shift for label in rows["label"]]
        reach = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
        axes.errorbar(
            rows["estimate"], height, xerr=reach, fmt=marker, color=color, capsize=3, label=side
        )
    axes.set_yticks(range(len(labels)), labels[::-1])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("partial correlation with 95 % confidence interval")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return _finished(canvas, [axes])


def partial_regression(fit: Fit, term: str, x_label: str, y_label: str) -> bytes:
    """Draw outcome against one term, both after removing what the other terms explain.

    The slope of the line is the coefficient of the term in the whole model (Frisch, Waugh and
    Lovell); with one predictor it is the plain scatter plot, centred.
    """
    assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
    names = fit.design.names
    others = fit.design.predictors[:, [i for i, name in enumerate(names) if name != term]]
    column = fit.design.predictors[:, names.index(term)]
    x, y = _rest(column, others), _rest(fit.design.outcome, others)
    canvas = Canvas(figsize=(5.0, 4.0), layout="constrained")
    axes = canvas.add_subplot()
    axes.scatter(x, y, s=18, color=drawing.BLUE, alpha=min(0.7, 0.2 + 60 / len(x)), linewidths=0)
    row = fit.row(term)
    _line_with_band(axes, x, y, float(row["coefficient"]), float(row["df_residual"]))
    adjusted = " (adjusted)" if others.shape[1] > 1 else " (centred)"
    axes.set(xlabel=x_label + adjusted, ylabel=y_label + adjusted)
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


def residuals(fit: Fit, label: str) -> bytes:
    """Draw the quantile-normal plot of the residuals, and residuals against fitted values."""
    assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
    canvas = Canvas(figsize=(8.0, 3.6), layout="constrained")
    canvas.suptitle(label, fontsize=11)
    left, right = canvas.subplots(1, 2)
    _quantiles(left, fit.residuals)
    left.set(xlabel="normal quantile", ylabel="residual")
    fitted = fit.design.outcome - fit.residuals
    right.axhline(0, color=GRAY, linewidth=1)
    right.scatter(fitted, fit.residuals, s=14, color=drawing.BLUE, linewidths=0, alpha=0.6)
    right.set(xlabel="fitted value", ylabel="residual")
    return _finished(canvas, [left, right])


def _rest(values: Floats, others: Floats) -> Floats:
    weights = np.linalg.lstsq(others, values, rcond=None)[0]
    rest: Floats = values - others @ weights
    return rest


def _line_with_band(axes: Axes, x: Floats, y: Floats, slope: float, df: float) -> None:
    """Draw the regression line with the 95 % band of its mean."""
    grid = np.linspace(x.min(), x.max(), 60)
    error = np.sqrt(np.sum((y - slope * x) ** 2) / df)
    reach = stats.t.ppf(0.975, df) * error * np.sqrt(1 / len(x) + grid**2 / np.sum(x**2))
    axes.plot(grid, slope * grid, color="black", linewidth=1.4)
    axes.fill_between(grid, slope * grid - reach, slope * grid + reach, color=GRAY, alpha=0.2)


def _quantiles(axes: Axes, values: Floats) -> None:
    ordered = np.sort(values)
    # Blom's positions, nearly the expected order statistics of a normal sample.
    positions = (np.arange(1, len(ordered) + 1) - 0.375) / (len(ordered) + 0.25)
    normal = stats.norm.ppf(positions)
    axes.plot(normal, ordered.mean() + ordered.std(ddof=1) * normal, color=GRAY, linewidth=1)
    axes.scatter(normal, ordered, s=10, color=drawing.BLUE, linewidths=0)
    axes.tick_params(labelsize=7)


def _finished(canvas: Canvas, panels: list[Axes]) -> bytes:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return drawing.to_svg(canvas)
