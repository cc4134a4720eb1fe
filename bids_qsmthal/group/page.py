"""The page of the group level: who was studied, the tables in words and numbers, the figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.files import write_text, write_whole
from bids_qsmthal.group import (
    figures,
    flow,
    interpretation,
    labels,
    questionable,
    study_sections,
)
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.group.flow import FlowStep
from bids_qsmthal.report import MethodsRun, charts, citation
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
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import regression, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.tables import ModelTable as Wanted

NAME = "group.html"

MANY_SCANS = 500
"""Above this only the reports of doubtful and excluded participants are linked."""

FEWEST_FOR_FIGURES = 8
"""A cloud of fewer points says nothing."""


def write(folder: Path, analysis: Analysis, cohort: Cohort, results: Results) -> Path:
    """Write ``group.html`` and each figure beside it."""
    page = make(analysis, cohort, results)
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                # Titles hold names of the user's file, so nothing but letters and digits goes into
                # a path.
                name = "".join(c if c.isalnum() else "_" for c in block.title.lower())
                write_whole(folder / "figures" / f"{name}.{block.kind}", block.content)
    path = folder / NAME
    write_text(path, render(page))
    return path


def make(analysis: Analysis, cohort: Cohort, results: Results) -> Page:
    """Return the page as a value."""
    concerns = [*cohort.concerns, *results.concerns]
    sections = [
        Section("Who is in the analysis", _flow(cohort, results)),
        Section("Cohort", _cohort(results)),
        *[Section(_heading(t.name), _table(t, analysis, results)) for t in analysis.tables],
        *study_sections.make(analysis, results.evidence, results.published),
        *_direction(analysis, results),
        *_further(cohort, results),
        Section("Sensitivity to choices", _sensitivity(analysis, cohort, results)),
        Section("Normality", _normality(analysis, results)),
        Section("Diagnostics of the models", _diagnostics(results)),
        Section("Power", _power(results)),
        Section("All models", [Table("All coefficients", results.models, name="models")]),
        citation.section(methods_that_ran(analysis)),
    ]
    return Page(
        title="Group report",
        subtitle=f"Analysis {analysis.name}. {analysis.description}",
        summary=_tiles(cohort, results),
        sections=sections,
        warnings=[Notice(concern.text, concern.advice) for concern in concerns],
        links=_links(cohort),
    )


def _direction(analysis: Analysis, results: Results) -> list[Section]:
    """Return the paragraph on the sign of the number, where the analysis has that number."""
    text = interpretation.read_direction(analysis, results.analysed, results.tables)
    return [Section("Direction of the number", [Prose(text)])] if text else []


def methods_that_ran(analysis: Analysis) -> MethodsRun:
    """Return what ran, for the methods text."""
    return MethodsRun(analysis=analysis.name)


def _links(cohort: Cohort) -> list[tuple[str, str]]:
    """Return the tables beside the page, then the report of each scan."""
    tables_beside = [(name, name) for name in ("measures.tsv", "models.tsv", "exclusions.tsv")]
    scans = [scan for scans in cohort.scans.values() for scan in scans]
    if len(scans) > MANY_SCANS:
        doubtful = cohort.exclusions[cohort.exclusions["decision"] != Decision.INCLUDE]
        scans = [
            scan
            for who in dict.fromkeys(doubtful["participant_id"])
            for scan in cohort.scans.get(who, [])
            # A browser has to lay out each link; exclusions.tsv beside the page has them all.
        ][:MANY_SCANS]
    return [*tables_beside, *((scan, f"../{scan}.html") for scan in scans)]


def _heading(name: str) -> str:
    """Return ``Table 1`` for ``table1``."""
    return re.sub(r"(\D)(\d+)$", r"\1 \2", name).replace("_", " ").capitalize()


def _cohort(results: Results) -> list[Block]:
    return [
        Table("Characteristics", summary.printed(results.cohort), name="cohort_printed"),
        Table("Cohort in full", results.cohort, name="cohort", folded=True),
    ]


def _tiles(cohort: Cohort, results: Results) -> list[Tile]:
    left_out = cohort.n_found - len(cohort.frame)
    fitted = sum(fit.fitted for fit in results.fits.values())
    return [
        Tile("Participants", str(len(cohort.frame)), f"of {cohort.n_found} with results"),
        Tile("Left out", str(left_out), "reasons below"),
        Tile("Models fitted", f"{fitted} of {len(results.fits)}"),
    ]


def _flow(cohort: Cohort, results: Results) -> list[Block]:
    of_models = [line for line in results.flow if line.step == FlowStep.MODEL]
    of_cohort = [line for line in results.flow if line.step != FlowStep.MODEL]
    remarkable = cohort.exclusions[cohort.exclusions["decision"] != Decision.INCLUDE]
    return [
        Table("From dataset to analysis", flow.table(of_cohort), name="flow"),
        Table("Participants of each model", flow.table(of_models), name="flow_models", folded=True),
        Table(
            "Doubtful and excluded",
            remarkable,
            caption="To overrule one, rate the scan at the end of its report and save the file "
            "into edits/, or copy group/exclusions.tsv to edits/exclusions.tsv, change "
            "the decision there and run the group level again.",
            name="exclusions",
            status_column="decision",
            folded=True,
        ),
        *_disagreements(cohort),
        *_questionable(cohort),
    ]


def _questionable(cohort: Cohort) -> list[Block]:
    if not cohort.questionable:
        return []
    return [
        Table(
            "Questionable values",
            questionable.table(cohort.questionable),
            caption="Values of the tables that cannot be read or cannot be true, and measures "
            "that nobody has. Those that are not used count as missing.",
            name="questionable",
        )
    ]


def _disagreements(cohort: Cohort) -> list[Block]:
    if cohort.disagreements.empty:
        return []
    return [
        Table(
            "Where tables and images disagree",
            cohort.disagreements,
            caption="The table is what is analysed. Look at the images of these participants: "
            "either the table needs mending, or a lesion was missed or invented.",
            name="disagreements",
        )
    ]


def _table(wanted: Wanted, analysis: Analysis, results: Results) -> list[Block]:
    numbers = results.tables[wanted.name]
    blocks: list[Block] = [
        Table(
            wanted.title,
            _narrow(tables.printed(wanted, numbers)),
            caption=f"{wanted.description} * p < .05, not corrected for several tests.",
            name=f"{wanted.name}_printed",
        ),
        Prose(interpretation.read_table(wanted, numbers, analysis)),
        Table(f"{_heading(wanted.name)} in full precision", numbers, name=wanted.name, folded=True),
    ]
    lines = _forest_lines(wanted, results)
    if not lines.empty:
        figure = Figure(
            f"Forest plot of {_heading(wanted.name)}",
            "Partial correlation of each line of the table, with its 95 % confidence interval.",
            f"Forest plot of the coefficients of {wanted.name}; the numbers are in the table.",
            figures.forest(lines),
        )
        blocks.insert(1, figure)
    return [*blocks, *_pictures(wanted, analysis, results)]


def _narrow(printed: pd.DataFrame) -> pd.DataFrame:
    """Return a printed table with each interval behind its coefficient, to fit a screen."""
    # A blank and not an empty name: the page needs a header cell.
    made = {" ": printed[""]}
    for side in (name.capitalize() for name in tables.SIDES):
        if f"{side} p" in printed:
            both = printed[f"{side} coefficient"] + " (" + printed[f"{side} 95% CI"] + ")"
            made[f"{side} (95% CI)"] = both.str.replace("n/a (n/a)", "n/a", regex=False)
            made[f"{side} p"] = printed[f"{side} p"]
            made[f"{side} n"] = printed[f"{side} n"]
    return pd.DataFrame(made)


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
            # partial_r is of least squares only, so logistic and robust models have no line here.
            if np.isfinite(r) and df > 1:
                # Variance 1/(n - 3 - k) with k other terms (Fisher 1924); df is n - k - 2, so this
                # is df - 1.
                reach = 1.959964 / np.sqrt(df - 1)
                low, high = np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)
                lines.append((row.label, side, r, low, high))
    return pd.DataFrame(lines, columns=["label", "side", "estimate", "low", "high"])


def _pictures(wanted: Wanted, analysis: Analysis, results: Results) -> list[Block]:
    """Draw every line of a table that could be fitted, adjusted where it is."""
    panels = []
    for row in wanted.rows:
        fit = results.fits.get(row.adjusted or row.unadjusted)
        if fit is not None and _drawable(fit, row.term):
            panels.append(
                figures.Panel(
                    fit=fit,
                    term=row.term,
                    title=row.label,
                    x_label=labels.axis(row.term, analysis),
                    y_label=_outcome_axis(fit, analysis),
                )
            )
    if not panels:
        return [Prose("There are too few participants for figures of the models.")]
    # One pair of residual plots a model, however many lines of the table are read from it.
    fits = {panel.fit.model.name: (panel.fit, panel.y_label) for panel in panels}
    return [
        Figure(
            f"Associations of {_heading(wanted.name)}",
            "Each point is a participant; both axes after removing what the other terms of the "
            "model explain. The slope of the line is the coefficient of the table; the band is "
            "the 95 % confidence band of the mean.",
            f"Scatter plots of the lines of {wanted.name}; the numbers are in the table.",
            figures.partial_regressions(panels),
        ),
        Figure(
            f"Residuals of {_heading(wanted.name)}",
            "Left: points near the line speak for normal residuals. Right: a funnel or a bend "
            "speaks against equal variance or a straight relation.",
            f"Residual plots of the models of {wanted.name}; tests are in the diagnostics table.",
            figures.residuals(list(fits.values())),
        ),
    ]


def _outcome_axis(fit: regression.Fit, analysis: Analysis) -> str:
    return labels.axis(fit.design.outcome_name, analysis) if fit.design else ""


def _choices(cohort: Cohort) -> list[Block]:
    """Show how far each choice moves the number itself, before any model is asked."""
    table = cohort.choices
    both = table[table["hemisphere"] == "LR"]
    if both.empty:
        return []
    # The zero line of the chart is a row of its own, without spread.
    names = ["as reported", *(both["choice"] + ": " + both["variant"])]
    chart = charts.intervals(
        names,
        np.array([0.0, *both["mean_difference"]]),
        np.array([np.nan, *both["sd_difference"]]),
        "difference of relative susceptibility (ppb)",
    )
    return [
        Figure(
            "How choices move the number",
            "Relative susceptibility of both thalami with one choice changed, minus the one "
            "reported: mean and standard deviation over participants. A mean moves everybody "
            "alike; the standard deviation is what changes comparisons between people.",
            "Mean and standard deviation of the difference for each choice; see the table.",
            chart,
        ),
        Table("How choices move the number", table, name="choices", folded=True),
    ]


def _sensitivity(analysis: Analysis, cohort: Cohort, results: Results) -> list[Block]:
    blocks = _choices(cohort)
    blocks.append(Prose(interpretation.read_sensitivity(results.sensitivity, analysis)))
    for (model, term), rows in results.sensitivity.groupby(["model", "term"], sort=False):
        # Partial correlations, since coefficients of other measures have other units. Rows of other
        # tests of the same estimate have none.
        usable = _with_intervals(rows.dropna(subset=["partial_r"]))
        if len(usable) > 1:
            title = f"{labels.label(str(term), analysis)} in {model}"
            blocks.append(
                Figure(
                    f"Specification curve: {title}",
                    "The same question under every choice that could be tried; the square is the "
                    "one in the table. Choices were not picked by their result.",
                    f"Partial correlations of {title} under different choices.",
                    figures.specification_curve(usable, title),
                )
            )
    blocks.append(Table("All specifications", results.sensitivity, name="sensitivity", folded=True))
    return blocks


def _with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the interval of a partial correlation, brought from the coefficient's own."""
    # Not Fisher's standard error: this interval excludes 0 where that of the coefficient does.
    t = rows["coefficient"] / ((rows["ci_high"] - rows["ci_low"]) / 2)
    r = rows["partial_r"].astype(float)
    # The half width of the interval is the coefficient's share of its distance from zero.
    reach = np.abs(np.arctanh(r) / t.astype(float))
    middle = np.arctanh(r)
    return rows.assign(low=np.tanh(middle - reach), high=np.tanh(middle + reach))


