"""Speed and accuracy of the susceptibility chain.

``python benchmarks/qsm.py speed``             CPU-seconds, transforms, memory at the study's matrix
``python benchmarks/qsm.py files``             wall seconds from packed files to susceptibility
``python benchmarks/qsm.py scaling``           cost against voxels and echoes
``python benchmarks/qsm.py solvers``           the accelerated solver against the reference
``python benchmarks/qsm.py accuracy [FOLDER]`` every inversion and background against truth
``python benchmarks/qsm.py phase [FOLDER]``    unwrapping and phase offset against the true field
``python benchmarks/qsm.py masks``             ``--mask`` and its threshold on scans with dropouts

FOLDER has ``bids/`` and ``truth/`` as ``bids_qsmthal demo`` writes them; without it, participants
are simulated. CPU-seconds count user and system time of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import fft, ndimage

from bids_qsmthal import qsm, simulate
from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import GreFiles
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.execution.worker import keep_freed_memory, thread_limits
from bids_qsmthal.qsm import phase
from bids_qsmthal.qsm.csf import depth
from bids_qsmthal.qsm.field import ComplexFit
from bids_qsmthal.qsm.medi import GaussNewton, SplitBregman
from bids_qsmthal.qsm.operators import box_around, convolve, dipole_kernel
from bids_qsmthal.qsm.scaling import find_scale, to_radians
from bids_qsmthal.qsm.temporal import EchoByEcho

STUDY = qsm.Grid((416, 320, 70), (0.5, 0.5, 2.0), (0.0, 0.17364818, 0.98480775))
STUDY_TIMES_S = tuple(round(0.0043 + 0.0047 * echo, 6) for echo in range(11))


def as_in_a_run() -> None:
    """Give this process the threads and the memory of one that works on a participant.

    The libraries have read their number of threads by now: it starts anew where that is another.
    """
    limits = thread_limits(len(os.sched_getaffinity(0)))
    if any(os.environ.get(name) != value for name, value in limits.items()):
        os.execve(  # noqa: S606 - itself
            sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits}
        )
    keep_freed_memory()


def cpu_s() -> float:
    """Return user and system time of this process so far."""
    return time.process_time()


def peak_gb() -> float:
    """Return the largest memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@dataclass
class Timed:
    """A step of the chain that notes what it costs."""

    step: Any
    spent: list[tuple[float, float]] = field(default_factory=list)
    result: Any = None
    given: tuple[Any, ...] = ()

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - any step
        """Run the step."""
        cpu, wall = cpu_s(), time.perf_counter()
        self.given, self.result = args, self.step(*args)
        self.spent.append((cpu_s() - cpu, time.perf_counter() - wall))
        return self.result


class Scan(NamedTuple):
    """What goes into the chain."""

    magnitude: np.ndarray
    phase_rad: np.ndarray
    mask: np.ndarray
    grid: qsm.Grid
    acquisition: qsm.Acquisition


def ellipsoid(
    grid: qsm.Grid, centre_mm: tuple[float, ...], radii_mm: tuple[float, ...]
) -> np.ndarray:
    """Return the voxels of an ellipsoid."""
    axes = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    return (
        sum(
            (((axis - n / 2) * d - c) / r) ** 2
            for axis, n, d, c, r in zip(
                axes, grid.shape, grid.voxel_size_mm, centre_mm, radii_mm, strict=True
            )
        )
        <= 1
    )


