import errno
import json
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.app import cli
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.errors import BusyError, DataError, OutputError
from bids_qsmthal.core.lock import alone
from bids_qsmthal.execution import Outcome, exit_code, keep_failures, run
from bids_qsmthal.execution.local import EARLIER, KILL_SCORE
from bids_qsmthal.execution.outcome import Cause
from bids_qsmthal.execution.records import MOST_CHARACTERS
from bids_qsmthal.execution.worker import thread_limits, work
from bids_qsmthal.settings import GIB, Resources, Settings
from tests.processes import ENDS_S, wait_until_none_runs

pytestmark = pytest.mark.slow


def talk(label: str) -> None:
    log = logging.getLogger("bids_qsmthal.test")
    log.info("threads %s", os.environ["OMP_NUM_THREADS"])
    log.info("score %s.", KILL_SCORE.read_text().strip())
    if label.startswith("wordy"):
        for length in (30_000, 150_000, 3_000_000):
            log.info("%s", "χ" * length)
    if label.startswith(("loud", "wordy")):
        for line in range(3000):
            log.info("line %d", line)


def bad(*_: object) -> None:
    raise DataError("bad.nii.gz: damaged; copy it again.")


def bug(*_: object) -> None:
    raise ZeroDivisionError("a bug")


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def twice(session: Session, settings: Settings) -> None:
    begun = settings.output_dir / f"{session.name}.begun"
    if not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def greedy(*_: object) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 * GIB, 3 * GIB))
    np.ones((4, GIB // 8))


def endless(session: Session, settings: Settings) -> None:
    (settings.output_dir / f"{session.name}.begun").touch()
    while True:
        sum(range(10_000_000))  # as numerical code, it hears nothing meanwhile


def orphan(*_: object) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(300)


def nothing(*_: object) -> None: ...


KINDS = {"loudkilled": killed} | {
    kind.__name__: kind for kind in (bad, bug, killed, twice, greedy, endless, orphan)
}


def process(session: Session, settings: Settings) -> None:
    """What a participant does here depends on its label."""
    talk(session.subject)
    KINDS.get(session.subject.rstrip("0123456789"), nothing)(session, settings)
    (settings.output_dir / session.name).write_text("done")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "out").mkdir()
    return Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work",
        resources=Resources(cores=2, threads=0, memory_bytes=64 * GIB),
        started="now",
    )


def sessions(tmp_path: Path, *labels: str) -> list[Session]:
    return [Session(tmp_path, label) for label in labels]


def test_what_happens_to_one_leaves_the_others(tmp_path: Path, settings: Settings) -> None:
    wanted = sessions(tmp_path, "01", "bad", "bug", "killed", "02")
    ended = {outcome.name: outcome for outcome in run(wanted, settings, process)}
    assert list(ended) == ["sub-01", "sub-bad", "sub-bug", "sub-killed", "sub-02"]
    assert ended["sub-01"].exit_code == ended["sub-02"].exit_code == 0
    assert (settings.output_dir / "sub-02").read_text() == "done"
    assert (ended["sub-bad"].exit_code, ended["sub-bug"].exit_code) == (65, 1)
    assert ended["sub-bad"].message == "bad.nii.gz: damaged; copy it again."
    assert "please report it with" in ended["sub-bug"].message
    assert "ZeroDivisionError" in (settings.output_dir / "logs" / "crash-sub-bug.txt").read_text()
    assert "killed" in ended["sub-killed"].message
    assert exit_code(list(ended.values())) == 1


@pytest.mark.slow
def test_who_is_killed_while_logging_leaves_the_others(tmp_path: Path, settings: Settings) -> None:
    wanted = sessions(tmp_path, "loudkilled", "loud", "wordy", "01")
    # In a process of its own: what goes wrong here waits for ever.
    whole = multiprocessing.get_context("spawn").Process(
        target=run, args=(wanted, settings, process)
    )
    whole.start()
    whole.join(400)
    if whole.is_alive():
        whole.kill()
        whole.join()
    assert whole.exitcode == 0
    assert (settings.output_dir / "sub-01").read_text() == "done"
    assert (settings.output_dir / "sub-loud").read_text() == "done"
    assert (settings.output_dir / "sub-wordy").read_text() == "done"


@pytest.mark.slow
def test_long_words_are_heard_in_part_and_kept_whole(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "bids_qsmthal"):
        run(sessions(tmp_path, "wordy"), settings, process)
    assert [message.count("χ") for message in caplog.messages if "χ" in message] == [
        30_000,
        *2 * [MOST_CHARACTERS - len("sub-wordy ")],
    ]
    log_file = (settings.output_dir / "logs" / "sub-wordy_now.log").read_text()
    assert log_file.count("χ") == 3_180_000


