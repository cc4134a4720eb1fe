"""What a reader of the group page must know about the cohort, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What there is to know."""

    NO_COLUMN = "no_column"
    NO_MEASURE = "no_measure"
    NO_LOGS = "no_logs"
    POOLED_GROUPS = "pooled_groups"
    GROUPS_APART = "groups_apart"
    QUESTIONABLE = "questionable"
    ORDERED_BY_NAME = "ordered_by_name"
    NOT_FINITE = "not_finite"


# What there is to know, then what to do. Positions in braces are Concern.about, in order.
SENTENCES = {
    Kind.NO_COLUMN: (
        "{0}: {1}; models that need it are not fitted.",
        "Add the column, or name yours under 'Columns' in a copy of the analysis file and give "
        "it to --analysis.",
    ),
    Kind.NO_MEASURE: (
        "{0}: {1}; models that need it are not fitted.",
        "See the participants' reports for why it was not measured.",
    ),
    Kind.NO_LOGS: (
        "There are no logs of the participant level, so it is not known whether the tables of "
        "measures are complete and come from one run.",
        "Run the group level on the folder that the participant level wrote.",
    ),
    Kind.POOLED_GROUPS: (
        "The column {0} has several values among these participants ({1}), and no model tells "
        "them apart: the associations mix differences between groups with those within.",
        "Put the groups into the models, or leave all but one out with 'Filter'.",
    ),
    Kind.GROUPS_APART: (
        "The models are about {0} ({1} participants). The others ({2}) are only in models that "
        "name the groups.",
        "'Groups' in the analysis file says who is analysed and who is compared.",
    ),
    Kind.QUESTIONABLE: (
        "{0}: some values cannot be read or cannot be true ({1} taken as missing, {2} kept); see "
        "'Questionable values'.",
        "Correct the table, or declare codes, words and ranges in the analysis file.",
    ),
    Kind.ORDERED_BY_NAME: (
        "Several sessions have no dates to order them by ({0}): they are ordered by name.",
        "Give each session an acq_time of its own in sessions.tsv or in its scans.tsv.",
    ),
    Kind.NOT_FINITE: (
        "{0} has no value for {1} (zero has no logarithm: people without lesions, say). They are "
        "left out of {2}, whose result is about the others only.",
        "Say so where the result is reported, or choose a formula that takes zero, such as "
        "log(x + 0.1).",
    ),
}


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing to know, and what it is about."""

    kind: Kind
    about: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What there is to know, in words."""
        return SENTENCES[self.kind][0].format(*self.about)

    @property
    def advice(self) -> str:
        """What to do about it."""
        return SENTENCES[self.kind][1]
