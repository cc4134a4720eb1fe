"""Every combination of inputs does what the list of stages says, in its order and number."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import lesions, qsm, roi
from bids_qsmthal.app import check
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.bids.external import External, ExternalFile
from bids_qsmthal.bids.products import PRODUCTS, REPLACEABLE
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import EDITED, Source, dataset
from bids_qsmthal.participant import input_checks, pipeline
from bids_qsmthal.participant.gre_signal import Signal
from bids_qsmthal.participant.input_checks import LoadedInputs
from bids_qsmthal.participant.pipeline import STAGES, LeftOutReason, Plan, Stage
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.participant.structural import structural_results
from bids_qsmthal.participant.susceptibility import susceptibility_results
from bids_qsmthal.qsm import Acquisition
from bids_qsmthal.roi.lesion_iron import COLUMNS as LESION_COLUMNS
from bids_qsmthal.settings import Resources, Settings
from tests import brain_phantom as phantom
from tests import tiny

SHAPE = (4, 4, 4)
AFFINE = np.diag([40.0, 40.0, 40.0, 1.0])
THEIRS = dataset("theirs")
SCANS = ("gre", "t1w", "t1w_gad", "flair")
ON_REQUEST = frozenset(stage for stage in STAGES if stage.on_request)
LESION_CHOICES = ((), ("lesion",), ("lesion_points",), ("lesion_seeds",))
LABEL_CHOICES = ((), ("deepgray",), ("deepgray_gre",), ("thalamus",), ("tissue", "nuclei"))
OTHERS = ("enhancing", "brain_gre", "chi")


def image(value: float = 1, dtype: str = "f4") -> Image:
    return Image(np.full(SHAPE, value, dtype), AFFINE)


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(names, size) for size in range(len(names) + 1)
    )


def session_of(root: Path, scans: tuple[str, ...]) -> Session:
    anat = root / "sub-01" / "anat"
    files = GreFiles(
        (), tuple(anat / f"sub-01_echo-1_part-{part}_MEGRE.nii.gz" for part in ("mag", "phase"))
    )
    paths = {role: anat / f"sub-01_{role}.nii.gz" for role in scans if role != "gre"}
    return Session(root, "01", gre=files if "gre" in scans else None, **paths)


def external_of(key: str, root: Path) -> External:
    file = ExternalFile(root / key, THEIRS, space="FLAIR" if "lesion" in key else "T1w")
    if key == "lesion_points":
        return External(file, np.array([[40.0, 40.0, 40.0]]))
    return External(file, image(1) if key == "chi" else image(1, "i2"))


def signal() -> Signal:
    acquisition = Acquisition(echo_times_s=(0.005,), field_strength_t=3.0)
    echoes = Image(np.ones((*SHAPE, 1), np.float32), AFFINE)
    # The stages read nothing else of the series and of the report.
    series = SimpleNamespace(acquisition=acquisition, first=(), second=(), echoes=())
    return Signal(series=series, magnitude=echoes, phase_rad=echoes, report=SimpleNamespace())


def inputs_of(scans: tuple[str, ...], given: dict[str, External]) -> LoadedInputs:
    return LoadedInputs(
        session=Session(root=Path("bids"), subject="01"),
        signal=signal() if "gre" in scans else None,
        t1w=image() if "t1w" in scans else None,
        flair=image() if "flair" in scans else None,
        ce_t1w=image() if "t1w_gad" in scans else None,
        external=given,
    )


def maps(shape: tuple[int, ...] = SHAPE) -> qsm.Maps:
    flat = np.ones(shape, np.float32)
    fields = ("chi_ppm", "local_field_hz", "total_field_hz", "noise", "r2star_hz", "noise_ppm")
    return qsm.Maps(
        **dict.fromkeys(fields, flat),
        mask=flat > 0,
        csf_mask=flat > 0,
        sound=flat > 0,
        quality={},
        converged=True,
        warnings=(),
        offset="none",
    )


def anatomy() -> SimpleNamespace:
    """What the susceptibility reads of the segmentation of T1w."""
    names = ("deepgray", "nuclei", "atria")
    fractions = {name: image() for name in ("vein_prior", "csf", "wm")}
    thalami = (image(), image())
    return SimpleNamespace(
        **{name: image(1, "u1") for name in names},
        **fractions,
        thalamus_probability=thalami,
        nuclei_names={},
        small_nuclei=None,
        small_nuclei_names={},
        volumes_mm3={},
        thickness_mean_mm={},
    )


def regions(grid: Image) -> SimpleNamespace:
    """What the susceptibility reads of the regions."""
    mask = grid.like(np.ones(grid.shape, "u1"))
    masks = dict.fromkeys(("veins", "reference", "thalamus"), mask)
    return SimpleNamespace(masks=masks, csf_reference=mask)


def iron(grid: Image) -> roi.LesionIron:
    """Return what is known of a head whose lesions fill no voxel of the gradient echo."""
    table = pd.DataFrame(columns=LESION_COLUMNS, dtype=float)
    nothing = roi.Mean(0.0, 0.0, 0.0, 0)
    return roi.LesionIron(
        labels=grid.like(np.zeros(grid.shape, np.int32)),
        table=table,
        normal_white_ppb=nothing,
        csf_ppb=nothing,
        normal_white_r2star_hz=0.0,
    )


def made_by(stage: Stage) -> Any:
    """Return what a stage gives, without the work."""
    mask = image(1, "?")
    results: dict[Stage, Callable[[], Any]] = {
        pipeline.PREPARE_T1W: lambda: phantom.prepare(
            image(), settings=None, brain=image(1, "?"), seed=1
        ),
        pipeline.T2_LESIONS: lambda: lesions.Lesions(mask, image(), mask, pd.DataFrame(), {}, ()),
        pipeline.SEGMENT_T1W: anatomy,
        pipeline.BRAIN_IN_FLAIR: lambda: mask,
        pipeline.BRAIN_IN_GRE: lambda: mask,
        pipeline.SUSCEPTIBILITY: maps,
        pipeline.VARIANTS: qsm.Variants,
        pipeline.REGIONS: lambda: regions(image()),
        pipeline.LESION_IRON: lambda: iron(image()),
    }
    registrations = (pipeline.FLAIR_TO_T1W, pipeline.CE_T1W_TO_T1W, pipeline.GRE_TO_T1W)
    if stage in registrations:
        return phantom.rigid_brains(image(), image(), mask, seed=1)
    return results[stage]() if stage in results else None


class Recorder(Runner):
    """Takes note of the stages and computes none."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(Path(), plan)
        self.ran: list[Stage] = []

    def run(self, stage: Stage, function: Callable[..., Any], *_: Any, **__: Any) -> Any:
        self.ran.append(stage)
        if function is lesions.grow:
            return image(1, "?")
        return made_by(stage)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        bids_dir=tmp_path / "bids",
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is not of this test: numbers, and the labels of a head of two voxels."""
    for name in ("morphometry.numbers", "external_labels.label_warnings"):
        monkeypatch.setattr(f"bids_qsmthal.participant.{name}", lambda *_: ())


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("scans", list(subsets(SCANS)), ids="+".join)
def test_a_run_does_exactly_the_stages_of_a_dry_run(
    scans: tuple[str, ...], settings: Settings, tmp_path: Path
) -> None:
    session = session_of(tmp_path, scans)
    for chosen in itertools.product(LESION_CHOICES, LABEL_CHOICES, subsets(OTHERS)):
        keys = tuple(itertools.chain.from_iterable(chosen))
        if "flair" not in scans and {"lesion_points", "lesion_seeds"} & set(keys):
            continue  # refused before the first stage
        given = {key: external_of(key, tmp_path) for key in keys}
        files = {key: item.file for key, item in given.items()}
        recorder = Recorder(pipeline.plan(session, files))

        inputs = inputs_of(scans, given)
        structural = structural_results(inputs, settings, recorder)
        susceptibility_results(inputs, settings, recorder, structural)

        text = check.plan(check.Found(session=session, external_files=files))
        said = re.findall(r"would run: ([^(\n]+?)(?: \(makes .*)?$", text, flags=re.MULTILINE)
        assert [stage.title for stage in recorder.ran] == said, keys


def test_every_stage_runs_or_is_left_out_with_a_reason(tmp_path: Path) -> None:
    for scans in subsets(SCANS):
        plan = pipeline.plan(session_of(tmp_path, scans), {}, ON_REQUEST)
        both = [*plan.stages, *(left_out.stage for left_out in plan.left_out)]
        assert sorted(map(STAGES.index, both)) == list(range(len(STAGES)))
        assert [*map(STAGES.index, plan.stages)] == sorted(map(STAGES.index, plan.stages))


def test_the_shares_of_a_participant_with_all_scans_are_a_whole(tmp_path: Path) -> None:
    plan = pipeline.plan(session_of(tmp_path, SCANS), {})
    assert sum(stage.share for stage in plan.stages) == pytest.approx(1.0)


def test_every_image_of_the_catalogue_comes_from_one_stage() -> None:
    # Never both: R2* of the magnitude alone is made where the other cannot run.
    stages = [*STAGES, *pipeline.VISIT_STAGES]
    made = [key for stage in stages if stage != pipeline.RELAXATION for key in stage.makes]
    assert sorted(made) == sorted(PRODUCTS)
    assert {*pipeline.RELAXATION.makes} <= {*pipeline.SUSCEPTIBILITY.makes}
    assert {stage.external for stage in STAGES} - {""} <= set(REPLACEABLE)


@pytest.mark.parametrize(
    ("scans", "keys", "title", "reason"),
    [
        ((), (), pipeline.T2_LESIONS, "there is no FLAIR"),
        (("flair",), ("lesion",), pipeline.T2_LESIONS, "its result comes from theirs"),
        (("t1w",), ("enhancing",), pipeline.ENHANCING_LESIONS, "its result comes from theirs"),
        ((), ("enhancing",), pipeline.ENHANCING_LESIONS, "there is no T1w"),
        (("t1w", "gre"), (), pipeline.BRAIN_IN_GRE, "its result is carried over from T1w"),
        (("gre",), (), pipeline.REGIONS, "there is no T1w or labels of the thalamus"),
    ],
)
def test_what_is_left_out_has_its_reason(
    tmp_path: Path, scans: tuple[str, ...], keys: tuple[str, ...], title: Stage, reason: str
) -> None:
    files = {key: external_of(key, tmp_path).file for key in keys}
    plan = pipeline.plan(session_of(tmp_path, scans), files)
    (left_out,) = (one for one in plan.left_out if one.stage == title)
    assert str(left_out) == f"{title.title}: left out, {reason}"


def test_what_became_of_every_stage_is_told_in_the_order_of_the_list(tmp_path: Path) -> None:
    outcomes = pipeline.plan(session_of(tmp_path, ("t1w", "gre")), {}).outcomes
    usual = [stage for stage in STAGES if not stage.on_request]
    assert [title for title, _ in outcomes] == [stage.title for stage in usual]
    of = dict(outcomes)
    assert of[pipeline.REGIONS.title] == "done"
    assert of[pipeline.T2_LESIONS.title] == "left out, there is no FLAIR"


def test_what_the_user_goes_without_is_said_for_each_scan(tmp_path: Path) -> None:
    plan = pipeline.plan(session_of(tmp_path, ("gre",)), {})
    assert plan.costs == (
        "no T1w: no volumes, no cortical thickness, no enhancing lesions, "
        "no susceptibility of the thalamus (external labels would do), "
        "no susceptibility of lesions",
        "no post-contrast T1w: no enhancing lesions",
        "no FLAIR: no T2 lesions, no susceptibility of lesions (external labels would do)",
    )
    files = {key: external_of(key, tmp_path).file for key in ("lesion", "deepgray")}
    plan = pipeline.plan(session_of(tmp_path, ("t1w",)), files)
    assert plan.costs == (
        "no GRE: no maps of susceptibility and R2*, no susceptibility of the thalamus, "
        "no susceptibility of lesions",
        "no post-contrast T1w: no enhancing lesions",
    )


@pytest.mark.parametrize(
    ("source", "used"), [(EDITED, {"lesion"}), (THEIRS, {"lesion_seeds", "lesion_points"})]
)
def test_of_a_finished_mask_and_seeds_one_counts(
    tmp_path: Path, source: Source, used: set[str]
) -> None:
    edits = tmp_path / "out" / "edits" / "sub-01"
    theirs = tmp_path / "theirs" / "sub-01"
    finished = (edits if source == EDITED else theirs) / "sub-01_space-T1w_label-lesion_mask.nii.gz"
    for path in (
        finished,
        edits / "sub-01_space-FLAIR_label-lesion_desc-seeds_mask.nii.gz",
        edits / "sub-01_space-FLAIR_label-lesion_desc-seeds_points.tsv",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    session = session_of(tmp_path, SCANS)
    chosen = external.files(session, {"theirs": tmp_path / "theirs"}, tmp_path / "out")
    assert set(chosen) == used


def test_every_file_is_read_once(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten files of the gradient echo, two scans, and five external results."""
    tiny.write_dataset(tmp_path, "sub-01")
    phantom.write_dataset(tmp_path / "other")
    anat = tmp_path / "bids" / "sub-01" / "anat"
    for scan in ("T1w", "FLAIR"):
        path = tmp_path / "other" / "bids" / "sub-01" / "anat" / f"sub-01_{scan}.nii.gz"
        path.rename(anat / path.name)
    labels = phantom.labels(phantom.grid())
    edits = tmp_path / "out" / "edits" / "sub-01"
    for ending in ("desc-deepgray_dseg", "desc-thalamicnuclei_dseg", "label-lesion_mask"):
        phantom.write(edits / f"sub-01_space-T1w_{ending}.nii.gz", labels)
    gre = GreFiles((), tuple(sorted(anat.glob("*MEGRE.nii.gz"))))
    scans = {"t1w": anat / "sub-01_T1w.nii.gz", "flair": anat / "sub-01_FLAIR.nii.gz"}
    session = Session(tmp_path / "bids", "01", gre=gre, **scans)
    read: list[str] = []
    load = nifti.load

    def counted(path: Path, **more: Any) -> Image:
        read.append(path.name)
        return load(path, **more)

    monkeypatch.setattr(nifti, "load", counted)
    monkeypatch.setattr("bids_qsmthal.participant.external_labels.label_warnings", lambda *_: ())
    files = external.files(session, {"mine": tmp_path / "labels"}, tmp_path / "out")
    inputs = input_checks.read(session, settings, files)
    recorder = Recorder(pipeline.plan(session, files))
    monkeypatch.setattr(recorder, "run", whole_size(recorder, inputs))
    structural = structural_results(inputs, settings, recorder)
    susceptibility_results(inputs, settings, recorder, structural)

    expected = [path.name for path in (*gre.paths, *scans.values())]
    assert sorted(read) == sorted([*expected, *(item.path.name for item in files.values())])
    assert len(files) == 5


