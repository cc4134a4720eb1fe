"""Who is left out, and why: decided by quality control, overruled by the user."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from bids_qsmthal.core.decision import SEVERITY, Decision
from bids_qsmthal.group.finished import SessionLeftOut
from bids_qsmthal.group.measures import columns_of
from bids_qsmthal.group.participant_tables import distinct, numbered
from bids_qsmthal.group.ratings import KEY
from bids_qsmthal.group.reasons import NO_REASON, Code, Reason

log = logging.getLogger(__name__)

COLUMNS = [*KEY, "decision", "reason", "source"]
"""Of the table that is written."""

INTERNAL = [*KEY, "decision", "cause", "source"]
"""Of the table here: ``cause`` is a ``Reason``."""

RANK = {str(decision): rank for rank, decision in enumerate(SEVERITY)}
"""From harmless to worst."""

SUSCEPTIBILITY = "chi_"
"""How the names of the measures begin that a gradient echo gives, and anatomy does not."""


def decisions(
    measures: pd.DataFrame, checks: pd.DataFrame, gates: set[str], edits: pd.DataFrame
) -> pd.DataFrame:
    """Return a decision with its cause for each participant, session and run.

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
    # The order of authority: measures, checks of the scan, readers. Several acquisitions come last,
    # since a reader may have excluded all but one.
    automatic = _with_checks(_from_measures(measures, gates), measures, checks)
    return _one_acquisition(_after_readers(automatic, edits), measures)


def of_left_out(sessions: Sequence[SessionLeftOut]) -> pd.DataFrame:
    """Return the decisions about sessions whose tables are not read at all."""
    rows = [
        (
            session.participant_id,
            session.session_id,
            "n/a",
            str(Decision.EXCLUDE),
            session.reason,
            "automatic",
        )
        for session in sessions
    ]
    return pd.DataFrame(rows, columns=INTERNAL)


def printed(decided: pd.DataFrame) -> pd.DataFrame:
    """Return decisions with their reasons in words."""
    reasons = [cause.text for cause in decided["cause"]]
    return decided.assign(reason=reasons)[COLUMNS].reset_index(drop=True)


