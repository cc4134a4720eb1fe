"""Volumes and thickness that FreeSurfer, FastSurfer or SynthSeg have already measured.

Table formats: FreeSurfer's ``aseg.stats``, ``?h.aparc.stats`` (mri_segstats,
mris_anatomical_stats) and ``ThalamicNuclei*.volumes.txt``; FastSurfer writes the same under other
names; SynthSeg (``mri_synthseg --vol``) writes one row a scan in CSV.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bids_qsmthal.errors import DataError, MissingInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SEGMENTATIONS = (
    "mri/aseg.mgz",
    "mri/aparc.DKTatlas+aseg.deep.mgz",
    "mri/aparc+aseg.mgz",
)
"""Label images of a subject's folder, best first; the second is FastSurfer's."""

VOLUME_TABLES = ("stats/aseg.stats", "stats/aseg+DKT.stats")
THICKNESS_TABLES = ("stats/{}h.aparc.stats", "stats/{}h.aparc.DKTatlas.mapped.stats")

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
}
"""FreeSurfer's names without the side, to ours; three versions name the thalamus differently."""

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
SYNTHSEG_GRAY = ("cerebral cortex", "cerebellum cortex", *tuple(SYNTHSEG)[:-1], "ventral dc")
SYNTHSEG_WHITE = ("cerebral white matter", "cerebellum white matter")


@dataclass(frozen=True, slots=True)
class Measured:
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
    segmentation
        Label image with FreeSurfer's numbers, if there is one.
    """

    source: str
    volumes_mm3: dict[str, float]
    thickness_mean_mm: dict[str, float] = field(default_factory=dict)
    nuclei_mm3: dict[str, float] = field(default_factory=dict)
    segmentation: Path | None = None


def read_subject(folder: Path) -> Measured:
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
    return Measured(
        source=_program(table.name, header),
        volumes_mm3=volumes,
        thickness_mean_mm=_thickness(folder),
        nuclei_mm3=_nuclei(folder),
        segmentation=_first(folder, SEGMENTATIONS),
    )


def read_synthseg(table: Path, scan: str) -> Measured:
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
        for ours, names in (("gray_matter", SYNTHSEG_GRAY), ("white_matter", SYNTHSEG_WHITE)):
            volumes[ours] = sum(
                float(values[f"{side} {name}"])
                for side in ("left", "right")
                for name in names
                if f"{side} {name}" in values
            )
    except (KeyError, ValueError) as error:
        raise DataError(f"{table}: not a table of SynthSeg volumes ({error}).") from error
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return Measured("SynthSeg", volumes)


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


def _program(name: str, header: dict[str, str]) -> str:
    version = header.get("cvs_version") or header.get("build-stamp") or "unknown version"
    return f"{'FastSurfer' if 'DKT' in name else 'FreeSurfer'} {version}"


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
