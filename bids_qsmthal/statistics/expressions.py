"""Formulas and filters that a user writes, checked before anything is evaluated.

An analysis file may come from a stranger, so only names of variables, numbers, operators and a
short list of functions are let through; attributes, indexing and any other call are refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import UsageError

FUNCTIONS = frozenset(
    {"log", "log2", "log10", "exp", "sqrt", "center", "scale", "poly", "bs", "cr", "C", "I"}
)
"""Functions a formula may use; ``bs`` and ``cr`` are B-spline and natural cubic spline bases."""

FORMULA_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Call,
    ast.keyword,
    ast.operator,
    ast.unaryop,
)

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def formula_variables(formula: str) -> tuple[str, ...]:
    """Return the variables a formula uses, in the order of their first use.

    Raises
    ------
    UsageError
        The text is not ``outcome ~ predictors``, or it uses something that is not allowed.
    """
    sides = formula.split("~")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise UsageError(f"Formula '{formula}': expected 'outcome ~ predictors'.")
    names: list[str] = []
    for side in sides:
        # The interaction sign is no Python operator; for finding names any operator will do.
        tree = _parse(side.replace(":", "*"), formula)
        names += _formula_names(tree, formula)
    return tuple(dict.fromkeys(names))


def filter_variables(expression: str) -> tuple[str, ...]:
    """Return the variables a filter such as ``age <= 50 and sex == 'female'`` uses."""
    if not expression.strip():
        return ()
    tree = _parse(expression, expression)
    return tuple(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def keep(expression: str, frame: pd.DataFrame) -> pd.Series[bool]:
    """Return for each row whether it passes the filter; a missing value does not pass.

    Raises
    ------
    UsageError
        The filter is not made of comparisons of variables with values, or of ``and or not in``.
    """
    if not expression.strip():
        return pd.Series(data=True, index=frame.index)
    columns = [_column(name, frame, expression) for name in filter_variables(expression)]
    known = np.all([column.notna() for column in columns], axis=0)
    try:
        passed = _evaluate(_parse(expression, expression).body, frame, expression)
    except TypeError as error:
        raise UsageError(f"Filter '{expression}': a number is compared with a text.") from error
    return pd.Series(np.asarray(passed, dtype=bool) & known, index=frame.index)


def _parse(text: str, whole: str) -> ast.Expression:
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"'{whole}': cannot be read as a formula or filter.") from error


def _formula_names(tree: ast.Expression, formula: str) -> list[str]:
    called: set[ast.expr] = set()
    for node in ast.walk(tree):
        if not isinstance(node, FORMULA_NODES):
            raise UsageError(f"Formula '{formula}': {type(node).__name__} is not allowed in it.")
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
                raise UsageError(
                    f"Formula '{formula}': '{ast.unparse(node.func)}' is not one of the functions "
                    f"{', '.join(sorted(FUNCTIONS))}."
                )
            called.add(node.func)
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called]
    return [node.id for node in sorted(named, key=lambda node: node.col_offset)]


def _evaluate(node: ast.expr, frame: pd.DataFrame, whole: str) -> Any:  # noqa: ANN401
    match node:
        case ast.BoolOp(op=joint, values=parts):
            values = [np.asarray(_evaluate(part, frame, whole), dtype=bool) for part in parts]
            return np.all(values, axis=0) if isinstance(joint, ast.And) else np.any(values, axis=0)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return ~np.asarray(_evaluate(part, frame, whole), dtype=bool)
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_evaluate(part, frame, whole)
        case ast.Compare():
            return _compare(node, frame, whole)
        case ast.Name(id=name):
            return _column(name, frame, whole)
        case ast.Constant(value=value) if isinstance(value, str | int | float):
            return value
    raise UsageError(
        f"Filter '{whole}': '{ast.unparse(node)}' is not a comparison of a variable with a value."
    )


def _compare(node: ast.Compare, frame: pd.DataFrame, whole: str) -> Any:  # noqa: ANN401
    left = _evaluate(node.left, frame, whole)
    result = np.ones(len(frame), dtype=bool)
    for sign, right_node in zip(node.ops, node.comparators, strict=True):
        if isinstance(sign, ast.In | ast.NotIn):
            result &= _membership(left, right_node, whole) ^ isinstance(sign, ast.NotIn)
            continue
        if type(sign) not in COMPARISONS:
            raise UsageError(f"Filter '{whole}': 'is' is not allowed; use == or !=.")
        right = _evaluate(right_node, frame, whole)
        result &= np.asarray(COMPARISONS[type(sign)](left, right), dtype=bool)
        left = right
    return result


def _membership(left: Any, right: ast.expr, whole: str) -> Any:  # noqa: ANN401
    if not isinstance(left, pd.Series) or not isinstance(right, ast.List | ast.Tuple):
        raise UsageError(f"Filter '{whole}': write 'variable in [value, value]'.")
    try:
        return left.isin(ast.literal_eval(right)).to_numpy()
    except ValueError as error:
        raise UsageError(f"Filter '{whole}': a list may hold numbers and texts only.") from error


def _column(name: str, frame: pd.DataFrame, whole: str) -> pd.Series[Any]:
    if name not in frame:
        raise UsageError(f"'{whole}': no variable '{name}'. There are: {', '.join(frame.columns)}.")
    return frame[name]
