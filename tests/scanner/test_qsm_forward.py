"""Scans that another program simulated, with its own forward model, run as they come."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.app.cli import main

# In a process of its own: its libraries warn of things to come, and here warnings are errors.
MAKE = """
import sys
import numpy as np
import qsm_forward

chi = qsm_forward.generate_susceptibility_phantom(
    resolution=[88, 88, 88], background=0, large_cylinder_val=0.005,
    small_cylinder_radii=[4, 4, 4, 7], small_cylinder_vals=[0.05, 0.1, 0.2, 0.5],
)
turn = np.radians(20)
for subject, field, direction, voxel in (
    ("straight", 7, [0, 0, 1], [1, 1, 1]),
    ("oblique", 3, [0, np.sin(turn), np.cos(turn)], [1, 1, 1]),
    # Straight: in its headers of thick oblique slices only the diagonal has the size of the voxels,
    # so that the axes are sheared, which is refused.
    ("thick", 1.5, [0, 0, 1], [1, 1, 2]),
):
    scan = qsm_forward.ReconParams(
        subject=subject, B0=field, B0_dir=np.array(direction), peak_snr=100, random_seed=11,
        voxel_size=np.array(voxel, float), suffix="MEGRE",
    )
    # Made anew each time: it keeps the axes of the scan before.
    qsm_forward.generate_bids(qsm_forward.TissueParams(chi=chi), scan, sys.argv[1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forward")
    made = [sys.executable, "-c", MAKE, str(folder / "bids")]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    words = [str(folder / "bids"), str(folder / "out"), "participant", "-w", str(folder / "work")]
    assert main([*words, "--qsm-only", "-q"]) == 0
    return folder


@pytest.mark.slow
def test_the_sidecar_says_how_a_phase_without_units_became_radians(folder: Path) -> None:
    sidecar = folder / "out/sub-straight/anat/sub-straight_Chimap.json"
    phase = json.loads(sidecar.read_text())["Method"]["Phase"]
    assert phase["scale"]["source"] == "range"
    assert phase["scale"]["turn_stored_values"] == pytest.approx(2 * np.pi, rel=0.01)
    assert any("scale of the phase" in one for one in phase["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["straight", "oblique", "thick"])
def test_the_susceptibility_of_qsm_forward_comes_back(folder: Path, subject: str) -> None:
    def image(place: str) -> np.ndarray:
        return nib.load(folder / place.format(subject)).get_fdata()

    chi = image("out/sub-{0}/anat/sub-{0}_Chimap.nii.gz")
    mask = image("out/sub-{0}/anat/sub-{0}_space-MEGRE_desc-qsm_mask.nii.gz") > 0
    truth = image("bids/derivatives/qsm-forward/sub-{0}/anat/sub-{0}_Chimap.nii")
    inside = image("bids/derivatives/qsm-forward/sub-{0}/anat/sub-{0}_mask.nii") > 0
    assert (mask & inside).sum() > 0.7 * inside.sum()
    assert np.corrcoef(chi[mask], truth[mask])[0, 1] >= 0.98
    slope, _ = np.polyfit(truth[mask], chi[mask], 1)
    assert 0.95 <= slope <= 1.05
