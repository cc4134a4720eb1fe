"""External results: a user's edits, and results of other programs that take the place of a stage.

A dataset is known by what is in it: BIDS derivatives by their names, a ``SUBJECTS_DIR`` of
FreeSurfer or FastSurfer by its folders, a folder of SynthSeg by its labels and its table.
"""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import freesurfer, naming
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.external_names import EXTERNAL_NAMES, READER, RELAXATION, Name
from bids_qsmthal.bids.products import PRODUCTS, REPLACEABLE, Space
from bids_qsmthal.bids.sidecars import entities_of, inherited, read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, MissingInputError, UsageError, raise_if_disk_fails
from bids_qsmthal.core.files import check_file
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import THALAMUS
from bids_qsmthal.core.sources import EDITED, Maker, Program, ProgramName, Source, dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import ExternalMeasures

log = logging.getLogger(__name__)

EDITS = "edits"
"""Folder of the output tree where a user's corrected files win over ours."""

NAME = re.compile(r"[\w.+-]+")
"""Names of datasets."""

NUMBERS = "numbers"
"""Key of a table of volumes and thickness; every other key is that of an image or of points."""

POINTS = frozenset({"lesion_points"})
"""Keys of tables of points."""

SEEDS = frozenset({"lesion_seeds", "lesion_points"})
"""What lesions are grown from."""

MAP_UNITS: Mapping[str, Mapping[str, float]] = {
    "chi": {"ppm": 1.0, "ppb": 1e-3},
    "r2star": {"1/s": 1.0, "s^-1": 1.0, "Hz": 1.0, "1/ms": 1e3, "ms^-1": 1e3},
    "r2": {"1/s": 1.0, "s^-1": 1.0, "Hz": 1.0, "1/ms": 1e3, "ms^-1": 1e3},
    "t2": {"s": 1.0, "ms": 1e-3},
}
"""Units that external maps may have, with the factor to ours, which comes first."""

PLAUSIBLE = {"chi": (5e-4, 0.5), "r2star": (2.0, 500.0), "r2": (2.0, 200.0), "t2": (5e-3, 0.5)}
"""Median of the absolute values of a brain. It is some 0.02 ppm of susceptibility, R2* of 20 /s and
T2 of 0.08 s at 3 T: between ppm and ppb, s and ms, and their inverses, there are three orders of
magnitude."""

MAPS = frozenset({*MAP_UNITS, "total_field"})
"""External images that hold values; the others hold labels."""

NUCLEI_TABLES = {"freesurfer nuclei": "desc-freesurfernuclei_dseg"}
"""Label table of thalamic nuclei that are not numbered as ours."""

READINGS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "labels": lambda values: values,
    "freesurfer nuclei": lambda values: np.where((values > 8100) & (values < 8300), values, 0),
    "deep gray": anatomy.deep_gray_of,
    "tissue": anatomy.tissue_of,
    "lesions": anatomy.lesions_of,
}
"""What is made of a file's labels: as they are, or taken from FreeSurfer's numbers."""

NAMED: Mapping[str, Callable[[str], int | None]] = {
    "named structures": naming.structure_number,
    "named tissues": naming.tissue_number,
}
"""Readings of labels with numbers of their own, by the names a table gives them."""

NAMED_PRODUCTS = {
    "deepgray": "named structures",
    "deepgray_gre": "named structures",
    "tissue": "named tissues",
    "nuclei": "labels",
}
"""Products that a table may number otherwise; nuclei keep numbers and names as they are."""


