"""How well iron and myelin are told apart, over people in whom they vary apart.

``python benchmarks/separation.py OUT.tsv [--people N] [--seed S] [--voxel SIZE] [--keep FOLDER]``
``python benchmarks/separation.py OUT.tsv --bounds``

Whole heads (3 mm, or ``--voxel``) whose sources, T2 and shape are drawn (``simulate.sources``):
echoes with noise, the default chain, then the sources by every method, against the true ones in the
same voxels (veins, borders and lesions left out). ``r2 known`` is the method with the true R2: what
is left of the errors there is susceptibility and R2*. ``r2 and chi known`` and ``r2 and r2star
known`` have the true one in their place as well, which says how much either of them errs. The rows
of ``2-D`` are of the same scans with the signal that slices lose to the gradient of the true field
across them, with and without the correction.

Rows go to OUT.tsv; bias, correlation over people and the error of one person are printed for each
region. ``--keep`` writes what the sources are made from, so that other rules for R2 can be tried
without the simulation; choose by some seeds and report others. ``--bounds`` prints what three pools
(DECOMPOSE) could do at best, and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from bids_qsmthal import qsm, simulate
from bids_qsmthal.core.grid import Array, Mask
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import phase, separation
from bids_qsmthal.qsm.acquisition import GYROMAGNETIC_RATIO_HZ_PER_T
from bids_qsmthal.qsm.relaxation import WeightedExponential
from bids_qsmthal.simulate.compositions import REGIONS, labels_of
from bids_qsmthal.simulate.effects import Effects
from bids_qsmthal.simulate.parameters import COARSE, Protocol, with_voxels
from bids_qsmthal.simulate.sources import SourceSpread

PROTOCOLS = {
    "3": replace(with_voxels(COARSE, (3.0, 3.0, 3.0)), oversampling=(2, 2, 2)),
    "1.5x1.5x2": COARSE,
}
"""Each voxel is made of eight."""

FEWEST_VOXELS = 8
CANCELLING_PPB = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One scan: what the chain makes of it, and what is true."""

    maps: qsm.Maps
    grid: qsm.Grid
    acquisition: qsm.Acquisition
    magnitude: Array
    iron_ppm: Array
    myelin_ppm: Array
    r2star_hz: Array
    total_field_hz: Array
    regions: dict[str, Mask]

    @property
    def chi_ppm(self) -> Array:
        """Susceptibility against CSF."""
        return self.maps.chi_ppm - self.maps.chi_ppm[self.maps.csf_mask].mean()

    @property
    def true_chi_ppm(self) -> Array:
        """The truth, against the same CSF."""
        chi = self.iron_ppm + self.myelin_ppm
        return chi - chi[self.maps.csf_mask].mean()

    @property
    def r2_hz(self) -> Array:
        """What of the true decay no source makes."""
        made = separation.RELAXIVITY_HZ_PER_PPM * (self.iron_ppm - self.myelin_ppm)
        return self.r2star_hz - made


def person(protocol: Protocol, generator: np.random.Generator) -> simulate.Parameters:
    """Draw one head and how it lies."""
    return simulate.Parameters(
        protocol=protocol,
        vendor=simulate.VENDORS["siemens"],
        lesion_ml=float(generator.uniform(5, 25)),
        atrophy=float(generator.uniform(0, 0.8)),
        scale=float(generator.uniform(0.9, 0.99)),
        deformation_mm=float(generator.uniform(2, 3.5)),
        motion=0.0,
    )


def measured(seed: int, protocol: Protocol) -> Measured:
    """Simulate a person and reconstruct the scan."""
    parameters = person(protocol, np.random.default_rng(seed))
    made = simulate.gradient_echo_scan(parameters, seed, Effects(sources=SourceSpread()))
    stored = {scan.name: scan.image.data for scan in made.scans}
    times = range(1, len(parameters.protocol.acquisition.echo_times_s) + 1)
    parts = [
        np.stack([stored[f"echo-{echo}_part-{part}_MEGRE"] for echo in times], axis=-1)
        for part in ("mag", "phase")
    ]
    truth = made.truth.images
    brain = truth["space-MEGRE_desc-brain_mask"]
    grid, acquisition = brain.grid, parameters.protocol.acquisition
    conventions = phase.Conventions(manufacturer="Siemens", sign=1)
    angle_rad = parts[1].astype(np.float32) * np.float32(np.pi / 4096)
    signal = phase.corrected(
        *(parts[0].astype(np.float32), angle_rad, grid, acquisition, conventions)
    )
    maps = qsm.reconstruct(*(signal.magnitude, signal.phase_rad, brain.data > 0, grid, acquisition))
    return Measured(
        maps=maps,
        grid=grid,
        acquisition=acquisition,
        magnitude=signal.magnitude,
        iron_ppm=truth["desc-paramagnetic_Chimap"].data,
        myelin_ppm=truth["desc-diamagnetic_Chimap"].data,
        r2star_hz=truth["R2starmap"].data,
        total_field_hz=truth["desc-total_fieldmap"].data,
        regions=regions(truth, maps.mask),
    )


