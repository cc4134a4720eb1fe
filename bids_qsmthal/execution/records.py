"""The log records of the workers, on their way to the run."""

from __future__ import annotations

import pickle
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

LONGEST = 200_000
"""Bytes of a record; Linux sends datagrams of 212 kB at most where nobody set more."""

MOST_CHARACTERS = LONGEST // 5
"""Of a message, each up to 4 bytes; the rest of a record takes below 1 kB. Logs keep all of it."""


class Records:
    """A queue of log records that outlives any process that writes to it.

    The queues of `multiprocessing` take a lock to write. A process that is killed with it, as
    those that run out of memory are, leaves everyone else waiting for ever. A datagram needs no
    lock: it is sent whole, at once, or not at all.

    It has what `logging.handlers.QueueHandler` and `QueueListener` ask of a queue, and can be
    given to a process that is being started.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Without these the kernel's default decides how long a record may be.
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        self._reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LONGEST)

    def put_nowait(self, record: logging.LogRecord | None) -> None:
        """Send one record, a very long message cut; waits for the reader to take those before."""
        if record is not None:
            # As `QueueHandler.prepare` leaves it: both are the text, the arguments are in it.
            record.msg = record.message = record.getMessage()[:MOST_CHARACTERS]
        self._writer.send(pickle.dumps(record))

    def get(self, block: bool = True) -> logging.LogRecord | None:  # noqa: FBT001, FBT002 - as called
        """Wait for the next record, and return it; None ends a `QueueListener`."""
        self._reader.setblocking(block)
        # Nobody but this run and its workers holds the other end.
        record: logging.LogRecord | None = pickle.loads(self._reader.recv(LONGEST))  # noqa: S301
        return record

    def close(self) -> None:
        """Give both ends back."""
        self._reader.close()
        self._writer.close()
