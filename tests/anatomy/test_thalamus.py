import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy.thalamus import Border, refined_thalami
from bids_qsmthal.anatomy.tissue import Fractions
from tests.anatomy.phantoms import radius, shares

SHAPE = (44, 48, 40)
VOXEL_MM = (1.0, 1.0, 1.0)
MEANS = (30.0, 75.0, 115.0)
NOISE = 4.0
NOTHING = np.zeros(SHAPE, np.float32)


def tissue() -> Fractions:
    return Fractions(NOTHING, NOTHING, NOTHING, MEANS, (NOISE,) * 3, converged=True)


def left_of(t1w, prior, voxel_mm=VOXEL_MM, **how):
    nothing = np.zeros_like(prior)
    return refined_thalami(t1w, (prior, nothing), tissue(), voxel_mm, Border(**how))[0]


def _scene(rng, radius_mm, prior_radius_mm):
    """A ball of thalamus in white matter, fluid on one side, and an atlas that errs."""
    thalamus = shares(lambda x, y, z: radius(x, y, z) < radius_mm, SHAPE)
    fluid = shares(lambda x, y, z: (x > 6) & (radius(x, y, z) >= radius_mm), SHAPE)
    brighter = 82 + 0.4 * np.arange(SHAPE[0])[::-1, None, None]
    t1w = thalamus * brighter + fluid * MEANS[0] + (1 - thalamus - fluid) * MEANS[2]
    t1w = (t1w + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    prior = shares(lambda x, y, z: radius(x, y, z) < prior_radius_mm, SHAPE)
    return t1w, ndimage.gaussian_filter(prior, 0.8), thalamus


@pytest.mark.parametrize("prior_radius_mm", [8.8, 10.0, 11.2])
def test_an_atlas_that_is_too_small_or_too_large_is_corrected(rng, prior_radius_mm):
    t1w, prior, truth = _scene(rng, 10.0, prior_radius_mm)

    found = left_of(t1w, prior)

    estimate, true = found > 0.5, truth > 0.5
    assert 2 * (estimate & true).sum() / (estimate.sum() + true.sum()) > 0.95
    assert found.sum() == pytest.approx(truth.sum(), rel=0.03)


def test_a_border_that_cannot_be_seen_moves_as_the_rest_does(rng):
    """Half of the surroundings look like thalamus; the atlas is 1 mm too wide all round."""
    t1w, prior, truth = _scene(rng, 10.0, 11.0)
    hidden = (np.indices(SHAPE)[2] < SHAPE[2] // 2 - 3) & (truth < 1)
    t1w[hidden] = 90 + rng.normal(0, NOISE, int(hidden.sum()))

    found = left_of(t1w, prior)

    wide = prior[hidden].sum() - truth[hidden].sum()
    assert found[hidden].sum() - truth[hidden].sum() < 0.6 * wide


def test_both_thalami_share_how_far_the_atlas_is_off(rng):
    """The border of the right one cannot be seen; it moves as that of the left one."""
    t1w, prior, _ = _scene(rng, 10.0, 11.0)
    blank = (90 + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    both = np.concatenate([t1w, blank])
    left, right = np.concatenate([prior, NOTHING]), np.concatenate([NOTHING, prior])

    _, alone = refined_thalami(both, (0 * left, right), tissue(), VOXEL_MM, Border())
    _, found = refined_thalami(both, (left, right), tissue(), VOXEL_MM, Border())

    assert found.sum() < 0.97 * alone.sum()
    assert not found[: SHAPE[0]].any()


def _ball(rng, voxel_mm, radius_mm, prior_radius_mm):
    """A ball in voxels of any size: image, atlas, true shares."""
    places = [size * (np.arange(n) - (n - 1) / 2) for size, n in zip(voxel_mm, SHAPE, strict=True)]
    x, y, z = np.meshgrid(*places, indexing="ij")
    away = np.sqrt(x**2 + y**2 + z**2)
    size = np.mean(voxel_mm)
    truth, prior = (np.clip(0.5 + (r - away) / size, 0, 1) for r in (radius_mm, prior_radius_mm))
    t1w = 90 * truth + MEANS[2] * (1 - truth) + rng.normal(0, NOISE, SHAPE)
    return t1w.astype(np.float32), prior.astype(np.float32), truth


@pytest.mark.parametrize("voxel_mm", [(1, 1, 0.8), (1, 1, 1.6), (2, 2, 2), (0.7, 0.7, 0.7)])
def test_partial_voxels_hold_their_share_whatever_their_size(rng, voxel_mm):
    t1w, prior, truth = _ball(rng, voxel_mm, 9.5, 10.5)

    found = left_of(t1w, prior, voxel_mm)

    assert found.sum() == pytest.approx(truth.sum(), rel=0.04)
    border = (truth > 0) & (truth < 1)
    assert np.abs(found - truth)[border].mean() < 0.5 * np.abs(prior - truth)[border].mean()


@pytest.mark.parametrize("voxel_mm", [(1, 1, 1), (1, 1, 2.5), (2.5, 1, 1)])
def test_no_border_moves_farther_than_its_reach(rng, voxel_mm):
    t1w, prior, _ = _ball(rng, voxel_mm, 15.0, 8.0)

    found = left_of(t1w, prior, voxel_mm, reach_mm=2.0)

    distance_mm = ndimage.distance_transform_edt(prior <= 0.5, sampling=voxel_mm)
    moved_mm = distance_mm[found > 0.5].max()
    assert 0.5 < moved_mm <= 2.0 + 0.5


def test_without_an_atlas_label_there_is_no_thalamus(rng):
    t1w, prior, _ = _scene(rng, 10.0, 10.0)

    assert not left_of(t1w, 0 * prior).any()
