"""The volume of lesions without what slices, noise and the half of the height do to it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.crop import Crop
from bids_qsmthal.lesions.context import BrainBox
from bids_qsmthal.lesions.evidence import Evidence
from bids_qsmthal.lesions.growth import grow_to_half_height
from bids_qsmthal.lesions.volume import Rescan, corrected_mm3
from tests.lesions.evidence import evidence_of

SHAPE = (40, 40, 60)
BOX = BrainBox(Crop((0, 0, 0), SHAPE, SHAPE), (1.0, 1.0, 1.0))
NOWHERE = np.zeros(SHAPE, bool)
HEIGHT, NOISE = 40.0, 4.0
REACH_MM = 10.0


def rod(centre: tuple[float, ...], radius_mm: float) -> np.ndarray:
    """An ellipsoid of 20 mm, oblique to the slices."""
    x, y, z = (axis - middle for axis, middle in zip(np.indices(SHAPE), centre, strict=True))
    along, across = (y + z) / np.sqrt(2), (y - z) / np.sqrt(2)
    return (x / radius_mm) ** 2 + (along / 10) ** 2 + (across / radius_mm) ** 2 <= 1


def through_slices(data: np.ndarray, slice_mm: int = 5) -> np.ndarray:
    """As a scan with slices along z shows it, interpolated to the grid of the mask."""
    return ndimage.gaussian_filter(
        ndimage.uniform_filter1d(data.astype(np.float32), slice_mm, axis=2), 0.5
    )


def noise(seed: int) -> np.ndarray:
    drawn = through_slices(np.random.default_rng(seed).standard_normal(SHAPE))
    return NOISE * drawn / drawn.std()


def scanned(lesion: np.ndarray, seed: int, height: float = HEIGHT) -> Evidence:
    excess = height * through_slices(lesion) + noise(seed)
    everywhere = np.ones(SHAPE, bool)
    return replace(evidence_of(), excess=excess, noise=NOISE, allowed=everywhere)


def outlined(evidence: Evidence, lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is found of a lesion, and the seeds that it grew from."""
    seeds = lesion & (evidence.excess > 0.8 * evidence.excess[lesion].max())
    grown = grow_to_half_height(
        seeds, evidence.excess, evidence.allowed, BOX, noise=NOISE, reach_mm=REACH_MM
    )
    return grown, seeds


def corrected(mask: np.ndarray, seeds: np.ndarray, evidence: Evidence) -> np.ndarray:
    rescan = Rescan(through_slices(mask), noise(99))
    return corrected_mm3(mask, seeds, evidence, rescan, BOX, reach_mm=REACH_MM)


@pytest.mark.parametrize("radius_mm", [2.5, 3.0, 3.5])
def test_most_of_what_slices_take_from_a_thin_lesion_is_given_back(radius_mm) -> None:
    true = rod((20, 20, 30), radius_mm)
    errors = []
    for seed in range(6):
        evidence = scanned(true, seed)
        found, seeds = outlined(evidence, true)
        volume_mm3 = corrected(found, seeds, evidence).sum()
        errors.append((found.sum() - true.sum(), volume_mm3 - true.sum()))
    of_mask, of_volume = np.mean(errors, axis=0) / true.sum()
    assert of_mask < -0.03
    assert abs(of_volume) < 0.5 * abs(of_mask)


def test_each_lesion_is_corrected_by_its_own_outline_and_contrast() -> None:
    small, large = rod((10, 16, 15), 2.5), rod((28, 24, 42), 4.0)
    evidence = scanned(small, 0)
    # Twice the contrast: with that of the other one, the second outline would differ.
    evidence = replace(evidence, excess=evidence.excess + 2 * HEIGHT * through_slices(large))
    parts = [outlined(evidence, one) for one in (small, large)]
    alone = [corrected(*part, evidence)[0] for part in parts]
    mask, seeds = (np.logical_or(*pair) for pair in zip(*parts, strict=True))
    assert corrected(mask, seeds, evidence).tolist() == pytest.approx(alone)
    assert alone[1] > 2 * alone[0] > 0


def test_voxels_have_their_size() -> None:
    true = rod((20, 20, 30), 3.0)
    evidence = scanned(true, 0)
    found, seeds = outlined(evidence, true)
    coarse = BrainBox(BOX.crop, (2.0, 2.0, 2.0))
    rescan = Rescan(through_slices(found), noise(99))
    (volume_mm3,) = corrected_mm3(found, seeds, evidence, rescan, coarse, reach_mm=2 * REACH_MM)
    assert volume_mm3 == pytest.approx(8 * corrected(found, seeds, evidence)[0])


def test_a_lesion_without_seeds_is_outlined_from_its_highest_voxel() -> None:
    true = rod((20, 20, 30), 3.0)
    evidence = scanned(true, 0)
    found, seeds = outlined(evidence, true)
    (volume_mm3,) = corrected(found, NOWHERE, evidence)
    assert volume_mm3 == pytest.approx(corrected(found, seeds, evidence)[0], rel=0.15)


def test_without_lesions_there_is_no_volume() -> None:
    assert corrected(NOWHERE, NOWHERE, scanned(NOWHERE, 0)).shape == (0,)
