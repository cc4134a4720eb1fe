import json
import time
from pathlib import Path

import pytest

from bids_qsmthal.app import cli, remake
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image
from tests.view.conftest import AFFINE, THALAMUS, served


def begun(client, name: str = "sub-01", **form: object) -> dict:
    status, _, content = client.own("POST", f"api/remake/{name}", json.dumps(form).encode())
    assert status == 200, content
    return json.loads(content)


def reached(client, key: str) -> dict:
    """Return the progress once it says something under a key."""
    end = time.monotonic() + 120
    while not (now := client.read("api/remake"))[key]:
        assert time.monotonic() < end, now
        time.sleep(0.02)
    return now


def order(output_dir, status: int = 0, old: str = "-20.0", new: str = "-12.5") -> None:
    # Renamed: a file that is there is there whole.
    place = output_dir / "order.part"
    place.write_text(json.dumps({"status": status, "old": old, "new": new}), "utf-8")
    place.rename(output_dir / "order.json")


def test_before_and_after_of_a_participant_that_is_run_again(client, output_dir) -> None:
    assert client.read("api/remake") is None
    assert begun(client)["running"]
    # As after a reload: the server knows it.
    assert reached(client, "lines")["lines"] == ["words --participant-label sub-01"]
    order(output_dir)
    now = reached(client, "ending")
    assert now["done"]
    assert [(one["hemisphere"], one["before"], one["after"]) for one in now["changes"]] == [
        ("LR", -20, -12.5),
        ("L", -20, -12.5),
    ]
    assert {one["scan"] for one in now["changes"]} == {"sub-01"}
    rows = {row["name"]: row["number_ppb"] for row in client.read("api/participants")["rows"]}
    assert rows["sub-01"] == -12.5


def test_the_group_level_is_run_where_it_is_asked_for(client, output_dir) -> None:
    begun(client, group=True)
    assert reached(client, "lines")["lines"] == ["words --participant-label sub-01 --group"]
    order(output_dir)
    reached(client, "ending")


def test_one_participant_is_remade_at_a_time(client, output_dir) -> None:
    begun(client)
    status, _, content = client.own("POST", "api/remake/sub-02", b"{}")
    assert status == 409
    assert b"sub-01 is being remade" in content
    order(output_dir)
    reached(client, "ending")
    assert begun(client, "sub-02")["name"] == "sub-02"


def test_a_run_is_stopped_as_by_ctrl_c(client) -> None:
    begun(client)
    reached(client, "lines")
    assert client.own("DELETE", "api/remake")[0] == 200
    now = reached(client, "ending")
    assert now["lines"][-1] == "stopped"
    assert now["ending"].startswith("stopped by Ctrl-C")
    assert not now["done"]


def test_what_went_wrong_is_said_with_what_to_do(client, output_dir) -> None:
    begun(client)
    order(output_dir, status=66)
    now = reached(client, "ending")
    assert now["ending"] == "input missing; add what the message names"
    assert now["lines"][-1].endswith("last line")


def test_a_correction_is_saved_while_a_run_is_on(client, output_dir) -> None:
    begun(client)
    reached(client, "lines")
    address = "api/label/sub-01/thalamus"
    state = client.own("GET", f"{address}.nii.gz")[1]["ETag"]
    body = nifti.packed(Image(THALAMUS, AFFINE))
    headers = {"If_Match": state, "X_Reader": "AB"}
    assert client.own("PUT", address, body, **headers)[0] == 200
    assert client.read("api/remake")["running"]
    order(output_dir)
    assert reached(client, "ending")["done"]
    assert client.read("api/versions/sub-01/thalamus")[-1]["key"] == "0000_AB"


def test_a_participant_whose_run_failed_can_be_run_again(client, output_dir) -> None:
    assert begun(client, "sub-09")["name"] == "sub-09"
    assert reached(client, "lines")["lines"] == ["words --participant-label sub-09"]
    order(output_dir, status=1)
    now = reached(client, "ending")
    assert not now["done"]
    assert now["changes"] == []


def test_a_run_ends_with_the_server(output_dir, remake) -> None:
    for client in served(output_dir, remake):
        begun(client)
        reached(client, "lines")
    # Closed only when the run had ended.
    assert (output_dir / "stopped").exists()


