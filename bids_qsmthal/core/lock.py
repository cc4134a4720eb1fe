"""Files that one process holds at a time, also on a file system that several machines share.

The lock is the kernel's (``flock``), never the mere existence of a file: it goes with the process
that holds it, so that a run which was killed, here or on another machine, leaves nothing to clean
up. On NFS Linux turns it into a lock of the server, which all machines see; a server gives back
the locks of a machine that went down when their lease ends (90 s where nobody set another time).
"""

from __future__ import annotations

import errno
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import DISK_FAILS, NO_ROOM, BusyError, OutputError, of_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""What one run writes while it holds a lock takes seconds, on a slow network drive a minute."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks, such as NFS without its lock service."""


def only_writer(lock: Path, place: Path) -> AbstractContextManager[None]:
    """Hold a lock while something is written.

    Raises
    ------
    BusyError
        Another process holds it for longer than a minute.
    OutputError
        The lock cannot be written.
    """
    busy = f"{place}: another run is writing it; run the same command again."
    return alone(lock, busy, PATIENCE_S)


@contextmanager
def alone(path: Path, busy: str, patience_s: float) -> Iterator[None]:
    """Hold a lock; the system gives it back when the process ends, however it ends.

    Parameters
    ----------
    path
        The file that stands for it; stays behind, empty.
    busy
        What to say where another process holds it.
    patience_s
        How long to wait for that one.

    Raises
    ------
    BusyError
        It is held for longer.
    OutputError
        The file cannot be written or locked.
    """
    # filelock brings asyncio along, which would be felt in --help.
    from filelock import FileLock, Timeout  # noqa: PLC0415

    # No soft lock: a mere file would stay behind after a kill and hold up every later run.
    lock = FileLock(path, timeout=patience_s, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise BusyError(busy) from error
    except OSError as error:
        # A file system without locks is no reason to refuse the work; the warning below says the
        # risk.
        if error.errno in NO_ROOM | DISK_FAILS:
            raise of_system(error) from error
        if error.errno not in NO_LOCKS:
            raise OutputError(
                f"{path}: cannot be written or locked ({error.strerror}); "
                "choose an output folder you own."
            ) from error
        log.warning(
            "%s: this file system does not support locks; do not start a second run on it", path
        )
    try:
        yield
    finally:
        lock.release()
