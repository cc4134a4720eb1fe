"""Missing values filled many times by chained equations, and the results taken together.

statsmodels has this as ``MICE``, but draws from numpy's global state, starts from means, imputes
all variables by one bootstrap, and pools with a normal distribution instead of Barnard and Rubin's
degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bids_qsmthal.statistics import chained_equations, design, formulas, regression
from bids_qsmthal.statistics.chained_equations import Incomplete
from bids_qsmthal.statistics.regression import Fit, Model

Floats = NDArray[np.float64]

FEWEST_OBSERVED = 10
"""Known values of a variable below which there is nothing to learn its distribution from."""

COLUMNS = [
    "model", "outcome", "term", "coefficient", "standard_error", "df", "ci_low", "ci_high", "p",
    "n", "n_imputed", "fraction_missing", "complete_coefficient", "complete_ci_low",
    "complete_ci_high", "complete_p", "complete_n", "datasets", "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Imputation:
    """How often missing values are filled, and from what."""

    datasets: int = 20
    cycles: int = 10
    auxiliary: tuple[str, ...] = ()
    """Variables that help to fill, beside those of the models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """How the models use the variables, which is how they have to be filled.

    Filling a volume whose logarithm is analysed on its own scale, or one of two variables that
    interact without their product, pulls coefficients towards zero: on 200 simulated cohorts of 95
    with values lost by the outcome, a slope of .60 on a logarithm became .49 and an interaction of
    .50 became .39, and intervals of 95 % held the truth in 94 and 92 %.

    References
    ----------
    White, Royston & Wood (2011), 2.4 and 5. Stat Med 30(4), 377-399. doi:10.1002/sim.4067
    """

    logged: frozenset[str] = frozenset()
    """Variables of which every formula has the logarithm."""

    products: tuple[tuple[str, str, str], ...] = ()
    """Outcomes with two variables whose product predicts them."""


NO_FORMS = Forms()


