"""A T1w that is none, or not all of one: an error in one line, or a flag; never a wrong volume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import Rigid, brain, preparation
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import (
    BrainAtImageEdge,
    BrainsDoNotOverlap,
    BrainVolumeImplausible,
    ContrastNotT1w,
    TemplateRegistrationFailed,
)
from bids_qsmthal.participant import input_checks, quality
from bids_qsmthal.participant.structural import Structural
from bids_qsmthal.report import sentences
from tests import brain_phantom as phantom
from tests.anatomy.phantoms import oriented


def saved(folder: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    return phantom.write(folder / "sub-01_T1w.nii.gz", Image(data, affine), "f4")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(1, 2, shape)


@pytest.mark.parametrize(
    ("shape", "voxel_mm", "says"),
    [
        ((180, 220, 1), (1.0, 1.0, 5.0), "expected a volume of a head"),
        ((180, 220, 3), (1.0, 1.0, 2.0), "expected a volume of a head"),
        ((60, 60, 60), (0.001, 0.001, 0.001), "is not in millimetres"),
        ((60, 60, 60), (20.0, 20.0, 20.0), "1.2e+03 x 1.2e+03 x 1.2e+03 mm"),
        ((40, 40, 40, 2), (4.5, 4.5, 4.5), "expected one volume"),
    ],
    ids=["2-D", "three slices", "metres", "more than a metre", "4-D"],
)
def test_a_scan_that_is_no_head_is_refused(tmp_path, shape, voxel_mm, says):
    path = saved(tmp_path, noise(*shape), np.diag([*voxel_mm, 1.0]))
    with pytest.raises(DataError) as caught:
        input_checks.structural(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_sheared_axes_are_refused_and_the_rounding_of_headers_is_not(tmp_path):
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[0, 1] = 0.8
    with pytest.raises(DataError, match=r"sheared \(cosine 0\.196"):
        input_checks.structural(saved(tmp_path, noise(40, 48, 36), affine))
    affine[0, 1] = 0.0004
    assert input_checks.structural(saved(tmp_path, noise(40, 48, 36), affine)).shape == (40, 48, 36)


def test_axes_that_are_no_unit_vectors_are_voxel_sizes(tmp_path):
    affine = np.array([[0, -3.0, 0, 60], [2.0, 0, 0, -70], [0, 0, 4.0, -50], [0, 0, 0, 1]])
    found = input_checks.structural(saved(tmp_path, noise(60, 45, 30), affine))
    assert found.grid.voxel_size_mm == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("flips", [(0,), (1,), (0, 1, 2), ()], ids=str)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_left_handed_and_turned_axes_give_the_same_volumes_on_the_same_side(order, flips):
    grid = phantom.grid()
    kinds, nuclei = phantom.tissue(grid), phantom.labels(grid)
    nuclei.data[phantom.ellipsoid(phantom.world(grid), (-26.0, 18.0, 0.0), (6.0, 9.0, 9.0))] = 11
    turned = [
        oriented(image.data, image.affine, order, flips)
        for image in (phantom.t1w(grid), kinds, nuclei)
    ]

    found, straight = (
        anatomy.segment(
            phantom.prepare(t1w, settings=None, brain=None, seed=1),
            external=anatomy.ExternalLabels(tissue=tissue, deepgray=labels),
        )
        for t1w, tissue, labels in (turned, (phantom.t1w(grid), kinds, nuclei))
    )

    assert found.volumes_mm3["caudate_L"] > 1000
    assert found.volumes_mm3["caudate_R"] == 0
    for name, expected in straight.volumes_mm3.items():
        assert found.volumes_mm3[name] == pytest.approx(expected, rel=1e-5), name
    for side, expected in straight.thickness_mean_mm.items():
        assert found.thickness_mean_mm[side] == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
def test_a_huge_field_of_view_costs_nothing_and_changes_nothing():
    small = phantom.grid()
    pad = 40
    affine = small.affine.copy()
    affine[:3, 3] -= pad * phantom.VOXEL_MM
    large = Image(np.zeros([n + 2 * pad for n in small.shape], np.uint8), affine)
    volumes = [
        anatomy.segment(
            phantom.prepare(phantom.t1w(grid), settings=None, brain=None, seed=1),
            external=anatomy.ExternalLabels(
                tissue=phantom.tissue(grid), deepgray=phantom.labels(grid)
            ),
        ).volumes_mm3
        for grid in (small, large)
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-5)


def test_nothing_that_looks_like_a_brain_is_an_error(monkeypatch):
    monkeypatch.setattr(brain, "_infer", lambda name, head, threads: np.zeros(head.shape))  # noqa: ARG005
    head = phantom.t1w(phantom.grid())
    with pytest.raises(DataError, match="nothing in the image looks like a brain"):
        anatomy.brain_mask(head)


def test_what_is_too_small_for_a_brain_is_an_error(monkeypatch):
    def speck(name: str, head: np.ndarray, threads: int) -> np.ndarray:
        del name, threads
        found = np.zeros(head.shape)
        found[60:62, 60:62, 60:62] = 1
        return found

    monkeypatch.setattr(brain, "_infer", speck)
    with pytest.raises(DataError, match="too small to be one"):
        anatomy.brain_mask(phantom.t1w(phantom.grid()))


def test_a_partial_head_is_flagged():
    whole = phantom.brain(phantom.grid())
    assert not brain.volume_warnings(whole)
    cut = Image(whole.data[:, :, 25:], whole.affine)
    assert BrainAtImageEdge(1) in brain.volume_warnings(cut)
    small = Image(whole.data[:, :, 40:], whole.affine)
    (implausible,) = [
        warning
        for warning in brain.volume_warnings(small)
        if isinstance(warning, BrainVolumeImplausible)
    ]
    assert implausible.volume_ml < implausible.lowest_ml


def flagged(found: anatomy.Anatomy, **parts: object) -> Structural:
    return Structural(t1w=found.t1w, anatomy=found, **parts)


@pytest.fixture(scope="module")
def good():
    prepared = phantom.prepare(phantom.t1w(phantom.grid()), settings=None, brain=None, seed=1)
    prepared.quality["template_correlation"] = 0.9
    kinds, nuclei = phantom.tissue(phantom.grid()), phantom.labels(phantom.grid())
    given = anatomy.ExternalLabels(tissue=kinds, deepgray=nuclei)
    return prepared, replace(anatomy.segment(prepared, external=given), warnings=())


def test_a_good_head_has_no_flag(good):
    prepared, found = good
    rigid = Rigid(np.eye(4), {"overlap": 0.97})
    head = flagged(found, prepared=prepared, flair_to_t1w=rigid)
    assert quality.decision(head, None) == "include"
    assert set(quality.checks(head, None)["name"]) == {
        "registration_template",
        "registration_FLAIR",
    }


@pytest.mark.parametrize("name", ["flair_to_t1w", "ce_to_t1w"])
def test_a_failed_registration_of_a_scan_is_a_flag_and_a_warning(good, name):
    prepared, found = good
    apart = BrainsDoNotOverlap(40, 85)
    failed = Rigid(np.eye(4), {"overlap": 0.4}, (apart,))
    head = flagged(found, prepared=prepared, **{name: failed})
    checks = quality.checks(head, None).set_index("verdict")
    assert quality.decision(head, None) == "check"
    row = checks.loc["check"]
    assert row["reason"] == f"{quality.REGISTERED[row['name']]}, {sentences.sentence(apart)}"
    assert apart in head.warnings


@pytest.mark.slow
def test_a_failed_registration_to_the_template_is_a_flag_and_a_warning(monkeypatch):
    t1w = phantom.t1w(phantom.grid())
    monkeypatch.setattr(preparation, "bias_corrected", lambda image, *_, **__: image)
    elsewhere = np.eye(4)
    elsewhere[:3, 3] = 60
    monkeypatch.setattr(preparation, "normalise", lambda *_, **__: Warp(elsewhere, ()))

    prepared = preparation.prepare(t1w, brain=phantom.brain(t1w))

    (failed,) = prepared.warnings
    assert isinstance(failed, TemplateRegistrationFailed)
    assert failed.correlation < failed.lowest
    head = Structural(t1w=t1w, prepared=prepared)
    assert quality.decision(head, None) == "check"
    assert "template failed" in " ".join(quality.checks(head, None)["reason"])


@pytest.mark.parametrize(
    ("contrast", "labels_known"), [("T2w", True), ("FLAIR", True), ("FLAIR", False)]
)
def test_another_contrast_named_t1w_is_flagged(contrast, labels_known):
    grid = phantom.grid()
    if contrast == "T2w":
        image = grid.like(np.maximum(150 - phantom.t1w(grid).data, 0) * (phantom.brain(grid).data))
    else:
        image = phantom.flair(grid)
    prepared = phantom.prepare(image, settings=None, brain=None, seed=1)
    given = anatomy.ExternalLabels(tissue=phantom.tissue(grid), deepgray=phantom.labels(grid))
    found = anatomy.segment(prepared, external=given if labels_known else None)
    assert any(isinstance(warning, ContrastNotT1w) for warning in found.warnings)
    assert quality.decision(flagged(found, prepared=prepared), None) == "check"
