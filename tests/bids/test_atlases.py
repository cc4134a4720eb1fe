"""A user's own atlases: which files are taken, and what is said of the others."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.bids import atlases
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.errors import DataError, MissingInputError, UsageError
from bids_qsmthal.settings import AtlasFile

TEMPLATE = "space-MNI152NLin2009cAsym"
CENTRE = np.array([[2.0, 0, 0, -10], [0, 2.0, 0, -20], [0, 0, 2.0, 0], [0, 0, 0, 1]])
"""A box in the middle of the template's brain."""


def labels() -> np.ndarray:
    data = np.zeros((8, 9, 7), np.int16)
    data[1:4, 2:6, 1:5], data[4:7, 2:6, 1:5] = 3, 70
    return data


def write(path: Path, data: np.ndarray, affine: np.ndarray = CENTRE, table: str = "") -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    if table:
        path.with_name(path.name.replace(".nii.gz", ".tsv")).write_text(table)
    return path


def read(path: Path, threshold: float | None = None):
    return atlases.read(AtlasFile(name="a", path=path, space="template", threshold=threshold), path)


def test_labels_have_the_names_of_their_table_and_numbers_without_one(tmp_path: Path) -> None:
    table = "index\tname\n0\tbackground\n3\tVL nucleus\n9\tabsent\n"
    found = read(write(tmp_path / "a_dseg.nii.gz", labels(), table=table))
    assert found.names == {3: "VL_nucleus", 70: "70"}
    # Cut to the box of the labels and a margin: each stays at its place in the world.
    at = np.argwhere(found.image.data == 70).mean(axis=0)
    assert np.allclose(found.image.affine[:3] @ [*at, 1], CENTRE[:3] @ [5, 3.5, 2.5, 1])


@pytest.mark.parametrize("first", [0, 1])
def test_volumes_are_counted_from_nought_or_from_one(tmp_path: Path, first: int) -> None:
    data = np.stack([labels() == 3, labels() == 70], axis=-1).astype(np.float32)
    table = f"index\tname\n{first}\tthree\n{first + 1}\tseventy\n"
    found = read(write(tmp_path / "a_probseg.nii.gz", data, table=table))
    assert found.names == {1: "three", 2: "seventy"}
    assert found.threshold == 0.5
    assert found.image.data[..., 1].sum() == (labels() == 70).sum()


