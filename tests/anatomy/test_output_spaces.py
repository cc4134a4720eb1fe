"""Images on the grid of T1w and of the template: the right place, interpolated once."""

import numpy as np
import pytest

from bids_qsmthal import choices
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.output_spaces import OutputSpace, sampled_space, template_grid
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.poses import rigid

TEMPLATE = atlas.SPACE
TO_TEMPLATE = rigid((5, -8, 12), (3, -4, 6)) @ np.diag([1.1, 0.95, 1.05, 1.0])
TO_GRE = rigid((-7, 4, 3), (1, 2, -3))


def ramp(affine, shape):
    """Return an image whose value is x + 2 y - 3 z of its own world, in mm."""
    points = apply(affine, np.indices(shape).reshape(3, -1).T)
    return Image((points @ [1, 2, -3]).reshape(shape).astype(np.float32), affine)


def test_the_template_of_2_mm_has_the_grid_that_others_give_it():
    grid = template_grid(2)
    assert grid.shape == (97, 115, 97)
    assert np.diag(grid.affine).tolist() == [2, 2, 2, 1]
    assert grid.affine[:3, 3].tolist() == [-96, -132, -78]
    np.testing.assert_array_equal(template_grid(1).affine, atlas.template("T1w").affine)


def test_a_voxel_has_the_value_of_its_own_place_in_the_gradient_echo():
    t1w = Image(np.zeros((20, 20, 20), np.float32), np.diag([9.0, 9.0, 9.0, 1.0]))
    still = t1w.like(np.zeros((20, 20, 20, 3), np.float32))
    warp = Warp(TO_TEMPLATE, (still,), still)
    gre_affine = rigid((20, 5, -10), (2, 0, 4)) @ np.array(
        [[-6.0, 0, 0, 190], [0, 6, 0, -190], [0, 0, 6, -190], [0, 0, 0, 1]]
    )
    gre = ramp(gre_affine, (64, 64, 64))
    space = sampled_space(OutputSpace(TEMPLATE, 4), t1w, warp)
    found = space.value(gre, TO_GRE, order=3)
    assert found.shape == template_grid(4).shape
    place = (12, 15, 11)
    in_template = apply(found.affine, np.array([place]))
    in_gre = apply(TO_GRE, apply(np.linalg.inv(TO_TEMPLATE), in_template))
    assert found.data[place] == pytest.approx(float((in_gre @ [1, 2, -3])[0]), abs=0.02)
    own = sampled_space(OutputSpace("T1w"), t1w, warp)
    assert own.grid is t1w
    in_gre = apply(TO_GRE, apply(t1w.affine, np.array([[3, 4, 5]])))
    expected = float((in_gre @ [1, 2, -3])[0])
    assert own.value(gre, TO_GRE, order=3).data[3, 4, 5] == pytest.approx(expected, abs=0.02)


def test_labels_keep_their_numbers_and_masks_their_halves():
    labels = np.zeros((20, 20, 20), np.int16)
    labels[5:10, 5:10, 5:10] = 2000
    t1w = Image(labels, np.diag([9.0, 9.0, 9.0, 1.0]))
    warp = Warp(np.eye(4), (), t1w.like(np.zeros((20, 20, 20, 3), np.float32)))
    space = sampled_space(OutputSpace(TEMPLATE, 2), t1w, warp)
    found = space.value(t1w, np.eye(4), order=0)
    assert found.data.dtype == np.int16
    assert set(np.unique(found.data)) == {0, 2000}
    edge_mm = 0.5 * (4 + 5) * 9
    x = found.affine[0, 0] * np.arange(found.shape[0]) + found.affine[0, 3]
    inside = space.mask(t1w, np.eye(4)).any(axis=(1, 2))
    assert np.abs(x[inside].min() - edge_mm) < 2
    assert np.abs(x[(found.data > 0).any(axis=(1, 2))].min() - edge_mm) < 2


def test_spaces_are_named_as_other_apps_name_them():
    words = ["T1w", TEMPLATE, f"{TEMPLATE}:res-2", "T1w", "anat", f"{TEMPLATE}:res-02"]
    found = choices.output_spaces(words)
    assert [one.entities for one in found] == [
        *("space-T1w", f"space-{TEMPLATE}_res-1", f"space-{TEMPLATE}_res-2")
    ]
    for wrong in ("MNI152Lin", f"{TEMPLATE}:res-5", f"{TEMPLATE}:res-0", "t1w"):
        with pytest.raises(UsageError, match="--output-spaces"):
            choices.output_spaces([wrong])
