import numpy as np
import pytest

from bids_qsmthal.anatomy.thickness import Thickness, mean_thickness_mm, thickness_map
from tests.anatomy.phantoms import folded_cortex, radius, shares

THICKNESSES_MM = (1.5, 2.0, 2.5, 3.0, 4.0)


def _mean(gray, white, voxel_mm=(1.0, 1.0, 1.0)):
    everywhere = np.ones(gray.shape, dtype=bool)
    measured = thickness_map(gray, white, everywhere, voxel_mm, Thickness())
    return mean_thickness_mm(measured, gray, everywhere)


@pytest.mark.parametrize("thickness_mm", THICKNESSES_MM)
def test_a_shell_has_its_thickness(thickness_mm):
    centre = (0.13, 0.37, 0.21)
    shape = (64, 64, 64)
    white = shares(lambda x, y, z: radius(x, y, z, centre) < 22, shape)
    both = shares(lambda x, y, z: radius(x, y, z, centre) < 22 + thickness_mm, shape)

    assert _mean(both - white, white) == pytest.approx(thickness_mm, abs=0.1)


@pytest.mark.parametrize("tilt", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("gap_mm", [0.0, 0.4])
@pytest.mark.parametrize("thickness_mm", THICKNESSES_MM)
def test_banks_that_touch_are_told_apart(thickness_mm, gap_mm, tilt):
    def depth(x, y, z):
        across = np.cos(tilt) * x + np.sin(tilt) * (np.cos(0.3) * y + np.sin(0.3) * z)
        return np.abs(across + 0.17)

    shape = (40, 40, 8)
    white = shares(lambda *p: depth(*p) >= thickness_mm + gap_mm / 2, shape)
    fluid = shares(lambda *p: depth(*p) < gap_mm / 2, shape)
    middle = np.zeros(shape, dtype=bool)
    middle[12:-12, 12:-12, 2:-2] = True

    measured = thickness_map(
        1 - white - fluid, white, np.ones(shape, bool), (1.0, 1.0, 1.0), Thickness()
    )
    found = mean_thickness_mm(measured, 1 - white - fluid, middle)

    assert found == pytest.approx(thickness_mm, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("thickness_mm", THICKNESSES_MM)
def test_a_folded_cortex_with_noise_has_its_thickness(thickness_mm, rng):
    gray, white = folded_cortex(thickness_mm)
    noisy = [np.clip(part + rng.normal(0, 0.05, part.shape), 0, 1) for part in (gray, white)]
    head = (gray + white) > 0
    gray_noisy, white_noisy = (np.where(head, part, 0).astype(np.float32) for part in noisy)

    assert _mean(gray, white) == pytest.approx(thickness_mm, abs=0.1)
    assert _mean(gray_noisy, white_noisy) == pytest.approx(thickness_mm, abs=0.1)


@pytest.mark.slow
def test_a_thinning_by_a_tenth_is_recovered():
    before = _mean(*folded_cortex(2.5))
    after = _mean(*folded_cortex(2.25))

    assert after / before == pytest.approx(0.9, abs=0.01)


def test_voxels_need_not_be_cubes():
    voxel_mm = (0.8, 1.0, 1.3)
    shape = (80, 64, 50)
    white = shares(lambda x, y, z: radius(x, y, z) < 22, shape, voxel_mm=voxel_mm)
    both = shares(lambda x, y, z: radius(x, y, z) < 24.5, shape, voxel_mm=voxel_mm)

    assert _mean(both - white, white, voxel_mm) == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("size_mm", [0.7, 1.6])
def test_the_same_shell_in_voxels_of_another_size_scales_with_them(size_mm):
    """Lengths in voxels are the same, so thickness in mm must be in proportion to the voxel."""
    voxels = (48, 48, 48)
    white = shares(lambda x, y, z: radius(x, y, z) < 15, voxels)
    both = shares(lambda x, y, z: radius(x, y, z) < 17.5, voxels)
    gray, everywhere = both - white, np.ones(voxels, dtype=bool)
    at_1_mm = thickness_map(gray, white, everywhere, (1.0, 1.0, 1.0), Thickness())
    scaled = thickness_map(gray, white, everywhere, (size_mm,) * 3, Thickness())
    inside = (gray > 0.9) & (at_1_mm > 0) & (scaled > 0)
    np.testing.assert_allclose(scaled[inside], size_mm * at_1_mm[inside], rtol=0.02)


def test_without_white_matter_there_is_no_thickness():
    gray = np.ones((8, 8, 8), dtype=np.float32)

    measured = thickness_map(gray, 0 * gray, gray > 0, (1.0, 1.0, 1.0), Thickness())

    assert not measured.any()
    assert np.isnan(mean_thickness_mm(measured, gray, gray > 0))
