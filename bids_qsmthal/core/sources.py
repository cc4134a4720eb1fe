"""Who made a mask, a map or a number, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class ProgramName(StrEnum):
    """Programs whose results can take the place of ours."""

    FREESURFER = "FreeSurfer"
    FASTSURFER = "FastSurfer"
    SYNTHSEG = "SynthSeg"
    LST_AI = "LST-AI"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and what its files say of it.

    Attributes
    ----------
    description
        Name and version, such as ``FreeSurfer 7.4.1``; the name alone where nothing more is known.
    """

    name: ProgramName
    description: str

    def __str__(self) -> str:
        """Return the description."""
        return self.description


class Maker(Enum):
    """Who decided on the voxels."""

    OURS = "this app"
    READER = "a file below edits/"
    SEEDS = "grown from a reader's seeds"
    DATASET = "another program, or a dataset of the user"


@dataclass(frozen=True, slots=True)
class Source:
    """Who made something.

    Attributes
    ----------
    dataset
        The user's name of the dataset it was taken from; empty for the other makers.
    program
        The program that made the dataset; None where it is not known.
    corrected
        Whether a reader added to it or removed from it afterwards.
    """

    maker: Maker
    dataset: str = ""
    program: Program | None = None
    corrected: bool = False

    def __str__(self) -> str:
        """Return what tables call it."""
        if self.corrected:
            whole = Source(self.maker, self.dataset, self.program)
            return "manual edit of ours" if whole == OURS else f"{whole}, corrected"
        if self.maker is Maker.DATASET:
            return f"{self.dataset} ({self.program})" if self.program else self.dataset
        return _LABELS[self.maker]


_LABELS = {
    Maker.OURS: "bids_qsmthal",
    Maker.READER: "manual edit",
    Maker.SEEDS: "manual edit: seeds",
}

OURS = Source(Maker.OURS)
EDITED = Source(Maker.READER)
SEEDED = Source(Maker.SEEDS)


def dataset(name: str, program: Program | None = None) -> Source:
    """Return the source of what was taken from a dataset of the user."""
    return Source(Maker.DATASET, name, program)
