"""What is said of the change between visits, beside the truth: volumes of simulated people.

``python benchmarks/longitudinal.py OUT.tsv [--people N] [--seed S] [--spacing MM] [--thick N]``

Every person has three visits, each with a pose and noise of its own. Nothing changes from the first
to the second; at the third the ventricles are wider and the thalami smaller, by an amount that is
drawn. Tissues and structures have the borders of the truth, hard and at each visit its own, so that
what errs is the frame and the measures of change. With ``--thick N`` the second visit has slices N
times as thick, as of another protocol. Rows are appended to OUT.tsv; a summary of the whole file
is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_qsmthal import simulate
from bids_qsmthal.anatomy.visits import VisitFrame, VisitScan, visit_frame
from bids_qsmthal.anatomy.volume_change import SharedBorders, volume_changes
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.compositions import DEEP_LABELS
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.poses import rigid
from bids_qsmthal.simulate.progression import NO_PROGRESSION, Progression, progressed
from bids_qsmthal.simulate.structural import StructuralTruth, t1w_grid, t1w_with_truth

SNR = 30
"""Of white matter in T1w."""

ATROPHY = (0.01, 0.05)
"""Range of the atrophy at the third visit; .05 takes about 3 % of the thalami."""

PAIRS = {"nothing changed": (0, 1), "changed, from 1": (0, 2), "changed, from 2": (1, 2)}

TISSUES = {"csf": 1, "gm": 2, "wm": 3}


class Visit(NamedTuple):
    """A visit's T1w with its brain, and what is true of it."""

    scan: VisitScan
    truth: StructuralTruth


def visit(head: simulate.Head, grid: Image, rng: np.random.Generator) -> Visit:
    """Scan a head in a pose that is drawn."""
    pose = rigid(rng.normal(0, 4, 3), rng.normal(0, 3, 3))
    image, truth = t1w_with_truth(head, pose, grid)
    white = float(np.median(image.data[truth.tissue.data == TISSUES["wm"]]))
    noise = rng.normal(0, white / SNR, (2, *image.shape))
    data = np.hypot(image.data + noise[0], noise[1]).astype(np.float32)
    return Visit(VisitScan(image.like(data), image.like(truth.tissue.data > 0)), truth)


def thick(one: Visit, times: int) -> Visit:
    """Return the visit with slices that are so many times as thick; the truth is what it was."""
    whole = one.scan.t1w.shape[2] // times * times
    step = np.diag([1.0, 1.0, times, 1.0])
    # The middle of a thick slice is that of its thin ones.
    step[2, 3] = (times - 1) / 2

    def averaged(image: Image) -> Image:
        parts = image.data[..., :whole].reshape(*image.shape[:2], -1, times)
        return Image(parts.mean(axis=-1, dtype=np.float32), image.affine @ step)

    brain = averaged(one.scan.brain)
    return Visit(VisitScan(averaged(one.scan.t1w), brain.like(brain.data > 0.5)), one.truth)


def borders(frame: VisitFrame, visits: list[Visit]) -> SharedBorders:
    """Return the mean of all visits' true tissues and structures, in the frame."""

    def mean(masks: list[Image]) -> Image:
        carried = [
            frame.sampled(one.like(one.data.astype(np.float32)), number, order=1).data
            for number, one in enumerate(masks)
        ]
        return frame.brain.like(np.asarray(np.mean(carried, axis=0), np.float32))

    def side(name: str) -> Image:
        index = DEEP_LABELS.index(name) + 1
        return mean([one.truth.deep.like(one.truth.deep.data == index) for one in visits])

    def half(sign: int) -> Image:
        found = []
        for one in visits:
            ventricle = one.truth.ventricle
            x = np.arange(ventricle.shape[0]) * ventricle.affine[0, 0] + ventricle.affine[0, 3]
            found.append(ventricle.like(ventricle.data * (np.sign(x) == sign)[:, None, None]))
        return mean(found)

    tissues = {
        name: mean([one.truth.tissue.like(one.truth.tissue.data == index) for one in visits])
        for name, index in TISSUES.items()
    }
    return SharedBorders(
        brain=frame.brain,
        **tissues,
        thalamus=(side("thalamus_L"), side("thalamus_R")),
        ventricles=(half(-1), half(1)),
    )