def head(grid: qsm.Grid, times_s: tuple[float, ...], snr: float = 60.0) -> Scan:
    """Return a scan of an ellipsoidal head with ventricles, nuclei, vessels and an air sinus."""
    length, width, height = (n * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True))
    mask = ellipsoid(grid, (0, 0, 0), (0.42 * length, 0.43 * width, 0.49 * height))
    chi = np.where(mask, -0.03, 0).astype(np.float32)
    rate_hz = np.full(grid.shape, 20.0, np.float32)
    for centre, radii, value, rate in (
        ((0, 0, 10), (28, 12, 12), 0.0, 1.5),
        ((10, 25, 0), (14, 9, 9), 0.10, 40.0),
        ((10, -25, 0), (14, 9, 9), 0.06, 30.0),
        ((-20, 9, 2), (12, 8, 8), -0.01, 25.0),
        ((-20, -9, 2), (12, 8, 8), -0.01, 25.0),
        ((-50, 0, 30), (3, 30, 2), 0.3, 45.0),
    ):
        where = ellipsoid(grid, centre, radii)
        chi[where], rate_hz[where] = value, rate
    rng = np.random.default_rng(7)
    chi += mask * ndimage.gaussian_filter(
        rng.standard_normal(grid.shape, dtype=np.float32), [2 / d for d in grid.voxel_size_mm]
    )
    air = ellipsoid(grid, (0.44 * length, 0, -0.42 * height), (14, 14, 12)) & ~mask
    acquisition = qsm.Acquisition(echo_times_s=times_s, field_strength_t=3.0)
    hz = np.float32(acquisition.centre_frequency_hz * 1e-6)
    field_hz = convolve(chi + np.where(air, np.float32(6), np.float32(0)), dipole_kernel(grid)) * hz
    shape = (*grid.shape, len(times_s))
    magnitude, angle = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for echo, time_s in enumerate(times_s):
        signal = (mask * np.exp(-rate_hz * np.float32(time_s))).astype(np.complex64)
        signal *= np.exp(1j * np.float32(2 * np.pi * time_s) * field_hz)
        signal.real += rng.standard_normal(grid.shape, dtype=np.float32) / snr
        signal.imag += rng.standard_normal(grid.shape, dtype=np.float32) / snr
        magnitude[..., echo], angle[..., echo] = np.abs(signal), np.angle(signal)
    return Scan(magnitude, angle, mask, grid, acquisition)


STEPS = ("fitting", "relaxation", "csf", "background", "inversion")


def timed_chain(scan: Scan, settings: qsm.Reconstruction) -> dict[str, Timed]:
    """Run the chain and return its steps with what they cost."""
    steps = {name: Timed(getattr(settings, name)) for name in STEPS}
    whole = Timed(lambda: qsm.reconstruct(*scan, settings=replace(settings, **steps)))
    whole()
    return {**steps, "fit to chi": whole}


def compile_first() -> None:
    """Run the chain on a small head so that compilation is on nobody's clock."""
    small = head(qsm.Grid((48, 40, 24), (4.0, 4.0, 5.0), STUDY.b0_direction), STUDY_TIMES_S[:4])
    qsm.reconstruct(*small)


def fft_cost_s(grid: qsm.Grid) -> float:
    """Return the CPU-seconds of one real transform, two of which travel in a complex one."""
    values = np.ones(grid.shape, np.complex64)
    fft.ifftn(fft.fftn(values, overwrite_x=True), overwrite_x=True)
    start = cpu_s()
    for _ in range(4):
        values = fft.ifftn(fft.fftn(values, overwrite_x=True), overwrite_x=True)
    return (cpu_s() - start) / 16


def speed() -> None:
    """Print what the study's matrix costs."""
    compile_first()
    scan = head(STUDY, STUDY_TIMES_S)
    base = peak_gb()
    steps = timed_chain(scan, qsm.Reconstruction())
    print(f"{'step':12} {'CPU-s':>8} {'wall s':>8}")
    for name, step in steps.items():
        cpu, wall = step.spent[0]
        print(f"{name:12} {cpu:8.2f} {wall:8.2f}")
    found = steps["inversion"].result
    box = box_around(scan.mask, scan.grid, qsm.Reconstruction().inversion.margin_mm)
    share = found.transforms * fft_cost_s(box.grid(scan.grid))
    print(f"inversion: {found.transforms} real transforms of {box.shape}, {share:.2f} CPU-s;")
    print(f"  all of it costs {steps['inversion'].spent[0][0] / share:.2f} times its transforms")
    print(f"peak memory {peak_gb():.2f} GB, of which the scan and its making {base:.2f} GB")


