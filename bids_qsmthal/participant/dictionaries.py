"""Dictionaries of the tables whose columns need no more than a sentence, for their sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_qsmthal.participant import lesion_iron

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SENSITIVITY: Mapping[str, Any] = {
    "choice": {
        "Description": "Choice that differs from the run; one at a time.",
        "Levels": {
            "default": "nothing: the number as reported",
            "rim": "the rim of partial volume of the thalamus",
            "veins": "which veins the thalamus is measured without",
            "lesions": "lesions within the thalamus",
            "reference": "the region that the number is relative to",
            "rules": "all rules for the regions at their defaults, where options changed them",
            "background": "the background removal",
        },
    },
    "variant": {"Description": "What was used instead."},
    "hemisphere": {
        "Description": "Side of the thalamus.",
        "Levels": {"L": "left", "R": "right", "LR": "both, all voxels together"},
    },
    "value": {
        "Description": "Mean susceptibility of the thalamus minus that of the reference.",
        "Units": "ppb",
    },
    "difference": {"Description": "The value minus that of the default.", "Units": "ppb"},
    "unit": {"Description": "Unit of value and difference."},
    "n_voxels": {"Description": "Voxels of the thalamus that were averaged."},
}
"""Of the table of choices."""

ACQUISITION: Mapping[str, Any] = {
    "parameter": {
        "Description": (
            "What the QSM consensus asks authors to report about a scan and its reconstruction "
            "(doi 10.1002/mrm.30006)."
        )
    },
    "value": {"Description": "Its value; n/a where no sidecar gives it."},
    "unit": {"Description": "Unit of the value."},
    "from": {
        "Description": "Where the value comes from.",
        "Levels": {
            "image header": "header of the images",
            "sidecar": "JSON files beside the images",
            "data": "found in the images",
            "this run": "options and defaults of the run",
        },
    },
}
"""Of the table of the acquisition."""


_LESIONS: Mapping[str, Any] = {
    **lesion_iron.DICTIONARY,
    # This table has a row for each connected part, also where lesions run together.
    "id": {"Description": "Number of the connected part of the mask, valid in this table only."},
    "corrected_mm3": {
        "Description": "Volume without the bias of the outline: twice the volume of the mask minus "
        "that of the mask outlined again in a scan of the same slices and noise.",
        "Units": "mm3",
    },
    "peak_sd": {
        "Description": "Largest signal beyond what the image before contrast agent predicts, in "
        "standard deviations of this difference in white matter."
    },
}


def lesions(columns: Iterable[str]) -> dict[str, Any]:
    """Return what the columns of a table of lesions mean."""
    return {column: _LESIONS[column] for column in columns}
