"""What belongs to a BIDS file by its name: its entities, and the files that it inherits."""

from __future__ import annotations

import json
import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import DataError, raise_if_disk_fails
from bids_qsmthal.core.files import UTF16_MARKS, check_file

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

Entities = tuple[tuple[str, str], ...]
"""Entities of a file name in their order, such as ``(("sub", "01"), ("run", "1"))``."""

MAX_JSON_BYTES = 2**26
"""A longer sidecar is none; dictionaries of large studies have some megabytes."""


def entities_of(path: Path) -> tuple[Entities, str]:
    """Split ``sub-01_run-1_T1w.nii.gz`` into its entities and its suffix."""
    # At the first point: .nii.gz has two, and labels of BIDS hold none.
    stem = path.name.split(".", 1)[0]
    *pairs, suffix = stem.split("_")
    return tuple((key, value) for key, _, value in (pair.partition("-") for pair in pairs)), suffix


def without_zeros(name: str) -> str:
    """Return a label without the zeros that begin its numbers: ``sub-1`` for ``sub-0001``.

    Spreadsheets make 1 of 0001, and 1.0 where the column has an empty cell.
    """
    plain = name.removesuffix(".0")
    return re.sub(r"\d+", lambda digits: digits.group().lstrip("0") or "0", plain)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    DataError
        The file is not JSON, or not an object.
    """
    try:
        check_file(path, MAX_JSON_BYTES)
        content = json.loads(_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise_if_disk_fails(error, path)
        words = " ".join(str(error).split())
        raise DataError(f"{path}: not readable as JSON ({words}); correct the file.") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, expected a JSON object; correct the file."
        )
    return content


def _text(path: Path) -> str:
    """Return the text of a file; JSON is UTF-8, but names of people and places come in Latin-1."""
    stored = path.read_bytes()
    if stored.startswith(UTF16_MARKS):
        log.warning("%s: the file is UTF-16 and is read as such; save it as UTF-8.", path)
        # ValueError where it ends within a letter, as for text that is no JSON.
        return stored.decode("utf-16")
    try:
        return stored.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        log.warning(
            "%s: byte %d is not UTF-8, the file is read as Latin-1; save it as UTF-8.",
            *(path, error.start),
        )
        # Every byte is a letter in Latin-1, so this cannot fail; keys and numbers are ASCII in
        # both.
        return stored.decode("latin-1")


def metadata(path: Path, root: Path) -> dict[str, Any]:
    """Return the metadata of an image; of its sidecars the last wins."""
    merged: dict[str, Any] = {}
    for sidecar in inherited(path, root, "json"):
        state = sidecar.stat()
        # A copy is filled: what the cache holds is never changed.
        merged |= _content(sidecar, state.st_mtime_ns, state.st_size)
    return merged


def inherited(path: Path, root: Path, extension: str) -> list[Path]:
    """Return the files that apply to an image by the inheritance principle of BIDS.

    A file applies when it lies in the folder of the image or above it, has the same suffix, and no
    entity that the image does not share. Nearer and more specific files come last.
    """
    entities, suffix = entities_of(path)
    folders = [path.parent, *path.parent.parents]
    inside = [folder for folder in folders if folder == root or root in folder.parents]
    found: list[Path] = []
    # From the root inwards, so that nearer files overwrite farther ones.
    for folder in reversed(inside):
        applicable = [
            (len(own), file)
            for file, own, own_suffix in _listed(folder, extension, folder.stat().st_mtime_ns)
            # Pairs of key and value: run-2 in the name of a sidecar rules out images of run-1.
            if own_suffix == suffix and set(own) <= set(entities)
        ]
        found += [file for _, file in sorted(applicable)]
    return found


@lru_cache(maxsize=64)
def _listed(folder: Path, extension: str, _changed_ns: int) -> list[tuple[Path, Entities, str]]:
    """Return some files of a folder; the root of a study has thousands of other entries."""
    found = (path for path in folder.glob(f"*.{extension}") if not path.name.startswith("."))
    return [(path, *entities_of(path)) for path in found]


@lru_cache(maxsize=256)
def _content(sidecar: Path, _changed_ns: int, _size: int) -> dict[str, Any]:
    """Return what a sidecar holds; those near the root apply to every participant."""
    return read_json(sidecar)
