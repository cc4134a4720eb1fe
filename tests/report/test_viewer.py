import base64
import gzip
import io
import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from bids_qsmthal.report import GreMaps, RegionMasks, viewer

READY = "document.documentElement.dataset.ready"


@pytest.fixture(scope="module")
def layers(full_report):
    return viewer.layers(full_report.gre, full_report.regions)


def read(layer) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(
        gzip.decompress(base64.b64decode(layer.described()["content"]))
    )


def test_cropping_leaves_every_voxel_in_its_place_in_the_world(layers, head) -> None:
    stored = read(layers[0])
    whole = head["chi"]
    assert np.prod(stored.shape) < whole.data.size
    for voxel in [(0, 0, 0), tuple(n - 1 for n in stored.shape), (5, 9, 3)]:
        world = stored.affine @ (*voxel, 1)
        x, y, z = np.linalg.solve(whole.affine, world)[:3].round(3).astype(int)
        shown = np.asarray(stored.dataobj)[voxel]
        assert shown == pytest.approx(1000 * whole.data[x, y, z], abs=0.51)


def test_masks_are_whole_after_cropping_and_sides_are_apart(layers, head) -> None:
    sizes = {layer.name: int(np.asarray(read(layer).dataobj).sum()) for layer in layers[2:]}
    assert sizes["left thalamus"] == (head["thalamus"].data == 1).sum()
    assert sizes["right thalamus"] == (head["thalamus"].data == 2).sum()
    assert sizes["CSF reference"] == head["csf"].data.sum()


def test_a_mask_without_a_voxel_has_no_switch(full_report) -> None:
    regions = full_report.regions
    lesions = regions.veins.like(np.zeros_like(regions.veins.data))
    names = [
        layer.name for layer in viewer.layers(full_report.gre, replace(regions, lesions=lesions))
    ]
    assert "veins" in names
    assert "lesions" not in names


def test_without_a_map_there_is_no_viewer() -> None:
    assert viewer.layers(GreMaps(), RegionMasks()) == []


def test_markup_in_a_name_is_shown_as_text(layers) -> None:
    text = viewer.viewer_page("</script><script>alert(1)</script>", layers[:1], "javascript:x")
    body = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "<script>" not in body
    assert "javascript:" not in body
    data = re.search(r'<script type="application/json" id="images">(.*?)</script>', text)
    assert json.loads(data.group(1))[0]["name"] == "susceptibility"


@pytest.fixture
def viewer_file(written):
    return written[-1]


def opened(browser, path, width: int = 1280) -> None:
    browser.open(path, width)
    browser.value(
        f"new Promise(done => {{ const look = () => {READY} ? done() : setTimeout(look, 50);"
        " setTimeout(done, 20000); look(); })"
    )
    assert browser.value(READY) == "7"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
def test_the_viewer_opens_from_a_file_without_complaint(browser, viewer_file, width) -> None:
    opened(browser, viewer_file, width)
    assert browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert " ppb" in browser.value("document.getElementById('location').textContent")


@pytest.mark.slow
def test_the_left_thalamus_is_drawn_on_the_left(browser, viewer_file, tmp_path) -> None:
    opened(browser, viewer_file)
    browser.value("document.getElementById('opacity').value = 1")
    browser.value("document.querySelector('[name=view][value=axial]').click()")
    browser.value("document.getElementById('opacity').dispatchEvent(new Event('input'))")
    browser.value("new Promise(done => setTimeout(done, 500))")
    browser.picture(tmp_path / "axial.png", whole=False)
    top = browser.value("document.getElementById('canvas').getBoundingClientRect().top")
    pixels = np.asarray(Picture.open(tmp_path / "axial.png").convert("RGB")).astype(int)[int(top) :]
    yellow = np.abs(pixels - (240, 228, 66)).max(axis=-1) < 12
    purple = np.abs(pixels - (204, 121, 167)).max(axis=-1) < 12
    assert yellow.sum() > 50
    assert purple.sum() > 50
    assert np.nonzero(yellow)[1].mean() < np.nonzero(purple)[1].mean()


@pytest.mark.slow
def test_a_region_can_be_hidden(browser, viewer_file, tmp_path) -> None:
    opened(browser, viewer_file)

    def canvas() -> bytes:
        browser.value("new Promise(done => setTimeout(done, 300))")
        browser.picture(tmp_path / "now.png", whole=False)
        return (tmp_path / "now.png").read_bytes()

    before = canvas()
    browser.value("document.querySelector('.region[value=\"left thalamus\"]').click()")
    pictures = [np.asarray(Picture.open(io.BytesIO(content))) for content in (before, canvas())]
    assert not np.array_equal(*pictures)


@pytest.mark.slow
def test_report_and_viewer_link_to_each_other(browser, viewer_file) -> None:
    browser.open(viewer_file, 1280)
    browser.follow("header a")
    assert browser.value("document.title") == "sub-01 ses-1"
    assert browser.value("document.querySelector('.links a').href").endswith(
        "sub-01/ses-1/figures/sub-01_ses-1_viewer.html"
    )
