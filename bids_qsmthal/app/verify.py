"""Two output trees, or one and its manifest: are they the same, and where do they first differ."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.bids import manifest
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import MissingInputError, QsmthalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TreeComparison:
    """What a comparison found: how many files, and each that differs with how."""

    compared: int
    differences: tuple[str, ...]

    @property
    def said(self) -> str:
        """The result in words: the first difference, and how many files differ."""
        if not self.differences:
            return f"the same: {self.compared} files"
        more = f"{len(self.differences)} of {self.compared} files differ"
        return f"{self.differences[0]}\n{more}"


def with_manifest(output_dir: Path) -> TreeComparison:
    """Compare a tree with the checksums that were written beside it.

    Raises
    ------
    MissingInputError
        There is no manifest.
    """
    _check_folder(output_dir)
    entries = manifest.read_all(output_dir)
    listed = {entry.path: entry for entry in entries}
    found = []
    for entry in sorted(listed.values(), key=lambda entry: entry.path):
        path = output_dir / entry.path
        if not path.is_file():
            found.append(f"{entry.path}: is in the manifest but not in {output_dir}")
        elif manifest.digest(path) != entry.sha256 and not _same_content(path, entry):
            found.append(f"{entry.path}: was changed after it was written")
    # Files at the top, such as dataset_description.json, are of all participants and in no
    # manifest.
    deep = (place for place in _compared(output_dir) if "/" in place)
    found += [f"{place}: is not listed in any manifest" for place in deep if place not in listed]
    return TreeComparison(len(listed), tuple(found))


def of_trees(first: Path, second: Path) -> TreeComparison:
    """Compare two trees file by file; logs, manual edits and command lines are left out.

    Raises
    ------
    MissingInputError
        One of them is not there, or holds nothing.
    """
    for root in (first, second):
        _check_folder(root)
    names = [set(_compared(root)) for root in (first, second)]
    found = []
    for name in sorted(names[0] | names[1]):
        missing = [
            root for root, has in zip((first, second), names, strict=True) if name not in has
        ]
        if missing:
            found.append(f"{name}: is not in {missing[0]}")
        elif manifest.content(first / name) != manifest.content(second / name):
            found.append(f"{name}: {difference(first / name, second / name)}")
    return TreeComparison(len(names[0] | names[1]), tuple(found))


def difference(first: Path, second: Path) -> str:
    """Say where two files differ first: the cell of a table, the voxel of an image, a key, a line.

    Returns
    -------
    str
        In words, the value of ``first`` before that of ``second``.
    """
    if first.name.endswith(".nii.gz"):
        return _of_images(first, second)
    try:
        texts = [manifest.content(path).decode() for path in (first, second)]
    except UnicodeDecodeError:
        return _of_bytes(manifest.content(first), manifest.content(second))
    if first.suffix == ".tsv":
        return _of_tables(*texts)
    if first.suffix == ".json":
        return _of_json(*texts)
    return _of_lines(*texts)


def _check_folder(root: Path) -> None:
    if not root.is_dir() or not any(root.iterdir()):
        raise MissingInputError(
            f"{root}: no such folder, or nothing in it; expected the output of a run."
        )


def _compared(root: Path) -> Iterator[str]:
    for path in manifest.below(root):
        place = path.relative_to(root)
        if place.parts[0] not in manifest.UNCOMPARED:
            yield place.as_posix()


def _same_content(path: Path, entry: manifest.ManifestEntry) -> bool:
    try:
        return hashlib.sha256(manifest.content(path)).hexdigest() == entry.content_sha256
    except QsmthalError:
        return False  # it cannot even be read: it was changed


def _of_images(first: Path, second: Path) -> str:
    images = [nifti.load(path, dtype=np.float64) for path in (first, second)]
    one, other = (image.data for image in images)
    # Before any subtraction: shapes that broadcast would be compared without an error.
    if one.shape != other.shape:
        return f"shape {one.shape} and {other.shape}"
    differs = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if differs.any():
        return _of_voxels(one, other, differs)
    if not np.array_equal(images[0].affine, images[1].affine):
        place = np.argwhere(images[0].affine != images[1].affine)[0]
        row, column = (int(index) for index in place)
        values = [image.affine[row, column] for image in images]
        return f"affine, row {row}, column {column}: {values[0]:.9g} and {values[1]:.9g}"
    return f"header: {nifti.header_difference(first, second)}"


def _of_voxels(
    one: NDArray[np.float64], other: NDArray[np.float64], differs: NDArray[np.bool_]
) -> str:
    place = tuple(int(index) for index in np.argwhere(differs)[0])
    # NaN against a number differs, but not by an amount.
    largest = float(np.nanmax(np.abs(one - other)[differs], initial=0.0))
    return (
        f"voxel {place}: {one[place]:.9g} and {other[place]:.9g}; {int(differs.sum())} voxels "
        f"differ, by {largest:.3g} at most"
    )


def _of_tables(one: str, other: str) -> str:
    lines = [text.splitlines() for text in (one, other)]
    header = lines[0][0].split("\t") if lines[0] else []
    # The shorter one ends the comparison; its length is compared below.
    for number, pair in enumerate(zip(*lines, strict=False), 1):
        cells = [line.split("\t") for line in pair]
        for column, values in enumerate(zip(*cells, strict=False)):
            if values[0] != values[1]:
                name = header[column] if column < len(header) else str(column + 1)
                return f"line {number}, column '{name}': {values[0]} and {values[1]}"
        if len(cells[0]) != len(cells[1]):
            return f"line {number}: {len(cells[0])} and {len(cells[1])} cells"
    if len(lines[0]) != len(lines[1]):
        return f"{len(lines[0])} and {len(lines[1])} lines"
    # Every cell and the number of lines are equal: what is left is \r\n against \n.
    return "the line endings"


def _of_json(one: str, other: str) -> str:
    try:
        pair = [json.loads(text) for text in (one, other)]
    except ValueError:
        return _of_lines(one, other)
    return _of_values(pair[0], pair[1], "") or _of_lines(one, other)


def _of_values(one: Any, other: Any, where: str) -> str:  # noqa: ANN401 - JSON
    """Return the first key under which two JSON values differ; nothing where they do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            if key not in one or key not in other:
                return f"key {where}/{key} is in one only"
            if said := _of_values(one[key], other[key], f"{where}/{key}"):
                return said
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((s for i, (a, b) in pairs if (s := _of_values(a, b, f"{where}/{i}"))), "")
    return "" if one == other else f"key {where}: {_short(one)} and {_short(other)}"


def _of_lines(one: str, other: str) -> str:
    lines = [text.splitlines() for text in (one, other)]
    for number, (left, right) in enumerate(zip(*lines, strict=False), 1):
        if left != right:
            start = next(
                (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
                min(len(left), len(right)),
            )
            return (
                f"line {number}, character {start + 1}: {_short(left[start:])} and "
                f"{_short(right[start:])}"
            )
    return f"{len(lines[0])} and {len(lines[1])} lines"


def _of_bytes(one: bytes, other: bytes) -> str:
    shared = min(len(one), len(other))
    place = next((i for i in range(shared) if one[i] != other[i]), shared)
    return f"byte {place}; {len(one)} and {len(other)} bytes"


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
