"""The field of a lesion tells a rim also where the map of susceptibility has lost it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.roi.rim_field import (
    LEAST_EVIDENCE,
    FieldRule,
    LesionBox,
    _Explanation,
    _Field,
    rim_evidence,
    unexplained_ppb,
)
from bids_qsmthal.simulate.fields import dipole_field

RULE = FieldRule()
SIDE_MM, FINE = 36, 3
SIZES = [(1.0, 1.0, 1.0), (1.5, 1.5, 2.0), (0.75, 0.75, 3.0)]
OBLIQUE = (0.6, 0.0, 0.8)
NOISE_PPB = 2.0

Float = NDArray[np.float32]


def means(fine: Float) -> Float:
    """Average blocks of FINE points along each axis."""
    x, y, z = (n // FINE for n in fine.shape)
    return fine.reshape(x, FINE, y, FINE, z, FINE).mean(axis=(1, 3, 5)).astype(np.float32)


def box(
    kind: str,
    size_mm: tuple[float, float, float] = SIZES[1],
    *,
    radius_mm: float = 4.5,
    ppb: float = 50.0,
    vein: bool = False,
    b0: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> LesionBox:
    """Draw a lesion on fine points; its map of susceptibility shows none of what is inside it."""
    shape = tuple(FINE * round(SIDE_MM / size) for size in size_mm)
    steps = tuple(size / FINE for size in size_mm)
    axes = ((np.arange(n) + 0.5 - n / 2) * step for n, step in zip(shape, steps, strict=True))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    away_mm = np.sqrt(x**2 + y**2 + z**2)
    inside = away_mm < radius_mm
    bright = inside & (away_mm > radius_mm - 2) if kind == "rim" else inside
    chi = np.where(bright & (kind != "plain"), ppb, 0).astype(np.float32)
    if vein:  # along a diagonal, off the centre
        chi[np.sqrt((x - y - 1) ** 2 / 2 + (z - 1) ** 2) < 0.5] = 350
    field = means(dipole_field(chi, Grid(shape, steps, b0)))
    noise = np.random.default_rng(3).normal(0, NOISE_PPB, field.shape)
    share = means(inside.astype(np.float32))
    # What a strong regularisation leaves: the mean of the lesion.
    map_ppb = (share * chi[inside].mean()).astype(np.float32)
    grid = Grid(field.shape, size_mm, b0)
    usable = np.ones(field.shape, bool)
    lesion = share > 0.5
    return LesionBox(
        lesion=lesion,
        tissue=~lesion,
        chi_ppb=map_ppb,
        usable=usable,
        unexplained_ppb=unexplained_ppb(map_ppb, field + noise, usable, grid),
        noise_ppb=np.full(field.shape, NOISE_PPB, np.float32),
        grid=grid,
    )


@pytest.mark.parametrize("size_mm", SIZES)
@pytest.mark.parametrize("b0", [(0.0, 0.0, 1.0), OBLIQUE])
def test_a_rim_that_the_map_does_not_show_is_in_the_field(size_mm, b0):
    assert rim_evidence(box("rim", size_mm, b0=b0), rule=RULE).log_ratio > 20
    assert rim_evidence(box("solid", size_mm, b0=b0), rule=RULE).log_ratio < 1
    assert rim_evidence(box("plain", size_mm, b0=b0), rule=RULE).log_ratio < 3


def test_a_field_along_another_axis_is_no_sign_of_a_rim():
    seen = box("rim", b0=OBLIQUE)
    right = rim_evidence(seen, rule=RULE).log_ratio
    turned = seen.grid.__class__(seen.grid.shape, seen.grid.voxel_size_mm, (-0.6, 0.0, 0.8))
    assert rim_evidence(seen._replace(grid=turned), rule=RULE).log_ratio < 0.6 * right


def test_a_rim_is_seen_beside_a_vein_and_a_vein_is_none():
    assert rim_evidence(box("rim", vein=True), rule=RULE).log_ratio > 10
    assert rim_evidence(box("plain", vein=True), rule=RULE).log_ratio < 1
    assert rim_evidence(box("solid", vein=True), rule=RULE).log_ratio < 1


@pytest.mark.parametrize("moved_mm", [-0.5, 0.5])
def test_the_mask_may_be_half_a_millimetre_too_large_or_small(moved_mm):
    right = {kind: box(kind) for kind in ("rim", "solid")}
    shape = right["rim"].lesion.shape
    places = [(np.arange(n) + 0.5 - n / 2) * size for n, size in zip(shape, SIZES[1], strict=True)]
    mask = np.linalg.norm(np.meshgrid(*places, indexing="ij"), axis=0)
    other = mask < 4.5 + moved_mm
    evidence = {
        kind: rim_evidence(one._replace(lesion=other, tissue=~other), rule=RULE).log_ratio
        for kind, one in right.items()
    }
    assert evidence["rim"] > max(20, 5 * evidence["solid"])


def test_a_border_darker_than_the_inside_is_the_least_evidence():
    assert rim_evidence(box("rim", ppb=-60.0), rule=RULE).log_ratio <= 0
    assert rim_evidence(box("rim", ppb=-60.0), rule=RULE).log_ratio >= LEAST_EVIDENCE


def test_nothing_is_said_where_the_field_or_the_surroundings_are_unknown():
    seen = box("rim")
    half = seen.noise_ppb.copy()
    half[: half.shape[0] // 2 + 1] = np.inf
    assert np.isnan(rim_evidence(seen._replace(noise_ppb=half), rule=RULE)).all()
    nothing = seen._replace(tissue=np.zeros_like(seen.tissue))
    assert np.isnan(rim_evidence(nothing, rule=RULE)).all()


def test_a_level_and_a_slope_of_the_field_from_far_away_do_not_matter():
    seen = box("rim")
    slope = 5 + 0.4 * np.indices(seen.lesion.shape)[0].astype(np.float32)
    drifted = seen._replace(unexplained_ppb=seen.unexplained_ppb + slope)
    right = rim_evidence(seen, rule=RULE).log_ratio
    assert rim_evidence(drifted, rule=RULE).log_ratio == pytest.approx(right, rel=0.1)


def test_the_map_explains_its_own_field():
    seen = box("solid", SIZES[0])
    field = dipole_field(seen.chi_ppb, seen.grid, padding=2)
    rest = unexplained_ppb(seen.chi_ppb, field, seen.usable, seen.grid)
    assert np.abs(rest).max() < 0.02 * np.abs(field).max()
    lost = seen.usable.copy()
    lost[:, :, 10] = False
    assert (unexplained_ppb(seen.chi_ppb, field, lost, seen.grid)[:, :, 10] == 0).all()


def test_a_thin_lesion_would_show_no_rim_and_a_thick_one_would_whatever_it_has():
    for kind in ("plain", "solid", "rim"):
        # In a field with a rim, what no explanation reaches counts as noise as well.
        assert 5 <= rim_evidence(box(kind, radius_mm=6.0), rule=RULE).visible_ppb < 40
    thin = box("plain")
    mask = thin.lesion.copy()
    # One voxel of 2 mm deep: a sheet of the same extent.
    mask[:, :, : mask.shape[2] // 2] = False
    mask[:, :, mask.shape[2] // 2 + 1 :] = False
    found = rim_evidence(thin._replace(lesion=mask, tissue=~mask), rule=RULE)
    assert np.isfinite(found.log_ratio)
    assert np.isnan(found.visible_ppb)


def test_more_noise_hides_weaker_rims():
    quiet = box("plain", radius_mm=6.0)
    loud = quiet._replace(noise_ppb=4 * quiet.noise_ppb)
    visible = [rim_evidence(one, rule=RULE).visible_ppb for one in (quiet, loud)]
    # Noise of the tissue is added to that of the scan.
    assert visible[1] > 2 * visible[0]


def test_a_rim_as_strong_as_is_said_is_seen_and_one_of_a_third_is_not():
    visible_ppb = rim_evidence(box("plain", radius_mm=5.0), rule=RULE).visible_ppb
    strong, weak = (
        rim_evidence(box("rim", radius_mm=5.0, ppb=share * visible_ppb), rule=RULE).log_ratio
        for share in (1.5, 1 / 3)
    )
    assert strong > RULE.strong > weak


def test_the_evidence_of_an_assumed_field_is_that_of_the_same_field_when_it_is_seen():
    generator = np.random.default_rng(5)
    used = np.ones((6, 5, 4), bool)
    seen = generator.normal(0, 3, used.shape).astype(np.float32)
    sources = _Explanation(generator.normal(0, 1, (used.sum(), 2)), (40.0, 50.0))
    one, threefold = (_Field(share * seen, used, 2.0, Grid(used.shape), RULE) for share in (1, 3))
    growth, level = one.expected(sources, one.at_voxels(seen))
    assert growth + level == pytest.approx(one.evidence(sources), rel=1e-5)
    assert 9 * growth + level == pytest.approx(threefold.evidence(sources), rel=1e-5)
    assert level < 0
