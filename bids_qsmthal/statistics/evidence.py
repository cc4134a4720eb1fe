"""What a table's coefficients amount to: effect sizes, and how much speaks for or against none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.statistics import bayes, design, linear_predictor, multiplicity, tables
from bids_qsmthal.statistics.regression import Fit
from bids_qsmthal.statistics.tables import ModelTable, Row

SMALLEST_EFFECT = 0.28
"""Smallest correlation of interest where none is stated: what the study had 80 % power to find
(Chiang et al. 2018, doi:10.3174/ajnr.A5537, Statistical Analysis)."""

LARGEST_FACTOR = 1e100
"""Bayes factors beyond are cut: they differ in nothing that a reader could use."""

COLUMNS = [
    "table", "label", "side", "model", "outcome", "term", "verdict", "n", "p", "partial_r",
    "partial_r_low", "partial_r_high", "scale", "smallest_effect", "smallest_coefficient",
    "p_equivalence", "p_equivalence_holm",
    "excluded_beyond", "bf10", "bf10_correlation", "sd_term", "per_sd", "per_sd_low",
    "per_sd_high", "effect", "standardised", "per_10_ppb", "per_10_ppb_low", "per_10_ppb_high",
    "note",
]  # fmt: skip


class Conclusion(StrEnum):
    """What two tests say together: of no effect, and of an effect as large as is of interest.

    References
    ----------
    Lakens, Scheel & Isager (2018). Adv Methods Pract Psychol Sci 1(2), 259-269.
    doi:10.1177/2515245918770963
    """

    ASSOCIATED = "associated"
    SMALL = "associated, but smaller than of interest"
    EQUIVALENT = "no association of interest"
    UNDECIDED = "undecided"


class EvidenceScale(StrEnum):
    """What the correlation of a line is."""

    EXACT = "partial correlation"
    APPROXIMATE = "linear predictor"
    """Of models that have none: see ``linear_predictor``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """What effects are measured against."""

    smallest_effect: float = SMALLEST_EFFECT
    """Smallest (partial) correlation of interest, above 0."""

    smallest_ratio: float | None = None
    """Smallest odds or rate ratio of interest per standard deviation of a term, above 1; where not
    given, the one that the smallest correlation stands for."""

    regression_scale: float = bayes.REGRESSION_SCALE
    correlation_width: float = bayes.CORRELATION_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Two one-sided tests of a (partial) correlation against bounds."""

    p: float
    """The larger of both: small where the correlation lies between the bounds."""

    excluded_beyond: float
    """Smallest bound that would be excluded at 5 %."""


def partial_interval(r: float, df: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a partial correlation by Fisher's transform.

    ``df`` are the residual degrees of freedom: participants minus all coefficients. The variance is
    1 / (n - 3 - k) with k terms held fixed (Fisher 1924), which is 1 / (df - 1).
    """
    if not df > 1:
        return math.nan, math.nan
    reach = stats.norm.isf((1 - confidence) / 2) / math.sqrt(df - 1)
    middle = np.arctanh(r)
    return float(np.tanh(middle - reach)), float(np.tanh(middle + reach))


def equivalence(r: float, df: float, bound: float, *, alpha: float = 0.05) -> Equivalence:
    """Return whether a (partial) correlation is smaller than one of interest.

    References
    ----------
    Schuirmann (1987). J Pharmacokinet Biopharm 15(6), 657-680. doi:10.1007/BF01068419
    Lakens (2017). Soc Psychol Personal Sci 8(4), 355-362. doi:10.1177/1948550617697177
    """
    if not df > 1 or math.isnan(r):
        return Equivalence(p=math.nan, excluded_beyond=math.nan)
    error = 1 / math.sqrt(df - 1)
    # Both one-sided tests in one: the bound on the side of r is the nearer one.
    distance = (math.atanh(bound) - abs(math.atanh(r))) / error
    beyond = math.tanh(abs(math.atanh(r)) + float(stats.norm.isf(alpha)) * error)
    return Equivalence(p=float(stats.norm.sf(distance)), excluded_beyond=beyond)


