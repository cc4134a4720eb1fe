"""Where participants run: processes of this machine, workers of Dask, or jobs of Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_qsmthal.execution.failures import keep_failures
from bids_qsmthal.execution.outcome import Outcome, exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.execution.worker import Process
    from bids_qsmthal.settings import Settings

__all__ = ["Outcome", "call", "exit_code", "keep_failures", "run"]

# Each way is imported where it is chosen: two of them need an optional library.


def run(sessions: Sequence[Session], settings: Settings, process: Process) -> list[Outcome]:
    """Process every session where the settings say and return how each ended, in their order.

    A participant that fails, crashes or is killed leaves the others untouched.

    Raises
    ------
    UsageError
        The executor is not installed or cannot work here.
    BusyError
        The scheduler of Dask does not answer.
    """
    match settings.placement.executor:
        case "local":
            from bids_qsmthal.execution import local  # noqa: PLC0415

            return local.run(sessions, settings, process)
        case "dask":
            from bids_qsmthal.execution import dask  # noqa: PLC0415

            return dask.run(sessions, settings, process)
        case "slurm":
            from bids_qsmthal.execution import slurm  # noqa: PLC0415

            return slurm.run(sessions, settings, process)


def call(function: Callable[[Settings], object], settings: Settings) -> None:
    """Run a function of the settings, such as the group level: here, or as a job of Slurm.

    Raises
    ------
    QsmthalError
        What the function raised, also when it ran elsewhere.
    """
    if settings.placement.executor == "slurm":
        from bids_qsmthal.execution import slurm  # noqa: PLC0415

        slurm.call(function, settings)
    else:
        function(settings)
