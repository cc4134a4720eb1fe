"""Participants in a head that somebody has segmented."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.simulate.compositions import compositions
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.labelled import read_anatomy
from bids_qsmthal.simulate.structural import t1w_grid
from bids_qsmthal.simulate.tissues import ROW
from tests.simulate.label_head import label_head

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labels():
    return label_head()


@pytest.fixture(scope="module")
def anatomy(labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "aseg.nii.gz"
    nifti.save(labels, path)
    return read_anatomy(path)


@pytest.fixture(scope="module")
def made(anatomy, small_parameters):
    # Size, deformation and atrophy are the head's own, whatever the parameters say.
    odd = replace(small_parameters, scale=1.2, deformation_mm=9.0, atrophy=1.0)
    return simulate.participant(odd, 3, given=simulate.Given(anatomy=anatomy))


def test_structures_have_the_volumes_of_their_labels(labels, made):
    volumes = made.truth.numbers["volume_mm3"]
    for name, left, right in (("thalamus", 10, 49), ("caudate", 11, 50), ("putamen", 12, 51)):
        labelled = 8 * np.isin(labels.data, (left, right)).sum()
        # A border half a millimetre soft shrinks what is round by some per cent.
        assert volumes[f"{name}_LR"] == pytest.approx(labelled, rel=0.06)
    brain = 8 * ((labels.data > 0) & (labels.data < 500)).sum()
    assert volumes["intracranial"] == pytest.approx(brain, rel=0.03)


def test_the_thalami_have_the_susceptibility_that_was_asked_for(made, small_parameters):
    asked = small_parameters.thalamus_chi_ppb
    found = made.truth.numbers["chi_relative_csf"]["LR"]
    assert found == pytest.approx(asked, abs=2.0)
    assert made.truth.numbers["anatomy"] == "aseg.nii.gz"


def test_lesions_lie_in_the_white_matter_of_the_labels(made, small_parameters):
    images = made.truth.images
    lesion = images["space-T1w_label-lesion_mask"].data > 0
    ml = lesion.sum() * images["space-T1w_dseg"].voxel_volume_mm3 / 1000
    assert ml == pytest.approx(small_parameters.lesion_ml, rel=0.2)
    assert (images["space-T1w_dseg"].data[lesion] == 3).mean() > 0.95
    assert made.truth.numbers["enhancing_count"] == small_parameters.enhancing


def test_what_is_labelled_outside_the_brain_is_there(anatomy, small_parameters):
    head = draw_head(small_parameters, np.random.default_rng(0), simulate.Given(anatomy=anatomy))
    to_head = t1w_grid(4.0).affine
    found = np.zeros(5)
    for chunk in compositions(head, to_head, t1w_grid(4.0).shape):
        rows = [ROW[name] for name in ("skull", "muscle", "dura", "fat", "eye")]
        found += chunk.fractions[rows].sum(axis=1)
    skull, muscle, dura, fat, eye = found
    assert min(skull, muscle, dura) > 1000
    assert fat == eye == 0


def test_a_head_is_grown_where_none_is_labelled(tmp_path, small_parameters):
    nifti.save(label_head(outside=False), tmp_path / "aseg.nii.gz")
    given = simulate.Given(anatomy=read_anatomy(tmp_path / "aseg.nii.gz"))
    head = draw_head(small_parameters, np.random.default_rng(0), given)
    grid = t1w_grid(4.0)
    rows = [ROW[name] for name in ("skull", "fat", "eye")]
    chunks = compositions(head, grid.affine, grid.shape)
    found = np.sum([chunk.fractions[rows].sum(axis=1) for chunk in chunks], axis=0)
    assert found.min() > 100
    assert head.envelope.depth.data.min() < -30