def usable_measures(measures: pd.DataFrame, decided: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the measures that may be used, and how many single values were left out.

    Rows of excluded participants go; a single value judged unusable becomes missing, unless the
    user included the participant by hand.
    """
    # Decided for each scan, and carried to its rows.
    number, scans = numbered(measures, KEY)
    each = scans.merge(decided[[*KEY, "decision", "source"]], on=KEY, how="left")
    # Anatomy may be measured once for several runs, or in a session without a decision of its own.
    is_used = each["decision"].fillna(str(Decision.INCLUDE)).ne(Decision.EXCLUDE).to_numpy()
    is_by_hand = each["source"].fillna("").eq("edited").to_numpy()
    unusable = measures["qc"].eq(Decision.EXCLUDE) & ~is_by_hand[number] & measures["value"].notna()
    here = is_used[number]
    used = measures[here].assign(value=measures["value"].where(~unusable)[here])
    return used, int(unusable[here].sum())


def _from_measures(measures: pd.DataFrame, gates: set[str]) -> pd.DataFrame:
    """Return the decision of each scan from the ``qc`` of its measures.

    A doubt about any measure is shown; only an unusable gate excludes the participant.
    """
    named = measures[KEY].assign(column=columns_of(measures))
    rank = measures["qc"].map(RANK).astype(int)
    # 1 is check: an unusable measure that is no gate is a doubt about the scan, and is itself left
    # out by usable_measures.
    named["rank"] = rank.where(named["column"].isin(gates), rank.clip(upper=1)).astype(int)
    worst = named.groupby(KEY, observed=True)["rank"].transform("max")
    blamed = named[(named["rank"] == worst) & (worst > 0)].groupby(KEY, observed=True)["column"]
    causes = {key: Reason(Code.UNUSABLE_MEASURES, tuple(columns)) for key, columns in blamed}
    decided = named.groupby(KEY, observed=True)["rank"].max().map(dict(enumerate(RANK)))
    made = decided.rename("decision").reset_index().astype(dict.fromkeys(KEY, "str"))
    made = made.assign(source="automatic")
    keys = made[KEY].itertuples(index=False, name=None)
    of_row = [causes.get(key, NO_REASON) for key in keys]
    # object also where there is no row: an empty series would be of numbers.
    return _whole_session(made.assign(cause=pd.Series(of_row, dtype="object"))[INTERNAL])


def _with_checks(
    decided: pd.DataFrame, measures: pd.DataFrame, checks: pd.DataFrame
) -> pd.DataFrame:
    """Return the decisions with the verdict and the reasons of the checks that failed."""
    if checks.empty:
        return decided
    identity = distinct(measures, [*KEY, "scan"], ["scan"])
    failed = checks.merge(identity, on="scan").assign(rank=lambda rows: rows["verdict"].map(RANK))
    worst = failed.groupby(KEY)["rank"].transform("max")
    blamed = failed[failed["rank"] == worst].drop_duplicates([*KEY, "reason"])
    found = {
        key: (int(rows["rank"].iloc[0]), Reason(Code.FAILED_CHECKS, tuple(rows["reason"])))
        for key, rows in blamed.groupby(KEY)
    }
    nothing = (0, None)
    of_row = [found.get(key, nothing) for key in decided[KEY].itertuples(index=False, name=None)]
    ranks = [
        max(RANK[decision], rank)
        for decision, (rank, _) in zip(decided["decision"], of_row, strict=True)
    ]
    return decided.assign(
        decision=[str(SEVERITY[rank]) for rank in ranks],
        cause=pd.Series(
            [new or old for old, (_, new) in zip(decided["cause"], of_row, strict=True)],
            index=decided.index,
            dtype="object",
        ),
    )


def _whole_session(decided: pd.DataFrame) -> pd.DataFrame:
    """Exclude all runs of a session whose anatomy, measured once for all of them, is unusable."""
    shared = decided[decided["run_id"].eq("n/a") & decided["decision"].eq(Decision.EXCLUDE)]
    for _, row in shared.iterrows():
        here = (decided[KEY[:2]] == row[KEY[:2]]).all(axis=1)
        decided.loc[here, ["decision", "cause"]] = [row["decision"], row["cause"]]
    return decided


def _after_readers(automatic: pd.DataFrame, edits: pd.DataFrame) -> pd.DataFrame:
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
        # Agreement with quality control is no decision of a reader: the source stays automatic.
        changed = here & (before["decision"] != edit["decision"])
        decided.loc[changed, ["decision", "source"]] = [edit["decision"], "edited"]
        reason = Reason(Code.READER, (str(edit["reason"]),))
        decided.loc[changed, "cause"] = pd.Series([reason] * len(decided), index=decided.index)
    return decided


def _one_acquisition(decided: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Exclude sessions with several acquisitions of the susceptibility.

    Runs repeat a measurement and are averaged. What differs in another entity (acq, rec) was
    measured otherwise, or is the same scan under its old and its new name: a mean of the two is
    the number of neither.
    """
    of_gre = measures[measures["measure"].str.startswith(SUSCEPTIBILITY)]
    scans = distinct(of_gre, KEY).merge(decided, on=KEY)
    used = scans[scans["decision"] != Decision.EXCLUDE]
    # What remains of the label without its run: acq-a_run-1 and acq-a_run-2 are one acquisition.
    acquisition = used["run_id"].str.replace(r"_?run-[^_]*", "", regex=True).replace("n/a", "")
    several = used.assign(acquisition=acquisition).groupby(KEY[:2])["acquisition"].nunique()
    for key in several.index[several > 1]:
        here = (decided[KEY[:2]] == list(key)).all(axis=1) & (
            decided["decision"] != Decision.EXCLUDE
        )
        names = used.loc[(used[KEY[:2]] == list(key)).all(axis=1), "run_id"]
        plain = tuple(sorted(names.replace("n/a", "the scan without acq or run")))
        cause = Reason(Code.SEVERAL_ACQUISITIONS, plain)
        log.warning("%s is left out: %s.", " ".join(key), cause.text)
        decided.loc[here, "decision"] = str(Decision.EXCLUDE)
        decided.loc[here, "cause"] = pd.Series([cause] * len(decided), index=decided.index)
    return decided
