import io
import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from bids_qsmthal.app.forecast import Forecast, spelled
from bids_qsmthal.app.progress import LiveHandler, shown
from bids_qsmthal.app.screen import Screen
from bids_qsmthal.participant.pipeline import STAGES
from bids_qsmthal.participant.runner import StageProgress
from tests import tiny

WHOLE = [stage for stage in STAGES if stage.instead is None and not stage.on_request]
"""The stages of a participant with all four scans."""

FIRST = WHOLE[0].share
FIRST_S = 100 * FIRST
"""How long the first stage takes of a participant that takes 100 s."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(who: str, number: int, state: str = "started") -> StageProgress:
    stage = WHOLE[number - 1]
    return StageProgress(who, number, len(WHOLE), stage.title, stage.share, 1.0, state)


def run_whole(forecast: Forecast, clock: Clock, who: str, seconds: float) -> None:
    """One participant whose stages take the shares they are said to take."""
    for number, stage in enumerate(WHOLE, 1):
        forecast.step(step(who, number))
        clock.now += seconds * stage.share
    forecast.end(who)


def test_nothing_is_foretold_before_something_is_known() -> None:
    forecast = Forecast(Clock())
    forecast.expect(3)
    forecast.step(step("sub-01", 1))
    assert forecast.seconds_left() is None


def test_the_time_left_is_that_of_participants_like_those_before() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(4)
    run_whole(forecast, clock, "sub-01", 100)
    assert forecast.seconds_left() == pytest.approx(300)
    clock.now += 20
    assert forecast.seconds_left() == pytest.approx(280)
    run_whole(forecast, clock, "sub-02", 100)
    assert forecast.seconds_left() == pytest.approx(2 * 220 / 2)


def test_a_stage_that_is_done_tells_of_those_to_come() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(1)
    forecast.step(step("sub-01", 1))
    clock.now += FIRST_S
    forecast.step(step("sub-01", 2))
    assert forecast.seconds_left() == pytest.approx(100 - FIRST_S)


def test_what_is_reused_neither_took_time_nor_foretells_any() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(2)
    for number in range(1, len(WHOLE) + 1):
        forecast.step(step("sub-01", number, "reused"))
    forecast.end("sub-01")
    assert forecast.seconds_left() is None
    clock.now += 10
    forecast.step(step("sub-02", 1))
    clock.now += FIRST_S
    forecast.step(step("sub-02", 2))
    assert forecast.seconds_left() == pytest.approx((10 + FIRST_S) / FIRST * (1 - FIRST))


def test_participants_without_some_scans_take_the_share_of_their_own_stages() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(3)
    forecast.step(StageProgress("sub-01", 0, 1, "T2 lesions", 0.06, 0.2, "left out"))
    forecast.step(StageProgress("sub-01", 1, 1, "thalamus", 0.2, 0.2, "started"))
    clock.now += 10
    forecast.end("sub-01")
    assert forecast.seconds_left() == pytest.approx(20)


def test_side_by_side_share_the_rest_but_none_is_faster_than_it_was() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(4)
    for who in ("sub-01", "sub-02"):
        forecast.step(step(who, 1))
    clock.now += FIRST_S
    for who in ("sub-01", "sub-02"):
        forecast.step(step(who, 2))
    assert forecast.seconds_left() == pytest.approx((2 + 2 * (1 - FIRST)) * 50)
    for who in ("sub-03", "sub-04"):
        forecast.end(who)
    assert forecast.seconds_left() == pytest.approx(100 - FIRST_S)


def screen(forecast: Forecast) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(Screen(forecast, console).get_renderable())
    return console.file.getvalue()


def test_the_screen_names_stage_participant_and_time() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.expect(2)
    forecast.step(step("sub-01", 1))
    assert "time left: not known yet" in screen(forecast)
    clock.now += FIRST_S
    forecast.step(step("sub-01", 2))
    clock.now += 5
    text = screen(forecast)
    assert f"sub-01 [2/{len(WHOLE)}] FLAIR to T1w" in text
    assert f"0:{FIRST_S + 5:02.0f}" in text
    left_s = round(2 * 100 - FIRST_S - 5)
    assert f"all    [0/2]  about {left_s // 60}:{left_s % 60:02} left" in text


@pytest.fixture
def log() -> logging.Logger:
    made = logging.getLogger("bids_qsmthal.tests.terminal")
    made.setLevel(logging.INFO)
    return made


def test_a_terminal_is_not_filled_with_stages(log: logging.Logger) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    handler = LiveHandler(console, Clock())
    log.addHandler(handler)
    try:
        log.info("2 to process", extra={"to_process": 2})
        log.info("sub-01 [1/9] T1w ...", extra={"step": asdict(step("sub-01", 1))})
        log.error("sub-01 failed: no phase", extra={"ended": "sub-01"})
        log.info("sub-02 finished", extra={"ended": "sub-02"})
    finally:
        log.removeHandler(handler)
        handler.close()
    text = console.file.getvalue()
    assert "[1/9] T1w ..." not in text
    assert "sub-01 failed: no phase" in text
    assert "sub-02 finished" in text


def test_a_file_gets_plain_lines_and_no_warnings_of_libraries(log: logging.Logger) -> None:
    stream = io.StringIO()
    with shown(log, stream):
        log.info("[1/9] T1w ...", extra={"step": asdict(step("sub-01", 1))})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("a library's own business", stacklevel=1)
    assert stream.getvalue().endswith("[1/9] T1w ...\n")
    assert "business" not in stream.getvalue()


def test_warnings_of_libraries_are_shown_in_one_line_to_who_asks(log: logging.Logger) -> None:
    stream = io.StringIO()
    log.setLevel(logging.DEBUG)
    with shown(log, stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a library's\nown business", stacklevel=1)
    assert stream.getvalue().count("\n") == 1
    assert "a library's own business" in stream.getvalue()


@pytest.mark.slow
def test_an_error_on_a_terminal_is_one_line_and_leaves_it_tidy() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "bids_qsmthal", "/nowhere", "/tmp/out-nowhere", "participant"],  # noqa: S108
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    text = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.returncode == 66
    assert "/nowhere: no such folder" in text
    assert text.count("\n") == 1


@pytest.mark.slow
def test_a_whole_run_on_a_terminal(tmp_path: Path) -> None:
    tiny.write_dataset(tmp_path, "sub-01")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "bids_qsmthal", *tiny.words(tmp_path)]
    run = subprocess.Popen(words, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    seen = b""
    while True:
        try:
            more = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        seen += more
    os.close(ours)
    assert run.wait() == 0
    text = seen.decode()
    assert "[2/3] other backgrounds, split echoes" in text
    assert "time left: not known yet" in text
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", text)]
    printed = [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert not any("[2/3]" in line for line in printed)
    assert "sub-01 finished (1 of 1)" in text
    assert "0 failed, 1 of 1 finished" in printed[-2]
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    assert "Warning" not in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00"), (61, "1:01"), (3600, "1:00:00"), (59.6, "1:00")]
)
def test_durations_are_spelled(seconds: float, words: str) -> None:
    assert spelled(seconds) == words
