from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import norm

from bids_qsmthal.anatomy.borders import with_borders
from bids_qsmthal.anatomy.cropping import Cropped
from bids_qsmthal.anatomy.filling import filled_lesions
from bids_qsmthal.anatomy.tissue import (
    Fractions,
    TissueModel,
    fractions,
    with_sulcal_fluid,
    without_false_gray,
    without_meninges,
)
from tests.anatomy.phantoms import radius, shares

SHAPE = (48, 48, 48)
ONE_MM = (1.0, 1.0, 1.0)


def _brain(rng, noise=4.0):
    """White matter, a folded-thin cortex and fluid; their exact shares, a T1w image, priors."""
    white = shares(lambda x, y, z: radius(x, y, z) < 14, SHAPE)
    inner = shares(lambda x, y, z: radius(x, y, z) < 16.7, SHAPE)
    whole = shares(lambda x, y, z: radius(x, y, z) < 20, SHAPE)
    mask = whole > 0.5
    truth = (mask - inner, inner - white, white)
    t1w = 30 * (whole - inner) + 75 * truth[1] + 110 * white + rng.normal(0, noise, SHAPE)
    soft = [ndimage.gaussian_filter(part, 1.5) for part in truth]
    total = np.maximum(sum(soft), 1e-6)
    priors = [(part / total * mask).astype(np.float32) for part in soft]
    return t1w.astype(np.float32), mask, priors, truth


@pytest.mark.parametrize("noise", [2.0, 5.0])
def test_volumes_count_partial_voxels(rng, noise):
    t1w, mask, priors, truth = _brain(rng, noise)

    found = fractions(t1w, mask, priors, TissueModel())

    assert found.converged
    assert found.means == pytest.approx((30, 75, 110), abs=3)
    for part, true in zip((found.csf, found.gm, found.wm), truth, strict=True):
        assert part.sum() == pytest.approx(true[mask].sum(), rel=0.04)
    assert (found.csf + found.gm + found.wm)[mask] == pytest.approx(1, abs=1e-5)
    assert not (found.csf + found.gm + found.wm)[~mask].any()


def test_lesions_become_gray_matter_unless_they_are_filled(rng):
    t1w, mask, priors, truth = _brain(rng)
    lesions = shares(lambda x, y, z: radius(x, y, z, (5, 2, 0)) < 4, SHAPE) > 0.5
    t1w[lesions] = 75 + rng.normal(0, 4, int(lesions.sum()))
    true = truth[1][mask].sum()

    bare = fractions(t1w, mask, priors, TissueModel()).gm.sum()
    filled = filled_lesions(t1w, lesions, priors[2], ONE_MM, seed=1)
    mended = fractions(filled, mask, priors, TissueModel()).gm.sum()

    assert bare > true + 0.7 * lesions.sum()
    assert mended == pytest.approx(true, rel=0.04)


def test_filling_has_the_brightness_and_the_noise_of_the_white_matter_round_it(rng):
    white = np.ones(SHAPE, np.float32)
    brighter = 100 + 0.2 * np.arange(SHAPE[0])[:, None, None] * white
    t1w = (brighter + rng.normal(0, 4, SHAPE)).astype(np.float32)
    lesions = np.zeros(SHAPE, bool)
    lesions[8:12, 12:20, 12:20] = lesions[-12:-8, 12:20, 12:20] = True
    t1w[lesions] = 60

    filled = filled_lesions(t1w, lesions, white, ONE_MM, seed=1)

    for part in (np.s_[8:12, 12:20, 12:20], np.s_[-12:-8, 12:20, 12:20]):
        assert filled[part].mean() == pytest.approx(brighter[part].mean(), abs=1.5)
        assert 3 < (filled - brighter)[part].std() < 7


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_filling_reaches_as_many_millimetres_whatever_the_voxels(axis):
    """White matter of two brightnesses: thinner voxels see as much of the other."""
    where = np.indices((32, 32, 32))[axis]
    t1w = np.where(where < 16, 100, 104).astype(np.float32)
    t1w += np.random.default_rng(3).normal(0, 1, t1w.shape).astype(np.float32)
    lesions = np.zeros(t1w.shape, bool)
    lesions[(np.abs(where - 9) < 1) & (np.indices(t1w.shape).sum(0) - where < 50)] = True
    white = np.ones(t1w.shape, np.float32)

    def filled(size_mm: float) -> float:
        voxel_mm = tuple(size_mm if k == axis else 1.0 for k in range(3))
        return float(filled_lesions(t1w, lesions, white, voxel_mm, seed=1)[lesions].mean())

    # 6.5 voxels from the border: 1.6 deviations of the weights at 1 mm, .8 at half of it.
    assert filled(1.0) == pytest.approx(100 + 4 * norm.sf(6.5 / 4), abs=0.1)
    assert filled(0.5) == pytest.approx(100 + 4 * norm.sf(6.5 / 8), abs=0.3)


def test_filling_repeats_and_leaves_the_rest_alone(rng):
    t1w, mask, priors, _ = _brain(rng)
    lesions = shares(lambda x, y, z: radius(x, y, z) < 3, SHAPE) > 0.5

    first, second = (filled_lesions(t1w, lesions, priors[2], ONE_MM, seed=7) for _ in range(2))

    assert np.array_equal(first, second)
    assert np.array_equal(first[~lesions], t1w[~lesions])
    assert mask[lesions].all()


