"""What changes in a person between two visits."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.progression import NO_PROGRESSION, Progression, progressed
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
