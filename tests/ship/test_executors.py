"""Participants on Dask and Slurm: nothing is lost, nothing is done twice, errors stay alone."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import pytest

from bids_qsmthal import execution
from bids_qsmthal.app import cli
from bids_qsmthal.app.cli import main, parse, settings_from
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.errors import BusyError, LevelUnavailableError, UsageError
from bids_qsmthal.execution import Outcome, exit_code
from bids_qsmthal.execution.worker import work
from bids_qsmthal.settings import Placement, Settings
from tests.processes import ENDS_S, wait_until_none_runs
from tests.ship import tasks

pytestmark = pytest.mark.usefixtures("nodes_see_the_tests")


def run(settings: Settings, placement: Placement, *labels: str) -> dict[str, Outcome]:
    sessions = [Session(settings.bids_dir, label) for label in labels]
    outcomes = execution.run(sessions, replace(settings, placement=placement), tasks.process)
    assert [outcome.name for outcome in outcomes] == [session.name for session in sessions]
    return {outcome.name.removeprefix("sub-"): outcome for outcome in outcomes}


def done(settings: Settings, label: str) -> str:
    return (settings.output_dir / f"sub-{label}").read_text()


def check_that_errors_stay_alone(settings: Settings, ended: dict[str, Outcome]) -> None:
    assert ended["01"].exit_code == ended["02"].exit_code == 0
    assert done(settings, "01") == done(settings, "02") == "done\n"
    assert (ended["bad"].exit_code, ended["bug"].exit_code) == (65, 1)
    assert ended["bad"].message == "bad.nii.gz: damaged; copy it again."
    logs = settings.output_dir / "logs"
    assert "ZeroDivisionError" in (logs / "crash-sub-bug.txt").read_text()
    assert "threads 1" in (logs / "sub-01_now.log").read_text()
    assert "sub-02" not in (logs / "sub-01_now.log").read_text()


@pytest.mark.slow
def test_dask_on_this_machine(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ended = run(settings, Placement(executor="dask"), "01", "bad", "bug", "once", "deadly", "02")
    check_that_errors_stay_alone(settings, ended)
    assert ended["once"].exit_code == 0
    assert done(settings, "once") == "done\n"
    assert ended["deadly"].exit_code == 75
    assert "its worker died each time" in ended["deadly"].message
    assert "sub-once starts again: the process that worked on it was killed" in caplog.text
    assert "dashboard: http://" in caplog.text
    assert "sub-01 threads 1" in caplog.text
    # What Dask says of its own end comes after a run, too; a worker that replaced another is no
    # exception.
    assert caplog.text.count("sub-once Dask is silent") == 2
    assert "heard" not in caplog.text
    assert not logging.getLogger("distributed.batched").isEnabledFor(logging.ERROR)


@pytest.mark.slow
def test_dask_waits_for_a_worker_that_is_slow_to_come_back(settings: Settings) -> None:
    # With this the cluster itself gives up every worker that dies, as it does on a busy machine.
    ended: dict[str, Outcome] = {}
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}):
        waiting = threading.Thread(
            target=lambda: ended.update(run(settings, Placement(executor="dask"), "once")),
            daemon=True,
        )
        waiting.start()
        waiting.join(timeout=300)
    assert not waiting.is_alive(), "the run waits for ever"
    assert ended["once"].exit_code == 0


@pytest.mark.parametrize("by_file", [True, False])
def test_a_worker_of_an_external_scheduler_is_killed(
    settings: Settings, scheduler: str, *, by_file: bool
) -> None:
    address = scheduler if by_file else json.loads(Path(scheduler).read_text())["address"]
    placement = Placement(executor="dask", scheduler_address=address)
    out = settings.output_dir
    begun = partial(tasks.attempts, "sub-slow1", settings)
    killer = threading.Thread(target=kill_who_works_on, args=(out, "sub-slow1", begun))
    killer.start()
    ended = run(settings, placement, "slow1", "slow2", "slow3", "bad")
    killer.join()
    assert [ended[label].exit_code for label in ("slow1", "slow2", "slow3", "bad")] == [0, 0, 0, 65]
    assert {done(settings, label) for label in ("slow1", "slow2", "slow3")} == {"done\n"}
    assert tasks.attempts("sub-slow1", settings) == 2


def kill_who_works_on(output_dir: Path, name: str, begun: Callable[[], bool]) -> None:
    """Kill the process that holds the lock of a participant, as soon as its work has begun."""
    lock = output_dir / "logs" / f".{name}.lock"
    until = time.monotonic() + 240
    while not begun():
        assert time.monotonic() < until, f"{name} did not begin"
        time.sleep(0.1)
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            opened = {str(entry.readlink()) for entry in folder.iterdir()}
        except OSError:
            continue
        if str(lock) in opened:
            os.kill(int(folder.parent.name), signal.SIGKILL)


def command(settings: Settings, labels: tuple[str, ...]) -> None:
    """Do what the command does, in a process group of its own as in a terminal."""
    os.setsid()
    sessions = [Session(settings.bids_dir, label) for label in labels]
    pytest.MonkeyPatch().setattr(
        cli, "run", lambda _: exit_code(execution.run(sessions, settings, tasks.process))
    )
    sys.exit(main([]))


def stopped(settings: Settings, labels: tuple[str, ...], sent: signal.Signals) -> int:
    """Start participants that never end, stop the run by a signal to all, and return its status."""
    whole = multiprocessing.get_context("spawn").Process(target=command, args=(settings, labels))
    whole.start()
    until = time.monotonic() + 240
    while len(list(settings.output_dir.glob("sub-endless*.attempt-*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert whole.pid
    os.killpg(whole.pid, sent)
    whole.join(ENDS_S)
    assert whole.exitcode is not None, "it goes on after it was stopped"
    wait_until_none_runs(whole.pid, time.monotonic() + ENDS_S)
    assert not (settings.output_dir / "sub-01").exists(), "no other participant was started"
    return whole.exitcode


def check_that_locks_are_given_back(settings: Settings, labels: tuple[str, ...]) -> None:
    for label in labels:
        session = Session(settings.bids_dir, label)
        assert work(session, settings, lambda *_: None, patience_s=20).exit_code == 0


STOPS = pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
ENDLESS = ("endless1", "endless2", "01")


@STOPS
@pytest.mark.slow
def test_one_signal_ends_dask_on_this_machine(
    settings: Settings, capfd: pytest.CaptureFixture[str], sent: signal.Signals, code: int
) -> None:
    settings = replace(settings, placement=Placement(executor="dask"))
    assert stopped(settings, ENDLESS, sent) == code
    shown = capfd.readouterr().err
    assert shown.count("stopped by") == 1
    assert "Traceback" not in shown
    check_that_locks_are_given_back(settings, ENDLESS[:2])


def test_one_signal_ends_what_other_workers_do(settings: Settings, scheduler: str) -> None:
    placement = Placement(executor="dask", scheduler_address=scheduler)
    assert stopped(replace(settings, placement=placement), ENDLESS, signal.SIGINT) == 130
    check_that_locks_are_given_back(settings, ENDLESS[:2])
    # The workers themselves are there for the next run.
    assert run(settings, placement, "02")["02"].exit_code == 0


@STOPS
def test_one_signal_cancels_the_jobs_of_slurm(
    settings: Settings, slurm: Placement, sent: signal.Signals, code: int
) -> None:
    assert stopped(replace(settings, placement=slurm), ENDLESS, sent) == code
    check_that_locks_are_given_back(settings, ENDLESS[:2])
    asked = subprocess.run(
        ["squeue", "-h", "--name=bids_qsmthal"], capture_output=True, text=True, check=True
    )
    assert asked.stdout == ""


@pytest.mark.slow
def test_workers_with_several_threads_are_refused(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    c = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=':0')\n"
        "    print(c.scheduler_address, flush=True)\n    sys.stdin.read()\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        assert cluster.stdout
        address = cluster.stdout.readline().strip()
        ended = run(settings, Placement(executor="dask", scheduler_address=address), "01")
        cluster.communicate()
    assert ended["01"].exit_code == 64
    assert "has 2 threads, expected 1" in ended["01"].message


def test_a_scheduler_that_does_not_answer_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_qsmthal.execution.dask.ANSWER_S", 1)
    placement = Placement(executor="dask", scheduler_address="tcp://127.0.0.1:9")
    with pytest.raises(BusyError, match="no Dask scheduler answers"):
        run(settings, placement, "01")


def test_slurm_array(
    settings: Settings, slurm: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ended = run(settings, slurm, "01", "bad", "bug", "hungry", "02")
    check_that_errors_stay_alone(settings, ended)
    assert ended["hungry"].exit_code == 0
    assert tasks.attempts("sub-hungry", settings) == 2
    assert done(settings, "hungry") == "done\n"
    assert "sub-hungry: its task was killed, with 500 MB" in caplog.text
    assert "1 to process: Slurm job" in caplog.text
    assert "1000 MB each" in caplog.text


def test_slurm_gives_up_a_task_that_always_dies(settings: Settings, slurm: Placement) -> None:
    ended = run(settings, slurm, "deadly", "01")
    assert ended["01"].exit_code == 0
    assert ended["deadly"].exit_code == 75
    assert tasks.attempts("sub-deadly", settings) == 3
    assert "which had 2000 MB" in ended["deadly"].message
    assert "\n" not in ended["deadly"].message


def test_slurm_group_level_is_a_job(settings: Settings, slurm: Placement) -> None:
    settings = replace(settings, placement=slurm)
    execution.call(tasks.group, settings)
    assert (settings.output_dir / "group").read_text().isdigit()
    with pytest.raises(LevelUnavailableError, match="no participant has results yet"):
        execution.call(tasks.unavailable, settings)


def test_slurm_refuses_wrong_options_in_one_line(settings: Settings, slurm: Placement) -> None:
    wrong = replace(slurm, slurm_options=(("partition", "nowhere"),))
    with pytest.raises(UsageError, match="correct --slurm-args"):
        run(settings, wrong, "01", "02")


def test_the_group_level_runs_here_otherwise(settings: Settings) -> None:
    execution.call(tasks.group, settings)
    assert (settings.output_dir / "group").read_text() == "here"


@pytest.mark.parametrize("executor", ["dask", "slurm"])
def test_a_missing_extra_is_a_usage_error(
    settings: Settings, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match="which is not installed; pip install 'bids_qsmthal"):
        run(settings, Placement(executor=executor), "01")


def test_a_machine_without_slurm_is_a_usage_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="no sbatch"):
        run(settings, Placement(executor="slurm"), "01")


def test_words_become_a_placement(tmp_path: Path) -> None:
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant", "--executor", "slurm"]
    words.append("--slurm_args=--partition=long --exclusive --comment='two words'")
    assert settings_from(parse(words), words).placement == Placement(
        executor="slurm",
        slurm_options=(("partition", "long"), ("exclusive", ""), ("comment", "two words")),
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--executor", "pbs"], "invalid choice"),
        (["--executor", "slurm", "--slurm-args=-p long"], "write long options with ="),
        (["--executor", "slurm", "--slurm-args=--comment='"], "No closing quotation"),
        (["--executor", "slurm", "--scheduler-address", "tcp://a:1"], "goes with --executor dask"),
        (["--slurm-args=--mem=4G"], "goes with --executor slurm"),
    ],
)
def test_wrong_words_are_one_line(
    tmp_path: Path, words: list[str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main([str(tmp_path / "b"), str(tmp_path / "o"), "participant", *words]) == 64
    assert says in caplog.records[-1].getMessage()


def test_a_wrong_memory_for_slurm_is_one_line(settings: Settings, slurm: Placement) -> None:
    with pytest.raises(UsageError, match="--mem=lots: is not a size"):
        run(settings, replace(slurm, slurm_options=(("mem", "lots"),)), "01")
