"""Corrections of readers: written where the next run takes them, every version kept.

The newest version lies at ``edits/sub-*/...`` under the name of the output it replaces, with who,
when and why beside it. All versions lie at ``edits/versions/sub-*/...``, which no run reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import numpy as np

from bids_qsmthal import __version__
from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.bids.reader_versions import UNKNOWN
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.files import check_inside, write_json, write_whole
from bids_qsmthal.core.lock import only_writer
from bids_qsmthal.view import images, voxels
from bids_qsmthal.view.messages import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.view.images import Label, ScanMaps

LOCK: Final = ".view.lock"

READER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
"""Readers name files and folders with this."""

LONGEST_WHY: Final = 500


@dataclass(frozen=True, slots=True)
class Signature:
    """Who changes something, and why."""

    reader: str
    why: str


def signature(reader: str, why: str) -> Signature:
    """Return a signature of what a reader typed.

    Raises
    ------
    DataError
        The name cannot be that of a file.
    """
    if not READER.fullmatch(reader) or reader == UNKNOWN:
        raise DataError(
            f"the reader {reader!r}: expected up to 40 letters, digits and hyphens; type a name or "
            "initials."
        )
    plain = "".join(letter if letter.isprintable() else " " for letter in why)
    return Signature(reader, " ".join(plain.split())[:LONGEST_WHY])


def save(
    scan: ScanMaps, label: Label, drawing: NDArray[np.uint8], version: str, signed: Signature
) -> str:
    """Write a drawing as the correction that counts and return its version.

    Parameters
    ----------
    drawing
        On the grid of the label.
    version
        Of the label that the reader began with.

    Raises
    ------
    RefusedError
        Somebody saved another version in between.
    DataError
        The drawing is empty and must not be.
    OutputError
        The folder cannot be written, or a link leads out of it.
    """
    if not drawing.any() and not label.may_be_empty:
        raise DataError(f"the {label.title} is empty; draw it, or undo.")
    place, root = scan.edit(label.key), scan.output_dir / EDITS
    kept = scan.versions(label.key)
    check_inside(scan.output_dir, place.parent, kept)
    root.mkdir(exist_ok=True)
    # The lock is the kernel's: two servers on one folder, too, save one after the other.
    with only_writer(root / LOCK, place):
        before = scan.current(label.key)
        if images.version(before) != version:
            raise RefusedError(
                HTTPStatus.PRECONDITION_FAILED,
                f"somebody else has saved the {label.title} of {scan.row.name} in the meantime; "
                "nothing was written: load it again and repeat your change.",
            )
        return _write(place, kept, before, drawing, signed)


def _write(
    place: Path, kept: Path, before: Path, drawing: NDArray[np.uint8], signed: Signature
) -> str:
    """Write the version that is kept, then the file that counts, then its sidecar."""
    earlier = voxels.mask(before)
    content = nifti.packed(earlier.like(drawing), dtype=np.uint8, code=nifti.world_code(before))
    # After the last one, not their count: a number that was used once is never used again.
    numbers = [int(path.name[:4]) for path in kept.glob("[0-9][0-9][0-9][0-9]_*.nii.gz")]
    number = max(numbers, default=-1) + 1
    if place.is_file() and number == 0:
        # Corrected in another program: that, too, is an earlier version to keep.
        write_whole(kept / f"0000_{UNKNOWN}.nii.gz", place.read_bytes())
        number = 1
    described = {
        "Description": "Corrected by a reader; the next run takes it in place of its own result.",
        "Reader": signed.reader,
        "Time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Reason": signed.why,
        "VoxelsChanged": int((earlier.data != drawing).sum()),
        "BasedOn": images.version(before),
        "Software": f"bids_qsmthal view {__version__}",
    }
    stem = f"{number:04d}_{signed.reader}"
    write_whole(kept / f"{stem}.nii.gz", content)
    write_json(kept / f"{stem}.json", described)
    write_whole(place, content)
    write_json(place.with_name(f"{place.name.removesuffix('.nii.gz')}.json"), described)
    return images.version(place)
