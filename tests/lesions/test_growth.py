import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import edited_mask, grow, seeds_at
from bids_qsmthal.lesions.context import BrainBox
from bids_qsmthal.lesions.growth import components, expected_largest, grow_to_half_height, peaks

SIZE_MM = (1.0, 1.2, 2.0)
SHAPE = (48, 40, 24)
BOX = BrainBox(Crop((0, 0, 0), (48, 40, 24), SHAPE), SIZE_MM)


def ball(radius_mm: float, centre=(24, 20, 12)) -> np.ndarray:
    axes = [(np.arange(n) - c) * d for n, c, d in zip(SHAPE, centre, SIZE_MM, strict=True)]
    return sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) <= radius_mm**2


@pytest.mark.parametrize("blur_mm", [0.5, 0.8, 1.2])
@pytest.mark.parametrize("contrast", [10.0, 80.0])
def test_half_height_keeps_the_volume_at_any_small_blur_and_contrast(blur_mm, contrast) -> None:
    true = ball(8.0)
    excess = BOX.blur(contrast * true, blur_mm)
    found = grow_to_half_height(
        ball(3.0), excess, np.ones(SHAPE, bool), BOX, noise=0.0, reach_mm=12
    )
    assert found.sum() == pytest.approx(true.sum(), rel=0.08)


def test_noise_does_not_shift_the_outline_of_a_faint_lesion() -> None:
    true, height, noise = ball(8.0), 10.0, 2.0
    rng = np.random.default_rng(5)
    clean = BOX.blur(height * true, 0.8)
    off = []
    for known in (noise, 0.0):
        found = [
            grow_to_half_height(
                ball(5.0),
                clean + noise * rng.standard_normal(SHAPE).astype(np.float32),
                ball(12.0),
                BOX,
                noise=known,
                reach_mm=12,
            ).sum()
            for _ in range(8)
        ]
        off.append(np.mean(found) / true.sum() - 1)
    assert abs(off[0]) < 0.03
    assert off[1] < -0.06


def test_expected_largest_is_that_of_normal_values() -> None:
    drawn = np.random.default_rng(2).standard_normal((20_000, 27)).max(axis=1)
    assert expected_largest(27) == pytest.approx(drawn.mean(), abs=0.05)
    assert expected_largest(1) == 0


def test_growth_stays_within_what_is_allowed_and_within_reach() -> None:
    excess = np.ones(SHAPE, np.float32)
    allowed = np.zeros(SHAPE, bool)
    allowed[:30] = True
    found = grow_to_half_height(ball(2.0), excess, allowed, BOX, noise=0.0, reach_mm=4.0)
    assert not found[30:].any()
    assert np.array_equal(found, BOX.dilate(ball(2.0), 4.0) & allowed)


def test_each_seed_has_its_own_height() -> None:
    weak, strong = ball(5.0, (12, 20, 12)), ball(5.0, (36, 20, 12))
    excess = BOX.blur(10.0 * weak + 100.0 * strong, 1.0)
    seeds = ball(2.0, (12, 20, 12)) | ball(2.0, (36, 20, 12))
    found = grow_to_half_height(seeds, excess, np.ones(SHAPE, bool), BOX, noise=0.0, reach_mm=10)
    left, right = found[:24].sum(), found[24:].sum()
    assert left == pytest.approx(right, rel=0.05)


def test_peaks_are_quantiles_of_each_component() -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[2, 3, 4:15] = True
    mask[20, 3, 4:9] = True
    labels, count = components(mask)
    found = peaks(labels, count, values, 0.9)
    assert found[1] == values[2, 3, 13]
    assert found[2] == np.quantile(values[20, 3, 4:9], 0.9, method="nearest")


def test_cubes_and_distances_are_in_millimetres() -> None:
    assert BOX.cube(2.0) == (3, 3, 3)
    assert BOX.cube(4.0) == (5, 5, 3)
    point = ball(0.1)
    for axis, size_mm in enumerate(SIZE_MM):
        assert BOX.distance_mm(np.roll(point, 3, axis))[point] == pytest.approx(3 * size_mm)
    assert np.isinf(BOX.distance_mm(np.zeros(SHAPE, bool))).all()


def test_the_frame_of_a_box_keeps_its_place_in_the_world() -> None:
    affine = np.array([[0, -1.2, 0, 9], [1, 0, 0.1, 4], [0, 0, 2, -7], [0, 0, 0, 1.0]])
    whole = Image(np.arange(np.prod(SHAPE)).reshape(SHAPE), affine)
    box = Crop((5, 3, 2), (15, 27, 7), SHAPE)
    frame = box.of(whole)
    assert frame.data[1, 2, 3] == whole.data[6, 5, 5]
    assert frame.affine @ [1, 2, 3, 1] == pytest.approx(affine @ [6, 5, 5, 1])
    assert np.array_equal(box.paste(frame.data)[box.slices], frame.data)


