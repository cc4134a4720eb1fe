from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.roi import VeinImages, VeinRule, veins, vesselness

SIZES = [(1.0, 1.0, 1.0), (0.75, 0.75, 3.0), (1.5, 1.5, 2.0)]


def _grid(size_mm, extent_mm=36.0):
    shape = tuple(round(extent_mm / size) for size in size_mm)
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, size_mm, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


@pytest.mark.parametrize("size_mm", SIZES)
def test_a_tube_is_more_of_a_vessel_than_a_ball_or_a_sheet(size_mm):
    x, y, z = _grid(size_mm)
    tube = np.exp(-(x**2 + y**2) / (2 * 1.2**2))
    ball = np.exp(-(x**2 + y**2 + z**2) / (2 * 1.2**2))
    sheet = np.exp(-(x**2) / (2 * 1.2**2))
    middle = tuple(n // 2 for n in x.shape)

    score = {
        name: vesselness(shape.astype(np.float32), size_mm, radii_mm=(1.0, 1.5))[middle]
        for name, shape in (("tube", tube), ("ball", ball), ("sheet", sheet))
    }

    assert score["tube"] > 2 * score["sheet"]
    assert score["tube"] > score["ball"]


def test_a_dark_tube_is_no_vein():
    x, y, _ = _grid((1.0, 1.0, 1.0))
    dark = -np.exp(-(x**2 + y**2) / 2)

    assert vesselness(dark.astype(np.float32), (1.0, 1.0, 1.0), radii_mm=(1.0,))[18, 18].max() == 0


def _thalamus_with_vein(size_mm, *, noise_ppm=0.01, seed=0):
    """A ball with iron that varies slowly, an iron-rich neighbour and a slanted vein."""
    rng = np.random.default_rng(seed)
    x, y, z = _grid(size_mm)
    thalamus = x**2 + y**2 + z**2 < 12**2
    neighbour = (x - 15) ** 2 + y**2 + z**2 < 5**2
    neighbour &= ~thalamus
    share = np.clip(1.6 - np.hypot(x + 0.4 * z, y - 3) / 0.8, 0, 1) * (x < 6)
    chi = -0.02 + 0.015 * (y > 2) + 0.14 * neighbour + 0.3 * share
    chi = chi + rng.normal(0, noise_ppm, x.shape)
    r2star = 19 + 14 * share + 20 * neighbour + rng.normal(0, 1.5, x.shape)
    images = VeinImages(
        chi_ppm=chi.astype(np.float32),
        usable=np.ones(x.shape, dtype=bool),
        thalami=thalamus,
        iron_rich=neighbour,
        r2star_hz=r2star.astype(np.float32),
    )
    return images, thalamus & (share > 0.4), thalamus & (share == 0)


@pytest.mark.parametrize("size_mm", SIZES)
def test_nine_tenths_of_a_vein_are_found_at_little_cost_to_the_thalamus(size_mm):
    images, vein, clean = _thalamus_with_vein(size_mm)

    found = veins(images, size_mm, rule=VeinRule())

    assert (found & vein).sum() >= 0.9 * vein.sum()
    assert (found & clean).sum() <= 0.07 * clean.sum()


def test_veins_are_found_without_r2star():
    images, vein, clean = _thalamus_with_vein((1.0, 1.0, 1.0))
    single_echo = VeinImages(
        chi_ppm=images.chi_ppm,
        usable=images.usable,
        thalami=images.thalami,
        iron_rich=images.iron_rich,
    )

    found = veins(single_echo, (1.0, 1.0, 1.0), rule=VeinRule())

    assert (found & vein).sum() >= 0.9 * vein.sum()
    assert (found & clean).sum() <= 0.07 * clean.sum()


def test_noise_alone_is_not_taken_for_veins():
    rng = np.random.default_rng(8)
    x, y, z = _grid((1.0, 1.0, 1.0))
    thalamus = x**2 + y**2 + z**2 < 12**2
    images = VeinImages(
        chi_ppm=rng.normal(0, 0.01, x.shape).astype(np.float32),
        usable=np.ones(x.shape, dtype=bool),
        thalami=thalamus,
        iron_rich=np.zeros(x.shape, dtype=bool),
        r2star_hz=rng.normal(19, 1.5, x.shape).astype(np.float32),
    )

    found = veins(images, (1.0, 1.0, 1.0), rule=VeinRule())

    assert (found & thalamus).sum() <= 0.01 * thalamus.sum()


def test_the_iron_rich_neighbour_is_not_a_vein():
    images, _, _ = _thalamus_with_vein((1.0, 1.0, 1.0))

    found = veins(images, (1.0, 1.0, 1.0), rule=VeinRule(dilation_mm=0.0))

    assert not (found & images.iron_rich).any()


def test_without_a_thalamus_there_is_nothing_to_search():
    images, _, _ = _thalamus_with_vein((1.0, 1.0, 1.0))
    nowhere = VeinImages(
        chi_ppm=images.chi_ppm,
        usable=images.usable,
        thalami=np.zeros_like(images.thalami),
        iron_rich=images.iron_rich,
    )

    assert not veins(nowhere, (1.0, 1.0, 1.0), rule=VeinRule()).any()


@pytest.mark.parametrize("size_mm", SIZES)
def test_of_large_veins_alone_those_along_the_border_go_and_the_small_one_inside_stays(size_mm):
    images, inner, _ = _thalamus_with_vein(size_mm)
    x, y, z = _grid(size_mm)
    # In the middle of a slice, however thick.
    middle = z.ravel()[np.abs(z).argmin()]
    # A vein of 1 mm beside the ball, 24 mm long, as the internal cerebral vein runs.
    beside = np.clip(1.8 - np.hypot(x + 12.5, z - middle) / 0.8, 0, 1) * (np.abs(y) < 12)
    images = replace(
        images,
        chi_ppm=(images.chi_ppm + 0.3 * beside).astype(np.float32),
        r2star_hz=(images.r2star_hz + 14 * beside).astype(np.float32),
    )
    deep = inner & (np.sqrt(x**2 + y**2 + z**2) < 8)
    assert deep.any()

    every = veins(images, size_mm, rule=VeinRule())
    large = veins(images, size_mm, rule=VeinRule(large_only=True))

    assert (every & deep).sum() >= 0.9 * deep.sum()
    assert not (large & deep).any()
    assert (large & (beside > 0.4)).sum() >= 0.8 * (every & (beside > 0.4)).sum() > 0
    assert not (large & ~every).any()
