import numpy as np
import pytest

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm.csf import GlobalCsf
from bids_qsmthal.qsm.fluid import Fluid, SlowDecay, averaged, error_per_noise
from bids_qsmthal.qsm.relaxation import WeightedExponential

GRID = Grid((56, 60, 44), (2.0, 2.0, 2.5))


def scene(rates_hz: tuple[float, float, float], proton_densities: tuple[float, float, float]):
    """Return white matter with gray matter and two ventricles in it, and where fluid is."""
    x, y, z = np.indices(GRID.shape) - np.array(GRID.shape)[:, None, None, None] / 2
    x, y, z = x * 2.0, y * 2.0, z * 2.5
    kinds = np.zeros(GRID.shape, dtype=int)
    kinds[(x / 52) ** 2 + (y / 56) ** 2 + (z / 50) ** 2 > 0.55] = 1
    kinds[((np.abs(x) - 14) / 9) ** 2 + (y / 26) ** 2 + (z / 11) ** 2 < 1] = 2
    brain = (x / 52) ** 2 + (y / 56) ** 2 + (z / 50) ** 2 < 1
    return np.asarray(rates_hz)[kinds], np.asarray(proton_densities)[kinds], kinds == 2, brain


def signal(rates_hz, densities, echo_times_s, noise, seed):
    generator = np.random.default_rng(seed)
    clean = densities[..., None] * np.exp(-rates_hz[..., None] * np.asarray(echo_times_s))
    noisy = clean + noise * (
        generator.standard_normal(clean.shape) + 1j * generator.standard_normal(clean.shape)
    )
    return np.abs(noisy).astype(np.float32)


def fluid_of(
    magnitude: np.ndarray,
    brain: np.ndarray,
    times_s: tuple[float, ...],
    noise: float,
    probability: np.ndarray | None = None,
) -> Fluid:
    relaxation = WeightedExponential()
    return SlowDecay()(
        *(magnitude, brain, GRID, times_s),
        noise=noise,
        relaxation=relaxation,
        r2star_hz=relaxation(magnitude, brain, times_s),
        fluid_probability=probability,
    )


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize(
    ("field_strength_t", "echo_times_s", "snr"),
    [
        (3.0, (0.0043, 0.0103, 0.0163, 0.0223), 15),
        (3.0, (0.004, 0.008, 0.012), 40),
        (3.0, (0.005, 0.020), 40),
        (1.5, (0.005, 0.012, 0.019, 0.026), 40),
        (7.0, (0.003, 0.007, 0.011, 0.015), 25),
        (3.0, (0.004, 0.010, 0.016, 0.022, 0.028, 0.034), 100),
    ],
)
def test_what_is_called_fluid_is_fluid_at_any_noise_and_echo_times(
    field_strength_t: float, echo_times_s: tuple[float, ...], snr: float, seed: int
) -> None:
    rates = tuple(rate * field_strength_t / 3 for rate in (20.0, 16.0, 2.0))
    r2star_hz, densities, fluid, brain = scene(rates, (1.0, 0.95, 0.6))
    noise = float(np.exp(-rates[0] * echo_times_s[0])) / snr
    magnitude = signal(r2star_hz, densities, echo_times_s, noise, seed)
    found = fluid_of(magnitude, brain, echo_times_s, noise)
    csf = GlobalCsf()(found.mask, brain, GRID)
    assert csf.sum() > 0.3 * fluid.sum()
    assert fluid[csf].mean() > 0.97
    assert found.purity > 0.97


def test_where_noise_never_tells_fluid_from_tissue_none_is_called_fluid() -> None:
    r2star_hz, densities, _, brain = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    times_s = (0.002, 0.003)
    magnitude = signal(r2star_hz, densities, times_s, 0.1, 3)
    found = fluid_of(magnitude, brain, times_s, 0.1)
    assert not found.mask.any()
    assert found.purity == 0


