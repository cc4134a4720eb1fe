"""What is in a BIDS dataset: paths and metadata, never voxels."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bids_qsmthal.bids import ignored, t1w
from bids_qsmthal.bids.sidecars import Entities, entities_of, read_json
from bids_qsmthal.core.errors import (
    DataError,
    InvalidBidsError,
    MissingInputError,
    NothingFoundError,
)
from bids_qsmthal.core.scan_warnings import ScanUnusable, T1wOfAnotherSession, UniformWithNoise
from bids_qsmthal.settings import Selection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bids.layout import BIDSLayout

    from bids_qsmthal.core.scan_warnings import ScanWarning

GRE_SUFFIXES = ("MEGRE", "GRE", "T2starw")
"""The BIDS name of multi-echo GRE, and those that older datasets use for it."""

IMAGE = {"extension": [".nii", ".nii.gz"]}
"""Every image of the index lies in an anat/ folder; pybids would read the datatype from folders
above the dataset, too."""

INDEXED = re.compile(
    r"^/(?!\.)(?:sub-[^/]+(?:/ses-[^/]+)?(?:/anat(?:/(?!\.)[^/\ud800-\udfff]+\.nii(?:\.gz)?)?)?)?$"
)
"""What is looked at, from the root of the dataset: images in sub-*/[ses-*/]anat and the folders on
the way. Files of the Mac (``._name``), names that are no UTF-8 and loops of links are none of
it."""

INDEX_KEYS = frozenset({"run", "echo"})
"""Entities that BIDS counts with: run-1 and run-01 are one."""

ROLES: dict[str, dict[str, Any]] = {
    "gre": {**IMAGE, "suffix": list(GRE_SUFFIXES)},
    "t1w": {**IMAGE, "suffix": ["T1w", t1w.UNIFORM], "ceagent": "Query.NONE"},
    "t1w_gad": {**IMAGE, "suffix": ["T1w", t1w.UNIFORM], "ceagent": "Query.ANY"},
    "flair": {**IMAGE, "suffix": "FLAIR"},
}
"""What each role looks for, in the words of pybids; a filter file adds to or replaces them."""

LABEL = re.compile(r"[0-9A-Za-z]+")
VALUE = re.compile(r"[0-9A-Za-z+]+")
"""What an entity of a file name may hold: nothing that means something to a path or a page."""


EXPECTED = (
    "expected names such as sub-01_echo-1_part-mag_MEGRE.nii.gz, sub-01_T1w.nii.gz "
    "in anat/ folders; rename the files or choose others."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class GreFiles:
    """The files of one gradient-echo scan: every echo and part.

    Attributes
    ----------
    entities
        What tells this scan from others of the session: ``acq``, ``run``, ``rec``, ``dir`` ...
    paths
        All its images, sorted by name.
    other_runs
        An image of each other run that differs in its number alone; empty where a number of an
        echo is in the names, and where runs were chosen.
    """

    entities: Entities
    paths: tuple[Path, ...]
    other_runs: tuple[Path, ...] = ()

    @property
    def magnitude_alone(self) -> bool:
        """Whether there is neither phase nor real and imaginary part, by the names of the files."""
        return _parts(self.paths) == {"mag"}


@dataclass(frozen=True, slots=True)
class UnusableScan:
    """A scan that was found and cannot be used.

    Attributes
    ----------
    role
        Which, as filter files name it: ``gre``, ``t1w``, ``t1w_gad`` or ``flair``.
    name
        As a reader calls it.
    reason
        What is wrong with it, and what to do.
    """

    role: str
    name: str
    reason: str

    @property
    def warning(self) -> ScanUnusable:
        """What a reader must know of it."""
        return ScanUnusable(self.name, self.reason)


@dataclass(frozen=True, slots=True)
class Session:
    """The scans of one session of one participant that are processed together.

    Attributes
    ----------
    t1w
        A T1w, or the uniform image of MP2RAGE (UNIT1).
    t1w_session
        The session that T1w is taken from, where it is another one than this.
    unusable
        Scans that were found and cannot be used; each is ``None`` in its own place.
    unusable_gre
        The gradient echo, where it is one of them: outputs and logs keep the names it gives.
    leaving_out
        Roles of scans that were not looked for, because the user wants none.
    wrong_name
        What is wrong with the name of a file of this session; empty where nothing is. Then it has
        no scans: they may be another person's.
    """

    root: Path
    subject: str
    session: str | None = None
    gre: GreFiles | None = None
    t1w: Path | None = None
    t1w_gad: Path | None = None
    flair: Path | None = None
    skipped: tuple[Skipped, ...] = ()
    t1w_session: str | None = None
    unusable: tuple[UnusableScan, ...] = ()
    unusable_gre: GreFiles | None = None
    leaving_out: frozenset[str] = frozenset()
    wrong_name: str = ""

    def without(self, scan: UnusableScan) -> Session:
        """Return the session as if a scan were not there, which it remembers."""
        unusable = (*self.unusable, scan)
        match scan.role:
            case "gre":
                return replace(self, gre=None, unusable_gre=self.gre, unusable=unusable)
            case "t1w":
                return replace(self, t1w=None, t1w_session=None, unusable=unusable)
            case "t1w_gad":
                return replace(self, t1w_gad=None, unusable=unusable)
            case "flair":
                return replace(self, flair=None, unusable=unusable)
        raise ValueError(scan.role)

    @property
    def any_scan(self) -> bool:
        """Whether there is a scan from which something can be made alone."""
        return any(scan is not None for scan in (self.gre, self.t1w, self.flair))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every image that is read, from the root of the dataset, sorted."""
        echoes = self.gre.paths if self.gre else ()
        scans = (self.t1w, *self.inversions, self.t1w_gad, self.flair, *echoes)
        return tuple(sorted(str(scan.relative_to(self.root)) for scan in scans if scan))

    @property
    def inversions(self) -> tuple[Path, ...]:
        """Both inversion images of MP2RAGE, where T1w is its uniform image and they are there."""
        return t1w.inversions(self.t1w) if self.t1w and t1w.is_uniform(self.t1w) else ()

    @property
    def warnings(self) -> tuple[ScanWarning, ...]:
        """What a reader must know of the choice of scans."""
        other = () if self.t1w_session is None else (T1wOfAnotherSession(self.t1w_session),)
        noisy = self.t1w is not None and t1w.is_uniform(self.t1w) and not self.inversions
        lost = (scan.warning for scan in self.unusable)
        return (*other, *((UniformWithNoise(),) if noisy else ()), *lost)

    @property
    def entities(self) -> Entities:
        """Entities that every output of the participant and session carries."""
        session = (("ses", self.session),) if self.session else ()
        return (("sub", self.subject), *session)

    @property
    def gre_entities(self) -> Entities:
        """Entities that outputs made from the gradient echo carry."""
        return (*self.entities, *self.run_entities)

    @property
    def run_entities(self) -> Entities:
        """What tells the scan from others of its session, such as a run."""
        gre = self.gre or self.unusable_gre
        return gre.entities if gre else ()

    @property
    def name(self) -> str:
        """A name for logs, such as ``sub-01_ses-a_run-2``."""
        return "_".join(f"{key}-{value}" for key, value in self.gre_entities)

    @property
    def run(self) -> str | None:
        """What distinguishes the scan within its session, as tables name it."""
        extra = self.run_entities
        if [key for key, _ in extra] == ["run"]:
            return extra[0][1]
        return "_".join(f"{key}-{value}" for key, value in extra) or None


