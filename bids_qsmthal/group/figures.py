"""Pictures of the models: associations, residuals, forests, specifications, normality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from scipy import special

from bids_qsmthal.core import colors
from bids_qsmthal.core.digits import count
from bids_qsmthal.group import plots
from bids_qsmthal.group.plots import LineWithBand
from bids_qsmthal.report import drawing
from bids_qsmthal.report.drawing import Drawing
from bids_qsmthal.statistics import normality, quantile_residuals, sensitivity
from bids_qsmthal.statistics.design import Floats
from bids_qsmthal.statistics.regression import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_LEVELS = 2
"""A predictor with so many values is a yes or no: strips say more than a cloud."""

NAME_LETTERS = 56
"""Letters of the name of a specification in a line: more would leave too little for the curve."""

NO_BREAK = "\N{NO-BREAK SPACE}"

LETTER_INCHES = 0.057
"""Width of a letter of 7 points in the mean, measured on long names."""

LOOKS = {
    "unadjusted": (plots.GRAY, "o", 0.14),
    "adjusted": (colors.BLUE, "s", -0.14),
}
"""Colour, marker and shift of each side: shape and height too, for prints and the colour-blind."""


def forest(lines: pd.DataFrame) -> Drawing:
    """Draw coefficients with intervals in units of standard deviations.

    Parameters
    ----------
    lines
        Columns ``label``, ``side``, ``estimate``, ``low``, ``high`` and ``n``, standardised.
    """
    labels = list(dict.fromkeys(lines["label"]))
    canvas, axes = plots.lines_with_names(1.1 + 0.5 * len(labels))
    axes.axvline(0, color=plots.GRAY, linewidth=1)
    for side, rows in lines.groupby("side", sort=False):
        color, marker, shift = LOOKS[str(side)]
        # Matplotlib counts upwards, tables downwards.
        height = [len(labels) - 1 - labels.index(label) + shift for label in rows["label"]]
        # Distances and not ends, as errorbar wants; the intervals are not symmetric.
        reach = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
        axes.errorbar(
            rows["estimate"], height, xerr=reach, fmt=marker, color=color, capsize=3, label=side
        )
    counts = lines.groupby("label", sort=False)["n"].unique()
    names = [plots.with_n(label, counts[label], 30) for label in labels[::-1]]
    axes.set_yticks(range(len(labels)), names)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("Partial correlation with 95% confidence interval", fontsize=8)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return plots.finished(canvas, [axes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One line of a table to be drawn, with the titles of its axes.

    ``unadjusted`` and ``adjusted`` are its models, as far as they are fitted.
    """

    term: str
    title: str
    x_label: str
    y_label: str
    unadjusted: Fit | None = None
    adjusted: Fit | None = None
    words: Mapping[float, str] = field(default_factory=dict)
    """What the values of the predictor mean."""

    strip_label: str = ""
    """The title of the axis where the words stand at its ticks."""

    logged_outcome: bool = False
    """Whether the outcome of the models is the natural logarithm of ``plain_y_label``."""

    plain_y_label: str = ""


def associations(drawn: Sequence[Association]) -> Drawing:
    """Draw each line of a table twice: as measured, and without what the other terms explain."""
    canvas, panels = plots.grid(2 * len(drawn), columns=2, height_inches=2.9)
    for place, one in enumerate(drawn):
        left, right = panels[2 * place], panels[2 * place + 1]
        measured = one.unadjusted or one.adjusted
        if measured is not None:
            _as_measured(left, measured, one)
        if one.adjusted is not None and _is_linear(one.adjusted):
            _without_others(right, one.adjusted, one)
        else:
            right.set_axis_off()
    return plots.finished(canvas, panels)


def _as_measured(axes: Axes, fit: Fit, one: Association) -> None:
    """Draw outcome against predictor, with the unadjusted model where there is one."""
    assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
    x = fit.design.predictors[:, fit.design.names.index(one.term)]
    y = np.exp(fit.design.outcome) if one.logged_outcome else fit.design.outcome
    if one.logged_outcome:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(plots.TickText())
    if len(set(x.tolist())) <= FEW_LEVELS:
        plots.strips(axes, x, y, one.words)
        axes.set_xlabel(plots.folded(one.strip_label or one.x_label), fontsize=8)
    else:
        plots.cloud(axes, x, y)
        axes.set_xlabel(plots.folded(one.x_label), fontsize=8)
    if fit is one.unadjusted:
        _model_line(axes, fit, one, x)
    _titled(axes, one, fit.design.n, "as measured")
    y_label = one.plain_y_label if one.logged_outcome else one.y_label
    axes.set_ylabel(plots.folded(y_label), fontsize=8)


