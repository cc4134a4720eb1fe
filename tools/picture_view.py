"""Take the pictures of docs/view.md: python tools/picture_view.py OUTPUT_DIR BIDS_DIR [SCAN].

The folders are those of ``bids_qsmthal demo`` or of any run; needs Chromium. The steps of the
guided tour are walked; nothing is saved to the output folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import PIL.Image

from bids_qsmthal import view

ROOT = Path(__file__).parents[1]
# The browser of the tests: the checkout is not installed as a package.
sys.path.insert(0, str(ROOT))
from tests.report.browser import Browser, executable  # noqa: E402 - after the path

SHOWN = "document.getElementById('numbers').dataset.found"
SHOWN_LABEL = "document.documentElement.dataset.shown"
WIDE, NARROW = 1280, 390
OUTLINED = "bench.viewer.nv.volumes.length === 2"


def wait(browser: Browser, script: str) -> None:
    """Return once a script of the page is true."""
    while not browser.value(script):
        time.sleep(0.05)


def save(browser: Browser, name: str) -> None:
    """Save what is seen as a small picture of the documentation."""
    with tempfile.TemporaryDirectory() as folder:
        browser.picture(Path(folder) / "seen.png")
        with PIL.Image.open(Path(folder) / "seen.png") as seen:
            seen.convert("RGB").save(ROOT / "docs" / name, quality=80, method=6)


def choose(browser: Browser, name: str, value: str) -> None:
    """Choose from a list of the page as a reader does."""
    chosen = f"document.getElementById({json.dumps(name)})"
    browser.value(
        f"{chosen}.value = {json.dumps(value)}; {chosen}.dispatchEvent(new Event('change'))"
    )


def open_scan(browser: Browser, address: str, scan: str, width: int) -> None:
    """Open the page and a scan of it."""
    browser.open(SimpleNamespace(as_uri=lambda: address), width)
    wait(browser, "document.querySelectorAll('#rows button').length")
    if width == WIDE:
        save(browser, "view-table.webp")
    buttons = "[...document.querySelectorAll('#rows button')]"
    browser.value(f"{buttons}.find(one => one.textContent === {json.dumps(scan)}).click()")
    wait(browser, SHOWN)


def tour(browser: Browser, scan: str) -> None:
    """Walk the steps of the guided tour and save what is seen."""
    browser.value("document.getElementById('outlines').click()")
    wait(browser, OUTLINED)
    # To the thalami, which lie near the middle of every head.
    browser.value("bench.viewer.nv.moveCrosshairInVox(0, -6, 3)")
    save(browser, "view.webp")
    before = browser.value(SHOWN)
    browser.value("document.querySelector('[data-tool=nudge]').click()")
    wait(browser, f"{SHOWN} !== {json.dumps(before)}")
    choose(browser, "label", "lesion")
    wait(browser, f"{SHOWN_LABEL} === {json.dumps(f'{scan} lesion')} && {SHOWN}")
    choose(browser, "map", "flair")
    wait(browser, "bench.viewer.nv.volumes[1]?.name.startsWith('flair')")
    browser.value("document.getElementById('piece').click()")
    browser.value("document.getElementById('confirm').click()")
    wait(browser, "bench.viewer.piece === 1")
    save(browser, "view-lesions.webp")


def take(address: str, scan: str) -> None:
    """Save the pictures of the tour, and one of a narrow window."""
    program = executable()
    if program is None:
        sys.exit("Chromium is not installed.")
    browser = Browser(program)
    try:
        open_scan(browser, address, scan, WIDE)
        tour(browser, scan)
        open_scan(browser, address, scan, NARROW)
        save(browser, "view-narrow.webp")
    finally:
        browser.close()


def main() -> None:
    """Serve the folder while the picture is taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("scan", nargs="?", default="sub-02")
    chosen = parser.parse_args()
    place = ("127.0.0.1", 0)
    command = view.Command(("false",), {})
    with view.server_of(chosen.output_dir, place, command, chosen.bids_dir) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{server.gate.token}/"
        take(address, chosen.scan)
        server.shutdown()


if __name__ == "__main__":
    main()
