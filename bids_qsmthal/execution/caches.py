"""Where numba keeps compiled code, and matplotlib its list of fonts.

By themselves they keep them beside the package and in the home of the user. Compiled code beside
an installed package would outlive it: pip removes only what it wrote, and the folder that is left
hides a later installation from a checkout. So it goes to the cache folder of the user. In a
container, and where the home cannot be written, the work folder has both; a container has them
ready, made when it was built, and the work folder starts with a copy.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bids_qsmthal.core.errors import OutputError, raise_if_disk_fails

READY = Path(sys.prefix) / "share" / "bids_qsmthal" / "caches"
PACKAGE = Path(__file__).parents[1]
IN_CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()
"""Whether the package runs from its sources, where compiled code beside it does no harm."""


def use(work_dir: Path) -> None:
    """Point the libraries to the work folder, unless they know a place; before their import.

    Raises
    ------
    OutputError
        The work folder cannot be written.
    """
    for name, folder in environment(work_dir).items():
        # A place that the user chose stays.
        os.environ.setdefault(name, folder)


def environment(work_dir: Path) -> dict[str, str]:
    """Return what tells the libraries where to keep things; nothing where a checkout can."""
    if not READY.is_dir():
        if IN_CHECKOUT and os.access(PACKAGE, os.W_OK):
            return {}
        if (compiled := _of_user()) is not None:
            return {"NUMBA_CACHE_DIR": str(compiled)}
    folder = work_dir / "caches"
    try:
        _start(folder)
    except OSError as error:
        raise_if_disk_fails(error, folder)
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}); choose a work folder with -w."
        ) from error
    return {
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }


def _of_user() -> Path | None:
    """Return the user's folder for compiled code; ``None`` where it cannot be written."""
    # https://specifications.freedesktop.org/basedir-spec/latest/
    try:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = place / "bids_qsmthal" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # cannot be written, or a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _check_writable(folder: Path) -> None:
    """Raise where the folder is another user's: numba would end with an error of its own."""
    numba = folder / "numba"
    if not os.access(numba if numba.is_dir() else folder, os.W_OK):
        raise PermissionError(errno.EACCES, "it belongs to another user", str(folder))


def _start(folder: Path) -> None:
    """Make the folder, whole or not at all: several processes may start at once."""
    if folder.is_dir():
        _check_writable(folder)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".caches-", dir=folder.parent))
    if READY.is_dir():
        # copyfile, without the modes: in a container the files may be read-only, and numba writes
        # them.
        shutil.copytree(READY, beside, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        # Renaming is one step: whoever looks sees the whole folder or none.
        beside.rename(folder)
    except OSError:  # another process was first, or the disk is at fault
        shutil.rmtree(beside)
        if not folder.is_dir():
            raise
