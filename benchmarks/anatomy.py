"""Anatomy: volumes against truth, repeatability, seconds, cortex against surfaces drawn by others.

python benchmarks/anatomy.py accuracy [--participants N]
python benchmarks/anatomy.py repeatability [--participants N]
python benchmarks/anatomy.py surfaces FOLDER

``accuracy`` and ``repeatability`` simulate T1w images of heads that differ in size, atrophy and
lesions; the second scans each head twice with new noise, pose and receive field. ``surfaces`` needs
a folder with ``anatomicals/raw.nii.gz`` and ``surfaces/{pia,wm}_{lh,rh}.gii`` in scanner
coordinates, such as ``filestore/db/S1`` in the source package of pycortex 1.4.0 (BSD).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial import cKDTree

from bids_qsmthal import anatomy, nifti
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.parameters import Parameters
from bids_qsmthal.simulate.participants import received
from bids_qsmthal.simulate.poses import draw_poses
from bids_qsmthal.simulate.structural import StructuralTruth, t1w_grid, t1w_with_truth

THALAMUS = {"L": (10, 1), "R": (49, 2)}
"""Our index and the truth's."""


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("accuracy", "repeatability", "surfaces"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--participants", type=int, default=4)
    chosen = parser.parse_args()
    if chosen.what == "surfaces":
        surfaces(chosen.folder)
    elif chosen.what == "accuracy":
        accuracy(chosen.participants)
    else:
        repeatability(chosen.participants)


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """One simulated T1w image, its truth and what was found in it."""

    truth: StructuralTruth
    found: anatomy.Anatomy
    cpu_s: float


def drawn(number: int) -> list[Parameters]:
    """Return people from healthy to severely atrophied, with 1 to 40 mL of lesions."""
    share = np.linspace(0, 1, number)
    return [
        Parameters(atrophy=float(s), lesion_ml=float(40**s), scale=float(0.9 + 0.08 * (k % 2)))
        for k, s in enumerate(share)
    ]


def scan(person: Parameters, head_seed: int, scan_seed: int) -> Scanned:
    """Simulate one T1w image of one head and segment it with the true lesions filled."""
    head = draw_head(person, np.random.default_rng(head_seed))
    generator = np.random.default_rng(scan_seed)
    pose = draw_poses(person.motion, generator)["t1w"]
    clean, truth = t1w_with_truth(head, pose, t1w_grid(person.t1w_voxel_mm))
    t1w = clean.like(received(clean.data, person, generator).astype(np.float32))
    start = time.process_time()
    found = anatomy.segment(anatomy.prepare(t1w), truth.lesion)
    return Scanned(truth, found, time.process_time() - start)


def errors(scanned: Scanned) -> dict[str, float]:
    """Compare what was found with the truth."""
    unit = scanned.truth.tissue.voxel_volume_mm3
    found, true = scanned.found.volumes_mm3, scanned.truth.volumes_voxels
    brain = scanned.truth.tissue.data > 0
    result = {
        "brain_dice": dice(scanned.found.brain.data > 0, brain),
        "gray_matter_%": percent(found["gray_matter"], unit * true["gray_matter"]),
        "white_matter_%": percent(found["white_matter"], unit * true["white_matter"]),
    }
    for side, (ours, theirs) in THALAMUS.items():
        mask = scanned.truth.deep.data == theirs
        result[f"thalamus_{side}_dice"] = dice(scanned.found.deepgray.data == ours, mask)
        result[f"thalamus_{side}_%"] = percent(found[f"thalamus_{side}"], unit * float(mask.sum()))
    return result | {
        "thickness_mm": scanned.found.thickness_mean_mm["whole"],
        "cpu_s": scanned.cpu_s,
    }


def accuracy(participants: int) -> None:
    """Print errors against the truth, a line a participant."""
    table = []
    for number, person in enumerate(drawn(participants)):
        row = errors(scan(person, number, 1000 + number))
        table.append(row)
        print(f"{number}: atrophy {person.atrophy:.2f}", *(f"{k} {v:.3f}" for k, v in row.items()))
    for key in table[0]:
        values = np.array([row[key] for row in table])
        print(f"{key}: mean {values.mean():.3f}, worst {values[np.abs(values).argmax()]:.3f}")


def repeatability(participants: int) -> None:
    """Print how far two scans of one head differ."""
    table = []
    for number, person in enumerate(drawn(participants)):
        first, second = (scan(person, number, seed + number).found for seed in (2000, 3000))
        row = {
            f"{name}_%": percent(second.volumes_mm3[name], first.volumes_mm3[name])
            for name in ("thalamus_L", "thalamus_R", "gray_matter", "white_matter", "intracranial")
        }
        row["thickness_mm"] = second.thickness_mean_mm["whole"] - first.thickness_mean_mm["whole"]
        table.append(row)
        print(number, *(f"{key} {value:+.3f}" for key, value in row.items()))
    for key in table[0]:
        values = np.array([row[key] for row in table])
        print(f"{key}: mean {values.mean():+.3f}, largest {np.abs(values).max():.3f}")


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


def percent(value: float, reference: float) -> float:
    """Return the difference in per cent of the reference."""
    return 100 * (value / reference - 1)


if __name__ == "__main__":
    main()
