"""Every option and every field of a sidecar damaged in turn: understood or refused in one line."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_qsmthal.app import options
from bids_qsmthal.app.cli import parse, settings_from
from bids_qsmthal.bids import gre_series, protocol
from bids_qsmthal.bids.dataset import GreFiles
from bids_qsmthal.core.errors import QsmthalError, of_system
from bids_qsmthal.settings import Settings
from tests.conftest import write_image

PACKAGE = Path(options.__file__).parents[1]
READS_SIDECARS = ("gre_metadata", "gre_series", "orientation", "protocol", "t1w")

WORDS = (
    "",
    "nan",
    "-1",
    "1e999",
    "9" * 5000,
    "=cmd|'/C calc'!A0",
    "\x1b[2J",
    "\u0131=\u015f/../..",
)
VALUES = (None, True, "", -1, 10**400, [None], {"a": 1}, "a\x00b", "\x1b[2J")
FURTHER = (
    *("text", "1e-3", "=1+1", "x" * 100_000, 0, 1e300, [], {}, [[1, 2], 3]),
    [0.001] * 10_000,
)
"""For sidecars, which programs write; a configuration is checked by a schema."""


def check_one_line(error: QsmthalError) -> None:
    assert str(error).isprintable()
    assert 0 < len(str(error)) < 2100
    assert error.exit_code in (16, 64, 65, 66, 69, 73, 74)


def is_refused(words: list[str]) -> bool:
    """Say whether words of a command are refused, in one line as the command does it."""
    try:
        assert isinstance(settings_from(parse(words), words), Settings)
    except QsmthalError as error:
        check_one_line(error)
    except OSError as error:
        check_one_line(of_system(error))
    else:
        return False
    return True


@pytest.fixture
def begin(tmp_path: Path) -> list[str]:
    """The words before the options."""
    (tmp_path / "bids").mkdir()
    return [str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]


TAKEN = [action for action in options.main_parser()._actions if action.nargs != 0]


@pytest.mark.slow
def test_every_option(begin: list[str]) -> None:
    refused = 0
    named = [action for action in TAKEN if action.option_strings]
    for action in named:
        number = action.nargs if isinstance(action.nargs, int) else 1
        for word in WORDS:
            # With = alone a word that begins with a dash is the option's value.
            alone = [f"{action.option_strings[-1]}={word}"]
            several = [action.option_strings[0], *[word] * number]
            refused += is_refused([*begin, *(alone if number == 1 else several)])
    assert refused > len(named)


@pytest.mark.slow
def test_every_key_of_a_configuration(begin: list[str], tmp_path: Path) -> None:
    refused = 0
    config = tmp_path / "config.yaml"
    for action in TAKEN:
        for value in VALUES:
            config.write_text(json.dumps({action.dest: value}))
            refused += is_refused([*begin, "--config", str(config)])
    assert refused > len(TAKEN)


def fields() -> Iterator[str]:
    """Return what may be the name of a field in the modules that read sidecars."""
    for module in READS_SIDECARS:
        for node in ast.walk(ast.parse((PACKAGE / "bids" / f"{module}.py").read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text.isalnum() and text[0].isupper():
                yield text


@pytest.fixture
def scan(tmp_path: Path) -> GreFiles:
    places = [f"echo-{echo}_part-{part}" for echo in (1, 2) for part in ("mag", "phase")]
    paths = tuple(tmp_path / "anat" / f"sub-01_{place}_MEGRE.nii.gz" for place in places)
    for path in paths:
        write_image(path)
    return GreFiles((), paths)


@pytest.mark.slow
def test_every_field_of_one_sidecar_and_of_all(scan: GreFiles, tmp_path: Path) -> None:
    names = sorted(set(fields()))
    assert {"EchoTime", "Units", "MagneticFieldStrength", "ImageType", "FlipAngle"} <= set(names)
    refused = {name for name in names if refusals(scan, tmp_path, name)}
    assert {"EchoTime", "MagneticFieldStrength"} <= refused


def refusals(scan: GreFiles, root: Path, name: str) -> int:
    """Damage a field in all sidecars and in the last one alone; count what is refused."""
    refused = 0
    for value in (*VALUES, *FURTHER):
        for damaged in (scan.paths, scan.paths[-1:]):
            for place, path in enumerate(scan.paths):
                sidecar = {"EchoTime": 0.005 * (1 + place // 2), "MagneticFieldStrength": 3}
                more = {name: value} if path in damaged else {}
                Path(str(path).replace(".nii.gz", ".json")).write_text(json.dumps(sidecar | more))
            try:
                series = gre_series.describe(scan, root)
                protocol.read(series)
            except QsmthalError as error:
                check_one_line(error)
                refused += 1
            else:
                assert 0 < series.acquisition.field_strength_t < 25
    return refused
