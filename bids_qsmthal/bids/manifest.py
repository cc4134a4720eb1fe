"""Checksums of what was written, so that an output tree can be verified later or elsewhere.

A manifest lists the files of one participant and session, or of the group level, with two
checksums: of the bytes, and of the content, which leaves out what differs between equal runs: how
an image was compressed, and the words of the command line in a page.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import DataError, MissingInputError, ReadWriteError
from bids_qsmthal.core.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ENDING = "_manifest.tsv"

COLUMNS = ("path", "bytes", "sha256", "content_sha256")

UNCOMPARED = frozenset({"logs", "edits"})
"""Folders of the output tree that hold times, or what the user put there."""

CHUNK_BYTES = 2**20

COMMANDS = (
    re.compile(rb'<pre[^>]*aria-label="Run again"[^>]*>.*?</pre>', re.DOTALL),
    re.compile(rb'"CommandLine": "(?:[^"\\]|\\.)*"'),
)
"""Where pages and dataset_description.json name the command."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its place below the output folder, its size and its checksums."""

    path: str
    size: int
    sha256: str
    content_sha256: str


def write_of(output_dir: Path, name: str, folder: Path, pages: Iterable[Path] = ()) -> Path:
    """Write the manifest of a folder and pages to ``logs`` and return its place.

    Parameters
    ----------
    output_dir
        The output tree; paths are relative to it.
    name
        Of the manifest: ``sub-01_ses-a`` or ``group``.
    folder, pages
        What is listed: every file below the folder, and the pages.

    Raises
    ------
    OutputError
        The folder cannot be written.
    ReadWriteError
        A file cannot be read back.
    """
    listed = sorted({*below(folder), *pages})
    entries = [_entry(path, output_dir) for path in listed]
    rows = [COLUMNS, *((e.path, str(e.size), e.sha256, e.content_sha256) for e in entries)]
    place = output_dir / "logs" / f"{name}{ENDING}"
    write_text(place, "".join("\t".join(row) + "\n" for row in rows))
    return place


def below(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted, but those that are still being written."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not (path.name.startswith(".") and path.suffix == ".part")
    )


def read_all(output_dir: Path) -> list[Entry]:
    """Return the entries of every manifest of an output tree.

    Raises
    ------
    MissingInputError
        There is none.
    DataError
        One is malformed.
    """
    places = sorted((output_dir / "logs").glob(f"*{ENDING}"))
    if not places:
        raise MissingInputError(
            f"{output_dir}: no manifest in logs, expected sub-*{ENDING}; give the output folder of "
            "a finished run."
        )
    return [entry for place in places for entry in _read(place)]


def read_of(output_dir: Path, name: str) -> list[Entry]:
    """Return the entries of one manifest; none where it has not been written.

    Raises
    ------
    DataError
        It is malformed.
    """
    place = output_dir / "logs" / f"{name}{ENDING}"
    return _read(place) if place.exists() else []


def remove_of(output_dir: Path, name: str) -> None:
    """Remove a manifest, before the files that it lists are replaced."""
    (output_dir / "logs" / f"{name}{ENDING}").unlink(missing_ok=True)


def content(path: Path) -> bytes:
    """Return what a file says: decompressed, and without the command that made it.

    Raises
    ------
    ReadWriteError
        It cannot be read.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ReadWriteError(f"{path}: cannot be read ({error}); make the output anew.") from error
    if path.suffix == ".html" or path.name == "dataset_description.json":
        for pattern in COMMANDS:
            raw = pattern.sub(b"", raw)
    return raw


def digest(path: Path) -> str:
    """Return the SHA-256 of the bytes of a file.

    Raises
    ------
    ReadWriteError
        It cannot be read.
    """
    made = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                made.update(chunk)
    except OSError as error:
        raise ReadWriteError(f"{path}: cannot be read ({error.strerror}).") from error
    return made.hexdigest()


def _entry(path: Path, root: Path) -> Entry:
    return Entry(
        path=path.relative_to(root).as_posix(),
        size=path.stat().st_size,
        sha256=digest(path),
        content_sha256=hashlib.sha256(content(path)).hexdigest(),
    )


def _read(place: Path) -> list[Entry]:
    try:
        with place.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(header) != COLUMNS:
            raise DataError(f"{place}: columns {header}, expected {', '.join(COLUMNS)}.")
        return [Entry(path, int(size), raw, inner) for path, size, raw, inner in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{place}: not a manifest ({error}); run the same command again to make it anew."
        ) from error
