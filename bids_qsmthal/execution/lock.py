"""Files that one process holds at a time, also on a file system that several machines share."""

from __future__ import annotations

import errno
import fcntl
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bids_qsmthal.core.errors import BusyError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose an output folder you own."
        ) from error
    with lock:
        until = time.monotonic() + patience_s
        while not _locked(lock):
            if time.monotonic() >= until:
                raise BusyError(busy)
            time.sleep(0.1)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise OutputError(f"{lock.name}: cannot be locked ({error.strerror}).") from error
        log.warning("%s: this file system has no locks; start no second run on it", lock.name)
    return True
