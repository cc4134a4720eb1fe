"""What a reader does beside correcting: look, filter, compare, rate; and what cannot be done."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout

import numpy as np
import pytest

from bids_qsmthal import view
from bids_qsmthal.core import nifti
from bids_qsmthal.group import ratings
from bids_qsmthal.view import application
from tests.view.conftest import (
    SHAPE,
    THALAMUS,
    Client,
    served,
)
from tests.view.test_page import (
    FOUND,
    SHOWN,
    STATUS,
    choose,
    click,
    complaints,
    labelled,
    names,
    opened,
    press,
    wait,
)

pytestmark = pytest.mark.slow


def typed(browser, name: str, value: str) -> None:
    """Type or choose, as a filter listens to it."""
    field = f"document.getElementById('{name}')"
    browser.value(f"{field}.value = '{value}'; {field}.dispatchEvent(new Event('input'))")


def test_a_rating_is_given_in_the_page_and_the_table_filters_by_it(
    browser, client, output_dir
) -> None:
    opened(browser, client)
    browser.value("document.querySelectorAll('#rows button')[1].click()")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus'")
    click(browser, "#rate")
    # Without a name nothing is saved.
    wait(browser, f"{STATUS}.startsWith('Type your name')")
    assert not (output_dir / "edits").exists()
    browser.value("document.getElementById('reader').value = 'AB'")
    browser.value("document.getElementById('reason').value = '=1+1 ä'")
    choose(browser, "decision", "exclude")
    click(browser, "#rate")
    wait(browser, f"{STATUS} === 'Saved the rating of sub-02.'")
    (row,) = ratings.read(output_dir / "edits").to_dict("records")
    said = [row[name] for name in ("participant_id", "decision", "reason")]
    assert said == ["sub-02", "exclude", "=1+1 ä"]
    press(browser, "Escape")
    assert "exclude (AB)" in browser.value("document.getElementById('rows').textContent")
    for filtered, left in (
        ({"rated": "yes"}, ["sub-02"]),
        ({"rated": "no"}, ["sub-01", "sub-03", "sub-09"]),
        ({"rated": "no", "verdict": "failed"}, ["sub-09"]),
        ({"rated": "no", "verdict": "check"}, ["sub-01", "sub-03"]),
        ({"rated": "", "verdict": "include"}, []),
        ({"rated": "", "verdict": "", "find": "UB-03"}, ["sub-03"]),
        ({"find": ""}, ["sub-01", "sub-02", "sub-03", "sub-09"]),
    ):
        for name, value in filtered.items():
            typed(browser, name, value)
        assert names(browser) == left, filtered
    # The keyboard goes on in what is left: over the one that is rated.
    typed(browser, "rated", "no")
    click(browser, "#rows button")
    wait(browser, f"{SHOWN} === 'sub-01 thalamus'")
    press(browser, "j")
    wait(browser, f"{SHOWN} === 'sub-03 thalamus'")
    assert complaints(browser) == []


def test_the_report_of_a_scan_is_one_click_away(browser, client) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    wait(browser, SHOWN)
    href = browser.value("document.getElementById('report').href")
    status, _, content = client.ask("GET", href.removeprefix(f"http://127.0.0.1:{client.port}"))
    assert (status, content) == (200, b"<!doctype html><title>report</title>")
    # One whose run failed has none.
    click(browser, "#close")
    browser.value("[...document.querySelectorAll('#rows button')].at(-1).click()")
    wait(browser, f"{STATUS}.startsWith('This run failed')")
    assert browser.value("document.getElementById('report').hidden")


PIXEL = """((voxel) => {
  const { nv } = bench.viewer;
  nv.opts.crosshairWidth = 0;
  nv.setDrawOpacity(0);
  nv.setSliceType(niivue.SLICE_TYPE.AXIAL);
  nv.scene.crosshairPos = nv.vox2frac(voxel);
  nv.drawScene();
  const [x, y] = nv.frac2canvasPos(nv.scene.crosshairPos);
  const made = new Uint8Array(4);
  nv.gl.readPixels(x, nv.gl.canvas.height - y, 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, made);
  return made[0] / 255;
})([10, 12, 8])"""


def test_two_maps_are_fused_and_take_turns(browser, client) -> None:
    opened(browser, client)
    labelled(browser, "thalamus")
    # R2* is 20 everywhere, susceptibility rises with the slices, from 0.
    below = browser.value(PIXEL)
    choose(browser, "map", "r2star")
    wait(browser, "bench.viewer.nv.volumes.length === 2")
    choose(browser, "low", "0")
    choose(browser, "high", "25")
    above = browser.value(PIXEL)
    assert above == pytest.approx(20 / 25, abs=0.02)
    assert abs(above - below) > 0.2
    typed(browser, "mix", "0.5")
    assert browser.value(PIXEL) == pytest.approx((above + below) / 2, abs=0.02)
    # One key: the other map, and back.
    for expected in (below, (above + below) / 2):
        press(browser, "f")
        assert browser.value(PIXEL) == pytest.approx(expected, abs=0.02)
    # By itself, and not any more.
    opacity = "bench.viewer.over.opacity"
    browser.value("document.getElementById('blink').click()")
    for expected in ("0", "0.5", "0"):
        wait(browser, f"String({opacity}) === '{expected}'", seconds=10)
    browser.value("document.getElementById('blink').click()")
    assert browser.value(opacity) == 0.5
    assert complaints(browser) == []


OUTLINE = """(async () => {
  const { nv } = bench.viewer;
  const canvas = document.getElementById('canvas');
  nv.setSliceType(niivue.SLICE_TYPE.AXIAL);
  nv.scene.crosshairPos = nv.vox2frac([9, 4, 8]);
  nv.drawScene();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const at = (kind, voxel) => {
    const place = canvas.getBoundingClientRect();
    const [x, y] = nv.frac2canvasPos(nv.vox2frac(voxel));
    canvas.dispatchEvent(new MouseEvent(kind, {
      clientX: place.left + x / nv.uiData.dpr, clientY: place.top + y / nv.uiData.dpr,
      button: 0, buttons: 1, bubbles: true,
    }));
  };
  at('mousedown', [2, 1, 8]);
  for (const corner of [[7, 1, 8], [7, 6, 8], [2, 6, 8], [2, 1, 8]]) {
    at('mousemove', corner);
    await frame();
  }
  at('mouseup', [2, 1, 8]);
})()"""


def test_an_outline_is_filled_in_its_slice_and_other_tools_have_buttons(browser, client) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    before = json.loads(wait(browser, f"{SHOWN} && {FOUND}"))
    voxels = f"JSON.parse({FOUND}).parts[0].voxels"
    count = before["parts"][0]["voxels"]
    browser.value("document.getElementById('fill').click()")
    browser.value(OUTLINE)
    # Six by six voxels, their edge included.
    wait(browser, f"{voxels} === {count + 36}")
    drawn = "Array.from(bench.viewer.nv.drawBitmap)"
    made = np.reshape(browser.value(drawn), SHAPE, order="F")
    whole = np.zeros(SHAPE, bool)
    whole[2:8, 1:7, 8] = True
    np.testing.assert_array_equal(made[whole], 1)
    press(browser, "u")
    wait(browser, f"{voxels} === {count}")
    # Slices of the thalami are 6 to 9, susceptibility is that many ppb: two of four stay.
    choose(browser, "low", "6.5")
    choose(browser, "high", "8.5")
    click(browser, "#within")
    wait(browser, f"{voxels} === {count // 2}")
    press(browser, "u")
    wait(browser, f"{voxels} === {count}")
    assert complaints(browser) == []


def test_empty_slices_are_filled_by_a_button(browser, client, output_dir) -> None:
    gap = THALAMUS.copy()
    gap[:, :, 7:9] = 0
    path = output_dir / "sub-01/anat/sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz"
    nifti.save(nifti.load(path).like(gap), path)
    opened(browser, client)
    click(browser, "#rows button")
    wait(browser, f"{SHOWN} && JSON.parse({FOUND} ?? 'null')?.parts[0].voxels === 32")
    click(browser, "[data-tool=between]")
    # The same outline below and above.
    wait(browser, f"JSON.parse({FOUND}).parts.every((part) => part.voxels === 64)")


@pytest.fixture
def read_only(output_dir, remake, monkeypatch) -> Iterator[Client]:
    # Root may write anywhere: what the system says is replaced, not the folder's mode.
    monkeypatch.setattr(application.os, "access", lambda *_: False)
    yield from served(output_dir, remake)


def test_a_folder_that_cannot_be_written_is_looked_at_and_nothing_can_be_drawn(
    browser, read_only, output_dir
) -> None:
    opened(browser, read_only)
    assert "view only" in browser.value(STATUS)
    labelled(browser, "lesion")
    shown = "(id) => document.getElementById(id).checkVisibility()"
    for name in ("drawing", "tools", "saving", "remaking", "pieces"):
        assert not browser.value(f"({shown})('{name}')"), name
    found = browser.value(FOUND)
    browser.value("bench.viewer.tool = () => { globalThis.used = true; }")
    for key in ("p", "c", "x"):
        press(browser, key)
    assert browser.value("globalThis.used || bench.viewer.changed || bench.viewer.decided") == ""
    press(browser, "n")
    wait(browser, f"{STATUS}.startsWith('Lesion 1 of 2')")
    assert browser.value(FOUND) == found
    assert not (output_dir / "edits").exists()
    assert complaints(browser) == []


TRUNCATED, NO_IMAGE = "truncated", "no image"


@pytest.mark.parametrize("damage", [TRUNCATED, NO_IMAGE])
@pytest.mark.parametrize("ending", ["Chimap", "space-MEGRE_desc-thalamus_dseg"])
def test_a_damaged_image_is_named_and_the_next_scan_opens(
    browser, client, output_dir, damage, ending
) -> None:
    path = output_dir / "sub-01" / "anat" / f"sub-01_{ending}.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == TRUNCATED else b"<script>alert(1)")
    opened(browser, client)
    click(browser, "#rows button")
    wait(browser, f"{STATUS}.includes('sub-01_{ending}.nii.gz')")
    assert browser.value("document.getElementById('status').classList.contains('bad')")
    press(browser, "j")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")


def test_the_address_that_is_printed_has_a_new_token_each_time_and_is_opened(
    output_dir, remake, monkeypatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(view.webbrowser, "open", seen.append)
    # Instead of waiting for requests.
    monkeypatch.setattr(view.Server, "serve_forever", lambda _self: None)
    printed = []
    for browser in (True, True, False):
        with redirect_stdout(io.StringIO()) as said:
            view.serve(output_dir, ("127.0.0.1", 0), remake, browser=browser)
        printed.append(said.getvalue().splitlines()[0])
    assert seen == printed[:2]
    tokens = {address.split("/")[3] for address in printed}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 43
    assert all(address.startswith("http://127.0.0.1:") for address in printed)
    assert "no network" not in said.getvalue()
    monkeypatch.setattr(view, "is_cut_off", lambda: True)
    with redirect_stdout(io.StringIO()) as said:
        view.serve(output_dir, ("127.0.0.1", 0), remake, browser=False)
    assert "published ports cannot be reached" in said.getvalue()
