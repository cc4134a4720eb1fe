from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.lesions import Context, FlairLesions, flair, segment_flair
from bids_qsmthal.lesions.flair import t1w_in_slices_of_flair
from tests.lesions.conftest import make_head
from tests.lesions.evidence import block, evidence_of


def moved(angle_rad: float, shift_mm) -> np.ndarray:
    """A rigid motion of the world about its z axis."""
    world = np.eye(4)
    world[:2, :2] = [
        [np.cos(angle_rad), -np.sin(angle_rad)],
        [np.sin(angle_rad), np.cos(angle_rad)],
    ]
    world[:3, 3] = shift_mm
    return world


def test_lesions_are_found_with_their_volume_and_place(head, found, dice) -> None:
    assert dice(found.mask.data, head.lesions) > 0.9
    true_mm3 = head.lesions.sum() * head.t1w.voxel_volume_mm3
    assert found.volume_mm3 == pytest.approx(true_mm3, rel=0.1)
    assert found.corrected_mm3 == pytest.approx(true_mm3, rel=0.1)
    assert found.corrected_mm3 == pytest.approx(found.table["corrected_mm3"].sum())
    assert found.volume_column == "corrected_mm3"
    assert found.count == 3
    assert sorted(found.table.location) == [
        "deep white matter",
        "deep white matter",
        "periventricular",
    ]
    assert found.warnings == ()


def test_choroid_plexus_is_no_lesion(head, found) -> None:
    assert not (found.mask.data & head.plexus).any()


def test_a_healthy_head_has_no_lesions(healthy_head) -> None:
    found = segment_flair(healthy_head.flair, healthy_head.t1w, healthy_head.context)
    assert found.count == 0
    assert found.volume_mm3 == 0
    assert list(found.table.columns[:3]) == ["id", "volume_mm3", "location"]


@pytest.mark.slow
def test_scale_and_smooth_gain_of_flair_do_not_matter(head, dice) -> None:
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in head.flair.shape], indexing="ij")
    shaded = head.flair.like(7.3 * head.flair.data * np.exp(0.25 * x - 0.2 * y**2))
    found = segment_flair(shaded.like(shaded.data.astype(np.float32)), head.t1w, head.context)
    assert dice(found.mask.data, head.lesions) > 0.85


@pytest.mark.slow
def test_flair_elsewhere_is_brought_by_its_matrix_and_only_by_it(head, dice) -> None:
    flair_to_t1w = moved(0.15, (6.0, -4.0, 3.0))
    elsewhere = Image(head.flair.data, np.linalg.inv(flair_to_t1w) @ head.flair.affine)
    found = segment_flair(elsewhere, head.t1w, head.context, flair_to_t1w=flair_to_t1w)
    assert dice(found.mask.data, head.lesions) > 0.9
    # The mask on FLAIR's own grid is the same voxels, for this FLAIR has the grid of the T1w.
    assert dice(found.mask_flair.data, found.mask.data) > 0.95


@pytest.mark.slow
def test_thick_slices_keep_the_volume(head) -> None:
    affine = head.flair.affine @ np.diag([1, 1, 2, 1.0])
    affine[:3, 3] += head.flair.affine[:3, 2] / 2
    pairs = head.flair.data.reshape(80, 84, 38, 2).mean(-1)
    thick = Image(np.ascontiguousarray(pairs), affine)
    found = segment_flair(thick, head.t1w, head.context)
    true_mm3 = head.lesions.sum() * head.t1w.voxel_volume_mm3
    assert found.volume_mm3 == pytest.approx(true_mm3, rel=0.25)
    assert found.mask_flair.shape == thick.shape
    on_flair_mm3 = found.mask_flair.data.sum() * thick.voxel_volume_mm3
    # A slice that is exactly half lesion counts, so small round lesions grow a little.
    assert on_flair_mm3 == pytest.approx(found.volume_mm3, rel=0.3)


@pytest.mark.slow
def test_a_template_two_millimetres_off_is_borne(head, dice) -> None:
    def shifted(image: Image) -> Image:
        return resample(image, image, world=moved(0, (2.0, 0, 0)), order=1)

    context = replace(
        head.context,
        prior_gm=shifted(head.context.prior_gm),
        prior_wm=shifted(head.context.prior_wm),
        prior_csf=shifted(head.context.prior_csf),
    )
    found = segment_flair(head.flair, head.t1w, context)
    assert dice(found.mask.data, head.lesions) > 0.85


