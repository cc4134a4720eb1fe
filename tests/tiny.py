"""A participant so small that both levels run in seconds: gradient echo and brought labels."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_qsmthal.qsm import Grid
from tests.conftest import write_json
from tests.qsm import phantoms

SHAPE = (40, 48, 36)
VOXEL_MM = 4.5
FAST = ("--inversion", "tkd", "--background", "v-sharp", "--nprocs", "1")
"""Methods that take a second on this grid; what they give is not judged here."""

THALAMI, VENTRICLES = (10, 49), (4, 43)


@cache
def scan() -> tuple[phantoms.Structural, np.ndarray, np.ndarray, np.ndarray]:
    """Return the head, its affine, and magnitude and phase of every echo."""
    head = phantoms.head(Grid(SHAPE, (VOXEL_MM,) * 3, (0.0, 0.0, 1.0)), background=0.1)
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(SHAPE) // 2)
    magnitude, phase = head.signal()
    return head, affine, (1000 * magnitude).astype(np.int16), phase


def scanner(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Return an image in the scanner's world; nibabel alone would say that it was aligned."""
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code=1)
    return image


def write_participant(bids_dir: Path, name: str = "sub-01") -> Path:
    """Write the gradient echo of a participant (``sub-01`` or ``sub-01_ses-a``)."""
    head, affine, magnitude, phase = scan()
    folder = bids_dir.joinpath(*name.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for number, time in enumerate(head.acquisition.echo_times_s, 1):
        for part, data in (("mag", magnitude), ("phase", phase)):
            stem = folder / f"{name}_echo-{number}_part-{part}_MEGRE"
            nib.save(scanner(data[..., number - 1], affine), f"{stem}.nii.gz")
            sidecar = {"EchoTime": time, "EchoNumber": number, "MagneticFieldStrength": 3}
            units = {"Units": "rad"} if part == "phase" else {}
            write_json(Path(f"{stem}.json"), sidecar | units)
    return folder


def write_labels(dataset: Path, name: str = "sub-01") -> Path:
    """Write what a user would bring: brain mask and segmentation on the grid of the echoes."""
    head, affine, *_ = scan()
    left, right = head.nuclei
    labels = np.zeros(SHAPE, np.int16)
    side = (np.arange(SHAPE[0]) >= SHAPE[0] // 2)[:, None, None]
    labels[head.csf & ~side], labels[head.csf & side] = VENTRICLES
    labels[left], labels[right] = THALAMI
    folder = dataset.joinpath(*name.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for ending, data in (("brain_mask", head.mask.astype(np.uint8)), ("deepgray_dseg", labels)):
        path = folder / f"{name}_space-MEGRE_desc-{ending}.nii.gz"
        nib.save(scanner(data, affine), path)
    described = {"Name": "labels", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    write_json(dataset / "dataset_description.json", described)
    return folder


def write_dataset(root: Path, *names: str) -> None:
    """Write ``bids`` and ``labels`` with participants of these names."""
    (root / "bids").mkdir(parents=True)
    described = {"Name": "tiny", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    write_json(root / "bids" / "dataset_description.json", described)
    for name in names:
        write_participant(root / "bids", name)
        write_labels(root / "labels", name)


def words(root: Path, *more: str, out: str = "out", level: str = "participant") -> list[str]:
    """Return the command line that processes the dataset."""
    brought = f"mine={root / 'labels'}"
    begin = [str(root / "bids"), str(root / out), level, "--work-dir", str(root / f"work-{out}")]
    return [*begin, "--derivatives", brought, *FAST, *more]
