import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.simulate.vendors import encoded


def decoded(parts, vendor):
    """Complex signal as a reader of the convention would restore it."""
    found = {part.part: part.integers * part.slope for part in parts}
    if vendor.storage == "complex":
        signal = found["real"] + 1j * found["imag"]
    else:
        scale = np.pi / 4096 if vendor.storage == "integer" else 1e-3
        signal = found["mag"] * np.exp(1j * found["phase"] * scale)
    if vendor.chopped:
        signal[:, :, 1::2] *= -1
    return signal if vendor.phase_sign > 0 else np.conj(signal)


@pytest.mark.parametrize("name", list(simulate.VENDORS))
def test_a_reader_of_the_convention_gets_the_signal_back(name):
    vendor = simulate.VENDORS[name]
    generator = np.random.default_rng(3)
    phase = generator.uniform(-np.pi, np.pi, (6, 5, 4))
    signal = (generator.uniform(100, 400, (6, 5, 4)) * np.exp(1j * phase)).astype(np.complex64)
    restored = decoded(encoded(signal, vendor), vendor)
    np.testing.assert_allclose(restored, signal, atol=1.2)


def test_conventions_differ_where_scanners_differ():
    signal = np.full((2, 2, 4), 300 * np.exp(0.5j), np.complex64)
    siemens = {p.part: p for p in encoded(signal, simulate.VENDORS["siemens"])}
    philips = {p.part: p for p in encoded(signal, simulate.VENDORS["philips"])}
    ge = {p.part: p for p in encoded(signal, simulate.VENDORS["ge"])}
    chopped = {p.part: p for p in encoded(signal, simulate.VENDORS["ge-chopped"])}
    assert siemens["phase"].integers[0, 0, 0] == round(0.5 / np.pi * 4096)
    values = philips["phase"].integers * philips["phase"].slope
    assert values[0, 0, 0] == pytest.approx(500, abs=philips["phase"].slope)
    assert np.angle(ge["real"].integers + 1j * ge["imag"].integers)[0, 0, 0] < 0
    assert (np.sign(chopped["real"].integers[0, 0]) == [1, -1, 1, -1]).all()
    assert all(p.integers.dtype == np.int16 for p in (*siemens.values(), *chopped.values()))
