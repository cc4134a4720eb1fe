"""From what an analysis file holds to an ``Analysis``, every name checked.

The reading of the file itself lies elsewhere. The keys follow BIDS Stats Models where it has a
word for the thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import expressions, formulas, schema
from bids_qsmthal.statistics.analysis import (
    COMPUTED,
    Alternative,
    Analysis,
    Sensitivity,
    Variable,
    model_variables,
)
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.levels import Level
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.tables import Row, Table


def read(document: object, where: str) -> Analysis:
    """Return the analysis a document describes.

    Parameters
    ----------
    document
        What the YAML file holds.
    where
        Name of the file, for messages.

    Raises
    ------
    UsageError
        A key is unknown, missing or of the wrong kind, or a name is used that is nowhere defined.
    """
    top = schema.checked(document, schema.TOP, where)
    variables = {name: _variable(name, entry, where) for name, entry in top["Variables"].items()}
    models = [_model(entry, where) for entry in top["Models"]]
    analysis = Analysis(
        name=top["Name"],
        description=top.get("Description", ""),
        variables=variables,
        models=tuple(models),
        tables=tuple(_table(entry, where) for entry in top.get("Tables", [])),
        cohort=_names(top.get("Cohort", list(variables))),
        normality=_names(top.get("Normality", [])),
        exclude_when=_names(top.get("ExcludeWhen", [])),
        session=str(top.get("Session", "first")).removeprefix("ses-"),
        sensitivity=_sensitivity(top["Sensitivity"], variables, where)
        if "Sensitivity" in top
        else None,
        longitudinal=tuple(_mixed(entry, where) for entry in top.get("Longitudinal", [])),
        mediation=tuple(_mediation(entry, where) for entry in top.get("Mediation", [])),
        harmonisation=_harmonisation(top["Harmonisation"], where)
        if "Harmonisation" in top
        else None,
    )
    _check_names(analysis, where)
    return analysis


def _names(entries: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(entry) for entry in entries)


def _variable(name: object, document: object, where: str) -> Variable:
    here = f"{where}, variable '{name}'"
    if not isinstance(name, str) or not name.isidentifier():
        raise UsageError(f"{here}: a name is made of letters, digits and _ .")
    entry = schema.checked(document, schema.VARIABLE, here)
    if "Measure" not in entry and "Columns" not in entry:
        raise UsageError(f"{here}: give 'Measure' or 'Columns', where it comes from.")
    return Variable(
        name=name,
        label=entry.get("Label", name),
        unit=entry.get("Units", ""),
        measure=entry.get("Measure", ""),
        region=entry.get("Region", ""),
        hemisphere=entry.get("Hemisphere", ""),
        columns=_names(entry.get("Columns", [])),
        levels={
            str(word): _level(str(word), level, here)
            for word, level in entry.get("Levels", {}).items()
        },
    )


def _level(word: str, document: object, where: str) -> Level:
    entry = schema.checked(document, schema.LEVEL, f"{where}, level '{word}'")
    words = {word.lower(), *(str(spelling).lower() for spelling in entry.get("Words", []))}
    value = entry["Value"]
    return Level(value if isinstance(value, str) else float(value), tuple(sorted(words)))


def _model(document: object, where: str) -> Model:
    named = document.get("Name", "?") if isinstance(document, dict) else "?"
    here = f"{where}, model '{named}'"
    entry = schema.checked(document, schema.MODEL, here)
    formulas.variables(entry["Formula"])
    family = entry.get("Family", "gaussian").lower()
    method = entry.get("Method", "ols").lower()
    if family not in ("gaussian", "binomial"):
        raise UsageError(f"{here}: Family '{family}'; expected gaussian or binomial.")
    if method not in ("ols", "hc3", "huber"):
        raise UsageError(f"{here}: Method '{method}'; expected ols, hc3 or huber.")
    return Model(
        name=entry["Name"],
        formula=entry["Formula"],
        filter=entry.get("Filter", ""),
        family=family,
        method=method,
        description=entry.get("Description", ""),
        contrasts=dict(_contrast(part, here) for part in entry.get("Contrasts", [])),
        group_by=_names(entry.get("GroupBy", [])),
    )


def _sensitivity(document: object, variables: Mapping[str, Variable], where: str) -> Sensitivity:
    here = f"{where}, Sensitivity"
    entry = schema.checked(document, schema.SENSITIVITY, here)
    measures = [
        _alternative(str(name), change, variables, here)
        for name, change in entry.get("Measures", {}).items()
    ]
    filters = {str(name): str(text) for name, text in entry.get("Filters", {}).items()}
    for text in filters.values():
        expressions.filter_variables(text)
    terms = {}
    for name, change in entry.get("Terms", {}).items():
        if not isinstance(change, dict):
            raise UsageError(f"{here}, '{name}': write {{variable: term}}.")
        terms[str(name)] = {str(variable): str(term) for variable, term in change.items()}
        for term in terms[str(name)].values():
            formulas.side(term)
    return Sensitivity(filters=filters, terms=terms, measures=tuple(measures))


def _alternative(
    name: str, document: object, variables: Mapping[str, Variable], where: str
) -> Alternative:
    here = f"{where}, '{name}'"
    if not isinstance(document, dict) or len(document) != 1:
        raise UsageError(f"{here}: write {{variable: {{Measure: ..., Region: ...}}}}.")
    external_files, change = next(iter(document.items()))
    _check_known([str(external_files)], list(variables), f"{here}: no variable")
    entry = schema.checked(change, schema.ALTERNATIVE, here)
    old = variables[str(external_files)]
    changed = replace(
        old,
        label=name,
        measure=entry.get("Measure", old.measure),
        region=entry.get("Region", old.region),
        hemisphere=entry.get("Hemisphere", old.hemisphere),
        unit=entry.get("Units", old.unit),
    )
    return Alternative(name=name, replaces=str(external_files), variable=changed)


def _mixed(document: object, where: str) -> MixedModel:
    entry = schema.checked(document, schema.MIXED, f"{where}, Longitudinal")
    formulas.variables(entry["Formula"])
    return MixedModel(
        name=entry["Name"],
        formula=entry["Formula"],
        random_slopes=_names(entry.get("RandomSlopes", [])),
        filter=entry.get("Filter", ""),
    )


def _mediation(document: object, where: str) -> Mediation:
    entry = schema.checked(document, schema.MEDIATION, f"{where}, Mediation")
    return Mediation(
        name=entry["Name"],
        cause=entry["Cause"],
        mediator=entry["Mediator"],
        outcome=entry["Outcome"],
        covariates=_names(entry.get("Covariates", [])),
    )


def _harmonisation(document: object, where: str) -> Harmonisation:
    entry = schema.checked(document, schema.HARMONISATION, f"{where}, Harmonisation")
    return Harmonisation(
        site=entry["Site"],
        variables=_names(entry["Variables"]),
        keep=_names(entry.get("Keep", [])),
    )


def _contrast(document: object, where: str) -> tuple[str, dict[str, float]]:
    entry = schema.checked(document, schema.CONTRAST, f"{where}, contrast")
    conditions, weights = entry["ConditionList"], entry["Weights"]
    if len(conditions) != len(weights):
        raise UsageError(
            f"{where}, contrast '{entry['Name']}': {len(conditions)} conditions but "
            f"{len(weights)} weights."
        )
    if not all(isinstance(weight, int | float) for weight in weights):
        raise UsageError(f"{where}, contrast '{entry['Name']}': weights must be numbers.")
    if entry.get("Test", "t") != "t":
        raise UsageError(f"{where}, contrast '{entry['Name']}': only Test t is known.")
    return entry["Name"], dict(zip(_names(conditions), map(float, weights), strict=True))


def _table(document: object, where: str) -> Table:
    entry = schema.checked(document, schema.TABLE, f"{where}, table")
    here = f"{where}, table '{entry['Name']}'"
    if not entry["Name"].isidentifier():
        raise UsageError(f"{here}: a name is made of letters, digits and _ (it names the file).")
    rows = [schema.checked(row, schema.ROW, f"{here}, row") for row in entry["Rows"]]
    return Table(
        name=entry["Name"],
        title=entry["Title"],
        description=entry.get("Description", ""),
        rows=tuple(
            Row(
                label=row["Label"],
                term=row["Term"],
                unadjusted=row.get("Unadjusted", ""),
                adjusted=row.get("Adjusted", ""),
                decimals=row.get("Decimals"),
                significant_digits=row.get("SignificantDigits", 2),
            )
            for row in rows
        ),
    )


def _check_names(analysis: Analysis, where: str) -> None:
    """See that whatever is named is defined, and defined once."""
    variables = [*analysis.variables, *COMPUTED]
    models = [model.name for model in analysis.models]
    for model in analysis.models:
        here = f"{where}, model '{model.name}'"
        _check_known((*model_variables(model), *model.group_by), variables, f"{here}: no variable")
    named = (*analysis.cohort, *analysis.normality, *analysis.exclude_when)
    _check_known(named, variables, f"{where}: no variable")
    for name, used in _further_names(analysis):
        _check_known(used, variables, f"{where}, {name}: no variable")
    _check_unique(models, f"{where}: models")
    _check_unique([table.name for table in analysis.tables], f"{where}: tables")
    for table in analysis.tables:
        shown = [name for row in table.rows for name in (row.unadjusted, row.adjusted) if name]
        _check_known(shown, models, f"{where}, table '{table.name}': no model")


def _further_names(analysis: Analysis) -> list[tuple[str, tuple[str, ...]]]:
    """Return the variables that each part beside the models uses."""
    used = [(f"Longitudinal '{model.name}'", model.variables) for model in analysis.longitudinal]
    used += [(f"Mediation '{path.name}'", path.variables) for path in analysis.mediation]
    if analysis.harmonisation:
        used.append(("Harmonisation", analysis.harmonisation.names))
    if analysis.sensitivity:
        filters = analysis.sensitivity.filters.values()
        names = [name for text in filters for name in expressions.filter_variables(text)]
        used.append(("Sensitivity", tuple(names)))
    return used


def _check_known(names: Sequence[str], known: Sequence[str], message: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{message} '{name}'. There are: {', '.join(known)}.")


def _check_unique(names: Sequence[str], where: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"{where}: the name '{repeated[0]}' is used more than once.")