def _further(cohort: Cohort, results: Results) -> list[Section]:
    """Return the sections that only some analyses have."""
    parts = [
        ("Change over time", results.longitudinal, "longitudinal"),
        ("Mediation", results.mediation, "mediation"),
        ("Harmonisation across sites", cohort.harmonised, "harmonisation"),
    ]
    return [
        Section(title, [Table(title, frame, name=name)])
        for title, frame, name in parts
        if len(frame)
    ]


def _drawable(fit: regression.Fit, term: str) -> bool:
    return (
        fit.fitted
        and fit.design is not None
        and fit.design.n >= FEWEST_FOR_FIGURES
        and term in fit.design.names
        and bool(np.isfinite(fit.row(term)["coefficient"]))
    )


def _normality(analysis: Analysis, results: Results) -> list[Block]:
    blocks: list[Block] = [
        Prose(interpretation.read_normality(results.normality, analysis)),
        Table("Ladder of powers", results.normality, name="normality", folded=True),
    ]
    for name in analysis.normality:
        label = analysis.variables[name].label
        if results.analysed[name].notna().sum() >= FEWEST_FOR_FIGURES:
            blocks.append(
                Figure(
                    f"Quantile-normal plots: {label}",
                    "One panel a rung of the ladder of powers; the nearer the points are to the "
                    "line, the nearer the values are to a normal distribution.",
                    f"Nine quantile-normal plots of {label}.",
                    figures.quantile_normal(results.analysed[name], label),
                )
            )
    return blocks


def _diagnostics(results: Results) -> list[Block]:
    return [
        Prose(interpretation.read_diagnostics(results.diagnostics)),
        Table("Diagnostics", results.diagnostics, name="diagnostics", folded=True),
    ]


def _power(results: Results) -> list[Block]:
    return [
        Prose(interpretation.read_power(results.power)),
        Table("Power", results.power, name="power", folded=True),
    ]
