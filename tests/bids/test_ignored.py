"""Lines of .bidsignore: patterns as in .gitignore, and which of them are about data."""

from pathlib import Path, PurePosixPath

import pytest

from bids_qsmthal.bids.ignored import is_ignored, rules

PATHS = tuple(PurePosixPath(f"sub-{n}/anat/sub-{n}_echo-1_part-mag_MEGRE.nii.gz") for n in "12")


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ("# sub-1\n\n", "12"),
        ("sub-2/\n", "1"),
        ("\ufeff/sub-2\r\n", "1"),
        ("sub-[2-9]\n", "1"),
        ("**/sub-2_*\n", "1"),
        ("sub-2/**\n", "1"),
        ("sub-?/anat/sub-2_*.nii.gz\n", "1"),
        ("sub-*\n!sub-2\n", "2"),
        # What it does not match: a star stops at a slash, a name is a whole name.
        ("/sub-2*.gz\n/anat\nsub\nsub-*/sub-2_*\n", "12"),
        ("sub-2/anat\n", "1"),
        ("extra/\n*.txt\n/\n", "12"),
        # Validators did not know the name: such lines say nothing about the data.
        ("*_MEGRE*\n**/anat/*MEGRE.nii.gz\n", "12"),
    ],
)
def test_gradient_echoes_are_left_out_by_lines_that_name_somebody(
    tmp_path: Path, lines: str, left: str
) -> None:
    (tmp_path / ".bidsignore").write_text(lines)
    read = rules(tmp_path)
    kept = [
        n
        for n, path in zip("12", PATHS, strict=True)
        if not is_ignored(read, path, gradient_echo=True)
    ]
    assert "".join(kept) == left


def test_other_images_are_left_out_by_any_line(tmp_path: Path) -> None:
    (tmp_path / ".bidsignore").write_text("*_run-1_T1w.nii.gz\n")
    read = rules(tmp_path)
    first, second = (PurePosixPath(f"sub-1/anat/sub-1_run-{n}_T1w.nii.gz") for n in (1, 2))
    assert is_ignored(read, first, gradient_echo=False)
    assert not is_ignored(read, second, gradient_echo=False)


def test_without_the_file_nothing_is_listed(tmp_path: Path) -> None:
    assert not is_ignored(rules(tmp_path), PATHS[0], gradient_echo=False)
