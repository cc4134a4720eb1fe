"""Checksums of what was written, so that an output tree can be verified later or elsewhere.

A manifest lists the files of one participant and session, or of the group level, with two
checksums: of the bytes, and of the content, which leaves out what differs between equal runs: how
an image was compressed, and the words of the command line in a page. It says of each file which
scans made it in a run that finished: a manifest is written last, and what no finished run made is
vouched for by nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import logging
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import (
    DataError,
    MissingInputError,
    ReadWriteError,
    of_system,
    raise_if_disk_fails,
)
from bids_qsmthal.core.files import check_file, write_text
from bids_qsmthal.core.lock import only_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

ENDING = "_manifest.tsv"

COLUMNS = ("path", "bytes", "sha256", "content_sha256", "scans", "outdated")

UNCOMPARED = frozenset({"logs", "edits"})
"""Folders of the output tree that hold times, or what the user put there."""


COMMANDS = (
    re.compile(rb'<pre[^>]*aria-label="(?:Run again|Command)"[^>]*>.*?</pre>', re.DOTALL),
    re.compile(rb'"CommandLine": "(?:[^"\\]|\\.)*"'),
)
"""Where pages and dataset_description.json name the command."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file: its place below the output folder, its size and its checksums.

    Attributes
    ----------
    scans
        Whose last run finished and made it.
    outdated
        Whose earlier run made it, while the last one has not finished.
    """

    path: str
    size: int
    sha256: str
    content_sha256: str
    scans: tuple[str, ...]
    outdated: tuple[str, ...] = ()


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
    # Sorted: the same files must give the same manifest whatever the file system lists first.
    listed = sorted({*below(folder), *pages})
    return _write(output_dir, name, [_entry(path, output_dir, name) for path in listed])


def begin(output_dir: Path, name: str, scan: str) -> list[ManifestEntry]:
    """Say that a scan is processed again: what it made is vouched for no more until it finishes.

    Parameters
    ----------
    output_dir, name
        The output tree, and the participant and session.
    scan
        The name of the scan.

    Returns
    -------
    list of ManifestEntry
        What its last run made, if that finished.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    with _alone(output_dir, name):
        entries = entries_of(output_dir, name)
        if entries:
            _write(output_dir, name, [_outdated(entry, scan) for entry in entries])
    return [entry for entry in entries if scan in entry.scans]


def finish(
    output_dir: Path,
    name: str,
    scan: str,
    made: Iterable[Path],
    unchanged: Iterable[ManifestEntry] = (),
) -> None:
    """Write the manifest of a participant and session, in which one scan has finished.

    Parameters
    ----------
    output_dir, name
        The output tree, and the participant and session.
    scan
        The name of the scan.
    made
        The files that it has now.
    unchanged
        Entries of an earlier run of it that still hold.

    Raises
    ------
    OutputError
        The folder cannot be written.
    ReadWriteError
        A file cannot be read back.
    """
    # What was made now wins over what was taken from an earlier run.
    new = {entry.path: entry for entry in unchanged}
    new |= {entry.path: entry for entry in (_entry(path, output_dir, scan) for path in made)}
    with _alone(output_dir, name):
        old = {entry.path: entry for entry in entries_of(output_dir, name)}
        joined = [_joined(entry, old.get(path), scan) for path, entry in new.items()]
        rest = [_without(entry, scan) for path, entry in old.items() if path not in new]
        # Files of an earlier run that were removed since are forgotten, so that a manifest never
        # lists what is not there.
        there = [entry for entry in rest if (output_dir / entry.path).is_file()]
        held = [entry for entry in there if entry.scans or entry.outdated]
        _write(output_dir, name, [*joined, *held])


def _outdated(entry: ManifestEntry, scan: str) -> ManifestEntry:
    if scan not in entry.scans:
        return entry
    return replace(_without(entry, scan), outdated=(*entry.outdated, scan))


def _without(entry: ManifestEntry, scan: str) -> ManifestEntry:
    return replace(
        entry,
        scans=tuple(one for one in entry.scans if one != scan),
        outdated=tuple(one for one in entry.outdated if one != scan),
    )


def _joined(new: ManifestEntry, old: ManifestEntry | None, scan: str) -> ManifestEntry:
    """Return an entry that other scans share where they made the same."""
    # By content: the same image compressed by another version of zlib is still the same.
    if old is None or old.content_sha256 != new.content_sha256:
        return replace(new, scans=(scan,), outdated=())
    others = _without(old, scan)
    return replace(new, scans=tuple(sorted({*others.scans, scan})), outdated=others.outdated)


