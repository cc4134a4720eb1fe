import gzip
import json
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest

from bids_qsmthal.app import cli
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.group import ratings
from bids_qsmthal.report import gre_figures
from bids_qsmthal.view import application
from tests.view.conftest import (
    AFFINE,
    CHANGES,
    CHI_PPM,
    CSF,
    LESIONS,
    NUMBERED,
    RIMS,
    SHAPE,
    T1W_AFFINE,
    THALAMUS,
    WHOLE_LESIONS,
    Client,
    as_filed,
    served,
    write_lesion_changes,
    write_scan,
    write_tables,
)

LABEL = "api/label/sub-01/thalamus"


def packed(drawing: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    return nifti.packed(Image(drawing.astype(np.uint8), affine))


def version(client) -> str:
    return client.own("GET", f"{LABEL}.nii.gz")[1]["ETag"]


def save(client, drawing, state: str, path: str = LABEL, **headers: str):
    named = {"If_Match": state, "X_Reader": "AB", "X_Reason": quote("väin removed")} | headers
    return client.own("PUT", path, packed(drawing), **named)


def relative_ppb(thalamus: np.ndarray, reference: np.ndarray) -> float:
    chi_ppb = 1e3 * CHI_PPM.astype(np.float64)
    return chi_ppb[thalamus > 0].mean() - chi_ppb[reference > 0].mean()


@pytest.mark.parametrize("target", ["/", "/wrong/", "/wrong/api/participants", "/wrong/files/x"])
def test_without_the_token_nothing_is_answered(client, target) -> None:
    status, _, content = client.ask("GET", target)
    assert status == 403
    assert b"token" in content
    assert b"sub-01" not in content


def test_the_page_forbids_every_script_and_request_that_is_not_its_own(client) -> None:
    status, headers, content = client.own("GET", "")
    assert status == 200
    assert b"<script>" not in content
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_table_has_verdict_number_warnings_and_failures(client) -> None:
    rows = {row["name"]: row for row in client.read("api/participants")["rows"]}
    assert sorted(rows) == ["sub-01", "sub-02", "sub-03", "sub-09"]
    assert rows["sub-01"]["number_ppb"] == -20
    assert rows["sub-01"]["verdict"] == "check"
    assert rows["sub-01"]["warnings"] == ["the signal is low"]
    assert rows["sub-09"]["verdict"] == ""
    assert rows["sub-09"]["warnings"] == ["<b>no GRE</b>"]


def test_a_row_follows_its_files(client, output_dir) -> None:
    client.read("api/participants")
    write_tables(output_dir / "sub-01" / "anat", "sub-01", -17.125)
    rows = {row["name"]: row for row in client.read("api/participants")["rows"]}
    assert rows["sub-01"]["number_ppb"] == -17.125


@pytest.mark.parametrize(
    "path", ["../secret.tsv", "%2e%2e/secret.tsv", "sub-01/../../secret.tsv", "/etc/hostname"]
)
def test_no_path_leads_out_of_the_output_folder(client, path) -> None:
    status, _, content = client.own("GET", f"files/{path}")
    assert status in {403, 404}
    assert content != b"secret"


def test_no_link_leads_out_of_the_output_folder(client, output_dir) -> None:
    (output_dir / "link.tsv").symlink_to(output_dir.parent / "secret.tsv")
    status, _, content = client.own("GET", "files/link.tsv")
    assert status == 403
    assert b"secret" not in content


def test_reports_are_served_apart_and_their_address_changes_nothing(client) -> None:
    files = client.read("api/participants")["files"]
    status, headers, content = client.ask("GET", f"{files}sub-01.html")
    assert (status, content[:9]) == (200, b"<!doctype")
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    begin = files.removesuffix("files/")
    assert client.ask("GET", f"{begin}api/participants")[0] == 404
    assert client.ask("PUT", f"{begin}{LABEL}", b"")[0] == 404


def test_logs_are_not_served(client, output_dir) -> None:
    (output_dir / "logs" / "run.log").write_text("x", "utf-8")
    assert client.own("GET", "files/logs/run.log")[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_another_page_cannot_change_anything(client, output_dir, headers) -> None:
    status, *_ = save(client, THALAMUS, version(client), **headers)
    assert status == 403
    assert not (output_dir / "edits").exists()


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "localhost:9999"])
def test_through_a_tunnel_with_another_port_it_is_read_and_changed(client, host) -> None:
    # What `ssh -L 9999:127.0.0.1:8765` brings: the browser names the port of its own machine.
    through = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
    assert client.own("GET", "api/participants", Host=host)[0] == 200
    rating = json.dumps({"reader": "AB", "reason": "", "decision": "include"}).encode()
    assert client.own("POST", "api/rating/sub-01", rating, **through)[0] == 200
    # A page that this machine itself serves at the port of the server is another one.
    other = through | {"Origin": f"http://127.0.0.1:{client.port}"}
    assert client.own("POST", "api/rating/sub-01", rating, **other)[0] == 403


