"""Several visits of a person in one frame."""

import numpy as np
import pytest

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.sampling import isotropic
from bids_qsmthal.anatomy.visits import (
    HalfWay,
    VisitFrame,
    VisitScan,
    _extent,
    _motion,
    _on_grid,
    _terms,
    _without_mean,
    visit_frame,
)
from bids_qsmthal.core.affine import apply, lattice
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample

CORNERS = np.array([[x, y, z] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70.0)])
FEW = HalfWay(points=15_000)
CENTRE = np.array([0.0, -20.0, 8.0])
POSES = [
    _motion(np.array(one), CENTRE)
    for one in ((0, 0, 0, 0, 0, 0), (3, -4, 2.3, 0.08, 0.02, 0), (-2, 1, 4, -0.05, 0, 0.06))
]


@pytest.fixture(scope="module")
def scans():
    """The atlas as three visits: other poses, noise and gains; one voxel in thirty has changed."""
    head = isotropic(atlas.probability("T1w"), 3.0)
    generator = np.random.default_rng(0)
    found = []
    for number, pose in enumerate(POSES):
        image = resample(head, head, world=pose, order=3)
        gain = (
            3**number
            + 3**number * (number - 1) * 0.1 * np.linspace(-1, 1, image.shape[0])[:, None, None]
        )
        data = image.data * gain + generator.normal(0, 0.02, image.shape)
        if number == 1:
            # As ventricles that grew: nobody's motion.
            data[14:18, 16:24, 14:18] *= 0.3
        brain = image.like(resample(head, head, world=pose).data > 0.05)
        found.append(VisitScan(image.like(data.astype(np.float32)), brain))
    return found


def _places(frame, order):
    """Return where corners of the frame lie in the head by each visit; they should agree."""
    return [
        apply(POSES[which] @ way, CORNERS)
        for which, way in zip(order, frame.to_visits, strict=True)
    ]


@pytest.mark.slow
def test_visits_meet_half_way_within_a_thirtieth_of_a_voxel(scans):
    frame = visit_frame(scans, settings=FEW)
    places = _places(frame, range(3))
    spread_mm = max(np.linalg.norm(one - places[0], axis=1).max() for one in places)
    assert spread_mm < 0.1
    # No visit favoured: the mean of all motions from the frame is none.
    centre = apply(frame.brain.affine, (np.array(frame.brain.shape) - 1) / 2)
    rest = np.mean([apply(way, centre) for way in frame.to_visits], axis=0) - centre
    assert np.abs(rest).max() < 1e-6
    assert frame.strangers() == ()
    even = [frame.even(scan.t1w, number).data for number, scan in enumerate(scans)]
    inside = frame.brain.data
    # Scanners of nine times the intensity, and a gain of 10 % at either side, are one.
    sides = np.arange(inside.shape[0])[:, None, None] < inside.shape[0] // 2
    for side in (inside & sides, inside & ~sides):
        assert abs(np.median((even[2] - even[0])[side])) < 0.005

    turned = visit_frame([scans[1], scans[0]], settings=FEW)
    straight = visit_frame([scans[0], scans[1]], settings=FEW)
    for one, other in zip(turned.to_visits, reversed(straight.to_visits), strict=True):
        # The same frame whichever visit comes first.
        assert np.linalg.norm(apply(one, CORNERS) - apply(other, CORNERS), axis=1).max() < 0.1


def test_a_mean_motion_is_split_between_two_visits():
    way = _motion(np.array([4.0, -2.0, 6.0, 0.1, -0.05, 0.2]), CENTRE)
    first, second = _without_mean([np.eye(4), way], CENTRE)
    np.testing.assert_allclose(second @ np.linalg.inv(first), way, atol=1e-12)
    # Half-way: what brings the frame to one visit brings the other to the frame.
    np.testing.assert_allclose(
        apply(first, CENTRE) - CENTRE, CENTRE - apply(second, CENTRE), atol=1e-6
    )
    np.testing.assert_allclose(first[:3, :3] @ second[:3, :3], np.eye(3), atol=1e-12)


def test_another_person_is_a_stranger():
    frame = VisitFrame(
        brain=Image(np.ones((2, 2, 2), bool), np.eye(4)),
        to_visits=(np.eye(4),) * 3,
        gains=(np.zeros(20),) * 3,
        correlations=(0.97, 0.6, 0.96),
        residual=0.1,
        settings=FEW,
    )
    assert frame.strangers() == (1,)


def test_one_visit_is_no_change(scans):
    with pytest.raises(DataError, match="one T1w, expected two or more"):
        visit_frame(scans[:1])


def test_a_gain_on_the_grid_is_the_one_that_was_fitted_at_points():
    brain = Image(np.ones((9, 14, 11), np.uint8), lattice(3.0, (-12.0, 5.0, -30.0)))
    gain = np.random.default_rng(4).normal(0, 0.3, 20)
    points = apply(brain.affine, np.indices(brain.shape).reshape(3, -1).T)
    expected = _terms(points, *_extent(brain)) @ gain
    np.testing.assert_allclose(_on_grid(brain, gain).ravel(), expected, rtol=1e-12, atol=1e-12)
