"""Colours of labels: the same in figures, in the page's legends and in the tables beside images."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core.labels import TABLE, region

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

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

# The other classes that figures and viewers outline, each in one colour wherever it is shown.
BRAIN, CSF_REFERENCE, VEINS = ORANGE, SKY, VERMILION
LESIONS, ENHANCING = GREEN, ORANGE
RIMS = "#4C8DFF"
"""Lighter than ``BLUE``, which is hardly seen on dark tissue."""


def of_regions(names: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Return the colour of each region: its own, or else the next that no other one has.

    ``taken`` are colours of others.
    """
    wanted = list(dict.fromkeys(names))
    colors = {name: TABLE.colors[name] for name in wanted if name in TABLE.colors}
    used = {*colors.values(), *taken}
    free = [color for color in PALETTE if color not in used] or list(PALETTE)
    others = [name for name in wanted if name not in colors]
    # Not strict: the cycle never ends, so more regions than colours share some.
    return colors | dict(zip(others, itertools.cycle(free), strict=False))


def of_labels(names: Mapping[int, str], given: Mapping[int, str] | None = None) -> dict[int, str]:
    """Return the colour of each label: the one that is given, or else by its name.

    By name left and right of a structure share one.
    """
    own = given or {}
    regions = {number: region(number, names).name for number in names if number not in own}
    colors = of_regions(regions.values(), own.values())
    return {number: own[number] if number in own else colors[regions[number]] for number in names}
