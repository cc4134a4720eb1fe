"""Functions within formulas, such as ``log(x)``: their arguments are plain arithmetic, checked.

What Python's parser reads is walked node by node; whatever is not known here is refused, and what
is evaluated is printed from the checked tree.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bids_qsmthal.core.errors import UsageError

LONGEST = 1000
"""Letters of a formula; the longest of the packaged analysis has 70."""

DEEPEST = 20
"""Parentheses within parentheses."""

# Bounds on the size of a basis: higher powers and more knots are beyond what cohorts can fit.
LARGEST_DF = 30
LARGEST_DEGREE = 10
LARGEST_EXPONENT = 10
LARGEST_NUMBER = 1e15
"""Beyond it whole numbers are no longer exact in double precision."""

ELEMENTWISE = frozenset({"log", "log2", "log10", "exp", "sqrt", "center", "scale", "I"})
"""Functions that give one column of numbers, and may stand within each other."""

Check = Callable[[object], bool]


def _whole(largest: int) -> Check:
    # type() and not isinstance: True is an int.
    return lambda value: type(value) is int and 1 <= value <= largest


def _number(value: object) -> bool:
    return type(value) in (int, float)


def _flag(value: object) -> bool:
    return type(value) is bool


KEYWORDS: Mapping[str, Mapping[str, Check]] = {
    "bs": {
        "df": _whole(LARGEST_DF),
        "degree": _whole(LARGEST_DEGREE),
        "include_intercept": _flag,
        "lower_bound": _number,
        "upper_bound": _number,
    },
    "cr": {
        "df": _whole(LARGEST_DF),
        "constraints": lambda value: value == "center",
        "lower_bound": _number,
        "upper_bound": _number,
    },
    "poly": {"degree": _whole(LARGEST_DEGREE), "raw": _flag},
    "C": {},
    **{name: {} for name in ELEMENTWISE},
}
"""Functions with the arguments they may have beside their first; ``bs`` and ``cr`` are bases of
B-splines and natural cubic splines."""

FUNCTIONS = frozenset(KEYWORDS)

EXPECTED = {
    "df": f"a whole number from 1 to {LARGEST_DF}",
    "degree": f"a whole number from 1 to {LARGEST_DEGREE}",
    "constraints": "'center'",
    "raw": "True or False",
    "include_intercept": "True or False",
    "lower_bound": "a number",
    "upper_bound": "a number",
}


@dataclass(frozen=True, slots=True)
class Factor:
    """A variable or a call: what terms are products of."""

    text: str
    """As it is printed."""

    variables: tuple[str, ...]
    n_columns: int
    """How many columns it makes; 0 where the levels of the variable decide."""

    @property
    def needs_numbers(self) -> bool:
        """Whether its variables are computed with."""
        # C(x) has 0 columns here and may hold words; log(x) has 1 and may not.
        return self.n_columns > 0 and self.text not in self.variables


def python_tree(text: str) -> ast.expr | None:
    """Return the tree of one line of Python, or nothing where it is none."""
    try:
        with warnings.catch_warnings():
            # Such as "invalid decimal literal": the checks of the tree say it in our words.
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    # ast.parse raises MemoryError where its own stack overflows, ValueError for a null byte.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def shown(text: str) -> str:
    """Return a user's text as a message shows it: printable, and not endless."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."


def check_name(name: str, formula: str) -> None:
    """See that a name may be that of a variable."""
    # Such as __import__, which Python's eval knows whatever names it is given.
    if name in FUNCTIONS or keyword.iskeyword(name) or name.startswith("_"):
        raise UsageError(f"Formula '{shown(formula)}': '{name}' cannot be the name of a variable.")


def read(text: str, formula: str) -> Factor:
    """Return a call whose tree holds only what a formula may compute."""
    tree = python_tree(text)
    if not isinstance(tree, ast.Call):
        raise UsageError(f"Formula '{shown(formula)}': '{shown(text)}' cannot be read.")
    reader = _CallReader(formula)
    n_columns = reader.outermost(tree)
    # Printed from the tree, never the user's text: what was checked is what is evaluated.
    return Factor(ast.unparse(tree), tuple(dict.fromkeys(reader.names)), n_columns)