POINT_COLUMNS = ("x", "y", "z")
"""Of a table of seeds: millimetres in the world (RAS+) of the image they were set on."""


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file that replaces a stage, and who made it.

    Attributes
    ----------
    path
        An image, a table, or the folder of a subject.
    source
        A reader, or the dataset and its program.
    reading
        What is made of its labels: a key of ``READINGS``.
    space
        The scan whose world it is in.
    table
        What its labels are called, where they have numbers of their own.
    """

    path: Path
    source: Source
    reading: str = "labels"
    space: Space = "MEGRE"
    table: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class External:
    """What an external file holds, read once.

    Attributes
    ----------
    content
        Labels in the numbers of the product they replace, or the values of a map; seeds, shape
        (n, 3) in mm; or volumes and thickness of a table.
    """

    file: ExternalFile
    content: Image | NDArray[np.float64] | ExternalMeasures

    @property
    def source(self) -> Source:
        """A reader, or the dataset and its program."""
        return self.file.source

    @property
    def image(self) -> Image:
        """The content of a product that is an image."""
        assert isinstance(self.content, Image)  # noqa: S101 - ``read`` sees to it
        return self.content

    @property
    def points_mm(self) -> NDArray[np.float64] | None:
        """The content of a table of points; ``None`` for all else."""
        return self.content if isinstance(self.content, np.ndarray) else None

    @property
    def measured(self) -> ExternalMeasures | None:
        """The content of a table of volumes and thickness; ``None`` for all else."""
        return self.content if isinstance(self.content, anatomy.ExternalMeasures) else None


def files(
    session: Session, datasets: Mapping[str, Path], output_dir: Path
) -> dict[str, ExternalFile]:
    """Return the external files of a session by the key of the product they replace.

    Edits win over derivative datasets; of these the first named wins. Of a finished lesion mask
    and seeds one counts: an edited mask, else the seeds.

    Raises
    ------
    DataError
        Two files claim the same place, or a table cannot be read.
    """
    chosen = dict(_by_name(session, output_dir / EDITS, EDITED))
    for name, root in datasets.items():
        here = (
            dict(_by_name(session, root, dataset(name)))
            | dict(_subject(session, root, name))
            | dict(_synthseg(session, root, name))
        )
        if not here:
            log.warning(
                "--derivatives %s=%s has no file of %s that the app can read; expected BIDS "
                "names, a folder of FreeSurfer or FastSurfer, or labels of SynthSeg.",
                *(name, root, session.name),
            )
        # The right side wins: edits, and datasets that were named earlier.
        chosen = here | chosen
    seeded = "lesion" in chosen and not SEEDS.isdisjoint(chosen)
    unused = {"lesion"} if seeded and chosen["lesion"].source != EDITED else SEEDS
    return {key: item for key, item in chosen.items() if not (seeded and key in unused)}


def edit_of(key: str, session: Session, output_dir: Path) -> ExternalFile | None:
    """Return a reader's edit of one product of a session, if there is one.

    Raises
    ------
    DataError
        Two files claim the same place.
    """
    name = _names(key)[0]
    path = _file(session, key, name, output_dir / EDITS)
    return None if path is None else ExternalFile(path, EDITED, space=name.space)


def read(key: str, item: ExternalFile, session: Session) -> External:
    """Return what an external file holds.

    Raises
    ------
    DataError
        It is damaged, or holds what cannot be the product.
    """
    if key == NUMBERS:
        return External(item, measured(item, session))
    if key in POINTS:
        return External(item, points_mm(item))
    if key == "total_field":
        _check_hertz(item.path)
    image = nifti.load(item.path)
    if image.data.ndim != 3 or not np.isfinite(image.data).all():
        raise DataError(
            f"{item.path}: shape {image.data.shape} or values that are not numbers; expected one "
            f"volume of finite numbers for the {key}; correct the file."
        )
    if key in MAP_UNITS:
        return External(item, _in_our_unit(key, item, image))
    return External(item, image if key in MAPS else _labels(key, item, image))


def _in_our_unit(key: str, item: ExternalFile, image: Image) -> Image:
    """Return a map in our unit: ppm, or 1/s."""
    # Its own sidecar alone: an inherited one would be that of the scan.
    beside = item.path.with_name(item.path.name.split(".", 1)[0] + ".json")
    stated = read_json(beside).get("Units") if beside.is_file() else None
    units, ours = MAP_UNITS[key], next(iter(MAP_UNITS[key]))
    if stated is not None and stated not in units:
        raise DataError(
            f"{item.path}: Units {stated!r}, expected one of {', '.join(units)}; correct "
            f"{beside.name}."
        )
    factor = units[ours if stated is None else stated]
    inside = np.abs(image.data[image.data != 0])
    low, high = PLAUSIBLE[key]
    # A map of nothing is caught where its regions are measured.
    if inside.size and not low <= factor * float(np.median(inside)) <= high:
        raise DataError(
            f"{item.path}: half of its values are above {np.median(inside):.3g}, which cannot be "
            f"{stated or ours}; state the unit as Units ({', '.join(units)}) in {beside.name}."
        )
    return image.like((image.data * np.float32(factor)).astype(np.float32))


def _check_hertz(path: Path) -> None:
    """Raise unless the sidecar of a field map says hertz, as BIDS wants it to."""
    sidecar = path.with_name(f"{path.name.split('.', 1)[0]}.json")
    units = read_json(sidecar).get("Units") if sidecar.is_file() else None
    if units != "Hz":
        raise DataError(
            f"{path}: Units in {sidecar.name} are {units!r}, expected Hz (a field of 1 ppm is "
            "127.7 Hz at 3 T); convert the map, or add the sidecar."
        )


def _labels(key: str, item: ExternalFile, image: Image) -> Image:
    """Return a label image in the numbers of the product it replaces."""
    numbers = np.unique(image.data)
    # Cast to whole numbers, a probability map would pass for an almost empty mask.
    whole = (numbers == np.rint(numbers)).all()
    if not whole or numbers[0] < 0 or numbers[-1] > np.iinfo(np.int16).max:
        raise DataError(
            f"{item.path}: values from {numbers[0]:g} to {numbers[-1]:g}, expected whole numbers "
            f"from 0 as the labels of {key}; give a label image (a probability must be "
            "thresholded)."
        )
    unknown = nameless(item, numbers)
    if unknown:
        log.warning(
            "%s: left out, because these names in %s are not known: %s.",
            *(item.path, item.table, ", ".join(unknown)),
        )
    # Exact: float32 holds whole numbers up to 2^24.
    values = image.data.astype(np.int16)
    if item.reading in NAMED:
        return image.like(naming.renumbered(values, _numbers(item)))
    return image.like(READINGS[item.reading](values))


def parse(words: Sequence[str]) -> dict[str, Path]:
    """Turn ``NAME=PATH`` or ``PATH`` words into named datasets.

    Raises
    ------
    MissingInputError
        There is no such folder.
    UsageError
        The name is not one that tables can hold, or the folder is that of one subject.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, separator, value = word.partition("=")
        path = Path(value if separator else word)
        if not path.is_dir():
            raise MissingInputError(
                f"--derivatives {word}: {path} is not a folder; expected NAME=PATH of a dataset."
            )
        called = name if separator else path.name
        if not NAME.fullmatch(called):
            raise UsageError(
                f"--derivatives {word}: the name {called!r} goes into tables and reports; expected "
                "letters, digits and . _ + - only; write NAME=PATH with such a name."
            )
        # A common slip that would else end in a warning that nothing was found.
        if (path / "stats").is_dir() and (path / "mri").is_dir():
            raise UsageError(
                f"--derivatives {word}: this is the folder of one subject of FreeSurfer; expected "
                "the folder that holds one such folder for each participant (SUBJECTS_DIR)."
            )
        named[called] = path
    return named


