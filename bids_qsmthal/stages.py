"""Stages that are computed once: results are kept in the work folder and found again.

A result is reused only where the content of its inputs, its parameters, the code of this package
and the versions of the libraries under it are the same.
"""

from __future__ import annotations

import hashlib
import logging
import time
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import joblib

from bids_qsmthal.derivatives import package_versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.resources.abc import Traversable
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Stages:
    """Runs the stages of one participant, one after another, and says what it does."""

    def __init__(self, work_dir: Path, total: int) -> None:
        self._memory = joblib.Memory(work_dir / code_version(), verbose=0)
        self._total = total
        self._number = 0
        self._start = time.monotonic()

    def run(self, title: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, from the work folder where it is known."""
        self._number += 1
        stage = self._memory.cache(function)
        known = stage.check_call_in_cache(*args, **kwargs)
        log.info(
            "[%d/%d] %s%s (%s elapsed)",
            *(self._number, self._total, title),
            *(": reused" if known else " ...", self._elapsed()),
        )
        before = time.process_time()
        result = stage(*args, **kwargs)
        if not known:
            log.debug("%s took %.1f CPU-s", title, time.process_time() - before)
        return cast("R", result)

    def skip(self, title: str, reason: str, *, count: int = 1) -> None:
        """Say that a stage, or several that go together, is left out, and why."""
        self._number += count
        log.info("[%d/%d] %s: left out, %s", self._number, self._total, title, reason)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes}:{seconds:02d}"


@cache
def code_version() -> str:
    """Return a short digest of this package's files and of the libraries' versions."""
    digest = hashlib.sha256(repr(sorted(package_versions().items())).encode())
    for name, content in _files(resources.files("bids_qsmthal"), ""):
        digest.update(name.encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _files(folder: Traversable, name: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir() and entry.name != "__pycache__":
            found += _files(entry, f"{name}/{entry.name}")
        elif entry.name.endswith((".py", ".gz", ".tsv", ".onnx")):
            found.append((f"{name}/{entry.name}", entry.read_bytes()))
    return found
