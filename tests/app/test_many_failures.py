"""What a run says at its end where thousands of participants failed."""

import json
import logging
from pathlib import Path

import pytest

from bids_qsmthal.app import levels
from bids_qsmthal.core.errors import BusyError
from bids_qsmthal.execution import Outcome
from bids_qsmthal.settings import GIB, Resources, Settings

FAILED = [Outcome(f"sub-{number:05d}", 65, "damaged", 1) for number in range(10_000)]
DONE = Outcome("sub-done", 0, "", 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=GIB),
    )


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


def test_ten_thousand_failures_are_all_listed_and_fifty_are_shown(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    levels._sum_up([*FAILED, DONE], settings)
    listed = settings.output_dir / "logs" / "failures.json"
    assert json.loads(listed.read_text()) == {end.name: "damaged" for end in FAILED}
    count, _, *shown, last = caplog.messages
    assert count.startswith("10000 failed (sub-00000, ")
    assert "sub-00049, 9950 more), 1 of 10001 finished" in count
    assert shown == [f"FAILED {end.name}: damaged" for end in FAILED[:50]]
    assert last == f"FAILED 9950 more: see {listed}"


def test_the_screen_has_all_failures_where_the_list_cannot_be_kept(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError("another run holds it")

    monkeypatch.setattr(levels.execution, "keep_failures", busy)
    with pytest.raises(BusyError):
        levels._sum_up(FAILED[:100], settings)
    assert errors(caplog) == [f"FAILED {end.name}: damaged" for end in FAILED[:100]]


def test_a_few_failures_are_all_shown(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    levels._sum_up(FAILED[:3], settings)
    assert errors(caplog) == [f"FAILED {end.name}: damaged" for end in FAILED[:3]]
