"""Change over time: the course of each participant, and the model's line through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from bids_qsmthal.core import colors
from bids_qsmthal.core.digits import count
from bids_qsmthal.group import plots
from bids_qsmthal.report.drawing import Drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

MOST_COURSES = 300
"""More lines are a blot. Those drawn are spread evenly over the participants of the table."""

YEARS = "years"


def courses(frame: pd.DataFrame, outcome: str) -> dict[str, np.ndarray]:
    """Return the course of everyone with two sessions or more: years and values, in time order.

    Parameters
    ----------
    frame
        One row a session, with ``participant_id``, ``years`` and the outcome.
    """
    known = frame.dropna(subset=[YEARS, outcome]).sort_values(["participant_id", YEARS])
    return {
        str(who): rows[[YEARS, outcome]].to_numpy(dtype=float)
        for who, rows in known.groupby("participant_id", sort=True)
        if len(rows) > 1
    }


def draw(
    of_each: dict[str, np.ndarray], y_label: str, slope: tuple[float, float, float]
) -> Drawing:
    """Draw every course, and the mean change with its 95% interval.

    Parameters
    ----------
    of_each
        See ``courses``.
    slope
        The model's change in a year with its interval; not a number where it has none.
    """
    canvas, (axes,) = plots.grid(1, columns=1, height_inches=4.0)
    names = list(of_each)
    # Evenly and not at random: the same picture every time.
    chosen = np.linspace(0, len(names) - 1, min(len(names), MOST_COURSES)).round().astype(int)
    shown = [of_each[names[place]] for place in chosen]
    axes.add_collection(LineCollection(shown, colors=plots.GRAY, linewidths=0.7, alpha=0.5))
    points = np.concatenate(shown)
    axes.scatter(points[:, 0], points[:, 1], s=7, color=plots.GRAY, alpha=0.6, linewidths=0)
    everyone = np.concatenate(list(of_each.values()))
    _mean_change(axes, everyone, slope)
    axes.set_xlabel("Years since the first session", fontsize=8)
    axes.set_ylabel(plots.folded(y_label), fontsize=8)
    some = f", {len(shown)} of them drawn" if len(shown) < len(names) else ""
    title = f"{count(len(names))} participants with two sessions or more{some}"
    axes.set_title(title, fontsize=8, loc="left")
    return plots.finished(canvas, [axes])


RELIABLE = {"increase": colors.VERMILION, "decrease": colors.BLUE}
"""Lines of participants whose change is reliable; the others are gray."""


def draw_since_first(
    panels: Sequence[tuple[str, Mapping[str, np.ndarray], Mapping[str, str]]],
    means: Sequence[tuple[float, float, float]],
) -> Drawing:
    """Draw the change of everyone since the first visit, a panel a measure.

    Parameters
    ----------
    panels
        Title with the unit; years and change of each participant from (0, 0) on, shape (n, 2);
        whether their change is reliable, as in the table.
    means
        Of each panel the mean change in a year with its interval; not a number where it is none.
    """
    canvas, all_axes = plots.grid(len(panels), columns=2, height_inches=2.6)
    for axes, (title, of_each, reliable), mean in zip(all_axes, panels, means, strict=True):
        names = list(of_each)
        chosen = np.linspace(0, len(names) - 1, min(len(names), MOST_COURSES)).round().astype(int)
        shown = [names[place] for place in chosen]
        lines = LineCollection(
            [of_each[name] for name in shown],
            colors=[RELIABLE.get(reliable.get(name, ""), plots.GRAY) for name in shown],
            linewidths=0.8,
            alpha=0.6,
        )
        axes.add_collection(lines)
        # The collection moves no limits by itself before it is drawn.
        axes.update_datalim(np.concatenate([of_each[name] for name in shown]))
        axes.autoscale_view()
        axes.axhline(0, color=plots.GRAY, linewidth=0.6)
        last = max(float(points[-1, 0]) for points in of_each.values())
        if np.isfinite(mean).all():
            years = np.array([0.0, last])
            axes.plot(years, mean[0] * years, color="black", linewidth=2)
            axes.fill_between(
                years, mean[1] * years, mean[2] * years, color="black", alpha=0.15, linewidth=0
            )
        axes.set_xlabel("Years since the first visit", fontsize=8)
        axes.set_title(title, fontsize=8, loc="left")
    return plots.finished(canvas, all_axes)


def _mean_change(axes: Axes, points: np.ndarray, slope: tuple[float, float, float]) -> None:
    if not np.isfinite(slope).all():
        return
    years = np.linspace(points[:, 0].min(), points[:, 0].max(), 40)
    # Through the middle of all points: the model's intercept is that of people with all covariates
    # at zero, whom nobody has seen.
    middle = points.mean(axis=0)
    mean, low, high = (middle[1] + one * (years - middle[0]) for one in slope)
    axes.plot(years, mean, color=colors.BLUE, linewidth=2)
    axes.fill_between(years, low, high, color=colors.BLUE, alpha=0.2, linewidth=0)
