from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.lesions import EnhancingLesions, FlairLesions
from bids_qsmthal.lesions.enhancing import _is_lesion
from bids_qsmthal.lesions.flair import _plausible
from tests.lesions.evidence import BOX, NOWHERE, SIZE_MM, block, evidence_of

SETTINGS = FlairLesions()
CENTRE = (30, 25, 20)
DRY = 0.0  # the share of a surface that lies in fluid


def kept(part: np.ndarray, **known: np.ndarray) -> np.ndarray:
    return _plausible(part, replace(evidence_of(), **known), BOX, SETTINGS)


def test_a_part_in_a_ventricle_is_dropped_and_one_that_reaches_into_it_is_kept() -> None:
    ventricle = np.zeros_like(NOWHERE)
    ventricle[30:] = True
    inside, across = block((36, 25, 20), (6, 5, 3)), block((30, 25, 20), (6, 5, 3))
    assert not kept(inside, ventricle=ventricle).any()
    assert np.array_equal(kept(across, ventricle=ventricle), across)


def test_a_part_with_most_of_its_surface_in_fluid_is_dropped() -> None:
    part, around = block(CENTRE, (6, 5, 3)), block(CENTRE, (8, 7, 5))
    assert not kept(part, fluid=around & ~part).any()
    below = around & ~part & (np.indices(part.shape)[2] < 20)
    assert np.array_equal(kept(part, fluid=below), part)


def test_a_part_with_most_of_its_surface_between_ventricle_and_thalamus_is_plexus() -> None:
    part, around = block(CENTRE, (6, 5, 3)), block(CENTRE, (8, 7, 5))
    assert not kept(part, floor=around).any()
    # A lesion of the wall that reaches down to it, and one that fills it without a surface there.
    below = around & ~part & (np.indices(part.shape)[2] < 20)
    assert np.array_equal(kept(part, floor=below), part)
    assert np.array_equal(kept(part, floor=part), part)


def test_a_lesion_of_white_matter_stays_when_plexus_touches_it() -> None:
    plexus, lesion = block(CENTRE, (12, 12, 3)), block((30, 25, 23), (6, 5, 3))
    both = plexus | lesion
    floor = block(CENTRE, (14, 14, 5)) & ~lesion
    beyond = both & ~floor
    assert np.array_equal(kept(both, floor=floor, mostly_white=lesion), beyond)
    # Plexus bulges out of the place where the template has it: no white matter, no lesion.
    assert not kept(both, floor=floor, mostly_white=NOWHERE).any()
    # Of a lesion half in white matter that half stays.
    half = beyond & (np.indices(both.shape)[0] < 30)
    assert half.sum() * 2 == beyond.sum()
    assert np.array_equal(kept(both, floor=floor, mostly_white=half), half)


def test_what_plexus_leaves_of_a_lesion_is_three_millimetres_large_too() -> None:
    plexus, rest = block(CENTRE, (12, 12, 3)), block((30, 25, 22), (2, 2, 1))
    floor = block(CENTRE, (14, 14, 5)) & ~rest
    assert not kept(plexus | rest, floor=floor, mostly_white=rest).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_longest_axis_of_a_lesion_is_three_millimetres_at_least(axis) -> None:
    voxels = [2, 2, 1]  # 2.0 x 2.4 x 2.0 mm
    assert not kept(block(CENTRE, voxels)).any()
    voxels[axis] = int(np.ceil(3.0 / SIZE_MM[axis]))
    long = block(CENTRE, voxels)
    assert np.array_equal(kept(long), long)


def test_a_thread_of_four_millimetres_is_no_lesion() -> None:
    # 4.8 mm3; half of a ball of 3 mm is 7.
    assert not kept(block(CENTRE, (1, 1, 2))).any()
    assert kept(block(CENTRE, (2, 1, 2))).any()


def test_an_enhancing_lesion_has_half_the_ball_of_three_millimetres_at_least() -> None:
    everywhere, settings = np.ones_like(NOWHERE), EnhancingLesions()
    settings = replace(settings, minimum_voxels=1)
    small, enough = block(CENTRE, (1, 1, 2)), block(CENTRE, (2, 1, 2))  # 4.8 and 9.6 mm3
    assert not _is_lesion(small, everywhere, DRY, BOX, settings)
    assert _is_lesion(enough, everywhere, DRY, BOX, settings)


def test_an_enhancing_lesion_has_two_voxels_along_each_axis_on_average() -> None:
    everywhere, settings = np.ones_like(NOWHERE), EnhancingLesions()
    small, enough = block(CENTRE, (3, 2, 1)), block(CENTRE, (2, 2, 2))
    assert not _is_lesion(small, everywhere, DRY, BOX, settings)
    assert _is_lesion(enough, everywhere, DRY, BOX, settings)
