"""Which session of each participant is analysed: in the order of time, replaced only if asked."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.group.finished import SessionLeftOut
from bids_qsmthal.group.reasons import Code, Reason, shortened
from bids_qsmthal.group.table_reading import by_session

log = logging.getLogger(__name__)

KEY = ["participant_id", "session_id"]

WORDS = ("first", "last", "first usable", "last usable")
"""Of ``Session`` in an analysis file; anything else is the label of a session."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChosenSessions:
    """One session a participant, and who has none that will do."""

    frame: pd.DataFrame
    left_out: tuple[SessionLeftOut, ...]
    ordered_by_name: tuple[str, ...]
    """Participants with several sessions that dates do not put in order."""


def natural_key(label: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts labels as people do: ``ses-2`` before ``ses-10``.

    >>> sorted(["ses-10", "ses-2"], key=natural_key)
    ['ses-2', 'ses-10']
    """
    parts = re.split(r"(\d+)", label)
    # The 0 and 1 keep numbers and words from being compared with each other.
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def in_time_order(times: pd.Series[Any]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the sessions of each participant, the earliest first, and who was sorted by name.

    By ``acq_time`` where all sessions of the participant have one, else by name; by name also
    among sessions of the same time (dates that were removed are often all one day).

    Parameters
    ----------
    times
        When each session was, or NaT; indexed by participant and session.
    """
    of_each: dict[str, list[tuple[Any, str]]] = {}
    for who, session, time in by_session(times):
        of_each.setdefault(who, []).append((time, session))
    order: dict[str, list[str]] = {}
    by_name: list[str] = []
    for who, sessions in of_each.items():
        # All or nothing: a session without a date has no place among dated ones.
        dated = all(pd.notna(time) for time, _ in sessions)
        n_told_apart = len({time for time, _ in sessions}) if dated else 1
        if n_told_apart < len(sessions):
            by_name.append(who)
        ordered = sorted(sessions, key=lambda one: natural_key(one[1]))
        if dated:
            # A stable sort: sessions of the same time stay in the order of their names.
            ordered.sort(key=lambda one: one[0])
        order[who] = [session for _, session in ordered]
    return order, tuple(by_name)


def chosen_sessions(sessions: pd.DataFrame, times: pd.Series[Any], wanted: str) -> ChosenSessions:
    """Return the session of each participant that the analysis asks for.

    Whose first (or last) session cannot be used is left out: another session in its place would
    be another question, unless ``first usable`` asks for it.

    Parameters
    ----------
    sessions
        One row a participant and session that can be used: not excluded, inside the filter.
    times
        When each known session was, those that cannot be used included.
    wanted
        One of ``WORDS``, or the label of a session.

    Raises
    ------
    MissingInputError
        Nobody has a session of that label.
    """
    labels = sorted(set(times.index.get_level_values("session_id")), key=natural_key)
    if wanted not in WORDS and labels and f"ses-{wanted}" not in labels:
        raise MissingInputError(
            f"'Session: {wanted}' of the analysis: no participant has results for ses-{wanted}. "
            f"There are: {', '.join(labels)}. Name one of them, or first or last."
        )
    order, by_name = in_time_order(times)
    rows = list(sessions[KEY].itertuples(index=False, name=None))
    usable = set(rows)
    kept = set()
    left_out = []
    for who in sorted({name for name, _ in usable}):
        # Unusable sessions are in it, so the first one is the first that was made.
        known = order[who]
        if wanted.endswith("usable"):
            known = [session for session in known if (who, session) in usable]
        session = _one_of(known, wanted)
        if (who, session) in usable:
            kept.add((who, session))
            continue
        code = Code.SESSION_EXCLUDED if session in known else Code.NO_SUCH_SESSION
        left_out.append(
            SessionLeftOut(participant_id=who, session_id=session, reason=Reason(code, (session,)))
        )
    # As an array: an empty list would choose no columns in place of no rows.
    chosen = np.array([key in kept for key in rows], bool)
    frame = sessions[chosen].sort_values(KEY).reset_index(drop=True)
    if by_name and wanted in WORDS:
        log.warning(
            "%s: several sessions, some without their own acq_time in sessions.tsv or scans.tsv: "
            "ordered by name.",
            shortened(by_name),
        )
    return ChosenSessions(frame=frame, left_out=tuple(left_out), ordered_by_name=by_name)


def _one_of(known: list[str], wanted: str) -> str:
    if wanted not in WORDS:
        # A label that somebody does not have is compared with their sessions by the caller.
        return f"ses-{wanted}"
    return known[0] if wanted.startswith("first") else known[-1]
