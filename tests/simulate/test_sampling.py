import numpy as np
import pytest

from bids_qsmthal.simulate.sampling import BipolarReadout, HighPassPhase, InterleavedSlices, KSpace
from bids_qsmthal.simulate.signals import white_noise

SHAPE = (24, 20, 16)


def wave(numbers, shape=SHAPE):
    index = np.indices(shape)
    phase = sum(2 * np.pi * k * i / n for k, i, n in zip(numbers, index, shape, strict=True))
    return np.exp(1j * phase).astype(np.complex64)


def test_zero_filling_keeps_waves_that_were_acquired_and_no_others():
    window = KSpace(acquired=(0.5, 0.5, 1.0))
    for inside in ((6, 0, 0), (-3, 5, 7), (0, -5, -8)):
        np.testing.assert_allclose(window(wave(inside)), wave(inside), atol=1e-5)
    for outside in ((7, 0, 0), (0, 6, 0), (-11, 2, 2)):
        assert np.abs(window(wave(outside))).max() < 1e-5


def test_a_hamming_window_weighs_each_wave_as_its_formula_says():
    window = KSpace(window="hamming")
    for number in (0, 5, -9):
        weight = 0.54 + 0.46 * np.cos(np.pi * number / 12)
        expected = weight * wave((number, 0, 0))
        np.testing.assert_allclose(window(wave((number, 0, 0))), expected, atol=1e-5)


def test_a_tukey_window_is_flat_inside_and_falls_to_nothing_at_the_edge():
    line = KSpace(window="tukey", taper=0.5, acquired=(0.8, 1, 1)).weights(200, 0)
    assert (line[:41] == 1).all()
    assert line[60] == pytest.approx(0.5)
    assert line[80:121] == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(line[1:], line[:0:-1])


def test_windows_calm_the_ringing_of_an_edge():
    edge = np.zeros((128, 1, 1), np.complex64)
    edge[32:96] = 1
    plain = KSpace(acquired=(0.25, 1, 1))(edge).real
    hamming = KSpace(acquired=(0.25, 1, 1), window="hamming")(edge).real
    # Gibbs: 9 % of the step, whatever the resolution; Hamming: below 1 %.
    assert plain.max() - 1 == pytest.approx(0.09, abs=0.02)
    assert hamming.max() - 1 < 0.01


@pytest.mark.parametrize("window", ["none", "hamming", "tukey"])
def test_noise_is_weakened_as_foretold_and_neighbours_share_it(window):
    k_space = KSpace(acquired=(0.5, 1.0, 1.0), window=window)
    shape = (64, 32, 32)
    noise = k_space(white_noise(shape, 1.0, np.random.default_rng(0)))
    assert noise.real.std() == pytest.approx(k_space.noise_gain(shape), rel=0.02)
    neighbours = np.mean(noise[1:].real * noise[:-1].real) / noise.real.var()
    # White noise in half of a band: sin(x) / x at a quarter of a turn, 2 / pi; windows share more.
    assert neighbours > 0.6
    if window == "none":
        assert neighbours == pytest.approx(2 / np.pi, abs=0.03)


def test_bipolar_echoes_differ_by_twice_a_line_and_a_parabola_along_the_readout():
    readout = BipolarReadout(linear_rad=1.0, quadratic_rad=0.5)
    place = np.linspace(-1, 1, 33)
    first, second, third = (readout.phase_rad(33, echo) for echo in range(3))
    np.testing.assert_allclose(first - second, 2 * (place + 0.5 * place**2), atol=1e-6)
    np.testing.assert_array_equal(first, third)


def test_odd_slices_turn_by_the_step_times_the_echo_time():
    image = wave((2, 1, 3))
    found = InterleavedSlices(step_hz=3.0)(image, 0.020)
    turned = np.angle(found * np.conj(image))
    np.testing.assert_allclose(turned[:, :, ::2], 0, atol=1e-5)
    np.testing.assert_allclose(turned[:, :, 1::2], 2 * np.pi * 3 * 0.020, atol=1e-5)


def test_a_slice_is_the_mean_over_its_thickness_and_loses_what_dephases_in_it():
    # A quarter turn from plane to plane: four planes cancel.
    fine = np.exp(1j * np.pi / 2 * np.arange(16))[None, None].astype(np.complex64)
    assert np.abs(InterleavedSlices.sliced(fine, 4)).max() < 1e-6
    np.testing.assert_allclose(
        InterleavedSlices.sliced(fine, 2)[0, 0], (fine[0, 0, ::2] * (1 + 1j) / 2)
    )


def test_filtered_phase_has_lost_what_is_slow_and_kept_what_is_sharp():
    shape = (128, 128, 1)
    x, y = np.meshgrid(*(np.linspace(-1, 1, 128),) * 2, indexing="ij")
    slow = 2.0 * x + 1.5 * y**2
    sharp = 0.3 * ((np.abs(x) < 0.03) & (np.abs(y) < 0.03))
    magnitude = 100 * (x**2 + y**2 < 0.7)
    signal = (magnitude * np.exp(1j * (slow + sharp)))[..., None].astype(np.complex64)
    found = HighPassPhase(window=32)(signal)
    np.testing.assert_allclose(np.abs(found[..., 0]), magnitude, atol=1e-3)
    phase = np.angle(found[..., 0])
    inner = (x**2 + y**2 < 0.3) & (x**2 + y**2 > 0.05)
    assert np.abs(phase[inner]).max() < 0.05
    # The smooth copy has some of it, too.
    assert 0.2 < phase[64, 64] < 0.3
    assert np.abs(slow[inner]).max() > 1
    assert found.shape == shape
