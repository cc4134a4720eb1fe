"""Several sites: what the analysis file asks to be done about them, put into every model."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.statistics import regression, sites
from bids_qsmthal.statistics.analysis import Analysis, model_variables
from bids_qsmthal.statistics.levels import word_of
from bids_qsmthal.statistics.regression import Model


def applied(analysis: Analysis, cohort: Cohort) -> Analysis:
    """Return the analysis with the site in every model that does not name it.

    Models of all sessions and mediations get it as a factor, whatever the file asks for: they have
    random effects of participants, or none.
    """
    if not _several(analysis, cohort) or analysis.site is None:
        return analysis
    site = analysis.site.variable
    return replace(
        analysis,
        models=tuple(_with_site(model, analysis) for model in analysis.models),
        longitudinal=tuple(
            model
            if site in model.variables
            else replace(model, formula=f"{model.formula} + C({site})")
            for model in analysis.longitudinal
        ),
        change=tuple(
            model
            if site in model.variables
            else replace(model, formula=f"{model.formula} + C({site})")
            for model in analysis.change
        ),
        mediation=tuple(
            path
            if site in path.variables
            else replace(path, covariates=(*path.covariates, f"C({site})"))
            for path in analysis.mediation
        ),
    )


def forests(analysis: Analysis, cohort: Cohort, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the coefficients of the tables at each site and together, where that is asked for.

    Parameters
    ----------
    analysis
        As it was before ``applied``: within a site there is no site to adjust for.
    """
    site = analysis.site
    empty = pd.DataFrame(columns=sites.COLUMNS)
    if site is None or site.way != "meta" or not _several(analysis, cohort):
        return empty
    models = {model.name: model for model in analysis.models}
    rows = [row for table in analysis.tables for row in table.rows]
    wanted = dict.fromkeys(
        (name, row.term) for row in rows for name in (row.unadjusted, row.adjusted) if name
    )
    parts = [
        _forest(models[name], term, analysis, frame)
        for name, term in wanted
        # Parts of grouped models have no sites of their own to be told apart by.
        if name in models
        and site.variable not in model_variables(models[name])
        and not set(model_variables(models[name])) & set(cohort.absent)
    ]
    return pd.concat(parts, ignore_index=True) if parts else empty


def _forest(model: Model, term: str, analysis: Analysis, frame: pd.DataFrame) -> pd.DataFrame:
    assert analysis.site is not None  # noqa: S101 - the caller has checked
    variable = analysis.site.variable
    levels = analysis.vocabulary.get(variable, {})
    fits = [
        (word_of(value, levels), regression.fit(model, frame[frame[variable] == value]))
        for value in sorted(frame[variable].dropna().unique())
    ]
    return sites.forest(term, fits, model.name)


def _several(analysis: Analysis, cohort: Cohort) -> bool:
    site = analysis.site
    if site is None or site.way == "combat" or site.variable in cohort.absent:
        return False
    return len(set(cohort.frame[site.variable].dropna())) > 1


def _with_site(model: Model, analysis: Analysis) -> Model:
    site = analysis.site
    assert site is not None  # noqa: S101 - the caller has checked
    if site.variable in (*model_variables(model), *model.group_by):
        return model
    # A random intercept has a model of its own for least squares only; other families get the site
    # as a factor.
    if site.way == "random" and (model.family, model.method) == ("gaussian", "ols"):
        return replace(model, random=site.variable)
    return replace(model, formula=f"{model.formula} + C({site.variable})")
