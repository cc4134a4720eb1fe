"""What a study has printed, beside what the same models give here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.statistics import formulas, power
from bids_qsmthal.statistics.evidence import partial_interval
from bids_qsmthal.statistics.regression import Fit

COARSE = 0.05
"""Share of its half width by which rounding may have moved a printed interval, above which the line
says so: z of the difference is then known to no better."""

COLUMNS = [
    "study", "place", "reading", "model", "outcome", "term", "published", "published_ci_low",
    "published_ci_high", "published_p", "published_n", "published_r", "published_r_low",
    "published_r_high", "coefficient", "ci_low", "ci_high", "p", "n", "partial_r", "partial_r_low",
    "partial_r_high", "difference", "difference_ci_low", "difference_ci_high", "z", "p_difference",
    "power_there", "power_here", "note",
]  # fmt: skip


class Reading(StrEnum):
    """How the sign of a published value is understood."""

    AS_HERE = "as here"
    TURNED = "turned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A coefficient as a paper prints it."""

    model: str
    """The model of the analysis that asks the same question."""

    term: str
    place: str
    """Where in the paper."""

    coefficient: str
    interval: tuple[str, str]
    """Ends of the 95 % interval: text, since zeros at the end tell how it was rounded."""

    p: str
    covariates: int
    """Terms held fixed beside this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A published study and its values."""

    name: str
    doi: str
    n: int
    entries: tuple[Value, ...]
    open_direction: str = ""
    """Variable whose sign the paper leaves open: each value is read both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedEstimate:
    """A coefficient with its error, and the same as a (partial) correlation."""

    coefficient: float
    error: float
    df: float
    r: float

    @property
    def r_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the correlation."""
        return partial_interval(self.r, self.df)

    @property
    def n_effective(self) -> float:
        """Return participants less terms held fixed: what the power of a correlation counts."""
        return self.df + 2


def estimate_of(value: Value, n: int) -> ComparedEstimate:
    """Return what a printed coefficient and interval stand for.

    The standard error is the half width of the interval by Student's t.
    """
    df = n - 2 - value.covariates
    low, high = (float(end) for end in value.interval)
    coefficient = float(value.coefficient)
    error = (high - low) / 2 / float(stats.t.ppf(0.975, df))
    t = coefficient / error
    return ComparedEstimate(coefficient=coefficient, error=error, df=df, r=t / math.sqrt(t**2 + df))


def rounding(value: Value) -> float:
    """Return by what share of its half width rounding may have moved a printed interval."""
    low, high = value.interval
    reach = min(_rounded_by(end) for end in (low, high))
    return reach / ((float(high) - float(low)) / 2)


