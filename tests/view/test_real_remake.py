"""From the drawing in the page through the real pipeline to the new number in the table."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal import view
from bids_qsmthal.app.cli import main
from bids_qsmthal.core import nifti
from tests import tiny
from tests.view.conftest import Client, served
from tests.view.test_page import FOUND, SHOWN, STATUS, click, complaints, opened, wait

THALAMUS = "sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz"
ENDED = f"{STATUS}.endsWith('remade.') && {STATUS}"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a data set whose only participant was measured."""
    root = tmp_path_factory.mktemp("measured")
    tiny.write_dataset(root, "sub-01")
    assert main(tiny.words(root)) == 0
    return root


@pytest.fixture
def client(measured: Path):
    command = view.Command((sys.executable, "-m", "bids_qsmthal", "remake"), dict(os.environ))
    yield from served(measured / "out", command)
    shutil.rmtree(measured / "out" / "edits", ignore_errors=True)


def number(client: Client) -> float:
    return client.read("api/participants")["rows"][0]["number_ppb"]


def erase(browser, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Draw nothing over some voxels of a file, as one stroke of the pen does.

    The page holds the box of the brain: voxels have other numbers there, at the same places.
    """
    places = (voxels @ affine[:3, :3].T + affine[:3, 3]).tolist()
    voxel = "bench.viewer.nv.frac2vox(bench.viewer.nv.mm2frac(mm, 0, true))"
    browser.value("bench.viewer.nv.drawPenAxCorSag = 0")
    browser.value(f"{places}.forEach((mm) => bench.viewer.nv.drawPt(...{voxel}, 0))")
    browser.value("bench.viewer.drew()")


@pytest.mark.slow
def test_what_was_seen_while_drawing_is_what_the_run_then_measures(
    browser, client, measured
) -> None:
    opened(browser, client)
    click(browser, "#rows button")
    before = json.loads(wait(browser, f"{SHOWN} && {FOUND}"))["relative_ppb"]["LR"]
    # What the page shows of a finished run is what stands in its table.
    assert before == pytest.approx(number(client), abs=1e-4)
    # The left thalamus loses all that lies in front of its middle.
    made = measured / "out" / "sub-01" / "anat" / THALAMUS
    image = nifti.load(made)
    whole = image.data.astype(int)
    middle = int(np.median(np.argwhere(whole == 1)[:, 1]))
    edited = np.where((whole == 1) & (np.arange(whole.shape[1])[:, None] > middle), 0, whole)
    erase(browser, np.argwhere(edited != whole), image.affine)
    kept = np.count_nonzero(edited == 1)
    wait(browser, f"JSON.parse({FOUND}).parts[0].voxels === {kept}")
    seen = browser.value(f"JSON.parse({FOUND}).relative_ppb")
    browser.value("document.getElementById('reader').value = 'AB'")
    click(browser, "#save")
    wait(browser, f"{STATUS}.startsWith('Saved edits/')")
    click(browser, "#remake")
    assert wait(browser, ENDED, seconds=600) == "sub-01 was remade."
    np.testing.assert_array_equal(nifti.load(made).data, edited)
    assert seen["LR"] != pytest.approx(before, abs=0.01)
    assert number(client) == pytest.approx(seen["LR"], abs=1e-4)
    lines = browser.value(
        "[...document.querySelector('#changes').tBodies[0].rows]"
        ".map((line) => [...line.cells].map((cell) => cell.textContent))"
    )
    about = ["sub-01", "chi_relative_csf", "thalamus", "L"]
    (line,) = [line for line in lines if line[:4] == about]
    assert float(line[5]) == pytest.approx(seen["L"], abs=1e-3)
    assert complaints(browser) == []
