"""FLAIR and magnitude: raw images that a participant was made from, read and never written.

They lie in the BIDS folder, outside of the output folder, and are shown only where the reader
names that folder at the start. Which files they are is what the outputs say about themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.sidecars import entities_of, read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, MissingInputError, QsmthalError
from bids_qsmthal.core.image import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.bids.gre_series import Echo

URI: Final = "bids:raw:"
"""How outputs name a raw file (BIDS URI); what follows is its place in the BIDS folder."""

FLAIR: Final = "flair"
ECHO: Final = "echo"
"""Keys of the images; the number of the echo follows, from 1."""


@dataclass(frozen=True, slots=True)
class RawImage:
    """One raw image that can be looked at.

    Attributes
    ----------
    space
        The scan whose world it is in.
    parts
        The magnitude, or real and imaginary part.
    """

    key: str
    title: str
    space: Literal["MEGRE", "FLAIR"]
    parts: tuple[Echo, ...]


def magnitudes(sidecar: Path, bids_dir: Path) -> tuple[RawImage, ...]:
    """Return the magnitudes of the echoes that a map was made from; no voxel is read.

    Parameters
    ----------
    sidecar
        Of the map.

    Returns
    -------
    tuple of RawImage
        Nothing where the files are not there or are not what they were.
    """
    try:
        paths = _sources(sidecar, bids_dir)
        parts, first, second = gre_series.echoes(paths, bids_dir) if paths else (("", ""), (), ())
    except QsmthalError:
        # The raw data were moved or changed since the run: there is nothing of it to show.
        return ()
    pairs = zip(first, second, strict=False)
    of_echo = [(one,) if parts[0] == "mag" else (one, other) for one, other in pairs]
    return tuple(
        RawImage(f"{ECHO}{number}", _title(number, echo[0]), "MEGRE", echo)
        for number, echo in enumerate(of_echo, 1)
    )


def flair(sidecar: Path, bids_dir: Path) -> tuple[RawImage, ...]:
    """Return the FLAIR that an image was made with; nothing where it is not there."""
    try:
        paths = _sources(sidecar, bids_dir)
    except QsmthalError:
        return ()
    found = [path for path in paths if entities_of(path)[1] == "FLAIR"]
    return tuple(
        RawImage(FLAIR, "FLAIR", "FLAIR", (gre_series.Echo(path, None, {}),)) for path in found[:1]
    )


def image(of: RawImage) -> Image:
    """Return its voxels, read again only where a file changed; they must not be written.

    Raises
    ------
    MissingInputError, DataError
        A file is gone or damaged.
    """
    parts = [_part(one.path, one.volume, *_state(one.path)) for one in of.parts]
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    if first.shape != second.shape:
        raise DataError(f"{of.title}: real and imaginary part have different shapes.")
    return first.like(np.hypot(first.data, second.data))


def _title(number: int, echo: Echo) -> str:
    seconds = echo.metadata["EchoTime"]
    return f"magnitude, echo {number} ({1e3 * float(seconds):.1f} ms)"


def _sources(sidecar: Path, bids_dir: Path) -> Sequence[Path]:
    """Return the raw files that an output names, each inside of the BIDS folder, links resolved."""
    named = read_json(sidecar).get("Sources") if sidecar.is_file() else None
    words = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return [_inside(bids_dir, word.removeprefix(URI)) for word in words if word.startswith(URI)]


def _inside(bids_dir: Path, words: str) -> Path:
    """Return a file of the BIDS folder.

    Raises
    ------
    MissingInputError
        There is none, it is no image, or a link or the name leads out of the folder.
    """
    place = bids_dir / words
    real = place.resolve()
    image_name = place.name.endswith((".nii", ".nii.gz"))
    if not (image_name and real.is_file() and real.is_relative_to(bids_dir.resolve())):
        raise MissingInputError(f"{words}: no such image in the BIDS folder.")
    return place


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


# As many as one magnitude of real and imaginary part and a FLAIR: 51 MB each at the study's matrix.
@lru_cache(maxsize=3)
def _part(path: Path, volume: int | None, *_changed: int) -> Image:
    # One volume alone: eleven echoes of half a millimetre in one file have 560 MB.
    read = nifti.load(path) if volume is None else nifti.load_volume(path, volume)
    read.data.setflags(write=False)
    return read
