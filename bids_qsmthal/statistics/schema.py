"""The keys of an analysis file, and the check of a document against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bids_qsmthal.core.errors import UsageError


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
    "Sensitivity": Key(dict),
    "Longitudinal": Key(list),
    "Mediation": Key(list),
    "Harmonisation": Key(dict),
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


SENSITIVITY = {"Filters": Key(dict), "Terms": Key(dict), "Measures": Key(dict)}
ALTERNATIVE = {
    "Measure": Key(str),
    "Region": Key(str),
    "Hemisphere": Key(str),
    "Units": Key(str),
}
MIXED = {
    "Name": Key(str, required=True),
    "Description": Key(str),
    "Formula": Key(str, required=True),
    "RandomSlopes": Key(list),
    "Filter": Key(str),
}
MEDIATION = {
    "Name": Key(str, required=True),
    "Description": Key(str),
    "Cause": Key(str, required=True),
    "Mediator": Key(str, required=True),
    "Outcome": Key(str, required=True),
    "Covariates": Key(list),
}
HARMONISATION = {
    "Site": Key(str, required=True),
    "Variables": Key(list, required=True),
    "Keep": Key(list),
}


def checked(document: object, keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    """Return the document where its keys are known, of the right kind, and none is lacking.

    Raises
    ------
    UsageError
        They are not; the message names the place and the key.
    """
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
