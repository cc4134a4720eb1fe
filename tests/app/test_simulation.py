from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.app.cli import main
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.core.image import Image


@pytest.fixture
def written(monkeypatch):
    """What would be simulated: folder, cohort, scenario, files that are read."""
    asked = []

    def write(folder, cohort, scenario, given, visits):
        asked.append((folder, cohort, scenario, given, visits))
        return folder.parent / "truth"

    monkeypatch.setattr(simulate, "write_dataset", write)
    monkeypatch.setattr(simulate, "read_given", lambda *paths: paths)
    return asked


def test_the_words_of_the_command_line_become_the_cohort(tmp_path, written):
    words = ["--participants", "3", "--seed", "4", "--protocol", "clinical", "--scenario", "flow"]
    words += ["--visits", "2"]
    assert main(["simulate", str(tmp_path), *words, "--vendor", "ge", "philips"]) == 0
    ((folder, cohort, scenario, given, visits),) = written
    assert folder == tmp_path / "bids"
    assert scenario is simulate.SCENARIOS["flow"]
    assert given == ((), ())
    assert visits == 2
    assert [person.parameters.vendor.name for person in cohort] == ["ge", "philips", "ge"]
    assert {person.parameters.protocol.name for person in cohort} == {"clinical"}
    alone = simulate.draw_cohort(3, 4)
    assert [p.parameters.thalamus_chi_ppb for p in cohort] == [
        p.parameters.thalamus_chi_ppb for p in alone
    ]


def test_a_protocol_of_ones_own_replaces_what_is_given_of_it(tmp_path, written):
    words = ["--voxel-size", "1", "1", "2.5", "--echo-times", "0.004", "0.012"]
    words += ["--field-strength", "1.5", "--snr", "25"]
    assert main(["simulate", str(tmp_path), *words]) == 0
    parameters = written[0][1][0].parameters
    protocol = parameters.protocol
    assert protocol.voxel_size_mm == (1.0, 1.0, 2.5)
    assert protocol.oversampling == (1, 1, 3)
    covered = [n * size for n, size in zip(protocol.shape, protocol.voxel_size_mm, strict=True)]
    assert covered == pytest.approx((174, 210, 136), abs=2.5)
    assert all(n % 2 == 0 for n in protocol.shape)
    assert protocol.acquisition.echo_times_s == (0.004, 0.012)
    assert protocol.acquisition.field_strength_t == 1.5
    assert parameters.snr == 25
    assert protocol.repetition_time_s == simulate.PROTOCOLS["coarse"].repetition_time_s


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--voxel-size", "1", "1", "nan"], ExitCode.USAGE),
        (["--voxel-size", "0.1", "1", "1"], ExitCode.USAGE),
        (["--snr", "0"], ExitCode.USAGE),
        (["--echo-times", "4", "8"], ExitCode.DATA),
        (["--echo-times", "0.008", "0.004"], ExitCode.DATA),
        (["--field-strength", "123.2"], ExitCode.DATA),
    ],
)
def test_a_scan_that_nobody_could_make_is_answered_in_one_line(
    tmp_path, written, capsys, words, status
):
    assert main(["simulate", str(tmp_path), *words]) == status
    assert capsys.readouterr().err.count("\n") == 1
    assert not written


@pytest.mark.parametrize(
    ("option", "wrong", "right"),
    [
        ("--protocol", "fine", "study"),
        ("--vendor", "acme", "ge-chopped"),
        ("--scenario", "x", "7t"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    tmp_path, written, capsys, option, wrong, right
):
    assert main(["simulate", str(tmp_path), option, wrong]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{option} '{wrong}': expected one of " in said
    assert right in said
    assert not written


def test_a_dataset_that_is_there_is_left_alone(tmp_path, written, capsys):
    (tmp_path / "bids").mkdir()
    assert main(["simulate", str(tmp_path)]) == ExitCode.OUTPUT
    assert f"{tmp_path / 'bids'} exists already" in capsys.readouterr().err
    assert not written


def test_every_scenario_is_listed_with_what_it_is(tmp_path, written, capsys):
    assert main(["simulate", str(tmp_path), "--scenario", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(simulate.SCENARIOS)
    assert all(known.title in "\n".join(lines) for known in simulate.SCENARIOS.values())
    assert not written


def test_the_readme_of_a_dataset_says_what_its_scanner_does(tmp_path):
    for name in ("plain", "flow"):
        simulate.write_dataset(tmp_path / name / "bids", [], simulate.SCENARIOS[name])
    plain = (tmp_path / "plain/bids/README").read_text()
    flow = (tmp_path / "flow/bids/README").read_text()
    assert "noise is white; no flow, no chemical shift of fat" in plain
    assert "no flow" not in flow
    assert "gradient echo: flow in veins and arteries; no chemical shift of fat" in flow


def test_heads_and_shapes_of_lesions_are_read_where_they_are_named(tmp_path, written):
    words = ["--labels", "one.nii", "two.nii", "--lesion-masks", "mask.nii"]
    assert main(["simulate", str(tmp_path), *words]) == 0
    assert written[0][3] == ((Path("one.nii"), Path("two.nii")), (Path("mask.nii"),))


def test_a_label_map_that_is_none_stops_before_anything_is_written(tmp_path, capsys):
    path = tmp_path / "scan.nii.gz"
    nifti.save(Image(np.full((8, 8, 8), 0.5, np.float32), np.eye(4)), path)
    assert main(["simulate", str(tmp_path / "out"), "--labels", str(path)]) == ExitCode.DATA
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