def test_a_name_that_is_pointed_at_this_machine_is_refused(client) -> None:
    assert client.own("GET", "api/participants", Host="evil.example:80")[0] == 403
    assert client.own("GET", "api/participants", Host="localhost:9000")[0] == 200


def test_a_request_that_is_too_long_is_not_read(client) -> None:
    status, _, content = client.own("POST", "api/rating/sub-01", b"x" * 10_000)
    assert status == 413
    assert b"8192" in content


@pytest.mark.parametrize("more", [b"", bytes(10**7)])
def test_a_drawing_that_unpacks_to_more_than_its_shape_is_refused(client, output_dir, more) -> None:
    whole = gzip.decompress(packed(THALAMUS))
    nowhere = whole[:280] + bytes(48) + whole[328:]
    for bomb in (whole + more + b"0", bytes(10**7), whole[:-1], whole[:300], nowhere):
        headers = {"If_Match": version(client), "X_Reader": "AB"}
        status, _, content = client.own("PUT", LABEL, gzip.compress(bomb), **headers)
        assert status == 422
        assert b"load the participant again" in content
    assert not (output_dir / "edits").exists()


def test_a_drawing_that_says_to_be_larger_than_the_grid_is_not_unpacked(client) -> None:
    whole = gzip.decompress(packed(THALAMUS))
    large = whole[:42] + np.array([400, 400, 400], "<i2").tobytes() + whole[48:]
    address = "api/numbers/sub-01/thalamus"
    status, _, content = client.own("POST", address, gzip.compress(large))
    assert status == 422
    # Refused by its header; where it lies was never asked.
    assert b"[400, 400, 400]; expected a part of the grid" in content


def test_maps_come_in_the_unit_and_with_the_window_of_the_screen(client, tmp_path) -> None:
    status, headers, content = client.own("GET", "api/map/sub-01/chi/thalamus.nii.gz")
    assert status == 200
    assert headers["Content-Encoding"] == "gzip"
    # To a part of a ppb, of which the page says one decimal.
    np.testing.assert_allclose(as_filed(content, tmp_path), 1e3 * CHI_PPM, atol=0.06)
    window = np.frombuffer(gzip.decompress(content), "<f4", 2, offset=124)
    assert window.tolist() == [gre_figures.CHI_WINDOW.high, gre_figures.CHI_WINDOW.low]


def test_live_numbers_are_those_of_the_table_of_measures(client) -> None:
    drawing = THALAMUS.copy()
    drawing[4:8, 8:12, 10:12] = 2
    status, _, content = client.own("POST", "api/numbers/sub-01/thalamus", packed(drawing))
    assert status == 200
    found = json.loads(content)
    assert found["relative_ppb"]["LR"] == pytest.approx(relative_ppb(drawing, CSF), abs=1e-5)
    assert found["relative_ppb"]["L"] == pytest.approx(relative_ppb(drawing == 1, CSF), abs=1e-5)
    assert [part["voxels"] for part in found["parts"]] == [64, 96]
    volume = 96 * abs(np.linalg.det(AFFINE[:3, :3]))
    assert found["parts"][1]["volume_mm3"] == pytest.approx(volume)


def test_drawn_veins_leave_the_thalamus(client) -> None:
    vein = np.zeros(SHAPE, np.uint8)
    vein[:, :, 9] = 1
    body = packed(vein)
    found = json.loads(client.own("POST", "api/numbers/sub-01/vein", body)[2])
    left_over = np.where(vein, 0, THALAMUS)
    assert found["relative_ppb"]["LR"] == pytest.approx(relative_ppb(left_over, CSF), abs=1e-5)