def files() -> None:
    """Print how long it takes from the study's packed files to susceptibility."""
    compile_first()
    scan = head(STUDY, STUDY_TIMES_S)
    affine = np.diag([*STUDY.voxel_size_mm, 1.0])
    # The files lie oblique to B0 as the scan does.
    _, across, along = STUDY.b0_direction
    affine[:3, :3] = np.array([[1, 0, 0], [0, along, -across], [0, across, along]]) @ affine[:3, :3]
    with tempfile.TemporaryDirectory() as made:
        paths = _packed(scan, affine, Path(made) / "sub-01" / "anat")
        scan = scan._replace(magnitude=np.empty(0), phase_rad=np.empty(0))
        start, cpu = time.perf_counter(), cpu_s()
        series = gre_series.describe(GreFiles(entities=(), paths=paths), Path(made))
        magnitude, angle, affine = gre_series.load(series)
        grid = Image(magnitude, affine).grid
        # The field of this head is local alone, as if a filter had taken away the rest.
        known = phase.Conventions(filtered="no")
        found = phase.corrected(magnitude, angle, grid, series.acquisition, known)
        read = time.perf_counter() - start
        qsm.reconstruct(found.magnitude, found.phase_rad, scan.mask, grid, series.acquisition)
        wall, spent = time.perf_counter() - start, cpu_s() - cpu
    print(f"files to susceptibility: {wall:.1f} s wall (reading {read:.1f}), {spent:.1f} CPU-s")


def _packed(scan: Scan, affine: np.ndarray, folder: Path) -> tuple[Path, ...]:
    """Write a scan as 16-bit gzipped images with sidecars, as converters do."""
    folder.mkdir(parents=True)
    paths = []
    for echo, time_s in enumerate(scan.acquisition.echo_times_s):
        for part, values in (("mag", scan.magnitude), ("phase", scan.phase_rad)):
            path = folder / f"sub-01_echo-{echo + 1}_part-{part}_MEGRE.nii.gz"
            steps = np.rint(values[..., echo] / 1e-4).astype(np.int16)
            nifti.save(Image(steps, affine), path, slope=1e-4)
            sidecar = {"EchoTime": time_s, "MagneticFieldStrength": 3.0}
            if part == "phase":
                sidecar["Units"] = "rad"
            path.with_name(f"{path.name.removesuffix('.nii.gz')}.json").write_text(
                json.dumps(sidecar)
            )
            paths.append(path)
    return tuple(paths)


def solvers() -> None:
    """Print what both solvers of the one functional cost, and how low they get."""
    compile_first()
    grid = qsm.Grid((104, 80, 70), (2.0, 2.0, 2.0), STUDY.b0_direction)
    scan = head(grid, STUDY_TIMES_S[:4])
    steps = timed_chain(scan, qsm.Reconstruction())
    local = steps["inversion"].given
    print(
        f"{'solver':36} {'CPU-s':>8} {'transforms':>10} {'objective':>10} {'rms to last ppb':>16}"
    )
    found = {}
    for name, solver in SOLVERS_COMPARED.items():
        timed = Timed(qsm.INVERSIONS["medi"](solver=solver))
        found[name] = timed(*local), timed.spent[0][0]
    converged = found["Gauss-Newton, to the end"][0].chi_ppm
    for name, (result, spent_s) in found.items():
        rms = 1e3 * np.std((result.chi_ppm - converged)[local[0].mask])
        print(
            f"{name:36} {spent_s:8.2f} {result.transforms:10d} {result.objective:10.0f} {rms:16.2f}"
        )


