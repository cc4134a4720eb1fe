"""``--atlas``: a user's own atlases, found, judged by their headers and read."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bids_qsmthal.anatomy import atlas, naming
from bids_qsmthal.anatomy.user_atlas import UserAtlas
from bids_qsmthal.bids.sidecars import entities_of, read_json
from bids_qsmthal.core import crop, nifti
from bids_qsmthal.core.errors import DataError, UsageError
from bids_qsmthal.settings import AtlasFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.core.image import Image

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9]{1,40}")
"""What BIDS allows as a label: it goes into names of files."""

TEMPLATE, PARTICIPANT = atlas.SPACE, "T1w"

SPACES: Mapping[str, Literal["template", "T1w"]] = {
    TEMPLATE: "template",
    # 2009a, b and c are one average head, sampled otherwise (Fonov 2011,
    # doi 10.1016/j.neuroimage.2010.07.033).
    "MNI152NLin2009aAsym": "template",
    "MNI152NLin2009bAsym": "template",
    PARTICIPANT: "T1w",
}
"""What a file or a user may call the space of an atlas."""

SUBJECT, SESSION = "{subject}", "{session}"
"""What stands for the labels of a participant in the path of an atlas in T1w space."""

HALF = 0.5
"""A voxel belongs to a region whose probability is above: it holds more of it than of all else,
which keeps the volume of a region."""

UNNAMED = naming.NamedLabel("", "")
"""A region of which no table says anything."""

LARGEST_LABEL = 2**31 - 1

MIN_INSIDE = 0.5
"""Share of a template-space atlas that must lie in the template's brain. Measured: deep nuclei
(doi 10.1038/sdata.2018.63) and thalamic tracts (doi 10.1038/s41467-022-32595-4) lie in it for more
than 0.99; the brain itself, where the corner of its grid lies at zero, for less than 0.01."""

LONGEST_NAME = 60
"""Characters of the name of a region."""


def parse(words: Sequence[str], space: str, threshold: float | None) -> tuple[AtlasFile, ...]:
    """Turn ``NAME=FILE`` words into atlases; files that serve everybody are looked at.

    Parameters
    ----------
    space
        That of the files that do not say it themselves; empty where the user did not say it.
    threshold
        Of probabilities; ``None`` for one half.

    Raises
    ------
    UsageError
        A name cannot be used, or nothing says the space.
    MissingInputError, DataError
        A file is not there, or not an image of labels or probabilities.
    """
    if threshold is not None and not 0 <= threshold < float("inf"):
        raise UsageError(f"--atlas-threshold {threshold:g}: expected 0 or more.")
    found: dict[str, AtlasFile] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not value or not NAME.fullmatch(name):
            raise UsageError(
                f"--atlas {word}: expected NAME=FILE, with letters and digits only in the name, "
                "because it becomes part of file names."
            )
        if name in found:
            raise UsageError(
                f"--atlas {word}: the name {name} is given twice; give each atlas its own name."
            )
        # Not resolved: the name of a link says more than that of its target.
        path = Path(value).absolute()
        where = _space(path, space, word)
        _check_pattern(path, where, word)
        if where == "template":
            _check_content(path, threshold)
        found[name] = AtlasFile(name=name, path=path, space=where, threshold=threshold)
    return tuple(found.values())


def _space(path: Path, asked: str, word: str) -> Literal["template", "T1w"]:
    """Return the space of a file: by its name, else by its sidecar, else as the user says."""
    entities = dict(entities_of(path)[0])
    said = entities.get("space") or entities.get("tpl") or _reference(path) or asked
    if not said:
        raise UsageError(
            f"--atlas {word}: neither the name nor the sidecar of the file says its space; add "
            f"--atlas-space {TEMPLATE} or {PARTICIPANT}, or write it into the name "
            f"(space-{TEMPLATE})."
        )
    if said not in SPACES:
        raise UsageError(
            f"--atlas {word}: its space is {said}; expected one of {', '.join(SPACES)}; take the "
            "atlas in that space, or resample it with the transform between both templates."
        )
    return SPACES[said]


def _reference(path: Path) -> str:
    """Return the space that the sidecar names; empty without one."""
    sidecar = _beside(path, ".json")
    said = read_json(sidecar).get("SpatialReference") if sidecar.is_file() else None
    return said if isinstance(said, str) else ""


def _check_pattern(path: Path, space: str, word: str) -> None:
    """Raise unless a path of T1w space names a participant, and one of the template nobody."""
    named = SUBJECT in str(path)
    if space == "T1w" and not named:
        raise UsageError(
            f"--atlas {word}: an atlas in T1w space is a separate file for each participant; "
            f"write {SUBJECT} (and {SESSION}) in the path in place of the labels."
        )
    if space == "template" and (named or SESSION in str(path)):
        raise UsageError(
            f"--atlas {word}: {SUBJECT} stands for a participant, but the space is that of the "
            "template; give one file for all participants."
        )


def _check_content(path: Path, threshold: float | None) -> None:
    """Raise where a file, or the table beside it, would fail every participant."""
    _check_header(path)
    _image(path, threshold)
    table = _beside(path, ".tsv")
    if table.is_file():
        naming.read_labels(table)


def _check_header(path: Path) -> None:
    shape, _ = nifti.shape_and_affine(path)
    if len(shape) > 4:
        raise DataError(
            f"{path}: {len(shape)} dimensions; expected 3 (labels) or 4 (probabilities)."
        )


def _beside(path: Path, extension: str) -> Path:
    """Return the file of the same name with another ending."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + extension)