@pytest.mark.parametrize("voxel_mm", [(1.0, 1.0, 1.0), (1.0, 1.0, 1.5)])
def test_dura_is_taken_off_and_cortex_stays(voxel_mm):
    x, y, z = np.indices(SHAPE)
    away = np.hypot(
        np.hypot((x - 24) * voxel_mm[0], (y - 24) * voxel_mm[1]), (z - 24) * voxel_mm[2]
    )
    white, cortex = away < 11, (away >= 11) & (away < 14)
    dura = (away >= 18) & (away < 20)
    csf = ((away >= 14) & (away < 18)).astype(np.float32)
    gm = (cortex | dura).astype(np.float32)
    found = Fractions(csf, gm, white.astype(np.float32), (30, 75, 110), (4, 4, 4), converged=True)

    cleaned = without_meninges(found, voxel_mm)

    assert not cleaned.gm[dura].any()
    assert cleaned.csf[dura].all()
    np.testing.assert_array_equal(cleaned.gm[cortex], gm[cortex])
    np.testing.assert_array_equal(cleaned.wm, found.wm)


def test_brain_of_two_thick_slices_is_no_sheet():
    gm, wm = np.zeros((2, 40, 40, 12), np.float32)
    wm[:, :20, 4:6], gm[:, 20:24, 4:6], gm[:, 32:34, 4:6] = 1, 1, 1
    found = Fractions(1 - gm - wm, gm, wm, (30, 75, 110), (4, 4, 4), converged=True)

    cleaned = without_meninges(found, (1.0, 1.0, 3.0))

    assert not cleaned.gm[:, 32:34].any()
    assert cleaned.gm[:, 20:24, 4:6].all()


def test_walls_of_ventricles_hold_no_gray_matter(rng):
    white = shares(lambda x, y, z: radius(x, y, z) < 18, SHAPE)
    ventricle = shares(lambda x, y, z: radius(x, y, z) < 7, SHAPE)
    mask = white > 0.5
    t1w = (30 * ventricle + 110 * (white - ventricle) + rng.normal(0, 3, SHAPE)).astype(np.float32)
    # The prior of a blurred template, which knows a sheet of gray matter in the wall.
    wall = np.clip(ndimage.gaussian_filter(ventricle, 1.5) * 4, 0, 1) * (ventricle < 0.9)
    total = ventricle + wall + (white - ventricle)
    priors = [part / np.maximum(total, 1e-6) for part in (ventricle, wall, white - ventricle)]
    means, none = (30.0, 75.0, 110.0), np.zeros(SHAPE, np.float32)
    found = Fractions(ventricle, none, white - ventricle, means, (3, 3, 3), converged=True)
    found = replace(found, gm=np.minimum(priors[1], 0.5).astype(np.float32))
    walls = mask & (ndimage.distance_transform_edt(ventricle < 0.5) <= 2)

    mended = without_false_gray(found, t1w, walls)

    assert found.gm[walls].sum() > 200
    assert not mended.gm[walls].any()
    assert mended.csf[walls].sum() == pytest.approx(ventricle[walls].sum(), rel=0.03)
    assert np.array_equal(mended.gm[~walls], found.gm[~walls])


@pytest.mark.parametrize("brighter", [0.0, 15.0])
def test_cortex_ends_where_the_fluid_of_the_sulci_begins(rng, brighter):
    """Fluid round the cortex is brighter than in the ventricles, from which the model has it."""
    whole = shares(lambda x, y, z: radius(x, y, z) < 20, SHAPE)
    cortex = shares(lambda x, y, z: radius(x, y, z) < 15, SHAPE)
    mask = whole > 0.5
    t1w = (30 + brighter) * (whole - cortex) + 75 * cortex + rng.normal(0, 3, SHAPE)
    linear = np.clip((t1w - 30) / 45, 0, 1).astype(np.float32) * mask
    none = np.zeros(SHAPE, np.float32)
    found = Fractions(mask - linear, linear, none, (30, 75, 110), (3, 3, 3), converged=True)

    parted = with_sulcal_fluid(found, t1w.astype(np.float32), mask)

    true = cortex[mask].sum()
    assert parted.gm.sum() == pytest.approx(true, rel=0.03)
    assert (found.gm.sum() > 1.2 * true) == bool(brighter)
    assert (parted.gm + parted.csf)[mask] == pytest.approx(1, abs=1e-5)


def test_the_walls_of_ventricles_are_as_thick_in_every_direction():
    """Two millimetres are two voxels along x, and not the next slice along z."""
    shape = (30, 30, 12)
    labels = np.zeros(shape, np.uint8)
    labels[10:20, 10:20, 4:8] = 4
    none, brain = np.zeros(shape, np.float32), np.ones(shape, dtype=bool)
    fluid = (labels == 4).astype(np.float32)
    part = Cropped(
        t1w=none,
        brain=brain,
        lesions=~brain,
        priors=(none, none, none),
        thalamus=(none, none),
        labels=labels,
        regions=np.ones(shape, np.uint8),
        nuclei=labels,
        subcortex=labels,
        atria=labels,
        voxel_mm=(1.0, 1.0, 3.0),
    )
    found = Fractions(fluid, 1 - fluid, none, (30, 75, 110), (4, 4, 4), converged=True)
    t1w = np.where(labels == 4, 30, 75).astype(np.float32)

    gray = with_borders(found, t1w, labels, part).gm

    assert not gray[8:22, 12:18, 5:7].any()
    assert gray[12:18, 12:18, 3].all()
    assert gray[12:18, 12:18, 8].all()
