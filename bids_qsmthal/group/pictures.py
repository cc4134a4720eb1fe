"""The figures of the group page with their titles, captions and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bids_qsmthal.group import (
    change_figure,
    figures,
    flow_figure,
    labels,
    lesion_iron,
    plots,
    site_forest,
    visit_changes,
)
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.figures import Association
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.report import charts
from bids_qsmthal.report.drawing import Drawing
from bids_qsmthal.report.page import Figure
from bids_qsmthal.statistics import sensitivity, tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.regression import Fit
from bids_qsmthal.statistics.tables import ModelTable

FEWEST_FOR_FIGURES = 8
"""A cloud of fewer points says nothing."""

CELLS = (
    f" From {plots.MANY_POINTS} participants on, hexagons stand for points (the darker, the more "
    "participants), and boxes for strips (median and quartiles; whiskers at the 5th and 95th "
    "percentile)."
)


def flow_of(results: Results) -> Figure:
    """Return the flow of participants from the dataset to the models."""
    return figure(
        "Flow of participants",
        "Left: those who go on; right: those who are left out, with the reason. Names are in the "
        "table below and in exclusions.tsv.",
        "Flow of participants from the dataset to each model; the numbers are in the table.",
        flow_figure.draw(results.flow),
    )


def forest_of(wanted: ModelTable, heading: str, results: Results) -> list[Figure]:
    """Return the partial correlations of a table, where there are any."""
    lines = _forest_lines(wanted, results)
    if lines.empty:
        return []
    return [
        figure(
            f"Forest plot of {heading}",
            "Partial correlation of each line of the table, with its 95% confidence interval.",
            f"Forest plot of the coefficients of {wanted.name}; the numbers are in the table.",
            figures.forest(lines),
        )
    ]


def of_models(
    wanted: ModelTable, heading: str, analysis: Analysis, results: Results
) -> list[Figure]:
    """Return each line of a table drawn, and the residuals of its models."""
    drawn = list(_associations(wanted, analysis, results.fits))
    if not drawn:
        return []
    # One pair of residual plots a model, however many lines of the table are read from it.
    models = {fit.model.name: (fit, one.y_label) for one in drawn if (fit := _main_fit(one))}
    return [
        figure(
            f"Associations of {heading}",
            "Left: each participant as measured, with the line of the unadjusted model. Right: "
            "outcome and predictor after removing what the other terms of the adjusted model "
            "explain; the slope of the line is the adjusted coefficient of the table. Bands are "
            f"95% confidence bands of the mean.{CELLS}",
            f"Scatter plots of the lines of {wanted.name}; the numbers are in the table.",
            figures.associations(drawn),
            tall=True,
        ),
        figure(
            f"Residuals of {heading}",
            "Left: points near the line speak for normal residuals. Right: a funnel speaks against "
            f"equal variance, a bend against a straight relation.{_quantile_note(models)}",
            f"Residual plots of the models of {wanted.name}; tests are in the diagnostics table.",
            figures.residuals(list(models.values())),
            tall=True,
        ),
    ]


def _quantile_note(models: Mapping[str, tuple[Fit, str]]) -> str:
    """Return what the residuals of odds, counts and levels are, where any are drawn."""
    if all(fit.model.family == "gaussian" for fit, _ in models.values()):
        return ""
    return (
        " Residuals of odds, counts and levels are randomized quantile residuals (Dunn & Smyth "
        "1996): normal where the model is right."
    )


def specifications(analysis: Analysis, results: Results) -> Iterator[Figure]:
    """Return a specification curve for each coefficient of the tables."""
    for (model, term), rows in results.sensitivity.groupby(["model", "term"], sort=False):
        outcome = str(rows["outcome"].iloc[0])
        title = labels.question(str(term), outcome, str(model), analysis)
        # Partial correlations, since coefficients of other measures have other units. An estimate
        # that several rows share is drawn once.
        known = rows[rows["partial_r"].notna()]
        usable = with_intervals(known[known["distinct"].eq(1)])
        if len(usable) > 1:
            yield figure(
                f"Specification curve: {title}",
                "The same question under every choice that gives another estimate; the square is "
                "the one in the table. Choices were not selected by their results.",
                f"Partial correlations of {title} under different choices.",
                figures.specification_curve(usable, title),
                tall=True,
            )
        elsewhere = known[known["kind"].eq("region")]
        main = known[known["specification"] == sensitivity.MAIN]
        if len(elsewhere) and len(main):
            yield figure(
                f"Other regions: {title}",
                "The same model with the values of another region; the square is the one in the "
                "table. These are other questions, and are not counted as choices.",
                f"Partial correlations of {title} in other regions.",
                figures.specification_curve(with_intervals(pd.concat([main, elsewhere])), title),
                tall=True,
            )


def choices_of(cohort: Cohort) -> list[Figure]:
    """Return how far each choice moves the number itself, before any model is asked."""
    both = cohort.choices[cohort.choices["hemisphere"] == "LR"]
    if both.empty:
        return []
    # The zero line of the chart is a row of its own, without spread.
    names = ["as reported", *(both["choice"] + ": " + both["variant"])]
    return [
        figure(
            "How choices move the number",
            "Relative susceptibility of both thalami with one choice changed, minus the one "
            "reported: mean and standard deviation over participants. A mean difference is the "
            "same for everybody; the standard deviation is what changes comparisons between "
            "people.",
            "Mean and standard deviation of the difference for each choice; see the table.",
            charts.interval_files(
                names,
                np.array([0.0, *both["mean_difference"]]),
                np.array([np.nan, *both["sd_difference"]]),
                "difference of relative susceptibility (ppb)",
            ),
        )
    ]


def normality_of(analysis: Analysis, results: Results) -> Iterator[Figure]:
    """Return the quantile-normal plots of each variable that was asked for."""
    for name in analysis.normality:
        label = analysis.variables[name].label
        if results.analysed[name].notna().sum() >= FEWEST_FOR_FIGURES:
            yield figure(
                f"Quantile-normal plots: {label}",
                "One panel for each power of Tukey's ladder: the transformed values from bottom to "
                "top, the values of a normal distribution from left to right, both in standard "
                "deviations. The nearer the points are to the line, the nearer the transformed "
                "values are to a normal distribution.",
                f"Nine quantile-normal plots of {label}.",
                figures.quantile_normal(results.analysed[name], label),
            )


def changes_of(analysis: Analysis, cohort: Cohort, results: Results) -> Iterator[Figure]:
    """Return the courses of all participants for each longitudinal model."""
    for model in analysis.longitudinal:
        found = results.longitudinal[results.longitudinal["model"] == model.name]
        outcome = str(found["outcome"].iloc[0])
        if outcome not in cohort.sessions or change_figure.YEARS not in cohort.sessions:
            continue
        courses = change_figure.courses(cohort.sessions, outcome)
        if not courses:
            continue
        yield figure(
            f"Change over time: {model.name}",
            "Each thin line is a participant. The thick line is the mean change of the model, "
            "drawn through the middle of all points, with the 95% interval of its slope.",
            f"Courses of {labels.axis(outcome, analysis)} over time.",
            change_figure.draw(courses, labels.axis(outcome, analysis), _slope(found)),
        )


def visit_changes_of(cohort: Cohort, results: Results) -> list[Figure]:
    """Return the change of all participants since their first visit; none without dates."""
    panels, means = [], []
    analysed = cohort.changes["participant_id"].isin(results.each_change["participant_id"])
    for shown in visit_changes.SHOWN:
        of_each = visit_changes.courses(cohort.changes[analysed], shown)
        if not of_each:
            continue
        own = visit_changes.of_place(results.each_change, shown)
        reliable = dict(zip(own["participant_id"], own["reliable"], strict=True))
        panels.append((f"{shown.title} ({shown.unit})", of_each, reliable))
        means.append(visit_changes.mean_of(results.annual_change, shown))
    if not panels:
        return []
    return [
        figure(
            "Change since the first visit",
            "Each thin line is a participant, from visit to visit; orange where the change from "
            "the first to the last is a reliable increase, blue where it is a reliable decrease. "
            "The black line is the mean change in a year with its 95% interval.",
            "Change of each participant over time; the numbers are in the tables.",
            change_figure.draw_since_first(panels, means),
            tall=True,
        )
    ]


def lesions_of(cohort: Cohort) -> Figure:
    """Return the susceptibility of each lesion by its kind."""
    return figure(
        "Susceptibility of lesions",
        f"Each point is a lesion of {lesion_iron.LEAST_MM:g} mm or more (boxes from "
        f"{plots.MANY_POINTS} lesions on: median and quartiles; whiskers at the 5th and 95th "
        "percentile). Lesions of one participant resemble each other: the table counts "
        "participants.",
        "Susceptibility of lesions by enhancement and by rim; the numbers are in the table.",
        lesion_iron.draw(cohort.lesions),
    )


def sites_of(analysis: Analysis, results: Results) -> Iterator[Figure]:
    """Return a forest of the sites for each coefficient of the tables."""
    for (model, term), rows in results.sites.groupby(["model", "term"], sort=False):
        usable = rows.dropna(subset=["coefficient", "ci_low", "ci_high"])
        if len(usable) > 1:
            title = f"{labels.label(str(term), analysis)} in {model}"
            yield figure(
                f"Forest plot of sites: {title}",
                "One square a site, the larger the more it weighs, with its 95% confidence "
                "interval. The diamond is all sites together: as wide as its interval.",
                f"Coefficients of {title} at each site and together; the numbers are in the table.",
                site_forest.draw(usable, title, site_forest.unit(usable, analysis)),
                tall=True,
            )


def _slope(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return the change in a year with its interval, not a number where the model has none."""
    found = rows[rows["term"] == change_figure.YEARS]
    if found.empty:
        return np.nan, np.nan, np.nan
    mean, low, high = found[["coefficient", "ci_low", "ci_high"]].astype(float).iloc[0]
    return mean, low, high


