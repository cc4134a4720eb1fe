"""The preparation of a head whose truth is the atlas itself, on a grid of another kind."""

import numpy as np
import pytest

from bids_qsmthal.anatomy import Preparation, Prepared, atlas, prepare
from bids_qsmthal.anatomy.bias_field import BiasField
from bids_qsmthal.anatomy.deformation import Deformation
from bids_qsmthal.anatomy.preparation import Normalisation
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.core.scan_warnings import TemplateRegistrationFailed

COARSE = Deformation(levels=((4, 30), (2, 20)))
LIGHT = Preparation(
    bias=BiasField(iterations=(10,)),
    normalisation=Normalisation(deformation_mm=2.0, deformation=COARSE),
)
MOVED_MM = (6.0, -9.0, 12.0)
"""Where the head lies in its scanner."""


@pytest.fixture(scope="module")
def grid() -> Image:
    """Axes L, A, S; voxels of 2, 2.5 and 2 mm."""
    affine = np.diag([-2.0, 2.5, 2.0, 1.0])
    affine[:3, 3] = (96, -130, -76)
    affine[:3, 3] += MOVED_MM
    return Image(np.zeros((96, 92, 96), np.uint8), affine)


def of_atlas(name: str, grid: Image, order: int) -> np.ndarray:
    """A file of the atlas where the head lies."""
    moved = np.eye(4)
    moved[:3, 3] = -np.array(MOVED_MM)
    stored = atlas.template(name) if order == 0 else atlas.probability(name)
    return resample(stored, grid, world=moved, order=order).data


@pytest.fixture(scope="module")
def found(grid: Image) -> Prepared:
    t1w = of_atlas("T1w", grid, 1)
    return prepare(
        grid.like((900 * t1w).astype(np.float32)), settings=LIGHT, brain=grid.like(t1w > 0)
    )


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (lambda p: p.prior_gm, "label-GM_probseg"),
        (lambda p: p.prior_wm, "label-WM_probseg"),
        (lambda p: p.prior_csf, "label-CSF_probseg"),
        (lambda p: p.thalamus_prior[0], "hemi-L_label-thalamus_probseg"),
        (lambda p: p.thalamus_prior[1], "hemi-R_label-thalamus_probseg"),
        (lambda p: p.vein_prior, "label-vein_probseg"),
    ],
)
def test_each_prior_is_its_own_at_its_place(found, grid, what, name):
    truth, carried = of_atlas(name, grid, 1), what(found).data

    some = (truth > 0.02) | (carried > 0.02)
    assert np.corrcoef(truth[some], carried[some])[0, 1] > 0.9
    assert carried.max() <= 1


@pytest.mark.parametrize(
    ("what", "name", "overlap"),
    [
        (lambda p: p.labels, "desc-deepgray_dseg", 0.9),
        (lambda p: p.regions, "desc-regions_dseg", 0.97),
        (lambda p: p.nuclei, "desc-thalamicnuclei_dseg", 0.8),
        (lambda p: p.atria, "desc-atria_dseg", 0.85),
    ],
)
def test_labels_keep_their_numbers_and_places(found, grid, what, name, overlap):
    truth, carried = of_atlas(name, grid, 0), what(found).data

    assert set(np.unique(carried)) == set(np.unique(truth))
    labelled = (truth > 0) | (carried > 0)
    assert (truth == carried)[labelled].mean() > overlap


def test_a_registered_head_is_called_good(found):
    assert found.quality["template_correlation"] > 0.95
    assert not any(isinstance(one, TemplateRegistrationFailed) for one in found.warnings)
