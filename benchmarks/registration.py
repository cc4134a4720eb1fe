"""Rigid registrations from random starts: how many end at the truth, how many fail without a word.

python benchmarks/registration.py [--heads N] [--starts N] [--seed N]

Every head is simulated with T1w, post-contrast T1w, FLAIR in thick slices and a gradient echo of
eight coils, whose intensity is left in. Each scan is moved in its world by up to 20 mm and turned
by up to 20 degrees at random, and registered to T1w as the app does it; so are the post-contrast
T1w without its face and a slab of 40 mm of the gradient echo. An error is the mean distance over
the brain between where a point is taken and where it belongs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_qsmthal import anatomy, simulate
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image

FARTHEST_MM, FARTHEST_DEGREES = 20.0, 20.0
THICK_MM = 5
SLAB_MM = 40.0
FACE_MM = 10.0
"""Farther from the brain than this nothing is left of a defaced scan."""
FOUND_MM = 1.0

Affine = NDArray[np.float64]


def scans(seed: int) -> tuple[Image, Image, dict[str, tuple[Image, Affine]]]:
    """Return T1w, its brain, and scans with the way of their world's points to those of T1w."""
    (drawn,) = simulate.draw_cohort(1, seed)
    person = replace(drawn.parameters, flair_thickness=THICK_MM)
    person, effects = simulate.SCENARIOS["eight-channel"].applied(person)
    made = simulate.participant(person, drawn.seed, effects)
    images = {scan.name: scan.image for scan in made.scans}
    t1w = images["T1w"]
    brain = anatomy.brain_mask(t1w)
    echoes = [
        scan.image.data * np.float32(scan.slope) for scan in made.scans if "part-mag" in scan.name
    ]
    first = next(scan.image for scan in made.scans if "part-mag" in scan.name)
    magnitude = first.like(np.sqrt(np.sum([echo**2 for echo in echoes], axis=0)))
    worlds = {
        name: np.asarray(made.truth.numbers[f"world_{name}_to_t1w"])
        for name in ("gad", "flair", "gre")
    }
    ce_t1w = images["ce-gadolinium_T1w"]
    found = {
        "post-contrast T1w": (ce_t1w, worlds["gad"]),
        "post-contrast T1w without face": (_defaced(ce_t1w), worlds["gad"]),
        f"FLAIR, slices of {THICK_MM} mm": (images["FLAIR"], worlds["flair"]),
        "gradient echo, eight coils": (magnitude, worlds["gre"]),
        f"gradient echo, slab of {SLAB_MM:.0f} mm": (_slab(magnitude), worlds["gre"]),
    }
    return t1w, brain, found


def _defaced(image: Image) -> Image:
    away_mm = distance_mm(anatomy.brain_mask(image).data, image.grid.voxel_size_mm)
    return image.like(np.where(away_mm <= FACE_MM, image.data, 0))


def _slab(image: Image) -> Image:
    """Return the slices in the middle of the brain, where the thalami are."""
    slices = np.flatnonzero(anatomy.brain_mask(image).data.any(axis=(0, 1)))
    count = round(SLAB_MM / image.grid.voxel_size_mm[2])
    start = int(slices.mean()) - count // 2
    affine = image.affine.copy()
    affine[:3, 3] += start * affine[:3, 2]
    return Image(image.data[:, :, start : start + count], affine)


def moved(rng: np.random.Generator, centre: NDArray[np.float64]) -> Affine:
    """Return a random motion about a point."""
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    angle = np.deg2rad(rng.uniform(0, FARTHEST_DEGREES))
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    shift = rng.normal(size=3)
    shift *= rng.uniform(0, FARTHEST_MM) / np.linalg.norm(shift)
    motion = np.eye(4)
    motion[:3, :3] = turn
    motion[:3, 3] = centre - turn @ centre + shift
    return motion


def rows(seed: int, starts: int) -> Iterator[dict[str, object]]:
    """Register every scan of a head from some starts."""
    t1w, brain, found = scans(seed)
    rng = np.random.default_rng(seed)
    voxels = np.argwhere(brain.data)[::500]
    there = apply(brain.affine, voxels.astype(np.float64))
    for kind, (image, world) in found.items():
        # Where points of the brain lie in the world of the scan.
        points = apply(np.linalg.inv(world), there)
        for _ in range(starts):
            motion = moved(rng, points.mean(axis=0))
            moving = Image(image.data, motion @ image.affine)
            start_s = time.process_time()
            try:
                result = anatomy.rigid_brains(t1w, moving, brain, uneven="gradient" in kind)
                matrix, failed = result.matrix, result.failed
            except DataError:  # said in one line, which is as good as a warning
                matrix, failed = np.full((4, 4), np.nan), True
            spent_s = time.process_time() - start_s
            error = np.linalg.norm(apply(matrix, apply(motion, points)) - there, axis=1)
            yield {
                "scan": kind,
                "seed": seed,
                "moved_mm": float(np.linalg.norm(apply(motion, points) - points, axis=1).mean()),
                "error_mm": float(error.mean()),
                "failed": failed,
                "cpu_s": spent_s,
            }


def show(table: pd.DataFrame) -> None:
    """Print a line for each kind of scan, and what failed without a word."""
    for kind, part in table.groupby("scan", sort=False):
        right = part["error_mm"] <= FOUND_MM
        silent = part[~right & ~part["failed"]]
        print(
            f"{kind:32} {right.sum():3d} of {len(part):3d} within {FOUND_MM:g} mm, "
            f"median {part['error_mm'].median():.2f}, largest {part['error_mm'].max():.2f} mm; "
            f"{(~right & part['failed']).sum()} said to have failed, {len(silent)} silent; "
            f"{(right & part['failed']).sum()} good ones called failed; "
            f"{part['cpu_s'].median():.1f} CPU-s"
        )
        for row in silent.itertuples():
            print(
                f"    silent: seed {row.seed}, moved {row.moved_mm:.1f} mm, {row.error_mm:.2f} mm"
            )


def main() -> None:
    """Register from random starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--starts", type=int, default=4, help="for each scan of a head")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = [
        row
        for seed in range(asked.seed, asked.seed + asked.heads)
        for row in rows(seed, asked.starts)
    ]
    show(pd.DataFrame(found))


if __name__ == "__main__":
    main()
