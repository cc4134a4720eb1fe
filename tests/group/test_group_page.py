"""The group page in a real browser."""

import base64
from pathlib import Path

import pytest

from bids_qsmthal import group
from tests import cohorts
from tests.report.browser import Browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bids_dir, output_dir = cohorts.write(cohorts.published(), tmp_path_factory.mktemp("page"))
    return group.process(bids_dir, output_dir).page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_the_group_page_opens_without_complaint_and_fits_the_screen(
    browser: Browser, page: Path, width: int
) -> None:
    browser.open(page, width)
    assert browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_every_figure_is_drawn_and_every_table_can_be_saved(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    pictures = browser.value(
        "[...document.querySelectorAll('main img')].map(i => [i.naturalWidth, i.alt])"
    )
    assert len(pictures) >= 20
    assert all(width > 100 and alt for width, alt in pictures)
    saved = browser.value(
        "[...document.querySelectorAll('a[download]')].map(a => [a.download, a.href])"
    )
    names = {name for name, _ in saved}
    assert {"table1.tsv", "table2.tsv", "models.tsv", "cohort.tsv", "sensitivity.tsv"} <= names
    for name, href in saved:
        text = base64.b64decode(href.partition(",")[2]).decode()
        assert "\t" in text.splitlines()[0], name


@pytest.mark.slow
def test_the_tables_of_the_study_are_on_the_page(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    text = browser.value("document.body.innerText").replace("\N{MINUS SIGN}", "-")
    assert "9.0 (-28.0 to 46.1)" in text
    assert "8.40 (0.41 to 16.40)" in text
    assert "do not show what causes what" in text
