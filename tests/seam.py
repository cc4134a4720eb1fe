"""Whole participants with known truth through the command: made once, shared by all tests.

``seam_study``: four oblique scans, each in a world of its own, through both levels; minutes.
An atlas is measured, and maps are written in other spaces, too.
``tiny_study``: a gradient echo with labels, through both levels; seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from scipy.spatial.transform import Rotation

# What simulates and computes takes seconds to import, and every test imports this module.

NAME = "sub-01"
SEED = 7
SPACE = "MNI152NLin2009cAsym"

TURNS = {
    # Angles (degrees, about x, y, z) and shift (mm) of the world of a scan: 5 to 10 degrees and
    # 1 to 3 cm between any two, so that nothing but registration can relate them.
    "T1w": ((5.0, -3.0, 3.0), (7.0, -5.0, 9.0)),
    "ce-gadolinium_T1w": ((-3.0, 2.0, -3.0), (-8.0, 6.0, -4.0)),
    "FLAIR": ((3.0, 2.0, -2.0), (5.0, 8.0, -7.0)),
}
"""The gradient echo keeps its world, where B0 is z; its slab is oblique by itself."""

POSES = {"T1w": "t1w", "ce-gadolinium_T1w": "gad", "FLAIR": "flair"}


@dataclass(frozen=True)
class Study:
    """The folders of one participant that went through both levels."""

    root: Path

    @property
    def bids(self) -> Path:
        return self.root / "bids"

    @property
    def out(self) -> Path:
        return self.root / "derivatives"

    @property
    def anat(self) -> Path:
        return self.out / NAME / "anat"

    @property
    def figures(self) -> Path:
        return self.out / NAME / "figures"

    @cached_property
    def truth(self) -> dict[str, Any]:
        return json.loads((self.root / "truth" / NAME / "truth.json").read_text())

    @cached_property
    def measures(self) -> pd.DataFrame:
        """The table as a file: missing cells are the text n/a."""
        return pd.read_csv(
            self.anat / f"{NAME}_desc-qsmthal_measures.tsv", sep="\t", keep_default_na=False
        )

    def value(self, measure: str, region: str, hemisphere: str = "n/a") -> float:
        return float(self.row(measure, region, hemisphere)["value"])

    def row(self, measure: str, region: str, hemisphere: str = "n/a") -> pd.Series:
        rows = self.measures[
            (self.measures["measure"] == measure)
            & (self.measures["region"] == region)
            & (self.measures["hemisphere"] == hemisphere)
        ]
        assert len(rows) == 1, (measure, region, hemisphere)
        return rows.iloc[0]

    def made(self, ending: str) -> nib.Nifti1Image:
        return nib.load(self.anat / f"{NAME}_{ending}.nii.gz")

    def sidecar(self, ending: str) -> dict[str, Any]:
        return json.loads((self.anat / f"{NAME}_{ending}.json").read_text())

    def true(self, ending: str) -> nib.Nifti1Image:
        return nib.load(self.root / "truth" / NAME / f"{NAME}_{ending}.nii.gz")

    def raw(self, ending: str) -> nib.Nifti1Image:
        return nib.load(self.bids / NAME / "anat" / f"{NAME}_{ending}.nii.gz")

    def to_scan(self, pose: str) -> np.ndarray:
        """Return the true map of points from the world of T1w to that of a scan."""
        poses = self.truth["rigid_head_to_world"]
        return np.array(poses[pose]) @ np.linalg.inv(poses["t1w"])


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points, shape (n, 3), under a 4x4 map."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def places(image: nib.Nifti1Image, inside: np.ndarray) -> np.ndarray:
    """Return the world points (RAS, mm) of chosen voxels."""
    return moved(np.argwhere(inside).astype(float), image.affine)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def planned(seed: int):
    """Plan a participant with iron, atrophy, T2 lesions and enhancing ones, on coarse grids."""
    from bids_qsmthal.simulate import VENDORS, Parameters, Planned  # noqa: PLC0415

    parameters = Parameters(
        vendor=VENDORS["ge"],
        thalamus_chi_ppb=-30.0,
        lesion_ml=12.0,
        enhancing=2,
        enhancing_radius_mm=(4.5, 6.0),
        atrophy=0.5,
        oblique_deg=15.0,
        tilt_deg=-6.0,
        motion=1.0,
        t1w_snr=50.0,
        t1w_voxel_mm=2.0,
        flair_thickness=1,
    )
    about = {"age": 44.0, "sex": "F", "disease_duration": 9.0, "dmt": 1, "edss": 2.5}
    return Planned(label="01", seed=seed, parameters=parameters, **about)


def write(root: Path, seed: int) -> None:
    """Simulate the participant; the structural scans and their truth turn in their worlds."""
    from bids_qsmthal import __version__, simulate  # noqa: PLC0415

    person = planned(seed)
    simulate.write_dataset(root / "bids", [person])
    truth = root / "truth" / NAME
    for scan, pose in POSES.items():
        _turn(root / "bids" / NAME / "anat" / f"{NAME}_{scan}.nii.gz", motion(scan))
        for path in truth.glob(f"{NAME}_space-{scan}_*.nii.gz"):
            _turn(path, motion(scan))
        numbers = json.loads((truth / "truth.json").read_text())
        there = motion(scan) @ np.array(numbers["rigid_head_to_world"][pose])
        numbers["rigid_head_to_world"][pose] = there.tolist()
        (truth / "truth.json").write_text(json.dumps(numbers))
    receipt = {"version": __version__, "participants": [asdict(person)]}
    (root / "truth" / "cohort.json").write_text(json.dumps(receipt))  # as the demo leaves it


def asked_for(root: Path) -> tuple[str, ...]:
    """Return the options of the participant: regions of an atlas, maps in other spaces."""
    atlas = f"halves={root / 'atlas' / f'tpl-{SPACE}_dseg.nii.gz'}"
    return ("--atlas", atlas, "--output-spaces", "T1w", f"{SPACE}:res-4")


def write_atlas(folder: Path) -> None:
    """Write an atlas in the space of the template: a box of 24 mm deep in each hemisphere."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-78.0, -112.0, -70.0)
    labels = np.zeros((40, 48, 40), np.int16)
    labels[12:18, 20:26, 16:22], labels[21:27, 20:26, 16:22] = 1, 2
    image = nib.Nifti1Image(labels, affine)
    image.set_sform(affine, code=4)
    folder.mkdir()
    nib.save(image, folder / f"tpl-{SPACE}_dseg.nii.gz")
    (folder / f"tpl-{SPACE}_dseg.tsv").write_text("index\tname\n1\tleft\n2\tright\n")


