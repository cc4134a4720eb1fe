import json
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal import anatomy
from bids_qsmthal.bids import derivatives
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.bids.provenance import plain
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant import saving
from bids_qsmthal.qsm import Acquisition

REFERENCES = {"MEGRE": "bids:raw:gre.nii.gz", "T1w": "bids:raw:t1w.nii.gz", "FLAIR": "n/a"}


@pytest.fixture
def out(tmp_path: Path) -> Derivatives:
    return Derivatives(
        output_dir=tmp_path,
        entities=(("sub", "01"), ("ses", "a")),
        gre_entities=(("run", "2"),),
        references=REFERENCES,
    )


@pytest.fixture
def image() -> Image:
    return Image(np.ones((2, 3, 4), np.float32), np.eye(4))


def test_only_what_comes_from_the_gradient_echo_carries_its_run(
    out: Derivatives, image: Image
) -> None:
    chi = out.save("chi", image, sources=[])
    brain = out.save("brain", image, sources=[], dtype=np.uint8)
    assert chi.relative_to(out.output_dir).as_posix() == (
        "sub-01/ses-a/anat/sub-01_ses-a_run-2_Chimap.nii.gz"
    )
    assert brain.name == "sub-01_ses-a_space-T1w_desc-brain_mask.nii.gz"


def test_a_sidecar_says_unit_grid_source_and_method(out: Derivatives, image: Image) -> None:
    out.save("csf_reference", image, sources=["bids:raw:x"], method={"Name": "ladder"})
    name = "sub-01_ses-a_run-2_space-MEGRE_label-CSF_desc-reference_mask.json"
    sidecar = json.loads((out.folder / name).read_text())
    assert sidecar["SpatialReference"] == REFERENCES["MEGRE"]
    assert sidecar["Sources"] == ["bids:raw:x"]
    assert sidecar["Method"] == {"Name": "ladder"}
    assert "ends with its unit" in sidecar["MethodUnits"]
    assert sidecar["Type"] == "ROI"
    assert "Units" not in sidecar


def test_settings_become_json_whatever_they_hold() -> None:
    acquisition = Acquisition(echo_times_s=(0.005, 0.01), field_strength_t=3.0)
    content = {"a": acquisition, "p": Path("x"), "n": np.float32(0.5), "inf": float("inf")}
    assert json.loads(json.dumps(plain(content))) == {
        "a": {
            "echo_times_s": [0.005, 0.01],
            "field_strength_t": 3.0,
            "imaging_frequency_hz": None,
        },
        "p": "x",
        "n": 0.5,
        "inf": "inf",
    }


def test_a_transform_file_moves_images_the_way_its_name_says(out: Derivatives) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 2, 3)  # a point of the gradient echo lies 1, 2, 3 mm further in T1w
    rigid = anatomy.Rigid(matrix, {})
    saving.save_rigid("MEGRE", rigid, out, space="MEGRE")
    text = (out.folder / "sub-01_ses-a_run-2_from-MEGRE_to-T1w_mode-image_xfm.txt").read_text()
    # A resampler asks, for each point of T1w, where it lies in the gradient echo.
    np.testing.assert_allclose(anatomy.read_itk_affine_text(text), np.linalg.inv(matrix))


@pytest.mark.parametrize(
    ("raw", "source", "carried"),
    [
        ({}, {"URL": "bids:raw:"}, {}),
        ({"DatasetDOI": " ", "License": 3, "Authors": "A, B"}, {"URL": "bids:raw:"}, {}),
        (
            {
                "DatasetDOI": "doi:10.18112/openneuro.ds000001.v1.0.0",
                "License": "CC0",
                "Authors": ["A", "B"],
                "Name": "theirs",
                "BIDSVersion": "1.4.0",
            },
            {
                "URL": "https://doi.org/10.18112/openneuro.ds000001.v1.0.0",
                "DOI": "doi:10.18112/openneuro.ds000001.v1.0.0",
            },
            {"License": "CC0", "Authors": ["A", "B"]},
        ),
    ],
)
def test_whose_data_they_are_goes_with_the_results(
    tmp_path: Path, raw: dict[str, object], source: dict[str, str], carried: dict[str, object]
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/dataset_description.json").write_text(json.dumps(raw), encoding="utf-8")
    derivatives.describe_dataset(tmp_path / "out", tmp_path / "raw", {})
    made = json.loads((tmp_path / "out/dataset_description.json").read_text(encoding="utf-8"))
    assert made["SourceDatasets"] == [source]
    assert {key: made[key] for key in ("License", "Authors", "Funding") if key in made} == carried
    assert (made["Name"], made["DatasetType"]) == (
        "bids_qsmthal: thalamic susceptibility",
        "derivative",
    )
    assert made["DatasetLinks"] == {"raw": "../raw"}


@pytest.mark.parametrize("address", ["", "https://example.org/lab/bids_qsmthal"])
def test_results_name_the_repository_that_the_package_was_released_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    described = Message()
    if address:
        described["Project-URL"] = "Documentation, https://example.org/docs"
        described["Project-URL"] = f"Source, {address}"
    monkeypatch.setattr(derivatives.metadata, "metadata", lambda _: described)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/dataset_description.json").write_text("{}", encoding="utf-8")
    derivatives.describe_dataset(tmp_path / "out", tmp_path / "raw", {})
    made = json.loads((tmp_path / "out/dataset_description.json").read_text(encoding="utf-8"))
    assert made["GeneratedBy"][0].get("CodeURL", "") == address
