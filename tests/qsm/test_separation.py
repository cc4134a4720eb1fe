"""Sources apart: closed forms, round trips, and what a field gradient adds to R2*."""

import numpy as np
import pytest

from bids_qsmthal.qsm.acquisition import Acquisition
from bids_qsmthal.qsm.relaxation import WeightedExponential
from bids_qsmthal.qsm.separation import (
    RELAXIVITY_HZ_PER_PPM,
    SEPARATIONS,
    BrokenLine,
    Decay,
    Proportional,
    R2StarSeparation,
    SliceStack,
    field_growth,
    macroscopic_rate_hz,
    r2_growth,
    separated,
)

IRON_PPM = np.array([0.016, 0.060, 0.140, 0.0])
MYELIN_PPM = np.array([-0.036, -0.020, -0.022, 0.0])
R2_HZ = np.array([12.8, 13.0, 17.2, 0.7])


def decay(field_t: float) -> np.ndarray:
    """R2* by the model of Shin 2021, with R2 that is independent of the sources."""
    return (R2_HZ + RELAXIVITY_HZ_PER_PPM * (IRON_PPM - MYELIN_PPM)) * field_t / 3


@pytest.mark.parametrize("field_t", [1.5, 3.0, 7.0])
def test_with_a_measured_r2_both_sources_come_back(field_t: float) -> None:
    found = R2StarSeparation()(
        IRON_PPM + MYELIN_PPM, decay(field_t), field_t, r2_hz=R2_HZ * field_t / 3
    )
    np.testing.assert_allclose(found.paramagnetic_ppm, IRON_PPM, atol=1e-7)
    np.testing.assert_allclose(found.diamagnetic_ppm, MYELIN_PPM, atol=1e-7)


def test_iron_and_myelin_that_cancel_in_susceptibility_are_both_seen() -> None:
    myelin = np.array([0.02, 0.04, 0.06])
    r2star = 12.5 + RELAXIVITY_HZ_PER_PPM * 2 * myelin
    found = R2StarSeparation()(np.zeros(3), r2star, 3.0)
    assert np.all(np.diff(found.paramagnetic_ppm) > 0.012)
    np.testing.assert_allclose(found.paramagnetic_ppm, -found.diamagnetic_ppm)


@pytest.mark.parametrize("name", ["r2star", "proportional"])
def test_the_sources_always_add_up_to_the_susceptibility(name: str) -> None:
    random = np.random.default_rng(3)
    chi, r2star = random.normal(0, 0.08, 500), random.uniform(0, 60, 500)
    method = SEPARATIONS[name]
    assert method is not None
    found = method(chi, r2star, 3.0)
    np.testing.assert_allclose(found.paramagnetic_ppm + found.diamagnetic_ppm, chi, atol=1e-7)
    assert found.paramagnetic_ppm.min() >= 0
    assert found.diamagnetic_ppm.max() <= 0


def test_a_lack_of_iron_is_not_taken_for_a_slower_r2() -> None:
    iron, r2_hz = np.array([0.0, 0.010, 0.020, 0.030]), 13.2
    r2star = r2_hz + RELAXIVITY_HZ_PER_PPM * (iron + 0.036)
    found = R2StarSeparation()(iron - 0.036, r2star, 3.0)
    # Nine tenths of the difference and more, and at most a tenth of it as myelin.
    assert np.diff(found.paramagnetic_ppm).min() > 0.0085
    assert np.abs(np.diff(found.diamagnetic_ppm)).max() < 0.0015


T2STAR_MS = {
    # Peters 2007 (doi 10.1016/j.mri.2007.02.014): gray matter, white matter, caudate, putamen.
    1.5: np.array([84.0, 66.2, 58.8, 55.5]),
    3.0: np.array([66.0, 53.2, 41.3, 31.5]),
    7.0: np.array([33.2, 26.8, 19.9, 16.1]),
}


@pytest.mark.parametrize("field_t", [1.5, 7.0])
def test_tissue_has_about_the_same_sources_at_every_field(field_t: float) -> None:
    method = R2StarSeparation()
    sizes = {
        field: method(np.zeros(4), 1000 / t2star_ms, field).size_ppm
        for field, t2star_ms in T2STAR_MS.items()
    }
    ratio = sizes[field_t] / sizes[3.0]
    # But for the putamen at 1.5 T; with R2 in proportion to the field it would be 2.1, 2.4 and 1.7.
    assert ratio[:3] == pytest.approx(1.0, abs=0.25)


def test_an_assumed_r2_and_what_it_leaves_add_up_at_every_field() -> None:
    r2star_3_t = np.linspace(0, 80, 41)
    for method in (R2StarSeparation(), R2StarSeparation(irreversible=Proportional())):
        r2_3_t = method.irreversible(r2star_3_t)
        for field_t in (0.55, 1.5, 2.89, 3.0, 7.0, 9.4):
            of_sources = (r2star_3_t - r2_3_t) * field_growth(field_t)
            r2star = of_sources + r2_3_t * r2_growth(field_t)
            found = method(np.zeros(41), r2star, field_t)
            expected = (r2star_3_t - r2_3_t) / RELAXIVITY_HZ_PER_PPM
            np.testing.assert_allclose(found.size_ppm, expected, atol=1e-6)


