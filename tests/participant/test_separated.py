"""Sources apart of a participant: whether the stage runs, and its rows."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.bids.external import External, ExternalFile, files, read
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import OURS, dataset
from bids_qsmthal.participant import page
from bids_qsmthal.participant.measures import source_rows
from bids_qsmthal.participant.pipeline import SEPARATION, plan, requested
from bids_qsmthal.participant.separated import (
    Part,
    Separated,
    SourceScan,
    measured_r2_hz,
    provenance,
    regions_of,
    separate,
    white_matter,
)
from bids_qsmthal.qsm import MaskChoice
from bids_qsmthal.qsm.acquisition import Acquisition
from bids_qsmthal.qsm.separation import (
    SEPARATIONS,
    Decay,
    R2StarSeparation,
    SliceStack,
    Sources,
    separated,
)
from bids_qsmthal.roi import RegionResults
from bids_qsmthal.roi.reference import ReferenceLevel, ReferenceRegion
from bids_qsmthal.settings import Resources, Settings


def settings_of(separation: R2StarSeparation | None) -> Settings:
    return Settings(
        bids_dir=Path("bids"),
        output_dir=Path("out"),
        work_dir=Path("work"),
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
        separation=separation,
        mask=MaskChoice(),
    )


def sources() -> Sources:
    """Return sources of two voxels, of which one is known."""
    chi, size = np.array([-0.02, 0.5]), np.array([0.06, 0.5])
    return Sources(chi, size, np.array([True, False]))


def test_the_rows_are_means_in_ppb_over_known_voxels_and_count_the_others() -> None:
    both = {
        ("thalamus", "LR"): Part(np.array([True, True]), 4),
        ("lesion", "n/a"): Part(np.array([False, True]), 0),
    }
    rows = source_rows(Separated(sources=sources(), regions=both))
    assert [(one["measure"], one["region"]) for one in rows] == [
        ("chi_paramagnetic_mean", "thalamus"),
        ("chi_diamagnetic_mean", "thalamus"),
    ]
    assert [one["value"] for one in rows] == pytest.approx([20, -40])
    assert {(one["n_voxels"], one["n_lost"], one["unit"]) for one in rows} == {(1, 5, "ppb")}


@pytest.mark.parametrize("in_slices", [True, False])
def test_the_gradient_across_slices_is_taken_from_2_d_scans_alone(*, in_slices: bool) -> None:
    shape = (3, 3, 6)
    mask = np.ones(shape, np.bool_)
    field = np.broadcast_to(np.arange(6) * 20.0, shape).astype(np.float32)
    decay = Decay(r2star_hz=np.full(shape, 30, np.float32), total_field_hz=field, mask=mask)
    found = separated(
        np.zeros(shape, np.float32),
        decay,
        Acquisition(echo_times_s=(0.005, 0.01, 0.02), field_strength_t=3.0),
        method=R2StarSeparation(),
        slices=SliceStack(axis=2) if in_slices else None,
    )
    # 30/s hold 14.8/s of R2'; the gradient of 20 Hz a slice has added some 10/s.
    paramagnetic = 1000 * float(found.paramagnetic_ppm.mean())
    assert (paramagnetic < 30) == in_slices
    assert (paramagnetic > 50) != in_slices


@pytest.mark.parametrize(("key", "factor"), [("r2", 1.0), ("t2", 1e-3)])
def test_a_map_of_r2_or_t2_is_carried_to_the_scan(tmp_path: Path, key: str, factor: float) -> None:
    values = np.zeros((4, 4, 4), np.float32)
    # 14/s, or T2 of 71 ms; zero where the map was not made.
    values[1:] = 14.0 if key == "r2" else 1 / 14 / factor
    units = "1/s" if key == "r2" else "ms"
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    path = folder / f"sub-01_{key.upper()}map.nii.gz"
    nifti.save(Image(values, np.eye(4)), path)
    path.with_name(f"sub-01_{key.upper()}map.json").write_text(json.dumps({"Units": units}))
    session = Session(root=tmp_path, subject="01")
    item = files(session, {"t2": tmp_path}, tmp_path / "none")[key]
    affine = np.diag([2.0, 1, 1, 1])
    affine[0, 3] = 0.5
    grid = Image(np.zeros((2, 4, 4), np.float32), affine)
    found = measured_r2_hz({key: read(key, item, session)}, grid)
    assert found is not None
    # Half way between a voxel with a value and one without there is none.
    assert not found[0].any()
    np.testing.assert_allclose(found[1], 14, rtol=1e-5)


def test_a_sidecar_says_what_r2_was_assumed_to_be_or_who_measured_it() -> None:
    assumed = provenance(R2StarSeparation(), None)
    assert assumed["irreversible"]["knee_hz"] == pytest.approx(18)
    measured = provenance(R2StarSeparation(), dataset("mine"))
    assert "irreversible" not in measured
    assert measured["R2"] == str(dataset("mine"))
    assert measured["relaxivity_hz_per_ppm"] == assumed["relaxivity_hz_per_ppm"]


def test_a_t2_map_in_milliseconds_that_says_nothing_of_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_T2map.nii.gz"
    nifti.save(Image(np.full((3, 3, 3), 80, np.float32), np.eye(4)), path)
    with pytest.raises(DataError, match="Units"):
        read("t2", ExternalFile(path, OURS), Session(root=tmp_path, subject="01"))


def test_regions_have_the_names_that_they_have_in_the_other_rows() -> None:
    shape = (1, 10, 10)
    thalamus, nuclei, deepgray, veins, lesions = (np.zeros(shape, np.int16) for _ in range(5))
    thalamus[0, 0, :3] = 1, 2, 2
    nuclei[0, 0, :4] = 1, 2, 2, 2
    deepgray[0, 2] = 11
    deepgray[0, 4] = 50
    # A ventricle, and a thalamus, which has a mask of its own.
    deepgray[0, 6] = 4
    deepgray[0, 8] = 10
    veins[0, 2, 0] = lesions[0, 4, :2] = 1
    arrays = {
        "thalamus": thalamus,
        "thalamus_labelled": nuclei.clip(0, 2),
        "nuclei": nuclei,
        "deepgray": deepgray,
        "veins": veins,
        "lesions": lesions,
    }
    masks = {name: Image(data, np.eye(4)) for name, data in arrays.items()}
    scan: Any = SimpleNamespace(
        nuclei_names={1: "Left-AV", 2: "Right-Thalamus-Pulvinar"}, white=np.ones(shape, np.bool_)
    )
    found = regions_of(cast("Any", SimpleNamespace(masks=masks)), scan)
    counts = {region: (int(part.mask.sum()), part.lost) for region, part in found.items()}
    assert counts == {
        ("thalamus", "L"): (1, 0),
        ("thalamus", "R"): (2, 1),
        ("thalamus", "LR"): (3, 1),
        ("lesion", "n/a"): (2, 0),
        ("thalamus_av", "L"): (1, 0),
        ("thalamus_pulvinar", "R"): (2, 1),
        # No core is left in one row of voxels: the whole label, without vein and lesions.
        ("caudate", "L"): (9, 1),
        ("caudate", "R"): (8, 2),
        ("caudate", "LR"): (17, 3),
        ("white_matter", "n/a"): (97, 3),
    }


def test_white_matter_is_carried_from_t1w_where_the_registration_held() -> None:
    fraction = np.zeros((8, 4, 4), np.float32)
    fraction[4:] = 1
    segmented: Any = SimpleNamespace(wm=Image(fraction, np.eye(4)))
    grid = Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    # A point of the scan lies 3 mm further along x in T1w.
    way = np.eye(4)
    way[0, 3] = 3.0
    held, failed = (cast("Any", SimpleNamespace(matrix=way, failed=one)) for one in (False, True))
    found = white_matter(grid, segmented, held)
    assert found is not None
    assert found.all(axis=(1, 2)).tolist() == [False, True, True, True]
    assert white_matter(grid, segmented, failed) is None
    assert white_matter(grid, None, held) is None


def scan_of(external: dict[str, Any]) -> Any:
    acquisition = Acquisition(echo_times_s=(0.005, 0.01, 0.02), field_strength_t=3.0)
    series = SimpleNamespace(acquisition=acquisition, first=(), second=(), echoes=())
    grid = Image(np.zeros((3, 3, 3), np.float32), np.eye(4))
    return SourceScan(grid=grid, series=cast("Any", series), external=external, nuclei_names={})


def maps_of(r2star_hz: float) -> Any:
    shape = (3, 3, 3)
    fluid = np.zeros(shape, np.bool_)
    fluid[0, 0, 0] = True
    return SimpleNamespace(
        chi_ppm=np.where(fluid, 0.010, -0.020),
        r2star_hz=np.full(shape, r2star_hz, np.float32),
        total_field_hz=np.zeros(shape, np.float32),
        mask=np.ones(shape, np.bool_),
        csf_mask=fluid,
    )


RUNNER: Any = SimpleNamespace(run=lambda _, function, *args, **kwargs: function(*args, **kwargs))


@pytest.mark.parametrize("key", ["r2", "t2"])
def test_a_scan_is_separated_by_the_r2_that_was_brought(key: str) -> None:
    values = np.full((3, 3, 3), 14.0 if key == "r2" else 1 / 14, np.float32)
    item = External(ExternalFile(Path("map.nii.gz"), dataset("mine")), Image(values, np.eye(4)))
    settings = settings_of(R2StarSeparation())
    found = separate(maps_of(20.0), None, scan_of({key: item}), settings=settings, runner=RUNNER)
    assert found is not None
    assert found.r2 == dataset("mine")
    # -30 ppb against fluid, and 6/s that sources make.
    plus, minus = found.sources.means_ppm(~maps_of(20.0).csf_mask)
    assert plus == pytest.approx((6 / 137 - 0.030) / 2, rel=1e-4)
    assert minus == pytest.approx((-6 / 137 - 0.030) / 2, rel=1e-4)


def test_one_echo_and_no_wish_give_no_sources(caplog: pytest.LogCaptureFixture) -> None:
    asked, silent = settings_of(R2StarSeparation()), settings_of(None)
    assert separate(maps_of(20.0), None, scan_of({}), settings=silent, runner=RUNNER) is None
    assert not caplog.messages
    assert separate(maps_of(0.0), None, scan_of({}), settings=asked, runner=RUNNER) is None
    assert "R2* needs two or more echoes" in caplog.text


def test_the_page_calls_no_stage_done_whose_maps_are_missing(tmp_path: Path) -> None:
    echoes = GreFiles((), (tmp_path / "sub-01_part-phase_MEGRE.nii",))
    session = Session(root=tmp_path, subject="01", gre=echoes)
    planned = plan(session, {}, requested(settings_of(R2StarSeparation())))
    assert dict(planned.outcomes)[SEPARATION.title] == "done"

    def told(maps: Any, found: Any = None) -> tuple[str, str]:
        scan: Any = SimpleNamespace(maps=maps, regions=None, separated=found)
        return page._outcomes(planned, scan)[-1]

    one_echo, no_fluid = maps_of(0.0), maps_of(20.0)
    no_fluid.csf_mask[:] = False
    assert told(one_echo) == (SEPARATION.title, "left out, R2* needs two or more echoes")
    assert told(no_fluid)[1].startswith("left out, no CSF was found")
    assert told(maps_of(20.0), "sources") == planned.outcomes[-1]


def test_a_rim_of_deep_gray_is_left_out() -> None:
    labels = np.zeros((7, 7, 7), np.int16)
    labels[1:6, 1:6, 1:6] = 12
    nothing = Image(np.zeros_like(labels), np.eye(4))
    masks = dict.fromkeys(("thalamus", "thalamus_labelled", "veins", "lesions"), nothing)
    masks["deepgray"] = nothing.like(labels)
    scan: Any = SimpleNamespace(nuclei_names={}, white=None)
    found = regions_of(cast("Any", SimpleNamespace(masks=masks)), scan)
    assert ("lesion", "n/a") not in found
    assert int(found["putamen", "L"].mask.sum()) == 27
    assert found["putamen", "LR"].lost == 98


def test_the_stage_is_considered_where_it_was_asked_for(tmp_path: Path) -> None:
    session = Session(root=tmp_path, subject="01")
    asked, silent = (
        plan(session, {}, requested(settings_of(method)))
        for method in (SEPARATIONS["r2star"], None)
    )
    assert (SEPARATION.title, "left out, there is no GRE") in asked.outcomes
    assert SEPARATION.title not in [title for title, _ in silent.outcomes]


def test_without_csf_there_is_no_zero_and_no_sources(caplog: pytest.LogCaptureFixture) -> None:
    flat = np.ones((3, 3, 3), np.float32)
    maps: Any = SimpleNamespace(r2star_hz=20 * flat, csf_mask=flat > 2)
    level = ReferenceLevel(region=ReferenceRegion.BRAIN, step=6)
    regions = RegionResults(
        table=pd.DataFrame(),
        sensitivity=pd.DataFrame(),
        checks=(),
        masks={"reference": Image(flat, np.eye(4))},
        reference=level,
        warnings=(),
    )
    assert not regions.csf_reference.data.any()
    fluid = replace(regions, reference=replace(level, region=ReferenceRegion.ATRIA))
    assert fluid.csf_reference.data.all()
    for known in (None, regions):
        settings, never = settings_of(SEPARATIONS["r2star"]), cast("Any", None)
        assert separate(maps, known, never, settings=settings, runner=never) is None
        assert "no CSF was found" in caplog.messages[-1]
