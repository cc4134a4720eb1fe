"""What the interval of the relative susceptibility holds, over protocols: error and standard error.

``python benchmarks/interval.py OUT.tsv [--heads N] [--seed S] [--protocols NAME ...]``

Simulated heads with true masks and labels on the grid of the gradient echo, so that what errs is
the chain from the signal to the number: field, background, inversion, and voxels that hold several
tissues. Every head has its own anatomy, lesions, susceptibility, coil and noise. One row a head and
protocol is appended to OUT.tsv as soon as it is known; a summary of the whole file is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal import qsm, roi, simulate
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import phase
from bids_qsmthal.simulate.compositions import DEEP_LABELS

SIX = tuple(round(0.0043 + 0.0055 * echo, 4) for echo in range(6))

INDICES = dict(zip(DEEP_LABELS[:10], (10, 49, 11, 50, 12, 51, 13, 52, 17, 53), strict=True))
"""FreeSurfer's numbers of the structures that the truth labels first."""


def protocol(size_mm: tuple[float, float, float], times_s: tuple[float, ...]) -> simulate.Protocol:
    """Return a protocol that covers the brain with voxels of a size, in about as many fine ones."""
    shape = tuple(
        round(length / size) for length, size in zip((174, 210, 136), size_mm, strict=True)
    )
    fine = tuple(max(1, round(size / 0.9)) for size in size_mm)
    return simulate.Protocol(
        name="x".join(f"{size:g}" for size in size_mm),
        voxel_size_mm=size_mm,
        shape=(shape[0], shape[1], shape[2]),
        oversampling=(fine[0], fine[1], fine[2]),
        acquisition=qsm.Acquisition(echo_times_s=times_s, field_strength_t=3.0),
        repetition_time_s=0.04,
        flip_angle_deg=15.0,
    )


CASES: dict[str, tuple[simulate.Protocol, float]] = {
    "1 mm, 6 echoes, SNR 40": (protocol((1.0, 1.0, 1.0), SIX), 40),
    "1.5 mm, 6 echoes, SNR 60": (protocol((1.5, 1.5, 1.5), SIX), 60),
    "2 mm, 6 echoes, SNR 60": (protocol((2.0, 2.0, 2.0), SIX), 60),
    "2.5 mm, 6 echoes, SNR 60": (protocol((2.5, 2.5, 2.5), SIX), 60),
    "3 mm, 6 echoes, SNR 60": (protocol((3.0, 3.0, 3.0), SIX), 60),
    "2 mm, 4 echoes, SNR 15": (protocol((2.0, 2.0, 2.0), SIX[:4]), 15),
    "2 mm, 3 echoes of 4/8/12 ms, SNR 40": (protocol((2.0, 2.0, 2.0), (0.004, 0.008, 0.012)), 40),
    "2 mm, 2 echoes of 5/20 ms, SNR 40": (protocol((2.0, 2.0, 2.0), (0.005, 0.020)), 40),
    "2 mm, 11 echoes, SNR 100": (
        protocol((2.0, 2.0, 2.0), tuple(round(0.0043 + 0.0047 * echo, 4) for echo in range(11))),
        100,
    ),
}


def person(generator: np.random.Generator, chosen: simulate.Protocol, snr: float):  # noqa: ANN201
    """Draw one head and how it is scanned."""
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
        snr=snr,
    )


