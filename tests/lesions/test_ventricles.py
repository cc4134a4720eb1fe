"""What the fluid of the ventricles encloses is no lesion."""

import numpy as np
import pytest

from bids_qsmthal.lesions.enhancing import _is_plexus, _wet
from bids_qsmthal.lesions.ventricles import (
    between_ventricle_and_thalamus,
    enclosed_by_ventricles,
)
from tests.lesions.evidence import BOX, SHAPE, block

CENTRE = (30, 25, 20)
TEMPLATE = np.where(block(CENTRE, (8, 10, 4)), 4, 0)


def test_plexus_in_a_ventricle_that_is_wider_than_the_templates_is_within_it() -> None:
    # Beyond the template's 8 mm, fluid on all sides but one, as plexus hangs on a wall.
    plexus = block((35, 25, 20), (2, 4, 2))
    fluid = block(CENTRE, (14, 14, 8)) & ~plexus

    found = enclosed_by_ventricles(TEMPLATE, fluid, BOX)

    assert found[plexus].all()


def test_plexus_at_the_wall_of_a_wide_ventricle_is_told_from_a_lesion_in_that_wall() -> None:
    ventricle = block(CENTRE, (14, 14, 8))
    # Both are 4 mm thick and touch the wall at x = 37; the template ends 3 mm before it.
    plexus, lesion = block((35, 25, 20), (4, 6, 3)), block((39, 25, 20), (4, 6, 3))

    for mask, expected in ((plexus, True), (lesion, False)):
        fluid = ventricle & ~mask
        enclosed = enclosed_by_ventricles(TEMPLATE, fluid, BOX) | (TEMPLATE > 0)
        assert _is_plexus(mask, enclosed, _wet(mask, fluid)) is expected


@pytest.mark.parametrize("gap", [3, 5])
def test_white_matter_between_a_ventricle_and_a_sulcus_is_not(gap) -> None:
    """The corpus callosum: within four millimetres there is fluid on both of its sides."""
    ventricle = block(CENTRE, (8, 10, 4))
    sulcus = np.zeros(SHAPE, bool)
    sulcus[34 + gap :] = True
    between = block((30, 25, 20), (60, 10, 4)) & ~ventricle & ~sulcus
    between[:34] = False

    found = enclosed_by_ventricles(TEMPLATE, ventricle | sulcus, BOX)

    assert not found[between].any()


def test_plexus_pressed_to_the_thalamus_lies_between_it_and_the_ventricle() -> None:
    everywhere = np.ones(SHAPE, bool)
    thalamus = block((30, 25, 13), (8, 10, 6))
    template = np.where(thalamus, 10, TEMPLATE)
    # 4 mm of plexus between the thalamus below and the ventricle above; white matter beside both.
    plexus, beside = block((30, 25, 17), (4, 6, 2)), block((42, 25, 17), (6, 10, 2))
    found = between_ventricle_and_thalamus(template, TEMPLATE > 0, everywhere, BOX)
    assert found[plexus].all()
    assert not found[beside].any()
    assert not found[thalamus].any()
    # Where the template has white matter, as the fornix, a lesion may lie.
    white = block((30, 25, 17), (4, 2, 2))
    found = between_ventricle_and_thalamus(template, TEMPLATE > 0, ~white, BOX)
    assert not found[white].any()
    assert found[plexus & ~white].all()
