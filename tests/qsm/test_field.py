import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.qsm import Acquisition, Grid
from bids_qsmthal.qsm.field import ComplexFit, GivenField, agreement
from bids_qsmthal.qsm.smooth import robust_polynomial
from bids_qsmthal.qsm.temporal import EchoByEcho
from tests.qsm.phantoms import ball, distances_mm

GRID = Grid((36, 36, 24), (2.0, 2.0, 2.0))
EVEN = (0.005, 0.010, 0.015, 0.020, 0.025)
UNEVEN = (0.003, 0.0071, 0.0148, 0.0201, 0.0312)


LARGE = Grid((36, 36, 24), (4.0, 4.0, 4.0))


def scan(
    times, snr: float, *, seed: int = 3, offset_turns: float = 0.2, bumpy: bool = False, grid=GRID
):
    x, y, z = distances_mm(grid)
    mask = ball(grid, 15 * grid.voxel_size_mm[0], stretch=(1, 1, 0.7))
    field_hz = (4 * z + 0.05 * x**2 - 0.03 * y**2 + 12 * np.sin(x / 6)).astype(np.float32)
    offset = 2 * np.pi * offset_turns * (1 + x / 40 - (y / 50) ** 2)
    if bumpy:
        offset = offset + np.sin(x) * np.cos(1.3 * y + z)
    t = np.array(times)
    decay = np.exp(-20 * t)
    signal = decay * np.exp(1j * (offset[..., None] + 2 * np.pi * field_hz[..., None] * t))
    noise = np.random.default_rng(seed).standard_normal((*signal.shape, 2)) @ np.array([1, 1j])
    signal = signal + noise / snr
    acquisition = Acquisition(echo_times_s=tuple(times), field_strength_t=3.0)
    arrays = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    weight = decay**2
    if bumpy:
        bound = np.sqrt(weight.sum() / (weight.sum() * (weight * t**2).sum() - (weight @ t) ** 2))
    else:
        bound = 1 / np.sqrt((weight * t**2).sum())
    return arrays, mask, field_hz, acquisition, bound / snr / (2 * np.pi)


@pytest.mark.parametrize("times", [EVEN, UNEVEN, EVEN[:3], (0.005, 0.012)])
@pytest.mark.parametrize("snr", [50, 100])
def test_the_error_reaches_the_cramer_rao_bound(times, snr: float) -> None:
    arrays, mask, truth_hz, acquisition, bound_hz = scan(times, snr)
    fit = ComplexFit()(*arrays, mask, GRID, acquisition)
    error_hz = (fit.frequency_hz - truth_hz)[mask]
    assert fit.offset == "polynomial"
    assert np.sqrt(np.mean(error_hz**2)) < 1.3 * bound_hz


def test_a_rough_phase_offset_is_left_to_each_voxel() -> None:
    arrays, mask, truth_hz, acquisition, bound_hz = scan(EVEN, 80, bumpy=True)
    fit = ComplexFit()(*arrays, mask, GRID, acquisition)
    error_hz = (fit.frequency_hz - truth_hz)[mask]
    assert fit.offset == "voxel"
    assert np.sqrt(np.mean(error_hz**2)) < 1.3 * bound_hz


@pytest.mark.parametrize(("centre_mm", "times"), [((16, -9, 4), EVEN), ((-20, 12, 0), EVEN[1:3])])
def test_the_phase_of_a_coil_near_by_is_found_beside_the_polynomial(centre_mm, times) -> None:
    (magnitude, angle), mask, truth_hz, acquisition, bound_hz = scan(times, 60, grid=LARGE)
    near = sum(axis**2 for axis in distances_mm(LARGE, centre_mm))
    bump = 0.6 * np.exp(-near / (2 * 13**2))
    turned = np.angle(np.exp(1j * (angle + bump[..., None]))).astype(np.float32)
    fit = ComplexFit()(magnitude, turned, mask, LARGE, acquisition)
    assert fit.offset == "local"
    # Each voxel alone would have twice the error, and the polynomial misses 0.5 rad there.
    error_hz = (fit.frequency_hz - truth_hz)[mask & (near < 13**2)]
    assert np.sqrt(np.mean(error_hz**2)) < 1.4 * bound_hz


