"""Magnitude beside its phase: what is found, and what is found where nothing lies beside.

``python benchmarks/displacement.py FOLDER [--seeds N ...]``

Every seed is a head, a protocol, a scenario of ``simulate.SCENARIOS`` and an SNR of its own. It is
judged as it is, with the air blanked in the magnitude or in both parts, and with a magnitude that
was moved, distorted or mirrored, as a whole or in the middle of the head alone. Heads that are in
FOLDER are used again. The limits of ``qsm.displacement`` were set on seeds 500 to 509; those from
510 on had no part in them. Those of ``qsm.local_displacement`` were set on four heads made with
other draws (1.5 to 3 mm, two to four echoes, SNR 25 to 58), none of them from a seed of this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from bids_qsmthal.qsm.local_displacement import check_parts
from bids_qsmthal.qsm.phase import brain_like
from bids_qsmthal.simulate.scenarios import with_acquisition

Float = NDArray[np.float32]

VOXELS_MM = ((2.0, 2.0, 2.0), (1.0, 1.0, 3.0), (2.5, 2.5, 2.5), (1.5, 1.5, 2.0), (3.0, 3.0, 3.0))
ECHOES_MS = (3.0, 5.0, 8.0)
"""Of the first echo; the others follow it in steps of the same length."""

MOST_ECHOES = 4
HARMLESS_VOXELS = 0.3
"""Displacements up to this move the number of the thalami by 1.2 ppb at most (docs/quality.md)."""

MIDDLE = ((25.0, 0.5), (25.0, 1.0), (25.0, 2.0), (25.0, 3.0), (40.0, 2.0), (20.0, 2.0))
"""Width in mm and size in voxels of displacements in the middle of the head alone."""

NOT_DISPLACED = ("high-pass", "sources")
"""Scenarios left out: one is refused, one needs longer than the first echo to be of interest."""


@dataclass(frozen=True)
class Scan:
    """A seed's scan: phase in rad, both parts of shape (x, y, z, echo)."""

    name: str
    voxel_size_mm: NDArray[np.float64]
    times_s: tuple[float, ...]
    magnitude: Float
    phase_rad: Float
    brain: NDArray[np.bool_]


def scan_of(folder: Path, seed: int) -> Scan:
    """Return a seed's scan, made where it is not kept."""
    path = folder / f"{seed}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **drawn(seed))
    kept = np.load(path)
    return Scan(
        str(kept["name"]),
        kept["size"],
        tuple(float(time) for time in kept["times"]),
        kept["magnitude"],
        kept["phase"],
        kept["brain"],
    )


def drawn(seed: int) -> dict[str, object]:
    """Draw a head and how it is scanned."""
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
    # Drawn last: what was drawn before stays what it was with one echo.
    times = tuple(echo_s * (1 + echo) for echo in range(generator.integers(2, MOST_ECHOES + 1)))
    acquisition = qsm.Acquisition(echo_times_s=times, field_strength_t=3.0)
    parameters = with_acquisition(parameters, acquisition)
    parameters, effects = simulate.SCENARIOS[name].applied(parameters)
    made = simulate.gradient_echo_scan(parameters, seed, effects)
    magnitude, phase = (
        np.stack([scan.image.data for scan in made.scans if part in scan.name], -1)
        for part in ("part-mag", "part-phase")
    )
    phase = phase.astype(np.float32) * np.float32(np.pi / 4096)
    magnitude = magnitude.astype(np.float32)
    brain = made.truth.images["space-MEGRE_desc-brain_mask"].data > 0
    kept: dict[str, object] = {"magnitude": magnitude, "phase": phase, "brain": brain}
    protocol = parameters.protocol
    kept |= {"size": protocol.voxel_size_mm, "times": protocol.acquisition.echo_times_s}
    return {"name": f"{name}, SNR {parameters.snr:.0f}", **kept}


def moved(image: Float, step: tuple[float, float, float]) -> Float:
    """Return the image moved by parts of a voxel, as interpolation moves it."""
    return sampled(image, np.indices(image.shape[:3], np.float32) - at_every_voxel(step))


