"""Fills the caches that a container starts from: compiled code, and matplotlib's list of fonts.

Usage: precompile.py FOLDER. Processes a tiny participant the way any other is, so that every
compiled function is met with the types of a real run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

SHAPE = (40, 48, 36)
VOXEL_MM = 4.5
ECHO_TIMES_S = (0.005, 0.010, 0.015, 0.020)
LABELS = {"thalamus": (10, 49), "ventricle": (4, 43)}


def main(folder: Path) -> int:
    """Run a tiny participant and a tiny registration with the caches in the folder."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder / "numba")
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    for name in ("numba", "matplotlib"):
        (folder / name).mkdir(parents=True)
    from bids_qsmthal.app.cli import main as run  # noqa: PLC0415 - after the environment

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_participant(root / "bids" / "sub-01" / "anat", root / "labels" / "sub-01" / "anat")
        words = [str(root / "bids"), str(root / "out"), "participant", "-w", str(root / "work")]
        status = run([*words, "--derivatives", f"mine={root / 'labels'}", "--nprocs", "1"])
    register()
    return status


def register() -> None:
    """Bring one box of noise to another, and the atlas along."""
    import numpy as np  # noqa: PLC0415 - after the environment

    from bids_qsmthal.anatomy import deformation, preparation, warping  # noqa: PLC0415
    from bids_qsmthal.core.image import Image  # noqa: PLC0415

    boxes = np.random.default_rng(0).random((2, 24, 24, 24), dtype=np.float32)
    fixed, moving = (Image(box, np.eye(4)) for box in boxes)
    field = deformation.deform(fixed, moving, deformation.Deformation())
    warp = warping.Warp(np.eye(4), (field,), deformation.inverted(field))
    # As many images at once as a run samples: each number is compiled by itself.
    preparation.carry(warp, fixed)
    warping.sample_images([fixed], warping.Warp(np.eye(4), ()).template_points(fixed))
    warp.t1w_points(fixed)


def write_participant(raw: Path, brought: Path) -> None:
    """Write the gradient echo of a round head, with its brain and labels."""
    import nibabel as nib  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    affine = np.diag([VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -VOXEL_MM * np.array(SHAPE) / 2
    x, y, z = (VOXEL_MM * (axis - n / 2) for axis, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    radius = np.sqrt(x**2 + y**2 + z**2)
    brain = (radius < 70).astype(np.uint8)
    labels = np.zeros(SHAPE, np.int16)
    for (left, right), height in zip(LABELS.values(), (0.0, 25.0), strict=True):
        for label, centre in ((left, -22.0), (right, 22.0)):
            labels[(x - centre) ** 2 + y**2 + (z - height) ** 2 < 13**2] = label
    noise = np.random.default_rng(0).standard_normal((len(ECHO_TIMES_S), 2, *SHAPE)) / 50
    raw.mkdir(parents=True)
    for number, (time, (real, imaginary)) in enumerate(zip(ECHO_TIMES_S, noise, strict=True), 1):
        # Fluid decays slowly: it is found by that, and part of the inversion is for it alone.
        decay = np.where(np.isin(labels, LABELS["ventricle"]), 1.5, 20.0)
        signal = brain * np.exp(-decay * time + 2j * np.pi * time * z / 5) + real + 1j * imaginary
        for part, data in (("mag", np.abs(signal)), ("phase", np.angle(signal))):
            stem = raw / f"sub-01_echo-{number}_part-{part}_MEGRE"
            nib.save(nib.Nifti1Image(data.astype(np.float32), affine), f"{stem}.nii.gz")
            sidecar = {"EchoTime": time, "EchoNumber": number, "MagneticFieldStrength": 3}
            units = {"Units": "rad"} if part == "phase" else {}
            Path(f"{stem}.json").write_text(json.dumps(sidecar | units), encoding="utf-8")
    brought.mkdir(parents=True)
    for ending, image in (("brain_mask", brain), ("deepgray_dseg", labels)):
        path = brought / f"sub-01_space-MEGRE_desc-{ending}.nii.gz"
        nib.save(nib.Nifti1Image(image, affine), path)
    for dataset in (raw.parents[1], brought.parents[1]):
        description = {"Name": "tiny", "BIDSVersion": "1.10.0"}
        (dataset / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
