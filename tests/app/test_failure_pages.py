"""The page of a participant that failed."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from bids_qsmthal.app import failure_pages
from bids_qsmthal.core.errors import OutputError
from bids_qsmthal.execution import Outcome
from bids_qsmthal.execution.outcome import Cause
from bids_qsmthal.settings import GIB, Resources, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "out" / "logs").mkdir(parents=True)
    return Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "out" / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=GIB),
        command_line=("bids_qsmthal", str(tmp_path), str(tmp_path / "out"), "participant"),
    )


def damaged(settings: Settings, name: str = "sub-01") -> Outcome:
    text = f"{settings.bids_dir}/{name}/anat/{name}_T1w.nii.gz: <b>empty</b>; convert it again."
    return Outcome(name, 65, text, 1.0, Cause.REFUSED)


def test_the_page_says_what_failed_why_and_what_to_do_and_names_no_folder_of_the_machine(
    settings: Settings,
) -> None:
    logs = settings.output_dir / "logs"
    (logs / "sub-01_20260101T000000Z.log").write_text("an older run\n")
    lines = [f"line {number} in {settings.work_dir}" for number in range(100)]
    (logs / "sub-01_20260102T000000Z.log").write_text("\n".join(lines))
    (logs / "sub-01_ses-9_20260103T000000Z.log").write_text("of another session\n")
    failure_pages.write([damaged(settings)], settings)
    text = (settings.output_dir / "sub-01_failed.html").read_text()
    assert "BIDS_DIR/sub-01/anat/sub-01_T1w.nii.gz: &lt;b&gt;empty" in text
    assert "Correct or replace the file that the message names." in text
    assert "Exit status 65: bad data." in text
    assert "line 99 in WORK_DIR" in text
    assert "line 69 in" not in text
    assert 'href="logs/sub-01_20260102T000000Z.log"' in text
    assert str(settings.bids_dir) not in text
    assert "bids_qsmthal BIDS_DIR OUTPUT_DIR participant" in text


def test_a_bug_and_a_kill_are_called_so(settings: Settings) -> None:
    for cause, words in ((Cause.CRASHED, "a bug in the app"), (Cause.KILLED, "memory ran out")):
        outcome = Outcome("sub-02", 75, "ended", 1.0, cause)
        failure_pages.write([outcome], settings)
        assert words in (settings.output_dir / "sub-02_failed.html").read_text()


def test_the_page_goes_when_the_participant_finishes_and_a_report_is_never_touched(
    settings: Settings,
) -> None:
    report = settings.output_dir / "sub-01.html"
    report.write_text("of an earlier run")
    failure_pages.write([damaged(settings)], settings)
    page = settings.output_dir / "sub-01_failed.html"
    assert 'href="sub-01.html"' in page.read_text()
    failure_pages.write([Outcome("sub-01", 0, "", 1.0)], settings)
    assert not page.exists()
    assert report.read_text() == "of an earlier run"


def test_a_disk_without_room_for_the_page_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr(failure_pages, "write_text", full)
    with caplog.at_level(logging.WARNING):
        failure_pages.write([damaged(settings)], settings)
    assert "no space left" in caplog.text


def test_where_thousands_fail_the_list_has_them_and_not_a_page_each(settings: Settings) -> None:
    many = [
        damaged(settings, f"sub-{number:04d}") for number in range(failure_pages.MOST_PAGES + 9)
    ]
    failure_pages.write(many, settings)
    assert len(list(settings.output_dir.glob("*_failed.html"))) == failure_pages.MOST_PAGES


def test_a_dataset_of_masks_stands_with_its_name_and_without_its_place(
    settings: Settings, tmp_path: Path
) -> None:
    with_masks = replace(settings, datasets={"mine": tmp_path.parent / "of-erika" / "masks"})
    shown = with_masks.without_folders(f"{with_masks.datasets['mine']}/sub-01/dseg.nii.gz: damaged")
    assert shown == "masks/sub-01/dseg.nii.gz: damaged"