def test_a_correction_is_written_on_its_grid_and_signed(client, output_dir) -> None:
    drawing = THALAMUS.copy()
    drawing[5, 9, 7] = 0
    status, _, content = save(client, drawing, version(client))
    assert status == 200
    assert json.loads(content)["path"].startswith("edits/sub-01/anat/sub-01_space-MEGRE_desc-")
    place = output_dir / json.loads(content)["path"]
    output = nifti.load(output_dir / "sub-01" / "anat" / place.name)
    assert place.read_bytes() == packed(drawing, output.affine)
    np.testing.assert_array_equal(output.data, THALAMUS)
    signed = json.loads(place.with_name(place.name.replace(".nii.gz", ".json")).read_text("utf-8"))
    assert (signed["Reader"], signed["Reason"]) == ("AB", "väin removed")
    assert signed["VoxelsChanged"] == 1


def test_of_two_readers_the_later_one_is_told_and_loses_nothing(client, output_dir) -> None:
    state = version(client)
    first, second = THALAMUS.copy(), THALAMUS.copy()
    first[5, 9, 7], second[5, 9, 8] = 0, 0
    assert save(client, first, state)[0] == 200
    status, _, content = save(client, second, state, X_Reader="CD")
    assert status == 412
    assert b"somebody else has saved" in content
    assert save(client, second, version(client), X_Reader="CD")[0] == 200
    kept = sorted((output_dir / "edits" / "versions").rglob("*.nii.gz"))
    assert [path.name for path in kept] == ["0000_AB.nii.gz", "0001_CD.nii.gz"]
    for path, drawing in zip(kept, (first, second), strict=True):
        np.testing.assert_array_equal(nifti.load(path).data, drawing)


def test_the_number_of_a_version_is_never_used_again(client, output_dir) -> None:
    for voxel in (7, 8, 9):
        drawing = THALAMUS.copy()
        drawing[5, 9, voxel] = 0
        assert save(client, drawing, version(client))[0] == 200
        if voxel == 8:
            next((output_dir / "edits" / "versions").rglob("0000_AB.nii.gz")).rename(
                output_dir / "elsewhere.nii.gz"
            )
    kept = sorted((output_dir / "edits" / "versions").rglob("*.nii.gz"))
    assert [path.name for path in kept] == ["0001_AB.nii.gz", "0002_AB.nii.gz"]


def test_a_correction_of_another_program_is_kept(client, output_dir) -> None:
    name = "sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz"
    by_hand = THALAMUS.copy()
    by_hand[4] = 0
    nifti.save(Image(by_hand, AFFINE), output_dir / "edits" / "sub-01" / "anat" / name)
    assert save(client, THALAMUS, version(client))[0] == 200
    kept = next((output_dir / "edits" / "versions").rglob("0000_unknown.nii.gz"))
    np.testing.assert_array_equal(nifti.load(kept).data, by_hand)


@pytest.mark.parametrize(
    ("drawing", "affine", "said"),
    [
        (np.zeros((21, *SHAPE[1:])), AFFINE, b"a part of the grid"),
        (THALAMUS, AFFINE + np.eye(4, 4, 3) * 2, b"different position"),
        (THALAMUS, 1.5 * AFFINE, b"different position"),
        (THALAMUS, AFFINE + np.diag([0.1, 0, 0, 0]), b"different position"),
        (3 * (THALAMUS > 0), AFFINE, b"expected 0 to 2"),
        (0 * THALAMUS, AFFINE, b"is empty"),
    ],
)
def test_a_drawing_that_cannot_be_the_label_is_refused(
    client, output_dir, drawing, affine, said
) -> None:
    headers = {"If_Match": version(client), "X_Reader": "AB"}
    status, _, content = client.own("PUT", LABEL, packed(drawing, affine), **headers)
    assert status == 422
    assert said in content
    assert not list((output_dir).rglob("edits/**/*.nii.gz"))


