"""Labels, volumes and thickness that FreeSurfer, FastSurfer or SynthSeg have already made.

Table formats: FreeSurfer's ``aseg.stats``, ``?h.aparc.stats`` (mri_segstats,
mris_anatomical_stats) and ``ThalamicNuclei*.volumes.txt``; FastSurfer writes the same under other
names; SynthSeg (``mri_synthseg --vol``) writes one row a scan in CSV.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.anatomy.external_labels import FLUID, GRAY, WHITE
from bids_qsmthal.core.errors import DataError, MissingInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

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

STRUCTURES = {
    "Thalamus": "thalamus",
    "Thalamus-Proper": "thalamus",
    "Thalamus-Proper*": "thalamus",
    "Caudate": "caudate",
    "Putamen": "putamen",
    "Pallidum": "pallidum",
    "Hippocampus": "hippocampus",
    "Amygdala": "amygdala",
    "Accumbens-area": "accumbens",
    "Lateral-Ventricle": "lateral_ventricle",
    "Cerebellum-White-Matter": "cerebellar_white_matter",
}
"""FreeSurfer's names without the side, to ours; three versions name the thalamus differently."""

MIDLINE = {
    "3rd-Ventricle": "third_ventricle",
    "4th-Ventricle": "fourth_ventricle",
    "Brain-Stem": "brainstem",
}

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

SYNTHSEG = {
    "thalamus": "thalamus",
    "caudate": "caudate",
    "putamen": "putamen",
    "pallidum": "pallidum",
    "hippocampus": "hippocampus",
    "amygdala": "amygdala",
    "accumbens area": "accumbens",
    "lateral ventricle": "lateral_ventricle",
}
SYNTHSEG_MIDLINE = {
    "3rd ventricle": "third_ventricle",
    "4th ventricle": "fourth_ventricle",
    "brain-stem": "brainstem",
}
SYNTHSEG_GRAY = ("cerebral cortex", "cerebellum cortex", *tuple(SYNTHSEG)[:-1], "ventral dc")
SYNTHSEG_WHITE = ("cerebral white matter", "cerebellum white matter")


STRUCTURE_LABELS = (
    *(4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26),
    *(43, 49, 50, 51, 52, 53, 54, 58),
)
"""Deep gray nuclei, ventricles and brainstem."""

GRAY_LABELS = (
    *(3, 8, 42, 47),  # cortex of cerebrum and cerebellum
    *(10, 11, 12, 13, 17, 18, 19, 20, 26, 27, 28, 49, 50, 51, 52, 53, 54, 55, 56, 58, 59, 60),
    *(80, 81, 82),  # dark spots in gray matter
)
WHITE_LABELS = (2, 7, 16, 30, 41, 46, 62, 77, 78, 79, 85, *range(250, 256))
FLUID_LABELS = (4, 5, 14, 15, 24, 31, 43, 44, 63, 72)
CORTEX_LABELS, WHITE_PARCELS = (1000, 3000), (3000, 5003)
"""Parcels of the cortex, and of the white matter below it: first and one after the last."""

LESION_LABELS = (77, 78, 79, 99)
"""White matter as a lesion shows it (FreeSurfer, WMH-SynthSeg), and SAMSEG's lesions."""


def deep_gray_of(labels: NDArray[Any]) -> NDArray[np.int16]:
    """Return the deep gray nuclei, ventricles and brainstem of FreeSurfer's labels alone."""
    return np.where(np.isin(labels, STRUCTURE_LABELS), labels, 0).astype(np.int16)