@contextmanager
def _alone(output_dir: Path, name: str) -> Iterator[None]:
    """Hold a manifest while it is read and written."""
    lock = output_dir / "logs" / f".{name}_manifest.lock"
    with only_writer(lock, output_dir / "logs" / f"{name}{ENDING}"):
        yield


def _write(output_dir: Path, name: str, entries: Iterable[ManifestEntry]) -> Path:
    rows: list[tuple[str, ...]] = [COLUMNS]
    for entry in sorted(entries, key=lambda entry: entry.path):
        owners = (",".join(entry.scans), ",".join(entry.outdated))
        sums = (str(entry.size), entry.sha256, entry.content_sha256)
        rows.append((entry.path, *sums, *(names or "n/a" for names in owners)))
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


def read_all(output_dir: Path) -> list[ManifestEntry]:
    """Return what finished runs made, of every manifest of an output tree.

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
    return [entry for place in places for entry in _read(place) if entry.scans]


def read_of(output_dir: Path, name: str) -> list[ManifestEntry]:
    """Return what finished runs made, of one manifest; nothing where it has not been written.

    Raises
    ------
    DataError
        It is malformed.
    """
    place = output_dir / "logs" / f"{name}{ENDING}"
    return [entry for entry in _read(place) if entry.scans] if place.exists() else []


def entries_of(output_dir: Path, name: str) -> list[ManifestEntry]:
    """Return every entry of one manifest; none where it has not been written, or is malformed."""
    place = output_dir / "logs" / f"{name}{ENDING}"
    try:
        return _read(place) if place.exists() else []
    except DataError as error:
        log.warning("%s A new one is started.", error)
        return []


def own_places(output_dir: Path, name: str, entries: Iterable[ManifestEntry]) -> set[Path]:
    """Return the files of a participant and session that its manifest lists, as it lists them.

    What a manifest lists is removed once nobody makes it any more, and an output folder may come
    from a stranger: only images and figures of this very session and its pages count, by place and
    name, and only with the content that is listed; nothing to which a link leads.

    Raises
    ------
    ReadWriteError
        A file cannot be read.
    """
    root = output_dir.resolve()
    folder = root.joinpath(*name.split("_"))
    # A sub-01 without sessions has no say in those of a sub-01 with sessions.
    own = re.compile(rf"{re.escape(name)}(?:_(?!ses-).*|\.html)")
    images = {folder / "anat", folder / "figures"}
    found = set()
    for entry in entries:
        path = output_dir / entry.path
        place = path.parent.resolve()
        here = place in images or (place == root and path.suffix == ".html")
        if here and own.fullmatch(path.name) and _as_listed(path, entry):
            found.add(path)
    return found


def _as_listed(path: Path, entry: ManifestEntry) -> bool:
    # A link is what it is, wherever it leads.
    if path.is_symlink() or not path.is_file():
        return path.is_symlink()
    return path.stat().st_size == entry.size and digest(path) == entry.sha256


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
        raise_if_disk_fails(error, path)
        raise ReadWriteError(f"{path}: cannot be read ({error}); make the output again.") from error
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
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise of_system(OSError(error.errno, error.strerror, str(path))) from error


def _entry(path: Path, root: Path, scan: str) -> ManifestEntry:
    return ManifestEntry(
        path=path.relative_to(root).as_posix(),
        size=path.stat().st_size,
        sha256=digest(path),
        content_sha256=hashlib.sha256(content(path)).hexdigest(),
        scans=(scan,),
    )


def _read(place: Path) -> list[ManifestEntry]:
    try:
        check_file(place)
        with place.open(encoding="utf-8", newline="") as stream:
            # No quoting: paths are written as they are, and BIDS names hold neither tabs nor
            # quotes.
            header, *rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(header) != COLUMNS:
            raise DataError(f"{place}: columns {header}, expected {', '.join(COLUMNS)}.")
        if outside := [row[0] for row in rows if _leads_out(row[0])]:
            raise DataError(f"{place}: {outside[0]} is not in the output folder.")
        return [
            ManifestEntry(path, int(size), raw, inner, _names(scans), _names(outdated))
            for path, size, raw, inner, scans, outdated in rows
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise_if_disk_fails(error, place)
        raise DataError(
            f"{place}: not a manifest ({error}); run the same command again to make a new one."
        ) from error


def _leads_out(path: str) -> bool:
    place = PurePosixPath(path)
    return place.is_absolute() or ".." in place.parts


def _names(cell: str) -> tuple[str, ...]:
    return () if cell == "n/a" else tuple(cell.split(","))
