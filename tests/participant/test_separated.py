"""Sources apart of a participant: whether the stage runs, and its rows."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.measures import source_rows
from bids_qsmthal.participant.pipeline import SEPARATION, plan, requested
from bids_qsmthal.participant.separated import Separated, regions_of
from bids_qsmthal.qsm.acquisition import Acquisition
from bids_qsmthal.qsm.separation import SEPARATIONS, R2StarSeparation, Sources, separated
from bids_qsmthal.settings import Resources, Settings


def settings_of(separation: R2StarSeparation | None) -> Settings:
    return Settings(
        bids_dir=Path("bids"),
        output_dir=Path("out"),
        work_dir=Path("work"),
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
        separation=separation,
    )


def sources() -> Sources:
    """Return sources of two voxels, of which one is known."""
    chi, size = np.array([-0.02, 0.5]), np.array([0.06, 0.5])
    return Sources(chi, size, np.array([True, False]))


def test_the_rows_are_means_in_ppb_over_known_voxels_and_count_the_others() -> None:
    both = {("thalamus", "LR"): np.array([True, True]), ("lesion", "LR"): np.array([False, True])}
    rows = source_rows(Separated(sources=sources(), regions=both))
    assert [(one["measure"], one["region"]) for one in rows] == [
        ("chi_paramagnetic_mean", "thalamus"),
        ("chi_diamagnetic_mean", "thalamus"),
    ]
    assert [one["value"] for one in rows] == pytest.approx([20, -40])
    assert {(one["n_voxels"], one["n_lost"], one["unit"]) for one in rows} == {(1, 1, "ppb")}


@pytest.mark.parametrize("in_slices", [True, False])
def test_the_gradient_across_slices_is_taken_from_2_d_scans_alone(*, in_slices: bool) -> None:
    shape = (3, 3, 6)
    mask = np.ones(shape, np.bool_)
    field = np.broadcast_to(np.arange(6) * 20.0, shape).astype(np.float32)
    found = separated(
        np.zeros(shape, np.float32),
        np.full(shape, 30, np.float32),
        field,
        mask,
        Grid(shape, (1, 1, 3)),
        Acquisition(echo_times_s=(0.005, 0.01, 0.02), field_strength_t=3.0),
        method=R2StarSeparation(),
        in_slices=in_slices,
    )
    # 30/s hold 14.8/s of R2'; the gradient of 20 Hz a slice has added some 10/s.
    paramagnetic = 1000 * float(found.paramagnetic_ppm.mean())
    assert (paramagnetic < 30) == in_slices
    assert (paramagnetic > 50) != in_slices


def test_regions_have_the_names_that_they_have_in_the_other_rows() -> None:
    labels = np.array([[[0, 1, 2, 2]]])
    masks = {
        "thalamus": Image(np.array([[[0, 1, 2, 2]]]), np.eye(4)),
        "nuclei": Image(labels, np.eye(4)),
    }
    found = regions_of(SimpleNamespace(masks=masks), {1: "Left-AV", 2: "Right-Thalamus-Pulvinar"})
    voxels = {region: int(mask.sum()) for region, mask in found.items()}
    assert voxels == {
        ("thalamus", "L"): 1,
        ("thalamus", "R"): 2,
        ("thalamus", "LR"): 3,
        ("thalamus_av", "L"): 1,
        ("thalamus_pulvinar", "R"): 2,
    }


def test_the_stage_is_considered_where_it_was_asked_for(tmp_path: Path) -> None:
    session = Session(root=tmp_path, subject="01")
    asked, silent = (
        plan(session, {}, requested(settings_of(method)))
        for method in (SEPARATIONS["r2star"], None)
    )
    assert (SEPARATION.title, "left out, there is no GRE") in asked.outcomes
    assert SEPARATION.title not in [title for title, _ in silent.outcomes]
