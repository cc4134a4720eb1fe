"""The whole segmentation of a lopsided head, however its file is stored."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.anatomy import Prepared, segment
from bids_qsmthal.core.image import Image
from tests import brain_phantom as phantom

UPRIGHT = np.array([[2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]])
TURNED = np.array([[0, -2.0, 0], [2.5, 0, 0], [0, 0, -3.0]])
"""Anisotropic; axes A, L, I."""


def grid_along(axes_mm: np.ndarray) -> Image:
    """Return a grid along given axes that covers the phantom."""
    extent_mm = 2 * np.array(phantom.RADII_MM) + 30
    shape = tuple(int(n) for n in np.ceil(np.abs(np.linalg.inv(axes_mm)) @ extent_mm))
    affine = np.eye(4)
    affine[:3, :3] = axes_mm
    affine[:3, 3] = -axes_mm @ (np.array(shape) - 1) / 2
    return Image(np.zeros(shape, np.uint8), affine)


def lopsided_labels(image: Image) -> Image:
    """The right thalamus is half as big as the left one."""
    points, found = phantom.world(image), np.zeros(image.shape, np.uint8)
    for index, centre in phantom.VENTRICLES.items():
        found[phantom.ellipsoid(points, centre, (6.0, 22.0, 8.0))] = index
    for index, radii in ((10, (10.0, 14.0, 10.0)), (49, (8.0, 11.0, 8.0))):
        found[phantom.ellipsoid(points, phantom.THALAMI[index], radii)] = index
    return image.like(found)


def lopsided_tissue(image: Image) -> Image:
    """The left cortex is twice as thick as the right one, and sulcal fluid lies round both."""
    points = phantom.world(image)
    shell, inside = phantom.depth(points), lopsided_labels(image).data
    bottom = np.where(points[0] < 0, 0.84, 0.89)
    found = np.select([shell > 1, shell > 0.94, shell > bottom], [0, 3, 1], 2)
    found[np.isin(inside, list(phantom.VENTRICLES))] = 3
    found[np.isin(inside, list(phantom.THALAMI))] = 1
    return image.like(found.astype(np.uint8))


@pytest.fixture(autouse=True)
def lopsided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "labels", lopsided_labels)
    monkeypatch.setattr(phantom, "tissue", lopsided_tissue)


def prepared_along(axes_mm: np.ndarray):
    image = phantom.t1w(grid_along(axes_mm))
    return phantom.prepare(image, settings=None, brain=None, seed=1)


def middle_mm(image: Image, mask: np.ndarray) -> np.ndarray:
    return phantom.world(image)[:, mask].mean(axis=1)


@pytest.mark.parametrize("axes_mm", [UPRIGHT, TURNED])
def test_everything_is_on_its_own_side_in_every_orientation(axes_mm: np.ndarray) -> None:
    found = segment(prepared_along(axes_mm))

    left, right = found.thalamus_probability
    sides = [
        *((found.deepgray, found.deepgray.data == index) for index in (10, 49)),
        *((image, image.data > 0.5) for image in (left, right)),
        *((found.nuclei, found.nuclei.data == index) for index in (1, 21)),
        *((found.atria, found.atria.data == index) for index in (1, 2)),
        *((found.ventricles, found.ventricles.data == index) for index in (4, 43)),
    ]
    for number, (image, mask) in enumerate(sides):
        assert np.sign(middle_mm(image, mask)[0]) == (-1 if number % 2 == 0 else 1)
    for index, at in phantom.THALAMI.items():
        np.testing.assert_allclose(
            middle_mm(found.deepgray, found.deepgray.data == index), at, 0, 1
        )
    thickness = found.thickness_mean_mm
    assert thickness["L"] > 1.2 * thickness["R"]
    points = phantom.world(found.thickness_mm)
    cortex = found.thickness_mm.data > 0
    assert (
        found.thickness_mm.data[cortex & (points[0] < 0)].mean()
        > 1.2 * found.thickness_mm.data[cortex & (points[0] > 0)].mean()
    )


@pytest.mark.parametrize("axes_mm", [UPRIGHT, TURNED])
def test_volumes_are_those_of_each_side_in_millimetres(axes_mm: np.ndarray) -> None:
    found = segment(prepared_along(axes_mm)).volumes_mm3

    ball = 4 / 3 * np.pi
    assert found["thalamus_L"] == pytest.approx(ball * 10 * 14 * 10, rel=0.08)
    assert found["thalamus_R"] == pytest.approx(ball * 8 * 11 * 8, rel=0.08)
    assert found["intracranial"] == pytest.approx(ball * np.prod(phantom.RADII_MM), rel=0.01)
    fine = grid_along(np.eye(3) * 1.5)
    kinds = lopsided_tissue(fine)
    for name, kind in (("gray_matter", 1), ("white_matter", 2), ("csf", 3)):
        true = (kinds.data == kind).sum() * kinds.voxel_volume_mm3
        assert found[name] == pytest.approx(true, rel=0.07)


def with_cerebellum(prepared: Prepared) -> Prepared:
    """What lies low is cerebellum."""
    low = phantom.world(prepared.t1w)[2] < -25
    regions = prepared.regions.data + 2 * (low & (prepared.regions.data > 0))
    return replace(prepared, regions=prepared.regions.like(regions.astype(np.uint8)))


def test_the_cerebellum_has_gray_matter_and_no_part_in_the_cortex() -> None:
    prepared = prepared_along(UPRIGHT)
    whole, found = segment(prepared), segment(with_cerebellum(prepared))

    low = phantom.world(prepared.t1w)[2] < -25
    unit = prepared.t1w.voxel_volume_mm3
    below = found.gm.data[low].sum() * unit
    assert not found.thickness_mm.data[low].any()
    for side in "LR":
        expected = whole.thickness_mean_mm[side]
        assert found.thickness_mean_mm[side] == pytest.approx(expected, rel=0.1)
    volumes, before = found.volumes_mm3, whole.volumes_mm3
    assert below > 0.1 * before["cortical_gray_matter"]
    assert volumes["gray_matter"] == pytest.approx(before["gray_matter"], rel=0.01)
    gone = before["cortical_gray_matter"] - volumes["cortical_gray_matter"]
    assert gone == pytest.approx(below, rel=0.05)
    nuclei = np.isin(whole.deepgray.data, list(phantom.THALAMI))
    deep = whole.gm.data[nuclei].sum() * unit
    cortex = before["gray_matter"] - before["cortical_gray_matter"]
    assert cortex == pytest.approx(deep, rel=0.02)


def test_lesions_count_as_white_matter_and_the_image_shows_them_still() -> None:
    prepared = prepared_along(UPRIGHT)
    there = phantom.ellipsoid(phantom.world(prepared.t1w), phantom.LESION_MM, (10.0, 10.0, 10.0))
    dark = np.where(there, phantom.GM, prepared.t1w.data).astype(np.float32)
    prepared = replace(prepared, t1w=prepared.t1w.like(dark))

    filled, bare = segment(prepared, prepared.t1w.like(there)), segment(prepared)

    assert bare.volumes_mm3["gray_matter"] - filled.volumes_mm3["gray_matter"] > 0.7 * (
        there.sum() * prepared.t1w.voxel_volume_mm3
    )
    assert filled.wm.data[there].mean() > 0.95
    volume_mm3 = there.sum() * prepared.t1w.voxel_volume_mm3
    assert filled.quality["filled_lesion_mm3"] == pytest.approx(volume_mm3)
    np.testing.assert_array_equal(filled.t1w.data, prepared.t1w.data)
