"""From a reader's click to the group analysis."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import report
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.group import assembly, ratings
from bids_qsmthal.group.analysis_file import read as read_analysis
from tests import cohorts

HEADER = "participant_id\tsession_id\trun_id\tdecision\treason\trater\trated_at\n"


def write(path: Path, who: str, decision: str, rated_at: str = "n/a", reason: str = "seen") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{who}\tn/a\tn/a\t{decision}\t{reason}\tAB\t{rated_at}\n")


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    cohort = cohorts.simulated(8, np.random.default_rng(5), {"age": 0.3})
    return cohorts.write(cohort, tmp_path)


def decisions(study: tuple[Path, Path]) -> pd.DataFrame:
    cohort = assembly.assemble(*study, read_analysis(None), strict=False)
    return cohort.exclusions.set_index("participant_id")


def analysed(study: tuple[Path, Path]) -> set[str]:
    cohort = assembly.assemble(*study, read_analysis(None), strict=False)
    return set(cohort.frame["participant_id"])


def test_every_file_that_pages_saved_is_read(study: tuple[Path, Path]) -> None:
    edits = study[1] / "edits"
    write(edits / "sub-0001_rating.tsv", "sub-0001", "exclude", "2026-01-01T10:00:00.000Z")
    write(edits / "reader-b" / "sub-0002_rating.tsv", "sub-0002", "exclude")
    write(edits / "sub-0003_rating (1).tsv", "sub-0003", "check")
    found = decisions(study)
    assert list(found.loc[["sub-0001", "sub-0002", "sub-0003"], "decision"]) == [
        *("exclude", "exclude", "check")
    ]
    assert set(found.loc[["sub-0001", "sub-0002", "sub-0003"], "source"]) == {"edited"}
    assert {"sub-0003", "sub-0004"} <= analysed(study)
    assert not {"sub-0001", "sub-0002"} & analysed(study)


def test_of_two_ratings_of_a_scan_the_newer_counts(study: tuple[Path, Path]) -> None:
    edits = study[1] / "edits"
    write(edits / "a_rating.tsv", "sub-0001", "include", "2026-01-02T10:00:00Z")
    write(edits / "b_rating.tsv", "sub-0001", "exclude", "2026-01-01T10:00:00Z")
    write(edits / "c_rating.tsv", "sub-0001", "exclude")
    assert decisions(study).loc["sub-0001", "decision"] == "include"


def test_a_table_by_hand_wins_where_it_differs_from_quality_control(
    study: tuple[Path, Path],
) -> None:
    edits = study[1] / "edits"
    write(edits / "sub-0001_rating.tsv", "sub-0001", "exclude", "2026-01-01T10:00:00Z", "blurred")
    write(edits / "sub-0002_rating.tsv", "sub-0002", "exclude", "2026-01-01T10:00:00Z", "blurred")
    rows = "sub-0001\tinclude\n", "sub-0002\tcheck\n", "sub-0003\texclude\n"
    (edits / "exclusions.tsv").write_text("participant_id\tdecision\n" + "".join(rows))
    found = decisions(study)["decision"]
    # A copy of the group level's own table says "include" of everyone: that is no decision.
    assert list(found[["sub-0001", "sub-0002", "sub-0003"]]) == ["exclude", "check", "exclude"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("participant_id\nsub-0001\n", "no column 'decision'"),
        ("participant_id\tdecision\nsub-0001\tmaybe\n", "decision 'maybe' of sub-0001"),
        (
            "participant_id\tdecision\trated_at\nsub-0001\tcheck\t1/2/26 10:00\n",
            "rated_at '1/2/26 10:00', expected a time such as",
        ),
    ],
)
def test_a_malformed_rating_names_its_file(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "sub-0001_rating.tsv").write_text(content)
    with pytest.raises(DataError, match=r"sub-0001_rating\.tsv") as caught:
        ratings.read(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_ratings_are_an_empty_table(tmp_path: Path) -> None:
    assert ratings.read(tmp_path / "edits").empty


@pytest.mark.slow
def test_a_click_on_the_page_reaches_the_group_analysis(
    browser,
    study: tuple[Path, Path],
) -> None:
    output_dir = study[1]
    cohorts.write_measures(output_dir, "sub-0009", {"chi": -20.0}, labels=("ses-1", "run-2"))
    page = output_dir / "sub-0009_ses-1_run-2.html"
    scan = report.ParticipantReport(participant_id="sub-0009", session_id="ses-1", run_id="run-2")
    report.write_participant(scan, page, output_dir / "sub-0009" / "figures")
    edits = output_dir / "edits"
    edits.mkdir()
    browser.open(page, 1280)
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(edits))
    browser.value("document.querySelector('input[value=exclude]').focus()")
    browser.press(" ")
    browser.value("document.querySelector('input[name=reason]').value = 'motion'")
    browser.value("document.querySelector('.save-rating').focus()")
    browser.press("Enter")
    saved = edits / "sub-0009_ses-1_run-2_rating.tsv"
    until = time.monotonic() + 20
    while not saved.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert browser.complaints() == []
    found = decisions(study).loc["sub-0009"]
    assert list(found[["decision", "reason", "source"]]) == ["exclude", "motion", "edited"]
    assert "sub-0009" not in analysed(study)
