"""bids_qsmthal dicom: dcm2niix reads back what was written, voxel for voxel."""

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import ExitCode
from tests.conftest import write_json
from tests.core.test_dicom import tilted, turned
from tests.scanner.test_from_scanner import needed

SHAPE = (14, 17, 11)
AFFINES = {
    "axial": tilted(),
    "sagittal": turned((2, 0, 1), (1, -1, 1)),
    "coronal": turned((0, 2, 1), (-1, 1, -1)),
}


def written(folder: Path, affine: np.ndarray) -> list[Path]:
    """Write a map, a mask and labels of one participant, as outputs have them."""
    anat = folder / "out" / "sub-07" / "ses-b" / "anat"
    anat.mkdir(parents=True)
    write_json(folder / "out" / "dataset_description.json", {"Name": "ours"})
    rng = np.random.default_rng(3)
    contents = {
        "Chimap": (rng.normal(scale=0.1, size=SHAPE).astype(np.float32), "ppm"),
        "R2starmap": (rng.uniform(0, 80, SHAPE).astype(np.float32), "1/s"),
        "space-MEGRE_desc-deepgray_dseg": (rng.integers(0, 60, SHAPE).astype(np.int16), None),
    }
    paths = []
    for name, (data, units) in contents.items():
        path = anat / f"sub-07_ses-b_{name}.nii.gz"
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, code=1)
        nib.save(image, path)
        write_json(path.with_name(f"sub-07_ses-b_{name}.json"), {"Units": units} if units else {})
        paths.append(path)
    return paths


def read_back(series: Path, folder: Path) -> nib.Nifti1Image:
    folder.mkdir()
    words = [needed("dcm2niix"), "-z", "n", "-b", "n", "-f", "back", "-o", folder, series]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    (found,) = folder.glob("*.nii")
    assert done.returncode == 0, done.stdout
    return nib.load(found)


@pytest.mark.parametrize("plane", list(AFFINES))
def test_dcm2niix_gives_back_every_voxel_at_its_place(tmp_path: Path, plane: str) -> None:
    paths = written(tmp_path, AFFINES[plane])
    assert main(["dicom", *map(str, paths), "--out", str(tmp_path / "dicom"), "-q"]) == 0
    for path in paths:
        stem = path.name.removesuffix(".nii.gz")
        back = read_back(tmp_path / "dicom" / stem, tmp_path / f"nifti_{stem}")
        original = nib.load(path)
        data = np.asarray(original.dataobj, np.float64)
        # Each voxel of the original, where dcm2niix has it: axes may be turned, places may not.
        to_back = np.linalg.inv(back.affine) @ original.affine
        exact = to_back[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + to_back[:3, 3:]
        places = np.rint(exact).astype(int)
        assert np.abs(exact - places).max() < 1e-3
        found = back.get_fdata()[tuple(places)].reshape(SHAPE)
        assert sorted(back.shape) == sorted(SHAPE)
        whole = path.name.endswith("dseg.nii.gz")
        np.testing.assert_allclose(
            found, data, atol=0 if whole else np.abs(data).max() / 65534 * 1.01
        )


def test_of_the_person_the_files_hold_the_label_alone(tmp_path: Path) -> None:
    chi, *_ = written(tmp_path, AFFINES["axial"])
    assert main(["dicom", str(chi), "--out", str(tmp_path / "dicom"), "-q"]) == 0
    files = sorted((tmp_path / "dicom" / "sub-07_ses-b_Chimap").iterdir())
    assert [path.name for path in files] == [f"{number:04d}.dcm" for number in range(1, 12)]
    file = pydicom.dcmread(files[0])
    assert (file.PatientName, file.PatientID) == ("sub-07", "sub-07")
    assert (file.PatientBirthDate, file.PatientSex, file.StudyDate) == ("", "", "")
    assert (file.StudyID, file.SeriesDescription, file.RescaleType) == ("ses-b", "Chimap", "ppm")
    assert "PatientAge" not in file
    assert str(tmp_path).encode() not in files[0].read_bytes()


def test_maps_of_one_scan_share_study_and_frame_of_reference(tmp_path: Path) -> None:
    paths = written(tmp_path, AFFINES["axial"])
    main(["dicom", *map(str, paths), "--out", str(tmp_path / "dicom"), "-q"])
    first = [
        pydicom.dcmread(folder / "0001.dcm") for folder in sorted((tmp_path / "dicom").iterdir())
    ]
    assert len({one.StudyInstanceUID for one in first}) == 1
    assert len({one.FrameOfReferenceUID for one in first}) == 1
    assert len({one.SeriesInstanceUID for one in first}) == 3
    assert len({one.SeriesNumber for one in first}) == 3


def test_what_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chi, *_ = written(tmp_path, AFFINES["axial"])
    nameless = tmp_path / "map.nii.gz"
    shutil.copy(chi, nameless)
    out = str(tmp_path / "dicom")
    assert main(["dicom", str(nameless), "--out", out]) == ExitCode.USAGE
    assert "no participant label" in capfd.readouterr().err
    assert main(["dicom", str(nameless), "--out", out, "--participant-label", "sub-09", "-q"]) == 0
    assert pydicom.dcmread(tmp_path / "dicom" / "map" / "0001.dcm").PatientID == "sub-09"
    assert main(["dicom", str(nameless), "--out", out, "--participant-label", "9"]) != 0
    assert "exists already" in capfd.readouterr().err
    assert main(["dicom", str(tmp_path / "sub-1_none.nii.gz"), "--out", out]) != 0
    assert not (tmp_path / "dicom" / "sub-1_none").exists()