def test_an_open_ended_fringe_line_is_left_to_each_voxel() -> None:
    (magnitude, angle), mask, truth_hz, acquisition, _ = scan(EVEN, 60)
    x, y, _ = distances_mm(GRID)
    line = np.arctan2(y - 3.3, x + 5.2)[..., None]
    turned = np.angle(np.exp(1j * (angle + line))).astype(np.float32)
    fit = ComplexFit()(magnitude, turned, mask, GRID, acquisition)
    assert fit.offset == "voxel"
    assert np.median(np.abs(fit.frequency_hz - truth_hz)[mask]) < 0.5


def test_the_polynomial_offset_leaves_less_error_than_mcpc_3d_s() -> None:
    arrays, mask, truth_hz, acquisition, bound_hz = scan(EVEN, 80)
    error_hz = {}
    for offset in ("polynomial", "mcpc-3d-s"):
        fit = ComplexFit(offset=offset)(*arrays, mask, GRID, acquisition)
        assert fit.offset == offset
        error_hz[offset] = np.sqrt(np.mean((fit.frequency_hz - truth_hz)[mask] ** 2))
    assert error_hz["polynomial"] < 1.3 * bound_hz
    assert 2 * bound_hz < error_hz["mcpc-3d-s"] < 10 * bound_hz


@pytest.mark.parametrize("template", [0, 2])
def test_echoes_unwrapped_one_by_one_give_the_same_field_with_more_noise(template: int) -> None:
    arrays, mask, truth_hz, acquisition, bound_hz = scan(EVEN, 80, offset_turns=0.1)
    fit = EchoByEcho(template=template)(*arrays, mask, GRID, acquisition)
    error_hz = (fit.frequency_hz - truth_hz)[mask]
    turn_hz = 1 / (EVEN[1] - EVEN[0])
    assert np.mean(np.abs(error_hz) > turn_hz / 4) <= 0.001
    assert np.median(np.abs(error_hz)) < 5 * bound_hz


def test_echo_by_echo_unwrapping_refuses_one_echo() -> None:
    arrays, mask, _, acquisition, _ = scan((0.02,), 80)
    with pytest.raises(DataError, match="use the complex fit"):
        EchoByEcho()(*arrays, mask, GRID, acquisition)


def test_the_noise_map_says_how_large_the_error_is() -> None:
    arrays, mask, truth_hz, acquisition, _ = scan(EVEN, 60)
    fit = ComplexFit()(*arrays, mask, GRID, acquisition)
    score = ((fit.frequency_hz - truth_hz) / fit.noise_hz)[mask]
    assert np.std(score) == pytest.approx(1.0, abs=0.1)
    assert fit.snr == pytest.approx(60 * np.sqrt((np.exp(-40 * np.array(EVEN))).sum()), rel=0.1)


def test_an_echo_that_disagrees_raises_the_residual_of_its_voxel() -> None:
    arrays, mask, _, acquisition, _ = scan(EVEN, 100)
    spoiled = arrays[1].copy()
    spoiled[18, 18, 12, 3] += 1.5
    fit = ComplexFit()(arrays[0], spoiled, mask, GRID, acquisition)
    assert fit.reduced_residual[18, 18, 12] > 8
    assert np.median(fit.reduced_residual[mask]) == pytest.approx(1.0, abs=0.15)


def test_one_echo_gives_the_field_up_to_a_constant() -> None:
    arrays, mask, truth_hz, acquisition, _ = scan((0.02,), 100, offset_turns=0.0)
    fit = ComplexFit()(*arrays, mask, GRID, acquisition)
    error_hz = (fit.frequency_hz - truth_hz)[mask]
    assert np.std(error_hz) < 0.3
    assert np.median(fit.noise_hz[mask]) == pytest.approx(np.std(error_hz), rel=0.4)


