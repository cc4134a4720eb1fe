"""What the user brings: manual edits, and derivative datasets that replace a stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal.dataset import Session, entities_of
from bids_qsmthal.errors import DataError, MissingInputError, UsageError
from bids_qsmthal.products import BRINGABLE, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EDITS = "edits"
"""Folder of the output tree where a user's corrected files win over ours."""

NAME = re.compile(r"[\w.+-]+")
"""Names of datasets."""

LOOSE_NAMES = {"lesion": ("label-lesion_mask", "label-WMH_mask", "desc-lesion_mask")}
"""Names that other tools give the same thing, without a space entity."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A file that replaces a stage, and who made it."""

    path: Path
    source: str


def find(session: Session, datasets: Mapping[str, Path], output_dir: Path) -> dict[str, Brought]:
    """Return what was brought for a session by the key of the product it replaces.

    Edits win over derivative datasets; of these the first named wins.
    """
    places = {EDITS: output_dir / EDITS, **datasets}
    found: dict[str, Brought] = {}
    for source, root in places.items():
        for key in BRINGABLE:
            path = _file(session, key, root)
            if path is not None and key not in found:
                found[key] = Brought(path, "manual edit" if source == EDITS else source)
    return found


def parse(words: Sequence[str]) -> dict[str, Path]:
    """Turn ``NAME=PATH`` or ``PATH`` words into named datasets.

    Raises
    ------
    MissingInputError
        There is no such folder.
    UsageError
        The name is not one that tables can hold.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, separator, value = word.partition("=")
        path = Path(value if separator else word)
        if not path.is_dir():
            raise MissingInputError(
                f"--derivatives {word}: {path} is not a folder; expected NAME=PATH of a dataset."
            )
        called = name if separator else path.name
        if not NAME.fullmatch(called):
            raise UsageError(
                f"--derivatives {word}: the name {called!r} goes into tables and reports; expected "
                "letters, digits and . _ + - only; write NAME=PATH with such a name."
            )
        named[called] = path
    return named


def _file(session: Session, key: str, root: Path) -> Path | None:
    product = PRODUCTS[key]
    own = session.gre_entities if product.space == "MEGRE" else session.entities
    endings = (product.ending, *LOOSE_NAMES.get(key, ()))
    folder = root / f"sub-{session.subject}"
    if not folder.is_dir():
        return None
    for ending in endings:
        hits = [
            path
            for path in sorted(folder.rglob(f"sub-{session.subject}_*{ending}.nii*"))
            if _belongs(path, ending, dict(own), session)
        ]
        if len(hits) > 1:
            raise DataError(
                f"{folder}: {hits[0].name} and {hits[1].name} both claim to be the {key} of "
                f"{session.name}; keep one."
            )
        if hits:
            return hits[0]
    return None


def _belongs(path: Path, ending: str, own: Mapping[str, str], session: Session) -> bool:
    """Say whether a file is of this session and run, and nothing else than what is looked for."""
    entities = dict(entities_of(path)[0])
    wanted = dict(pair.split("-", 1) for pair in ending.split("_")[:-1])
    rest = {key: value for key, value in entities.items() if key not in wanted}
    same_session = entities.get("ses", session.session) == session.session
    return same_session and all(own.get(key) == value for key, value in rest.items())
