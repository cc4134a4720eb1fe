from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.simulate.echoes import MovingSpins
from bids_qsmthal.simulate.flow import ARTERIES, Flow
from bids_qsmthal.simulate.veins import Vein, through_head, vein_fraction

SHAPE = (40, 16, 16)
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
FLOW = Flow(vein_mm_s=80.0, arteries=False, readout_s=0.003, encoding_s=0.001)


class Unwarped:
    """A head that is the atlas."""

    @staticmethod
    def to_head(points):
        return points


def tube(direction, radius_mm=1.5):
    """A straight vein through the middle of the grid."""
    direction = np.array(direction, float) / np.linalg.norm(direction)
    middle = (np.array(SHAPE) - 1) / 2
    return Vein(middle + np.arange(-6, 6, 0.4)[:, None] * direction, radius_mm)


def blood_of(*veins):
    return FLOW.blood(SimpleNamespace(veins=veins), AFFINE, SHAPE, 45.0)


def test_blood_fills_what_the_veins_fill_and_flows_along_them():
    vein = tube((1, 1, 0))
    blood = blood_of(vein)
    fraction = vein_fraction((vein,), AFFINE, SHAPE).reshape(-1)
    np.testing.assert_allclose(blood.fraction, fraction[blood.flat], atol=1e-6)
    assert blood.fraction.sum() == pytest.approx(fraction.sum(), rel=1e-5)
    expected = 80 / np.sqrt(2) * np.array([1, 1, 0])
    np.testing.assert_allclose(
        blood.velocity_mm_s.T, np.tile(expected, (blood.flat.size, 1)), atol=1e-3
    )


def test_velocity_is_counted_along_the_axes_of_an_oblique_grid():
    angle = np.deg2rad(30)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, :3] = turned[:3, :3] @ np.diag([1.5, 1.0, 2.0])
    course = turned[:3, 3] + np.array([20.0, 8.0, 8.0]) @ turned[:3, :3].T
    vein = Vein(course + np.arange(-6, 6, 0.4)[:, None] * [1.0, 0, 0], 1.5)
    blood = FLOW.blood(SimpleNamespace(veins=(vein,)), turned, SHAPE, 45.0)
    expected = [80 * np.cos(angle), -80 * np.sin(angle), 0]
    np.testing.assert_allclose(blood.velocity_mm_s.mean(axis=1), expected, atol=1e-3)


def test_thin_veins_flow_slower_and_those_across_the_readout_have_no_moment():
    slow, fast = blood_of(tube((1, 0, 0), 0.5)), blood_of(tube((1, 0, 0), 2.0))
    assert slow.velocity_mm_s[0].mean() == pytest.approx(40)
    assert fast.velocity_mm_s[0].mean() == pytest.approx(80)
    across = blood_of(tube((0, 0, 1)))
    moment, _ = FLOW.phase_rad(across, np.zeros(SHAPE, np.float32), 1.0)
    np.testing.assert_allclose(moment, 0, atol=1e-5)


def test_phase_is_that_of_a_spin_that_is_followed_through_the_gradients():
    """Integrate 2 pi x(t) gradient(t) of readout and field, step by step."""
    blood = blood_of(tube((1, 0, 0)))
    size_mm, gradient_hz_mm, echo_s = 1.0, 4.0, 0.020
    field = np.broadcast_to(
        (gradient_hz_mm * np.arange(SHAPE[0], dtype=np.float32))[:, None, None], SHAPE
    )
    moment, rate = FLOW.phase_rad(blood, field, size_mm)

    # A readout of T resolves one voxel: its gradient turns two neighbours apart by 1 / T.
    readout_hz_mm = 1 / (FLOW.readout_s * size_mm)
    step = FLOW.readout_s / 20_000
    time = (np.arange(20_000) + 0.5) * step
    gradient = np.where(time < FLOW.readout_s / 2, -readout_hz_mm, readout_hz_mm)
    # Counted from the echo, where the zeroth moment is zero: origin and time of it do not matter.
    place = 80.0 * (time - FLOW.readout_s)
    expected = 2 * np.pi * (gradient * place).sum() * step
    np.testing.assert_allclose(moment, expected, rtol=1e-3)

    time = np.linspace(0, echo_s, 20_001)
    followed = 2 * np.pi * np.trapezoid(gradient_hz_mm * 80.0 * time, time)
    np.testing.assert_allclose(rate * echo_s**2, followed, rtol=1e-3)


def test_blood_is_seen_downstream_with_all_of_its_signal():
    blood = blood_of(tube((1, 0, 0)))
    amplitude = blood.fraction * 100
    zero = np.zeros_like(amplitude)
    moving = MovingSpins(FLOW, blood, amplitude, zero, zero, zero, 1.0)
    centres = []
    for echo_s in (0.001, 0.021):
        signal = np.zeros(SHAPE, np.complex64)
        moving.add_to(signal, echo_s, None)
        total = np.abs(signal).sum()
        assert total == pytest.approx(amplitude.sum() * np.exp(-45 * echo_s), rel=1e-3)
        centres.append((np.abs(signal).sum(axis=(1, 2)) * np.arange(SHAPE[0])).sum() / total)
    place = np.unravel_index(blood.flat, SHAPE)[0]
    # At the time of the encoding blood is seen where it is.
    assert centres[0] == pytest.approx((amplitude * place).sum() / amplitude.sum(), abs=0.01)
    assert centres[1] - centres[0] == pytest.approx(80 * 0.020, abs=0.01)


def test_arteries_are_bright_and_flow_on_both_sides():
    head = SimpleNamespace(veins=(), warp=Unwarped())
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-60, -60, -50)
    blood = Flow().blood(head, affine, (61, 60, 45), 45.0)
    x = np.unravel_index(blood.flat, (61, 60, 45))[0]
    assert (x < 25).sum() == pytest.approx((x > 35).sum(), rel=0.05)
    assert (blood.inflow == np.float32(1.8)).all()
    speed = np.linalg.norm(blood.velocity_mm_s, axis=0)
    assert 250 < speed.min() < speed.max() <= 450.1


def test_a_course_off_the_midline_comes_in_pairs():
    single = through_head(ARTERIES[0][2], Unwarped())
    pair = through_head(ARTERIES[2][2], Unwarped())
    assert len(single) == 1
    np.testing.assert_allclose(pair[0] * (-1, 1, 1), pair[1])
