"""Which lesions of a visit are proposed as new."""

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import LesionChange, VisitLesions, lesion_changes, new_lesions

SHAPE = (30, 32, 28)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
BRAIN = Image(np.ones(SHAPE, np.uint8), AFFINE)


def lesion(*low: int, size: int = 3) -> np.ndarray:
    made = np.zeros(SHAPE, np.int32)
    made[tuple(slice(at, at + size) for at in low)] = 1
    return made


OLD, NEW, NEAR = lesion(5, 5, 5), lesion(15, 15, 15), lesion(8, 5, 5)
NUMBERED = Image(OLD + 4 * NEW, AFFINE)
"""Two lesions; there is no 2 and 3."""


def found(lesions: Image, earlier: np.ndarray, brain: Image = BRAIN, way=None) -> set[int]:
    before = Image(earlier.astype(np.uint8), AFFINE)
    made = new_lesions(lesions, before, brain, np.eye(4) if way is None else way)
    assert made.data.dtype == np.uint8
    assert set(np.unique(made.data)) <= {0, LesionChange.NEW}
    numbers = set(np.unique(lesions.data[made.data > 0]).tolist())
    # Each as a whole.
    np.testing.assert_array_equal(made.data > 0, np.isin(lesions.data, sorted(numbers)))
    return numbers


def test_what_touches_an_earlier_lesion_is_not_new() -> None:
    assert found(NUMBERED, OLD) == {4}
    assert found(NUMBERED, OLD | NEW) == set()
    assert found(NUMBERED, 0 * OLD) == {1, 4}


def test_a_lesion_that_grew_and_a_border_a_voxel_off_are_not_new() -> None:
    grown = Image(lesion(4, 4, 4, size=6), AFFINE)
    assert found(grown, OLD) == set()
    # Side by side, and with one voxel between them.
    assert found(Image(NEAR, AFFINE), OLD) == set()
    assert found(Image(lesion(9, 5, 5), AFFINE), OLD) == {1}


def test_visits_in_other_poses_are_brought_together() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    turn[:3, 3] = [40.0, -3.0, 6.0]
    # The later visit lies turned: its world is taken to the earlier one's by the way given.
    later = Image(NUMBERED.data, np.linalg.inv(turn) @ AFFINE)
    assert found(later, OLD, way=turn) == {4}
    assert found(later, OLD | NEW, way=turn) == set()
    assert found(later, NEW, way=turn) == {1}


def test_where_the_earlier_visit_shows_no_brain_nothing_is_new() -> None:
    brain = np.ones(SHAPE, np.uint8)
    brain[:17] = 0
    # A third of the second lesion lies in the earlier brain.
    assert found(NUMBERED, OLD, Image(brain, AFFINE)) == set()
    brain[16] = 1
    assert found(NUMBERED, OLD, Image(brain, AFFINE)) == {4}


@pytest.mark.parametrize("earlier", [OLD, 0 * OLD])
def test_without_lesions_there_is_nothing_new(earlier) -> None:
    assert found(Image(0 * OLD, AFFINE), earlier) == set()


def visit(*lesions: np.ndarray, brain: Image = BRAIN, affine: np.ndarray = AFFINE) -> VisitLesions:
    numbered = sum((n * one for n, one in enumerate(lesions, 1)), np.zeros(SHAPE, np.int32))
    mask = Image((numbered > 0).astype(np.uint8), affine)
    return VisitLesions(Image(numbered, affine), mask, Image(brain.data, affine))


def test_what_only_one_visit_shows_is_new_or_vanished() -> None:
    made = lesion_changes(visit(OLD, NEAR), visit(NEW, NEAR), np.eye(4)).changes
    expected = LesionChange.NEW * NEW
    # The old one touches what is there still.
    np.testing.assert_array_equal(made.data, expected)
    made = lesion_changes(visit(OLD), visit(NEW), np.eye(4)).changes
    np.testing.assert_array_equal(made.data, expected + LesionChange.VANISHED * OLD)


def test_what_vanished_lies_where_it_was_whatever_the_pose() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    turn[:3, 3] = [40.0, -3.0, 6.0]
    later = visit(NEW, affine=np.linalg.inv(turn) @ AFFINE)
    made = lesion_changes(visit(OLD, NEW), later, turn).changes
    np.testing.assert_array_equal(made.data, LesionChange.VANISHED * OLD)


def test_where_the_later_visit_shows_no_brain_nothing_vanished() -> None:
    brain = np.ones(SHAPE, np.uint8)
    brain[:7] = 0
    # A third of the lesion lies in the later brain.
    later = visit(brain=Image(brain, AFFINE))
    assert not lesion_changes(visit(OLD), later, np.eye(4)).changes.data.any()
    brain[6] = 1
    later = visit(brain=Image(brain, AFFINE))
    assert (lesion_changes(visit(OLD), later, np.eye(4)).changes.data == 4 * OLD).all()