@pytest.mark.parametrize("reader", ["", "../x", "a/b", "ä", "-x", "unknown"])
def test_a_reader_whose_name_could_be_a_path_is_refused(client, output_dir, reader) -> None:
    body = json.dumps({"reader": reader, "decision": "check"}).encode()
    assert client.own("POST", "api/rating/sub-01", body)[0] == 422
    assert not (output_dir / "edits").exists()


def test_a_link_in_edits_does_not_lead_out(client, output_dir) -> None:
    outside = output_dir.parent / "outside"
    outside.mkdir()
    (output_dir / "edits").symlink_to(outside)
    assert save(client, THALAMUS, version(client))[0] == 409
    assert list(outside.iterdir()) == []


def test_a_rating_is_what_the_group_level_reads_and_the_table_shows(client, output_dir) -> None:
    for decision, reason in (("check", "=1+1"), ("exclude", "moved")):
        form = {"reader": "AB", "reason": reason, "decision": decision}
        assert client.own("POST", "api/rating/sub-02", json.dumps(form).encode())[0] == 200
    read = ratings.read(output_dir / "edits")
    assert list(read["decision"]) == ["check", "exclude"]
    assert list(read["participant_id"]) == ["sub-02", "sub-02"]
    assert list(read["reason"]) == ["=1+1", "moved"]
    rows = {row["name"]: row for row in client.read("api/participants")["rows"]}
    assert rows["sub-02"]["rating"] == {"decision": "exclude", "reader": "AB"}
    assert rows["sub-01"]["rating"] is None


def test_a_folder_without_participants_is_refused_in_one_line(tmp_path, caplog) -> None:
    assert cli.main(["view", str(tmp_path), "--no-browser", "--port", "0"]) == 66
    assert "expected the output folder of a run" in caplog.text


def test_two_scans_of_one_participant_are_apart(client, output_dir) -> None:
    write_scan(output_dir, "sub-01_run-2", -5.0)
    second = "api/label/sub-01_run-2/thalamus"
    state = client.own("GET", f"{second}.nii.gz")[1]["ETag"]
    status, _, content = save(client, THALAMUS, state, second)
    assert status == 200
    assert "/sub-01_run-2_space-MEGRE" in json.loads(content)["path"]
    assert (
        not (output_dir / "edits/sub-01/anat")
        .joinpath("sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz")
        .exists()
    )


def test_a_reader_can_begin_with_the_run_s_own_and_every_version(client, tmp_path) -> None:
    first = THALAMUS.copy()
    first[5, 9, 7] = 0
    assert save(client, first, version(client))[0] == 200
    begins = client.read("api/versions/sub-01/thalamus")
    assert [one["key"] for one in begins] == ["run", "0000_AB"]
    begin = "api/label/sub-01/thalamus"
    for which, expected in (("run", THALAMUS), ("0000_AB", first)):
        status, headers, content = client.own("GET", f"{begin}/{which}.nii.gz")
        assert status == 200
        np.testing.assert_array_equal(as_filed(content, tmp_path), expected)
        # What is saved then replaces what counts now.
        assert headers["ETag"] == version(client)
    assert client.own("GET", f"{begin}/0001_AB.nii.gz")[0] == 404
    assert client.own("GET", f"{begin}/..%2f0000_AB.nii.gz")[0] == 404


def test_the_agreement_of_two_readers_is_shown(client) -> None:
    assert client.read("api/agreement") == {"rows": []}
    second = THALAMUS.copy()
    second[4] = 0
    for reader, drawing in (("AB", THALAMUS), ("CD", second)):
        assert save(client, drawing, version(client), X_Reader=reader)[0] == 200
    rows = {row["quantity"]: row for row in client.read("api/agreement")["rows"]}
    assert (rows["dice"]["about"], rows["dice"]["first"]) == ("thalamus", "AB")
    assert rows["dice"]["value"] == pytest.approx(2 * 112 / (112 + 128))
    # Of a single scan nothing can be said about chance.
    assert rows["icc_volume"]["value"] is None


