"""The one door to image files: NIfTI (and FreeSurfer MGZ) to ``Image`` and back."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from bids_qsmthal.errors import DataError, MissingInputError
from bids_qsmthal.files import write_whole
from bids_qsmthal.image import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

MAX_VOXELS = 2**31
"""Larger headers are taken for broken ones before any memory is asked for."""

MAX_COMPONENTS = 2048


def load(path: Path, *, dtype: DTypeLike = np.float32) -> Image:
    """Read an image; scale factors of the header applied, data C-contiguous.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        The file is truncated, not an image, or has a geometry that cannot be used.
    """
    image = _open(path)
    try:
        # get_fdata would ask for float64 first; dataobj gives the scaled values as they are.
        data = np.asarray(image.dataobj, dtype=dtype)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path}: the file is truncated or damaged ({error}); copy or export it again."
        ) from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return Image(np.ascontiguousarray(data), _affine(image, path))


def shape_and_affine(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read the header alone."""
    image = _open(path)
    return tuple(int(n) for n in image.shape), _affine(image, path)


def stored_scale(path: Path) -> tuple[float, float]:
    """Return slope and intercept by which the stored numbers were scaled on reading."""
    proxy = _open(path).dataobj
    return float(getattr(proxy, "slope", 1.0)), float(getattr(proxy, "inter", 0.0))


def save(image: Image, path: Path, *, dtype: DTypeLike | None = None, slope: float = 1.0) -> None:
    """Write a NIfTI file whole or not at all; equal images give equal bytes.

    Parameters
    ----------
    image
        Values as stored: readers multiply them by ``slope``.
    path
        Ends in ``.nii.gz``.
    dtype
        Type in the file; that of the data by default.
    slope
        Scale factor of the header.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    """
    write_whole(path, packed(image, dtype=dtype, slope=slope))


def packed(image: Image, *, dtype: DTypeLike | None = None, slope: float = 1.0) -> bytes:
    """Return the bytes of the ``.nii.gz`` file that ``save`` writes."""
    data = image.data if dtype is None else image.data.astype(dtype)
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    content = nib.Nifti1Image(data, image.affine)
    content.header.set_xyzt_units("mm", "sec")
    content.set_sform(image.affine, code=1)
    content.set_qform(image.affine, code=1)
    whole = bytearray(content.to_bytes())
    if slope != 1.0:
        # nibabel would divide the data by a slope set in the header; these are stored values.
        whole[112:116] = np.float32(slope).astype("<f4").tobytes()
    compressed = io.BytesIO()
    with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=4, mtime=0) as stream:
        stream.write(whole)
    return compressed.getvalue()


def _open(path: Path) -> Any:  # noqa: ANN401 - nibabel is untyped
    if not path.exists():
        raise MissingInputError(f"{path}: no such file.")
    try:
        image: Any = nib.load(path)
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: not a readable NIfTI image ({error}).") from error
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1 or int(np.prod(shape[:3], dtype=object)) > MAX_VOXELS:
        raise DataError(f"{path}: shape {shape} is not that of a 3-D image of a head.")
    if int(np.prod(shape[3:], dtype=object)) > MAX_COMPONENTS:
        raise DataError(f"{path}: shape {shape} has too many volumes.")
    return image


def _affine(image: Any, path: Path) -> NDArray[np.float64]:  # noqa: ANN401
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise DataError(f"{path}: the affine of the header cannot be inverted: {affine.tolist()}.")
    return affine
