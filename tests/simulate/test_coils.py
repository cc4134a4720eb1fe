import numpy as np
import pytest

from bids_qsmthal.simulate.coils import CoilArray, FringeLine, PhaseBump, loop_field

CENTRE = np.array([0.0, -18.0, 10.0])


def grid(step_mm, shape):
    """A grid round the middle of the coils, axes along those of the head."""
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = CENTRE - (np.array(shape) - 1) / 2 * step_mm
    return affine


def test_the_field_of_a_loop_is_that_of_its_wire_piece_by_piece():
    generator = np.random.default_rng(0)
    middle, radius = np.array([10.0, -20.0, 5.0]), 50.0
    normal = np.array([1.0, -2.0, 0.5])
    normal /= np.linalg.norm(normal)
    first = np.cross(normal, [0, 0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    turn = np.linspace(0, 2 * np.pi, 4001)[:-1, None]
    wire = middle + radius * (np.cos(turn) * first + np.sin(turn) * second)
    piece = radius * (-np.sin(turn) * first + np.cos(turn) * second) * (2 * np.pi / 4000)
    points = middle[:, None] + generator.uniform(-90, 90, (3, 40))
    expected = np.empty_like(points)
    for index, point in enumerate(points.T):
        away = point - wire
        distance = np.linalg.norm(away, axis=1)[:, None]
        # Biot and Savart; the middle of a loop of radius a has 2 pi / a in these units.
        expected[:, index] = (
            (np.cross(piece, away) / distance**3).sum(axis=0) * radius / (2 * np.pi)
        )
    found = loop_field(points, middle, normal, radius)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_on_its_axis_a_loop_has_the_textbook_field():
    height = np.array([0.0, 30.0, 80.0])
    points = np.stack([np.zeros(3), np.zeros(3), height])
    field = loop_field(points, np.zeros(3), np.array([0, 0, 1.0]), 40.0)
    np.testing.assert_allclose(field[2], 40.0**3 / (40.0**2 + height**2) ** 1.5)
    np.testing.assert_array_equal(field[:2], 0)


def test_eight_channels_leave_the_centre_of_the_head_dark():
    coils = CoilArray()
    places = CENTRE[:, None] + np.array([[0, 0, 0], [65, 0, 0], [0, 80, 0]], float).T
    gain = np.sqrt((np.abs(coils.sensitivities(places)) ** 2).sum(axis=0))
    # As measured with such coils: the centre has about 0.4 of the rim of the brain.
    assert 0.3 < gain[0] / gain[1] < 0.5
    assert 0.3 < gain[0] / gain[2] < 0.5


def test_maps_on_a_grid_are_those_of_the_points():
    shape = (23, 31, 19)
    affine = grid(5.0, shape)
    coils = CoilArray(noise_correlation=0.3)
    found = coils.reception(affine, shape)
    index = np.array([[3, 11, 20], [4, 15, 25], [2, 9, 17]])
    points = affine[:3, :3] @ index + affine[:3, 3:]
    s = coils.sensitivities(points)
    power = (np.abs(s) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.gain[tuple(index)], np.sqrt(power), rtol=0.01)
    # The same noise by drawing it: correlated channels, combined with the weights.
    order = np.arange(8)
    apart = np.abs(order[:, None] - order)
    factor = np.linalg.cholesky(0.3 ** np.minimum(apart, 8 - apart))
    draws = np.random.default_rng(1).standard_normal((2, 40_000, 8)) @ factor.T
    combined = (draws[0] + 1j * draws[1]) @ s.conj() / np.sqrt(power)
    np.testing.assert_allclose(
        found.noise[tuple(index)], np.sqrt((np.abs(combined) ** 2).mean(axis=0) / 2), rtol=0.02
    )


def test_normalisation_trades_the_dark_centre_for_noise_there():
    shape = (23, 31, 19)
    affine = grid(5.0, shape)
    raw = CoilArray(noise_correlation=0.0).reception(affine, shape)
    flat = CoilArray(noise_correlation=0.0, normalised=True).reception(affine, shape)
    np.testing.assert_allclose(raw.noise, 1, rtol=1e-3)
    np.testing.assert_allclose(flat.gain, 1, rtol=1e-6)
    # Away from the corners, which come near the wires, where an interpolation of 8 mm is coarse.
    inner = np.s_[4:-4, 4:-4, 3:-3]
    np.testing.assert_allclose((flat.noise * raw.gain)[inner], 1, rtol=0.02)
    assert flat.noise[11, 15, 9] > 2 * flat.noise[0, 15, 9]


def test_a_bump_has_its_height_and_width_and_is_no_polynomial():
    shape = (41, 41, 41)
    affine = grid(3.0, shape)
    bump = PhaseBump(centre_mm=tuple(CENTRE), height_rad=0.5, deviation_mm=15.0)
    phase = bump.phase_rad(affine, shape)
    assert phase[20, 20, 20] == pytest.approx(0.5)
    assert phase[25, 20, 20] == pytest.approx(0.5 * np.exp(-0.5), rel=1e-5)
    line = phase[:, 20, 20]
    place = np.linspace(-1, 1, 41)
    left = line - np.polyval(np.polyfit(place, line, 4), place)
    assert np.abs(left).max() > 0.05


def circulation(phase, points):
    """Sum of the steps of phase round a closed way, each less than half a turn."""
    values = np.array([phase[tuple(p)] for p in [*points, points[0]]])
    steps = np.diff(values)
    return float((steps - 2 * np.pi * np.round(steps / (2 * np.pi))).sum())


def square(x, y, half, z):
    side = np.arange(-half, half)
    way = [(x + s, y - half, z) for s in side] + [(x + half, y + s, z) for s in side]
    return way + [(x - s, y + half, z) for s in side] + [(x - half, y - s, z) for s in side]


def test_a_fringe_line_ends_at_two_points_round_which_the_phase_turns_once():
    shape = (60, 60, 5)
    affine = grid(2.0, shape)
    first, second = (
        (affine[:2, :2] @ np.array(p) + affine[:2, 3]) for p in ((15.3, 20.4), (44.6, 41.5))
    )
    phase = FringeLine(first_mm=tuple(first), second_mm=tuple(second)).phase_rad(affine, shape)
    for plane in (0, 4):
        assert circulation(phase, square(15, 20, 6, plane)) == pytest.approx(2 * np.pi, abs=1e-4)
        assert circulation(phase, square(45, 41, 6, plane)) == pytest.approx(-2 * np.pi, abs=1e-4)
        assert circulation(phase, square(30, 30, 27, plane)) == pytest.approx(0, abs=1e-4)
        assert circulation(phase, square(15, 45, 6, plane)) == pytest.approx(0, abs=1e-4)
