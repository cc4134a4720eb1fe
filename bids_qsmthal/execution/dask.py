"""Participants on the workers of Dask: of this machine, or of a scheduler that runs already.

Dask itself starts a task again, on another worker, when the worker under it dies. A participant
that takes its worker along every time is given up after a few (``allowed-failures`` of Dask), and
the others go on.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import BusyError, ExitCode, UsageError
from bids_qsmthal.execution.outcome import Cause, Outcome, announce, killed
from bids_qsmthal.execution.signals import keyboard_left_to_the_run
from bids_qsmthal.execution.worker import thread_limits, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from distributed import Client, Future, Worker, WorkerPlugin

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution.worker import Process
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_S = 120
"""Longer than a worker that is cut off from its scheduler needs to end."""

REPLACEMENT_S = 600
"""How long a worker of this machine may be away when its process is replaced: starting one takes
half a minute where many start at once, and Dask would give the place up after 15 s, for good."""

CANCEL_S = 1.0
"""How soon a worker sees that its task was cancelled."""

ANSWER_S = 20
"""How long a scheduler may take to answer."""

KILLED = (
    "its worker died each time, most often for lack of memory; give workers more, "
    "and run the same command again"
)


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session on a worker and return how each ended, in the order given.

    Raises
    ------
    UsageError
        Dask is not installed.
    BusyError
        No scheduler answers at the address.
    """
    with _client(settings, len(sessions)) as client:
        log.info(
            "%d to process; Dask's dashboard: %s",
            *(len(sessions), client.dashboard_link),
            extra={"to_process": len(sessions)},
        )
        client.forward_logging("bids_qsmthal", settings.log_level)
        ended = _run(client, sessions, settings, process)
        # Dask also blames those that only waited on a worker that died: each goes again, alone.
        for session in (s for s in sessions if _killed(ended.get(s.name))):
            if settings.stop_on_first_crash:
                break
            ended |= _run(client, [session], settings, process)
        client.unforward_logging("bids_qsmthal")
    for done, outcome in enumerate((end for end in ended.values() if _killed(end)), 1):
        announce(outcome, done, len(sessions))
    return [ended[session.name] for session in sessions if session.name in ended]


def _run(
    client: Client, sessions: Sequence[Session], settings: Settings, process: Process
) -> dict[str, Outcome]:
    """Submit sessions and return how they ended, those whose workers died included."""
    from distributed import as_completed  # noqa: PLC0415 - an extra

    # One group of keys: what has no worker yet waits at the scheduler, not behind a neighbour.
    group = f"participant-{uuid.uuid4().hex}"
    futures = {
        client.submit(_task, session, settings, process, key=(group, session.name)): session.name
        for session in sessions
    }
    ended: dict[str, Outcome] = {}
    try:
        for future in as_completed(futures):
            outcome = _outcome(futures[future], future)
            future.release()  # else it is computed again when the worker that holds it dies
            ended[outcome.name] = outcome
            if not _killed(outcome):
                announce(outcome, len(ended), len(sessions))
            if outcome.exit_code and settings.stop_on_first_crash:
                break
    finally:  # all that is left where the run is stopped, nothing otherwise
        client.cancel(list(futures), force=True)
    return ended


