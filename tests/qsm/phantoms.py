"""Shapes with known fields, and a head small enough for a test."""

from typing import NamedTuple

import numpy as np

from bids_qsmthal.qsm import Acquisition, Grid
from bids_qsmthal.qsm.operators import convolve, dipole_kernel


def distances_mm(grid: Grid, centre_mm=(0, 0, 0)) -> list[np.ndarray]:
    """Coordinates in mm from the middle voxel."""
    return np.meshgrid(
        *(
            (np.arange(n) - n // 2) * d - c
            for n, d, c in zip(grid.shape, grid.voxel_size_mm, centre_mm, strict=True)
        ),
        indexing="ij",
    )


def ball(grid: Grid, radius_mm: float, centre_mm=(0, 0, 0), stretch=(1, 1, 1)) -> np.ndarray:
    axes = distances_mm(grid, centre_mm)
    return sum((a / s) ** 2 for a, s in zip(axes, stretch, strict=True)) <= radius_mm**2


class Head(NamedTuple):
    grid: Grid
    acquisition: Acquisition
    chi_ppm: np.ndarray
    mask: np.ndarray
    local_hz: np.ndarray
    total_hz: np.ndarray
    r2star_hz: np.ndarray
    density: np.ndarray
    nuclei: tuple[np.ndarray, ...]
    csf: np.ndarray

    def signal(self, *, snr: float = 100.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Magnitude and phase of every echo."""
        rng = np.random.default_rng(seed)
        times = np.array(self.acquisition.echo_times_s)
        decay = self.density[..., None] * np.exp(-self.r2star_hz[..., None] * times)
        angle = 0.4 + 2 * np.pi * self.total_hz[..., None] * times
        signal = decay * np.exp(1j * angle)
        noise = rng.standard_normal((*signal.shape, 2)) @ np.array([1, 1j]) / snr
        noisy = signal + noise
        return np.abs(noisy).astype(np.float32), np.angle(noisy).astype(np.float32)


def head(
    grid: Grid | None = None,
    *,
    echo_times_s=(0.005, 0.010, 0.015, 0.020),
    field_strength_t: float = 3.0,
    background: float = 1.0,
) -> Head:
    """An ellipsoid of white matter with ventricle, cisterns, nuclei, a vein; air outside."""
    grid = grid or Grid((48, 56, 44), (4.0, 4.0, 4.0), (0.0, 0.28, 0.96))
    mask = ball(grid, 70, stretch=(0.95, 1.1, 0.85))
    chi = np.where(mask, -0.03, 0).astype(np.float32)
    r2star = np.full(grid.shape, 20.0, np.float32)
    csf = ball(grid, 14, (0, -18, 8), (1, 1.6, 1))
    csf |= ball(grid, 9, (0, 40, -30)) | ball(grid, 9, (40, 0, 25)) | ball(grid, 9, (-40, 10, 20))
    chi[csf], r2star[csf] = 0.0, 1.5
    nuclei = tuple(ball(grid, 13, (x, 12, 0)) for x in (-22, 22))
    for nucleus, value in zip(nuclei, (0.06, 0.12), strict=True):
        chi[nucleus], r2star[nucleus] = value, 35.0
    vein = ball(grid, 5, (10, -30, 45))
    chi[vein], r2star[vein] = 0.3, 45.0
    acquisition = Acquisition(echo_times_s=echo_times_s, field_strength_t=field_strength_t)
    hz = acquisition.centre_frequency_hz * 1e-6
    kernel = dipole_kernel(grid)
    local = convolve(chi, kernel) * hz
    air = ball(grid, 16, (5, 62, -52)) & ~mask
    outside = (np.where(air, 3.0, 0) * background).astype(np.float32)
    total = local + convolve(outside, kernel) * hz
    density = np.where(csf, 1.3, 1.0) * np.where(nuclei[0] | nuclei[1], 0.8, 1.0) * mask
    return Head(
        grid,
        acquisition,
        chi,
        mask,
        (local * mask).astype(np.float32),
        (total * mask).astype(np.float32),
        r2star,
        density.astype(np.float32),
        nuclei,
        csf,
    )
