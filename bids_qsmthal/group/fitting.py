"""All models of an analysis on one cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import normality, power, regression, tables
from bids_qsmthal.statistics.analysis import Analysis, model_variables
from bids_qsmthal.statistics.regression import Fit


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Results:
    """Every table of the group level."""

    fits: Mapping[str, Fit]
    models: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    cohort: pd.DataFrame
    normality: pd.DataFrame
    power: pd.DataFrame
    flow: pd.DataFrame


def fit_all(analysis: Analysis, cohort: Cohort) -> Results:
    """Return every model, table and summary an analysis asks for."""
    fits = _fits(analysis, cohort)
    return Results(
        fits=fits,
        models=pd.concat([fit.coefficients for fit in fits.values()], ignore_index=True),
        tables={table.name: tables.numbers(table, fits) for table in analysis.tables},
        cohort=_summary(analysis, cohort),
        normality=_normality(analysis, cohort),
        power=power.table(
            {name: (_n(fit), _n_covariates(fit)) for name, fit in fits.items() if fit.design}
        ),
        flow=pd.concat([cohort.flow, _model_flow(fits)], ignore_index=True),
    )


def _fits(analysis: Analysis, cohort: Cohort) -> dict[str, Fit]:
    fits: dict[str, Fit] = {}
    for model in analysis.models:
        reasons = [
            f"{name}: {cohort.absent[name]}"
            for name in (*model_variables(model), *model.group_by)
            if name in cohort.absent
        ]
        if reasons:
            fits[model.name] = regression.not_fitted(model, "; ".join(reasons))
            continue
        for part in regression.grouped(model, cohort.frame):
            fits[part.name] = regression.fit(part, cohort.frame)
    return fits


def _n(fit: Fit) -> int:
    return fit.design.n if fit.design else 0


def _n_covariates(fit: Fit) -> int:
    """Return how many predictors stand beside the one of interest."""
    return max(len(fit.design.names) - 2, 0) if fit.design else 0


def _summary(analysis: Analysis, cohort: Cohort) -> pd.DataFrame:
    variables = {name: analysis.variables[name] for name in analysis.cohort}
    return summary.summarise(
        cohort.frame,
        labels={name: variable.label for name, variable in variables.items()},
        units={name: variable.unit for name, variable in variables.items()},
        levels={
            name: {word: level.value for word, level in variable.levels.items()}
            for name, variable in variables.items()
        },
    )


def _normality(analysis: Analysis, cohort: Cohort) -> pd.DataFrame:
    rungs = [normality.ladder(cohort.frame[name]) for name in analysis.normality]
    return pd.concat(rungs, ignore_index=True) if rungs else pd.DataFrame(columns=normality.COLUMNS)


def _model_flow(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Return how many participants each model has, and why not all."""
    lines = []
    for name, fit in fits.items():
        detail = fit.note if not fit.fitted else ""
        if fit.design and not detail:
            losses = fit.design.losses
            parts = [f"{losses.n_filtered} outside the filter"] if losses.n_filtered else []
            parts += [f"{n} without {variable}" for variable, n in losses.missing.items()]
            if losses.n_not_finite:
                parts.append(f"{losses.n_not_finite} with a value the formula cannot take")
            detail = ", ".join(parts)
        lines.append((f"model {name}", _n(fit), detail))
    return pd.DataFrame(lines, columns=["step", "n", "detail"])