def test_the_last_words_of_who_is_killed_are_heard(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "bids_qsmthal"):
        run(sessions(tmp_path, "loudkilled"), settings, process)
    assert "sub-loudkilled line 2999" in caplog.messages


@pytest.mark.slow
def test_what_a_killed_run_was_doing_ends_with_it(tmp_path: Path, settings: Settings) -> None:
    wanted = sessions(tmp_path, "orphan")
    killed = multiprocessing.get_context("spawn").Process(
        target=run, args=(wanted, settings, process)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    # Were it still at work, it would hold the participant's lock for five minutes.
    again = work(Session(tmp_path, "orphan"), settings, lambda *_: None, patience_s=60)
    assert again.exit_code == 0


def test_who_is_killed_starts_once_more_and_this_is_said(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ended = {o.name: o for o in run(sessions(tmp_path, "twice", "killed", "01"), settings, process)}
    again = "starts again: the process that worked on it was killed"
    assert f"sub-twice {again}" in caplog.messages
    assert f"sub-01 {again}" not in caplog.messages
    log_file = settings.output_dir / "logs" / "sub-twice_now.log"
    assert log_file.read_text().count(again) == 1
    assert ended["sub-twice"].exit_code == 0
    assert (ended["sub-killed"].cause, ended["sub-killed"].exit_code) == (Cause.KILLED, 75)
    assert "killed (SIGKILL)" in ended["sub-killed"].message
    assert ended["sub-01"].cause is None


@pytest.mark.slow
def test_who_is_killed_takes_no_neighbour_along(tmp_path: Path, settings: Settings) -> None:
    wanted = sessions(tmp_path, "loud", "killed", "loud2")
    assert [o.exit_code for o in run(wanted, settings, process)] == [0, 75, 0]
    for name in ("sub-loud", "sub-loud2"):
        log_file = settings.output_dir / "logs" / f"{name}_now.log"
        assert log_file.read_text().count("threads") == 1, "it ran once"


def test_want_of_memory_is_temporary_and_says_what_to_do(
    tmp_path: Path, settings: Settings
) -> None:
    (ended,) = run(sessions(tmp_path, "greedy"), settings, process)
    assert (ended.exit_code, ended.cause) == (75, Cause.REFUSED)
    assert "Unable to allocate 4.00 GiB" in ended.message
    assert "--nprocs or --mem" in ended.message
    assert not list((settings.output_dir / "logs").glob("crash-*"))


def command(wanted: list[Session], settings: Settings) -> None:
    """Do what the command does, in a process group of its own as in a terminal."""
    os.setsid()
    monkeypatched = pytest.MonkeyPatch()
    monkeypatched.setattr(cli, "run", lambda _: exit_code(run(wanted, settings, process)))
    sys.exit(cli.main([]))


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["group", "parent"])
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_one_signal_ends_everything(
    tmp_path: Path,
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
    sent: signal.Signals,
    code: int,
    *,
    to_all: bool,
) -> None:
    wanted = sessions(tmp_path, "endless1", "endless2", "01")
    whole = multiprocessing.get_context("spawn").Process(target=command, args=(wanted, settings))
    whole.start()
    until = time.monotonic() + 120
    while len(list(settings.output_dir.glob("*.begun"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert whole.pid
    (os.killpg if to_all else os.kill)(whole.pid, sent)
    whole.join(ENDS_S)
    assert whole.exitcode == code
    wait_until_none_runs(whole.pid, time.monotonic() + ENDS_S)
    assert not (settings.output_dir / "sub-01").exists(), "no other participant was started"
    for label in ("endless1", "endless2"):
        again = work(Session(tmp_path, label), settings, lambda *_: None)
        assert again.exit_code == 0, "its lock was given back"
    shown = capfd.readouterr().err
    assert shown.count("stopped by") == 1
    assert shown.rstrip().endswith("run the same command again to continue")
    assert "Traceback" not in shown
    assert "failed" not in shown


def test_a_lock_is_held_by_one_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "logs" / ".a.lock"
    with (
        alone(path, "in use", 0),
        pytest.raises(BusyError, match="in use"),
        alone(path, "in use", 0),
    ):
        pass
    with alone(path, "in use", 0):
        assert path.is_file()


def hold(path: Path, seconds: float) -> None:
    with alone(path, "in use", 0):
        path.with_name("held").touch()
        time.sleep(seconds)


def test_a_lock_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / ".a.lock"
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(path, 300))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.05)
    with pytest.raises(BusyError), alone(path, "in use", 0.2):
        pass
    holder.kill()
    with alone(path, "in use", 20):
        assert path.exists()
    holder.join()


def test_a_lock_that_is_a_link_writes_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("kept")
    (tmp_path / ".a.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(OutputError, match="cannot be written or locked"):
        alone(tmp_path / ".a.lock", "in use", 0).__enter__()
    assert (tmp_path / "theirs").read_text() == "kept"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def without(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", without)
    with alone(tmp_path / ".a.lock", "in use", 0):
        assert "does not support locks; do not start a second run" in caplog.text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_lock_for_which_there_is_no_room_asks_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """And not for a folder of one's own, as where rights are missing."""

    def without(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", without)
    with (
        pytest.raises(OutputError, match="free space or choose another folder"),
        alone(tmp_path / ".a.lock", "in use", 0),
    ):
        pass


def test_each_participant_has_a_log(tmp_path: Path, settings: Settings) -> None:
    run(sessions(tmp_path, "01"), settings, process)
    text = (settings.output_dir / "logs" / "sub-01_now.log").read_text()
    assert "threads 2" in text


def test_for_want_of_memory_a_participant_is_killed_before_the_run(
    tmp_path: Path, settings: Settings
) -> None:
    """The run then lives to say so, and what to do."""
    run(sessions(tmp_path, "01"), settings, process)
    text = (settings.output_dir / "logs" / "sub-01_now.log").read_text()
    assert f"score {min(int(KILL_SCORE.read_text()) + EARLIER, 1000)}." in text


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0, 0], 0), ([65, 0], 1), ([65, 65], 65), ([65, 66], 1), ([1], 1), ([66], 66)],
)
def test_the_status_says_how_the_run_ended(codes: list[int], expected: int) -> None:
    assert exit_code([Outcome(str(i), code, "", 0) for i, code in enumerate(codes)]) == expected


def test_participants_run_side_by_side_as_memory_allows() -> None:
    assert Resources(cores=16, threads=2, memory_bytes=64 * GIB).side_by_side(100) == 8
    assert Resources(cores=16, threads=2, memory_bytes=9 * GIB).side_by_side(100) == 2
    assert Resources(cores=1, threads=0, memory_bytes=GIB).side_by_side(100) == 1
    assert Resources(cores=8, threads=0, memory_bytes=64 * GIB).threads_each(2) == 4


def test_the_list_of_failures_is_that_of_all_runs(tmp_path: Path) -> None:
    keep_failures([Outcome("sub-02", 65, "damaged", 1), Outcome("sub-03", 0, "", 1)], tmp_path)
    keep_failures([Outcome("sub-01", 75, "killed", 1)], tmp_path)
    listed = json.loads((tmp_path / "failures.json").read_text())
    assert list(listed.items()) == [("sub-01", "killed"), ("sub-02", "damaged")]
    keep_failures([Outcome("sub-02", 0, "", 1)], tmp_path)
    assert json.loads((tmp_path / "failures.json").read_text()) == {"sub-01": "killed"}


def test_runs_that_end_together_all_list_their_failures(tmp_path: Path) -> None:
    names = [f"sub-{number:02d}" for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: keep_failures([Outcome(name, 65, "bad", 1)], tmp_path), names))
    assert list(json.loads((tmp_path / "failures.json").read_text())) == names


