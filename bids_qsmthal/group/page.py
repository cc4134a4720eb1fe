"""The page of the group level: who was studied, the tables in words and numbers, the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal.files import write_text, write_whole
from bids_qsmthal.group import figures, words
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.report.page import (
    Block,
    Figure,
    Notice,
    Page,
    Prose,
    Section,
    Table,
    Tile,
    render,
)
from bids_qsmthal.statistics import regression, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.tables import Table as Wanted

FEWEST_FOR_FIGURES = 8
"""A cloud of fewer points says nothing."""


def write(folder: Path, analysis: Analysis, cohort: Cohort, results: Results) -> Path:
    """Write ``group.html`` and each figure beside it."""
    page = make(analysis, cohort, results)
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                name = "".join(c if c.isalnum() else "_" for c in block.title.lower())
                write_whole(folder / "figures" / f"{name}.{block.kind}", block.content)
    path = folder / "group.html"
    write_text(path, render(page))
    return path


def make(analysis: Analysis, cohort: Cohort, results: Results) -> Page:
    """Return the page as a value."""
    notices = [
        Notice(f"{name}: {reason}.", "Models that need it are not fitted.")
        for name, reason in cohort.absent.items()
    ]
    sections = [
        Section("Who is in the analysis", _flow(cohort, results)),
        Section("Cohort", [Table("Cohort", results.cohort, name="cohort")]),
        *[Section(table.name, _table(table, analysis, results)) for table in analysis.tables],
        Section("Associations", _scatter(analysis, results)),
        Section("Normality", _normality(analysis, cohort, results)),
        Section("Power", _power(results)),
        Section("All models", [Table("All coefficients", results.models, name="models")]),
    ]
    return Page(
        title="Group report",
        subtitle=f"Analysis {analysis.name}. {analysis.description}",
        summary=_tiles(cohort, results),
        sections=sections,
        warnings=notices,
        links=[(scan, f"../{scan}.html") for scans in cohort.scans.values() for scan in scans],
    )


def _tiles(cohort: Cohort, results: Results) -> list[Tile]:
    found = len(cohort.scans)
    left_out = found - len(cohort.frame)
    fitted = sum(fit.fitted for fit in results.fits.values())
    return [
        Tile("Participants", str(len(cohort.frame)), f"of {found} with results"),
        Tile("Left out", str(left_out), "reasons below"),
        Tile("Models fitted", f"{fitted} of {len(results.fits)}"),
    ]


def _flow(cohort: Cohort, results: Results) -> list[Block]:
    return [
        Table("From dataset to models", results.flow, name="flow"),
        Table(
            "Decisions",
            cohort.exclusions,
            caption="To overrule one, copy group/exclusions.tsv to edits/exclusions.tsv, change "
            "the decision there and run the group level again.",
            name="exclusions",
            status_column="decision",
            folded=True,
        ),
    ]


def _table(wanted: Wanted, analysis: Analysis, results: Results) -> list[Block]:
    numbers = results.tables[wanted.name]
    blocks: list[Block] = [
        Table(
            wanted.title,
            tables.printed(wanted, numbers),
            caption=f"{wanted.description} * p < .05, not corrected for several tests.",
            name=f"{wanted.name}_printed",
        ),
        Prose(words.read_table(wanted, numbers, analysis)),
        Table(f"{wanted.name} in full precision", numbers, name=wanted.name, folded=True),
    ]
    lines = _forest_lines(wanted, results)
    if not lines.empty:
        figure = Figure(
            f"Forest plot of {wanted.name}",
            "Partial correlation of each line of the table, with its 95 % confidence interval.",
            f"Forest plot of the coefficients of {wanted.name}; the numbers are in the table.",
            figures.forest(lines),
        )
        blocks.insert(1, figure)
    return blocks


def _forest_lines(wanted: Wanted, results: Results) -> pd.DataFrame:
    """Return the lines of a table as partial correlations with intervals (Fisher's transform)."""
    lines = []
    for row in wanted.rows:
        for side in tables.SIDES:
            fit = results.fits.get(getattr(row, side))
            if fit is None:
                continue
            found = fit.row(row.term)
            r, df = float(found["partial_r"]), float(found["df_residual"])
            if np.isfinite(r) and df > 1:
                reach = 1.959964 / np.sqrt(df - 1)
                low, high = np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)
                lines.append((row.label, side, r, low, high))
    return pd.DataFrame(lines, columns=["label", "side", "estimate", "low", "high"])


def _scatter(analysis: Analysis, results: Results) -> list[Block]:
    """Draw every line of every table that could be fitted, adjusted where it is."""
    blocks: list[Block] = []
    for table in analysis.tables:
        for row in table.rows:
            fit = results.fits.get(row.adjusted or row.unadjusted)
            if fit is None or not _drawable(fit, row.term):
                continue
            assert fit.design is not None  # noqa: S101 - a fitted model has one
            blocks.append(
                Figure(
                    f"{table.name}: {row.label}",
                    f"Each point is a participant. Line: model {fit.model.name} with the 95 % "
                    "band of its mean. Both axes after removing what the other terms explain.",
                    f"Scatter plot of {fit.design.outcome_name} against {row.term}.",
                    figures.partial_regression(fit, row.term, row.term, fit.design.outcome_name),
                )
            )
            blocks.append(
                Figure(
                    f"Residuals of {fit.model.name} for {row.label}",
                    "Left: points near the line speak for normal residuals. Right: a funnel or a "
                    "bend speaks against equal variance or a straight line.",
                    f"Residual plots of model {fit.model.name}.",
                    figures.residuals(fit, fit.model.name),
                )
            )
    return blocks or [Prose("There are too few participants for figures of the models.")]


def _drawable(fit: regression.Fit, term: str) -> bool:
    return (
        fit.fitted
        and fit.design is not None
        and fit.design.n >= FEWEST_FOR_FIGURES
        and term in fit.design.names
        and bool(np.isfinite(fit.row(term)["coefficient"]))
    )


def _normality(analysis: Analysis, cohort: Cohort, results: Results) -> list[Block]:
    blocks: list[Block] = [
        Prose(words.read_normality(results.normality, analysis)),
        Table("Ladder of powers", results.normality, name="normality", folded=True),
    ]
    for name in analysis.normality:
        label = analysis.variables[name].label
        if cohort.frame[name].notna().sum() >= FEWEST_FOR_FIGURES:
            blocks.append(
                Figure(
                    f"Quantile-normal plots: {label}",
                    "One panel a rung of the ladder of powers; the nearer the points are to the "
                    "line, the nearer the values are to a normal distribution.",
                    f"Nine quantile-normal plots of {label}.",
                    figures.quantile_normal(cohort.frame[name], label),
                )
            )
    return blocks


def _power(results: Results) -> list[Block]:
    return [
        Prose(words.read_power(results.power)),
        Table("Power", results.power, name="power", folded=True),
    ]
