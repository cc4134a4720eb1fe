import gzip
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, MissingInputError, OutputError
from bids_qsmthal.core.image import Image


@pytest.fixture
def image(rng: np.random.Generator) -> Image:
    affine = np.array([[0, 0, 3, 4], [-1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 0, 1.0]])
    return Image(rng.standard_normal((20, 15, 12)).astype(np.float32), affine)


def test_what_is_saved_is_loaded(tmp_path: Path, image: Image) -> None:
    nifti.save(image, tmp_path / "new" / "x.nii.gz")
    found = nifti.load(tmp_path / "new" / "x.nii.gz")
    np.testing.assert_array_equal(found.data, image.data)
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-6)
    assert found.data.flags.c_contiguous
    assert found.data.dtype == np.float32


def test_equal_images_give_equal_bytes(tmp_path: Path, image: Image) -> None:
    nifti.save(image, tmp_path / "a.nii.gz")
    nifti.save(image, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_header_scale_is_applied(tmp_path: Path) -> None:
    stored = nib.Nifti1Image(np.full((3, 3, 3), 100, np.int16), np.eye(4))
    stored.header.set_slope_inter(0.5, -7)
    nib.save(stored, tmp_path / "x.nii.gz")
    scaled = nifti.load(tmp_path / "x.nii.gz").data
    raw = np.asarray(nib.load(tmp_path / "x.nii.gz").dataobj)
    np.testing.assert_allclose(scaled, raw)


def test_a_truncated_file_is_named(tmp_path: Path, image: Image) -> None:
    path = tmp_path / "x.nii.gz"
    nifti.save(image, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"x\.nii\.gz: the file is truncated"):
        nifti.load(path)


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    header = nib.Nifti2Header()
    header.set_data_shape((100_000, 100_000, 100_000))
    header["magic"] = b"n+2\x00\r\n\x1a\n"
    header["vox_offset"] = 544
    path = tmp_path / "x.nii.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(header.binaryblock + bytes(4))
    with pytest.raises(DataError, match="is not that of a 3-D image"):
        nifti.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        nifti.load(tmp_path / "x.nii.gz")


def test_a_flat_affine_is_refused(tmp_path: Path) -> None:
    stored = nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.diag([1.0, 1, 1, 1]))
    stored.set_sform(np.diag([1.0, 1, 0, 1]), code=1)
    nib.save(stored, tmp_path / "x.nii")
    with pytest.raises(DataError, match="cannot be inverted"):
        nifti.load(tmp_path / "x.nii")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, image: Image) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        nifti.save(image, tmp_path / "file" / "x.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("sform", "qform", "wanted"), [(1, 1, 1), (4, 1, 4), (2, 0, 2), (0, 1, 1), (0, 3, 3), (0, 0, 2)]
)
def test_the_world_of_the_input_is_kept(
    tmp_path: Path, sform: int, qform: int, wanted: int
) -> None:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    raw = nib.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), affine)
    raw.set_sform(affine, code=sform)
    raw.set_qform(affine, code=qform)
    nib.save(raw, tmp_path / "raw.nii.gz")
    code = nifti.world_code(tmp_path / "raw.nii.gz")
    image = nifti.load(tmp_path / "raw.nii.gz")
    nifti.save(image, tmp_path / "made.nii.gz", code=code)
    made = nib.load(tmp_path / "made.nii.gz")
    assert (int(made.header["sform_code"]), int(made.header["qform_code"])) == (wanted, wanted)
    assert np.allclose(made.affine, image.affine)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii"])
def test_bytes_behind_the_last_voxel_are_refused(tmp_path: Path, image: Image, name: str) -> None:
    nifti.save(image, tmp_path / "whole.nii.gz")
    content = gzip.decompress((tmp_path / "whole.nii.gz").read_bytes())
    pack = gzip.compress if name.endswith("gz") else bytes
    (tmp_path / name).write_bytes(pack(content))
    assert nifti.load(tmp_path / name).shape == image.shape
    (tmp_path / name).write_bytes(pack(content + b"\0"))
    with pytest.raises(DataError, match="longer than its header says"):
        nifti.load(tmp_path / name)


