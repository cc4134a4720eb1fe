from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import FlairLesions, segment_flair
from bids_qsmthal.lesions.small_lesions import small_lesions
from tests.lesions.conftest import make_head, radius_mm
from tests.lesions.evidence import BOX, NOWHERE, SIZE_MM, block, evidence_of

SETTINGS = FlairLesions()


def test_a_small_bright_part_is_an_island_with_its_outline() -> None:
    lesion = block((20, 20, 20), (4, 3, 2))
    found = small_lesions(evidence_of(lesion), NOWHERE, BOX, SETTINGS)
    assert np.array_equal(found, lesion)


def test_noise_does_not_cut_a_pale_island() -> None:
    lesion = block((20, 20, 20), (6, 5, 3))
    pale = replace(evidence_of(lesion, height=14.0), smallest_peak=10.0)
    kept, without = (
        small_lesions(evidence, NOWHERE, BOX, SETTINGS)[lesion].mean()
        for evidence in (pale, replace(pale, noise=0.0))
    )
    assert kept > 0.96
    assert without < 0.92


def test_noise_alone_makes_no_island() -> None:
    assert not small_lesions(evidence_of(), NOWHERE, BOX, SETTINGS).any()


def test_a_sheet_is_none_however_thin() -> None:
    sheet = block((30, 25, 20), (2, 50, 40))
    assert not small_lesions(evidence_of(sheet), NOWHERE, BOX, SETTINGS).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_its_largest_extent_is_in_millimetres(axis) -> None:
    def rod(length_mm: float) -> np.ndarray:
        voxels = [3, 3, 3]
        voxels[axis] = round(length_mm / SIZE_MM[axis])
        return block((30, 25, 20), voxels)

    short, long = rod(8.0), rod(14.0)
    assert small_lesions(evidence_of(short), NOWHERE, BOX, SETTINGS)[short].all()
    assert not small_lesions(evidence_of(long), NOWHERE, BOX, SETTINGS).any()


def test_none_is_sought_where_gray_matter_is_expected_or_a_lesion_is_found() -> None:
    lesion = block((20, 20, 20), (4, 3, 2))
    assert not small_lesions(evidence_of(lesion, gray=lesion), NOWHERE, BOX, SETTINGS).any()
    assert not small_lesions(evidence_of(lesion), lesion, BOX, SETTINGS).any()


def test_it_must_be_brighter_than_gray_matter_and_than_noise() -> None:
    lesion = block((20, 20, 20), (4, 3, 2))
    pale = evidence_of(lesion, height=12.0)
    assert not small_lesions(pale, NOWHERE, BOX, SETTINGS).any()
    assert small_lesions(replace(pale, smallest_peak=8.0), NOWHERE, BOX, SETTINGS).any()
    strict = replace(SETTINGS, small_lesion_sd=40.0)
    assert not small_lesions(evidence_of(lesion), NOWHERE, BOX, strict).any()


@pytest.mark.slow
def test_a_lesion_of_four_millimetres_is_found_without_any_seed_of_the_random_field() -> None:
    plain = make_head(with_lesions=False, seed=4)
    spot = radius_mm((24.0, 8.0, 10.0)) < 2.2
    flair = plain.flair.data.copy()
    flair[spot] += 30
    scan = Image(flair, plain.flair.affine)
    strict = FlairLesions(seed_probability=1.0)
    found = segment_flair(scan, plain.t1w, plain.context, settings=strict)
    assert found.count == 1
    assert (found.mask.data & spot).sum() > 0.6 * spot.sum()
    field_alone = replace(strict, small_lesion_sd=np.inf)
    assert segment_flair(scan, plain.t1w, plain.context, settings=field_alone).count == 0
