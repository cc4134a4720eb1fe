"""An analysis as a value: variables, models and tables, read from a checked document.

The document is what a YAML file holds; the reading of the file itself lies elsewhere. The keys
follow BIDS Stats Models where it has a word for the thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bids_qsmthal.errors import UsageError
from bids_qsmthal.statistics import expressions
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.tables import Row, Table


@dataclass(frozen=True, slots=True)
class Level:
    """A value of a variable that is counted, not measured."""

    value: float | str
    words: tuple[str, ...]
    """Spellings in a table that mean this level, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Where a variable comes from: a measure, a column, or a column with a measure in reserve."""

    name: str
    label: str
    unit: str = ""
    measure: str = ""
    region: str = ""
    hemisphere: str = ""
    columns: tuple[str, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything the group level is asked to do."""

    name: str
    description: str
    variables: Mapping[str, Variable]
    models: tuple[Model, ...]
    tables: tuple[Table, ...]
    cohort: tuple[str, ...]
    normality: tuple[str, ...]
    exclude_when: tuple[str, ...] = ()
    """Variables whose unusable image leaves a participant out of everything."""

    session: str = "first"


@dataclass(frozen=True, slots=True)
class Key:
    """The kind of thing a key of the document holds, and whether it must be there."""

    kind: type | tuple[type, ...]
    required: bool = False


TOP = {
    "Name": Key(str, required=True),
    "BIDSModelVersion": Key(str),
    "Description": Key(str),
    "Variables": Key(dict, required=True),
    "ExcludeWhen": Key(list),
    "Session": Key((str, int)),
    "Cohort": Key(list),
    "Normality": Key(list),
    "Models": Key(list, required=True),
    "Tables": Key(list),
}
VARIABLE = {
    "Label": Key(str),
    "Units": Key(str),
    "Measure": Key(str),
    "Region": Key(str),
    "Hemisphere": Key(str),
    "Columns": Key(list),
    "Levels": Key(dict),
}
LEVEL = {"Value": Key((int, float, str), required=True), "Words": Key(list)}
MODEL = {
    "Name": Key(str, required=True),
    "Description": Key(str),
    "Formula": Key(str, required=True),
    "Filter": Key(str),
    "Family": Key(str),
    "Method": Key(str),
    "GroupBy": Key(list),
    "Contrasts": Key(list),
}
CONTRAST = {
    "Name": Key(str, required=True),
    "ConditionList": Key(list, required=True),
    "Weights": Key(list, required=True),
    "Test": Key(str),
}
TABLE = {
    "Name": Key(str, required=True),
    "Title": Key(str, required=True),
    "Description": Key(str),
    "Rows": Key(list, required=True),
}
ROW = {
    "Label": Key(str, required=True),
    "Term": Key(str, required=True),
    "Unadjusted": Key(str),
    "Adjusted": Key(str),
    "Decimals": Key(int),
    "SignificantDigits": Key(int),
}


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
    top = _checked(document, TOP, where)
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
    )
    _check_names(analysis, where)
    return analysis


def model_variables(model: Model) -> tuple[str, ...]:
    """Return the variables a model needs, those of its filter included."""
    names = (
        *expressions.formula_variables(model.formula),
        *expressions.filter_variables(model.filter),
    )
    return tuple(dict.fromkeys(names))


def _checked(document: object, keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise UsageError(f"{where}: expected keys such as {', '.join(list(keys)[:3])}.")
    for name, entry in document.items():
        if name not in keys:
            raise UsageError(f"{where}: unknown key '{name}'. Known here: {', '.join(keys)}.")
        if not isinstance(entry, keys[name].kind):
            kind = keys[name].kind
            words = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            found = type(entry).__name__
            raise UsageError(f"{where}: '{name}' is a {found}; expected a {words}.")
    for name, key in keys.items():
        if key.required and name not in document:
            raise UsageError(f"{where}: '{name}' is missing.")
    return document


def _names(entries: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(entry) for entry in entries)


def _variable(name: object, document: object, where: str) -> Variable:
    here = f"{where}, variable '{name}'"
    if not isinstance(name, str) or not name.isidentifier():
        raise UsageError(f"{here}: a name is made of letters, digits and _ .")
    entry = _checked(document, VARIABLE, here)
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
    entry = _checked(document, LEVEL, f"{where}, level '{word}'")
    words = {word.lower(), *(str(spelling).lower() for spelling in entry.get("Words", []))}
    value = entry["Value"]
    return Level(value if isinstance(value, str) else float(value), tuple(sorted(words)))


def _model(document: object, where: str) -> Model:

    named = document.get("Name", "?") if isinstance(document, dict) else "?"
    here = f"{where}, model '{named}'"
    entry = _checked(document, MODEL, here)
    expressions.formula_variables(entry["Formula"])
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


def _contrast(document: object, where: str) -> tuple[str, dict[str, float]]:
    entry = _checked(document, CONTRAST, f"{where}, contrast")
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
    entry = _checked(document, TABLE, f"{where}, table")
    here = f"{where}, table '{entry['Name']}'"
    if not entry["Name"].isidentifier():
        raise UsageError(f"{here}: a name is made of letters, digits and _ (it names the file).")
    rows = [_checked(row, ROW, f"{here}, row") for row in entry["Rows"]]
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
    variables = list(analysis.variables)
    models = [model.name for model in analysis.models]
    for model in analysis.models:
        here = f"{where}, model '{model.name}'"
        _check_known((*model_variables(model), *model.group_by), variables, f"{here}: no variable")
    named = (*analysis.cohort, *analysis.normality, *analysis.exclude_when)
    _check_known(named, variables, f"{where}: no variable")
    _check_unique(models, f"{where}: models")
    _check_unique([table.name for table in analysis.tables], f"{where}: tables")
    for table in analysis.tables:
        used = [name for row in table.rows for name in (row.unadjusted, row.adjusted) if name]
        _check_known(used, models, f"{where}, table '{table.name}': no model")


def _check_known(names: Sequence[str], known: Sequence[str], message: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{message} '{name}'. There are: {', '.join(known)}.")


def _check_unique(names: Sequence[str], where: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"{where}: the name '{repeated[0]}' is used more than once.")
