"""The reader's bench: seconds to the first view of a scan, frames a second while drawing.

python benchmarks/view.py [--shape X Y Z] [--participants N]

Serves an output folder of made-up participants (smooth maps with noise, the study's matrix) and
opens it in a Chromium without a graphics card: a desk's browser with one draws faster. Printed
are the seconds of every request and of the page from click to image, and how many frames a second
are drawn while a line is drawn with the mouse, the median of three. Beside each are the seconds of
processor time that the browser and the server took, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
import psutil

from bids_qsmthal import view
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image

# The browser of the tests: the checkout is not installed as a package.
sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.report.browser import Browser, executable

STUDY = (448, 448, 64)
VOXEL_MM = (0.5, 0.5, 2.0)
FRAMES = 40
SCANS = (1, 2, 3, 4)
"""Those with images: the first, the one after it, and two that the page does not expect."""
DRAWN = """new Promise(done => {
  const times = [], canvas = document.getElementById('canvas');
  const place = canvas.getBoundingClientRect();
  const at = (kind, x, y) => canvas.dispatchEvent(new MouseEvent(kind, {
    clientX: place.left + x, clientY: place.top + y, button: 0, buttons: 1, bubbles: true }));
  at('mousedown', 100, 100);
  const frame = (now) => {
    times.push(now);
    if (times.length > 40) {
      at('mouseup', 100, 100);
      return done(1000 * (times.length - 1) / (times.at(-1) - times[0]));
    }
    at('mousemove', 100 + times.length, 100 + times.length / 2);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def write_scan(root: Path, name: str, shape: tuple[int, int, int]) -> None:
    """Write maps and masks of one made-up participant."""
    rng = np.random.default_rng(1)
    folder = root / name / "anat"
    folder.mkdir(parents=True)
    affine = np.diag([*VOXEL_MM, 1.0])
    affine[:3, 3] = -np.array(shape) * VOXEL_MM / 2
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    radius = np.sqrt(sum((axis / 0.8) ** 2 for axis in axes))
    brain = radius < 1
    chi = np.where(brain, 0.03 * np.sin(12 * radius) + rng.normal(0, 0.01, shape), 0)
    masks = {
        "space-MEGRE_desc-thalamus_dseg": (radius < 0.2) + (radius < 0.1),
        "space-MEGRE_label-CSF_desc-reference_mask": (radius > 0.3) & (radius < 0.32),
        "space-MEGRE_label-vein_mask": (radius > 0.5) & (radius < 0.51),
        "space-MEGRE_desc-brain_mask": brain,
    }
    for ending, data in {"Chimap": chi, "R2starmap": 20 + 100 * chi}.items():
        nifti.save(Image(data.astype(np.float32), affine), folder / f"{name}_{ending}.nii.gz")
    for ending, data in masks.items():
        nifti.save(Image(data.astype(np.uint8), affine), folder / f"{name}_{ending}.nii.gz")
    write_table(folder, name)


def copy_scan(root: Path, name: str, other: str) -> None:
    """Write the same images for another participant: a server reads them all the same."""
    folder = root / other / "anat"
    folder.mkdir(parents=True)
    for path in (root / name / "anat").glob("*.nii.gz"):
        shutil.copy(path, folder / path.name.replace(name, other, 1))
    write_table(folder, other)


def write_table(folder: Path, name: str) -> None:
    """Write the table of measures that makes a folder a participant."""
    rows = [(name, "n/a", "n/a", "chi_relative_csf", "thalamus", "LR", -20.0, "ppb")]
    columns = ["participant_id", "session_id", "run_id", "measure", "region", "hemisphere"]
    frame = pd.DataFrame(rows, columns=[*columns, "value", "unit"])
    frame.to_csv(folder / f"{name}_desc-qsmthal_measures.tsv", sep="\t", index=False)


def seconds(work: Callable[[], Any]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def processor_s(browser: Browser) -> float:
    """Return the processor time so far of a browser with its processes, and of the server here."""
    own = psutil.Process(browser.process.pid)
    times = [one.cpu_times() for one in (own, *own.children(recursive=True), psutil.Process())]
    return sum(one.user + one.system for one in times)


def measured(name: str, browser: Browser, work: Callable[[], Any]) -> None:
    """Print how long something takes, on the clock and of the processors."""
    before = processor_s(browser)
    clock = seconds(work)
    print(f"{name:40} {clock:6.2f} s, {processor_s(browser) - before:6.2f} s of processor time")


def wait(browser: Browser, script: str) -> None:
    """Return once a script of the page is true.

    The page itself looks every 5 ms: asking it from here takes processor time of both.
    """
    browser.value(
        f"new Promise((done) => {{ const look = () => ({script}) ? done(true) : "
        "setTimeout(look, 5); look(); })"
    )


def requests(address: str) -> None:
    """Print the seconds of every request that the first view of a scan makes."""
    paths = ["api/participants", "api/scan/sub-1", "api/map/sub-1/chi/thalamus.nii.gz"]
    paths += ["api/label/sub-1/thalamus.nii.gz", "api/versions/sub-1/thalamus"]
    for path in paths:
        sizes: list[int] = []

        def ask(path: str = path, sizes: list[int] = sizes) -> None:
            sizes.append(len(urlopen(address + path).read()))  # noqa: S310 - this machine's

        print(f"{path:40} {seconds(ask):6.2f} s {sizes[0] / 2**20:8.2f} MB")


def clicked(browser: Browser, number: int, how: str) -> None:
    """Print how long a scan of the table takes to be there."""
    shown = f"document.documentElement.dataset.shown === 'sub-{number} thalamus'"
    browser.value("document.getElementById('close').click()")
    click = f"document.querySelectorAll('#rows button')[{number - 1}].click()"
    name = f"sub-{number}{how}: from click to image"
    measured(name, browser, lambda: (browser.value(click), wait(browser, shown)))


def page(address: str) -> None:
    """Print how long the page takes, and how many frames a second it draws."""
    program = executable()
    if program is None:
        print("no Chromium: the page is not measured")
        return
    browser = Browser(program)
    try:
        rows = "document.querySelectorAll('#rows tr').length"
        place = SimpleNamespace(as_uri=lambda: address)
        measured(
            *("page and table", browser),
            lambda: (browser.open(place, 1280), wait(browser, rows)),
        )
        # While a reader looks at the table; who clicks at once waits for it, too.
        ahead = "bench.viewer.maps.next?.here"
        measured("then until the first scan is there ahead", browser, lambda: wait(browser, ahead))
        for number, expected in ((1, True), (2, True), (4, False)):
            if expected:
                wait(browser, ahead)
            clicked(browser, number, "" if expected else ", not expected")
        browser.open(place, 1280)
        wait(browser, rows)
        clicked(browser, 3, ", at once")
        found = "document.getElementById('numbers').dataset.found"
        measured("then to the first numbers", browser, lambda: wait(browser, found))
        before = processor_s(browser)
        frames = [browser.value(DRAWN) for _ in range(3)]
        each_ms = 1e3 * (processor_s(browser) - before) / (3 * FRAMES)
        print(
            f"{'drawing, all views':40} {float(np.median(frames)):6.1f} frames a second, "
            f"{each_ms:.0f} ms of processor time each"
        )
    finally:
        browser.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=STUDY)
    parser.add_argument("--participants", type=int, default=len(SCANS))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "out"
        write_scan(root, "sub-1", tuple(chosen.shape))
        for number in SCANS[1:]:
            copy_scan(root, "sub-1", f"sub-{number}")
        for number in range(len(SCANS) + 1, chosen.participants + 1):
            (root / f"sub-{number}" / "anat").mkdir(parents=True)
            write_table(root / f"sub-{number}" / "anat", f"sub-{number}")
        place = ("127.0.0.1", 0)
        with view.server_of(root, place, view.Command(("false",), {})) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}/{server.gate.token}/"
            print(json.dumps({"shape": chosen.shape, "participants": chosen.participants}))
            requests(address)
            page(address)
            server.shutdown()


if __name__ == "__main__":
    main()
