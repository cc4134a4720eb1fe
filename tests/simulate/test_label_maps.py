from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply, lattice
from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate import label_maps, labelled
from bids_qsmthal.simulate.poses import rigid
from bids_qsmthal.simulate.templates import stored as stored_atlas

SIZE_MM = 2.0
BONE = 515
TURN = rigid((8.0, -5.0, 12.0), (6.0, -9.0, 14.0))
"""From the atlas to the world of the labels."""


@pytest.fixture(scope="module")
def head():
    """A block in which every slab of 4 voxels is one structure, bone round it."""
    numbers = np.repeat([2, 3, 4, 10, 24, 41, 42, 43, 49, 11], 4)
    block = np.broadcast_to(numbers[:, None, None], (40, 12, 12))
    return Image(np.pad(block, 2, constant_values=BONE).astype(np.int16), lattice(SIZE_MM, 0))


@pytest.fixture(scope="module")
def turned():
    """The deep structures of the atlas, turned in space."""
    atlas = stored_atlas("desc-deepgray_dseg")
    coarse = np.diag([SIZE_MM, SIZE_MM, SIZE_MM, 1.0])
    return Image(atlas.data[::2, ::2, ::2], TURN @ atlas.affine @ coarse)


@pytest.fixture
def stored(tmp_path):
    """Store an image and return where."""

    def store(image):
        nifti.save(image, tmp_path / "labels.nii.gz")
        return tmp_path / "labels.nii.gz"

    return store


def scan(head):
    return head.like(head.data.astype(np.float32) * 1.5)


def four_axes(head):
    return head.like(np.stack([head.data] * 2, axis=-1))


def coarse(head):
    return Image(head.data[::2, ::2, ::2], head.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))


def without_left_thalamus(head):
    return head.like(np.where(head.data == 10, 2, head.data))


def other_numbers(head):
    return head.like(np.where(head.data == 41, 141, head.data))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (scan, "not a label map"),
        (four_axes, "three axes"),
        (coarse, "voxels of 4 mm"),
        (without_left_thalamus, "no voxel of Left-Thalamus"),
        (lambda head: head.like(np.minimum(head.data, 1)), "no voxel of Left-Cerebral-White"),
        (other_numbers, "no voxel of Right-Cerebral-White-Matter"),
    ],
)
def test_what_is_no_label_map_of_a_head_is_answered_in_one_line(head, stored, spoil, says):
    path = stored(spoil(head))
    with pytest.raises(DataError, match=says) as caught:
        label_maps.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_choroid_plexus_is_of_its_side_whoever_numbered_it(head, stored):
    many = head.data.copy()
    for theirs, ventricle in ((136, 4), (163, 43)):
        many[many == ventricle] = np.where(
            np.arange((many == ventricle).sum()) % 2, ventricle, theirs
        )
    read = label_maps.read(stored(head.like(many)))
    assert not np.isin(read.labels.data, (136, 163)).any()
    middle = [np.argwhere(read.labels.data == number)[:, 0].mean() for number in (31, 63)]
    sides = [np.argwhere(read.labels.data == number)[:, 0].mean() for number in (4, 43)]
    assert middle == pytest.approx(sides, abs=1)


def test_numbers_that_nobody_knows_are_named_where_they_are_many(head, stored):
    many = head.like(np.where(head.data == 42, 142, head.data))
    with pytest.raises(DataError, match=r"not known \(142\)"):
        label_maps.read(stored(many))


def test_a_few_unknown_numbers_become_what_lies_beside_them(head, stored):
    spotted = head.data.copy()
    white = np.argwhere(head.data == 2)
    inner = white[white[:, 0] == white[:, 0].min() + 1]
    spotted[tuple(inner[::7].T)] = 141
    read = label_maps.read(stored(head.like(spotted)))
    assert 0 < (spotted == 141).sum() < 0.01 * head.data.size
    assert not (read.labels.data == 141).any()
    whole = label_maps.read(stored(head))
    assert np.array_equal(read.labels.data, whole.labels.data)


def test_labels_come_in_millimetres_at_their_place(head, stored):
    read = label_maps.read(stored(head))
    assert read.labels.grid.voxel_size_mm == pytest.approx((1, 1, 1))
    for number in (2, 10, 42, BONE):
        ours, theirs = (
            apply(image.affine, np.argwhere(image.data == number).mean(axis=0))
            for image in (read.labels, head)
        )
        assert ours == pytest.approx(theirs, abs=SIZE_MM / 2)
    # Half a voxel at each end lies beyond the last centre of the coarse grid.
    assert read.brain.sum() == pytest.approx(8 * (head.data < 500).sum(), rel=0.1)
    assert np.array_equal(read.outside, read.labels.data == BONE)


def test_a_turned_head_lies_in_the_atlas_as_before_it_was_turned(turned, tmp_path):
    placement = labelled.placed(turned, tmp_path)
    assert placement.stretch == pytest.approx(1, abs=0.01)
    assert placement.to_head @ TURN == pytest.approx(np.eye(4), abs=0.5)


def test_left_and_right_exchanged_are_noticed(turned, tmp_path):
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    with pytest.raises(DataError, match="do not lie where they do in a head"):
        labelled.placed(replace(turned, affine=mirror @ turned.affine), tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="labels"):
        label_maps.read(tmp_path / "labels.nii.gz")


def test_parcels_lesions_and_midbrain_have_a_tissue():
    numbers = np.array([0, 1035, 2012, 4001, 5002, 77, 99, 25, 57, 28, 16, 258, 10, 24, 45])
    assert label_maps.tissue_of(numbers).tolist() == [0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 0, 1, 3, 0]


def test_choroid_plexus_is_tissue_and_no_ventricle():
    labels = np.full((40, 24, 24), 2, np.int32)
    labels[4:18, 6:18, 6:18], labels[22:36, 6:18, 6:18] = 4, 43
    labels[8:14, 9:15, 9:15] = 31
    labels[16:24, 18:22, 6:18] = 10
    affine = lattice(1.0, (-20, -12, -12))
    structures = labelled._deep_structures(labels, affine, labels.size)
    plexus = structures["plexus"].probability > 0.5
    assert plexus.sum() == pytest.approx(6**3, rel=0.1)
    parts = labelled._templates(
        label_maps.LabelMap(Image(labels, affine), labels > 0, labels < 0),
        Crop((0, 0, 0), labels.shape, labels.shape),
        np.eye(4),
    )
    ventricle = parts.ventricles["ventricle_L"].probability > 0.5
    assert ventricle.sum() == pytest.approx((labels == 4).sum(), rel=0.05)