def true_ml(one: Visit) -> dict[str, float]:
    """Return the true volumes that are compared, in mL."""
    voxel_ml = abs(float(np.linalg.det(one.truth.tissue.affine[:3, :3]))) / 1000
    sums = one.truth.volumes_voxels
    return {
        "thalamus": voxel_ml * (sums["thalamus_L"] + sums["thalamus_R"]),
        "lateral_ventricle": voxel_ml * float(one.truth.ventricle.data.sum()),
        "gray_matter": voxel_ml * sums["gray_matter"],
        "white_matter": voxel_ml * sums["white_matter"],
    }


def rows(number: int, seed: int, spacing_mm: float, times: int) -> list[dict[str, object]]:
    """Return one row for each pair of visits and region of a person."""
    rng = np.random.default_rng([seed, number])
    head = draw_head(simulate.draw_cohort(number + 1, seed)[number].parameters, rng, NOTHING_GIVEN)
    later = progressed(head, Progression(atrophy=float(rng.uniform(*ATROPHY))))
    grid = t1w_grid(spacing_mm)
    begin = time.process_time()
    visits = [visit(one, grid, rng) for one in (head, progressed(head, NO_PROGRESSION), later)]
    if times > 1:
        visits[1] = thick(visits[1], times)
    made = time.process_time()
    frame = visit_frame([one.scan for one in visits])
    shared = borders(frame, visits)
    even = [frame.even(one.scan.t1w, place) for place, one in enumerate(visits)]
    found: list[dict[str, object]] = []
    for pair, (first, second) in PAIRS.items():
        before, after = true_ml(visits[first]), true_ml(visits[second])
        for change in volume_changes(even[first], even[second], shared):
            if change.hemisphere not in {"LR", "n/a"} or change.region not in before:
                continue
            volume_ml = (before[change.region] + after[change.region]) / 2
            true = 100 * (after[change.region] - before[change.region]) / volume_ml
            found.append(
                {
                    "person": number,
                    "pair": pair,
                    "region": change.region,
                    "true_percent": true,
                    "percent": 100 * change.change_mm3 / change.volume_mm3,
                    "se_percent": 100 * change.standard_error_mm3 / change.volume_mm3,
                }
            )
    cpu_s = time.process_time() - made
    print(f"person {number}: scans {made - begin:.0f}, change {cpu_s:.0f} CPU-s", flush=True)
    return found


def summary(table: pd.DataFrame) -> str:
    """Return errors by region, for nothing changed and for change."""
    error = table["percent"] - table["true_percent"]
    table = table.assign(
        case=np.where(table["pair"] == "nothing changed", "nothing changed", "changed"),
        error=error,
        held=error.abs() <= 1.96 * table["se_percent"],
    )
    found = table.groupby(["case", "region"], sort=False).agg(
        n=("error", "size"),
        mean_true=("true_percent", "mean"),
        mean_error=("error", "mean"),
        rms_error=("error", lambda e: float(np.sqrt(np.mean(e**2)))),
        mean_se=("se_percent", "mean"),
        held=("held", "mean"),
    )
    return found.round(2).to_string()


def main() -> None:
    """Simulate people, append their rows and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--thick", type=int, default=1)
    chosen = parser.parse_args()
    for number in range(chosen.people):
        table = pd.DataFrame(rows(number, chosen.seed, chosen.spacing, chosen.thick))
        table.to_csv(chosen.out, sep="\t", mode="a", index=False, header=not chosen.out.exists())
    print(summary(pd.read_csv(chosen.out, sep="\t")))


if __name__ == "__main__":
    main()