SOLVERS_COMPARED = {
    "accelerated, 24 iterations": SplitBregman(reweighting=()),
    "accelerated, 200 iterations": SplitBregman(iterations=200, reweighting=()),
    "Gauss-Newton, as published": GaussNewton(reweighting=False),
    "Gauss-Newton, strict": GaussNewton(
        iterations=30, tolerance=0.01, cg_tolerance=1e-3, reweighting=False
    ),
    "Gauss-Newton, to the end": GaussNewton(
        iterations=60,
        tolerance=2e-3,
        cg_iterations=400,
        cg_tolerance=3e-4,
        epsilon=1e-8,
        reweighting=False,
    ),
}


def scaling() -> None:
    """Print cost against voxels and against echoes."""
    compile_first()
    for step_mm in (4.0, 3.0, 2.0):
        shape = tuple(round(length / step_mm) for length in (208, 160, 140))
        scan = head(qsm.Grid(shape, (step_mm,) * 3, STUDY.b0_direction), STUDY_TIMES_S[:5])
        steps = timed_chain(scan, qsm.Reconstruction())
        show(f"{scan.mask.size / 1e6:.2f} M voxels, 5 echoes", steps)
    for echoes in (3, 6, 11):
        scan = head(
            qsm.Grid((104, 80, 70), (2.0, 2.0, 2.0), STUDY.b0_direction), STUDY_TIMES_S[:echoes]
        )
        show(
            f"{scan.mask.size / 1e6:.2f} M voxels, {echoes} echoes",
            timed_chain(scan, qsm.Reconstruction()),
        )


def show(title: str, steps: dict[str, Timed]) -> None:
    """Print one line of costs."""
    print(f"{title:28}", *(f"{name} {step.spent[0][0]:.2f}" for name, step in steps.items()))


class Case(NamedTuple):
    """A scan and its truth."""

    name: str
    scan: Scan
    truth: dict[str, np.ndarray]
    thalamus_ppb: float


def folder_cases(folder: Path) -> list[Case]:
    """Read participants with truth."""
    return [_read_case(path, folder) for path in sorted((folder / "bids").glob("sub-*"))]


METHODS: dict[str, dict[str, Any]] = {
    "joint + MEDI+0 (default)": {},
    "joint + MEDI (no CSF)": {"inversion": qsm.INVERSIONS["medi"](csf_regularisation=0.0)},
    "joint + TV": {"inversion": qsm.INVERSIONS["tv"]()},
    "joint + TV, no weights": {"inversion": qsm.INVERSIONS["tv"](weighted=False)},
    "joint + L2": {"inversion": qsm.INVERSIONS["l2"]()},
    "joint + TKD": {"inversion": qsm.INVERSIONS["tkd"]()},
    "PDF + MEDI+0": {"background": qsm.BACKGROUNDS["pdf"]()},
    "V-SHARP + MEDI+0": {"background": qsm.BACKGROUNDS["v-sharp"]()},
    "RESHARP + MEDI+0": {"background": qsm.BACKGROUNDS["resharp"]()},
    "iSMV + MEDI+0": {"background": qsm.BACKGROUNDS["ismv"]()},
    "LBV + MEDI+0": {"background": qsm.BACKGROUNDS["lbv"]()},
}


