"""A scan that cannot be used costs what needs it, and nothing else."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.app.check import examine
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.dataset import GreFiles, Session, UnusableScan, find_sessions
from bids_qsmthal.bids.external import ExternalFile
from bids_qsmthal.core.errors import DataError, ExitCode, MissingInputError
from bids_qsmthal.core.image import Image
from bids_qsmthal.execution import Outcome, exit_code, keep_failures
from bids_qsmthal.execution.outcome import Cause
from bids_qsmthal.participant import input_checks, page, pipeline
from bids_qsmthal.participant.gre_signal import SignalOnDisk
from bids_qsmthal.report import sentences
from bids_qsmthal.settings import Resources, Settings
from tests import tiny

ROLES = ("gre", "t1w", "t1w_gad", "flair")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a dataset of one participant with all four scans."""
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids" / "sub-01" / "anat"
    head = tiny.scan()[0].mask.astype(np.float32)
    noise = np.random.default_rng(3).uniform(90, 110, head.shape).astype(np.float32)
    for name in ("T1w", "ce-gadolinium_T1w", "FLAIR"):
        image = tiny.scanner(head * noise, tiny.scan()[1])
        nib.save(image, anat / f"sub-01_{name}.nii.gz")
    return tmp_path


def settings_of(root: Path) -> Settings:
    return Settings(
        bids_dir=root / "bids",
        output_dir=root / "out",
        work_dir=root / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
    )


def session_of(root: Path) -> Session:
    (session,) = find_sessions(root / "bids")
    return session


def cheap(root: Path, role: str) -> Session:
    """Return the session without its gradient echo, which takes seconds, where it is not needed."""
    session = session_of(root)
    return session if role == "gre" else replace(session, gre=None)


def damage(root: Path, role: str) -> None:
    """Cut a file of a scan short."""
    session = session_of(root)
    single = {"t1w": session.t1w, "t1w_gad": session.t1w_gad, "flair": session.flair}
    assert session.gre is not None
    path = session.gre.paths[0] if role == "gre" else single[role]
    assert path is not None
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("role", ROLES)
def test_a_damaged_scan_is_set_aside_and_the_others_are_read(root: Path, role: str) -> None:
    damage(root, role)
    read = input_checks.read(cheap(root, role), settings_of(root), {})
    images = {"gre": read.signal, "t1w": read.t1w, "t1w_gad": read.ce_t1w, "flair": read.flair}
    lacking = {name for name, image in images.items() if image is None}
    assert lacking == ({role} if role == "gre" else {role, "gre"})
    assert [one.role for one in read.session.unusable] == [role]
    reason = read.session.unusable[0].reason
    assert "truncated or damaged" in reason
    # It stands on the page and in the table of checks, which may be shared.
    assert reason.startswith("BIDS_DIR/sub-01/anat/")
    assert str(root) not in reason
    assert read.exit_code is ExitCode.DATA


@pytest.mark.parametrize("role", ROLES)
def test_check_says_what_a_run_would_go_without(root: Path, role: str) -> None:
    damage(root, role)
    found = examine(cheap(root, role), settings_of(root), voxels=True)
    scan = next(one for one in pipeline.SCANS if one.keys == (role,))
    assert found.state == f"WITHOUT {scan.name}"
    assert found.exit_code == ExitCode.DATA
    reasons = [
        one for one in found.plan.left_out if one.stage.scan == scan or scan in one.stage.needs
    ]
    assert reasons
    assert pipeline.LeftOutReason.UNUSABLE in {one.reason for one in reasons}


def in_one_file(root: Path) -> None:
    """Store the echoes of each part as volumes of one file."""
    session = session_of(root)
    assert session.gre is not None
    for part in ("mag", "phase"):
        paths = [path for path in session.gre.paths if f"_part-{part}_" in path.name]
        images = [nib.load(path) for path in paths]
        volumes = np.stack([np.asanyarray(image.dataobj) for image in images], axis=-1)
        sidecars = [path.with_name(path.name.replace(".nii.gz", ".json")) for path in paths]
        told = [json.loads(path.read_text()) for path in sidecars]
        merged = told[0] | {"EchoTime": [one["EchoTime"] for one in told]}
        merged.pop("EchoNumber", None)
        header = images[0].header.copy()
        header.set_data_shape(volumes.shape)
        name = paths[0].name.replace("_echo-1", "")
        nib.save(nib.Nifti1Image(volumes, images[0].affine, header), paths[0].with_name(name))
        target = paths[0].with_name(name.replace(".nii.gz", ".json"))
        for path in (*paths, *sidecars):
            path.unlink()
        target.write_text(json.dumps(merged))


def test_echoes_in_one_file_are_read_as_those_in_files_of_their_own(root: Path) -> None:
    def as_read() -> dict[str, Image]:
        signal = input_checks.read(session_of(root), settings_of(root), {}).signal
        assert signal is not None
        return signal.loaded.images if isinstance(signal, SignalOnDisk) else signal.images

    apart = as_read()
    in_one_file(root)
    together = as_read()
    assert together.keys() == apart.keys()
    assert all(np.array_equal(together[name].data, apart[name].data) for name in apart)
    assert examine(session_of(root), settings_of(root), voxels=False).state == "ready"


