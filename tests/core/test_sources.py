"""What tables call the makers of masks and maps."""

from dataclasses import replace

import pytest

from bids_qsmthal.core.sources import EDITED, OURS, SEEDED, Program, ProgramName, Source, dataset

FREESURFER = Program(ProgramName.FREESURFER, "FreeSurfer 7.4.1")


@pytest.mark.parametrize(
    ("source", "label"),
    [
        (OURS, "bids_qsmthal"),
        (EDITED, "manual edit"),
        (SEEDED, "manual edit: seeds"),
        (dataset("mine"), "mine"),
        (dataset("fs", FREESURFER), "fs (FreeSurfer 7.4.1)"),
        (replace(OURS, corrected=True), "manual edit of ours"),
        (replace(SEEDED, corrected=True), "manual edit: seeds, corrected"),
        (replace(dataset("fs", FREESURFER), corrected=True), "fs (FreeSurfer 7.4.1), corrected"),
    ],
)
def test_each_source_has_its_label(source: Source, label: str) -> None:
    assert str(source) == label


def test_sources_are_equal_where_all_of_them_is() -> None:
    assert dataset("a") == dataset("a")
    assert dataset("a") != dataset("a", FREESURFER)
    assert replace(OURS, corrected=True) != OURS