def motion(scan: str) -> np.ndarray:
    """Return the rigid motion of the world of a scan, 4x4 on RAS points."""
    angles_deg, shift_mm = TURNS[scan]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def _turn(path: Path, matrix: np.ndarray) -> None:
    image = nib.load(path)
    turned = nib.Nifti1Image(voxels(image), matrix @ image.affine, image.header)
    for put in (turned.set_sform, turned.set_qform):
        put(turned.affine, code=1)
    nib.save(turned, path)


def run(root: Path, *more: str) -> int:
    """Run both levels of the command on ``bids``."""
    from bids_qsmthal.app.cli import main  # noqa: PLC0415

    levels = ("participant", "group")
    return main([str(root / "bids"), str(root / "derivatives"), *levels, "--nprocs", "1", *more])


def make_seam(root: Path) -> int:
    """Process the participant on Dask, so that whatever is compared with it compares executors."""
    write(root, SEED)
    write_atlas(root / "atlas")
    # Two threads; the runs that are compared with it have one.
    budget = ("--nprocs", "2", "--omp-nthreads", "2")
    words = [str(root / "bids"), str(root / "derivatives"), "participant", "group", *budget]
    words += ["--executor", "dask", *asked_for(root)]
    # A process of its own: what Dask leaves behind is no matter of the test that asked first.
    return subprocess.run([sys.executable, "-m", "bids_qsmthal", *words], check=False).returncode


def make_tiny(root: Path) -> int:
    from tests import tiny  # noqa: PLC0415 - it needs conftest, which imports this module

    tiny.write_dataset(root, NAME)
    return run(root, "--derivatives", f"mine={root / 'labels'}", *tiny.FAST)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], int]) -> Study:
    """Return a study that is made by the first who asks, whichever process that is."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    status = root.with_suffix(".status")
    with FileLock(root.with_suffix(".lock")):
        if not status.exists():
            root.mkdir()
            status.write_text("failed")
            status.write_text(str(make(root)))
    assert status.read_text() == "0", f"{root}: the command ended with {status.read_text()}"
    return Study(root)


@pytest.fixture(scope="session")
def seam_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Four oblique scans of one head, simulated and processed: for slow tests only."""
    return once(tmp_path_factory, "seam", make_seam)


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A gradient echo of a coarse head and labels that were brought, processed."""
    return once(tmp_path_factory, "tiny", make_tiny)