def thin(root: Path) -> None:
    """Leave 36 mm of the gradient echo."""
    session = session_of(root)
    assert session.gre is not None
    for path in session.gre.paths:
        image = nib.load(path)
        size_mm = image.header.get_zooms()[2]
        middle, half = image.shape[2] // 2, round(20 / size_mm)
        nib.save(image.slicer[:, :, middle - half : middle + half], path)


def test_a_slab_that_is_too_thin_to_be_registered_costs_only_itself(root: Path) -> None:
    thin(root)
    read = input_checks.read(session_of(root), settings_of(root), {})
    assert (read.signal, read.exit_code) == (None, ExitCode.DATA)
    assert [one.role for one in read.session.unusable] == ["gre"]
    assert "36 mm thick" in read.session.unusable[0].reason
    assert read.t1w is not None
    assert read.flair is not None
    assert examine(session_of(root), settings_of(root), voxels=False).state == "WITHOUT GRE"


def test_masks_in_its_own_space_make_a_thin_slab_usable_where_there_is_no_t1w(root: Path) -> None:
    thin(root)
    settings, with_t1w = settings_of(root), session_of(root)
    session = replace(with_t1w, t1w=None, t1w_gad=None, flair=None)
    series = input_checks.described(session, settings)
    assert series is not None
    mask = {"brain_gre": ExternalFile(root / "mask.nii.gz", "someone")}
    assert input_checks.showing_a_brain(series, session, mask) is series
    for scans, given in ((session, {}), (with_t1w, mask)):
        with pytest.raises(DataError, match="36 mm thick"):
            input_checks.showing_a_brain(series, scans, given)


def test_where_nothing_is_left_the_first_fault_is_raised(root: Path) -> None:
    for role in ("gre", "t1w", "flair"):
        damage(root, role)
    with pytest.raises(DataError, match="truncated or damaged"):
        input_checks.read(session_of(root), settings_of(root), {})
    assert examine(session_of(root), settings_of(root), voxels=True).state == "PROBLEM"


def test_a_scan_that_is_left_out_keeps_the_names_of_its_run() -> None:
    session = Session(root=Path("bids"), subject="01", gre=GreFiles((("run", "2"),), (Path("x"),)))
    left = session.without(UnusableScan("gre", "GRE", "it is damaged"))
    assert (left.name, left.run, left.gre) == (session.name, "2", None)
    assert "it is damaged" in sentences.sentence(left.warnings[0])
    assert not page._gre_warnings(left, None, None)


def test_who_lacks_a_scan_has_finished_and_the_status_says_it(tmp_path: Path) -> None:
    lacking = Outcome("sub-01", ExitCode.DATA, "finished without GRE", 1, Cause.SCAN_UNUSABLE)
    failed = Outcome("sub-02", ExitCode.DATA, "bad", 1, Cause.REFUSED)
    keep_failures([lacking, failed], tmp_path)
    assert json.loads((tmp_path / "failures.json").read_text()) == {"sub-02": "bad"}
    assert exit_code([lacking]) == ExitCode.DATA


@pytest.mark.slow
def test_a_gradient_echo_beside_a_damaged_t1w_is_measured(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "bids/sub-01/anat/sub-01_FLAIR.nii.gz").unlink()
    # The map alone: what is measured in it takes half a minute.
    next(root.glob("labels/**/*deepgray*.nii.gz")).unlink()
    damage(root, "t1w")
    caplog.set_level(logging.INFO)
    assert main(tiny.words(root)) == ExitCode.DATA
    assert "INCOMPLETE sub-01: finished without T1w" in caplog.messages[-1]
    out = root / "out"
    assert manifest.read_of(out, "sub-01")
    assert json.loads((out / "logs/failures.json").read_text()) == {}
    quality = pd.read_csv(out / "sub-01/anat/sub-01_desc-qsmthal_quality.tsv", sep="\t")
    (row,) = quality[quality["name"] == "unusable_scan"].to_dict("records")
    assert row["verdict"] in {"check", "exclude"}
    assert "truncated or damaged" in (out / "sub-01.html").read_text(encoding="utf-8")
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists()


def test_a_post_contrast_t1w_alone_is_not_ready(root: Path) -> None:
    for name in ("*MEGRE*", "sub-01_T1w*", "*FLAIR*"):
        for path in (root / "bids/sub-01/anat").glob(name):
            path.unlink()
    found = examine(session_of(root), settings_of(root), voxels=False)
    assert (found.state, found.exit_code) == ("PROBLEM", ExitCode.MISSING_INPUT)
    with pytest.raises(MissingInputError, match="post-contrast T1w alone gives nothing"):
        input_checks.read(session_of(root), settings_of(root), {})
