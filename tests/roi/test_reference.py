from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.roi import (
    ReferenceImages,
    ReferenceLevel,
    ReferenceRegion,
    ReferenceRule,
    csf_reference,
)
from bids_qsmthal.roi.morphology import signed_depth_mm

SIZE_MM = (1.0, 1.0, 2.0)
SHAPE = (60, 70, 36)


def _ball(centre, radius_mm):
    x, y, z = (np.arange(n) * size for n, size in zip(SHAPE, SIZE_MM, strict=True))
    distance = (x[:, None, None] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2
    return distance + (z - centre[2]) ** 2 < radius_mm**2


def _brain(radius_mm=8.0, plexus_mm=0.0, noise_ppm=0.004):
    """Two ball-shaped atria with plexus inside, and bodies of the ventricles before them."""
    rng = np.random.default_rng(5)
    atria = _ball((20, 20, 36), radius_mm) | _ball((40, 20, 36), radius_mm)
    bodies = np.zeros(SHAPE, dtype=bool)
    for start in (18, 38):
        bodies[start : start + 5, 20:50, 15:21] = True
    csf = atria | bodies
    plexus = (_ball((20, 22, 33), plexus_mm) | _ball((40, 22, 33), plexus_mm)) & atria
    fluid = csf & ~plexus
    chi = np.where(fluid, 0.0, -0.02) + rng.normal(0, noise_ppm, SHAPE)
    chi[plexus] = -0.15
    side = np.ones(SHAPE, dtype=np.uint8)
    side[30:] = 2
    images = ReferenceImages(
        chi_ppm=chi.astype(np.float32),
        magnitude=(100 + rng.normal(0, 1, SHAPE) - 60 * plexus).astype(np.float32),
        usable=np.ones(SHAPE, dtype=bool),
        side=side,
        r2star_hz=np.where(fluid, 2, 20).astype(np.float32) + 40 * plexus,
        atria_depth_mm=signed_depth_mm(atria, SIZE_MM),
        ventricles_depth_mm=signed_depth_mm(csf, SIZE_MM),
    )
    return images, fluid, plexus


def test_large_atria_are_eroded_by_two_millimetres_and_both_sides_count():
    images, fluid, _ = _brain()

    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())

    assert found.level == ReferenceLevel(region=ReferenceRegion.ATRIA, erosion_mm=2.0, step=0)
    assert (fluid[found.mask]).all()
    assert (images.atria_depth_mm[found.mask] >= 2).all()
    left, right = (found.labels == 1).sum(), (found.labels == 2).sum()
    assert left + right == found.mask.sum() >= 100
    assert not (found.labels == 1)[30:].any()
    assert abs(left - right) < 0.1 * left


def test_calcified_plexus_is_left_out_with_its_border():
    images, fluid, plexus = _brain(plexus_mm=3.5)

    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())

    assert plexus.sum() > 100
    assert not (found.mask & ndimage.binary_dilation(plexus)).any()
    assert fluid[found.mask].mean() >= 0.98
    assert sum(found.rejected.values()) > plexus.sum() / 2


@pytest.mark.parametrize("field_strength_t", [1.5, 3.0, 7.0])
def test_soft_plexus_in_a_quarter_of_the_atria_is_told_by_its_decay_alone(rng, field_strength_t):
    images, _, _ = _brain(plexus_mm=0.0, radius_mm=11.0)
    plexus = _ball((20, 22, 33), 5.5) | _ball((40, 22, 33), 5.5)
    deep = images.atria_depth_mm >= 2
    assert 0.2 < (plexus & deep).sum() / deep.sum() < 0.3
    rate = np.where(images.atria_depth_mm >= 0, 2.5, 20.0) + rng.normal(0, 1.2, SHAPE)
    rate[plexus] += 6.0
    # Everything decays in proportion to the field, and the limit must follow.
    images = replace(images, r2star_hz=(rate * field_strength_t / 3).astype(np.float32))

    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())

    assert (found.mask & ~plexus).sum() / found.mask.sum() >= 0.98


def test_one_noisy_voxel_does_not_take_its_neighbours_along():
    images, _, _ = _brain()
    noisy = images.chi_ppm.copy()
    noisy[20, 20, 18] = 0.2

    found = csf_reference(replace(images, chi_ppm=noisy), SIZE_MM, rule=ReferenceRule())

    assert not found.mask[20, 20, 18]
    assert found.mask[19:22, 20, 18].sum() == 2


@pytest.mark.parametrize("missing", ["r2star_hz", "magnitude"])
def test_calcified_plexus_is_left_out_even_if_one_contrast_is_missing(missing):
    images, _, plexus = _brain(plexus_mm=2.5)
    blank = None if missing == "r2star_hz" else np.full(SHAPE, 100.0, np.float32)

    found = csf_reference(replace(images, **{missing: blank}), SIZE_MM, rule=ReferenceRule())

    assert found.mask.sum() >= 100
    assert not (found.mask & plexus).any()


