"""Structures known by their names: label tables of other tools, turned into our numbers."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bids_qsmthal.anatomy.freesurfer import tissue_of
from bids_qsmthal.core.errors import DataError, raise_if_disk_fails
from bids_qsmthal.core.files import check_file
from bids_qsmthal.core.labels import TABLE, TissueClass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

TISSUES = {
    **dict.fromkeys(("gm", "graymatter", "greymatter", "cgm", "sgm"), TissueClass.GRAY),
    **dict.fromkeys(("corticalgraymatter", "subcorticalgraymatter"), TissueClass.GRAY),
    **dict.fromkeys(("corticalgreymatter", "subcorticalgreymatter"), TissueClass.GRAY),
    **dict.fromkeys(("wm", "whitematter"), TissueClass.WHITE),
    **dict.fromkeys(("csf", "cerebrospinalfluid", "fluid"), TissueClass.FLUID),
}
"""Tissues by BIDS's abbreviations and in words."""

BACKGROUND = {"background", "bg", "unknown", "outside", "none", ""}


HEXADECIMAL = re.compile(r"#[0-9A-Fa-f]{6}")
"""A colour as BIDS writes it into a ``_dseg.tsv``."""


class NamedLabel(NamedTuple):
    """What a ``_dseg.tsv`` says of a label; ``color`` is empty where it says none."""

    name: str
    color: str


def read_table(path: Path) -> dict[int, str]:
    """Return the names of labels from a ``_dseg.tsv``, as :func:`read_labels` reads it."""
    return {index: label.name for index, label in read_labels(path).items()}


def read_labels(path: Path) -> dict[int, NamedLabel]:
    """Return the names of labels from a ``_dseg.tsv``, and their colours as they are written.

    Raises
    ------
    DataError
        The file is no table with whole numbers in ``index`` and words in ``name``.
    """
    try:
        check_file(path)
        # Spreadsheets put a byte-order mark first, which would become part of the name of the first
        # column.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            rows = list(reader)
        if lacking := {"index", "name"} - {*(reader.fieldnames or ())}:
            found = ", ".join(str(name)[:40] for name in (reader.fieldnames or ())[:8])
            raise DataError(
                f"{path}: not a label table: no column {' or '.join(sorted(lacking))} among its "
                f"columns ({found or 'none'}); name the columns index (whole numbers) and name, "
                "separated by tabs."
            )
        labels = {
            int(row["index"]): NamedLabel(row["name"].strip(), (row.get("color") or "").strip())
            for row in rows
        }
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise_if_disk_fails(error, path)
        raise DataError(
            f"{path}: not a label table ({type(error).__name__}: {error}); expected the columns "
            "index (whole numbers) and name, separated by tabs; correct or remove the file."
        ) from error
    # A repeated index would silently keep the last of its names.
    if len(labels) < len(rows):
        raise DataError(
            f"{path}: {len(rows) - len(labels)} of {len(rows)} rows repeat an index; expected "
            "each index once; correct the file."
        )
    return labels


def structure_number(name: str) -> int | None:
    """Return FreeSurfer's number of a structure, ``None`` if it is not known.

    >>> [structure_number(name) for name in ("Left-Thalamus-Proper", "R Globus Pallidus")]
    [10, 52]
    """
    return TABLE.number(name)


def tissue_number(name: str) -> int | None:
    """Return 1 gray matter, 2 white matter, 3 fluid; ``None`` if the name is not known.

    >>> [tissue_number(name) for name in ("Grey Matter", "CSF", "Left-Caudate", "skull")]
    [1, 3, 1, None]
    """
    # Only letters and digits count: tools write "Grey Matter", "grey_matter" and "GreyMatter".
    known = TISSUES.get("".join(re.findall(r"[a-z0-9]+", name.lower())))
    number = structure_number(name)
    if known is None and number is not None:
        return int(tissue_of(np.array(number)))
    return None if known is None else int(known)


def is_background(name: str) -> bool:
    """Say whether a name means that nothing is there."""
    return name.strip().lower() in BACKGROUND


def renumbered(labels: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[np.int16]:
    """Return labels with other numbers; those that are not listed become zero."""
    # A new array and not a change in place: 1 -> 2 and 2 -> 1 in one table must not run into each
    # other.
    renamed = np.zeros(labels.shape, dtype=np.int16)
    for theirs, ours in numbers.items():
        renamed[labels == theirs] = ours
    return renamed
