"""The table that ``bids_qsmthal demo`` prints, row by row against the truth and the outputs."""

from __future__ import annotations

import re

import pytest

from bids_qsmthal.app import cli, demo
from tests import seam
from tests.seam import NAME, Study

pytestmark = pytest.mark.slow

ROWS = {
    # Title: where in the truth, which measure, factor, decimals, and how far off it may be.
    "relative susceptibility (ppb)": (
        ("chi_relative_csf", "LR"),
        ("chi_relative_csf", "thalamus", "LR"),
        1,
        1,
        3.5,
    ),
    "thalamus (mL)": (
        ("volume_mm3", "thalamus_LR"),
        ("volume", "thalamus", "LR"),
        1e-3,
        2,
        1.2,
    ),
    "gray matter (mL)": (
        ("volume_mm3", "gray_matter"),
        ("volume", "gray_matter", "n/a"),
        1e-3,
        0,
        30,
    ),
    "lesions (mL)": (("volume_mm3", "lesion"), ("volume", "lesion", "n/a"), 1e-3, 2, 4.0),
    "enhancing lesions": (("enhancing_count",), ("enhancing_count", "enhancing", "n/a"), 1, 0, 4),
}


@pytest.fixture
def printed(
    seam_study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What the command prints about a cohort that is there and was processed already."""
    monkeypatch.setattr(demo, "plan", lambda *_: (seam.planned(seam.SEED),))
    monkeypatch.setattr(cli, "process", lambda _: 0)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a cohort that is there is made again")

    monkeypatch.setattr(demo.simulate, "write_dataset", never)
    words = ["demo", str(seam_study.root), "--participants", "1", "--nprocs", "1"]
    assert cli.main(words) == 0
    return capsys.readouterr().out.splitlines()


def test_every_row_has_the_truth_the_estimate_and_their_difference(
    seam_study: Study, printed: list[str]
) -> None:
    header = next(line for line in printed if line.startswith("participant"))
    assert header.split() == ["participant", "measure", "truth", "estimate", "difference"]
    lines = [line for line in printed if line.startswith(f"{NAME} ")]
    assert len(lines) == len(ROWS)
    for line, (title, (where, measure, factor, decimals, within)) in zip(
        lines, ROWS.items(), strict=True
    ):
        found = re.fullmatch(rf"{NAME}\s+(.+?)\s+(-?[\d.]+)\s+(-?[\d.]+)\s+([+-][\d.]+)", line)
        assert found, line
        assert found.group(1) == title
        truth, estimate, difference = (float(found.group(n)) for n in (2, 3, 4))
        true = seam_study.truth
        for key in where:
            true = true[key]
        unit = 10.0**-decimals
        assert truth == pytest.approx(float(true) * factor, abs=0.51 * unit), title
        assert estimate == pytest.approx(seam_study.value(*measure) * factor, abs=0.51 * unit)
        assert difference == pytest.approx(estimate - truth, abs=1.01 * unit), title
        assert abs(difference) < within, title


def test_the_reports_are_named_below(seam_study: Study, printed: list[str]) -> None:
    named = [line.removeprefix("report: ") for line in printed if line.startswith("report: ")]
    assert named == [
        str(seam_study.out.resolve() / f"{NAME}.html"),
        str(seam_study.out.resolve() / "group" / "group.html"),
    ]
