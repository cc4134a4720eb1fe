"""Values that cannot be read or cannot be true: which they are, and whether they are used."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from bids_qsmthal.group import measures
from bids_qsmthal.group.reasons import shortened
from bids_qsmthal.group.table_reading import by_session
from bids_qsmthal.statistics.analysis import Variable

log = logging.getLogger(__name__)

COLUMNS = ["participant_id", "session_id", "variable", "value", "problem", "used"]


class Problem(StrEnum):
    """What is the matter with a value."""

    NO_NUMBER = "no_number"
    NO_LEVEL = "no_level"
    UNKNOWN = "unknown"
    IMPOSSIBLE = "impossible"
    CODE = "code"
    BETWEEN_STEPS = "between_steps"
    LONGER_THAN_LIFE = "longer_than_life"
    FAR_OUT = "far_out"


SENTENCES = {
    Problem.NO_NUMBER: "not a number",
    Problem.NO_LEVEL: "none of the levels",
    Problem.UNKNOWN: "given as unknown",
    Problem.IMPOSSIBLE: "outside the possible range of {0} to {1}",
    Problem.CODE: "a usual code for unknown, far from all other values",
    Problem.BETWEEN_STEPS: "not a multiple of one half",
    Problem.LONGER_THAN_LIFE: "longer than the age",
    Problem.FAR_OUT: "outside the range seen in people, {0} to {1}",
}

LEFT_OUT = frozenset(
    {
        Problem.NO_NUMBER,
        Problem.NO_LEVEL,
        Problem.UNKNOWN,
        Problem.IMPOSSIBLE,
        Problem.CODE,
    }
)
"""Problems of values that are taken as missing; the others are listed and used."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Smallest and largest value that is possible; outside it is an error of the table."""

    low: float
    high: float


BOUNDS = {
    # The longest life on record: 122 years (Robine & Allard 1998, Science 279:1834).
    "age": Bounds(0, 122),
    # Kurtzke 1983, doi:10.1212/WNL.33.11.1444.
    "edss": Bounds(0, 10),
    "duration": Bounds(0, 122),
}
"""Of variables by what they are, where the analysis file gives no ``Range``."""

IN_YEARS = frozenset({"age", "duration"})
"""Kinds whose bounds are in years; a variable may count in months or days (``Units``)."""

NAMES = {
    "age": "age",
    "age_at_scan": "age",
    "age_at_mri": "age",
    "edss": "edss",
    "edss_score": "edss",
    "expanded_disability_status_scale": "edss",
    "duration": "duration",
    "disease_duration": "duration",
    "duration_of_disease": "duration",
}
"""What a variable is, by its own name, that of its column, or its label."""

# Halves are exact in binary, so the remainder of a true step is exactly 0.
EDSS_STEP = 0.5

CODES = frozenset(
    {-1.0, -8.0, -9.0, -88.0, -99.0, -888.0, -999.0, -8888.0, -9999.0}
    | {88.0, 99.0, 888.0, 999.0, 8888.0, 9999.0, 99999.0}
)
"""What registries and case report forms write for unknown or not applicable."""

