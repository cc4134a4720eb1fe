"""What is beside an output says what is in it: the world of its header, the names of its labels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import participant
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import FOUND
from bids_qsmthal.participant import label_tables, saving
from bids_qsmthal.settings import Resources, Settings


def test_outputs_stay_in_the_world_of_their_scan(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    for name, code in (("sub-01_T1w", 4), ("sub-01_FLAIR", 1)):
        raw = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.diag([2.0, 2, 2, 1]))
        raw.set_sform(raw.affine, code=code)
        raw.set_qform(raw.affine, code=1)
        nib.save(raw, folder / f"{name}.nii.gz")
    session = Session(
        tmp_path, "01", t1w=folder / "sub-01_T1w.nii.gz", flair=folder / "sub-01_FLAIR.nii.gz"
    )
    settings: Any = SimpleNamespace(output_dir=tmp_path / "out")
    out = participant.outputs(session, settings)
    made = {}
    for key in ("tissue", "lesion_flair"):
        image = Image(np.ones((4, 4, 4), np.uint8), np.diag([2.0, 2, 2, 1]))
        made[key] = int(nib.load(out.save(key, image, sources=[])).header["sform_code"])
    assert made == {"tissue": 4, "lesion_flair": 1}


def test_external_labels_are_named_by_what_they_hold() -> None:
    labels = np.zeros((4, 4, 4), np.int16)
    labels[0, 0, :] = (10, 49, 16, 28)
    table = label_tables.deep_gray(Image(labels, np.eye(4))).set_index("index")["name"]
    assert sorted(table.index) == [10, 16, 28, 49]
    assert "thalamus" in table[10].lower()
    assert "Left-VentralDC" in table[28]
    ours = np.where(labels == 28, 0, labels)
    ours[ours == 16] = 0
    table = label_tables.deep_gray(Image(ours, np.eye(4)))
    assert dict(zip(table["index"], table["name"], strict=True)) == dict(
        sorted(FOUND.labels.items())
    )


def test_no_cell_of_a_table_is_empty(tmp_path: Path) -> None:
    out = Derivatives(
        output_dir=tmp_path, entities=(("sub", "01"),), gre_entities=(), references={}
    )
    checks = pd.DataFrame({"name": ["snr"], "value": [30.0], "unit": [""], "reason": [""]})
    run = SimpleNamespace(scan=None, magnitude=None)
    saving.save_tables(checks, checks, run, out)
    lines = (out.folder / "sub-01_desc-qsmthal_quality.tsv").read_text().splitlines()
    assert lines[1].split("\t") == ["snr", "30.0", "n/a", "n/a"]


@pytest.mark.parametrize("sought", [True, False])
def test_lesions_that_nobody_sought_are_no_empty_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sought: bool
) -> None:
    monkeypatch.setattr(saving, "save_susceptibility", lambda *_: None)
    scan = tmp_path / "sub-01_echo-1_MEGRE.nii.gz"
    nothing = Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    regions = SimpleNamespace(
        masks=dict.fromkeys(("thalamus", "reference", "veins", "lesions"), nothing),
        sensitivity=pd.DataFrame(),
    )
    series = SimpleNamespace(paths=(scan,))
    gre: Any = SimpleNamespace(
        regions=regions, separated=None, lesions=None, signal=SimpleNamespace(series=series)
    )
    structural: Any = SimpleNamespace(sources={}, lesion_mask=nothing if sought else None)
    settings = Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )
    out = Derivatives(
        output_dir=tmp_path / "out",
        entities=(("sub", "01"),),
        gre_entities=(),
        references={"MEGRE": "bids:raw:sub-01_echo-1_MEGRE.nii.gz"},
    )
    saving.save_gradient_echo(Session(tmp_path, "01"), gre, structural, settings, out)
    assert (out.folder / "sub-01_space-MEGRE_label-vein_mask.nii.gz").exists()
    assert (out.folder / "sub-01_space-MEGRE_label-lesion_mask.nii.gz").exists() == sought
