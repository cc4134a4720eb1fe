"""Before a night is spent: what there is of each participant, what is missing, what would fail."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pandas as pd

from bids_qsmthal import execution
from bids_qsmthal.app import gre_overview
from bids_qsmthal.app.gre_overview import Coverage, GreOverview
from bids_qsmthal.bids import atlases, external
from bids_qsmthal.bids.dataset import Session, UnusableScan
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, InvalidBidsError, QsmthalError
from bids_qsmthal.group import analysis_file, covariates
from bids_qsmthal.participant import given_field, input_checks, pipeline
from bids_qsmthal.participant.gre_signal import Signal
from bids_qsmthal.report import numbers, sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.bids.gre_series import MagnitudeSeries
    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.participant.gre_signal import MagnitudeSignal
    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

ROLES = {scan.keys[0]: scan.name for scan in pipeline.SCANS}
"""What is looked for, by the names of the filter file, as a reader calls it."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What would stop a run, or cost a scan, with the exit code it would have.

    Attributes
    ----------
    scan
        The one that cannot be used; ``None`` where it is not a scan that is at fault.
    """

    text: str
    exit_code: int
    scan: pipeline.Input | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of one participant, session and scan.

    Attributes
    ----------
    series
        The gradient echo, where its files and sidecars are in order.
    external_files
        Results of other programs and edits, by product.
    gre
        How it was acquired, where it can be read.
    doubts
        What a run would warn about before its first stage.
    requested
        Stages that the options ask for.
    """

    session: Session
    series: MagnitudeSeries | None = None
    external_files: Mapping[str, ExternalFile] = field(default_factory=dict)
    problems: tuple[Obstacle, ...] = ()
    gre: GreOverview | None = None
    doubts: tuple[ScanWarning, ...] = ()
    requested: frozenset[pipeline.Stage] = frozenset()

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files of each role that is there."""
        session = self.session
        single = {"t1w": session.t1w, "t1w_gad": session.t1w_gad, "flair": session.flair}
        return {
            **({"gre": session.gre.paths} if session.gre else {}),
            **{role: (path,) for role, path in single.items() if path is not None},
        }

    @property
    def plan(self) -> pipeline.Plan:
        """What a run would do, with the scans that can be used."""
        return pipeline.plan(self.usable, self.external_files, self.requested)

    @property
    def usable(self) -> Session:
        """The session without the scans that cannot be used."""
        left = self.session
        # The first fault of each scan, as a run stops reading it there.
        faults = {problem.scan: problem for problem in reversed(self.problems) if problem.scan}
        for scan, problem in faults.items():
            left = left.without(UnusableScan(scan.keys[0], scan.name, problem.text))
        return left

    @property
    def state(self) -> str:
        """Whether a run would measure it, in a word or two."""
        if not self.problems:
            return "ready"
        if not self.usable.any_scan or any(problem.scan is None for problem in self.problems):
            return "PROBLEM"
        return f"WITHOUT {' and '.join(scan.name for scan in self.usable.unusable)}"

    @property
    def costs(self) -> tuple[str, ...]:
        """What will not be measured, and for want of what."""
        if self.series is None or len(self.series.first) > 1:
            return self.plan.costs
        apart = pipeline.SEPARATION in self.plan.stages
        return (
            *self.plan.costs,
            "one echo: no R2*, and veins are recognised by susceptibility alone",
            *(["one echo: no paramagnetic and diamagnetic sources"] if apart else []),
        )

    @property
    def exit_code(self) -> int:
        """How a run over this participant would end as far as can be told: 0 is well."""
        # A run stops at the first.
        return self.problems[0].exit_code if self.problems else 0

    def described(self, role: str) -> str:
        """Return a few words about the images of a role; empty where there are none."""
        if role not in self.files:
            return ""
        if role != "gre":
            return "yes"
        if self.series is None:
            return f"{len(self.files['gre'])} files"
        times_ms = [1000 * time for time in self.series.acquisition.echo_times_s]
        echoes = f"{len(times_ms)} echo{'es' if len(times_ms) > 1 else ''}"
        return (
            f"{echoes} to {times_ms[-1]:.3g} ms, "
            f"{self.series.acquisition.effective_field_t:.4g} T, {'-'.join(self.series.parts)}"
        )


def examine(session: Session, settings: Settings, *, voxels: bool) -> Found:
    """Look at all that a run reads of one participant; with ``voxels`` read every image, too."""
    problems: list[Obstacle] = []
    if settings.check_names:
        _tried(problems, None, check_names, session)
    _tried(problems, None, input_checks.check_enough, session)
    external_files = _tried(
        problems, None, external.files, session, settings.datasets, settings.output_dir
    )
    series = _series(problems, session, settings, external_files or {})
    found = Found(
        session=session,
        series=series,
        external_files=external_files or {},
        requested=pipeline.requested(settings),
    )
    signal: MagnitudeSignal | None = None
    head = _tried(problems, pipeline.T1W, input_checks.t1w_of, session) if voxels else None
    reading = input_checks.structural if voxels else nifti.shape_and_affine
    others = {
        pipeline.T1W: None if voxels else session.t1w,
        pipeline.FLAIR: session.flair,
        pipeline.CE_T1W: session.t1w_gad,
    }
    for scan, path in others.items():
        if path is not None:
            _tried(problems, scan, reading, path)
    # Reading voxels after bad headers would say the same fault again.
    if voxels and series is not None:
        by_phase = input_checks.masked_by_phase(session, settings, found.external_files)
        reading_gre = input_checks.gradient_echo
        signal = _tried(problems, pipeline.GRE, reading_gre, series, settings, by_phase=by_phase)
    if voxels:
        usable = replace(found, problems=tuple(problems)).usable
        _tried(problems, None, atlases.read_all, settings.atlases, session)
        # A run ends at its only scan; that nothing belongs to it any more is no fault of its own.
        brought = found.external_files if usable.any_scan else {}
        results = {
            key: _tried(problems, None, input_checks.external_result, key, item, usable)
            for key, item in brought.items()
        }
        sound = {key: result for key, result in results.items() if result is not None}
        _tried(problems, None, given_field.check, signal, sound, settings)
    # One file may stop several checks: its fault is said once.
    found = replace(found, problems=tuple(dict.fromkeys(problems)))
    if series is None:
        return replace(found, doubts=session.warnings)
    gre = gre_overview.overview(series, _phase_report(signal), head)
    of_scan = signal.warnings if signal else series.warnings
    doubts = (*session.warnings, *given_field.warnings(of_scan, found.external_files))
    return replace(found, gre=gre, doubts=tuple(dict.fromkeys(doubts)))


def _series(
    problems: list[Obstacle],
    session: Session,
    settings: Settings,
    external_files: Mapping[str, ExternalFile],
) -> MagnitudeSeries | None:
    series = _tried(problems, pipeline.GRE, input_checks.described, session, settings)
    if series is not None:
        showing = input_checks.showing_a_brain
        _tried(problems, pipeline.GRE, showing, series, session, external_files)
    return series


def _phase_report(signal: MagnitudeSignal | None) -> PhaseReport | None:
    """Return what the phase of a scan says; None where it was not read or has none."""
    return signal.report if isinstance(signal, Signal) else None


def check_names(session: Session) -> None:
    """Raise unless the single images of a session have valid BIDS names.

    Raises
    ------
    InvalidBidsError
        A name is not valid; what makes a gradient echo is judged by ``gre.describe``.
    """
    from bids_validator import BIDSValidator  # noqa: PLC0415 - compiles its rules on import

    validator = BIDSValidator()
    images = [path for path in (session.t1w, session.t1w_gad, session.flair) if path]
    for path in images:
        if not validator.is_bids(f"/{path.relative_to(session.root).as_posix()}"):
            raise InvalidBidsError(
                f"{path}: not a valid BIDS name; rename it, or use --skip-bids-validation."
            )


def group_level(settings: Settings, participants: Sequence[str]) -> list[str]:
    """Say what the group level will lack beside the images.

    Raises
    ------
    QsmthalError
        A table or the analysis file is malformed.
    """
    wanted = analysis_file.read(settings.analysis)
    sources = covariates.covariate_tables(settings.bids_dir)
    known = set(covariates.column_names(sources))
    said = [
        f"group level: no column {' or '.join(variable.columns)} in participants.tsv, "
        f"sessions.tsv or phenotype/: models with {variable.name} are not fitted"
        for variable in wanted.variables.values()
        # Measures come from the images, not from a table.
        if variable.columns and not variable.measure and not known & set(variable.columns)
    ]
    try:
        # As the group level does: spreadsheets make 1 of 0001.
        sources = covariates.with_matched_ids(sources, participants) if participants else sources
    except DataError as error:
        return [*said, f"group level: {error}"]
    listed = covariates.listed_participants(sources)
    # participants.tsv is optional in BIDS: without it nobody is missing from it.
    unlisted = sorted(set(participants) - set(listed)) if listed else []
    if unlisted:
        said.append(f"group level: participants.tsv does not list {', '.join(unlisted)}")
    return said


def overview(found: Sequence[Found]) -> str:
    """Return a table for people, then what is missing, then what would stop a run."""
    rows = [("participant", *ROLES.values(), "")]
    rows += [
        (
            one.session.name,
            *(one.described(role) or "-" for role in ROLES),
            one.state,
        )
        for one in found
    ]
    lines = [*numbers.aligned(rows), *_scans(found)]
    parts = {
        "missing": _costs(found),
        "external results": _external(found),
        "skipped": _skipped(found),
        "doubtful": _doubtful(found),
    }
    for title, told in parts.items():
        if told:
            lines += ["", f"{title}:", *(f"  {text} ({_names(who)})" for text, who in told.items())]
    problems = [(one.session.name, problem) for one in found for problem in one.problems]
    if problems:
        lines += ["", "problems:", *(f"  {who}: {problem.text}" for who, problem in problems)]
    ready = sum(not one.problems for one in found)
    return "\n".join([*lines, "", f"{ready} of {len(found)} ready"])


COLUMNS = tuple(item.name for item in fields(GreOverview))
"""Of the table of gradient echoes."""


def _scans(found: Sequence[Found]) -> list[str]:
    """Return a table of the gradient echoes; thalami are estimated from the top of the head."""
    rows = [
        (one.session.name, *(str(getattr(one.gre, name)) for name in COLUMNS))
        for one in found
        if one.gre is not None
    ]
    return ["", *numbers.aligned([("gradient echo", *COLUMNS), *rows])] if rows else []


def plan(found: Found) -> str:
    """Return what a run would do with one participant, and with which files."""
    session = found.session
    lines = [f"{session.name}:"]
    for role, paths in found.files.items():
        extra = f" ({found.described('gre')})" if role == "gre" else ""
        lines.append(f"  {ROLES[role]}{extra}")
        lines += [f"    {path.relative_to(session.root).as_posix()}" for path in paths]
    lines += [
        f"  {key} from {item.path} ({item.source})" for key, item in found.external_files.items()
    ]
    lines += [f"  would run: {stage.title}{_makes(stage)}" for stage in found.plan.stages]
    lines += [f"  {left_out}" for left_out in found.plan.left_out]
    lines += [f"  {cost}" for cost in found.costs]
    lines += [f"  skipped {skip.path.name}: {skip.reason}" for skip in session.skipped]
    return "\n".join([*lines, *(f"  PROBLEM: {problem.text}" for problem in found.problems)])


def _makes(stage: pipeline.Stage) -> str:
    names = ", ".join(PRODUCTS[key].ending for key in stage.makes)
    return f" (makes {names})" if names else ""


def table(found: Sequence[Found]) -> pd.DataFrame:
    """Return the same as ``overview`` for programs: one row a participant, session and scan."""
    return pd.DataFrame(
        [
            {
                "participant_id": f"sub-{one.session.subject}",
                "session_id": f"ses-{one.session.session}" if one.session.session else "n/a",
                "run_id": one.session.run or "n/a",
                **{role: one.described(role) or "n/a" for role in ROLES},
                **{
                    f"gre_{name}": "n/a" if one.gre is None else str(getattr(one.gre, name))
                    for name in COLUMNS
                },
                "external": ", ".join(one.external_files) or "n/a",
                "missing": "; ".join(one.costs) or "n/a",
                "doubtful": "; ".join(_doubts(one)) or "n/a",
                "problem": "; ".join(problem.text for problem in one.problems) or "n/a",
                "exit_code": one.exit_code,
            }
            for one in found
        ]
    )


def exit_code(found: Sequence[Found]) -> int:
    """Return the status a run would have: as ``execution.exit_code``."""
    return execution.exit_code(
        [execution.Outcome(one.session.name, one.exit_code, "", 0) for one in found]
    )


def _tried(
    problems: list[Obstacle],
    scan: pipeline.Input | None,
    function: Callable[P, R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R | None:
    """Return what a function returns; what a user can mend becomes a problem of the scan."""
    try:
        return function(*args, **kwargs)
    except QsmthalError as error:
        problems.append(Obstacle(str(error), error.exit_code, scan))
        return None


def _costs(found: Sequence[Found]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = defaultdict(list)
    for one in found:
        for cost in one.costs:
            told[cost].append(one.session.name)
    return told


def _external(found: Sequence[Found]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = defaultdict(list)
    for one in found:
        for key, item in one.external_files.items():
            told[f"{key} from {item.source}"].append(one.session.name)
    return told


def _skipped(found: Sequence[Found]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = defaultdict(list)
    for one in found:
        for skip in one.session.skipped:
            told[f"{skip.path.name}: {skip.reason}"].append(one.session.name)
    return told


def _doubts(one: Found) -> list[str]:
    """Return what a run would warn about, and a slab that may miss the thalami."""
    said = [sentences.sentence(doubt) for doubt in one.doubts]
    if one.gre is not None and one.gre.thalami in (Coverage.PART, Coverage.NONE):
        said.append(
            f"Judged by the top of the head in T1w, the thalami are {one.gre.thalami}: check "
            "where the slab lies."
        )
    return said


def _doubtful(found: Sequence[Found]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = defaultdict(list)
    for one in found:
        for doubt in _doubts(one):
            told[doubt].append(one.session.name)
    return told


def _names(who: Sequence[str], most: int = 5) -> str:
    more = f" and {len(who) - most} more" if len(who) > most else ""
    return ", ".join(who[:most]) + more
