"""Structures known by their names: label tables of other tools, turned into our numbers."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.anatomy.external_labels import FLUID, GRAY, WHITE
from bids_qsmthal.anatomy.freesurfer import tissue_of
from bids_qsmthal.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SIDES = {"left": 0, "l": 0, "lh": 0, "right": 1, "r": 1, "rh": 1}
"""Words that say the side."""

IDLE = {"proper", "area", "nucleus", "the", "of"}
"""Words that tell nothing apart."""

PAIRED = {
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "globuspallidus": (13, 52),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "accumbens": (26, 58),
    "lateralventricle": (4, 43),
    "ventriclelateral": (4, 43),
    "inflatvent": (5, 44),
    "inferiorlateralventricle": (5, 44),
    "ventraldc": (28, 60),
    "cerebralwhitematter": (2, 41),
    "cerebralcortex": (3, 42),
    "cortex": (3, 42),
    "cerebellumwhitematter": (7, 46),
    "cerebellumcortex": (8, 47),
}
"""Names without side and space, to FreeSurfer's numbers, left and right."""

MIDLINE = {
    "3rdventricle": 14,
    "thirdventricle": 14,
    "4thventricle": 15,
    "fourthventricle": 15,
    "brainstem": 16,
}

TISSUES = {
    **dict.fromkeys(("gm", "graymatter", "greymatter", "cgm", "sgm"), GRAY),
    **dict.fromkeys(("corticalgraymatter", "subcorticalgraymatter"), GRAY),
    **dict.fromkeys(("corticalgreymatter", "subcorticalgreymatter"), GRAY),
    **dict.fromkeys(("wm", "whitematter"), WHITE),
    **dict.fromkeys(("csf", "cerebrospinalfluid", "fluid"), FLUID),
}
"""Tissues by BIDS's abbreviations and in words."""

BACKGROUND = {"background", "bg", "unknown", "outside", "none", ""}


def read_table(path: Path) -> dict[int, str]:
    """Return the names of labels from a ``_dseg.tsv``.

    Raises
    ------
    DataError
        The file is no table with whole numbers in ``index`` and words in ``name``.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        names = {int(row["index"]): row["name"].strip() for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: not a label table ({type(error).__name__}: {error}); expected the columns "
            "index (whole numbers) and name, separated by tabs; mend or remove the file."
        ) from error
    if len(names) < len(rows):
        raise DataError(
            f"{path}: {len(rows) - len(names)} of {len(rows)} rows repeat an index; expected each "
            "once; mend the file."
        )
    return names


def structure(name: str) -> int | None:
    """Return FreeSurfer's number of a structure, ``None`` if it is not known.

    >>> structure("Left-Thalamus-Proper"), structure("thalamus_R"), structure("R Globus Pallidus")
    (10, 49, 52)
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    sides = {SIDES[word] for word in words if word in SIDES}
    rest = "".join(word for word in words if word not in SIDES and word not in IDLE)
    if not sides:
        return MIDLINE.get(rest)
    if len(sides) > 1 or rest not in PAIRED:
        return None
    return PAIRED[rest][sides.pop()]


def tissue(name: str) -> int | None:
    """Return 1 gray matter, 2 white matter, 3 fluid; ``None`` if the name is not known.

    >>> tissue("Grey Matter"), tissue("CSF"), tissue("Left-Caudate"), tissue("skull")
    (1, 3, 1, None)
    """
    known = TISSUES.get("".join(re.findall(r"[a-z0-9]+", name.lower())))
    number = structure(name)
    if known is None and number is not None:
        return int(tissue_of(np.array(number)))
    return known


def is_background(name: str) -> bool:
    """Say whether a name means that nothing is there."""
    return name.strip().lower() in BACKGROUND


def translated(labels: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[np.int16]:
    """Return labels with other numbers; those that are not listed become zero."""
    found = np.zeros(labels.shape, dtype=np.int16)
    for theirs, ours in numbers.items():
        found[labels == theirs] = ours
    return found