def regions(truth: dict[str, Image], mask: Mask) -> dict[str, Mask]:
    """Return the voxels of each region: no vein, no lesion, no border."""
    images = {name.removeprefix("space-MEGRE_"): image.data for name, image in truth.items()}
    inside = mask & (images["label-vein_percent"] == 0)
    lesion, labels = images["label-lesion_mask"] > 0, images["desc-deepgray_dseg"]
    found = {name: np.isin(labels, labels_of(name)) & ~lesion for name in REGIONS}
    found = {name: _inner(region) & inside for name, region in found.items()}
    found["lesion"] = ndimage.binary_erosion(lesion) & inside
    return {name: region for name, region in found.items() if region.sum() >= FEWEST_VOXELS}


def _inner(region: Mask) -> Mask:
    """Return a region without its border, or whole where it has nothing else."""
    within = ndimage.binary_erosion(region)
    return within if within.sum() >= FEWEST_VOXELS else region


def found_by_all(scan: Measured) -> Iterator[tuple[str, separation.Sources]]:
    """Return the sources by each method."""
    field_t = scan.acquisition.effective_field_t
    for name, method in separation.SEPARATIONS.items():
        if method is not None:
            sources = method(scan.chi_ppm, scan.maps.r2star_hz, field_t)
            yield name, sources
    known, rate_hz = separation.R2StarSeparation(), scan.maps.r2star_hz
    yield "r2 known", known(scan.chi_ppm, rate_hz, field_t, r2_hz=scan.r2_hz)
    yield "r2 and chi known", known(scan.true_chi_ppm, rate_hz, field_t, r2_hz=scan.r2_hz)
    yield "r2 and r2star known", known(scan.chi_ppm, scan.r2star_hz, field_t, r2_hz=scan.r2_hz)
    yield from _in_slices(scan)


def _in_slices(scan: Measured) -> Iterator[tuple[str, separation.Sources]]:
    """Return the sources of the scan with slices excited one by one, as it is and corrected."""
    step_hz = np.gradient(scan.total_field_hz, axis=2)
    left = np.abs(np.sinc(step_hz[..., None] * np.array(scan.acquisition.echo_times_s)))
    times_s = scan.acquisition.echo_times_s
    rate = WeightedExponential()(scan.magnitude * left, scan.maps.mask, times_s)
    added, kept = separation.macroscopic_rate_hz(
        *(scan.maps.total_field_hz, rate, scan.maps.mask),
        *(separation.SliceStack(axis=2), times_s),
    )
    method = separation.R2StarSeparation()
    for name, one in (("2-D, raw", rate), ("2-D, corrected", rate - added)):
        found = method(scan.chi_ppm, one, scan.acquisition.effective_field_t, r2_hz=scan.r2_hz)
        known = scan.maps.mask & kept
        yield name, separation.Sources(found.chi_ppm, found.size_ppm, known)


