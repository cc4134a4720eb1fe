"""Names of variables, terms and outcomes as readers see them: in sentences and on axes."""

from __future__ import annotations

import re

from bids_qsmthal.statistics.analysis import Analysis, Variable

UNITS = {"mm3": "mm\N{SUPERSCRIPT THREE}", "year": "years"}
"""Units as they are printed; all others as they are."""

TRANSFORMED = {
    "log": "Natural logarithm of\n{axis}",
    "log2": "Logarithm to base 2 of\n{axis}",
    "log10": "Logarithm to base 10 of\n{axis}",
    "sqrt": "Square root of\n{axis}",
    "exp": "Exponential of\n{axis}",
    "center": "{axis},\nminus its mean",
    "scale": "{label} (standard deviations from its mean)",
}
"""What functions of formulas do, in words."""

CALL = re.compile(r"(\w+)\((\w+)\)")

LEVEL = re.compile(r"(?:C\()?(\w+)\)?\[(?:T\.)?([^\]]+)\]")
"""A level of a variable as formulaic names its column: ``site[T.b]``."""


def step(term: str, analysis: Analysis) -> str:
    """Return what one unit of a term is: ``per additional year of age``, or one level or other."""
    variable = analysis.variables.get(term)
    if variable is None:
        return f"per unit of {term}"
    label = within_sentence(variable.label)
    if len(variable.levels) == 2:
        low, high = _levels(variable)
        return f"for {label} '{high}' compared with '{low}'"
    return f"per additional {variable.unit or 'unit'} of {label}"


def outcome(name: str, analysis: Analysis) -> tuple[str, str]:
    """Return an outcome as it reads in a sentence, and its unit."""
    if name in analysis.variables:
        unit = UNITS.get(analysis.variables[name].unit, analysis.variables[name].unit)
        return within_sentence(analysis.variables[name].label), f" {unit}" if unit else ""
    inner = _logged(name, analysis)
    if inner is not None:
        return f"the natural logarithm of {within_sentence(inner.label)}", ""
    return name, ""


def axis(name: str, analysis: Analysis) -> str:
    """Return the title of an axis in words with the unit, whatever a formula does to the variable.

    A term that has no words here (an interaction of splines, say) stays as it is written.
    """
    if name in analysis.variables:
        return _plain_axis(analysis.variables[name])
    if called := CALL.fullmatch(name):
        function, variable = called[1], analysis.variables.get(called[2])
        if variable is not None and function in TRANSFORMED:
            return TRANSFORMED[function].format(label=variable.label, axis=_with_unit(variable))
    if levelled := LEVEL.fullmatch(name):
        variable = analysis.variables.get(levelled[1])
        label = variable.label if variable else levelled[1]
        return f"{label}: {levelled[2]} (1) or not (0)"
    parts = name.split(":")
    if len(parts) > 1:
        return " \N{MULTIPLICATION SIGN} ".join(axis(part, analysis) for part in parts)
    return name


def _plain_axis(variable: Variable) -> str:
    if len(variable.levels) == 2:
        words = ", ".join(f"{_code(variable, word)} {word}" for word in _levels(variable))
        return f"{variable.label} ({words})"
    return _with_unit(variable)


def words_of(name: str, analysis: Analysis) -> dict[float, str]:
    """Return what the values of a term mean, where they have names."""
    variable = analysis.variables.get(name)
    levels = variable.levels if variable else {}
    named = {level.value: word for word, level in levels.items()}
    return {value: word for value, word in named.items() if isinstance(value, float)}


def logged_outcome(name: str, analysis: Analysis) -> str:
    """Return, as it reads in a sentence, the variable whose natural logarithm a term is."""
    inner = _logged(name, analysis)
    return within_sentence(inner.label) if inner else ""


def logged(name: str, analysis: Analysis) -> str:
    """Return the axis of the variable whose natural logarithm a term is, or nothing."""
    inner = _logged(name, analysis)
    return _with_unit(inner) if inner else ""


def label(name: str, analysis: Analysis) -> str:
    """Return the label of a variable or of the logarithm of one; else the term as it is."""
    if name in analysis.variables:
        return analysis.variables[name].label
    inner = _logged(name, analysis)
    return name if inner is None else f"Logarithm of {within_sentence(inner.label)}"


def question(term: str, outcome_name: str, model: str, analysis: Analysis) -> str:
    """Return which association is asked about, with the model that answers."""
    asked = within_sentence(label(term, analysis))
    return f"{label(outcome_name, analysis)} by {asked} (model {model})"


def within_sentence(text: str) -> str:
    """Return a label as it stands within a sentence; abbreviations keep their capitals.

    >>> within_sentence("Age"), within_sentence("EDSS")
    ('age', 'EDSS')
    """
    # Two capitals (or T2, CSF) make an abbreviation; a single one is that of a sentence.
    return text if text[:2].isupper() else text[0].lower() + text[1:]


def _levels(variable: Variable) -> list[str]:
    """Return the names of the levels, the lowest value first."""
    # As text, since values may be words; the usual codes 0, 1 and 2 sort alike.
    ordered = sorted(variable.levels.items(), key=lambda entry: str(entry[1].value))
    return [word for word, _ in ordered]


def _code(variable: Variable, word: str) -> str:
    value = variable.levels[word].value
    return f"{value:g} =" if isinstance(value, float) else ""


def _with_unit(variable: Variable) -> str:
    unit = UNITS.get(variable.unit, variable.unit)
    return f"{variable.label} ({unit})" if unit else variable.label


def _logged(name: str, analysis: Analysis) -> Variable | None:
    """Return the variable whose natural logarithm a term is."""
    return next((v for key, v in analysis.variables.items() if name == f"log({key})"), None)
