"""Linear sampling, against SciPy's and by hand."""

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.affine import with_origin
from bids_qsmthal.core.interpolation import linear

TURN = np.deg2rad(7.3)
OBLIQUE = np.array(
    [
        [np.cos(TURN), -np.sin(TURN), 0.013, -3.71],
        [np.sin(TURN), np.cos(TURN), -0.021, 2.33],
        [0.017, 0.019, 0.83, -1.27],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
STRETCH = with_origin(np.diag([0.517, 1.931, 0.713, 1.0]), (-0.41, 0.37, 2.9))


@pytest.mark.parametrize("step", [OBLIQUE, STRETCH], ids=["oblique", "stretched"])
@pytest.mark.parametrize("beyond", ["constant", "nearest"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8])
def test_values_are_those_of_scipy(rng, step, beyond, kind) -> None:
    data = (rng.random((23, 31, 17)) * 200).astype(kind)
    shape = (29, 21, 25)
    expected = ndimage.affine_transform(
        data, step[:3, :3], step[:3, 3], shape, np.float32, order=1, mode=beyond, cval=-7.5
    )
    outside = (expected == -7.5).mean()
    assert outside > 0.02 if beyond == "constant" else outside == 0
    found = linear(data, step, shape, beyond=beyond, fill=-7.5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_grid_itself_comes_back_to_its_last_voxel(rng) -> None:
    data = rng.random((5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(linear(data, np.eye(4), data.shape), data)


def test_a_single_slice_is_a_volume(rng) -> None:
    data = rng.random((5, 6, 1)).astype(np.float32)
    half = with_origin(np.eye(4), (0.5, 0.0, 0.0))
    middle = (data[:-1] + data[1:]) / 2
    np.testing.assert_allclose(linear(data, half, (4, 6, 1)), middle, rtol=1e-6)
    # Half a voxel beyond its only centre nothing is known.
    beside = with_origin(np.eye(4), (0.0, 0.0, 0.5))
    assert not linear(data, beside, data.shape).any()


def test_the_image_may_be_a_view_in_any_order_and_stays_as_it_is(rng) -> None:
    whole = rng.random((14, 18, 16)).astype(np.float32)
    whole.setflags(write=False)
    view = whole.transpose(2, 0, 1)[::-1, ::2]
    found = linear(view, OBLIQUE, (9, 8, 10))
    np.testing.assert_array_equal(found, linear(view.copy(), OBLIQUE, (9, 8, 10)))