def _read_case(path: Path, folder: Path) -> Case:
    """Read one participant of a folder, whatever the vendor stored."""
    name = path.name
    files = tuple(sorted((path / "anat").glob(f"{name}_echo-*_part-*_MEGRE.nii.gz")))
    series = gre_series.describe(GreFiles(entities=(), paths=files), folder / "bids")
    first, second, affine = gre_series.load(series)
    if series.parts == ("real", "imag"):
        magnitude, angle = phase.complex_to_magnitude_phase(first, second)
    else:
        magnitude, angle = first, np.empty_like(second)
        scale = find_scale(
            second[..., -1],
            units=series.phase_units,
            manufacturer=series.manufacturer,
            header_slope=nifti.stored_scale(series.second[-1].path)[0],
        )
        for index in range(len(series.second)):
            angle[..., index], _ = to_radians(second[..., index], scale)
    truth_folder = folder / "truth" / name
    truth = {
        key: nifti.load(truth_folder / f"{name}_{stem}.nii.gz").data
        for key, stem in TRUTH_IMAGES.items()
    }
    value = json.loads((truth_folder / "truth.json").read_text())["chi_relative_csf"]["LR"]
    mask = truth["brain"] > 0
    truth["brain_depth_mm"] = depth(mask, Image(mask, affine).grid)
    grid = Image(mask, affine).grid
    conventions = phase.Conventions(manufacturer=series.manufacturer or "")
    found = phase.corrected(magnitude, angle, grid, series.acquisition, conventions, mask)
    scan = Scan(found.magnitude, found.phase_rad, mask, grid, series.acquisition)
    return Case(name, scan, truth, value)


TRUTH_IMAGES = {
    "chi": "Chimap",
    "local": "desc-local_fieldmap",
    "total": "desc-total_fieldmap",
    "brain": "space-MEGRE_desc-brain_mask",
    "thalamus": "space-MEGRE_label-thalamus_mask",
    "atria": "space-MEGRE_label-atria_mask",
    "vein": "space-MEGRE_label-vein_mask",
    "lesion": "space-MEGRE_label-lesion_mask",
    "deep": "space-MEGRE_desc-deepgray_dseg",
}


def simulated_cases(folder: Path, participants: int = 8) -> list[Case]:
    """Simulate participants with thalami from -45 to +10 ppb and read them back."""
    for index, value in enumerate(np.linspace(-45, 10, participants)):
        parameters = simulate.Parameters(
            thalamus_chi_ppb=float(value),
            vendor=list(simulate.VENDORS.values())[index % len(simulate.VENDORS)],
            oblique_deg=float(4 * index % 25),
        )
        name = f"sub-{index + 1:02d}"
        made = simulate.participant(parameters, seed=1000 + index)
        simulate.write_participant(folder / "bids", folder / "truth", name, made)
    return folder_cases(folder)


class Score(NamedTuple):
    """How near a map is to the truth."""

    error_ppb: float
    map_error_ppb: float
    local_nrmse: float
    nrmse: float
    xsim: float
    hfen: float
    nuclei_slope: float
    cpu_s: float


def score(case: Case, maps: qsm.Maps, spent_s: float) -> Score:
    """Score maps inside the true brain less two voxels, with the true regions."""
    truth, chi = case.truth, maps.chi_ppm
    core = ndimage.binary_erosion(truth["brain"] > 0, iterations=2)
    clean = (truth["vein"] == 0) & (truth["lesion"] == 0)
    atria = truth["atria"] > 0
    inner = core & (truth["brain_depth_mm"] > 5) & (maps.local_field_hz != 0)
    thalamus, expected = (
        1e3 * float(m[(truth["thalamus"] > 0) & clean].mean() - m[atria].mean())
        for m in (chi, truth["chi"])
    )
    regions = [
        (truth["deep"] == k) & (truth["vein"] == 0) for k in range(1, int(truth["deep"].max()) + 1)
    ]
    regions = [*(r for r in regions if r.sum() >= 15), atria]
    true_means = [truth["chi"][r].mean() for r in regions]
    slope = np.polyfit(true_means, [chi[r].mean() for r in regions], 1)[0]
    return Score(
        error_ppb=thalamus - case.thalamus_ppb,
        map_error_ppb=thalamus - expected,
        local_nrmse=_nrmse(maps.local_field_hz, truth["local"], inner),
        nrmse=_nrmse(chi, truth["chi"], core),
        xsim=_xsim(chi, truth["chi"], core),
        hfen=_nrmse(*(ndimage.gaussian_laplace(m * core, 1.5) for m in (chi, truth["chi"])), core),
        nuclei_slope=float(slope),
        cpu_s=spent_s,
    )