def test_readers_agree_on_rims_and_lesion_changes_as_on_other_masks(client, output_dir) -> None:
    write_lesion_changes(output_dir, "sub-02")
    for key, affine, drawings in (
        ("rim", AFFINE, (RIMS, WHOLE_LESIONS == 1)),
        ("lesion_change", T1W_AFFINE, (CHANGES, NUMBERED > 0)),
    ):
        for reader, drawing in zip(("AB", "CD"), drawings, strict=True):
            address = f"api/label/sub-02/{key}"
            headers = {
                "If_Match": client.own("GET", f"{address}.nii.gz")[1]["ETag"],
                "X_Reader": reader,
            }
            assert client.own("PUT", address, packed(drawing, affine), **headers)[0] == 200
    rows = client.read("api/agreement")["rows"]
    dice = {row["about"]: row["value"] for row in rows if row["quantity"] == "dice"}
    # Two lesions apart; one of 8 voxels of both with 26.
    assert dice == {"lesions with a rim": 0.0, "lesion changes": pytest.approx(2 * 8 / (8 + 26))}


def used(client, tool: str, drawing: np.ndarray, tmp_path, label: str = "sub-01/thalamus"):
    """Return what a tool made of a drawing."""
    address = f"api/tool/{label}/{tool}"
    status, _, content = client.own("POST", address, packed(drawing))
    assert status == 200, content
    return as_filed(content, tmp_path)


def test_tools_change_a_drawing_and_nothing_on_the_disk(client, output_dir, tmp_path) -> None:
    vein = np.zeros(SHAPE, np.uint8)
    vein[5, 9, 7] = 1
    state = client.own("GET", "api/label/sub-01/vein.nii.gz")[1]["ETag"]
    assert save(client, vein, state, "api/label/sub-01/vein")[0] == 200
    nudged = used(client, "nudge", THALAMUS, tmp_path)
    assert np.count_nonzero(nudged != THALAMUS) == 9
    # The map has 1 ppb more in every slice; the thalami lie in slices 6 to 9.
    kept = used(client, "within/chi/6.5/8.5", THALAMUS, tmp_path)
    np.testing.assert_array_equal(np.unique(np.nonzero(kept)[2]), [7, 8])
    # T1w is brighter in every plane of its first axis, from 1; the lesions begin at 2 and at 12.
    bright = client.own(
        "POST", "api/tool/sub-02/lesion/within/t1w/1/8", packed(LESIONS, T1W_AFFINE)
    )[2]
    first = np.arange(SHAPE[0])[:, None, None] < 8
    np.testing.assert_array_equal(as_filed(bright, tmp_path, T1W_AFFINE), LESIONS * first)
    world_x = np.einsum("j,j...->...", AFFINE[0, :3], np.indices(SHAPE)) + AFFINE[0, 3]
    sided = np.where(THALAMUS > 0, np.where(world_x < 0, 1, 2), 0)
    np.testing.assert_array_equal(used(client, "sides", THALAMUS, tmp_path), sided)
    x, y, z = (AFFINE @ (5, 9, 7, 1))[:3]
    rejected = used(client, f"reject/{x:.3f}/{y:.3f}/{z:.3f}", THALAMUS, tmp_path)
    np.testing.assert_array_equal(rejected, np.where(THALAMUS == 2, 0, THALAMUS))
    assert (
        not (output_dir / "edits/sub-01/anat")
        .joinpath("sub-01_space-MEGRE_desc-thalamus_dseg.nii.gz")
        .exists()
    )


@pytest.mark.parametrize(
    ("tool", "status"),
    [("melt", 404), ("within/other/1/2", 404), ("within/chi/a/2", 400), ("smooth/1", 404)],
)
def test_a_tool_that_is_none_is_refused(client, tool, status) -> None:
    address = f"api/tool/sub-01/thalamus/{tool}"
    assert client.own("POST", address, packed(THALAMUS))[0] == status


def test_veins_are_not_nudged_off_themselves(client) -> None:
    assert client.own("POST", "api/tool/sub-01/vein/nudge", packed(THALAMUS > 0))[0] == 422


def test_outlines_are_of_all_other_labels(client, tmp_path) -> None:
    status, _, content = client.own("GET", "api/outlines/sub-01/vein.nii.gz")
    assert status == 200
    found = as_filed(content, tmp_path)
    thalamus = found == 1
    # The four voxels in the middle of each slice of a side are no outline.
    assert np.count_nonzero(thalamus) == np.count_nonzero(THALAMUS) - 2 * 4 * 4
    assert (THALAMUS[thalamus] > 0).all()
    np.testing.assert_array_equal(found == 2, CSF)


