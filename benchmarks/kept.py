"""What it costs to read the kept results of a participant, against another version of the app.

    python benchmarks/kept.py BIDS_DIR FOLDER [--against CHECKOUT] [--times 5] [APP OPTIONS]

Processes BIDS_DIR once in FOLDER by this version and by the one in CHECKOUT, then reads what each
kept some times, in turn and each in a process of its own: CPU seconds of all stages, which are
reused, and the most memory that the process took until then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
PROBE = """
import importlib, json, resource, sys, time

def load(*places):
    # The oldest place first: an editable install may add the newest to an older checkout.
    for module, *names in places:
        try:
            return [getattr(importlib.import_module(module), name) for name in names]
        except ImportError:
            pass

(kind,) = load(("bids_qsmthal.stages", "Stages"), ("bids_qsmthal.participant.runner", "Runner"))
words = ("parse", "settings_from")
parse, settings_from = load(("bids_qsmthal.cli", *words), ("bids_qsmthal.app.cli", *words))
(find_sessions,) = load(
    ("bids_qsmthal.dataset", "find_sessions"), ("bids_qsmthal.bids.dataset", "find_sessions")
)
from bids_qsmthal import participant
run, spent = kind.run, []

def timed(self, *args, **kwargs):
    begin = time.process_time()
    result = run(self, *args, **kwargs)
    spent.append(time.process_time() - begin)
    return result

kind.run = timed

class StagesDone(Exception):
    pass

def stop(*_):
    raise StagesDone

# What follows the stages draws pages, which is no part of reading.
participant.quality.checks = stop
settings = settings_from(parse(sys.argv[1:]), sys.argv[1:])
try:
    for session in find_sessions(settings.bids_dir):
        participant.process(session, settings)
except StagesDone:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps([sum(spent), peak, len(spent)]))
"""


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which Python imports a checkout."""
    return {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}


def read(checkout: Path, words: list[str]) -> tuple[float, float, int]:
    """Return CPU seconds, the most memory (MiB), and the number of stages."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        cwd=checkout,  # with -c, Python imports from there first
        env=environment(checkout),
        capture_output=True,
        text=True,
        check=True,
    )
    cpu_s, peak_mib, stages = json.loads(done.stdout.splitlines()[-1])
    return cpu_s, peak_mib, stages


def main() -> None:
    """Print a line for each version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", type=Path, help="another checkout of the app")
    parser.add_argument("--times", type=int, default=5)
    asked, options = parser.parse_known_args()
    versions = {"this": HERE} | ({"other": asked.against} if asked.against else {})
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in versions}
    words = {
        name: [
            *(str(asked.bids.resolve()), str((asked.folder / name).resolve()), "participant"),
            *("-w", str((asked.folder / f"work-{name}").resolve()), "--nprocs", "1", *options),
        ]
        for name in versions
    }
    for name, checkout in versions.items():
        command = [sys.executable, "-m", "bids_qsmthal", *words[name], "-q"]
        subprocess.run(command, cwd=checkout, env=environment(checkout), check=True)
    for _ in range(asked.times):
        for name, checkout in versions.items():
            found[name].append(read(checkout, [*words[name], "--reports-only"]))
    for name, runs in found.items():
        cpu_s, peak_mib = (float(np.median([run[place] for run in runs])) for place in (0, 1))
        print(f"{name}: {runs[0][2]} stages, {cpu_s:.2f} CPU-s, {peak_mib:.0f} MiB at most")


if __name__ == "__main__":
    main()
