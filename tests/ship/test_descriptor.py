"""The Boutiques descriptor says what the parser says."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bids_qsmthal.app import options
from bids_qsmthal.app.cli import main
from tools import write_schemas


@pytest.fixture
def descriptor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["--bids-exec-spec"]) == 0
    path = tmp_path / "descriptor.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_the_stored_one_is_of_this_version(descriptor: Path) -> None:
    stored = write_schemas.ROOT / "boutiques.json"
    assert stored.read_text() == descriptor.read_text(), "run python tools/write_schemas.py"


def test_boutiques_takes_it(descriptor: Path) -> None:
    command = [Path(sys.executable).with_name("bosh"), "validate", descriptor]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "OK"), done.stderr


@pytest.mark.filterwarnings("ignore")  # boutiques 0.5.33 calls what jsonschema has deprecated
def test_the_command_it_makes_means_what_was_asked(
    descriptor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import boutiques  # noqa: PLC0415 - its warnings belong to this test

    asked = {
        "bids_dir": str(tmp_path),
        "output_dir": "out",
        "analysis_level": ["participant", "group"],
        "participant_label": ["01", "02"],
        "nprocs": 2,
        "dry_run": True,
        "slurm_args": "--partition=long",
    }
    invocation = tmp_path / "invocation.json"
    invocation.write_text(json.dumps(asked))
    boutiques.execute("simulate", str(descriptor), "-i", str(invocation))
    command = capsys.readouterr().out.strip().splitlines()[-1]
    words = shlex.split(command.partition("bids_qsmthal ")[2])
    chosen = vars(options.main_parser().parse_args(words))
    usual = vars(options.main_parser().parse_args([str(tmp_path), "out", "participant", "group"]))
    changed = {name for name in chosen if chosen[name] != usual[name]}
    assert changed == {"participant_label", "nprocs", "dry_run", "slurm_args"}
    assert chosen["participant_label"] == ["01", "02"]
    assert chosen["slurm_args"] == "--partition=long"


def test_every_option_is_in_it(descriptor: Path) -> None:
    ids = {item["id"] for item in json.loads(descriptor.read_text())["inputs"]}
    known = set(vars(options.main_parser().parse_args(["b", "o", "group"])))
    commands = {"list_methods", "bids_exec_spec", "print_analysis", "print_config"}
    assert known - ids == commands | {"verbose", "quiet"}


def test_a_direction_is_a_list_of_three_numbers(descriptor: Path) -> None:
    inputs = {item["id"]: item for item in json.loads(descriptor.read_text())["inputs"]}
    direction = inputs["b0_direction"]
    assert (direction["type"], direction["integer"], direction["list"]) == ("Number", False, True)
    assert (direction["min-list-entries"], direction["max-list-entries"]) == (3, 3)
