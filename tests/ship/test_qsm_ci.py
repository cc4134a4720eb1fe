"""integrations/qsm-ci: each folder does what QSM-CI asks of its stage, one after the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from scipy import ndimage

from bids_qsmthal.qsm import Grid
from bids_qsmthal.qsm.acquisition import GYROMAGNETIC_RATIO_HZ_PER_T
from tests.qsm import phantoms

FOLDER = Path(__file__).parents[2] / "integrations" / "qsm-ci"
STAGES = {
    "field-mapping": ({"phase", "magnitude", "mask", "params"}, "totalfield"),
    "bfr": ({"totalfield", "mask", "params"}, "localfield"),
    "dipole": ({"localfield", "mask", "params", "magnitude"}, "chimap"),
}
"""What each stage reads and writes; a dipole method may ask for the magnitude."""


def methods() -> dict[str, tuple[Path, dict[str, object]]]:
    """Return folder and description of the method of each stage."""
    found = [(path.parent, yaml.safe_load(path.read_text())) for path in FOLDER.glob("*/*.yml")]
    return {described["stage"]: (folder, described) for folder, described in found}


def test_every_stage_has_a_method_that_says_what_qsm_ci_asks_for() -> None:
    assert set(methods()) == set(STAGES)
    for stage, (folder, described) in methods().items():
        assert described["slug"] == folder.name
        assert described["run"] == "bash run.sh"
        assert described["license"] == "MIT"
        assert str(described["doi"]).startswith("10.")
        assert set(described.get("inputs", STAGES[stage][0])) == STAGES[stage][0]
        assert {"name", "description", "authors", "image"} <= set(described)


@pytest.fixture(scope="module")
def head() -> phantoms.Head:
    return phantoms.head(Grid((32, 36, 30), (4.0,) * 3, (0.0, 0.0, 1.0)), background=0.3)


@pytest.fixture(scope="module")
def made(head: phantoms.Head, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return what each stage writes from what the one before it wrote."""
    folder = tmp_path_factory.mktemp("qsm-ci")
    magnitude, phase = head.signal()
    images = {"phase": phase, "magnitude": magnitude, "mask": head.mask.astype(np.uint8)}
    for name, data in images.items():
        # Without a code of the world: the phantom's files are in no scanner's.
        nib.save(nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1])), folder / f"{name}.nii.gz")
    found = {}
    for stage, (reads, writes) in STAGES.items():
        taken(stage, folder, reads)
        found[writes] = np.asarray(nib.load(folder / f"{writes}.nii.gz").dataobj)
    return found


def taken(stage: str, folder: Path, reads: set[str]) -> None:
    """Run the script of a stage as QSM-CI does, with the images that it reads and no others."""
    inputs, outputs = folder / f"{stage}-input", folder / f"{stage}-output"
    inputs.mkdir()
    outputs.mkdir()
    for name in reads - {"params"}:
        (inputs / f"{name}.nii.gz").symlink_to(folder / f"{name}.nii.gz")
    params = {"TE": [0.005, 0.01, 0.015, 0.02], "B0": 3.0, "B0_dir": [0, 0, 1]}
    (inputs / "params.json").write_text(json.dumps(params | {"voxel_size": [4, 4, 4]}))
    told = {
        "QSMCI_TE": "0.005 0.01 0.015 0.02",
        "QSMCI_B0": "3",
        "QSMCI_B0_DIR": "0 0 1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = methods()[stage][0] / "run.sh"
    words = ["bash", str(script), str(inputs), str(outputs)]
    subprocess.run(words, check=True, env=os.environ | told, stderr=subprocess.DEVNULL)
    for path in outputs.glob("*.nii.gz"):
        path.rename(folder / path.name)


@pytest.mark.slow
def test_fields_are_in_ppm_and_the_chain_ends_in_the_susceptibility_of_the_phantom(
    made: dict[str, np.ndarray], head: phantoms.Head
) -> None:
    ppm_per_hz = 1e6 / (3 * GYROMAGNETIC_RATIO_HZ_PER_T)
    inside = head.mask
    total = made["totalfield"][inside] - ppm_per_hz * head.total_hz[inside]
    assert np.abs(np.median(total)) < 0.005
    assert np.percentile(np.abs(total - np.median(total)), 90) < 0.005
    # At the rim, three voxels of 4 mm, no method knows the local field.
    deep = ndimage.binary_erosion(inside, iterations=3)
    local, true = made["localfield"][deep], ppm_per_hz * head.local_hz[deep]
    assert np.corrcoef(local, true)[0, 1] > 0.9
    assert np.polyfit(true, local, 1)[0] == pytest.approx(1, abs=0.1)
    chi = made["chimap"]
    found = [float(chi[region].mean() - chi[head.csf].mean()) for region in head.nuclei]
    assert found == pytest.approx([0.060, 0.120], abs=0.015)
