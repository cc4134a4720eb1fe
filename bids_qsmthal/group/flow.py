"""How many participants there are at each step from the dataset to each model, and who is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.group.finished import FinishedTables
from bids_qsmthal.group.reasons import Reason, shortened
from bids_qsmthal.group.sessions import ChosenSessions, natural_key
from bids_qsmthal.statistics.regression import Fit

COLUMNS = ["step", "n", "detail"]


class FlowStep(StrEnum):
    """A place where participants are counted."""

    LISTED = "listed"
    WITHOUT_RESULTS = "without_results"
    NOT_LISTED = "not_listed"
    WITH_RESULTS = "with_results"
    NOT_WANTED = "not_wanted"
    EXCLUDED = "excluded"
    FILTERED = "filtered"
    ENTERS = "enters"
    ANALYSED = "analysed"
    SINGLE_VALUES = "single_values"
    MODEL = "model"


SENTENCES = {
    FlowStep.LISTED: "listed in participants.tsv",
    FlowStep.WITHOUT_RESULTS: "of these without results",
    FlowStep.NOT_LISTED: "with results but not listed",
    FlowStep.WITH_RESULTS: "with results",
    FlowStep.NOT_WANTED: "not asked for (--participant-label, --session-label)",
    FlowStep.EXCLUDED: "excluded: {0}",
    FlowStep.FILTERED: "outside the filter of the analysis: {0}",
    FlowStep.ENTERS: "in the analysis with {0}",
    FlowStep.ANALYSED: "in the analysis",
    FlowStep.SINGLE_VALUES: "single values left out by quality control",
    FlowStep.MODEL: "model {0}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One count."""

    step: FlowStep
    n: int
    about: str = ""
    """The reason, the session or the model."""

    detail: str = ""
    """Who, or why."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Counted:
    """Who is where on the way from the dataset to the people who are analysed."""

    with_results: set[str]
    """Everyone of whom there is a table that is wanted, believed or not."""

    listed: Sequence[str]
    """Who stands in participants.tsv."""

    decided: pd.DataFrame
    """Decisions and their causes (``exclusions``)."""

    n_unusable: int
    """Single values that quality control left out."""

    tables: FinishedTables
    chosen: ChosenSessions
    filtered: Line | None
    """Those whom the filter of the whole analysis leaves out."""


def of_cohort(who: Counted) -> tuple[Line, ...]:
    """Return the counts from the dataset to the people who are analysed."""
    analysed = set(who.chosen.frame["participant_id"])
    lines = _lines_of_listed(who.listed, who.with_results)
    lines.append(Line(step=FlowStep.WITH_RESULTS, n=len(who.with_results)))
    if who.tables.not_wanted:
        names = who.tables.not_wanted
        lines.append(Line(step=FlowStep.NOT_WANTED, n=len(names), detail=shortened(names)))
    # A participant with one excluded run and a usable other one is analysed, so is not lost.
    excluded = who.decided[who.decided["decision"].eq(Decision.EXCLUDE)]
    left_out = excluded[~excluded["participant_id"].isin(analysed)]
    left_out = left_out.drop_duplicates("participant_id")
    reasons = dict(zip(left_out["participant_id"], left_out["cause"], strict=True))
    # The session's reason wins: an excluded first session is why its person is out, whatever is
    # wrong with other scans.
    reasons |= {session.participant_id: session.reason for session in who.chosen.left_out}
    lines += _lines_of_excluded(reasons)
    lines += [who.filtered] if who.filtered else []
    lines += _lines_of_sessions(who.chosen.frame)
    lines.append(Line(step=FlowStep.ANALYSED, n=len(analysed)))
    if who.n_unusable:
        lines.append(Line(step=FlowStep.SINGLE_VALUES, n=who.n_unusable))
    return tuple(lines)


def of_models(fits: Mapping[str, Fit], frame: pd.DataFrame) -> tuple[Line, ...]:
    """Return how many participants each model has, and why not all."""
    return tuple(
        Line(
            step=FlowStep.MODEL,
            n=fit.design.n if fit.design else 0,
            about=name,
            detail=_losses(fit, frame),
        )
        for name, fit in fits.items()
    )


def table(lines: Sequence[Line]) -> pd.DataFrame:
    """Return the counts in words."""
    rows = [(SENTENCES[line.step].format(line.about), line.n, line.detail) for line in lines]
    return pd.DataFrame(rows, columns=COLUMNS)


def not_finite(fit: Fit, frame: pd.DataFrame) -> tuple[str, ...]:
    """Return who has all values of a model, but one that its formula cannot take (log of zero)."""
    if fit.design is None:
        return ()
    # Rows are known by their index, as the design keeps the index of the cohort's table.
    lost = frame.index.isin(fit.design.losses.not_finite_rows)
    return tuple(str(who) for who in frame["participant_id"][lost])


def _lines_of_listed(listed: Sequence[str], with_results: set[str]) -> list[Line]:
    if not listed:
        return []
    lines = [Line(step=FlowStep.LISTED, n=len(listed))]
    lacking = sorted(set(listed) - with_results)
    unknown = sorted(with_results - set(listed))
    for step, names in ((FlowStep.WITHOUT_RESULTS, lacking), (FlowStep.NOT_LISTED, unknown)):
        if names:
            lines.append(Line(step=step, n=len(names), detail=shortened(names)))
    return lines


def _lines_of_excluded(reasons: Mapping[str, Reason]) -> list[Line]:
    """Return one line a reason, with everybody who is left out for it."""
    by_reason: dict[Reason, list[str]] = {}
    for who, reason in sorted(reasons.items()):
        # Without file names of each: a hundred people whose run failed are one line, not a hundred.
        by_reason.setdefault(reason.common, []).append(who)
    return [
        Line(step=FlowStep.EXCLUDED, n=len(names), about=reason.summary, detail=shortened(names))
        for reason, names in sorted(by_reason.items())
    ]


def _lines_of_sessions(frame: pd.DataFrame) -> list[Line]:
    """Return who enters with which session, where there are sessions."""
    if set(frame["session_id"]) <= {"n/a"}:
        return []
    counted = frame.groupby("session_id")["participant_id"]
    return [
        Line(
            step=FlowStep.ENTERS,
            n=len(names),
            about=str(session) if session != "n/a" else "their only session",
            detail=shortened(list(names)),
        )
        for session, names in sorted(counted, key=lambda group: natural_key(str(group[0])))
    ]


def _losses(fit: Fit, frame: pd.DataFrame) -> str:
    if not fit.fitted:
        return fit.note
    if fit.design is None:
        return ""
    losses = fit.design.losses
    parts = [f"{losses.n_filtered} outside the filter"] if losses.n_filtered else []
    parts += [f"{n} without {variable}" for variable, n in losses.missing.items()]
    if losses.n_not_finite:
        who = shortened(not_finite(fit, frame))
        parts.append(f"{losses.n_not_finite} with a value the formula cannot take ({who})")
    return ", ".join(parts)
