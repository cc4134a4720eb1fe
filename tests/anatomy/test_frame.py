import itertools

import numpy as np
import pytest

from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.core.image import Image
from tests.anatomy.phantoms import oriented

AFFINE = np.array([[1.0, 0, 0, -10], [0, 1.5, 0, 5], [0, 0, 2, -20], [0, 0, 0, 1]])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_what_is_cut_and_pasted_comes_back_in_every_orientation(order, flips, rng):
    data = rng.normal(size=(11, 12, 13)).astype(np.float32)
    image = oriented(data, AFFINE, order, flips)
    mask = oriented(
        np.pad(np.ones((5, 5, 5), bool), ((3, 3), (3, 4), (4, 4))), AFFINE, order, flips
    )
    frame = Frame.around(mask, 1.0)

    cut = frame.cut(image)
    back = frame.paste(cut.data)

    inside = back.data != 0
    assert np.array_equal(back.data[inside], image.data[inside])
    assert (inside >= mask.data).all()
    assert np.allclose(back.affine, image.affine)


def test_the_frame_is_upright_and_knows_where_it_is(rng):
    data = rng.normal(size=(11, 12, 13)).astype(np.float32)
    image = oriented(data, AFFINE, (2, 0, 1), (0,))
    mask = image.like(np.zeros(image.shape, bool))
    mask.data[4:7, 3:6, 2:8] = True

    cut = Frame.around(mask, 0.0).cut(image)

    voxel = np.argwhere(mask.data)[0]
    world = image.affine @ [*voxel, 1]
    there = np.rint(np.linalg.solve(cut.affine, world))[:3].astype(int)
    assert cut.data[tuple(there)] == image.data[tuple(voxel)]
    assert (np.diag(cut.affine)[:3] > 0).all()


def test_the_margin_is_in_mm():
    mask = Image(np.zeros((20, 20, 20), bool), AFFINE)
    mask.data[10, 10, 10] = True

    frame = Frame.around(mask, 4.0)

    assert frame.crop.shape == (9, 7, 5)
