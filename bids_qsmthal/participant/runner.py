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

    from bids_qsmthal.participant.pipeline import Plan, Stage

P = ParamSpec("P")
R = TypeVar("R")

State = Literal["started", "reused", "left out"]

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
        The place of the stage among those that run; 0 for one that is left out.
    share, planned_share
        Of this stage and of all that run, of the time of a participant with all scans.
    """

    who: str
    number: int
    total: int
    title: str
    share: float
    planned_share: float
    state: State


class Runner:
    """Runs the stages that a plan has for one participant, and says what it does.

    With ``only_known`` nothing is computed: a stage that is not in the work folder is an error.
    """

    def __init__(self, work_dir: Path, plan: Plan, *, only_known: bool = False) -> None:
        self._work_dir = work_dir
        self._plan = plan
        self._only_known = only_known
        self._start = time.monotonic()

    def runs(self, stage: Stage) -> bool:
        """Say whether a stage is planned."""
        return stage in self._plan.stages

    def announce(self) -> None:
        """Say which stages are left out, and why."""
        for left_out in self._plan.left_out:
            log.info("%s", left_out, extra={"step": self._step(left_out.stage, "left out")})

    def run(self, stage: Stage, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, from the work folder where it is known.

        Raises
        ------
        LevelUnavailableError
            It is not known, and nothing may be computed.
        """
        room = function.__module__.removeprefix("bids_qsmthal.").split(".")[0]
        kept = joblib.Memory(self._work_dir / f"{room}-{code_version(room)}", verbose=0).cache(
            function
        )
        known = kept.check_call_in_cache(*args, **kwargs)
        if self._only_known and not known:
            raise LevelUnavailableError(
                f"{stage.title}: no such result in {self._work_dir} for these inputs, options and "
                "version; run once without --reports-only, or name its work folder with -w."
            )
        step = self._step(stage, "reused" if known else "started")
        log.info(
            "[%d/%d] %s%s (%s elapsed)",
            *(step["number"], step["total"], stage.title),
            *(": reused" if known else " ...", self._elapsed()),
            extra={"step": step},
        )
        before = time.process_time()
        result = kept(*args, **kwargs)
        if not known:
            log.debug("%s took %.1f CPU-s", stage.title, time.process_time() - before)
        return cast("R", result)

    def _step(self, stage: Stage, state: State) -> dict[str, str | int | float]:
        stages = self._plan.stages
        step = Step(
            who=self._work_dir.name,
            number=stages.index(stage) + 1 if state != "left out" else 0,
            total=len(stages),
            title=stage.title,
            share=stage.share,
            planned_share=sum(one.share for one in stages),
            state=state,
        )
        return asdict(step)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes}:{seconds:02d}"


BELOW = {"anatomy": ("core",), "lesions": ("core",), "qsm": ("core",), "roi": ("qsm", "core")}
"""The rooms that the code of a room is built on."""

DATA = {"anatomy": ("data/atlas", "data/weights")}
"""Packaged files that a room reads."""


@cache
def code_version(room: str) -> str:
    """Return a short digest of the code and data of a room and of the libraries' versions."""
    digest = hashlib.sha256(repr(sorted(package_versions().items())).encode())
    package = resources.files("bids_qsmthal")
    for part in (room, *BELOW.get(room, ()), *DATA.get(room, ())):
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