def test_another_page_can_neither_start_nor_stop_a_run(client) -> None:
    assert client.own("POST", "api/remake/sub-01", b"{}", Origin="http://evil.example")[0] == 403
    assert client.own("DELETE", "api/remake", Origin="http://evil.example")[0] == 403
    assert client.read("api/remake") is None


@pytest.mark.parametrize("name", ["sub-77", "sub-01_run-9", "--help"])
def test_only_scans_of_the_folder_are_run(client, name) -> None:
    assert client.own("POST", f"api/remake/{name}", b"{}")[0] == 404
    assert client.read("api/remake") is None


def recorded(tmp_path, words, **more: str):
    """Write settings of a run and return its output folder."""
    for folder in ("bids", "work", "out/logs"):
        (tmp_path / folder).mkdir(parents=True)
    content = {name: str(tmp_path / name[:-4]) for name in ("bids_dir", "work_dir")}
    content |= {"command_line": ["bids_qsmthal", *words]} | more
    (tmp_path / "out/logs/settings.json").write_text(json.dumps(content), "utf-8")
    return tmp_path / "out"


def test_the_options_of_the_last_run_are_taken_and_the_selection_is_not(
    tmp_path, monkeypatch
) -> None:
    words = ["bids", "out", "participant", "group", "--seed", "5", "--participant-label", "02"]
    words += ["03", "--run-label", "1", "--analysis", "own.yaml"]
    out = recorded(tmp_path, words, working_directory=str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    seen = []
    folders = []

    def process(settings) -> int:
        seen.append(settings)
        folders.append(Path.cwd())
        return 0

    monkeypatch.setattr(cli, "process", process)
    assert cli.main(["remake", str(out), "--participant-label", "sub-01", "--group"]) == 0
    one, everybody = seen
    # The analysis file of the run lies beside bids and out.
    assert folders == [tmp_path, tmp_path]
    assert (one.levels, everybody.levels) == (("participant",), ("group",))
    assert (one.selection.participants, one.selection.runs) == (("sub-01",), ())
    assert everybody.selection.participants == ("02", "03")
    for settings in seen:
        assert settings.seed == 5
        assert settings.command_line == ("bids_qsmthal", *words)
        assert (settings.bids_dir, settings.output_dir, settings.work_dir) == (
            *(tmp_path / "bids", out, tmp_path / "work"),
        )


@pytest.mark.parametrize(("wanted", "sessions"), [("off", ("2",)), ("auto", ())])
def test_visits_that_are_compared_are_remade_together(
    tmp_path, monkeypatch, wanted, sessions
) -> None:
    # A change of a lesion belongs to two visits: with one alone it would stay as it was.
    out = recorded(tmp_path, ["bids", "out", "participant", "--longitudinal", wanted])
    seen = []
    monkeypatch.setattr(cli, "process", lambda settings: seen.append(settings.selection) or 0)
    words = ["remake", str(out), "--participant-label", "01", "--session-label", "2"]
    assert cli.main(words) == 0
    assert [(one.participants, one.sessions) for one in seen] == [(("01",), sessions)]


def test_a_failed_participant_keeps_the_group_from_running(tmp_path, monkeypatch) -> None:
    out = recorded(tmp_path, ["bids", "out", "participant"])
    seen = []
    monkeypatch.setattr(cli, "process", lambda settings: seen.append(settings.levels) or 1)
    assert cli.main(["remake", str(out), "--participant-label", "01", "--group"]) == 1
    assert seen == [("participant",)]


def test_a_folder_whose_run_is_not_known_says_what_to_do(tmp_path) -> None:
    with pytest.raises(MissingInputError, match="run the participant on the command line"):
        remake.last_run(tmp_path)
    out = recorded(tmp_path, ["bids", "out", "participant"])
    (out / "logs/settings.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match="not the settings of a run"):
        remake.last_run(out)


def test_a_bids_folder_that_is_gone_is_named(tmp_path) -> None:
    out = recorded(tmp_path, ["bids", "out", "participant"])
    (tmp_path / "bids").rmdir()
    with pytest.raises(MissingInputError, match="bids: the BIDS folder of the last run is not"):
        remake.last_run(out)