def measured(parameters: simulate.Parameters, seed: int) -> list[dict[str, object]]:
    """Simulate a scan, reconstruct and measure it; one row a side."""
    made = simulate.gradient_echo_scan(parameters, seed)
    images = {scan.name: scan.image for scan in made.scans}
    echoes = range(1, len(parameters.protocol.acquisition.echo_times_s) + 1)

    def stacked(part: str) -> np.ndarray:
        parts = [images[f"echo-{echo}_part-{part}_MEGRE"].data for echo in echoes]
        return np.stack(parts, axis=-1).astype(np.float32)

    magnitude, angle = stacked("mag"), stacked("phase") * np.float32(np.pi / 4096)
    truth, acquisition = made.truth, parameters.protocol.acquisition
    brain = truth.images["space-MEGRE_desc-brain_mask"]
    mask, grid = brain.data > 0, brain.grid
    conventions = phase.Conventions(manufacturer="Siemens", sign=1)
    signal = phase.corrected(magnitude, angle, grid, acquisition, conventions)
    scan = signal.magnitude, signal.phase_rad, mask, grid, acquisition
    maps, others = qsm.reconstruct(*scan), qsm.variants(*scan)
    half = others.half_difference_ppm
    found = roi.measure(
        roi.Inputs(
            chi_ppm=brain.like(maps.chi_ppm),
            magnitude=brain.like(np.sqrt((signal.magnitude**2).sum(axis=-1))),
            qsm_mask=brain.like(maps.mask),
            r2star_hz=brain.like(maps.r2star_hz),
            segmentation=segmentation(truth),
            metrics=maps.quality,
            backgrounds_ppm={name: brain.like(chi) for name, chi in others.backgrounds.items()},
            half_difference_ppm=None if half is None else brain.like(half),
        )
    )
    value = found.table.set_index(["measure", "region", "hemisphere"])["value"]
    true = truth.numbers["chi_relative_csf"]
    return [
        {
            "side": side,
            "truth_ppb": true[side],
            "error_ppb": value["chi_relative_csf", "thalamus", side] - true[side],
            "standard_error_ppb": value["chi_relative_csf_se", "thalamus", side],
            "csf_voxels": maps.quality["csf_voxels"],
        }
        for side in ("L", "R", "LR")
    ]


def segmentation(truth: simulate.Truth) -> roi.Segmentation:
    """Return the true labels on the grid of the gradient echo."""
    deep = truth.images["space-MEGRE_desc-deepgray_dseg"]
    labels = np.zeros(deep.shape, np.int16)
    for name, index in INDICES.items():
        labels[deep.data == DEEP_LABELS.index(name) + 1] = index
    atria = truth.images["space-MEGRE_label-atria_mask"].data > 0
    ventricles = (truth.images["space-MEGRE_label-ventricle_mask"].data > 0) | atria
    left, right = (np.argwhere(labels == index).mean(axis=0) for index in (10, 49))
    offsets = np.indices(deep.shape, dtype=np.float32)
    offsets -= ((left + right) / 2).astype(np.float32)[:, None, None, None]
    side = np.where(np.tensordot(right - left, offsets, axes=1) > 0, 2, 1)
    labels[(labels == 0) & ventricles] = np.where(side == 1, 4, 43)[(labels == 0) & ventricles]
    return roi.Segmentation(
        deepgray=Image(labels, deep.affine),
        gre_to_t1w=np.eye(4),
        atria=deep.like(np.where(atria, side, 0).astype(np.uint8)),
        lesions=truth.images["space-MEGRE_label-lesion_mask"],
    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of the errors and what the intervals hold, for each protocol."""
    rows = rows.assign(held=rows["error_ppb"].abs() <= 1.96 * rows["standard_error_ppb"])
    groups = rows.groupby(["protocol", rows["side"].eq("LR").map({True: "both", False: "one"})])
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
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--seed", type=int, default=501)
    parser.add_argument("--protocols", nargs="*", default=list(CASES))
    chosen = parser.parse_args()
    for head in range(chosen.heads):
        for name in chosen.protocols:
            seed, start = chosen.seed + head, time.process_time()
            drawn = person(np.random.default_rng(seed), *CASES[name])
            rows = pd.DataFrame(measured(drawn, seed))
            rows.insert(0, "protocol", name)
            rows.insert(1, "seed", seed)
            fresh = not chosen.out.exists()
            rows.to_csv(chosen.out, sep="\t", mode="a", index=False, header=fresh)
            both = rows.set_index("side").loc["LR"]
            print(
                f"{name}, seed {seed}: error {both['error_ppb']:+.2f}, standard error "
                f"{both['standard_error_ppb']:.2f} ppb, {time.process_time() - start:.0f} CPU-s",
                flush=True,
            )
    print(summary(pd.read_csv(chosen.out, sep="\t")).to_markdown())


if __name__ == "__main__":
    main()
