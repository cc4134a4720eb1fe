"""Why somebody is left out or doubtful: a code with its data, and the one place of its words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Code(StrEnum):
    """What keeps a scan, a session, a participant or a variable out, or makes it doubtful."""

    NONE = "none"
    NOT_FINISHED = "not_finished"
    FAILED = "failed"
    NOT_IN_MANIFEST = "not_in_manifest"
    CHANGED = "changed"
    NOT_IN_DATASET = "not_in_dataset"
    SEVERAL_ACQUISITIONS = "several_acquisitions"
    UNUSABLE_MEASURES = "unusable_measures"
    FAILED_CHECKS = "failed_checks"
    READER = "reader"
    SESSION_EXCLUDED = "session_excluded"
    NO_SUCH_SESSION = "no_such_session"
    NO_MEASURE = "no_measure"
    NO_COLUMN = "no_column"


SENTENCES = {
    Code.NONE: "n/a",
    Code.NOT_FINISHED: "no finished run: logs/{0} is not there or not complete; run the "
    "participant level again",
    Code.FAILED: "the last run of {0} failed (logs/failures.json), so these results are from an "
    "earlier one; run the participant level again",
    Code.NOT_IN_MANIFEST: "{0} is from an earlier run: the manifest of the last one does not list "
    "it; remove it, or run the participant level again",
    Code.CHANGED: "{0} is not as the last run wrote it (checksum); run the participant level again",
    Code.NOT_IN_DATASET: "the dataset has no images of {0} any more: renamed or withdrawn; remove "
    "its results, or give the dataset that has them",
    Code.SEVERAL_ACQUISITIONS: "{0} are different acquisitions, which are not averaged; exclude "
    "all but one in edits/exclusions.tsv",
    Code.UNUSABLE_MEASURES: "quality control: {0}",
    Code.FAILED_CHECKS: "{0}",
    Code.READER: "{0}",
    Code.SESSION_EXCLUDED: "{0}, the session that the analysis asks for, is excluded or outside "
    "the filter; choose another with 'Session' in the analysis file",
    Code.NO_SUCH_SESSION: "no usable session {0}",
    Code.NO_MEASURE: "no participant has the measure {0}",
    Code.NO_COLUMN: "no column {0} in participants.tsv, sessions.tsv or phenotype/",
}

SUMMARIES = {
    Code.NOT_FINISHED: "no finished run",
    Code.FAILED: "the last run failed",
    Code.NOT_IN_MANIFEST: "tables of an earlier run",
    Code.CHANGED: "tables changed since the last run",
    Code.NOT_IN_DATASET: "no images in the dataset any more",
    Code.SEVERAL_ACQUISITIONS: "several acquisitions in a session",
}
"""The same of many participants, each of whom has names of their own in the sentence."""

SEPARATORS = {Code.FAILED_CHECKS: "; ", Code.NO_COLUMN: " or "}
"""What stands between several names; a comma where nothing is said."""

MOST_MEASURES = 4
"""So many names are read at a glance; more are counted."""


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """A code and what it is about: names of files, measures, sessions, or what a reader wrote."""

    code: Code
    about: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The reason as tables and the page give it; ``n/a`` where there is none.

        >>> Reason(Code.UNUSABLE_MEASURES, ("chi", "volume")).text
        'quality control: chi, volume'
        """
        names = SEPARATORS.get(self.code, ", ").join(self.about)
        if self.code == Code.UNUSABLE_MEASURES and len(self.about) > MOST_MEASURES:
            names = f"{len(self.about)} measures"
        return SENTENCES[self.code].format(names)

    @property
    def common(self) -> Reason:
        """What is the same for everybody with this kind of reason."""
        # Without what differs between people, equal reasons compare and hash as equal.
        return Reason(self.code) if self.code in SUMMARIES else self

    @property
    def summary(self) -> str:
        """The reason as it stands over a count of participants."""
        return SUMMARIES.get(self.code, self.text)


NO_REASON = Reason(Code.NONE)


def shortened(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are.

    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
