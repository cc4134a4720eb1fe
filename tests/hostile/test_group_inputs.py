"""Bad tables and analysis files: one line, a status, and earlier group tables as they were."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.group import analysis_file
from tests import cohorts
from tests.conftest import write_json
from tests.hostile.cases import Case, then, write
from tests.hostile.conftest import outputs, refusal

pytestmark = pytest.mark.slow

MEASURES = "out/sub-0001/anat/sub-0001_desc-qsmthal_measures.tsv"
OWN = ("--analysis", "{root}/own.yaml")


def replaced(place: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / place
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def content(place: str, data: bytes) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return spoil


def own(old: str, new: str) -> Callable[[Path], None]:
    """Take the packaged analysis with one change."""
    packaged = analysis_file.packaged()
    assert old in packaged
    return write("own.yaml", packaged.replace(old, new))


def people(*pairs: str) -> Callable[[Path], None]:
    """Replace every other word by the one after it, the first time where there are two only."""

    def spoil(root: Path) -> None:
        path = root / "bids" / "participants.tsv"
        text = path.read_text()
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text
            text = text.replace(old, new, 1 if len(pairs) == 2 else -1)
        path.write_text(text)

    return spoil


def every_age(begin: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "bids" / "participants.tsv"
        path.write_text(re.sub(r"(sub-\d+)\t", rf"\1\t{begin}", path.read_text()))

    return spoil


def wide_table(root: Path) -> None:
    path = root / "bids" / "participants.tsv"
    names = "\t".join(f"voxel{i}" for i in range(1_000_000))
    zeros = "\t0" * 1_000_000
    path.write_text(f"participant_id\t{names}\nsub-0001{zeros}\n")


def a_folder(root: Path) -> None:
    (root / "bids" / "participants.tsv").unlink()
    (root / "bids" / "participants.tsv").mkdir()


def no_results(root: Path) -> None:
    for path in (root / "out").glob("sub-*"):
        shutil.rmtree(path)


def special(place: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put what is no file in the place of one: reading it would hang, or fill the memory."""

    def spoil(root: Path) -> None:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return spoil


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILE = ["a folder, a pipe or a device", "expected a file"]

