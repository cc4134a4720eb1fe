"""Files that appear whole under their names, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd


STALE_S = 3600.0
"""No file takes this long to write."""


def check_inside(root: Path, *places: Path) -> None:
    """Raise where a link on the way leads a place out of its root.

    Raises
    ------
    OutputError
        Something would be written outside.
    """
    for place in places:
        real = place.resolve()
        if not real.is_relative_to(root.resolve()):
            raise OutputError(
                f"{place}: is a link that leads out of {root}, to {real}; expected a folder in it; "
                "remove the link, then run the same command again."
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it to disk, and rename it.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    """
    # A process number would not do: containers on several nodes share small ones.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        _forget(beside)
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "free space or choose another output folder, then run the same command again."
        ) from error


def sweep(begin: str, *folders: Path) -> None:
    """Remove what a killed run left of files it was writing.

    Parameters
    ----------
    begin
        How the names of the files begin that nobody else writes now; others are only removed when
        they are older than any writing takes.
    folders
        Where to look; folders below are not searched, and one that is not there is empty.
    """
    for path in (path for folder in folders for path in folder.glob(".*.part")):
        ours = path.name.startswith((f".{begin}_", f".{begin}."))
        with contextlib.suppress(FileNotFoundError):  # whose it was has just renamed it
            if ours or time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write_whole(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as BIDS wants it: tabs, ``n/a`` for what is missing."""
    write_text(path, table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n"))


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The folder itself is gone or read-only: the caller reports the first failure.
        return
