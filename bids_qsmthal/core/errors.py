"""Errors a user can act on. Anything else that is raised is a bug.

A message says where, what was found, what is expected and what to do, in one line.
The exit codes are those of ``sysexits.h`` and of the BIDS App execution specification.
"""

import errno
from typing import ClassVar

LONGEST = 2000
"""Characters of a message: what is quoted from a file may be of any length."""


class QsmthalError(Exception):
    """Base of every error with a message written for the user.

    What it quotes from files cannot break its line, nor reach the terminal as a control sequence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        plain = "".join(letter if letter.isprintable() else " " for letter in message)
        line = " ".join(plain.split())
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...")


class InvalidBidsError(QsmthalError):
    """The dataset is not valid BIDS."""

    exit_code = 16


class LevelUnavailableError(QsmthalError):
    """The analysis level cannot run yet: group before participant, say."""

    exit_code = 17


class NothingFoundError(QsmthalError):
    """The filters match nothing."""

    exit_code = 18


class UsageError(QsmthalError):
    """The command line or the configuration asks for something impossible."""

    exit_code = 64


class DataError(QsmthalError):
    """A file can be read, but what it holds is wrong."""

    exit_code = 65


class MissingInputError(QsmthalError):
    """A file, a participant or a piece of metadata is not there."""

    exit_code = 66


class UnavailableError(QsmthalError):
    """A device or a program that was asked for is not there."""

    exit_code = 69


class OutputError(QsmthalError):
    """The output cannot be written."""

    exit_code = 73


class ReadWriteError(QsmthalError):
    """The operating system failed to read or write."""

    exit_code = 74


class BusyError(QsmthalError):
    """Temporary: another run works on the same output. Try again."""

    exit_code = 75


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the operating system says where nothing more can be written."""


def of_system(error: OSError) -> QsmthalError:
    """Return what the operating system could not do, in words for the user."""
    where, what = error.filename or "A file", error.strerror or str(error)
    if error.errno in NO_ROOM:
        return OutputError(
            f"{where}: {what}; free space or choose another folder, then run the same command "
            "again."
        )
    return ReadWriteError(
        f"{where}: {what}; see to disk, network and permissions, then run the same command again."
    )
