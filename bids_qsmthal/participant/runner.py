"""Stages that are computed once: results are kept in the work folder and found again.

A result is reused only where the content of its inputs, its parameters, the code that made it and
the versions of the libraries under it are the same. Rooms of one floor know nothing of each other
(the import contracts see to that), so a change in one leaves the results of the others.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar, cast

from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.core.errors import LevelUnavailableError
from bids_qsmthal.participant.kept_results import DamagedError, KeptResults, key_of

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
class StageProgress:
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
        self._who = work_dir.name
        self._work_dir = work_dir
        self._kept = KeptResults(work_dir)
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
        OutputError
            It cannot be kept.
        """
        # With the defaults: a default that changes is another argument and another result.
        arguments = inspect.signature(function).bind(*args, **kwargs)
        arguments.apply_defaults()
        name = f"{function.__module__}.{function.__qualname__}"
        key = key_of(name, code_version(_room(function)), arguments.arguments)
        known = self._known(stage, key)
        step = self._step(stage, "started" if known is None else "reused")
        log.info(
            "[%d/%d] %s%s (%s elapsed)",
            *(step["number"], step["total"], stage.title),
            *(" ..." if known is None else ": reused", self._elapsed()),
            extra={"step": step},
        )
        if known is not None:
            return cast("R", known)
        before = time.process_time()
        result = function(*args, **kwargs)
        log.debug("%s took %.1f CPU-s", stage.title, time.process_time() - before)
        # Kept at once: a run that is killed later goes on from here.
        self._kept.save(key, result)
        return result

    def _known(self, stage: Stage, key: str) -> object | None:
        """Return what the work folder has of a stage, and say where it cannot be used."""
        why = "there is none for these inputs, options and version"
        try:
            known = self._kept.load(key, stage.gives)
        except DamagedError as error:
            known, why = None, str(error)
            log.warning(
                "%s: the result kept in %s is not used: %s", stage.title, self._work_dir, why
            )
        if known is None and self._only_known:
            raise LevelUnavailableError(
                f"{stage.title}: no result in {self._work_dir} can be used: {why}; run once "
                "without --reports-only, or name its work folder with -w."
            )
        return known

    def _step(self, stage: Stage, state: State) -> dict[str, str | int | float]:
        stages = self._plan.stages
        step = StageProgress(
            who=self._who,
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


def _room(function: Callable[..., object]) -> str:
    return function.__module__.removeprefix("bids_qsmthal.").split(".")[0]


# Has to follow the import contracts: with a room missing here, a change in it would leave stale
# results in use.
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
        # Compiled code differs between versions of Python and says nothing new.
        if entry.name != "__pycache__"
        for found in _files(entry, f"{name}/{entry.name}")
    ]