@pytest.mark.parametrize("place", [0, 352, None], ids=["before", "after the header", "behind"])
def test_a_file_of_countless_pieces_ends_at_once(
    tmp_path: Path, image: Image, place: int | None
) -> None:
    path = tmp_path / "x.nii.gz"
    nifti.save(image, path)
    content = gzip.decompress(path.read_bytes())
    place = len(content) if place is None else place
    begin = gzip.compress(content[:place]) if place else b""
    path.write_bytes(begin + 200_000 * gzip.compress(b"") + gzip.compress(content[place:]))
    start = time.process_time()
    with pytest.raises(DataError, match=r"x\.nii\.gz"):
        nifti.load(path)
    # One read of each piece; looking from the start for each would take hours.
    assert time.process_time() - start < 60


def test_a_file_of_many_blocks_is_read(tmp_path: Path) -> None:
    """As bgzip writes it: blocks of 64 KiB, and an empty one at the end."""
    path = tmp_path / "x.nii.gz"
    image = Image(np.random.default_rng(1).normal(size=(90, 90, 90)).astype(np.float32), np.eye(4))
    nifti.save(image, path)
    content = gzip.decompress(path.read_bytes())
    blocks = [content[start : start + 65280] for start in range(0, len(content), 65280)]
    path.write_bytes(b"".join(gzip.compress(block, 1) for block in (*blocks, b"")))
    assert np.array_equal(nifti.load(path).data, image.data)


@pytest.mark.parametrize("kind", ["text", "unknown type", "cut", "shape", "pieces"])
def test_a_damaged_mgz_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "aseg.mgz"
    nib.save(nib.MGHImage(np.ones((8, 8, 8), np.float32), np.eye(4)), path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    if kind == "text":
        content = bytearray(b"text " * 400)
    if kind == "unknown type":
        content[20:24] = (77).to_bytes(4, "big")
    if kind == "cut":
        content = content[:600]
    if kind == "shape":
        content[4:8] = (2**31 - 1).to_bytes(4, "big")
    pieces = 200_000 if kind == "pieces" else 0
    path.write_bytes(pieces * gzip.compress(b"") + gzip.compress(bytes(content)))
    with pytest.raises(DataError, match=r"aseg\.mgz") as refused:
        nifti.load(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", DataError, "0 bytes"),
        (b"/annex/objects/MD5E-s11--abc.nii.gz\n", MissingInputError, "datalad get"),
        (b"/annex of something else", DataError, "does not begin with a header"),
    ],
)
def test_what_stands_in_the_place_of_an_image_is_named(
    tmp_path: Path, content: bytes, error: type[Exception], says: str
) -> None:
    path = tmp_path / "x.nii.gz"
    path.write_bytes(content)
    for read in (nifti.load, nifti.shape_and_affine):
        with pytest.raises(error, match=says):
            read(path)


@pytest.mark.parametrize(
    ("target", "says"),
    [("../.git/annex/objects/aa/bb/x/x.nii.gz", "datalad get"), ("gone.nii.gz", "fetch its")],
)
def test_a_link_to_content_that_is_elsewhere_says_how_to_get_it(
    tmp_path: Path, target: str, says: str
) -> None:
    path = tmp_path / "x.nii.gz"
    path.symlink_to(target)
    with pytest.raises(MissingInputError, match=says):
        nifti.load(path)


def test_an_image_that_is_not_compressed_but_called_so_is_said_to_be_that(tmp_path):
    path = tmp_path / "x.nii.gz"
    plain = tmp_path / "x.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), plain)
    plain.rename(path)
    with pytest.raises(DataError, match=r"not compressed, though its name ends in \.gz; name it"):
        nifti.load(path)
