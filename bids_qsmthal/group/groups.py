"""Patients and controls: whom the models are about, and models that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.statistics import expressions
from bids_qsmthal.statistics.analysis import Analysis, Groups, model_variables
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.meta_regression import ChangeModel
from bids_qsmthal.statistics.regression import Model

OtherModel = TypeVar("OtherModel", MixedModel, ChangeModel)

FEWEST_TO_COMPARE = 3
"""Participants of a group: two have no spread that could be compared."""


def applied(analysis: Analysis, cohort: Cohort) -> Analysis:
    """Return the analysis with the filter of the analysed groups in every model.

    A model that names the variable of the groups (in formula, filter or GroupBy) is left as it
    is. Models that compare the groups are added where there are two groups or more. Nothing
    changes where no table tells the groups.
    """
    groups = analysis.groups
    if groups is None or groups.variable in cohort.absent:
        return analysis
    models = [_restricted(model, groups) for model in analysis.models]
    return replace(
        analysis,
        models=(*models, *comparisons(analysis, groups, cohort.frame)),
        longitudinal=tuple(_restricted_other(model, groups) for model in analysis.longitudinal),
        change=tuple(_restricted_other(model, groups) for model in analysis.change),
    )


def analysed(analysis: Analysis, cohort: Cohort, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that are of the analysed groups."""
    groups = analysis.groups
    if groups is None or groups.variable in cohort.absent:
        return frame
    return frame[expressions.keep(groups.filter, frame, analysis.vocabulary)]


def comparisons(analysis: Analysis, groups: Groups, frame: pd.DataFrame) -> list[Model]:
    """Return a model for each outcome in which the groups are compared."""
    known = frame[groups.variable].value_counts()
    if (known >= FEWEST_TO_COMPARE).sum() < 2:
        return []
    predictors = " + ".join([groups.variable, *groups.adjust])
    return [
        Model(
            name=f"groups_{outcome}",
            formula=f"{outcome} ~ {predictors}",
            description="Comparison of the groups",
            levels=analysis.vocabulary,
        )
        for outcome in groups.compare
    ]


def _restricted(model: Model, groups: Groups) -> Model:
    if _names(groups, (*model_variables(model), *model.group_by)):
        return model
    return replace(model, filter=_joined(model.filter, groups))


def _restricted_other(model: OtherModel, groups: Groups) -> OtherModel:
    if _names(groups, model.variables):
        return model
    return replace(model, filter=_joined(model.filter, groups))


def _names(groups: Groups, variables: Sequence[str]) -> bool:
    return groups.variable in variables


def _joined(text: str, groups: Groups) -> str:
    # Parentheses: "and" binds tighter than an "or" within either.
    parts = [f"({part})" if " or " in part else part for part in (text, groups.filter) if part]
    return " and ".join(parts)
