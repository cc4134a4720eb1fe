import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import Context, DistinctLesions, distinct_table, lesion_table

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 1.0, 0, -30], [0, 0, 1.5, -20], [0, 0, 0, 1.0]])
SHAPE = (40, 60, 40)


def block(x: slice, y: slice, z: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[x, y, z] = True
    return mask


def image(data: np.ndarray) -> Image:
    return Image(data, AFFINE)


def head() -> Context:
    """A slab of cortex below y = 6, a ventricle, a thalamus and a brainstem in white matter."""
    gray = np.zeros(SHAPE, np.float32)
    gray[:, :6] = 1.0
    labels = np.zeros(SHAPE, np.int16)
    labels[10:14, 30:40, 20:30] = 4
    labels[22:28, 30:40, 20:30] = 10
    labels[15:25, 20:40, 2:8] = 16
    brain = np.zeros(SHAPE, bool)
    brain[1:-1, 1:-1, 1:-1] = True
    white = (brain & (gray == 0)).astype(np.float32)
    none = np.zeros(SHAPE, np.float32)
    return Context(
        brain=image(brain),
        prior_gm=image(gray),
        prior_wm=image(white),
        prior_csf=image(none),
        labels=image(labels),
    )


@pytest.mark.parametrize(
    ("lesion", "location"),
    [
        (block(slice(14, 16), slice(30, 34), slice(22, 26)), "periventricular"),  # next voxel
        (block(slice(15, 17), slice(30, 34), slice(22, 26)), "deep white matter"),  # 4 mm off
        (block(slice(30, 32), slice(7, 11), slice(22, 26)), "juxtacortical"),  # 2 mm off
        (block(slice(30, 32), slice(9, 13), slice(22, 26)), "deep white matter"),  # 4 mm off
        (block(slice(18, 20), slice(24, 28), slice(3, 6)), "infratentorial"),
    ],
)
def test_a_lesion_has_the_location_of_what_it_touches_within_2_mm(lesion, location) -> None:
    table = lesion_table(image(lesion), head())
    assert table["location"].tolist() == [location]


def test_volume_centre_and_overlap_with_the_thalamus_are_in_millimetres() -> None:
    lesion = block(slice(26, 30), slice(30, 34), slice(22, 24))
    row = lesion_table(image(lesion), head()).iloc[0]
    assert row["volume_mm3"] == pytest.approx(4 * 4 * 2 * 3.0)
    assert row["thalamus_mm3"] == pytest.approx(2 * 4 * 2 * 3.0)
    centre = AFFINE @ (27.5, 31.5, 22.5, 1)
    assert row[["x_mm", "y_mm", "z_mm"]].tolist() == pytest.approx(centre[:3].round(1).tolist())


def test_without_an_atlas_there_is_no_location_and_no_overlap() -> None:
    lesion = block(slice(26, 30), slice(30, 34), slice(22, 24))
    row = lesion_table(image(lesion), Context(brain=head().brain)).iloc[0]
    assert row["location"] == "n/a"
    assert np.isnan(row["thalamus_mm3"])


def test_the_table_of_no_lesions_has_its_columns() -> None:
    table = lesion_table(image(np.zeros(SHAPE, bool)), head())
    assert table.empty
    assert table["thalamus_mm3"].sum() == 0


@pytest.fixture
def pair() -> DistinctLesions:
    """Two lesions of one group: the second begins 8 mm from the ventricle, the first at it."""
    labels = np.zeros(SHAPE, np.int32)
    labels[14:18, 30:34, 22:26] = 1
    labels[18:22, 30:34, 22:26] = 2
    return DistinctLesions(image(labels), (1, 1))


def test_distinct_lesions_have_their_group_and_places_of_their_own(pair: DistinctLesions) -> None:
    table = distinct_table(pair, head()).set_index("id")
    assert table["group"].tolist() == [1, 1]
    assert table["volume_mm3"].tolist() == pytest.approx([4 * 4 * 4 * 3] * 2)
    assert table["location"].tolist() == ["periventricular", "deep white matter"]
    # From the centre of the nearest voxel to that of the ventricle's last one; voxels of 2 mm in x.
    assert table["ventricle_mm"].tolist() == pytest.approx([2.0, 10.0])
    ball_mm = (6 * 192 / np.pi) ** (1 / 3)
    assert table["diameter_mm"].tolist() == pytest.approx([ball_mm] * 2)


def test_what_enhances_in_a_distinct_lesion_is_its_own(pair: DistinctLesions) -> None:
    lit = image(block(slice(17, 19), slice(30, 31), slice(22, 23)))
    table = distinct_table(pair, head(), enhancing=lit)
    assert table["enhancing_mm3"].tolist() == pytest.approx([3.0, 3.0])
    assert distinct_table(pair, head())["enhancing_mm3"].isna().all()


def test_without_a_ventricle_its_distance_is_missing(pair: DistinctLesions) -> None:
    alone = Context(brain=head().brain)
    table = distinct_table(pair, alone)
    assert table["ventricle_mm"].isna().all()
    assert len(distinct_table(DistinctLesions(image(np.zeros(SHAPE, np.int32)), ()), head())) == 0
