"""The gain of an image: found again where it is known, and as ITK's N4 finds it."""

import ants
import numpy as np
import pytest

from bids_qsmthal.anatomy.ants_bridge import to_ants
from bids_qsmthal.anatomy.bias_field import BiasField, bias_corrected, log_gain
from bids_qsmthal.core.image import Image

SIZE_MM = np.array([3.0, 4.0, 5.0])
SHAPE = (54, 42, 36)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tissues with noise and a gain, the mask of them, and the logarithm of the gain."""
    rng = np.random.default_rng(8)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    tissue = np.where(np.sin(9 * x) * np.cos(7 * y) + np.sin(8 * z) > 0, 100.0, 60.0)
    logarithm = 0.3 * x - 0.2 * y * z + 0.15 * z**2
    mask = x**2 + y**2 + z**2 < 0.9
    data = tissue * np.exp(logarithm) + rng.normal(0, 2, SHAPE)
    return data.astype(np.float32), mask, logarithm - logarithm[mask].mean()


def centred(gain: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return gain[mask] - gain[mask].mean()


def test_a_known_gain_is_found(head) -> None:
    data, mask, true = head
    found = log_gain(data, mask, SIZE_MM, BiasField(spline_mm=120.0))
    assert true[mask].std() > 0.1
    assert (centred(found, mask) - true[mask]).std() < 0.005


@pytest.mark.parametrize("spline_mm", [90.0, 200.0])
@pytest.mark.parametrize("iterations", [(5,), (30, 30)])
def test_it_is_the_gain_that_itk_finds(head, spline_mm, iterations) -> None:
    data, mask, _ = head
    image = Image(data, np.diag([*SIZE_MM, 1.0]))
    theirs = ants.n4_bias_field_correction(
        to_ants(image),
        mask=to_ants(image.like(mask)),
        shrink_factor=1,
        convergence={"iters": list(iterations), "tol": 1e-9},
        spline_param=spline_mm,
        return_bias_field=True,
    ).numpy()
    how = BiasField(spline_mm=spline_mm, iterations=iterations, tolerance=1e-9)
    ours = centred(log_gain(data, mask, SIZE_MM, how), mask)
    theirs = centred(np.log(theirs), mask)
    assert theirs.std() > 0.01
    # ITK keeps single precision, and pads the axes by whole voxels.
    assert (ours - theirs).std() < 0.06 * theirs.std()


def test_what_is_not_positive_or_not_finite_is_not_looked_at(head) -> None:
    data, mask, _ = head
    spoilt = data.copy()
    spoilt[27, 21, 10:14] = (0, -5, np.nan, np.inf)
    without = mask.copy()
    without[27, 21, 10:14] = False
    how = BiasField(iterations=(10,))
    np.testing.assert_array_equal(
        log_gain(spoilt, mask, SIZE_MM, how), log_gain(data, without, SIZE_MM, how)
    )


@pytest.mark.parametrize("level", [0.0, 50.0])
def test_an_image_without_contrast_or_signal_has_no_gain(level) -> None:
    flat = np.full((8, 9, 10), level, np.float32)
    found = log_gain(flat, np.ones(flat.shape, bool), SIZE_MM, BiasField())
    assert not found.any()


def test_intensities_keep_their_scale_and_other_axes_give_the_same(head) -> None:
    data, mask, true = head
    image = Image(data, np.diag([*SIZE_MM, 1.0]))
    how = BiasField(spacing_mm=4.0, spline_mm=120.0)
    even = bias_corrected(image, image.like(mask), how)
    assert even.data.dtype == np.float32
    assert np.log(even.data[mask]).mean() == pytest.approx(np.log(data[mask]).mean(), abs=1e-5)
    left = np.log(even.data[mask]) - np.log(data[mask]) + true[mask]
    assert left.std() < 0.03
    # The y axis first, and backwards: what is where does not matter.
    turned = Image(
        np.ascontiguousarray(data[:, ::-1].swapaxes(0, 1)), np.diag([*SIZE_MM[[1, 0, 2]], 1.0])
    )
    there = turned.like(mask[:, ::-1].swapaxes(0, 1))
    back = bias_corrected(turned, there, how).data.swapaxes(0, 1)[:, ::-1]
    np.testing.assert_allclose(back[mask], even.data[mask], rtol=2e-3)
