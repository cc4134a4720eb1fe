"""Labels, volumes and thickness that FreeSurfer, FastSurfer or SynthSeg have already made.

Table formats: FreeSurfer's ``aseg.stats``, ``?h.aparc.stats`` (mri_segstats,
mris_anatomical_stats) and ``ThalamicNuclei*.volumes.txt``; FastSurfer writes the same under other
names; SynthSeg (``mri_synthseg --vol``) writes one row a scan in CSV.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.core.errors import DataError, MissingInputError, at, raise_if_disk_fails
from bids_qsmthal.core.files import check_file
from bids_qsmthal.core.labels import (
    CORTICAL_PARCELS,
    MEASURED,
    MIDLINE,
    SIDES,
    TABLE,
    WHITE_PARCELS,
    Group,
    Region,
    TissueClass,
)
from bids_qsmthal.core.sources import Program, ProgramName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

SYNTHSEG_PROGRAM = Program(ProgramName.SYNTHSEG, ProgramName.SYNTHSEG.value)
"""Its tables name no version."""

SEGMENTATIONS = (
    "mri/aseg.mgz",
    "mri/aparc.DKTatlas+aseg.deep.mgz",
    "mri/aparc+aseg.mgz",
    "mri/synthseg.mgz",
)
"""Label images of a subject's folder, best first; the second is FastSurfer's."""

NUCLEI = "ThalamicNuclei*.mgz"
"""Labels of thalamic nuclei in ``mri`` (Iglesias 2018, doi 10.1016/j.neuroimage.2018.08.012)."""

VOLUME_TABLES = ("stats/aseg.stats", "stats/aseg+DKT.stats")
THICKNESS_TABLES = (
    "stats/{}h.aparc.stats",
    "stats/{}h.aparc.DKTatlas.mapped.stats",
    "stats/{}h.aparc.DKTatlas.stats",
)

REGIONS = frozenset(row.name for row in MEASURED.rows) | {"cerebellar_white_matter"}
"""What is taken from a table of volumes."""

WHITE_PARTS = (
    *("cerebral_white_matter", "cerebellar_white_matter_L", "cerebellar_white_matter_R"),
    "brainstem",
)
"""What we count as white matter, of what FreeSurfer tells apart."""

TOTALS = {
    "TotalGrayVol": "gray_matter",
    "CerebralWhiteMatterVol": "cerebral_white_matter",
    "CortexVol": "cortical_gray_matter",
    "EstimatedTotalIntraCranialVol": "intracranial",
    "eTIV": "intracranial",
}

PARCELS = {TissueClass.GRAY: CORTICAL_PARCELS, TissueClass.WHITE: WHITE_PARCELS}


def deep_gray_of(labels: NDArray[Any]) -> NDArray[np.int16]:
    """Return the deep gray nuclei, ventricles and brainstem of FreeSurfer's labels alone."""
    return np.where(np.isin(labels, MEASURED.indices()), labels, 0).astype(np.int16)


