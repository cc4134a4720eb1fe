"""The page in a real Chromium: every way of a reader through it."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.files import write_whole
from tests.report.browser import Browser, executable
from tests.view.conftest import (
    AFFINE,
    CHI_PPM,
    CSF,
    LEFT,
    LESIONS,
    NUMBERED,
    RIGHT,
    T1W_AFFINE,
    THALAMUS,
    WHOLE_LESIONS,
    write_lesion_changes,
    write_tables,
)

pytestmark = pytest.mark.slow

SHOWN = "document.documentElement.dataset.shown"
STATUS = "document.getElementById('status').textContent"
RUNS = "document.getElementById('runs').textContent"
FOUND = "document.getElementById('numbers').dataset.found"


def wait(browser, script: str, seconds: float = 60.0):
    """Return the value of a script once it is something."""
    end = time.monotonic() + seconds
    while not (value := browser.value(script)):
        assert time.monotonic() < end, f"{script}: {browser.value(STATUS)}"
        time.sleep(0.05)
    return value


def opened(browser, client, width: int = 1280) -> None:
    # Browser.open takes what has an address. A low window: without a graphics card every pixel of
    # the picture costs.
    browser.open(SimpleNamespace(as_uri=lambda: client.address), width, height=600)
    wait(browser, "document.querySelectorAll('#rows tr').length")


def click(browser, selector: str) -> None:
    browser.value(f"document.querySelector({json.dumps(selector)}).click()")


CROSSHAIR = "Array.from(bench.viewer.nv.frac2vox(bench.viewer.nv.scene.crosshairPos))"
"""The voxel at the crosshair, counted to R, A and S."""


def names(browser) -> list[str]:
    return browser.value("[...document.querySelectorAll('#rows button')].map(b => b.textContent)")


def complaints(browser) -> list[str]:
    own = "request to http://127.0.0.1"
    return [said for said in browser.complaints() if not said.startswith(own)]


def press(browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=key[:1])


@pytest.mark.parametrize("width", [1280, 390])
def test_the_table_and_a_scan_open_without_complaint_and_fit(browser, client, width) -> None:
    opened(browser, client, width)
    assert names(browser) == ["sub-01", "sub-02", "sub-03", "sub-09"]
    click(browser, "#rows button")
    assert wait(browser, SHOWN) == "sub-01 thalamus"
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert complaints(browser) == []


def test_it_sorts_filters_and_goes_on_by_keyboard(browser, client) -> None:
    opened(browser, client)
    click(browser, "[data-sort=number_ppb]")
    assert names(browser) == ["sub-03", "sub-01", "sub-02", "sub-09"]
    click(browser, "[data-sort=number_ppb]")
    assert names(browser) == ["sub-02", "sub-01", "sub-03", "sub-09"]
    click(browser, "#rows button")
    assert wait(browser, SHOWN) == "sub-02 thalamus"
    press(browser, "j")
    assert wait(browser, f"{SHOWN} === 'sub-01 thalamus'")
    press(browser, "k")
    assert wait(browser, f"{SHOWN} === 'sub-02 thalamus'")


def test_markup_in_a_message_is_shown_as_text(browser, client) -> None:
    opened(browser, client)
    browser.value("[...document.querySelectorAll('#rows button')].at(-1).click()")
    wait(browser, f"{STATUS}.startsWith('This run failed')")
    assert browser.value("document.getElementById('warnings').textContent") == "<b>no GRE</b>"


def test_a_label_is_corrected_with_the_mouse_measured_and_saved(
    browser, client, output_dir
) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    before = wait(browser, f"{SHOWN} && {FOUND}")
    np.testing.assert_allclose(json.loads(before)["relative_ppb"]["LR"], 0.0, atol=1e-4)
    browser.value("document.getElementById('pen').value = '2'")
    browser.value("document.getElementById('pen').dispatchEvent(new Event('change'))")
    point = browser.value(
        """(() => {
          const nv = bench.viewer.nv;
          nv.setSliceType(niivue.SLICE_TYPE.AXIAL);
          const [x, y] = nv.frac2canvasPos(nv.scene.crosshairPos);
          document.getElementById('canvas').scrollIntoView();
          const now = document.getElementById('canvas').getBoundingClientRect();
          return [now.left + x / nv.uiData.dpr + 60, now.top + y / nv.uiData.dpr + 130];
        })()"""
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=point[0],
            y=point[1],
            button="left",
            clickCount=1,
        )
    after = json.loads(wait(browser, f"{FOUND} !== {json.dumps(before)} && {FOUND}"))
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    place = next((output_dir / "edits" / "sub-01" / "anat").glob("*.nii.gz"))
    output = nifti.load(output_dir / "sub-01" / "anat" / place.name)
    saved = nifti.load(place).data
    changed = np.argwhere(saved != THALAMUS)
    assert len(changed) == 1
    # In the slice that was seen, which runs as in the file.
    assert changed[0][2] == browser.value(CROSSHAIR)[2]
    assert saved[tuple(changed[0])] == 2
    # Byte by byte what the run would have written of this label.
    drawn = THALAMUS.copy()
    drawn[tuple(changed[0])] = 2
    expected = nifti.packed(output.like(drawn), dtype=np.uint8, code=nifti.world_code(place))
    assert place.read_bytes() == expected
    np.testing.assert_array_equal(output.affine, nifti.load(place).affine)
    chi_ppb = 1e3 * CHI_PPM.astype(np.float64)
    true = chi_ppb[saved > 0].mean() - chi_ppb[CSF].mean()
    np.testing.assert_allclose(after["relative_ppb"]["LR"], true, atol=1e-4)
    press(browser, "u")
    wait(browser, f"{FOUND} === {json.dumps(before)}")


def mark(browser, mask: np.ndarray) -> None:
    """Mark the first voxel of a mask with the pen, by the keyboard."""
    x, y, z = np.argwhere(mask)[0]
    # NiiVue's first axis runs to the right, that of the file to the left.
    browser.value(
        "bench.viewer.nv.scene.crosshairPos = "
        f"bench.viewer.nv.vox2frac([{mask.shape[0] - 1 - x}, {y}, {z}])"
    )
    press(browser, "p")


def picture(browser, first: str) -> str:
    """Return what the canvas shows after something was asked of the viewer."""
    script = f"bench.viewer.nv.{first}; document.getElementById('canvas').toDataURL()"
    return browser.value(script)


STROKE = """(async () => {
  const canvas = document.getElementById('canvas');
  const place = canvas.getBoundingClientRect();
  const at = (kind, x) => canvas.dispatchEvent(new MouseEvent(kind, {
    clientX: place.left + place.width / 2 + x, clientY: place.top + place.height / 2 + x / 3,
    button: 0, buttons: 1, bubbles: true,
  }));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  at('mousedown', -40);
  for (let step = -30; step < 40; step += 10) {
    at('mousemove', step);
    // In the next picture but one it is drawn.
    await frame();
    await frame();
  }
  return canvas.toDataURL();
})()"""


@pytest.mark.parametrize("plane", ["AXIAL", "CORONAL", "SAGITTAL"])
def test_a_stroke_is_seen_as_it_is_drawn(browser, client, plane) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    wait(browser, f"{SHOWN} && {FOUND}")
    browser.value(f"bench.viewer.nv.setSliceType(niivue.SLICE_TYPE.{plane})")
    before = picture(browser, "opts.crosshairWidth = 0; bench.viewer.nv.drawScene()")
    # Of each picture only what is near the pen is drawn, and only the slice is sent.
    during = browser.value(STROKE)
    assert during != before
    browser.value("bench.viewer.nv.drawPenLocation = [NaN, NaN, NaN]")
    assert picture(browser, "drawScene()") == during
    assert picture(browser, "refreshDrawing(true)") == during


def test_a_table_of_five_thousand_opens_and_sorts(browser, client, output_dir) -> None:
    template = output_dir / "sub-01" / "anat"
    measures = (template / "sub-01_desc-qsmthal_measures.tsv").read_bytes()
    for number in range(1000, 6000):
        folder = output_dir / f"sub-{number}" / "anat"
        folder.mkdir(parents=True)
        path = folder / f"sub-{number}_desc-qsmthal_measures.tsv"
        path.write_bytes(measures.replace(b"sub-01", f"sub-{number}".encode()))
    write_tables(output_dir / "sub-5999" / "anat", "sub-5999", 99.0)
    opened(browser, client)
    assert "of 5004" in browser.value("document.getElementById('page').textContent")
    # Once up, once down.
    click(browser, "[data-sort=number_ppb]")
    click(browser, "[data-sort=number_ppb]")
    assert names(browser)[0] == "sub-5999"


def test_a_participant_is_remade_and_what_changed_is_shown_after_a_reload(
    browser, client, output_dir
) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    wait(browser, SHOWN)
    click(browser, "#remake")
    wait(browser, f"{RUNS} === 'sub-01 is being remade.'")
    # The server knows it, the page may go.
    opened(browser, client)
    wait(
        browser,
        f"{RUNS} === 'sub-01 is being remade.' && document.getElementById('remake').disabled",
    )
    # Corrected and saved meanwhile; what is drawn after that stays when the run ends.
    click(browser, "#rows button")
    wait(browser, f"{SHOWN} && {FOUND}")
    browser.value("document.getElementById('pen').value = '0'; bench.viewer.pen()")
    mark(browser, LEFT)
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    folder = output_dir / "edits" / "sub-01" / "anat"
    saved = nifti.load(next(folder.glob("*.nii.gz"))).data
    assert np.count_nonzero(saved != THALAMUS) == 1
    mark(browser, RIGHT)
    found = wait(browser, f"JSON.parse({FOUND}).parts[1].voxels === 63 && {FOUND}")
    (output_dir / "order.part").write_text('{"status": 0, "old": "-20.0", "new": "-12.5"}', "utf-8")
    (output_dir / "order.part").rename(output_dir / "order.json")
    wait(browser, f"{STATUS} === 'sub-01 was remade.'")
    first = "[...document.querySelector('#changes tbody tr').cells].map(cell => cell.textContent)"
    assert browser.value(first) == [
        *("sub-01", "chi_relative_csf", "thalamus", "LR"),
        *("-20", "-12.5", "ppb"),
    ]
    assert "-12.5" in browser.value("document.getElementById('rows').textContent")
    assert browser.value(FOUND) == found
    assert complaints(browser) == []


def test_tools_outlines_and_marks_are_for_the_keyboard_too(browser, client) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    before = wait(browser, f"{SHOWN} && {FOUND}")
    # From the middle of the image to a voxel of nothing, and a mark there.
    browser.value("document.getElementById('canvas').focus()")
    browser.value("document.getElementById('pen').value = '1'; bench.viewer.pen()")
    start = browser.value(CROSSHAIR)
    press(browser, "ArrowUp")
    press(browser, "PageUp")
    after = browser.value(CROSSHAIR)
    assert np.subtract(after, start).tolist() == [0, 1, 1]
    press(browser, "p")
    marked = json.loads(wait(browser, f"{FOUND} !== {json.dumps(before)} && {FOUND}"))
    voxels = [part["voxels"] for part in json.loads(before)["parts"]]
    assert [part["voxels"] for part in marked["parts"]] == [voxels[0] + 1, voxels[1]]
    # A single voxel has no neighbours that would keep it.
    click(browser, "[data-tool=smooth]")
    wait(browser, f"JSON.parse({FOUND}).parts[0].voxels < {voxels[0]}")
    press(browser, "u")
    press(browser, "u")
    wait(browser, f"{FOUND} === {json.dumps(before)}")
    press(browser, "o")
    wait(browser, "bench.viewer.nv.volumes.length === 2")
    press(browser, "o")
    wait(browser, "bench.viewer.nv.volumes.length === 1")
    assert complaints(browser) == []


@pytest.mark.parametrize("label", ["lesion", "enhancing"])
def test_lesions_are_confirmed_and_rejected_by_one_key(browser, client, output_dir, label) -> None:
    begin = output_dir / "sub-02" / "anat" / "sub-02_space-T1w_label"
    write_whole(
        begin.with_name(f"{begin.name}-enhancing_mask.nii.gz"),
        begin.with_name(f"{begin.name}-lesion_mask.nii.gz").read_bytes(),
    )
    opened(browser, client)
    labelled(browser, label)
    # The crosshair is in the larger one, then in the other: the scan is tilted.
    for key, number in (("n", 1), ("c", 2)):
        press(browser, key)
        wait(browser, f"{STATUS}.startsWith('Lesion {number} of 2')")
        # The first axis of the file runs to the left.
        x, y, z = browser.value(CROSSHAIR)
        assert NUMBERED[NUMBERED.shape[0] - 1 - x, y, z] == number
    press(browser, "x")
    wait(browser, f"JSON.parse({FOUND}).pieces.length === 1")
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    folder = output_dir / "edits" / "sub-02" / "anat"
    saved = next(folder.glob("*.nii.gz"))
    assert saved.name == f"sub-02_space-T1w_label-{label}_mask.nii.gz"
    # The largest stands, the other one is gone.
    kept = LESIONS.copy()
    kept[12:] = 0
    np.testing.assert_array_equal(nifti.load(saved).data, kept)
    signed = json.loads(next(folder.glob("*.json")).read_text("utf-8"))
    assert signed["Reason"] == "confirmed 1, rejected 1"
    assert complaints(browser) == []


def labelled(browser, label: str, scan: str = "sub-02") -> None:
    """Open a scan of the table and choose a label."""
    row = int(scan.removeprefix("sub-")) - 1
    browser.value(f"document.querySelectorAll('#rows button')[{row}].click()")
    wait(browser, f"{SHOWN} === '{scan} thalamus'")
    choose(browser, "label", label)
    wait(browser, f"{SHOWN} === '{scan} {label}' && {FOUND}")


def choose(browser, name: str, value: str) -> None:
    chosen = f"document.getElementById({json.dumps(name)})"
    browser.value(
        f"{chosen}.value = {json.dumps(value)}; {chosen}.dispatchEvent(new Event('change'))"
    )


def test_lesions_get_and_lose_a_rim_by_one_key(browser, client, output_dir) -> None:
    opened(browser, client)
    labelled(browser, "rim")
    press(browser, "n")
    mm3 = round(18 * abs(np.linalg.det(AFFINE[:3, :3])))
    wait(browser, f"{STATUS} === 'Lesion 1 of 3: {mm3} mm³, not drawn'")
    drawn = f"JSON.parse({FOUND}).pieces.filter(one => one.value).map(one => one.number).join()"
    for key, numbers, then in (("c", "1,2", 2), ("x", "1", 3), ("x", "1", 1)):
        press(browser, key)
        wait(browser, f"{STATUS}.startsWith('Lesion {then} of 3') && {drawn} === '{numbers}'")
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    folder = output_dir / "edits" / "sub-02" / "anat"
    saved = folder / "sub-02_space-MEGRE_label-rim_mask.nii.gz"
    np.testing.assert_array_equal(nifti.load(saved).data, WHOLE_LESIONS == 1)
    signed = json.loads(next(folder.glob("*.json")).read_text("utf-8"))
    assert signed["Reason"] == "confirmed 1, rejected 2"
    assert complaints(browser) == []


def test_lesion_changes_are_confirmed_called_otherwise_and_rejected_by_one_key(
    browser, client, output_dir
) -> None:
    write_lesion_changes(output_dir, "sub-02")
    opened(browser, client)
    labelled(browser, "lesion_change")
    # The one that is proposed first, by a key of its own.
    press(browser, "N")
    mm3 = [round(count * abs(np.linalg.det(T1W_AFFINE[:3, :3]))) for count in (18, 8)]
    wait(browser, f"{STATUS} === 'Lesion 2 of 2: {mm3[1]} mm³, new'")
    values = f"JSON.parse({FOUND}).pieces.map(one => one.value).join()"
    press(browser, "c")
    wait(browser, f"{STATUS} === 'Lesion 1 of 2: {mm3[0]} mm³, not drawn'")
    choose(browser, "pen", "2")
    press(browser, "c")
    said = f"Lesion 2 of 2: {mm3[1]} mm³, new, confirmed"
    wait(browser, f"{STATUS} === '{said}' && {values} === '2,1'")
    press(browser, "x")
    wait(browser, f"{STATUS} === 'Lesion 1 of 2: {mm3[0]} mm³, enlarged, confirmed'")
    assert browser.value(values) == "2,0"
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    folder = output_dir / "edits" / "sub-02" / "anat"
    saved = folder / "sub-02_space-T1w_desc-lesionchange_dseg.nii.gz"
    np.testing.assert_array_equal(nifti.load(saved).data, 2 * (NUMBERED == 1))
    signed = json.loads(next(folder.glob("*.json")).read_text("utf-8"))
    assert signed["Reason"] == "confirmed 1, rejected 1"
    assert complaints(browser) == []


def test_flair_and_magnitude_are_shown_and_the_outlines_are_explained(browser, with_raw) -> None:
    opened(browser, with_raw)
    labelled(browser, "lesion")
    for key, value in (("flair", 310), ("echo2", 210)):
        choose(browser, "map", key)
        wait(browser, f"bench.viewer.nv.volumes[1]?.name.startsWith('{key}')")
        browser.value("bench.viewer.nv.scene.crosshairPos = bench.viewer.nv.vox2frac([10, 12, 8])")
        browser.value("bench.viewer.nv.createOnLocationChange()")
        said = browser.value("document.getElementById('place').textContent")
        # The file's first axis runs to the left, NiiVue's to the right.
        assert float(said.rsplit(maxsplit=1)[1]) == pytest.approx(value, abs=1.5)
        # The drawing lies over every map: it is seen while one looks at another one.
        press(browser, "n")
        assert picture(browser, "setDrawOpacity(0)") != picture(browser, "setDrawOpacity(1)")
    # Another label has its own map, and the value at the crosshair is of that.
    choose(browser, "label", "thalamus")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")
    assert ": QSM" in browser.value("document.getElementById('place').textContent")
    choose(browser, "label", "lesion")
    wait(browser, f"{SHOWN} === 'sub-02 lesion' && {FOUND}")
    choose(browser, "map", "flair")
    wait(browser, "bench.viewer.nv.volumes[1]?.name.startsWith('flair')")
    # Where a map is black nothing of the map below it is seen.
    for name, value in (("low", "5000"), ("high", "5001")):
        choose(browser, name, value)
    pixel = browser.value(
        """(() => {
          const { nv } = bench.viewer;
          Object.assign(nv.opts, { crosshairWidth: 0 });
          nv.setDrawOpacity(0);
          nv.setSliceType(niivue.SLICE_TYPE.AXIAL);
          const [made, { gl }] = [new Uint8Array(4), nv];
          const middle = [gl.canvas.width / 2, gl.canvas.height / 2];
          gl.readPixels(...middle, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, made);
          return [...made];
        })()"""
    )
    assert pixel == [0, 0, 0, 255]
    press(browser, "o")
    wait(browser, "bench.viewer.nv.volumes.length === 3")
    legend = browser.value("document.getElementById('legend').innerText")
    assert [line.removeprefix("■ ") for line in legend.splitlines()] == [
        *("thalamus", "CSF reference", "veins", "T2 lesions (drawn)", "lesions with a rim"),
    ]
    assert browser.value("document.getElementById('raw').hidden")
    assert complaints(browser) == []


def erased(browser, mask: np.ndarray, said: str) -> None:
    """Take the first voxel of a mask away, save, and wait for what the page says."""
    browser.value("document.getElementById('pen').value = '0'; bench.viewer.pen()")
    mark(browser, mask)
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('{said}')")


def test_of_two_browsers_the_later_one_is_told_and_no_edit_is_lost(
    browser, client, output_dir
) -> None:
    second = Browser(executable())
    try:
        for one, reader in ((browser, "AB"), (second, "CD")):
            opened(one, client)
            click(one, "#rows button")
            wait(one, f"{SHOWN} && {FOUND}")
            one.value(f"document.getElementById('reader').value = '{reader}'")
        erased(browser, LEFT, "Saved edits/")
        erased(second, RIGHT, "somebody else has saved the thalamus of sub-01")
        kept = output_dir / "edits" / "versions" / "sub-01" / "anat"
        assert [path.name for path in sorted(kept.rglob("*.nii.gz"))] == ["0000_AB.nii.gz"]
        # As it says: loaded again, the change repeated.
        choose(second, "label", "vein")
        wait(second, f"{SHOWN} === 'sub-01 vein'")
        choose(second, "label", "thalamus")
        wait(second, f"{SHOWN} === 'sub-01 thalamus' && {FOUND}")
        erased(second, RIGHT, "Saved edits/")
        names = sorted(kept.rglob("*.nii.gz"))
        assert [path.name for path in names] == ["0000_AB.nii.gz", "0001_CD.nii.gz"]
        changed = [np.argwhere(nifti.load(path).data != THALAMUS).tolist() for path in names]
        left, right = np.argwhere(LEFT)[0].tolist(), np.argwhere(RIGHT)[0].tolist()
        assert changed == [[left], [right, left]]
        # Refused with 412: the browser says so in its console, and nothing else.
        assert [one for one in complaints(second) if "412" not in one] == []
    finally:
        second.close()


FOCUSED = "document.activeElement"


def tab_to(browser, what: str) -> None:
    """Press Tab until a script about the focused element is true, as a reader does."""
    for _ in range(80):
        browser.press("Tab")
        if browser.value(f"Boolean({FOCUSED}.{what})"):
            return
    pytest.fail(f"the keyboard does not reach {what}")


def arrow(browser, key: str) -> None:
    code = {"ArrowDown": 40, "ArrowUp": 38, "PageUp": 33}[key]
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
        )


def test_a_label_is_corrected_and_saved_by_the_keyboard_alone(browser, client, output_dir) -> None:
    opened(browser, client)
    tab_to(browser, "textContent === 'sub-02'")
    browser.press("Enter")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")
    assert browser.value(f"{FOCUSED}.id") == "close"
    tab_to(browser, "id === 'pen'")
    arrow(browser, "ArrowDown")
    assert browser.value(f"{FOCUSED}.value") == "2"
    tab_to(browser, "id === 'canvas'")
    for key in ("ArrowUp", "PageUp"):
        arrow(browser, key)
    press(browser, "p")
    wait(browser, f"JSON.parse({FOUND}).parts[1].voxels === 65")
    tab_to(browser, "id === 'reader'")
    browser.call("Input.insertText", text="AB")
    tab_to(browser, "id === 'save'")
    browser.press("Enter")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    saved = nifti.load(next((output_dir / "edits/sub-02/anat").glob("*.nii.gz"))).data
    assert np.count_nonzero(saved == 2) == 65
    browser.press("Escape")
    # Back on the line that was left.
    assert browser.value(f"{FOCUSED}.textContent") == "sub-02"
    assert complaints(browser) == []


NAMELESS = {
    *("button", "combobox", "textbox", "searchbox", "checkbox", "slider", "spinbutton"),
    *("link", "image", "Canvas", "table", "region"),
}
"""Roles whose elements say nothing without a name (WAI-ARIA 1.2)."""

PALE = """(() => {
  const light = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => {
    const own = getComputedStyle(one).backgroundColor;
    return own !== 'rgba(0, 0, 0, 0)' ? own : one.parentElement ? ground(one.parentElement) : own;
  };
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll('body *')]
    .filter((one) => one.checkVisibility() && own(one) && !one.disabled && !one.ariaHidden)
    .map((one) => {
      const pair = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
      return [one.tagName, one.textContent.slice(0, 30), (pair[0] + 0.05) / (pair[1] + 0.05)];
    })
    .filter(([, , ratio]) => !(ratio >= 4.5));
})()"""
"""Text on a ground that is too much like it: below 4.5 to 1 (WCAG 2.2, 1.4.3)."""

SMALL = """[...document.querySelectorAll('button, select, input, a')]
  .filter((one) => one.checkVisibility())
  .filter((one) => (one.closest('label') ?? one).getBoundingClientRect().height < 24)
  .map((one) => one.id || one.textContent)"""
"""What is hard to hit: below 24 px (WCAG 2.2, 2.5.8)."""


def nameless(browser) -> list[str]:
    """Return what a screen reader cannot name: of roles that need it, and whatever takes focus."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        f"{node['role']['value']} {node.get('description', {}).get('value', '')}"
        for node in nodes
        if not node["ignored"]
        and (node["role"]["value"] in NAMELESS or takes_focus(node))
        and not node.get("name", {}).get("value", "").strip()
    ]


