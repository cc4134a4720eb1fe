import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy.deepgray import (
    DeepGray,
    refined_atria,
    refined_nuclei,
    refined_thalamus,
    refined_ventricles,
)
from bids_qsmthal.anatomy.tissue import Fractions
from tests.anatomy.phantoms import radius, shares

SHAPE = (44, 48, 40)
VOXEL_MM = (1.0, 1.0, 1.0)
MEANS = (30.0, 75.0, 115.0)


def _scene(rng, radius_mm, prior_radius_mm, noise=4.0):
    """A ball of thalamus in white matter, fluid on one side, and an atlas that errs."""
    thalamus = shares(lambda x, y, z: radius(x, y, z) < radius_mm, SHAPE)
    fluid = shares(lambda x, y, z: (x > 6) & (radius(x, y, z) >= radius_mm), SHAPE)
    white = 1 - thalamus - fluid
    brighter = 90 + 0.4 * np.arange(SHAPE[0])[::-1, None, None] - 8
    t1w = thalamus * brighter + fluid * MEANS[0] + white * MEANS[2]
    t1w = (t1w + rng.normal(0, noise, SHAPE)).astype(np.float32)
    prior = shares(lambda x, y, z: radius(x, y, z) < prior_radius_mm, SHAPE)
    prior = ndimage.gaussian_filter(prior, 0.8)
    spread = (noise, noise, noise)
    tissue = Fractions(fluid, 0 * fluid, white + thalamus, MEANS, spread, converged=True)
    return t1w, prior, tissue, thalamus


@pytest.mark.parametrize("prior_radius_mm", [8.8, 10.0, 11.2])
def test_an_atlas_that_is_too_small_or_too_large_is_corrected(rng, prior_radius_mm):
    t1w, prior, tissue, truth = _scene(rng, 10.0, prior_radius_mm)

    found = refined_thalamus(t1w, prior, tissue, VOXEL_MM, DeepGray())

    estimate, true = found > 0.5, truth > 0.5
    assert 2 * (estimate & true).sum() / (estimate.sum() + true.sum()) > 0.92
    error, error_before = (abs(part.sum() / truth.sum() - 1) for part in (found, prior))
    assert error < max(0.5 * error_before, 0.03)


def test_no_border_moves_farther_than_its_reach(rng):
    t1w, prior, tissue, _ = _scene(rng, 16.0, 8.0)

    found = refined_thalamus(t1w, prior, tissue, VOXEL_MM, DeepGray(reach_mm=2.0))

    distance_mm = ndimage.distance_transform_edt(prior <= 0.5)
    assert distance_mm[found > 0.5].max() <= 3.0


def test_without_an_atlas_label_there_is_no_thalamus(rng):
    t1w, prior, tissue, _ = _scene(rng, 10.0, 10.0)

    assert not refined_thalamus(t1w, 0 * prior, tissue, VOXEL_MM, DeepGray()).any()


def test_an_enlarged_ventricle_is_followed_and_a_sulcus_is_not():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[10:16, 20:28, 18:22] = 4
    labels[28:34, 20:28, 18:22] = 43
    csf = np.zeros(SHAPE, dtype=np.float32)
    csf[8:18, 18:30, 16:24] = 1
    csf[28:34, 20:28, 18:22] = 1
    csf[:, :, 34:] = 1

    found = refined_ventricles(labels, csf, VOXEL_MM, DeepGray())

    assert (found[8:18, 18:30, 16:24] == 4).all()
    assert (found[28:34, 20:28, 18:22] == 43).all()
    assert not found[:, :, 34:].any()


def test_atria_stay_within_their_level_and_their_ventricle():
    ventricles = np.zeros(SHAPE, dtype=np.uint8)
    ventricles[8:18, 5:40, 10:24] = 4
    atria = np.zeros(SHAPE, dtype=np.uint8)
    atria[10:16, 8:14, 12:20] = 1

    found = refined_atria(atria, ventricles)

    assert found[8, 10, 15] == 1
    assert not found[:, 14:].any()
    assert (ventricles[found == 1] == 4).all()


def test_nuclei_fill_the_refined_thalamus_and_nothing_else():
    nuclei = np.zeros(SHAPE, dtype=np.uint8)
    nuclei[10:14, 10:20, 10:20], nuclei[14:18, 10:20, 10:20] = 4, 10
    nuclei[5:7, 5:7, 5:7] = 7
    left = np.zeros(SHAPE, dtype=bool)
    left[9:17, 11:20, 10:21] = True

    found = refined_nuclei(nuclei, (left, np.zeros(SHAPE, dtype=bool)))

    assert np.array_equal(found[left] > 0, np.ones(left.sum(), dtype=bool))
    assert set(np.unique(found[~left])) == {0, 7}
    assert found[9, 12, 12] == 4
    assert found[16, 12, 12] == 10
