"""The structures that are labelled: their numbers, their names, and what they lie beside."""

from __future__ import annotations

LABELS: dict[int, str] = {
    4: "Left-Lateral-Ventricle",
    10: "Left-Thalamus",
    11: "Left-Caudate",
    12: "Left-Putamen",
    13: "Left-Pallidum",
    14: "3rd-Ventricle",
    15: "4th-Ventricle",
    16: "Brain-Stem",
    17: "Left-Hippocampus",
    18: "Left-Amygdala",
    43: "Right-Lateral-Ventricle",
    49: "Right-Thalamus",
    50: "Right-Caudate",
    51: "Right-Putamen",
    52: "Right-Pallidum",
    53: "Right-Hippocampus",
    54: "Right-Amygdala",
}
"""FreeSurfer's numbers and names."""

REGION_NAMES: dict[int, tuple[str, str]] = {
    4: ("lateral_ventricle", "L"),
    43: ("lateral_ventricle", "R"),
    11: ("caudate", "L"),
    50: ("caudate", "R"),
    12: ("putamen", "L"),
    51: ("putamen", "R"),
    13: ("pallidum", "L"),
    52: ("pallidum", "R"),
    17: ("hippocampus", "L"),
    53: ("hippocampus", "R"),
    18: ("amygdala", "L"),
    54: ("amygdala", "R"),
    14: ("third_ventricle", ""),
    15: ("fourth_ventricle", ""),
    16: ("brainstem", ""),
}

CEREBRUM = (1, 2)
"""Its halves, left and right, among the regions."""

THALAMUS = (10, 49)
GRAY_NUCLEI = (11, 12, 13, 17, 18, 50, 51, 52, 53, 54)
GRAY_AT_WALLS = (*THALAMUS, 11, 17, 18, 50, 53, 54)
"""Gray structures that the ventricles touch."""
LATERAL_VENTRICLES = (4, 43)
MIDLINE_VENTRICLES = (14, 15)
VENTRICLES = (*LATERAL_VENTRICLES, *MIDLINE_VENTRICLES)
BRAINSTEM = 16
ENCLOSED = (*THALAMUS, 11, 12, 13, 50, 51, 52, 4, 43, 14)
"""What the cerebral cortex encloses beside white matter."""
NOT_CORTEX = (*ENCLOSED, 15, 16, 17, 18, 53, 54)
