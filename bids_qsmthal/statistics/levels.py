"""Words for the values of variables that are counted, not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """A value of a variable that is counted, not measured."""

    value: float | str
    words: tuple[str, ...]
    """Spellings in a table that mean this level, in lower case."""

    is_reference: bool = False
    """Whether the other levels are compared with this one."""


Levels = Mapping[str, Level]
"""The levels of one variable by their names."""

Vocabulary = Mapping[str, Levels]
"""The levels of every variable that has some."""

NOTHING: Vocabulary = {}


def value_of(literal: float | str, levels: Levels) -> float | str | None:
    """Return the value that a number or a word stands for, or nothing where it is unknown.

    A value itself goes before a spelling: where ``yes`` is coded 2 and spelled ``1``, 1 is a word.
    """
    # Python compares 1 with 1.0 as equal, but not "1" with 1: a word goes on to the spellings.
    values = [level.value for level in levels.values()]
    if literal in values:
        return literal
    # :g writes 1.0 as 1, as the cells of a table do.
    spelled = literal.lower() if isinstance(literal, str) else f"{literal:g}"
    known = {word: level.value for level in levels.values() for word in level.words}
    return known.get(spelled)


def word_of(value: float | str, levels: Levels) -> str:
    """Return the name of the level with a value, or the value where none has it."""
    names = [name for name, level in levels.items() if level.value == value]
    return names[0] if names else f"{value:g}" if isinstance(value, float) else str(value)


def reference_of(levels: Levels) -> float | str | None:
    """Return the value of the level that others are compared with, where one was named."""
    return next((level.value for level in levels.values() if level.is_reference), None)


def listed(levels: Levels) -> str:
    """Return the levels as a message lists them: each with its value and other spellings."""
    return "; ".join(
        f"{name} ({', '.join(dict.fromkeys([f'{level.value}'.removesuffix('.0'), *level.words]))})"
        for name, level in levels.items()
    )
