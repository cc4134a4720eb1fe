"""What ``.bidsignore`` lists: images that are in the folder and not part of the dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from bids_qsmthal.core.errors import at

NAME = ".bidsignore"

OF_SOMEBODY = re.compile(r"\b(?:sub|ses)-")
"""A line with this says which data to leave out, not which kind of name is unknown."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file.

    Attributes
    ----------
    parts
        Shell patterns of the folders from the root on, and of the name; ``**`` is any number of
        folders.
    keeps
        Whether what it matches is taken back in (``!``).
    of_somebody
        Whether it names participants or sessions.
    """

    parts: tuple[str, ...]
    keeps: bool
    of_somebody: bool


def rules(bids_dir: Path) -> tuple[Rule, ...]:
    """Return the rules of the dataset's ``.bidsignore``, written as those of ``.gitignore``."""
    path = bids_dir / NAME
    if not path.is_file():
        return ()
    with at(path):
        lines = [line.strip() for line in path.read_text("utf-8-sig", "replace").splitlines()]
    return tuple(_rule(line) for line in lines if line.strip("!/") and not line.startswith("#"))


def _rule(line: str) -> Rule:
    pattern = line.removeprefix("!")
    # A slash at the start or in the middle ties a line to the root, one at the end does not.
    tied = "/" in pattern.rstrip("/")
    parts = tuple(part for part in pattern.split("/") if part)
    somebody = OF_SOMEBODY.search(line) is not None
    return Rule(parts if tied else ("**", *parts), line.startswith("!"), somebody)


def is_ignored(rules: tuple[Rule, ...], path: PurePosixPath, *, gradient_echo: bool) -> bool:
    """Tell whether a path, from the root of the dataset, is listed; the last line decides.

    A gradient echo is left out by lines that name participants or sessions alone: ``*_MEGRE*`` and
    the like are in many datasets because validators did not know these names yet, and these images
    are what the app is run for.
    """
    ignored = False
    for rule in rules:
        heeded = rule.of_somebody or rule.keeps or not gradient_echo
        # A folder that is listed takes with it what it holds.
        if heeded and any(
            _match(path.parts[:length], rule.parts) for length in range(1, len(path.parts) + 1)
        ):
            ignored = not rule.keeps
    return ignored


def _match(folders: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not folders
    first, *rest = patterns
    if first == "**":
        return any(_match(folders[start:], tuple(rest)) for start in range(len(folders) + 1))
    return bool(folders) and fnmatchcase(folders[0], first) and _match(folders[1:], tuple(rest))
