"""External labels: every number that follows from them follows."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import anatomy
from bids_qsmthal.anatomy import ExternalLabels, segment
from bids_qsmthal.core.scan_warnings import ContrastNotT1w, ThicknessImplausible
from tests import brain_phantom as phantom


@pytest.fixture(scope="module")
def prepared():
    image = phantom.t1w(phantom.grid())
    return phantom.prepare(image, settings=None, brain=None, seed=1)


@pytest.fixture(scope="module")
def ours(prepared):
    return segment(prepared)


def volume(image, values) -> float:
    return float(np.isin(image.data, values).sum()) * image.voxel_volume_mm3


def test_our_own_segmentation_of_the_phantom_is_right(ours):
    truth = phantom.tissue(phantom.grid())
    for name, kind in (("gray_matter", 1), ("white_matter", 2)):
        assert ours.volumes_mm3[name] == pytest.approx(volume(truth, [kind]), rel=0.1)


def test_every_volume_and_the_probability_follow_deep_gray_labels(prepared, ours):
    edited = phantom.labels(phantom.grid())
    edited.data[edited.data == 10] = 0
    points = phantom.world(edited)
    edited.data[phantom.ellipsoid(points, (-14.0, -8.0, -4.0), (12.0, 15.0, 10.0))] = 10
    edited.data[phantom.ellipsoid(points, (-26.0, 18.0, 0.0), (6.0, 9.0, 9.0))] = 12
    edited.data[edited.data == 43] = 0

    found = segment(prepared, external=ExternalLabels(deepgray=edited))

    volumes = found.volumes_mm3
    assert volumes["thalamus_L"] == pytest.approx(volume(edited, [10]))
    assert volumes["thalamus_LR"] == pytest.approx(volume(edited, [10, 49]))
    assert volumes["putamen_L"] == pytest.approx(volume(edited, [12]))
    assert volumes["lateral_ventricle_R"] == 0
    moved = volumes["gray_matter"] - ours.volumes_mm3["gray_matter"]
    assert moved > 0.8 * volume(edited, [12])  # its white matter counts as gray now
    np.testing.assert_array_equal(found.deepgray.data, edited.data)
    np.testing.assert_array_equal(found.thalamus_probability[0].data, edited.data == 10)
    assert not found.ventricles.data[edited.data == 0].any()
    assert not (found.nuclei.data[edited.data != 10] == 1).any()


def test_tissue_labels_change_their_volumes_and_thickness_and_no_nucleus(prepared, ours):
    edited = phantom.tissue(phantom.grid())
    shell = phantom.depth(phantom.world(edited))
    edited.data[(shell > 0.80) & (shell <= 0.94)] = 1  # twice the cortex

    found = segment(prepared, external=ExternalLabels(tissue=edited))

    for name, kind in (("gray_matter", 1), ("white_matter", 2), ("csf", 3)):
        assert found.volumes_mm3[name] == pytest.approx(volume(edited, [kind]), rel=1e-5)
    assert found.thickness_mean_mm["whole"] > ours.thickness_mean_mm["whole"] + 1
    np.testing.assert_array_equal(found.tissue.data, edited.data)
    for name in ("thalamus_L", "thalamus_R", "lateral_ventricle_L", "intracranial"):
        assert found.volumes_mm3[name] == ours.volumes_mm3[name]


def test_where_both_are_known_nothing_is_classified(prepared, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("tissues were classified although they are known")

    monkeypatch.setattr("bids_qsmthal.anatomy.segmentation.fractions", refuse)
    kinds, nuclei = phantom.tissue(phantom.grid()), phantom.labels(phantom.grid())

    found = segment(prepared, external=ExternalLabels(deepgray=nuclei, tissue=kinds))

    assert found.volumes_mm3["gray_matter"] == pytest.approx(volume(kinds, [1]), rel=1e-5)
    assert found.quality["gray_white_contrast"] > 5  # still judged by the image
    assert all(isinstance(warning, ThicknessImplausible) for warning in found.warnings)


def test_the_wrong_contrast_is_told_also_by_labels_that_were_brought(prepared):
    kinds, nuclei = phantom.tissue(phantom.grid()), phantom.labels(phantom.grid())
    inverted = replace(prepared, t1w=prepared.t1w.like(np.float32(150) - prepared.t1w.data))

    found = segment(inverted, external=ExternalLabels(deepgray=nuclei, tissue=kinds))

    assert any(isinstance(warning, ContrastNotT1w) for warning in found.warnings)


def test_nuclei_keep_the_numbers_and_names_they_came_with(prepared):
    labels = phantom.labels(phantom.grid())
    nuclei = labels.like(np.where(labels.data == 10, 8120, 0).astype(np.int16))

    found = segment(prepared, external=ExternalLabels(nuclei=(nuclei, {8120: "Left-PuA"})))

    np.testing.assert_array_equal(found.nuclei.data, nuclei.data)
    assert found.nuclei_names == {8120: "Left-PuA"}


def test_every_label_of_freesurfer_that_is_brain_has_one_tissue():
    every = np.array([2, 3, 4, 7, 8, 10, 16, 24, 41, 42, 43, 49, 77, 1012, 2035, 3001, 4035, 251])
    kinds = [2, 1, 3, 2, 1, 1, 2, 3, 2, 1, 3, 1, 2, 1, 1, 2, 2, 2]
    assert anatomy.tissue_of(every).tolist() == kinds
    assert anatomy.tissue_of(np.array([0, 29, 999, 165])).tolist() == [0, 0, 0, 0]


def test_lesions_and_deep_gray_are_taken_out_of_a_whole_segmentation():
    labels = np.array([2, 10, 77, 99, 49, 1012, 26, 85])
    assert anatomy.lesions_of(labels).tolist() == [False, False, True, True, *[False] * 4]
    assert anatomy.deep_gray_of(labels).tolist() == [0, 10, 0, 0, 49, 0, 26, 0]