def _model_line(axes: Axes, fit: Fit, one: Association, x: Floats) -> None:
    """Draw what a model of one predictor says: a line with its band, or a probability."""
    assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
    outcome = fit.design.outcome
    if _is_linear(fit):
        middle = float(x.mean()), float(outcome.mean())
        line = _line_of(fit, one.term, x, outcome)
        plots.line_with_band(axes, x, middle, line, logged=one.logged_outcome)
    elif fit.model.family == "binomial":
        grid = np.linspace(x.min(), x.max(), 60)
        slope = float(fit.row(one.term)["coefficient"])
        start = float(fit.row("Intercept")["coefficient"])
        axes.plot(grid, special.expit(start + slope * grid), color="black", linewidth=1.4)


def _without_others(axes: Axes, fit: Fit, one: Association) -> None:
    """Draw outcome against predictor, both after removing what the other terms explain.

    The slope of the line is the coefficient of the term in the whole model (Frisch and Waugh 1933,
    doi 10.2307/1907330; Lovell 1963).
    """
    assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
    names = fit.design.names
    # Collinear columns may be among them: lstsq projects on what they span.
    others = fit.design.predictors[:, [i for i, name in enumerate(names) if name != one.term]]
    column = fit.design.predictors[:, names.index(one.term)]
    x, y = _rest(column, others), _rest(fit.design.outcome, others)
    plots.cloud(axes, x, y)
    plots.line_with_band(axes, x, (0.0, 0.0), _line_of(fit, one.term, x, y))
    _titled(axes, one, fit.design.n, "other terms removed")
    axes.set_xlabel(plots.folded(f"{one.x_label}, other terms removed"), fontsize=8)
    axes.set_ylabel(plots.folded(f"{one.y_label}, other terms removed"), fontsize=8)


def _titled(axes: Axes, one: Association, n: int, what: str) -> None:
    title = plots.folded(one.title, 44)
    axes.set_title(f"{title}\n{what}, n = {count(n)}", fontsize=8, loc="left")


def _line_of(fit: Fit, term: str, x: Floats, y: Floats) -> LineWithBand:
    """Return the slope of a term with its interval, and that of the mean of y."""
    row = fit.row(term)
    coefficient, half = float(row["coefficient"]), float(row["ci_high"] - row["coefficient"])
    # The table's own multiplier: Student's t, or that of the normal for Huber's method.
    multiplier = half / float(row["standard_error"])
    df = float(row["df_residual"])
    rest = y - y.mean() - coefficient * (x - x.mean())
    # The other terms used up their degrees of freedom before this picture.
    error = np.sqrt(np.sum(rest**2) / (df if np.isfinite(df) else len(x)) / len(x))
    return LineWithBand(coefficient, half, multiplier * float(error))


def _is_linear(fit: Fit) -> bool:
    return fit.model.family == "gaussian"


def residuals(fits: Sequence[tuple[Fit, str]]) -> Drawing:
    """Draw, for each model, the quantiles of the residuals, and residuals by fitted value.

    Parameters
    ----------
    fits
        Each model with the title of the axis of its outcome.
    """
    canvas, panels = plots.grid(2 * len(fits), columns=2, height_inches=2.6)
    for place, (fit, outcome) in enumerate(fits):
        assert fit.design is not None  # noqa: S101 - the caller draws fitted models only
        left, right = panels[2 * place], panels[2 * place + 1]
        fitted, rest = quantile_residuals.of_fit(fit)
        of_outcome, of_fitted = _residual_titles(fit, plots.folded(outcome))
        left.set_title(f"Model {fit.model.name}, n = {count(fit.design.n)}", fontsize=8, loc="left")
        plots.quantiles(left, rest)
        left.set_xlabel("Quantile of a normal distribution (standard deviations)", fontsize=8)
        left.set_ylabel(of_outcome, fontsize=8)
        right.axhline(0, color=plots.GRAY, linewidth=1)
        plots.cloud(right, fitted, rest)
        right.set_xlabel(of_fitted, fontsize=8)
        right.set_ylabel("Residual" if _is_linear(fit) else "Quantile residual (SD)", fontsize=8)
    return plots.finished(canvas, panels)


def _residual_titles(fit: Fit, outcome: str) -> tuple[str, str]:
    """Return what residuals and fitted values of a model are."""
    if _is_linear(fit):
        return f"Residual of\n{outcome}", f"Fitted value of\n{outcome}"
    fitted = {"binomial": "Fitted probability of", "ordinal": "Linear predictor (log odds) of"}
    return (
        f"Quantile residual (SD) of\n{outcome}",
        f"{fitted.get(fit.model.family, 'Fitted count of')}\n{outcome}",
    )