def test_outlines_have_lesions_those_that_enhance_and_those_with_a_rim(
    client, output_dir, tmp_path
) -> None:
    place = output_dir / "sub-02" / "anat" / "sub-02_space-T1w_label-enhancing_mask.nii.gz"
    nifti.save(Image((NUMBERED == 2).astype(np.uint8), T1W_AFFINE), place)
    found = as_filed(client.own("GET", "api/outlines/sub-02/thalamus.nii.gz")[2], tmp_path)
    titles = [one["title"] for one in client.read("api/scan/sub-02")["colors"]]
    for title, inside in (
        # The two scans have the same voxels.
        ("T2 lesions", NUMBERED == 1),
        ("enhancing lesions", NUMBERED == 2),
        ("lesions with a rim", RIMS > 0),
    ):
        outlined = found == titles.index(title) + 1
        assert outlined.any()
        assert inside[outlined].all()


def test_lesions_are_corrected_on_the_grid_of_t1w(client, output_dir) -> None:
    address = "api/label/sub-02/lesion"
    found = json.loads(
        client.own("POST", "api/numbers/sub-02/lesion", packed(LESIONS, T1W_AFFINE))[2]
    )
    volume = abs(np.linalg.det(T1W_AFFINE[:3, :3]))
    assert [piece["volume_mm3"] for piece in found["pieces"]] == pytest.approx(
        [18 * volume, 8 * volume]
    )
    # A point of the piece, in the world.
    voxel = np.rint(np.linalg.solve(T1W_AFFINE, [*found["pieces"][1]["mm"], 1])[:3]).astype(int)
    assert (voxel >= [12, 12, 9]).all()
    assert (voxel < [14, 14, 11]).all()
    none = np.zeros(SHAPE, np.uint8)
    state = client.own("GET", f"{address}.nii.gz")[1]["ETag"]
    headers = {"If_Match": state, "X_Reader": "AB"}
    # A head may have no lesion.
    status, _, content = client.own("PUT", address, packed(none, T1W_AFFINE), **headers)
    assert status == 200
    saved = output_dir / json.loads(content)["path"]
    assert saved.name == "sub-02_space-T1w_label-lesion_mask.nii.gz"
    np.testing.assert_array_equal(nifti.load(saved).data, none)


def test_lesions_with_a_rim_are_confirmed_and_rejected_as_a_whole(client, tmp_path) -> None:
    labels = {one["key"]: one for one in client.read("api/scan/sub-02")["labels"]}
    assert labels["rim"]["whole"]
    assert labels["lesion"]["pieces"]
    assert not labels["lesion"]["whole"]
    assert not labels["thalamus"]["pieces"]
    found = json.loads(client.own("POST", "api/numbers/sub-02/rim", packed(RIMS))[2])["pieces"]
    # Also those without one, since a reader can find what the score did not; largest first.
    assert [(piece["number"], piece["value"]) for piece in found] == [
        *((1, 0), (2, 1), (5, 0)),
    ]
    taken = used(client, "lesion/5/1", RIMS, tmp_path, "sub-02/rim")
    np.testing.assert_array_equal(taken, np.isin(WHOLE_LESIONS, (2, 5)))
    left = used(client, "lesion/2/0", taken, tmp_path, "sub-02/rim")
    np.testing.assert_array_equal(left, WHOLE_LESIONS == 5)
    for address in ("thalamus/lesion/5/1", "rim/lesion/5/2", "rim/lesion/5/-1", "rim/lesion/5"):
        body = packed(THALAMUS if address.startswith("thalamus") else RIMS)
        assert client.own("POST", f"api/tool/sub-02/{address}", body)[0] == 404


