"""Stages that are computed once: results are kept in the work folder and found again.

A result is reused only where the content of its inputs, its parameters, the code that made it and
the versions of the libraries under it are the same. Rooms of one floor know nothing of each other
(the import contracts see to that), so a change in one leaves the results of the others.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar, cast

import joblib

from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.core.errors import LevelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.resources.abc import Traversable
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What a log record about a stage says to a program: it travels as its ``step``, a dict.

    A dict of plain values passes between processes in any encoding.

    Attributes
    ----------
    who
        The participant, session and scan.
    number, total
        The place of the stage; ``number`` counts those left out.
    count
        How many stages the record is about.
    """

    who: str
    number: int
    total: int
    title: str
    state: Literal["started", "reused", "left out"]
    count: int = 1


class Stages:
    """Runs the stages of one participant, one after another, and says what it does.

    With ``only_known`` nothing is computed: a stage that is not in the work folder is an error.
    """

    def __init__(self, work_dir: Path, total: int, *, only_known: bool = False) -> None:
        self._work_dir = work_dir
        self._total = total
        self._only_known = only_known
        self._number = 0
        self._start = time.monotonic()

    def run(self, title: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, from the work folder where it is known.

        Raises
        ------
        LevelUnavailableError
            It is not known, and nothing may be computed.
        """
        self._number += 1
        room = function.__module__.removeprefix("bids_qsmthal.").split(".")[0]
        stage = joblib.Memory(self._work_dir / f"{room}-{code_version(room)}", verbose=0).cache(
            function
        )
        known = stage.check_call_in_cache(*args, **kwargs)
        if self._only_known and not known:
            raise LevelUnavailableError(
                f"{title}: no such result in {self._work_dir} for these inputs, options and "
                "version; run once without --reports-only, or name its work folder with -w."
            )
        log.info(
            "[%d/%d] %s%s (%s elapsed)",
            *(self._number, self._total, title),
            *(": reused" if known else " ...", self._elapsed()),
            extra={"step": self._step(title, "reused" if known else "started")},
        )
        before = time.process_time()
        result = stage(*args, **kwargs)
        if not known:
            log.debug("%s took %.1f CPU-s", title, time.process_time() - before)
        return cast("R", result)

    def skip(self, title: str, reason: str, *, count: int = 1) -> None:
        """Say that a stage, or several that go together, is left out, and why."""
        self._number += count
        log.info(
            "[%d/%d] %s: left out, %s",
            *(self._number, self._total, title, reason),
            extra={"step": self._step(title, "left out", count)},
        )

    def _step(
        self, title: str, state: Literal["started", "reused", "left out"], count: int = 1
    ) -> dict[str, str | int]:
        return asdict(Step(self._work_dir.name, self._number, self._total, title, state, count))

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes}:{seconds:02d}"


SHARED = ("core", "qsm/acquisition.py")
"""What every room stands on."""

DATA = {"anatomy": ("data/atlas", "data/weights")}
"""Packaged files that a room reads."""


@cache
def code_version(room: str) -> str:
    """Return a short digest of the code and data of a room and of the libraries' versions."""
    digest = hashlib.sha256(repr(sorted(package_versions().items())).encode())
    package = resources.files("bids_qsmthal")
    for part in (*SHARED, room, *DATA.get(room, ())):
        for name, content in _files(package.joinpath(part), part):
            digest.update(name.encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _files(place: Traversable, name: str) -> list[tuple[str, bytes]]:
    if place.is_file():
        return [(name, place.read_bytes())]
    if not place.is_dir():
        return []
    entries = sorted(place.iterdir(), key=lambda entry: entry.name)
    return [
        found
        for entry in entries
        if entry.name != "__pycache__"
        for found in _files(entry, f"{name}/{entry.name}")
    ]