TABLES = [
    Case("a pipe", special("bids/participants.tsv", os.mkfifo), 65, NO_FILE),
    Case("without end", special("bids/participants.tsv", endless), 65, NO_FILE),
    Case("phenotype without end", special("bids/phenotype/a.tsv", endless), 65, NO_FILE),
    Case("a dictionary that is a pipe", special("bids/participants.json", os.mkfifo), 65, NO_FILE),
    Case("decisions that are a pipe", special("out/edits/exclusions.tsv", os.mkfifo), 65, NO_FILE),
    Case(
        "twice the same",
        people("sub-0002", "sub-0001"),
        65,
        ["sub-0001 has more than one row", "keep"],
    ),
    Case("no identity", people("participant_id", "subject"), 65, ["no column 'participant_id'"]),
    Case("text for age", every_age("about "), 65, ["is not a number", "12 such", "n/a"]),
    Case("endless age", every_age("1e9"), 65, ["is not a number"]),
    Case("a cell too many", people("sub-0001\t", "sub-0001\tx\t"), 65, ["line 2", "one tab"]),
    Case("commas", people("\t", ","), 65, ["line 2", "separated by one tab"]),
    Case("a column twice", people("disease_duration", "age"), 65, ["'age' occurs twice"]),
    Case(
        "unknown sex",
        people("\tsex\t", "\tgender\t", "F\t", "1\t", "M\t", "2\t"),
        65,
        ["'1'", "expected one of", "Words"],
    ),
    Case("a million columns", wide_table, 65, ["participants.tsv", "1000001 columns"]),
    Case(
        "a meaning that nobody knows",
        then(
            people("F\t", "0\t", "M\t", "1\t"),
            write("bids/participants.json", '{"sex": {"Levels": {"0": "frau", "1": "mann"}}}'),
        ),
        65,
        ["participants.json", "'frau'", "Words: [..., frau]"],
    ),
    Case(
        "other people",
        people(*(word for i in range(1, 13) for word in (f"sub-{i:04d}", f"sub-p{i:04d}"))),
        65,
        ["participants.tsv", "none of whom has results", "sub-0001"],
    ),
    Case(
        "failures damaged",
        then(write("out/logs/settings.json", "{}"), write("out/logs/failures.json", "{")),
        65,
        ["failures.json", "run the participant level again"],
    ),
    Case(
        "nobody finished",
        write("out/logs/settings.json", "{}"),
        17,
        ["no participant can be used", "sub-0001_manifest.tsv"],
    ),
    Case(
        "nobody of that name",
        lambda _: None,
        66,
        ["participant 99", "0001"],
        ("--participant-label", "99"),
    ),
    Case("empty table", content("bids/participants.tsv", b""), 65, ["empty", "header"]),
    Case("binary table", content("bids/participants.tsv", b"\xff\x00\x00"), 65, ["not UTF-8"]),
    Case("UTF-16 table", content("bids/participants.tsv", b"\xff\xfep\x00"), 65, ["but UTF-16"]),
    Case("a folder for a table", a_folder, 65, ["participants.tsv", *NO_FILE]),
    Case("dictionary broken", write("bids/participants.json", "{"), 65, ["not valid JSON"]),
    Case("dictionary a list", write("bids/participants.json", "[]"), 65, ["a JSON object"]),
    Case(
        "dictionary deep",
        write("bids/participants.json", "[" * 100_000),
        65,
        ["participants.json", "not valid JSON"],
    ),
    Case(
        "unit unknown",
        write("bids/participants.json", '{"age": {"Units": "parsec"}}'),
        65,
        ["'parsec'", "expected year"],
    ),
    Case(
        "no session",
        write("bids/sub-0001/sub-0001_sessions.tsv", "visit\nses-1\n"),
        65,
        ["sub-0001_sessions.tsv", "no column 'session_id'"],
    ),
    Case(
        "a session twice",
        write("bids/sub-0001/sub-0001_sessions.tsv", "session_id\nses-1\nses-1\n"),
        65,
        ["ses-1 has more than one row"],
    ),
    Case(
        "a time that is none",
        write("bids/sub-0001/sub-0001_sessions.tsv", "session_id\tacq_time\nses-1\tnoon\n"),
        65,
        ["'noon' is not a time such as"],
    ),
    Case(
        "phenotype without identity",
        write("bids/phenotype/edss.tsv", "edss\n2\n"),
        65,
        ["edss.tsv", "no column 'participant_id'"],
    ),
]

RESULTS = [
    Case("no results", no_results, 17, ["run the participant level first"]),
    Case(
        "other columns",
        replaced(MEASURES, "measure\t", "what\t"),
        65,
        ["columns are", "what"],
    ),
    Case("a short row", replaced(MEASURES, "\tppb", ""), 65, ["sub-0001", "13 cells"]),
    Case("text for a value", replaced(MEASURES, "LR\t", "LR\tabout "), 65, ["is not a number"]),
    Case("unknown judgement", replaced(MEASURES, "include", "perhaps"), 65, ["'perhaps'"]),
    Case("another unit", replaced(MEASURES, "ppb", "percent"), 65, ["'percent'"]),
    Case("binary results", content(MEASURES, bytes(range(128, 256))), 65, ["not UTF-8"]),
    Case("results cut short", content(MEASURES, b"participant_id\tsess"), 65, ["columns are"]),
    Case(
        "a decision that is none",
        write("out/edits/exclusions.tsv", "participant_id\tdecision\nsub-0001\tmaybe\n"),
        65,
        ["exclusions.tsv", "'maybe'", "expected one of"],
    ),
    Case(
        "no decision",
        write("out/edits/exclusions.tsv", "participant_id\nsub-0001\n"),
        65,
        ["no column 'decision'"],
    ),
    Case(
        "group folder leads out",
        lambda root: (
            (root / "out" / "group").rename(root / "away")
            and (root / "out" / "group").symlink_to(root / "away")
        ),
        73,
        ["leads out of", "remove the link"],
    ),
]

