import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_qsmthal import __version__
from bids_qsmthal.app import cli, options
from bids_qsmthal.app.cli import main, parse, settings_from
from bids_qsmthal.core.errors import ExitCode, OutputError, QsmthalError, UsageError
from bids_qsmthal.qsm import INVERSIONS
from bids_qsmthal.settings import GIB
from tests.conftest import write_image, write_json


def settings(*words: object):
    texts = [str(word) for word in words]
    return settings_from(parse(texts), texts)


def last_line(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.records[-1].getMessage()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_answer_at_once(option: str) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bids_qsmthal", option], capture_output=True, text=True, check=True
    )
    assert "bids_qsmthal" in done.stdout
    assert time.monotonic() - start < 60  # under 1 s when idle; what makes it quick is tested below


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom bids_qsmthal.app.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'scipy', 'ants', 'bids', 'pandas', 'pydantic', 'yaml', 'filelock'} "
        "& set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"bids_qsmthal {__version__}"


def test_words_become_settings(tmp_path: Path) -> None:
    chosen = settings(
        *(tmp_path / "bids", tmp_path / "out", "group", "participant"),
        *("--participant_label", "sub-01", "02", "--inversion", "tkd", "--mem", "8G"),
        *("--nprocs", "4", "--omp-nthreads", "2", "-w", tmp_path / "w"),
    )
    assert chosen.levels == ("participant", "group")
    assert chosen.selection.participants == ("sub-01", "02")
    assert isinstance(chosen.reconstruction.inversion, INVERSIONS["tkd"])
    assert chosen.resources.memory_bytes == 8 * GIB
    assert (chosen.resources.cores, chosen.resources.threads) == (4, 2)
    assert chosen.work_dir == tmp_path / "w"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a"],
        ["a", "b", "nonsense"],
        ["a", "b", "participant", "--nprocs", "0"],
        ["a", "b", "participant", "--mem", "8X"],
        ["a", "b", "participant", "--inversion", "none"],
        ["a", "b", "participant", "--unknown"],
        ["a", "b", "participant", "--nprocs", "1", "--omp-nthreads", "2"],
    ],
)
def test_wrong_usage_is_one_line_and_status_64(
    words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(words) == UsageError.exit_code == 64
    assert "\n" not in last_line(caplog)


def test_output_among_raw_data_is_refused(bids_dir: Path) -> None:
    with pytest.raises(OutputError, match="lies among the raw data"):
        settings(bids_dir, bids_dir / "sub-01", "participant")
    inside = settings(bids_dir, bids_dir / "derivatives" / "x", "participant")
    assert not inside.work_dir.is_relative_to(bids_dir)


def test_help_and_readme_have_the_one_table_of_exit_statuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"\n{options.exit_status_sentence()}\n" in readme
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for code in ExitCode:
        assert f" {int(code)} {code.meaning}: {code.advice} " in shown
        assert f"{int(code)} {code.meaning}" in options.exit_status_sentence(10_000)


def test_every_error_has_a_code_of_the_table() -> None:
    kinds = QsmthalError.__subclasses__()
    assert kinds
    for kind in kinds:
        assert isinstance(kind.exit_code, ExitCode)
        assert kind.exit_code not in {ExitCode.DONE, ExitCode.FAILED}


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C; run the same command again to continue"),
        (MemoryError("3 GiB for an array"), 75, "not enough memory (3 GiB for an array)"),
        (OSError(28, "No space left on device", "/out"), 73, "/out: No space left on device"),
        (OSError(12, "Cannot allocate memory"), 75, "not enough memory"),
        (OSError(5, "Input/output error", "/in"), 74, "/in: Input/output error"),
    ],
)
def test_what_ends_a_command_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: BaseException,
    code: int,
    says: str,
) -> None:
    def fail(_: object) -> int:
        raise raised

    monkeypatch.setattr(cli, "run", fail)
    assert main([]) == code
    assert says in last_line(caplog)
    assert "\n" not in last_line(caplog)


def test_methods_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-methods"]) == 0
    text = capsys.readouterr().out
    assert "medi (default)" in text
    assert "doi:" in text


def no_magnitude(folder: Path) -> None:
    for path in folder.glob("*part-mag*"):
        path.unlink()


def no_echo_time(folder: Path) -> None:
    for path in folder.glob("*echo-2*.json"):
        write_json(path, {"MagneticFieldStrength": 3})


def other_shape(folder: Path) -> None:
    write_image(folder / "sub-01_echo-3_part-mag_MEGRE.nii.gz", (6, 5, 5))


def truncated(folder: Path) -> None:
    path = folder / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    path.write_bytes(path.read_bytes()[:60])


def no_images(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


BAD = [
    (no_magnitude, 66, "has only part-phase"),
    (no_echo_time, 66, "EchoTime in its sidecar is None"),
    (other_shape, 65, "shape (6, 5, 5) differs"),
    (truncated, 65, "not a readable NIfTI"),
    (no_images, 66, "holds no gradient echo"),
]


@pytest.mark.parametrize(("spoil", "code", "says"), BAD)
@pytest.mark.parametrize(
    "dry", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["dry", "run"]
)
def test_bad_input_has_one_line_and_a_status(  # noqa: PLR0913 - fixtures
    bids_dir: Path,
    add_gre: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    code: int,
    says: str,
    *,
    dry: bool,
) -> None:
    spoil(add_gre())
    out = bids_dir.parent / "out"
    words = [str(bids_dir), str(out), "participant", *(["--dry-run"] if dry else [])]
    assert main(words) == code
    assert says in last_line(caplog)
    assert "\n" not in last_line(caplog)
    assert "Traceback" not in caplog.text


def test_an_unknown_label_is_named_with_those_present(
    bids_dir: Path, add_gre: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    add_gre()
    out = str(bids_dir.parent / "out")
    assert main([str(bids_dir), out, "participant", "--participant-label", "99"]) == 66
    assert "No participant 99" in last_line(caplog)
    assert "It holds: 01" in last_line(caplog)


def test_filters_that_match_nothing_have_their_status(
    bids_dir: Path, add_gre: Callable[..., Path], tmp_path: Path
) -> None:
    add_gre()
    filters = tmp_path / "filters.json"
    filters.write_text(json.dumps({"gre": {"acquisition": "none"}}))
    words = [str(bids_dir), str(tmp_path / "o"), "participant", "--bids-filter-file", str(filters)]
    assert main(words) == 18


def test_group_before_participant_has_its_status(bids_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main([str(bids_dir), str(tmp_path / "out"), "group"]) == 17


def test_the_direction_of_the_field_may_stand_in_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("b0_direction: [0, 0, 1]\n")
    made = settings(tmp_path / "bids", tmp_path / "out", "participant", "--config", config)
    assert made.b0_direction == (0.0, 0.0, 1.0)
    config.write_text("b0_direction: [0, 1]\n")
    with pytest.raises(QsmthalError, match="b0_direction"):
        settings(tmp_path / "bids", tmp_path / "out", "participant", "--config", config)
