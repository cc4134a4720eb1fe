from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import OneEcho
from bids_qsmthal.qsm import Acquisition, Grid, Reconstruction, phase, reconstruct
from bids_qsmthal.qsm.background import ProjectionOntoDipoleFields
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from bids_qsmthal.qsm.spherical import LaplacianBoundaryValues, SphericalMean
from tests.qsm.phantoms import Head, ball, head


def maps_of(scan: Head, magnitude=None, angle=None, **kwargs):
    if magnitude is None:
        magnitude, angle = scan.signal(snr=100)
    return reconstruct(magnitude, angle, scan.mask, scan.grid, scan.acquisition, **kwargs)


def contrasts_ppb(scan: Head, chi_ppm: np.ndarray) -> np.ndarray:
    """Nuclei less CSF, away from their edges."""
    ventricle = ball(scan.grid, 10, (0, -18, 8), (1, 1.6, 1))
    cores = [ball(scan.grid, 10, (x, 12, 0)) for x in (-22, 22)]
    return 1e3 * np.array([chi_ppm[core].mean() - chi_ppm[ventricle].mean() for core in cores])


def assert_clean(maps) -> None:
    for name in ("chi_ppm", "local_field_hz", "total_field_hz", "noise", "r2star_hz"):
        values = getattr(maps, name)
        assert values.dtype == np.float32, name
        assert np.isfinite(values).all(), name
        assert not values[~maps.mask].any() or name in ("total_field_hz", "noise", "r2star_hz"), (
            name
        )
    assert all(np.isfinite(value) for value in maps.quality.values())


def test_the_chain_finds_the_susceptibility_of_nuclei() -> None:
    scan = head()
    maps = maps_of(scan)
    assert_clean(maps)
    np.testing.assert_allclose(contrasts_ppb(scan, maps.chi_ppm), (60, 120), atol=8)
    assert np.median(np.abs(maps.r2star_hz - scan.r2star_hz)[scan.mask]) < 1.0
    assert maps.csf_mask.any()
    assert scan.csf[maps.csf_mask].mean() > 0.9
    assert maps.warnings == ()


def test_bone_inside_the_mask_shows_at_its_edge() -> None:
    scan = head()
    rim = scan.mask & ~ndimage.binary_erosion(scan.mask)
    forehead = rim & ball(scan.grid, 60, (0, 75, 0))
    # A third of each of these voxels is bone, 2.25 ppm below water, and has no signal.
    bone = np.where(forehead, -0.75, 0).astype(np.float32)
    hz = scan.acquisition.centre_frequency_hz * 1e-6
    field_hz = scan.total_hz + convolve(bone, dipole_kernel(scan.grid)) * hz * scan.mask
    share = 0.1 * (forehead.sum() / rim.sum())
    assert maps_of(scan).quality["rim_bone_share"] < 0.01
    assert maps_of(scan._replace(total_hz=field_hz)).quality["rim_bone_share"] > share > 0.01


@pytest.mark.slow
def test_a_difference_between_people_does_not_shrink() -> None:
    """The same head with one nucleus 40 ppb lower: the map must say 40 ppb lower."""
    scan = head()

    change = np.where(scan.nuclei[1], -0.04, 0).astype(np.float32)
    hz = scan.acquisition.centre_frequency_hz * 1e-6
    extra = convolve(change, dipole_kernel(scan.grid)) * hz * scan.mask
    other = scan._replace(total_hz=(scan.total_hz + extra).astype(np.float32))
    before = contrasts_ppb(scan, maps_of(scan).chi_ppm)
    after = contrasts_ppb(other, maps_of(other).chi_ppm)
    assert (after - before)[1] == pytest.approx(-40, abs=4)
    assert (after - before)[0] == pytest.approx(0, abs=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("echo_times_s", "field_strength_t"),
    [
        ((0.005, 0.010, 0.015, 0.020), 1.5),
        ((0.003, 0.006, 0.009, 0.012), 7.0),
        ((0.004, 0.0115, 0.017, 0.026), 3.0),
        ((0.006, 0.018), 3.0),
    ],
    ids=["1.5 T", "7 T", "uneven echoes", "two echoes"],
)
def test_field_strength_and_echo_times_do_not_change_the_answer(
    echo_times_s, field_strength_t
) -> None:
    usual = maps_of(head())
    scan = head(echo_times_s=echo_times_s, field_strength_t=field_strength_t)
    maps = maps_of(scan)
    assert_clean(maps)
    expected = contrasts_ppb(scan, usual.chi_ppm)
    np.testing.assert_allclose(contrasts_ppb(scan, maps.chi_ppm), expected, atol=8)


