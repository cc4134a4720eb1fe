"""FLAIR and magnitude from the BIDS folder, where the reader names it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.app import cli, options
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from tests.view.conftest import AFFINE, FLAIR_AFFINE, SHAPE, T1W_AFFINE, as_filed

MAPS = ["chi", "r2star", "t1w"]


def keys(client, name: str = "sub-02") -> list[str]:
    return [one["key"] for one in client.read(f"api/scan/{name}")["maps"]]


def shown(client, key: str, label: str, tmp_path: Path, affine=AFFINE) -> np.ndarray:
    """Return a map as it is seen below a label, in the order of the label's file."""
    status, _, content = client.own("GET", f"api/map/sub-02/{key}/{label}.nii.gz")
    assert status == 200, content
    return as_filed(content, tmp_path, affine)


def test_without_the_bids_folder_nothing_raw_is_shown_and_the_page_says_so(client) -> None:
    assert keys(client) == MAPS
    assert client.read("api/participants")["raw"] is False
    assert client.own("GET", "api/map/sub-02/flair/lesion.nii.gz")[0] == 404


def test_flair_and_every_echo_are_listed_with_their_times(with_raw) -> None:
    maps = with_raw.read("api/scan/sub-02")["maps"]
    assert with_raw.read("api/participants")["raw"] is True
    assert [one["title"] for one in maps[3:]] == [
        *("FLAIR", "magnitude, echo 1 (5.0 ms)", "magnitude, echo 2 (12.5 ms)"),
    ]
    # A scan whose outputs name no raw files has none.
    assert keys(with_raw, "sub-01") == ["chi", "r2star"]


@pytest.mark.parametrize(("key", "more"), [("flair", 300), ("echo1", 100), ("echo2", 200)])
@pytest.mark.parametrize(("label", "affine"), [("thalamus", AFFINE), ("lesion", T1W_AFFINE)])
def test_raw_images_lie_voxel_on_voxel_on_the_grid_of_every_label(
    with_raw, tmp_path, key, more, label, affine
) -> None:
    # All scans have the same voxels at other places of the world.
    found = shown(with_raw, key, label, tmp_path, affine)
    expected = more + 1 + np.arange(SHAPE[0])[1:-1, None, None] * np.ones((1, 22, 14))
    np.testing.assert_allclose(found[1:-1, 1:-1, 1:-1], expected, atol=0.1)


def test_a_magnitude_is_made_of_real_and_imaginary_part_of_its_own_echo(
    with_raw, output_dir, tmp_path
) -> None:
    folder = output_dir.parent / "bids" / "sub-02" / "anat"
    names = []
    for number, time_s in enumerate((0.004, 0.008), 1):
        for part, value in (("real", 3.0 * number), ("imag", 4.0 * number)):
            name = f"sub-02_echo-{number}_part-{part}_MEGRE"
            data = np.full(SHAPE, value, np.float32)
            nifti.save(Image(data, AFFINE), folder / f"{name}.nii.gz")
            (folder / f"{name}.json").write_text(json.dumps({"EchoTime": time_s}), "utf-8")
            names.append(f"bids:raw:sub-02/anat/{name}.nii.gz")
    sources(output_dir, names)
    np.testing.assert_allclose(shown(with_raw, "echo1", "vein", tmp_path), 5, rtol=1e-3)
    np.testing.assert_allclose(shown(with_raw, "echo2", "vein", tmp_path), 10, rtol=1e-3)


def test_of_eleven_echoes_in_one_file_the_one_that_is_looked_at_is_read(
    with_raw, output_dir, tmp_path
) -> None:
    folder = output_dir.parent / "bids" / "sub-02" / "anat"
    echoes = np.arange(1.0, 12.0) * np.ones((*SHAPE, 1))
    for part in ("mag", "phase"):
        name = f"sub-02_part-{part}_MEGRE"
        nifti.save(Image(echoes.astype(np.float32), AFFINE), folder / f"{name}.nii.gz")
        times = [round(0.002 * number, 3) for number in range(1, 12)]
        (folder / f"{name}.json").write_text(json.dumps({"EchoTime": times}), "utf-8")
    names = [f"bids:raw:sub-02/anat/sub-02_part-{part}_MEGRE.nii.gz" for part in ("mag", "phase")]
    sources(output_dir, names)
    assert keys(with_raw)[4:] == [f"echo{number}" for number in range(1, 12)]
    found = shown(with_raw, "echo11", "thalamus", tmp_path)
    np.testing.assert_allclose(found, 11, rtol=1e-3)


