"""The one door to image files: NIfTI (and FreeSurfer MGZ) to ``Image`` and back."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.freesurfer import mghformat

from bids_qsmthal.core.errors import DataError, MissingInputError, at, raise_if_disk_fails
from bids_qsmthal.core.files import write_whole
from bids_qsmthal.core.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

MAX_VOXELS = 2**28
"""Larger headers are taken for broken ones before any memory is asked for: 0.4 mm, whole head."""

MAX_VALUES = 2**29
"""Of all volumes of one file together."""

MAX_HEADER_BYTES = 2**26
"""Header and its extensions (metadata of every DICOM file take some MiB); a longer one is a trick
to make a reader decompress for ever."""

MAX_RATIO = 1100
"""Deflate cannot compress by more than 1032."""

GZIP = b"\x1f\x8b\x08"
"""How every member of a gzip file begins (RFC 1952)."""

SPARE_MEMBERS = 1000
"""Members of a gzip file of any length, also empty ones. Each costs a reader 0.3 ms: 200,000 in
a file of 4 MB cost it a minute."""

MEMBER_BYTES = 2**12
"""What other members have at least, on average; those of bgzip have some 20 KiB."""

ANNEX = "annex/objects/"
MAX_POINTER_BYTES = 2**15
"""Where git-annex keeps content, and the longest text that it takes for a pointer to it."""

BEGIN_BYTES = 2**16
"""Compressed bytes that hold a header; more are not read for it."""

FORMATS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""The first number of a NIfTI file is the length of its header."""

NUMBERS = "biuf"
"""Kinds of types that hold one real number a voxel."""
MNI_CODE = 4
"""Of an affine to MNI space (NIfTI-1)."""


def load(path: Path, *, dtype: DTypeLike = np.float32, as_stored: bool = False) -> Image:
    """Read an image; scale factors of the header applied, data C-contiguous.

    Parameters
    ----------
    as_stored
        Leave the voxels in the order of the file, the first axis fastest: who only looks at an
        image has it a third sooner.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        The file is truncated, not an image, or has a geometry that cannot be used.
    """
    image = _opened(path)
    try:
        if path.name.endswith(".nii.gz"):
            image = _decompressed(image, path)
        elif path.suffix == ".nii":
            _check_end(path.stat().st_size - _end(image))
        # get_fdata would ask for float64 first; dataobj gives the scaled values as they are.
        data = np.asarray(image.dataobj, dtype=dtype)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise_if_disk_fails(error, path)
        raise DataError(
            f"{path}: the file is truncated or damaged ({_words(error)}); copy or export it again."
        ) from error
    data = data.reshape(_without_single(data.shape), order="A")
    data = data if as_stored else np.ascontiguousarray(data)
    return Image(data, _affine(image.affine, path))


def load_volume(path: Path, number: int) -> Image:
    """Read one volume of a 4-D image, float32, scale factors applied; the others are skipped.

    The checksum of a compressed file is behind its last volume and is not compared.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        There is no such volume, the file is truncated or not an image.
    """
    opened = _opened(path)
    try:
        data = np.asarray(opened.dataobj[..., number], dtype=np.float32)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise_if_disk_fails(error, path)
        raise DataError(
            f"{path}: volume {number} cannot be read ({_words(error)}); copy or export it again."
        ) from error
    return Image(np.ascontiguousarray(data), _affine(opened.affine, path))


