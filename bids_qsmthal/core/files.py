"""Files that appear whole under their names, or not at all."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import errno
import json
import os
import secrets
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import DataError, OutputError, not_written
from bids_qsmthal.core.lock import only_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd


STALE_S = 3600.0
"""No file takes this long to write."""

MOST_TABLE_BYTES = 2**29
"""The phenotype tables of the largest cohorts (50,000 participants, a thousand columns)."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, the wide forms included (OWASP,
https://owasp.org/www-community/attacks/CSV_Injection)."""

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Of ``renameat2`` (linux/fcntl.h, linux/fs.h): two names change places in one step."""

CANNOT_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
"""What a kernel or a file system answers that knows no exchange: NFS and some FUSE systems."""


def check_inside(root: Path, *places: Path) -> None:
    """Raise where a link on the way leads a place out of its root.

    Raises
    ------
    OutputError
        Something would be written outside.
    """
    for place in places:
        real = place.resolve()
        # Both sides resolved: the root itself may be a link.
        if not real.is_relative_to(root.resolve()):
            raise OutputError(
                f"{place}: is a link that leads out of {root}, to {real}; expected a folder in it; "
                "remove the link, then run the same command again."
            )


UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""First bytes of what Windows and spreadsheets save as "Unicode" text."""


def check_file(path: Path, most_bytes: int = MOST_TABLE_BYTES) -> None:
    """Raise where reading a file to its end would hang, or fill the memory.

    A pipe waits for a writer; a link to ``/dev/zero`` has no end.

    Raises
    ------
    DataError
        It is not a regular file, or larger than that.
    OSError
        It is not there.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise DataError(
            f"{path}: a folder, a pipe or a device, expected a file; put the right one there."
        )
    if state.st_size > most_bytes:
        raise DataError(
            f"{path}: {state.st_size} bytes, expected at most {most_bytes}; is it the right file?"
        )


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file, its parts one after the other, beside its place; flush it; rename it.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    ReadWriteError
        The disk fails.
    """
    # A process number would not do: containers on several nodes share small ones.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as stream:
            stream.writelines(content)
            stream.flush()
            # Before the rename: after a power cut the name could else stand for a file without
            # content.
            os.fsync(stream.fileno())
        # In the same folder, hence on the same file system, where a rename is one step.
        beside.replace(path)
    except OSError as error:
        _forget(beside)
        raise not_written(path, error) from error


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
        # The separator belongs to the name: sub-1 must not remove the files of sub-10.
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


def write_tsv(path: Path, table: pd.DataFrame, *, digits: int | None = None) -> None:
    """Write a table as ``tsv_text`` gives it."""
    write_text(path, tsv_text(table, digits=digits))


def tsv_text(table: pd.DataFrame, *, digits: int | None = None) -> str:
    """Return a table as BIDS wants it: tabs, ``n/a`` for what is missing.

    Text that a spreadsheet would run as a formula gets an apostrophe before it (``defused``).

    Parameters
    ----------
    digits
        Significant digits of numbers; as many as they have where it is not given.
    """
    safe = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        # Booleans, numbers and times cannot begin a formula.
        if kind.kind not in "biufcM":
            safe.isetitem(place, table.iloc[:, place].map(defused).array)
    safe.columns = [defused(str(name)) for name in safe.columns]
    written: str = safe.to_csv(
        sep="\t",
        index=False,
        na_rep="n/a",
        lineterminator="\n",
        float_format=None if digits is None else f"%.{digits}g",
    )
    return written


def defused(cell: Any) -> Any:  # noqa: ANN401 - a cell holds anything
    """Return a cell that no spreadsheet evaluates; ``plain_cell`` takes it back.

    Text that begins like a formula and is no number gets an apostrophe before it, and so does
    text that could be mistaken for such a cell. Numbers, also as text, stay.

    >>> defused("=1+1"), defused("-3"), defused("'=1+1")
    ("'=1+1", '-3', "''=1+1")
    """
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(FORMULA_STARTS):
        return cell
    # A negative number begins like a formula, but must stay a number for readers of the table.
    return cell if _is_number(cell) else f"'{cell}"


def plain_cell(cell: str) -> str:
    """Return what ``defused`` was given.

    >>> plain_cell("'=1+1"), plain_cell("-3"), plain_cell("'s")
    ('=1+1', '-3', "'s")
    """
    guarded = cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS)
    return cell[1:] if guarded else cell


@contextlib.contextmanager
def whole_folder(
    place: Path, lock: Path, before_swap: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """Give a new folder beside a place, and put it there when all in it has been written.

    A reader sees the old folder or the new one. Where the file system cannot exchange two names
    in one step, there is none for an instant; a run that is killed then leaves the old one for
    the next one to put back. What killed runs left beside the place is removed first.

    Parameters
    ----------
    place
        Where the folder belongs; what is there is replaced, and nothing of it is kept.
    lock
        A file that one run holds at a time.
    before_swap
        Called when everything is on the disk, before the names change.

    Raises
    ------
    OutputError
        The folder cannot be written.
    ReadWriteError
        The disk fails.
    BusyError
        Another run has been writing it for a minute.
    """
    with only_writer(lock, place):
        sweep_folders(place)
        yield from _made_and_swapped(place, before_swap)


def _made_and_swapped(place: Path, before_swap: Callable[[], None]) -> Iterator[Path]:
    made = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        made.mkdir(parents=True)
        yield made
        # Names are content of folders: fsync of the files alone does not keep them.
        for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
            _flush_folder(folder)
        before_swap()
        _swap(made, place)
        _flush_folder(place.parent)
    except OSError as error:
        raise not_written(place, error) from error
    finally:
        _remove_folder(made)


def _remove_folder(path: Path) -> None:
    """Remove a folder, or the link that stood for one."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def sweep_folders(place: Path) -> None:
    """Remove what killed runs left beside a folder, and put back the one they moved away.

    Only one run at a time may write the folder.
    """
    kept = sorted(place.parent.glob(f".{place.name}.*.old"))
    if kept and not place.exists():
        kept.pop().replace(place)
    for path in (*kept, *place.parent.glob(f".{place.name}.*.part")):
        _remove_folder(path)


def _swap(made: Path, place: Path) -> None:
    """Put a folder into its place; what was there is removed or, after an exchange, in ``made``."""
    if not place.exists():
        made.replace(place)
    elif not _exchanged(made, place):
        old = made.with_suffix(".old")
        place.replace(old)
        made.replace(place)
        _remove_folder(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two names change places in one step; return whether the system can do that."""
    # Python has no call for it; where the C library has none either (macOS), the two renames of
    # _swap do.
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, as ``fsync`` of a file brings its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The folder itself is gone or read-only: the caller reports the first failure.
        return
