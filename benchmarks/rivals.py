"""Steps of a participant beside the programs that a user would take in their place.

    python benchmarks/rivals.py FOLDER [--label 01] [--deepbet PYTHON] [--samseg PYTHON]

FOLDER has ``bids/`` and ``truth/`` as ``bids_qsmthal simulate`` writes them. Every step runs in a
process of its own with one thread of ITK. ANTs is what antspyx brings, called as its scripts
``antsRegistrationSyN(Quick).sh`` do. deepbet and SAMSEG have needs of their own (PyTorch, NumPy 1):
name the Python of an environment that has them (``pip install deepbet``, ``pip install samseg``).
CPU-seconds are those of the step, of deepbet and SAMSEG of the whole program.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ants
import numpy as np
import pandas as pd

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.ants_bridge import to_ants
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.image import Image

THALAMI = {"atlas": (10, 49), "truth": (1, 2)}
"""Labels of both thalami: FreeSurfer's, and those of the simulator."""

LPS = np.array([-1.0, -1.0, 1.0])
"""ITK's world has x to the left and y to the back."""

SCRIPTS = ("antsRegistrationSyNQuick", "antsRegistrationSyN")


@dataclass(frozen=True, slots=True)
class Head:
    """The scans of a simulated participant, and what is true of them."""

    folder: Path
    label: str

    def scan(self, name: str) -> Image:
        """Return a raw image."""
        return nifti.load(self.path(name))

    def path(self, name: str) -> Path:
        """Return the file of a raw image."""
        return self.folder / "bids" / self._named("anat", f"{name}.nii.gz")

    def truth(self, name: str) -> Image:
        """Return a true image."""
        return nifti.load(self.folder / "truth" / self._named("", f"{name}.nii.gz"))

    def world(self, name: str) -> np.ndarray:
        """Return the way of a scan's points to those of T1w, 4x4."""
        path = self.folder / "truth" / f"sub-{self.label}" / "truth.json"
        return np.asarray(json.loads(path.read_text())[f"world_{name}_to_t1w"])

    def _named(self, part: str, ending: str) -> Path:
        return Path(f"sub-{self.label}") / part / f"sub-{self.label}_{ending}"


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Return the overlap of two masks."""
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def of_thalami(found: Image, head: Head) -> str:
    """Return how well labels of FreeSurfer's numbers show the thalami, in words."""
    true = np.isin(head.truth("space-T1w_desc-deepgray_dseg").data, THALAMI["truth"])
    mask = np.isin(found.data, THALAMI["atlas"])
    volume = 100 * (mask.sum() / true.sum() - 1)
    return f"thalami: Dice {dice(mask, true):.3f}, volume {volume:+.1f} %"


# Steps: each takes a head and returns what it costs and how right it is.


def moving(head: Head, kind: str) -> tuple[Image, np.ndarray]:
    """Return a scan and the true way of its points to those of T1w."""
    if kind == "gre":
        parts = [head.scan(f"echo-{n}_part-mag_MEGRE") for n in range(1, 5)]
        energy = np.sum([part.data.astype(np.float32) ** 2 for part in parts], axis=0)
        return parts[0].like(np.sqrt(energy)), head.world("gre")
    name = {"flair": "FLAIR", "gad": "ce-gadolinium_T1w"}[kind]
    return head.scan(name), head.world(kind)


def error_mm(head: Head, found: np.ndarray, world: np.ndarray) -> str:
    """Return the mean error over the brain, in words; ``found`` takes points as ``world`` does."""
    brain = head.truth("space-T1w_label-brain_mask")
    there = apply(brain.affine, np.argwhere(brain.data > 0)[::500].astype(float))
    points = apply(np.linalg.inv(world), there)
    return f"error {np.linalg.norm(apply(found, points) - there, axis=1).mean():.3f} mm"


def rigid_ours(head: Head, kind: str) -> tuple[float, str]:
    """Register as the app does, from the true brain of T1w."""
    image, world = moving(head, kind)
    t1w, brain = head.scan("T1w"), head.truth("space-T1w_label-brain_mask")
    start = time.process_time()
    found = anatomy.rigid_brains(t1w, image, brain, uneven=kind == "gre")
    return time.process_time() - start, error_mm(head, found.matrix, world)


def rigid_ants(head: Head, kind: str, script: str) -> tuple[float, str]:
    """Register as the script of ANTs does."""
    image, world = moving(head, kind)
    fixed, other = to_ants(head.scan("T1w")), to_ants(image)
    start = time.process_time()
    made = ants.registration(fixed, other, type_of_transform=f"{script}[r]", random_seed=1)
    spent = time.process_time() - start
    # Four points that are not in a plane say what the matrix is.
    corners = np.vstack([np.zeros(3), 50 * np.eye(3)])
    frame = pd.DataFrame(corners * LPS, columns=list("xyz"))
    moved = ants.apply_transforms_to_points(3, frame, made["fwdtransforms"]).to_numpy() * LPS
    inverse = np.eye(4)
    inverse[:3, 3] = moved[0]
    inverse[:3, :3] = (moved[1:] - moved[0]).T / 50
    return spent, error_mm(head, np.linalg.inv(inverse), world)


