"""Which tables of the participants the group level may believe.

A participant's tables may be of an earlier run: the last one failed, or the scan had another name
then. What the manifest of a finished run lists, with its checksums, is what that run wrote.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bids_qsmthal.bids import manifest, presence, visits
from bids_qsmthal.bids.sidecars import entities_of
from bids_qsmthal.core.errors import DataError, LevelUnavailableError, MissingInputError
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.reasons import Code, Reason, shortened
from bids_qsmthal.settings import Selection

log = logging.getLogger(__name__)

MEASURES = "_desc-qsmthal_measures.tsv"
QUALITY = "_desc-qsmthal_quality.tsv"
SENSITIVITY = "_desc-qsmthal_sensitivity.tsv"
ACQUISITION = "_desc-qsmthal_acquisition.tsv"
LESIONS = "_desc-qsmthal_lesions.tsv"
CHANGE = f"_{visits.CHANGE}.tsv"
"""Of a participant and not of a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLeftOut:
    """A session whose tables are not read."""

    participant_id: str
    session_id: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTables:
    """The tables of the participants that are wanted and finished."""

    measures: tuple[Path, ...]
    quality: tuple[Path, ...]
    sensitivity: tuple[Path, ...]
    acquisition: tuple[Path, ...] = ()
    lesions: tuple[Path, ...] = ()
    change: tuple[Path, ...] = ()
    left_out: tuple[SessionLeftOut, ...] = ()
    not_wanted: tuple[str, ...] = ()
    """Participants that the command line does not ask for."""

    vouched: bool = True
    """Whether manifests were there; tables that come without any log are read as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The tables in one ``anat`` folder."""

    participant_id: str
    session_id: str
    tables: tuple[Path, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.participant_id, self.session_id

    @property
    def name(self) -> str:
        return self.participant_id + (f"_{self.session_id}" if self.session_id != "n/a" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubts:
    """What is known of all sessions at once.

    Attributes
    ----------
    failed
        The scans whose last run failed, by the name of their session.
    gone
        Participants and sessions of which the dataset has no images.
    """

    output_dir: Path
    failed: dict[str, tuple[str, ...]]
    gone: set[tuple[str, str]]


def finished_tables(bids_dir: Path, output_dir: Path, selection: Selection) -> FinishedTables:
    """Return the tables that may be read, and which sessions are left out and why.

    Parameters
    ----------
    bids_dir
        The dataset. Whom it has no images of, while it has others', was renamed or withdrawn.
    output_dir
        Where the participant level wrote.
    selection
        Participants, sessions and runs that the command line names; nothing means all.

    Raises
    ------
    LevelUnavailableError
        No participant has results, or none of them is finished.
    MissingInputError
        A label that the command line names has no results.
    DataError
        ``logs/failures.json`` cannot be read.
    """
    sessions = _sessions(output_dir)
    if not sessions:
        raise LevelUnavailableError(
            f"{output_dir}: no participant has a measures.tsv yet; run the participant level first."
        )
    # A mistyped label would else be an empty selection, and the message one about results.
    _check_labels(output_dir, sessions, selection)
    wanted = [session for session in sessions if _is_wanted(session, selection)]
    vouched = _has_logs(output_dir)
    if not vouched:
        log.warning(
            "%s: no logs of the participant level, so it is not known whether its tables are "
            "complete and come from one run; they are read as they are.",
            output_dir,
        )
    doubts = _Doubts(
        output_dir=output_dir,
        failed=_failed(output_dir),
        gone=presence.without_images(bids_dir, [session.key for session in wanted]),
    )
    reasons = [_why_not(session, doubts) if vouched else None for session in wanted]
    usable = [path for s, why in zip(wanted, reasons, strict=True) if not why for path in s.tables]
    usable = [path for path in usable if _is_run(path, selection)]
    left_out = tuple(
        SessionLeftOut(participant_id=s.participant_id, session_id=s.session_id, reason=why)
        for s, why in zip(wanted, reasons, strict=True)
        if why
    )
    _say_left_out(left_out)
    if not any(path.name.endswith(MEASURES) for path in usable):
        named = left_out[0].reason.text if left_out else "no run that is asked for has results"
        raise LevelUnavailableError(f"{output_dir}: no participant can be used: {named}.")
    return FinishedTables(
        measures=tuple(path for path in usable if path.name.endswith(MEASURES)),
        quality=tuple(path for path in usable if path.name.endswith(QUALITY)),
        sensitivity=tuple(path for path in usable if path.name.endswith(SENSITIVITY)),
        acquisition=tuple(path for path in usable if path.name.endswith(ACQUISITION)),
        lesions=tuple(path for path in usable if path.name.endswith(LESIONS)),
        change=_changes(output_dir, wanted, vouched=vouched),
        left_out=left_out,
        not_wanted=tuple(
            sorted({s.participant_id for s in sessions} - {s.participant_id for s in wanted})
        ),
        vouched=vouched,
    )


def _sessions(output_dir: Path) -> list[_Session]:
    """Return every session that has a table of measures, sorted."""
    found: dict[Path, list[Path]] = {}
    for ending in (MEASURES, QUALITY, SENSITIVITY, ACQUISITION, LESIONS):
        for begin in ("sub-*", "sub-*/ses-*"):
            for path in sorted(output_dir.glob(f"{begin}/anat/sub-*{ending}")):
                # By folder: the manifest and a failure are of a session, not of a single table.
                found.setdefault(path.parent, []).append(path)
    sessions = []
    for folder, tables in sorted(found.items()):
        labels = folder.relative_to(output_dir).parts
        if any(path.name.endswith(MEASURES) for path in tables):
            session = labels[1] if labels[1].startswith("ses-") else "n/a"
            sessions.append(
                _Session(participant_id=labels[0], session_id=session, tables=tuple(tables))
            )
    return sessions


def _changes(output_dir: Path, wanted: list[_Session], *, vouched: bool) -> tuple[Path, ...]:
    """Return the tables of change over visits that may be believed; the others are named.

    One is of earlier visits where a visit was processed again and the visits were not compared.
    """
    people = dict.fromkeys(one.participant_id for one in wanted)
    tables = {who: output_dir / who / "anat" / f"{who}{CHANGE}" for who in people}
    there = {who: path for who, path in tables.items() if path.is_file()}
    believed = [who for who in there if not vouched or _is_vouched(output_dir, who, there[who])]
    lost = [who for who in there if who not in believed]
    if lost:
        log.warning(
            "the change over visits of %s is not used: a visit was processed after they were "
            "compared, or the table was changed after it was written; run the participant level "
            "with --longitudinal auto.",
            shortened(lost),
        )
    return tuple(there[who] for who in believed)


def _is_vouched(output_dir: Path, who: str, path: Path) -> bool:
    """Return whether the last comparison of someone's visits finished, and wrote this table."""
    try:
        entries = manifest.read_of(output_dir, who)
    except DataError:
        return False
    relative = path.relative_to(output_dir).as_posix()
    # Links out of the folder never count: digest would follow them.
    return any(
        entry.path == relative and not path.is_symlink() and manifest.digest(path) == entry.sha256
        for entry in entries
    )


def _check_labels(output_dir: Path, sessions: list[_Session], selection: Selection) -> None:
    """See that every label of the command line has results, as the participant level does."""
    wanted = (
        ("participant", selection.participants, {s.participant_id[4:] for s in sessions}),
        ("session", selection.sessions, {s.session_id[4:] for s in sessions if s.session_id[4:]}),
    )
    for kind, labels, present in wanted:
        unknown = sorted(set(labels) - present)
        if unknown:
            raise MissingInputError(
                f"{output_dir}: no results of {kind} {', '.join(unknown)}. There are: "
                f"{shortened(sorted(present), 20) or 'none'}."
            )


def _is_wanted(session: _Session, selection: Selection) -> bool:
    participant = session.participant_id.removeprefix("sub-")
    if selection.participants and participant not in selection.participants:
        return False
    # As at the participant level, who has no sessions is not left out by the name of one.
    label = session.session_id.removeprefix("ses-")
    return not selection.sessions or label in (*selection.sessions, "n/a")


def _is_run(path: Path, selection: Selection) -> bool:
    run = dict(entities_of(path)[0]).get("run")
    return not selection.runs or run is None or run in selection.runs


def _has_logs(output_dir: Path) -> bool:
    """Return whether the participant level ran in this folder; it writes its settings first."""
    logs = output_dir / "logs"
    return (logs / "settings.json").exists() or any(logs.glob(f"sub-*{manifest.ENDING}"))


def _failed(output_dir: Path) -> dict[str, tuple[str, ...]]:
    """Return the scans whose last run failed, by the name of their session."""
    path = output_dir / "logs" / "failures.json"
    if not path.exists():
        return {}
    try:
        # Only the keys are needed: which scans failed.
        names = json.loads(table_reading.text(path))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict):
        raise DataError(f"{path}: not a list of failures; run the participant level again.")
    failed: dict[str, tuple[str, ...]] = {}
    for name in names:
        entities = [part for part in str(name).split("_") if part.startswith(("sub-", "ses-"))]
        session = "_".join(entities)
        failed[session] = (*failed.get(session, ()), str(name))
    return failed


def _why_not(session: _Session, doubts: _Doubts) -> Reason | None:
    """Return why the tables of a session cannot be believed, or nothing.

    A scan that failed casts doubt on all of its session: it may be one of the others under the
    name it has now.
    """
    if session.key in doubts.gone:
        return Reason(Code.NOT_IN_DATASET, (session.name,))
    if session.name in doubts.failed:
        return Reason(Code.FAILED, doubts.failed[session.name])
    try:
        # A malformed manifest vouches for nothing: as if the run had not finished.
        entries = manifest.read_of(doubts.output_dir, session.name)
    except DataError:
        entries = []
    if not entries:
        return Reason(Code.NOT_FINISHED, (f"{session.name}{manifest.ENDING}",))
    written = {entry.path: entry.sha256 for entry in entries}
    relative = {path: path.relative_to(doubts.output_dir).as_posix() for path in session.tables}
    # Listed before digest: the second check looks each path up.
    checks: tuple[tuple[Code, Callable[[Path], bool]], ...] = (
        (Code.NOT_IN_MANIFEST, lambda path: relative[path] not in written),
        (Code.CHANGED, lambda path: manifest.digest(path) != written[relative[path]]),
    )
    for code, is_wrong in checks:
        wrong = tuple(path.name for path in session.tables if is_wrong(path))
        if wrong:
            return Reason(code, wrong)
    return None


def _say_left_out(left_out: tuple[SessionLeftOut, ...]) -> None:
    for reason in sorted({session.reason.code for session in left_out}):
        rows = [session for session in left_out if session.reason.code == reason]
        log.warning(
            "left out: %s: %s",
            shortened([session.participant_id for session in rows]),
            rows[0].reason.text,
        )
