"""Nuclei of the midbrain go to where susceptibility shows them, and stay where it does not."""

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.roi import transfer
from bids_qsmthal.roi.midbrain import groups_of, settled

NAMES = {
    4: "Left-Pallidum-External",
    6: "Left-Red-Nucleus",
    7: "Left-Substancia-Nigra",
    8: "Left-Subthalamic-Nucleus",
    26: "Right-Red-Nucleus",
}
TRUE_PPM = {6: 0.08, 7: 0.09, 8: 0.06, 26: 0.08}
MOVED = (2, -1, 2)


def labels(shift: tuple[int, int, int] = (0, 0, 0)) -> Image:
    """Draw nuclei on both sides, and a pallidum that does not move."""
    data = np.zeros((60, 50, 44), np.uint8)
    boxes = {6: (20, 18, 16, 7, 7, 8), 7: (14, 16, 10, 5, 11, 4), 8: (13, 22, 20, 7, 4, 4)}
    for index, (x, y, z, *size) in {**boxes, 26: (36, 18, 16, 7, 7, 8)}.items():
        start = np.array((x, y, z)) + shift
        data[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = index
    data[4:10, 30:40, 20:28] = 4
    return Image(data, np.eye(4))


def chi(true: Image, *, sign: float = 1.0) -> Image:
    """Return the map of a scan in voxels of 1.5 x 1.5 x 2 mm, with noise."""
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    grid = Image(np.zeros((40, 33, 22), np.float32), affine)
    carried = transfer.labels(true, grid, world=np.eye(4))
    values = np.random.default_rng(3).normal(-0.02, 0.015, grid.shape)
    for index, ppm in TRUE_PPM.items():
        values += sign * (ppm + 0.02) * carried.fraction(index)
    return grid.like(values.astype(np.float32))


def found(atlas: Image, scan: Image) -> np.ndarray:
    everywhere = np.ones(scan.shape, bool)
    return np.asarray(settled(atlas, groups_of(NAMES), scan, everywhere, np.eye(4)).data)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_misplaced_nuclei_go_to_their_places() -> None:
    true, atlas = labels(MOVED), labels()
    moved = found(atlas, chi(true))
    for index in TRUE_PPM:
        before = dice(atlas.data == index, true.data == index)
        after = dice(moved == index, true.data == index)
        assert after > before + 0.1, index
        # Each keeps its shape.
        assert (moved == index).sum() == (atlas.data == index).sum()
    assert dice(moved == 6, true.data == 6) > 0.85
    np.testing.assert_array_equal(moved == 4, atlas.data == 4)


def test_nuclei_in_their_places_stay() -> None:
    moved = found(labels(), chi(labels()))
    for index in (6, 7, 26):
        assert dice(moved == index, labels().data == index) > 0.85


def test_the_way_between_the_images_is_taken() -> None:
    true, atlas = labels(MOVED), labels()
    world = np.eye(4)
    world[:3, 3] = (5.0, -4.0, 3.0)
    elsewhere = Image(atlas.data, world)
    everywhere = np.ones(chi(true).shape, bool)
    moved = settled(elsewhere, groups_of(NAMES), chi(true), everywhere, world)
    np.testing.assert_array_equal(moved.data, found(atlas, chi(true)))


def test_nuclei_that_are_not_bright_stay_where_registration_put_them() -> None:
    atlas = labels()
    np.testing.assert_array_equal(found(atlas, chi(labels(MOVED), sign=-1.0)), atlas.data)


@pytest.mark.parametrize("tissue", [0, 5])
def test_without_a_map_or_nuclei_nothing_moves(tissue: int) -> None:
    atlas, scan = labels(), chi(labels(MOVED))
    some = np.zeros(scan.shape, bool)
    some[:tissue, 0, 0] = True
    same = settled(atlas, groups_of(NAMES), scan, some, np.eye(4))
    np.testing.assert_array_equal(same.data, atlas.data)
    none = atlas.like(np.where(atlas.data == 4, 4, 0).astype(np.uint8))
    same = settled(none, groups_of(NAMES), scan, ~some, np.eye(4))
    np.testing.assert_array_equal(same.data, none.data)
