import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate import lesions, read_given

STEP_MM = 1.5


def bar_and_ball() -> Image:
    """A bar of 6 x 22 x 6 mm that is not along an axis, a ball of 8 mm, and one voxel.

    In voxels of 1 x 2 x 1 mm.
    """
    x, y, z = np.ogrid[:60, :30, :40]
    along, across = (x - 12) * 0.3 + (2 * y - 24) * 0.954, (x - 12) * 0.954 - (2 * y - 24) * 0.3
    mask = ((abs(along) <= 11) & (across**2 + (z - 14) ** 2 <= 9)).astype(np.uint8)
    mask[(x - 40) ** 2 + (2 * (y - 15)) ** 2 + (z - 20) ** 2 <= 16] = 1
    mask[55, 28, 38] = 1
    return Image(mask, lattice((1.0, 2.0, 1.0), 0))


def test_each_lesion_of_a_mask_lends_its_shape():
    bar, ball = lesions.lesion_shapes(bar_and_ball(), STEP_MM)
    extents = [STEP_MM * np.ptp(np.argwhere(level < 0), axis=0) + STEP_MM for level in (bar, ball)]
    # Its corners, the farthest of which are 12 and 23 mm apart, are rounded.
    assert extents[0] == pytest.approx((11, 22, 6), abs=STEP_MM)
    assert extents[1] == pytest.approx((8, 8, 8), abs=2.0)
    volumes = [(level < 0).sum() * STEP_MM**3 for level in (bar, ball)]
    mask = bar_and_ball().data
    # Small ones shrink by their smoothing; all of them together are moved to meet a volume.
    assert sum(volumes) == pytest.approx(2 * mask.sum(), rel=0.25)
    # The border may move by 2 mm, which the box has to hold.
    assert min(level[0].min() for level in (bar, ball)) > 2


def test_drawn_lesions_take_the_shapes_and_meet_the_volume():
    bar, _ = lesions.lesion_shapes(bar_and_ball(), STEP_MM)
    white = Image(np.ones((80, 80, 80), np.float32), lattice(STEP_MM, (-60, -60, -60)))
    ventricle = np.zeros(white.shape, np.float32)
    ventricle[38:42, 38:42, 38:42] = 1
    drawn = lesions.draw_lesions(
        lesions.Terrain(white, ventricle),
        lesion_ml=3.0,
        enhancing=0,
        enhancing_radius_mm=(2.0, 4.0),
        generator=np.random.default_rng(2),
        shapes=(bar,),
    )
    inside = drawn.level.data < 0
    assert inside.sum() * STEP_MM**3 == pytest.approx(3000, rel=0.05)
    # A bar is three times as long as wide; the blobs are 2 at most.
    found = lesions.lesion_shapes(drawn.level.like(inside.astype(np.uint8)), STEP_MM)
    ratio = [max(e := np.ptp(np.argwhere(level < 0), axis=0) + 1) / min(e) for level in found]
    assert np.median(ratio) > 2.2


def test_a_mask_without_lesions_is_answered_in_one_line(tmp_path):
    empty = bar_and_ball()
    nifti.save(empty.like(np.zeros(empty.shape, np.uint8)), tmp_path / "mask.nii.gz")
    with pytest.raises(DataError, match="holds no lesion"):
        read_given([], [tmp_path / "mask.nii.gz"])
