"""An echo-planar scan: slices tilted and thick, long echoes, stored as Siemens does.

Phase lies in [-4096, 4094] by steps of 2, zero where there is no signal; slices were acquired one
by one, so that each has a phase of its own; magnitude is in the ten thousands.
"""

import numpy as np
import pytest

from bids_qsmthal.qsm import Grid, phase, reconstruct, scaling
from tests.qsm.phantoms import Head, ball, head

TIMES_S = (0.012, 0.02897, 0.04594)
GRID = Grid((64, 64, 40), (3.0, 3.0, 3.5), (0.0, 0.28, 0.96))
NOTHING_BELOW = 0.05  # of the brain's signal


@pytest.fixture(scope="module")
def scan() -> Head:
    return head(GRID, echo_times_s=TIMES_S)


def stored(scan: Head) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude and phase as they lie in the files."""
    magnitude, angle = scan.signal(snr=60)
    of_slices = np.random.default_rng(7).uniform(-0.2, 0.2, scan.grid.shape[2])
    turned = np.angle(np.exp(1j * (angle + of_slices[:, None])))
    whole = (2 * np.round(turned / np.pi * 2048)).astype(np.int16).clip(-4096, 4094)
    whole[magnitude < NOTHING_BELOW] = 0
    return np.round(magnitude * 30000).astype(np.float32), whole


@pytest.mark.parametrize("echoes", [*(pytest.param(n, marks=pytest.mark.slow) for n in (3, 2)), 1])
def test_the_nuclei_of_an_echo_planar_scan_are_found(scan: Head, echoes: int) -> None:
    magnitude, whole = (part[..., :echoes] for part in stored(scan))
    scale = scaling.find_scale(whole[..., -1], units="arbitrary", manufacturer="Siemens")
    angle = np.stack(
        [scaling.to_radians(image, scale)[0] for image in np.moveaxis(whole, -1, 0)], axis=-1
    )
    acquisition = head(GRID, echo_times_s=TIMES_S[:echoes]).acquisition
    siemens = phase.Conventions(manufacturer="Siemens")
    found = phase.corrected(magnitude, angle, scan.grid, acquisition, siemens)
    maps = reconstruct(found.magnitude, found.phase_rad, scan.mask, scan.grid, acquisition)
    assert found.report.sign == 1
    assert not found.report.chopped
    assert np.isfinite(maps.chi_ppm).all()
    ventricle = ball(scan.grid, 10, (0, -18, 8), (1, 1.6, 1))
    cores = [ball(scan.grid, 10, (x, 12, 0)) for x in (-22, 22)]
    left, right = (
        1e3 * (maps.chi_ppm[core].mean() - maps.chi_ppm[ventricle].mean()) for core in cores
    )
    # The nuclei lie in the same slices, the ventricle does not; one echo cannot tell a phase of
    # slices from the field.
    assert right - left == pytest.approx(60, abs=8)
    if echoes > 1:
        assert (left, right) == pytest.approx((60, 120), abs=15)
    if echoes == 3:
        white = scan.mask & (scan.r2star_hz == 20)
        assert np.median(maps.r2star_hz[white]) == pytest.approx(20, abs=1)
