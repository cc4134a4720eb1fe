"""Lesions on FLAIR, enhancing lesions after gadolinium, and a reader's edits of both."""

from bids_qsmthal.lesions.context import Context
from bids_qsmthal.lesions.enhancing import Enhancement, find_enhancing
from bids_qsmthal.lesions.external_masks import enhancement_of, lesions_of_mask
from bids_qsmthal.lesions.flair import Lesions, segment_flair
from bids_qsmthal.lesions.growth import edited_mask, grow, seeds_at
from bids_qsmthal.lesions.settings import EnhancingLesions, FlairLesions
from bids_qsmthal.lesions.table import LOCATIONS, lesion_table

__all__ = [
    "LOCATIONS",
    "Context",
    "Enhancement",
    "EnhancingLesions",
    "FlairLesions",
    "Lesions",
    "edited_mask",
    "enhancement_of",
    "find_enhancing",
    "grow",
    "lesion_table",
    "lesions_of_mask",
    "seeds_at",
    "segment_flair",
]