@pytest.mark.parametrize("first", [0, 1])
def test_colours_come_from_the_table_and_belong_to_their_region(
    tmp_path: Path, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = np.stack([labels() == 3, labels() == 70, labels() == 70], axis=-1).astype(np.float32)
    rows = [(first, "a", "#ff0080"), (first + 1, "b", "n/a"), (first + 2, "c", "blue<script>")]
    lines = ["index\tname\tcolor", *("\t".join(map(str, row)) for row in rows)]
    found = read(write(tmp_path / "a_probseg.nii.gz", data, table="\n".join(lines) + "\n"))
    assert found.colors == {1: "#FF0080"}
    assert "1 of 2 colours are not used" in caplog.text


def test_a_region_that_no_voxel_of_is_above_the_threshold_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = np.stack([60 * (labels() == 3), 19 * (labels() == 70)], axis=-1).astype(np.uint8)
    table = "index\tname\n0\twide\n1\tthin\n"
    path = write(tmp_path / "a_probseg.nii.gz", data, table=table)
    read(path, threshold=25)
    assert "1 of 2 regions have no voxel above 25" in caplog.text
    assert "thin (up to 19)" in caplog.text
    assert "wide" not in caplog.text
    caplog.clear()
    read(path, threshold=18)
    assert caplog.text == ""


def test_hostile_names_become_harmless_and_stay_distinct(tmp_path: Path) -> None:
    table = 'index\tname\n3\t=HYPERLINK("x")<script>\n70\t\u202e=HYPERLINK(x)|<script\n'
    found = read(write(tmp_path / "a_dseg.nii.gz", labels(), table=table))
    assert found.names == {3: "HYPERLINK_x_script_3", 70: "HYPERLINK_x_script_70"}
    assert atlases.defused("n/a") == ""
    assert len(atlases.defused("x" * 5000)) == atlases.LONGEST_NAME


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((5, 5), np.int16), "is not that of a 3-D image"),
        (np.zeros((5, 5, 5), np.int16), "there is no region"),
        (-labels(), "expected finite numbers of 0 or more"),
        (np.full((5, 5, 5), np.nan, np.float32), "expected finite numbers of 0 or more"),
        (np.ones((3, 3, 3, 2, 2), np.float32), "5 dimensions"),
        (labels() * np.float32(0.3), "expected whole labels"),
        (np.stack([labels()] * 2, axis=-1), "give --atlas-threshold"),
    ],
)
def test_what_is_no_atlas_is_refused(tmp_path: Path, data: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(write(tmp_path / "a.nii.gz", data))


def test_an_atlas_that_lies_beside_the_brain_is_refused(tmp_path: Path) -> None:
    away = CENTRE.copy()
    away[0, 3] += 150
    with pytest.raises(DataError, match="0 % of its regions lie in the brain"):
        read(write(tmp_path / "a.nii.gz", labels(), away))


def test_a_table_that_does_not_fit_the_volumes_is_refused(tmp_path: Path) -> None:
    data = np.stack([labels() > 0] * 2, axis=-1).astype(np.float32)
    path = write(tmp_path / "a.nii.gz", data, table="index\tname\n4\tx\n5\ty\n")
    with pytest.raises(DataError, match="one for each of the 2 volumes"):
        read(path)


def test_the_space_is_that_of_the_name_the_sidecar_or_the_option(tmp_path: Path) -> None:
    named = write(tmp_path / f"tpl_{TEMPLATE}_dseg.nii.gz", labels())
    plain = write(tmp_path / "plain.nii.gz", labels())
    assert atlases.parse([f"a={named}"], "T1w", None)[0].space == "template"
    with pytest.raises(UsageError, match="neither the name nor the sidecar"):
        atlases.parse([f"a={plain}"], "", None)
    assert atlases.parse([f"a={plain}"], "MNI152NLin2009cAsym", None)[0].space == "template"
    plain.with_name("plain.json").write_text('{"SpatialReference": "MNI152NLin6Asym"}')
    with pytest.raises(UsageError, match="its space is MNI152NLin6Asym"):
        atlases.parse([f"a={plain}"], "MNI152NLin2009cAsym", None)


def test_what_would_fail_everybody_is_refused_before_the_first_participant(tmp_path: Path) -> None:
    path = write(tmp_path / f"tpl_{TEMPLATE}_dseg.nii.gz", labels(), table="index\tname\n3\tx\n")
    words = [f"a={path}"]
    assert atlases.parse(words, "", None)
    whole, table = path.read_bytes(), path.with_name(f"tpl_{TEMPLATE}_dseg.tsv")
    # Its header can be read, the end of its voxels is missing.
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="export it again"):
        atlases.parse(words, "", None)
    path.write_bytes(whole)
    table.write_text("number\tname\n3\tx\n")
    with pytest.raises(DataError, match="not a label table: no column index"):
        atlases.parse(words, "", None)


@pytest.mark.parametrize(
    ("word", "space", "error"),
    [
        ("plain.nii.gz", "T1w", UsageError),
        ("a-b=x.nii.gz", "T1w", UsageError),
        ("a=sub-01.nii.gz", "T1w", UsageError),
        ("a=sub-{subject}.nii.gz", "MNI152NLin2009cAsym", UsageError),
        ("a=/nowhere/x.nii.gz", "MNI152NLin2009cAsym", MissingInputError),
    ],
)
def test_words_that_cannot_be_meant_are_refused(word: str, space: str, error: type) -> None:
    with pytest.raises(error):
        atlases.parse([word], space, None)


def test_a_participant_has_an_own_file_in_t1w_space_or_goes_without(tmp_path: Path) -> None:
    write(tmp_path / "sub-01_ses-a.nii.gz", labels())
    pattern = f"a={tmp_path}/sub-{{subject}}_ses-{{session}}.nii.gz"
    files = atlases.parse([pattern], "T1w", None)
    there, other, single = (
        atlases.read_all(files, Session(root=tmp_path, subject=subject, session=session))
        for subject, session in (("01", "a"), ("02", "a"), ("01", None))
    )
    assert [one.file_name for one in there] == ["sub-01_ses-a.nii.gz"]
    assert not there[0].in_template
    assert (other, single) == ((), ())