def test_lesion_changes_have_one_of_four_values_and_are_saved_for_the_next_run(
    client, output_dir, tmp_path
) -> None:
    write_lesion_changes(output_dir, "sub-02")
    (label,) = [
        one for one in client.read("api/scan/sub-02")["labels"] if one["key"] == "lesion_change"
    ]
    assert (label["values"], label["whole"]) == (["new", "enlarged", "shrunk", "vanished"], True)
    body = packed(CHANGES, T1W_AFFINE)
    found = json.loads(client.own("POST", "api/numbers/sub-02/lesion_change", body)[2])
    assert [(piece["number"], piece["value"]) for piece in found["pieces"]] == [(1, 0), (2, 1)]
    address = "api/tool/sub-02/lesion_change"
    taken = client.own("POST", f"{address}/lesion/1/2", body)[2]
    assert client.own("POST", f"{address}/sides", body)[0] == 404
    both = as_filed(taken, tmp_path, T1W_AFFINE)
    np.testing.assert_array_equal(both, np.where(NUMBERED == 1, 2, NUMBERED == 2))
    state = client.own("GET", "api/label/sub-02/lesion_change.nii.gz")[1]["ETag"]
    status, _, content = client.own(
        *("PUT", "api/label/sub-02/lesion_change", packed(both, T1W_AFFINE)),
        If_Match=state,
        X_Reader="AB",
    )
    assert status == 200
    saved = output_dir / json.loads(content)["path"]
    assert saved.name == "sub-02_space-T1w_desc-lesionchange_dseg.nii.gz"
    np.testing.assert_array_equal(nifti.load(saved).data, both)


def test_a_lesion_that_vanished_is_confirmed_and_rejected_beside_those_that_are_there(
    client, output_dir, tmp_path
) -> None:
    write_lesion_changes(output_dir, "sub-02")
    place = output_dir / "sub-02/anat/sub-02_space-T1w_desc-lesionchange_dseg.nii.gz"
    gone = np.zeros(SHAPE, np.uint8)
    gone[:2, :2, :2] = 4
    assert not (NUMBERED * gone).any()
    nifti.save(Image(CHANGES + gone, T1W_AFFINE), place)
    numbers = "api/numbers/sub-02/lesion_change"
    body = packed(CHANGES + gone, T1W_AFFINE)
    found = json.loads(client.own("POST", numbers, body)[2])
    assert {(one["number"], one["value"]) for one in found["pieces"]} == {(1, 0), (2, 1), (3, 4)}
    address = "api/tool/sub-02/lesion_change/lesion/3/0"
    without = as_filed(client.own("POST", address, body)[2], tmp_path, T1W_AFFINE)
    np.testing.assert_array_equal(without, CHANGES)
    # It stays in the list, so that it can be taken back.
    found = json.loads(client.own("POST", numbers, packed(without, T1W_AFFINE))[2])
    assert {(one["number"], one["value"]) for one in found["pieces"]} == {(1, 0), (2, 1), (3, 0)}


def test_maps_and_outlines_of_the_other_scan_come_where_they_lie(client, tmp_path) -> None:
    # The two scans have the same voxels: what was registered lies voxel on voxel.
    content = client.own("GET", "api/map/sub-02/chi/lesion.nii.gz")[2]
    chi = as_filed(content, tmp_path, T1W_AFFINE)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(chi, 1e3 * CHI_PPM[1:-1, 1:-1, 1:-1], atol=0.06)
    edges = as_filed(client.own("GET", "api/outlines/sub-02/thalamus.nii.gz")[2], tmp_path)
    lesions = edges == 5
    assert np.count_nonzero(lesions) == 2 * 8 + 2 * 4
    assert (LESIONS[lesions] > 0).all()


@pytest.fixture
def read_only(output_dir, remake, monkeypatch) -> Iterator[Client]:
    # Root may write anywhere: what the system says is replaced, not the folder's mode.
    monkeypatch.setattr(application.os, "access", lambda *_: False)
    yield from served(output_dir, remake)


def test_a_folder_that_cannot_be_written_is_looked_at(read_only, output_dir) -> None:
    assert read_only.read("api/participants")["writable"] is False
    assert read_only.own("GET", "api/map/sub-01/chi/vein.nii.gz")[0] == 200
    assert read_only.own("POST", "api/numbers/sub-01/thalamus", packed(THALAMUS))[0] == 200
    form = json.dumps({"reader": "AB", "decision": "check"}).encode()
    for status, _, content in (
        save(read_only, THALAMUS, version(read_only)),
        read_only.own("POST", "api/rating/sub-01", form),
        read_only.own("POST", "api/remake/sub-01", b"{}"),
    ):
        assert status == 403
        assert b"cannot be written" in content
    assert not (output_dir / "edits").exists()
