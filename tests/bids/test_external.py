from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import EDITED, ProgramName, dataset
from tests.conftest import write_json


@pytest.fixture
def session(tmp_path: Path) -> Session:
    gre = GreFiles((("run", "1"),), ())
    return Session(tmp_path / "bids", "01", "a", gre=gre)


def touch(root: Path, name: str) -> Path:
    path = root / "sub-01" / "ses-a" / "anat" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


VEIN = "sub-01_ses-a_run-1_space-MEGRE_label-vein_mask.nii.gz"


def test_an_edit_wins_over_a_dataset(session: Session, tmp_path: Path) -> None:
    touch(tmp_path / "theirs", VEIN)
    edit = touch(tmp_path / "out" / "edits", VEIN)
    found = external.files(session, {"theirs": tmp_path / "theirs"}, tmp_path / "out")
    assert found["vein"] == external.ExternalFile(edit, EDITED)


def test_a_dataset_is_named_as_the_source(session: Session, tmp_path: Path) -> None:
    touch(tmp_path / "theirs", VEIN)
    found = external.files(session, {"Team A": tmp_path / "theirs"}, tmp_path / "out")
    assert str(found["vein"].source) == "Team A"


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_ses-b_run-1_space-MEGRE_label-vein_mask.nii.gz",
        "sub-01_ses-a_run-2_space-MEGRE_label-vein_mask.nii.gz",
        "sub-01_ses-a_run-1_space-T1w_label-vein_mask.nii.gz",
        "sub-01_ses-a_run-1_space-MEGRE_label-vein_desc-old_mask.nii.gz",
    ],
)
def test_what_belongs_elsewhere_is_left_alone(session: Session, tmp_path: Path, name: str) -> None:
    touch(tmp_path / "theirs", name)
    assert not external.files(session, {"theirs": tmp_path / "theirs"}, tmp_path / "out")


def test_a_lesion_mask_of_another_tool_is_found_by_its_name(
    session: Session, tmp_path: Path
) -> None:
    path = touch(tmp_path / "lst", "sub-01_ses-a_label-lesion_mask.nii.gz")
    found = external.files(session, {"lst": tmp_path / "lst"}, tmp_path / "out")
    assert found["lesion"].path == path


def test_two_claims_are_refused(session: Session, tmp_path: Path) -> None:
    touch(tmp_path / "theirs", VEIN)
    touch(tmp_path / "theirs", VEIN.replace(".nii.gz", ".nii"))
    with pytest.raises(DataError, match="both claim to be the vein"):
        external.files(session, {"theirs": tmp_path / "theirs"}, tmp_path / "out")


def test_a_dataset_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="is not a folder"):
        external.parse([f"x={tmp_path / 'none'}"])


@pytest.mark.parametrize("space", ["", "space-FLAIR_"])
def test_lst_ai_is_known_by_the_name_of_its_mask(
    session: Session, tmp_path: Path, space: str
) -> None:
    touch(tmp_path / "theirs", f"sub-01_ses-a_{space}desc-lstai_mask.nii.gz")
    found = external.files(session, {"any name": tmp_path / "theirs"}, tmp_path / "out")
    assert found["lesion"].source.program.name is ProgramName.LST_AI
    assert str(found["lesion"].source) == "any name (LST-AI)"


def test_the_name_of_a_dataset_is_no_program(session: Session, tmp_path: Path) -> None:
    touch(tmp_path / "theirs", "sub-01_ses-a_label-lesion_mask.nii.gz")
    found = external.files(session, {"lst-ai": tmp_path / "theirs"}, tmp_path / "out")
    assert found["lesion"].source == dataset("lst-ai")


def given_map(session: Session, folder: Path, level: float, units: str | None) -> np.ndarray:
    """Return what is read of a map of one dataset, zero outside its middle."""
    path = folder / "theirs" / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_Chimap.nii.gz"
    path.parent.mkdir(parents=True)
    data = np.zeros((6, 6, 6), np.float32)
    data[1:5, 1:5, 1:5] = level
    nifti.save(Image(data, np.eye(4)), path)
    if units is not None:
        write_json(path.with_name("sub-01_ses-a_run-1_Chimap.json"), {"Units": units})
    found = external.files(session, {"theirs": folder / "theirs"}, folder / "out")
    return external.read("chi", found["chi"], session).image.data


@pytest.mark.parametrize(
    ("level", "units"), [(0.03, None), (0.03, "ppm"), (30.0, "ppb"), (-30.0, "ppb")]
)
def test_a_map_comes_in_ppm_whatever_its_unit(
    session: Session, tmp_path: Path, level: float, units: str | None
) -> None:
    found = given_map(session, tmp_path, level, units)
    assert np.abs(found).max() == pytest.approx(0.03)
    assert not found[0].any()


@pytest.mark.parametrize(
    ("level", "units", "words"),
    [
        (30.0, None, "state the unit"),
        (30.0, "ppm", "state the unit"),
        (0.03, "rad", "expected one of"),
    ],
)
def test_a_unit_that_the_values_contradict_is_refused(
    session: Session, tmp_path: Path, level: float, units: str | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        given_map(session, tmp_path, level, units)
