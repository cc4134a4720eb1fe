"""What the fluid of the ventricles encloses is no lesion."""

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import EnhancingLesions
from bids_qsmthal.lesions.context import Context
from bids_qsmthal.lesions.enhancing import _enhancing_mask, _is_plexus, _SearchRegion, _Uptake, _wet
from bids_qsmthal.lesions.ventricles import (
    between_ventricle_and_thalamus,
    enclosed_by_ventricles,
    lesions_touching,
)
from tests.lesions.evidence import BOX, NOWHERE, SHAPE, SIZE_MM, block

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


def test_what_lies_in_white_matter_beyond_the_place_of_plexus_is_a_lesion() -> None:
    place, lesion = block(CENTRE, (12, 12, 4)), block((30, 25, 23), (6, 4, 2))
    both = place | lesion
    assert np.array_equal(lesions_touching(both, place, both), lesion)
    half = lesion & (np.indices(SHAPE)[0] < 30)
    assert np.array_equal(lesions_touching(both, place, half), half)
    assert not lesions_touching(NOWHERE, place, lesion).any()


def enhancing(
    lesion: np.ndarray, plexus: np.ndarray, white: np.ndarray, t2: np.ndarray
) -> np.ndarray:
    """What enhances in a head whose plexus, within the template's ventricle, enhances as well."""
    ventricle = TEMPLATE > 0
    bright = np.where(lesion | plexus, 40.0, 0.0).astype(np.float32)
    noise = np.full(SHAPE, 1.0, np.float32)
    fluid = ventricle & ~plexus
    uptake = _Uptake(bright, bright, noise, fluid, np.ones(SHAPE, bool), 100.0)

    def image(data: np.ndarray) -> Image:
        return Image(data, np.diag((*SIZE_MM, 1.0)))

    priors = [np.where(here, 1.0, 0.0).astype(np.float32) for here in (~white, white, NOWHERE)]
    gm, wm, csf = map(image, priors)
    context = Context(
        brain=image(np.ones(SHAPE, bool)),
        prior_gm=gm,
        prior_wm=wm,
        prior_csf=csf,
        labels=image(TEMPLATE),
    )
    region = _SearchRegion(t2, BOX.dilate(t2, 2.0))
    mask, heights = _enhancing_mask(uptake, region, context, BOX, EnhancingLesions())
    assert heights == [40.0] * int(mask.any())
    return mask


def test_an_enhancing_lesion_stays_when_plexus_touches_it() -> None:
    plexus, lesion = block(CENTRE, (6, 8, 4)), block((30, 25, 24), (6, 5, 4))
    assert _is_plexus(
        plexus | lesion, TEMPLATE > 0, _wet(plexus | lesion, (TEMPLATE > 0) & ~plexus)
    )
    everywhere = np.ones(SHAPE, bool)
    assert np.array_equal(enhancing(lesion, plexus, everywhere, lesion), lesion)
    assert not enhancing(lesion, plexus, NOWHERE, lesion).any()
    # All of it is within the margin of a T2 lesion, less than half in one: plexus may be, too.
    part = lesion & (np.indices(SHAPE)[0] < 29)
    assert part.sum() * 3 == lesion.sum()
    assert not enhancing(lesion, plexus, everywhere, part).any()
