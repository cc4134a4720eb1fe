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

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import calls
from bids_qsmthal.statistics.calls import DEEPEST, LONGEST, Factor, check_name, shown

MOST_TERMS = 100
"""Terms of a formula after all products are written out."""

MOST_PRODUCTS = 10_000
"""Products that writing out a power takes: the library makes all of them, then drops doubles."""

MOST_COLUMNS = 500
"""Columns of a design matrix."""

# re.ASCII: Python takes many letters as part of a name (it even turns some into others, NFKC), so a
# name could look like another one. Numbers are 0 and 1 only, and "1.5" or "1e3" is none.
TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>[01])(?![\w.])|(?P<sign>\*\*|[-+*/:()]))", re.ASCII
)
EXPONENT = re.compile(r"\s*(\d{1,3})(?![\w.])", re.ASCII)
FOREIGN = re.compile(r"[^A-Za-z0-9_ .,:()+\-*/='\"]")

Term = frozenset[str]


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

    @property
    def interactions(self) -> tuple[tuple[str, str], ...]:
        """Pairs of variables whose product is a term, or part of one."""
        of_factor = {part.text: part.variables for part in self.factors}
        pairs = {
            tuple(sorted((first, second)))
            for term in _terms(self.predictors)
            for one, other in itertools.combinations(sorted(term), 2)
            for first in of_factor[one]
            for second in of_factor[other]
            if first != second
        }
        return tuple((first, second) for first, second in sorted(pairs))


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
            f"Formula '{shown(formula.text)}': {needed} columns; at most {MOST_COLUMNS} are "
            "allowed."
        )


def _plain(formula: str, allowed: str = "~") -> str:
    """Return the text without space around it where all of its letters may be in a formula."""
    text = formula.strip()
    if len(text) > LONGEST:
        raise UsageError(
            f"Formula '{shown(text)}': {len(text)} characters; at most {LONGEST} are allowed."
        )
    # The ~ parts the two sides of a formula; within one side it has no meaning.
    found = FOREIGN.search(text.replace("~", "") if allowed else text)
    if found:
        raise UsageError(
            f"Formula '{shown(text)}': the character {found.group()!a} is not allowed."
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
            f"Formula: it expands to {len(made)} terms; at most {MOST_TERMS} are allowed. Write "
            "out the ones you need."
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
            raise self._wrong(f"more than {DEEPEST} nested parentheses")
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
            return calls.read(self.text[start : self.place], self.formula)
        check_name(name, self.formula)
        return Factor(name, (name,), 0)

    def _closing(self, place: int) -> int:
        """Return the place behind the parenthesis that closes the one before ``place``."""
        depth = 1
        while depth and place < len(self.text):
            depth += {"(": 1, ")": -1}.get(self.text[place], 0)
            place += 1
            if depth > DEEPEST:
                raise self._wrong(f"more than {DEEPEST} nested parentheses")
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
