"""Anatomy: volumes against truth, repeatability, seconds, cortex against surfaces drawn by others.

python benchmarks/anatomy.py accuracy [--participants N] [--first N]
python benchmarks/anatomy.py repeatability [--participants N]
python benchmarks/anatomy.py symmetry [--participants N]
python benchmarks/anatomy.py speed
python benchmarks/anatomy.py surfaces FOLDER
python benchmarks/anatomy.py outlines T1W MASK [T1W MASK ...]

The first three simulate T1w images of heads that differ in size, atrophy and lesions.
``repeatability`` scans each head twice with new noise, pose and receive field. ``symmetry`` scans
heads whose right half mirrors the left. ``speed`` times each stage for one participant with T1w,
post-contrast T1w and FLAIR; peaks are those of the process and need Linux. ``surfaces`` needs a
folder with ``anatomicals/raw.nii.gz`` and ``surfaces/{pia,wm}_{lh,rh}.gii`` in scanner
coordinates, such as ``filestore/db/S1`` in the source package of pycortex 1.4.0 (BSD).
``outlines`` compares the brain with masks of others on the same grid (what is not zero), for
several distances between the brain and the network's outline.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import nibabel as nib
import numpy as np
from scipy.spatial import cKDTree

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import preparation, segmentation
from bids_qsmthal.anatomy.brain import BrainExtraction
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.head_model import Head
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.parameters import Parameters
from bids_qsmthal.simulate.participants import received
from bids_qsmthal.simulate.poses import draw_poses
from bids_qsmthal.simulate.structural import (
    StructuralTruth,
    flair_grid,
    flair_scan,
    structural_scan,
    t1w_grid,
    t1w_signal,
    t1w_with_truth,
)
from bids_qsmthal.simulate.warps import RandomWarp

P = ParamSpec("P")
R = TypeVar("R")

THALAMUS = {"L": (10, 1), "R": (49, 2)}
"""Our index and the truth's."""


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    on_heads = {"accuracy": accuracy, "repeatability": repeatability, "symmetry": symmetry}
    parser.add_argument("what", choices=(*on_heads, "speed", "surfaces", "outlines"))
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--participants", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="number of the first head")
    chosen = parser.parse_args()
    if chosen.what == "surfaces":
        surfaces(*chosen.paths)
    elif chosen.what == "outlines":
        outlines(chosen.paths)
    elif chosen.what == "speed":
        speed()
    else:
        people = drawn(chosen.participants)
        on_heads[chosen.what](dict(enumerate(people, start=chosen.first)))


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One simulated T1w image and its truth."""

    t1w: Image
    truth: StructuralTruth


@dataclass(frozen=True, slots=True, eq=False)
class Mirrored:
    """The warp of a head whose right half mirrors the left, at the midline between the thalami."""

    half: RandomWarp

    def to_atlas(self, points_mm: np.ndarray) -> np.ndarray:
        """Return atlas coordinates (3, n) of points of the head (3, n)."""
        left, middle_mm = np.array(points_mm), self.middle_mm()
        left[0] = middle_mm - np.abs(left[0] - middle_mm)
        there = np.array(self.half.to_atlas(left))
        # The midline waves: what is right of the atlas's would be a second, mirrored piece.
        there[0] = -np.abs(there[0])
        return there

    def middle_mm(self) -> float:
        """Return where the atlas's midline lies between the thalami."""
        line = np.zeros((3, 401))
        line[0], line[1], line[2] = np.linspace(-20, 20, 401), -18.0, 8.0
        return float(line[0, np.abs(self.half.to_atlas(line)[0]).argmin()])


def drawn(number: int) -> list[Parameters]:
    """Return people from healthy to severely atrophied, with 1 to 40 mL of lesions."""
    share = np.linspace(0, 1, number)
    return [
        Parameters(atrophy=float(s), lesion_ml=float(40**s), scale=float(0.9 + 0.08 * (k % 2)))
        for k, s in enumerate(share)
    ]


def head_of(person: Parameters, number: int) -> Head:
    """Draw the head of a number."""
    return draw_head(person, np.random.default_rng(number))


def scan(head: Head, person: Parameters, seed: int) -> Scan:
    """Simulate one T1w image of one head."""
    generator = np.random.default_rng(seed)
    pose = draw_poses(person.motion, generator)["t1w"]
    clean, truth = t1w_with_truth(head, pose, t1w_grid(person.t1w_voxel_mm))
    return Scan(clean.like(received(clean.data, person, generator).astype(np.float32)), truth)