def figure(title: str, caption: str, alt: str, drawn: Drawing, *, tall: bool = False) -> Figure:
    """Return a figure of the page, with its files beside it."""
    # Titles hold names of the user's file, so nothing but letters and digits goes into a path.
    name = re.sub(r"\W+", "_", title.lower()).strip("_")
    copies = {"pdf": drawn.pdf, "png": drawn.png}
    return Figure(title, caption, alt, drawn.svg, name=name, copies=copies, tall=tall)


def _associations(
    wanted: ModelTable, analysis: Analysis, fits: Mapping[str, Fit]
) -> Iterator[Association]:
    """Return the lines of a table that can be drawn."""
    for row in wanted.rows:
        of_sides = [fits.get(getattr(row, side)) for side in tables.SIDES]
        unadjusted, adjusted = (fit if _drawable(fit, row.term) else None for fit in of_sides)
        fit = adjusted or unadjusted
        if fit is None or fit.design is None:
            continue
        outcome = fit.design.outcome_name
        plain = labels.logged(outcome, analysis)
        yield Association(
            term=row.term,
            title=row.label,
            x_label=labels.axis(row.term, analysis),
            y_label=labels.axis(outcome, analysis),
            unadjusted=unadjusted,
            adjusted=adjusted,
            words=labels.words_of(row.term, analysis),
            strip_label=labels.label(row.term, analysis),
            logged_outcome=bool(plain),
            plain_y_label=plain,
        )