def verdict(p: float, p_equivalence: float) -> Conclusion:
    """Return what the test of no effect and the one of equivalence say together."""
    equivalent = p_equivalence < tables.SIGNIFICANT
    if p < tables.SIGNIFICANT:
        return Conclusion.SMALL if equivalent else Conclusion.ASSOCIATED
    return Conclusion.EQUIVALENT if equivalent else Conclusion.UNDECIDED


def weigh(
    wanted: Sequence[ModelTable],
    fits: Mapping[str, Fit],
    scale: EvidenceSettings,
    units: Mapping[str, str],
) -> pd.DataFrame:
    """Return effect sizes and evidence of every cell of the tables, one line each.

    Parameters
    ----------
    units
        The unit of each variable; terms in ppb have an effect per 10 ppb.
    """
    parts = [
        _of_side([(row, fits[name]) for row in table.rows if (name := getattr(row, side))],
                 table.name, side, scale, units)
        for table in wanted
        for side in tables.SIDES
    ]  # fmt: skip
    known = [part for part in parts if len(part)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=COLUMNS)


def _of_side(
    cells: Sequence[tuple[Row, Fit]],
    table: str,
    side: str,
    scale: EvidenceSettings,
    units: Mapping[str, str],
) -> pd.DataFrame:
    """Return the lines of one column of one table, which is a family of tests."""
    lines = [
        {"table": table, "label": row.label, "side": side} | _line(fit, row.term, scale, units)
        for row, fit in cells
    ]
    made = pd.DataFrame(lines, columns=COLUMNS)
    made["p_equivalence_holm"] = multiplicity.adjust(made["p_equivalence"].astype(float))["p_holm"]
    return made


def _line(
    fit: Fit, term: str, scale: EvidenceSettings, units: Mapping[str, str]
) -> dict[str, object]:
    found = fit.row(term)
    line: dict[str, object] = {"model": fit.model.name, "term": term}
    line["effect"] = str(tables.effect_of(fit.model))
    line |= {name: found[name] for name in ("outcome", "n", "p", "partial_r", "note")}
    line |= _sizes(fit, term, units.get(term, ""))
    r, df = float(found["partial_r"]), float(found["df_residual"])
    line |= {"smallest_effect": scale.smallest_effect, "verdict": ""}
    if math.isnan(r):
        return line | _approximate(fit, term, scale, line)
    # An exact fit has no error.
    if abs(r) >= 1 or not df > 1:
        return line
    tested = equivalence(r, df, scale.smallest_effect)
    low, high = partial_interval(r, df)
    of_one = linear_predictor.unit(fit, term)
    return line | _factors(fit, float(found["r_squared"]), r, df, scale) | {
        "partial_r_low": low,
        "partial_r_high": high,
        "scale": str(EvidenceScale.EXACT),
        "smallest_coefficient": linear_predictor.coefficient(scale.smallest_effect, of_one),
        "p_equivalence": tested.p,
        "excluded_beyond": tested.excluded_beyond,
        "verdict": str(verdict(float(found["p"]), tested.p)),
    }  # fmt: skip


NO_SPREAD = (
    "no equivalence test and no Bayes factor: the term does not vary where the other terms (and "
    "the site, where sites have intercepts) are held fixed"
)