def shape_and_affine(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read the header alone; a file that was read before is not read again while it is the same.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        The file is not an image, or has a geometry that cannot be used.
    """
    _check_there(path)
    state = path.stat()
    # Time, size and inode make the key of the cache: a file that is replaced is read again.
    shape, affine = _geometry(path, state.st_mtime_ns, state.st_size, state.st_ino)
    # The cached array must not be changed by a caller.
    return shape, affine.copy()


@lru_cache(maxsize=256)
def _kept_header(path: Path, *_state: int) -> Any:  # noqa: ANN401 - nibabel is untyped
    """Return the header of a file that has not changed since: geometry and codes share one read."""
    return _header(path)


@lru_cache(maxsize=256)
def _geometry(path: Path, *state: int) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    if not path.name.endswith((".nii", ".nii.gz")):
        image = _opened(path)
        return tuple(int(n) for n in image.shape), _affine(image.affine, path)
    _check_there(path)
    with _refusing(path):
        header = _kept_header(path, *state)
        shape, affine = header.get_data_shape(), header.get_best_affine()
        dtype = header.get_data_dtype()
    _check_content(shape, dtype, path)
    return _without_single(shape), _affine(affine, path)


class Orientation(NamedTuple):
    """The affines of a header, voxel indices to mm, with their codes in NIfTI-1 (0: none).

    Attributes
    ----------
    affine
        The one that readers prefer: sform, else qform, else voxel sizes alone.
    """

    affine: NDArray[np.float64]
    sform: NDArray[np.float64]
    sform_code: int
    qform: NDArray[np.float64]
    qform_code: int


def orientation(path: Path) -> Orientation:
    """Read the affines of a NIfTI header.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        The file is not a NIfTI image, or an affine in use cannot be inverted.
    """
    _check_there(path)
    state = path.stat()
    return _orientation(path, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=256)
def _orientation(path: Path, *state: int) -> Orientation:
    with _refusing(path):
        header = _kept_header(path, *state)
        best = _affine(header.get_best_affine(), path)
        # An affine of code 0 holds anything; it is not checked and the best one stands for it.
        codes = int(header["sform_code"]), int(header["qform_code"])
        sform = _affine(header.get_sform(), path) if codes[0] > 0 else best
        qform = _affine(header.get_qform(), path) if codes[1] > 0 else best
    return Orientation(best, sform, codes[0], qform, codes[1])


def _without_single(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape without the axes beyond space that hold one volume: (x, y, z, 1, n) is 4-D."""
    # The first three stay even where they are 1: a single slice is still an image in space.
    return (*(int(n) for n in shape[:3]), *(int(n) for n in shape[3:] if n != 1))


def stored_scale(path: Path) -> tuple[float, float]:
    """Return slope and intercept by which the stored numbers were scaled on reading."""
    proxy = _opened(path).dataobj
    return float(getattr(proxy, "slope", 1.0)), float(getattr(proxy, "inter", 0.0))


def header_difference(first: Path, second: Path) -> str:
    """Say which field of two headers differs first."""
    one, other = (_opened(path).header for path in (first, second))
    for key in one:
        pair = [np.asarray(header.get(key)) for header in (one, other)]
        if pair[0].tobytes() != pair[1].tobytes():
            return f"{key}: {pair[0]} and {pair[1]}"
    return "extensions"


ALIGNED = 2
"""Code of an affine that is aligned to something, not said to be the scanner's frame."""


def world_code(path: Path) -> int:
    """Return the code of the affine that ``load`` takes: what world its images are in.

    Where the header has none, the images made from it are in a world all the same: aligned.

    Raises
    ------
    MissingInputError, DataError
        As of ``orientation``.
    """
    header = orientation(path)
    return header.sform_code or header.qform_code or ALIGNED


def save(
    image: Image,
    path: Path,
    *,
    dtype: DTypeLike | None = None,
    slope: float = 1.0,
    code: int = 1,
) -> None:
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
    code
        Of the world its affine maps to: 1 the scanner's, 2 aligned to another scan, 3 and 4 a
        template's.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    """
    write_whole(path, packed(image, dtype=dtype, slope=slope, code=code))


FIELD_STEPS = 1024
"""A millimetre of a saved displacement has this many steps: finer digits are noise that does not
compress."""


def save_field(field: Image, path: Path, *, code: int = 1) -> None:
    """Write a displacement field as ITK, ANTs and 3D Slicer read it: vectors in LPS, five axes.

    Parameters
    ----------
    field
        Displacements in mm (RAS), shape (x, y, z, 3).
    path
        Ends in ``.nii.gz``.
    code
        As of ``save``.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    """
    # ITK's world has x to the left and y to the back (LPS); NIfTI's is RAS.
    lps = field.data * np.array([-1.0, -1.0, 1.0])
    # A power of two: the steps are exact in binary, and rounded digits are zeros that compress.
    stepped = (np.rint(lps * FIELD_STEPS) / FIELD_STEPS).astype(np.float32)
    write_whole(path, packed(field.like(stepped[:, :, :, None, :]), intent="vector", code=code))


def packed(
    image: Image,
    *,
    dtype: DTypeLike | None = None,
    slope: float = 1.0,
    intent: str = "none",
    code: int = 1,
    level: int = 4,
) -> bytes:
    """Return the bytes of the ``.nii.gz`` file that ``save`` writes.

    ``level`` is that of the compression; what ``save`` writes has the default.
    """
    compressed = io.BytesIO()
    whole = content(image, dtype=dtype, scaling=(slope, 0.0), intent=intent, code=code)
    # Time zero and no file name in the header: equal images must give equal bytes.
    with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=level, mtime=0) as stream:
        stream.write(whole)
    return compressed.getvalue()


