import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.qsm import phase
from tests.qsm.phantoms import head

FULL_TURN = np.linspace(-np.pi, np.pi, 4001)


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (np.round(FULL_TURN / np.pi * 4095), {"units": "arbitrary", "manufacturer": "Siemens"}),
        (
            np.round((FULL_TURN + np.pi) / np.pi * 2047.5),
            {"units": None, "manufacturer": "SIEMENS"},
        ),
        (FULL_TURN * 1000, {"units": None, "manufacturer": "Philips", "header_slope": 1.534}),
        (FULL_TURN, {"units": None, "manufacturer": "Philips", "header_slope": 0.001534}),
        (FULL_TURN * 1000, {"units": "arbitrary", "manufacturer": "GE MEDICAL SYSTEMS"}),
        (FULL_TURN, {"units": "rad", "manufacturer": "Canon"}),
        (np.degrees(FULL_TURN), {"units": "deg", "manufacturer": None}),
    ],
)
def test_every_vendors_phase_becomes_radians(values, known) -> None:
    found = phase.scale_to_radians(values.astype(np.float32), **known)
    difference = np.angle(np.exp(1j * (found - FULL_TURN)))
    assert np.abs(difference).max() < 2.5e-3  # the last step of 12 bit


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (FULL_TURN / 855, {"units": "rad", "manufacturer": None}),
        (FULL_TURN * 1000, {"units": "rad", "manufacturer": "Siemens"}),
        (FULL_TURN, {"units": None, "manufacturer": "Siemens"}),
        (FULL_TURN, {"units": None, "manufacturer": None}),
        (FULL_TURN * 1000, {"units": None, "manufacturer": "Philips", "header_slope": 1.0}),
        (FULL_TURN, {"units": "furlong", "manufacturer": "Siemens"}),
        (FULL_TURN * np.nan, {"units": "rad", "manufacturer": None}),
        (FULL_TURN * 0, {"units": "rad", "manufacturer": None}),
    ],
)
def test_an_unknown_or_contradicted_scale_is_refused(values, known) -> None:
    with pytest.raises(DataError):
        phase.scale_to_radians(values.astype(np.float32), **known)


def test_the_scale_does_not_depend_on_the_range_of_the_data() -> None:
    known = {"units": "arbitrary", "manufacturer": "Siemens"}
    part = np.array([-2048.0, 1024.0, 700.0], np.float32)
    whole = np.array([-2048.0, 1024.0, 700.0, 4095.0, -4096.0], np.float32)
    np.testing.assert_array_equal(
        phase.scale_to_radians(part, **known), phase.scale_to_radians(whole, **known)[:3]
    )


def test_nan_stays_nan() -> None:
    values = np.append(FULL_TURN, np.nan).astype(np.float32)
    assert np.isnan(phase.scale_to_radians(values, units="rad", manufacturer=None)[-1])


def test_complex_parts_become_magnitude_and_phase(rng) -> None:
    real, imaginary = rng.standard_normal((2, 4, 4, 4, 2))
    magnitude, angle = phase.complex_to_magnitude_phase(real, imaginary)
    np.testing.assert_allclose(magnitude * np.exp(1j * angle), real + 1j * imaginary, atol=1e-5)


def test_an_overflowed_magnitude_is_put_right() -> None:
    stored = np.array([0, 120, -65536 + 40000, -3.7], np.float32)
    repaired, count = phase.repair_overflow(stored)
    np.testing.assert_array_equal(repaired, [0, 120, 40000, 0])
    assert count == 2


@pytest.mark.parametrize("manufacturer", ["Siemens", "GE", ""])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("chopped", [False, True])
def test_sign_and_chop_are_found_whatever_the_vendor(manufacturer, sign, chopped) -> None:
    scan = head()
    magnitude, angle = scan.signal(snr=60)
    stored = sign * (phase.unchop(angle) if chopped else angle)
    found = phase.corrected(
        magnitude,
        stored,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer=manufacturer),
        scan.mask,
    )
    assert found.report.sign == sign
    assert found.report.sign_source == "data"
    assert found.report.chopped is chopped
    difference = np.angle(np.exp(1j * (found.phase_rad - angle)))
    assert np.abs(difference).max() < 1e-4
    usual = {"Siemens": 1, "GE": -1, "": sign}[manufacturer]
    assert bool(found.report.contradiction) is (usual != sign)


def test_the_users_word_is_final() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    found = phase.corrected(
        magnitude,
        angle,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer="GE", sign=-1, chop="yes"),
    )
    assert (found.report.sign, found.report.sign_source) == (-1, "user")
    assert (found.report.chopped, found.report.chop_source) == (True, "user")


def test_without_evidence_the_manufacturer_is_believed(rng) -> None:
    scan = head()
    noise = rng.uniform(-np.pi, np.pi, (*scan.grid.shape, 4)).astype(np.float32)
    magnitude = np.ones_like(noise)
    found = phase.corrected(
        magnitude,
        noise,
        scan.grid,
        scan.acquisition,
        phase.Conventions(manufacturer="GE", chop="no"),
    )
    assert found.report.sign == -1
    assert found.report.sign_source == "manufacturer"
