import numpy as np
import pytest

from bids_qsmthal.qsm import Grid, ghost_to_signal
from bids_qsmthal.simulate.corruption import random_motion, with_motion
from tests.qsm.phantoms import ball

GRID = Grid((96, 110, 30), (2.0, 2.0, 3.0), (0.0, 0.28, 0.96))
SNR = 60.0


@pytest.fixture(scope="module")
def head():
    """A signal of uneven brightness, and where it is."""
    brain = ball(GRID, 62, stretch=(0.95, 1.15, 2.0))
    brighter = ball(GRID, 12, (20, -30, 0), (1, 1, 3)) | ball(GRID, 9, (-25, 20, 0), (1, 2, 3))
    return (brain + 0.6 * brighter).astype(np.complex64), brain


def noisy(signal, snr, seed=2):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((*signal.shape, 2)) @ np.array([1, 1j]) / snr
    return np.abs(signal + noise).astype(np.float32)


def moving(signal, amplitude_voxels, *, axis=1):
    turned = np.swapaxes(signal, 0, 1) if axis == 0 else signal
    places, order = random_motion(amplitude_voxels, turned.shape[1], np.random.default_rng(4))
    moved = with_motion(turned, places, order=order)
    return np.swapaxes(moved, 0, 1) if axis == 0 else moved


@pytest.mark.parametrize("snr", [100.0, 40.0, 20.0])
def test_noise_alone_is_no_ghost(head, snr):
    signal, brain = head

    assert ghost_to_signal(noisy(signal, snr), brain, GRID) == pytest.approx(0.0, abs=0.004)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_more_the_head_moves_the_stronger_is_the_ghost_whatever_the_encoded_axis(head, axis):
    signal, brain = head

    ghosts = [
        ghost_to_signal(noisy(moving(signal, amplitude, axis=axis), SNR), brain, GRID)
        for amplitude in (0.0, 0.2, 0.4, 0.8)
    ]

    assert ghosts == sorted(ghosts)
    assert ghosts[1] > 2 * ghosts[0] + 0.003


def test_a_scalp_apart_from_the_brain_is_no_ghost(head):
    """Dark skull parts them; below the brain there is a face alone, long from front to back."""
    signal, brain = head
    scalp = ball(GRID, 76, stretch=(0.95, 1.15, 2.0)) & ~ball(GRID, 71, stretch=(0.95, 1.15, 2.0))
    face = np.zeros_like(brain)
    face[40:56, 10:100, :3] = True
    above = np.arange(brain.shape[2]) > 6
    whole = np.where(above, np.where(brain, signal, 0.8 * scalp), 0.8 * face)

    found = ghost_to_signal(noisy(whole, SNR), brain & above, GRID)

    assert found == pytest.approx(0.0, abs=0.004)


def test_a_step_in_one_direction_that_all_lines_share_is_no_ghost(head):
    signal, _ = head
    order = np.arange(signal.shape[1])

    shifted = with_motion(signal, [(1.0, -2.0)], order=order)

    np.testing.assert_allclose(shifted, np.roll(signal, (1, -2), (0, 1)), atol=1e-5)


def test_blanked_air_tells_nothing(head):
    signal, brain = head

    assert ghost_to_signal(noisy(signal, SNR) * brain, brain, GRID) is None


def test_a_field_of_view_that_the_head_fills_tells_nothing(head):
    signal, brain = head
    inner = (slice(20, -20), slice(20, -20))
    grid = Grid((56, 70, 30), GRID.voxel_size_mm, GRID.b0_direction)

    assert ghost_to_signal(noisy(signal, SNR)[inner], brain[inner], grid) is None
