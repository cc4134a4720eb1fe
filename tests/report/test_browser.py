"""Pages in a real browser."""

import base64
import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCREENS = {"desktop": 1280, "phone": 390}


@pytest.fixture
def report_file(written) -> Path:
    return written[0]


@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
def test_a_report_opens_without_complaint_and_fits_the_screen(browser, report_file, width) -> None:
    browser.open(report_file, width)
    assert browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.title") == "sub-01 ses-1"


def test_every_picture_is_there_and_described(browser, report_file) -> None:
    browser.open(report_file, 1280)
    pictures = browser.value(
        "[...document.querySelectorAll('main img')].map(i => [i.naturalWidth, i.alt])"
    )
    assert len(pictures) == 23
    assert all(width > 100 and alt for width, alt in pictures)


@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
def test_every_picture_is_seen_whole(browser, report_file, width) -> None:
    browser.open(report_file, width)
    places = browser.value(
        """[...document.querySelectorAll('main img')]
          .filter(i => i.checkVisibility({visibilityProperty: true}))
          .map(i => [i.getBoundingClientRect(), i.parentElement.getBoundingClientRect()])
          .map(([i, p]) => [i.left, i.right, i.width, i.height, p.left, p.right])"""
    )
    assert len(places) == 21  # of each pair that flickers one is hidden
    for left, right, wide, high, least, most in places:
        assert left >= least - 1
        assert right <= most + 1
        assert wide >= 0.5 * min(width, 900)
        assert high > 40
        assert most <= width


def test_an_enlarged_picture_of_a_phone_is_larger_than_the_screen(browser, report_file) -> None:
    browser.open(report_file, 390)
    browser.value("document.querySelector('main .picture img').click()")
    assert browser.value("document.querySelector('#enlarged img').clientWidth") > 900


