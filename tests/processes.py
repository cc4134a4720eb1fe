"""Processes that a test started: which of them still run."""

import contextlib
import os
import time

import psutil

ENDS_S = 120.0
"""Until a run that was stopped must have ended on the busiest machine. What it did never ends by
itself, so that waiting proves as much as a clock would; an idle machine takes a second."""


def running(group: int) -> list[str]:
    """Return the processes of a group that still run.

    One that was killed counts no more, although its number stays taken until its parent, or the
    first process of a container where its parent is gone, has asked how it ended.
    """
    left = []
    for process in psutil.process_iter(["cmdline", "status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                left.append(f"{process.pid} {process.info['cmdline']}")
    return left


def wait_until_none_runs(group: int, until: float) -> None:
    """Wait for the last process of a group, until a moment of the monotonic clock at most."""
    while left := running(group):
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.1)