@pytest.mark.slow
def test_smaller_than_three_millimetres_is_dropped(head) -> None:
    found = segment_flair(
        head.flair, head.t1w, head.context, settings=FlairLesions(minimum_extent_mm=9.0)
    )
    assert found.count == 1


def test_without_t1w_bright_deep_lesions_are_still_found_and_a_warning_says_so(head) -> None:
    found = segment_flair(head.flair, None, Context(brain=head.context.brain))
    assert found.warnings
    hit = found.mask.data & head.lesions
    assert hit.sum() > 0.6 * head.lesions.sum()
    near = ndimage.binary_dilation(head.lesions | head.plexus, iterations=2)
    assert not (found.mask.data & ~near).any()


def test_an_empty_mask_and_a_flair_elsewhere_are_refused(head) -> None:
    with pytest.raises(DataError, match="brain mask is empty"):
        segment_flair(
            head.flair, None, Context(brain=head.flair.like(np.zeros(head.flair.shape, bool)))
        )
    far = Image(head.flair.data, moved(0, (200.0, 0, 0)) @ head.flair.affine)
    with pytest.raises(DataError, match="FLAIR covers"):
        segment_flair(far, head.t1w, head.context)


def test_swapped_contrasts_are_refused(head) -> None:
    inverted = head.t1w.like((150 - head.t1w.data) * (head.t1w.data > 10))
    with pytest.raises(DataError, match="WM > GM > CSF"):
        segment_flair(head.flair, inverted, head.context)


def test_priors_come_together_and_on_one_grid(head) -> None:
    with pytest.raises(DataError, match="some tissue priors"):
        Context(brain=head.context.brain, prior_wm=head.context.prior_wm)
    small = Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    with pytest.raises(DataError, match="grid"):
        Context(brain=head.context.brain, labels=small)


def test_t1w_seen_through_thick_slices_is_their_mean_and_stays_in_its_place(head) -> None:
    affine = head.flair.affine @ np.diag([1, 1, 4, 1.0])
    affine[:3, 3] += 1.5 * head.flair.affine[:3, 2]
    thick = Image(np.zeros((80, 84, 19), np.float32), affine)
    ramp = head.t1w.like(np.broadcast_to(np.arange(76.0), (80, 84, 76)).astype(np.float32))
    steps = head.t1w.like((ramp.data % 4).astype(np.float32))

    seen = t1w_in_slices_of_flair(ramp, thick, np.eye(4)).data
    flat = t1w_in_slices_of_flair(steps, thick, np.eye(4)).data

    inside = np.s_[5:-5, 5:-5, 8:-8]
    np.testing.assert_allclose(seen[inside], ramp.data[inside], atol=0.2)
    np.testing.assert_allclose(flat[inside], 1.5, atol=0.05)


def test_evidence_is_what_both_views_hold() -> None:
    lesion, other = block((20, 20, 20), (4, 3, 2)), block((40, 20, 20), (4, 3, 2))
    sure = replace(evidence_of(lesion, other), log_odds=np.where(lesion | other, 4, -8))
    mixed = replace(sure, log_odds=np.where(lesion, 3, -8), smallest_peak=25.0, allowed=~other)

    for found in (sure.agreeing_with(mixed), mixed.agreeing_with(sure)):
        assert np.array_equal(found.log_odds > 0, lesion)
        assert found.smallest_peak == 25.0
        assert not found.allowed[other].any()


@pytest.mark.parametrize("noise", [2.0, pytest.param(6.0, marks=pytest.mark.slow)])
def test_the_noise_of_flair_is_taken_off_the_height_of_lesions(monkeypatch, noise) -> None:
    seen: list[float] = []

    def growth(seeds, *_, noise, **__):
        seen.append(noise)
        return seeds

    monkeypatch.setattr(flair, "grow_to_half_height", growth)
    head = make_head(noise=noise)
    segment_flair(head.flair, head.t1w, head.context)

    kernel = ndimage.gaussian_filter1d(np.eye(1, 9, 4)[0], 0.5 / 1.5)
    left_by_smoothing = np.sum(kernel**2) ** 1.5
    assert seen == [pytest.approx(noise * left_by_smoothing, rel=0.05)]