def test_fluid_of_t1w_lets_noisier_scans_be_used_and_keeps_tissue_out() -> None:
    r2star_hz, densities, fluid, brain = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    times_s = (0.0023, 0.0046)
    noise = 1 / 60
    magnitude = signal(r2star_hz, densities, times_s, noise, 5)
    alone = fluid_of(magnitude, brain, times_s, noise)
    # T1w calls a cortex fluid that is none, and moves the ventricles by a voxel.
    probability = np.roll(fluid, 1, axis=0).astype(np.float32)
    both = fluid_of(magnitude, brain, times_s, noise, probability)
    assert both.mask.sum() > alone.mask.sum()
    assert not (both.mask & (probability < 0.5)).any()
    assert fluid[both.mask].mean() > 0.95


@pytest.mark.parametrize("width_mm", [0.0, 1.5])
def test_the_error_of_r2star_is_the_spread_of_repeats(width_mm: float) -> None:
    times_s = (0.004, 0.010, 0.016, 0.022)
    rates, densities, brain = np.full(GRID.shape, 15.0), np.ones(GRID.shape), np.ones(GRID.shape)
    noise = 0.02
    magnitude = signal(rates, densities, times_s, noise, 7)
    echoes, left = averaged(magnitude, brain > 0, GRID, width_mm)
    r2star_hz = WeightedExponential()(echoes, brain > 0, times_s)
    inner = (slice(8, -8),) * 3
    expected = noise * left * float(np.median(error_per_noise(echoes, np.array(times_s))))
    assert r2star_hz[inner].std() == pytest.approx(expected, rel=0.1)


def test_where_the_mask_lies_in_the_image_changes_nothing() -> None:
    r2star_hz, densities, _, brain = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    times_s = (0.004, 0.010, 0.016, 0.022)
    magnitude = signal(r2star_hz, densities, times_s, 0.02, 7)
    room = ((9, 2), (0, 5), (3, 0))
    wide = np.pad(magnitude, (*room, (0, 0)), constant_values=0.3)
    found, again = (
        fluid_of(volume, mask, times_s, 0.02)
        for volume, mask in ((magnitude, brain), (wide, np.pad(brain, room)))
    )
    np.testing.assert_array_equal(np.pad(found.mask, room), again.mask)
    assert found.mask.any()
    assert again[1:] == found[1:]


def test_single_voxels_have_the_r2star_that_is_given() -> None:
    r2star_hz, densities, fluid, brain = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    times_s = (0.004, 0.010, 0.016, 0.022)
    magnitude = signal(r2star_hz, densities, times_s, 0.002, 9)
    relaxation = WeightedExponential()
    known = relaxation(magnitude, brain, times_s)
    left = fluid & (np.arange(fluid.shape[0])[:, None, None] < fluid.shape[0] // 2)
    found = SlowDecay(widths_mm=(0.0,))(
        *(magnitude, brain, GRID, times_s),
        noise=0.002,
        relaxation=relaxation,
        r2star_hz=np.where(left, 30.0, known).astype(np.float32),
    )
    assert not (found.mask & left).any()
    assert (found.mask & fluid & ~left).any()


def test_beyond_the_image_there_is_nothing_to_average() -> None:
    _, densities, _, brain = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    magnitude = signal(np.full(GRID.shape, 15.0), densities, (0.004, 0.010), 0.02, 4)
    # Through the brain, so that its inside lies at the edge of the image.
    middle = [int(places.mean()) for places in np.nonzero(brain)]
    cut = tuple(slice(place - 4, place + 5) for place in middle)
    inside = np.zeros_like(brain)
    inside[cut] = brain[cut]
    whole, _ = averaged(magnitude, inside, GRID, 1.5)
    part, _ = averaged(magnitude[cut], brain[cut], GRID, 1.5)
    np.testing.assert_allclose(part[brain[cut]], whole[cut][brain[cut]], rtol=1e-5)


def test_a_mask_of_a_few_scattered_voxels_is_no_error() -> None:
    r2star_hz, densities, _, _ = scene((20.0, 16.0, 2.0), (1.0, 0.95, 0.6))
    times_s = (0.004, 0.010, 0.016, 0.022)
    magnitude = signal(r2star_hz, densities, times_s, 0.02, 6)
    mask = np.zeros(GRID.shape, bool)
    mask[5, 7, 9] = mask[11, 13, 11] = mask[8, 10, 12] = True
    assert fluid_of(magnitude, mask, times_s, 0.02).mask.shape == mask.shape
