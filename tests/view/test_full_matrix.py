"""Of a scan of 0.5 x 0.5 x 2 mm with eleven echoes only what is shown is read and sent."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.view import raw, shown, voxels
from tests.view.conftest import Client, served, write_tables
from tests.view.test_page import FOUND, choose, click, complaints, opened, wait

SHAPE = (448, 448, 64)
AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])
ECHOES = 11
BRAIN = (slice(60, 390), slice(50, 400), slice(6, 58))
BOX = (330 + 2 * 20) * (350 + 2 * 20) * (52 + 2 * 5)
"""Voxels of the brain and of 10 mm around it."""


def mask(*sides: slice) -> np.ndarray:
    made = np.zeros(SHAPE, np.uint8)
    made[sides] = 1
    return made


def write_outputs(root: Path) -> Path:
    folder = root / "sub-01" / "anat"
    folder.mkdir(parents=True)
    chi = np.zeros(SHAPE, np.float32)
    # A map of noise, which no packing makes smaller.
    chi[:, :, 20:40] = np.random.default_rng(1).normal(0, 0.02, (*SHAPE[:2], 20))
    contents = {
        "Chimap": chi,
        "R2starmap": 20 + 0 * chi,
        "space-MEGRE_desc-thalamus_dseg": mask(*[slice(200, 230)] * 2, slice(28, 34)),
        "space-MEGRE_label-CSF_desc-reference_mask": mask(*[slice(180, 190)] * 2, slice(30, 34)),
        "space-MEGRE_label-vein_mask": mask(*[slice(240, 244)] * 2, slice(28, 34)),
        "space-MEGRE_desc-brain_mask": mask(*BRAIN),
    }
    for ending, data in contents.items():
        nifti.save(Image(data, AFFINE), folder / f"sub-01_{ending}.nii.gz")
    write_tables(folder, "sub-01", -20.0)
    return folder


def write_zeros(path: Path, *shape: int) -> None:
    """Write an image of zeros that takes no room on the disk."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(AFFINE, code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as stream:
        stream.write(header.binaryblock)
        stream.truncate(352 + 2 * int(np.prod(shape)))


def write_echoes(bids: Path, out: Path, *, apart: bool) -> None:
    """Write magnitude and phase of all echoes, in a file each or in two of four axes."""
    folder = bids / "sub-01" / "anat"
    folder.mkdir(parents=True)
    times = [round(0.004 * number, 3) for number in range(1, ECHOES + 1)]
    uris = []
    for part in ("mag", "phase"):
        entities = [f"echo-{number}_part-{part}" for number in range(1, ECHOES + 1)]
        for at, name in enumerate(entities if apart else [f"part-{part}"]):
            begin = folder / f"sub-01_{name}_MEGRE"
            write_zeros(begin.with_suffix(".nii"), *SHAPE, *([] if apart else [ECHOES]))
            said = {"EchoTime": times[at] if apart else times}
            begin.with_suffix(".json").write_text(json.dumps(said), "utf-8")
            uris.append(f"bids:raw:sub-01/anat/{begin.name}.nii")
    (out / "sub-01_Chimap.json").write_text(json.dumps({"Sources": uris}), "utf-8")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full") / "out"
    write_outputs(root)
    return root


@pytest.fixture(params=[True, False], ids=["a file an echo", "echoes in one file"])
def client(request, outputs: Path, tmp_path: Path, remake) -> Iterator[Client]:
    out = Path(shutil.copytree(outputs, tmp_path / "out", copy_function=os.link))
    write_echoes(tmp_path / "bids", out / "sub-01" / "anat", apart=request.param)
    yield from served(out, remake, tmp_path / "bids")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """Return a list that names each image, and which volume, whose voxels the server reads."""
    names: list[tuple[str, int | None]] = []
    load, load_volume = nifti.load, nifti.load_volume

    def loaded(path: Path, **how) -> Image:
        names.append((path.name.removeprefix("sub-01_").partition(".")[0], None))
        return load(path, **how)

    def volume(path: Path, number: int) -> Image:
        names.append((path.name.removeprefix("sub-01_").partition(".")[0], number))
        return load_volume(path, number)

    monkeypatch.setattr(nifti, "load", loaded)
    monkeypatch.setattr(nifti, "load_volume", volume)
    for kept in (voxels._volume, voxels._kept_extent, raw._part):
        kept.cache_clear()
    return names


ASKED = """performance.getEntriesByType('resource')
  .map((one) => [one.name.split('/api/')[1], one.decodedBodySize])
  .filter(([name]) => name && !name.startsWith('participants') && name !== 'remake')"""
"""What the page asked the server for about scans, and the bytes of each answer, unpacked."""


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [False, True], ids=["at once", "ahead"])
def test_of_a_scan_the_map_and_the_label_come_and_of_the_echoes_the_one_that_is_chosen(
    browser, client, read, ahead
) -> None:
    # Once clicked at once, while the page is set up, once after its map came ahead.
    opened(browser, client)
    if ahead:
        wait(browser, "bench.viewer.maps.next?.here")
    click(browser, "#rows button")
    wait(browser, FOUND)
    wait(browser, f"{ASKED}.some(([name]) => name === 'numbers/sub-01/thalamus')")
    asked = browser.value(ASKED)
    chi, thalamus = (f"{one}/thalamus.nii.gz" for one in ("map/sub-01/chi", "label/sub-01"))
    named = {name: [size for other, size in asked if other == name] for name, _ in asked}
    assert set(named) == {
        *("scan/sub-01", chi, thalamus, "versions/sub-01/thalamus", "numbers/sub-01/thalamus"),
    }
    # Of a map that came ahead the server says that it has not changed, and sends no voxel again.
    assert named[chi] == ([352 + 2 * BOX, 0] if ahead else [352 + 2 * BOX])
    assert named[thalamus] == [352 + BOX]
    assert sum(size for name, size in asked if name not in (chi, thalamus)) < 2**14
    # Read by the server: that map, that label, the brain for its box, the reference for the number.
    assert sorted(set(read)) == [
        *(("Chimap", None), ("space-MEGRE_desc-brain_mask", None)),
        ("space-MEGRE_desc-thalamus_dseg", None),
        ("space-MEGRE_label-CSF_desc-reference_mask", None),
    ]
    assert len(read) == len(set(read))
    assert browser.value("document.querySelectorAll('#map option').length") == 2 + ECHOES
    read.clear()
    choose(browser, "map", "echo11")
    wait(browser, f"bench.viewer.nv.volumes.length === 2 && {ASKED}.length > {len(asked)}")
    more = browser.value(ASKED)[len(asked) :]
    assert more == [["map/sub-01/echo11/thalamus.nii.gz", 352 + 2 * BOX]]
    assert read in ([("echo-11_part-mag_MEGRE", None)], [("part-mag_MEGRE", ECHOES - 1)])
    assert complaints(browser) == []


def test_the_box_of_these_tests_is_that_of_the_brain_and_its_margin(outputs) -> None:
    brain = nifti.load(outputs / "sub-01" / "anat" / "sub-01_space-MEGRE_desc-brain_mask.nii.gz")
    box = shown.extent(brain, shown.MARGIN_MM)
    assert box is not None
    assert np.prod([side.stop - side.start for side in box]) == BOX
