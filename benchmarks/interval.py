"""What the interval of the relative susceptibility holds, over protocols: error and standard error.

``python benchmarks/interval.py OUT.tsv [--heads N] [--seed S] [--protocols NAME ...] [--t1w]
[--labels FILE ...]``

Simulated heads whose true labels lie on a grid of about 0.9 mm, as those of T1w, and are moved by
0.5 mm (SD along each axis), as a registration does. What errs is then the chain from the signal to
the number: field, background, inversion, borders, and voxels that hold several tissues. Every head
has its own anatomy, lesions, susceptibility, coil and noise. With ``--t1w`` the true share of fluid
is given as well. ``--labels`` takes label maps of real heads in place of warped ones
(``labelled_heads``). Rows are appended to OUT.tsv as soon as they are known; a summary of the whole
file is printed. ``chain_ppb`` of a row is the error of the chain as the program states it, and
``rest_ppb`` the other parts of the standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from labelled_heads import labelled_scene

from bids_qsmthal import qsm, roi, simulate
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import phase
from bids_qsmthal.simulate.compositions import DEEP_LABELS, FREESURFER
from bids_qsmthal.simulate.echoes import Scene, echo_signals
from bids_qsmthal.simulate.effects import PLAIN
from bids_qsmthal.simulate.gradient_echo import FineModel, fields, fine_model
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.poses import draw_poses, rigid, scan_affine
from bids_qsmthal.simulate.signals import block_mean
from bids_qsmthal.simulate.truth import susceptibility_values

SIX = tuple(round(0.0043 + 0.0055 * echo, 4) for echo in range(6))
ELEVEN = tuple(round(0.0043 + 0.0047 * echo, 4) for echo in range(11))
AT_7T = tuple(round(0.003 + 0.004 * echo, 4) for echo in range(5))
AT_1_5T = tuple(round(0.006 + 0.009 * echo, 4) for echo in range(5))

SHIFT_MM = 0.5
"""Standard deviation along each axis by which the labels lie beside the truth."""


class Scan(NamedTuple):
    """How a head is scanned: voxel size, echoes, signal to noise, field."""

    size_mm: float
    times_s: tuple[float, ...]
    snr: float
    field_t: float = 3.0


CASES: dict[str, Scan] = {
    "3 mm, 6 echoes, SNR 60": Scan(3.0, SIX, 60),
    "3 mm, 4 echoes, SNR 30": Scan(3.0, SIX[:4], 30),
    "3 mm, 2 echoes of 5/20 ms, SNR 100": Scan(3.0, (0.005, 0.020), 100),
    "2.5 mm, 6 echoes, SNR 60": Scan(2.5, SIX, 60),
    "2.5 mm, 4 echoes, SNR 15": Scan(2.5, SIX[:4], 15),
    "2.5 mm, 3 echoes of 4/8/12 ms, SNR 25": Scan(2.5, (0.004, 0.008, 0.012), 25),
    "2 mm, 6 echoes, SNR 60": Scan(2.0, SIX, 60),
    "2 mm, 4 echoes, SNR 15": Scan(2.0, SIX[:4], 15),
    "2 mm, 3 echoes of 4/8/12 ms, SNR 40": Scan(2.0, (0.004, 0.008, 0.012), 40),
    "2 mm, 2 echoes of 5/20 ms, SNR 40": Scan(2.0, (0.005, 0.020), 40),
    "2 mm, 11 echoes, SNR 100": Scan(2.0, ELEVEN, 100),
    "2 mm, 5 echoes, SNR 30, 1.5 T": Scan(2.0, AT_1_5T, 30, 1.5),
    "2 mm, 5 echoes, SNR 60, 7 T": Scan(2.0, AT_7T, 60, 7.0),
    "1.5 mm, 6 echoes, SNR 60": Scan(1.5, SIX, 60),
    "1.5 mm, 4 echoes, SNR 20": Scan(1.5, SIX[:4], 20),
    "1 mm, 6 echoes, SNR 40": Scan(1.0, SIX, 40),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """One head on the fine grid of one voxel size at one field strength, and what is true of it."""

    person: simulate.Parameters
    scene: Scene
    affine: np.ndarray
    truth_ppb: dict[str, float]


def protocol(scan: Scan) -> simulate.Protocol:
    """Return a protocol that covers the brain with cubes of a size, made of cubes of 0.5-1 mm."""
    size_mm = scan.size_mm
    x, y, z = (round(length / size_mm) for length in (174, 210, 136))
    # Borders must lie inside acquired voxels, so even cubes of 1 mm are made of smaller ones.
    fine = max(2, round(size_mm / 0.9))
    return simulate.Protocol(
        name=f"{size_mm:g}",
        voxel_size_mm=(size_mm, size_mm, size_mm),
        shape=(x, y, z),
        oversampling=(fine, fine, fine),
        acquisition=qsm.Acquisition(echo_times_s=scan.times_s, field_strength_t=scan.field_t),
        repetition_time_s=0.04,
        flip_angle_deg=15.0,
    )


def person(generator: np.random.Generator, chosen: simulate.Protocol) -> simulate.Parameters:
    """Draw one head and how it lies."""
    return simulate.Parameters(
        protocol=chosen,
        vendor=simulate.VENDORS["siemens"],
        thalamus_chi_ppb=float(generator.uniform(-45, 10)),
        lesion_ml=float(generator.uniform(0, 25)),
        atrophy=float(generator.uniform(0, 0.8)),
        scale=float(generator.uniform(0.9, 0.99)),
        deformation_mm=float(generator.uniform(2, 3.5)),
        oblique_deg=float(generator.uniform(-25, 25)),
        calcified_plexus=bool(generator.random() < 0.2),
    )


def scanned(parameters: simulate.Parameters, seed: int) -> Scanned:
    """Return the head on its fine grid with its field; echoes and noise come later."""
    anatomy, poses = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    head = draw_head(parameters, anatomy)
    pose = draw_poses(parameters.motion, poses)["gre"]
    chosen = parameters.protocol
    affine = scan_affine(
        chosen.shape,
        chosen.voxel_size_mm,
        rotation=rigid((parameters.oblique_deg, parameters.tilt_deg, 0.0), (0, 0, 0)),
        centre_mm=(pose[:3] @ (0, -18, 6, 1)).tolist(),
    )
    model = fine_model(head, pose, affine, chosen)
    total_hz = fields(head, pose, model, chosen.acquisition.centre_frequency_hz).total_hz
    scene = Scene(model, total_hz, np.linalg.inv(pose) @ model.affine)
    return Scanned(parameters, scene, affine, susceptibility_values(model)["chi_relative_csf"])


def labelled(path: Path, parameters: simulate.Parameters, seed: int) -> Scanned:
    """Return a real head from its labels; the person says susceptibility, pose and scan."""
    scene, affine = labelled_scene(path, parameters, seed)
    return Scanned(
        parameters, scene, affine, susceptibility_values(scene.model)["chi_relative_csf"]
    )


def made_of(
    labels: list[Path] | None, number: int, parameters: simulate.Parameters, seed: int
) -> Scanned:
    """Return the head of a number: real where there are label maps, else warped."""
    return labelled(labels[number], parameters, seed) if labels else scanned(parameters, seed)


def measured(found: Scanned, scan: Scan, seed: int, *, t1w: bool) -> list[dict[str, object]]:
    """Make the echoes of a scan, reconstruct and measure it; one row a side."""
    acquisition = qsm.Acquisition(echo_times_s=scan.times_s, field_strength_t=scan.field_t)
    parameters = replace(
        found.person,
        snr=scan.snr,
        protocol=replace(found.person.protocol, acquisition=acquisition),
    )
    generator = np.random.default_rng(seed)
    model = found.scene.model
    echoes = np.stack(list(echo_signals(found.scene, parameters, PLAIN, generator)), axis=-1)
    factor = parameters.protocol.oversampling
    brain = Image(block_mean(model.brain.astype(np.float32), factor) >= 0.5, found.affine)
    fluid = block_mean(((model.r2star_hz < 4) & model.brain).astype(np.float32), factor)
    conventions = phase.Conventions(manufacturer="Siemens", sign=1)
    signal = phase.corrected(
        *(np.abs(echoes), np.angle(echoes), brain.grid, acquisition, conventions)
    )
    echoes, scan = (signal.magnitude, signal.phase_rad), (brain.grid, acquisition)
    maps = qsm.reconstruct(*echoes, brain.data, *scan, fluid_probability=fluid if t1w else None)
    others = qsm.variants(*echoes, maps, *scan)
    half = others.half_difference_ppm
    inputs = roi.Inputs(
        chi_ppm=brain.like(maps.chi_ppm),
        magnitude=brain.like(np.sqrt((signal.magnitude**2).sum(axis=-1))),
        qsm_mask=brain.like(maps.mask),
        r2star_hz=brain.like(maps.r2star_hz),
        segmentation=segmentation(model, generator),
        metrics=maps.quality,
        half_difference_ppm=None if half is None else brain.like(half),
    )
    return rows(inputs, maps, found.truth_ppb)


def rows(
    inputs: roi.Inputs, maps: qsm.Maps, truth_ppb: dict[str, float]
) -> list[dict[str, object]]:
    """Return error, parts of the standard error, and quality: one row a side."""
    settings = roi.RegionSettings()
    found = roi.measure(inputs, settings=settings)
    value, checked = _values(found), {check.limit.name: check.value for check in found.checks}
    alone = _values(roi.measure(inputs, settings=without_chain(settings)))
    key, name = ("chi_relative_csf", "thalamus"), "chi_relative_csf_se"
    made = []
    for side in ("L", "R", "LR"):
        total, rest = (table[name, "thalamus", side] for table in (value, alone))
        made.append(
            {
                "side": side,
                "truth_ppb": truth_ppb[side],
                "error_ppb": value[(*key, side)] - truth_ppb[side],
                "standard_error_ppb": total,
                "rest_ppb": rest,
                "chain_ppb": float(np.sqrt(max(total**2 - rest**2, 0))),
                "reference_step": checked["reference_step"],
                "reference_holds_csf": checked["reference_holds_csf"],
                "verdict": found.decision.value,
                **maps.quality,
            }
        )
    return made


def without_chain(settings: roi.RegionSettings) -> roi.RegionSettings:
    """Return the settings with no error of the chain, so that the other parts are left."""
    return replace(settings, method_sd_ppb=roi.ChainError(one=(0, 0, 0), both=(0, 0, 0)))


def _values(found: roi.RegionResults) -> pd.Series:
    return found.table.set_index(["measure", "region", "hemisphere"])["value"]


def segmentation(model: FineModel, generator: np.random.Generator) -> roi.Segmentation:
    """Return the true labels on the fine grid, moved as by a registration."""
    labels = np.zeros(model.deep.shape, np.int16)
    for name, index in FREESURFER.items():
        labels[model.deep == DEEP_LABELS.index(name) + 1] = index
    left, right = (np.argwhere(labels == index).mean(axis=0) for index in (10, 49))
    across = (right - left).astype(np.float32)
    middle = (left + right) / 2
    x, y, z = np.ogrid[tuple(slice(0, n) for n in labels.shape)]
    offset = (x - middle[0]) * across[0] + (y - middle[1]) * across[1] + (z - middle[2]) * across[2]
    side = np.where(offset > 0, 2, 1).astype(np.uint8)
    atria = model.atria & ~model.plexus
    ventricle = (model.ventricle & ~model.plexus | atria) & (labels == 0)
    labels[ventricle] = np.where(side == 1, 4, 43)[ventricle]
    deep = Image(labels, model.affine)
    moved = np.eye(4)
    moved[:3, 3] = generator.normal(0, SHIFT_MM, 3)
    return roi.Segmentation(
        deepgray=deep,
        gre_to_t1w=moved,
        atria=deep.like(np.where(atria, side, 0).astype(np.uint8)),
        lesions=deep.like(model.lesion.astype(np.uint8)),
    )


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of the errors and what the intervals hold, for each protocol."""
    found = found.assign(held=found["error_ppb"].abs() <= 1.96 * found["standard_error_ppb"])
    groups = found.groupby(["protocol", found["side"].eq("LR").map({True: "both", False: "one"})])
    return groups.agg(
        n=("error_ppb", "size"),
        mean_error=("error_ppb", "mean"),
        rms_error=("error_ppb", lambda errors: float(np.sqrt((errors**2).mean()))),
        mean_standard_error=("standard_error_ppb", "mean"),
        held=("held", "mean"),
    ).round(2)


