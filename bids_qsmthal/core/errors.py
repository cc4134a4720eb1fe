"""Errors a user can act on, and the exit codes of the command. Anything else raised is a bug.

A message says where, what was found, what is expected and what to do, in one line.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class ExitCode(IntEnum):
    """How the command ends: the one table that help, descriptor and README are made from.

    16 to 18 are those of the BIDS App execution specification, 64 to 75 those of ``sysexits.h``,
    and 128 + n stands for a signal n, as shells have it.

    Attributes
    ----------
    meaning
        What happened, in words that follow the code.
    advice
        What a reader can do.
    """

    meaning: str
    advice: str

    def __new__(cls, code: int, meaning: str, advice: str) -> Self:
        """Make a member that is its code."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning, member.advice = meaning, advice
        return member

    DONE = 0, "all done", "look at the reports"
    FAILED = (
        *(1, "at least one participant failed, the others are finished"),
        "read the last lines or logs/failures.json, then run the same command again",
    )
    INVALID_BIDS = 16, "not valid BIDS", "rename the files that the message names"
    LEVEL_UNAVAILABLE = 17, "level not available", "run the participant level first"
    NOTHING_FOUND = 18, "filters match nothing", "compare them with bids_qsmthal check BIDS_DIR"
    USAGE = 64, "usage", "correct the command line or the configuration file"
    DATA = 65, "bad data", "correct or replace the file that the message names"
    MISSING_INPUT = 66, "input missing", "add what the message names"
    UNAVAILABLE = 69, "program or device missing", "install it, or choose another way"
    OUTPUT = 73, "cannot write", "free space, or choose another output folder"
    READ_WRITE = 74, "input or output error", "check disk, network and permissions"
    TEMPORARY = (
        *(75, "temporary failure (in use, killed, or out of memory)"),
        "run the same command again, with more --mem or fewer --nprocs where memory is short",
    )
    INTERRUPTED = 130, "stopped by Ctrl-C", "run the same command again to continue"
    TERMINATED = 143, "stopped by SIGTERM", "run the same command again to continue"


LONGEST = 2000
"""Characters of a message: what is quoted from a file may be of any length."""


class QsmthalError(Exception):
    """Base of every error with a message written for the user.

    What it quotes from files cannot break its line, nor reach the terminal as a control sequence.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str = "") -> None:
        # Escape sequences from a file name or a sidecar could rewrite the terminal, and a line
        # break could forge a line of the log.
        plain = "".join(letter if letter.isprintable() else " " for letter in message)
        line = " ".join(plain.split())
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...")


class UnusableScanError(QsmthalError):
    """Raised at the very end: scans could not be used, and all that the others give is made.

    Parameters
    ----------
    message
        Which scans, and why.
    exit_code
        That of the first scan that could not be used, as if the run had stopped there.
    """

    exit_code = ExitCode.DATA

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InvalidBidsError(QsmthalError):
    """The dataset is not valid BIDS."""

    exit_code = ExitCode.INVALID_BIDS


class LevelUnavailableError(QsmthalError):
    """The analysis level cannot run yet: group before participant, say."""

    exit_code = ExitCode.LEVEL_UNAVAILABLE


class NothingFoundError(QsmthalError):
    """The filters match nothing."""

    exit_code = ExitCode.NOTHING_FOUND


class UsageError(QsmthalError):
    """The command line or the configuration asks for something impossible."""

    exit_code = ExitCode.USAGE


class DataError(QsmthalError):
    """A file can be read, but what it holds is wrong."""

    exit_code = ExitCode.DATA


class MissingInputError(QsmthalError):
    """A file, a participant or a piece of metadata is not there."""

    exit_code = ExitCode.MISSING_INPUT


class UnavailableError(QsmthalError):
    """A device or a program that was asked for is not there."""

    exit_code = ExitCode.UNAVAILABLE


class OutputError(QsmthalError):
    """The output cannot be written."""

    exit_code = ExitCode.OUTPUT


class ReadWriteError(QsmthalError):
    """The operating system failed to read or write."""

    exit_code = ExitCode.READ_WRITE


class BusyError(QsmthalError):
    """Temporary: another run works on the same output. Try again."""

    exit_code = ExitCode.TEMPORARY


class OutOfMemoryError(QsmthalError):
    """The memory that this process may use did not suffice. Try again with more."""

    exit_code = ExitCode.TEMPORARY


# Not an Exception, like KeyboardInterrupt: code that catches errors of one participant must not
# catch it.
class Terminated(BaseException):
    """The process was asked to end, by SIGTERM."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the operating system says where nothing more can be written."""


# Places below are of any type that prints as one: rooms that know no files import this module.

DISK_FAILS = frozenset(
    {
        *(errno.EIO, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG),
        *(errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT),
    }
)
"""What it says where a device, a file system or a server that holds files fails (errno(3)); EUCLEAN
and EBADMSG are damage that ext4, XFS and Btrfs find by their own checksums."""


def of_system(error: OSError | MemoryError) -> QsmthalError:
    """Return what the operating system could not do, in words for the user."""
    # The kernel says ENOMEM where a mapping fails, NumPy raises MemoryError: one cause, one advice.
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return OutOfMemoryError(
            f"not enough memory ({' '.join(str(error).split()) or 'none is left'}); give the run "
            "or its container more, run fewer participants side by side with --nprocs or --mem, "
            "then run the same command again."
        )
    where, what = error.filename or "A file", error.strerror or str(error)
    if error.errno in NO_ROOM:
        return OutputError(
            f"{where}: {what}; free space or choose another folder, then run the same command "
            "again."
        )
    return ReadWriteError(
        f"{where}: {what}; check disk, network and permissions, then run the same command again."
    )


def not_written(place: object, error: OSError) -> QsmthalError:
    """Return why a file or folder could not be written: want of room or rights, or a failing disk.

    Parameters
    ----------
    place
        What the user knows it by; the error may name a file beside it.
    error
        What the operating system raised.
    """
    if error.errno in DISK_FAILS:
        return of_system(OSError(error.errno, error.strerror, str(place)))
    return OutputError(
        f"{place}: cannot be written ({error.strerror or error}); "
        "free space or choose another output folder, then run the same command again."
    )


@contextmanager
def at(place: object) -> Iterator[None]:
    """Say where it happened of what the system raises meanwhile: an open file has no name.

    Raises
    ------
    OSError
        As it was, with the place as its file name where it had none.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(place)
        raise


def raise_if_disk_fails(error: BaseException, place: object) -> None:
    """Raise where the cause is the disk and not what the file holds.

    Whoever reads a file asks this first: a user who is told that the file is damaged would
    replace one that is whole.

    Raises
    ------
    ReadWriteError
        The operating system cannot read the file.
    """
    if isinstance(error, OSError) and error.errno in DISK_FAILS:
        raise of_system(OSError(error.errno, error.strerror, str(place))) from error
