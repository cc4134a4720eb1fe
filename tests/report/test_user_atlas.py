"""A page shows the regions of a user's atlas where they lie, with their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core import colors
from bids_qsmthal.core.image import Image
from bids_qsmthal.report import AtlasMaps, Figure, ParticipantReport, Table, panels
from bids_qsmthal.report.anatomy_figures import NAMED, user_atlas
from bids_qsmthal.report.mosaic import Strip
from bids_qsmthal.report.participant_page import participant_page


def atlas_of(count: int, on: Image) -> AtlasMaps:
    """Return as many regions, each a slab from left to right."""
    labels = np.zeros(on.shape, np.int32)
    for number, part in enumerate(np.array_split(np.arange(on.shape[1]), count), start=1):
        labels[8:-8, part, 8:-8] = number
    names = {number: f"slab {number}" for number in range(1, count + 1)}
    table = pd.DataFrame({"region": list(names.values()), "lesion_share (1)": 0.25})
    return AtlasMaps(
        name="own",
        labels=on.like(labels),
        names=names,
        colors=colors.of_labels(names),
        table=table,
    )


@pytest.fixture
def with_atlas(full_report: ParticipantReport) -> ParticipantReport:
    assert full_report.anatomy.t1w is not None
    return replace(full_report, atlases=(atlas_of(4, full_report.anatomy.t1w),))


@pytest.mark.slow
def test_each_atlas_has_a_section_with_its_picture_and_its_table(
    with_atlas: ParticipantReport,
) -> None:
    sections = {one.title: one for one in participant_page(with_atlas).sections}
    blocks = sections["Atlas own"].blocks
    (table,) = (one for one in blocks if isinstance(one, Table))
    assert list(table.frame["region"]) == [f"slab {number}" for number in range(1, 5)]
    (picture,) = (one for one in blocks if isinstance(one, Figure))
    assert all(f"slab {number}" in picture.alt for number in range(1, 5))
    # Before the measures, which hold its rows.
    titles = list(sections)
    assert titles.index("Atlas own") < titles.index("Measures")


@pytest.mark.slow
def test_without_an_atlas_the_page_has_no_section_for_one(full_report: ParticipantReport) -> None:
    titles = [one.title for one in participant_page(full_report).sections]
    assert not any(title.startswith("Atlas") for title in titles)


def test_more_regions_than_a_legend_names_are_drawn_apart_and_without_one(
    with_atlas: ParticipantReport,
) -> None:
    anatomy = with_atlas.anatomy
    assert anatomy.t1w is not None
    few, many = (user_atlas(anatomy, atlas_of(count, anatomy.t1w)) for count in (NAMED, NAMED + 1))
    assert few is not None
    assert many is not None
    assert f"slab {NAMED}" in few.alt
    assert "slab" not in many.alt
    assert f"The {NAMED + 1} regions" in many.caption


def test_a_legend_has_the_names_and_colours_that_the_user_gave(
    with_atlas: ParticipantReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    anatomy = with_atlas.anatomy
    assert anatomy.t1w is not None
    names = {1: "GPe_LH", 2: "GPe_RH", 3: "STN-L", 4: "STN-R"}
    given = {1: "#112233", 2: "#112233", 3: "#445566", 4: "#778899"}
    own = replace(atlas_of(4, anatomy.t1w), names=names, colors=given)
    drawn: list[Strip] = []
    monkeypatch.setattr(panels, "figure", lambda strips, *_: drawn.extend(strips))
    user_atlas(anatomy, own)
    shown = {one.value: (one.name, one.color) for strip in drawn for one in strip.overlays}
    assert shown == {
        # Both sides in one colour are one entry; of others each side has its own.
        **dict.fromkeys((1, 2), ("GPe", "#112233")),
        3: ("STN-L", "#445566"),
        4: ("STN-R", "#778899"),
    }


def test_without_t1w_the_table_stands_alone(with_atlas: ParticipantReport) -> None:
    bare = replace(with_atlas, anatomy=replace(with_atlas.anatomy, t1w=None))
    assert user_atlas(bare.anatomy, with_atlas.atlases[0]) is None
    section = next(one for one in participant_page(bare).sections if one.title == "Atlas own")
    assert [type(one).__name__ for one in section.blocks] == ["Prose", "Table"]