def tissue_of(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 gray matter, 2 white matter, 3 fluid for FreeSurfer's labels; 0 for any other."""
    tissue = np.zeros(labels.shape, dtype=np.uint8)
    for kind, single in ((GRAY, GRAY_LABELS), (WHITE, WHITE_LABELS), (FLUID, FLUID_LABELS)):
        tissue[np.isin(labels, single)] = kind
    for kind, (first, end) in ((GRAY, CORTEX_LABELS), (WHITE, WHITE_PARCELS)):
        tissue[(labels >= first) & (labels < end)] = kind
    return tissue


def lesions_of(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the lesions among the labels of WMH-SynthSeg, SAMSEG or FreeSurfer."""
    return np.isin(labels, LESION_LABELS)


@dataclass(frozen=True, slots=True)
class ExternalMeasures:
    """What another program measured.

    Attributes
    ----------
    source
        Program and version as its files name it.
    volumes_mm3
        Region to volume, named as in ``Anatomy.volumes_mm3``.
    thickness_mean_mm
        ``L``, ``R``, ``whole``; empty when there is none.
    nuclei_mm3
        Thalamic nuclei; empty when there are none.
    """

    source: str
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
        source=_program(folder, table.name, header),
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
    found = sorted((folder / "mri").glob(NUCLEI))
    return next((path for path in found if "FSvoxelSpace" not in path.name), None) or next(
        iter(found), None
    )


def is_synthseg(table: Path) -> bool:
    """Say whether a CSV file is a table of volumes of SynthSeg."""
    with table.open(errors="replace") as stream:
        return "total intracranial" in stream.readline()


def has_row(table: Path, scan: str) -> bool:
    """Say whether a table of SynthSeg names a scan."""
    return any(scan in next(iter(row.values()), "") for row in csv.DictReader(_lines(table)))


def read_synthseg(table: Path, scan: str) -> ExternalMeasures:
    """Read one scan's row of a SynthSeg CSV of volumes.

    Parameters
    ----------
    table
        The file of ``mri_synthseg --vol``.
    scan
        The scan as its first column names it; enough if it is part of one row's name.

    Raises
    ------
    DataError
        The table has not the columns of SynthSeg, or not exactly one row fits.
    """
    rows = csv.DictReader(_lines(table))
    found = [row for row in rows if scan in next(iter(row.values()), "")]
    if len(found) != 1:
        raise DataError(
            f"{table}: {len(found)} rows name {scan}, expected 1; check the first column."
        )
    values = {name.strip(): text for name, text in found[0].items() if name}
    try:
        volumes = {"intracranial": float(values["total intracranial"])}
        for side, letter in (("left", "L"), ("right", "R")):
            for name, ours in SYNTHSEG.items():
                volumes[f"{ours}_{letter}"] = float(values[f"{side} {name}"])
        for name, ours in SYNTHSEG_MIDLINE.items():
            if name in values:
                volumes[ours] = float(values[name])
        for ours, names in (("gray_matter", SYNTHSEG_GRAY), ("white_matter", SYNTHSEG_WHITE)):
            volumes[ours] = sum(
                float(values[f"{side} {name}"])
                for side in ("left", "right")
                for name in names
                if f"{side} {name}" in values
            )
        volumes["white_matter"] += volumes.get("brainstem", 0.0)
    except (KeyError, ValueError) as error:
        raise DataError(f"{table}: not a table of SynthSeg volumes ({error}).") from error
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return ExternalMeasures("SynthSeg", volumes)


def _volumes(table: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Read the header and the volumes of an ``aseg.stats``."""
    header: dict[str, str] = {}
    volumes: dict[str, float] = {}
    for line in _lines(table):
        if line.startswith("# Measure"):
            volumes |= _total(table, line)
        elif line.startswith("#"):
            name, _, value = line[1:].strip().partition(" ")
            header.setdefault(name, value.strip())
        elif line.strip():
            volumes |= _structure(table, line.split())
    if "thalamus_L" not in volumes or "thalamus_R" not in volumes:
        raise DataError(f"{table}: no row for left and right thalamus; is the run finished?")
    if set(WHITE_PARTS) <= set(volumes):
        volumes["white_matter"] = sum(volumes[part] for part in WHITE_PARTS)
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return header, volumes


def _total(table: Path, line: str) -> dict[str, float]:
    parts = [part.strip() for part in line.removeprefix("# Measure").split(",")]
    if len(parts) > 3 and parts[1] in TOTALS:
        return {TOTALS[parts[1]]: _number(table, parts[3])}
    return {}


def _structure(table: Path, words: list[str]) -> dict[str, float]:
    if len(words) < 5:
        raise DataError(f"{table}: a row with {len(words)} columns, expected at least 5.")
    side, _, name = words[4].partition("-")
    if side in ("Left", "Right") and name in STRUCTURES:
        return {f"{STRUCTURES[name]}_{side[0]}": _number(table, words[3])}
    if words[4] in MIDLINE:
        return {MIDLINE[words[4]]: _number(table, words[3])}
    return {}


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


def _program(folder: Path, table: str, header: dict[str, str]) -> str:
    """Name the program; FastSurfer's surfaces are measured by FreeSurfer, whose version says so."""
    version = header.get("cvs_version") or header.get("build-stamp") or "unknown version"
    if "DKT" in table:
        return f"FastSurfer {version}"
    fast = (folder / SEGMENTATIONS[1]).exists()
    return f"{'FastSurfer with ' if fast else ''}FreeSurfer {version}"


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: cannot be read as text ({error}).") from error


def _number(table: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{table}: {text!r} where a number is expected.") from error