def specification_curve(rows: pd.DataFrame, title: str) -> Drawing:
    """Draw one coefficient under every specification as a partial correlation.

    Parameters
    ----------
    rows
        Columns ``specification``, ``kind``, ``partial_r``, ``n``, ``low`` and ``high``.
    """
    ordered = rows.sort_values("partial_r", kind="stable").reset_index(drop=True)
    names = [
        plots.folded(f"{specification} (n{NO_BREAK}={NO_BREAK}{count(n)})", NAME_LETTERS)
        for specification, n in zip(ordered["specification"], ordered["n"], strict=True)
    ]
    longest = max(len(line) for name in names for line in name.split("\n"))
    n_lines = max(name.count("\n") + 1 for name in names)
    canvas, axes = plots.lines_with_names(
        1.15 + (0.08 + 0.12 * n_lines) * len(ordered),
        names_inches=0.25 + LETTER_INCHES * longest,
        top_inches=0.55,
    )
    axes.axvline(0, color=plots.GRAY, linewidth=1)
    main = (ordered["specification"] == sensitivity.MAIN).to_numpy()
    heights = np.arange(len(ordered))
    for chosen, color, marker, size in ((~main, "black", "o", 14), (main, colors.BLUE, "s", 30)):
        some = ordered[chosen]
        axes.hlines(heights[chosen], some["low"], some["high"], color=color, linewidth=1.3)
        axes.scatter(
            some["partial_r"], heights[chosen], s=size, color=color, marker=marker, zorder=3
        )
    axes.set_yticks(heights, names, fontsize=7)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("Partial correlation with 95% confidence interval", fontsize=8)
    # From the edge of the figure: beside the names there is too little room.
    canvas.suptitle(plots.folded(title, 96), fontsize=9, x=0.02, y=0.99, ha="left", va="top")
    return plots.finished(canvas, [axes])


def quantile_normal(values: pd.Series[float], label: str) -> Drawing:
    """Draw the quantile-normal plot of each rung of the ladder of powers, nine small panels."""
    known = np.asarray(values.dropna(), dtype=float)
    canvas = Canvas(figsize=(plots.WIDTH_INCHES, 6.6))
    # All panels in one pair of axes: what they show is in standard deviations, so nine pairs of
    # axes would repeat the same numbers, and take ten times as long.
    axes = canvas.add_axes((0.02, 0.01, 0.96, 0.94))
    axes.set(xlim=(0, 3), ylim=(3, 0))
    axes.set_axis_off()
    for place, rung in enumerate(normality.LADDER):
        _rung(axes, known, rung, (place % 3, place // 3))
    title = f"{label}, n = {count(len(known))}"
    canvas.suptitle(title, fontsize=9, x=0.03, y=0.99, ha="left", va="top")
    return drawing.to_files(canvas)


def _rung(axes: Axes, known: Floats, rung: str, corner: tuple[int, int]) -> None:
    """Draw one rung into the unit square at a corner."""
    left, top = corner
    axes.text(left + 0.5, top + 0.07, rung, fontsize=8, ha="center", va="center")
    border = Rectangle((left + 0.04, top + 0.12), 0.92, 0.84, facecolor="none")
    border.set(edgecolor=plots.GRAY, linewidth=0.6)
    axes.add_patch(border)
    middle = (left + 0.5, top + 0.54)
    if reason := normality.why_not(known, rung):
        axes.text(*middle, plots.folded(reason, 28), fontsize=7, ha="center", va="center")
        return
    raised = normality.transform(known / np.abs(known).mean(), rung)
    normal, found = plots.normal_quantiles((raised - raised.mean()) / raised.std(ddof=1))
    # One scale for both directions: values beyond would lie on the next panel.
    widest = max(3.0, float(np.abs(normal).max()), float(np.abs(found).max()))
    x, y = middle[0] + 0.44 * normal / widest, middle[1] - 0.4 * found / widest
    ends = np.array([-1.0, 1.0]) * np.abs(normal).max() / widest
    axes.plot(middle[0] + 0.44 * ends, middle[1] - 0.4 * ends, color=plots.GRAY, linewidth=1)
    axes.scatter(x, y, s=8, color=colors.BLUE, linewidths=0)


def _rest(values: Floats, others: Floats) -> Floats:
    weights = np.linalg.lstsq(others, values, rcond=None)[0]
    rest: Floats = values - others @ weights
    return rest
