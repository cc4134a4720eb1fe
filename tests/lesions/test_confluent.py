"""Lesions that touch are taken apart; their numbers follow their places."""

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions.confluent import distinct_lesions

SHAPE = (40, 36, 32)


def balls(size_mm, *, affine=None, shape=SHAPE, spheres=()):
    """Return a mask of ellipsoids, each (centre, semi-axes) in mm of the grid."""
    x, y, z = np.meshgrid(
        *((np.arange(n) * s for n, s in zip(shape, size_mm, strict=True))), indexing="ij"
    )
    inside = np.zeros(shape, bool)
    for centre, axes in spheres:
        parts = [((p - c) / a) ** 2 for p, c, a in zip((x, y, z), centre, axes, strict=True)]
        inside |= sum(parts) < 1
    return Image(inside, np.diag((*size_mm, 1.0)) if affine is None else affine)


@pytest.mark.parametrize("size_mm", [(1.0, 1.0, 1.0), (0.75, 0.75, 1.5)])
def test_two_balls_that_touch_are_two_lesions_of_one_group(size_mm):
    shape = tuple(int(n / s) for n, s in zip(SHAPE, size_mm, strict=True))
    pair = (((12, 18, 16), (5, 5, 5)), ((20, 18, 16), (5, 5, 5)))
    mask = balls(size_mm, shape=shape, spheres=pair)
    found = distinct_lesions(mask)
    assert found.unsplit == (1, 1)
    # The border is the plane half-way between the centres.
    first, second = (np.argwhere(found.labels.data == n)[:, 0] * size_mm[0] for n in (1, 2))
    assert first.max() <= 16.5
    assert second.min() >= 15.5
    np.testing.assert_array_equal(found.labels.data > 0, mask.data)


@pytest.mark.parametrize("axes", [(3, 3, 3), (10, 10, 10), (3, 4, 9), (1, 1, 1)])
def test_one_ellipsoid_stays_whole(axes):
    found = distinct_lesions(balls((1.0, 1.0, 1.0), spheres=[((18, 17, 15), axes)]))
    assert found.unsplit == (1,)
    assert found.labels.data.max() == 1


def test_a_probability_with_two_tops_parts_a_mask_that_shows_one():
    mask = balls((1.0, 1.0, 1.0), spheres=[((18, 17, 15), (9, 4, 4))])
    x = np.arange(SHAPE[0])[:, None, None]
    tops = np.maximum(np.exp(-((x - 13) ** 2) / 18), np.exp(-((x - 23) ** 2) / 18))
    probability = mask.like(np.broadcast_to(tops, SHAPE).astype(np.float32))
    assert distinct_lesions(mask).unsplit == (1,)
    assert distinct_lesions(mask, probability).unsplit == (1, 1)


def test_numbers_go_from_foot_to_head_however_the_voxels_run():
    spheres = [((8, 8, 24), (3, 3, 3)), ((30, 8, 6), (3, 3, 3)), ((8, 28, 6), (3, 3, 3))]
    plain = balls((1.0, 1.0, 1.0), spheres=spheres)
    found = distinct_lesions(plain)
    # Lowest first; of the two low ones that at the back.
    assert [int(found.labels.data[v]) for v in ((30, 8, 6), (8, 28, 6), (8, 8, 24))] == [1, 2, 3]
    flip = np.diag((1.0, 1.0, -1.0, 1.0))
    flip[2, 3] = SHAPE[2] - 1
    flipped = Image(np.ascontiguousarray(plain.data[:, :, ::-1]), plain.affine @ flip)
    again = distinct_lesions(flipped)
    np.testing.assert_array_equal(again.labels.data[:, :, ::-1], found.labels.data)


def test_no_lesion_gives_no_number():
    found = distinct_lesions(balls((1.0, 1.0, 1.0)))
    assert found.unsplit == ()
    assert not found.labels.data.any()
