"""The page of a participant over several visits."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.image import Image
from bids_qsmthal.report import (
    ChangeReport,
    LesionStep,
    VisitShown,
    change_page,
    lesion_figures,
    render,
)
from bids_qsmthal.report.change_figures import COURSES, course, gallery
from bids_qsmthal.report.page import Flicker

SHAPE = (40, 44, 36)
GRID = lattice(1.0, (-20.0, -22.0, -18.0))
IRON, THALAMUS = COURSES[:2]


def _image(data):
    return Image(np.asarray(data), GRID)


def _row(pair, what, change, error, value=0.0):
    certain = "n/a" if math.isnan(error) else "yes" if abs(change) > 1.96 * error else "no"
    return {
        "session_from": f"ses-{pair[0]}",
        "session_to": f"ses-{pair[1]}",
        "measure": what.measure,
        "region": what.region,
        "hemisphere": what.hemisphere,
        "variant": "default" if what is IRON else None,
        "value": value,
        "change": change,
        "change_se": error,
        "change_ci_low": change - 1.96 * error,
        "change_ci_high": change + 1.96 * error,
        "change_percent": 100 * change / value if value else math.nan,
        "reliable": certain,
    }


@pytest.fixture
def table():
    """Four visits: neighbours, and the first with the last, as the comparison makes them."""
    rows = [
        *(_row(pair, IRON, 2.0, 1.5) for pair in ("ab", "bc", "cd")),
        _row("ad", IRON, 5.0, 2.0),
        _row("ab", THALAMUS, -100.0, 40.0, 10_000.0),
        _row("bc", THALAMUS, -120.0, 40.0, 10_000.0),
        _row("cd", THALAMUS, -130.0, 40.0, 10_000.0),
        _row("ad", THALAMUS, -400.0, 30.0, 10_000.0),
    ]
    other = _row("ad", IRON, 99.0, 1.0) | {"variant": "pdf"}
    return pd.DataFrame([other, *rows])


SESSIONS = ["ses-a", "ses-b", "ses-c", "ses-d"]


def test_a_course_takes_the_pair_with_the_first_visit_and_else_adds_the_steps(table):
    found = course(table, IRON, SESSIONS)
    assert found.change.tolist() == [0.0, 2.0, 4.0, 5.0]
    errors = [0.0, 1.5, 1.5 * 2**0.5, 2.0]
    assert found.half_width.tolist() == pytest.approx([1.96 * one for one in errors], rel=1e-4)


def test_a_course_in_percent_has_its_interval_in_percent(table):
    found = course(table, THALAMUS, SESSIONS)
    assert found.change.tolist() == pytest.approx([0.0, -1.0, -2.2, -4.0])
    assert found.half_width[-1] == pytest.approx(1.96 * 0.3, rel=1e-4)


def test_a_course_ends_where_a_visit_has_no_number(table):
    gone = table[(table["session_to"] != "ses-c") & (table["session_from"] != "ses-c")]
    found = course(gone, IRON, SESSIONS)
    np.testing.assert_array_equal(np.isnan(found.change), [False, False, True, False])
    assert course(table[table["measure"] != IRON.measure], IRON, SESSIONS) is None


LESION = np.zeros(SHAPE, np.uint8)
LESION[10:13, 20:23, 15:18] = 1
LESION[28:30, 12:14, 20:22] = 1


def _step(source="bids_qsmthal", changes=LESION, *, by_flair=False, **counts):
    bright = _image(np.where(changes > 0, 300.0, 100.0).astype(np.float32))
    return LesionStep(
        session_from="ses-a",
        session_to="ses-b",
        changes=_image(changes),
        counts={"new": 2, "larger": 0, "smaller": 0, "vanished": 0} | counts,
        later=bright,
        earlier=_image(np.full(SHAPE, 100, np.float32)),
        to_earlier=np.eye(4),
        scan="FLAIR",
        source=source,
        by_flair=by_flair,
        edit="OUTPUT_DIR/edits/sub-01/ses-b/anat/x.nii.gz",
    )


def _report(table, *steps):
    brain = _image(np.ones(SHAPE, np.uint8))
    t1w = _image(np.random.default_rng(1).normal(1, 0.1, SHAPE).astype(np.float32))
    visits = [
        VisitShown(
            session_id=session,
            day=f"202{number}-03-01",
            years=float(number),
            t1w=t1w,
            pages=[f"sub-01_{session}.html"],
        )
        for number, session in enumerate(SESSIONS)
    ]
    return ChangeReport(
        participant_id="sub-01",
        visits=visits,
        table=table,
        outlines={"brain": brain},
        steps=steps,
        proposed_by="bids_qsmthal",
    )


def _counted(table, new):
    row = _row("ab", IRON, float(new), math.nan) | {"measure": "new_count", "region": "lesion"}
    return pd.concat([table, pd.DataFrame([row])])


def test_the_page_says_why_no_change_is_called_reliable(table):
    assert change_page(_report(table, _step())).warnings == []
    # As the comparison writes rows of visits with other voxels: an interval, and no judgement.
    unjudged = table.assign(reliable=table["reliable"].where(table["region"] != "thalamus", "n/a"))
    (notice,) = change_page(_report(unjudged, _step())).warnings
    assert "different voxel sizes" in notice.text
    # A change without a known error is no reason to say so.
    assert change_page(_report(_counted(table, 2), _step())).warnings == []


def test_the_page_says_what_changed_from_the_first_visit_to_the_last(table):
    page = change_page(_report(_counted(table, 2), _step()))
    tiles = {tile.label: (tile.value, tile.note) for tile in page.summary}
    assert tiles["Thalamus, susceptibility"] == (
        "+5.0 ppb",
        "95 % interval 1.1 to 8.9 ppb; reliable",
    )
    assert tiles["Thalamus, volume"][0] == "\N{MINUS SIGN}4.0 %"
    assert tiles["New lesions"] == ("2", "proposed, for a reader to confirm")
    assert page.links == [(f"sub-01_{one}", f"sub-01_{one}.html") for one in SESSIONS]
    flickers = [b for section in page.sections for b in section.blocks if isinstance(b, Flicker)]
    assert [one.title for one in flickers] == [
        "ses-a and ses-b",
        "ses-b and ses-c",
        "ses-c and ses-d",
    ]
    html = render(page)
    assert "OUTPUT_DIR/edits/sub-01/ses-b/anat/x.nii.gz" in html
    assert "Lesions: 2 new, 0 vanished from ses-a to ses-b, proposed by the comparison" in html
    # The other background removal is in the whole table and nowhere else.
    assert not any("99.0" in tile.value for tile in page.summary)


def test_what_a_reader_decided_is_no_proposal(table):
    page = change_page(
        _report(_counted(table, 0), _step("manual edit", LESION * 2, new=0, larger=2, vanished=1))
    )
    assert {tile.label: tile.note for tile in page.summary}["New lesions"] == "by a reader"
    html = render(page)
    assert "Lesions: 0 new, 2 larger, 0 smaller, 1 vanished from ses-a to ses-b, by man" in html
    # The reader may change their mind.
    assert "OUTPUT_DIR/edits/sub-01/ses-b/anat/x.nii.gz" in html


def test_where_nothing_is_new_nothing_is_to_confirm(table):
    none = _step(changes=np.zeros(SHAPE, np.uint8), new=0)
    html = render(change_page(_report(_counted(table, 0), none)))
    assert "Lesions: 0 new, 0 vanished from ses-a to ses-b" in html
    assert "To confirm" not in html


def test_the_gallery_shows_each_lesion_with_its_place_the_largest_first():
    content = gallery(_step())
    assert content.alt == "2 lesions in three planes at two visits."
    assert "The later" not in content.caption
    assert gallery(_step(changes=np.zeros(SHAPE, np.uint8))) is None


def test_a_lesion_that_vanished_is_for_a_reader_and_is_outlined_where_it_was(table, monkeypatch):
    step = _step(changes=4 * LESION, new=0, vanished=2)
    html = render(change_page(_report(_counted(table, 0), step)))
    assert "Lesions: 0 new, 2 vanished from ses-a to ses-b, proposed" in html
    assert "(1 new, 2 larger, 3 smaller, 4 vanished, 0 none of these)" in html
    outlined = []
    draw = lesion_figures.draw

    def drawn(axes, where, picture, outline):
        outlined.append(outline is not None)
        draw(axes, where, picture, outline)

    monkeypatch.setattr(lesion_figures, "draw", drawn)
    # Rows of six pictures: three of the earlier visit, three of the later one.
    assert b"vanished" in gallery(step).content
    assert outlined == 2 * [True, True, True, False, False, False]
    outlined.clear()
    assert b"new" in gallery(_step()).content
    assert outlined == 2 * [False, False, False, True, True, True]


def test_the_gallery_looks_at_the_place_of_the_earlier_visit():
    """A point of the later visit is shown where it lies in the earlier one."""
    moved = np.eye(4)
    moved[0, 3] = 8.0
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[10:13, 20:23, 15:18] = 1
    later = np.random.default_rng(3).uniform(50, 300, SHAPE).astype(np.float32)
    there = np.roll(later, 8, axis=0)
    step = replace(_step(changes=lesion, new=1), later=_image(later), earlier=_image(there))
    same = replace(step, to_earlier=moved)
    away = replace(same, to_earlier=np.eye(4))
    pictures = [re.findall(rb"base64,([^\"]+)", gallery(one).content) for one in (same, away)]
    # The first three are the earlier visit, the others the later one.
    assert pictures[0][:3] != pictures[1][:3]
    assert pictures[0][3:] == pictures[1][3:]
    assert len(pictures[0]) == 6
    # Moved right, the earlier picture is the later one without its outline.
    assert pictures[0][:3] == pictures[0][3:]