def _approximate(
    fit: Fit, term: str, scale: EvidenceSettings, line: Mapping[str, object]
) -> dict[str, object]:
    """Return the evidence of a coefficient that least squares did not estimate.

    Both one-sided tests and the Bayes factor are of the coefficient itself, by its own error; what
    they are held against is a partial correlation on the scale of the linear predictor, or the
    ratio that the analysis states.
    """
    found = fit.row(term)
    estimate, error = float(found["coefficient"]), float(found["standard_error"])
    if math.isnan(estimate) or not error > 0 or term == design.INTERCEPT:
        return {}  # its note says why there is no estimate
    of_one = linear_predictor.unit(fit, term)
    if math.isnan(of_one):
        return {"note": "; ".join(filter(None, (str(found["note"]), NO_SPREAD)))}
    bound = linear_predictor.coefficient(scale.smallest_effect, of_one)
    if scale.smallest_ratio is not None and line["effect"] in tables.RATIOS:
        # A contrast has no spread of its own: its ratio is per unit.
        bound = math.log(scale.smallest_ratio) / float(str(line.get("sd_term", 1.0)))
    p = float(_distribution(fit, float(found["df_residual"])).sf((bound - abs(estimate)) / error))
    ends = {name: float(found[name]) for name in ("ci_low", "ci_high")}
    reach = float(_distribution(fit, float(found["df_residual"])).isf(0.05)) * error
    as_r = {
        "partial_r": estimate,
        "partial_r_low": ends["ci_low"],
        "partial_r_high": ends["ci_high"],
        "smallest_effect": bound,
        "excluded_beyond": abs(estimate) + reach,
    }
    # With few degrees of freedom the printed interval is wider than a normal one; so is this.
    wide = (ends["ci_high"] - ends["ci_low"]) / 2 / float(stats.norm.isf(0.025))
    log_factor = bayes.log_of_estimate(estimate, wide, scale.regression_scale * of_one)
    return {name: linear_predictor.correlation(value, of_one) for name, value in as_r.items()} | {
        "scale": str(EvidenceScale.APPROXIMATE),
        "smallest_coefficient": bound,
        "p_equivalence": p,
        "bf10": _factor(log_factor),
        "verdict": str(verdict(float(found["p"]), p)),
    }


def _distribution(fit: Fit, df: float) -> Any:  # noqa: ANN401 - scipy is untyped
    """Return the distribution of a coefficient over its error, as its p has it."""
    uses_t = fit.model.family == "gaussian" and fit.model.method != "huber"
    return stats.t(df) if uses_t else stats.norm()


def _factors(
    fit: Fit, r_squared: float, r: float, df: float, scale: EvidenceSettings
) -> dict[str, float]:
    """Return the Bayes factors of a coefficient and of its partial correlation."""
    assert fit.design is not None  # noqa: S101 - it has a partial correlation
    n = fit.design.n
    n_predictors = n - 1 - round(df)
    # R squared is against the mean: without an intercept among the columns it is no share of
    # variance.
    ones = np.ones(n)
    kept, _ = design.independent_columns(fit.design.predictors)
    columns = fit.design.predictors[:, kept]
    gap = ones - columns @ np.linalg.lstsq(columns, ones, rcond=None)[0]
    has_intercept = float(gap @ gap) < 1e-9 * n
    made = {"bf10": math.nan, "bf10_correlation": math.nan}
    if has_intercept:
        made["bf10"] = _factor(
            bayes.log_of_coefficient(r_squared, r, n, n_predictors, scale.regression_scale)
        )
        # The terms held fixed cost one participant each, as in the interval.
        made["bf10_correlation"] = _factor(
            bayes.log_of_correlation(r, n - n_predictors + 1, scale.correlation_width)
        )
    return made


def _factor(log_factor: float) -> float:
    return math.exp(min(log_factor, math.log(LARGEST_FACTOR)))


def _sizes(fit: Fit, term: str, unit: str) -> dict[str, float]:
    """Return the coefficient per standard deviation of its term, and per 10 ppb."""
    # A contrast has no column of its own, and no spread.
    if not fit.fitted or fit.design is None or term not in fit.design.names:
        return {}
    found = fit.row(term)
    ends = {"": "coefficient", "_low": "ci_low", "_high": "ci_high"}
    column = fit.design.predictors[:, fit.design.names.index(term)]
    spread, outcome = float(np.std(column, ddof=1)), float(np.std(fit.design.outcome, ddof=1))
    made = {f"per_sd{end}": float(found[name]) * spread for end, name in ends.items()}
    made |= {"sd_term": spread}
    # The spread of a yes or no is no unit of effects.
    if fit.model.family == "gaussian":
        made["standardised"] = made["per_sd"] / outcome
    if unit == "ppb":
        made |= {f"per_10_ppb{end}": 10 * float(found[name]) for end, name in ends.items()}
    return made
