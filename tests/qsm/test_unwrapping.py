import numpy as np
import pytest

from bids_qsmthal.qsm import UNWRAPPINGS, Grid, region_growing
from bids_qsmthal.qsm.unwrapping import Romeo, unwrap_echoes
from tests.qsm.phantoms import ball, distances_mm

GRID = Grid((40, 36, 30), (1.0, 1.0, 1.5))


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * angle)).astype(np.float32)


def bowl() -> np.ndarray:
    x, y, z = distances_mm(GRID)
    return (0.03 * x**2 + 0.02 * y**2 + 0.25 * z).astype(np.float32)


@pytest.mark.parametrize("name", sorted(UNWRAPPINGS))
def test_a_smooth_phase_of_many_turns_is_found_again(name: str, rng) -> None:
    mask = ball(GRID, 16, stretch=(1, 1, 1.2))
    truth = bowl()
    noisy = wrapped(truth + rng.normal(0, 0.15, GRID.shape))
    found = UNWRAPPINGS[name]()(noisy, np.ones(GRID.shape, np.float32), mask, GRID)
    turns = np.round((found - truth)[mask] / (2 * np.pi))
    assert np.mean(turns != np.median(turns)) <= (0.0 if name == "romeo" else 0.02)
    np.testing.assert_allclose(wrapped(found - noisy)[mask], 0, atol=1e-4)
    assert not found[~mask].any()


def test_region_growing_goes_round_a_noisy_cut(rng) -> None:
    """A wall of noise would break a walk along any one line."""
    truth, mask = bowl(), ball(GRID, 16, stretch=(1, 1, 1.2))
    magnitude = np.ones(GRID.shape, np.float32)
    wall = np.zeros(GRID.shape, bool)
    wall[18:20, :20] = True
    noisy = wrapped(truth + rng.normal(0, 0.1, GRID.shape))
    noisy[wall] = rng.uniform(-np.pi, np.pi, int(wall.sum()))
    magnitude[wall] = 0.02
    found = Romeo()(noisy, magnitude, mask, GRID)
    turns = np.round((found - truth)[mask & ~wall] / (2 * np.pi))
    assert (turns == turns[0]).all()


def test_every_part_of_a_mask_is_unwrapped_and_centred() -> None:
    x, *_ = distances_mm(GRID)
    mask = (np.abs(x) > 3) & (np.abs(x) < 18)
    truth = (0.5 * np.sign(x) + 0.4 * (np.abs(x) - 10)).astype(np.float32)
    found = Romeo()(wrapped(truth), np.ones(GRID.shape, np.float32), mask, GRID)
    np.testing.assert_allclose(found[mask], truth[mask], atol=1e-4)


def test_holes_and_an_empty_mask_do_no_harm() -> None:
    mask = ball(GRID, 14)
    mask[20, 18, 15] = False
    truth = bowl()
    found = Romeo()(wrapped(truth), np.ones(GRID.shape, np.float32), mask, GRID)
    turns = (found - truth)[mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns[0]), atol=1e-4)
    nothing = Romeo()(wrapped(truth), np.ones(GRID.shape, np.float32), mask & False, GRID)
    assert not nothing.any()


@pytest.mark.parametrize("template", [0, 2, 3])
def test_echoes_follow_the_template_in_time(rng, template: int) -> None:
    times = (0.004, 0.009, 0.013, 0.021)
    mask = ball(GRID, 15)
    field_hz = bowl() * 12
    truth = 2 * np.pi * field_hz[..., None] * np.array(times)
    noisy = wrapped(truth + rng.normal(0, 0.05, truth.shape))
    magnitude = np.ones(truth.shape, np.float32)
    found = unwrap_echoes(noisy, magnitude, mask, times, template=template)
    slips = np.round((found - truth)[mask] / (2 * np.pi))
    assert np.mean(slips != np.median(slips, axis=0)) <= 0.001


def quality(phase, magnitude=None, second=None, ratio: float = 1.0) -> np.ndarray:
    """Bins of the edges of a row of voxels along x; 1 is best."""
    row = np.asarray(phase, np.float32)[:, None, None]
    ones = np.ones_like(row)
    size = ones if magnitude is None else np.asarray(magnitude, np.float32)[:, None, None]
    other = np.zeros((0, 0, 0)) if second is None else np.asarray(second)[:, None, None]
    mask = np.ones(row.shape, bool)
    bins = region_growing.edge_quality(row, size, mask, other.astype(np.float32), ratio)
    return bins[0, :-1, 0, 0].astype(int)


def expected_bin(*weights: float) -> int:
    return 1 + int(254 * (1 - np.prod([0.1 + 0.9 * w for w in weights])))


def test_the_weights_are_the_published_ones() -> None:
    """Six voxels in a row, of which the middle edge has both outer neighbours."""
    phase = [0.0, 0.2, 0.5, 1.1, 1.0, 0.9]
    middle = 2
    linearity = (1 - 0.3 / 2) * (1 - 0.7 / 2)
    bright = 0.75
    assert quality(phase)[middle] == expected_bin(1 - 0.6 / np.pi, linearity, bright)
    magnitude = [1.0, 1.0, 0.2, 0.4, 1.0, 1.0]
    dark = 0.5 + 0.5 * 0.2 / 0.5
    assert quality(phase, magnitude)[middle] == expected_bin(1 - 0.6 / np.pi, linearity, 0.25, dark)
    second = [0.0, 0.3, 0.9, 2.3, 2.2, 2.1]
    between = 1 - abs(0.6 - 1.4 * 0.5)
    assert quality(phase, second=second, ratio=0.5)[middle] == expected_bin(
        1 - 0.6 / np.pi, linearity, between, bright
    )


def test_the_weights_know_no_turns(rng) -> None:
    phase = rng.uniform(-np.pi, np.pi, 12)
    turns = 2 * np.pi * rng.integers(-2, 3, 12)
    assert np.abs(quality(phase) - quality(phase + turns)).max() <= 1


def test_an_edge_that_another_echo_contradicts_comes_last() -> None:
    phase, second = np.full(6, 0.3), np.array([0.0, 0.0, 0.0, 2.0, 2.0, 2.0])
    assert quality(phase, second=second, ratio=0.5).argmax() == 2