def whole_size(recorder: Recorder, inputs: LoadedInputs) -> Callable[..., Any]:
    """Return a run whose results are on the grids of the scans."""
    assert inputs.t1w is not None
    assert inputs.signal is not None
    t1w, combined = inputs.t1w, inputs.signal.loaded.combined

    def run(stage: Stage, *_: Any, **__: Any) -> Any:
        recorder.ran.append(stage)
        if stage == pipeline.PREPARE_T1W:
            return phantom.prepare(t1w, settings=None, brain=None, seed=1)
        if stage == pipeline.SUSCEPTIBILITY:
            return maps(combined.shape)
        if stage == pipeline.REGIONS:
            return regions(combined)
        return iron(combined) if stage == pipeline.LESION_IRON else made_by(stage)

    return run


@pytest.mark.slow
def test_the_log_of_a_run_numbers_the_stages_of_its_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    assert main(tiny.words(tmp_path, "--dry-run")) == 0
    said = re.findall(r"would run: (.+?)(?: \(makes .*)?$", capsys.readouterr().out, re.MULTILINE)
    caplog.clear()
    assert main(tiny.words(tmp_path)) == 0
    lines = [re.search(r"\[(.+)\] (.+) \.\.\.", record.getMessage()) for record in caplog.records]
    numbered = [(line.group(1), line.group(2)) for line in lines if line]
    assert numbered == [(f"{n}/{len(said)}", title) for n, title in enumerate(said, 1)]