def _nrmse(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    a, b = found[mask].astype(float), truth[mask].astype(float)
    a, b = a - a.mean(), b - b.mean()
    return float(100 * np.linalg.norm(a - b) / np.linalg.norm(b))


def _xsim(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return XSIM (Milovic 2024, doi:10.1002/mrm.30271): SSIM with the constants of QSM."""
    a, b = (np.where(mask, m - m[mask].mean(), 0).astype(float) for m in (found, truth))

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values, 5)

    sample = 125 / 124
    ma, mb = mean(a), mean(b)
    va, vb = sample * (mean(a * a) - ma**2), sample * (mean(b * b) - mb**2)
    both = sample * (mean(a * b) - ma * mb)
    c1, c2 = 0.01**2, 0.001**2
    value = (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return float(value[mask].mean())


def accuracy(folder: Path | None) -> None:
    """Print the table of methods."""
    compile_first()
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            cases = simulated_cases(Path(made))
    else:
        cases = folder_cases(folder)
    print(f"{len(cases)} participants; thalamus - CSF {[round(c.thalamus_ppb) for c in cases]} ppb")
    print(
        "| method | mean abs error ppb (mean) | slope of error (of the map alone) |"
        " local field NRMSE % | NRMSE % | xSIM | HFEN % | nuclei slope | CPU-s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    rows: dict[str, list[Score]] = {name: [] for name in METHODS}
    for case in cases:
        print(case.name, file=sys.stderr, flush=True)
        known: dict[str, Remembered] = {}
        for name, changes in METHODS.items():
            rows[name].append(_scored(case, replace(qsm.Reconstruction(), **changes), known))
    for name, scores in rows.items():
        print(_row(name, scores, [case.thalamus_ppb for case in cases]))


@dataclass
class Remembered:
    """A step of the chain that is run once for a participant."""

    step: Any
    result: Any = None
    spent_s: float = 0.0

    def __call__(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - any step
        """Run the step or return what it said."""
        if self.result is None:
            start = cpu_s()
            self.result = self.step(*args, **more)
            self.spent_s = cpu_s() - start
        return self.result


REMEMBERED = ("fitting", "fluid", "csf", "background")
"""Steps that depend on nothing but the scan and the steps before. R2* is fitted anew: the step of
fluid fits it to averaged echoes, too, with the same method."""


def _scored(case: Case, settings: qsm.Reconstruction, known: dict[str, Remembered]) -> Score:
    """Run a chain whose first steps may be ``known`` from another; all their costs count."""
    steps = {"inversion": Remembered(settings.inversion)}
    for name in REMEMBERED:
        step = getattr(settings, name)
        steps[name] = known.setdefault(repr(step), Remembered(step))
    maps = qsm.reconstruct(*case.scan, settings=replace(settings, **steps))
    return score(case, maps, sum(step.spent_s for step in steps.values()))


UNWRAPPED: dict[str, ComplexFit | EchoByEcho] = {
    "ROMEO of the field, polynomial offset (default)": ComplexFit(),
    "ROMEO of the field, MCPC-3D-S": ComplexFit(offset="mcpc-3d-s"),
    "ROMEO echo by echo (template 1, temporal), MCPC-3D-S": EchoByEcho(),
    "ROMEO of the field, offset of each voxel": ComplexFit(offset="voxel"),
    "Laplacian of the field, polynomial offset": ComplexFit(
        unwrapping=qsm.UNWRAPPINGS["laplacian"]()
    ),
}


def phases(folder: Path) -> None:
    """Print how far total fields are from the truth, and how often by a whole turn."""
    compile_first()
    cases = folder_cases(folder)
    print("| field | wrong turns % | field error Hz (median abs) | over the bound | CPU-s |")
    print("|---|---|---|---|---|")
    for name, fit in UNWRAPPED.items():
        rows = [_field_row(case, fit) for case in cases]
        wrong, error_hz, ratio, spent_s = np.mean(rows, axis=0)
        print(
            f"| {name} | {wrong:.4f} | {error_hz:.3f} | {ratio:.2f} | {spent_s:.1f} |", flush=True
        )


def _field_row(case: Case, fit: ComplexFit | EchoByEcho) -> tuple[float, ...]:
    """Return the share of wrong turns, the typical error, that over the noise, and CPU-seconds."""
    scan, start = case.scan, cpu_s()
    measured = scan.mask & (scan.magnitude > 0).all(axis=-1)
    found = fit(scan.magnitude, scan.phase_rad, measured, scan.grid, scan.acquisition)
    spent_s = cpu_s() - start
    inside = measured & (case.truth["total"] != 0)
    error_hz = (found.frequency_hz - case.truth["total"])[inside]
    error_hz = error_hz - np.median(error_hz)
    turn_hz = 1 / np.diff(scan.acquisition.echo_times_s).min()
    wrong = 100 * float(np.mean(np.abs(error_hz) > turn_hz / 2))
    typical_hz = float(np.median(np.abs(error_hz)))
    bound_hz = 0.6745 * float(np.median(found.noise_hz[inside]))
    return wrong, typical_hz, typical_hz / bound_hz, spent_s


ECHOES_OF_DROPOUTS_S = (0.006, 0.012, 0.018, 0.024, 0.030, 0.036)


def dropouts(field_t: float) -> simulate.Protocol:
    """Return thick slices and late echoes: signal above sinuses and ears dephases in its voxels."""
    return simulate.Protocol(
        name="dropouts",
        voxel_size_mm=(1.5, 1.5, 3.0),
        shape=(116, 140, 46),
        oversampling=(2, 2, 4),
        acquisition=qsm.Acquisition(echo_times_s=ECHOES_OF_DROPOUTS_S, field_strength_t=field_t),
        repetition_time_s=0.045,
        flip_angle_deg=18.0,
    )


MASK_THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


class MaskScore(NamedTuple):
    """What a mask keeps, and how near the map in it is to the truth."""

    kept: float
    dephased: float
    error_ppb: float
    map_error_ppb: float
    nrmse: float
    near_nrmse: float


def masks() -> None:
    """Print what ``--mask brain+phase`` gains beside the brain alone, for each threshold."""
    compile_first()
    # The dropouts of 7 T at these echo times are as large as metal or a bad shim make them at 3 T.
    for field_t, participants in ((3.0, 8), (7.0, 4)):
        print(f"{participants} participants, {field_t:g} T", flush=True)
        _masks_at(field_t, participants)


def _masks_at(field_t: float, participants: int) -> None:
    rows: dict[str, list[MaskScore]] = {}
    truth_ppb = np.linspace(-45, 10, participants)
    for index, value in enumerate(truth_ppb):
        with tempfile.TemporaryDirectory() as folder:
            case = _with_dropouts(Path(folder), field_t, index, float(value))
        for name, found in _in_masks(case).items():
            rows.setdefault(name, []).append(found)
        print(f"{index + 1} of {participants}", file=sys.stderr, flush=True)
    print(
        "| mask | brain kept % | of it dephased % | mean abs error ppb (mean) "
        "| slope of error (of the map alone) | NRMSE % | within 10 mm of a dropout % |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found_rows in rows.items():
        print(_mask_row(name, found_rows, truth_ppb))


def _with_dropouts(folder: Path, field_t: float, index: int, thalamus_ppb: float) -> Case:
    parameters = simulate.Parameters(
        protocol=dropouts(field_t), thalamus_chi_ppb=thalamus_ppb, oblique_deg=float(4 * index % 25)
    )
    made = simulate.participant(parameters, seed=2000 + index)
    simulate.write_participant(folder / "bids", folder / "truth", "sub-01", made)
    (case,) = folder_cases(folder)
    return case


def _in_masks(case: Case) -> dict[str, MaskScore]:
    """Score the brain alone and its part with reliable phase, in the voxels that all masks have."""
    scan, brain = case.scan, case.scan.mask
    chosen = {"brain": brain} | {
        f"brain+phase, {threshold:g}": qsm.PhaseQuality(threshold=threshold)(
            scan.magnitude, scan.phase_rad, brain
        )
        for threshold in MASK_THRESHOLDS
    }
    maps = {name: qsm.reconstruct(*scan._replace(mask=mask)) for name, mask in chosen.items()}
    lost = _dephased(case)
    common = np.logical_and.reduce([one.mask for one in maps.values()])
    common &= ndimage.binary_erosion(brain, iterations=2)
    away_mm = ndimage.distance_transform_edt(~lost, sampling=scan.grid.voxel_size_mm)
    near = common & ~lost & (away_mm < 10)
    return {
        name: MaskScore(
            kept=100 * float(chosen[name][brain].mean()),
            dephased=100 * float(lost[chosen[name]].mean()),
            error_ppb=(whole := score(case, one, 0.0)).error_ppb,
            map_error_ppb=whole.map_error_ppb,
            nrmse=_nrmse(one.chi_ppm, case.truth["chi"], common & ~lost),
            near_nrmse=_nrmse(one.chi_ppm, case.truth["chi"], near),
        )
        for name, one in maps.items()
    }


def _dephased(case: Case) -> np.ndarray:
    """Return the brain whose true field turns a cycle or more in a slice at half of the echoes.

    There the signal of the later echoes, the integral over the slice, is near its first zero.
    """
    scan = case.scan
    middle_s = float(np.median(scan.acquisition.echo_times_s))
    steps_hz = np.gradient(case.truth["total"], axis=2)
    return np.asarray(scan.mask & (np.abs(steps_hz) * middle_s >= 1))


def _mask_row(name: str, rows: list[MaskScore], truth_ppb: np.ndarray) -> str:
    mean = MaskScore(*np.mean(rows, axis=0))
    error, alone = (
        np.array([getattr(row, key) for row in rows]) for key in ("error_ppb", "map_error_ppb")
    )
    slope, own = (np.polyfit(truth_ppb, one, 1)[0] for one in (error, alone))
    return (
        f"| {name} | {mean.kept:.1f} | {mean.dephased:.2f} "
        f"| {np.abs(error).mean():.1f} ({error.mean():+.1f}) | {slope:+.3f} ({own:+.3f}) "
        f"| {mean.nrmse:.1f} | {mean.near_nrmse:.1f} |"
    )


def _row(name: str, rows: list[Score], truth_ppb: list[float]) -> str:
    """Return a line of the table."""
    error = np.array([row.error_ppb for row in rows])
    alone = np.array([row.map_error_ppb for row in rows])
    slope, own = (
        np.polyfit(truth_ppb, e, 1)[0] if len(rows) > 2 else np.nan for e in (error, alone)
    )
    mean = Score(*np.mean(rows, axis=0))
    return (
        f"| {name} | {np.abs(error).mean():.1f} ({error.mean():+.1f}) | {slope:+.3f} ({own:+.3f}) "
        f"| {mean.local_nrmse:.0f} | {mean.nrmse:.1f} | {mean.xsim:.3f} | {mean.hfen:.1f} "
        f"| {mean.nuclei_slope:.2f} | {mean.cpu_s:.1f} |"
    )


PARTS = {
    "speed": speed,
    "files": files,
    "scaling": scaling,
    "solvers": solvers,
    "masks": masks,
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=(*PARTS, "accuracy", "phase"))
    parser.add_argument("folder", nargs="?", type=Path)
    words = parser.parse_args()
    as_in_a_run()
    if words.what in PARTS:
        PARTS[words.what]()
    elif words.what == "phase":
        if words.folder is None:
            parser.error("phase needs a FOLDER with bids/ and truth/")
        phases(words.folder)
    else:
        accuracy(words.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