def _main_fit(one: Association) -> Fit | None:
    return one.adjusted or one.unadjusted


def _drawable(fit: Fit | None, term: str) -> bool:
    return (
        fit is not None
        and fit.fitted
        and fit.design is not None
        and fit.design.n >= FEWEST_FOR_FIGURES
        and term in fit.design.names
        and bool(np.isfinite(fit.row(term)["coefficient"]))
    )


def _forest_lines(wanted: ModelTable, results: Results) -> pd.DataFrame:
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
                low, high = fisher_interval(r, df)
                lines.append((row.label, side, r, low, high, int(found["n"])))
    return pd.DataFrame(lines, columns=["label", "side", "estimate", "low", "high", "n"])


def fisher_interval(r: float, df: float) -> tuple[float, float]:
    """Return the 95% interval of a partial correlation with the degrees of freedom of its model."""
    # Variance 1/(n - 3 - k) with k other terms (Fisher 1924); df is n - k - 2, so this is df - 1.
    reach = 1.959964 / np.sqrt(df - 1)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the interval of a partial correlation, in proportion to that of the coefficient."""
    # Not Fisher's standard error: this interval excludes 0 where that of the coefficient does.
    t = rows["coefficient"] / ((rows["ci_high"] - rows["ci_low"]) / 2)
    r = rows["partial_r"].astype(float)
    # The half width of the interval is the coefficient's share of its distance from zero.
    reach = np.abs(np.arctanh(r) / t.astype(float))
    middle = np.arctanh(r)
    return rows.assign(low=np.tanh(middle - reach), high=np.tanh(middle + reach))
