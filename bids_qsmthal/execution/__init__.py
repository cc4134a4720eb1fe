"""Where participants run: each in a process of its own, within the budget of the run."""

from bids_qsmthal.execution.local import run
from bids_qsmthal.execution.outcome import Outcome, exit_code

__all__ = ["Outcome", "exit_code", "run"]