FAR = 3.0
"""Quartile ranges beyond the quartiles: Tukey's far out (1977, Exploratory Data Analysis, 2D)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questionable:
    """One value, whose it is, and what is the matter with it."""

    participant_id: str
    session_id: str
    variable: str
    value: str
    problem: Problem
    limits: tuple[float, ...] = ()

    @property
    def used(self) -> bool:
        """Whether the value is analysed as it is."""
        return self.problem not in LEFT_OUT

    @property
    def text(self) -> str:
        """What is the matter, in words."""
        return SENTENCES[self.problem].format(*(f"{limit:g}" for limit in self.limits))


def without_impossible(
    values: pd.Series[float], variable: Variable
) -> tuple[pd.Series[float], list[Questionable]]:
    """Return a variable without values that cannot be true, and all that are questionable.

    Measures of images are listed and kept, whatever they are: quality control decides about
    them. Values of tables that are impossible, or codes, become missing.

    Parameters
    ----------
    values
        Numbers, indexed by participant and session.
    """
    known = values.dropna()
    bounds = bounds_of(variable)
    flags: dict[Problem, pd.Series[bool]] = {}
    if bounds:
        outside = (known < bounds.low) | (known > bounds.high)
        # A variable with both a column and a measure is judged as one of a table.
        flags[Problem.IMPOSSIBLE if variable.columns else Problem.FAR_OUT] = outside
    if variable.columns:
        # What is impossible is listed as that, not a second time as a code, and must not widen the
        # quartiles.
        rest = known[~outside] if bounds else known
        flags[Problem.CODE] = _codes(rest).reindex(known.index, fill_value=False)
    if _kind(variable) == "edss":
        # Listed and used: a mean of two raters gives 2.25, and the scale has no value for it.
        flags[Problem.BETWEEN_STEPS] = (known % EDSS_STEP > 0) & ~outside
    limits = (bounds.low, bounds.high) if bounds else ()
    listed = [
        Questionable(
            participant_id=who,
            session_id=session,
            variable=variable.name,
            value=f"{value:g}",
            problem=problem,
            limits=limits,
        )
        for problem, wrong in flags.items()
        for who, session, value in by_session(known[wrong])
    ]
    left_out = [wrong for problem, wrong in flags.items() if problem in LEFT_OUT]
    # known.isna() is False for every row: nothing to drop.
    drop = pd.concat(left_out, axis=1).any(axis=1) if left_out else known.isna()
    return values.where(~drop.reindex(values.index, fill_value=False)), listed


def bounds_of(variable: Variable) -> Bounds | None:
    """Return what is possible: the ``Range`` of the analysis file, or what is known of the kind."""
    # The file's own range wins: it knows its units, ours are years and EDSS points.
    if variable.range:
        return Bounds(*variable.range)
    kind = _kind(variable)
    if kind not in IN_YEARS:
        return BOUNDS.get(kind)
    unit_a_year = _units_a_year(variable)
    known = BOUNDS[kind]
    # A unit that nobody knows has no bounds: true months must not be taken for impossible years.
    if unit_a_year is None:
        return None
    return Bounds(known.low * unit_a_year, known.high * unit_a_year)


def _units_a_year(variable: Variable) -> float | None:
    """Return how many of a variable's units make a year; ``None`` where its unit is unknown."""
    unit = measures.SPELLINGS.get(variable.unit, variable.unit) or "year"
    if unit == "year":
        return 1.0
    years = measures.CONVERSIONS.get((unit, "year"))
    return None if years is None else 1 / years


def longer_than_life(values: pd.DataFrame, variables: Iterable[Variable]) -> list[Questionable]:
    """Return who has a disease for longer than they live; which number is wrong nobody knows."""
    of = {_kind(variable): variable for variable in variables if variable.columns}
    if not {"age", "duration"} <= set(of):
        return []
    named = {kind: variable.name for kind, variable in of.items()}
    scales = {kind: _units_a_year(of[kind]) for kind in ("age", "duration")}
    if scales["age"] is None or scales["duration"] is None:
        return []
    # Compared in years, listed as they are in the table.
    age = pd.to_numeric(values[named["age"]]) / scales["age"]
    duration = pd.to_numeric(values[named["duration"]])
    return [
        Questionable(
            participant_id=who,
            session_id=session,
            variable=named["duration"],
            value=f"{value:g}",
            problem=Problem.LONGER_THAN_LIFE,
        )
        for who, session, value in by_session(duration[duration / scales["duration"] > age])
    ]


def table(values: Sequence[Questionable]) -> pd.DataFrame:
    """Return questionable values, one row each."""
    rows = [
        (q.participant_id, q.session_id, q.variable, q.value, q.text, "yes" if q.used else "no")
        for q in values
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def log_problems(values: Sequence[Questionable]) -> None:
    """Log each kind of problem of each variable in one line."""
    kinds = dict.fromkeys((q.variable, q.text, q.used) for q in values)
    for variable, text, used in kinds:
        rows = [q for q in values if (q.variable, q.text) == (variable, text)]
        log.warning(
            "%s: %s %s; %s.",
            variable,
            shortened([f"'{q.value}' of {q.participant_id}" for q in rows]),
            f"is {text}" if len(rows) == 1 else f"are {text}",
            "used as it is" if used else "taken as missing",
        )


def _kind(variable: Variable) -> str:
    """Return what a variable is, or nothing where its names do not tell."""
    # By name, since nothing in the tables says what a column is. The label is in words where the
    # columns have names of another language.
    spelled = (variable.name, *variable.columns, variable.label)
    names = ("_".join(re.findall(r"[a-z]+", name.lower().partition("(")[0])) for name in spelled)
    return next((NAMES[name] for name in names if name in NAMES), "")


def _codes(known: pd.Series[float]) -> pd.Series[bool]:
    """Return which values are usual codes for unknown and lie far from all others."""
    is_code = known.isin(CODES)
    # Quartiles of the others: with many 999 among few values the codes would be their own crowd.
    low, high = known[~is_code].quantile(0.25), known[~is_code].quantile(0.75)
    reach = FAR * (high - low)
    if not reach > 0:  # nobody else, or all the same: nothing to be far from
        return is_code & False
    return is_code & ((known < low - reach) | (known > high + reach))