def find_sessions(
    bids_dir: Path, selection: Selection | None = None, *, database: Path | None = None
) -> list[Session]:
    """Find every session x gradient-echo scan that is wanted, sorted by name.

    Raises
    ------
    MissingInputError
        The folder, a label that was asked for, or every image of use is not there.
    InvalidBidsError
        The folder is not a BIDS dataset.
    NothingFoundError
        The labels and filters leave nothing.
    """
    selection = selection or Selection()
    check_is_dataset(bids_dir)
    # Asking pybids for labels would read every entity of every file from its database.
    subjects = _chosen(
        *("participant", selection.participants, _folders(bids_dir, "sub-*"), bids_dir),
        prefix="sub-",
    )
    # Over all participants: a label that only some of them have is no mistake.
    sessions = _chosen(
        *("session", selection.sessions, _folders(bids_dir, "sub-*/ses-*"), bids_dir),
        prefix="ses-",
    )
    layout = _index(bids_dir, database, selection.participants and sorted(subjects))
    found = {
        role: {} if role in selection.leaving_out else _by_session(layout, role, selection.filters)
        for role in ROLES
    }
    if "gre" not in selection.leaving_out:
        _warn_of_swi(bids_dir, subjects)
        _warn_of_other_names(bids_dir, subjects - {subject for subject, _ in found["gre"]})
    _close(layout)
    listed = _without_ignored(bids_dir, found, subjects)
    found = _without_second_names(bids_dir, listed, subjects)
    result: list[Session] = []
    for key in sorted({key for scans in found.values() for key in scans}):
        subject, session = key
        # Images outside ses- folders have no session: they count unless sessions are asked for.
        if subject in subjects and (session in sessions or not (session or selection.sessions)):
            scans = {role: found[role].get(key, []) for role in ROLES}
            result.extend(_sessions(bids_dir, subject, session or None, scans))
    result = _with_t1w_of(selection.t1w_session, result, found, bids_dir)
    # Before runs are chosen, so that a T1w of a scan that is left out is still mentioned.
    if "t1w" not in selection.leaving_out:
        result = _with_other_sessions(result)
    result = [replace(session, leaving_out=selection.leaving_out) for session in result]
    without = sorted(subjects - {session.subject for session in result})
    result = _with_runs(result, selection.runs, bids_dir)
    if without and selection.participants and not selection.filters:
        raise MissingInputError(
            f"{bids_dir}: participant {_some(without)} has no {_of_use(selection)}"
            f"{' in the sessions asked for' if selection.sessions else ''}"
            f"{' that .bidsignore does not list' if ignored.rules(bids_dir) else ''}; {EXPECTED}"
        )
    if not result:
        raise _nothing(bids_dir, selection)
    if without:
        log.warning(
            "skipped %d participants without any of the requested scans (%s): %s",
            *(len(without), _of_use(selection), _some(without)),
        )
    return result


