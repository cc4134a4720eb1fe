"""Voxels of images: read again only where a file changed, and once for requests at one time."""

from __future__ import annotations

from functools import lru_cache
from threading import RLock
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.view import shown

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Image

# A map and a label are asked for at once, and both need the same masks: the second request waits
# for the first one's, instead of reading them besides.
_READING: Final[dict[Path, RLock]] = {}


def _alone(path: Path) -> RLock:
    return _READING.setdefault(path, RLock())


def volume(path: Path) -> Image:
    """Return an image, read again only where the file changed; its data must not be written."""
    return _read(path, "float32")


def mask(path: Path) -> Image:
    """Return an image of small whole numbers, as ``volume`` does, a byte a voxel."""
    return _read(path, "uint8")


def labels(path: Path) -> Image:
    """Return an image of whole numbers, as ``volume`` does."""
    return _read(path, "int32")


def _read(path: Path, dtype: str) -> Image:
    with _alone(path):
        return _volume(path, dtype, *state(path))


def grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return shape and affine of an image of three axes; no voxel is read."""
    state(path)
    shape, affine = nifti.shape_and_affine(path)
    return shape[:3], affine


def state(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is replaced.

    Raises
    ------
    MissingInputError
        There is none.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path.name}: no such image in the output folder.") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def extent(path: Path, margin_mm: float = 0.0) -> shown.Box | None:
    """Return the box of what is not zero in an image of small whole numbers."""
    with _alone(path):
        return _kept_extent(path, margin_mm, *state(path))


@lru_cache(maxsize=256)
def _kept_extent(path: Path, margin_mm: float, *_state: int) -> shown.Box | None:
    return shown.extent(mask(path), margin_mm)


# Those of two participants: the one that is looked at and the one before; at the study's matrix
# a map has 51 MB.
@lru_cache(maxsize=12)
def _volume(path: Path, dtype: str, *_state: int) -> Image:
    image = nifti.load(path, dtype=dtype, as_stored=True)
    image.data.setflags(write=False)
    return image
