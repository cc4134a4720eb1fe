"""Markup in what users write stays text in the pages: nothing runs, nothing is fetched."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import group
from bids_qsmthal.app.cli import main
from bids_qsmthal.group import analysis_file
from tests import cohorts, tiny
from tests.hostile.cases import sidecars

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>"
FETCHING = {"src", "href", "srcset", "data", "action", "poster", "formaction"}


class Reader(HTMLParser):
    """Collects what a page would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag in {"script", "iframe", "object", "embed", "base"}
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}")
            if name in FETCHING and tag != "link":
                self.addresses.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def check(page: Reader, clean: Reader) -> None:
    assert page.scripts == clean.scripts
    assert page.handlers == clean.handlers == []
    harmless = ("data:", "https://", "http://", "#", "mailto:")
    for address in page.addresses:
        is_local = ":" not in address and not address.startswith("//")
        assert address.startswith(harmless) or is_local, address


@pytest.mark.usefixtures("here")
def test_the_page_of_a_participant(root: Path) -> None:
    clean = read(root / "out" / "sub-01.html")
    sidecars(Manufacturer=EVIL, ManufacturersModelName=EVIL, SeriesDescription=EVIL)(root)
    brain = root / "labels" / "sub-01" / "anat" / "sub-01_space-MEGRE_desc-brain_mask.json"
    brain.write_text(json.dumps({"Description": EVIL}))
    assert main(tiny.words(root, "--participant-label", "01")) == 0
    for page in [root / "out" / "sub-01.html", *root.glob("out/sub-01/figures/*.html")]:
        assert "alert(1)" not in "".join(page.read_text().split("<script>")[1:2])
    check(read(root / "out" / "sub-01.html"), clean)


@pytest.mark.usefixtures("here")
def test_the_name_of_a_brought_dataset_cannot_hold_markup(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = tiny.words(root)
    words[words.index(f"mine={root / 'labels'}")] = f"{EVIL}={root / 'labels'}"
    assert main(words) in (64, 66)
    assert "NAME=PATH" in caplog.records[-1].getMessage()


def test_the_page_of_the_group(tmp_path: Path) -> None:
    cohort = cohorts.simulated(9, np.random.default_rng(5), {})
    bids, out = cohorts.write(cohort, tmp_path / "clean")
    clean = read(group.process(bids, out).page)
    shutil.copytree(tmp_path / "clean", tmp_path / "evil")
    bids, out = tmp_path / "evil" / "bids", tmp_path / "evil" / "derivatives"
    own = tmp_path / "own.yaml"
    text = analysis_file.packaged().replace("Label: Age", f"Label: {json.dumps(EVIL)}")
    text = text.replace("Title: Associations of", f"Title: {json.dumps(EVIL)} # ", 1)
    assert text.count("alert(1)") > 1
    own.write_text(text)
    edits = out / "edits" / "exclusions.tsv"
    edits.parent.mkdir()
    edits.write_text(f"participant_id\tdecision\treason\nsub-0001\texclude\t{EVIL}\n")
    people = pd.read_csv(bids / "participants.tsv", sep="\t")
    people[EVIL], people["edss"] = EVIL, 1.5
    people.to_csv(bids / "participants.tsv", sep="\t", index=False)
    page = read(group.process(bids, out, analysis=own).page)
    check(page, clean)
    assert "alert(1)" in page.text
