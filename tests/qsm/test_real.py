"""Real data, where they are at hand: 2-D multi-slice gradient-echo EPI of a volunteer."""

from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.qsm import Acquisition, phase, reconstruct

SCAN = Path(__file__).parents[3] / "shared" / "data" / "real" / "bids" / "sub-a01" / "anat"
TIMES_S = (0.012, 0.02897, 0.04594)


@pytest.mark.skipif(not SCAN.exists(), reason=f"{SCAN} is not there")
@pytest.mark.parametrize("echoes", [3, 2, 1])
def test_an_epi_scan_of_a_volunteer_gives_a_plausible_map(echoes: int) -> None:
    images = {
        part: [
            nifti.load(SCAN / f"sub-a01_echo-{echo}_part-{part}_MEGRE.nii.gz")
            for echo in range(1, echoes + 1)
        ]
        for part in ("mag", "phase")
    }
    grid = images["mag"][0].grid
    magnitude = np.stack([image.data for image in images["mag"]], axis=-1)
    angle = np.stack(
        [
            phase.scale_to_radians(image.data, units="arbitrary", manufacturer="Siemens")
            for image in images["phase"]
        ],
        axis=-1,
    )
    acquisition = Acquisition(echo_times_s=TIMES_S[:echoes], field_strength_t=3.0)
    siemens = phase.Conventions(manufacturer="Siemens")
    found = phase.corrected(magnitude, angle, grid, acquisition, siemens)
    mask = phase.brain_like(found.magnitude)
    maps = reconstruct(found.magnitude, found.phase_rad, mask, grid, acquisition)
    assert found.report.sign == 1
    assert not found.report.chopped
    assert np.isfinite(maps.chi_ppm).all()
    if echoes == 3:
        spread = np.diff(np.percentile(maps.chi_ppm[maps.mask], (5, 95)))[0]
        assert 0.05 < spread < 0.4
        assert 10 < np.median(maps.r2star_hz[mask]) < 40
