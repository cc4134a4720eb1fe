import numpy as np
import pytest

from bids_qsmthal.qsm import BACKGROUNDS, Grid
from bids_qsmthal.qsm.background import JointDipoleFields, ProjectionOntoDipoleFields
from bids_qsmthal.qsm.csf import GlobalCsf
from bids_qsmthal.qsm.measurement import Measurement, coarser, coarser_grid
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from tests.qsm.phantoms import ball, distances_mm, head

GRIDS = [
    Grid((48, 48, 48), (2.0, 2.0, 2.0)),
    Grid((48, 48, 28), (2.0, 2.0, 3.5), (0.0, 0.38461538, 0.92307692)),
]


def measurement(field_ppm, mask, csf=None) -> Measurement:
    noise = np.full(mask.shape, 1e-3, np.float32)
    nothing = np.zeros_like(mask)
    return Measurement(
        field_ppm.astype(np.float32),
        noise,
        mask.astype(np.float32),
        mask,
        nothing if csf is None else csf,
    )


@pytest.mark.parametrize("grid", GRIDS, ids=["isotropic", "oblique anisotropic"])
@pytest.mark.parametrize("name", sorted(BACKGROUNDS))
def test_the_field_of_sources_outside_is_taken_away(name: str, grid: Grid) -> None:
    mask = ball(grid, 30)
    # Soft: the field of a sharp voxel rings along the axes and is not harmonic inside.
    squared_mm = sum(a**2 for a in distances_mm(grid, (0, 40, 4)))
    source = (5 * np.exp(-squared_mm / (2 * 4.0**2))).astype(np.float32)
    field_ppm = convolve(source, dipole_kernel(grid)) * mask
    found = BACKGROUNDS[name]()(measurement(field_ppm, mask), grid)
    deep = ball(grid, 20) & found.mask
    share = 0.04 if name in ("joint", "pdf") else 0.25
    assert found.field_ppm[deep].std() < share * field_ppm[deep].std()


@pytest.mark.parametrize("name", sorted(BACKGROUNDS))
def test_a_local_field_stays_and_nothing_lies_outside(name: str) -> None:
    grid = GRIDS[1]
    mask = ball(grid, 32)
    source = np.where(ball(grid, 5), 0.1, 0).astype(np.float32)
    field_ppm = convolve(source, dipole_kernel(grid)) * mask
    found = BACKGROUNDS[name]()(measurement(field_ppm, mask), grid)
    deep = ball(grid, 18)
    correlation = np.corrcoef(found.field_ppm[deep], field_ppm[deep])[0, 1]
    assert correlation > 0.95
    assert not found.field_ppm[~found.mask].any()


def test_pdf_is_wrong_with_the_wrong_direction_of_the_field() -> None:
    grid = GRIDS[1]
    mask = ball(grid, 30)
    # Wide and sharp sources close by: their field tells the direction of B0.
    source = np.where(
        ball(grid, 34) & ~ball(grid, 31) & (np.random.default_rng(1).random(grid.shape) < 0.2),
        5.0,
        0,
    ).astype(np.float32)
    field_ppm = convolve(source, dipole_kernel(grid)) * mask
    tilted = Grid(grid.shape, grid.voxel_size_mm, (1.0, 0.0, 0.0))
    remove = ProjectionOntoDipoleFields(coarse_mm=2.0)
    deep = ball(grid, 26)
    right = remove(measurement(field_ppm, mask), grid).field_ppm[deep].std()
    wrong = remove(measurement(field_ppm, mask), tilted).field_ppm[deep].std()
    assert wrong > 1.3 * right


def test_a_field_beyond_what_tissue_makes_does_not_spoil_its_surroundings() -> None:
    scan = head()
    hz_per_ppm = scan.acquisition.centre_frequency_hz * 1e-6
    field_ppm = scan.total_hz / hz_per_ppm
    spoiled = field_ppm.copy()
    spoiled[24, 10, 22] += 1.57
    remove = ProjectionOntoDipoleFields(coarse_mm=4.0)
    clean = remove(measurement(field_ppm, scan.mask), scan.grid).field_ppm
    found = remove(measurement(spoiled, scan.mask), scan.grid).field_ppm
    others = scan.mask.copy()
    others[24, 10, 22] = False
    assert np.abs(found - clean)[others].max() < 0.002


def test_sources_found_together_leave_more_of_the_local_field_than_pdf() -> None:
    scan = head()
    hz_per_ppm = scan.acquisition.centre_frequency_hz * 1e-6
    truth_ppm = scan.local_hz / hz_per_ppm
    csf = GlobalCsf()(scan.r2star_hz < 5, scan.mask, scan.grid)
    seen = measurement(scan.total_hz / hz_per_ppm, scan.mask, csf)
    edges = np.where(scan.csf, 1.5, np.where(scan.chi_ppm > 0.05, 0.7, 1.0)) * scan.mask
    seen = seen._replace(magnitude=edges.astype(np.float32))
    deep = ball(scan.grid, 55, stretch=(0.95, 1.1, 0.85))

    def error(found) -> float:
        rest = (found.field_ppm - truth_ppm)[deep]
        return float(rest.std())

    pdf = ProjectionOntoDipoleFields(coarse_mm=4.0)
    joint = JointDipoleFields(first=pdf, coarse_mm=4.0)
    assert error(joint(seen, scan.grid)) < 0.75 * error(pdf(seen, scan.grid))


def test_blocks_keep_the_weighted_mean(rng) -> None:
    grid = Grid((8, 6, 5), (1.0, 1.0, 2.0))
    values = rng.standard_normal(grid.shape).astype(np.float32)
    noise = rng.uniform(1, 2, grid.shape).astype(np.float32)
    mask = np.ones(grid.shape, bool)
    seen = Measurement(values, noise, values**2, mask, ~mask)
    small = coarser(seen, (2, 2, 1))
    assert coarser_grid(grid, (2, 2, 1)) == Grid((4, 3, 5), (2.0, 2.0, 2.0))
    block = (slice(0, 2), slice(2, 4), 3)
    expected = np.average(values[block], weights=1 / noise[block] ** 2)
    assert small.field_ppm[0, 1, 3] == pytest.approx(expected, rel=1e-4)