def check_is_dataset(bids_dir: Path) -> None:
    """Raise unless the folder holds the description every BIDS dataset has."""
    if not bids_dir.is_dir():
        raise MissingInputError(f"{bids_dir}: no such folder; give the root of a BIDS dataset.")
    description = bids_dir / "dataset_description.json"
    if not description.is_file():
        raise InvalidBidsError(
            f"{bids_dir}: no dataset_description.json; is this the root of a BIDS dataset?"
        )
    # Only what the standard requires (Name, BIDSVersion): the validator is there for the rest.
    described = read_json(description)
    if described.get("DatasetType") == "derivative":
        raise InvalidBidsError(
            f"{description}: DatasetType is derivative, expected raw data; give the raw dataset, "
            "and this one with --derivatives, or correct DatasetType."
        )
    if missing := [key for key in ("Name", "BIDSVersion") if not described.get(key)]:
        raise InvalidBidsError(
            f"{description}: {' and '.join(missing)} missing, expected a text; add to the file."
        )


def _warn_of_swi(bids_dir: Path, subjects: Collection[str]) -> None:
    """Log who has images in ``swi/``, where labs keep gradient echoes for which BIDS had no name.

    Phase for susceptibility-weighted images is often high-pass filtered, and files there have no
    agreed names, so they are not read by guess.
    """
    found = sorted(
        folder.relative_to(bids_dir)
        for pattern in ("sub-*/swi", "sub-*/ses-*/swi")
        for folder in bids_dir.glob(pattern)
        if any(folder.glob("*.nii*"))
    )
    unread = [str(path) for path in found if path.parts[0].removeprefix("sub-") in subjects]
    if unread:
        log.warning(
            "%s: images in these folders are not read; put a gradient echo with unfiltered phase "
            "into anat/ as sub-01_echo-1_part-mag_MEGRE.nii.gz and ..._part-phase_MEGRE.nii.gz.",
            _some(unread),
        )


def _warn_of_other_names(bids_dir: Path, subjects: Collection[str]) -> None:
    """Log who has phase or echoes with other names: before MEGRE had one, labs chose their own."""
    phase = _of_other_names(bids_dir, subjects, "_part-phase_")
    for suffix, names in phase.items():
        log.warning(
            "%s: this may be the phase of a gradient echo; to use it, give --bids-filter-file "
            'with {"gre": {"suffix": "%s"}}.',
            *(_some(names), suffix),
        )
    for suffix, names in _of_other_names(bids_dir, subjects, "_echo-").items():
        if suffix.lower().startswith(PARTS_AS_SUFFIX):
            log.warning(
                "%s: the suffix names the part of the signal, for which BIDS has part-; rename to "
                "sub-01_echo-1_part-mag_MEGRE.nii.gz and sub-01_echo-1_part-phase_MEGRE.nii.gz.",
                _some(names, most=3),
            )
        elif suffix not in phase and suffix not in SPIN_ECHOES:
            log.warning(
                "%s: this may be the magnitude of a gradient echo of several echoes, which gives "
                "R2* but no susceptibility; to use it, give --bids-filter-file with "
                '{"gre": {"suffix": "%s"}}. If there are several contrasts, choose one there as '
                "well, by its acquisition or run.",
                *(_some(names, most=3), suffix),
            )


