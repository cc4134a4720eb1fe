"""The forest of a published study and of this cohort."""

from __future__ import annotations

import pandas as pd

from bids_qsmthal.core import colors
from bids_qsmthal.core.digits import count
from bids_qsmthal.group import plots
from bids_qsmthal.report.drawing import Drawing
from bids_qsmthal.statistics.published import Reading


def lines_of(compared: pd.DataFrame) -> pd.DataFrame:
    """Return what the forest shows: (partial) correlations, since coefficients differ in unit.

    Columns ``label``, ``who``, ``estimate``, ``low``, ``high`` and ``n`` (here); a published
    value whose sign is open has a line for each reading.
    """
    lines = []
    for row in compared.to_dict("records"):
        turned = row["reading"] == Reading.TURNED
        who = "published, sign turned" if turned else "published"
        ends = [row[f"published_r{end}"] for end in ("", "_low", "_high")]
        lines.append((row["place"], who, *ends, row["n"]))
        if not turned:
            ends = [row[f"partial_r{end}"] for end in ("", "_low", "_high")]
            lines.append((row["place"], "here", *ends, row["n"]))
    made = pd.DataFrame(lines, columns=["label", "who", "estimate", "low", "high", "n"])
    return made.dropna(subset=["estimate", "low", "high"]).reset_index(drop=True)


def forest(lines: pd.DataFrame) -> Drawing:
    """Draw published and own correlations with their intervals, a row a published value."""
    labels = list(dict.fromkeys(lines["label"]))
    canvas, axes = plots.lines_with_names(1.2 + 0.42 * len(labels))
    axes.axvline(0, color=plots.GRAY, linewidth=1)
    # Shape and height differ, not color alone: for prints and the color-blind.
    looks = {
        "published": (plots.GRAY, "o", 0.24),
        "published, sign turned": (colors.ORANGE, "^", 0.0),
        "here": (colors.BLUE, "s", -0.24),
    }
    for who, rows in lines.groupby("who", sort=False):
        color, marker, shift = looks[str(who)]
        # Matplotlib counts upwards, tables downwards.
        height = [len(labels) - 1 - labels.index(label) + shift for label in rows["label"]]
        reach = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
        axes.errorbar(
            rows["estimate"], height, xerr=reach, fmt=marker, color=color, capsize=2, label=who,
            markersize=4,
        )  # fmt: skip
    here = lines[lines["who"] == "here"].set_index("label")["n"]
    names = [_name(label, here.get(label)) for label in labels[::-1]]
    axes.set_yticks(range(len(labels)), names, fontsize=7)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("(Partial) correlation with 95% confidence interval", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return plots.finished(canvas, [axes])


def _name(label: str, n: float | None) -> str:
    """Return a published value with the participants that it has here, if it has any."""
    return plots.folded(label if n is None else f"{label} (n = {count(n)} here)", 40)
