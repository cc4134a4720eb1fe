"""Corrections by reader: every one that was saved in the page stays under its reader's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.bids.products import CORRECTABLE, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS: Final = "versions"
"""Folder in ``edits``; no run reads it."""

UNKNOWN: Final = "unknown"
"""Stands for the reader of a correction that came from another program."""

FILE: Final = re.compile(r"(\d{4})_([A-Za-z0-9][A-Za-z0-9-]{0,39})\.nii\.gz")


@dataclass(frozen=True, slots=True)
class ReaderVersion:
    """A mask as one reader left it.

    Attributes
    ----------
    folder
        Of the scan's images, below the output folder.
    scan
        As the names of its files begin; of a session for what is made of T1w.
    key
        The product it stands for.
    number
        It counts up over all readers.
    """

    path: Path
    folder: str
    scan: str
    key: str
    number: int
    reader: str


def versions(output_dir: Path) -> Iterator[ReaderVersion]:
    """Give every version that was saved, in the order of scans, masks and numbers."""
    root = output_dir / EDITS / VERSIONS
    for place in sorted(root.glob("sub-*/**/*_*/[0-9]*_*.nii.gz")):
        known = _product(place.parent.name)
        words = FILE.fullmatch(place.name)
        if known is None or words is None:
            continue
        folder = place.parent.parent.relative_to(root).as_posix()
        yield ReaderVersion(place, folder, *known, int(words[1]), words[2])


def last_of_each(output_dir: Path) -> list[ReaderVersion]:
    """Return the last version of each known reader for each mask."""
    # In order: a later one takes the place of an earlier one.
    last = {(one.scan, one.key, one.reader): one for one in versions(output_dir)}
    return [one for one in last.values() if one.reader != UNKNOWN]


def _product(name: str) -> tuple[str, str] | None:
    """Return scan and product of a name of an output without its extension."""
    for key in CORRECTABLE:
        ending = f"_{PRODUCTS[key].ending}"
        if name.endswith(ending):
            return name.removesuffix(ending), key
    return None