PARTS_AS_SUFFIX = ("mag", "phase", "real", "imag")
"""How converters begin the suffix of a part of the signal: ``phase``, ``magnitude1``,
``imaginary``."""

SPIN_ECHOES = ("MESE", "T2w", "PDT2", "VFA", "TB1EPI")
"""Images whose echoes do not decay with T2*, and echo-planar ones for the transmit field."""


def _of_other_names(
    bids_dir: Path, subjects: Collection[str], part: str
) -> Mapping[str, Sequence[str]]:
    """Return the names of anatomical images with this part in them, by their suffix."""
    found: dict[str, list[str]] = defaultdict(list)
    for subject in sorted(subjects):
        for pattern in ("anat", "ses-*/anat"):
            for path in sorted(bids_dir.glob(f"sub-{subject}/{pattern}/*{part}*.nii*")):
                if (suffix := entities_of(path)[1]) not in GRE_SUFFIXES:
                    found[suffix].append(path.name)
    return found


def _folders(bids_dir: Path, pattern: str) -> list[str]:
    """Return the labels of the folders of participants or sessions."""
    found = {path.name.partition("-")[2] for path in bids_dir.glob(pattern) if path.is_dir()}
    return sorted(found)


def _index(bids_dir: Path, database: Path | None, subjects: Sequence[str]) -> BIDSLayout:
    """Index the images; of these participants only where some are named, as in a job array."""
    # Importing pybids takes long enough to be felt in --help.
    from bids import BIDSLayout  # noqa: PLC0415
    from bids.layout import BIDSLayoutIndexer  # noqa: PLC0415

    # A database that is kept has to hold everybody.
    named = "|".join(subjects) if database is None else ""
    others = [re.compile(rf"^/?sub-(?!(?:{named})(?:/|$))")] if named else []
    # Everything that is not wanted is ignored while folders are walked: derivatives and func may
    # hold many more files than anat.
    elsewhere = re.compile(rf"^(?!{INDEXED.pattern.removeprefix('^')})")
    # Without metadata: pybids would read every sidecar; ours are read for the scans in use alone.
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=[elsewhere, *others])
    return BIDSLayout(
        bids_dir, indexer=indexer, derivatives=False, validate=False, database_path=database
    )


def _close(layout: BIDSLayout) -> None:
    """Close the database of an index, which pybids leaves open."""
    layout.connection_manager.session.close()
    layout.connection_manager.engine.dispose()


def _by_session(
    layout: BIDSLayout, role: str, filters: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], list[Path]]:
    from bids.layout import Query  # noqa: PLC0415

    # The words of filter files of fMRIPrep; JSON cannot hold pybids' own values.
    words = {"Query.NONE": Query.NONE, "Query.ANY": Query.ANY, "*": Query.ANY, None: Query.NONE}
    query = {
        key: words.get(value, value) if isinstance(value, str | None) else value
        for key, value in {**ROLES[role], **filters.get(role, {})}.items()
    }
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    try:
        names = layout.get(**query, return_type="filename")
    except ValueError as error:
        reason = str(error).split(". ")[0]
        raise DataError(
            f"Filter for {role}: {reason}; expected entities of BIDS such as run; correct the "
            "filter file."
        ) from error
    for path in map(Path, names):
        folders = path.relative_to(layout.root).parts
        # From the folders: pybids would also take sub- from a folder above the dataset.
        subject, session = (
            next((part[4:] for part in folders[:-1] if part.startswith(prefix)), "")
            for prefix in ("sub-", "ses-")
        )
        if subject:
            groups[subject, session].append(path)
    return {key: _each_once(paths) for key, paths in groups.items()}


