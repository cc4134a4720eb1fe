"""Tiny datasets the tests share."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.report.browser import browser  # noqa: F401 - a fixture of every room
from tests.seam import seam_study, tiny_study  # noqa: F401 - the same
from tests.surroundings import locales  # noqa: F401 - the same

ECHO_TIMES_S = (0.005, 0.010, 0.015)


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """Undo ``-q`` of a command: without records of stages the next test would see none."""
    yield
    logging.getLogger("bids_qsmthal").setLevel(logging.NOTSET)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture
def bids_dir(tmp_path: Path) -> Path:
    """An empty but valid dataset."""
    root = tmp_path / "bids"
    root.mkdir()
    write_json(root / "dataset_description.json", {"Name": "tiny", "BIDSVersion": "1.10.0"})
    return root


@pytest.fixture
def add_gre(bids_dir: Path) -> Callable[..., Path]:
    """Adds a small gradient-echo scan to a participant and returns its folder."""

    def add(name: str = "sub-01", suffix: str = "MEGRE") -> Path:
        subject, _, rest = name.partition("_")
        parts = [subject, *([rest.split("_")[0]] if rest.startswith("ses-") else []), "anat"]
        folder = bids_dir.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        for number, time in enumerate(ECHO_TIMES_S, 1):
            for part in ("mag", "phase"):
                stem = folder / f"{name}_echo-{number}_part-{part}_{suffix}"
                write_image(stem.with_suffix(".nii.gz"))
                sidecar = {"EchoTime": time, "MagneticFieldStrength": 3, "EchoNumber": number}
                units = {"Units": "rad"} if part == "phase" else {}
                write_json(stem.with_suffix(".json"), sidecar | units)
        return folder

    return add


def write_image(path: Path, shape: tuple[int, ...] = (6, 5, 4), *, shift_mm: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift_mm
    data = np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code=1)  # as scanners have it; nibabel would say aligned
    nib.save(image, path)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