@pytest.mark.parametrize(
    ("unwanted", "wanted"),
    [
        ({"gre"}, {"t1w", "t1w_gad", "flair"}),
        ({"t1w", "t1w_gad", "flair"}, {"gre"}),
    ],
)
def test_scans_that_nobody_asked_for_are_no_loss(
    tmp_path: Path, unwanted: set[str], wanted: set[str]
) -> None:
    session = replace(session_of(tmp_path, tuple(wanted)), leaving_out=frozenset(unwanted))
    made = pipeline.plan(session, {})
    assert not made.available & unwanted
    assert made.available >= wanted
    assert made.costs == ()
    reasons = {one.reason for one in made.left_out} - {LeftOutReason.CARRIED_OVER}
    assert reasons == {LeftOutReason.UNWANTED}


@pytest.mark.parametrize(("ending", "sound"), [("label-rim_mask", True), ("dseg", False)])
def test_a_reader_may_reject_the_only_rim(
    tmp_path: Path, settings: Settings, ending: str, *, sound: bool
) -> None:
    """An empty mask of rims says that there is none; empty labels of the thalamus say nothing."""
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids" / "sub-01" / "anat"
    gre = GreFiles((), tuple(sorted(anat.glob("*MEGRE.nii.gz"))))
    session = Session(tmp_path / "bids", "01", gre=gre)
    first = nifti.load(gre.paths[0])
    name = f"sub-01_space-MEGRE_{'desc-thalamus_' if not sound else ''}{ending}.nii.gz"
    edit = tmp_path / "out" / "edits" / "sub-01" / "anat" / name
    phantom.write(edit, first.like(np.zeros(first.shape, np.uint8)))
    files = external.files(session, {}, tmp_path / "out")
    assert len(files) == 1
    if sound:
        assert "rim" in input_checks.read(session, settings, files).external
    else:
        with pytest.raises(DataError, match="no label lies within"):
            input_checks.read(session, settings, files)
