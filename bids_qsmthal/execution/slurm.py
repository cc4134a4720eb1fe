"""Participants as the tasks of Slurm job arrays, through submitit.

submitit writes the job script, hands Python values to the jobs and brings results back. Ours is
what it leaves open: a participant that the cluster killed (memory, time, a node that failed) goes
again with twice the memory, and finds its finished stages; and states are read from ``squeue``,
because a cluster without accounting has no ``sacct``.

Jobs need what this process has: the same Python and the same folders, on a file system that the
nodes share.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import BusyError, QsmthalError, UsageError
from bids_qsmthal.execution import caches
from bids_qsmthal.execution.outcome import Outcome, announce, killed
from bids_qsmthal.execution.signals import not_interrupted
from bids_qsmthal.execution.worker import thread_limits, work
from bids_qsmthal.settings import PARTICIPANT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from submitit import SlurmExecutor

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution.worker import Process
    from bids_qsmthal.settings import Settings

    Job = Any  # of submitit, which types the result of a job by what was submitted

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a participant is tried, each time with twice the memory of the time before."""

ARRAY_SIZE = 1000
"""Tasks of one array: what a cluster allows that was left as it came."""

PATIENCE_S = 120
"""How long a task waits for the one before it, on the same participant, to be gone."""

MINUTES = 8 * 60
"""Time limit of a task, unless --slurm-args has --time."""

POLL_S = 3.0
LAG_S = 15.0
"""How long a result may take to be seen through a network file system."""

UNLISTED_S = 120.0
"""How long a job that squeue has never listed may be one that it does not list yet."""

# Not PREEMPTED: Slurm may queue such a job again. One that it does not is soon listed no more.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE"),
    *("FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"),
}


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session in a task of its own and return how each ended, in the order given.

    Raises
    ------
    UsageError
        submitit is not installed, this machine has no Slurm, or Slurm refuses the job.
    """
    ended: dict[str, Outcome] = {}
    lost: dict[str, Outcome] = {}
    waiting = list(sessions)
    for attempt in range(ATTEMPTS):
        # Doubled: what the kernel kills for memory would be killed again with the same.
        megabytes = _megabytes(settings) * 2**attempt
        with _none_left_behind() as pending:
            try:
                _submit(pending, waiting, (settings, process), megabytes)
            except UsageError as error:
                if not lost:
                    raise
                log.error("no further attempt: %s", error)
                break
            lost = _collect(pending, settings, megabytes, ended)
        waiting = [session for session in waiting if session.name in lost]
        if not waiting or _to_stop(ended, settings):
            break
    for name, outcome in lost.items():
        ended[name] = outcome
        announce(outcome, len(ended), len(sessions))
    return [ended[session.name] for session in sessions if session.name in ended]


def call(function: Callable[[Settings], object], settings: Settings) -> None:
    """Run one function of the settings, such as the group level, as a job and wait for it.

    Raises
    ------
    QsmthalError
        What the function raised.
    BusyError
        The cluster killed the job.
    """
    executor = _executor(settings, _megabytes(settings))
    with _none_left_behind() as pending:
        with not_interrupted():
            job = _submitted(executor, _called, [(function, settings)])[0]
            pending["group"] = job
        log.info("the group level runs as job %s", job.job_id)
        for _, _, left in _as_over(pending):
            if not left:
                ended = _killed("group", job, _megabytes(settings))
                raise BusyError(f"group level: {ended.message}")
    if error := job.result():
        raise error


def _called(function: Callable[[Settings], object], settings: Settings) -> QsmthalError | None:
    _prepare(settings)
    try:
        function(settings)
    except QsmthalError as error:
        return error
    return None


def _task(session: Session, settings: Settings, process: Process) -> Outcome:
    _prepare(settings)
    return work(session, settings, process, patience_s=PATIENCE_S)


def _prepare(settings: Settings) -> None:
    """Prepare a task: it ends when told to, and its log goes where submitit keeps it."""
    # submitit would ignore what ends a job that is cancelled, and hold its lock until it is killed.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    root = logging.getLogger("bids_qsmthal")
    root.setLevel(min(settings.log_level, logging.DEBUG))
    handler = logging.StreamHandler()
    handler.setLevel(settings.log_level)
    root.addHandler(handler)


@contextmanager
def _none_left_behind() -> Iterator[dict[str, Job]]:
    """Keep the jobs that are not over, by name, and cancel what is left of them at the end."""
    pending: dict[str, Job] = {}
    try:
        yield pending
    finally:
        # Task 7 of array 123 is 123_7; scancel 123 ends all of them in one call.
        if arrays := sorted({job.job_id.partition("_")[0] for job in pending.values()}):
            subprocess.run(["scancel", *arrays], capture_output=True, check=False)  # noqa: S603, S607


def _submit(
    pending: dict[str, Job],
    sessions: Sequence[Session],
    work_on: tuple[Settings, Process],
    megabytes: int,
) -> None:
    """Submit arrays of tasks, and add the task of each session to those pending."""
    executor = _executor(work_on[0], megabytes)
    for start in range(0, len(sessions), ARRAY_SIZE):
        some = sessions[start : start + ARRAY_SIZE]
        with not_interrupted():
            tasks = _submitted(executor, _task, [(session, *work_on) for session in some])
            pending |= {session.name: job for session, job in zip(some, tasks, strict=True)}
        log.info(
            "%d to process: Slurm job %s, %d MB each",
            *(len(some), tasks[0].job_id.partition("_")[0], megabytes),
            extra={"to_process": len(sessions)},
        )


def _submitted(
    executor: SlurmExecutor, function: Callable[..., object], calls: Sequence[tuple[Any, ...]]
) -> list[Job]:
    from submitit.core.utils import FailedJobError  # noqa: PLC0415 - an extra

    try:
        return list(executor.map_array(function, *zip(*calls, strict=True)))
    except FailedJobError as error:
        line = " ".join(str(error).split())
        raise UsageError(f"Slurm does not take the job ({line}); correct --slurm-args.") from error


def _executor(settings: Settings, megabytes: int) -> SlurmExecutor:
    try:
        import submitit  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            "--executor slurm needs submitit, which is not installed; "
            "pip install 'bids_qsmthal[slurm]', or use --executor local."
        ) from error
    if not (shutil.which("sbatch") and shutil.which("srun")):
        raise UsageError(
            "--executor slurm: this machine has no sbatch; "
            "start the run where jobs are submitted, or use --executor local."
        )
    threads = settings.resources.threads or 1
    environment = thread_limits(threads) | caches.environment(settings.work_dir)
    executor = submitit.SlurmExecutor(folder=settings.work_dir / "slurm")
    executor.update_parameters(
        job_name="bids_qsmthal",
        time=MINUTES,
        mem=f"{megabytes}M",
        cpus_per_task=threads,
        setup=[f"export {name}={shlex.quote(value)}" for name, value in environment.items()],
        # An option without a value, such as --exclusive, is True to submitit. --mem is left out:
        # it doubles with each attempt.
        additional_parameters={
            name: value or True for name, value in settings.placement.slurm_options if name != "mem"
        },
    )
    return executor


def _megabytes(settings: Settings) -> int:
    """Return the memory of a first attempt: the user's ``--mem`` for Slurm, or our own bound."""
    word = dict(settings.placement.slurm_options).get("mem", f"{PARTICIPANT_BYTES // 2**20}M")
    number, unit = (word[:-1], word[-1].upper()) if not word.isdigit() else (word, "M")
    # Slurm's units are powers of 1024, and a bare number is in MB.
    factors = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}
    if unit not in factors or not number.isdigit():
        raise UsageError(f"--slurm-args --mem={word}: is not a size; write 4000M or 4G.")
    return max(1, int(int(number) * factors[unit]))


