"""--config: every option by its name, and one line with the place of what is wrong."""

import argparse
import json
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from bids_qsmthal.app import configuration, options
from bids_qsmthal.app.cli import main, parse, settings_from
from bids_qsmthal.core.errors import DataError, UsageError
from bids_qsmthal.qsm import CSF_REFERENCES, INVERSIONS
from bids_qsmthal.qsm.field import OFFSETS
from bids_qsmthal.settings import GIB

SCHEMA = Path(configuration.__file__).parents[1] / "data" / "schemas" / "config.schema.json"

EVERYTHING = """
participant-label: ['01', sub-02]
derivatives: [mine=mine]
nprocs: 3
mem: 8G
inversion: tkd
csf_reference: brain
phase-sign: '+1'
deface: true
seed: 7
verbose: 1
"""


def settings(folder: Path, config: Path, *more: str):
    words = [str(folder / "b"), str(folder / "o"), "participant", "--config", str(config), *more]
    return settings_from(parse(words), words)


@pytest.mark.parametrize("ending", ["yaml", "toml"])
def test_a_file_sets_what_the_command_line_can(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    config = tmp_path / f"config.{ending}"
    lines = [f"{key} = {json.dumps(value)}" for key, value in yaml.safe_load(EVERYTHING).items()]
    config.write_text(EVERYTHING if ending == "yaml" else "\n".join(lines))
    found = settings(tmp_path, config)
    assert found.selection.participants == ("01", "sub-02")
    assert found.datasets["mine"] == Path("mine")
    assert (found.resources.cores, found.resources.memory_bytes) == (3, 8 * GIB)
    assert isinstance(found.reconstruction.inversion, INVERSIONS["tkd"])
    assert found.regions.reference.region == "brain"
    assert (found.phase_sign, found.deface, found.seed) == ("+1", True, 7)


def test_the_command_line_wins(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("seed: 7\nmem: 8G\n--nprocs: 2\n")
    found = settings(tmp_path, config, "--seed", "9")
    assert (found.seed, found.resources.memory_bytes, found.resources.cores) == (9, 8 * GIB, 2)


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ("seed: 7\nsed: 7", 64, "line 2, column 1: unknown setting sed; did you mean seed?"),
        ("config: x", 64, "line 1, column 1: unknown setting config; known are"),
        ("seed:\n  '7'", 64, "line 2, column 3: seed: found '7', expected a whole number."),
        ("nprocs: 0", 64, "line 1, column 9: nprocs: found 0, expected 1 or more."),
        ("phase-sign: +1", 64, "phase_sign: found 1, expected 'auto', '+1' or '-1'."),
        ("deface: 1", 64, "line 1, column 9: deface: found 1, expected true or false."),
        ("run-label: 01", 64, "column 12: run_label: found 1, expected a list, in brackets."),
        ("run-label:\n- 01", 64, "line 2, column 3: run_label.0: found 1, expected text"),
        ("mem: 8XB", 64, "mem: found '8XB', expected text that matches"),
        ("seed:", 64, "seed: found None, expected a whole number."),
        ("seed: 1\nmem: 8G\nseed: 2", 65, "line 3: seed is given twice"),
        ('work-dir: "a\\0b"', 65, "holds a null character"),
        ("run-label: []\nrun_label: []", 64, "line 2, column 1: run_label is given twice"),
        ("- 1", 65, "holds a list"),
        ("", 65, "holds a NoneType"),
        ("a: [", 65, "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", 65, "not readable as YAML"),
        ("[" * 5000, 65, "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, code: int, says: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content)
    words = [str(tmp_path), str(tmp_path / "o"), "participant", "--config", str(config)]
    assert main(words) == code
    message = caplog.records[-1].getMessage()
    assert says in message
    assert str(config) in message
    assert "\n" not in message


def test_a_missing_file_has_its_status(tmp_path: Path) -> None:
    words = [str(tmp_path), str(tmp_path / "o"), "participant", "--config", str(tmp_path / "no")]
    assert main(words) == 66


def test_anchors_upon_anchors_take_no_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    config = tmp_path / "config.yaml"
    config.write_text("\n".join(["a0: &a0 [x]", *levels]))
    begin = time.monotonic()
    words = [str(tmp_path), str(tmp_path / "o"), "participant", "--config", str(config)]
    assert main(words) == 64
    assert time.monotonic() - begin < 20  # of 9 to the 29th copies, none is made
    assert "unknown setting a0" in caplog.records[-1].getMessage()


def test_the_packaged_schema_is_current() -> None:
    assert SCHEMA.read_text() == configuration.schema(), "run python tools/write_schemas.py"


def test_editors_are_told_what_the_command_takes() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.safe_load(EVERYTHING))
    for wrong in ({"sed": 1}, {"seed": "1"}, {"inversion": "magic"}, {"mem": "8XB"}):
        assert not validator.is_valid(wrong)
    known = set(vars(options.main_parser().parse_args(["b", "o", "group"])))
    assert {name.replace("-", "_") for name in schema["properties"]} == (
        known - configuration.NOT_HERE
    )


def test_a_preset_is_the_options_it_stands_for(tmp_path: Path) -> None:
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant"]
    spelled = ["--medi-csf", "none", "--csf-reference", "circles", "--thalamus-rim", "keep"]
    spelled += ["--thalamus-lesions", "keep", "--veins", "large"]
    preset = settings_from(parse([*words, "--preset", "chiang2018"]), words)
    one_by_one = settings_from(parse([*words, *spelled]), words)
    assert preset.reconstruction == one_by_one.reconstruction
    assert preset.regions == one_by_one.regions
    usual = settings_from(parse(words), words)
    assert preset.reconstruction.inversion.csf_regularisation == 0
    assert usual.reconstruction.inversion.csf_regularisation > 0
    assert preset.regions != usual.regions


def test_an_option_and_a_file_win_over_a_preset(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("preset: chiang2018\nveins: all\nthalamus-rim: remove\n")
    found = settings(tmp_path, config, "--csf-reference", "ventricles", "--thalamus-rim", "keep")
    assert found.regions.reference.region == "ventricles"
    assert not found.regions.veins.large_only
    assert not found.regions.thalamus.remove_rim
    # What nobody else names is as in the study.
    assert not found.regions.thalamus.exclude_lesions
    assert found.reconstruction.inversion.csf_regularisation == 0
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant", "--preset", "chiang2018"]
    other = settings_from(parse([*words, "--inversion", "tkd"]), words)
    assert isinstance(other.reconstruction.inversion, INVERSIONS["tkd"])
    held = settings_from(parse([*words, "--medi-csf", "ventricles"]), words).reconstruction
    assert isinstance(held.csf, CSF_REFERENCES["ventricles"])
    assert held.inversion.csf_regularisation > 0


def test_no_fluid_for_an_inversion_without_such_a_term_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant"]
    settings_from(parse([*words, "--inversion", "tkd", "--medi-csf", "none"]), words)
    assert "--medi-csf none changes nothing: tkd has no CSF term" in caplog.text


def test_fluid_for_an_inversion_without_such_a_term_is_refused(tmp_path: Path) -> None:
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant"]
    words += ["--inversion", "tv", "--medi-csf", "ventricles"]
    with pytest.raises(UsageError, match="--medi-csf ventricles goes with --inversion medi, not"):
        settings_from(parse(words), words)


def test_the_offset_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    words = [str(tmp_path / "b"), str(tmp_path / "o"), "participant"]
    chosen = settings_from(parse([*words, "--phase-offset", "mcpc-3d-s"]), words)
    assert chosen.reconstruction.fitting.offset == "mcpc-3d-s"
    assert settings_from(parse(words), words).reconstruction.fitting.offset == "auto"
    assert set(OFFSETS) == set(
        next(a for a in options.main_parser()._actions if a.dest == "phase_offset").choices
    )


def test_the_printed_configuration_is_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print-config"]) == 0
    printed = capsys.readouterr().out
    lines = [line.removeprefix("# ") for line in printed.splitlines() if ": " in line]
    options_of_it = [line for line in lines if not line.startswith("#")]
    names = {line.partition(":")[0].replace("-", "_") for line in options_of_it}
    usual = vars(parse([str(tmp_path), "out", "participant"]))
    elsewhere = {"bids_dir", "output_dir", "analysis_level", "config", *options.PRINTING}
    assert names == usual.keys() - elsewhere
    # As it is printed, it sets nothing; with every # taken away, what is set anyway.
    config = tmp_path / "config.yaml"
    for text in (printed, "\n".join(line for line in options_of_it if "<" not in line)):
        config.write_text(text)
        chosen = vars(parse([str(tmp_path), "out", "participant", "--config", str(config)]))
        assert chosen | {"config": None} == usual


def test_the_settings_of_a_run_give_its_options_again(tmp_path: Path) -> None:
    begun_in = tmp_path / "there"
    begun_in.mkdir()
    (begun_in / "config.yaml").write_text("seed: 7\ndeface: true\nphase-sign: '-1'\n")
    words = ["b", "o", "participant", "--config", "config.yaml", "--phase-sign", "+1", "-v"]
    words += ["-d", "mine=labels", "-w", "scratch", "--b0-direction", "0", "-0.1", "1"]
    recorded = {
        "bids_dir": "/b",
        "work_dir": "/w",
        "working_directory": str(begun_in),
        "command_line": ["bids_qsmthal", *words],
    }
    again = tmp_path / "settings.json"
    again.write_text(json.dumps(recorded))
    chosen = parse([str(tmp_path), "out", "participant", "--config", str(again), "--seed", "9"])
    assert (chosen.seed, chosen.deface, chosen.phase_sign, chosen.verbose) == (9, True, "+1", 1)
    assert chosen.derivatives == [f"mine={begun_in / 'labels'}"]
    assert chosen.work_dir == begun_in / "scratch"
    assert chosen.b0_direction == [0.0, -0.1, 1.0]
    # Folders and level are those of the new run.
    assert chosen.bids_dir == tmp_path


def test_settings_that_no_run_wrote_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"command_line": 3, "working_directory": "/"}))
    with pytest.raises(DataError, match="not the settings of a run"):
        parse(["b", "o", "participant", "--config", str(path)])


@pytest.mark.parametrize(
    ("word", "size_bytes"),
    [("8G", 8 * GIB), ("8gb", 8 * GIB), ("8000", 8000 * 2**20), ("1.5T", 1536 * GIB)],
)
def test_a_size_is_read_as_other_apps_do(word: str, size_bytes: int) -> None:
    assert options.size_bytes(word) == size_bytes


@pytest.mark.parametrize("word", ["0", "8X", "G", "-8G", "8 G", "", "1e3", "9" * 400])
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        options.size_bytes(word)


@pytest.mark.parametrize("alias", ["--nprocs", "--nthreads", "--n-cpus", "--n_cpus"])
def test_names_of_other_apps_are_taken(alias: str) -> None:
    words = ["b", "o", "participant", alias, "3", "--mem-mb", "8000", "--random-seed", "5"]
    chosen = parse([*words, "--notrack"])
    assert (chosen.nprocs, chosen.mem, chosen.seed) == (3, 8000 * 2**20, 5)


def test_nothing_is_left_where_both_halves_are_left_out(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("anat-only: true\n")
    with pytest.raises(UsageError, match="leave nothing"):
        settings(tmp_path, config, "--qsm-only")
    assert settings(tmp_path, config).selection.leaving_out == {"gre"}