@pytest.mark.slow
@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
def test_axes_may_be_permuted(order) -> None:
    scan = head()
    magnitude, angle = scan.signal()
    grid = Grid(
        tuple(scan.grid.shape[a] for a in order),
        tuple(scan.grid.voxel_size_mm[a] for a in order),
        tuple(scan.grid.b0_direction[a] for a in order),
    )
    turned = [np.ascontiguousarray(np.transpose(a, (*order, 3))) for a in (magnitude, angle)]
    mask = np.ascontiguousarray(np.transpose(scan.mask, order))
    found = reconstruct(*turned, mask, grid, scan.acquisition).chi_ppm
    again = np.transpose(found, np.argsort(order))
    expected = contrasts_ppb(scan, maps_of(scan).chi_ppm)
    np.testing.assert_allclose(contrasts_ppb(scan, again), expected, atol=3)


@pytest.mark.slow
def test_vendor_conventions_lead_to_the_same_map() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    stored = phase.unchop(-angle)
    found = phase.corrected(
        magnitude, stored, scan.grid, scan.acquisition, phase.Conventions(manufacturer="GE")
    )
    maps = maps_of(scan, found.magnitude, found.phase_rad)
    expected = contrasts_ppb(scan, maps_of(scan, magnitude, angle).chi_ppm)
    np.testing.assert_allclose(contrasts_ppb(scan, maps.chi_ppm), expected, atol=2)


def test_the_wrong_sign_and_the_wrong_field_direction_show() -> None:
    """Planted faults: these must not go unnoticed."""
    scan = head()
    magnitude, angle = scan.signal()
    flipped = contrasts_ppb(scan, maps_of(scan, magnitude, -angle).chi_ppm)
    assert flipped[1] < -60
    tilted = scan._replace(grid=replace(scan.grid, b0_direction=(0.0, 1.0, 0.0)))
    wrong = contrasts_ppb(scan, maps_of(tilted, magnitude, angle).chi_ppm)
    assert np.abs(wrong - (60, 120)).max() > 30


def test_nan_zeros_and_holes_in_the_mask_never_leave() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    magnitude[20, 20, 20] = np.nan
    angle[22, 20, 20, 1] = np.nan
    magnitude[24, 30, 18:22] = 0
    angle[26, 30, 20, 2] = np.inf
    mask = scan.mask.copy()
    mask[21:23, 35:37, 20:23] = False
    maps = maps_of(scan._replace(mask=mask), magnitude, angle)
    assert_clean(maps)
    assert not maps.mask[20, 20, 20]
    np.testing.assert_allclose(contrasts_ppb(scan, maps.chi_ppm), (60, 120), atol=12)
    assert maps.quality["mask_lost_fraction"] > 0


@pytest.mark.parametrize("background", [SphericalMean(), LaplacianBoundaryValues()])
def test_a_spoilt_rim_leaves_the_mask_and_a_hole_stays(rng, background) -> None:
    scan = head()
    magnitude, angle = scan.signal()
    rim = scan.mask & ~ndimage.binary_erosion(scan.mask, iterations=2)
    rim[: scan.mask.shape[0] // 2] = False
    hole = np.zeros_like(rim)
    hole[20, 20, 20] = scan.mask[20, 20, 20]
    for part in (rim, hole):
        angle[part] = rng.uniform(-np.pi, np.pi, angle[part].shape)
    maps = maps_of(scan, magnitude, angle, settings=Reconstruction(background=background))
    assert maps.mask[20, 20, 20]
    assert (maps.mask & rim).sum() < 0.2 * rim.sum()
    clean = maps_of(scan, *scan.signal(), settings=Reconstruction(background=background))
    expected = contrasts_ppb(scan, clean.chi_ppm)
    np.testing.assert_allclose(contrasts_ppb(scan, maps.chi_ppm), expected, atol=8)


def test_one_echo_gives_susceptibility_but_no_r2star_and_says_so() -> None:
    scan = head(echo_times_s=(0.02,))
    maps = maps_of(scan)
    assert_clean(maps)
    assert not maps.r2star_hz.any()
    assert not maps.csf_mask.any()
    assert OneEcho() in maps.warnings
    found = contrasts_ppb(scan, maps.chi_ppm)
    assert found[1] - found[0] == pytest.approx(60, abs=15)


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes() -> None:
    scan = head()
    one, two = (maps_of(scan).chi_ppm for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_plain_projection_can_be_chosen() -> None:
    scan = head()
    settings = Reconstruction(background=ProjectionOntoDipoleFields())
    maps = maps_of(scan, settings=settings)
    assert_clean(maps)
    assert contrasts_ppb(scan, maps.chi_ppm)[1] > 80


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    scan = head()
    magnitude, angle = scan.signal()
    with pytest.raises(DataError, match="echo times"):
        reconstruct(magnitude[..., :3], angle, scan.mask, scan.grid, scan.acquisition)
    with pytest.raises(DataError, match="mask"):
        reconstruct(magnitude, angle, scan.mask & False, scan.grid, scan.acquisition)
    with pytest.raises(DataError, match="signal"):
        reconstruct(magnitude * 0, angle, scan.mask, scan.grid, scan.acquisition)


def test_an_acquisition_refuses_milliseconds() -> None:
    with pytest.raises(DataError, match="seconds"):
        Acquisition(echo_times_s=(5.0, 10.0), field_strength_t=3.0)
