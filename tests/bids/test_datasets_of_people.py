"""Datasets as people have them: what is there is found, what is left out is said."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import Session, find_sessions
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core.errors import MissingInputError
from tests.conftest import write_image, write_json

AddGre = Callable[..., Path]


def only(bids_dir: Path) -> Session:
    (session,) = find_sessions(bids_dir)
    return session


def described(bids_dir: Path) -> gre_series.GreSeries:
    session = only(bids_dir)
    assert session.gre is not None
    return gre_series.describe(session.gre, bids_dir)


def renamed(folder: Path, pattern: str, old: str, new: str) -> None:
    for path in list(folder.glob(pattern)):
        path.rename(path.with_name(path.name.replace(old, new)))


@pytest.mark.parametrize("above", ["func", "dwi/x", "derivatives/work", ".cache", "sub-9/fmap"])
@pytest.mark.parametrize("reached", ["directly", "by a link"])
def test_folders_above_the_dataset_say_nothing(
    bids_dir: Path, add_gre: AddGre, above: str, reached: str
) -> None:
    add_gre()
    root = bids_dir.parent / above / "study"
    root.parent.mkdir(parents=True)
    shutil.move(bids_dir, root)
    if reached == "by a link":
        bids_dir.symlink_to(root)
    session = only(bids_dir if reached == "by a link" else root)
    assert session.gre is not None
    assert len(session.gre.paths) == 6


@pytest.mark.parametrize(
    ("link", "target"),
    [("self", "."), ("sub-01/anat/again", "../.."), ("sub-01/up", ".."), ("sub-01/anat/anat", ".")],
)
def test_a_loop_of_links_ends(bids_dir: Path, add_gre: AddGre, link: str, target: str) -> None:
    add_gre()
    (bids_dir / link).symlink_to(target)
    assert len(described(bids_dir).paths) == 6


def test_files_of_the_mac_and_names_that_are_no_utf_8_are_not_seen(
    bids_dir: Path, add_gre: AddGre
) -> None:
    folder = add_gre()
    for path in list(folder.iterdir()):
        (folder / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    for place in (bids_dir, folder):
        (place / os.fsdecode(b"caf\xe9_T1w.nii.gz")).write_bytes(b"")
    session = only(bids_dir)
    assert session.t1w is None
    assert len(described(bids_dir).paths) == 6


@pytest.mark.parametrize(
    "extra",
    ["sub-01_acq-r2s_echo-{}_MEGRE.nii.gz", "sub-01_rec-norm_echo-{}_part-mag_MEGRE.nii.gz"],
)
def test_an_incomplete_scan_beside_a_complete_one_is_left_out(
    bids_dir: Path, add_gre: AddGre, extra: str
) -> None:
    folder = add_gre()
    for number in (1, 2, 3):
        source = folder / f"sub-01_echo-{number}_part-mag_MEGRE.nii.gz"
        shutil.copy(source, folder / extra.format(number))
    session = only(bids_dir)
    assert len(described(bids_dir).paths) == 6
    assert [skip.path.name for skip in session.skipped] == [extra.format(n) for n in (1, 2, 3)]


def test_an_incomplete_scan_alone_is_refused_with_what_it_lacks(
    bids_dir: Path, add_gre: AddGre
) -> None:
    for path in add_gre().glob("*part-phase*"):
        path.unlink()
    with pytest.raises(MissingInputError, match="susceptibility needs part-mag with part-phase"):
        described(bids_dir)


def test_run_1_and_run_01_are_one(bids_dir: Path, add_gre: AddGre) -> None:
    folder = add_gre()
    renamed(folder, "*part-mag*", "_echo-", "_run-1_echo-")
    renamed(folder, "*part-phase*", "_echo-", "_run-01_echo-")
    assert len(described(bids_dir).first) == 3


def test_echoes_may_be_numbered_from_zero(bids_dir: Path, add_gre: AddGre) -> None:
    folder = add_gre()
    for number in (1, 2, 3):
        renamed(folder, f"*echo-{number}_*", f"echo-{number}_", f"echo-{number - 1}_")
    assert len(described(bids_dir).first) == 3


def test_a_phase_under_another_name_is_named(bids_dir: Path, add_gre: AddGre) -> None:
    folder = add_gre()
    renamed(folder, "*part-mag*", "_part-mag", "")
    renamed(folder, "*part-phase*", "_part-phase_MEGRE", "_phase")
    with pytest.raises(MissingInputError, match=r"sub-01_echo-1_phase\.nii\.gz.*look like its"):
        described(bids_dir)


@pytest.mark.parametrize("key", ["ContrastBolusAgent", "ContrastBolusIngredient"])
@pytest.mark.parametrize(("before", "after"), [("pre", "post"), ("z", "a")])
def test_a_t1w_after_contrast_is_told_by_its_sidecar(
    bids_dir: Path, before: str, after: str, key: str
) -> None:
    for acq, content in ((before, {}), (after, {key: "Gadovist"})):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_acq-{acq}_T1w"
        write_image(stem.with_suffix(".nii.gz"))
        write_json(stem.with_suffix(".json"), content)
    session = only(bids_dir)
    assert session.t1w is not None
    assert session.t1w_gad is not None
    assert f"acq-{before}_" in session.t1w.name
    assert f"acq-{after}_" in session.t1w_gad.name


@pytest.mark.parametrize("label", ["post", "gad", "Gd", "contrast"])
def test_what_acq_calls_after_contrast_comes_last(bids_dir: Path, label: str) -> None:
    for acq in (label, "zzz"):
        write_image(bids_dir / "sub-01" / "anat" / f"sub-01_acq-{acq}_T1w.nii.gz")
    session = only(bids_dir)
    assert session.t1w is not None
    assert "acq-zzz" in session.t1w.name


def test_a_gradient_echo_after_contrast_is_said(bids_dir: Path, add_gre: AddGre) -> None:
    for path in add_gre().glob("*.json"):
        write_json(path, json.loads(path.read_text()) | {"ContrastBolusAgent": "Gadovist"})
    assert "Gadovist" in [getattr(one, "agent", "") for one in described(bids_dir).warnings]


def test_a_t1w_of_another_session_is_said(bids_dir: Path, add_gre: AddGre) -> None:
    add_gre("sub-01_ses-qsm")
    write_image(bids_dir / "sub-01" / "ses-mri" / "anat" / "sub-01_ses-mri_T1w.nii.gz")
    found = {session.session: session for session in find_sessions(bids_dir)}
    (skip,) = found["qsm"].skipped
    assert skip.path.name == "sub-01_ses-mri_T1w.nii.gz"
    assert found["mri"].skipped == ()


def test_latin_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"Authors": ["Andr\xe9"]}')
    assert read_json(path) == {"Authors": ["Andr\xe9"]}


@pytest.mark.parametrize("shape", [(6, 5, 4, 1, 3), (6, 5, 4, 3, 1)])
def test_five_axes_with_one_echo_time_are_refused_in_words(
    bids_dir: Path, shape: tuple[int, ...]
) -> None:
    for part in ("mag", "phase"):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_part-{part}_MEGRE"
        write_image(stem.with_suffix(".nii.gz"), shape)
        write_json(stem.with_suffix(".json"), {"EchoTime": 0.01, "MagneticFieldStrength": 3})
    with pytest.raises(MissingInputError, match="3 volumes but one EchoTime"):
        described(bids_dir)


def test_five_axes_with_every_echo_time_are_read(bids_dir: Path) -> None:
    for part in ("mag", "phase"):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_part-{part}_MEGRE"
        write_image(stem.with_suffix(".nii.gz"), (6, 5, 4, 1, 2))
        times = {"EchoTime": [0.01, 0.02], "MagneticFieldStrength": 3}
        write_json(stem.with_suffix(".json"), times)
    first, _, _ = gre_series.load(described(bids_dir))
    assert first.shape == (6, 5, 4, 2)
