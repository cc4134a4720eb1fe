"""A whole participant without its T1w: gradient echo and a segmentation that was brought."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.app.cli import main
from bids_qsmthal.simulate import Parameters, Planned
from tests.conftest import write_json

pytestmark = pytest.mark.slow

LEFT_THALAMUS, RIGHT_THALAMUS, LEFT_VENTRICLE, RIGHT_VENTRICLE = 10, 49, 4, 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated participant with its gradient echo only, and labels from the truth."""
    folder = tmp_path_factory.mktemp("run")
    parameters = Parameters(thalamus_chi_ppb=-25.0, oblique_deg=15.0, lesion_ml=2.0)
    person = Planned(
        label="01",
        seed=3,
        parameters=parameters,
        age=40.0,
        sex="F",
        disease_duration=8.0,
        dmt=1,
        edss=2.0,
    )
    simulate.write_dataset(folder / "bids", [person])
    for path in (folder / "bids" / "sub-01" / "anat").iterdir():
        if "MEGRE" not in path.name:
            path.unlink()
    write_labels(folder / "truth" / "sub-01", folder / "labels")
    return folder


def write_labels(truth: Path, dataset: Path) -> None:
    """Turn true masks into a segmentation with FreeSurfer's labels."""
    begin = "sub-01_space-MEGRE_label"
    thalamus = nib.load(truth / f"{begin}-thalamus_mask.nii.gz")
    sides = np.asarray(thalamus.dataobj).astype(int)
    ventricle = np.asarray(nib.load(truth / f"{begin}-ventricle_mask.nii.gz").dataobj) > 0
    world_x = (np.indices(sides.shape).reshape(3, -1).T @ thalamus.affine[:3, :3].T)[:, 0]
    world_x = (world_x + thalamus.affine[0, 3]).reshape(sides.shape)
    middle = (world_x[sides == 1].mean() + world_x[sides == 2].mean()) / 2
    labels = np.choose(sides, (0, LEFT_THALAMUS, RIGHT_THALAMUS)).astype(np.int16)
    empty = ventricle & (labels == 0)
    labels[empty & (world_x < middle)] = LEFT_VENTRICLE
    labels[empty & (world_x >= middle)] = RIGHT_VENTRICLE
    place = dataset / "sub-01" / "anat" / "sub-01_space-MEGRE_desc-deepgray_dseg.nii.gz"
    place.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(labels, thalamus.affine), place)
    write_json(
        dataset / "dataset_description.json",
        {"Name": "labels", "BIDSVersion": "1.10.0", "DatasetType": "derivative"},
    )


def run(folder: Path, *more: str) -> int:
    words = [str(folder / "bids"), str(folder / "out"), "participant"]
    return main([*words, "--derivatives", f"mine={folder / 'labels'}", "--nprocs", "1", *more])


def value(folder: Path, measure: str, hemisphere: str) -> float:
    path = folder / "out" / "sub-01" / "anat" / "sub-01_desc-qsmthal_measures.tsv"
    table = pd.read_csv(path, sep="\t").set_index(["measure", "region", "hemisphere"])
    return float(table.loc[(measure, "thalamus", hemisphere), "value"])


@pytest.fixture(scope="module")
def done(folder: Path) -> Path:
    assert run(folder) == 0
    return folder


def test_the_number_is_that_of_the_truth(done: Path) -> None:
    truth = json.loads((done / "truth" / "sub-01" / "truth.json").read_text())
    for hemisphere in ("L", "R", "LR"):
        error_ppb = (
            value(done, "chi_relative_csf", hemisphere) - truth["chi_relative_csf"][hemisphere]
        )
        assert abs(error_ppb) < 6


def test_outputs_have_their_names_units_and_sources(done: Path) -> None:
    anat = done / "out" / "sub-01" / "anat"
    sidecar = json.loads((anat / "sub-01_Chimap.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["Sources"][0] == "bids:raw:sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"
    final = nib.load(anat / "sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz")
    assert set(np.unique(np.asarray(final.dataobj))) == {0, 1, 2}
    assert (done / "out" / "sub-01.html").stat().st_size < 15e6
    measures = pd.read_csv(anat / "sub-01_desc-qsmthal_measures.tsv", sep="\t")
    thalamus = measures[(measures.region == "thalamus") & (measures.measure == "chi_mean")]
    assert set(thalamus.source) == {"mine"}


def test_the_same_command_again_reuses_every_stage_and_gives_the_same_bytes(
    done: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = done / "out" / "sub-01" / "anat" / "sub-01_desc-qsmthal_measures.tsv"
    before = path.read_bytes()
    path.unlink()
    assert run(done) == 0
    assert path.read_bytes() == before
    reused = [r.getMessage() for r in caplog.records if ": reused" in r.getMessage()]
    assert any("field, background, susceptibility" in line for line in reused)


def test_a_manual_edit_wins_and_is_named(done: Path) -> None:
    anat = done / "out" / "sub-01" / "anat"
    name = "sub-01_space-MEGRE_label-CSF_desc-reference_mask.nii.gz"
    found = nib.load(anat / name)
    edited = np.asarray(found.dataobj).copy()
    edited[: edited.shape[0] // 2] = 0  # keep one side only
    place = done / "out" / "edits" / "sub-01" / "anat" / name
    place.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(edited.astype(np.uint8), found.affine), place)
    before = value(done, "chi_relative_csf", "LR")
    assert run(done) == 0
    assert value(done, "chi_relative_csf", "LR") != before
    after = np.asarray(nib.load(anat / name).dataobj)
    np.testing.assert_array_equal(after > 0, edited > 0)