def _killed(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.cause is Cause.KILLED


def _task(session: Session, settings: Settings, process: Process) -> Outcome:
    """Process a session on a worker, which has to have one thread: logs belong to a process."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker = get_worker()
    if worker.state.nthreads != 1:
        message = (
            f"{session.name}: Dask worker {worker.address} has {worker.state.nthreads} threads, "
            "expected 1; start it with --nthreads 1 --nworkers N."
        )
        return Outcome(session.name, ExitCode.USAGE, message, 0, Cause.REFUSED)
    # The log of a participant keeps all; what is shown the handlers decide.
    logging.getLogger("bids_qsmthal").setLevel(min(settings.log_level, logging.DEBUG))
    with _ended_when_cancelled(worker):
        return work(session, settings, process, patience_s=PATIENCE_S)


@contextmanager
def _ended_when_cancelled(worker: Worker) -> Iterator[None]:
    """End this process when its task is cancelled: Dask itself would let it run on.

    A nanny starts another worker in its place; where there is none, the worker is left alone.
    """
    key, done = worker.get_current_task(), threading.Event()

    def watch() -> None:
        while not done.wait(CANCEL_S):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                os._exit(ExitCode.TEMPORARY)

    if worker.nanny:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _outcome(name: str, future: Future[Outcome]) -> Outcome:
    """Return how a session ended; what Dask itself raised instead becomes a failure of its own."""
    from distributed import KilledWorker  # noqa: PLC0415 - an extra

    # Before exception(), which raises for a future that was cancelled.
    if future.cancelled():
        return Outcome(
            *(name, ExitCode.TEMPORARY, "it was cancelled by the scheduler of Dask", 0),
            cause=Cause.CANCELLED,
        )
    error = future.exception()
    if error is None:
        return future.result()
    # Dask gave it up after its worker had died several times.
    if isinstance(error, KilledWorker):
        return killed(name, KILLED)
    message = f"{type(error).__name__}: {error} - does every worker have this version of the app?"
    return Outcome(name, ExitCode.FAILED, " ".join(message.split()), 0, Cause.CRASHED)


@contextmanager
def _client(settings: Settings, participants: int) -> Iterator[Client]:
    """Connect to the scheduler that was named, or start one with workers on this machine."""
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            "--executor dask needs Dask, which is not installed; "
            "pip install 'bids_qsmthal[dask]', or use --executor local."
        ) from error
    address = settings.placement.scheduler_address
    if not address:
        with _cluster(settings, participants) as cluster, distributed.Client(cluster) as client:
            client.register_plugin(_silent())
            yield client
        return
    where: dict[str, Any] = (
        {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    )
    try:
        client = distributed.Client(**where, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise BusyError(
            f"--scheduler-address {address}: no Dask scheduler answers within {ANSWER_S} s; "
            "start it, or correct the address (tcp://HOST:PORT, or a scheduler file)."
        ) from error
    with client:
        yield client


@contextmanager
def _cluster(settings: Settings, participants: int) -> Iterator[Any]:
    """Start workers on this machine, one thread each, within the budget of the run."""
    import dask  # noqa: PLC0415 - an extra
    from distributed import LocalCluster  # noqa: PLC0415 - an extra

    threads = settings.resources.threads_each(participants)
    choices = {
        "temporary-directory": str(settings.work_dir / "dask"),
        "distributed.deploy.lost-worker-timeout": REPLACEMENT_S,
    }
    _be_silent()
    with dask.config.set(choices):
        with keyboard_left_to_the_run():
            cluster = LocalCluster(
                n_workers=settings.resources.side_by_side(participants),
                # Logs, locks and thread limits belong to a process: one participant each.
                threads_per_worker=1,
                # As many run as memory allows; one that swells a little is no reason to kill it.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                dashboard_address=os.environ.get("DASK_DISTRIBUTED__DASHBOARD_ADDRESS", ":0"),
                env=thread_limits(threads),
            )
        with cluster:
            yield cluster


def _be_silent() -> None:
    """Keep Dask's own log of this process quiet, for good.

    How a participant ended its outcome says. What Dask says of a scheduler that is being stopped
    are tracebacks that nobody can act on. ``silence_logs`` alone ends when a worker or the cluster
    closes, and some of them come after it.
    """
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _silent() -> WorkerPlugin:
    """Return what makes the workers of this machine quiet, those started later, too."""
    from distributed import WorkerPlugin  # noqa: PLC0415 - an extra

    class Silent(WorkerPlugin):
        def setup(self, worker: Worker) -> None:  # noqa: ARG002 - passed by name
            _be_silent()

    return Silent()
