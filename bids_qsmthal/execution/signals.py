"""Who hears Ctrl-C and SIGTERM, and when: the run does, what it started does not."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPPING = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def keyboard_left_to_the_run() -> Iterator[None]:
    """Keep Ctrl-C, which reaches every process of a terminal, from those started meanwhile.

    Threads and processes inherit what is blocked where they are started, from before their first
    line of Python on. The run hears it when this ends.
    """
    with _blocked(frozenset({signal.SIGINT})):
        yield


@contextmanager
def not_interrupted() -> Iterator[None]:
    """Put off being stopped while something is started whose name is needed to end it."""
    with _blocked(STOPPING):
        yield


@contextmanager
def _blocked(signals: frozenset[signal.Signals]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
