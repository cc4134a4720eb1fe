"""Magnitude beside its phase: what is found, and what is found where nothing lies beside.

``python benchmarks/displacement.py FOLDER [--seeds N ...]``

Every seed is a head, a protocol, a scenario of ``simulate.SCENARIOS`` and an SNR of its own. Its
first echo is judged as it is, with the air blanked in the magnitude or in both parts, and with a
magnitude that was moved, distorted or mirrored. Heads that are in FOLDER are used again. The limits
of ``qsm.displacement`` were set on seeds 500 to 509; those from 510 on had no part in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal import qsm, simulate
from bids_qsmthal.core.scan_warnings import (
    MagnitudeDisplaced,
    MagnitudeDistorted,
    MagnitudeFlipped,
)
from bids_qsmthal.qsm.displacement import check_aligned
from bids_qsmthal.simulate.scenarios import with_acquisition

Float = NDArray[np.float32]

VOXELS_MM = ((2.0, 2.0, 2.0), (1.0, 1.0, 3.0), (2.5, 2.5, 2.5), (1.5, 1.5, 2.0), (3.0, 3.0, 3.0))
ECHOES_MS = (3.0, 5.0, 8.0)
HARMLESS_VOXELS = 0.3
"""Displacements up to this move the number of the thalami by 1.2 ppb at most (docs/quality.md)."""

NOT_DISPLACED = ("high-pass", "sources")
"""Scenarios left out: one is refused, one needs longer than the first echo to be of interest."""


def first_echo(folder: Path, seed: int) -> tuple[str, float, Float, Float, NDArray[np.bool_]]:
    """Return scenario, voxel size along x, magnitude, phase (rad) and brain of a seed's scan."""
    path = folder / f"{seed}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **drawn(seed))
    kept = np.load(path)
    return str(kept["name"]), float(kept["size"]), kept["magnitude"], kept["phase"], kept["brain"]


def drawn(seed: int) -> dict[str, object]:
    """Draw a head, how it is scanned, and its first echo."""
    generator = np.random.default_rng(seed)
    names = [name for name in simulate.SCENARIOS if name not in NOT_DISPLACED]
    name = names[generator.integers(len(names))]
    size = VOXELS_MM[generator.integers(len(VOXELS_MM))]
    echo_s = ECHOES_MS[generator.integers(len(ECHOES_MS))] / 1000
    protocol = simulate.with_voxels(simulate.PROTOCOLS["coarse"], size)
    parameters = simulate.Parameters(
        protocol=protocol,
        scale=float(generator.uniform(0.86, 0.98)),
        atrophy=float(generator.uniform(0.1, 0.9)),
        oblique_deg=float(generator.uniform(-25, 25)),
        tilt_deg=float(generator.uniform(-8, 8)),
        snr=float(10 ** generator.uniform(1, 2)),
        bias=float(generator.uniform(0.1, 0.5)),
        coil_phase_rad=float(generator.uniform(0.5, 3)),
    )
    acquisition = qsm.Acquisition(echo_times_s=(echo_s,), field_strength_t=3.0)
    parameters = with_acquisition(parameters, acquisition)
    parameters, effects = simulate.SCENARIOS[name].applied(parameters)
    made = simulate.gradient_echo_scan(parameters, seed, effects)
    stored = {scan.name.split("_")[1]: scan.image.data for scan in made.scans}
    phase = stored["part-phase"].astype(np.float32) * np.float32(np.pi / 4096)
    magnitude = stored["part-mag"].astype(np.float32)
    brain = made.truth.images["space-MEGRE_desc-brain_mask"].data > 0
    kept = {"magnitude": magnitude, "phase": phase, "brain": brain}
    return {"name": f"{name}, SNR {parameters.snr:.0f}", "size": size[0], **kept}


def moved(image: Float, step: tuple[float, float, float]) -> Float:
    """Return the image moved by parts of a voxel, as interpolation moves it."""
    return np.asarray(ndimage.shift(image, step, order=1, mode="nearest"), np.float32)


def distorted(image: Float, most_voxels: float) -> Float:
    """Return an image that a correction of gradients drew outwards, by r^3, most at the edges."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    pull = most_voxels * (x * x + y * y + z * z)
    places = np.indices(image.shape, np.float32) - np.stack([x * pull, y * pull, z * pull])
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="nearest"), np.float32)


def stretched(image: Float, most_voxels: float) -> Float:
    """Return an image that is distorted along its second axis alone, one way only."""
    bump = np.linspace(-1, 1, image.shape[1], dtype=np.float32)
    places = np.indices(image.shape, np.float32)
    places[1] -= (most_voxels * (1 - bump**2))[None, :, None]
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="nearest"), np.float32)


def variants(magnitude: Float, phase: Float, brain: NDArray[np.bool_]) -> Iterator[tuple]:
    """Yield name, whether something is wrong, magnitude and phase."""
    head = ndimage.binary_dilation(brain, iterations=2)
    yield "intact", False, magnitude, phase
    yield "air blank in magnitude", False, np.where(head, magnitude, 0), phase
    yield "air blank in both", False, np.where(head, magnitude, 0), np.where(head, phase, 0)
    for axis in range(3):
        for step in (0.3, 0.4, 0.5, 0.75, 1.0):
            shift = [0.0, 0.0, 0.0]
            shift[axis] = step
            wrong = step > HARMLESS_VOXELS
            yield f"moved {step:g} along {axis + 1}", wrong, moved(magnitude, tuple(shift)), phase
        yield f"mirrored {axis + 1}", True, np.flip(magnitude, axis), phase
    for most in (1.0, 2.0, 3.0):
        yield f"drawn outwards {most:g}", True, distorted(magnitude, most), phase
        yield f"distorted along 2 by {most:g}", True, stretched(magnitude, most), phase


def said(found: MagnitudeDisplaced | MagnitudeDistorted | MagnitudeFlipped | None) -> str:
    """Return what was found, for the table."""
    if isinstance(found, MagnitudeDisplaced):
        return f"{found.first:+.2f} {found.second:+.2f} {found.third:+.2f}"
    if isinstance(found, MagnitudeDistorted):
        return f"parts {found.first:+.2f} {found.second:+.2f} {found.third:+.2f}"
    return f"mirrored {found.axes}" if found is not None else ""


def main() -> None:
    """Make the heads, judge every variant, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(500, 520)))
    chosen = parser.parse_args()
    rows = []
    for seed in chosen.seeds:
        name, _, *images = first_echo(chosen.folder, seed)
        for variant, wrong, magnitude, phase in variants(*images):
            found = said(check_aligned(magnitude, phase))
            rows.append({"seed": seed, "scan": name, "variant": variant, "found": found})
            if bool(found) != wrong:
                print(seed, name, images[0].shape, variant, found or "nothing", flush=True)
    table = pd.DataFrame(rows)
    table["said"] = table["found"] != ""
    counted = table.groupby("variant", sort=False)["said"].agg(["sum", "count"])
    print(counted.to_markdown())


if __name__ == "__main__":
    main()
