"""What check says of a scan before it runs: where the thalami are, by the top of the head."""

import numpy as np
import pytest

from bids_qsmthal.app.gre_overview import Coverage, coverage, vertex_mm
from bids_qsmthal.core.image import Image

THALAMUS_BELOW_MM = 90.0
"""In the middle of a head of the size of the atlas or a little less."""


def rotated(degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])


def image(
    size_mm: tuple[float, float, float], extent_mm: tuple[float, float, float], middle_z_mm: float
) -> Image:
    shape = tuple(round(e / s) for e, s in zip(extent_mm, size_mm, strict=True))
    affine = np.diag([*size_mm, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape) - 1) * size_mm + (0, 0, middle_z_mm)
    return Image(np.zeros(shape, np.float32), affine)


def head(top_mm: float, *, below_mm: float = 150.0, noise: float = 0.0) -> Image:
    """A T1w with an ellipsoid whose top is at a level, in a field of view of 220 mm."""
    scan = image((4, 4, 4), (180, 220, 220), 0.0)
    grid = np.moveaxis(np.indices(scan.shape), 0, -1) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    x, y, z = np.moveaxis(grid, -1, 0)
    centre = top_mm - below_mm / 2
    inside = (x / 70) ** 2 + (y / 90) ** 2 + ((z - centre) / (below_mm / 2)) ** 2 < 1
    data = 100 * inside + noise * np.random.default_rng(1).random(scan.shape)
    return scan.like(data.astype(np.float32))


@pytest.mark.parametrize("top_mm", [60.0, 80.0, 95.0])
@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_the_top_of_a_head_is_found_within_a_few_millimetres(top_mm: float, noise: float) -> None:
    assert vertex_mm(head(top_mm, noise=noise)) == pytest.approx(top_mm, abs=6)


def test_a_head_that_is_cut_at_the_top_says_nothing() -> None:
    assert vertex_mm(head(140.0)) is None
    assert vertex_mm(head(80.0, noise=90.0)) is None
    slab = image((1, 1, 2), (200, 220, 60), 0.0)
    assert coverage(slab, head(140.0)) is Coverage.UNKNOWN
    assert coverage(slab, None) is Coverage.UNKNOWN


@pytest.mark.parametrize("top_mm", [70.0, 95.0])
@pytest.mark.parametrize("tilt", [0.0, 15.0])
@pytest.mark.parametrize(
    ("offset_mm", "thick_mm", "wanted"),
    [
        (0, 120, Coverage.WHOLE),
        (0, 60, Coverage.WHOLE),
        (80, 60, Coverage.NONE),
        (-85, 60, Coverage.NONE),
        (25, 40, Coverage.PART),
        (-25, 40, Coverage.PART),
    ],
)
def test_a_slab_is_held_against_the_thalami_of_the_head(
    top_mm: float, tilt: float, offset_mm: float, thick_mm: float, wanted: Coverage
) -> None:
    middle = top_mm - THALAMUS_BELOW_MM + offset_mm
    slab = image((1, 1, 2), (200, 220, thick_mm), 0.0)
    affine = slab.affine.copy()
    affine[:3] = rotated(tilt) @ affine[:3]
    affine[2, 3] += middle
    assert coverage(Image(slab.data, affine), head(top_mm)) is wanted
