import numpy as np
import pytest

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.qsm import phase, storage
from tests.qsm.phantoms import head


@pytest.fixture(scope="module")
def signal() -> tuple[np.ndarray, np.ndarray]:
    return head().signal(snr=60)


@pytest.mark.parametrize("brightest", [40000, 52000, 65000])
def test_a_magnitude_that_overflowed_is_put_right(signal, brightest) -> None:
    true = np.round(signal[0] / signal[0].max() * brightest).astype(np.float32)
    stored = true.astype(np.uint16).view(np.int16).astype(np.float32)
    mended, count = storage.repair_overflow(stored)
    assert count == (true > 32767).sum()
    np.testing.assert_array_equal(mended, true)


@pytest.mark.parametrize("depth", [1, 5, 300])
@pytest.mark.parametrize("brightest", [1300, 32767])
def test_negative_noise_becomes_zero(signal, rng, depth, brightest) -> None:
    true = np.round(signal[0] / signal[0].max() * brightest).astype(np.float32)
    stored = true.copy()
    hit = (rng.random(true.shape) < 0.15) & (true < 0.1 * brightest)
    stored[hit] = -rng.integers(1, depth + 1, int(hit.sum()))
    mended, count = storage.repair_overflow(stored)
    assert count == 0
    np.testing.assert_array_equal(mended, np.where(hit, 0, true))


def test_noise_beside_an_overflow_is_not_mended(signal, rng) -> None:
    true = np.round(signal[0] / signal[0].max() * 50000).astype(np.float32)
    stored = true.astype(np.uint16).view(np.int16).astype(np.float32)
    hit = (rng.random(true.shape) < 0.05) & (true < 3000)
    stored[hit] = -2
    mended, _ = storage.repair_overflow(stored)
    np.testing.assert_array_equal(mended, np.where(hit, 0, true))


def test_complex_parts_become_magnitude_and_phase(rng) -> None:
    real, imaginary = rng.standard_normal((2, 20, 20, 20, 2))
    magnitude, angle = phase.complex_to_magnitude_phase(real, imaginary)
    np.testing.assert_allclose(magnitude * np.exp(1j * angle), real + 1j * imaginary, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("offset", [0.4, 1.0, 2.048, -1.0])
@pytest.mark.parametrize("part", ["real", "imag", "both"])
def test_parts_with_an_offset_are_refused(signal, masked, offset, part) -> None:
    scan = head()
    size = signal[0] * (scan.mask[..., None] if masked else 1)
    parts = {"real": size * np.cos(signal[1]), "imag": size * np.sin(signal[1])}
    moved = {name: values + offset * (part in (name, "both")) for name, values in parts.items()}
    with pytest.raises(DataError, match="stored with an offset"):
        storage.check_parts(moved["real"], moved["imag"])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("times", [(0.003,), (0.005, 0.010, 0.015, 0.020)])
@pytest.mark.parametrize("field_strength_t", [1.5, 7.0])
def test_parts_of_a_head_are_taken(masked, times, field_strength_t) -> None:
    scan = head(echo_times_s=times, field_strength_t=field_strength_t)
    size, angle = scan.signal(snr=40)
    size = size * (scan.mask[..., None] if masked else 1)
    magnitude, _ = phase.complex_to_magnitude_phase(size * np.cos(angle), size * np.sin(angle))
    np.testing.assert_allclose(magnitude, size, rtol=1e-5, atol=1e-6)
