"""The change of volumes between two visits in one frame."""

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.anatomy.volume_change import SharedBorders, volume_changes
from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.image import Image

SHAPE = (64, 56, 48)
FLUID, GRAY, WHITE = 0.3, 0.8, 1.1


def _ball(centre, radius_mm):
    """Return the share of each voxel (1 mm) that a ball fills, its border a voxel soft."""
    axes = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    away = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)))
    return np.clip(0.5 + (radius_mm - away), 0, 1)


def _head(thalamus_mm=8.0, ventricle_mm=6.0, white_mm=20.5):
    """Return shares of a head of balls: a white one in gray in fluid, thalami and ventricles."""
    brain = _ball((32, 28, 24), 23.0)
    white = _ball((32, 28, 24), white_mm)
    thalami = [_ball((x, 21, 24), thalamus_mm) for x in (22, 42)]
    ventricles = [_ball((x, 39, 24), ventricle_mm) for x in (22, 42)]
    holes = sum(ventricles)
    gray = (brain - white) + white * sum(thalami)
    return {
        "brain": brain,
        "csf": (1 - brain) + holes * white,
        "wm": white * (1 - sum(thalami) - holes),
        "gm": gray,
        "thalami": thalami,
        "ventricles": ventricles,
    }


def _image(data):
    return Image(np.asarray(data, np.float32), lattice(1.0, (0.0, 0.0, 0.0)))


def _scan(head, generator, noise=0.02):
    signal = FLUID * head["csf"] + GRAY * head["gm"] + WHITE * head["wm"]
    blurred = ndimage.gaussian_filter(signal, 0.6)
    return _image(blurred + generator.normal(0, noise, SHAPE))


def _shared(first, second):
    def mean(name):
        return _image((first[name] + second[name]) / 2)

    def pair(name):
        left, right = ((a + b) / 2 for a, b in zip(first[name], second[name], strict=True))
        return _image(left), _image(right)

    # Wider than the brain, as the app's masks are: they hold the fluid inside the skull.
    brain = _image(ndimage.binary_dilation(mean("brain").data > 0.5, iterations=2))
    return SharedBorders(
        brain=brain,
        **{name: mean(name) for name in ("gm", "wm", "csf")},
        thalamus=pair("thalami"),
        ventricles=pair("ventricles"),
    )


def _changes(first, second, seed, noise=0.02):
    generator = np.random.default_rng(seed)
    found = volume_changes(
        *(_scan(head, generator, noise) for head in (first, second)), _shared(first, second)
    )
    return {(one.region, one.hemisphere): one for one in found}


def test_the_growth_of_ventricles_is_what_it_is_whatever_the_noise():
    before, after = _head(), _head(ventricle_mm=6.3)
    true = sum(one.sum() for one in after["ventricles"]) - sum(
        one.sum() for one in before["ventricles"]
    )
    for seed in range(3):
        found = _changes(before, after, seed)["lateral_ventricle", "LR"]
        assert found.change_mm3 == pytest.approx(true, rel=0.1)
        assert abs(found.change_mm3 - true) < 4 * found.standard_error_mm3 + 0.04 * true


@pytest.mark.parametrize("growth_mm", [-0.2, -0.1, 0.1])
def test_a_thalamus_of_faint_border_changes_by_what_it_changed(growth_mm):
    before, after = _head(), _head(thalamus_mm=8.0 + growth_mm)
    true = sum(one.sum() for one in after["thalami"]) - sum(one.sum() for one in before["thalami"])
    found = _changes(before, after, 1)["thalamus", "LR"]
    # Noise, and a tenth of a change that is far larger than a year's.
    assert abs(found.change_mm3 - true) < 0.003 * found.volume_mm3 + 0.1 * abs(true)
    assert np.sign(found.change_mm3) == np.sign(growth_mm)


def test_gray_turns_to_white_and_the_sum_stays():
    before, after = _head(), _head(white_mm=20.7)
    found = _changes(before, after, 2)
    gray, white = found["gray_matter", "n/a"], found["white_matter", "n/a"]
    true = after["wm"].sum() - before["wm"].sum()
    assert white.change_mm3 == pytest.approx(true, rel=0.15)
    assert gray.change_mm3 == pytest.approx(-white.change_mm3, rel=0.15)


def test_nothing_changes_from_noise_alone_and_the_errors_know_it():
    same = _head()
    scores = []
    for seed in range(6):
        found = _changes(same, same, 10 + seed)
        for (region, side), one in found.items():
            if side in {"LR", "n/a"}:
                scores.append(one.change_mm3 / one.standard_error_mm3)
                limit = 0.01 if region == "lateral_ventricle" else 0.005
                assert abs(one.change_mm3) < limit * one.volume_mm3
    # Standard errors that were too small would show as scores far beyond 2.
    assert np.sqrt(np.mean(np.square(scores))) < 1.5


def test_the_visits_in_turn_give_the_opposite_change():
    before, after = _head(), _head(thalamus_mm=7.9, ventricle_mm=6.2)
    scans = [_scan(head, np.random.default_rng(4)) for head in (before, after)]
    shared = _shared(before, after)
    there = volume_changes(scans[0], scans[1], shared)
    back = volume_changes(scans[1], scans[0], shared)
    assert [one.change_mm3 for one in there] == pytest.approx([-one.change_mm3 for one in back])


def test_a_structure_that_no_visit_has_is_not_measured():
    head = _head()
    head["ventricles"] = [np.zeros(SHAPE), np.zeros(SHAPE)]
    found = _changes(head, head, 5)["lateral_ventricle", "LR"]
    assert found.volume_mm3 == 0
    assert np.isnan(found.change_mm3)
