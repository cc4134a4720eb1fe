"""How long a study of thousands takes to index, check, plan and compare, and how much memory.

    python benchmarks/scale.py [--participants 2000] [--sessions 2] [--folder DIR] [--like OUT]

The dataset holds the names and headers of real scans; their voxels are zeros that take no room.
With ``--like``, the output folder of a run with one participant (its first is taken), everybody
has the tables of that one under an own name, with measures that scatter by a tenth about its own
and a manifest, and the group level is measured, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_qsmthal.bids import manifest

ECHO_TIMES_S = (0.005, 0.010, 0.015, 0.020)
SCANS = ("T1w", "ce-gadolinium_T1w", "FLAIR")
MEASURES = "_measures.tsv"
LINKS = 60_000
"""To one file; ext4 takes 65,000."""


def write_study(root: Path, participants: int, sessions: int) -> int:
    """Write a study whose files are links to a few; return how many files it has."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "scale", "BIDSVersion": "1.10.0"}')
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    image = nib.Nifti1Image(np.zeros((48, 56, 44), np.int16), affine)
    for number, time_s in enumerate(ECHO_TIMES_S, 1):
        for part in ("mag", "phase"):
            sidecar = {"EchoTime": time_s, "MagneticFieldStrength": 3, "Units": "rad"}
            name = f"echo-{number}_part-{part}_MEGRE.json"
            (root / name).write_text(json.dumps(sidecar))
    endings = [Path(path.name).stem for path in sorted(root.glob("*_MEGRE.json"))]
    linked = 0
    rows = ["participant_id\tage\tsex\tdisease_duration\tdmt"]
    for who in range(1, participants + 1):
        # Any values that are not a combination of each other: 7, 11, 5 and 3 have no common factor.
        age, sex, years, treated = 20 + who % 11 * 4, "FM"[who % 5 > 2], who % 7, int(who % 3 > 0)
        rows.append(f"sub-{who:05d}\t{age}\t{sex}\t{years}\t{treated}")
        for visit in range(1, sessions + 1):
            name = f"sub-{who:05d}_ses-{visit}"
            folder = root / f"sub-{who:05d}" / f"ses-{visit}" / "anat"
            folder.mkdir(parents=True)
            for ending in (*endings, *SCANS):
                header = root.parent / f"{root.name}-scan-{linked // LINKS}.nii.gz"
                if not linked % LINKS:
                    nib.save(image, header)
                os.link(header, folder / f"{name}_{ending}.nii.gz")
                linked += 1
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return linked


def write_results(out: Path, like: Path, participants: int, sessions: int) -> None:
    """Give every participant and session the tables of the first one in ``like``."""
    rng = np.random.default_rng(20_000)
    source = min(like.glob("sub-*/anat"))
    theirs = source.parent.name
    texts = {
        path.name.removeprefix(theirs): path.read_text()
        for path in source.iterdir()
        if "_desc-qsmthal_" in path.name
    }
    for who in range(1, participants + 1):
        for visit in range(1, sessions + 1):
            subject, session = f"sub-{who:05d}", f"ses-{visit}"
            folder = out / subject / session / "anat"
            folder.mkdir(parents=True)
            name = f"{subject}_{session}"
            for ending, text in texts.items():
                rows = scattered(text, rng) if ending.endswith(MEASURES) else text
                rows = rows.replace(f"{theirs}\tn/a\t", f"{subject}\t{session}\t")
                (folder / f"{name}{ending}").write_text(rows.replace(theirs, name))
            manifest.write_of(out, name, folder)


def scattered(table: str, rng: np.random.Generator) -> str:
    """Return a table of measures with values that differ by a tenth, as those of people do."""
    head, *lines = table.splitlines()
    place = head.split("\t").index("value")
    rows = [line.split("\t") for line in lines]
    for row, factor in zip(rows, rng.normal(1.0, 0.1, len(rows)), strict=True):
        with contextlib.suppress(ValueError):  # n/a is no number
            row[place] = f"{float(row[place]) * factor:.6g}"
    return "\n".join([head, *("\t".join(row) for row in rows), ""])


def measure(words: list[str]) -> tuple[str, int]:
    """Run the app; return what it took in words, and its exit status."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "bids_qsmthal", *words], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    # The most of all commands so far: the first takes the least.
    took = f"{seconds:.1f} s ({cpu_s:.1f} CPU-s), {used.ru_maxrss / 2**20:.2f} GiB at most"
    return took, done.returncode


def main() -> None:
    """Print a line for each command: seconds, memory, exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the study is made (default: temporary)")
    parser.add_argument("--like", type=Path, metavar="OUT", help="whose results everybody has")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        root, out = Path(place) / "bids", Path(place) / "out"
        files = write_study(root, asked.participants, asked.sessions)
        print(f"{asked.participants} participants x {asked.sessions} sessions, {files} images")
        commands = {
            "dry run": [str(root), str(out), "participant", "--dry-run", "-q"],
            "check --quick": ["check", str(root), "--quick", "-q"],
        }
        if asked.like:
            write_results(out, asked.like, asked.participants, asked.sessions)
            commands["group level"] = [str(root), str(out), "group", "-q"]
        for name, words in commands.items():
            took, status = measure(words)
            print(f"{name}: {took}, status {status}", flush=True)


if __name__ == "__main__":
    main()