def takes_focus(node: dict) -> bool:
    given = {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
    # The page itself takes the focus where nothing else has it, and has the title as its name.
    return bool(given.get("focusable"))


CONTROLS = """[...document.querySelectorAll('a[href], button, input, select, textarea, [tabindex]')]
  .filter((one) => one.checkVisibility() && !one.disabled)"""


def unreached(browser) -> list[str]:
    """Return the controls that Tab does not come to, from the beginning of the page."""
    browser.value(f"globalThis.left = new Set({CONTROLS}); {FOCUSED}.blur(); scrollTo(0, 0)")
    browser.value("getSelection().setPosition(document.body, 0)")
    for _ in range(browser.value("globalThis.left.size") + 10):
        browser.press("Tab")
        browser.value(f"globalThis.left.delete({FOCUSED})")
    return browser.value("[...globalThis.left].map((one) => one.id || one.textContent)")


def agreement(browser) -> None:
    click(browser, "#agree")
    wait(browser, "document.querySelectorAll('#agreement tbody tr').length")


def outlined(browser) -> None:
    labelled(browser, "lesion")
    browser.value("document.activeElement.blur()")
    press(browser, "o")
    wait(browser, "bench.viewer.nv.volumes.length === 2")


def running(browser) -> None:
    click(browser, "#remake")
    wait(browser, f"{RUNS} === 'sub-02 is being remade.'")


def ran(browser, output_dir) -> None:
    (output_dir / "order.part").write_text('{"status": 0, "old": "-10.0", "new": "-12.5"}', "utf-8")
    (output_dir / "order.part").rename(output_dir / "order.json")
    wait(browser, "document.querySelectorAll('#changes tbody tr').length")
    wait(browser, f"{SHOWN} === 'sub-02 thalamus' && {FOUND}")


@pytest.mark.parametrize("width", [1280, 390])
def test_all_has_a_name_is_reached_seen_and_can_be_hit_and_hostile_words_stay_words(
    browser, client, output_dir, width
) -> None:
    markup = "<img src=x onerror=\"document.title='taken'\">"
    table = output_dir / "sub-02" / "anat" / "sub-02_desc-qsmthal_quality.tsv"
    table.write_text(f"name\tverdict\treason\na\tcheck\t{markup}{'w' * 300}\n", "utf-8")
    # Two readers, so that the table of their agreement has a line.
    for reader in ("AB", "CD"):
        form = json.dumps({"reader": reader, "reason": "", "decision": "check"}).encode()
        assert client.own("POST", "api/rating/sub-02", form)[0] == 200
    opened(browser, client, width)
    for state, reached in (
        ("the table", lambda: None),
        ("the agreement of readers", lambda: agreement(browser)),
        ("a scan", lambda: outlined(browser)),
        ("a run", lambda: running(browser)),
        ("a run that ended", lambda: ran(browser, output_dir)),
    ):
        reached()
        assert nameless(browser) == [], state
        assert unreached(browser) == [], state
        assert browser.value(PALE) == [], state
        assert browser.value(SMALL) == [], state
        assert browser.value("document.documentElement.scrollWidth") <= width, state
    assert markup in browser.value("document.getElementById('warnings').textContent")
    assert browser.value("document.title") == "bids_qsmthal: sub-02"
    assert complaints(browser) == []


def test_without_the_token_a_browser_shows_nothing_of_the_participants(browser, client) -> None:
    address = client.address.replace(client.server.gate.token, "x" * 43)
    browser.open(SimpleNamespace(as_uri=lambda: address), 1280)
    text = browser.value("document.documentElement.textContent")
    assert "lacks the token" in text
    assert "sub-" not in text
