"""Lesions on FLAIR, enhancing lesions after gadolinium, and a reader's edits of both."""

from bids_qsmthal.lesions.confluent import DistinctLesions, lesions_apart
from bids_qsmthal.lesions.context import Context
from bids_qsmthal.lesions.enhancing import Enhancement, find_enhancing
from bids_qsmthal.lesions.external_masks import enhancement_of, lesions_of_mask
from bids_qsmthal.lesions.flair import Lesions, segment_flair
from bids_qsmthal.lesions.flair_change import VisitFlair
from bids_qsmthal.lesions.growth import edited_mask, grow, seeds_at
from bids_qsmthal.lesions.new_lesions import (
    LesionChange,
    LesionsChanged,
    VisitLesions,
    lesion_changes,
    new_lesions,
)
from bids_qsmthal.lesions.settings import EnhancingLesions, FlairLesions
from bids_qsmthal.lesions.table import LOCATIONS, distinct_table, lesion_table

__all__ = [
    "LOCATIONS",
    "Context",
    "DistinctLesions",
    "Enhancement",
    "EnhancingLesions",
    "FlairLesions",
    "LesionChange",
    "Lesions",
    "LesionsChanged",
    "VisitFlair",
    "VisitLesions",
    "distinct_table",
    "edited_mask",
    "enhancement_of",
    "find_enhancing",
    "grow",
    "lesion_changes",
    "lesion_table",
    "lesions_apart",
    "lesions_of_mask",
    "new_lesions",
    "seeds_at",
    "segment_flair",
]
