from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import EnhancementWithoutLesions
from bids_qsmthal.lesions import find_enhancing

pytestmark = pytest.mark.slow


def after_contrast(head, *enhanced, seed: int = 9) -> Image:
    """The T1w again, with its own gain, contrast and noise, and uptake where asked."""
    rng = np.random.default_rng(seed)
    data = 100 * (np.maximum(head.t1w.data, 0) / 100) ** 0.8
    for mask, uptake in enhanced:
        data = data + uptake * ndimage.gaussian_filter(mask.astype(float), 0.4)
    x = np.linspace(-1, 1, data.shape[0])[:, None, None]
    data = (data + 3 * rng.standard_normal(data.shape)) * 1.4 * np.exp(0.2 * x)
    return head.t1w.like((np.maximum(data, 0.1) * (head.t1w.data > 0.1)).astype(np.float32))


def one_lesion(head) -> np.ndarray:
    labels, _ = ndimage.label(head.lesions)
    return labels == 1


def test_an_enhancing_lesion_is_found_with_its_volume(head, found, dice) -> None:
    true = one_lesion(head)
    result = find_enhancing(head.t1w, after_contrast(head, (true, 40)), found, head.context)
    assert result.present
    assert result.count == 1
    assert dice(result.mask.data, true) > 0.85
    assert result.confidence > 0.5
    assert result.table.peak_sd.iloc[0] > 4


def test_without_uptake_nothing_enhances_and_the_absence_is_sure(head, found) -> None:
    result = find_enhancing(head.t1w, after_contrast(head), found, head.context)
    assert not result.present
    assert result.volume_mm3 == 0
    assert result.confidence > 0.5


def test_a_vein_through_a_lesion_and_the_plexus_do_not_count(head, found) -> None:
    vein = np.zeros(head.lesions.shape, bool)
    x, y, _ = np.round(np.argwhere(one_lesion(head)).mean(0)).astype(int)
    vein[x, y] = True
    ce = after_contrast(head, (vein, 80), (head.plexus, 80))
    assert find_enhancing(head.t1w, ce, found, head.context).count == 0


def test_an_enhancing_lesion_at_the_wall_of_a_ventricle_is_no_plexus(head, found, dice) -> None:
    labels, count = ndimage.label(head.lesions)
    ventricle = head.context.labels.data == 4
    (wall,) = [
        labels == number
        for number in range(1, count + 1)
        if (ndimage.binary_dilation(labels == number, iterations=2) & ventricle).any()
    ]
    result = find_enhancing(head.t1w, after_contrast(head, (wall, 40)), found, head.context)
    assert result.count == 1
    assert dice(result.mask.data, wall) > 0.85


def test_uptake_away_from_lesions_does_not_count(head, found) -> None:
    inside = ndimage.distance_transform_edt(~(head.lesions | head.plexus)) > 6
    deep = ndimage.distance_transform_edt(head.context.brain.data) > 12
    z = np.argwhere(inside & deep)[0]
    spot = np.zeros(head.lesions.shape, bool)
    spot[tuple(z)] = True
    spot = ndimage.binary_dilation(spot, iterations=2)
    assert (
        find_enhancing(head.t1w, after_contrast(head, (spot, 60)), found, head.context).count == 0
    )


def test_the_matrix_brings_the_image_after_contrast(head, found) -> None:
    world = np.eye(4)
    world[:3, 3] = (7.0, -5.0, 4.0)
    ce = after_contrast(head, (one_lesion(head), 40))
    elsewhere = Image(ce.data, np.linalg.inv(world) @ ce.affine)
    result = find_enhancing(head.t1w, elsewhere, found, head.context, ce_to_t1w=world)
    assert result.count == 1


@pytest.mark.slow
def test_noise_lowers_the_confidence_of_an_absence(head, found) -> None:
    calm = after_contrast(head)
    rng = np.random.default_rng(4)
    rough = calm.like(calm.data + (25 * rng.standard_normal(calm.shape)).astype(np.float32))
    rough = rough.like(np.maximum(rough.data, 0.1) * (head.t1w.data > 0.1))
    sure = find_enhancing(head.t1w, calm, found, head.context)
    unsure = find_enhancing(head.t1w, rough, found, head.context)
    assert unsure.quality["noise_percent"] > 2 * sure.quality["noise_percent"]
    assert unsure.present or unsure.confidence < sure.confidence


def test_without_t2_lesions_all_white_matter_is_searched_with_a_warning(head) -> None:
    ce = after_contrast(head, (one_lesion(head), 40))
    result = find_enhancing(head.t1w, ce, None, head.context)
    assert result.count == 1
    assert result.warnings == (EnhancementWithoutLesions(),)


def test_another_grid_and_no_overlap_are_refused(head, found) -> None:
    small = replace(found, mask=Image(np.zeros((3, 3, 3), bool), np.eye(4)))
    with pytest.raises(DataError, match="grid"):
        find_enhancing(head.t1w, head.t1w, small, head.context)
    far = np.eye(4)
    far[0, 3] = 300.0
    with pytest.raises(DataError, match="less than half"):
        find_enhancing(head.t1w, head.t1w, found, head.context, ce_to_t1w=far)
