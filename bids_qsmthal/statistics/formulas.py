"""Model formulas, parsed once by a grammar of our own and printed back for the library.

An analysis file may come from a stranger. The library that evaluates formulas splits their text by
rules of its own and then runs the pieces as Python, so no text of a user ever reaches it: it gets
what ``Formula.text`` prints from the checked tree. Whatever the grammar does not know is refused,
and so is what would need more memory or time than a model can use.

Grammar, from loose to tight: ``+ -``, ``* /``, ``:``, ``** n``; the operands are variables, 0, 1
and calls such as ``log(x)``, whose arguments are plain arithmetic (Wilkinson & Rogers 1973,
doi:10.2307/2346786).
"""

from __future__ import annotations

import ast
import functools
import keyword
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bids_qsmthal.core.errors import UsageError

LONGEST = 1000
"""Letters of a formula; the longest of the packaged analysis has 70."""

DEEPEST = 20
"""Parentheses within parentheses."""

MOST_TERMS = 100
"""Terms of a formula after all products are written out."""

MOST_PRODUCTS = 10_000
"""Products that writing out a power takes: the library makes all of them, then drops doubles."""

MOST_COLUMNS = 500
"""Columns of a design matrix."""

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

# re.ASCII: Python takes many letters as part of a name (it even turns some into others, NFKC), so a
# name could look like another one. Numbers are 0 and 1 only, and "1.5" or "1e3" is none.
TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>[01])(?![\w.])|(?P<sign>\*\*|[-+*/:()]))", re.ASCII
)
EXPONENT = re.compile(r"\s*(\d{1,3})(?![\w.])", re.ASCII)
FOREIGN = re.compile(r"[^A-Za-z0-9_ .,:()+\-*/='\"]")

Term = frozenset[str]


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


@dataclass(frozen=True, slots=True)
class Constant:
    """The intercept (1), or none (0)."""

    text: str


@dataclass(frozen=True, slots=True)
class Joint:
    """Two parts with a sign between them."""

    sign: str
    left: Part
    right: Part


@dataclass(frozen=True, slots=True)
class Power:
    """All products of up to so many of the terms."""

    base: Part
    exponent: int


