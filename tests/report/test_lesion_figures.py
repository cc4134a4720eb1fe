"""Iron in lesions is drawn in the right colour, at the right place, on its own voxels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import LesionIronMaps, LesionMaps, RimCandidate
from bids_qsmthal.report.lesion_figures import (
    CLOSE_WINDOW,
    rim_gallery,
    susceptibility_of_lesions,
)
from tests.pictures import read
from tests.report.test_mosaic import embedded

SHAPE = (40, 36, 30)
SHIFT = np.array([[1.0, 0, 0, 6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def box(x: slice, y: slice, z: slice) -> np.ndarray:
    labels = np.zeros(SHAPE, np.int32)
    labels[x, y, z] = 1
    return labels


@pytest.fixture
def iron() -> LesionIronMaps:
    """A rim round the first lesion; the world of T1w lies 6 mm to the right of the echoes'."""
    labels = box(slice(10, 18), slice(12, 20), slice(10, 18))
    labels += 2 * box(slice(28, 34), slice(12, 20), slice(10, 18))
    chi_ppb = np.full(SHAPE, -20, np.float32)
    chi_ppb[labels == 1] = 60
    chi_ppb[12:16, 14:18, 12:16] = -20
    table = pd.DataFrame({"id": [1, 2], "rim": ["present", "absent"]})
    return LesionIronMaps(
        labels_t1w=Image(labels, SHIFT),
        labels_gre=Image(labels, np.eye(4)),
        gre_to_t1w=SHIFT,
        chi_ppm=Image(chi_ppb / 1000, np.eye(4)),
        normal_white_ppb=-20.0,
        means_ppb={1: 60.0, 2: -60.0},
        rims=frozenset({1}),
        candidates=(RimCandidate(1, "present", 0.9, 9.0),),
        assessed=2,
        least_mm=6.0,
        shown_from=0.1,
        table=table,
    )


@pytest.fixture
def maps(iron: LesionIronMaps) -> LesionMaps:
    bright = np.full(SHAPE, 50, np.float32) + 50 * (iron.labels_t1w.data == 1)
    return LesionMaps(flair=Image(bright.astype(np.float32), SHIFT))


def test_lesions_above_white_matter_are_red_and_those_below_blue(maps, iron) -> None:
    alone = replace(iron, rims=frozenset())
    pixels = embedded(susceptibility_of_lesions(maps, alone).content).astype(int)
    warm = (pixels[..., 0] - pixels[..., 2]) > 60
    cold = (pixels[..., 2] - pixels[..., 0]) > 60
    # Four columns of slices; the first lesion lies left of the second in each.
    tile = pixels.shape[1] // 4
    assert warm[:, :tile].any()
    assert cold[:, :tile].any()
    assert np.argwhere(warm[:, :tile])[:, 1].max() < np.argwhere(cold[:, :tile])[:, 1].min()


def test_a_lesion_without_a_number_has_no_colour(maps, iron) -> None:
    figure = susceptibility_of_lesions(maps, replace(iron, means_ppb={1: 60.0, 2: np.nan}))
    pixels = embedded(figure.content).astype(int)
    assert not ((pixels[..., 2] - pixels[..., 0]) > 60).any()
    assert susceptibility_of_lesions(maps, replace(iron, means_ppb={1: np.nan})) is None


def test_the_gallery_shows_a_bright_border_and_the_lesion_on_flair(maps, iron) -> None:
    figure = rim_gallery(maps, iron)
    pictures = read(figure.content).rasters
    assert len(pictures) == 6
    chi, flair = pictures[:3], pictures[3:]
    for picture in chi:
        gray = picture.pixels[..., 0].astype(int)
        middle = tuple(size // 2 for size in gray.shape)
        # The middle is plain white matter, which is 0 in this window; the border 80 ppb above.
        zero = 255 * -CLOSE_WINDOW.low / (CLOSE_WINDOW.high - CLOSE_WINDOW.low)
        assert gray[middle] == pytest.approx(zero, abs=2)
        assert gray.max() == pytest.approx(255 * 130 / 150, abs=2)
    for picture in flair:
        gray = picture.pixels[..., 0].astype(int)
        middle = tuple(size // 2 for size in gray.shape)
        assert gray[middle] > 1.8 * gray[2, 2]


def test_the_gallery_has_a_row_for_each_candidate_and_none_without(maps, iron) -> None:
    more = (*iron.candidates, RimCandidate(2, "not assessed", np.nan, 5.2))
    figure = rim_gallery(maps, replace(iron, candidates=more))
    assert len(read(figure.content).rasters) == 12
    assert len(read(rim_gallery(LesionMaps(), iron).content).rasters) == 3
    assert rim_gallery(maps, replace(iron, candidates=())) is None
