"""Take the picture of docs/view.md: python tools/picture_view.py OUTPUT_DIR [SCAN].

OUTPUT_DIR is that of ``bids_qsmthal demo`` or of any run; needs Chromium. The outlines of the other
labels are shown over the map, around the label that is drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from bids_qsmthal import view

ROOT = Path(__file__).parents[1]
# The browser of the tests: the checkout is not installed as a package.
sys.path.insert(0, str(ROOT))
from tests.report.browser import Browser, executable  # noqa: E402 - after the path

SHOWN = "document.getElementById('numbers').dataset.found"
OUTLINED = "bench.viewer.nv.volumes.length === 2"


def wait(browser: Browser, script: str) -> None:
    """Return once a script of the page is true."""
    while not browser.value(script):
        time.sleep(0.05)


def take(address: str, scan: str, place: Path) -> None:
    """Open a scan in a browser and save what is seen."""
    program = executable()
    if program is None:
        sys.exit("Chromium is not installed.")
    browser = Browser(program)
    try:
        browser.open(SimpleNamespace(as_uri=lambda: address), 1280)
        wait(browser, "document.querySelectorAll('#rows button').length")
        buttons = "[...document.querySelectorAll('#rows button')]"
        browser.value(f"{buttons}.find(one => one.textContent === {json.dumps(scan)}).click()")
        wait(browser, SHOWN)
        browser.value("document.getElementById('outlines').click()")
        wait(browser, OUTLINED)
        # To the thalami, which lie near the middle of every head.
        browser.value("bench.viewer.nv.moveCrosshairInVox(0, -6, 3)")
        browser.picture(place)
    finally:
        browser.close()


def main() -> None:
    """Serve the folder while the picture is taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("scan", nargs="?", default="sub-02")
    chosen = parser.parse_args()
    place = ("127.0.0.1", 0)
    with view.server_of(chosen.output_dir, place, view.Command(("false",), {})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{server.gate.token}/"
        take(address, chosen.scan, ROOT / "docs" / "view.png")
        server.shutdown()


if __name__ == "__main__":
    main()
