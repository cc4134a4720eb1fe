"""External maps of susceptibility: what their program did not make is no value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_qsmthal.bids.external import External, ExternalFile
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import EDITED
from bids_qsmthal.participant import susceptibility

SHAPE = (12, 12, 12)


@dataclass(frozen=True)
class OurMaps:
    """The fields of the maps that an external one replaces."""

    chi_ppm: np.ndarray
    r2star_hz: np.ndarray
    mask: np.ndarray


def test_zeros_around_an_external_map_are_no_values_and_those_inside_are() -> None:
    data = np.zeros(SHAPE, np.float32)
    data[3:9, 3:9, 3:9] = 0.02
    data[5, 5, 5] = 0.0
    image = Image(data, np.eye(4))
    ours = OurMaps(np.ones(SHAPE, np.float32), np.ones(SHAPE), np.ones(SHAPE, dtype=bool))
    external = {"chi": External(ExternalFile(Path("theirs.nii.gz"), EDITED), image)}
    found = susceptibility._with_external_maps(ours, image, external)
    np.testing.assert_array_equal(found.mask, np.pad(np.ones((6, 6, 6), dtype=bool), 3))
    np.testing.assert_array_equal(found.chi_ppm, data)
    # Half a voxel aside, the rim would be a mean of values and of zeros.
    aside = Image(data, np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    moved = susceptibility._with_external_maps(ours, aside, external)
    chi = moved.chi_ppm[moved.mask]
    assert chi.size == 5 * 6 * 6
    assert chi.min() >= 0.01