@pytest.mark.parametrize("damaged", ["{", "[]", "null"])
def test_a_damaged_list_of_failures_is_begun_anew(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "failures.json").write_text(damaged)
    keep_failures([Outcome("sub-01", 65, "bad", 1)], tmp_path)
    assert "a new one is started" in caplog.text
    assert json.loads((tmp_path / "failures.json").read_text()) == {"sub-01": "bad"}


def test_itk_and_linear_algebra_have_one_thread_whatever_a_participant_has() -> None:
    """More add up in the order in which they come (ITK), or wait for each other (OpenBLAS)."""
    found = thread_limits(4)
    one = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS"}
    assert {name for name, count in found.items() if count == "1"} == one
    assert found["NUMBA_NUM_THREADS"] == found["OMP_NUM_THREADS"] == "4"


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the C library of Linux")
def test_memory_that_was_freed_is_used_again() -> None:
    """Ten arrays one after the other: the pages of the first serve the nine others."""
    code = (
        "import resource, sys; import numpy as np\n"
        "from bids_qsmthal.execution.worker import keep_freed_memory\n"
        "if sys.argv[1] == 'kept': keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.empty(1)\n"
        "before = faults()\n"
        "for size in range(10): np.full((60 - size) * 2**18, size, np.float32)\n"
        "print(faults() - before)"
    )

    def pages(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert pages("kept") < pages("plain") / 3
