"""Colours of labels: the same in figures, in the page's legends and in the tables beside images."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core.labels import TABLE, region

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The Okabe-Ito colours, told apart by readers of every kind of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#00B98A", "#F0E442"
BLUE, VERMILION, PURPLE, WHITE = "#0072B2", "#FF6A13", "#CC79A7", "#FFFFFF"
LIME = "#9AE63C"
"""A ninth colour, lighter than green and greener than yellow."""

PALETTE: Final = (
    *(ORANGE, SKY, GREEN, YELLOW, "#4C8DFF", VERMILION),
    *(PURPLE, "#B8B8B8", "#9A6A00", "#A4E0FF", "#7CE0B8", "#B59CFF"),
)
"""For structures without a colour of their own, in this order."""

TISSUES: Final = {1: SKY, 2: ORANGE, 3: GREEN}
"""Gray matter, white matter, CSF."""

THALAMI: Final = {1: YELLOW, 2: PURPLE}
"""The left and the right thalamus as measured."""


def of_regions(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each region: its own, or else the next that no other one has."""
    wanted = list(dict.fromkeys(names))
    colors = {name: TABLE.colors[name] for name in wanted if name in TABLE.colors}
    free = [color for color in PALETTE if color not in colors.values()] or list(PALETTE)
    others = [name for name in wanted if name not in colors]
    # Not strict: the cycle never ends, so more regions than colours share some.
    return colors | dict(zip(others, itertools.cycle(free), strict=False))


def of_labels(names: Mapping[int, str]) -> dict[int, str]:
    """Return the colour of each label by its name; left and right of a structure share it."""
    regions = {number: region(number, names).name for number in names}
    colors = of_regions(regions.values())
    return {number: colors[name] for number, name in regions.items()}