def test_noise_makes_no_source_in_the_mean_of_a_region() -> None:
    random = np.random.default_rng(4)
    chi = -0.040 + random.normal(0, 0.030, 20_000)
    r2star = 14 + RELAXIVITY_HZ_PER_PPM * 0.044 + random.normal(0, 3, 20_000)
    found = R2StarSeparation()(chi, r2star, 3.0, r2_hz=np.full(20_000, 14.0))
    above, below = found.means_ppm(np.ones(20_000, np.bool_))
    assert above == pytest.approx(0.002, abs=0.0005)
    assert below == pytest.approx(-0.042, abs=0.0005)
    assert found.paramagnetic_ppm.mean() > 0.006


def test_one_per_second_too_much_of_r2_moves_both_sources_alike() -> None:
    chi, r2star = IRON_PPM[:3] + MYELIN_PPM[:3], decay(3.0)[:3]
    found = R2StarSeparation()(chi, r2star, 3.0, r2_hz=R2_HZ[:3] + 1)
    np.testing.assert_allclose(IRON_PPM[:3] - found.paramagnetic_ppm, 0.5 / 137, atol=1e-6)
    np.testing.assert_allclose(found.diamagnetic_ppm - MYELIN_PPM[:3], 0.5 / 137, atol=1e-6)


def test_irreversible_rates_are_those_of_their_sources() -> None:
    assert Proportional()(np.array([19.0]))[0] == pytest.approx(9.0)
    # T2 of 78 ms in the thalamus (20/s) and of 58 ms in the pallidum.
    np.testing.assert_allclose(BrokenLine()(np.array([20.0, 40.0])), [12.8, 17.2], rtol=0.02)


@pytest.mark.parametrize("echo_times_s", [(0.005, 0.010, 0.015, 0.020), (0.0043, 0.014, 0.033)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_rate_of_a_gradient_across_slices_is_taken_away(
    axis: int, echo_times_s: tuple[float, ...]
) -> None:
    shape = (6, 7, 8)
    step_hz = 0.6 / echo_times_s[-1]
    index = np.indices(shape)[axis]
    field = (step_hz * index).astype(np.float32)
    mask = np.ones(shape, np.bool_)
    times = np.array(echo_times_s)
    true_hz = np.random.default_rng(1).uniform(10, 50, shape)
    signal = np.exp(-true_hz[..., None] * times) * np.sinc(step_hz * times)
    fitted = WeightedExponential()(signal.astype(np.float32), mask, echo_times_s)
    added, known = macroscopic_rate_hz(field, fitted, mask, SliceStack(axis=axis), echo_times_s)
    assert np.abs(fitted - true_hz).min() > 9
    assert known.all()
    np.testing.assert_allclose(fitted - added, true_hz, atol=0.1)


def test_a_gap_between_slices_adds_nothing() -> None:
    shape, times = (3, 3, 6), (0.005, 0.010, 0.020)
    mask, rate = np.ones(shape, np.bool_), np.full(shape, 20, np.float32)
    field = np.broadcast_to(np.arange(6) * 20.0, shape).astype(np.float32)
    half = SliceStack(axis=2, thickness=0.5)
    with_gap, _ = macroscopic_rate_hz(field, rate, mask, half, times)
    same, _ = macroscopic_rate_hz(field / 2, rate, mask, SliceStack(axis=2), times)
    whole, _ = macroscopic_rate_hz(field, rate, mask, SliceStack(axis=2), times)
    np.testing.assert_allclose(with_gap, same, rtol=1e-6)
    assert with_gap.max() < 0.5 * whole.min()


def test_sources_are_known_only_where_a_measured_r2_has_a_value() -> None:
    shape = (2, 2, 1)
    r2_hz = np.array([[[14.0], [0.0]], [[-1.0], [np.nan]]])
    decay = Decay(
        r2star_hz=np.full(shape, 20.0),
        total_field_hz=np.zeros(shape),
        mask=np.ones(shape, np.bool_),
        r2_hz=r2_hz,
    )
    acquisition = Acquisition(echo_times_s=(0.005, 0.020), field_strength_t=3.0)
    found = separated(np.zeros(shape), decay, acquisition, method=R2StarSeparation())
    np.testing.assert_array_equal(found.known, [[[True], [False]], [[False], [False]]])
    assert found.paramagnetic_ppm[0, 0, 0] == pytest.approx(6 / 137 / 2, rel=1e-5)
    assert not np.any(found.paramagnetic_ppm[~found.known])


def test_a_voxel_whose_last_echo_is_dephased_is_not_known() -> None:
    shape = (3, 3, 6)
    field = np.broadcast_to(np.arange(6) * 60.0, shape).astype(np.float32)
    mask = np.ones(shape, np.bool_)
    mask[0] = False
    added, known = macroscopic_rate_hz(
        field, np.full(shape, 20, np.float32), mask, SliceStack(axis=2), (0.005, 0.020)
    )
    assert not known.any()
    assert not added[0].any()


def test_the_edge_of_the_mask_makes_no_gradient() -> None:
    shape = (3, 3, 6)
    mask = np.zeros(shape, np.bool_)
    mask[..., 1:5] = True
    field = np.where(mask, 500.0, 0).astype(np.float32)
    added, known = macroscopic_rate_hz(
        field, np.full(shape, 20, np.float32), mask, SliceStack(axis=2), (0.005, 0.020)
    )
    assert not added.any()
    np.testing.assert_array_equal(known, mask)