def nameless(item: ExternalFile, found: NDArray[Any]) -> tuple[str, ...]:
    """Return the labels of an image that its table does not name as something we know.

    Parameters
    ----------
    item
        A label image.
    found
        The numbers in it.

    Raises
    ------
    DataError
        The table names nothing that we know.
    """
    if item.table is None or item.reading not in NAMED:
        return ()
    names, known = naming.read_table(item.table), _numbers(item)
    if not known:
        some = ", ".join(list(names.values())[:4])
        raise DataError(
            f"{item.table}: none of its names is known ({some} ...); "
            "expected names such as Left-Thalamus or right caudate, or of tissues, such as GM."
        )
    missing = [int(label) for label in found if label and int(label) not in known]
    missing = [label for label in missing if not naming.is_background(names.get(label, "?"))]
    return tuple(f"{label} ({names.get(label, 'not in the table')})" for label in missing)


def _numbers(item: ExternalFile) -> dict[int, int]:
    """Return our number of each label that the table names as something we know."""
    assert item.table is not None  # noqa: S101 - such readings are made with a table only
    meaning = NAMED[item.reading]
    read = {label: meaning(name) for label, name in naming.read_table(item.table).items()}
    return {label: number for label, number in read.items() if number is not None}


def measured(item: ExternalFile, session: Session) -> ExternalMeasures:
    """Return the volumes and thickness of another program.

    Raises
    ------
    DataError
        A table is malformed.
    """
    if item.path.is_dir():
        return anatomy.read_subject(item.path)
    return anatomy.read_synthseg(item.path, _scan_name(session))