def content(
    image: Image,
    *,
    dtype: DTypeLike | None = None,
    scaling: tuple[float, float] = (1.0, 0.0),
    intent: str = "none",
    code: int = 1,
    window: tuple[float, float] = (0.0, 0.0),
) -> bytearray:
    """Return the bytes of a NIfTI file, not compressed.

    Parameters
    ----------
    scaling
        Readers multiply the stored values by the first one and add the second one.
    window
        What programs show as black and as white (``cal_min`` and ``cal_max``), in scaled values;
        equal ones say nothing of it.
    """
    data = image.data if dtype is None else image.data.astype(dtype)
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    made = nib.Nifti1Image(data, image.affine)
    made.header.set_xyzt_units("mm", "sec")
    made.header.set_intent(intent)
    made.header["cal_min"], made.header["cal_max"] = window
    # Both affines, as readers differ in which one they prefer.
    made.set_sform(image.affine, code=code)
    made.set_qform(image.affine, code=code)
    whole = bytearray(made.to_bytes())
    if scaling != (1.0, 0.0):
        # nibabel would divide the data by a slope set in the header; these are stored values.
        whole[112:120] = np.array(scaling, "<f4").tobytes()
    return whole


def _opened(path: Path) -> Any:  # noqa: ANN401 - nibabel is untyped
    """Return the image with its header checked and no voxel read."""
    _check_there(path)
    with _refusing(path):
        if path.name.endswith((".nii", ".nii.gz")):
            _header(path)
        if path.name.endswith((".nii", ".nii.gz", ".mgz")):
            _check_members(path)
        # Not mapped into memory: where the disk fails, the system ends a process that reads a map
        # (SIGBUS), and nobody is told which file it was.
        with nib.imageglobals.LoggingOutputSuppressor():  # what it says, our message says too
            image: Any = nib.load(path, mmap=False)
        dtype = image.get_data_dtype()
    _check_content(image.shape, dtype, path)
    return image


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what nibabel raises about a header into an error for users."""
    try:
        yield
    except (
        *(nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError),
        *(OSError, EOFError, ValueError, OverflowError, struct.error, zlib.error),
        # Of MGH: text taken for a header has sizes of zero, and types that nibabel does not know.
        *(mghformat.MGHError, KeyError, TypeError),
    ) as error:
        raise_if_disk_fails(error, path)
        if _called_compressed(path):
            raise DataError(
                f"{path}: not compressed, though its name ends in .gz; name it .nii or compress it."
            ) from error
        raise DataError(
            f"{path}: not a readable NIfTI image ({_words(error)}); export it again."
        ) from error


def _called_compressed(path: Path) -> bool:
    """Whether a NIfTI image that is not compressed has the name of a compressed one."""
    if path.suffix != ".gz":
        return False
    with suppress(OSError), path.open("rb") as raw:
        begin = raw.read(4)
        return min(int.from_bytes(begin, order) for order in ("little", "big")) in FORMATS
    return False


def _check_there(path: Path) -> None:
    if not path.exists():
        what = "no such file"
        if path.is_symlink():
            annexed = ANNEX in str(path.readlink())
            what = f"a link to nothing; fetch its content{' with datalad get' if annexed else ''}"
        raise MissingInputError(f"{path}: {what}; expected a NIfTI image.")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file; expected a NIfTI image.")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: an empty file (0 bytes), expected a NIfTI image; copy it again.")
    # Where links are not supported, git-annex leaves a short text in the place of the content.
    with at(path):
        is_pointer = size < MAX_POINTER_BYTES and path.read_bytes().startswith(f"/{ANNEX}".encode())
    if is_pointer:
        raise MissingInputError(
            f"{path}: a git-annex pointer, expected a NIfTI image; fetch it with datalad get."
        )


def _header(path: Path) -> Any:  # noqa: ANN401 - nibabel is untyped
    """Return the header a NIfTI file begins with; its voxels must begin soon after it.

    Several times faster than opening the image, which counts in a study of thousands.
    """
    with path.open("rb") as raw:
        # By the first bytes, not by the name: files are renamed without being compressed.
        start = io.BytesIO(raw.read(BEGIN_BYTES))
    compressed = start.getbuffer()[:2] == GZIP[:2]
    begin = (gzip.GzipFile(fileobj=start) if compressed else start).read(max(FORMATS))
    # Read in the wrong byte order, 348 and 540 become hundreds of millions and more: the smaller
    # one is right.
    length = min((int.from_bytes(begin[:4], order) for order in ("little", "big")), default=0)
    if length not in FORMATS or len(begin) < length:
        raise ValueError("it does not begin with a header of NIfTI")
    with nib.imageglobals.LoggingOutputSuppressor():
        header = FORMATS[length].header_class(begin[:length])
    offset = float(header["vox_offset"])
    if not 0 <= offset <= MAX_HEADER_BYTES:
        raise ValueError(f"its header says that voxels begin at byte {offset:g}")
    return header


def _check_members(path: Path) -> None:
    """Raise where a compressed file is of so many pieces that reading it would hardly end."""
    count = 0
    with path.open("rb") as raw:
        if raw.read(2) != GZIP[:2]:
            return
        while part := raw.read(2**20):
            count += part.count(GZIP)  # by chance once in 16 MiB
    if count > SPARE_MEMBERS + path.stat().st_size // MEMBER_BYTES:
        raise ValueError(f"it is compressed in {count} pieces")


def _check_content(shape: Sequence[int], dtype: np.dtype[Any], path: Path) -> None:
    """Raise unless this can be an image of real numbers that the file is long enough for."""
    _check_shape(shape, path)
    if dtype.kind not in NUMBERS:
        raise DataError(
            f"{path}: voxels of type {dtype}; expected one real number in each (part-mag and "
            "part-phase are separate files)."
        )
    _check_size(path, int(np.prod(shape, dtype=object)) * dtype.itemsize)


def _check_shape(shape: Sequence[int], path: Path) -> None:
    if len(shape) < 3 or min(shape) < 1 or int(np.prod(shape[:3], dtype=object)) > MAX_VOXELS:
        raise DataError(
            f"{path}: shape {tuple(shape)} is not that of a 3-D image of a head; export it again."
        )
    if int(np.prod(shape, dtype=object)) > MAX_VALUES:
        raise DataError(
            f"{path}: shape {tuple(shape)} has too many volumes, expected at most about "
            f"{MAX_VALUES:.0e} numbers; give fewer volumes."
        )


def _check_size(path: Path, promised: int) -> None:
    """Raise where the file is too short for its header, before memory is asked for."""
    size = path.stat().st_size
    # dtype=object above: Python's integers do not overflow where a header promises absurd sizes.
    if promised > size * (1 if path.suffix == ".nii" else MAX_RATIO):
        raise DataError(
            f"{path}: the file is truncated or damaged ({size} bytes, but its header promises "
            f"{promised}); copy or export it again."
        )


def _end(image: Any) -> int:  # noqa: ANN401 - nibabel is untyped
    """Return the byte behind the last voxel, in the file as it is when decompressed."""
    proxy = image.dataobj
    return int(proxy.offset) + int(np.prod(image.shape, dtype=object)) * int(proxy.dtype.itemsize)


def _check_end(more: int) -> None:
    """Raise where bytes follow the last voxel: the header is another image's, or a size is wrong.

    Raises
    ------
    ValueError
        There are some.
    """
    if more > 0:
        raise ValueError("it is longer than its header says")


def _decompressed(image: Any, path: Path) -> Any:  # noqa: ANN401 - nibabel is untyped
    """Return the image read at once, so that the checksum of the compression is checked.

    No more is decompressed than the header promises, and one byte.

    Raises
    ------
    ValueError
        There is more.
    """
    end = _end(image)
    with gzip.open(path) as stream:
        # nibabel stops at the last voxel and never reaches the checksum behind it, which is
        # compared where the stream ends.
        content = stream.read(end)
        _check_end(len(stream.read(1)))
    return type(image).from_bytes(content)


def _words(error: Exception) -> str:
    """Return what an error says as one line."""
    return " ".join(str(error).split())


def _affine(stored: Any, path: Path) -> NDArray[np.float64]:  # noqa: ANN401
    affine = np.asarray(stored, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise DataError(
            f"{path}: the affine of the header cannot be inverted, or is not in millimetres: "
            f"{affine.tolist()}; export the image again."
        )
    return affine