def read_all(files: Sequence[AtlasFile], session: Session) -> tuple[UserAtlas, ...]:
    """Read the atlases of a participant; one without a file of his or her own is left out.

    Raises
    ------
    DataError
        A file, or the table beside it, holds what cannot be an atlas.
    """
    found = []
    for file in files:
        path = path_of(file, session)
        if file.space == "T1w" and (path is None or not path.is_file()):
            log.warning("Atlas %s is left out: there is no %s.", file.name, path or file.path)
        elif path is not None:
            found.append(read(file, path))
    return tuple(found)


def path_of(file: AtlasFile, session: Session) -> Path | None:
    """Return the file of a participant; ``None`` where it is of a session and there is none."""
    text = str(file.path)
    if SESSION in text and not session.session:
        return None
    # Not str.format, which would read other braces of a path, too.
    return Path(text.replace(SUBJECT, session.subject).replace(SESSION, session.session or ""))


def read(file: AtlasFile, path: Path) -> UserAtlas:
    """Read an atlas with the names of its regions.

    Raises
    ------
    MissingInputError, DataError
        The file is not there, or it, or the table beside it, cannot be those of an atlas.
    """
    _check_header(path)
    image, threshold = _image(path, file.threshold)
    table = _beside(path, ".tsv")
    given = naming.read_labels(table) if table.is_file() else {}
    if image.data.ndim == 3:
        numbers = np.unique(image.data[image.data > 0]).tolist()
        labels = {number: given.get(number, UNNAMED) for number in numbers}
    else:
        labels = _of_volumes(given, image.data.shape[3], table)
    found = UserAtlas(
        name=file.name,
        file_name=path.name,
        image=image,
        names=_distinct({number: label.name for number, label in labels.items()}),
        colors=_colors(labels, table),
        in_template=file.space == "template",
        threshold=threshold,
    )
    _warn_of_empty(found)
    if found.in_template and found.inside < MIN_INSIDE:
        raise DataError(
            f"{path}: {100 * found.inside:.0f} % of its regions lie in the brain of {TEMPLATE}, "
            f"expected {100 * MIN_INSIDE:.0f} % at least; it is in another space, or its header "
            "has lost its origin."
        )
    return found


def _warn_of_empty(found: UserAtlas) -> None:
    """Log the regions of probabilities that lie below the threshold everywhere."""
    if found.labelled:
        return
    most = found.image.data.max(axis=(0, 1, 2)).tolist()
    empty = {name: most[number - 1] for number, name in found.names.items()}
    empty = {name: value for name, value in empty.items() if not value > found.threshold}
    if empty:
        log.warning(
            "Atlas %s: %d of %d regions have no voxel above %g and stay empty: %s; choose an "
            "--atlas-threshold below their largest value.",
            *(found.name, len(empty), len(found.names), found.threshold),
            ", ".join(f"{name} (up to {value:g})" for name, value in empty.items()),
        )


