import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import (
    PhaseScaleByRange,
    PhaseScaleUnconfirmed,
    PhaseUnwrappedAlready,
)
from bids_qsmthal.qsm import Grid, scaling
from tests.qsm.phantoms import head

PI = np.pi
FULL_TURN = np.linspace(-PI, PI, 4001)


@pytest.fixture(scope="module")
def last_echo() -> np.ndarray:
    """Phase of the last echo of a head in air, in rad."""
    return head(echo_times_s=(0.02,)).signal(snr=60)[1][..., 0]


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return head(echo_times_s=(0.02,)).mask


def radians(values: np.ndarray, **known: object) -> np.ndarray:
    known = {"units": None, "manufacturer": None} | known
    return scaling.to_radians(values, scaling.find_scale(values, **known))[0]


def turned(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two angles but for a constant half turn (where zero is)."""
    difference = np.angle(np.exp(2j * (one - other))) / 2
    return float(np.abs(difference).max())


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (np.round(FULL_TURN / PI * 4095), {"units": "arbitrary", "manufacturer": "Siemens"}),
        (np.round((FULL_TURN + PI) / PI * 2047.5), {"manufacturer": "SIEMENS"}),
        (FULL_TURN * 1000, {"manufacturer": "Philips", "header_slope": 1.534}),
        (FULL_TURN, {"manufacturer": "Philips", "header_slope": 0.001534}),
        (FULL_TURN * 1000, {"units": "arbitrary", "manufacturer": "GE MEDICAL SYSTEMS"}),
        (FULL_TURN, {"units": "rad", "manufacturer": "Canon"}),
        (FULL_TURN + PI, {"units": "radians"}),
        (FULL_TURN * 1000, {"units": "mrad"}),
        (np.degrees(FULL_TURN), {"units": "deg"}),
    ],
)
def test_every_vendors_phase_becomes_radians(values, known) -> None:
    scale = scaling.find_scale(
        values.astype(np.float32), **{"units": None, "manufacturer": None} | known
    )
    assert scale.source in ("units", "manufacturer")
    assert scale.warning is None
    assert turned(radians(values.astype(np.float32), **known), FULL_TURN) < 2.5e-3


@pytest.mark.parametrize("manufacturer", [None, "Siemens", "Philips", "GE", "Canon", "UIH"])
@pytest.mark.parametrize("units", [None, "arbitrary"])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-4096, 4095),
        (-4096, 4094),
        (0, 4095),
        (-2048, 2047),
        (-3142, 3142),
        (-PI, PI),
        (0, 2 * PI),
        (-180, 180),
    ],
)
def test_a_known_whole_turn_is_taken_and_said(last_echo, manufacturer, units, low, high) -> None:
    stored = low + (last_echo + PI) / (2 * PI) * (high - low)
    stored = np.round(stored) if high > 200 else stored
    known = {"units": units, "manufacturer": manufacturer, "header_slope": 1.0}
    scale = scaling.find_scale(stored.astype(np.float32), **known)
    found, beyond = scaling.to_radians(stored.astype(np.float32), scale)
    assert turned(found, last_echo) < 4e-3
    assert beyond == 0
    assert isinstance(scale.warning, PhaseScaleByRange) is (scale.source == "range")


@pytest.mark.parametrize("factor", [1 / PI, 0.5, 0.25, 1 / 855, 2, 4, 1.534, 1000, 4096 / PI])
def test_a_scale_that_units_deny_is_refused(last_echo, factor) -> None:
    with pytest.raises(DataError, match="a wrapped phase fills one"):
        radians((last_echo * factor).astype(np.float32), units="rad")


@pytest.mark.parametrize("factor", [0.25, 2, 3])
@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips", None])
def test_a_phase_rescaled_twice_is_refused(last_echo, factor, vendor) -> None:
    stored = np.round((last_echo + PI) / PI * 2048 * factor + 300).astype(np.float32)
    with pytest.raises(DataError, match=r"wrapped phase fills one|not that of a known full turn"):
        radians(stored, units="arbitrary", manufacturer=vendor, header_slope=1.0)


def test_siemens_half_scale_is_a_whole_turn(last_echo) -> None:
    stored = np.clip(np.round(last_echo / PI * 2048), -2048, 2047).astype(np.float32)
    assert turned(radians(stored, units="arbitrary", manufacturer="Siemens"), last_echo) < 4e-3


@pytest.mark.parametrize("count", [1, 20, 100])
@pytest.mark.parametrize("value", [4095, -4096, 50000])
def test_a_few_voxels_beyond_the_turn_are_not_measured(last_echo, count, value) -> None:
    stored = np.clip(np.round(last_echo / PI * 2048), -2048, 2047).astype(np.float32)
    stored.reshape(-1)[:count] = value
    scale = scaling.find_scale(stored, units="arbitrary", manufacturer="Siemens")
    found, beyond = scaling.to_radians(stored, scale)
    assert beyond == count
    assert np.isnan(found.reshape(-1)[:count]).all()
    assert turned(found.reshape(-1)[count:], last_echo.reshape(-1)[count:]) < 4e-3


@pytest.mark.parametrize("filler", [0, -4096, 4095, np.nan])
def test_what_fills_the_air_says_nothing_of_the_scale(last_echo, mask, filler) -> None:
    stored = np.where(mask, np.round(last_echo / PI * 4095), filler).astype(np.float32)
    found = radians(stored, units="arbitrary", manufacturer="Siemens")
    assert turned(found[mask], last_echo[mask]) < 4e-3


def test_two_values_may_fill_what_was_masked(mask, rng) -> None:
    # The angle of minus zero is pi: a complex signal times a mask has both outside.
    angle = head(echo_times_s=(0.01,), background=0.1).signal(snr=60)[1][..., 0]
    air = np.where(rng.random(mask.shape) < 0.5, 0, np.float32(PI))
    masked = np.where(mask, angle, air).astype(np.float32)
    seen = scaling.measured_range(masked)
    assert seen.high < 0.5 * PI
    assert seen.jumps < 0.001


def test_a_masked_phase_that_does_not_wrap_is_taken_and_doubted(mask) -> None:
    angle = head(echo_times_s=(0.01,), background=0.1).signal(snr=60)[1][..., 0]
    masked = np.where(mask, angle, 0)
    scale = scaling.find_scale(masked, units="rad", manufacturer=None)
    assert isinstance(scale.warning, PhaseScaleUnconfirmed)
    np.testing.assert_array_equal(scaling.to_radians(masked, scale)[0], masked)


def test_a_masked_phase_of_another_scale_that_wraps_is_refused(last_echo, mask) -> None:
    with pytest.raises(DataError, match="jump by more than half"):
        radians(np.where(mask, last_echo / PI, 0).astype(np.float32), units="rad")


def rare_wraps() -> np.ndarray:
    """A masked phase of three quarters of a turn that passes pi in a few places."""
    rise = np.linspace(-1.6, 2.4, 30)
    row = np.concatenate([rise, rise[::-1]])
    high = row.copy()
    high[27:33] = (2.5, 2.8, 3.4, 3.4, 2.8, 2.5)
    rows = np.stack([np.stack([high if i % 50 == 7 else row] * 60, -1) for i in range(60)], -1)
    return np.angle(np.exp(1j * rows)).astype(np.float32)


def test_a_few_wraps_confirm_the_scale_of_a_phase_that_does_not_reach_every_angle() -> None:
    stored = rare_wraps()
    seen = scaling.measured_range(stored)
    assert seen.span < 0.92 * 2 * PI
    assert seen.wrap == pytest.approx(2 * PI, rel=0.08)
    assert scaling.find_scale(stored, units="rad", manufacturer=None).warning is None


@pytest.mark.parametrize("factor", [0.5, 0.8, 1 / PI])
def test_a_few_wraps_of_another_height_contradict_the_scale(factor) -> None:
    with pytest.raises(DataError, match="jump by more than half"):
        radians(rare_wraps() * np.float32(factor), units="rad")


def test_strong_edges_in_a_masked_head_are_no_wraps() -> None:
    grid = Grid((40, 46, 36), (4.5, 4.5, 4.5), (0.28, 0.0, 0.96))
    scan = head(grid, echo_times_s=(0.02,), background=0.5)
    masked = np.where(scan.mask, scan.signal(snr=60)[1][..., 0], 0).astype(np.float32)
    assert scaling.measured_range(masked).jumps > scaling.LEAST_JUMPS
    scale = scaling.find_scale(masked, units="rad", manufacturer=None)
    assert isinstance(scale.warning, PhaseScaleUnconfirmed)


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_an_unwrapped_phase_is_taken_as_it_is_and_said(mask, strength) -> None:
    scan = head(echo_times_s=(0.02,), background=strength)
    smooth = np.where(mask, 0.4 + 2 * PI * scan.total_hz * 0.02, 0).astype(np.float32)
    assert np.ptp(smooth) > 2.2 * PI
    scale = scaling.find_scale(smooth, units="rad", manufacturer=None)
    assert isinstance(scale.warning, PhaseUnwrappedAlready)
    found, _ = scaling.to_radians(smooth, scale)
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * smooth), atol=1e-4)


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (FULL_TURN / 855, {"units": "rad"}),
        (FULL_TURN * 700, {}),
        (FULL_TURN, {"units": "furlong", "manufacturer": "Siemens"}),
        (FULL_TURN * np.nan, {"units": "rad"}),
        (FULL_TURN * 0, {"units": "rad"}),
    ],
)
def test_an_unknown_scale_is_refused(values, known) -> None:
    with pytest.raises(DataError):
        radians(values.astype(np.float32), **known)


def test_an_echo_of_another_scale_than_the_last_is_refused(last_echo) -> None:
    scale = scaling.find_scale(last_echo, units="rad", manufacturer=None)
    with pytest.raises(DataError, match="the echoes are not scaled alike"):
        scaling.to_radians(last_echo * 1000, scale)


def test_nan_stays_nan() -> None:
    values = np.append(FULL_TURN, np.nan).astype(np.float32)
    assert np.isnan(radians(values, units="rad")[-1])


@pytest.mark.parametrize(
    ("choice", "factor"),
    [("rad", 1), ("mrad", 1000), ("deg", 180 / PI), ("siemens", 4096 / PI), ("range", 1 / PI)],
)
def test_the_users_word_on_the_scale_is_final(last_echo, choice, factor) -> None:
    stored = (last_echo * factor).astype(np.float32)
    scale = scaling.scale_of_user(stored, choice)
    assert scale.source == "user"
    assert turned(scaling.to_radians(stored, scale)[0], last_echo) < 4e-3


@pytest.mark.parametrize(
    ("low", "high", "known"),
    [
        (-18000, 18000, {"manufacturer": "GE"}),
        (-1800, 1800, {}),
        (0, 65535, {"manufacturer": "Siemens"}),
        (-32767, 32767, {}),
        (0, 255, {"manufacturer": "Canon"}),
        (-500, 500, {"manufacturer": "Philips"}),
        (-1571, 1571, {"manufacturer": "GE MEDICAL SYSTEMS"}),
        (-4095, 0, {"manufacturer": "Siemens"}),
        (0, 8190, {"manufacturer": "Siemens"}),
        (-0.5, 0.5, {"units": "rad"}),
        (-25, 25, {"units": "rad"}),
        (-25, 25, {"units": "Hz"}),
    ],
)
def test_a_turn_that_the_header_does_not_say_is_refused(last_echo, low, high, known) -> None:
    """Hundredths of degrees, whole integers, halves of a turn, turns and Hz under another name."""
    stored = low + (last_echo + PI) / (2 * PI) * (high - low)
    stored = np.round(stored) if high - low > 200 else stored
    with pytest.raises(DataError, match=r"not known|of the turn|BIDS knows"):
        radians(stored.astype(np.float32), **known)