@pytest.mark.parametrize(
    ("radius_mm", "erosion_mm", "label"),
    [
        (6.0, 2.0, "atria eroded by 2 mm"),
        (4.8, 1.0, "atria eroded by 1 mm"),
        (3.2, 0.0, "atria eroded by 0 mm"),
    ],
)
def test_smaller_atria_are_eroded_less(radius_mm, erosion_mm, label):
    images, fluid, _ = _brain(radius_mm=radius_mm)

    found = csf_reference(images, SIZE_MM, rule=ReferenceRule())

    assert found.level.region is ReferenceRegion.ATRIA
    assert found.level.erosion_mm == erosion_mm
    assert found.level.label == label
    assert fluid[found.mask].mean() >= 0.98


def test_without_enough_atria_the_ladder_goes_down_to_the_ventricles_and_then_to_all_csf():
    images, fluid, _ = _brain(radius_mm=2.0)
    ventricles = csf_reference(images, SIZE_MM, rule=ReferenceRule())
    assert ventricles.level.label == "lateral ventricles eroded by 1 mm"

    unlabelled = replace(images, atria_depth_mm=None, ventricles_depth_mm=None)
    everywhere = csf_reference(unlabelled, SIZE_MM, rule=ReferenceRule(brain_erosion_mm=5.0))

    assert everywhere.level.region is ReferenceRegion.GLOBAL_CSF
    assert fluid[everywhere.mask].mean() >= 0.98


def test_with_no_csf_at_all_the_whole_brain_is_the_reference_and_says_so():
    images, _, _ = _brain()
    dry = replace(
        images,
        atria_depth_mm=None,
        ventricles_depth_mm=None,
        r2star_hz=np.full(SHAPE, 20.0, np.float32),
    )

    found = csf_reference(dry, SIZE_MM, rule=ReferenceRule())

    assert found.level.region is ReferenceRegion.BRAIN
    assert found.mask.all()
    assert not found.fluid.any()


def test_one_lost_atrium_is_not_replaced_by_the_other():
    images, _, _ = _brain()
    usable = images.usable.copy()
    usable[30:, :30] = False

    found = csf_reference(replace(images, usable=usable), SIZE_MM, rule=ReferenceRule())

    assert found.level.region is not ReferenceRegion.ATRIA
    assert {1, 2} <= set(np.unique(found.labels))


def test_a_user_can_start_the_ladder_lower():
    images, _, _ = _brain()

    found = csf_reference(images, SIZE_MM, rule=ReferenceRule(region=ReferenceRegion.VENTRICLES))

    assert found.level.region is ReferenceRegion.VENTRICLES


CIRCLES = ReferenceRule(region=ReferenceRegion.CIRCLES)


def _with_thalami(images, slice_axis=2):
    """Two thalami before and beside the atria."""
    thalami = _ball((20, 40, 36), 7) | _ball((40, 40, 36), 7)
    return replace(images, thalami=thalami, slice_axis=slice_axis)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_a_circle_lies_in_one_slice_of_fluid_of_each_side_next_to_the_thalamus(slice_axis):
    brain, fluid, plexus = _brain(radius_mm=9.0, plexus_mm=2.0)
    images = _with_thalami(brain, slice_axis)

    found = csf_reference(images, SIZE_MM, rule=CIRCLES)

    assert found.level == ReferenceLevel(region=ReferenceRegion.CIRCLES, radius_mm=3.0, step=0)
    assert fluid[found.mask].all()
    assert not (plexus & found.mask).any()
    in_plane = [size for axis, size in enumerate(SIZE_MM) if axis != slice_axis]
    for side, middle_x_mm in ((1, 20), (2, 40)):
        voxels = np.argwhere(found.labels == side)
        assert len(np.unique(voxels[:, slice_axis])) == 1
        # On a grid of such voxels a circle of 3 mm has this area within a few.
        assert len(voxels) * np.prod(in_plane) == pytest.approx(np.pi * 9, rel=0.25)
        x_mm, y_mm, _ = voxels.mean(axis=0) * SIZE_MM
        assert abs(x_mm - middle_x_mm) <= 5
        # The thalamus is towards larger y, and so is the circle within the atrium (middle: 20).
        assert y_mm > 20


def test_a_circle_gets_smaller_and_then_gives_way_to_the_atria():
    small, fluid, _ = _brain(radius_mm=3.5)
    circle = csf_reference(_with_thalami(small), SIZE_MM, rule=CIRCLES)
    assert (circle.level.region, circle.level.radius_mm) == (ReferenceRegion.CIRCLES, 2.0)
    assert fluid[circle.mask].all()

    one_side = replace(small, usable=small.usable & (small.side == 1))
    none = csf_reference(_with_thalami(one_side), SIZE_MM, rule=CIRCLES)
    assert none.level.region is not ReferenceRegion.CIRCLES
    assert none.level.step >= len(CIRCLES.circles_mm)
