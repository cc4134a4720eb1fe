"""Every choice a user has: one frozen value, made once, whose parts go to the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of the dataset is wanted; nothing named means everything."""

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The budget of a whole run.

    Attributes
    ----------
    cores
        Processor cores for all participants together.
    threads
        Threads of one participant; 0 shares the cores among those that run side by side.
    memory_bytes
        Memory for all participants together.
    """

    cores: int
    threads: int
    memory_bytes: int

    def side_by_side(self, participants: int) -> int:
        """Return how many participants run at once."""
        by_memory = max(1, self.memory_bytes // PARTICIPANT_BYTES)
        by_cores = max(1, self.cores // max(1, self.threads))
        return max(1, min(participants, by_memory, by_cores))

    def threads_each(self, participants: int) -> int:
        """Return how many threads each of them has."""
        return self.threads or max(1, self.cores // self.side_by_side(participants))


PARTICIPANT_BYTES = 4 * GIB
"""Upper bound on the memory of one participant at the study's matrix (measured: 3 GiB)."""