def tissue_of(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 gray matter, 2 white matter, 3 fluid for FreeSurfer's labels; 0 for any other."""
    tissue = np.zeros(labels.shape, dtype=np.uint8)
    for kind in TissueClass:
        tissue[np.isin(labels, TABLE.of_tissue(kind))] = kind
    for kind, parcels in PARCELS.items():
        # Parcels are ranges of numbers (1000 and 2000 gray, 3000 and 4000 white): a table of each
        # would be long.
        tissue[(labels >= parcels.start) & (labels < parcels.stop)] = kind
    return tissue


def lesions_of(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the lesions among the labels of WMH-SynthSeg, SAMSEG or FreeSurfer."""
    return np.isin(labels, TABLE.indices(Group.LESIONS))


@dataclass(frozen=True, slots=True)
class ExternalMeasures:
    """What another program measured.

    Attributes
    ----------
    program
        With its version as its files name it.
    volumes_mm3
        Region to volume, named as in ``Anatomy.volumes_mm3``.
    thickness_mean_mm
        ``L``, ``R``, ``whole``; empty when there is none.
    nuclei_mm3
        Thalamic nuclei; empty when there are none.
    """

    program: Program
    volumes_mm3: dict[str, float]
    thickness_mean_mm: dict[str, float] = field(default_factory=dict)
    nuclei_mm3: dict[str, float] = field(default_factory=dict)


def read_subject(folder: Path) -> ExternalMeasures:
    """Read a subject's folder of FreeSurfer or FastSurfer.

    Raises
    ------
    MissingInputError
        The folder has no table of volumes.
    DataError
        A table cannot be read.
    """
    table = _first(folder, VOLUME_TABLES)
    if table is None:
        raise MissingInputError(
            f"{folder}: none of {', '.join(VOLUME_TABLES)} found; give the folder of a finished "
            "FreeSurfer or FastSurfer run."
        )
    header, volumes = _volumes(table)
    return ExternalMeasures(
        program=_program(folder, table.name, header),
        volumes_mm3=volumes,
        thickness_mean_mm=_thickness(folder),
        nuclei_mm3=_nuclei(folder),
    )


def has_tables(folder: Path) -> bool:
    """Say whether a subject's folder has a table of volumes."""
    return _first(folder, VOLUME_TABLES) is not None


def segmentation(folder: Path) -> Path | None:
    """Return the best label image of a subject's folder."""
    return _first(folder, SEGMENTATIONS)


def nuclei(folder: Path) -> Path | None:
    """Return the labels of thalamic nuclei of a subject's folder, on their finest grid."""
    # FreeSurfer writes the nuclei on their own grid and, as FSvoxelSpace, on that of the subject.
    found = sorted((folder / "mri").glob(NUCLEI))
    return next((path for path in found if "FSvoxelSpace" not in path.name), None) or next(
        iter(found), None
    )


def is_synthseg(table: Path) -> bool:
    """Say whether a CSV file is a table of volumes of SynthSeg."""
    check_file(table)
    with at(table), table.open(errors="replace") as stream:
        return "total intracranial" in stream.readline()


def has_row(table: Path, scan: str) -> bool:
    """Say whether a table of SynthSeg names a scan."""
    return any(_is_of(row, scan) for row in csv.DictReader(_lines(table)))


def _is_of(row: Mapping[str, str | None], scan: str) -> bool:
    """Say whether a row is of a scan: ``sub-1`` names ``sub-1_T1w.nii.gz``, but not ``sub-10``."""
    name = Path(next(iter(row.values()), "") or "").name.split(".", 1)[0]
    return name == scan or name.startswith(f"{scan}_")


def read_synthseg(table: Path, scan: str) -> ExternalMeasures:
    """Read one scan's row of a SynthSeg CSV of volumes.

    Parameters
    ----------
    table
        The file of ``mri_synthseg --vol``.
    scan
        The scan as its first column names it, or how that name begins, entity by entity.

    Raises
    ------
    DataError
        The table has not the columns of SynthSeg, or not exactly one row fits.
    """
    rows = csv.DictReader(_lines(table))
    found = [row for row in rows if _is_of(row, scan)]
    # Two rows may belong to two sessions: none is chosen by chance.
    if len(found) != 1:
        raise DataError(
            f"{table}: {len(found)} rows name {scan}, expected 1; check the first column."
        )
    values = {name.strip(): text for name, text in found[0].items() if name}
    try:
        volumes = {"intracranial": float(values["total intracranial"])}
        volumes |= _synthseg_volumes(values)
    # TypeError: a row that is shorter than its header has no text in the last cells.
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{table}: not a table of SynthSeg volumes ({error}).") from error
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return ExternalMeasures(SYNTHSEG_PROGRAM, volumes)


def _synthseg_volumes(values: Mapping[str, str]) -> dict[str, float]:
    """Return the volumes of the structures, then of gray and white matter, their sums.

    Raises
    ------
    KeyError
        A paired structure that we measure has no column.
    ValueError
        A cell is no number.
    """
    # Columns have FreeSurfer's names in words: "left accumbens area", "brain-stem".
    columns = {TABLE.named(name): float(text) for name, text in values.items() if _is_known(name)}
    paired = [row for row in MEASURED.rows if row.paired]
    volumes = {
        f"{row.name}_{side}": columns[Region(row.name, side)]
        for side in SIDES
        for row in sorted(paired, key=lambda row: row.tissue is not TissueClass.GRAY)
    }
    for row in MEASURED.rows:
        middle = Region(row.name, MIDLINE)
        if middle in columns:
            volumes[row.name] = columns[middle]
    tissues = (("gray_matter", TissueClass.GRAY), ("white_matter", TissueClass.WHITE))
    for name, tissue in tissues:
        own = [row.name for row in TABLE.rows if row.tissue is tissue and row.paired]
        parts = [Region(part, side) for side in SIDES for part in own]
        volumes[name] = sum(columns[part] for part in parts if part in columns)
    volumes["white_matter"] += volumes.get("brainstem", 0.0)
    return volumes


def _is_known(name: str) -> bool:
    return TABLE.named(name) is not None


def _volumes(table: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Read the header and the volumes of an ``aseg.stats``."""
    header: dict[str, str] = {}
    volumes: dict[str, float] = {}
    for line in _lines(table):
        if line.startswith("# Measure"):
            volumes |= _total(table, line)
        elif line.startswith("#"):
            name, _, value = line[1:].strip().partition(" ")
            # The first of a name counts: later comment lines describe columns under repeated names.
            header.setdefault(name, value.strip())
        elif line.strip():
            volumes |= _structure(table, line.split())
    # An interrupted run leaves a table that reads well and ends early.
    if "thalamus_L" not in volumes or "thalamus_R" not in volumes:
        raise DataError(f"{table}: no row for left and right thalamus; is the run finished?")
    # All parts or none: a sum without the cerebellum would pass for white matter.
    if set(WHITE_PARTS) <= set(volumes):
        volumes["white_matter"] = sum(volumes[part] for part in WHITE_PARTS)
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return header, volumes


def _total(table: Path, line: str) -> dict[str, float]:
    parts = [part.strip() for part in line.removeprefix("# Measure").split(",")]
    if len(parts) > 3 and parts[1] in TOTALS:
        # Fields: structure, short name, description, value, unit.
        return {TOTALS[parts[1]]: _number(table, parts[3])}
    return {}


def _structure(table: Path, words: list[str]) -> dict[str, float]:
    if len(words) < 5:
        raise DataError(f"{table}: a row with {len(words)} columns, expected at least 5.")
    region = TABLE.named(words[4])
    if region is None or region.name not in REGIONS:
        return {}
    # Columns of mri_segstats: index, label, voxels, volume in mm3, name.
    return {_key(region): _number(table, words[3])}


def _key(region: Region) -> str:
    """Return the name of a volume: region and side, or the region alone on the midline."""
    return f"{region.name}_{region.hemisphere}" if region.hemisphere in SIDES else region.name


def _thickness(folder: Path) -> dict[str, float]:
    """Mean thickness of each hemisphere, and of both weighted by area."""
    means: dict[str, float] = {}
    areas: dict[str, float] = {}
    for side in ("L", "R"):
        names = [name.format(side.lower()) for name in THICKNESS_TABLES]
        table = _first(folder, names)
        if table is None:
            return {}
        for line in _lines(table):
            parts = [part.strip() for part in line.split(",")]
            if line.startswith("# Measure Cortex") and len(parts) > 3:
                if parts[1] == "MeanThickness":
                    means[side] = _number(table, parts[3])
                elif parts[1] == "WhiteSurfArea":
                    areas[side] = _number(table, parts[3])
        if side not in means or side not in areas:
            raise DataError(f"{table}: no MeanThickness or WhiteSurfArea; is the run finished?")
    total = sum(areas.values())
    means["whole"] = sum(means[side] * areas[side] for side in ("L", "R")) / total
    return means


def _nuclei(folder: Path) -> dict[str, float]:
    """Volumes of thalamic nuclei (Iglesias 2018, doi 10.1016/j.neuroimage.2018.08.012)."""
    tables = sorted((folder / "mri").glob("ThalamicNuclei*.volumes.txt"))
    volumes = {}
    for line in _lines(tables[0]) if tables else ():
        words = line.split()
        if len(words) == 2:
            volumes[words[0]] = _number(tables[0], words[1])
    return volumes


def _program(folder: Path, table: str, header: dict[str, str]) -> Program:
    """Return the program; FreeSurfer measures FastSurfer's surfaces, and its version says so."""
    version = header.get("cvs_version") or header.get("build-stamp") or "unknown version"
    if "DKT" in table:
        return Program(ProgramName.FASTSURFER, f"FastSurfer {version}")
    if (folder / SEGMENTATIONS[1]).exists():
        return Program(ProgramName.FASTSURFER, f"FastSurfer with FreeSurfer {version}")
    return Program(ProgramName.FREESURFER, f"FreeSurfer {version}")


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _lines(table: Path) -> list[str]:
    try:
        check_file(table)
        return table.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise_if_disk_fails(error, table)
        raise DataError(f"{table}: cannot be read as text ({error}).") from error


def _number(table: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{table}: {text!r} where a number is expected.") from error
