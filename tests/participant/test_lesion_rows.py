"""Lesions by construction: each place with a volume of its own, from the mask to the rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import lesions
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant import measures
from tests.lesions.test_table import block, head, image

LESIONS = {
    "lesion_periventricular": [(slice(14, 16), slice(30, 34), slice(22, 26))],
    "lesion_juxtacortical": [
        (slice(30, 32), slice(7, 11), slice(22, 28)),
        (slice(4, 6), slice(7, 10), slice(22, 24)),
    ],
    "lesion_infratentorial": [(slice(18, 20), slice(24, 28), slice(3, 6))],
    "lesion_deep_white_matter": [
        (slice(32, 34), slice(45, 49), slice(10, 12)),
        (slice(32, 34), slice(45, 49), slice(20, 21)),
        # Half of it lies in the thalamus, which ends at x = 28 of the voxels.
        (slice(27, 29), slice(33, 35), slice(24, 27)),
    ],
}
"""Every place and its lesions: blocks of voxels in the head of the tests of lesions."""

VOXEL_MM3 = 3.0


@pytest.fixture
def rows() -> pd.DataFrame:
    mask = np.zeros((40, 60, 40), bool)
    for blocks in LESIONS.values():
        for place in blocks:
            mask |= block(*place)
    context = head()
    found = lesions.lesions_of_mask(image(mask), context)
    structural = SimpleNamespace(
        lesions=found, prepared=object(), sources={}, enhancement=None, numbers=()
    )
    session = SimpleNamespace(subject="01", session="", run="")
    table = measures.collect(session, structural, None, Decision.INCLUDE)
    return table.set_index(["measure", "region"])["value"].astype(float)


def voxels(place: tuple[slice, slice, slice]) -> int:
    return int(np.prod([part.stop - part.start for part in place]))


@pytest.mark.parametrize("region", LESIONS)
def test_each_place_has_the_count_and_the_volume_of_its_lesions(rows, region: str) -> None:
    blocks = LESIONS[region]
    assert rows["count", region] == len(blocks)
    assert rows["volume", region] == pytest.approx(VOXEL_MM3 * sum(map(voxels, blocks)))


def test_no_two_places_could_be_exchanged_unseen() -> None:
    sizes = [sum(map(voxels, blocks)) for blocks in LESIONS.values()]
    assert len(set(sizes)) == len(sizes)


def test_the_whole_is_the_sum_of_the_places(rows) -> None:
    assert rows["volume", "lesion"] == pytest.approx(rows["volume"][list(LESIONS)].sum())
    assert rows["lesion_count", "lesion"] == sum(map(len, LESIONS.values()))


def test_what_lies_in_the_thalamus_is_the_part_of_the_lesion_that_does(rows) -> None:
    assert rows["volume", "lesion_thalamus"] == pytest.approx(VOXEL_MM3 * 1 * 2 * 3)


def test_a_voxel_has_the_volume_that_this_test_takes_for_it() -> None:
    assert isinstance(head().brain, Image)
    assert head().brain.voxel_volume_mm3 == pytest.approx(VOXEL_MM3)