def points_mm(item: ExternalFile) -> NDArray[np.float64]:
    """Return the seeds of a table, shape (n, 3), in millimetres.

    Raises
    ------
    DataError
        It has not the columns x, y, z, no row, or words for numbers.
    """
    try:
        check_file(item.path)
        with item.path.open(newline="", encoding="utf-8-sig") as stream:
            # utf-8-sig: spreadsheets write a byte order mark, which would belong to the name of the
            # first column.
            rows = list(csv.DictReader(stream, delimiter="\t"))
        points = np.array([[float(row[axis]) for axis in POINT_COLUMNS] for row in rows])
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise_if_disk_fails(error, item.path)
        raise DataError(
            f"{item.path}: not a table of seeds ({type(error).__name__}: {error}); expected the "
            "columns x, y, z in millimetres, separated by tabs; correct the file."
        ) from error
    if not len(points) or not np.isfinite(points).all():
        raise DataError(
            f"{item.path}: {len(points)} seeds, or coordinates that are not finite; expected at "
            "least one row of x, y, z in millimetres; correct or remove the file."
        )
    return points


def _by_name(session: Session, root: Path, source: Source) -> Iterator[tuple[str, ExternalFile]]:
    """Find files with the names of BIDS derivatives."""
    names = {key: _names(key) for key in REPLACEABLE} | dict(READER) | dict(RELAXATION)
    for key, choices in names.items():
        for name in choices:
            path = _file(session, key, name, root)
            # The order of the names is that of preference; the first one that can be used ends the
            # search.
            item = None if path is None else _item(path, key, name, source, root)
            if item is not None:
                yield key, item
                break


def _item(path: Path, key: str, name: Name, source: Source, root: Path) -> ExternalFile | None:
    """Say how a file is read, heeding the table of its labels; ``None`` if it is of no use."""
    if name.program is not None and source.maker is Maker.DATASET:
        source = replace(source, program=name.program)
    item = ExternalFile(path, source, name.reading, name.space)
    own_numbers = key in NAMED_PRODUCTS and name.reading in ("labels", *NAMED)
    table = _table(path, root) if own_numbers else None
    if table is not None:
        item = replace(item, reading=NAMED_PRODUCTS[key], table=table)
    if name.reading not in NAMED:
        return item
    # Only a table that names thalami tells structures from tissues.
    return item if table is not None and set(THALAMUS) & set(_numbers(item).values()) else None


def _table(path: Path, root: Path) -> Path | None:
    """Return the nearest table of an image's labels; another ``desc-`` has other labels."""
    desc = dict(entities_of(path)[0]).get("desc")
    tables = inherited(path, root, "tsv")
    # inherited() also gives tables without desc-, which number other labels.
    own = [table for table in tables if dict(entities_of(table)[0]).get("desc") == desc]
    return own[-1] if own else None


def _names(key: str) -> tuple[Name, ...]:
    product = PRODUCTS[key]
    return (Name(product.ending, space=product.space), *EXTERNAL_NAMES.get(key, ()))


def _subject(session: Session, root: Path, name: str) -> Iterator[tuple[str, ExternalFile]]:
    """Find what FreeSurfer or FastSurfer left of a participant."""
    folder = _subject_folder(session, root)
    if folder is None:
        return
    program = Program(ProgramName.FREESURFER, ProgramName.FREESURFER.value)
    if freesurfer.has_tables(folder):
        program = anatomy.read_subject(folder).program
    source = dataset(name, program)
    labels, nuclei = freesurfer.segmentation(folder), freesurfer.nuclei(folder)
    if labels is not None:
        yield "deepgray", ExternalFile(labels, source, "deep gray", "T1w")
        yield "tissue", ExternalFile(labels, source, "tissue", "T1w")
    if nuclei is not None:
        yield "nuclei", ExternalFile(nuclei, source, "freesurfer nuclei", "T1w")
    if freesurfer.has_tables(folder):
        yield NUMBERS, ExternalFile(folder, source, "table", "T1w")


