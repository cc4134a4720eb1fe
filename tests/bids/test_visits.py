"""Finished visits in the order of time."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.bids import manifest, visits
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.visits import (
    T1W,
    FinishedVisit,
    finished_visits,
    in_order,
    session_labels,
    years_between,
)
from bids_qsmthal.core.errors import DataError


def _visit(session, year=None):
    time = None if year is None else datetime(year, 1, 1, tzinfo=UTC)
    return FinishedVisit(session=session, time=time, files={})


def _finished(out, session, endings):
    name = f"sub-01_ses-{session}"
    made = []
    for ending in endings:
        made.append(out / "sub-01" / f"ses-{session}" / "anat" / f"{name}_{ending}")
        made[-1].parent.mkdir(parents=True, exist_ok=True)
        # A manifest looks into what is compressed.
        made[-1].write_bytes(gzip.compress(session.encode()))
    (out / "logs").mkdir(exist_ok=True)
    manifest.finish(out, name, name, made)


def test_dates_decide_and_without_them_labels_count_like_people():
    dated = in_order([_visit("10", 2020), _visit("2", 2022), _visit("b", 2021)])
    assert [one.session for one in dated] == ["10", "b", "2"]
    some = in_order([_visit("10", 2020), _visit("2"), _visit("b", 2019)])
    # What has no date stays where its label is.
    assert [one.session for one in some] == ["2", "b", "10"]
    undated = in_order([_visit("b"), _visit("10"), _visit("2")])
    assert [one.session for one in undated] == ["2", "10", "b"]


def test_years_are_known_only_between_dates_of_two_days():
    assert years_between(_visit("a", 2020), _visit("b", 2021)) == pytest.approx(366 / 365.25)
    assert np.isnan(years_between(_visit("a", 2020), _visit("b", 2020)))
    assert np.isnan(years_between(_visit("a"), _visit("b", 2020)))


def test_only_what_a_manifest_vouches_for_is_a_visit(tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    _finished(out, "1", [T1W, "run-2_Chimap.nii.gz", "run-1_Chimap.nii.gz"])
    _finished(out, "2", ["Chimap.nii.gz"])
    (out / "sub-01/ses-3/anat").mkdir(parents=True)
    (out / "sub-01/ses-3/anat" / f"sub-01_ses-3_{T1W}").write_text("not finished")
    scans = bids / "sub-01/ses-1/sub-01_ses-1_scans.tsv"
    scans.parent.mkdir(parents=True)
    scans.write_text(
        "filename\tacq_time\nanat/b\t2021-03-01T12:00:00\nanat/a\t2021-03-01T11:00:00\n"
    )
    (found,) = finished_visits(out, bids, "01")
    assert found.session == "1"
    assert found.time == datetime(2021, 3, 1, 11, tzinfo=UTC)
    assert found.files["Chimap.nii.gz"].name == "sub-01_ses-1_run-1_Chimap.nii.gz"


def test_a_session_that_the_dataset_has_no_more_is_no_visit(tmp_path):
    """Otherwise one that was renamed is compared with itself."""
    out, bids = tmp_path / "out", tmp_path / "bids"
    for session in ("1", "2", "old"):
        _finished(out, session, [T1W])
    for session in ("1", "2"):
        scan = bids / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii.gz"
        scan.parent.mkdir(parents=True)
        scan.touch()
    assert [one.session for one in finished_visits(out, bids, "01")] == ["1", "2"]
    assert session_labels(bids, out, "01") == ["1", "2"]


def test_a_time_that_is_none_is_named_with_its_table(tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    _finished(out, "1", [T1W])
    (bids / "sub-01").mkdir(parents=True)
    (bids / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\nses-1\tMay 2020\n")
    with pytest.raises(DataError, match=r"sub-01_sessions\.tsv, column 'acq_time': 'May 2020'"):
        finished_visits(out, bids, "01")


def test_the_day_of_a_scan_is_that_of_its_row_and_a_cell_that_is_no_time_stops_nobody(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    t1w = folder / "sub-01_T1w.nii.gz"
    t1w.touch()
    session = Session(root=tmp_path, subject="01", t1w=t1w)
    assert visits.scanned_on(session) == ""
    table = tmp_path / "sub-01" / "sub-01_scans.tsv"
    head = "filename\tacq_time\n"
    rows = "anat/sub-01_T2w.nii.gz\t2019-01-01T10:00:00\nanat/sub-01_T1w.nii.gz\t{}\n"
    for cell, expected in (("2020-03-01T09:30:00", "2020-03-01"), ("n/a", ""), ("spring", "")):
        table.write_text(head + rows.format(cell))
        assert visits.scanned_on(session) == expected
