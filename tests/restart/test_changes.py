"""What is computed again after a change, and what is not: content counts, not size and time."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.app import options
from bids_qsmthal.app.cli import parse, settings_from
from bids_qsmthal.bids import external, sidecars
from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.core import nifti
from bids_qsmthal.participant import input_checks, pipeline, runner
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.participant.structural import structural_results
from bids_qsmthal.participant.susceptibility import susceptibility_results
from tests import tiny

pytestmark = pytest.mark.slow

A_YEAR_S = 365 * 24 * 3600
ALL = {pipeline.SUSCEPTIBILITY, pipeline.VARIANTS, pipeline.REGIONS}
MAPS_ON = ALL
REGIONS_ON = {pipeline.REGIONS}

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A participant whose results are kept; images lie in their files as they are, so that a voxel
    can change and the size not."""
    root = tmp_path_factory.mktemp("changes") / "root"
    tiny.write_dataset(root, "sub-01")
    for path in root.rglob("*.nii.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 0, mtime=0))
    assert computed(root) == ALL
    return root


@pytest.fixture
def root(processed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(processed, tmp_path / "root"))


def computed(root: Path, *more: str) -> set[pipeline.Stage]:
    """Run the stages as a new process does, and return those that were computed."""
    for kept in (nifti._geometry, nifti._orientation, nifti._kept_header):
        kept.cache_clear()
    sidecars._listed.cache_clear()
    sidecars._content.cache_clear()
    settings = settings_from(parse(tiny.words(root, *more)), [])
    (session,) = find_sessions(settings.bids_dir)
    files = external.files(session, settings.datasets, settings.output_dir)
    heard = _Steps()
    log = logging.getLogger("bids_qsmthal")
    log.setLevel(logging.INFO)
    log.addHandler(heard)
    try:
        stages = Runner(settings.work_dir / session.name, pipeline.plan(session, files))
        inputs = input_checks.read(session, settings, files)
        structural = structural_results(inputs, settings, stages)
        susceptibility_results(inputs, settings, stages, structural)
    finally:
        log.removeHandler(heard)
    assert {title for title, _ in heard.states} == {stage.title for stage in ALL}
    return {stage for stage in ALL if (stage.title, "started") in heard.states}


class _Steps(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.states: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if step := getattr(record, "step", None):
            self.hear(step["title"], step["state"])

    def hear(self, title: str, state: str) -> None:
        self.states.add((title, state))


def unseen(change: Change, pattern: str) -> Change:
    """Make a change that size and time of the file do not show."""

    def make(root: Path) -> None:
        (path,) = root.rglob(pattern)
        before = path.stat()
        change(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size

    return make


def voxel(at: tuple[int, int, int], by: float) -> Change:
    def change(path: Path) -> None:
        image = nib.load(path)
        data = np.asarray(image.dataobj).copy()
        data[at] += by
        whole = nib.Nifti1Image(data, image.affine, image.header).to_bytes()
        path.write_bytes(gzip.compress(whole, 0, mtime=0))

    return change


def field(name: str, value: object) -> Change:
    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        text = path.read_text().replace(json.dumps(content[name]), json.dumps(value), 1)
        path.write_text(text)

    return change


def said_more(root: Path) -> None:
    for path in root.rglob("*_MEGRE.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ProtocolName": "other"}))


def edited(root: Path) -> None:
    """A reader takes a voxel of the left thalamus out."""
    path = next(root.glob("labels/sub-01/anat/*deepgray_dseg.nii.gz"))
    place = root / "out" / "edits" / "sub-01" / "anat" / path.name
    place.parent.mkdir(parents=True)
    image = nib.load(path)
    data = np.asarray(image.dataobj).copy()
    data[tuple(np.argwhere(data == tiny.THALAMI[0])[0])] = 0
    nib.save(nib.Nifti1Image(data, image.affine), place)


def moved_in_time(years: int) -> Change:
    def change(root: Path) -> None:
        for path in root.rglob("*"):
            moment = path.stat().st_mtime + years * A_YEAR_S
            os.utime(path, (moment, moment))

    return change


def of_1970_and_2038(root: Path) -> None:
    """The first second that a time can have, and the first that 32 bits cannot hold."""
    for folder, moment in (("bids", 2**31), ("labels", 1), ("work-out", 1)):
        for path in (root / folder).rglob("*"):
            os.utime(path, (moment, moment))


def nothing(_: Path) -> None: ...


MIDDLE = (20, 24, 18)
CHANGES: dict[str, tuple[Change, set[pipeline.Stage]]] = {
    "nothing": (nothing, set()),
    "phase": (unseen(voxel(MIDDLE, 0.01), "*echo-2_part-phase*.nii.gz"), MAPS_ON),
    "number of an echo": (unseen(field("EchoNumber", 9), "*echo-4_part-mag*.json"), set()),
    "brain": (unseen(voxel((0, 0, 0), 1), "*brain_mask.nii.gz"), MAPS_ON),
    "labels": (unseen(voxel((0, 0, 0), 60), "*deepgray_dseg.nii.gz"), REGIONS_ON),
    "an edit": (edited, REGIONS_ON),
    "what nothing reads": (said_more, set()),
    "the clock goes a year back": (moved_in_time(1), set()),
    "files of 1970 and 2038": (of_1970_and_2038, set()),
}
"""What changes, and the stages that have to be computed again."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_remakes_what_it_must_and_nothing_else(root: Path, name: str) -> None:
    change, remade = CHANGES[name]
    change(root)
    assert computed(root) == remade


def test_a_change_of_code_remakes_what_it_must_and_nothing_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which rooms see which files: tests/participant/test_digest.py."""
    package = Path(runner.__file__).parents[1]
    ignored = shutil.ignore_patterns("__pycache__")
    copy = Path(shutil.copytree(package, tmp_path / "copy", ignore=ignored))
    monkeypatch.setattr(runner, "resources", SimpleNamespace(files=lambda _: copy))
    monkeypatch.setattr(runner, "code_version", runner.code_version.__wrapped__)
    assert computed(root) == set()
    changed = copy / "roi" / "veins.py"
    changed.write_text(changed.read_text() + "\n# another version\n")
    assert computed(root) == REGIONS_ON


REMAKING: dict[str, tuple[tuple[str, ...], pipeline.Stage]] = {
    "unwrap": (("laplacian",), pipeline.SUSCEPTIBILITY),
    "background": (("pdf",), pipeline.SUSCEPTIBILITY),
    "inversion": (("l2",), pipeline.SUSCEPTIBILITY),
    "phase_offset": (("voxel",), pipeline.SUSCEPTIBILITY),
    "phase_sign": (("-1",), pipeline.SUSCEPTIBILITY),
    "gre_chop": (("yes",), pipeline.SUSCEPTIBILITY),
    "b0_direction": (("0", "0.5", "1"), pipeline.SUSCEPTIBILITY),
    "csf_reference": (("brain",), pipeline.REGIONS),
    "thalamus_rim": (("keep",), pipeline.REGIONS),
    "thalamus_lesions": (("keep",), pipeline.REGIONS),
    "veins": (("large",), pipeline.REGIONS),
    "preset": (("chiang2018",), pipeline.REGIONS),
}
"""Options that change results: another value, and the first stage that sees it."""

LEFT = {
    "participant_label": ("01",),
    "derivatives": ("mine={labels}",),
    "analysis": ("{root}/analysis.yaml",),
    "skip_bids_validation": (),
    "clean_workdir": (),
    "nprocs": ("2",),
    "omp_nthreads": ("1",),
    "mem": ("8G",),
    "executor": ("dask",),
    "scheduler_address": ("tcp://127.0.0.1:9",),
    "phase_units": ("rad",),  # as the sidecars have it
    "phase_filter": ("no",),
    "device": ("cpu",),
    "seed": ("7",),  # of registrations, and there are none here
    "deface": (),
    "stop_on_first_crash": (),
    "notrack": (),
    "verbose": (),
}
"""Options that leave the results of stages as they are, all given at once."""

ELSEWHERE = {
    *("help", "version", "bids_exec_spec", "print_analysis", "list_methods", "config"),
    "print_config",
    *("bids_dir", "output_dir", "analysis_level", "work_dir", "dry_run", "reports_only", "quiet"),
    # Which scans are read: another scan is another content.
    *("session_label", "run_label", "bids_filter_file", "t1w_session", "bids_database_dir"),
    *("anat_only", "qsm_only"),
    # A stage of its own, before these (tests/participant/test_mask.py).
    *("mask", "mask_threshold"),
    *("output_spaces",),  # of results that are there
    *("slurm_args",),  # for --executor slurm alone
    *("separation",),  # a stage of its own, after these
    *("longitudinal",),  # after all stages of all sessions
    *("atlas", "atlas_space", "atlas_threshold"),  # another one
    *("medi_csf",),  # refused with the inversion that is used here
}


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_each_option_is_among_those_that_are_tried_here() -> None:
    """A new one must say whether results follow it."""
    known = {action.dest for action in options.main_parser()._actions}
    assert known == {*REMAKING, *LEFT, *ELSEWHERE}


class _BegunError(Exception):
    """A stage was about to be computed."""


@pytest.mark.parametrize("name", REMAKING)
def test_an_option_that_changes_results_remakes_the_first_stage_that_sees_it(
    processed: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object, title: str, state: str) -> None:
        if state == "started":
            raise _BegunError(title)

    values, stage = REMAKING[name]
    monkeypatch.setattr(_Steps, "hear", stop)
    with pytest.raises(_BegunError) as begun:
        computed(processed, option(name), *values)
    assert begun.value.args == (stage.title,)


def test_all_other_options_together_remake_nothing(root: Path) -> None:
    (root / "analysis.yaml").write_text("Name: nothing\n")
    words: list[str] = []
    for name, values in LEFT.items():
        places = {"root": root, "labels": root / "labels"}
        words += [option(name), *(value.format_map(places) for value in values)]
    assert computed(root, *words) == set()