def sources(output_dir: Path, names: list[str]) -> None:
    place = output_dir / "sub-02" / "anat" / "sub-02_Chimap.json"
    place.write_text(json.dumps({"Sources": names}), "utf-8")


@pytest.mark.parametrize("folder", ["../", "sub-02/../../", "links/"])
def test_no_name_and_no_link_leads_out_of_the_bids_folder(with_raw, output_dir, folder) -> None:
    bids = output_dir.parent / "bids"
    (bids / "links").mkdir()
    words = []
    for ending in ("part-mag_MEGRE", "part-phase_MEGRE", "FLAIR"):
        secret = output_dir.parent / f"secret_{ending}.nii.gz"
        nifti.save(Image(np.ones(SHAPE, np.float32), FLAIR_AFFINE), secret)
        (bids / "links" / secret.name).symlink_to(secret)
        for place in (output_dir.parent, bids / "links"):
            (place / f"secret_{ending}.json").write_text('{"EchoTime": 0.01}', "utf-8")
        words.append(f"bids:raw:{folder}{secret.name}")
    sources(output_dir, words[:2])
    lesions = output_dir / "sub-02" / "anat" / "sub-02_space-T1w_label-lesion_mask.json"
    lesions.write_text(json.dumps({"Sources": words[2:]}), "utf-8")
    assert keys(with_raw) == MAPS
    # The same files in the folder itself would be shown.
    for word in words:
        place = bids / word.rsplit("/", maxsplit=1)[1]
        place.write_bytes((output_dir.parent / place.name).read_bytes())
        place.with_name(place.name.replace(".nii.gz", ".json")).write_text(
            '{"EchoTime": 0.01}', "utf-8"
        )
    inside = [word.replace(folder, "") for word in words]
    sources(output_dir, inside[:2])
    lesions.write_text(json.dumps({"Sources": inside[2:]}), "utf-8")
    assert keys(with_raw) == [*MAPS, "flair", "echo1"]


@pytest.mark.parametrize("content", ["[1]", "{", '{"Sources": 3}', '{"Sources": [{}, null]}'])
def test_a_damaged_sidecar_leaves_the_maps_that_there_are(with_raw, output_dir, content) -> None:
    (output_dir / "sub-02" / "anat" / "sub-02_Chimap.json").write_text(content, "utf-8")
    assert keys(with_raw) == [*MAPS, "flair"]


def test_a_flair_that_nothing_relates_to_t1w_is_not_shown(with_raw, output_dir) -> None:
    name = "sub-02_from-FLAIR_to-T1w_mode-image_xfm.txt"
    (output_dir / "sub-02" / "anat" / name).unlink()
    assert "flair" not in keys(with_raw)


def test_raw_images_stay_as_they_are_while_labels_are_corrected(with_raw, output_dir) -> None:
    bids = output_dir.parent / "bids"
    before = {path: path.read_bytes() for path in bids.rglob("*") if path.is_file()}
    body = nifti.packed(Image(np.ones(SHAPE, np.uint8), AFFINE))
    assert with_raw.own("POST", "api/tool/sub-02/thalamus/within/echo1/105/110", body)[0] == 200
    state = with_raw.own("GET", "api/label/sub-02/thalamus.nii.gz")[1]["ETag"]
    headers = {"If_Match": state, "X_Reader": "AB"}
    assert with_raw.own("PUT", "api/label/sub-02/thalamus", body, **headers)[0] == 200
    assert {path: path.read_bytes() for path in bids.rglob("*") if path.is_file()} == before


def test_a_bids_folder_that_is_not_there_is_said_in_one_line(output_dir, caplog) -> None:
    words = ["view", str(output_dir), str(output_dir / "nowhere"), "--no-browser", "--port", "0"]
    assert cli.main(words) == 66
    assert "nowhere: no such folder" in caplog.text


def test_the_bids_folder_is_the_second_word(output_dir) -> None:
    chosen = options.view_parser().parse_args([str(output_dir), "bids"])
    assert chosen.bids_dir == Path("bids")
    assert options.view_parser().parse_args([str(output_dir)]).bids_dir is None
