"""Results of stages, kept in the work folder: arrays and JSON, each with its SHA-256.

A result is a file ``results/KEY.json``; its arrays are files ``arrays/SHA256.npy``, named by what
they hold, so that an array that two results share is kept once. Nothing that is read decides which
code runs (``descriptions``), and arrays are read without pickle. Everything is looked at before it
is used; what is damaged, of another result, or a link counts as not kept.

The checksums guard against damage and mistakes. Whoever may write the folder can forge a result
with its checksum; ``shared_folders`` tells of a folder that others may write.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.core.errors import QsmthalError
from bids_qsmthal.core.files import check_inside, sweep, write_whole
from bids_qsmthal.participant.descriptions import CLASSES, described, restored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

npy: Any = np.lib.format
"""NumPy's file format, whose functions have no types."""

FORMAT = 1
"""Of the files; results in another format count as not kept."""

HEADER_BYTES = 1024
"""More than the header of any array of a plain type takes."""

FOLDER_MODE = 0o755
"""Nobody but the owner writes what a later run reads."""

MALFORMED = (
    *(ValueError, TypeError, LookupError, AttributeError, RecursionError),
    QsmthalError,
)
"""What is raised about content that is not what ``described`` makes."""


class DamagedError(Exception):
    """A kept result cannot be used; the message says why."""


class KeptResults:
    """The results of one participant in its work folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.parent.resolve() / folder.name
        self._results, self._arrays = folder / "results", folder / "arrays"
        # The name belongs to no file: only what is too old for anybody to be writing it goes.
        sweep("nobody", self._results, self._arrays)

    def load(self, key: str, types: tuple[type, ...]) -> object | None:
        """Return a result; ``None`` where there is none.

        Parameters
        ----------
        key
            As ``key_of`` makes it.
        types
            What the result may be.

        Raises
        ------
        DamagedError
            There is one that cannot be used.
        """
        try:
            content = self._read(self._results / f"{key}.json")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedError(_reason(error)) from error
        try:
            result = restored(_body(content, key), self._array)
        except FileNotFoundError as error:
            raise DamagedError("one of its arrays is missing") from error
        except OSError as error:
            raise DamagedError(_reason(error)) from error
        except MALFORMED as error:
            raise DamagedError(
                f"it does not have the expected form ({type(error).__name__})"
            ) from error
        if not isinstance(result, types):
            raise DamagedError(f"it is of the type {type(result).__name__}")
        return result

    def save(self, key: str, result: object) -> None:
        """Write a result whole, its arrays first.

        Raises
        ------
        OutputError
            The folder cannot be written, or the disk is full.
        TypeError
            The result holds what cannot be kept; list its class in ``CLASSES``.
        """
        check_inside(self._folder.parent, self._results, self._arrays)
        check_inside(self._folder, self._results, self._arrays)
        for folder in (self._results, self._arrays):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        body = described(result, self._keep, known=CLASSES)
        content = {"format": FORMAT, "key": key, "sha256": _digest(body), "result": body}
        write_whole(self._results / f"{key}.json", json.dumps(content, allow_nan=False).encode())

    def _keep(self, array: NDArray[Any]) -> str:
        header, data = _npy(array)
        name = _sha256(header, data)
        path = self._arrays / f"{name}.npy"
        try:
            # Written again where the file is damaged: its name alone does not say that it is whole.
            self._array(name)
        except (OSError, DamagedError):
            write_whole(path, header, data)
        return name

    def _array(self, name: str) -> NDArray[Any]:
        """Return an array whose file holds what its name says."""
        # The name stands in a file: with slashes or dots it would lead out of the folder.
        if len(name) != 64 or not name.isalnum():
            raise DamagedError("it names an array that is not valid")
        content = self._read(self._arrays / f"{name}.npy")
        if _sha256(content.data) != name:
            raise DamagedError("one of its arrays is damaged")
        return _from_npy(content)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        """Return the bytes of a regular file of this folder; no link is followed.

        They lie in memory as NumPy's own arrays do, so that sums over them have the same bits.
        """
        if path.parent.resolve() != self._folder / path.parent.name:
            raise DamagedError("its folder is a link")
        # O_NONBLOCK: opening a named pipe would else wait for a writer for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            # Of the open file, not of the path: the path may be another file a moment later.
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise DamagedError("it is not a file")
            content = np.empty(state.st_size, np.uint8)
            if stream.readinto(content.data) != state.st_size:
                raise DamagedError("it was changed while it was read")
        return content


def shared_folders(*folders: Path) -> list[Path]:
    """Return those of some folders that others may write, or that belong to others."""
    return [folder for folder in folders if folder.exists() and _is_shared(folder)]


def _is_shared(folder: Path) -> bool:
    state = folder.stat()
    others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(others) or state.st_uid not in (0, os.geteuid())


def key_of(function: str, version: str, arguments: Mapping[str, object]) -> str:
    """Return what names a result: the digest of all that it depends on.

    Parameters
    ----------
    function, version
        What made it, and the digest of its code.
    arguments
        By name; what they hold counts, not which objects they are.
    """
    # No list of classes here: arguments are hashed and never restored.
    described_arguments = described(dict(arguments), lambda array: _sha256(*_npy(array)))
    return _digest([function, version, described_arguments])


def _body(content: NDArray[np.uint8], key: str) -> Any:  # noqa: ANN401 - JSON
    """Return the body of a result's file, after its version, key and checksum were looked at."""
    whole = json.loads(content.tobytes())
    if whole["format"] != FORMAT:
        raise DamagedError(f"it is in format {whole['format']}, expected {FORMAT}")
    if whole["key"] != key:
        raise DamagedError("it belongs to another result")
    if whole["sha256"] != _digest(whole["result"]):
        raise DamagedError("its checksum differs")
    return whole["result"]


def _from_npy(content: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the array that ``_npy`` made the content of a file from; its memory is the same."""
    stream = io.BytesIO(content[:HEADER_BYTES].tobytes())
    if npy.read_magic(stream) != (1, 0):
        raise DamagedError("one of its arrays has another version of NumPy's format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)
    values: NDArray[Any] = content[stream.tell() :].view(dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _npy(array: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Return an array as the header and the data of a file in NumPy's format 1.0."""
    if array.dtype.hasobject:
        raise TypeError("an array of objects cannot be kept")
    # The order is kept: another one would change the order of sums and so their last bits.
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    plain = np.asarray(array, order="F" if fortran else "C")
    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(plain))
    flat = (plain.T if fortran else plain).reshape(-1)
    return header.getvalue(), flat.view(np.uint8).data


def _digest(body: Any) -> str:  # noqa: ANN401 - JSON
    # Sorted: the order of arguments must not make another result of it.
    return _sha256(json.dumps(body, allow_nan=False, sort_keys=True).encode())


def _sha256(*parts: bytes | memoryview) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()


def _reason(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else f"it cannot be read ({error.strerror})"