def test_wide_blur_has_the_width_of_the_gaussian_along_each_axis() -> None:
    point = np.zeros((81, 81, 81), np.float32)
    point[40, 40, 40] = 1.0
    box = BrainBox(Crop((0, 0, 0), (81, 81, 81), (81, 81, 81)), (1.0, 1.5, 2.0))
    wide = box.blur_widely(point, 8.0)
    assert wide.sum() == pytest.approx(1.0, rel=1e-3)
    for axis, size_mm in enumerate(box.voxel_size_mm):
        profile = wide.sum(axis=tuple({0, 1, 2} - {axis}))
        spread_mm = size_mm * np.sqrt(profile @ (np.arange(81) - 40) ** 2)
        assert spread_mm == pytest.approx(8.0, rel=0.15)


def test_a_readers_seed_grows_through_its_lesion_and_no_further(dice) -> None:
    affine = np.diag([*SIZE_MM, 1.0])
    affine[:3, 3] = (-20, 5, 7)
    lesion = ball(6.0)
    image = Image(lit(lesion).data, affine)
    seeds = seeds_at(np.array([[-20 + 24, 5 + 20 * 1.2, 7 + 24.0]]), image)
    assert np.argwhere(seeds.data).tolist() == [[24, 20, 12]]
    assert dice(grow(image, seeds).data, lesion) > 0.93


def lit(*lesions: np.ndarray, noise: float = 3.0) -> Image:
    """White matter of 100 with lesions of 160, blurred as a scanner does."""
    rng = np.random.default_rng(3)
    sharp = 100.0 + 60 * np.logical_or.reduce(lesions)
    return Image(BOX.blur(sharp, 0.6) + noise * rng.standard_normal(SHAPE), np.diag([*SIZE_MM, 1]))


def test_a_seed_does_not_leak_into_cortex_that_touches_its_lesion(dice) -> None:
    lesion = ball(5.0)
    image = lit(lesion)
    cortex = np.indices(SHAPE)[0] >= 29
    image.data[cortex] = np.maximum(image.data[cortex], 135.0)
    grown = grow(image, image.like(ball(1.5))).data
    assert dice(grown, lesion) > 0.85


def test_growing_stays_within_the_boundary(dice) -> None:
    lesion = ball(8.0)
    image = lit(lesion)
    within = image.like(np.indices(SHAPE)[0] < 26)
    grown = grow(image, image.like(ball(1.5)), within=within).data
    assert not (grown & ~within.data).any()
    assert dice(grown, lesion & within.data) > 0.9


def test_a_lesion_longer_than_the_reach_needs_two_seeds(dice) -> None:
    lesion = ball(4.0, (12, 20, 12)) | ball(4.0, (20, 20, 12))
    image = lit(lesion)
    one, both = ball(1.5, (12, 20, 12)), ball(1.5, (12, 20, 12)) | ball(1.5, (20, 20, 12))
    assert dice(grow(image, image.like(both), reach_mm=9.0).data, lesion) > 0.9
    alone = grow(image, image.like(one), reach_mm=9.0).data
    assert not alone[22:].any()


def test_the_reach_is_in_millimetres() -> None:
    image = lit(ball(5.0, (24, 20, 7)) | ball(4.0, (24, 20, 10)))  # slices of 2 mm
    alone = grow(image, image.like(ball(1.5, (24, 20, 7))), reach_mm=9.0).data
    assert alone.any()
    assert not alone[:, :, 11:].any()


def test_what_no_seed_touches_stays_out() -> None:
    image = lit(ball(5.0, (12, 20, 12)), ball(5.0, (36, 20, 12)))
    grown = grow(image, image.like(ball(1.5, (12, 20, 12)))).data
    assert grown[:24].any()
    assert not grown[24:].any()
    nothing = grow(image, image.like(np.zeros(SHAPE, bool))).data
    assert not nothing.any()


def test_edits_add_and_remove_and_removal_wins() -> None:
    mask = Image(ball(4.0), np.eye(4))
    add, remove = mask.like(ball(6.0)), mask.like(ball(2.0))
    result = edited_mask(mask, add=add, remove=remove)
    assert np.array_equal(result.data, ball(6.0) & ~ball(2.0))
    assert np.array_equal(edited_mask(mask).data, mask.data)


def test_edits_and_seeds_of_another_grid_are_refused() -> None:
    mask, other = Image(ball(4.0), np.eye(4)), Image(np.zeros((3, 3, 3), bool), np.eye(4))
    with pytest.raises(UsageError, match="grid"):
        edited_mask(mask, add=other)
    with pytest.raises(UsageError, match="grid"):
        grow(mask, other)
    with pytest.raises(UsageError, match="outside"):
        seeds_at(np.array([[900.0, 0, 0]]), mask)


def test_components_touch_at_corners() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    labels, count = components(mask)
    assert count == 2
    assert labels[0, 0, 0] == labels[1, 1, 1]
    assert ndimage.label(mask)[1] == 3