Part = Factor | Constant | Joint | Power


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula."""

    outcome: Factor
    predictors: Part

    @property
    def text(self) -> str:
        """What is evaluated, printed from the tree."""
        return f"{self.outcome.text} ~ {printed(self.predictors)}"

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Every variable and call, in the order in which they are written."""
        return (self.outcome, *_factors(self.predictors))

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable, in the order of their first use."""
        return tuple(dict.fromkeys(name for part in self.factors for name in part.variables))


@functools.lru_cache(maxsize=512)
def parse(formula: str) -> Formula:
    """Return the checked tree of ``outcome ~ predictors``.

    Raises
    ------
    UsageError
        It is not of that form, uses what is not allowed, or is too large. One line.
    """
    text = _plain(formula)
    sides = text.split("~")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise UsageError(f"Formula '{shown(formula)}': expected 'outcome ~ predictors'.")
    # Messages show the formula as it was written, so it goes along with each side.
    outcome, predictors = (_Reader(side, formula).whole() for side in sides)
    if not isinstance(outcome, Factor):
        raise UsageError(
            f"Formula '{shown(formula)}': the outcome must be one column of numbers: a variable, "
            "or a function of it."
        )
    return Formula(outcome, predictors)


def factor(text: str) -> Factor:
    """Return the one variable or call that a text is.

    Raises
    ------
    UsageError
        It is something else.
    """
    part = side(text)
    if not isinstance(part, Factor):
        raise UsageError(f"'{shown(text)}': expected one variable, or a function of it.")
    return part


def side(text: str) -> Part:
    """Return the checked tree of one side of a formula."""
    return _Reader(_plain(text, allowed=""), text).whole()


def variables(formula: str) -> tuple[str, ...]:
    """Return the variables a formula uses, in the order of their first use."""
    return parse(formula).variables


def printed(part: Part, replacements: Mapping[str, str] | None = None) -> str:
    """Return a part as text, perhaps with other terms in place of some variables."""
    match part:
        case Factor(text=text):
            # A replacement is parsed as strictly as the formula: it, too, comes from the file.
            other = (replacements or {}).get(text)
            return f"({printed(side(other))})" if other else text
        case Constant(text=text):
            return text
        case Power(base=base, exponent=exponent):
            return f"({printed(base, replacements)})**{exponent}"
        case Joint(sign=sign, left=left, right=right):
            before, after = printed(left, replacements), printed(right, replacements)
            # Sums are read from left to right; everywhere else parentheses say what is together.
            if sign in "+-":
                return f"{before} {sign} {_enclosed(after, right)}"
            return f"{_enclosed(before, left)}{sign}{_enclosed(after, right)}"


def substitute(formula: str, replacements: Mapping[str, str]) -> str:
    """Return a formula with other terms in place of variables.

    Only variables that stand alone are replaced: a spline of a logarithm is no question asked.

    >>> substitute("y ~ age + stage", {"age": "log(age)"})
    'y ~ (log(age)) + stage'
    """
    tree = parse(formula)
    return f"{tree.outcome.text} ~ {printed(tree.predictors, replacements)}"


def check_size(formula: Formula, n_levels: Mapping[str, int]) -> None:
    """See that the design matrix is of a size that can be fitted.

    Parameters
    ----------
    n_levels
        How many columns each factor has that has one for each level.

    Raises
    ------
    UsageError
        It has more than ``MOST_COLUMNS`` columns.
    """
    # An interaction has the product of the columns of its factors.
    columns = {part.text: n_levels.get(part.text, part.n_columns or 1) for part in formula.factors}
    terms = _terms(formula.predictors)
    needed = sum(math.prod(columns[name] for name in term) for term in terms)
    if needed > MOST_COLUMNS:
        raise UsageError(
            f"Formula '{shown(formula.text)}': {needed} columns; {MOST_COLUMNS} are the most."
        )


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


def _plain(formula: str, allowed: str = "~") -> str:
    """Return the text without space around it where all of its letters may be in a formula."""
    text = formula.strip()
    if len(text) > LONGEST:
        raise UsageError(f"Formula '{shown(text)}': {len(text)} letters; {LONGEST} are the most.")
    # The ~ parts the two sides of a formula; within one side it has no meaning.
    found = FOREIGN.search(text.replace("~", "") if allowed else text)
    if found:
        raise UsageError(
            f"Formula '{shown(text)}': the letter {found.group()!a} has no meaning in it."
        )
    return text


def _enclosed(text: str, part: Part) -> str:
    return f"({text})" if isinstance(part, Joint) else text


def _factors(part: Part) -> Iterator[Factor]:
    match part:
        case Factor():
            yield part
        case Power(base=base):
            yield from _factors(base)
        case Joint(left=left, right=right):
            yield from _factors(left)
            yield from _factors(right)


def _terms(part: Part) -> frozenset[Term]:
    """Return the terms of a part with all products written out."""
    match part:
        case Factor(text=text):
            return frozenset({frozenset({text})})
        case Constant():
            return frozenset()
        case Power(base=base, exponent=exponent):
            return _power(_terms(base), exponent)
        case Joint(sign=sign, left=left, right=right):
            return _joined(sign, _terms(left), _terms(right))


def _power(terms: frozenset[Term], exponent: int) -> frozenset[Term]:
    # Before anything is multiplied: our sets drop doubles, so they alone would not show the cost.
    if len(terms) ** exponent > MOST_PRODUCTS:
        raise UsageError(
            f"Formula: {len(terms)} terms to the power {exponent} are more than {MOST_PRODUCTS} "
            "products; write out the ones you need."
        )
    made = terms
    for _ in range(exponent - 1):
        # a*b holds a, b and a:b, so repeating it gives all products of up to so many terms.
        made = _joined("*", made, terms)
    return made


def _joined(sign: str, left: frozenset[Term], right: frozenset[Term]) -> frozenset[Term]:
    products = frozenset(a | b for a in left for b in right) if sign in ":*" else frozenset()
    match sign:
        case "+":
            made = left | right
        case "-":
            made = left - right
        case ":":
            made = products
        case "*":
            made = left | right | products
        case _:
            # a / b is a + a:b (b within a), and (a + b) / c is a + b + a:b:c (Wilkinson & Rogers
            # 1973).
            nested = frozenset[str]().union(*left)
            made = left | {nested | term for term in right}
    if len(made) > MOST_TERMS:
        raise UsageError(
            f"Formula: it expands to {len(made)} terms; {MOST_TERMS} are the most. Write out the "
            "ones you need."
        )
    return made


class _Reader:
    """Reads one side of a formula from left to right (recursive descent)."""

    def __init__(self, text: str, formula: str) -> None:
        self.text, self.formula, self.place, self.n_operands = text, formula, 0, 0

    def whole(self) -> Part:
        """Return the tree of the whole text."""
        part = self._sum(0)
        if self.text[self.place :].strip():
            raise self._wrong(f"cannot be read from '{shown(self.text[self.place :].strip())}' on")
        _terms(part)  # refuses what is too large
        return part

    def _sum(self, depth: int) -> Part:
        if depth > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} parentheses within each other")
        sign = self._next_sign("+", "-")
        part = self._product(depth)
        if sign == "-":
            # Without anything before it, only "no intercept" can be meant.
            # "-1 + x" is common in R. "-x" at the beginning would take away what is not there.
            if part != Constant("1"):
                raise self._wrong("a side may begin with '-1' only")
            part = Constant("0")
        while sign := self._next_sign("+", "-"):
            part = Joint(sign, part, self._product(depth))
        return part

    def _product(self, depth: int) -> Part:
        return self._chain(("*", "/"), self._interaction, depth)

    def _interaction(self, depth: int) -> Part:
        return self._chain((":",), self._powered, depth)

    def _chain(self, signs: tuple[str, ...], inner: Callable[[int], Part], depth: int) -> Part:
        part = inner(depth)
        while sign := self._next_sign(*signs):
            right = inner(depth)
            # The intercept is no variable that could be multiplied.
            if isinstance(part, Constant) or isinstance(right, Constant):
                raise self._wrong(f"0 and 1 have no meaning beside '{sign}'")
            part = Joint(sign, part, right)
        return part

    def _powered(self, depth: int) -> Part:
        part = self._operand(depth)
        if not self._next_sign("**"):
            return part
        found = EXPONENT.match(self.text, self.place)
        if not found or isinstance(part, Constant) or int(found.group(1)) < 1:
            raise self._wrong("'**' needs terms before it and a whole number from 1 on after it")
        self.place = found.end()
        if isinstance(part, Factor):
            return part  # A variable has no products with itself.
        return Power(part, int(found.group(1)))

    def _operand(self, depth: int) -> Part:
        found = TOKEN.match(self.text, self.place)
        self.n_operands += 1
        # Counted while reading: a sum is a tree as deep as it is long, and functions walk it by
        # recursion.
        if self.n_operands > MOST_TERMS:
            raise self._wrong(f"more than {MOST_TERMS} variables and functions")
        if not found or found.group("sign") not in (None, "("):
            raise self._wrong("a variable or a function is missing")
        self.place = found.end()
        if found.group("number"):
            return Constant(found.group("number"))
        if found.group("sign"):
            part = self._sum(depth + 1)
            if not self._next_sign(")"):
                raise self._wrong("a parenthesis is not closed")
            return part
        return self._named(found.group("name"), found.start("name"))

    def _named(self, name: str, start: int) -> Factor:
        opened = TOKEN.match(self.text, self.place)
        if opened and opened.group("sign") == "(":
            # What is within the parentheses of a call is plain arithmetic, not formula syntax, so
            # Python's parser reads it, and _CallReader checks every node.
            self.place = self._closing(opened.end())
            return _call(self.text[start : self.place], self.formula)
        _check_name(name, self.formula)
        return Factor(name, (name,), 0)

    def _closing(self, place: int) -> int:
        """Return the place behind the parenthesis that closes the one before ``place``."""
        depth = 1
        while depth and place < len(self.text):
            depth += {"(": 1, ")": -1}.get(self.text[place], 0)
            place += 1
            if depth > DEEPEST:
                raise self._wrong(f"more than {DEEPEST} parentheses within each other")
        if depth:
            raise self._wrong("a parenthesis is not closed")
        return place

    def _next_sign(self, *signs: str) -> str:
        """Return the sign that is next and step over it, if it is one of some; or nothing."""
        found = TOKEN.match(self.text, self.place)
        if not found or found.group("sign") not in signs:
            return ""
        self.place = found.end()
        return str(found.group("sign"))

    def _wrong(self, reason: str) -> UsageError:
        return UsageError(f"Formula '{shown(self.formula)}': {reason}.")


def _check_name(name: str, formula: str) -> None:
    # Such as __import__, which Python's eval knows whatever names it is given.
    if name in FUNCTIONS or keyword.iskeyword(name) or name.startswith("_"):
        raise UsageError(f"Formula '{shown(formula)}': '{name}' cannot be the name of a variable.")


def _call(text: str, formula: str) -> Factor:
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
            raise self._wrong(f"more than {DEEPEST} steps within each other")
        match node:
            case ast.Name(id=name):
                _check_name(name, self.formula)
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
            raise self._wrong(f"'{shown(ast.unparse(node))}' is no arithmetic with variables")
        return False

    def _binary(self, node: ast.BinOp, depth: int) -> bool:
        if isinstance(node.op, ast.Pow):
            return self._power(node.left, node.right, depth)
        # No %, //, @ or <<: nobody needs them, and 1 << 10**9 fills the memory.
        if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            raise self._wrong(f"'{shown(ast.unparse(node))}' is no arithmetic with variables")
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