def _image(path: Path, threshold: float | None) -> tuple[Image, float]:
    """Return labels or probabilities in the smallest box that holds them, and the threshold."""
    # float64 holds every label; probabilities have no such digits.
    labels = len(nifti.shape_and_affine(path)[0]) == 3
    image = nifti.load(path, dtype=np.float64 if labels else np.float32)
    values = image.data
    least, most = float(values.min()), float(values.max())
    if not (np.isfinite([least, most]).all() and least >= 0):
        raise DataError(
            f"{path}: holds {least:g} to {most:g}; expected finite numbers of 0 or more."
        )
    if labels and (values == np.rint(values)).all():
        limit = 0.0
        stored: NDArray[Any] = _labels(values, most, path)
    else:
        limit = _threshold(threshold, most, path, several=not labels)
        stored = values.reshape(*values.shape[:3], -1).astype(np.float32)
    # One voxel more on each side: probabilities fall off to zero outside.
    filled = stored.reshape(*image.shape, -1).max(axis=3)
    box = crop.around(filled > limit)
    if box is None:
        raise DataError(
            f"{path}: no voxel above {limit:g}, so there is no region; give an atlas with labels "
            "above 0, or another --atlas-threshold."
        )
    whole = crop.around(filled > 0, margin=(1, 1, 1))
    assert whole is not None  # noqa: S101 - what is above the threshold is above zero
    return whole.of(image.like(stored)), limit


def _labels(values: NDArray[np.float64], most: float, path: Path) -> NDArray[np.int32]:
    if most > LARGEST_LABEL:
        raise DataError(
            f"{path}: the largest label is {most:g}; expected at most {LARGEST_LABEL}; renumber "
            "the labels."
        )
    return values.astype(np.int32)


def _threshold(asked: float | None, most: float, path: Path, *, several: bool) -> float:
    """Return the threshold; it has to be told where values are no shares of one."""
    if asked is not None:
        return asked
    if most > 1:
        kind = "probabilities" if several else "whole labels, or probabilities"
        raise DataError(
            f"{path}: values up to {most:g}, expected {kind} from 0 to 1; where it holds percent "
            "or bytes, give --atlas-threshold in these units (50 or 127.5 for one half)."
        )
    return HALF


def _of_volumes(
    given: Mapping[int, naming.NamedLabel], count: int, table: Path
) -> dict[int, naming.NamedLabel]:
    """Return the labels of the volumes, numbered from 1; tables count them from 0 or from 1."""
    if not given:
        return dict.fromkeys(range(1, count + 1), UNNAMED)
    first = min(given)
    if first not in (0, 1) or sorted(given) != list(range(first, first + count)):
        raise DataError(
            f"{table}: {len(given)} rows, index {first} to {max(given)}; expected one for each of "
            f"the {count} volumes of its image, counted from 0 or from 1."
        )
    return {index - first + 1: label for index, label in given.items()}


def _colors(labels: Mapping[int, naming.NamedLabel], table: Path) -> dict[int, str]:
    """Return the colours that the table gives; one that BIDS does not know is left out."""
    given = {number: label.color for number, label in labels.items()}
    given = {number: color for number, color in given.items() if color not in {"", "n/a"}}
    colors = {
        number: color.upper()
        for number, color in given.items()
        if naming.HEXADECIMAL.fullmatch(color)
    }
    if len(colors) < len(given):
        log.warning(
            "%s: %d of %d colours are not used; expected a hash and six hexadecimal digits "
            "(#E69F00).",
            *(table, len(given) - len(colors), len(given)),
        )
    return colors


def _distinct(names: Mapping[int, str]) -> dict[int, str]:
    """Return names that tables, formulas and pages can hold, each only once."""
    plain = {number: defused(name) or str(number) for number, name in names.items()}
    taken = list(plain.values())
    named: dict[int, str] = {}
    for number, name in plain.items():
        spelled = name
        # What was made distinct may be what another is called.
        while taken.count(name) > 1 and (spelled == name or spelled in taken):
            spelled = f"{spelled}_{number}"
        named[number] = spelled
    return named


def defused(name: str) -> str:
    """Return a name with letters, digits, points and underscores alone.

    Anything else could be a formula of a spreadsheet, markup of a page, or an operator of a model.
    """
    plain = "".join(letter if letter.isalnum() or letter == "." else "_" for letter in name)
    short = re.sub("_+", "_", plain).strip("_.")[:LONGEST_NAME]
    # A cell that says n/a is a missing one.
    return "" if short.lower() in {"n_a", "nan", "none", "background"} else short