def main() -> None:
    """Measure what is asked for, append it, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=501)
    parser.add_argument("--protocols", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--t1w", action="store_true")
    parser.add_argument("--labels", type=Path, nargs="*", help="real heads, one a seed")
    chosen = parser.parse_args()
    # The other backgrounds take half of the time and are no part of this error.
    sys.modules["bids_qsmthal.qsm.variants"].RIVALS = {}
    for head in range(len(chosen.labels) if chosen.labels else chosen.heads):
        seed, kept = chosen.seed + head, (None, None)
        for name in chosen.protocols:
            scan, start = CASES[name], time.process_time()
            if kept[0] != (scan.size_mm, scan.field_t):
                drawn = person(np.random.default_rng(seed), protocol(scan))
                kept = ((scan.size_mm, scan.field_t), made_of(chosen.labels, head, drawn, seed))
            made = pd.DataFrame(
                measured(kept[1], scan, 1000 * seed + list(CASES).index(name), t1w=chosen.t1w)
            )
            made.insert(0, "protocol", name)
            made.insert(1, "seed", seed)
            made.insert(2, "head", chosen.labels[head].name if chosen.labels else "warped")
            made = made.assign(size_mm=scan.size_mm, field_t=scan.field_t, t1w=chosen.t1w)
            made.to_csv(chosen.out, sep="\t", mode="a", index=False, header=not chosen.out.exists())
            both = made.set_index("side").loc["LR"]
            print(
                f"{name}, seed {seed}: error {both['error_ppb']:+.2f}, standard error "
                f"{both['standard_error_ppb']:.2f} ppb, {time.process_time() - start:.0f} CPU-s",
                flush=True,
            )
    print(summary(pd.read_csv(chosen.out, sep="\t")).to_markdown())


if __name__ == "__main__":
    main()