def at_every_voxel(values: Sequence[float]) -> Float:
    """Return three values in a shape that goes with those of indices."""
    return np.array(values, np.float32)[:, None, None, None]


def sampled(image: Float, places: Float) -> Float:
    """Return every echo at other places, shape (3, x, y, z)."""
    echoes = [
        ndimage.map_coordinates(image[..., echo], places, order=1, mode="nearest")
        for echo in range(image.shape[-1])
    ]
    return np.stack(echoes, axis=-1).astype(np.float32)


def distorted(image: Float, most_voxels: float) -> Float:
    """Return an image that a correction of gradients drew outwards, by r^3, most at the edges."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape[:3]]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    pull = most_voxels * (x * x + y * y + z * z)
    places = np.indices(image.shape[:3], np.float32) - np.stack([x * pull, y * pull, z * pull])
    return sampled(image, places)


def stretched(image: Float, most_voxels: float) -> Float:
    """Return an image that is distorted along its second axis alone, one way only."""
    bump = np.linspace(-1, 1, image.shape[1], dtype=np.float32)
    places = np.indices(image.shape[:3], np.float32)
    places[1] -= (most_voxels * (1 - bump**2))[None, :, None]
    return sampled(image, places)


def bulged(scan: Scan, axis: int, most_voxels: float, sd_mm: float) -> Float:
    """Return the magnitude displaced along an axis, in the middle of the brain alone."""
    places = np.indices(scan.brain.shape, np.float32)
    from_middle = places - at_every_voxel(ndimage.center_of_mass(scan.brain))
    distance2 = ((from_middle * at_every_voxel(scan.voxel_size_mm)) ** 2).sum(axis=0)
    places[axis] -= np.float32(most_voxels) * np.exp(-distance2 / np.float32(2 * sd_mm**2))
    return sampled(scan.magnitude, places)


def variants(scan: Scan) -> Iterator[tuple[str, bool, Float, Float]]:
    """Yield name, whether something is wrong, magnitude and phase."""
    magnitude, phase = scan.magnitude, scan.phase_rad
    head = ndimage.binary_dilation(scan.brain, iterations=2)[..., None]
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
    for sd_mm, most in MIDDLE:
        for axis in range(3):
            name = f"middle (SD {sd_mm:g} mm) by {most:g} along {axis + 1}"
            yield name, True, bulged(scan, axis, most, sd_mm), phase


def said(found: MagnitudeDisplaced | MagnitudeDistorted | MagnitudeFlipped | None) -> str:
    """Return what was found, for the table."""
    if isinstance(found, MagnitudeDisplaced):
        return f"{found.first:+.2f} {found.second:+.2f} {found.third:+.2f}"
    if isinstance(found, MagnitudeDistorted):
        return f"parts {found.first:+.2f} {found.second:+.2f} {found.third:+.2f}"
    return f"mirrored {found.axes}" if found is not None else ""


def judged(
    scan: Scan, magnitude: Float, phase: Float
) -> MagnitudeDisplaced | MagnitudeDistorted | MagnitudeFlipped | None:
    """Return what the app finds: as a whole in the first echo, then in parts in the last two."""
    whole = check_aligned(magnitude[..., 0], phase[..., 0])
    return whole or check_parts(magnitude, phase, scan.times_s, brain_like(magnitude))


def main() -> None:
    """Make the heads, judge every variant, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(500, 520)))
    parser.add_argument("--variants", nargs="+", default=[""], help="first letters of those wanted")
    chosen = parser.parse_args()
    rows = []
    for seed in chosen.seeds:
        scan = scan_of(chosen.folder, seed)
        for variant, wrong, magnitude, phase in variants(scan):
            if not any(variant.startswith(start) for start in chosen.variants):
                continue
            found = said(judged(scan, magnitude, phase))
            rows.append({"seed": seed, "scan": scan.name, "variant": variant, "found": found})
            if bool(found) != wrong:
                print(seed, scan.name, magnitude.shape, variant, found or "nothing", flush=True)
    table = pd.DataFrame(rows)
    table["said"] = table["found"] != ""
    counted = table.groupby("variant", sort=False)["said"].agg(["sum", "count"])
    print(counted.to_markdown())


if __name__ == "__main__":
    main()
