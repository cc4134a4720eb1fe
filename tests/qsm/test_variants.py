from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.qsm import Acquisition, Reconstruction, reconstruct, variants
from bids_qsmthal.qsm.background import ProjectionOntoDipoleFields
from bids_qsmthal.qsm.inversion import ThresholdedDivision
from bids_qsmthal.qsm.spherical import SphericalMean
from tests.qsm.phantoms import head

pytestmark = pytest.mark.slow

QUICK = Reconstruction(background=SphericalMean(), inversion=ThresholdedDivision())
SNR = 40.0


@pytest.fixture(scope="module")
def scan():
    return head()


@pytest.fixture(scope="module")
def made(scan):
    """Variants of one draw of noise, by methods that take a second."""
    signal = scan.signal(snr=SNR, seed=1)
    known = {"settings": QUICK}
    maps = reconstruct(*signal, scan.mask, scan.grid, scan.acquisition, **known)
    return variants(*signal, maps, scan.grid, scan.acquisition, **known)


def test_every_other_background_removal_gives_the_map_that_choosing_it_gives(scan, made):
    assert set(made.backgrounds) == {"joint", "pdf"}
    signal = scan.signal(snr=SNR, seed=1)
    chosen = replace(QUICK, background=ProjectionOntoDipoleFields())

    maps = reconstruct(*signal, scan.mask, scan.grid, scan.acquisition, settings=chosen)

    np.testing.assert_array_equal(made.backgrounds["pdf"], maps.chi_ppm)


def test_half_the_difference_of_split_echoes_is_as_large_as_the_noise_of_the_map(scan, made):
    first, second = (
        reconstruct(
            *scan.signal(snr=SNR, seed=seed),
            *(scan.mask, scan.grid, scan.acquisition),
            settings=QUICK,
        )
        for seed in (1, 2)
    )
    inside = first.mask & second.mask
    noise = np.std(first.chi_ppm[inside] - second.chi_ppm[inside]) / np.sqrt(2)

    found = np.std(made.half_difference_ppm[inside])

    assert found == pytest.approx(noise, rel=0.15)


def test_the_difference_of_split_echoes_holds_no_anatomy(scan, made):
    noise = 1e3 * np.std(made.half_difference_ppm[scan.mask]) / np.sqrt(scan.nuclei[1].sum())

    assert abs(1e3 * made.half_difference_ppm[scan.nuclei[1]].mean()) < 5 * noise + 1


def test_three_echoes_are_not_split(scan):
    magnitude, angle = (array[..., :3] for array in scan.signal(snr=SNR))
    short = Acquisition(echo_times_s=scan.acquisition.echo_times_s[:3], field_strength_t=3.0)

    signal = magnitude, angle
    maps = reconstruct(*signal, scan.mask, scan.grid, short, settings=QUICK)

    found = variants(*signal, maps, scan.grid, short, settings=QUICK)

    assert found.half_difference_ppm is None
    assert set(found.backgrounds) == {"joint", "pdf"}
