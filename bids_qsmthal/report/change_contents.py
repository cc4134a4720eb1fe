"""What the page of change shows, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine, Image


CHANGE_WORDS: Mapping[int, str] = {1: "new", 2: "larger", 3: "smaller", 4: "vanished"}
"""The numbers of the image of lesion changes, as the page calls them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisitShown:
    """One visit.

    Attributes
    ----------
    session_id
        Such as ``ses-01``.
    day
        Of its scans, such as 2020-03-01; empty where it is not known.
    years
        Since the first visit; NaN where it is not known.
    t1w
        On the grid of the frame, of the intensity that all visits share.
    pages
        Addresses of its own pages.
    """

    session_id: str
    day: str
    years: float
    t1w: Image
    pages: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionStep:
    """The lesion changes from one visit to the next.

    Attributes
    ----------
    session_from, session_to
        The visits.
    changes
        Numbers of ``CHANGE_WORDS``, on the grid of the later visit's T1w.
    counts
        How many lesions are so, by these words.
    later, earlier
        The scan that shows lesions, of each visit; each in the world of its own T1w.
    to_earlier
        4x4, a point of the later T1w's world in that of the earlier one.
    scan
        Which scan that is: FLAIR, or T1w where there is no FLAIR.
    source
        Who decided.
    by_flair
        Whether the FLAIR of both visits were compared, and not two masks alone.
    edit
        Where a corrected image goes.
    """

    session_from: str
    session_to: str
    changes: Image
    counts: Mapping[str, int]
    later: Image
    earlier: Image
    to_earlier: Affine
    scan: str
    source: str
    by_flair: bool
    edit: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeReport:
    """A participant over several visits.

    Attributes
    ----------
    participant_id
        Such as ``sub-01``.
    visits
        In the order of time.
    table
        The table of change.
    outlines
        Masks in the frame, by name, the brain first.
    steps
        Lesion changes of neighbouring visits.
    proposed_by
        The source of changes that no reader has looked at.
    versions, command
        What made the page.
    """

    participant_id: str
    visits: Sequence[VisitShown]
    table: pd.DataFrame
    outlines: Mapping[str, Image]
    steps: Sequence[LesionStep]
    proposed_by: str
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