def segmented(scanned: Scan) -> anatomy.Anatomy:
    """Segment an image with the true lesions filled."""
    return anatomy.segment(anatomy.prepare(scanned.t1w), scanned.truth.lesion)


def accuracy(people: dict[int, Parameters]) -> None:
    """Print errors against the truth, a line a participant; ``bare``: lesions not filled."""
    table = []
    for number, person in people.items():
        scanned = scan(head_of(person, number), person, 1000 + number)
        prepared = anatomy.prepare(scanned.t1w)
        row = errors(scanned, anatomy.segment(prepared, scanned.truth.lesion))
        bare = errors(scanned, anatomy.segment(prepared))
        row |= {f"bare_{key}": bare[key] for key in bare if "matter" in key or "mm" in key}
        row = {"lesions_ml": unit_ml(scanned.truth.lesion), "atrophy": person.atrophy} | row
        table.append(row)
        show(number, row)
    summary(table)


def errors(scanned: Scan, found: anatomy.Anatomy) -> dict[str, float]:
    """Compare what was found with the truth."""
    unit = scanned.truth.tissue.voxel_volume_mm3
    true = scanned.truth.volumes_voxels
    result = {
        "brain_dice": dice(found.brain.data > 0, scanned.truth.tissue.data > 0),
        "gray_matter_%": percent(found.volumes_mm3["gray_matter"], unit * true["gray_matter"]),
        "white_matter_%": percent(found.volumes_mm3["white_matter"], unit * true["white_matter"]),
    }
    for side, (ours, theirs) in THALAMUS.items():
        name = f"thalamus_{side}"
        overlap = dice(found.deepgray.data == ours, scanned.truth.deep.data == theirs)
        error = percent(found.volumes_mm3[name], unit * true[name])
        result |= {f"{name}_dice": overlap, f"{name}_%": error}
    return result | {"thickness_mm": found.thickness_mean_mm["whole"]}


def repeatability(people: dict[int, Parameters]) -> None:
    """Print how far two scans of one head differ."""
    table = []
    for number, person in people.items():
        head = head_of(person, number)
        first, second = (segmented(scan(head, person, seed + number)) for seed in (2000, 3000))
        row = {
            f"{name}_%": percent(second.volumes_mm3[name], first.volumes_mm3[name])
            for name in ("thalamus_L", "thalamus_R", "gray_matter", "white_matter", "intracranial")
        }
        row["thickness_mm"] = second.thickness_mean_mm["whole"] - first.thickness_mean_mm["whole"]
        table.append(row)
        show(number, row)
    summary(table)


def symmetry(people: dict[int, Parameters]) -> None:
    """Print how far left and right differ, in per cent of their mean, where they do not."""
    table = []
    for number, person in people.items():
        healthy = replace(person, lesion_ml=0.0)
        head = head_of(healthy, number)
        scanned = scan(replace(head, warp=Mirrored(head.warp)), healthy, 4000 + number)
        found = segmented(scanned)
        sides = {
            "thalamus": [found.volumes_mm3[f"thalamus_{side}"] for side in "LR"],
            "thickness": [found.thickness_mean_mm[side] for side in "LR"],
        }
        row = {
            f"{name}_%": 200 * (left - right) / (left + right)
            for name, (left, right) in sides.items()
        }
        table.append(row)
        show(number, row)
    summary(table)


STAGES = {
    preparation: ("brain_mask", "bias_corrected", "align", "deform", "inverted", "carry"),
    segmentation: (
        *("filled_lesions", "fractions", "without_meninges", "refined_thalami"),
        *("with_borders", "thickness_map"),
    ),
    anatomy: ("rigid_brains", "prepare", "segment"),
}
"""Functions that are timed; the last two hold those before."""


def speed() -> None:
    """Print processor time, wall time and peak memory of each stage."""
    person = Parameters(atrophy=0.5, lesion_ml=10.0)
    head = head_of(person, 0)
    scanned = scan(head, person, 1)
    generator = np.random.default_rng(2)
    poses = draw_poses(person.motion, generator)
    grid = t1w_grid(person.t1w_voxel_mm)
    gad = structural_scan(head, poses["gad"], grid, t1w_signal(gadolinium=True))
    flair = flair_scan(head, poses["flair"], flair_grid(1.0, 3, np.eye(4)))
    moving = [image.like(received(image.data, person, generator)) for image in (gad, flair)]
    for module, names in STAGES.items():
        for name in names:
            setattr(module, name, timed(name, getattr(module, name)))
    print("| stage | CPU-s | wall s | peak GB |\n|---|---|---|---|")
    prepared = anatomy.prepare(scanned.t1w)
    anatomy.segment(prepared, scanned.truth.lesion)
    for image in moving:
        anatomy.rigid_brains(prepared.t1w, image, prepared.brain)


