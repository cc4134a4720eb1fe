"""The overview of quality: each measure's distribution, with each person findable."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.group import overview
from bids_qsmthal.group.overview import Overview, ParticipantStrip
from tests.report.browser import Browser

PEOPLE = 5000


def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return checks, measures and decisions of two scans; the second lacks a number."""
    names = ["scan", "name", "value", "unit", "threshold", "verdict"]
    checks = pd.DataFrame(
        [
            ("sub-1", "snr", "95.1", "1", "check < 20", "include"),
            ("sub-2", "snr", "12.0", "1", "check < 20", "check"),
            ("sub-1", "anatomy", "n/a", "n/a", "n/a", "check"),
            ("sub-1", "chi_relative_csf_ppb", "-30.0", "ppb", "check > 44", "include"),
        ],
        columns=names,
    )
    rows = [
        ("sub-1", "chi_relative_csf", "thalamus", "LR", -30.123456789),
        ("sub-1", "chi_relative_csf", "thalamus", "L", -31.0),
        ("sub-2", "chi_relative_csf", "thalamus", "LR", np.nan),
        ("sub-1", "volume", "thalamus", "LR", 13978.0),
        ("sub-2", "volume", "lesion", None, 2000.0),
    ]
    measures = pd.DataFrame(rows, columns=["scan", "measure", "region", "hemisphere", "value"])
    measures = measures.assign(participant_id=measures["scan"], session_id="n/a", run_id="n/a")
    decided = pd.DataFrame(
        {"participant_id": ["sub-2"], "session_id": "n/a", "run_id": "n/a", "decision": "exclude"}
    )
    return checks, measures, decided


def test_each_result_and_each_check_with_a_number_is_a_strip_and_no_number_stands_twice() -> None:
    shown = overview.gather(*tables())
    by_title = {strip.title: strip for strip in shown.strips}
    chi = by_title["Relative susceptibility of both thalami"]
    assert dict(chi.by_scan) == {"sub-1": -30.1235}
    assert dict(by_title["Volume of both thalami on T1w"].by_scan) == {"sub-1": 13.978}
    assert dict(by_title["T2 lesion volume"].by_scan) == {"sub-2": 2.0}
    snr = by_title["Signal-to-noise ratio of the first echo"]
    assert (snr.unit, snr.limit) == ("", "check < 20")
    assert dict(snr.by_scan) == {"sub-1": 95.1, "sub-2": 12.0}
    assert dict(snr.flagged) == {"sub-2": "check"}
    # Notes without a number have no place on an axis; the number itself is there once.
    assert len(shown.strips) == 5
    assert dict(shown.decisions) == {"sub-1": "include", "sub-2": "exclude"}


def test_a_label_cannot_end_the_data_of_the_page(tmp_path: Path) -> None:
    hostile = "</script><script>document.title = 'taken'</script>"
    strip = ParticipantStrip(title=hostile, unit="", limit="", by_scan={"sub-1": 1.0}, flagged={})
    path = overview.write(tmp_path, Overview(strips=(strip,), decisions={"sub-1": "include"}))
    text = path.read_text()
    assert text.count("</script>") == 2
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["strips"][0]["title"] == hostile


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overview of thousands; sub-0007 lies in the middle of the first strip."""
    rng = np.random.default_rng(7)
    scans = [f"sub-{number:04d}" for number in range(PEOPLE)]
    drawn = [np.round(rng.normal(-30, 12, PEOPLE), 3) for _ in range(25)]
    drawn[0] = np.arange(PEOPLE, dtype=float)
    drawn[0][7], drawn[0][2500] = 2500.0, 7.0
    drawn[0][4000] = 9999.0  # alone: a mouse has whole pixels, and others lie three to a pixel
    strips = [
        ParticipantStrip(
            title=f"measure {number}",
            unit="ppb",
            limit="check > 0",
            by_scan=dict(zip(scans, values.tolist(), strict=True)),
            flagged={"sub-0003": "check"} if number == 1 else {},
        )
        for number, values in enumerate(drawn)
    ]
    decisions = dict.fromkeys(scans, "include") | {"sub-0003": "check"}
    shown = Overview(strips=tuple(strips), decisions=decisions)
    return overview.write(tmp_path_factory.mktemp("overview"), shown)


HERE = "document.querySelector('.strip .here').textContent"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_thousands_of_scans_are_drawn_and_one_is_found_by_its_label(
    browser: Browser, many: Path, width: int
) -> None:
    browser.open(many, width)
    assert browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.value("find.value = 'sub-0007'; find.dispatchEvent(new Event('input'))")
    assert browser.value(HERE) == "sub-0007: 2500, place 2501 of 5000"
    assert browser.value("document.querySelectorAll('.strip').length") == 25
    report = "document.getElementById('report').getAttribute('href')"
    assert browser.value(report) == "../sub-0007.html"
    browser.value("find.value = 'nobody'; find.dispatchEvent(new Event('input'))")
    assert browser.value("document.getElementById('report').hidden")
    assert browser.value(HERE) == ""


@pytest.mark.slow
def test_keys_go_from_one_scan_to_the_next_and_a_click_takes_the_nearest(
    browser: Browser, many: Path
) -> None:
    browser.open(many, 1280)
    browser.value("document.querySelector('.strip').focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.value(HERE) == "sub-0002: 2, place 3 of 5000"
    browser.press("ArrowLeft")
    assert browser.value(HERE) == "sub-0001: 1, place 2 of 5000"
    browser.value(
        """(() => { const canvas = document.querySelector('.strip canvas');
        const box = canvas.getBoundingClientRect();
        const place = position(rows[0], 'sub-4000', box.width, box.height);
        canvas.dispatchEvent(new MouseEvent('click',
          {clientX: box.left + place[0], clientY: box.top + place[1]})); })()"""
    )
    assert browser.value(HERE) == "sub-4000: 9999, place 5000 of 5000"


@pytest.mark.slow
def test_the_link_of_a_report_opens_the_page_with_its_scan_marked(
    browser: Browser, many: Path
) -> None:
    browser.open(many, 1280)
    browser.value(
        """new Promise(done => {
          addEventListener('hashchange', () => done(), {once: true});
          location.hash = '#sub-0003';
        })"""
    )
    second = "document.querySelectorAll('.strip .here')[1].textContent"
    assert browser.value(second).endswith("(check)")
    assert browser.value("document.getElementById('said').textContent") == "sub-0003: check"
