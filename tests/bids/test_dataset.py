from pathlib import Path

import pytest

from bids_qsmthal.bids.dataset import find_sessions
from bids_qsmthal.bids.sidecars import entities_of, metadata
from bids_qsmthal.core.errors import (
    DataError,
    InvalidBidsError,
    MissingInputError,
    NothingFoundError,
)
from bids_qsmthal.settings import Selection


def touch(root: Path, *names: str) -> None:
    for name in names:
        parts = name.split("_")
        sessions = [p for p in parts if p.startswith("ses-")]
        path = root.joinpath(parts[0], *sessions, "anat", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_every_scan_finds_its_role(bids_dir: Path) -> None:
    touch(
        bids_dir,
        "sub-01_T1w.nii.gz",
        "sub-01_ce-gadolinium_T1w.nii.gz",
        "sub-01_FLAIR.nii",
        "sub-01_echo-1_part-mag_MEGRE.nii.gz",
        "sub-01_echo-1_part-phase_MEGRE.nii.gz",
    )
    (session,) = find_sessions(bids_dir)
    assert session.t1w is not None
    assert session.t1w.name == "sub-01_T1w.nii.gz"
    assert session.t1w_gad is not None
    assert session.t1w_gad.name == "sub-01_ce-gadolinium_T1w.nii.gz"
    assert session.flair is not None
    assert session.flair.name == "sub-01_FLAIR.nii"
    assert session.gre is not None
    assert len(session.gre.paths) == 2


def test_each_session_and_run_is_processed(bids_dir: Path) -> None:
    for name in ("sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b", "sub-02"):
        touch(
            bids_dir,
            f"{name}_echo-1_part-mag_MEGRE.nii.gz",
            f"{name}_echo-1_part-phase_MEGRE.nii.gz",
        )
    names = [session.name for session in find_sessions(bids_dir)]
    assert names == ["sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b", "sub-02"]


@pytest.mark.parametrize("suffix", ["GRE", "T2starw"])
def test_legacy_names_are_read(bids_dir: Path, suffix: str) -> None:
    touch(
        bids_dir,
        f"sub-01_echo-1_part-mag_{suffix}.nii.gz",
        f"sub-01_echo-1_part-phase_{suffix}.nii.gz",
    )
    (session,) = find_sessions(bids_dir)
    assert session.gre is not None


def test_what_is_skipped_is_listed_with_its_reason(bids_dir: Path) -> None:
    touch(
        bids_dir,
        "sub-01_run-1_T1w.nii.gz",
        "sub-01_run-2_T1w.nii.gz",
        "sub-01_T2starw.nii.gz",
        "sub-01_part-phase_FLAIR.nii.gz",
    )
    (session,) = find_sessions(bids_dir)
    reasons = {skipped.path.name: skipped.reason for skipped in session.skipped}
    assert "sub-01_run-1_T1w.nii.gz of the session is used" in reasons["sub-01_run-2_T1w.nii.gz"]
    assert "without phase" in reasons["sub-01_T2starw.nii.gz"]
    assert "not a magnitude" in reasons["sub-01_part-phase_FLAIR.nii.gz"]
    assert session.gre is None
    assert session.flair is None


def test_a_filter_chooses_among_acquisitions(bids_dir: Path) -> None:
    touch(bids_dir, "sub-01_acq-fast_T1w.nii.gz", "sub-01_acq-slow_T1w.nii.gz")
    (session,) = find_sessions(bids_dir, Selection(filters={"t1w": {"acquisition": "slow"}}))
    assert session.t1w is not None
    assert session.t1w.name == "sub-01_acq-slow_T1w.nii.gz"


def test_a_missing_participant_is_named_with_those_present(bids_dir: Path) -> None:
    touch(bids_dir, "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz")
    with pytest.raises(MissingInputError, match=r"participant 07 in .*\. It holds: 01, 02\."):
        find_sessions(bids_dir, Selection(participants=("sub-07",)))


@pytest.mark.parametrize("label", ["../01", "01/../02", ""])
def test_a_label_that_is_a_path_is_refused(bids_dir: Path, label: str) -> None:
    touch(bids_dir, "sub-01_T1w.nii.gz")
    with pytest.raises(MissingInputError, match="letters and digits only"):
        find_sessions(bids_dir, Selection(participants=(label,)))


def test_a_prefix_of_a_label_makes_no_difference(bids_dir: Path) -> None:
    touch(bids_dir, "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz")
    for label in ("02", "sub-02"):
        (session,) = find_sessions(bids_dir, Selection(participants=(label,)))
        assert session.subject == "02"


def test_an_empty_dataset_says_what_is_expected(bids_dir: Path) -> None:
    with pytest.raises(MissingInputError, match="holds no gradient echo, T1w or FLAIR"):
        find_sessions(bids_dir)


@pytest.mark.parametrize("place", ["sub-01/swi", "sub-01/ses-1/swi"])
def test_images_in_a_swi_folder_are_said_not_to_be_read(
    bids_dir: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    touch(bids_dir, "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz")
    (bids_dir / place).mkdir(parents=True)
    find_sessions(bids_dir)
    assert "not read" not in caplog.text, "an empty folder is no matter"
    (bids_dir / place / "sub-01_part-phase_GRE.nii.gz").touch()
    find_sessions(bids_dir)
    assert f"{place}: images in these folders are not read" in caplog.text
    caplog.clear()
    find_sessions(bids_dir, Selection(participants=("02",)))
    assert "not read" not in caplog.text, "of another participant"


def test_filters_that_leave_nothing_are_told_apart(bids_dir: Path) -> None:
    touch(bids_dir, "sub-01_T1w.nii.gz")
    with pytest.raises(NothingFoundError, match="filters leave no"):
        find_sessions(bids_dir, Selection(filters={"t1w": {"acquisition": "none"}}))


def test_a_folder_without_description_is_not_bids(tmp_path: Path) -> None:
    with pytest.raises(InvalidBidsError, match=r"no dataset_description\.json"):
        find_sessions(tmp_path)


def test_nearer_sidecars_win_over_inherited_ones(bids_dir: Path) -> None:
    image = bids_dir / "sub-01" / "anat" / "sub-01_echo-1_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    (bids_dir / "T1w.json").write_text('{"A": 1, "B": 1}')
    (bids_dir / "echo-2_T1w.json").write_text('{"C": 1}')
    image.with_name("sub-01_T1w.json").write_text('{"B": 2}')
    assert metadata(image, bids_dir) == {"A": 1, "B": 2}


def test_a_broken_sidecar_is_named(bids_dir: Path) -> None:
    image = bids_dir / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.with_name("sub-01_T1w.json").write_text('{"EchoTime": ')
    with pytest.raises(DataError, match=r"sub-01_T1w\.json: not readable as JSON"):
        metadata(image, bids_dir)


def test_a_name_is_split_into_entities() -> None:
    entities, suffix = entities_of(Path("sub-01_acq-a-b_T1w.nii.gz"))
    assert entities == (("sub", "01"), ("acq", "a-b"))
    assert suffix == "T1w"
