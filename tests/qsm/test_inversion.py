import numpy as np
import pytest

from bids_qsmthal.qsm import INVERSIONS, Grid
from bids_qsmthal.qsm.inversion import ThresholdedDivision, TotalVariation
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from tests.qsm.phantoms import ball

CHI_PPM = 0.1


def seen(grid: Grid, chi: np.ndarray, mask: np.ndarray) -> Measurement:
    field = convolve(chi.astype(np.float32), dipole_kernel(grid)) * mask
    magnitude = ((1 + 2 * (chi > 0)) * mask).astype(np.float32)
    return Measurement(field, np.ones_like(field), magnitude, mask, np.zeros_like(mask))


@pytest.mark.parametrize("name", sorted(INVERSIONS))
def test_a_ball_is_found_again(name: str) -> None:
    grid = Grid((48, 44, 30), (1.0, 1.0, 1.6), (0.0, 0.28, 0.96))
    chi, mask = CHI_PPM * ball(grid, 6), ball(grid, 20)
    found = INVERSIONS[name]()(seen(grid, chi, mask), grid).chi_ppm
    contrast = found[ball(grid, 4.5)].mean() - found[mask & ~ball(grid, 8)].mean()
    assert contrast == pytest.approx(CHI_PPM, rel=0.25)


@pytest.mark.parametrize("name", sorted(INVERSIONS))
def test_nothing_lies_outside_the_mask_and_an_empty_mask_is_no_crash(name, grid, rng) -> None:
    mask = ball(grid, 6)
    noisy = seen(grid, rng.standard_normal(grid.shape), mask)
    assert not INVERSIONS[name]()(noisy, grid).chi_ppm[~mask].any()
    assert not INVERSIONS[name]()(noisy._replace(mask=mask & False), grid).chi_ppm.any()


@pytest.mark.parametrize("name", ["tkd", "l2"])
def test_direct_methods_are_linear(name: str, grid: Grid, rng) -> None:
    mask = ball(grid, 8)
    a, b = (seen(grid, rng.standard_normal(grid.shape), mask) for _ in range(2))
    method = INVERSIONS[name]()
    both = a._replace(field_ppm=2 * a.field_ppm - 3 * b.field_ppm)
    expected = 2 * method(a, grid).chi_ppm - 3 * method(b, grid).chi_ppm
    np.testing.assert_allclose(method(both, grid).chi_ppm, expected, atol=2e-5)


@pytest.mark.parametrize("name", sorted(INVERSIONS))
@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0)])
def test_the_answer_turns_with_the_axes(name: str, order) -> None:
    grid = Grid((36, 32, 24), (1.0, 1.25, 1.6), (0.36, -0.48, 0.8))
    chi, mask = CHI_PPM * ball(grid, 6, (2, 0, 1)), ball(grid, 15)
    turned = Grid(
        tuple(grid.shape[a] for a in order),
        tuple(grid.voxel_size_mm[a] for a in order),
        tuple(grid.b0_direction[a] for a in order),
    )
    one = seen(grid, chi, mask)
    other = Measurement(*(np.ascontiguousarray(np.transpose(a, order)) for a in one))
    found = INVERSIONS[name]()(one, grid).chi_ppm
    again = np.transpose(INVERSIONS[name]()(other, turned).chi_ppm, np.argsort(order))
    assert np.abs(again - found)[mask].max() < 0.04 * CHI_PPM


