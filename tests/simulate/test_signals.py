import numpy as np
import pytest

from bids_qsmthal.simulate.signals import (
    block_mean,
    cropped,
    fluid_attenuated,
    mprage,
    noisy,
    spoiled_gradient_echo,
)


@pytest.mark.parametrize("factor", [(2, 1, 3), (1, 2, 2), (4, 3, 1)])
@pytest.mark.parametrize("coarse", [(12, 10, 8), (9, 7, 11)])
def test_a_plane_wave_within_the_band_is_sampled_at_the_centres_of_the_voxels(factor, coarse):
    fine_shape = tuple(n * f for n, f in zip(coarse, factor, strict=True))
    wave = (3, -2, 1)

    def phase(shape, offset):
        axes = [
            2 * np.pi * k * (np.arange(n) + o) / n
            for n, k, o in zip(shape, wave, offset, strict=True)
        ]
        return sum(np.meshgrid(*axes, indexing="ij"))

    # Positions in units of the field of view: a voxel's centre is half a voxel from its edge.
    fine = np.exp(1j * phase(fine_shape, (0.5, 0.5, 0.5))).astype(np.complex64)
    expected = np.exp(1j * phase(coarse, (0.5, 0.5, 0.5)))
    np.testing.assert_allclose(cropped(fine, factor), expected, atol=2e-5)


def test_a_wave_beyond_the_band_is_gone():
    index = np.arange(24)
    wave = np.exp(2j * np.pi * 9 * index / 24).astype(np.complex64)
    fine = np.broadcast_to(wave[:, None, None], (24, 4, 4)).copy()
    assert np.abs(cropped(fine, (2, 1, 1))).max() < 1e-6


def test_cropping_commutes_with_the_complex_conjugate():
    generator = np.random.default_rng(1)
    fine = noisy(np.zeros((8, 12, 6), np.complex64), 1.0, generator)
    np.testing.assert_allclose(
        cropped(fine.conj(), (2, 3, 2)), cropped(fine, (2, 3, 2)).conj(), atol=1e-5
    )


def test_spins_that_turn_within_a_voxel_lose_signal_as_sinc():
    # A gradient of half a turn per voxel, seen through eight fine voxels: |sinc(1/2)| = 0.637.
    fine = np.exp(1j * np.pi * np.arange(256 * 8) / 8 * 0.5).astype(np.complex64)
    fine *= np.hanning(fine.size).astype(np.float32)
    image = cropped(np.broadcast_to(fine[:, None, None], (2048, 1, 1)).copy(), (8, 1, 1))
    blurred = block_mean(fine.real[:, None, None].astype(np.float32), (8, 1, 1))
    # k-space cropping keeps the signal whose frequency is inside the band; averaging would not.
    assert np.abs(image[128, 0, 0]) == pytest.approx(1.0, abs=0.01)
    assert np.abs(blurred).max() < 0.99


def test_a_block_mean_is_the_mean_over_each_voxel():
    fine = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    found = block_mean(fine, (1, 2, 3))
    assert found.shape == (2, 2, 2)
    assert found[1, 0, 1] == fine[1, :2, 3:].mean()


def test_noise_has_the_deviation_asked_for_in_both_parts():
    noise = noisy(np.zeros((40, 40, 40), np.complex64), 3.0, np.random.default_rng(2))
    assert noise.real.std() == pytest.approx(3.0, rel=0.02)
    assert noise.imag.std() == pytest.approx(3.0, rel=0.02)
    assert abs(np.mean(noise.real * noise.imag)) < 0.1


def test_the_mprage_formula_is_the_steady_state_of_the_simulated_sequence():
    t1_s, flip, spacing_s = 1.3, np.deg2rad(9.0), 0.0071
    train_s = 176 * spacing_s
    magnetisation = 1.0

    def recover(value, time_s):
        return 1 + (value - 1) * np.exp(-time_s / t1_s)

    for _ in range(30):
        magnetisation = recover(-magnetisation, 0.9 - train_s / 2)
        for pulse in range(176):
            if pulse == 88:
                centre = magnetisation * np.sin(flip)
            magnetisation = recover(magnetisation * np.cos(flip), spacing_s)
        magnetisation = recover(magnetisation, 2.3 - 0.9 - train_s / 2)
    assert mprage(np.array([t1_s]))[0] == pytest.approx(centre, rel=0.02)


def test_contrasts_are_ordered_as_on_a_scanner():
    white, gray, csf = np.array([0.85]), np.array([1.35]), np.array([4.2])
    t1w = [abs(mprage(t1)[0]) * density for t1, density in ((white, 0.7), (gray, 0.84), (csf, 1.0))]
    assert t1w[0] > t1w[1] > t1w[2]
    assert 0.5 < t1w[1] / t1w[0] < 0.8
    flair = fluid_attenuated(np.array([0.85, 1.35, 4.2, 1.6]), np.array([0.07, 0.09, 1.5, 0.15]))
    assert flair[3] * 0.88 > 1.4 * flair[0] * 0.7  # proton densities of lesion and white matter
    assert abs(flair[2]) < 0.2 * flair[0]
    ernst = spoiled_gradient_echo(np.array([1.0]), repetition_time_s=50.0, flip_angle_deg=90.0)
    assert ernst[0] == pytest.approx(1.0)
