"""The way to the template and back, as files that other programs read."""

import ants
import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy import Warp, fields
from bids_qsmthal.anatomy.deformation import inverted
from bids_qsmthal.anatomy.warping import sample_images, world_points
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image


def blob(image: Image, centre: tuple[float, ...], width: float) -> Image:
    index = np.indices(image.shape).reshape(3, -1)
    points = (image.affine[:3, :3] @ index + image.affine[:3, 3:]).reshape(3, *image.shape)
    away = sum((points[axis] - centre[axis]) ** 2 for axis in range(3))
    return image.like(np.exp(-away / width**2).astype(np.float32))


@pytest.fixture
def warp() -> Warp:
    """A turn, a scale, a shift, and a bump of 5 mm on an oblique grid."""
    turn = np.deg2rad(8)
    matrix = np.eye(4)
    matrix[:2, :2] = 1.1 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix[:3, 3] = (4.0, -6.0, 3.0)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -50
    grid = Image(np.zeros((51, 51, 51), np.float32), affine)
    bump = blob(grid, (5.0, 0.0, 5.0), 22.0).data
    field = Image(np.stack([5 * bump, -3 * bump, 2 * bump], axis=-1), affine)
    return Warp(matrix, (field,), inverted(field))


@pytest.fixture
def t1w() -> Image:
    """Left-handed, oblique, not cubic."""
    affine = np.array([[-1.6, 0.1, 0, 44], [0.1, 1.5, 0.2, -46], [0, -0.2, 2.0, -44], [0, 0, 0, 1]])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * (1.6, 1.5, 2.0)
    affine[:3, 3] = -affine[:3, :3] @ (28, 30, 22)
    return blob(Image(np.zeros((57, 61, 45), np.float32), affine), (12.0, -8.0, 6.0), 14.0)


@pytest.fixture
def template() -> Image:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -60
    return Image(np.zeros((61, 61, 61), np.float32), affine)


def moved_by_ants(image: Image, onto: Image, field: Image, folder) -> np.ndarray:
    paths = [folder / name for name in ("moving.nii.gz", "fixed.nii.gz", "field.nii.gz")]
    nifti.save(image, paths[0])
    nifti.save(onto, paths[1])
    nifti.save_field(field, paths[2])
    moving, fixed = (ants.image_read(str(path)) for path in paths[:2])
    return ants.apply_transforms(fixed, moving, [str(paths[2])], interpolator="linear").numpy()


def test_ants_moves_an_image_by_the_files_as_we_do(tmp_path, warp, t1w, template):
    to_template, to_t1w = fields(warp, t1w, template)

    there = moved_by_ants(t1w, template, to_template, tmp_path)
    ours = sample_images([t1w], warp.t1w_points(template))[0]
    assert ours.max() > 0.9
    assert np.abs(there - ours).max() < 0.03

    source = blob(template, (14.0, -12.0, 8.0), 14.0)
    back = moved_by_ants(source, t1w, to_t1w, tmp_path)
    ours = sample_images([source], warp.template_points(t1w))[0]
    assert ours.max() > 0.9
    assert np.abs(back - ours).max() < 0.03


def test_there_and_back_is_where_one_began(warp, template):
    points = warp.t1w_points(template)
    inside = (np.abs(points) < 40).all(axis=0)
    index = np.argwhere(inside)[::977]
    for i, j, k in index:
        one = Image(np.zeros((1, 1, 1)), np.array(np.eye(4)))
        one.affine[:3, 3] = points[:, i, j, k]
        back = warp.template_points(one)[:, 0, 0, 0]
        place = template.affine[:3, :3] @ (i, j, k) + template.affine[:3, 3]
        np.testing.assert_allclose(back, place, atol=0.1)


def test_fields_reach_beyond_the_images_they_serve(warp, t1w, template):
    for image, field in zip((template, t1w), fields(warp, t1w, template), strict=True):
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in image.shape])).reshape(3, -1)
        world = image.affine[:3, :3] @ corners + image.affine[:3, 3:]
        inverse = np.linalg.inv(field.affine)
        voxels = inverse[:3, :3] @ world + inverse[:3, 3:]
        assert (voxels > 0).all()
        assert (voxels < np.array(field.shape)[:, None] - 1).all()


def test_a_way_back_that_was_not_computed_is_an_error(template):
    with pytest.raises(ValueError, match="way back"):
        Warp(np.eye(4), ()).t1w_points(template)


def test_sampling_is_that_of_scipy_also_at_the_border_and_outside(t1w):
    generator = np.random.default_rng(3)
    volume = t1w.like(generator.normal(size=t1w.shape).astype(np.float32))
    labels = t1w.like(generator.integers(0, 99, t1w.shape).astype(np.uint8))
    # Read-only, as the atlas is.
    volume.data.setflags(write=False)
    # Part of the points lie outside.
    index = generator.uniform(-8, 65, (3, 40, 30, 20)).astype(np.float32)
    points = np.einsum("ij,jxyz->ixyz", t1w.affine[:3, :3], index) + t1w.affine[:3, 3].reshape(
        3, 1, 1, 1
    )
    points = points.astype(np.float32)
    inverse = np.linalg.inv(t1w.affine)
    there = np.einsum("ij,jxyz->ixyz", inverse[:3, :3], points.astype(float))
    there += inverse[:3, 3].reshape(3, 1, 1, 1)

    smooth = sample_images([volume, volume], points)
    hard = sample_images([labels], points, order=0)[0]

    expected = ndimage.map_coordinates(volume.data, there, np.float32, order=1, cval=0)
    assert 0.2 < (expected != 0).mean() < 0.9
    for found in smooth:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    nearest = ndimage.map_coordinates(labels.data, there, np.uint8, order=0, cval=0)
    np.testing.assert_array_equal(hard, nearest)
    assert hard.dtype == np.uint8


def test_every_voxel_of_an_image_is_sampled_as_it_is_the_last_ones_too(template):
    image = template.like(np.random.default_rng(1).normal(size=template.shape).astype(np.float32))

    found = sample_images([image], world_points(image))[0]

    np.testing.assert_allclose(found, image.data, atol=1e-5)