def forms_of(models: Sequence[Model]) -> Forms:
    """Return how some models use their variables."""
    parsed = [formulas.parse(model.formula) for model in models]
    logarithms: set[str] = set()
    others: set[str] = set()
    for factor in (factor for formula in parsed for factor in formula.factors):
        name = factor.variables[0]
        whole = {f"{function}({name})" for function in ("log", "log2", "log10")}
        (logarithms if factor.text in whole else others).update(factor.variables)
    logarithms |= {model.exposure for model in models if model.exposure}
    products = {
        (formula.outcome.variables[0], *pair) for formula in parsed for pair in formula.interactions
    }
    return Forms(logged=frozenset(logarithms - others), products=tuple(sorted(products)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One estimate of many data sets."""

    estimate: float
    error: float
    df: float
    fraction_missing: float
    """Share of the information that is missing."""


def explore(
    questions: Sequence[tuple[Fit, str]], frame: pd.DataFrame, how: Imputation, seed: int
) -> pd.DataFrame:
    """Return each coefficient of complete cases, and with missing values filled.

    Parameters
    ----------
    questions
        A model as it was fitted, and the coefficient that is asked for.
    frame
        One row a participant.
    """
    models = [fit.model for fit, _ in questions]
    names = variables(models, how.auxiliary, frame)
    forms = forms_of(models)
    filled = [
        imputed(frame, names, how.cycles, np.random.default_rng([seed, place]), forms)
        for place in range(how.datasets)
    ]
    # Two lines of a table may be of one model, which is fitted once.
    fits = {
        model.name: [regression.fit(model, data) for data in filled]
        for model in {model.name: model for model in models}.values()
    }
    rows = [_row(fit, term, fits[fit.model.name]) for fit, term in questions]
    return pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(ignore_index=True)


def variables(
    models: Sequence[Model], auxiliary: Sequence[str], frame: pd.DataFrame
) -> tuple[str, ...]:
    """Return the variables that take part: those of all models, and the auxiliary ones."""
    of_models = [name for model in models for name in formulas.variables(model.formula)]
    exposures = [model.exposure for model in models if model.exposure]
    names = dict.fromkeys([*of_models, *exposures, *auxiliary])
    return tuple(name for name in names if frame[name].notna().any())


def imputed(
    frame: pd.DataFrame,
    names: Sequence[str],
    cycles: int,
    rng: np.random.Generator,
    forms: Forms = NO_FORMS,
) -> pd.DataFrame:
    """Return the table with missing numbers filled once, by chained equations.

    Each variable is predicted by all others, in turn. Scales get values that somebody has,
    continuous variables their prediction with the residual of somebody; negative numbers and
    fractions arise only where there are some. Words predict, but are not filled. Variables
    predict in the form in which the models have them.

    References
    ----------
    van Buuren & Groothuis-Oudshoorn (2011). J Stat Softw 45(3). doi:10.18637/jss.v045.i03
    """
    words = [name for name in names if design.holds_words(frame[name])]
    # A variable that hardly anybody has is neither filled nor of help.
    numbers = [
        name for name in names if name not in words and frame[name].notna().sum() >= FEWEST_OBSERVED
    ]
    known = frame[numbers].to_numpy(dtype=float, copy=True)
    # Where zero occurs there is no logarithm; such a variable keeps its scale.
    logged = [name in forms.logged and not (frame[name] <= 0).any() for name in numbers]
    values = known.copy()
    values[:, logged] = np.log(known[:, logged])
    products = [
        (numbers.index(outcome), numbers.index(one), numbers.index(other))
        for outcome, one, other in forms.products
        if {outcome, one, other} <= set(numbers)
    ]
    # Who lacks a word has zeros in its columns, a level of its own.
    dummies = (
        pd.get_dummies(frame[words], dtype=float).to_numpy() if words else np.empty((len(frame), 0))
    )
    grains = [
        chained_equations.grain_of(known[~np.isnan(known[:, place]), place], logged=logged[place])
        for place in range(len(numbers))
    ]
    table = Incomplete(values=values, dummies=dummies, grains=grains, products=products)
    filled = chained_equations.filled(table, cycles, rng)
    for place, grain in enumerate(grains):
        if not grain.continuous:
            made = _as_observed(known[:, place], values[:, place], filled[:, place])
        elif logged[place]:
            made = np.where(np.isnan(known[:, place]), np.exp(filled[:, place]), known[:, place])
        else:
            made = filled[:, place]
        known[:, place] = made
    return frame.assign(**{name: known[:, place] for place, name in enumerate(numbers)})


def _as_observed(known: Floats, before: Floats, filled: Floats) -> Floats:
    """Return filled values as somebody had them, in the unit of the table."""
    gaps = np.isnan(known)
    if not gaps.any():
        return known
    donors = np.flatnonzero(~gaps)
    order = donors[np.argsort(before[donors], kind="stable")]
    made = known.copy()
    # A value was taken as it was, so its row is found again by it.
    made[gaps] = known[order[np.searchsorted(before[order], filled[gaps])]]
    return made


def pooled(estimates: Floats, errors: Floats, df_complete: float) -> Pooled:
    """Return one estimate of several data sets by Rubin's rules.

    Parameters
    ----------
    df_complete
        Degrees of freedom that the model has where nothing is missing.

    References
    ----------
    Rubin (1987). Multiple imputation for nonresponse in surveys. doi:10.1002/9780470316696
    Barnard & Rubin (1999). Biometrika 86(4), 948-955. doi:10.1093/biomet/86.4.948
    """
    m = len(estimates)
    within = float(np.mean(errors**2))
    between = float(np.var(estimates, ddof=1)) * (1 + 1 / m)
    total = within + between
    share = between / total
    # What would be observed with the same share of missing information in so many people.
    observed = (df_complete + 1) / (df_complete + 3) * df_complete * (1 - share)
    # Nothing is missing: the data sets agree, and only the people are left.
    old = (m - 1) / share**2 if share > 1e-12 else np.inf
    df = observed if np.isinf(old) else old * observed / (old + observed)
    ratio = between / within
    fraction = (ratio + 2 / (df + 3)) / (ratio + 1) if share > 1e-12 else 0.0
    return Pooled(
        estimate=float(np.mean(estimates)),
        error=float(np.sqrt(total)),
        df=float(df),
        fraction_missing=float(fraction),
    )


def _row(complete: Fit, term: str, fits: Sequence[Fit]) -> dict[str, object]:
    found = complete.row(term)
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan) | {
        "model": complete.model.name,
        "outcome": found["outcome"],
        "term": term,
        "datasets": len(fits),
        "complete_n": found["n"],
    }
    row |= {f"complete_{name}": found[name] for name in ("coefficient", "ci_low", "ci_high", "p")}
    rows = pd.DataFrame([fit.row(term) for fit in fits])
    estimates = rows["coefficient"].to_numpy(dtype=float)
    if not np.isfinite(estimates).all():
        lost = int((~np.isfinite(estimates)).sum())
        return row | {"note": f"no estimate in {lost} of {len(fits)} filled data sets"}
    errors = rows["standard_error"].to_numpy(dtype=float)
    # The fewest people: a filter on a filled variable may let in others each time.
    made = pooled(estimates, errors, float(rows["df_residual"].min()))
    n = int(rows["n"].min())
    reach = float(stats.t.ppf(0.975, made.df)) * made.error
    note = ""
    # White, Royston & Wood (2011), doi:10.1002/sim.4067: as many as the percentage that is missing.
    if len(fits) < 100 * made.fraction_missing:
        note = f"{100 * made.fraction_missing:.0f} data sets or more would be needed"
    return row | {
        "coefficient": made.estimate,
        "standard_error": made.error,
        "df": made.df,
        "ci_low": made.estimate - reach,
        "ci_high": made.estimate + reach,
        "p": float(2 * stats.t.sf(abs(made.estimate / made.error), made.df)),
        "n": n,
        "n_imputed": n - int(found["n"]),
        "fraction_missing": made.fraction_missing,
        "note": note,
    }
