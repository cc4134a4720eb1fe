"""Processes that a test started: which of them still run."""

import contextlib
import os
import time

import psutil


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
