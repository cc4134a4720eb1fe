"""Small nuclei are measured where whole voxels of them are left, and said to be missing else."""

import numpy as np

from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import NucleiUnresolved
from bids_qsmthal.report import sentences
from bids_qsmthal.roi import Segmentation, transfer
from bids_qsmthal.roi.measured_regions import MINIMUM_VOXELS, _core, _small, unresolved
from bids_qsmthal.roi.regions import Regions

NAMES = {6: "Left-Red-Nucleus", 8: "Left-Subthalamic-Nucleus", 26: "Right-Red-Nucleus"}


SMALL = np.zeros((48, 48, 48), np.uint8)
SMALL[6:15, 6:15, 6:15], SMALL[33:42, 6:15, 6:15], SMALL[6:9, 30:39, 30:33] = 6, 26, 8


def scan(voxel_mm: float, deepgray: dict[int, tuple[slice, slice, slice]]) -> Regions:
    """Carry two red nuclei of 9 mm and a subthalamic one of 3 mm to voxels of some size."""
    small = SMALL
    large = np.zeros(small.shape, np.uint8)
    for index, place in deepgray.items():
        large[place] = index
    fine = np.eye(4)
    edges = round(48 / voxel_mm)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = (voxel_mm - 1) / 2
    chi = Image(np.zeros((edges,) * 3, np.float32), affine)
    nowhere = np.zeros(chi.shape, bool)
    return Regions(
        usable=~nowhere,
        side=np.ones(chi.shape, np.uint8),
        share={},
        depth_mm={},
        lesions=nowhere,
        csf_share=np.zeros(chi.shape, np.float32),
        iron_rich=nowhere,
        labels=transfer.labels(Image(large, fine), chi, world=fine),
        small_nuclei=transfer.labels(Image(small, fine), chi, world=fine),
        small_source=Image(small, fine),
    )


def known(names: dict[int, str] | None = None) -> Segmentation:
    empty = Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    return Segmentation(
        deepgray=empty,
        gre_to_t1w=np.eye(4),
        names=names or {},
        small_nuclei_names=NAMES,
    )


def test_fine_voxels_resolve_all_and_each_core_lies_inside():
    regions = scan(1.0, {})

    found = {
        (one.name, one.hemisphere): int(one.mask.sum()) for one in _small(regions, known(), "m")
    }

    # Of a cube of 9 voxels 7 a side lie half a voxel inside; of the rod 3 x 3 x 9 too few do (7):
    # those count that lie less deep.
    rod = found.pop(("subthalamic_nucleus", "L"))
    assert MINIMUM_VOXELS <= rod <= 81
    assert found == {
        ("red_nucleus", "L"): 343,
        ("red_nucleus", "R"): 343,
        ("red_nucleus", "LR"): 686,
    }
    assert unresolved(regions, known()) == ()


def test_voxels_of_three_millimetres_leave_out_what_they_do_not_resolve_and_say_so():
    regions = scan(3.0, {})

    found = {
        (one.name, one.hemisphere): int(one.mask.sum()) for one in _small(regions, known(), "m")
    }

    # 27 voxels of a cube of 9 mm without its eight corners; three of a rod of 3 x 3 x 9 mm.
    assert found == {("red_nucleus", "L"): 19, ("red_nucleus", "R"): 19, ("red_nucleus", "LR"): 38}
    left_out = unresolved(regions, known())
    assert left_out == (("subthalamic_nucleus", "L"),)
    said = sentences.sentence(NucleiUnresolved(left_out, MINIMUM_VOXELS))
    assert "left subthalamic nucleus" in said


def test_labels_of_another_program_go_before_the_atlas():
    place = (slice(6, 15), slice(6, 15), slice(6, 15))
    regions = scan(1.0, {201: place})

    found = {one.name for one in _small(regions, known({201: "Left-Red-Nucleus"}), "m")}

    assert found == {"subthalamic_nucleus"}


def depths_of_cube(edge_mm: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels measured in a cube, and how deep each voxel of 1.2 mm lies in it."""
    fine = np.eye(4)
    cube = np.zeros((30, 30, 30), np.uint8)
    cube[8 : 8 + edge_mm, 8 : 8 + edge_mm, 8 : 8 + edge_mm] = 6
    chi = Image(np.zeros((25, 25, 25), np.float32), np.diag([1.2, 1.2, 1.2, 1.0]))
    label = Image(cube, fine)
    carried = transfer.labels(label, chi, world=fine)
    core = _core(np.ones(chi.shape, bool), 6, carried, label, fine)
    return core, transfer.least_depth_mm(label.like(cube == 6), chi, world=fine)


def test_a_large_nucleus_is_measured_three_quarters_of_a_millimetre_inside():
    core, depth_mm = depths_of_cube(8)

    assert ((depth_mm >= 0.5) & (depth_mm < 0.75)).any()
    np.testing.assert_array_equal(core, depth_mm >= 0.75)


def test_a_nucleus_with_fewer_than_thirty_voxels_there_is_measured_half_a_millimetre_inside():
    core, depth_mm = depths_of_cube(6)

    assert (depth_mm >= 0.5).sum() >= MINIMUM_VOXELS
    assert MINIMUM_VOXELS <= (depth_mm >= 0.75).sum() < min(30, (depth_mm >= 0.5).sum())
    np.testing.assert_array_equal(core, depth_mm >= 0.5)
