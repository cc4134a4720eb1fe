"""What each column of the group tables means: the JSON beside every TSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bids_qsmthal.group.measures import Catalogue
from bids_qsmthal.statistics.analysis import COMPUTED, Analysis, Variable
from bids_qsmthal.statistics.harmonisation import SUFFIX

IDENTITY = {
    "participant_id": "Participant",
    "session_id": "Session; n/a where there is only one",
    "run_id": "Run of the gradient echo; n/a where there is only one",
}

COEFFICIENT = {
    "model": "Name of the model in the analysis file",
    "outcome": "Outcome, left of the ~ of the formula",
    "term": "Coefficient or contrast; where nothing could be fitted, empty or the requested term",
    "coefficient": "Change of the outcome per unit of the term (log odds ratio if logistic or "
    "proportional odds, log rate ratio of counts)",
    "standard_error": "Standard error of the coefficient",
    "statistic": "Coefficient divided by its standard error",
    "df_residual": "Participants minus coefficients; Satterthwaite's degrees of freedom for random "
    "intercepts",
    "ci_low": "Lower end of the 95% confidence interval",
    "ci_high": "Upper end of the 95% confidence interval",
    "p": "Two-sided p of no association: Student's t (ols, hc3, random intercepts), normal "
    "(all others)",
    "partial_r": "Correlation of outcome and term with the other terms held fixed",
    "n": "Participants in the model: all variables known, not excluded, selected by the filter",
    "n_events": "Participants whose outcome is 1 (logistic), or the sum of counts; n/a otherwise",
    "r_squared": "Share of the variance of the outcome that the model explains",
    "adjusted_r_squared": "The same, corrected for the number of coefficients",
    "residual_sd": "Standard deviation of the residuals, in units of the outcome",
    "method": "ols: least squares; hc3: the same with robust errors; huber: M-estimate; logistic, "
    "Poisson, negative binomial, proportional odds: by their likelihood; random intercepts: of "
    "sites, by REML; ending in hc3: with robust errors",
    "formula": "Formula of the model",
    "filter": "Who is in the model, if not everyone",
    "note": "What to know before using the row; why a number is missing",
}

COHORT = {
    "variable": "Variable of the analysis file",
    "label": "Its name for readers",
    "unit": "Unit of mean to maximum",
    "level": "Level that is counted; n/a for a measured variable",
    "n": "Participants with a value",
    "n_missing": "Participants without a value",
    "count": "Participants at the level",
    "percent": "Count in percent of n",
    "mean": "Mean",
    "sd": "Standard deviation (n - 1)",
    "median": "Median",
    "q1": "First quartile",
    "q3": "Third quartile",
    "minimum": "Smallest value",
    "maximum": "Largest value",
}

NORMALITY = {
    "variable": "Variable of the analysis file",
    "transform": "Rung of Tukey's ladder of powers",
    "n": "Values",
    "skewness": "Moment coefficient of skewness; 0 for a normal distribution",
    "kurtosis": "Moment coefficient of kurtosis; 3 for a normal distribution",
    "p_skewness": "p of the test of skewness (D'Agostino 1970)",
    "p_kurtosis": "p of the test of kurtosis (Anscombe & Glynn 1983)",
    "k_squared": "Omnibus statistic of D'Agostino, Belanger & D'Agostino (1990)",
    "p": "Its p, chi-squared with two degrees of freedom",
    "k_squared_adjusted": "The same with Royston's adjustment: what STATA's ladder prints",
    "p_adjusted": "Its p; a small one speaks against a normal distribution",
    "w": "Shapiro-Wilk statistic",
    "p_shapiro": "Its p",
    "note": "Why a rung could not be tested",
}

POWER = {
    "question": "What is computed: the detectable correlation or the needed sample",
    "model": "Name of the model; n/a where no model is meant",
    "n": "Participants",
    "n_covariates": "Predictors held fixed beside the one of interest",
    "power": "Chance of finding the effect",
    "alpha": "Two-sided level of significance",
    "r": "(Partial) correlation",
    "note": "Why there is no number",
}

EXCLUSIONS = IDENTITY | {
    "decision": "include, check (used, but look at it) or exclude",
    "reason": "Why",
    "source": "automatic: by quality control; edited: by a reader, in edits/ (ratings saved from "
    "the pages, exclusions.tsv)",
}

DIAGNOSTICS = {
    "model": COEFFICIENT["model"],
    "n": COEFFICIENT["n"],
    "skewness_kurtosis_p": "p of normal residuals (D'Agostino, adjusted by Royston)",
    "shapiro_p": "p of normal residuals (Shapiro-Wilk)",
    "breusch_pagan_p": "p of equal residual variance (Breusch-Pagan, studentised by Koenker)",
    "reset_p": "p of a linear relation (Ramsey's RESET with squares and cubes)",
    "largest_vif": "Largest variance inflation factor",
    "largest_vif_term": "The term that has it",
    "largest_cooks_distance": "Largest Cook's distance",
    "most_influential": "The participant who has it",
    "n_influential": "Participants with a Cook's distance above 4/n",
    "largest_leverage": "Largest leverage",
    "decided_alone": "Coefficients that depend on one participant alone (leverage 1), and on whom",
    "n_findings": "How many things stand out; advice names them",
    "advice": "What these figures suggest",
    "note": COEFFICIENT["note"],
}

SENSITIVITY = {
    "model": "Model of the table whose coefficient is estimated again",
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "specification": "What was done differently",
    "kind": "model, inference, sample (other people), term (another form, or one more), measure "
    "(another measure), outcome (another form of it); and two that ask other questions: region "
    "(the same elsewhere in the brain) and any (whether there is any at all)",
    "coefficient": "Coefficient; for another measure in that measure's unit",
    "ci_low": "Lower end of the 95% interval; the smallest coefficient for leave one out",
    "ci_high": "Upper end of the 95% interval; the largest coefficient for leave one out",
    "p": "p; the largest one for leave one out",
    "partial_r": COEFFICIENT["partial_r"],
    "n": COEFFICIENT["n"],
    "n_events": COEFFICIENT["n_events"],
    "distinct": "1 if the row answers the question and no earlier row has the same estimate (or "
    "the same partial correlation) from the same participants; otherwise 0",
    "note": COEFFICIENT["note"],
}

LONGITUDINAL = {
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "kind": "fixed effect, or standard deviation of a random one",
    "term": "Coefficient or random effect",
    "coefficient": "Estimate by restricted maximum likelihood",
    "standard_error": COEFFICIENT["standard_error"],
    "df": "Degrees of freedom (Satterthwaite)",
    "ci_low": "Lower end of the 95% interval (Student's t with df)",
    "ci_high": "Upper end of the 95% interval (Student's t with df)",
    "p": "Two-sided p (Student's t with df)",
    "n_participants": "Participants in the model",
    "n_sessions": "Sessions in the model",
    "log_likelihood": "Restricted log likelihood",
    "formula": "Fixed part",
    "random": "Random part, as lme4 writes it",
    "filter": COEFFICIENT["filter"],
    "note": COEFFICIENT["note"],
}

RELIABLE_CHANGE = {
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "participant_id": "Participant",
    "session_from": "First session in the model that has a date",
    "session_to": "Last session in the model that has a date",
    "years": "Time between them",
    "change": "Value at the last minus that at the first, in the unit of the outcome",
    "change_se": "Its standard error: square root of 2 times the SD of the model's residuals",
    "index": "Change over its standard error (Jacobson & Truax 1991)",
    "reliable": "increase or decrease where the index is beyond 1.96 (1 in 20 people without any "
    "change is), no where it is not",
    "note": "What a reader must know about the model",
}

CHANGE_MODELS = {
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "coefficient": "Estimate of random-effects meta-regression: each participant weighs by the "
    "standard error of their change and by tau",
    "standard_error": "Its standard error (Hartung & Knapp)",
    "df": "Degrees of freedom: participants minus coefficients",
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": "Two-sided p of no association (Student's t)",
    "n": "Participants in the model",
    "tau": "Standard deviation of what the model does not explain, beyond the known errors "
    "(Paule & Mandel)",
    "i_squared_percent": "Share of the variance beyond the known errors, in percent (Higgins & "
    "Thompson 2002)",
    "heterogeneity_p": "p of no variance beyond the known errors (Cochran's Q)",
    "formula": COEFFICIENT["formula"],
    "filter": COEFFICIENT["filter"],
    "note": COEFFICIENT["note"],
}

CHANGED_PLACE = {
    "measure": "What changed, as in the table of change of a participant",
    "region": "Structure",
    "hemisphere": "L, R, or LR together",
    "variant": "Background removal of the map of susceptibility; n/a for other measures",
}

ANNUAL_CHANGE = CHANGED_PLACE | {
    "unit": "Unit of the change, its interval and tau",
    "n": "Participants in the mean",
    "mean_years": "Mean time between the visits",
    "change_per_year": "Mean change in a year: each participant weighs by the standard error of "
    "their change and by tau",
    "standard_error": CHANGE_MODELS["standard_error"],
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": "Two-sided p of no change; not corrected for several measures; n/a for what cannot be "
    "below zero",
    "tau": "Standard deviation between participants of the change in a year, beyond the known "
    "errors; where no errors are known, including them",
    "percent_per_year": "Mean change in a year in percent of each participant's own value, "
    "weighted likewise; n/a for susceptibility",
    "percent_ci_low": "Lower end of its 95% confidence interval",
    "percent_ci_high": "Upper end of its 95% confidence interval",
    "n_known": "Participants for whom it is known whether the change is reliable",
    "n_increase": "Those of them with a reliable increase: the 95% interval of their change is "
    "above zero. 1 in 40 people without any change is counted here",
    "n_decrease": "Those of them with a reliable decrease",
    "note": COEFFICIENT["note"],
}

EACH_CHANGE = CHANGED_PLACE | {
    "participant_id": "Participant",
    "session_from": "First usable visit",
    "session_to": "Last usable visit",
    "years": "Time between them",
    "unit": "Unit of value, change and their errors",
    "value": "Mean of both visits",
    "change": "Later minus earlier visit; for new lesions what appeared from visit to visit",
    "change_se": "Its standard error, from the participant's own images",
    "change_percent": "Change in percent of the value",
    "change_per_year": "Change divided by years",
    "change_per_year_se": "Its standard error",
    "reliable": "increase or decrease where the 95% interval of the change excludes zero (1 in 20 "
    "people without any change), no where it does not, n/a where it is not known",
}

MEDIATION = {
    "model": "Name of the mediation in the analysis file",
    "path": "Path; total = direct + indirect",
    "coefficient": "Its coefficient",
    "ci_low": "Lower end of the 95% bootstrap interval (percentile)",
    "ci_high": "Upper end of the 95% bootstrap interval (percentile)",
    "n": COEFFICIENT["n"],
    "cause": "Assumed cause",
    "mediator": "Assumed mediator",
    "outcome": "Outcome",
    "covariates": "Held fixed",
    "note": COEFFICIENT["note"],
}

SITES = {
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "site": "Site, or all sites: random-effects meta-analysis (Paule-Mandel, Hartung-Knapp)",
    "coefficient": COEFFICIENT["coefficient"],
    "standard_error": COEFFICIENT["standard_error"],
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": "Two-sided p of no association",
    "weight_percent": "Weight of the site in the mean, in percent",
    "n": "Participants",
    "n_events": COEFFICIENT["n_events"],
    "tau": "Standard deviation of the coefficient between sites",
    "i_squared_percent": "Share of the variance of the sites' coefficients that chance does not "
    "explain, in percent (Higgins & Thompson 2002)",
    "heterogeneity_p": "p of equal coefficients at all sites (Cochran's Q)",
    "note": COEFFICIENT["note"],
}

IMPUTATION = {
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "coefficient": "Mean over the filled data sets (Rubin's rules)",
    "standard_error": "Its standard error: within and between data sets",
    "df": "Degrees of freedom (Barnard & Rubin 1999)",
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": "Two-sided p of no association (Student's t with these degrees of freedom)",
    "n": "Participants in the model with missing values filled",
    "n_imputed": "Those of them with at least one filled value",
    "fraction_missing": "Share of the information on the coefficient that is missing",
    "complete_coefficient": "Coefficient of those who have all values",
    "complete_ci_low": "Lower end of its 95% confidence interval",
    "complete_ci_high": "Upper end of its 95% confidence interval",
    "complete_p": "Its p",
    "complete_n": "Participants who have all values",
    "datasets": "Number of data sets with filled values",
    "note": COEFFICIENT["note"],
}

HARMONISATION = {
    "variable": "Harmonised variable, or another measure that may replace one",
    "site": "Site",
    "n": "Participants of the site with a harmonised value",
    "n_sessions": "Their sessions",
    "mean_before": "Mean before ComBat",
    "mean_after": "Mean after ComBat",
    "sd_before": "Standard deviation before ComBat",
    "sd_after": "Standard deviation after ComBat",
    "note": "What makes the result doubtful",
}

EVIDENCE = {
    "table": "Table of the analysis",
    "label": "Line of the table",
    "side": "unadjusted or adjusted",
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "verdict": "associated: p < .05; but smaller than of interest: p_equivalence < .05 as well; "
    "no association of interest: p_equivalence < .05 alone; undecided: neither",
    "n": COEFFICIENT["n"],
    "p": COEFFICIENT["p"],
    "partial_r": "Correlation of outcome and term with the other terms held fixed; approximate "
    "where scale is linear predictor",
    "partial_r_low": "Lower end of its 95% interval (Fisher's transform; approximate: the interval "
    "of the coefficient)",
    "partial_r_high": "Upper end of its 95% interval",
    "scale": "partial correlation: of least squares; linear predictor: r = z / sqrt(1 + z^2), z "
    "being the coefficient times the spread of the term with the others held fixed, over the "
    "spread of the outcome about the linear predictor (Nakagawa et al. 2017, "
    "doi:10.1098/rsif.2017.0213); of a model with intercepts of sites: within sites",
    "smallest_effect": "Smallest (partial) correlation of interest, as the analysis states it",
    "smallest_coefficient": "The coefficient that it stands for, in the unit of the coefficient: "
    "bound of the equivalence test",
    "p_equivalence": "p of two one-sided tests of a correlation at least that large, in either "
    "direction (Schuirmann 1987, doi:10.1007/BF01068419); small: it is smaller",
    "p_equivalence_holm": "The same corrected for the lines of the column of the table (Holm 1979)",
    "excluded_beyond": "Smallest bound that the equivalence test excludes at 5%",
    "bf10": "Bayes factor of the model with the term against the one without (JZS prior; Rouder & "
    "Morey 2012, doi:10.1080/00273171.2012.734737); above 1 favours the term; 1e100 stands for "
    "1e100 or more. Where scale is linear predictor: from estimate and error alone, under the "
    "same prior of the coefficient (Wakefield 2009, doi:10.1002/gepi.20359)",
    "bf10_correlation": "Bayes factor of the (partial) correlation against none (Ly et al. 2016, "
    "doi:10.1016/j.jmp.2015.06.004); 1e100 stands for more",
    "sd_term": "Standard deviation (n - 1) of the term in the participants of the model",
    "per_sd": "Coefficient per standard deviation of the term",
    "per_sd_low": "Lower end of its 95% interval",
    "per_sd_high": "Upper end of its 95% interval",
    "effect": "What the effects are: difference of the outcome, or logarithm of a ratio",
    "standardised": "per_sd in standard deviations of the outcome",
    "per_10_ppb": "Coefficient per 10 ppb, for terms in ppb",
    "per_10_ppb_low": "Lower end of its 95% interval",
    "per_10_ppb_high": "Upper end of its 95% interval",
    "note": COEFFICIENT["note"],
}

PUBLISHED = {
    "study": "Published study",
    "place": "Where in the paper",
    "reading": "as here: the published sign as printed; turned: its sign changed, where the paper "
    "leaves the direction of the number open",
    "model": COEFFICIENT["model"],
    "outcome": COEFFICIENT["outcome"],
    "term": "Coefficient",
    "published": "Published coefficient in this reading",
    "published_ci_low": "Lower end of its published 95% interval",
    "published_ci_high": "Upper end of its published 95% interval",
    "published_p": "Published p",
    "published_n": "Participants of the study",
    "published_r": "The published coefficient as a (partial) correlation: t / sqrt(t^2 + df), t "
    "from the coefficient and the half width of the interval",
    "published_r_low": "Lower end of its 95% interval (Fisher's transform)",
    "published_r_high": "Upper end of its 95% interval",
    "coefficient": "Coefficient found here",
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": COEFFICIENT["p"],
    "n": COEFFICIENT["n"],
    "partial_r": COEFFICIENT["partial_r"],
    "partial_r_low": "Lower end of its 95% interval (Fisher's transform)",
    "partial_r_high": "Upper end of its 95% interval",
    "difference": "Coefficient here minus the published one",
    "difference_ci_low": "Lower end of its 95% interval (Student's t, Welch's degrees of freedom)",
    "difference_ci_high": "Upper end of its 95% interval",
    "z": "Difference divided by its standard error; the cohorts are taken as independent",
    "p_difference": "Two-sided p of no difference",
    "power_there": "Chance that the study, with its participants and covariates, would have found "
    "a (partial) correlation as large as the one here (two-sided, alpha .05)",
    "power_here": "Chance that the model here would find one as large as the study's",
    "note": "What to know before using the row; why a number is missing",
}

FLOW = {"step": "Step from dataset to model", "n": "Participants", "detail": "Who, or why"}

DISAGREEMENTS = {
    "participant_id": "Participant",
    "session_id": "Session",
    "variable": "Variable of the analysis",
    "table": "What the table says; this is analysed",
    "image": "What the images show",
    "table_source": "Table and column",
}

READERS = {
    "about": "The mask that both readers corrected, or their ratings",
    "quantity": "dice: mean overlap of their masks; icc_volume, icc_susceptibility: intraclass "
    "correlation for absolute agreement of single readers, ICC(2,1), of volume and mean "
    "susceptibility (of the thalamus against the CSF reference); kappa: Cohen's, of include, "
    "check and exclude",
    "first": "One reader",
    "second": "The other reader",
    "n_scans": "Scans that both did",
    "value": "Mean Dice coefficient, ICC or kappa; n/a where it is not defined",
    "ci_low": "Lower end of the 95% confidence interval; n/a for dice",
    "ci_high": "Upper end of the 95% confidence interval; n/a for dice",
    "lowest": "Smallest Dice coefficient of a scan",
    "lowest_scan": "The scan that has it",
}

LESIONS = {
    "lesions": "Kind of lesion, or the difference of two kinds",
    "n_lesions": "Lesions of 5 mm and more whose susceptibility is known; for a difference, those "
    "of the participants who have both kinds",
    "n_participants": "Participants who have them, each counted once; excluded ones left out",
    "mean_ppb": "Susceptibility minus that of normal-appearing white matter, ppb: mean over the "
    "lesions of each participant, then over participants",
    "sd_ppb": "Standard deviation (n - 1) over participants, ppb",
    "ci_low": "Lower end of the 95% confidence interval of the mean (Student's t), ppb",
    "ci_high": "Upper end of the 95% confidence interval of the mean, ppb",
}

QUESTIONABLE = {
    "participant_id": "Participant",
    "session_id": "Session; n/a where the table has none",
    "variable": "Variable of the analysis",
    "value": "What the table says or the images gave",
    "problem": "What is wrong with it",
    "used": "yes: analysed as it is; no: taken as missing",
}

CHOICES = {
    "choice": "What was done differently: veins, rim, lesions, reference, background",
    "variant": "How",
    "hemisphere": "L left, R right, LR both thalami",
    "n": "Participants, each counted once; excluded ones left out",
    "mean_difference": "Mean of (relative susceptibility under the variant - as reported), ppb",
    "sd_difference": "Standard deviation (n - 1) of the difference over participants, ppb: what "
    "the choice does to comparisons between people",
    "minimum": "Smallest difference, ppb",
    "maximum": "Largest difference, ppb",
    "correlation": "Correlation over participants of the number under the variant and as reported",
}

ACQUISITION = {
    "parameter": "Parameter of the acquisition or reconstruction that the consensus asks authors "
    "to report (doi 10.1002/mrm.30006)",
    "unit": "Unit of the value",
    "value": "Value; numbers that differ only by rounding, drift or position count as one",
    "n": "Scans that have it",
    "usual": "yes for the value that most scans have, no for all others",
    "scans": "Which scans have it, ten at most",
}

TABLE = {
    "label": "Line of the table",
    "term": "Coefficient that is shown",
    "outcome": "Outcome of the model",
    "coefficient": COEFFICIENT["coefficient"],
    "ci_low": COEFFICIENT["ci_low"],
    "ci_high": COEFFICIENT["ci_high"],
    "p": COEFFICIENT["p"],
    "p_holm": "p corrected for the lines of the table (Holm 1979), against any false positive",
    "p_fdr": "p corrected for the lines of the table (Benjamini & Hochberg 1995), for the share "
    "of false positives",
    "partial_r": COEFFICIENT["partial_r"],
    "n": COEFFICIENT["n"],
    "n_events": COEFFICIENT["n_events"],
    "effect": "difference: of the outcome; log odds ratio: of outcome 1 against 0 (logistic) or of "
    "a higher level (proportional odds); log rate ratio: of counts",
    "note": COEFFICIENT["note"],
}


TABLES: Mapping[str, Mapping[str, str]] = {
    "cohort": COHORT,
    "models": COEFFICIENT,
    "normality": NORMALITY,
    "power": POWER,
    "exclusions": EXCLUSIONS,
    "flow": FLOW,
    "diagnostics": DIAGNOSTICS,
    "sensitivity": SENSITIVITY,
    "longitudinal": LONGITUDINAL,
    "reliable_change": RELIABLE_CHANGE,
    "annual_change": ANNUAL_CHANGE,
    "each_change": EACH_CHANGE,
    "change_models": CHANGE_MODELS,
    "sites": SITES,
    "imputation": IMPUTATION,
    "mediation": MEDIATION,
    "evidence": EVIDENCE,
    "published": PUBLISHED,
    "harmonisation": HARMONISATION,
    "disagreements": DISAGREEMENTS,
    "readers": READERS,
    "choices": CHOICES,
    "lesions": LESIONS,
    "acquisition": ACQUISITION,
    "questionable": QUESTIONABLE,
}
"""The columns of each table of the group level, by the name of its file; the tables of a paper
(``TABLE``) have the names of the analysis file, and ``measures`` has those of its variables."""

FILES = frozenset({*TABLES, "measures", "quality", "strobe", "group", "group_citation", "figures"})
"""How files and folders of the group level begin: a table of the analysis has another name."""


def describe(columns: list[str], descriptions: Mapping[str, str]) -> dict[str, Any]:
    """Return the dictionary of a table; ``_unadjusted`` and ``_adjusted`` are understood."""
    made: dict[str, Any] = {}
    for column in columns:
        plain = column.removesuffix("_unadjusted").removesuffix("_adjusted")
        side = column.removeprefix(plain).removeprefix("_")
        # A column that ends like a side by itself is looked up first. One without an entry is a
        # KeyError on purpose: no table goes out undescribed.
        text = descriptions[column] if column in descriptions else descriptions[plain]
        made[column] = {"Description": f"{text} ({side} model)" if side else text}
    return made


def describe_measures(
    columns: list[str], analysis: Analysis, catalogue: Catalogue
) -> dict[str, Any]:
    """Return the dictionary of the wide table: variables of the analysis, then all measures."""
    made: dict[str, Any] = {}
    for column in columns:
        # The order is that of precedence; what nothing else knows is a measure.
        if column in IDENTITY:
            made[column] = {"Description": IDENTITY[column]}
        elif column in analysis.variables:
            made[column] = _variable(analysis.variables[column])
        elif column in COMPUTED:
            made[column] = {"Description": COMPUTED[column]}
        elif column.endswith("_source"):
            made[column] = {"Description": "Source of the value in the column before"}
        else:
            raw = column.removesuffix(SUFFIX)
            after = " after harmonisation across sites" if raw != column else ""
            # The kinds of scans are no measures of a participant's table.
            unit = catalogue[raw].unit if raw in catalogue else ""
            made[column] = {"Description": f"Measure {raw}{after}", "Units": unit}
    return made


def _variable(variable: Variable) -> dict[str, Any]:
    entry: dict[str, Any] = {"Description": variable.label}
    if variable.unit:
        entry["Units"] = variable.unit
    if variable.levels:
        entry["Levels"] = {_code(level.value): name for name, level in variable.levels.items()}
    parts = []
    if variable.columns:
        parts.append(f"column {' or '.join(variable.columns)} of the BIDS tables")
    if variable.measure:
        named = ", ".join(filter(None, (variable.region, variable.hemisphere)))
        parts.append(f"measure {variable.measure}" + (f" ({named})" if named else ""))
    entry["Derivative"] = ", else ".join(parts)
    return entry


def _code(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