def template_ours(head: Head, _: str) -> tuple[float, str]:
    """Even out T1w and deform the template as the app does, in the true brain."""
    t1w, brain = head.scan("T1w"), head.truth("space-T1w_label-brain_mask")
    mask = brain.like(brain.data > 0)
    start = time.process_time()
    prepared = anatomy.prepare(t1w, brain=mask)
    return time.process_time() - start, of_thalami(prepared.labels, head)


def template_ants(head: Head, _: str, script: str) -> tuple[float, str]:
    """Deform the template as the script of ANTs does, and carry the labels of the atlas."""
    t1w, brain = head.scan("T1w"), head.truth("space-T1w_label-brain_mask")
    fixed = to_ants(t1w.like(np.where(brain.data > 0, t1w.data, 0).astype(np.float32)))
    start = time.process_time()
    made = ants.registration(
        fixed,
        to_ants(atlas.probability("T1w")),
        type_of_transform=f"{script}[s]",
        random_seed=1,
    )
    labels = atlas.template("desc-deepgray_dseg")
    carried = ants.apply_transforms(
        fixed,
        to_ants(labels.like(labels.data.astype(np.float32))),
        made["fwdtransforms"],
        interpolator="nearestNeighbor",
    )
    spent = time.process_time() - start
    return spent, of_thalami(t1w.like(carried.numpy().astype(np.int16)), head)


def brain_ours(head: Head, _: str) -> tuple[float, str]:
    """Find the brain with the network of deepbet as the app calls it."""
    t1w = head.scan("T1w")
    start = time.process_time()
    found = anatomy.brain_mask(t1w)
    spent = time.process_time() - start
    true = head.truth("space-T1w_label-brain_mask").data > 0
    return spent, f"brain: Dice {dice(found.data > 0, true):.3f}"


def segmentation_ours(head: Head, _: str) -> tuple[float, str]:
    """Make T1w ready and segment it as the app does; no lesions are filled."""
    t1w = head.scan("T1w")
    start = time.process_time()
    found = anatomy.segment(anatomy.prepare(t1w), None)
    return time.process_time() - start, of_thalami(found.deepgray, head)


STEPS: dict[str, Callable[[Head, str], tuple[float, str]]] = {
    "rigid, this app": rigid_ours,
    **{f"rigid, {script}[r]": partial(rigid_ants, script=script) for script in SCRIPTS},
    "template, this app": template_ours,
    # Not the full script: its correlation at full resolution takes many times as long.
    f"template, {SCRIPTS[0]}[s]": partial(template_ants, script=SCRIPTS[0]),
    "brain, this app": brain_ours,
    "segmentation, this app": segmentation_ours,
}


def kinds(step: str) -> tuple[str, ...]:
    """Return the scans that a step is done with."""
    return ("flair", "gad", "gre") if step.startswith("rigid") else ("t1w",)


def in_own_process(arguments: list[str]) -> tuple[str, float, float]:
    """Run a command; return what it prints, CPU-seconds and its peak memory in GiB."""
    alone = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(arguments, stdout=said, env={**os.environ, **alone})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: status {process.returncode}")
    return text, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


DEEPBET = "import sys; from deepbet import run_bet; run_bet([sys.argv[1]], [None], [sys.argv[2]])"


def others(head: Head, asked: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each program that has an environment of its own."""
    t1w = str(head.path("T1w"))
    with tempfile.TemporaryDirectory() as place:
        if asked.deepbet:
            made = f"{place}/mask.nii.gz"
            _, cpu_s, gib = in_own_process([asked.deepbet, "-c", DEEPBET, t1w, made])
            true = head.truth("space-T1w_label-brain_mask").data > 0
            right = f"brain: Dice {dice(nifti.load(Path(made)).data > 0, true):.3f}"
            yield line("brain, deepbet", "t1w", cpu_s, gib, right)
        if asked.samseg:
            program = str(Path(asked.samseg).parent / "run_samseg")
            _, cpu_s, gib = in_own_process([program, "-i", t1w, "-o", place, "--threads", "1"])
            found = nifti.load(Path(place) / "seg.mgz")
            yield line("segmentation, SAMSEG", "t1w", cpu_s, gib, of_thalami(found, head))


def line(step: str, kind: str, cpu_s: float, gib: float, right: str) -> str:
    """Return a line of the table."""
    return f"{step:38} {kind:6} {cpu_s:8.1f} CPU-s  {gib:5.2f} GiB  {right}"


def main() -> None:
    """Run every step in a process of its own, or one step in this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--label", default="01")
    parser.add_argument("--deepbet", help="a Python that has deepbet")
    parser.add_argument("--samseg", help="a Python that has samseg")
    parser.add_argument("--only", default="", help="steps whose names begin so")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="t1w", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    head = Head(asked.folder, asked.label)
    if asked.step:
        spent, right = STEPS[asked.step](head, asked.kind)
        # What is compiled before the first use is nobody's measure: ours once more.
        if asked.step.endswith("this app"):
            spent, right = STEPS[asked.step](head, asked.kind)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(line(asked.step, asked.kind, spent, peak, right))
        return
    for step in STEPS:
        for kind in kinds(step) if step.startswith(asked.only) else ():
            here = [sys.executable, __file__, str(asked.folder), "--label", asked.label]
            text, _, _ = in_own_process([*here, "--step", step, "--kind", kind])
            print(text.splitlines()[-1], flush=True)
    for text in others(head, asked):
        print(text, flush=True)


if __name__ == "__main__":
    main()