def _without_ignored(
    root: Path, found: dict[str, dict[tuple[str, str], list[Path]]], subjects: Collection[str]
) -> dict[str, dict[tuple[str, str], list[Path]]]:
    """Return the scans without those that the dataset's ``.bidsignore`` lists, and log these."""
    rules = ignored.rules(root)
    if not rules:
        return found
    out: list[str] = []
    kept = {
        role: {
            key: rest
            for key, paths in scans.items()
            if (rest := _unlisted(rules, role, key, paths))
        }
        for role, scans in found.items()
    }
    for role, scans in found.items():
        for key, paths in scans.items():
            gone = set(paths) - set(kept[role].get(key, ()))
            out += [path.name for path in gone if key[0] in subjects]
    if out:
        log.warning(
            "%s lists %d images, which are left out: %s.",
            *(root / ignored.NAME, len(out), _some(out)),
        )
    return kept


def _without_second_names(
    root: Path, found: dict[str, dict[tuple[str, str], list[Path]]], subjects: Collection[str]
) -> dict[str, dict[tuple[str, str], list[Path]]]:
    """Return the scans without those in folders that are links to others of the dataset.

    Such a folder has the scans of the other one, under the other's names. It is no other person.
    """
    second = _second_names(root)
    if not second:
        return found
    for link, folder in sorted(second.items()):
        if link.relative_to(root).parts[0].removeprefix("sub-") in subjects:
            log.warning(
                "%s is a link to %s: the same scans, which are used once, as %s.",
                *(link.relative_to(root), folder.relative_to(root), folder.relative_to(root)),
            )
    return {
        role: {
            key: rest
            for key, paths in scans.items()
            if (rest := [path for path in paths if second.keys().isdisjoint(path.parents)])
        }
        for role, scans in found.items()
    }


def _second_names(root: Path) -> dict[Path, Path]:
    """Return links to folders of scans that the dataset has as such, with these folders."""
    levels = ("sub-*", "sub-*/anat", "sub-*/ses-*", "sub-*/ses-*/anat")
    folders = sorted(path for level in levels for path in root.glob(level))
    links = [path for path in folders if path.is_symlink() and path.is_dir()]
    if not links:
        return {}
    # The way down to a folder may hold links, too: below those nothing is the first.
    whole = root.resolve()
    first = {
        whole / path.relative_to(root): path
        for path in folders
        if not any((root / part).is_symlink() for part in _on_the_way(path.relative_to(root)))
    }
    second: dict[Path, Path] = {}
    for link in links:
        target = link.resolve()
        if target in first:
            second[link] = first[target]
        else:
            # Outside the dataset, or in a folder that is not looked at: the first link counts.
            first[target] = link
    return second


def _on_the_way(path: Path) -> list[Path]:
    """Return a path and the folders that lead to it."""
    return [path, *path.parents]


def _unlisted(
    rules: tuple[ignored.Rule, ...], role: str, key: tuple[str, str], paths: Iterable[Path]
) -> list[Path]:
    # From the participant's folder on: links may lead to the root.
    depth = 4 if key[1] else 3
    return [
        path
        for path in paths
        if not ignored.is_ignored(
            rules, PurePosixPath(*path.parts[-depth:]), gradient_echo=role == "gre"
        )
    ]


def _each_once(paths: Iterable[Path]) -> list[Path]:
    """Return images sorted by name, without those that a link shows a second time."""
    found: dict[Path, Path] = {}
    for path in sorted(paths):
        # The folder is resolved, the name is not: with git-annex every file is a link to a name of
        # its own.
        found.setdefault(path.parent.resolve() / path.name, path)
    return list(found.values())


def _wrong_name(path: Path, subject: str, session: str | None) -> str:
    """Return what is wrong with a name: no entities, or not those of its folders; empty if well."""
    entities, _ = entities_of(path)
    if wrong := [f"{key}-{value}" for key, value in entities if not VALUE.fullmatch(value)]:
        return (
            f"{path}: {', '.join(wrong)} in its name, expected letters and digits after each "
            "hyphen; rename it."
        )
    named = dict(entities)
    # A file that was moved by hand would be measured as another person.
    if (named.get("sub"), named.get("ses")) != (subject, session):
        folder = f"sub-{subject}" + (f"/ses-{session}" if session else "")
        return (
            f"{path}: its name does not match the participant and session of its folder, expected "
            f"{folder.replace('/', '_')}; rename or move it."
        )
    return ""


