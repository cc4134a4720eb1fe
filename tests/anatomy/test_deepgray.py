import numpy as np
from scipy import ndimage

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.deepgray import (
    Ventricles,
    refined_atria,
    refined_nuclei,
    refined_ventricles,
)

SHAPE = (44, 48, 40)
VOXEL_MM = (1.0, 1.0, 1.0)


def test_an_enlarged_ventricle_is_followed_and_a_sulcus_is_not():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[10:16, 20:28, 18:22] = 4
    labels[28:34, 20:28, 18:22] = 43
    csf = np.zeros(SHAPE, dtype=np.float32)
    csf[8:18, 18:30, 16:24] = 1
    csf[28:34, 20:28, 18:22] = 1
    csf[:, :, 34:] = 1

    found = refined_ventricles(labels, csf, VOXEL_MM, Ventricles())

    assert (found[8:18, 18:30, 16:24] == 4).all()
    assert (found[28:34, 20:28, 18:22] == 43).all()
    assert not found[:, :, 34:].any()


def test_the_reach_of_ventricles_is_in_millimetres():
    """Four millimetres are four voxels to the side, and one slice up."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[18:22, 20:28, 18:22] = 4
    csf = np.zeros(SHAPE, dtype=np.float32)
    csf[10:30, 20:28, 10:30] = 1

    found = refined_ventricles(labels, csf, (1.0, 1.0, 3.0), Ventricles())

    sides, _, levels = np.nonzero(found == 4)
    assert (sides.min(), sides.max()) == (14, 25)
    assert (levels.min(), levels.max()) == (17, 22)


def test_atria_stay_within_their_level_and_their_ventricle():
    ventricles = np.zeros(SHAPE, dtype=np.uint8)
    ventricles[8:18, 5:40, 10:24] = 4
    atria = np.zeros(SHAPE, dtype=np.uint8)
    atria[10:16, 8:14, 12:20] = 1

    found = refined_atria(atria, ventricles, VOXEL_MM)

    assert found[8, 10, 15] == 1
    assert not found[:, 14:].any()
    assert (ventricles[found == 1] == 4).all()


def test_atria_reach_as_many_millimetres_whatever_the_voxels():
    atria = np.zeros(SHAPE, dtype=np.uint8)
    atria[20, 20, 20] = 1
    ventricles = np.full(SHAPE, 4, dtype=np.uint8)

    fine = refined_atria(atria, ventricles, (0.5, 1.0, 1.0))
    coarse = refined_atria(atria, ventricles, VOXEL_MM)

    assert np.flatnonzero(coarse[:, 20, 20]).tolist() == list(range(16, 25))
    assert np.flatnonzero(fine[:, 20, 20]).tolist() == list(range(12, 29))


def test_new_thalamus_takes_the_nucleus_that_is_nearest_in_millimetres():
    nuclei = np.zeros(SHAPE, dtype=np.uint8)
    nuclei[10, 20, 20], nuclei[14, 20, 24] = 4, 10
    left = np.zeros(SHAPE, dtype=bool)
    left[10:15, 20, 20:25] = True

    thin = refined_nuclei(nuclei, (left, np.zeros(SHAPE, dtype=bool)), (0.5, 1.0, 3.0))

    # Four voxels of 0.5 mm from one, four of 3 mm from the other.
    assert thin[14, 20, 20] == 4
    assert thin[10, 20, 24] == 10


def test_nuclei_fill_the_refined_thalamus_and_nothing_else():
    nuclei = np.zeros(SHAPE, dtype=np.uint8)
    nuclei[10:14, 10:20, 10:20], nuclei[14:18, 10:20, 10:20] = 4, 10
    nuclei[5:7, 5:7, 5:7] = 7
    left = np.zeros(SHAPE, dtype=bool)
    left[9:17, 11:20, 10:21] = True

    found = refined_nuclei(nuclei, (left, np.zeros(SHAPE, dtype=bool)), VOXEL_MM)

    assert np.array_equal(found[left] > 0, np.ones(left.sum(), dtype=bool))
    assert set(np.unique(found[~left])) == {0, 7}
    assert found[9, 12, 12] == 4
    assert found[16, 12, 12] == 10


def test_a_temporal_horn_is_followed_to_its_own_reach_and_not_into_the_choroid_fissure():
    """The horn is a seam in the atlas; an old head holds ten times as much fluid there."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[30, 20:34, 18:22] = 44
    csf = np.zeros(SHAPE, dtype=np.float32)
    csf[28:34, 19:35, 17:23] = 1
    # Fluid on the other side of the hippocampus, 6 mm away and no part of a ventricle.
    csf[20:24, 18:36, 16:24] = 1

    found = refined_ventricles(labels, csf, VOXEL_MM, Ventricles())

    assert (found[28:34, 19:35, 17:23] == 44).all()
    assert not found[:26].any()


def test_the_atlas_has_temporal_horns_at_the_outer_side_of_hippocampus_and_amygdala():
    template = atlas.template("desc-deepgray_dseg")
    for horn, beside, body, side in ((5, (17, 18), 4, -1), (44, (53, 54), 43, 1)):
        x, y, _ = (
            template.affine[:3, :3] @ np.argwhere(template.data == horn).T
            + (template.affine[:3, 3, None])
        )
        away_mm = ndimage.distance_transform_edt(~np.isin(template.data, beside))

        # 28 mm: outside of the choroid fissure; -37: in front of the atria (MNI mm).
        assert (side * x >= np.where(y < -18, 28, 24)).all()
        assert y.min() > -37
        assert away_mm[template.data == horn].max() <= 2.5
        # A seam of some tenths of a millilitre; the body of the ventricle holds ten times as much.
        assert 200 < x.size < 0.1 * (template.data == body).sum()
