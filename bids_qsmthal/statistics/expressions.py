"""Filters that a user writes: comparisons of variables with values, checked and then evaluated.

An analysis file may come from a stranger. A filter is parsed once into the small tree below, which
alone is evaluated; nothing of it is ever run as Python. Words are compared through the levels of
their variable, so that ``sex == 'female'`` means the same however a table codes it.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics.calls import DEEPEST, LONGEST, python_tree, shown
from bids_qsmthal.statistics.levels import NOTHING, Vocabulary, listed, value_of

Flags = NDArray[np.bool_]

SIGNS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip

TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""The sign with its sides exchanged."""

READABLE = re.compile(r"""(?:[A-Za-z0-9_ .,<>=!()\[\]+-]|'[^'"\\`]*'|"[^'"\\`]*")*""")
"""Letters of a filter, and texts between quotes."""

MOST_KNOWN = 12
"""How many values a message lists."""

Value = float | str


@dataclass(frozen=True, slots=True)
class Column:
    """Another variable to compare with."""

    name: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variable beside one value, several, or another variable."""

    variable: str
    sign: str
    against: Value | tuple[Value, ...] | Column

    @property
    def literals(self) -> tuple[Value, ...]:
        """The values that are written out."""
        if isinstance(self.against, Column):
            return ()
        return self.against if isinstance(self.against, tuple) else (self.against,)


@dataclass(frozen=True, slots=True)
class Several:
    """Conditions of which all, or any, must hold."""

    every: bool
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """A condition that must not hold."""

    part: Condition


Condition = Comparison | Several | Negated


def filter_variables(expression: str) -> tuple[str, ...]:
    """Return the variables a filter such as ``age <= 50 and sex == 'female'`` uses."""
    if not expression.strip():
        return ()
    return tuple(dict.fromkeys(_names(parse(expression))))


def check(expression: str, levels: Vocabulary, numbers: Collection[str] = ()) -> None:
    """See that a filter can be read and compares variables that have levels with known ones.

    ``numbers`` are variables that hold numbers whatever the table says, as they have a unit or a
    range.

    Raises
    ------
    UsageError
        It cannot, or does not.
    """
    if not expression.strip():
        return
    for comparison in _comparisons(parse(expression)):
        # Without a table only declared levels can be checked; other words are checked against the
        # values of their column (_of_column).
        if comparison.variable in levels:
            _translated(comparison, levels, expression)
        elif comparison.variable in numbers:
            for literal in comparison.literals:
                if isinstance(literal, str):
                    raise _of_other_kind(comparison.variable, "numbers", literal, expression)


def keep(expression: str, frame: pd.DataFrame, levels: Vocabulary = NOTHING) -> pd.Series[bool]:
    """Return for each row whether it passes the filter; a missing value does not pass.

    Parameters
    ----------
    levels
        The words of variables whose values are codes.

    Raises
    ------
    UsageError
        The filter is not made of comparisons of variables with values, or of ``and or not in``;
        it names an unknown variable or level, or compares a number with a word.
    """
    if not expression.strip():
        return pd.Series(data=True, index=frame.index)
    columns = [_column(name, frame, expression) for name in filter_variables(expression)]
    # Unknown is neither above nor below: who lacks a value passes no filter, negated ones included.
    known = np.all([column.notna() for column in columns], axis=0)
    # Also in an "or": a value that is not known there makes the whole row unknown. That is stricter
    # than SQL, and the same for everybody.
    passed = _evaluate(parse(expression), frame, levels, expression)
    return pd.Series(passed & known, index=frame.index)


@functools.lru_cache(maxsize=512)
def parse(expression: str) -> Condition:
    """Return the checked tree of a filter.

    Raises
    ------
    UsageError
        It is not a filter, or too large for one.
    """
    text = expression.strip()
    # Length and letters first: Python's parser gets only what is short and harmless.
    if len(text) > LONGEST:
        raise UsageError(
            f"Filter '{shown(text)}': {len(text)} characters; at most {LONGEST} are allowed."
        )
    if not READABLE.fullmatch(text) or not text.isprintable():
        raise UsageError(f"Filter '{shown(text)}': it has characters that are not allowed.")
    tree = python_tree(text)
    if tree is None:
        raise UsageError(f"Filter '{shown(text)}': it cannot be read.")
    _check_depth(tree, text)
    return _condition(tree, text)


def _check_depth(tree: ast.expr, whole: str) -> None:
    level: list[ast.AST] = [tree]
    # A condition within a condition takes up to three nodes of the tree.
    for _ in range(3 * DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise UsageError(f"Filter '{shown(whole)}': it is nested too deep.")


def _condition(node: ast.expr, whole: str) -> Condition:
    match node:
        case ast.BoolOp(op=joint, values=parts):
            conditions = tuple(_condition(part, whole) for part in parts)
            return Several(isinstance(joint, ast.And), conditions)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return Negated(_condition(part, whole))
        case ast.Compare(left=left, ops=signs, comparators=rights):
            # 1 < x < 5 is 1 < x and x < 5, as in Python.
            sides = [left, *rights]
            chain = zip(sides, signs, rights, strict=False)
            links = tuple(_comparison(a, sign, b, whole) for a, sign, b in chain)
            return links[0] if len(links) == 1 else Several(every=True, parts=links)
    raise UsageError(
        f"Filter '{shown(whole)}': '{shown(ast.unparse(node))}' is not a comparison of a variable "
        "with a value."
    )


def _comparison(left: ast.expr, kind: ast.cmpop, right: ast.expr, whole: str) -> Comparison:
    sign = SIGNS.get(type(kind))
    if sign is None:
        raise UsageError(f"Filter '{shown(whole)}': 'is' is not allowed; use == or !=.")
    if sign in ("in", "not in"):
        if not isinstance(left, ast.Name) or not isinstance(right, ast.List | ast.Tuple):
            raise UsageError(f"Filter '{shown(whole)}': write 'variable in [value, value]'.")
        values = tuple(_value(node, whole) for node in right.elts)
        return Comparison(left.id, sign, values)
    if isinstance(left, ast.Name):
        against = Column(right.id) if isinstance(right, ast.Name) else _value(right, whole)
        return Comparison(left.id, sign, against)
    if isinstance(right, ast.Name):
        # The variable is always on the left from here on, so _compare has one case less.
        return Comparison(right.id, TURNED[sign], _value(left, whole))
    raise UsageError(
        f"Filter '{shown(whole)}': '{shown(ast.unparse(left))}' is not a comparison of a variable "
        "with a value."
    )


def _value(node: ast.expr, whole: str) -> Value:
    match node:
        case ast.Constant(value=str(text)):
            return text
        # In Python True is an int; "treated == True" would compare with 1 unsaid.
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            # Larger ones do not fit the numbers of a table.
            if abs(number) <= 1e300:
                return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as positive):
            value = _value(positive, whole)
            if isinstance(value, float):
                return -value
    raise UsageError(
        f"Filter '{shown(whole)}': '{shown(ast.unparse(node))}' is not a comparison of a variable "
        "with a value; values are numbers, and words between quotes."
    )


def _comparisons(condition: Condition) -> Iterator[Comparison]:
    match condition:
        case Comparison():
            yield condition
        case Negated(part=part):
            yield from _comparisons(part)
        case Several(parts=parts):
            for part in parts:
                yield from _comparisons(part)


def _names(condition: Condition) -> Iterator[str]:
    for comparison in _comparisons(condition):
        yield comparison.variable
        if isinstance(comparison.against, Column):
            yield comparison.against.name


def _evaluate(condition: Condition, frame: pd.DataFrame, levels: Vocabulary, whole: str) -> Flags:
    match condition:
        case Several(every=every, parts=parts):
            values = [_evaluate(part, frame, levels, whole) for part in parts]
            joined: Flags = np.all(values, axis=0) if every else np.any(values, axis=0)
            return joined
        case Negated(part=part):
            return ~_evaluate(part, frame, levels, whole)
        case Comparison():
            return _compare(condition, frame, levels, whole)


def _compare(comparison: Comparison, frame: pd.DataFrame, levels: Vocabulary, whole: str) -> Flags:
    column = _column(comparison.variable, frame, whole)
    if isinstance(comparison.against, Column):
        other = _column(comparison.against.name, frame, whole)
        # A column without any value has no kind; nobody passes it anyway.
        if _holds_words(column) != _holds_words(other) and other.notna().any():
            raise UsageError(
                f"Filter '{shown(whole)}': a number is compared with a word: {comparison.variable} "
                f"and {comparison.against.name}."
            )
        return np.asarray(COMPARE[comparison.sign](column, other), dtype=bool)
    if comparison.variable in levels:
        values = _translated(comparison, levels, whole)
    else:
        values = _of_column(comparison, column, whole)
    if comparison.sign in ("in", "not in"):
        # isin is False for a missing value, so "not in" makes it True here; keep() takes it out
        # again.
        return np.asarray(column.isin(values), dtype=bool) ^ (comparison.sign == "not in")
    # An empty column is float, and asking whether it is below a word would raise.
    if not column.notna().any():
        return np.zeros(len(column), dtype=bool)
    return np.asarray(COMPARE[comparison.sign](column, values[0]), dtype=bool)


def _translated(comparison: Comparison, levels: Vocabulary, whole: str) -> tuple[Value, ...]:
    """Return the values of levels that literals stand for."""
    known = levels[comparison.variable]
    ordered = comparison.sign in ("<", "<=", ">", ">=")
    coded = all(isinstance(level.value, float) for level in known.values())
    # "sex >= 1" may be meant for codes; "sex >= male" has no meaning.
    if ordered and coded and all(isinstance(value, float) for value in comparison.literals):
        return comparison.literals
    if ordered:
        raise UsageError(
            f"Filter '{shown(whole)}': the levels of {comparison.variable} have no order; use ==, "
            f"!= or in. There are: {listed(known)}."
        )
    values = []
    for literal in comparison.literals:
        value = value_of(literal, known)
        if value is None:
            raise UsageError(
                f"Filter '{shown(whole)}': {_quoted(literal)} is no level of "
                f"{comparison.variable}. There are: {listed(known)}."
            )
        values.append(value)
    return tuple(values)


def _of_other_kind(variable: str, holds: str, literal: Value, whole: str) -> UsageError:
    return UsageError(
        f"Filter '{shown(whole)}': a number is compared with a word: {variable} holds {holds}, not "
        f"{_quoted(literal)}."
    )


def _of_column(comparison: Comparison, column: pd.Series[Any], whole: str) -> tuple[Value, ...]:
    """Return the literals where they are of the kind that a column without levels holds."""
    known = column.dropna()
    words = _holds_words(column)
    for literal in comparison.literals if len(known) else ():
        if isinstance(literal, str) != words:
            holds = f"words ({_few(known)})" if words else "numbers"
            raise _of_other_kind(comparison.variable, holds, literal, whole)
        # A misspelled word would silently keep nobody (==) or everybody (!=).
        if words and literal not in set(known):
            raise UsageError(
                f"Filter '{shown(whole)}': nobody has {_quoted(literal)} as "
                f"{comparison.variable}. There are: {_few(known)}."
            )
    return comparison.literals


def _holds_words(column: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(column)


def _few(known: pd.Series[Any]) -> str:
    values = sorted(str(value) for value in known.unique())
    more = f" and {len(values) - MOST_KNOWN} more" if len(values) > MOST_KNOWN else ""
    return shown(", ".join(values[:MOST_KNOWN])) + more


def _quoted(literal: Value) -> str:
    return f"'{shown(literal)}'" if isinstance(literal, str) else f"{literal:g}"


def _column(name: str, frame: pd.DataFrame, whole: str) -> pd.Series[Any]:
    if name not in frame:
        raise UsageError(
            f"Filter '{shown(whole)}': no variable '{name}'. There are: "
            f"{', '.join(map(str, frame.columns))}."
        )
    return frame[name]
