"""Names of regions: what a label index means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Region(NamedTuple):
    """A region and its side: ``L``, ``R``, or ``n/a`` for a structure on the midline."""

    name: str
    hemisphere: str


THALAMUS = {"L": 10, "R": 49}
LATERAL_VENTRICLE = {"L": 4, "R": 43}

FREESURFER: Mapping[int, Region] = {
    10: Region("thalamus", "L"),
    49: Region("thalamus", "R"),
    11: Region("caudate", "L"),
    50: Region("caudate", "R"),
    12: Region("putamen", "L"),
    51: Region("putamen", "R"),
    13: Region("pallidum", "L"),
    52: Region("pallidum", "R"),
    17: Region("hippocampus", "L"),
    53: Region("hippocampus", "R"),
    18: Region("amygdala", "L"),
    54: Region("amygdala", "R"),
    26: Region("accumbens", "L"),
    58: Region("accumbens", "R"),
    4: Region("lateral_ventricle", "L"),
    43: Region("lateral_ventricle", "R"),
    14: Region("third_ventricle", "n/a"),
    15: Region("fourth_ventricle", "n/a"),
    16: Region("brain_stem", "n/a"),
}
"""FreeSurfer's indices (FreeSurferColorLUT.txt) for the structures this package knows."""

_SIDE = {"left": "L", "lh": "L", "l": "L", "right": "R", "rh": "R", "r": "R"}
_SYNONYM = {"rednucleus": "red_nucleus", "substantianigra": "substantia_nigra"}


def region(index: int, names: Mapping[int, str]) -> Region:
    """Return the region of a label; ``names`` (``Left-Red-Nucleus``, say) win over FreeSurfer's."""
    if index in names:
        return parsed(names[index])
    return FREESURFER.get(index, Region(f"label_{index}", "n/a"))


def parsed(name: str) -> Region:
    """Split a name into region and side, however the side is written.

    >>> parsed("Left-Thalamus-Proper")
    Region(name='thalamus', hemisphere='L')
    >>> parsed("dentate_R")
    Region(name='dentate', hemisphere='R')
    >>> parsed("3rd-Ventricle").hemisphere
    'n/a'
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    sides = [_SIDE[word] for word in words if word in _SIDE]
    rest = "_".join(word for word in words if word not in _SIDE and word not in {"proper", "area"})
    return Region(_SYNONYM.get(rest, rest), sides[0] if sides else "n/a")
