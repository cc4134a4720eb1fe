import numpy as np

from bids_qsmthal.view import tools
from bids_qsmthal.view.tools import Piece

SHAPE = (12, 12, 9)


def disk(radius: float, at: tuple[float, float] = (5.5, 5.5)) -> np.ndarray:
    x, y = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (x - at[0]) ** 2 + (y - at[1]) ** 2 < radius**2


def test_smoothing_takes_single_voxels_away_fills_holes_and_keeps_sides() -> None:
    drawing = np.zeros(SHAPE, np.uint8)
    drawing[2:6, 2:10, 4], drawing[6:10, 2:10, 4] = 1, 2
    whole = drawing.copy()
    drawing[4, 5, 4] = 0
    drawing[0, 11, 4] = 1
    made = tools.smooth(drawing)
    # Corners of a square have four of nine.
    whole[[2, 2, 9, 9], [2, 9, 2, 9], 4] = 0
    np.testing.assert_array_equal(made, whole)
    assert not tools.smooth(np.zeros(SHAPE, np.uint8)).any()


def test_empty_slices_between_two_disks_get_disks_of_the_radius_between() -> None:
    drawing = np.zeros(SHAPE, np.uint8)
    drawing[..., 1], drawing[..., 5] = 2 * disk(1.5), 2 * disk(5.5)
    made = tools.between_slices(drawing)
    for at, radius in ((2, 2.5), (3, 3.5), (4, 4.5)):
        expected = 2 * disk(radius)
        # Outlines between voxels: of some on the edge the distance cannot say.
        assert np.count_nonzero(made[..., at] != expected) <= 8
        assert made[5, 5, at] == 2
    assert not made[..., 6:].any()
    np.testing.assert_array_equal(made[..., [1, 5]], drawing[..., [1, 5]])


def test_a_nudge_removes_what_touches_in_the_slice_and_nothing_in_the_next() -> None:
    drawing = np.ones(SHAPE, np.uint8)
    vein = np.zeros(SHAPE, bool)
    vein[5, 5, 4] = True
    gone = np.argwhere(tools.nudge(drawing, vein) == 0)
    assert {tuple(voxel) for voxel in gone} == {(x, y, 4) for x in (4, 5, 6) for y in (4, 5, 6)}


def test_a_threshold_keeps_what_is_between_its_limits() -> None:
    values = np.broadcast_to(np.arange(12.0)[:, None, None], SHAPE)
    made = tools.within(np.full(SHAPE, 2, np.uint8), values, 3, 5)
    assert sorted(set(np.nonzero(made)[0])) == [3, 4, 5]
    assert made.max() == 2


def test_sides_follow_the_world_and_not_the_order_of_the_voxels() -> None:
    drawing = np.ones(SHAPE, np.uint8)
    to_the_left, to_the_right = np.diag([-2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
    to_the_left[0, 3], to_the_right[0, 3] = 11, -11
    assert set(np.unique(tools.sides(drawing, to_the_left)[:6])) == {2}
    assert set(np.unique(tools.sides(drawing, to_the_right)[:6])) == {1}


def test_one_piece_is_rejected_with_all_that_touches_it() -> None:
    drawing = np.zeros(SHAPE, np.uint8)
    drawing[1:3, 1:3, 1] = 1
    drawing[3, 3, 2] = 1  # touches with a corner
    drawing[8:11, 8:11, 5] = 1
    assert tools.pieces(drawing) == [Piece(2, (9, 9, 5), 9), Piece(1, (2, 2, 1), 5)]
    made = tools.without_piece(drawing, (2, 1, 1))
    assert tools.pieces(made) == [Piece(1, (9, 9, 5), 9)]
    for elsewhere in ((0, 0, 0), (11, 0, 8), (5, 5, 3)):
        np.testing.assert_array_equal(tools.without_piece(drawing, elsewhere), drawing)


def test_the_voxel_that_stands_for_a_piece_is_one_of_it() -> None:
    ring = np.zeros(SHAPE, np.uint8)
    ring[..., 4] = disk(5) & ~disk(3)
    (piece,) = tools.pieces(ring)
    assert ring[piece.voxel] == 1
    assert piece.n_voxels == ring.sum()


def test_numbered_lesions_are_pieces_also_where_they_touch_or_a_number_is_missing() -> None:
    lesions = np.zeros(SHAPE, np.int32)
    lesions[1:3, 1, 1], lesions[3:6, 1, 1], lesions[9, 9, 5] = 2, 4, 7
    found = tools.pieces(np.zeros(SHAPE, np.uint8), lesions)
    assert [(piece.number, piece.n_voxels) for piece in found] == [(4, 3), (2, 2), (7, 1)]


def test_a_lesion_is_taken_and_left_as_a_whole_and_its_neighbour_stays() -> None:
    lesions = np.zeros(SHAPE, np.int32)
    lesions[1:3, 1, 1], lesions[3:6, 1, 1] = 2, 4
    both = (lesions > 0).astype(np.uint8)
    without = tools.with_lesion(both, lesions, 2, 0)
    np.testing.assert_array_equal(without, lesions == 4)
    np.testing.assert_array_equal(tools.with_lesion(without, lesions, 2, 1), both)


def test_an_outline_is_one_voxel_wide_and_closed_at_the_edge_of_the_image() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0:5, 3:8, 4] = True
    expected = mask.copy()
    expected[1:4, 4:7, 4] = False
    np.testing.assert_array_equal(tools.outline(mask), expected)
