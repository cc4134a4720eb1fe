"""What squeue lists, and what it does not: without Slurm."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_qsmthal.execution import slurm


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds that pass by sleeping alone."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(slurm.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(slurm.time, "sleep", lambda s: setattr(clock, "now", clock.now + s))
    return clock


def polls_until_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lists: list[dict[str, str] | None]
) -> tuple[int, bool]:
    """Return after how many looks at the queue a job is over, and whether it left a result."""
    looks = 0

    def states() -> dict[str, str] | None:
        nonlocal looks
        looks += 1
        return lists[min(looks, len(lists)) - 1]

    monkeypatch.setattr(slurm, "_states", states)
    job = SimpleNamespace(job_id="7_0", paths=SimpleNamespace(result_pickle=folder / "result"))
    ((_, _, left),) = slurm._as_over({"sub-01": job})
    return looks, left


RUNNING = {"7_0": "RUNNING"}


@pytest.mark.parametrize(
    ("lists", "looks"),
    [
        ([{}, {}, RUNNING, RUNNING, {}], 5),
        ([{"7_1": "RUNNING"}, None, {"7_0": "FAILED"}], 3),
        ([RUNNING, None, None, {}], 4),
        ([{}], 1 + slurm.UNLISTED_S / slurm.POLL_S),
    ],
    ids=["listed late", "others listed", "silent", "never listed"],
)
@pytest.mark.usefixtures("clock")
def test_a_job_that_is_not_listed_yet_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: list[dict[str, str]], looks: float
) -> None:
    assert polls_until_over(tmp_path, monkeypatch, lists) == (looks, False)


@pytest.mark.usefixtures("clock")
def test_a_result_counts_whatever_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "result").touch()
    assert polls_until_over(tmp_path, monkeypatch, [None]) == (1, True)
