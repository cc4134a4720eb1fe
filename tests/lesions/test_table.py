import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import Context, lesion_table

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