def test_outside_the_mask_nothing_is_measured() -> None:
    arrays, mask, _, acquisition, _ = scan(EVEN, 60)
    fit = ComplexFit()(*arrays, mask, GRID, acquisition)
    assert not fit.frequency_hz[~mask].any()
    assert np.isinf(fit.noise_hz[~mask]).all()


def test_a_steep_wrapped_polynomial_is_found_among_outliers(rng) -> None:
    x, y, z = distances_mm(GRID)
    mask = ball(GRID, 30, stretch=(1, 1, 0.7))
    truth = 0.5 + 0.25 * x - 0.15 * z + 0.002 * x * y + 1e-4 * z**3
    angle = truth + rng.normal(0, 0.1, GRID.shape)
    wild = rng.random(GRID.shape) < 0.1
    angle[wild] = rng.uniform(-np.pi, np.pi, int(wild.sum()))
    wrapped = np.angle(np.exp(1j * angle)).astype(np.float32)
    found = robust_polynomial(wrapped, np.ones(int(mask.sum()), np.float32), mask, 3)
    misfit = np.angle(np.exp(1j * (found - truth)))[mask]
    assert np.abs(misfit).max() < 0.06


@pytest.mark.parametrize("times", [EVEN, UNEVEN])
@pytest.mark.parametrize("seed", [3, 9])
def test_a_given_field_is_told_from_other_units_its_negative_and_another_scan(
    times: tuple[float, ...], seed: int
) -> None:
    (magnitude, phase), mask, hz, acquisition, _ = scan(times, snr=20, seed=seed)
    given = magnitude, phase, mask, acquisition
    spacing_hz = 1 / (times[1] - times[0])
    for right in (hz, hz + 7, hz + 2 * spacing_hz):
        assert agreement(right.astype(np.float32), *given) > 0.02
    mixed = np.random.default_rng(seed).permutation(hz.ravel()).reshape(hz.shape)
    for wrong in (-hz, hz / 127.7, -hz / 127.7, hz * 2 * np.pi, hz / (2 * np.pi), mixed):
        assert agreement(wrong.astype(np.float32), *given) < 0


def test_a_given_field_takes_the_place_of_the_fit_and_keeps_its_noise() -> None:
    (magnitude, phase), mask, hz, acquisition, _ = scan(EVEN, snr=60)
    fitted = ComplexFit()(magnitude, phase, mask, GRID, acquisition)
    found = GivenField(frequency_hz=hz + 5)(magnitude, phase, mask, GRID, acquisition)
    assert np.array_equal(found.frequency_hz, np.where(mask, hz + 5, 0).astype(np.float32))
    assert np.array_equal(found.noise_hz, fitted.noise_hz)
    assert (found.offset, found.snr) == ("external", fitted.snr)


@pytest.mark.parametrize("times", [EVEN, UNEVEN, EVEN[:2]])
def test_the_noise_of_a_field_without_phase_is_seen_in_the_field(times: tuple[float, ...]) -> None:
    (magnitude, _), mask, hz, acquisition, sd_hz = scan(times, snr=30)
    noisy = hz + np.random.default_rng(8).normal(0, sd_hz, hz.shape).astype(np.float32)
    alone = GivenField(frequency_hz=noisy, has_phase=False)
    found = alone(magnitude, np.zeros_like(magnitude), mask, GRID, acquisition)
    np.testing.assert_allclose(found.frequency_hz, np.where(mask, noisy, 0), rtol=1e-6)
    assert np.median(found.noise_hz[mask]) == pytest.approx(sd_hz, rel=0.15)
    assert np.isinf(found.noise_hz[~mask]).all()
    assert (found.offset, found.residual.max()) == ("external", 0)
