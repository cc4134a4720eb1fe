"""The group level says how far it is, in the words that the live progress of a terminal reads."""

import io
import logging

import numpy as np
import pytest
from rich.console import Console

from bids_qsmthal import group
from bids_qsmthal.app.progress import LiveHandler
from bids_qsmthal.group import progress
from bids_qsmthal.group.progress import GroupStage
from tests import cohorts


@pytest.mark.slow
def test_a_group_level_says_every_stage_in_order_and_that_it_ended(
    tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = cohorts.simulated(12, np.random.default_rng(2), {"age": 0.3})
    folders = cohorts.write(cohort, tmp_path)
    caplog.set_level(logging.INFO)
    group.process(*folders)
    told = [record for record in caplog.records if record.name == progress.__name__]
    assert told[0].to_process == 1  # type: ignore[attr-defined]
    steps = [record.step for record in told if hasattr(record, "step")]
    assert [step["title"] for step in steps] == [stage.title for stage in GroupStage]
    assert told[-1].ended == progress.WHO  # type: ignore[attr-defined]


def test_the_live_progress_of_a_terminal_follows_the_group_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = LiveHandler(Console(file=io.StringIO()), clock=lambda: 0.0)
    progress.log.addHandler(handler)
    caplog.set_level(logging.INFO)
    try:
        progress.start()
        progress.begin(GroupStage.TABLES)
        progress.begin(GroupStage.MODELS)
        progress.begin(GroupStage.CHOICES)
        running = handler._forecast.running[progress.WHO]
        assert running.step.title == GroupStage.CHOICES.title
        assert running.step.planned_share == pytest.approx(1.0)
        assert running.done == pytest.approx(GroupStage.TABLES.share + GroupStage.MODELS.share)
        progress.end()
        assert handler._forecast.ended == handler._forecast.total == 1
    finally:
        progress.log.removeHandler(handler)
        handler.close()
