"""Who changed by more than the scatter of their own sessions explains."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.statistics import design
from bids_qsmthal.statistics.longitudinal import RESIDUALS, MixedModel

COLUMNS = [
    "model", "outcome", "participant_id", "session_from", "session_to", "years", "change",
    "change_se", "index", "reliable", "note",
]  # fmt: skip

INCREASE, DECREASE, NO = "increase", "decrease", "no"

LEVEL = 0.05
"""Share of people without any change who are called changed all the same."""

Z = float(stats.norm.isf(LEVEL / 2))


def of_everyone(model: MixedModel, fitted: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the change of each participant from the first session to the last, and its index.

    The index is the change divided by its standard error, the square root of 2 times the standard
    deviation of the model's residuals: what two sessions of a person scatter about the course of
    the model. Where people differ in how they change and have no slopes of their own in the model,
    that is counted as scatter, and fewer are called changed.

    Parameters
    ----------
    model, fitted
        A model and its rows of ``longitudinal.fit``; without a fit nobody has an index.
    frame
        The table it was fitted to, with ``participant_id``, ``session_id`` and ``years``; a
        session without years has no place in time and is left out.

    References
    ----------
    Jacobson & Truax (1991). J Consult Clin Psychol 59(1), 12-19. doi:10.1037/0022-006X.59.1.12
    """
    scatter = fitted.loc[fitted["term"] == RESIDUALS, "coefficient"].astype(float)
    if scatter.empty or not scatter.iloc[0] > 0:
        return pd.DataFrame(columns=COLUMNS)
    made = design.build(model.formula, frame, filter=model.filter, levels=model.levels)
    visits = frame.loc[made.rows, ["participant_id", "session_id", "years"]]
    visits = visits.assign(value=made.outcome).dropna(subset=["years"])
    of_each = visits.sort_values(["participant_id", "years"]).groupby("participant_id")
    first, last = of_each.first(), of_each.last()
    table = pd.DataFrame(
        {
            "model": model.name,
            "outcome": made.outcome_name,
            "session_from": first["session_id"],
            "session_to": last["session_id"],
            "years": last["years"] - first["years"],
            "change": last["value"] - first["value"],
            "change_se": math.sqrt(2) * scatter.iloc[0],
            "note": fitted["note"].iloc[0],
        }
    )
    table = table[table["years"] > 0].reset_index()
    index = table["change"] / table["change_se"]
    found = np.select([index > Z, index < -Z], [INCREASE, DECREASE], NO)
    return table.assign(index=index, reliable=found)[COLUMNS]


def counts(rows: pd.DataFrame) -> Mapping[str, int]:
    """Return how many increased, decreased, and did neither."""
    return {word: int((rows["reliable"] == word).sum()) for word in (INCREASE, DECREASE, NO)}