class _CallReader:
    """Checks the tree of one call; collects the names of variables."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.names: list[str] = []

    def outermost(self, call: ast.Call) -> int:
        """Check a call and return how many columns it makes; 0 where levels decide."""
        name = self._function(call)
        options = self._options(name, call)
        if name == "C" and not isinstance(call.args[0], ast.Name):
            raise self._wrong("C takes the name of a variable")
        self._arithmetic(call.args[0], 0)
        if not self.names:
            raise self._wrong(f"{name} of a number is no predictor")
        if name == "C":
            return 0
        # Splines are cubic by default, polynomials of degree 1, as in formulaic.
        basis = int(str(options.get("degree", 1 if name == "poly" else 3)))
        # A basis without df has one column for each power up to its degree.
        return int(str(options.get("df", basis))) + 1 if name in ("bs", "cr", "poly") else 1

    def _function(self, call: ast.Call) -> str:
        if not isinstance(call.func, ast.Name) or call.func.id not in FUNCTIONS:
            raise self._wrong(
                f"'{shown(ast.unparse(call.func))}' is not one of the functions "
                f"{', '.join(sorted(FUNCTIONS))}"
            )
        return call.func.id

    def _options(self, name: str, call: ast.Call) -> dict[str, object]:
        """Return what a call has beside its first argument, each checked."""
        known = KEYWORDS[name]
        if not 1 <= len(call.args) <= (2 if known else 1):
            raise self._wrong(f"{name} takes one variable")
        given = [(part.arg, part.value) for part in call.keywords]
        # The second argument without a name is the first option in formulaic, too: df or degree.
        given += [(next(iter(known)), value) for value in call.args[1:]]
        options: dict[str, object] = {}
        for option, node in given:
            if option is None or option not in known or option in options:
                allowed = ", ".join(known) or "none"
                raise self._wrong(f"{name} has no option '{option}'; it has: {allowed}")
            # Values only: an option that names a variable would be computed with unchecked.
            options[option] = _literal(node)
            if not known[option](options[option]):
                found = shown(ast.unparse(node))
                raise self._wrong(f"{name}: {option} is {found}; expected {EXPECTED[option]}")
        return options

    def _arithmetic(self, node: ast.expr, depth: int) -> bool:
        """Check an arithmetic expression; return whether a variable is in it."""
        if depth > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} nested steps")
        match node:
            case ast.Name(id=name):
                check_name(name, self.formula)
                self.names.append(name)
                return True
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._arithmetic(operand, depth + 1)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.Call():
                return self._inner_call(node, depth)
        value = _literal(node)
        if not isinstance(value, int | float) or abs(value) > LARGEST_NUMBER:
            raise self._wrong(f"'{shown(ast.unparse(node))}' is not arithmetic with variables")
        return False

    def _binary(self, node: ast.BinOp, depth: int) -> bool:
        if isinstance(node.op, ast.Pow):
            return self._power(node.left, node.right, depth)
        # No %, //, @ or <<: nobody needs them, and 1 << 10**9 fills the memory.
        if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            raise self._wrong(f"'{shown(ast.unparse(node))}' is not arithmetic with variables")
        left = self._arithmetic(node.left, depth + 1)
        return self._arithmetic(node.right, depth + 1) or left

    def _inner_call(self, call: ast.Call, depth: int) -> bool:
        name = self._function(call)
        if name not in ELEMENTWISE or len(call.args) != 1 or call.keywords:
            raise self._wrong(f"{name} cannot stand within another function like this")
        return self._arithmetic(call.args[0], depth + 1)

    def _power(self, base: ast.expr, exponent: ast.expr, depth: int) -> bool:
        """Check a power: 9**9**9 of numbers alone would never end."""
        value = _literal(exponent)
        if not isinstance(value, int | float) or abs(value) > LARGEST_EXPONENT:
            raise self._wrong(f"an exponent is a number up to {LARGEST_EXPONENT}")
        if not self._arithmetic(base, depth + 1):
            raise self._wrong("a power of a number: write the number itself")
        return True

    def _wrong(self, reason: str) -> UsageError:
        return UsageError(f"Formula '{shown(self.formula)}': {reason}.")


def _literal(node: ast.expr) -> int | float | str | None:
    """Return a number, flag or text, with its sign; nothing where the node is something else."""
    match node:
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return None
