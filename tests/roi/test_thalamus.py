from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.roi import ThalamusImages, ThalamusRule, thalamus
from bids_qsmthal.roi.thalamus import to_slab_end_mm

SHAPE = (24, 12, 10)


def _images():
    """Two blocks whose rims are half filled."""
    share = {"L": np.zeros(SHAPE, np.float32), "R": np.zeros(SHAPE, np.float32)}
    depth = {side: np.full(SHAPE, -5.0, np.float32) for side in "LR"}
    for side, start in (("L", 1), ("R", 13)):
        share[side][start : start + 10, 1:11, 1:9] = 0.6
        share[side][start + 1 : start + 9, 2:10, 2:8] = 1.0
        depth[side][share[side] == 1.0] = 0.5
    nothing = np.zeros(SHAPE, dtype=bool)
    return ThalamusImages(
        share=share,
        depth_mm=depth,
        usable=~nothing,
        veins=nothing,
        lesions=nothing,
        csf_share=np.zeros(SHAPE, np.float32),
    )


def _marked(*where):
    mask = np.zeros(SHAPE, dtype=bool)
    for part in where:
        mask[part] = True
    return mask


def test_only_voxels_filled_by_the_label_are_measured_and_the_rim_is_counted():
    found = thalamus(_images(), rule=ThalamusRule())

    assert found.counts["L"].labelled == 10 * 10 * 8
    assert found.counts["L"].kept == 8 * 8 * 6
    assert found.counts["L"].rim == 10 * 10 * 8 - 8 * 8 * 6
    assert found.rim_removed


def test_left_is_one_and_right_is_two():
    found = thalamus(_images(), rule=ThalamusRule())

    assert set(np.unique(found.labels[:12])) == {0, 1}
    assert set(np.unique(found.labels[12:])) == {0, 2}


def test_each_lost_voxel_is_counted_once_and_nothing_goes_missing():
    images = replace(
        _images(),
        usable=~_marked((slice(None), slice(None), slice(0, 3))),
        veins=_marked((slice(4, 6), slice(None), slice(None))),
        lesions=_marked((slice(5, 7), slice(None), slice(None))),
        csf_share=_marked((slice(None), slice(9, None), slice(None))).astype(np.float32),
    )

    found = thalamus(images, rule=ThalamusRule())

    for counts in found.counts.values():
        lost = counts.mask + counts.rim + counts.csf + counts.veins + counts.lesions
        assert counts.labelled - lost == counts.kept
    left = found.counts["L"]
    assert left.veins > 0
    assert left.lesions > 0
    assert left.csf > 0
    assert left.kept == (found.labels == 1).sum()
    out = images.veins | images.lesions | ~images.usable | (images.csf_share > 0)
    assert not found.labels[out].any()


def test_lesions_stay_in_if_the_rule_says_so():
    lesion = _marked((slice(4, 6), slice(None), slice(None)))
    images = replace(_images(), lesions=lesion)

    without = thalamus(images, rule=ThalamusRule())
    within = thalamus(images, rule=ThalamusRule(exclude_lesions=False))

    assert not without.labels[lesion].any()
    assert within.labels[lesion].any()
    assert within.counts["L"].lesions == 0


def test_the_rim_stays_where_too_little_would_remain():
    images = _images()
    thin = {side: np.minimum(share, 0.6) for side, share in images.share.items()}

    found = thalamus(replace(images, share=thin), rule=ThalamusRule())

    assert not found.rim_removed
    assert found.counts["L"].kept == 10 * 10 * 8


@pytest.mark.parametrize("rim_mm", [0.0, 0.6])
def test_the_rim_widens_with_the_depth_that_is_asked_for(rim_mm):
    found = thalamus(_images(), rule=ThalamusRule(rim_mm=rim_mm))

    assert found.rim_removed == (rim_mm <= 0.5)


def test_the_map_is_followed_to_its_end_and_not_to_that_of_the_image() -> None:
    labelled = np.zeros((60, 60, 30), bool)
    labelled[20:40, 22:38, 10:16] = True
    mapped = np.zeros_like(labelled)
    mapped[2:58, 2:58, 1:20] = True
    # 4 slices of 3 mm above, 9 below; 18 voxels of 1 mm in plane.
    assert to_slab_end_mm(labelled, mapped, (1.0, 1.0, 3.0)) == 12.0
    assert to_slab_end_mm(labelled, mapped, (1.0, 1.0, 8.0)) == 18.0
    mapped[:, :, 15:] = False
    assert to_slab_end_mm(labelled, mapped, (1.0, 1.0, 3.0)) == -3.0
    assert np.isnan(to_slab_end_mm(labelled & False, mapped, (1.0, 1.0, 3.0)))
