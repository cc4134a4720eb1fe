"""Seeds and edits of a reader, on a FLAIR that lies elsewhere than the T1w."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal import lesions
from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.external import ExternalFile
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import EDITED
from bids_qsmthal.participant import lesion_mask, pipeline
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.settings import Resources, Settings

SHAPE = (30, 32, 28)
T1W_AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
TO_T1W = np.array([[1.0, 0, 0, 14], [0, 1, 0, -8], [0, 0, 1, 6], [0, 0, 0, 1]])
CENTRE_T1W = np.array([30.0, 34.0, 26.0])
CENTRE = {"T1w": CENTRE_T1W, "FLAIR": CENTRE_T1W - TO_T1W[:3, 3]}


def ball() -> np.ndarray:
    points = np.moveaxis(np.indices(SHAPE), 0, -1) * 2.0
    return np.linalg.norm(points - CENTRE_T1W, axis=-1) <= 6.0


def scan() -> lesion_mask.LesionScans:
    """Every voxel of FLAIR shows what the same voxel of T1w holds; their worlds differ."""
    flair = 100 + 60 * ndimage.gaussian_filter(ball().astype(np.float32), 0.4)
    return lesion_mask.LesionScans(
        flair=Image(flair, np.linalg.inv(TO_T1W) @ T1W_AFFINE),
        t1w=Image(np.ones(SHAPE, np.float32), T1W_AFFINE),
        context=lesions.Context(brain=Image(np.ones(SHAPE, bool), T1W_AFFINE)),
        flair_to_t1w=TO_T1W,
    )


def lesions_of(tmp_path: Path, **external_files: ExternalFile) -> lesions.Lesions:
    settings = Settings(
        bids_dir=tmp_path / "bids",
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )
    session = Session(tmp_path, "01", t1w=tmp_path / "t1w.nii.gz", flair=tmp_path / "f.nii.gz")
    runner = Runner(tmp_path / "work", pipeline.plan(session, external_files))
    given = {key: external.read(key, item, session) for key, item in external_files.items()}
    found = lesion_mask.lesion_mask(scan(), settings, runner, given)
    assert found is not None
    return found.lesions


def points(tmp_path: Path, space: str) -> ExternalFile:
    path = tmp_path / "points.tsv"
    path.write_text("x\ty\tz\n" + "\t".join(map(str, CENTRE[space])) + "\n")
    return ExternalFile(path, EDITED, space=space)


@pytest.mark.parametrize("space", ["T1w", "FLAIR"])
def test_a_point_seeds_the_lesion_in_the_world_it_was_set_in(tmp_path: Path, space: str) -> None:
    found = lesions_of(tmp_path, lesion_points=points(tmp_path, space))
    true = ball()
    dice = 2 * (found.mask.data & true).sum() / (found.mask.data.sum() + true.sum())
    assert dice > 0.9
    assert np.array_equal(found.mask_flair.data, found.mask.data)


@pytest.mark.parametrize("space", ["T1w", "FLAIR"])
def test_an_edit_is_carried_from_the_world_it_was_drawn_in(tmp_path: Path, space: str) -> None:
    extra = np.zeros(SHAPE, np.uint8)
    extra[4:7, 5:8, 6:9] = 1
    affine = T1W_AFFINE if space == "T1w" else scan().flair.affine
    path = tmp_path / "add.nii.gz"
    nifti.save(Image(extra, affine), path)
    found = lesions_of(
        tmp_path,
        lesion_points=points(tmp_path, "FLAIR"),
        lesion_add=ExternalFile(path, EDITED, space=space),
    )
    assert found.mask.data[4:7, 5:8, 6:9].all()
    assert not found.mask.data[:4].any()
    assert found.count == 2
