"""The mask of reliable phase: known values of the quality, and tissue told from air."""

import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import PhaseQuality, reliable_mask
from bids_qsmthal.qsm.phase_mask import echo_qualities

SHAPE = (24, 22, 20)


def echoes(phase: np.ndarray, count: int = 4) -> np.ndarray:
    """Return wrapped phase that grows with the echo."""
    grown = phase[..., None] * np.arange(1, count + 1)
    return np.angle(np.exp(1j * grown)).astype(np.float32)


def ramp() -> np.ndarray:
    x, y, z = np.indices(SHAPE)
    return 0.9 * x - 0.7 * y + 0.5 * z + 0.123


def noisy(phase_rad: np.ndarray, snr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the phase of a signal with noise of one channel of 1 / snr."""
    noise = rng.normal(size=(2, *phase_rad.shape)) / snr[..., None]
    return np.angle(np.exp(1j * phase_rad) + noise[0] + 1j * noise[1]).astype(np.float32)


def ball(radius: float) -> np.ndarray:
    centre = (np.array(SHAPE) - 1)[:, None, None, None] / 2
    return np.asarray(((np.indices(SHAPE) - centre) ** 2).sum(0) < radius**2)


def test_a_steep_linear_phase_has_quality_one() -> None:
    phase = echoes(ramp())
    assert np.abs(np.diff(phase, axis=0)).max() > np.pi
    quality = PhaseQuality().quality(np.ones_like(phase), phase)
    np.testing.assert_allclose(quality, 1, atol=1e-5)


def test_noise_has_quality_one_half_and_more_signal_more() -> None:
    rng = np.random.default_rng(1)
    for snr, expected in ((1e-6, 0.5), (10.0, 1 - 0.062), (30.0, 1 - 0.0207)):
        phase = noisy(echoes(ramp()), np.full(SHAPE, snr), rng)
        quality = PhaseQuality().quality(np.ones_like(phase), phase)
        assert quality.mean() == pytest.approx(expected, abs=0.01)


def test_the_default_threshold_finds_tissue_in_air_at_every_usual_noise() -> None:
    inside = ball(8)
    for seed, snr in ((2, 5.0), (3, 10.0), (4, 60.0)):
        rng = np.random.default_rng(seed)
        phase = noisy(echoes(ramp()), np.where(inside, snr, 1e-6), rng)
        found = PhaseQuality()(np.ones_like(phase), phase, np.ones(SHAPE, bool))
        overlap = 2 * (found & inside).sum() / (found.sum() + inside.sum())
        assert overlap > 0.93
        assert not (found & ~ball(10)).any()


def test_a_region_without_phase_at_the_rim_is_left_out_and_a_hole_is_kept() -> None:
    brain, sinus = ball(9), np.zeros(SHAPE, bool)
    sinus[:, :7] = True
    hole = np.zeros(SHAPE, bool)
    hole[9:14, 11:16, 8:13] = True
    bad = sinus | hole
    phase = noisy(echoes(ramp()), np.where(bad, 1e-6, 40.0), np.random.default_rng(5))
    found = PhaseQuality()(np.ones_like(phase), phase, brain)
    assert not (found & ~brain).any()
    assert found[hole].all()
    # One voxel of it, which the border of the tissue is given back.
    assert not found[:, :6].any()
    far = brain.copy()
    far[:, :9] = False
    assert found[far].mean() > 0.99


def test_of_separate_parts_the_largest_is_the_head() -> None:
    inside = np.zeros(SHAPE, bool)
    inside[2:12, 4:18, 4:16] = True
    small = np.zeros(SHAPE, bool)
    small[18:22, 8:12, 8:12] = True
    snr = np.where(inside | small, 40.0, 1e-6)
    phase = noisy(echoes(ramp()), snr, np.random.default_rng(6))
    found = PhaseQuality()(np.ones_like(phase), phase, np.ones(SHAPE, bool))
    assert found[inside].mean() > 0.9
    assert not (found & small).any()


def test_a_phase_that_a_program_set_to_zero_or_masked_is_not_reliable() -> None:
    phase, magnitude = echoes(ramp()), np.ones((*SHAPE, 4), np.float32)
    phase[:6] = 0
    magnitude[-6:, ..., 3] = 0
    phase[10, 10, 10] = np.nan
    quality = PhaseQuality().quality(magnitude, phase)
    assert not quality[:6].any()
    assert not quality[-6:].any()
    assert quality[10, 10, 10] == 0
    assert quality[8:16, 2:6].min() > 0.99


def test_one_slice_and_one_echo_have_a_quality_too() -> None:
    phase = echoes(ramp(), 1)[:, :, :1]
    np.testing.assert_allclose(PhaseQuality().quality(np.ones_like(phase), phase), 1, atol=1e-5)


def test_where_nothing_is_reliable_the_message_says_what_to_do() -> None:
    phase = noisy(echoes(ramp()), np.full(SHAPE, 1e-6), np.random.default_rng(7))
    scan, angles = (Image(one, np.eye(4)) for one in (np.ones_like(phase), phase))
    with pytest.raises(DataError, match="lower --mask-threshold, or take --mask brain"):
        reliable_mask(scan, angles, None, PhaseQuality())


def test_a_voxel_at_the_end_has_the_bend_of_its_neighbour_and_of_no_other(rng) -> None:
    bends = rng.uniform(-3, 3, 7)
    line = np.zeros(9)
    for k, bend in enumerate(bends):
        line[k + 2] = bend + 2 * line[k + 1] - line[k]
    phase = np.zeros((9, 9, 9), np.float32)
    phase += line.reshape(9, 1, 1).astype(np.float32)
    expected = 1 - np.abs(bends) / np.pi
    for axis in range(3):
        turned = np.moveaxis(phase, 0, axis)[..., None]
        for place, of in ((0, 0), (1, 0), (4, 3), (8, 6)):
            inside = np.zeros((9, 9, 9), bool)
            inside[tuple(place if a == axis else 4 for a in range(3))] = True
            # The other two axes are straight.
            (found,) = echo_qualities(turned, inside)
            assert found == pytest.approx((2 + expected[of]) / 3, abs=1e-5)
