"""No names, dates, places or faces leave the input by accident."""

import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionMaps,
    ParticipantReport,
    Registration,
    defaced,
)
from bids_qsmthal.report.defacing import MARGIN_MM
from tests import tiny
from tests.hostile.cases import sidecars

pytestmark = pytest.mark.slow

SECRETS = {
    "PatientName": "Erika^Mustermann",
    "PatientID": "MRN-0815-4711",
    "PatientBirthDate": "1964-08-12",
    "PatientAddress": "Heidestrasse 17",
    "AcquisitionTime": "09:41:07.123456",
    "AcquisitionDateTime": "2019-03-01T09:41:07",
    "InstitutionName": "Spital zum Heiligen Geist",
    "InstitutionAddress": "Musterstadt 51147",
    "DeviceSerialNumber": "SN-66044",
    "StationName": "AWP-STATION-9",
    "ReferringPhysicianName": "Dr. Eisenbart",
    "SeriesInstanceUID": "1.3.12.2.1107.5.2.43",
    "StudyInstanceUID": "1.2.276.0.7230010.3.1.2",
    "AccessionNumber": "ACC-2019-0301",
    "StudyDescription": "MS Verlauf Mustermann",
    "ImageComments": "Tochter faehrt",
    "OperatorsName": "MTRA^Schulz",
}
"""In the sidecars, as converters write them that were not told to leave names out."""

IN_HEADERS = {
    "descrip": "094107.5 Mustermann",
    "aux_file": "MRN-0815-header",
    "db_name": "Mustermann1964",
}
IN_EXTENSION = "Mustermann^Erika^in^DICOM"
IN_TABLES = {"birth_date": "1964-08-13", "acq_time": "2019-03-02T10:00:00", "remark": "Frau E. M."}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A participant whose sidecars tell all, processed under a strict umask."""
    root = tmp_path_factory.mktemp("home-of-erika") / "root"
    tiny.write_dataset(root, "sub-01")
    sidecars(**SECRETS)(root)
    for path in (root / "bids" / "sub-01").rglob("*.nii.gz"):
        name_in_header(path)
    names, values = ("\t".join(part) for part in (IN_TABLES, IN_TABLES.values()))
    table = f"participant_id\t{names}\nsub-01\t{values}\n"
    (root / "bids" / "participants.tsv").write_text(table)
    words = tiny.words(root)
    command = [sys.executable, "-m", "bids_qsmthal", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o027)
    assert done.returncode == 0, done.stderr
    return root


def name_in_header(path: Path) -> None:
    """Put names where a NIfTI file has room for them: text of the header, and DICOM behind it."""
    image = nib.load(path)
    for field, text in IN_HEADERS.items():
        image.header[field] = text
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", IN_EXTENSION.encode()))
    image.to_filename(path)
    assert IN_EXTENSION.encode() in gzip.decompress(path.read_bytes())


def test_nothing_that_identifies_is_in_any_output(root: Path) -> None:
    secrets = [*SECRETS.values(), *IN_HEADERS.values(), IN_EXTENSION, *IN_TABLES.values()]
    read = 0
    for path in (root / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            plain = gzip.decompress(content) if path.suffix == ".gz" else content
            assert [secret for secret in secrets if secret.encode() in plain] == [], path
            read += 1
    assert read > 40


def test_what_is_shared_names_no_folder_of_the_machine(root: Path) -> None:
    """Logs, which are for the owner of the run, do."""
    for path in (root / "out").rglob("*"):
        if path.is_file() and "logs" not in path.parts:
            content = path.read_bytes()
            assert b"home-of-erika" not in content, path
            assert os.fsencode(os.path.expanduser("~") + "/") not in content, path  # noqa: PTH111
    described = json.loads((root / "out" / "dataset_description.json").read_text())
    command = described["GeneratedBy"][0]["CommandLine"]
    assert command.startswith("bids_qsmthal BIDS_DIR OUTPUT_DIR participant --work-dir WORK_DIR")
    assert "mine=labels" in command


def test_permissions_follow_the_umask(root: Path) -> None:
    for folder in (root / "out", root / "work-out"):
        for path in folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0, path


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    middle = [(n - 1) / 2 for n in shape]
    index = np.indices(shape) - np.reshape(middle, (3, 1, 1, 1))
    return (index**2).sum(0) <= radius**2


@pytest.fixture
def report() -> ParticipantReport:
    """Every image is bright everywhere; the brain is a ball of 12 mm in its middle."""
    shape = (48, 44, 40)
    turned = np.array([[0, -1, 0, 20], [1, 0, 0, -30], [0, 0, 1, 5], [0, 0, 0, 1.0]])
    bright = Image(np.ones(shape, np.float32), np.eye(4))
    echoes = bright.like(np.ones((*shape, 3), np.float32))
    brain = bright.like(ball(shape, 12).astype(np.uint8))
    moved = Image(bright.data, turned)
    return ParticipantReport(
        participant_id="sub-01",
        gre=GreMaps(magnitude=echoes, phase_rad=echoes, brain=brain, chi_ppm=bright),
        anatomy=AnatomyMaps(t1w=bright, brain=brain),
        lesions=LesionMaps(flair=bright, t1w=bright, ce_t1w=bright),
        registrations=(
            Registration(
                name="FLAIR to T1w", fixed=bright, moving=moved, matrix=np.linalg.inv(turned)
            ),
        ),
    )


def images(report: ParticipantReport) -> dict[str, Image]:
    groups = {"gre": report.gre, "anatomy": report.anatomy, "lesions": report.lesions}
    groups |= {pair.name: pair for pair in report.registrations}
    found = {
        f"{name} {item.name}": getattr(group, item.name)
        for name, group in groups.items()
        for item in fields(group)
    }
    return {name: image for name, image in found.items() if isinstance(image, Image)}


def test_a_defaced_report_shows_nothing_away_from_the_brain(report: ParticipantReport) -> None:
    away_mm = ndimage.distance_transform_edt(report.anatomy.brain.data == 0)
    before, after = images(report), images(defaced(report))
    assert set(before) == set(after)
    for name, image in after.items():
        shown = image.data.reshape(*image.data.shape[:3], -1).any(axis=-1)
        assert not shown[away_mm > MARGIN_MM].any(), name
        inside = report.anatomy.brain.data > 0
        np.testing.assert_array_equal(image.data[inside], before[name].data[inside], err_msg=name)


def test_without_a_brain_nothing_is_shown(report: ParticipantReport) -> None:
    blind = ParticipantReport(
        participant_id="sub-01",
        gre=GreMaps(magnitude=report.gre.magnitude),
        lesions=LesionMaps(flair=report.lesions.flair),
        registrations=report.registrations,
    )
    assert images(defaced(blind)) == {}


def test_the_option_reaches_the_page(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "work-out", tmp_path / "work")
    words = tiny.words(root, "--deface", out="defaced")
    words[words.index("--work-dir") + 1] = str(tmp_path / "work")
    command = [sys.executable, "-m", "bids_qsmthal", *words]
    subprocess.run(command, capture_output=True, check=True)
    figure = "sub-01/figures/sub-01_desc-{}.svg"
    for name, changes in (("phase_MEGRE", True), ("chi_Chimap", False)):
        plain, cut = ((root / o / figure.format(name)).read_bytes() for o in ("out", "defaced"))
        assert (plain != cut) == changes, name
