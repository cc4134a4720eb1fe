"""What makes the first view of a scan quick shows the same: a map ahead, grays by a table."""

import pytest

from bids_qsmthal.core import nifti
from tests.view.conftest import CHI_PPM, SHAPE, THALAMUS
from tests.view.test_page import FOUND, SHOWN, choose, click, complaints, labelled, opened, wait

CHI = "api/map/sub-02/chi/thalamus.nii.gz"


def version(client, path: str = CHI) -> str:
    status, headers, _ = client.own("GET", path)
    assert status == 200
    return headers["ETag"]


def test_a_map_that_did_not_change_is_not_sent_again(client) -> None:
    status, headers, content = client.own("GET", CHI, If_None_Match=version(client))
    assert (status, content, headers["ETag"]) == (304, b"", version(client))
    assert client.own("GET", CHI, If_None_Match='"another"')[0] == 200
    others = ("api/map/sub-01/chi/thalamus.nii.gz", "api/map/sub-02/r2star/thalamus.nii.gz")
    assert len({version(client, path) for path in (CHI, *others)}) == 3


@pytest.mark.parametrize("name", ["Chimap.nii.gz", "from-MEGRE_to-T1w_mode-image_xfm.txt"])
def test_a_map_whose_files_changed_is_sent_again(client, output_dir, name) -> None:
    before = version(client)
    path = output_dir / "sub-02" / "anat" / f"sub-02_{name}"
    # Of the same content: a replaced file is another one.
    (path.parent / "new").write_bytes(path.read_bytes())
    (path.parent / "new").replace(path)
    assert client.own("GET", CHI, If_None_Match=before)[0] == 200


def test_a_map_is_sent_again_where_another_part_of_it_is_shown(client, output_dir) -> None:
    folder = output_dir / "sub-02" / "anat"
    thalamus = nifti.load(folder / "sub-02_space-MEGRE_desc-thalamus_dseg.nii.gz")
    brain = folder / "sub-02_space-MEGRE_desc-brain_mask.nii.gz"
    nifti.save(thalamus.like((THALAMUS > 0).astype("u1")), brain)
    before = version(client)
    wider = THALAMUS > 0
    wider[2:18, 2:22, 2:14] = True
    (folder / "new.nii.gz").write_bytes(nifti.packed(thalamus.like(wider.astype("u1"))))
    (folder / "new.nii.gz").replace(brain)
    assert client.own("GET", CHI, If_None_Match=before)[0] == 200


def maps_asked(browser) -> list[tuple[str, int]]:
    """Return which maps the page asked for so far, and how it was answered."""
    browser.value("1")
    answers = [
        one["params"]["response"]
        for one in browser.events
        if one.get("method") == "Network.responseReceived"
    ]
    asked = [(one["url"].partition("/api/map/")[2], one["status"]) for one in answers]
    return [(path.partition("/")[0], status) for path, status in asked if path]


HERE = "bench.viewer.maps.next?.here && bench.viewer.maps.next.address.split('/')[2]"
MAP = "bench.viewer.nv.volumes[0]"


@pytest.mark.slow
def test_the_scan_that_is_probably_next_comes_ahead_and_is_shown_as_it_is_now(
    browser, client, output_dir
) -> None:
    opened(browser, client)
    assert wait(browser, HERE) == "sub-01"
    click(browser, "#rows button")
    assert wait(browser, f"{SHOWN} && {FOUND} && {SHOWN}") == "sub-01 thalamus"
    assert maps_asked(browser)[:2] == [("sub-01", 200), ("sub-01", 304)]
    assert wait(browser, HERE) == "sub-02"
    # Made anew after it came: that is what is shown.
    path = output_dir / "sub-02" / "anat" / "sub-02_Chimap.nii.gz"
    nifti.save(nifti.load(path).like(CHI_PPM + 0.005), path)
    click(browser, "#next")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")
    assert browser.value(f"{MAP}.getValue(3, 3, 7)") == pytest.approx(12, abs=0.1)
    assert maps_asked(browser)[2:4] == [("sub-02", 200), ("sub-02", 200)]
    # The mouse rests on a line: that scan is expected instead.
    click(browser, "#close")
    browser.value(
        "document.querySelectorAll('#rows button')[2]"
        ".dispatchEvent(new PointerEvent('pointerover', { bubbles: true }))"
    )
    assert wait(browser, f"{HERE} === 'sub-03' && 'sub-03'") == "sub-03"
    assert complaints(browser) == []


GRAY = """((x, y, z) => {
  const { nv } = bench.viewer;
  nv.setSliceType(niivue.SLICE_TYPE.AXIAL);
  nv.setDrawOpacity(0);
  nv.opts.crosshairWidth = 0;
  nv.scene.crosshairPos = nv.vox2frac([x, y, z]);
  nv.drawScene();
  const [left, top] = nv.frac2canvasPos(nv.scene.crosshairPos);
  const made = new Uint8Array(4);
  nv.gl.readPixels(left, nv.gl.canvas.height - top, 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, made);
  return [...made];
})"""


def gray(browser, *voxel: int) -> float:
    """Return how bright a voxel is on the screen, from 0 to 1; counted to R, A and S."""
    red, green, blue, alpha = browser.value(f"{GRAY}(...{list(voxel)})")
    assert (red, red, 255) == (green, blue, alpha)
    return red / 255


@pytest.mark.slow
def test_a_voxel_is_as_bright_as_its_value_between_black_and_white(browser, client) -> None:
    opened(browser, client)
    # T1w rises by 1 with every voxel to the left, from 1; susceptibility by 1 ppb upwards, from 0.
    labelled(browser, "lesion")
    for low, high in ((1, 20), (5, 15)):
        for name, value in (("low", low), ("high", high)):
            choose(browser, name, str(value))
        for x in (0, 4, 11, 19):
            true = min(1.0, max(0.0, (SHAPE[0] - x - low) / (high - low)))
            assert gray(browser, x, 12, 8) == pytest.approx(true, abs=0.01)
    choose(browser, "label", "thalamus")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")
    for name, value in (("high", "10"), ("low", "2")):
        choose(browser, name, value)
    for z in (0, 3, 8, 15):
        true = min(1.0, max(0.0, (z - 2) / 8))
        assert gray(browser, 7, 9, z) == pytest.approx(true, abs=0.02)
    assert complaints(browser) == []
