"""The methods of the group level in words: who, which models, missing values, inference."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pandas as pd

from bids_qsmthal.core.digits import count
from bids_qsmthal.group import labels, plots, study_words
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.group.flow import FlowStep
from bids_qsmthal.statistics import sensitivity
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.regression import Fit
from bids_qsmthal.statistics.resampling import Resampling

SESSIONS = {
    "first": "the first session",
    "last": "the last session",
    "first usable": "the first usable session",
    "last usable": "the last usable session",
}

FAMILIES = {
    "gaussian": "linear regression",
    "binomial": "logistic regression",
    "ordinal": "proportional-odds regression",
    "poisson": "Poisson regression",
    "negative_binomial": "negative binomial regression",
}

METHODS = {
    "ols": "least squares",
    "hc3": "least squares with robust standard errors (HC3)",
    "huber": "Huber's M-estimate",
}

EMPTY: pd.Series[str] = pd.Series(dtype=str)

SOFTWARE = ("statsmodels", "scipy", "numpy", "pandas")


def describe(analysis: Analysis, results: Results, how: Resampling) -> dict[str, str]:
    """Return paragraphs by their headings, each choice and number as this run had it."""
    return {
        "Participants": _participants(analysis, results),
        "Missing values": _missing(analysis, results),
        "Models": _models(results),
        "Choices": _choices(analysis, results),
        "Inference": _inference(analysis, results, how),
        "Statistical software": _software(),
    }


def _participants(analysis: Analysis, results: Results) -> str:
    counts = {line.step: line.n for line in results.flow}
    parts = []
    if FlowStep.LISTED in counts:
        parts.append(
            f"{count(counts[FlowStep.LISTED])} participants were listed in participants.tsv"
        )
    parts.append(f"{count(counts.get(FlowStep.WITH_RESULTS, 0))} had results")
    parts.append(f"{count(counts.get(FlowStep.ANALYSED, 0))} were analysed")
    text = f"{', '.join(parts[:-1])} and {parts[-1]}."
    excluded = [
        f"{count(line.n)} ({line.about})" for line in results.flow if line.step == FlowStep.EXCLUDED
    ]
    if excluded:
        text += f" Excluded were {'; '.join(excluded)}."
    if analysis.filter:
        text += f" Only participants with {analysis.filter} were analysed."
    groups = analysis.groups
    # Without the column there are no groups, and everybody is analysed.
    if groups and results.analysed.get(groups.variable, EMPTY).notna().any():
        named = " and ".join(groups.analysed)
        text += f" Models that do not name {groups.variable} are restricted to {named}."
    session = SESSIONS.get(analysis.session, f"session {analysis.session}")
    return f"{text} Each participant entered with {session}."


def _missing(analysis: Analysis, results: Results) -> str:
    rows = results.cohort.drop_duplicates("variable")
    lacking = [
        f"{row['label']} ({count(int(row['n_missing']))})"
        for row in rows.to_dict("records")
        if row["n_missing"]
    ]
    text = (
        f"Participants without a value: {', '.join(lacking)}."
        if lacking
        else "No value of the characteristics was missing."
    )
    declared = [name for name, variable in analysis.variables.items() if variable.missing]
    if declared:
        text += f" The analysis declares codes for unknown values of {', '.join(declared)}."
    text += (
        " Each model was fitted to the participants with complete values of its "
        "variables; the tables give their number in each cell."
    )
    how = analysis.imputation
    if how and len(results.imputation):
        text += (
            f" In addition, missing values were filled {how.datasets} times by chained equations "
            f"({how.cycles} cycles): scales by predictive mean matching, continuous variables by "
            "their prediction with a drawn residual, variables of products compatibly with the "
            "model (Bartlett et al. 2015). The estimates were pooled by Rubin's rules with the "
            "degrees of freedom of Barnard and Rubin (1999)."
        )
    return text


def _models(results: Results) -> str:
    return " ".join(_model(fit) for fit in results.fits.values())


def _model(fit: Fit) -> str:
    model = fit.model
    how = FAMILIES.get(model.family, model.family)
    if model.family == "gaussian":
        how += f" by {METHODS.get(model.method, model.method)}"
    where = f", participants with {model.filter}" if model.filter else ""
    n = f"n = {count(fit.design.n)}" if fit.design and fit.fitted else f"not fitted: {fit.note}"
    return f"{model.name}: {model.formula} ({how}{where}; {n})."


def _inference(analysis: Analysis, results: Results, how: Resampling) -> str:
    sentences = [
        "Intervals are 95% confidence intervals; tests are two-sided with a level of .05. p "
        "values of the tables are not corrected for several tests; p values corrected over the "
        "lines of a table by Holm and by Benjamini and Hochberg are given as well.",
        "Residuals were examined for normality, equal variance, influence and collinearity.",
    ]
    sentences += study_words.methods(analysis, results.evidence)
    sentences += list(_resampling(results, how))
    if analysis.normality:
        sentences.append(
            "The distribution of variables was examined by the test of skewness and kurtosis and "
            "by that of Shapiro and Wilk on Tukey's ladder of powers."
        )
    if analysis.longitudinal:
        models = "; ".join(f"{model.name}: {model.formula}" for model in analysis.longitudinal)
        sentences.append(
            f"Repeated sessions were analysed by linear mixed models (REML; {models})."
        )
    if len(results.reliable_change):
        sentences.append(
            "Changes of single participants were divided by their standard error, the root of 2 "
            "times the standard deviation of the residuals (Jacobson & Truax 1991)."
        )
    if len(results.annual_change):
        sentences.append(
            "Change between visits was measured in the images of each participant together, from "
            "the first usable visit to the last; means over participants and models of change are "
            "random-effects (meta-)regressions with the standard error of each change (variance "
            "beyond these by Paule and Mandel, intervals by Hartung and Knapp)."
        )
    if analysis.mediation:
        paths = "; ".join(
            f"{path.cause} by {path.mediator} to {path.outcome}" for path in analysis.mediation
        )
        sentences.append(f"Indirect effects ({paths}) have bootstrap intervals.")
    if analysis.harmonisation:
        sentences.append(
            f"Differences between the levels of {analysis.harmonisation.site} were removed from "
            f"{', '.join(analysis.harmonisation.variables)} by ComBat."
        )
    return " ".join(sentences)


def _resampling(results: Results, how: Resampling) -> Iterator[str]:
    if results.sensitivity.empty:
        return
    n = max((fit.design.n for fit in results.fits.values() if fit.design), default=1)
    tried = sensitivity.most_answers(results.sensitivity)
    yield (
        f"Each coefficient of the tables was estimated under up to {tried} specifications that "
        "give different estimates, and examined by robust errors, a bootstrap (BCa, "
        f"{count(how.bootstraps(n))} draws), permutation ({count(how.permutations(n))} draws) and "
        f"leaving out one participant at a time (seed {how.seed})."
    )


SITES = {
    "fixed": "as a factor in every model that does not name it",
    "random": "as a random intercept (REML) in linear models, as a factor in others",
    "combat": "by harmonisation (ComBat)",
    "meta": "by fitting each site alone and a meta-analysis with random effects (between-site "
    "variance by Paule and Mandel, interval by Hartung and Knapp) in addition to the models of "
    "all sites",
}


def _choices(analysis: Analysis, results: Results) -> str:
    """Return what the analysis file declares about values and about what is looked at again."""
    return " ".join([*_of_values(analysis), *_of_specifications(analysis, results)])


def _of_values(analysis: Analysis) -> Iterator[str]:
    yield f"The analysis is '{analysis.name}'."
    variables = analysis.variables.values()
    limited = [
        f"{one.label} ({' to '.join(plots.tick_text(end) for end in one.range)}"
        f"{f' {labels.UNITS.get(one.unit, one.unit)}' if one.unit else ''})"
        for one in variables
        if one.range
    ]
    if limited:
        yield f"Values were checked against their possible ranges: {', '.join(limited)}."
    topped = [one.label for one in variables if one.top_coded]
    if topped:
        yield f"Top-coded values were taken as their limit: {', '.join(topped)}."
    if analysis.exclude_when:
        named = ", ".join(analysis.variables[name].label for name in analysis.exclude_when)
        yield (
            f"Participants without a usable image of these were left out of all analyses: {named}."
        )
    if analysis.site:
        yield f"The site ({analysis.site.variable}) was accounted for {SITES[analysis.site.way]}."


def _of_specifications(analysis: Analysis, results: Results) -> Iterator[str]:
    wanted = analysis.sensitivity
    if wanted is None or results.sensitivity.empty:
        return
    names = [*wanted.filters, *wanted.terms, *wanted.covariates, *(m.name for m in wanted.measures)]
    if names:
        yield f"Other specifications that were asked for: {', '.join(dict.fromkeys(names))}."
    if wanted.head_size:
        yield f"Head size ({wanted.head_size.variable}): as covariate, ratio and residual."
    if wanted.noise:
        yield (
            "In one specification slopes were divided by the reliability of "
            f"{', '.join(wanted.noise)}."
        )
    for name, added in wanted.zero_add.items():
        yield f"For values of zero, {added:g} was added to {name} within the logarithm."


def _software() -> str:
    named = [f"{name} {version(name)}" for name in SOFTWARE]
    return f"The analysis was run with bids_qsmthal {version('bids_qsmthal')}, {', '.join(named)}."
