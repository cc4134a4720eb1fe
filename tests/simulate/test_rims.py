"""The block of lesions holds what it says."""

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.roi.lesion_iron import LesionImages, lesion_iron
from bids_qsmthal.roi.rim_field import unexplained_ppb
from bids_qsmthal.roi.rims import RimRule
from bids_qsmthal.simulate.fields import dipole_field
from bids_qsmthal.simulate.rims import LesionKind, draw_block

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def block():
    return draw_block((1.0, 1.0, 1.0), np.random.default_rng(2001), noise_ppb=1.0)


def test_each_lesion_has_its_volume_and_its_iron(block):
    assert len(block.lesions) > 15
    for number, lesion in enumerate(block.lesions, start=1):
        mask = block.labels == number
        if lesion.radius_mm < 3 or np.linalg.norm(np.divide(lesion.centre_mm, (7, 22, 8))) < 2:
            continue
        assert mask.sum() == pytest.approx(4 / 3 * np.pi * lesion.radius_mm**3, rel=0.3)
        depth = ndimage.distance_transform_edt(mask)
        core = 1e3 * float(np.median(block.chi_ppm[mask & (depth > 0.6 * depth.max())]))
        if lesion.kind is LesionKind.SOLID:
            assert core == pytest.approx(lesion.strength_ppb, abs=8)
        else:
            assert core < 25


def test_lesions_keep_apart(block):
    groups, count = ndimage.label(block.labels > 0, np.ones((3, 3, 3)))
    for group in range(1, count + 1):
        assert np.unique(block.labels[groups == group]).size == 1


def test_the_field_is_that_of_the_susceptibility(block):
    made = dipole_field(block.chi_ppm, block.grid)
    difference = (block.field_ppm - made)[block.inside]
    assert 1e3 * difference.std() < 2.5
    assert np.corrcoef(block.field_ppm[block.inside], made[block.inside])[0, 1] > 0.9


def test_most_rims_of_a_head_that_was_not_learnt_from_are_told(block):
    rule = RimRule()
    noise = np.full(block.grid.shape, 1e-3, np.float32)
    magnitude = (block.inside * (1 + 0.15 * block.share + 0.5 * block.fluid)).astype(np.float32)
    local = Measurement(block.field_ppm, noise, magnitude, block.inside, block.fluid)
    chi_ppb = 1e3 * Medi()(local, block.grid).chi_ppm
    tissue = block.inside & (block.labels == 0) & ~ndimage.binary_dilation(block.fluid)
    images = LesionImages(
        labels=block.labels,
        chi_ppb=chi_ppb,
        usable=block.inside,
        veins=np.zeros(block.labels.shape, np.bool_),
        white=tissue,
        reference=block.fluid,
        voxel_size_mm=block.grid.voxel_size_mm,
        unexplained_ppb=unexplained_ppb(chi_ppb, 1e3 * block.field_ppm, block.inside, block.grid),
        noise_ppb=1e3 * noise,
        b0_direction=block.grid.b0_direction,
    )
    asked = lesion_iron(images, rule=rule).dropna(subset="rim_probability")
    called = asked["rim_probability"] >= rule.threshold
    rims = [block.lesions[number - 1].kind is LesionKind.RIM for number in asked["id"]]
    assert len(asked) >= 8
    assert np.mean(called == rims) >= 0.9
