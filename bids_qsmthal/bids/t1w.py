"""Which image of a session is its T1w: before or after contrast, plain or of MP2RAGE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_qsmthal.bids.gre_metadata import contrast_agent
from bids_qsmthal.bids.sidecars import entities_of, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AFTER_CONTRAST = frozenset({"post", "postcontrast", "postgad", "postgd", "gad", "gd", "contrast"})
"""Labels of ``acq-`` that say what ``ce-`` should: after a contrast agent."""

UNIFORM = "UNIT1"
"""BIDS suffix of the uniform image of MP2RAGE: T1-weighted, with noise in the air."""


def by_contrast(
    without_ce: Sequence[Path], with_ce: Sequence[Path], root: Path
) -> tuple[list[Path], list[Path]]:
    """Return the scans before and after contrast, each the best first.

    A T1w whose sidecar names a contrast agent is after contrast. What ``acq-`` calls so comes after
    the others: the sidecar may be silent. A uniform image of MP2RAGE comes after a plain T1w.
    """
    before: list[Path] = []
    after = list(with_ce)
    for path in without_ce:
        (after if contrast_agent([metadata(path, root)]) else before).append(path)
    # Stable: scans keep the order of their names among themselves.
    before.sort(key=lambda path: (_called_after_contrast(path), is_uniform(path)))
    after.sort(key=is_uniform)
    return before, after


def _called_after_contrast(path: Path) -> bool:
    return dict(entities_of(path)[0]).get("acq", "").lower() in AFTER_CONTRAST


def is_uniform(path: Path) -> bool:
    """Say whether an image is the uniform one of MP2RAGE."""
    return entities_of(path)[1] == UNIFORM


def inversions(uniform: Path) -> tuple[Path, ...]:
    """Return the magnitudes at both inversion times of a uniform image; empty without both."""
    wanted = _scan(uniform)
    found: dict[str, Path] = {}
    for path in sorted(uniform.parent.glob("*_MP2RAGE.nii*")):
        entities = dict(entities_of(path)[0])
        magnitude = entities.get("part", "mag") == "mag" and "echo" not in entities
        if magnitude and not path.name.startswith(".") and _scan(path) == wanted:
            # inv-1 and inv-01 are one.
            found.setdefault(entities.get("inv", "").lstrip("0"), path)
    return (found["1"], found["2"]) if {"1", "2"} <= set(found) else ()


def _scan(path: Path) -> set[tuple[str, str]]:
    """Return the entities that the images of one MP2RAGE share."""
    return {pair for pair in entities_of(path)[0] if pair[0] not in ("inv", "part")}