ANALYSES = [
    Case("no analysis", lambda _: None, 66, ["own.yaml: no such file"], OWN),
    Case("empty", write("own.yaml", ""), 65, ["own.yaml", "expected names"], OWN),
    Case("not YAML", write("own.yaml", "a: ["), 65, ["not readable as YAML"], OWN),
    Case(
        "a tag that runs",
        write("own.yaml", "!!python/object/apply:os.system ['touch /tmp/pwned-by-analysis']"),
        65,
        ["not readable as YAML"],
        OWN,
    ),
    Case(
        "another kind of file",
        write("own.yaml", "Name: x\n" + "a: 1 # voxels\n" * 200_000),
        65,
        ["2800008 bytes", "is it the right file"],
        OWN,
    ),
    Case("nested deeply", write("own.yaml", "[" * 20_000), 65, ["not readable as YAML"], OWN),
    Case("unknown key", own("Models:", "Modells:"), 64, ["line", "unknown setting Modells"], OWN),
    Case("an attribute", own("chi ~ age}", "chi ~ age.values}"), 64, ["cannot be read from"], OWN),
    Case(
        "a call",
        own("chi ~ age}", "chi ~ __import__('os')}"),
        64,
        ["not one of the functions"],
        OWN,
    ),
    Case("unknown variable", own("chi ~ age}", "chi ~ agee}"), 64, ["'agee'", "There are"], OWN),
    Case(
        "a table named as a path",
        own("Name: table1", "Name: ../../table1"),
        64,
        ["'../../table1'", "expected text that matches"],
        OWN,
    ),
    Case(
        "a needed column that no table has",
        then(own("Name: chiang2018", "Name: mine"), people("dmt", "therapy")),
        66,
        ["no column dmt", "There are: age", "'Columns'"],
        OWN,
    ),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    bids, out = cohorts.write(cohorts.simulated(12, np.random.default_rng(5), {}), root)
    out.rename(root / "out")
    write_json(bids / "dataset_description.json", {"Name": "tiny", "BIDSVersion": "1.10.0"})
    (root / "out" / "group").mkdir()
    (root / "out" / "group" / "table1.tsv").write_text("of an earlier run\n")
    return root


def words(root: Path, *more: str) -> list[str]:
    begin = [str(root / "bids"), str(root / "out"), "group"]
    return [*begin, *(word.replace("{root}", str(root)) for word in more)]


@pytest.mark.parametrize(
    "case", [*TABLES, *RESULTS, *ANALYSES], ids=lambda case: case.name.replace(" ", "-")
)
def test_a_table_or_an_analysis(
    study: Path, tmp_path: Path, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(study, tmp_path / "root"))
    case.spoil(root)
    before = outputs(root)
    code, said = refusal(words(root, *case.words), caplog)
    assert code == case.code, said
    for phrase in case.says:
        assert phrase in said
    assert outputs(root) == before
    assert not Path("/tmp/pwned-by-analysis").exists()  # noqa: S108 - what the tag would make


def test_too_few_participants_are_said_where_the_model_would_be(
    tmp_path: Path, study: Path
) -> None:
    root = Path(shutil.copytree(study, tmp_path / "root"))
    for number in range(5, 13):
        shutil.rmtree(root / "out" / f"sub-{number:04d}")
    assert main(words(root)) == 0
    models = pd.read_csv(root / "out" / "group" / "models.tsv", sep="\t")
    assert models["note"].str.contains("too few participants").any()


def test_a_collinear_design_and_who_is_not_listed_are_said(
    tmp_path: Path, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(study, tmp_path / "root"))
    table = pd.read_csv(root / "bids" / "participants.tsv", sep="\t").iloc[:-1]
    table["disease_duration"] = 2 * table["age"] + 1
    table.to_csv(root / "bids" / "participants.tsv", sep="\t", index=False)
    assert main(words(root)) == 0
    models = pd.read_csv(root / "out" / "group" / "models.tsv", sep="\t")
    assert models["note"].str.contains("collinear").any()
    assert "participants.tsv does not list sub-0012" in caplog.text