def _rounded_by(text: str) -> float:
    """Return by how much rounding may have moved a printed number."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def p_range(value: Value, n: int) -> tuple[float, float] | None:
    """Return the smallest and largest p that a printed coefficient and interval allow.

    Nothing where no rounding puts the coefficient into the middle of the interval.
    """
    df = n - 2 - value.covariates
    b, b_reach = float(value.coefficient), _rounded_by(value.coefficient)
    (low, low_reach), (high, high_reach) = ((float(e), _rounded_by(e)) for e in value.interval)
    # Half widths that both ends allow around a coefficient; straight lines in pieces, so that t is
    # largest and smallest where two of them meet or at an end.
    corners = {b - b_reach, b + b_reach}
    corners |= {(low + s * low_reach + high + t * high_reach) / 2 for s in (-1, 1) for t in (-1, 1)}
    found = []
    for middle in sorted(corners):
        narrow = max(middle - low - low_reach, high - high_reach - middle)
        wide = min(middle - low + low_reach, high + high_reach - middle)
        slack = 1e-9 * (high - low)
        if abs(middle - b) <= b_reach + slack and 0 < narrow <= wide + slack:
            found += [abs(middle) / narrow, abs(middle) / wide]
    if not found:
        return None
    smallest = 0.0 if abs(b) <= b_reach else min(found)
    critical = float(stats.t.ppf(0.975, df))
    at = [float(2 * stats.t.sf(critical * t, df)) for t in (max(found), smallest)]
    return at[0], at[1]


def contradiction(value: Value, n: int) -> str:
    """Return where the numbers of a printed value disagree, or nothing."""
    allowed = p_range(value, n)
    if allowed is None:
        return "the printed coefficient is not in the middle of its printed interval"
    smallest, largest = allowed
    p, reach = float(value.p), _rounded_by(value.p)
    if smallest - reach <= p <= largest + reach:
        return ""
    return (
        f"the printed coefficient and interval give p {_two_digits(smallest)} to "
        f"{_two_digits(largest)}, not {value.p}"
    )


def _two_digits(p: float) -> str:
    return f"{p:.3g}".removeprefix("0")


def compare(studies: Sequence[Study], fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Return each published value beside ours, one line a value and reading of its sign.

    A value whose model has the variable of open direction in its formula is read both ways.

    Notes
    -----
    The two cohorts are taken as independent samples. ``z`` is the difference (ours minus published)
    divided by its standard error; its interval and p are by Student's t with the degrees of freedom
    of Welch (1947, doi:10.1093/biomet/34.1-2.28), which is the normal one in large cohorts.
    """
    lines = [
        _line(study, value, reading, fits[value.model])
        for study in studies
        for value in study.entries
        for reading in _readings(study, fits[value.model])
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def _readings(study: Study, fit: Fit) -> tuple[Reading, ...]:
    """Return how a value of a model may be read."""
    is_open = study.open_direction in formulas.variables(fit.model.formula)
    return tuple(Reading) if is_open else (Reading.AS_HERE,)


def _line(study: Study, value: Value, reading: Reading, fit: Fit) -> dict[str, object]:
    sign = -1 if reading is Reading.TURNED else 1
    theirs = estimate_of(value, study.n)
    # Turned, the lower end is the upper one with its sign changed.
    ends = sorted(sign * float(end) for end in value.interval)
    r_ends = sorted(sign * end for end in theirs.r_interval)
    found = fit.row(value.term)
    line: dict[str, object] = {
        "study": study.name, "place": value.place, "reading": str(reading), "model": value.model,
        "term": value.term, "published": sign * theirs.coefficient, "published_ci_low": ends[0],
        "published_ci_high": ends[1], "published_p": float(value.p), "published_n": study.n,
        "published_r": sign * theirs.r, "published_r_low": r_ends[0], "published_r_high": r_ends[1],
    }  # fmt: skip
    line |= {name: found[name] for name in
             ("outcome", "coefficient", "ci_low", "ci_high", "p", "n", "partial_r")}  # fmt: skip
    notes = [str(found["note"])] if found["note"] else []
    notes += filter(None, [contradiction(value, study.n)])
    coarse = rounding(value)
    if coarse > COARSE:
        notes.append(f"the printed interval is rounded to {100 * coarse:.0f} % of its half width")
    line["note"] = "; ".join(notes)
    if math.isnan(float(found["coefficient"])):
        return line
    ours = _ours(found)
    low, high = ours.r_interval
    line |= {"partial_r_low": low, "partial_r_high": high}
    return line | _difference(ours, theirs, sign) | {
        "power_there": _power(ours.r, theirs.n_effective),
        "power_here": _power(theirs.r, ours.n_effective),
    }  # fmt: skip


def _ours(found: pd.Series) -> ComparedEstimate:
    return ComparedEstimate(
        coefficient=float(found["coefficient"]),
        error=float(found["standard_error"]),
        df=float(found["df_residual"]),
        r=float(found["partial_r"]),
    )


def _difference(ours: ComparedEstimate, theirs: ComparedEstimate, sign: int) -> dict[str, float]:
    """Return ours minus theirs with its interval, z and p."""
    difference = ours.coefficient - sign * theirs.coefficient
    squares = np.array([ours.error, theirs.error]) ** 2
    error = math.sqrt(squares.sum())
    df = squares.sum() ** 2 / (squares**2 / [ours.df, theirs.df]).sum()
    reach = float(stats.t.ppf(0.975, df)) * error
    z = difference / error
    return {
        "difference": difference,
        "difference_ci_low": difference - reach,
        "difference_ci_high": difference + reach,
        "z": z,
        "p_difference": float(2 * stats.t.sf(abs(z), df)),
    }


def _power(r: float, n_effective: float) -> float:
    """Return the chance to find a correlation with so many participants less terms held fixed."""
    if math.isnan(r) or n_effective < power.SMALLEST_SAMPLE:
        return math.nan
    return power.of_correlation(r, n_effective)
