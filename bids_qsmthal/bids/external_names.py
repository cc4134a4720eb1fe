"""Names under which other tools, and a reader, write what a stage would make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_qsmthal.core.sources import Program, ProgramName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.bids.products import Space


# Its files name no version.
LST_AI = Program(ProgramName.LST_AI, ProgramName.LST_AI.value)


@dataclass(frozen=True, slots=True)
class Name:
    """How the name of a file ends, how it is read, in which space it is, and who writes it."""

    ending: str
    reading: str = "labels"
    space: Space = "T1w"
    program: Program | None = None


FREESURFER_LABELS = ("aseg", "aparcaseg", "synthseg", "wmhsynthseg", "samseg", "fastsurfer")
"""``desc-`` of label images with FreeSurfer's numbers (the first two are fMRIPrep's)."""

EXTERNAL_NAMES: Mapping[str, tuple[Name, ...]] = {
    "brain": (Name("desc-brain_mask"),),
    "tissue": (
        Name("dseg"),
        *(Name(f"desc-{desc}_dseg", "tissue") for desc in FREESURFER_LABELS),
    ),
    "deepgray": (
        Name("desc-deepgray_dseg"),
        *(Name(f"desc-{desc}_dseg", "deep gray") for desc in FREESURFER_LABELS),
        # A bare dseg is deep gray only where its table names thalami (see external._item).
        Name("dseg", "named structures"),
    ),
    # In the order of preference; masks of the lesions alone come before labels that hold them.
    "lesion": (
        *(Name(f"label-{label}_mask") for label in ("lesion", "WMH", "WML")),
        *(Name(f"desc-{desc}_mask") for desc in ("lesion", "lst")),
        Name("desc-lstai_mask", program=LST_AI),
        Name("desc-samseg_mask"),
        *(Name(f"desc-{desc}_dseg", "lesions") for desc in ("samseg", "wmhsynthseg")),
        *(Name(f"space-FLAIR_{what}_mask", space="FLAIR") for what in ("label-lesion", "desc-lst")),
        Name("space-FLAIR_desc-lstai_mask", space="FLAIR", program=LST_AI),
    ),
    "nuclei": (Name("desc-thalamicnuclei_dseg"),),
    "enhancing": (Name("label-enhancing_mask"),),
}
"""Names that other tools give the same thing."""


def _reader(what: str, suffix: str = "mask") -> tuple[Name, ...]:
    ending = f"label-lesion_desc-{what}_{suffix}"
    return (
        Name(f"space-FLAIR_{ending}", space="FLAIR"),
        Name(f"space-T1w_{ending}", space="T1w"),
    )


READER: Mapping[str, tuple[Name, ...]] = {
    "lesion_seeds": _reader("seeds"),
    "lesion_points": _reader("seeds", "points"),
    "lesion_add": _reader("add"),
    "lesion_remove": _reader("remove"),
}
"""A reader's decisions about lesions: where to grow them from, what to add and to take away."""

RELAXATION: Mapping[str, tuple[Name, ...]] = {
    "r2": (Name("R2map", space="MEGRE"),),
    "t2": (Name("T2map", space="MEGRE"),),
}
"""Maps that no stage makes, in the world of the gradient echo."""
