"""What one participant costs at this state of the code and at another, side by side in one run.

    python benchmarks/speed.py BIDS [--label 01] [--before COMMIT] [--rounds 1] [--cores 1]
    python benchmarks/speed.py BIDS --profile

``bids_qsmthal simulate DIR`` makes a dataset. States alternate, so that a machine that grows busy
slows both. Times compare between machines by the load of FFTs that is measured in the same run.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a participant took, and the lines of its log about CPU time."""

    cpu_s: float
    wall_s: float
    peak_gib: float
    stages: tuple[str, ...]

    def __str__(self) -> str:
        ratio = self.wall_s / self.cpu_s
        return (
            f"{self.cpu_s:.1f} CPU-s, {self.wall_s:.1f} s ({ratio:.2f} of it), "
            f"{self.peak_gib:.2f} GiB"
        )


def processed(code: Path, bids: Path, label: str, cores: int) -> Cost:
    """Process one participant with the code of a folder, everything anew."""
    with tempfile.TemporaryDirectory(prefix="speed-") as place:
        words = [str(bids), f"{place}/out", "participant", "--participant-label", label]
        words += ["--nprocs", str(cores), "-w", f"{place}/work", "-v"]
        start = time.monotonic()
        with Path(place, "log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bids_qsmthal", *words],
                env={**os.environ, "PYTHONPATH": str(code)},
                cwd=place,  # ``-m`` looks into the current folder first: it would find this state
                stdout=log,
                stderr=log,
            )
            # Of the process and of all that it waited for; ``getrusage`` would add earlier rounds.
            _, status, used = os.wait4(process.pid, 0)
            wall_s = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            lines = log.read().splitlines()
    if process.returncode:
        raise SystemExit("\n".join([*lines[-5:], f"status {process.returncode}"]))
    stages = tuple(line for line in lines if line.endswith("CPU-s"))
    return Cost(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 2**20, stages)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check a commit out into a folder of its own for a while."""
    with tempfile.TemporaryDirectory(prefix="before-") as place:
        folder = Path(place) / "code"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(folder), commit], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def fft_load_s() -> float:
    """Return the CPU time of 60 pairs of real FFTs of 256 x 256 x 160, one thread."""
    data = np.random.default_rng(0).normal(size=(256, 256, 160)).astype(np.float32)
    start = time.process_time()
    for _ in range(60):
        fft.irfftn(fft.rfftn(data), data.shape)
    return time.process_time() - start


def compare(states: dict[str, Path], asked: argparse.Namespace) -> None:
    """Print a line for every state and round, and its stages."""
    load_s = fft_load_s()
    print(f"60 pairs of FFTs: {load_s:.1f} CPU-s", flush=True)
    for code in states.values():
        # Compiled functions are kept beside the code: the first run is nobody's measure.
        processed(code, asked.bids, asked.label, asked.cores)
    for number in range(1, asked.rounds + 1):
        for name, code in states.items():
            cost = processed(code, asked.bids, asked.label, asked.cores)
            print(f"{number} {name}: {cost}, {cost.cpu_s / load_s:.1f} times the FFTs", flush=True)
            print(*(f"    {line}" for line in cost.stages), sep="\n", flush=True)


def profile(asked: argparse.Namespace) -> None:
    """Print the functions in which a participant spends most CPU time."""
    from bids_qsmthal import execution  # noqa: PLC0415
    from bids_qsmthal.app.cli import main as app  # noqa: PLC0415
    from bids_qsmthal.execution import worker  # noqa: PLC0415

    # CPU time of all threads counts for the function that waits for them.
    watch = cProfile.Profile(time.process_time)

    def here(sessions, settings, process):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return [watch.runcall(worker.work, one, settings, process) for one in sessions]

    # In this process: workers are others, which a profile does not follow.
    execution.run = here
    with tempfile.TemporaryDirectory(prefix="speed-") as place:
        words = [str(asked.bids), f"{place}/out", "participant", "-w", f"{place}/work", "-q"]
        status = app([*words, "--participant-label", asked.label, "--nprocs", "1"])
    pstats.Stats(watch).sort_stats("tottime").print_stats(40)
    raise SystemExit(status)


def main() -> None:
    """Compare two states, or profile this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("--label", default="01")
    parser.add_argument("--before", help="a commit (default: this state alone)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    if asked.profile:
        profile(asked)
    elif asked.before is None:
        compare({"now": HERE}, asked)
    else:
        with checked_out(asked.before) as folder:
            compare({"before": folder, "now": HERE}, asked)


if __name__ == "__main__":
    main()
