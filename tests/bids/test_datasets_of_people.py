"""Datasets as people have them: what is there is found, what is left out is said."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_qsmthal.bids import external, gre_series
from bids_qsmthal.bids.dataset import Session, find_sessions
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core.errors import DataError, InvalidBidsError, MissingInputError
from bids_qsmthal.core.scan_warnings import T1wOfAnotherSession, UniformWithNoise
from bids_qsmthal.participant.input_checks import check_enough
from bids_qsmthal.settings import Selection
from tests import tiny
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


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("sub-02", "sub-01"),
        ("sub-00", "sub-01"),  # sorts first, and is a second name all the same
        ("sub-01/ses-2", "ses-1"),
        ("sub-02", "../{folder}/sub-01"),  # by way of the folder above
        ("sub-02/ses-1", "../sub-01/ses-1"),
        ("sub-02/ses-1/anat", "../../sub-01/ses-1/anat"),
    ],
)
def test_a_link_to_a_folder_of_the_dataset_is_a_second_name_of_it(
    bids_dir: Path, add_gre: AddGre, caplog: pytest.LogCaptureFixture, link: str, target: str
) -> None:
    add_gre("sub-01_ses-1")
    add_gre("sub-03_ses-1")
    (bids_dir / link).parent.mkdir(parents=True, exist_ok=True)
    (bids_dir / link).symlink_to(target.format(folder=bids_dir.name))
    found = find_sessions(bids_dir)
    assert [session.name for session in found] == ["sub-01_ses-1", "sub-03_ses-1"]
    assert all(session.gre is not None and len(session.gre.paths) == 6 for session in found)
    (line,) = [text for text in caplog.messages if "is a link to" in text]
    assert line.startswith(f"{link} is a link to sub-01")
    assert "used once" in line


def test_two_links_to_one_folder_elsewhere_are_one_participant(
    bids_dir: Path, add_gre: AddGre, caplog: pytest.LogCaptureFixture
) -> None:
    folder = add_gre("sub-01").parent
    pool = bids_dir.parent / "pool"
    shutil.move(folder, pool)
    for name in ("sub-01", "sub-02"):
        (bids_dir / name).symlink_to(pool)
    assert only(bids_dir).name == "sub-01"
    assert "sub-02 is a link to sub-01" in caplog.text


def test_a_link_out_of_the_dataset_is_a_participant_as_any_other(
    bids_dir: Path, add_gre: AddGre, caplog: pytest.LogCaptureFixture
) -> None:
    add_gre("sub-01")
    folder = add_gre("sub-02").parent
    # A folder of the dataset that is not looked at is outside, too.
    pool = bids_dir / "sourcedata" / "pool"
    pool.parent.mkdir()
    shutil.move(folder, pool)
    (bids_dir / "sub-02").symlink_to(pool)
    assert [session.name for session in find_sessions(bids_dir)] == ["sub-01", "sub-02"]
    assert "is a link" not in caplog.text


@pytest.mark.parametrize("how", ["another's files", "a link to another's folder elsewhere"])
def test_files_of_another_participant_cost_this_one_alone(
    bids_dir: Path, add_gre: AddGre, how: str
) -> None:
    add_gre("sub-01")
    folder = add_gre("sub-77")
    if how == "another's files":
        folder.parent.rename(bids_dir / "sub-02")
    else:
        shutil.move(folder.parent, bids_dir.parent / "sub-77")
        (bids_dir / "sub-02").symlink_to(bids_dir.parent / "sub-77")
    well, wrong = find_sessions(bids_dir)
    check_enough(well)
    assert well.gre is not None
    assert (wrong.name, wrong.any_scan) == ("sub-02", False)
    with pytest.raises(InvalidBidsError, match=r"sub-77_.*its folder, expected sub-02; rename"):
        check_enough(wrong)


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
    for path in add_gre().glob("*part-mag*"):
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


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_and_said(
    tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes('\ufeff{"Authors": ["Andr\xe9"]}'.encode(encoding))
    assert read_json(path) == {"Authors": ["Andr\xe9"]}
    assert "UTF-16" in caplog.text
    path.write_bytes('\ufeff{"Authors": 1}'.encode(encoding)[:-1])
    with pytest.raises(DataError, match="not readable as JSON"):
        read_json(path)


@pytest.mark.parametrize("shape", [(6, 5, 4, 1, 3), (6, 5, 4, 3, 1)])
def test_five_axes_with_one_echo_time_are_refused_in_words(
    bids_dir: Path, shape: tuple[int, ...]
) -> None:
    for part in ("mag", "phase"):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_part-{part}_MEGRE"
        write_image(stem.with_suffix(".nii.gz"), shape)
        write_json(stem.with_suffix(".json"), {"EchoTime": 0.01, "MagneticFieldStrength": 3})
    with pytest.raises(MissingInputError, match="3 volumes but EchoTime is"):
        described(bids_dir)


def test_five_axes_with_every_echo_time_are_read(bids_dir: Path) -> None:
    for part in ("mag", "phase"):
        stem = bids_dir / "sub-01" / "anat" / f"sub-01_part-{part}_MEGRE"
        write_image(stem.with_suffix(".nii.gz"), (6, 5, 4, 1, 2))
        times = {"EchoTime": [0.01, 0.02], "MagneticFieldStrength": 3}
        write_json(stem.with_suffix(".json"), times)
    first, _, _ = gre_series.load(described(bids_dir))
    assert first.shape == (6, 5, 4, 2)


def test_a_t1w_of_another_session_is_used_where_the_user_says_so(
    bids_dir: Path, add_gre: AddGre
) -> None:
    add_gre("sub-01_ses-qsm")
    add_gre("sub-02_ses-qsm")
    for name in ("sub-01_ses-mri", "sub-02_ses-mri", "sub-02_ses-qsm"):
        write_image(bids_dir.joinpath(*name.split("_"), "anat", f"{name}_T1w.nii.gz"))
    chosen = Selection(t1w_session="ses-mri", sessions=("qsm",))
    first, second = find_sessions(bids_dir, chosen)
    assert first.t1w is not None
    assert first.t1w.name == "sub-01_ses-mri_T1w.nii.gz"
    assert first.warnings == (T1wOfAnotherSession("mri"),)
    assert first.entities == (("sub", "01"), ("ses", "qsm"))
    # Who has a T1w of the same session keeps it.
    assert second.t1w is not None
    assert second.t1w.name == "sub-02_ses-qsm_T1w.nii.gz"
    assert second.warnings == ()
    with pytest.raises(MissingInputError, match=r"--t1w-session old: no T1w.*with T1w: mri, qsm"):
        find_sessions(bids_dir, Selection(t1w_session="old"))


@pytest.mark.parametrize("where", ["sub-01_ses-mri", "sub-01_ses-qsm"])
def test_results_made_of_that_t1w_are_known(bids_dir: Path, add_gre: AddGre, where: str) -> None:
    add_gre("sub-01_ses-qsm")
    write_image(bids_dir / "sub-01" / "ses-mri" / "anat" / "sub-01_ses-mri_T1w.nii.gz")
    (session,) = find_sessions(bids_dir, Selection(t1w_session="mri", sessions=("qsm",)))
    labels = bids_dir.parent / "labels"
    name = f"{where}_desc-aseg_dseg.nii.gz"
    write_image(labels.joinpath(*where.split("_"), "anat", name))
    (bids_dir.parent / "fs" / where / "mri").mkdir(parents=True)
    (bids_dir.parent / "fs" / where / "mri" / "aseg.mgz").touch()
    found = external.files(session, {"labels": labels}, bids_dir.parent / "out")
    assert found["deepgray"].path.name == name
    found = external.files(session, {"fs": bids_dir.parent / "fs"}, bids_dir.parent / "out")
    assert found["deepgray"].path.parent.parent.name == where


def mp2rage(bids_dir: Path, *endings: str, scan: str = "sub-01") -> Session:
    for ending in endings:
        write_image(bids_dir / "sub-01" / "anat" / f"{scan}_{ending}.nii.gz")
    return only(bids_dir)


def test_the_uniform_image_of_mp2rage_is_t1w_where_there_is_no_other(bids_dir: Path) -> None:
    alone = mp2rage(bids_dir, "UNIT1")
    assert alone.t1w is not None
    assert alone.t1w.name == "sub-01_UNIT1.nii.gz"
    assert alone.warnings == (UniformWithNoise(),)
    with_both = mp2rage(
        bids_dir, "inv-1_MP2RAGE", "inv-2_part-mag_MP2RAGE", "inv-1_part-phase_MP2RAGE"
    )
    assert [path.name for path in with_both.inversions] == [
        "sub-01_inv-1_MP2RAGE.nii.gz",
        "sub-01_inv-2_part-mag_MP2RAGE.nii.gz",
    ]
    assert with_both.warnings == ()
    plain = mp2rage(bids_dir, "T1w")
    assert plain.t1w is not None
    assert plain.t1w.name == "sub-01_T1w.nii.gz"
    assert [skip.path.name for skip in plain.skipped] == ["sub-01_UNIT1.nii.gz"]
    assert plain.inversions == ()


def test_inversions_of_another_scan_do_not_count(bids_dir: Path) -> None:
    mp2rage(bids_dir, "UNIT1", scan="sub-01_run-2")
    other = mp2rage(bids_dir, "inv-1_MP2RAGE", "inv-2_MP2RAGE", scan="sub-01_run-1")
    assert other.inversions == ()
    assert other.warnings == (UniformWithNoise(),)


def test_two_tables_of_synthseg_for_one_scan_are_refused(bids_dir: Path, tmp_path: Path) -> None:
    write_image(bids_dir / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    folder = tmp_path / "synthseg"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        text = "subject,total intracranial,left thalamus\nsub-01_T1w,1,2\n"
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=r"a\.csv and b\.csv both have the volumes of sub-01_T1w"):
        external.files(only(bids_dir), {"s": folder}, tmp_path / "out")


def test_participants_that_bidsignore_lists_are_left_out_and_said(
    bids_dir: Path, add_gre: AddGre, caplog: pytest.LogCaptureFixture
) -> None:
    add_gre("sub-01")
    add_gre("sub-02")
    (bids_dir / ".bidsignore").write_text("sub-02/\n*_MEGRE*\n")
    assert only(bids_dir).subject == "01"
    assert ".bidsignore lists 6 images" in caplog.text


def test_bidsignore_leaves_out_other_images_by_any_line(bids_dir: Path, add_gre: AddGre) -> None:
    add_gre("sub-01")
    write_image(bids_dir / "sub-01/anat/sub-01_run-1_T1w.nii.gz")
    write_image(bids_dir / "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    (bids_dir / ".bidsignore").write_text("*_run-1_T1w.nii.gz\n")
    t1w = only(bids_dir).t1w
    assert t1w is not None
    assert t1w.name == "sub-01_run-2_T1w.nii.gz"


def test_who_asks_for_a_participant_that_bidsignore_lists_is_told(
    bids_dir: Path, add_gre: AddGre
) -> None:
    add_gre("sub-01")
    add_gre("sub-02")
    (bids_dir / ".bidsignore").write_text("sub-02/\n")
    with pytest.raises(MissingInputError, match=r"that \.bidsignore does not list"):
        find_sessions(bids_dir, Selection(participants=("02",)))


@pytest.mark.parametrize("suffix", ["T1w", "MPM"])
def test_phase_under_another_name_is_named_with_the_filter_that_reads_it(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids/sub-01/anat"
    for path in sorted(anat.iterdir()):
        path.rename(path.with_name(path.name.replace("_MEGRE", f"_{suffix}")))
    (anat / "sub-01_FLAIR.nii.gz").write_bytes(b"")
    (plain,) = find_sessions(tmp_path / "bids")
    assert plain.gre is None
    said = caplog.messages[-1]
    assert "may be the phase of a gradient echo" in said
    words = json.loads(said[said.index("{") : said.rindex("}") + 1])
    (filtered,) = find_sessions(tmp_path / "bids", Selection(filters=words))
    assert filtered.gre is not None
    assert len(filtered.gre.paths) == 8


def test_parts_that_are_named_by_the_suffix_are_called_what_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids/sub-01/anat"
    for part, suffix in (("mag", "magnitude"), ("phase", "phase")):
        renamed(anat, f"*part-{part}*", f"_part-{part}_MEGRE", f"_{suffix}")
    (anat / "sub-01_FLAIR.nii.gz").write_bytes(b"")
    (found,) = find_sessions(tmp_path / "bids")
    assert found.gre is None
    said = [line for line in caplog.messages if "_phase.nii.gz" in line]
    assert len(said) == 1
    assert "part-phase_MEGRE.nii.gz" in said[0]
    assert "which gives R2*" not in said[0]


def test_echoes_under_another_name_are_named_with_the_filter_that_reads_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # As in the examples of BIDS: multi-parameter maps, and the echoes of OpenNeuro's ds000117.
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids/sub-01/anat"
    for path in sorted(anat.iterdir()):
        if "part-phase" in path.name:
            path.unlink()
            continue
        name = path.name.replace("_part-mag", "").replace("sub-01_", "sub-01_acq-{}_")
        for contrast in ("PDw", "T1w"):
            (anat / name.format(contrast).replace("_MEGRE", "_MPM")).write_bytes(path.read_bytes())
        path.unlink()
    (anat / "sub-01_T1w.nii.gz").write_bytes(b"")
    (anat / "sub-01_echo-1_MESE.nii.gz").write_bytes(b"")
    (plain,) = find_sessions(tmp_path / "bids")
    assert plain.gre is None
    (said,) = (one for one in caplog.messages if "several echoes" in one)
    assert "MESE" not in said
    words = json.loads(said[said.index("{") : said.rindex("}") + 1])
    found = find_sessions(tmp_path / "bids", Selection(filters=words))
    assert {one.gre.magnitude_alone and len(one.gre.paths) for one in found if one.gre} == {4}
    words["gre"]["acquisition"] = "PDw"
    (chosen,) = find_sessions(tmp_path / "bids", Selection(filters=words))
    assert chosen.gre is not None
    assert all("acq-PDw" in path.name for path in chosen.gre.paths)


def test_results_of_another_program_are_no_raw_dataset(tmp_path: Path) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    with pytest.raises(InvalidBidsError, match=r"derivative.*--derivatives"):
        find_sessions(tmp_path / "labels")


def test_scans_that_are_not_wanted_are_not_looked_for(
    bids_dir: Path, add_gre: AddGre, caplog: pytest.LogCaptureFixture
) -> None:
    add_gre("sub-01_ses-a")
    add_gre("sub-01_ses-b")
    write_image(bids_dir / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T1w.nii.gz")
    (bids_dir / "sub-01" / "ses-a" / "swi").mkdir()
    write_image(bids_dir / "sub-01" / "ses-a" / "swi" / "sub-01_ses-a_swi.nii.gz")
    # Who has nothing else is left out; nothing is said of scans that nobody wants.
    (only,) = find_sessions(bids_dir, Selection(leaving_out=frozenset({"gre"})))
    assert (only.session, only.gre, only.leaving_out) == ("a", None, {"gre"})
    assert only.t1w is not None
    assert "swi" not in caplog.text
    first, second = find_sessions(bids_dir, Selection(leaving_out=frozenset({"t1w", "flair"})))
    assert (first.t1w, second.t1w) == (None, None)
    assert first.gre is not None
    assert second.skipped == ()


def test_echoes_that_are_named_runs_are_told_as_such(bids_dir: Path, add_gre: AddGre) -> None:
    folder = add_gre()
    renamed(folder, "*_echo-*", "_echo-", "_run-")
    sessions = find_sessions(bids_dir)
    assert len(sessions) == 3
    for session in sessions:
        assert session.gre is not None
        with pytest.raises(InvalidBidsError, match="replace run- by echo- in their names") as told:
            gre_series.describe(session.gre, bids_dir)
        assert "3 runs of one echo each, at 5, 10, 15 ms" in str(told.value)
    (alone,) = find_sessions(bids_dir, Selection(runs=("2",)))
    assert alone.gre is not None
    assert len(gre_series.describe(alone.gre, bids_dir).first) == 1


def test_a_scan_of_one_echo_that_was_repeated_is_no_scan_of_echoes(
    bids_dir: Path, add_gre: AddGre
) -> None:
    folder = add_gre()
    for path in folder.glob("*_echo-[23]_*"):
        path.unlink()
    renamed(folder, "*_echo-1*", "_echo-1", "_run-1")
    for path in list(folder.iterdir()):
        shutil.copy(path, path.with_name(path.name.replace("_run-1", "_run-2")))
    for session in find_sessions(bids_dir):
        assert session.gre is not None
        assert len(gre_series.describe(session.gre, bids_dir).first) == 1


def test_who_lacks_what_is_wanted_is_told_so_and_not_of_what_is_left_out(
    bids_dir: Path, add_gre: AddGre
) -> None:
    add_gre("sub-01")
    anatomy = Selection(participants=("01",), leaving_out=frozenset({"gre"}))
    with pytest.raises(MissingInputError, match="participant 01 has no T1w or FLAIR;"):
        find_sessions(bids_dir, anatomy)
    write_image(bids_dir / "sub-02" / "anat" / "sub-02_T1w.nii.gz")
    alone = Selection(participants=("02",), leaving_out=frozenset({"t1w", "t1w_gad", "flair"}))
    with pytest.raises(MissingInputError, match="participant 02 has no gradient echo;"):
        find_sessions(bids_dir, alone)