def rows(scan: Measured, seed: int) -> Iterator[dict[str, object]]:
    """Return one row for each method, region and source."""
    for method, sources in found_by_all(scan):
        for name, region in scan.regions.items():
            inside = region & sources.known
            if not inside.any():
                continue
            truths = (1000 * float(one[inside].mean()) for one in (scan.iron_ppm, scan.myelin_ppm))
            means = (1000 * one for one in sources.means_ppm(inside))
            signs = ("paramagnetic", "diamagnetic")
            for sign, truth, value in zip(signs, truths, means, strict=True):
                yield {
                    "seed": seed,
                    "method": method,
                    "region": name,
                    "source": sign,
                    "voxels": int(inside.sum()),
                    "true_ppb": truth,
                    "found_ppb": value,
                }


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return bias, correlation and the error of one person, by method, region and source."""

    def of(group: pd.DataFrame) -> pd.Series:
        truth, value = group["true_ppb"], group["found_ppb"]
        slope = np.polyfit(truth, value, 1)[0] if len(group) > 2 else np.nan
        return pd.Series(
            {
                "people": len(group),
                "true_ppb": truth.mean(),
                "found_ppb": value.mean(),
                "off_percent": 100 * (value.mean() / truth.mean() - 1),
                "r": truth.corr(value),
                "slope": slope,
                "rmse_ppb": np.sqrt(((value - truth) ** 2).mean()),
            }
        )

    keys = ["method", "source", "region"]
    return found.groupby(keys, sort=False)[["true_ppb", "found_ppb"]].apply(of).round(2)


def cancelling(found: pd.DataFrame) -> pd.DataFrame:
    """Return the same over all regions in which the true sources cancel to within 10 ppb."""
    keys = ["seed", "method", "region"]
    net = found.groupby(keys)["true_ppb"].transform("sum").abs()
    return summary(found[net < CANCELLING_PPB].assign(region="cancelling"))


THALAMUS = (0.6, 0.2, 0.2, 0.080, -0.180, 12.8)
"""Shares of three pools, the susceptibility (ppm) of two of them, R2 (1/s): 16 and -36 ppb."""


def pools(parameters: Array, times_s: Array) -> Array:
    """Return the signal of DECOMPOSE at 3 T (Chen 2021, doi 10.1016/j.neuroimage.2021.118477)."""
    rest, plus, minus, chi_plus, chi_minus, r2_hz = parameters
    hz_per_ppm = GYROMAGNETIC_RATIO_HZ_PER_T * separation.FIELD_T / 1e6
    # Static dephasing by random spheres; both pools decay the faster for their sources.
    decay = 2 * np.pi / (9 * np.sqrt(3)) * hz_per_ppm
    turn = 1j * 2 / 3 * 2 * np.pi * hz_per_ppm
    signal = rest + sum(
        share * np.exp(-(decay * abs(chi) + turn * chi) * times_s)
        for share, chi in ((plus, chi_plus), (minus, chi_minus))
    )
    return np.asarray(signal * np.exp(-r2_hz * times_s))


def bounds(times_s: Array, snr: float) -> dict[str, float]:
    """Return the least standard error (ppb) of a source of one voxel: three pools, and by R2*."""
    at, step = np.array(THALAMUS), 1e-6
    changes = [
        (pools(at + one, times_s) - pools(at - one, times_s)) / (2 * step)
        for one in step * np.eye(len(at))
    ]
    slopes = snr * np.array([np.r_[one.real, one.imag] for one in changes]).T
    # The paramagnetic source of a voxel is share times susceptibility.
    source = 1000 * np.array([0, at[3], 0, at[1], 0, 0])
    three = np.linalg.lstsq(slopes.T, source, rcond=None)[0]
    decay = np.exp(-20 * times_s)
    one_pool = snr * np.array([decay, -times_s * decay]).T
    rate_se = float(np.sqrt(np.linalg.inv(one_pool.T @ one_pool)[1, 1]))
    return {
        "three pools": float(np.linalg.norm(three)),
        "R2*": 1000 * rate_se / (2 * separation.RELAXIVITY_HZ_PER_PPM),
        "condition": float(np.linalg.cond(slopes)),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2000)
    parser.add_argument("--voxel", choices=PROTOCOLS, default="3")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--bounds", action="store_true", help="Cramer-Rao bounds alone")
    options = parser.parse_args()
    if options.bounds:
        for times_s in (0.005 * np.arange(1, 5), 0.0043 + 0.0047 * np.arange(11)):
            print(f"{times_s.size} echoes", bounds(times_s, snr=60))
        return
    made: list[dict[str, object]] = []
    for seed in range(options.seed, options.seed + options.people):
        scan = measured(seed, PROTOCOLS[options.voxel])
        made += rows(scan, seed)
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            inside = np.any(list(scan.regions.values()), axis=0)
            arrays = ("chi_ppm", "iron_ppm", "myelin_ppm", "r2star_hz", "r2_hz")
            kept = {name: getattr(scan, name)[inside] for name in arrays}
            kept["fitted_hz"] = scan.maps.r2star_hz[inside]
            kept |= {f"in_{name}": region[inside] for name, region in scan.regions.items()}
            np.savez(options.keep / f"{seed}.npz", **kept)
        pd.DataFrame(made).to_csv(options.out, sep="\t", index=False)
    table = pd.DataFrame(made)
    print(summary(table).to_string())
    print(cancelling(table).to_string())


if __name__ == "__main__":
    main()
