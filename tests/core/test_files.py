import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core import files
from bids_qsmthal.core.errors import BusyError


def test_two_who_write_a_file_at_once_both_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "CITATION.md"
    flush = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", flush)
        files.write_text(path, "of another run, which has the same process number on its node")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    files.write_text(path, "ours")
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "'=1", "''-a", "\uff1d1", "-",
     "a=b", "-3", "+1.5e3", "'s", "", "n/a", "'"],
)  # fmt: skip
def test_a_defused_cell_reads_back_as_it_was(text: str) -> None:
    assert files.plain_cell(files.defused(text)) == text


def test_text_that_a_spreadsheet_would_run_is_defused_and_numbers_stay(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "name": ["=cmd|' /C calc'!A0", "@SUM(1)", "-x", "-3", "sub-01"],
            "value": [-3.0, 1e-9, np.nan, 2.0, 1.0],
            "-bad": [None, "+1+1", "+1", "a-b", "\uff0b1"],
        }
    )
    files.write_tsv(tmp_path / "table.tsv", table)
    rows = [line.split("\t") for line in (tmp_path / "table.tsv").read_text().splitlines()]
    assert rows[0] == ["name", "value", "'-bad"]
    assert [row[0] for row in rows[1:]] == [
        *("'=cmd|' /C calc'!A0", "'@SUM(1)", "'-x", "-3", "sub-01")
    ]
    assert [row[1] for row in rows[1:]] == ["-3.0", "1e-09", "n/a", "2.0", "1.0"]
    assert [row[2] for row in rows[1:]] == ["n/a", "'+1+1", "+1", "a-b", "'\uff0b1"]


def old_and_new(root: Path) -> Path:
    place = root / "group"
    place.mkdir()
    (place / "a.tsv").write_text("old")
    (place / "gone.tsv").write_text("of an earlier analysis")
    return place


def left_beside(place: Path) -> list[str]:
    return sorted(p.name for p in place.parent.iterdir() if p.name not in ("lock", place.name))


@pytest.mark.parametrize("drive", ["local", "network"])
def test_a_whole_folder_replaces_the_old_one_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drive: str
) -> None:
    if drive == "network":  # which cannot exchange two names
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    place = old_and_new(tmp_path)
    with files.whole_folder(place, place.parent / "lock") as made:
        files.write_text(made / "a.tsv", "new")
        files.write_text(made / "figures" / "b.svg", "new")
        assert (place / "a.tsv").read_text() == "old"
    assert sorted(path.name for path in place.rglob("*")) == ["a.tsv", "b.svg", "figures"]
    assert (place / "a.tsv").read_text() == "new"
    assert left_beside(place) == []


def test_the_system_here_can_exchange_two_folders(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "of-one").touch()
    assert files._exchanged(one, other)
    assert (other / "of-one").exists()
    with pytest.raises(OSError, match="No such file"):
        files._exchanged(one, tmp_path / "nothing")


def test_an_error_on_the_way_leaves_the_old_folder(tmp_path: Path) -> None:
    place = old_and_new(tmp_path)

    def fail() -> None:
        with files.whole_folder(place, place.parent / "lock") as made:
            files.write_text(made / "a.tsv", "new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (place / "a.tsv").read_text() == "old"
    assert left_beside(place) == []


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = old_and_new(tmp_path).rename(tmp_path / "elsewhere")
    place = tmp_path / "group"
    place.symlink_to(elsewhere)
    with files.whole_folder(place, tmp_path / "lock") as made:
        files.write_text(made / "a.tsv", "new")
    assert not place.is_symlink()
    assert (place / "a.tsv").read_text() == "new"
    assert (elsewhere / "a.tsv").read_text() == "old"
    assert left_beside(place) == ["elsewhere"]


def test_one_run_at_a_time_writes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_qsmthal.core.lock.PATIENCE_S", 0.1)
    place = old_and_new(tmp_path)
    other = files.whole_folder(place, tmp_path / "lock")
    with files.whole_folder(place, tmp_path / "lock") as made:
        with pytest.raises(BusyError, match="another run is writing it; run the same command"):
            other.__enter__()
        files.write_text(made / "a.tsv", "new")
    assert (place / "a.tsv").read_text() == "new"


def test_what_killed_runs_left_is_put_back_or_swept(tmp_path: Path) -> None:
    place = tmp_path / "group"
    (tmp_path / ".group.aa.old").mkdir()
    (tmp_path / ".group.aa.old" / "a.tsv").write_text("old")
    (tmp_path / ".group.bb.part").mkdir()
    files.sweep_folders(place)
    assert (place / "a.tsv").read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]