def _sessions(
    root: Path, subject: str, session: str | None, scans: Mapping[str, Sequence[Path]]
) -> list[Session]:
    """Make one ``Session`` for each gradient-echo scan, or one without."""
    files = (path for paths in scans.values() for path in paths)
    wrong = next((told for path in files if (told := _wrong_name(path, subject, session))), "")
    if wrong:
        if not all(LABEL.fullmatch(label) for label in (subject, session or "0")):
            # Outputs, logs and pages are named by these.
            raise InvalidBidsError(wrong)
        return [Session(root, subject, session, wrong_name=wrong)]
    skipped: list[Skipped] = []
    series: list[GreFiles | None] = [*_gre_scans(scans["gre"], skipped)]
    chosen: dict[str, Path | None] = {}
    # Gadolinium shortens T1: such a T1w must not be segmented in place of one without.
    before, after = t1w.by_contrast(scans["t1w"], scans["t1w_gad"], root)
    candidates = {"t1w": before, "t1w_gad": after, "flair": scans["flair"]}
    for role in ("t1w", "t1w_gad", "flair"):
        first, *others = _usable(candidates[role], skipped) or (None,)
        chosen[role] = first
        skipped += [
            Skipped(other, f"{first.name if first else 'another'} of the session is used as {role}")
            for other in others
            if other is not None
        ]
    if not series and not any(chosen.values()):
        return []
    return [
        Session(
            *(root, subject, session, scan),
            *(chosen["t1w"], chosen["t1w_gad"], chosen["flair"], tuple(skipped)),
        )
        for scan in (series or [None])
    ]


def _usable(paths: Sequence[Path], skipped: list[Skipped]) -> list[Path]:
    """Leave out phase and real/imaginary parts of anatomical scans."""
    usable = []
    for path in paths:
        if dict(entities_of(path)[0]).get("part", "mag") == "mag":
            usable.append(path)
        else:
            skipped.append(Skipped(path, "not a magnitude image"))
    return usable


def _gre_scans(paths: Sequence[Path], skipped: list[Skipped]) -> Iterable[GreFiles]:
    """Group echoes and parts into scans.

    An incomplete scan is left out where another one is complete; alone, it is described later, and
    refused with what it lacks.
    """
    groups: dict[Entities, list[Path]] = defaultdict(list)
    for path in paths:
        # The suffix is not a part of the key: phase may be called GRE where the magnitude is called
        # MEGRE.
        groups[_counted(_shared_entities(path))].append(path)
    complete = {key for key, files in groups.items() if _parts(files) & {"phase", "imag"}}
    # Magnitude and phase, or real and imaginary part; which echoes there are is checked later.
    complete = {key for key in complete if _parts(groups[key]) & {"mag", "real"}}
    for key, files in sorted(groups.items()):
        legacy = all(entities_of(path)[1] in ("GRE", "T2starw") for path in files)
        # A T2*-weighted magnitude scan is an ordinary anatomical image, not a mistake. Names that
        # are read only because a filter asks for them are meant.
        ordinary = _parts(files) == {"mag"} and legacy
        if key in complete or not (complete or ordinary):
            own = _shared_entities(min(files))
            yield GreFiles(own, tuple(sorted(files)), _other_runs(key, groups))
        elif "phase" in _parts(files):
            skipped += [Skipped(path, "phase without magnitude under its name") for path in files]
        else:
            skipped += [
                Skipped(path, "magnitude without phase: no susceptibility") for path in files
            ]


def _other_runs(key: Entities, groups: Mapping[Entities, Sequence[Path]]) -> tuple[Path, ...]:
    """Return an image of each other run of a scan whose names have no number of an echo."""
    without = [one for one in key if one[0] != "run"]
    alike = [other for other in groups if [one for one in other if one[0] != "run"] == without]
    first = [min(groups[other]) for other in alike if other != key]
    numbered = any("echo" in dict(entities_of(path)[0]) for path in (*groups[key], *first))
    return () if numbered else tuple(sorted(first))


def _parts(files: Iterable[Path]) -> set[str]:
    return {dict(entities_of(path)[0]).get("part", "mag") for path in files}


def _shared_entities(path: Path) -> Entities:
    """Return what the files of one scan share."""
    entities, _ = entities_of(path)
    # Everything else (acq, run, rec, dir ...) separates scans.
    own = {"sub", "ses", "echo", "part"}
    return tuple((key, value) for key, value in entities if key not in own)


def _counted(entities: Entities) -> Entities:
    """Return entities with numbers as BIDS counts: without leading zeros."""
    return tuple(
        (key, (value.lstrip("0") or "0") if key in INDEX_KEYS else value) for key, value in entities
    )


