"""Basal ganglia by intensity from the atlas of CIT168, and the small nuclei beside them."""

from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.basal_ganglia import (
    SUBCORTEX_TABLE,
    BasalGanglia,
    refined_basal_ganglia,
    small_nuclei,
)
from bids_qsmthal.core.labels import SMALL_NUCLEI, parsed

SHAPE = (64, 40, 32)
WHITE, GRAY, FLUID = 110.0, 77.0, 20.0
SIGNAL = {1: 88.0, 2: 83.0, 3: 80.0, 4: 104.0, 5: 104.0}
NUMBER = {1: (12, 51), 2: (11, 50), 3: (26, 58), 4: (13, 52), 5: (13, 52)}
"""By the atlas's number of the left one: what it is as bright as, FreeSurfer's left and right."""

BOXES = {1: (4, 12, 10, 30), 4: (12, 16, 12, 20), 5: (12, 16, 20, 28), 2: (20, 27, 14, 30),
         3: (20, 27, 6, 14)}  # fmt: skip
TISSUE = SimpleNamespace(means=(FLUID, GRAY, WHITE))


def labels(*, shift: int = 0, step: int = 1) -> np.ndarray:
    """Draw the nuclei as boxes, the right ones (+ 20) in the mirror."""
    drawn = np.zeros(SHAPE, np.uint8)
    for number, (x0, x1, y0, y1) in BOXES.items():
        drawn[x0 + shift : x1 + shift, y0:y1, 8:24] = number
        drawn[64 - x1 + shift : 64 - x0 + shift, y0:y1, 8:24] = number + 20
    return drawn[::step, ::step, ::step]


def signal(drawn: np.ndarray) -> np.ndarray:
    values = np.full(drawn.shape, WHITE)
    for number, level in SIGNAL.items():
        values[np.isin(drawn, (number, number + 20))] = level
    noise = np.random.default_rng(5).normal(0, 3, drawn.shape)
    return (values + noise).astype(np.float32)


def refined(t1w: np.ndarray, warped: np.ndarray, *, mm: float = 1.0) -> np.ndarray:
    white = np.full(warped.shape, 0.9, np.float32)
    other = np.full(warped.shape, 0.05, np.float32)
    cropped = SimpleNamespace(
        brain=np.ones(warped.shape, bool), priors=(other, other, white), voxel_mm=(mm, mm, mm)
    )
    taken = np.zeros(warped.shape, bool)
    return refined_basal_ganglia(t1w, warped, taken, TISSUE, cropped, BasalGanglia())


def true_numbers(drawn: np.ndarray) -> np.ndarray:
    found = np.zeros(drawn.shape, np.uint8)
    for number, (left, right) in NUMBER.items():
        found[drawn == number], found[drawn == number + 20] = left, right
    return found


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_nuclei_follow_the_image_where_the_atlas_is_a_voxel_off_and_keep_their_sides():
    truth = labels()

    found = refined(signal(truth), labels(shift=1))

    wanted = true_numbers(truth)
    # The border of accumbens and caudate, 80 and 83, is the atlas's, as is every side of both.
    for number in (11, 12, 13, 50, 51, 52):
        warped = true_numbers(labels(shift=1)) == number
        assert dice(found == number, wanted == number) > max(
            0.95, dice(warped, wanted == number) + 0.02
        )
    left, right = found[:32], found[32:]
    assert set(np.unique(left)) == {0, 11, 12, 13, 26}
    assert set(np.unique(right)) == {0, 50, 51, 52, 58}


def test_what_another_structure_has_stays_its():
    truth = labels()
    white = np.full(SHAPE, 0.9, np.float32)
    cropped = SimpleNamespace(
        brain=np.ones(SHAPE, bool), priors=(white / 9, white / 9, white), voxel_mm=(1.0, 1.0, 1.0)
    )
    taken = np.zeros(SHAPE, bool)
    taken[:, :, :12] = True

    found = refined_basal_ganglia(signal(truth), truth, taken, TISSUE, cropped, BasalGanglia())

    assert not found[:, :, :12].any()
    assert found[:, :, 12:].any()


