"""Who is left out, and why: decided by quality control, overruled by the user."""

from __future__ import annotations

import logging

import pandas as pd

from bids_qsmthal.group.measures import DECISIONS, column_name
from bids_qsmthal.group.ratings import KEY

log = logging.getLogger(__name__)

COLUMNS = [*KEY, "decision", "reason", "source"]


def decide(
    measures: pd.DataFrame, checks: pd.DataFrame, gates: set[str], edits: pd.DataFrame
) -> pd.DataFrame:
    """Return a decision with its reason for each participant, session and run.

    Parameters
    ----------
    measures
        The tidy measures.
    checks
        Checks that some scan did not pass: scan, verdict, reason.
    gates
        Names (as in the wide table) of the measures whose exclusion excludes the participant.
    edits
        What readers decided (``ratings.read``); where it differs, it wins.
    """
    return _overrule(_with_checks(_automatic(measures, gates), measures, checks), edits)


def apply(measures: pd.DataFrame, decisions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the measures that may be used, and how many single values were left out.

    Rows of excluded participants go; a single value judged unusable becomes missing, unless the
    user included the participant by hand.
    """
    said = decisions[[*KEY, "decision", "source"]].rename(columns={"source": "decided"})
    merged = measures.merge(said, on=KEY, how="left")
    # Anatomy may be measured once for several runs, or in a session without a decision of its own.
    used = merged[merged["decision"].fillna("include") != "exclude"]
    by_hand = used["decided"].fillna("").eq("edited")
    unusable = used["qc"].eq("exclude") & ~by_hand & used["value"].notna()
    values = used["value"].where(~unusable)
    return used.assign(value=values)[list(measures.columns)], int(unusable.sum())


def _automatic(measures: pd.DataFrame, gates: set[str]) -> pd.DataFrame:
    """Return the decision of each scan from the ``qc`` of its measures.

    A doubt about any measure is shown; only an unusable gate excludes the participant.
    """
    places = measures[["measure", "region", "hemisphere"]].drop_duplicates()
    names = [column_name(*place) for place in places.itertuples(index=False)]
    named = measures.merge(places.assign(column=names), on=list(places.columns))
    rank = named["qc"].map({decision: place for place, decision in enumerate(DECISIONS)})
    named["rank"] = rank.where(named["column"].isin(gates), rank.clip(upper=1)).astype(int)
    worst = named.groupby(KEY)["rank"].transform("max")
    blamed = named[(named["rank"] == worst) & (worst > 0)]
    reasons = blamed.groupby(KEY)["column"].agg(lambda found: f"quality control: {_few(found)}")
    decided = named.groupby(KEY)["rank"].max().map(dict(enumerate(DECISIONS)))
    made = pd.DataFrame({"decision": decided, "reason": reasons}).reset_index()
    made["reason"] = made["reason"].fillna("n/a")
    return _whole_session(made.assign(source="automatic")[COLUMNS])


def _with_checks(
    decided: pd.DataFrame, measures: pd.DataFrame, checks: pd.DataFrame
) -> pd.DataFrame:
    """Return the decisions with the verdict and the reasons of the checks that failed."""
    if checks.empty:
        return decided
    rank = {decision: place for place, decision in enumerate(DECISIONS)}
    who = measures[[*KEY, "scan"]].drop_duplicates("scan")
    failed = checks.merge(who, on="scan").assign(rank=lambda frame: frame["verdict"].map(rank))
    worst = failed.groupby(KEY)["rank"].transform("max")
    blamed = failed[failed["rank"] == worst].drop_duplicates([*KEY, "reason"])
    reasons = blamed.groupby(KEY).agg(rank=("rank", "first"), why=("reason", "; ".join))
    made = decided.merge(reasons.reset_index(), on=KEY, how="left")
    before = made["decision"].map(rank)
    after = made["rank"].fillna(0).clip(lower=before).astype(int)
    return made.assign(
        decision=after.map(dict(enumerate(DECISIONS))),
        reason=made["reason"].where(made["why"].isna(), made["why"]),
    )[COLUMNS]


def _whole_session(decided: pd.DataFrame) -> pd.DataFrame:
    """Exclude all runs of a session whose anatomy, measured once for all of them, is unusable."""
    shared = decided[decided["run_id"].eq("n/a") & decided["decision"].eq("exclude")]
    for _, row in shared.iterrows():
        here = (decided[KEY[:2]] == row[KEY[:2]]).all(axis=1)
        decided.loc[here, ["decision", "reason"]] = [row["decision"], row["reason"]]
    return decided


def _few(found: pd.Series[str]) -> str:
    names = list(found)
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} measures"


def _overrule(automatic: pd.DataFrame, edits: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions after those of readers, one after the other.

    A table written by hand starts from ours: only what differs from quality control is the
    user's own there, so that a copy made before a rating does not take the rating back.
    """
    decided = automatic.copy()
    for _, edit in edits.iterrows():
        here = decided["participant_id"] == edit["participant_id"]
        for column in ("session_id", "run_id"):
            if edit[column] != "n/a":
                here &= decided[column] == edit[column]
        if not here.any():
            named = " ".join(edit[column] for column in KEY if edit[column] != "n/a")
            log.warning("%s: %s has no results; the row has no effect.", edit["file"], named)
        before = automatic if edit["by_hand"] else decided
        changed = here & (before["decision"] != edit["decision"])
        decided.loc[changed, ["decision", "source"]] = [edit["decision"], "edited"]
        decided.loc[changed, "reason"] = str(edit["reason"])
    return decided
