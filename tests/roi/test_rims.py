"""Rims of lesions are told from lesions that are solid, plain or crossed by a vein."""

import math

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.roi.rims import (
    RimRule,
    rim_probability,
    rim_shape,
    shells_of,
    surrounded_ppb,
)

RULE = RimRule()
SIZES = [(1.0, 1.0, 1.0), (1.5, 1.5, 2.0), (0.75, 0.75, 3.0)]


def lesion(size_mm, radius_mm, kind, *, strength=50.0, offset=0.0):
    """Return mask, susceptibility (ppb), usable and tissue of a ball; the map is blurred once."""
    shape = tuple(int(36 / size) for size in size_mm)
    axes = ((np.arange(n) - n / 2) * s for n, s in zip(shape, size_mm, strict=True))
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    ball = radius < radius_mm
    chi = np.random.default_rng(5).normal(offset, 3.0, shape)
    if kind == "solid":
        chi[ball] += strength
    if kind == "rim":
        chi[ball & (radius > radius_mm - 2)] += strength
    if kind == "vein":
        chi[(np.abs(x) < 1) & (np.abs(y) < 1)] += 150
    whole = np.ones(shape, bool)
    return ball, chi.astype(np.float32), whole, ~ball


def shape_of(size_mm, radius_mm, kind, **options):
    shells = shells_of(*lesion(size_mm, radius_mm, kind, **options), size_mm, rule=RULE)
    return rim_shape(shells, rule=RULE)


@pytest.mark.parametrize("size_mm", SIZES)
def test_a_rim_is_probable_whatever_the_voxels_and_the_level_of_the_map(size_mm):
    shape = shape_of(size_mm, 6.0, "rim", offset=-40.0)
    assert shape.above_core_ppb == pytest.approx(50, abs=12)
    assert shape.core_ppb == pytest.approx(0, abs=6)
    assert shape.closed > 0.9
    assert rim_probability(shape, 20.0, rule=RULE) > 0.9


@pytest.mark.parametrize("size_mm", SIZES)
@pytest.mark.parametrize("kind", ["solid", "plain", "vein"])
def test_no_rim_is_seen_where_there_is_none(size_mm, kind):
    shape = shape_of(size_mm, 6.0, kind)
    assert abs(shape.above_core_ppb) < 10
    assert rim_probability(shape, -1.0, rule=RULE) < 0.4


@pytest.mark.parametrize(
    ("size_mm", "least_mm"), [((1.0, 1.0, 1.0), 6.0), ((1.5, 1.5, 2.0), 6.0), ((2.0,) * 3, 7.2)]
)
def test_coarse_voxels_ask_larger_lesions_alone(size_mm, least_mm):
    assert RULE.least_mm(size_mm) == pytest.approx(least_mm, abs=0.01)
    assert shape_of(size_mm, 0.45 * least_mm, "rim") is None
    assert shape_of(size_mm, 0.55 * least_mm, "rim") is not None


@pytest.mark.parametrize("radius_mm", [3.2, 6.0])
def test_a_rim_walls_its_inside_in_also_where_the_mask_is_a_voxel_off(radius_mm):
    size_mm = SIZES[1]
    for kind, low, high in (("rim", 15, 60), ("solid", -60, 8), ("plain", -15, 8)):
        ball, chi, usable, _ = lesion(size_mm, radius_mm, kind)
        moved = np.roll(ball, 1, axis=0)
        shells = shells_of(moved, chi, usable, ~moved, size_mm, rule=RULE)
        assert low < surrounded_ppb(shells, 0.0) < high, kind


def test_a_vein_is_no_wall_for_it_is_bright_in_few_directions():
    shells = shells_of(*lesion(SIZES[0], 6.0, "vein"), SIZES[0], rule=RULE)
    assert surrounded_ppb(shells, 0.0) < 10


def test_a_border_no_brighter_than_the_surroundings_is_no_wall():
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "rim")
    # Surroundings as bright as the rim: only the inside is dark.
    chi[~ball] += 50
    shells = shells_of(ball, chi, usable, tissue, SIZES[0], rule=RULE)
    assert surrounded_ppb(shells, 50.0) < 12


def test_a_wall_on_one_side_or_beyond_the_border_is_none():
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "plain")
    away_mm = ndimage.distance_transform_edt(~ball)
    right = np.indices(ball.shape)[0] > ball.shape[0] / 2
    for bright in ((away_mm <= 1) & ~ball & right, (away_mm > 3) & (away_mm < 5)):
        beside = np.where(bright, chi + 60, chi)
        shells = shells_of(ball, beside, usable, tissue, SIZES[0], rule=RULE)
        assert surrounded_ppb(shells, 0.0) < 12


def test_where_most_rays_are_lost_no_wall_is_known():
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "rim")
    shells = shells_of(ball, chi, usable, tissue, SIZES[0], rule=RULE)
    inside = shells.depth_mm >= 0.9 * shells.depth_mm.max()
    lone = shells._replace(usable=inside & (np.cumsum(inside).reshape(inside.shape) == 1))
    assert math.isnan(surrounded_ppb(lone, 0.0))
    assert math.isnan(
        rim_probability(
            rim_shape(shells, rule=RULE)._replace(surrounded_ppb=math.nan), 9.0, rule=RULE
        )
    )


def test_what_lies_beyond_a_lesion_is_subtracted():
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "solid")
    shifted = shells_of(ball, chi + 70, usable, tissue, SIZES[0], rule=RULE)
    plain = shells_of(ball, chi, usable, tissue, SIZES[0], rule=RULE)
    assert rim_shape(shifted, rule=RULE).core_ppb == pytest.approx(50, abs=3)
    np.testing.assert_allclose(
        rim_shape(shifted, rule=RULE), rim_shape(plain, rule=RULE), atol=1e-3
    )


def test_another_lesion_beside_it_makes_no_rim():
    ball, chi, usable, tissue = lesion(SIZES[0], 5.0, "plain")
    # It wraps round the lesion: at its border in every direction.
    beside = ndimage.binary_dilation(ball) & ~ball
    chi[beside] += 60
    shells = shells_of(ball, chi, usable, tissue & ~beside, SIZES[0], rule=RULE)
    assert rim_probability(rim_shape(shells, rule=RULE), -1.0, rule=RULE) < 0.4


def test_a_lesion_too_small_or_mostly_lost_is_not_called():
    assert shape_of(SIZES[0], 2.5, "rim") is None
    assert math.isnan(rim_probability(None, 9.0, rule=RULE))
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "rim")
    usable[: usable.shape[0] // 2 + 4] = False
    shells = shells_of(ball, chi, usable, tissue, SIZES[0], rule=RULE)
    assert shells is None or rim_shape(shells, rule=RULE) is None


def test_without_surroundings_there_is_nothing_to_compare_with():
    ball, chi, usable, tissue = lesion(SIZES[0], 6.0, "rim")
    assert shells_of(ball, chi, usable, np.zeros_like(tissue), SIZES[0], rule=RULE) is None


def test_what_neither_map_nor_field_is_sure_of_is_decided_by_both():
    ball, chi, usable, tissue = lesion(SIZES[1], 3.2, "rim", strength=25.0)
    shape = rim_shape(shells_of(ball, chi, usable, tissue, SIZES[1], rule=RULE), rule=RULE)
    doubtful = shape._replace(surrounded_ppb=10.0, closed=0.3)
    below, above = (rim_probability(doubtful, evidence, rule=RULE) for evidence in (-2.0, 10.0))
    assert below < 0.2
    assert above > 0.5
    assert math.isnan(rim_probability(doubtful, math.nan, rule=RULE))
