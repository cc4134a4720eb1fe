"""Dictionaries of the tables whose columns need no more than a sentence, for their sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_qsmthal.participant import lesion_iron

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SENSITIVITY: Mapping[str, Any] = {
    "choice": {
        "Description": "What was chosen otherwise than in the run; one thing at a time.",
        "Levels": {
            "default": "nothing: the number as reported",
            "rim": "the rim of partial volume of the thalamus",
            "veins": "which veins the thalamus is measured without",
            "lesions": "lesions within the thalamus",
            "reference": "the region that the number is relative to",
            "rules": "every rule of the regions as by default, where options changed them",
            "background": "the background removal",
        },
    },
    "variant": {"Description": "What was taken in its place."},
    "hemisphere": {
        "Description": "Side of the thalamus.",
        "Levels": {"L": "left", "R": "right", "LR": "both, all voxels together"},
    },
    "value": {
        "Description": "Mean susceptibility of the thalamus less that of the reference.",
        "Units": "ppb",
    },
    "difference": {"Description": "The value less that of the default.", "Units": "ppb"},
    "unit": {"Description": "Unit of value and difference."},
    "n_voxels": {"Description": "Voxels of the thalamus that were averaged."},
}
"""Of the table of choices."""

ACQUISITION: Mapping[str, Any] = {
    "parameter": {
        "Description": "What the QSM consensus asks to report of a scan and its reconstruction "
        "(doi 10.1002/mrm.30006)."
    },
    "value": {"Description": "Its value; n/a where no sidecar says it."},
    "unit": {"Description": "Unit of the value."},
    "from": {
        "Description": "Who says it.",
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
    "id": {"Description": "Number of the connected part of the mask, in this table alone."},
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
