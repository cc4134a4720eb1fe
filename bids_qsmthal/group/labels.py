"""Names of variables, terms and outcomes as readers see them: in sentences and on axes."""

from __future__ import annotations

from bids_qsmthal.statistics.analysis import Analysis, Variable


def step(term: str, analysis: Analysis) -> str:
    """Return what one unit of a term is: ``per year more of age``, or one level against another."""
    variable = analysis.variables.get(term)
    if variable is None:
        return f"per unit of {term}"
    label = within_sentence(variable.label)
    if len(variable.levels) == 2:
        low, high = _levels(variable)
        return f"for {label} '{high}' against '{low}'"
    return f"per {variable.unit or 'unit'} more of {label}"


def outcome(name: str, analysis: Analysis) -> tuple[str, str]:
    """Return an outcome as it reads in a sentence, and its unit."""
    if name in analysis.variables:
        unit = analysis.variables[name].unit
        return within_sentence(analysis.variables[name].label), f" {unit}" if unit else ""
    inner = _logged(name, analysis)
    if inner is not None:
        return f"the natural logarithm of {within_sentence(inner.label)}", ""
    return name, ""


def axis(name: str, analysis: Analysis) -> str:
    """Return the title of an axis: label and unit, the meaning of codes, or the term as it is."""
    variable = analysis.variables.get(name)
    if variable is None:
        inner = _logged(name, analysis)
        return name if inner is None else f"Natural logarithm of\n{_with_unit(inner)}"
    if len(variable.levels) == 2:
        words = ", ".join(f"{_code(variable, word)} {word}" for word in _levels(variable))
        return f"{variable.label} ({words})"
    return _with_unit(variable)


def label(name: str, analysis: Analysis) -> str:
    """Return the label of a variable or of the logarithm of one; else the term as it is."""
    if name in analysis.variables:
        return analysis.variables[name].label
    inner = _logged(name, analysis)
    return name if inner is None else f"Logarithm of {within_sentence(inner.label)}"


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
    return f"{variable.label} ({variable.unit})" if variable.unit else variable.label


def _logged(name: str, analysis: Analysis) -> Variable | None:
    """Return the variable whose natural logarithm a term is."""
    return next((v for key, v in analysis.variables.items() if name == f"log({key})"), None)
