"""How long a run that is stopped by one signal takes to end: here, with Dask and with Slurm.

    python benchmarks/stopping.py BIDS_DIR FOLDER [--executors local dask slurm] [--times 3]
        [--after 5] [APP OPTIONS]

Starts the command on BIDS_DIR, with output and work in FOLDER, in a process group of its own as a
terminal does. Some seconds after the first stage of a participant began, the group gets SIGINT, as
by Ctrl-C, or SIGTERM. A line for each says when the command had ended, when the last process of it
had, wherever it ran, and with Slurm when its last job had left the queue. Processes are known by a
variable of the environment, which those of Dask and of Slurm have, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "BIDS_QSMTHAL_STOPPED"
LONGEST_S = 600.0
STEP_S = 0.02
BEGUN = "[1/"
"""What the log says when the first stage of a participant begins."""


def marked(value: str) -> list[int]:
    """Return the processes, but for those that only wait for being asked, that have the mark."""
    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(psutil.Error):
            if process.info["status"] != psutil.STATUS_ZOMBIE:
                found += [process.pid] if process.environ().get(MARK) == value else []
    return found


def jobs() -> str:
    """Return the jobs of the app that Slurm still lists as running or waiting."""
    if not shutil.which("squeue"):
        return ""
    asked = ["squeue", "--noheader", "--name=bids_qsmthal", "--states=all", "--format=%T"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return " ".join(state for state in said if state in {"PENDING", "RUNNING", "COMPLETING"})


def wait(what: str, goes_on: Callable[[], object]) -> float:
    """Wait while something goes on, and return for how many seconds."""
    start = time.monotonic()
    while goes_on():
        if time.monotonic() - start > LONGEST_S:
            raise SystemExit(f"{what}: not within {LONGEST_S:.0f} s")
        time.sleep(STEP_S)
    return time.monotonic() - start


def stop(words: list[str], out: Path, after_s: float, sent: signal.Signals) -> str:
    """Start a run, stop it in its first stage, and say in how many seconds what had ended."""
    mark = uuid.uuid4().hex
    with (out.parent / f"{out.name}.log").open("w") as said:
        command = subprocess.Popen(
            [sys.executable, "-m", "bids_qsmthal", *words],
            env=os.environ | {MARK: mark},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    logs = out / "logs"
    wait("a stage", lambda: not any(BEGUN in log.read_text() for log in logs.glob("sub-*.log")))
    time.sleep(after_s)
    if command.poll() is not None:
        raise SystemExit(f"{said.name}: the run ended before it was stopped")
    start = time.monotonic()
    os.killpg(command.pid, sent)
    ended_s = wait("the command", lambda: command.poll() is None)
    wait("its processes", lambda: marked(mark))
    gone_s = time.monotonic() - start
    wait("its jobs", jobs)
    listed_s = time.monotonic() - start
    return (
        f"{sent.name}: command {ended_s:.1f} s (status {command.returncode}), "
        f"last process {gone_s:.1f} s, last job {listed_s:.1f} s"
    )


def main() -> None:
    """Print a line for each run that was stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--executors", nargs="+", default=["local", "dask"])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--after", type=float, default=5.0, help="seconds (default: 5)")
    asked, options = parser.parse_known_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for executor in asked.executors:
        for number in range(2 * asked.times):
            out = asked.folder.resolve() / f"{executor}-{number}"
            words = [str(asked.bids.resolve()), str(out), "participant", *options]
            words += ["-w", str(out / "work")]
            words += [] if executor == "local" else ["--executor", executor]
            sent = (signal.SIGINT, signal.SIGTERM)[number % 2]
            print(f"{executor}, {stop(words, out, asked.after, sent)}", flush=True)


if __name__ == "__main__":
    main()