def timed(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that prints what it takes."""

    @wraps(function)
    def measured(*arguments: P.args, **options: P.kwargs) -> R:
        # Writing 5 starts the peak anew, so a stage that holds others has that of its last part.
        Path("/proc/self/clear_refs").write_text("5")
        start = time.process_time(), time.perf_counter()
        result = function(*arguments, **options)
        cpu_s, wall_s = time.process_time() - start[0], time.perf_counter() - start[1]
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(
            f"| {name} | {cpu_s:.1f} | {wall_s:.1f} | {int(peak[1] if peak else 0) / 2**20:.2f} |",
            flush=True,
        )
        return result

    return measured


def surfaces(folder: Path) -> None:
    """Compare cortical thickness and the place of the pial surface with given surfaces."""
    t1w = nifti.load(folder / "anatomicals" / "raw.nii.gz")
    found = anatomy.segment(anatomy.prepare(t1w))
    thickness, areas, volume_mm3 = [], [], 0.0
    for side in ("lh", "rh"):
        pial, white = (mesh(folder / "surfaces" / f"{name}_{side}.gii") for name in ("pia", "wm"))
        there = cKDTree(white[0]).query(pial[0])[0]
        back = cKDTree(pial[0]).query(white[0])[0]
        thickness.append((there + back) / 2)
        areas.append(vertex_areas(*white))
        volume_mm3 += enclosed(*pial) - enclosed(*white)
    both, weight = np.concatenate(thickness), np.concatenate(areas)
    cortex = both > 0.05  # the surfaces touch where there is no cortex
    expected = np.average(both[cortex], weights=weight[cortex])
    print(f"thickness: {found.thickness_mean_mm['whole']:.3f} mm, surfaces {expected:.3f} mm")
    print(f"volume between the surfaces: {volume_mm3 / 1000:.1f} mL")
    names = ("cortical_gray_matter", "gray_matter", "white_matter", "csf", "intracranial")
    print("found:", *(f"{name} {found.volumes_mm3[name] / 1000:.1f} mL" for name in names))


INSETS_MM = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0)


def outlines(paths: list[Path]) -> None:
    """Print Dice and difference of volume for each distance from the network's outline."""
    for t1w_path, mask_path in zip(paths[::2], paths[1::2], strict=True):
        t1w = nifti.load(t1w_path)
        # Resampled scans without a skull have small values round the brain.
        reference = np.abs(nifti.load(mask_path).data) > 1e-3
        cells = [t1w_path.name]
        for inset_mm in INSETS_MM:
            brain = anatomy.brain_mask(t1w, settings=BrainExtraction(inset_mm=inset_mm)).data
            more = percent(brain.sum(), reference.sum())
            cells.append(f"{inset_mm} mm: {dice(brain, reference):.3f} {more:+.1f} %")
        print(" | ".join(cells), flush=True)


def mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (n, 3) in mm and triangles (m, 3)."""
    vertices, triangles = (array.data for array in nib.load(path).darrays[:2])
    return vertices.astype(np.float64), triangles.astype(np.int64)


def vertex_areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return a third of the area of the triangles round each vertex."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), len(vertices))


def enclosed(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Return the volume inside a closed surface."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return twice the overlap over the sum."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def unit_ml(mask: Image) -> float:
    """Return the volume of a mask in millilitres."""
    return float((mask.data > 0).sum()) * mask.voxel_volume_mm3 / 1000


def show(number: int, row: dict[str, float]) -> None:
    """Print one head."""
    print(f"{number}:", *(f"{key} {value:.3f}" for key, value in row.items()), flush=True)


def summary(table: list[dict[str, float]]) -> None:
    """Print the mean and the largest of each column."""
    for key in table[0]:
        values = np.array([row[key] for row in table])
        print(f"{key}: mean {values.mean():+.3f}, largest {np.abs(values).max():.3f}")


def percent(value: float, reference: float) -> float:
    """Return the difference in per cent of the reference."""
    return 100 * (value / reference - 1)


if __name__ == "__main__":
    main()
