"""Lesions on FLAIR and enhancing lesions against truth.

python benchmarks/lesions.py cohort FOLDER [--lesion-free N] [--participants N] [--seed N]
python benchmarks/lesions.py head --t1w T1w.nii.gz --flair FLAIR.nii.gz --truth mask.nii.gz
    --brain brain.nii.gz --priors GM.nii.gz WM.nii.gz CSF.nii.gz --labels dseg.nii.gz
    [--flair-to-t1w matrix.txt]

``cohort`` simulates T1w, post-contrast T1w and FLAIR (slices of 1, 3 and 5 mm in turns) of people
without lesions and of people with 0.3 to 50 mL, four of them enhancing from 1 mL on, finds the
brain, registers and segments as the app does, and writes what was found of each person
(``participants.tsv``) and of each lesion (``lesions.tsv``) to FOLDER. ``head`` scores one head
that is prepared: all but FLAIR on the grid of the T1w; the matrix takes the world of FLAIR to that
of the T1w.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal import anatomy, lesions, simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.files import write_tsv
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions.growth import components
from bids_qsmthal.participant.structural import lesion_context

Mask = NDArray[np.bool_]

LESION_ML = (0.3, 50.0)
FLAIR_MM = (1, 3, 5)
ENHANCING, ENHANCING_FROM_ML = 4, 1.0
ENHANCING_RADIUS_MM = (1.5, 5.0)
CLASSES_MM = (0.0, 3.0, 5.0, 10.0, np.inf)
"""Diameters of balls as large as the lesions: borders of the classes."""


def plan(free: int, number: int, seed: int) -> list[simulate.Planned]:
    """Plan people without lesions, then people whose lesions are spread over the range."""
    drawn = simulate.draw_cohort(free + number, seed)
    loads = [0.0] * free + np.geomspace(*LESION_ML, number).tolist()
    return [
        replace(
            person,
            parameters=replace(
                person.parameters,
                lesion_ml=load,
                enhancing=ENHANCING if load >= ENHANCING_FROM_ML else 0,
                enhancing_radius_mm=ENHANCING_RADIUS_MM,
                flair_thickness=FLAIR_MM[order % len(FLAIR_MM)],
            ),
        )
        for order, (person, load) in enumerate(zip(drawn, loads, strict=True))
    ]


def measure(person: simulate.Planned) -> tuple[dict[str, object], pd.DataFrame]:
    """Simulate and segment one person; return their row and the rows of their lesions."""
    made = simulate.head_scans(person.parameters, person.seed)
    t1w, ce_t1w, flair = (scan.image for scan in made.scans)
    truth = {
        what: made.truth.images[f"space-T1w_label-{what}_mask"].data > 0
        for what in ("lesion", "enhancing")
    }
    prepared = anatomy.prepare(t1w)
    context = lesion_context(prepared)
    to_t1w = [
        anatomy.rigid_brains(prepared.t1w, image, prepared.brain).matrix
        for image in (flair, ce_t1w)
    ]
    start = time.process_time()
    found = lesions.segment_flair(flair, prepared.t1w, context, flair_to_t1w=to_t1w[0])
    enhanced = lesions.find_enhancing(prepared.t1w, ce_t1w, found, context, ce_to_t1w=to_t1w[1])
    spent_s = time.process_time() - start
    voxel_mm3 = t1w.voxel_volume_mm3
    row = {
        "participant": person.label,
        "flair_mm": person.parameters.flair_thickness,
        **score(found.mask.data, truth["lesion"], voxel_mm3),
        "enhancing_true": components(truth["enhancing"])[1],
        "enhancing_found": enhanced.count,
        "cpu_s": spent_s,
    }
    of_each = [
        each(mask, truth[what], t1w).assign(participant=person.label, kind=what)
        for what, mask in (("lesion", found.mask.data), ("enhancing", enhanced.mask.data))
    ]
    return row, pd.concat(of_each, ignore_index=True)


def score(found: Mask, truth: Mask, voxel_mm3: float) -> dict[str, float]:
    """Return overlap and volumes in mL; n/a without true lesions."""
    both = (found & truth).sum()
    some = bool(truth.any())
    return {
        "true_ml": truth.sum() * voxel_mm3 / 1000,
        "found_ml": found.sum() * voxel_mm3 / 1000,
        "dice": 2 * both / (found.sum() + truth.sum()) if some else float("nan"),
        "sensitivity": both / truth.sum() if some else float("nan"),
        "precision": both / found.sum() if found.any() else float("nan"),
    }


def each(found: Mask, truth: Mask, grid: Image) -> pd.DataFrame:
    """Return true lesions and found ones that touch none: diameter (mm), true or not, found."""
    rows = []
    for mask, other, is_true in ((truth, found, True), (found, truth, False)):
        labels, count = components(mask)
        index = np.arange(1, count + 1)
        size_mm3 = ndimage.sum(mask, labels, index) * grid.voxel_volume_mm3
        touched = np.isin(index, labels[other])
        rows += [
            (float(np.cbrt(6 / np.pi * size)), is_true, touches or not is_true)
            for size, touches in zip(size_mm3, touched, strict=True)
            if is_true or not touches
        ]
    return pd.DataFrame(rows, columns=["diameter_mm", "true", "found"])


def show(people: pd.DataFrame, single: pd.DataFrame) -> None:
    """Print what docs/lesions.md quotes."""
    print(people.round(3).to_string(index=False))
    some = people[people["true_ml"] > 0]
    if len(some) > 1:
        r = np.corrcoef(some["true_ml"], some["found_ml"])[0, 1]
        relative = 100 * (some["found_ml"] / some["true_ml"] - 1)
        print(f"volumes: r {r:.4f}, mean error {relative.mean():+.0f} %")
    for kind, rows in single.groupby("kind"):
        size = pd.cut(rows["diameter_mm"], CLASSES_MM, right=False)
        true = rows[rows["true"]].groupby(size, observed=True)["found"].agg(["sum", "size"])
        false = len(rows) - int(rows["true"].sum())
        print(f"{kind}: {false} false ones in {len(people)} people; found by diameter (mm):")
        print(true.to_string(header=False))


def cohort(given: argparse.Namespace) -> None:
    """Measure the people of a plan one after the other."""
    rows, singles = [], []
    for person in plan(given.lesion_free, given.participants, given.seed):
        row, single = measure(person)
        print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        rows.append(row)
        singles.append(single)
        write_tsv(given.folder / "participants.tsv", pd.DataFrame(rows))
        write_tsv(given.folder / "lesions.tsv", pd.concat(singles, ignore_index=True))
    show(pd.DataFrame(rows), pd.concat(singles, ignore_index=True))


def one_head(given: argparse.Namespace) -> None:
    """Segment, score, print."""
    gm, wm, csf = (nifti.load(path) for path in given.priors)
    context = lesions.Context(
        brain=nifti.load(given.brain),
        prior_gm=gm,
        prior_wm=wm,
        prior_csf=csf,
        labels=nifti.load(given.labels),
    )
    matrix = None if given.flair_to_t1w is None else np.loadtxt(given.flair_to_t1w)
    t1w, flair, truth = (nifti.load(p) for p in (given.t1w, given.flair, given.truth))
    start = time.process_time()
    found = lesions.segment_flair(flair, t1w, context, flair_to_t1w=matrix)
    row = score(found.mask.data, truth.data > 0, t1w.voxel_volume_mm3)
    single = each(found.mask.data, truth.data > 0, t1w).assign(kind="lesion")
    show(pd.DataFrame([{**row, "cpu_s": time.process_time() - start}]), single)


def main() -> None:
    """Read the words."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = words.add_subparsers(required=True)
    many = kinds.add_parser("cohort")
    many.add_argument("folder", type=Path)
    many.add_argument("--lesion-free", type=int, default=4)
    many.add_argument("--participants", type=int, default=12)
    many.add_argument("--seed", type=int, default=23)
    many.set_defaults(measure=cohort)
    one = kinds.add_parser("head")
    for name in ("t1w", "flair", "truth", "brain", "labels"):
        one.add_argument(f"--{name}", type=Path, required=True)
    one.add_argument("--priors", type=Path, nargs=3, required=True)
    one.add_argument("--flair-to-t1w", type=Path)
    one.set_defaults(measure=one_head)
    given = words.parse_args()
    given.measure(given)


if __name__ == "__main__":
    main()
