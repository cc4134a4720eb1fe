import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy import deformation
from bids_qsmthal.anatomy.deformation import Deformation, deform, inverted
from bids_qsmthal.anatomy.warping import Warp, vectors_at, world_points
from bids_qsmthal.core.image import Image

SHAPE = (48, 52, 44)


def _affine():
    angle = 0.2
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:2, :2] = 1.5 * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    affine[:3, 3] = (-20, 4, 9)
    return affine


def _textured(rng):
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.0)
    window = np.ones(SHAPE)
    for axis, size in enumerate(SHAPE):
        line = np.hanning(size).reshape([-1 if a == axis else 1 for a in range(3)])
        window = window * line
    return (0.5 + noise / noise.std() * 0.15).astype(np.float32) * (window > 0.05)


def test_a_known_warp_is_found_on_an_oblique_grid(rng):
    moving = Image(_textured(rng).astype(np.float32), _affine())
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 8.0) for _ in range(3)]
    true = np.stack([part / np.abs(part).max() * 2.0 for part in smooth])
    index = np.indices(SHAPE) + true
    fixed = moving.like(ndimage.map_coordinates(moving.data, index, order=1).astype(np.float32))

    found = deform(fixed, moving, Deformation(levels=((4, 40), (2, 40), (1, 40))))

    expected_mm = np.einsum("ij,jxyz->xyzi", _affine()[:3, :3], true)
    inside = ndimage.binary_erosion(fixed.data > 0, iterations=4)
    error_mm = np.linalg.norm(found.data - expected_mm, axis=-1)[inside]
    before_mm = np.linalg.norm(expected_mm, axis=-1)[inside]
    assert np.median(error_mm) < 0.3 * np.median(before_mm)


def test_displacements_are_those_of_the_world_whichever_way_an_axis_runs(rng):
    """What is stored from left to right moves as what is stored from right to left."""
    moving = _textured(rng)
    fixed = np.roll(moving, (2, 0, -1), (0, 1, 2))
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = SHAPE[0] - 1
    settings = Deformation(levels=((2, 20),))

    plain = deform(Image(fixed, _affine()), Image(moving, _affine()), settings).data
    images = [Image(data[::-1].copy(), _affine() @ turned) for data in (fixed, moving)]
    found = deform(images[0], images[1], settings).data[::-1]

    inside = ndimage.binary_erosion(fixed > 0, iterations=4)
    assert np.linalg.norm(plain[inside], axis=-1).mean() > 1.0
    np.testing.assert_allclose(found[inside], plain[inside], atol=0.1)


def test_the_inverse_leads_back(rng):
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 6.0) for _ in range(3)]
    data = np.stack([part / np.abs(part).max() * 3.0 for part in smooth], axis=-1)
    forward = Image(data.astype(np.float32), _affine())

    back = inverted(forward)

    points = world_points(forward.like(np.zeros(SHAPE, np.float32)))
    there = points + vectors_at(back, points)
    again = there + vectors_at(forward, there)
    middle = (slice(None), slice(8, -8), slice(8, -8), slice(8, -8))
    assert np.abs(again - points)[middle].max() < 0.05


@pytest.fixture(scope="module")
def framed():
    """A textured ball in a wide empty frame, and the same warped."""
    generator = np.random.default_rng(5)
    index = np.indices((64, 72, 56))
    middle = np.array([30.0, 38, 26]).reshape(3, 1, 1, 1)
    ball = ((index - middle) ** 2).sum(0) < 15**2
    texture = 0.5 + 2 * ndimage.gaussian_filter(generator.normal(size=ball.shape), 2.0)
    moving = np.where(ball, texture, 0).astype(np.float32)
    bump = 2.5 * np.exp(-((index - middle) ** 2).sum(0) / 12**2)
    fixed = ndimage.map_coordinates(
        moving, index + bump * np.array([1, -1, 0.5]).reshape(3, 1, 1, 1)
    )
    fixed[fixed < 0.05] = 0
    return tuple(Image(data.astype(np.float32), _affine()) for data in (fixed, moving))


QUICK = Deformation(levels=((2, 12), (1, 6)))


def test_the_empty_frame_that_is_left_out_would_not_have_changed_the_head(framed, monkeypatch):
    found = deform(*framed, QUICK).data
    spans = deformation._reached(framed[0].data, framed[1].data, QUICK)
    assert np.diff(spans, axis=-1).sum() < 0.6 * framed[0].data.size

    def everywhere(target, *_):
        whole = np.zeros((*target.shape[:2], 2), np.int32)
        whole[..., 1] = target.shape[2]
        return whole

    monkeypatch.setattr(deformation, "_reached", everywhere)
    whole = deform(*framed, QUICK).data

    inside = framed[0].data > 0
    assert np.linalg.norm(whole[inside], axis=-1).mean() > 0.5
    np.testing.assert_allclose(found[inside], whole[inside], atol=2e-3)


def test_the_number_of_threads_changes_no_bit(framed, monkeypatch):
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(deformation.numba, "get_num_threads", lambda n=threads: n)
        found.append(deform(*framed, QUICK))

    np.testing.assert_array_equal(found[0].data, found[1].data)
    monkeypatch.setattr(deformation.numba, "get_num_threads", lambda: 1)
    np.testing.assert_array_equal(inverted(found[0]).data, inverted(found[1]).data)


def test_an_inverse_on_a_coarser_grid_leads_back_as_well(rng):
    affine = _affine()
    affine[:3, :3] *= 0.6 / 1.5
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 8.0) for _ in range(3)]
    data = np.stack([part / np.abs(part).max() * 1.6 for part in smooth], axis=-1)
    forward = Image(data.astype(np.float32), affine)

    back = inverted(forward, spacing_mm=1.2)

    assert back.shape == (24, 26, 22)
    points = world_points(forward.like(np.zeros(SHAPE, np.float32)))
    there = points + vectors_at(back, points)
    again = there + vectors_at(forward, there)
    middle = (slice(None), slice(6, -6), slice(6, -6), slice(6, -6))
    assert np.abs(data[middle[1:]]).max() > 1.0
    assert np.abs(again - points)[middle].max() < 0.02


def test_equal_images_stay_where_they_are(rng):
    image = Image(_textured(rng).astype(np.float32), _affine())

    found = deform(image, image, Deformation(levels=((2, 10), (1, 5))))

    moved_mm = np.linalg.norm(found.data, axis=-1)
    # Steps have a fixed length, so a match is kept to within one of them.
    assert moved_mm.max() < 0.5 * 1.5
    assert np.median(moved_mm) < 0.05


def test_the_matrix_comes_after_the_displacement():
    affine = _affine()
    grid = Image(np.zeros((4, 5, 6), np.float32), affine)
    shift = Image(np.tile(np.float32([1.0, 2.0, 3.0]), (4, 5, 6, 1)), affine)
    matrix = np.diag([2.0, 1.0, 1.0, 1.0])

    points = Warp(matrix, (shift,)).template_points(grid)

    expected = matrix @ (affine @ [1, 2, 3, 1] + [1, 2, 3, 0])
    assert points[:, 1, 2, 3] == pytest.approx(expected[:3], abs=1e-4)
