"""A participant of four scans, finished, asked for its anatomy alone and in other spaces."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.app.cli import main
from tests.seam import NAME, Study, dice, voxels

pytestmark = pytest.mark.slow

LEFT, RIGHT = 10, 49


@pytest.fixture(scope="module")
def out(seam_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of --anat-only --output-spaces; every stage is there already."""
    root = tmp_path_factory.mktemp("parts")
    shutil.copytree(seam_study.root / "work", root / "work")
    words = [str(seam_study.bids), str(root / "out"), "participant", "-w", str(root / "work")]
    spaces = ["--output-spaces", "T1w", f"{atlas.SPACE}:res-4"]
    assert main([*words, "--anat-only", *spaces, "--nprocs", "1"]) == 0
    return root / "out"


def image(out: Path, ending: str) -> nib.Nifti1Image:
    return nib.load(out / NAME / "anat" / f"{NAME}_{ending}.nii.gz")


def measures(anat: Path) -> pd.Series:
    table = pd.read_csv(anat / f"{NAME}_desc-qsmthal_measures.tsv", sep="\t")
    return table.set_index(["measure", "region", "hemisphere"])["value"]


def test_anatomy_alone_has_the_numbers_of_the_whole_and_none_of_the_gradient_echo(
    out: Path, seam_study: Study
) -> None:
    alone, whole = measures(out / NAME / "anat"), measures(seam_study.anat)
    kinds = set(alone.index.get_level_values("measure"))
    assert {"volume", "thickness_mean", "lesion_count"} <= kinds
    assert not {kind for kind in kinds if kind.startswith(("chi_", "r2star", "qsm_"))}
    same = whole.reindex(alone.index)
    pd.testing.assert_series_equal(alone, same)
    assert not list((out / NAME / "anat").glob("*MEGRE*"))
    assert not list((out / NAME / "anat").glob("*Chimap*"))


def test_the_page_says_that_the_gradient_echo_was_not_asked_for(out: Path) -> None:
    page = (out / f"{NAME}.html").read_text()
    assert "no GRE was asked for" in page


def test_labels_and_masks_lie_on_those_of_the_template(out: Path) -> None:
    space = f"space-{atlas.SPACE}_res-4"
    labels = image(out, f"{space}_desc-deepgray_dseg")
    np.testing.assert_allclose(np.abs(np.diag(labels.affine)[:3]), 4)
    true = atlas.template("desc-deepgray_dseg")
    onto = np.linalg.inv(true.affine) @ labels.affine
    for label in (LEFT, RIGHT):
        inside = np.argwhere(voxels(labels) == label)
        at = np.rint(inside @ onto[:3, :3].T + onto[:3, 3]).astype(int)
        assert np.mean(true.data[tuple(at.T)] == label) > 0.8
    sidecar = json.loads(
        (out / NAME / "anat" / f"{NAME}_{space}_label-lesion_mask.json").read_text()
    )
    assert "Resolution" in sidecar


def test_what_is_on_t1w_already_is_that_of_the_whole_run(out: Path, seam_study: Study) -> None:
    for ending in ("space-T1w_label-lesion_mask", "space-T1w_desc-brain_mask"):
        assert dice(voxels(image(out, ending)) > 0, voxels(seam_study.made(ending)) > 0) == 1


def test_tables_of_lesions_have_dictionaries_of_their_columns(out: Path) -> None:
    for label in ("lesion", "enhancing"):
        path = out / NAME / "anat" / f"{NAME}_label-{label}_lesions.tsv"
        described = json.loads(path.with_suffix(".json").read_text())
        table = pd.read_csv(path, sep="\t")
        assert list(described) == list(table.columns)
        assert set(table["location"]) <= set(described["location"]["Levels"])
