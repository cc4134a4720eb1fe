"""What changes in a person between two visits."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.progression import (
    APART_MM,
    NO_PROGRESSION,
    Progression,
    new_lesions,
    progressed,
)
from bids_qsmthal.simulate.structural import t1w_grid, t1w_with_truth
from bids_qsmthal.simulate.tissues import ROW

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head():
    """Return a head without lesions."""
    parameters = replace(simulate.draw_cohort(1, 5)[0].parameters, lesion_ml=0.0)
    return draw_head(parameters, np.random.default_rng(1), NOTHING_GIVEN)


def _truth(head):
    return t1w_with_truth(head, np.eye(4), t1w_grid(4.0))[1]


def test_a_later_visit_has_what_progressed_and_nothing_else(head):
    ball = (24.0, -20.0, 26.0, 6.0)
    later = progressed(head, Progression(atrophy=0.1, chi_ppb=4.0, lesions=(ball,)))
    moved = later.chi_ppb - head.chi_ppb
    assert moved[ROW["thalamus"]] == moved[ROW["thalamus_lateral"]] == pytest.approx(4.0)
    assert np.count_nonzero(moved) == 2
    before, after = _truth(head), _truth(later)
    thalami = [sum(one.volumes_voxels[f"thalamus_{s}"] for s in "LR") for one in (before, after)]
    assert 0.9 < thalami[1] / thalami[0] < 0.98
    assert after.ventricle.data.sum() > 1.03 * before.ventricle.data.sum()
    # 6 mm at white matter: 0.9 mL, less what of the ball is no white matter.
    new_ml = (after.lesion.data.sum() - before.lesion.data.sum()) * 64 / 1000
    assert 0.4 < new_ml < 1.1


def test_no_progression_is_the_same_head(head):
    assert progressed(head, NO_PROGRESSION) is head
    assert progressed(head, Progression(lesions=())) is head


def test_new_lesions_lie_in_white_matter_and_apart(head):
    old = (24.0, -20.0, 26.0, 6.0)
    before = progressed(head, Progression(lesions=(old,)))
    radii_mm = (1.5, 3.0, 5.0)
    balls = new_lesions(before, radii_mm, np.random.default_rng(3))
    assert [ball[3] for ball in balls] == [5.0, 3.0, 1.5]
    all_of_them = np.array([old, *balls])
    for number, ball in enumerate(all_of_them):
        for other in all_of_them[:number]:
            gap_mm = np.linalg.norm(ball[:3] - other[:3]) - ball[3] - other[3]
            # Levels are sampled every 1.5 mm, and linear between: a tenth of a millimetre.
            assert gap_mm > APART_MM - 0.1
    after = progressed(before, Progression(lesions=balls))
    grid = t1w_grid(1.0)
    ml = [
        t1w_with_truth(one, np.eye(4), grid)[1].lesion.data.sum() / 1000 for one in (before, after)
    ]
    # All of each ball is lesion: nothing of it lies in fluid.
    assert ml[1] - ml[0] == pytest.approx(sum(4.19 * r**3 for r in radii_mm) / 1000, rel=0.12)
