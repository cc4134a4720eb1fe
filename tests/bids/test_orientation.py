from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.bids import orientation
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import MainFieldAssumed, MainFieldByAlignment

SAGITTAL = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
"""Voxel axes A, S, R."""

LAS = np.diag([-1.0, 1, 1])
"""Left-handed, as dcm2niix stores axial slices."""


def tilted(degrees: float) -> np.ndarray:
    """Rotation about x: the main field leaves the third voxel axis by this much."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def affine(rotation: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = rotation * (2.0, 2.0, 3.0)
    return out


def write(
    folder: Path, sform: tuple[np.ndarray, int] | None, qform: tuple[np.ndarray, int] | None
) -> Path:
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), None)
    image.header.set_zooms((2, 2, 3))
    image.set_sform(*(sform or (None, 0)))
    image.set_qform(*(qform or (None, 0)))
    path = folder / "sub-01_echo-1_part-phase_MEGRE.nii.gz"
    nib.save(image, path)
    return path


def along_voxels(path: Path, b0: orientation.B0) -> np.ndarray:
    """The field in the voxel axes as the reconstruction sees it, its third component positive."""
    seen = np.array(
        Image(np.ones((4, 5, 6)), nifti.load(path).affine, b0.direction).grid.b0_direction
    )
    return seen * np.sign(seen[np.argmax(np.abs(seen))])


def dicom(rotation: np.ndarray) -> dict[str, list[float]]:
    """The key as dcm2niix writes it for a file whose voxel axes are the columns, in RAS."""
    lps = np.diag([-1.0, -1, 1]) @ rotation
    return {"ImageOrientationPatientDICOM": [*lps[:, 0], *-lps[:, 1]]}


@pytest.mark.parametrize("degrees", [5, 20, 35])
@pytest.mark.parametrize("template_code", [2, 3, 4])
@pytest.mark.parametrize("scanner", ["sform", "qform"])
def test_the_affine_of_code_1_gives_the_field(tmp_path, degrees, template_code, scanner) -> None:
    true, other = (affine(tilted(degrees)), 1), (affine(np.eye(3)), template_code)
    forms = (true, other) if scanner == "sform" else (other, true)
    found = orientation.main_field(write(tmp_path, *forms), {})
    path = write(tmp_path, *forms)
    np.testing.assert_allclose(along_voxels(path, found), tilted(degrees).T @ (0, 0, 1), atol=1e-6)
    assert (found.source, found.warning) == (scanner, None)


def test_without_any_code_the_field_is_unknown(tmp_path) -> None:
    path = write(tmp_path, None, None)
    with pytest.raises(DataError, match=r"code 0.*--b0-direction"):
        orientation.main_field(path, {})


@pytest.mark.parametrize("rotation", [SAGITTAL, LAS @ tilted(25), LAS @ tilted(-40)])
def test_without_any_code_dicom_gives_the_field_and_it_is_said(tmp_path, rotation) -> None:
    path = write(tmp_path, None, None)
    found = orientation.main_field(path, dicom(rotation))
    wanted = rotation.T @ (0, 0, 1.0)
    wanted *= np.sign(wanted[np.argmax(np.abs(wanted))])
    np.testing.assert_allclose(along_voxels(path, found), wanted, atol=1e-9)
    assert found.source == "ImageOrientationPatientDICOM"
    assert found.warning == MainFieldAssumed(0, 0)


@pytest.mark.parametrize("code", [3, 4])
def test_a_templates_space_alone_has_lost_the_field(tmp_path, code) -> None:
    with pytest.raises(DataError, match=r"template.*--b0-direction"):
        orientation.main_field(write(tmp_path, (affine(np.eye(3)), code), None), {})


@pytest.mark.parametrize("handed", [np.eye(3), LAS])
def test_dicom_gives_the_field_where_the_affine_is_a_templates(tmp_path, handed) -> None:
    path = write(tmp_path, (affine(handed), 4), None)
    found = orientation.main_field(path, dicom(handed @ tilted(30)))
    np.testing.assert_allclose(along_voxels(path, found), tilted(30).T @ (0, 0, 1), atol=1e-6)


def test_an_aligned_affine_alone_is_taken_and_said(tmp_path) -> None:
    path = write(tmp_path, (affine(tilted(10)), 2), None)
    found = orientation.main_field(path, {})
    np.testing.assert_allclose(along_voxels(path, found), tilted(10).T @ (0, 0, 1), atol=1e-6)
    assert found.warning == MainFieldByAlignment("sform")


@pytest.mark.parametrize(("degrees", "refused"), [(0.5, False), (2, True), (30, True)])
def test_two_scanner_affines_must_agree_within_a_degree(tmp_path, degrees, refused) -> None:
    path = write(tmp_path, (affine(np.eye(3)), 1), (affine(tilted(degrees)), 1))
    if refused:
        with pytest.raises(DataError, match="both claim to be the scanner's"):
            orientation.main_field(path, {})
    else:
        assert orientation.main_field(path, {}).warning is None


def test_dicom_decides_between_two_scanner_affines(tmp_path) -> None:
    path = write(tmp_path, (affine(np.eye(3)), 1), (affine(tilted(30)), 1))
    found = orientation.main_field(path, dicom(tilted(30)))
    np.testing.assert_allclose(along_voxels(path, found), tilted(30).T @ (0, 0, 1), atol=1e-6)


@pytest.mark.parametrize("degrees", [3, 20])
def test_a_header_that_was_straightened_after_the_scan_is_refused(tmp_path, degrees) -> None:
    path = write(tmp_path, (affine(np.eye(3)), 1), (affine(np.eye(3)), 1))
    with pytest.raises(DataError, match="ImageOrientationPatientDICOM"):
        orientation.main_field(path, dicom(tilted(degrees)))


def test_axes_that_were_swapped_with_their_header_do_not_contradict_dicom(tmp_path) -> None:
    swapped = tilted(15)[:, [2, 0, 1]] * (-1.0, 1.0, 1.0)
    path = write(tmp_path, (affine(swapped), 1), None)
    assert orientation.main_field(path, dicom(tilted(15))).source == "sform"


def test_the_users_direction_is_along_the_voxel_axes_and_wins(tmp_path) -> None:
    path = write(tmp_path, (affine(SAGITTAL), 1), None)
    found = orientation.main_field(path, {}, (0.0, 0.0, -7.0))
    np.testing.assert_allclose(along_voxels(path, found), (0, 0, 1), atol=1e-9)
    assert found.source == "user"