def _subject_folder(session: Session, root: Path) -> Path | None:
    """Return the folder of a participant in a ``SUBJECTS_DIR``: of the session, else of all."""
    whole = [f"sub-{session.subject}", session.subject]
    # The session of T1w first: it is T1w that these programs segment.
    own = dict.fromkeys(one for one in (session.t1w_session, session.session) if one)
    names = [f"{name}_ses-{one}" for one in own for name in whole]
    for name in (*names, *whole):
        folder = root / name
        if (folder / "mri").is_dir() or (folder / "stats").is_dir():
            if session.session and name in whole:
                log.warning("%s: used for each session of sub-%s", folder, session.subject)
            return folder
    return None


def _synthseg(session: Session, root: Path, name: str) -> Iterator[tuple[str, ExternalFile]]:
    """Find the labels and the table of volumes of SynthSeg."""
    begin, source = _scan_name(session), dataset(name, freesurfer.SYNTHSEG_PROGRAM)
    folders = (root, root / f"sub-{session.subject}")
    labels = [
        path
        for folder in folders
        for pattern in ("*_synthseg.nii*", "*_synthseg.mgz")
        # The root is not searched in depth: in a large study that would list every file for each
        # session.
        for path in (folder.rglob(pattern) if folder != root else folder.glob(pattern))
        if path.name.startswith(f"{begin}_")
    ]
    if len(labels) > 1:
        raise DataError(
            f"{root}: {labels[0].name} and {labels[1].name} both claim to be the labels of "
            f"{session.name}; keep one."
        )
    for path in labels:
        yield "deepgray", ExternalFile(path, source, "deep gray", "T1w")
        yield "tissue", ExternalFile(path, source, "tissue", "T1w")
    tables = [
        path
        for path in sorted(path for folder in folders for path in folder.glob("*.csv"))
        if freesurfer.is_synthseg(path) and freesurfer.has_row(path, begin)
    ]
    if len(tables) > 1:
        raise DataError(
            f"{root}: {tables[0].name} and {tables[1].name} both have the volumes of {begin}; "
            "keep one, or remove the row from the other."
        )
    for table in tables:
        yield NUMBERS, ExternalFile(table, source, "table", "T1w")


def _scan_name(session: Session) -> str:
    """Return how the files of a participant's T1w are called by those that were made of it."""
    if session.t1w is not None:
        return session.t1w.name.split(".", 1)[0]
    return "_".join(f"{key}-{value}" for key, value in session.entities)


def _file(session: Session, key: str, name: Name, root: Path) -> Path | None:
    folder = root / f"sub-{session.subject}"
    if not folder.is_dir():
        return None
    extension = ".tsv" if name.ending.endswith("_points") else ".nii*"
    hits = [
        path
        for path in sorted(folder.rglob(f"sub-{session.subject}_*{name.ending}{extension}"))
        if _belongs(path, name, session)
    ]
    if len(hits) > 1:
        raise DataError(
            f"{folder}: {hits[0].name} and {hits[1].name} both claim to be the {key} of "
            f"{session.name}; keep one."
        )
    return hits[0] if hits else None


def _belongs(path: Path, name: Name, session: Session) -> bool:
    """Say whether a file is of this session and run, and nothing else than what is looked for."""
    entities, suffix = entities_of(path)
    *pairs, wanted_suffix = name.ending.split("_")
    wanted = dict(pair.split("-", 1) for pair in pairs)
    found = dict(entities)
    if suffix != wanted_suffix or any(found.get(key) != value for key, value in wanted.items()):
        return False
    # Any entity that the scan does not have (res-, another run) makes it a file of something else.
    own = {"space": name.space, **_own(name.space, session)}
    rest = {key: value for key, value in found.items() if key not in (*wanted, "ses")}
    # The session of the scan itself, too: T1w may be of another one.
    same_session = "ses" not in found or found["ses"] in (session.session, own.get("ses"))
    return same_session and all(own.get(key) == value for key, value in rest.items())


def _own(space: Space, session: Session) -> dict[str, str]:
    """Return the entities that the names of a scan's derivatives may carry."""
    if space == "MEGRE":
        return dict(session.gre_entities)
    scan = session.t1w if space == "T1w" else session.flair
    return dict(session.entities) | (dict(entities_of(scan)[0]) if scan else {})
