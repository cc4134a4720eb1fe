"""The forest of sites: one coefficient at each site and at all together, drawn and printed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.patches import Polygon

from bids_qsmthal.core import colors
from bids_qsmthal.core.digits import count
from bids_qsmthal.group import digits, labels, plots
from bids_qsmthal.report.drawing import Drawing
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.sites import TOGETHER

NOTE = (
    "All sites: meta-analysis with random effects (between-site variance by Paule and Mandel, "
    "interval by Hartung and Knapp). tau is the standard deviation between sites, I\u00b2 the "
    "share of the differences between sites that chance does not explain."
)

LARGEST = 90.0
"""Area of the square of a site that has all the weight, in square points."""

HALF_HEIGHT = 0.28
"""Of the diamond, in lines of the figure."""


def draw(rows: pd.DataFrame, title: str, unit: str) -> Drawing:
    """Draw one coefficient with its 95% interval at each site, and the diamond of all.

    Parameters
    ----------
    rows
        One coefficient's rows of ``statistics.sites.forest`` that have an interval, in the order
        of the table.
    unit
        Title of the horizontal axis.
    """
    canvas, axes = plots.lines_with_names(1.3 + 0.28 * len(rows))
    # Its title below has two lines.
    left, bottom, width, height = axes.get_position().bounds
    lift = 0.2 / canvas.get_figheight()
    axes.set_position((left, bottom + lift, width, height - lift))
    axes.axvline(0, color=plots.GRAY, linewidth=1)
    # Matplotlib counts upwards, tables downwards.
    heights = np.arange(len(rows))[::-1]
    together = (rows["site"] == TOGETHER).to_numpy()
    sites = rows[~together]
    axes.hlines(heights[~together], sites["ci_low"], sites["ci_high"], color="black", linewidth=1.2)
    # A site that is too small to weigh (no standard error) still has a place.
    areas = LARGEST * sites["weight_percent"].fillna(0).astype(float) / 100 + 6
    axes.scatter(
        sites["coefficient"], heights[~together], s=areas, marker="s", color=colors.BLUE, zorder=3
    )
    for row, height in zip(rows[together].to_dict("records"), heights[together], strict=True):
        corners = [
            (row["ci_low"], height), (row["coefficient"], height + HALF_HEIGHT),
            (row["ci_high"], height), (row["coefficient"], height - HALF_HEIGHT),
        ]  # fmt: skip
        axes.add_patch(Polygon(corners, facecolor=colors.ORANGE, edgecolor="black", linewidth=0.8))
    names = [
        plots.folded(f"{site} (n = {count(n)})", 40)
        for site, n in zip(rows["site"], rows["n"], strict=True)
    ]
    axes.set_yticks(heights, names, fontsize=7)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(plots.folded(f"{unit}, with 95% confidence interval", 70), fontsize=8)
    axes.set_title(plots.folded(title, 70), fontsize=9, loc="left")
    return plots.finished(canvas, [axes])


def unit(rows: pd.DataFrame, analysis: Analysis) -> str:
    """Return in words what the coefficients are: a change of the outcome for a step of the term."""
    outcome = labels.axis(str(rows["outcome"].iloc[0]), analysis).replace("\n", " ")
    return f"Coefficient: {outcome}, {labels.step(str(rows['term'].iloc[0]), analysis)}"


def printed(sites: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """Return the table of sites as a paper prints it."""
    lines = []
    for row in sites.to_dict("records"):
        values = [row[name] for name in ("coefficient", "ci_low", "ci_high")]
        lines.append(
            {
                "Coefficient": f"{labels.label(row['term'], analysis)} in {row['model']}",
                "Site": row["site"],
                "n": digits.fixed(row["n"], 0),
                "Estimate (95% CI)": digits.with_interval(*values),
                "p": tables.print_p(float(row["p"])),
                "Weight (%)": digits.fixed(row["weight_percent"], 1),
                "tau": digits.significant(row["tau"], 2),
                "I\u00b2 (%)": digits.fixed(row["i_squared_percent"], 0),
            }
        )
    return pd.DataFrame(lines)
