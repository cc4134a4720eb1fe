"""Choices of a run that show in its numbers or its pages, on a participant of a few voxels."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.report.numbers import fixed
from tests import tiny
from tests.conftest import write_json

pytestmark = pytest.mark.slow

TABLE = "sub-01/anat/sub-01_desc-qsmthal_measures.tsv"


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    tiny.write_dataset(root, "sub-01")
    assert main(tiny.words(root)) == 0
    return root


def relative(root: Path, out: str, measure: str = "chi_relative_csf") -> pd.Series:
    table = pd.read_csv(root / out / TABLE, sep="\t", keep_default_na=False)
    rows = table[
        (table["measure"] == measure)
        & (table["region"] == "thalamus")
        & (table["hemisphere"] == "LR")
    ]
    return rows.iloc[0]


def test_every_table_of_a_participant_has_a_dictionary_of_its_columns_and_levels(
    processed: Path,
) -> None:
    tables = sorted((processed / "out" / "sub-01" / "anat").glob("*_desc-qsmthal_*.tsv"))
    kinds = {path.stem.rpartition("_")[2] for path in tables}
    assert {"acquisition", "measures", "quality", "sensitivity"} <= kinds
    for path in tables:
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        described = json.loads(path.with_suffix(".json").read_text())
        assert set(table.columns) <= set(described), path.name
        for column, entry in described.items():
            # A level with a star stands for many; the other regions are named by their label.
            if column in table and "Levels" in entry and "*:*" not in entry["Levels"]:
                assert set(table[column]) <= {*entry["Levels"], "n/a"}, (path.name, column)


def test_sidecar_and_page_say_where_the_zero_of_the_map_lies(processed: Path) -> None:
    anat = processed / "out" / "sub-01" / "anat"
    chi = np.asarray(nib.load(anat / "sub-01_Chimap.nii.gz").dataobj)
    zero = json.loads((anat / "sub-01_Chimap.json").read_text())["Method"]["Zero"]
    for key, mask in (("Mask", "desc-qsm"), ("Reference", "label-CSF_desc-reference")):
        path = anat / f"sub-01_space-MEGRE_{mask}_mask.nii.gz"
        inside = np.asarray(nib.load(path).dataobj) > 0
        assert zero[f"MeanOf{key}_ppb"] == pytest.approx(1000 * chi[inside].mean(), abs=2e-3)
    page = (processed / "out" / "sub-01.html").read_text()
    assert f"The mean of all voxels is {fixed(zero['MeanOfMask_ppb'], 1)} ppb" in page


def reference(root: Path, out: str) -> str:
    table = pd.read_csv(root / out / TABLE, sep="\t", keep_default_na=False)
    rows = table[(table["region"] == "csf_reference") & (table["hemisphere"] == "LR")]
    return str(rows["method"].iloc[0])


def test_pages_are_remade_from_the_work_folder_and_nothing_else(processed: Path) -> None:
    out = processed / "out"
    page, drawn = out / "sub-01.html", sorted((out / "sub-01" / "figures").iterdir())
    before = page.read_bytes()
    kept = [*(out / "sub-01" / "anat").iterdir(), out / "dataset_description.json"]
    kept.append(out / "logs" / "settings.json")
    images = {path: path.stat().st_mtime_ns for path in kept}
    for path in (page, *drawn):
        path.unlink()
    words = tiny.words(processed, "--reports-only")
    assert main(words) == 0
    assert sorted((out / "sub-01" / "figures").iterdir()) == drawn
    assert {path: path.stat().st_mtime_ns for path in images} == images
    assert page.read_bytes() == before


@pytest.mark.parametrize("more", [("--csf-reference", "csf"), ("-w", "elsewhere")])
def test_pages_of_results_that_are_not_there_are_refused(
    processed: Path, more: tuple[str, str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    kept = (processed / "out" / "sub-01.html").read_bytes()
    option, value = more
    value = str(tmp_path / value) if option == "-w" else value
    assert main(tiny.words(processed, "--reports-only", option, value)) == 17
    said = caplog.records[-1].getMessage()
    assert "run once without --reports-only" in said
    assert "\n" not in said
    assert (processed / "out" / "sub-01.html").read_bytes() == kept


@pytest.mark.parametrize(
    ("word", "rung", "sentence"),
    [
        ("csf", "global CSF", "cerebrospinal fluid in the middle of the brain."),
        ("brain", "whole brain", "referenced to the whole brain."),
    ],
)
def test_the_reference_is_the_one_that_was_asked_for(
    processed: Path, word: str, rung: str, sentence: str
) -> None:
    out = f"out-{word}"
    assert main(tiny.words(processed, "--csf-reference", word, out=out)) == 0
    assert reference(processed, out) == rung
    page = (processed / out / "sub-01.html").read_text(encoding="utf-8")
    assert sentence in page
    other = {"csf": "chi_relative_csf_global", "brain": "chi_relative_brain"}[word]
    assert float(relative(processed, out)["value"]) == pytest.approx(
        float(relative(processed, out, other)["value"]), abs=0.5
    )


def test_the_whole_brain_is_not_judged_as_fluid(processed: Path) -> None:
    assert main(tiny.words(processed, "--csf-reference", "brain", out="out-brain")) == 0
    folder = processed / "out-brain" / "sub-01" / "anat"
    checks = pd.read_csv(folder / "sub-01_desc-qsmthal_quality.tsv", sep="\t")
    assert "reference_sd_ppb" not in set(checks["name"])
    kept = relative(processed, "out-brain")["n_voxels"]
    usual = relative(processed, "out")["n_voxels"]
    assert int(kept) >= 0.9 * int(usual)


def test_an_unknown_reference_in_a_configuration_is_refused(
    processed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("csf-reference: liver\n")
    assert main(tiny.words(processed, "--config", str(config))) == 64
    assert (
        "expected 'circles', 'atria', 'ventricles', 'csf' or 'brain'"
        in caplog.records[-1].getMessage()
    )


def test_the_way_of_the_study_is_said_and_the_default_stands_beside_it(processed: Path) -> None:
    out = "out-study"
    assert main(tiny.words(processed, "--preset", "chiang2018", out=out)) == 0
    folder = processed / out / "sub-01" / "anat"
    beside = pd.read_csv(folder / "sub-01_desc-qsmthal_sensitivity.tsv", sep="\t")
    row = beside[(beside["choice"] == "rules") & (beside["hemisphere"] == "LR")].iloc[0]
    # The words of the tiny run choose another inversion than MEDI: the map is the same.
    usual = float(relative(processed, "out")["value"])
    assert row["value"] == pytest.approx(usual, abs=1e-3)
    study = float(relative(processed, out)["value"])
    assert row["difference"] == pytest.approx(usual - study, abs=1e-3)
    sidecar = json.loads((folder / "sub-01_space-MEGRE_desc-thalamus_dseg.json").read_text())
    rules = sidecar["Method"]
    assert rules["Thalamus"]["remove_rim"] is False
    assert rules["Veins"]["large_only"] is True
    page = (processed / out / "sub-01.html").read_text(encoding="utf-8")
    assert "large veins along its border" in page
    assert "its rim" in page


@pytest.fixture(scope="module")
def fields(processed: Path) -> Path:
    """Our own total field as another program would leave it; zero in a part of the brain."""
    folder = processed / "fields" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    source = processed / "out" / "sub-01" / "anat" / "sub-01_desc-total_fieldmap.nii.gz"
    shutil.copy(source, folder)
    write_json(folder / "sub-01_desc-total_fieldmap.json", {"Units": "Hz"})
    return folder / source.name


def test_a_total_field_takes_the_place_of_the_fit(processed: Path, fields: Path) -> None:
    brought = f"theirs={fields.parent.parent.parent}"
    words = tiny.words(processed, out="out-field")
    words.insert(words.index("--derivatives") + 2, brought)
    assert main(words) == 0
    assert float(relative(processed, "out-field")["value"]) == pytest.approx(
        float(relative(processed, "out")["value"]), abs=0.05
    )
    page = (processed / "out-field" / "sub-01.html").read_text(encoding="utf-8")
    assert "The total field was not computed but taken from theirs" in page
    assert "unwrapped by region growing" not in page
    made = nib.load(processed / "out-field/sub-01/anat/sub-01_desc-total_fieldmap.nii.gz")
    assert np.array_equal(made.get_fdata(), nib.load(fields).get_fdata())


@pytest.mark.parametrize(
    ("factor", "units", "says"),
    [
        (-1.0, "Hz", "explains the phase of the echoes no better"),
        (1.0, "rad/s", "Units in sub-01_desc-total_fieldmap.json are 'rad/s', expected Hz"),
    ],
)
def test_a_field_of_another_sign_or_unit_is_refused(
    fields: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    factor: float,
    units: str,
    says: str,
) -> None:
    processed = fields.parents[3]
    image = nib.load(fields)
    folder = tmp_path / "wrong" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(factor * image.get_fdata(), image.affine), folder / fields.name)
    write_json(folder / "sub-01_desc-total_fieldmap.json", {"Units": units})
    words = tiny.words(processed, out="out-wrong")
    words.insert(words.index("--derivatives") + 2, f"theirs={tmp_path / 'wrong'}")
    assert main(words) == 65
    assert says in caplog.text