def _collect(
    pending: dict[str, Job], settings: Settings, megabytes: int, ended: dict[str, Outcome]
) -> dict[str, Outcome]:
    """Add the outcomes of tasks to those that ended, and return those that the cluster killed."""
    lost: dict[str, Outcome] = {}
    total = len(ended) + len(pending)
    for name, job, left in _as_over(pending):
        if left:
            ended[name] = job.result()
            announce(ended[name], len(ended), total)
        else:
            lost[name] = _killed(name, job, megabytes)
            log.warning("%s: its task was killed, with %d MB", name, megabytes)
        if _to_stop(ended, settings):
            break
    return lost


def _as_over(pending: dict[str, Job]) -> Iterator[tuple[str, Job, bool]]:
    """Yield the name of each job that is over, the job, and whether it left a result."""
    listed: set[str] = set()
    begun = time.monotonic()
    while pending:
        states = _states()
        listed |= (states or {}).keys()
        patient = time.monotonic() - begun < UNLISTED_S
        for name, job in list(pending.items()):
            # A busy controller lists a job some time after it took it. What was listed and is no
            # more, or was never, has ended.
            unlisted = "PENDING" if patient and job.job_id not in listed else "COMPLETED"
            if (left := _left(job, states, unlisted)) is not None:
                del pending[name]
                yield name, job, left
        time.sleep(POLL_S if pending else 0)


def _left(job: Job, states: Mapping[str, str] | None, unlisted: str) -> bool | None:
    """Return whether a job left a result; None while it has not ended, or Slurm is silent.

    Parameters
    ----------
    job, states
        The job, and the states that Slurm lists.
    unlisted
        What a job is taken for that is not among them.
    """
    # The result first: a job may have left it while squeue is silent or lags behind.
    if job.paths.result_pickle.is_file():
        return True
    if states is None:
        return None
    state = states.get(job.job_id, unlisted)
    if state not in ENDED:
        return None
    # A network file system may show the file some seconds after the job has ended.
    return state == "COMPLETED" and _appears(job)


def _appears(job: Job) -> bool:
    """Return whether the result of a job that is over can be seen, now or a little later."""
    until = time.monotonic() + LAG_S
    while not job.paths.result_pickle.is_file():
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True


def _states() -> dict[str, str] | None:
    """Return the states of this user's jobs, None while Slurm does not answer."""
    # --array: one line for each task. All states, or what has just ended would be missing.
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T"]
    asked = subprocess.run(  # noqa: S603 - no word of the user is in it
        [*command, f"--user={os.getuid()}"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        log.warning("squeue does not answer: %s", " ".join(asked.stderr.split()))
        return None
    lines = (line.split() for line in asked.stdout.splitlines())
    return {line[0]: line[1] for line in lines if len(line) == 2}


def _killed(name: str, job: Job, megabytes: int) -> Outcome:
    state = (_states() or {}).get(job.job_id, "gone from the queue")
    message = (
        f"Slurm ended its task {job.job_id} ({state.lower()}), which had {megabytes} MB, most "
        f"often for lack of memory or time; see {job.paths.stderr}, and give more with "
        "--slurm-args '--mem=... --time=...'"
    )
    return killed(name, message)


def _to_stop(ended: Mapping[str, Outcome], settings: Settings) -> bool:
    return settings.stop_on_first_crash and any(end.exit_code for end in ended.values())
