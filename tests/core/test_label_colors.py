"""Colours of labels: told apart where they can be, both sides alike, and those of the figures."""

import numpy as np
import pytest

from bids_qsmthal.core import colors
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import ATLAS, TABLE
from bids_qsmthal.participant import label_tables
from bids_qsmthal.report import anatomy_figures


def test_both_sides_of_a_structure_share_its_color_and_no_other_has_it() -> None:
    shown = colors.of_labels(ATLAS.labels)
    for row in ATLAS.rows:
        assert {shown[number] for number in row.indices} == {row.color}
    assert len(set(shown.values())) == len(ATLAS.rows)


def test_regions_that_nobody_knows_take_the_colors_that_are_left() -> None:
    names = {1: "Left-Thalamus", 2: "tract_a_L", 3: "tract_a_R", 4: "tract_b"}
    shown = colors.of_labels(names)
    assert shown[1] == TABLE.structure("thalamus").color
    assert shown[2] == shown[3]
    assert len({shown[1], shown[2], shown[4]}) == 3
    # More than the palette holds: every one has a colour all the same.
    many = colors.of_labels({number: f"lesion_{number}" for number in range(1, 40)})
    assert len(many) == 39
    assert all(many[number] != many[number + 1] for number in range(1, 39))


@pytest.mark.parametrize("present", [(1, 2, 3), (2,), (3, 1)])
def test_a_figure_has_the_colors_of_the_table(present: tuple[int, ...]) -> None:
    names = {1: "alpha", 2: "beta", 3: "gamma"}
    data = np.zeros((4, 4, 4), np.int16)
    data[0, 0, : len(present)] = present
    drawn = anatomy_figures._label_overlays(Image(data, np.eye(4)), names, str)
    table = label_tables.of_names(names).set_index("index")["color"]
    assert {one.value: one.color for one in drawn} == {n: table[n] for n in present}
