"""Maps and masks as series of DICOM files, for viewers and archives of a hospital."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core import dicom, nifti
from bids_qsmthal.core.dicom import UCUM, DicomSeries
from bids_qsmthal.core.errors import DataError, OutputError, UsageError
from bids_qsmthal.core.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii")

LABEL = re.compile(r"[0-9a-zA-Z]+")

OF_CONTENT = frozenset({"desc", "label", "res", "space"})
"""Entities that say what an image shows or which grid it has; the others name the scan."""


def export(images: Sequence[Path], out: Path, subject: str = "") -> None:
    """Write a folder with one series for each image.

    Parameters
    ----------
    images
        Files with names of BIDS, or any names where ``subject`` is given.
    out
        Where the folders go.
    subject
        Label of the participant, in place of that in the names.

    Raises
    ------
    UsageError
        A name says no participant, or the label is none.
    DataError
        An image cannot be a series.
    OutputError
        A folder is there already, or cannot be written.
    UnavailableError
        pydicom is not installed.
    """
    dicom.check_there()
    series = [series_of(path, subject, number) for number, path in enumerate(images, 1)]
    folders = [out / _stem(path) for path in images]
    for path, folder in zip(images, folders, strict=True):
        if folder.exists() or folders.count(folder) > 1:
            raise OutputError(
                f"{folder}: exists already, or {path.name} was given twice; choose another --out."
            )
    for path, folder, one in zip(images, folders, series, strict=True):
        _write(path, folder, one)


def _write(path: Path, folder: Path, series: DicomSeries) -> None:
    image = nifti.load(path)
    try:
        contents = list(dicom.files(image, series))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    folder.mkdir(parents=True)
    for name, content in contents:
        write_whole(folder / name, content)
    log.info("%s: %d files", folder, len(contents))


def series_of(path: Path, subject: str, number: int) -> DicomSeries:
    """Return what the series of an image says, from its name, its sidecar and its dataset.

    Raises
    ------
    UsageError
        The name says no participant and none is given, or the label has other characters than
        letters and digits.
    """
    *pairs, suffix = _stem(path).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    label = subject.removeprefix("sub-") or entities.get("sub", "")
    if not LABEL.fullmatch(label):
        raise UsageError(
            f"{path}: the file name has no participant label; expected a name such as "
            "sub-01_Chimap.nii.gz, or --participant-label with letters and digits."
        )
    shown = [f"{key}-{entities[key]}" for key in entities if key in OF_CONTENT]
    scan = [f"{key}-{entities[key]}" for key in entities if key not in {*OF_CONTENT, "sub", "ses"}]
    # Images of this app without space- are on the grid of the scan that they were made from.
    space = entities.get("space", "T1w" if suffix == "T1w" else "MEGRE")
    units = read_json(sidecar).get("Units", "") if (sidecar := _sidecar(path)).is_file() else ""
    return DicomSeries(
        subject=label,
        session=entities.get("ses", ""),
        study=_study(path),
        frame="_".join((*scan, space)),
        # LO holds 64 characters.
        description=" ".join((suffix, *scan, *shown))[:64],
        units=units if units in UCUM else "",
        number=number,
    )


def _stem(path: Path) -> str:
    """Return the name without the ending of an image."""
    return next((path.name.removesuffix(end) for end in ENDINGS if path.name.endswith(end)), "")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{_stem(path)}.json")


def _study(path: Path) -> str:
    """Return what no other dataset says: the description of the dataset that the image is in."""
    for folder in path.resolve().parents:
        if (found := folder / "dataset_description.json").is_file():
            return found.read_text("utf-8")
    return ""