@pytest.mark.parametrize("name", ["tkd", "l2"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_answer_flips_with_the_image(name: str, axis: int) -> None:
    grid = Grid((35, 31, 25), (1.0, 1.25, 1.6), (0.36, -0.48, 0.8))
    chi, mask = CHI_PPM * ball(grid, 6, (2, 0, 1)), ball(grid, 14)
    b0 = list(grid.b0_direction)
    b0[axis] *= -1
    flipped = Grid(grid.shape, grid.voxel_size_mm, tuple(b0))
    one = seen(grid, chi, mask)
    other = Measurement(*(np.ascontiguousarray(np.flip(a, axis)) for a in one))
    found = INVERSIONS[name](margin_mm=24.0)(one, grid).chi_ppm
    again = np.flip(INVERSIONS[name](margin_mm=24.0)(other, flipped).chi_ppm, axis)
    assert np.abs(again - found)[mask].max() < 0.02 * CHI_PPM


def rotation(degrees: float) -> np.ndarray:
    """A turn about the first axis and then about the third."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x


def contrasts(name: str, degrees: float) -> np.ndarray:
    """Two balls in a brain, seen by a scanner whose slices are tilted."""
    turn = rotation(degrees)
    b0 = turn @ (0.0, 0.0, 1.0)
    grid = Grid((48, 46, 40), (1.25, 1.25, 1.5), tuple((b0 / np.linalg.norm(b0)).tolist()))
    places = [turn @ place for place in ((-9, 2, 3), (8, -4, -6))]
    chi = sum(
        value * ball(grid, 5, place) for value, place in zip((0.1, -0.06), places, strict=True)
    )
    mask = ball(grid, 22)
    found = INVERSIONS[name]()(seen(grid, chi, mask), grid).chi_ppm
    rest = mask & ~ball(grid, 8, places[0]) & ~ball(grid, 8, places[1])
    return np.array([found[ball(grid, 3.5, place)].mean() for place in places]) - found[rest].mean()


@pytest.mark.parametrize("name", sorted(INVERSIONS))
def test_the_answer_does_not_depend_on_how_the_slices_lie(name: str) -> None:
    np.testing.assert_allclose(contrasts(name, 25.0), contrasts(name, 0.0), atol=0.08 * CHI_PPM)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_default_answer_flips_with_the_image(axis: int) -> None:
    """Looser than for direct methods: a forward difference looks to one side only."""
    grid = Grid((35, 31, 25), (1.0, 1.25, 1.6), (0.36, -0.48, 0.8))
    chi, mask = CHI_PPM * ball(grid, 6, (2, 0, 1)), ball(grid, 14)
    b0 = list(grid.b0_direction)
    b0[axis] *= -1
    one = seen(grid, chi, mask)
    other = Measurement(*(np.ascontiguousarray(np.flip(a, axis)) for a in one))
    method = INVERSIONS["medi"](margin_mm=24.0)
    found = method(one, grid).chi_ppm
    again = np.flip(method(other, Grid(grid.shape, grid.voxel_size_mm, tuple(b0))).chi_ppm, axis)
    core = ball(grid, 4.5, (2, 0, 1))
    assert again[core].mean() == pytest.approx(found[core].mean(), abs=0.03 * CHI_PPM)


def test_total_variation_without_weights_heeds_no_noise(rng) -> None:
    grid = Grid((32, 30, 24), (1.0, 1.0, 1.6), (0.0, 0.28, 0.96))
    mask = ball(grid, 12)
    even = seen(grid, CHI_PPM * ball(grid, 5), mask)
    uneven = even._replace(noise_ppm=rng.uniform(0.5, 2, mask.shape).astype(np.float32))

    plain, weighted = (TotalVariation(weighted=weights) for weights in (False, True))

    np.testing.assert_array_equal(plain(uneven, grid).chi_ppm, plain(even, grid).chi_ppm)
    assert np.abs(weighted(uneven, grid).chi_ppm - weighted(even, grid).chi_ppm).max() > 1e-3


def test_division_makes_no_susceptibility_of_the_mean_of_a_field() -> None:
    grid = Grid((46, 46, 46))  # of a box of 48^3
    mask = np.ones(grid.shape, bool)
    nothing = seen(grid, np.zeros(grid.shape), mask)
    found = ThresholdedDivision(margin_mm=0)(nothing._replace(field_ppm=mask * 1.0), grid).chi_ppm
    # The mean alone would give 1 / threshold = 5; the corners of the box give the rest.
    assert abs(found.mean()) < 0.5