def test_voxels_of_four_millimetres_still_have_every_nucleus_on_its_side():
    coarse = labels(step=4)

    found, wanted = refined(signal(coarse), coarse, mm=4.0), true_numbers(coarse)

    for number in np.unique(wanted[wanted > 0]):
        assert dice(found == number, wanted == number) > 0.8


def test_a_nucleus_that_the_field_of_view_cut_off_leaves_the_atlas():
    """Nothing is known of its intensity then, and that of its neighbours would take its place."""
    cut = labels()
    cut[np.isin(cut, (3, 23))] = 0

    found = refined(np.full(SHAPE, WHITE, np.float32), cut)

    np.testing.assert_array_equal(found, true_numbers(cut))


def test_no_atlas_no_nuclei():
    assert not refined(np.full(SHAPE, WHITE, np.float32), np.zeros(SHAPE, np.uint8)).any()


def test_the_parts_fill_the_pallidum_and_the_midbrain_gives_way_to_labels():
    warped = labels()
    warped[30:33, 20:23, 2:5] = 6
    deepgray = true_numbers(labels(shift=2))
    deepgray[30, 20:23, 2:5] = 10

    found, names = small_nuclei(warped, deepgray, (1.0, 1.0, 1.0))

    np.testing.assert_array_equal(np.isin(found, (4, 5)), deepgray == 13)
    np.testing.assert_array_equal(np.isin(found, (24, 25)), deepgray == 52)
    assert (found[:, :20][deepgray[:, :20] == 13] == 4).all()
    assert (found == 6).sum() == 18
    assert {parsed(name).name for name in names.values()} == set(SMALL_NUCLEI)


def test_both_parts_of_the_pallidum_keep_their_share_where_the_outline_lies_beside_the_atlas():
    """The atlas divides the box in the middle; five voxels off, it would give 3 rows of 8."""
    deepgray = np.roll(true_numbers(labels()), 5, axis=1)

    found, _ = small_nuclei(labels(), deepgray, (1.0, 1.0, 1.0))

    for external, internal, whole in ((4, 5, 13), (24, 25, 52)):
        inside = deepgray == whole
        assert (found == external).sum() == (found == internal).sum() == inside.sum() / 2
        rows = [np.argwhere(found == part)[:, 1] for part in (external, internal)]
        assert rows[0].max() < rows[1].min()


def test_a_part_that_the_field_of_view_cut_off_leaves_the_pallidum_to_the_other():
    warped = labels()
    warped[warped == 5] = 0

    found, _ = small_nuclei(warped, true_numbers(labels()), (1.0, 1.0, 1.0))

    assert (found[true_numbers(labels()) == 13] == 4).all()


@pytest.fixture(scope="module")
def centres() -> dict[str, np.ndarray]:
    image = atlas.template(SUBCORTEX_TABLE)
    return {
        name: (image.affine @ [*np.argwhere(image.data == index).mean(axis=0), 1])[:3]
        for index, name in atlas.names(SUBCORTEX_TABLE).items()
    }


def test_the_atlas_shows_what_its_table_names_on_the_side_it_names(centres):
    values = set(np.unique(atlas.template(SUBCORTEX_TABLE).data).tolist())
    assert values == {0, *atlas.names(SUBCORTEX_TABLE)}
    for name, (x, _, _) in centres.items():
        assert (x < 0) == name.startswith("Left-")


def test_the_nuclei_of_the_atlas_lie_as_in_a_head(centres):
    for side, sign in (("Left-", -1), ("Right-", 1)):
        at = {name.removeprefix(side): mm for name, mm in centres.items() if name.startswith(side)}
        across = {name: sign * mm[0] for name, mm in at.items()}
        assert across["Putamen"] > across["Pallidum-External"] > across["Pallidum-Internal"]
        assert across["Red-Nucleus"] < across["Substancia-Nigra"] < across["Subthalamic-Nucleus"]
        assert at["Substancia-Nigra"][2] < at["Red-Nucleus"][2] < at["Subthalamic-Nucleus"][2]
        assert at["Accumbens-area"][2] < at["Caudate"][2] - 10
