from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.anatomy import atlas, brain_mask, rigid
from bids_qsmthal.anatomy.registration import SEARCH, UNEVEN, RigidRegistration, _motion
from bids_qsmthal.anatomy.sampling import isotropic
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample

pytestmark = pytest.mark.slow


def _moved():
    angle = 0.1
    matrix = np.eye(4)
    c, s = np.cos(angle), np.sin(angle)
    matrix[1:3, 1:3] = [[c, -s], [s, c]]
    matrix[:3, 3] = (4.0, -6.0, 3.0)
    return matrix


def test_a_known_motion_is_found_across_contrasts_and_called_good():
    fixed = isotropic(atlas.probability("T1w"), 2.0)
    true = _moved()
    other = fixed.like(np.where(fixed.data > 0.05, 1.0 - fixed.data, 0).astype(np.float32))
    moving = resample(other, fixed, world=true)
    masks = [image.like(image.data > 0.05) for image in (fixed, moving)]

    found = rigid(fixed, moving, fixed_mask=masks[0], moving_mask=masks[1])

    corners = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])
    error_mm = np.linalg.norm((corners @ (found.matrix - true).T)[:, :3], axis=1)
    assert error_mm.max() < 0.5
    assert not found.failed


def test_the_gain_of_coils_does_not_lead_a_registration_astray():
    fixed = isotropic(atlas.probability("T1w"), 2.5)
    true = _moved()
    other = fixed.like(np.where(fixed.data > 0.05, 1.0 - fixed.data, 0).astype(np.float32))
    moving = resample(other, fixed, world=true)
    masks = [image.like(image.data > 0.05) for image in (fixed, moving)]
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in moving.shape), indexing="ij")
    gain = 0.2 + 0.8 * sum(axis**2 for axis in axes)
    uneven = moving.like((moving.data * gain).astype(np.float32))

    found = rigid(fixed, uneven, fixed_mask=masks[0], moving_mask=masks[1], settings=UNEVEN)

    corners = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])
    error_mm = np.linalg.norm((corners @ (found.matrix - true).T)[:, :3], axis=1)
    assert error_mm.max() < 0.7
    assert found.quality["sharpness"] > 2 * UNEVEN.min_sharpness
    assert not found.failed


def test_a_turn_about_the_moving_brain_does_not_shift_it():
    mask = Image(np.zeros((20, 20, 20), np.uint8), np.diag([2.0, 2, 2, 1]))
    mask.data[4:9, 10:15, 2:7] = 1
    centre = np.append(np.array([6, 12, 4]) * 2.0, 1)
    turn = _moved()
    turn[:3, 3] = 0
    turn[:3, 3] = centre[:3] - (turn @ centre)[:3]
    motion = _motion(turn, mask)
    assert motion["shift_mm"] == pytest.approx(0, abs=1e-9)
    assert motion["rotation_deg"] == pytest.approx(np.rad2deg(0.1))


def test_a_search_that_went_astray_is_begun_again():
    fixed = isotropic(atlas.probability("T1w"), 2.5)
    true = _moved()
    moving = resample(fixed, fixed, world=true)
    masks = [image.like(image.data > 0.05) for image in (fixed, moving)]
    # A search that does not move stays where it began, and so does the match without another.
    still = replace(SEARCH, iterations=(0,), shrink=(1,), smooth_voxels=(0,))
    how = RigidRegistration(search=still, refine=still, search_again=still)
    corners = np.array([[x, y, z, 1] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])
    errors_mm = []
    for settings in (how, replace(how, search_again=RigidRegistration().search_again)):
        found = rigid(fixed, moving, fixed_mask=masks[0], moving_mask=masks[1], settings=settings)
        errors_mm.append(np.linalg.norm((corners @ (found.matrix - true).T)[:, :3], axis=1).max())
    assert errors_mm[0] > 4
    assert errors_mm[1] < 0.5


def test_a_scan_of_something_else_is_called_failed(rng):
    fixed = isotropic(atlas.probability("T1w"), 4.0)
    noise = fixed.like(rng.random(fixed.shape).astype(np.float32))
    mask = fixed.like(fixed.data > 0.05)

    assert rigid(fixed, noise, fixed_mask=mask).failed


def test_the_brain_of_the_head_template_is_found_in_every_orientation():
    head = isotropic(atlas.probability("desc-head_T1w"), 2.0)
    true = isotropic(atlas.probability("T1w"), 2.0).data > 0.02
    turned = Image(np.flip(np.transpose(head.data, (2, 0, 1)), 0).copy(), head.affine)
    order = np.zeros((4, 4))
    order[2, 0], order[0, 1], order[1, 2], order[3, 3] = -1, 1, 1, 1
    order[2, 3] = head.shape[2] - 1
    turned = Image(turned.data, head.affine @ order)

    upright, other = brain_mask(head), brain_mask(turned)

    estimate = upright.data
    assert 2 * (estimate & true).sum() / (estimate.sum() + true.sum()) > 0.95
    again = np.transpose(np.flip(other.data, 0), (1, 2, 0))
    assert np.array_equal(again, estimate)


def test_an_image_without_a_head_is_refused_in_words():
    flat = Image(np.ones((80, 80, 80), np.float32), np.diag([2.0, 2, 2, 1]))
    slice_ = Image(np.ones((80, 80, 3), np.float32), np.diag([2.0, 2, 2, 1]))

    with pytest.raises(DataError, match="constant"):
        brain_mask(flat)
    with pytest.raises(DataError, match="three dimensions"):
        brain_mask(slice_)
