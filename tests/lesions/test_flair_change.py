"""Which lesions changed, by the difference of two FLAIR."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.crop import between
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.lesions import LesionChange, VisitFlair, VisitLesions, lesion_changes
from bids_qsmthal.lesions.flair_change import flair_difference

SHAPE = (72, 80, 66)
CENTRE = np.array([36.0, 40.0, 33.0])
NOISE = 0.04
LESION = 1.8
"""White matter is 1, gray matter 1.2."""

PLACES = np.array([[24, 30, 30], [46, 30, 36], [30, 52, 36], [48, 50, 28], [36, 40, 46]], float)
"""Far from the cortex and from each other."""

FINE = 0.5
"""Scans are drawn on voxels of half a millimetre: a voxel holds parts of tissues."""


@cache
def _tissue() -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of white and gray matter on the fine grid: a folded cortex."""
    x, y, z = (
        FINE * np.arange(int(n / FINE)).reshape([-1 if axis == own else 1 for own in range(3)])
        for axis, n in enumerate(SHAPE)
    )
    away = np.sqrt((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2 + (z - CENTRE[2]) ** 2)
    folds = 1.5 * (np.sin(x / 2.5) + np.sin(y / 3.0) + np.sin(z / 2.0))
    brain = np.clip(30.5 - away, 0, 1)
    white = np.clip(26.5 + folds - away, 0, 1) * brain
    return white.astype(np.float32), (brain - white).astype(np.float32)


def visit(  # noqa: PLR0913 - what a visit may have of its own
    seed: int,
    *lesions: tuple[int, float],
    known: tuple[int, ...] = (),
    shift_mm: float = 0.0,
    thick: int = 1,
    gain: float = 0.0,
    noise: float = NOISE,
    height: float = LESION,
    cut: int = 0,
) -> VisitLesions:
    """Return a visit with lesions of some places and radii; the mask holds those that are known."""
    white, gray = _tissue()
    signal = white + 1.2 * gray
    grid = [FINE * np.arange(n) for n in signal.shape]
    inside = {}
    for place, radius_mm in lesions:
        parts = ((axis - c) ** 2 for axis, c in zip(np.ix_(*grid), PLACES[place], strict=True))
        share = np.clip(0.5 + (radius_mm - np.sqrt(sum(parts))) / FINE, 0, 1)
        inside[place] = share
        signal = signal + share * (height - signal)
    t1w = Image(np.zeros(SHAPE, np.float32), lattice(1.0, (0.25, 0.25, 0.25)))
    scan = Image(
        np.zeros((*SHAPE[:2], SHAPE[2] // thick), np.float32),
        np.diag([1.0, 1.0, thick, 1.0]),
    )
    scan.affine[:3, 3] = [0.25, 0.25, thick / 2 - 0.25 + shift_mm]
    fine = lattice(FINE, (0.0, 0.0, 0.0))
    # Means over the voxels: what is fine is blurred by the voxel first.
    blurred = ndimage.uniform_filter(signal, [2, 2, round(thick / FINE)])
    offset = Image(blurred.astype(np.float32), fine)
    offset.affine[:3, 3] -= FINE / 2
    rng = np.random.default_rng(seed)
    data = resample(offset, scan).data + rng.normal(0, noise, scan.shape)
    z = np.arange(scan.shape[2]) / scan.shape[2]
    flair = scan.like((np.maximum(data, 0.0) * (1 + gain * z) * 100).astype(np.float32))

    flair = between((0, 0, cut), flair.shape, flair.shape).of(flair)

    def on_t1w(data: np.ndarray) -> Image:
        parts = data.astype(np.float32).reshape(SHAPE[0], 2, SHAPE[1], 2, SHAPE[2], 2)
        return t1w.like(parts.mean((1, 3, 5)))

    numbered = t1w.like(np.zeros(SHAPE, np.int32))
    for number in known:
        numbered.data[on_t1w(inside[number]).data > 0.5] = number + 1
    tissue = VisitFlair(flair, on_t1w(white), on_t1w(gray))
    brain = on_t1w(white + gray)
    return VisitLesions(
        numbered,
        numbered.like((numbered.data > 0).astype(np.uint8)),
        brain.like(brain.data > 0.5),
        tissue,
    )


def found(earlier: VisitLesions, later: VisitLesions) -> dict[LesionChange, set[int]]:
    """Return at which places something changed, by the kind of change."""
    made = lesion_changes(earlier, later, np.eye(4))
    assert made.by_flair
    at = {}
    for change in LesionChange:
        where = np.argwhere(made.changes.data == change)
        if len(where):
            away = np.linalg.norm(where[:, None] + 0.25 - PLACES, axis=-1)
            # Nothing is proposed but at the lesions.
            assert away.min(axis=1).max() < 7, change
            at[change] = set(away.argmin(axis=1).tolist())
    return at


OLD = ((0, 3.0), (1, 4.0))
KNOWN = (0, 1)


@pytest.mark.parametrize("thick", [1, 3])
def test_nothing_changed_and_nothing_is_proposed(thick: int) -> None:
    # Another gain, and slices that lie otherwise: a cortex in thick slices looks different then.
    earlier = visit(1, *OLD, known=KNOWN, thick=thick)
    later = visit(2, *OLD, known=KNOWN, thick=thick, shift_mm=thick / 2, gain=0.3)
    assert found(earlier, later) == {}


@pytest.mark.parametrize(("thick", "radius_mm"), [(1, 1.6), (3, 2.0), (1, 4.0)])
def test_a_new_lesion_is_found_whether_or_not_the_mask_has_it(thick, radius_mm) -> None:
    earlier = visit(1, *OLD, known=KNOWN, thick=thick)
    for known in (KNOWN, (*KNOWN, 2)):
        later = visit(2, *OLD, (2, radius_mm), known=known, thick=thick, shift_mm=thick / 2)
        assert found(earlier, later) == {LesionChange.NEW: {2}}
        assert found(later, earlier) == {LesionChange.VANISHED: {2}}


def test_a_lesion_that_only_one_mask_has_is_not_new() -> None:
    earlier, later = visit(1, *OLD, known=(0,)), visit(2, *OLD, known=KNOWN)
    assert found(earlier, later) == {}


@pytest.mark.parametrize("thick", [1, 3])
def test_where_a_scan_ends_nothing_changed(thick: int) -> None:
    # The first slices that one scan has lie within the brain, those of the other beyond it.
    earlier = visit(1, *OLD, known=KNOWN, thick=thick, cut=18 // thick)
    later = visit(2, *OLD, known=KNOWN, thick=thick, shift_mm=thick / 2)
    assert found(earlier, later) == {}
    assert found(later, earlier) == {}
    made = flair_difference(earlier.scan, later.scan, later.brain, np.eye(4), known=later.mask)
    low_mm = (made.frame.affine @ [0, 0, np.argwhere(made.white)[:, 2].min(), 1])[2]
    # The last slice and what is sampled beside it hold a part of what is not there.
    assert low_mm >= earlier.scan.flair.affine[2, 3] + thick


def test_an_old_lesion_that_is_a_little_brighter_is_not_new() -> None:
    # No mask has lesion 2, which both visits show.
    lesions = (*OLD, (2, 3.0))
    earlier, later = visit(1, *lesions, known=KNOWN), visit(2, *lesions, known=KNOWN, height=2.0)
    assert found(earlier, later) == {}


def test_what_thick_slices_show_otherwise_is_taken_off() -> None:
    earlier = visit(1, thick=3, noise=0.005)
    later = visit(2, thick=3, noise=0.005, shift_mm=1.5)
    made = flair_difference(earlier.scan, later.scan, later.brain, np.eye(4), known=later.mask)
    # Without it .013; noise alone makes .004.
    assert made.change[made.white].std() < 0.008


def test_a_lesion_that_grew_is_larger_and_not_new() -> None:
    earlier = visit(1, *OLD, known=KNOWN)
    later = visit(2, (0, 3.0), (1, 6.0), known=KNOWN)
    assert found(earlier, later) == {LesionChange.ENLARGED: {1}}
    assert found(later, earlier) == {LesionChange.SHRUNK: {1}}
    drawn = lesion_changes(earlier, later, np.eye(4)).changes.data
    # What was lesion before is no part of the growth.
    assert not (drawn[earlier.mask.data > 0]).any()


def test_visits_in_other_poses_are_brought_together() -> None:
    way = np.eye(4)
    way[:3, 3] = [5.0, -3.0, 2.0]
    earlier, later = visit(1, *OLD, known=KNOWN), visit(2, *OLD, (2, 2.5), known=KNOWN)
    moved = VisitLesions(
        *(
            Image(one.data, way @ one.affine)
            for one in (earlier.numbered, earlier.mask, earlier.brain)
        ),
        VisitFlair(
            *(
                Image(one.data, way @ one.affine)
                for one in (earlier.scan.flair, earlier.scan.white, earlier.scan.gray)
            )
        ),
    )
    made = lesion_changes(moved, later, way).changes.data
    assert set(np.unique(made)) == {0, LesionChange.NEW}
    assert made[tuple(PLACES[2].astype(int))] == LesionChange.NEW


def test_the_noise_is_that_of_the_difference() -> None:
    earlier, later = visit(1, *OLD, known=KNOWN), visit(2, *OLD, known=KNOWN)
    made = flair_difference(earlier.scan, later.scan, later.brain, np.eye(4), known=later.mask)
    calm = made.white & (made.box.crop.cut(later.mask.data) == 0)
    assert made.score[calm].std() == pytest.approx(1.0, abs=0.1)
    # One false peak in twenty pairs; of a whole head with 450 mL about 5.6.
    assert 4.5 < made.threshold < 5.7


def test_without_a_scan_the_masks_alone_are_compared() -> None:
    earlier, later = visit(1, *OLD, known=(0,)), visit(2, *OLD, known=KNOWN)
    bare = VisitLesions(earlier.numbered, earlier.mask, earlier.brain)
    made = lesion_changes(bare, later, np.eye(4))
    assert not made.by_flair
    assert set(np.unique(made.changes.data)) == {0, LesionChange.NEW}
