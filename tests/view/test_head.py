"""Planes of the head: the way to the template, and what the page makes of it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.image import Image
from bids_qsmthal.view import head
from tests.view.conftest import AFFINE, LESIONS, T1W_AFFINE, THALAMUS
from tests.view.test_page import (
    FOUND,
    SHOWN,
    STATUS,
    choose,
    click,
    complaints,
    labelled,
    mark,
    opened,
    press,
    wait,
)

TURN = np.eye(4)
TURN[:3, :3] = Rotation.from_euler("xyz", (12, -8, 15), degrees=True).as_matrix()
TURN[:3, 3] = 4.0, -7.0, 2.0
"""The way from the template to T1w, but for size and form."""
TO_T1W = np.array([[1.0, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""A point of the gradient echo in the world of T1w, as ``write_t1w`` has it."""


def write_field(root, turn: np.ndarray = TURN, seed: int = 1) -> None:
    """Write the way to a template that is smaller and bent besides."""
    shape, affine = (24, 28, 22), np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = -96.0, -132.0, -78.0
    points = apply(affine, np.indices(shape).reshape(3, -1).T)
    bent = np.random.default_rng(seed).normal(0, 0.5, points.shape)
    moved = apply(turn, 1.1 * points) + bent
    field = Image((moved - points).reshape(*shape, 3), affine)
    name = "sub-02_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz"
    nifti.save_field(field, root / "sub-02" / "anat" / name)


def test_a_motion_is_found_below_size_and_bends_and_is_never_a_mirror_image() -> None:
    points = np.random.default_rng(1).normal(0, 40, (400, 3))
    found = head.motion(points, apply(TURN, points))
    np.testing.assert_allclose(found, TURN, atol=1e-9)
    mirrored = head.motion(points, points * (-1, 1, 1))
    assert np.linalg.det(mirrored[:3, :3]) == pytest.approx(1.0)


def test_the_way_to_the_head_undoes_how_it_lay_in_each_scan(client, output_dir) -> None:
    assert client.read("api/scan/sub-02")["head"] is False
    status, _, content = client.own("GET", "api/head/sub-02/lesion")
    assert status == 404
    assert b"only planes of the scan" in content
    write_field(output_dir)
    assert client.read("api/scan/sub-02")["head"] is True
    for label, to_t1w in (("lesion", np.eye(4)), ("thalamus", TO_T1W)):
        found = np.array(client.read(f"api/head/sub-02/{label}")["matrix"])
        turned = found @ np.linalg.inv(to_t1w) @ TURN
        # A tenth of a degree; the middle of the box is not that of the head.
        np.testing.assert_allclose(turned[:3, :3], np.eye(3), atol=2e-3)
        assert np.linalg.det(found[:3, :3]) == pytest.approx(1.0)
    # Made again: another way.
    write_field(output_dir, np.eye(4))
    found = np.array(client.read("api/head/sub-02/lesion")["matrix"])
    np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=2e-3)


def test_what_is_no_field_is_said(client, output_dir) -> None:
    write_field(output_dir)
    path = next((output_dir / "sub-02" / "anat").glob("*to-MNI*.nii.gz"))
    nifti.save(Image(LESIONS, T1W_AFFINE), path)
    status, _, content = client.own("GET", "api/head/sub-02/lesion")
    assert status == 422
    assert b"not a deformation field" in content


AFFINES = "bench.viewer.nv.volumes.map((one) => one.hdr.affine)"
PLACE = "document.getElementById('place').textContent"


@pytest.mark.slow
def test_slices_are_cut_in_the_planes_of_the_head_and_nothing_else_moves(
    browser, client, output_dir
) -> None:
    write_field(output_dir)
    opened(browser, client)
    labelled(browser, "lesion")
    press(browser, "n")
    (before,), said = browser.value(AFFINES), browser.value(PLACE)
    shown = "document.getElementById('canvas').toDataURL()"
    seen = browser.value(shown)
    choose(browser, "planes", "head")
    wait(browser, "bench.viewer.toHead")
    matrix = np.array(client.read("api/head/sub-02/lesion")["matrix"])
    np.testing.assert_allclose(browser.value(AFFINES), [matrix @ np.array(before)], atol=1e-4)
    assert browser.value("bench.viewer.nv.opts.isSliceMM")
    assert browser.value(shown) != seen
    # Numbers of the place stay those of the scan, and so does the voxel under the crosshair.
    assert browser.value(PLACE) == said
    for _ in range(2):
        press(browser, "n")
    assert browser.value(PLACE) == said
    # Maps and outlines that come later lie there, too.
    choose(browser, "map", "chi")
    wait(browser, "bench.viewer.nv.volumes[1]?.name.startsWith('chi')")
    press(browser, "o")
    wait(browser, "bench.viewer.nv.volumes.length === 3")
    np.testing.assert_allclose(browser.value(AFFINES), 3 * [matrix @ np.array(before)], atol=1e-4)
    assert complaints(browser) == []


def in_the_head_s_planes(browser) -> None:
    choose(browser, "planes", "head")
    wait(browser, "bench.viewer.toHead")


@pytest.mark.slow
def test_what_is_drawn_in_the_planes_of_the_head_goes_to_its_voxel(
    browser, client, output_dir
) -> None:
    write_field(output_dir)
    opened(browser, client)
    labelled(browser, "lesion")
    in_the_head_s_planes(browser)
    # The label of another scan, by its own way.
    choose(browser, "label", "thalamus")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")
    browser.value("document.getElementById('pen').value = '0'; bench.viewer.pen()")
    mark(browser, THALAMUS == 1)
    wait(browser, f"JSON.parse({FOUND}).parts[0].voxels === {np.count_nonzero(THALAMUS == 1) - 1}")
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    saved = nifti.load(next((output_dir / "edits" / "sub-02" / "anat").glob("*.nii.gz")))
    assert np.argwhere(saved.data != THALAMUS).tolist() == [np.argwhere(THALAMUS == 1)[0].tolist()]
    np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-4)
    assert complaints(browser) == []


@pytest.mark.slow
def test_a_scan_that_nothing_relates_to_the_template_is_shown_in_its_own_planes(
    browser, client, output_dir
) -> None:
    write_field(output_dir)
    opened(browser, client)
    labelled(browser, "lesion")
    in_the_head_s_planes(browser)
    choose(browser, "planes", "scan")
    wait(browser, "!bench.viewer.toHead && !bench.viewer.nv.opts.isSliceMM")
    in_the_head_s_planes(browser)
    browser.value("document.activeElement.blur()")
    press(browser, "k")
    wait(browser, f"{SHOWN} === 'sub-01 thalamus' && {FOUND}")
    assert browser.value("document.getElementById('planes').value") == "scan"
    assert browser.value("bench.viewer.toHead || bench.viewer.nv.opts.isSliceMM") is False
    assert complaints(browser) == []