def _with_t1w_of(
    wanted: str,
    sessions: list[Session],
    found: Mapping[str, Mapping[tuple[str, str], Sequence[Path]]],
    root: Path,
) -> list[Session]:
    """Give the sessions without T1w that of another session; the user named it.

    Raises
    ------
    MissingInputError
        Nobody has a T1w in that session.
    """
    label = wanted.removeprefix("ses-")
    if not label:
        return sessions
    subjects = {subject for subject, session in found["t1w"] if session == label}
    if not subjects:
        there = sorted({session for _, session in found["t1w"] if session})
        raise MissingInputError(
            f"--t1w-session {label}: no T1w in a session {label} of {root}; sessions with T1w: "
            f"{_some(there) or 'none'}."
        )
    chosen: list[Session] = []
    for session in sessions:
        if session.t1w is not None or session.subject not in subjects or session.wrong_name:
            chosen.append(session)
            continue
        key = (session.subject, label)
        wrong = next((told for path in found["t1w"][key] if (told := _wrong_name(path, *key))), "")
        if wrong:
            chosen.append(Session(root, session.subject, session.session, wrong_name=wrong))
            continue
        skipped: list[Skipped] = []
        best = _usable(t1w.by_contrast(found["t1w"][key], [], root)[0], skipped)
        first = best[0] if best else None
        chosen.append(replace(session, t1w=first, t1w_session=label if first else None))
    return chosen


def _with_other_sessions(sessions: Sequence[Session]) -> list[Session]:
    """Say of each session without T1w where the participant has one."""
    elsewhere: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        if session.t1w is not None:
            elsewhere[session.subject].append(session)
    return [
        session
        if session.t1w is not None
        else replace(
            session,
            skipped=(
                *session.skipped,
                *(
                    Skipped(
                        other.t1w,
                        f"T1w of another session than {session.name}; to use it, give "
                        f"--t1w-session {other.session}",
                    )
                    for other in elsewhere[session.subject]
                    if other.t1w is not None
                ),
            ),
        )
        for session in sessions
    ]


def _chosen(
    what: str, wanted: Sequence[str], present: Sequence[str], root: Path, *, prefix: str
) -> set[str]:
    asked = {label.removeprefix(prefix) for label in wanted}
    if strange := sorted(label for label in asked if not LABEL.fullmatch(label)):
        raise MissingInputError(
            f"{what} {', '.join(map(repr, strange))}: a BIDS label has letters and digits only."
        )
    if missing := sorted(asked - set(present)):
        raise MissingInputError(
            f"No {what} {', '.join(missing)} in {root}. "
            f"It holds: {_some(present) or f'no {what} at all'}."
        )
    return asked or set(present)


def _some(labels: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(sorted(labels)[:most])
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _with_runs(sessions: list[Session], runs: Sequence[str], root: Path) -> list[Session]:
    if not runs:
        return sessions
    asked = {label.removeprefix("run-") for label in runs}
    run_of = {id(s): dict(s.gre.entities).get("run", "") if s.gre else "" for s in sessions}
    present = {run for run in run_of.values() if run}
    if missing := sorted(asked - present):
        raise MissingInputError(
            f"No run {', '.join(missing)} of a gradient echo in {root}. "
            f"It holds: {_some(sorted(present)) or 'no run labels'}."
        )
    return [
        # Who names a run says that it is a scan by itself.
        replace(session, gre=replace(session.gre, other_runs=()) if session.gre else None)
        for session in sessions
        if run_of[id(session)] in asked
    ]


def _nothing(bids_dir: Path, selection: Selection) -> NothingFoundError | MissingInputError:
    if selection == Selection():
        return MissingInputError(
            f"{bids_dir}: holds no gradient echo, T1w or FLAIR of any participant; {EXPECTED}"
        )
    return NothingFoundError(
        f"{bids_dir}: the labels and filters leave no {_of_use(selection)}; {EXPECTED}"
    )


def _of_use(selection: Selection) -> str:
    """Return in words the scans of which a participant needs one; not those that are left out."""
    names = {"gre": "gradient echo", "t1w": "T1w", "flair": "FLAIR"}
    wanted = [name for role, name in names.items() if role not in selection.leaving_out]
    return " or ".join(part for part in (", ".join(wanted[:-1]), wanted[-1]) if part)