def test_the_keyboard_reaches_everything_that_can_be_used(browser, report_file) -> None:
    browser.open(report_file, 1280)
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(150):
        browser.press("Tab")
        name = browser.value(
            "(e => e.dataset.seen = e.className + ' ' + e.tagName)(document.activeElement)"
        )
        reached.add(name.strip())
        if name.strip() == "BODY":
            break
    missed = browser.value(
        "[...document.querySelectorAll('main a, button, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility({visibilityProperty: true}) && !e.dataset.seen)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert missed == []
    assert {"switch BUTTON", "can-enlarge IMG", "save-rating BUTTON", "INPUT"} <= reached


def test_a_picture_is_enlarged_and_put_back_with_the_keyboard(browser, report_file) -> None:
    browser.open(report_file, 1280)
    browser.value("document.querySelector('main .picture img').focus()")
    browser.press("Enter")
    assert browser.value("document.getElementById('enlarged').open")
    assert browser.value("document.querySelector('#enlarged img').naturalWidth") > 100
    browser.press("Escape")
    assert not browser.value("document.getElementById('enlarged').open")


def test_registration_is_switched_with_the_keyboard(browser, report_file) -> None:
    browser.open(report_file, 1280)
    shown = "document.querySelector('.layer.shown .layer-name').textContent"
    assert browser.value(shown) == "T1w of the participant"
    browser.value("document.querySelector('.switch').focus()")
    browser.press(" ")
    assert browser.value(shown) == "template, deformed to fit"
    heights = browser.value(
        "[...document.querySelectorAll('.layer')].map(l => l.getBoundingClientRect().top)"
    )
    assert heights[0] == heights[1]


def test_the_decision_is_saved_as_the_group_level_reads_it(browser, report_file) -> None:
    browser.open(report_file, 1280)
    saved = browser.value(
        """new Promise(done => {
          const form = document.querySelector('form.rating');
          form.elements.decision.value = 'exclude';
          form.elements.reason.value = 'moved\\ta "lot"';
          form.elements.rater.value = 'AB';
          form.querySelector('[value=motion]').click();
          form.querySelector('[value=streaks]').click();
          URL.createObjectURL = blob => { blob.text().then(done); return 'blob:none'; };
          HTMLAnchorElement.prototype.click = () => {};
          form.querySelector('.save-rating').click();
        })"""
    )
    assert re.fullmatch(
        "participant_id\tsession_id\trun_id\tdecision\treason\tartefacts\trater\trated_at\n"
        r"sub-01\tses-1\tn/a\texclude\tmoved a lot\tmotion, streaks\tAB"
        r"\t\d{4}-\d\d-\d\dT[\d:.]+Z\n",
        saved,
    )


MIRRORED = """(async () => {
  const drawn = async (source) => {
    const image = new Image(); image.src = source; await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const pen = canvas.getContext("2d"); pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, canvas.width, canvas.height);
  };
  const side = sides.find(one => one.own.includes("mirror-4-"));
  const own = await drawn(side.own);
  document.getElementById("radiological").click();
  const other = await drawn(side.image.src);
  const width = Math.round(own.width * (11 - 1.05) / 11 / 4);
  let same = 0, turned = 0, count = 0;
  for (let column = 0; column < 4; column += 1) {
    for (let y = 20; y < 60; y += 1) {
      for (let x = Math.round(0.15 * width); x < 0.85 * width; x += 1) {
        const at = (picture, place) => picture.data[4 * (y * own.width + column * width + place)];
        same += Math.abs(at(own, x) - at(other, x));
        turned += Math.abs(at(own, width - 1 - x) - at(other, x));
        count += 1;
      }
    }
  }
  document.getElementById("radiological").click();
  return [same / count, turned / count, side.image.src === side.own];
})()"""


def test_the_radiological_view_mirrors_each_slice_in_its_place_and_goes_back(
    browser, report_file
) -> None:
    browser.open(report_file, 1280)
    same, turned, back = browser.value(MIRRORED)
    # Grays; outlines are drawn between pixels, so that no mirror is exact.
    assert turned < 0.3 * same
    assert same > 3
    assert back
    assert browser.complaints() == []


def test_the_page_says_when_its_file_was_written(browser, report_file) -> None:
    # The date is the file's, not the page's: equal runs give equal bytes.
    os.utime(report_file, (1_600_000_000, 1_600_000_000))
    browser.open(report_file, 1280)
    assert "13 September 2020" in browser.value("document.querySelector('.written').innerText")


def test_the_browser_runs_no_script_but_ours(browser, report_file, tmp_path) -> None:
    text = report_file.read_text()
    planted = text.replace("</main>", "<script>document.title = 'taken'</script></main>")
    other = tmp_path / "planted.html"
    other.write_text(planted)
    browser.open(other, 1280)
    assert browser.value("document.title") == "sub-01 ses-1"
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())


def test_dark_and_light_have_contrast(browser, report_file) -> None:
    for scheme in ("dark", "light"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[feature])
        browser.open(report_file, 1280)
        ratios = browser.value(CONTRAST)
        assert min(ratios) >= 4.5, scheme


CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = color => rgb(color).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (!color.startsWith('rgba(') || !color.endsWith(', 0)')) { return color; }
    }
    return 'rgb(255, 255, 255)';
  };
  const kinds = 'p, dt, dd, td, th, a, button, h1, h2, figcaption, .badge, .mark';
  return [...document.querySelectorAll(kinds)]
    .filter(e => e.checkVisibility() && e.textContent.trim())
    .map(e => [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a))
    .map(([high, low]) => (high + 0.05) / (low + 0.05));
})()"""


def test_paper_shows_what_is_folded(browser, report_file) -> None:
    browser.open(report_file, 1280)
    pdf = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    folded = """[...document.querySelectorAll('details')]
      .map(d => [d.open, d.querySelectorAll('tbody tr').length])"""
    tables = browser.value(folded)
    assert any(opened for opened, _ in tables)
    # Hundreds of measures fill dozens of pages; the file has them.
    assert all(opened == (rows <= 100) for opened, rows in tables)
    browser.value("""(() => {
      const body = [...document.querySelectorAll('details tbody')][0];
      for (let i = 0; i < 101; i++) { body.append(body.rows[0].cloneNode(true)); }
      body.closest('details').open = false;
    })()""")
    browser.call("Page.printToPDF")
    assert [opened for opened, rows in browser.value(folded) if rows > 100] == [False]
