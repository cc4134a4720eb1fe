"""What a table says about enhancement is compared with the images, and wins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import EnhancementReadDifferently
from bids_qsmthal.group import analysis_file, assembly, page, table_writing
from bids_qsmthal.group.fitting import fit_all
from bids_qsmthal.lesions import Context, enhancement_of
from bids_qsmthal.participant import radiology
from bids_qsmthal.report import sentences
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts


def found(count: int):
    mask = Image(np.zeros((12, 12, 12), bool), np.eye(4))
    for number in range(count):
        mask.data[3 * number + 1, 5, 5] = True
    return enhancement_of(mask, Context(brain=mask.like(np.ones(mask.shape, bool))))


def table(root: Path, column: str, word: str) -> Session:
    text = f"participant_id\tage\t{column}\nsub-1\t40\tno\nsub-01\t50\t{word}\n"
    (root / "participants.tsv").write_text(text)
    return Session(root, "01")


@pytest.mark.parametrize("column", ["enhancing", "enhancing_lesions"])
@pytest.mark.parametrize(("word", "count"), [("yes", 0), ("1", 0), ("No", 2), ("0", 1)])
def test_a_difference_is_said(tmp_path: Path, column: str, word: str, count: int) -> None:
    (warning,) = radiology.disagreement(table(tmp_path, column, word), found(count))
    assert warning == EnhancementReadDifferently(present_in_table=not count, count_in_images=count)
    text = sentences.sentence(warning)
    assert f"says {'none' if count else 'present'}, the images show {count or 'none'}" in text
    assert "table counts" in text


@pytest.mark.parametrize(
    ("who", "word", "present"),
    [
        ("1", "present", True),
        ("01.0", "at least one", True),
        ("sub-001", "absent", False),
        ("1.0", "1.0", True),
        ("sub-10", "present", None),
    ],
)
def test_words_of_the_analysis_and_ids_without_zeros_are_read(
    tmp_path: Path, who: str, word: str, *, present: bool | None
) -> None:
    (tmp_path / "participants.tsv").write_text(f"participant_id\tenhancing\n{who}\t{word}\n")
    assert radiology.enhancing(Session(tmp_path, "01")) is present


def test_every_word_of_the_group_level_is_a_reading() -> None:
    variable = analysis_file.read(None).variables["enhancing"]
    columns, words = radiology.vocabulary()
    assert columns == variable.columns
    assert words == {
        word: bool(level.value) for level in variable.levels.values() for word in level.words
    }


@pytest.mark.parametrize(("word", "count"), [("yes", 2), ("no", 0), ("n/a", 2), ("perhaps", 0)])
def test_agreement_and_silence_are_not(tmp_path: Path, word: str, count: int) -> None:
    assert radiology.disagreement(table(tmp_path, "enhancing", word), found(count)) == ()
    assert radiology.disagreement(Session(tmp_path, "02"), found(count)) == ()


def test_the_table_of_the_session_goes_before_that_of_all(tmp_path: Path) -> None:
    table(tmp_path, "enhancing", "no")
    (tmp_path / "sub-01").mkdir()
    own = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    own.write_text("session_id\tenhancing\nses-a\tno\nses-b\tyes\n")
    assert radiology.enhancing(Session(tmp_path, "01", "a")) is False
    assert radiology.enhancing(Session(tmp_path, "01", "b")) is True


@pytest.mark.slow
def test_the_group_level_shows_who_differs_and_takes_the_table(tmp_path: Path) -> None:
    cohort = cohorts.simulated(20, np.random.default_rng(5), {"age": 0.3})
    bids_dir, output_dir = cohorts.write(cohort, tmp_path)
    said = pd.read_csv(bids_dir / "participants.tsv", sep="\t", dtype=str)
    yes = said["enhancing_lesions"].str.lower().isin(["1", "1.0", "yes"]).to_numpy()
    wrong = said["participant_id"].iloc[3]
    for who, present in zip(said["participant_id"], yes, strict=True):
        (path,) = output_dir.glob(f"{who}/**/*_measures.tsv")
        rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        seen = float(present) if who != wrong else float(not present)
        row = dict(rows.iloc[0]) | {
            "measure": "enhancing_present",
            "region": "enhancing",
            "hemisphere": "n/a",
            "value": str(seen),
            "unit": "1",
        }
        pd.concat([rows, pd.DataFrame([row])]).to_csv(path, sep="\t", index=False)

    analysis = replace(analysis_file.read(None), sensitivity=None)
    made = assembly.assemble(bids_dir, output_dir, analysis, strict=False)

    assert list(made.disagreements["participant_id"]) == [wrong]
    row = made.disagreements.iloc[0]
    assert (row["table"] == "yes") == bool(yes[3])
    assert row["table"] != row["image"]
    used = made.frame.set_index("participant_id").loc[wrong, "enhancing"]
    assert bool(used) == bool(yes[3])
    results = fit_all(analysis, made, Resampling())
    table_writing.write(output_dir / "group", analysis, made, results)
    written = pd.read_csv(output_dir / "group" / "disagreements.tsv", sep="\t")
    assert list(written["participant_id"]) == [wrong]
    titles = [
        getattr(block, "title", "")
        for part in page.make(analysis, made, results, Resampling()).sections
        for block in part.blocks
    ]
    assert "Where tables and images disagree" in titles
