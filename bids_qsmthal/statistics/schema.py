"""What an analysis file holds: its keys, what each may be, and the JSON schema for editors.

The keys follow BIDS Stats Models where it has a word for the thing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from bids_qsmthal.statistics.bayes import CORRELATION_WIDTH, REGRESSION_SCALE
from bids_qsmthal.statistics.evidence import SMALLEST_EFFECT

Number = int | float
"""As it is written; a limit is in the published schema only where it is of ``float`` alone."""
Word = str | int | float
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that can stand in a formula, or name a file."""


class Entry(BaseModel):
    """Keys with a capital; unknown ones are refused, and nothing is converted."""

    # forbid: a misspelled key would be a choice silently not made. strict: a text for a number, or
    # true for a word, is an error and no guess.
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_pascal, populate_by_name=True
    )


class LevelEntry(Entry):
    """One level of a categorical variable."""

    value: Word = Field(description="Number or word that stands for the level in formulas.")
    words: list[Word] = Field(default=[], description="Spellings of the level in the tables.")


class VariableEntry(Entry):
    """Where a variable comes from: a measure, a column, or a column and else a measure."""

    label: str = Field(default="", description="Name for readers.")
    units: str = Field(default="", description="Unit in which it is analysed.")
    measure: str = Field(default="", description="Measure of the participant level.")
    region: str = Field(default="", description="Region of the measure.")
    hemisphere: str = Field(default="", description="L, R or LR.")
    columns: list[str] = Field(
        default=[], description="Names of its column; the first that exists."
    )
    levels: dict[str, LevelEntry] = Field(default={}, description="Levels by their names.")
    reference: str = Field(
        default="", description="Level that the others are compared with, where levels are words."
    )
    range: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Smallest and largest possible value."
    )
    missing: list[Word] = Field(default=[], description="Cell values that mean: missing.")
    top_coded: dict[str, Number] = Field(
        default={}, description="Cell values that stand for a number or more, such as 89+: 89."
    )


class ContrastEntry(Entry):
    """A weighted sum of coefficients."""

    name: str = Field(description="Its name in the tables.")
    condition_list: list[str] = Field(description="Names of coefficients.")
    weights: list[Number] = Field(description="Weight of each.")
    test: Literal["t"] = Field(default="t", description="Kind of test; t is the only one.")


class ModelEntry(Entry):
    """A regression."""

    name: str = Field(description="Its name in tables and in other keys.")
    description: str = Field(default="", description="The question that it answers.")
    formula: str = Field(description="outcome ~ predictors")
    filter: str = Field(default="", description="Who is included, such as age <= 50.")
    family: Literal["gaussian", "binomial", "poisson", "negative_binomial", "ordinal"] = Field(
        default="gaussian",
        description="Kind of outcome: a number, yes or no (binomial), a count (poisson, "
        "negative_binomial), or ordered levels such as EDSS (ordinal: proportional odds).",
    )
    method: Literal["ols", "hc3", "huber"] = Field(
        default="ols",
        description="ols: least squares, or maximum likelihood of the family; hc3: the same with "
        "robust standard errors; huber: robust regression (M-estimate).",
    )
    exposure: str = Field(
        default="",
        description="Variable that counts are proportional to, such as years of follow-up.",
    )
    group_by: list[str] = Field(default=[], description="Fitted separately in each level of these.")
    contrasts: list[ContrastEntry] = Field(
        default=[], description="Weighted sums of coefficients to be tested as well."
    )


class GroupsEntry(Entry):
    """Groups such as patients and controls: who is in the models, and who is compared."""

    variable: str = Field(description="Variable with the groups; it needs Levels.")
    analyse: list[str] = Field(
        min_length=1,
        description="Levels that are analysed in every model that does not name the variable.",
    )
    compare: list[Identifier] = Field(
        default=[], description="Variables to compare between all groups."
    )
    adjust: list[Identifier] = Field(
        default=[], description="Variables that the comparisons are adjusted for."
    )


class RowEntry(Entry):
    """A row of a table."""

    label: str = Field(description="Name of the row.")
    term: str = Field(description="Coefficient that is shown.")
    unadjusted: str = Field(default="", description="Name of the model.")
    adjusted: str = Field(default="", description="Name of the model.")
    decimals: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None, description="Digits after the decimal point."
    )
    significant_digits: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2, description="Significant digits, where Decimals is not given."
    )


class TableEntry(Entry):
    """A table of chosen coefficients."""

    name: Identifier = Field(description="Name of its files.")
    title: str = Field(description="Its heading.")
    description: str = Field(default="", description="Its caption: units, adjustment.")
    rows: list[RowEntry] = Field(min_length=1, description="Its rows.")


class AlternativeEntry(Entry):
    """Another measure in place of a variable's own."""

    measure: str | None = Field(
        default=None, description="Measure; the variable's own where not given."
    )
    region: str | None = Field(
        default=None, description="Region; * stands for every region with this measure."
    )
    hemisphere: str | None = Field(default=None, description="L, R or LR.")
    units: str | None = Field(default=None, description="Unit in which it is analysed.")


class HeadSizeEntry(Entry):
    """Head size, and the volumes that depend on it."""

    variable: str = Field(description="Intracranial volume.")
    outcomes: list[str] = Field(min_length=1, description="Volumes that depend on it.")


class SensitivityEntry(Entry):
    """Alternative choices under which the coefficients of the tables are estimated again."""

    filters: dict[str, str] = Field(
        default={}, description="Other selections of participants, by name."
    )
    terms: dict[str, dict[str, str]] = Field(
        default={}, description="Replacements of a variable in the formulas, by name."
    )
    measures: dict[str, dict[str, AlternativeEntry]] = Field(
        default={}, description="Another measure in place of a variable's own, by name."
    )
    covariates: dict[str, list[str]] = Field(
        default={}, description="Variables to be added, such as site, by the name of the row."
    )
    head_size: HeadSizeEntry | None = Field(
        default=None, description="Head size as covariate, as ratio, and by residuals."
    )
    measurement_error: dict[str, AlternativeEntry] = Field(
        default={}, description="Measure with the standard error of a variable's values."
    )
    zero_add: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Number that is added within log() of an outcome that can be 0; half of the "
        "smallest value above 0 where not given.",
    )


class MixedEntry(Entry):
    """A mixed model of all sessions, with a random intercept for each participant."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="The question that it answers.")
    formula: str = Field(
        description="outcome ~ predictors; years is the time since the first session."
    )
    random_slopes: list[str] = Field(
        default=[], description="Variables with a random slope for each participant."
    )
    filter: str = Field(default="", description="Which sessions are included.")


class ChangeEntry(Entry):
    """A model of change between visits: one number per participant, weighted by its precision."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="The question that it answers.")
    formula: str = Field(
        description="change ~ predictors; the change is a variable whose Measure ends with "
        "_per_year, its standard error the measure with _se behind it."
    )
    filter: str = Field(default="", description="Who is included.")


class MediationEntry(Entry):
    """Whether an association may run through a third variable."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="The question that it answers.")
    cause: str = Field(description="Assumed cause: a variable or a function of one.")
    mediator: str = Field(description="What the association may run through.")
    outcome: str = Field(description="Assumed outcome.")
    covariates: list[str] = Field(default=[], description="Variables that are held fixed.")


class HarmonisationEntry(Entry):
    """Harmonisation of measures across scanners (ComBat)."""

    site: str = Field(description="Variable with the sites.")
    variables: list[str] = Field(min_length=1, description="Measures to be harmonised.")
    keep: list[str] = Field(default=[], description="Variables whose effects are preserved.")


Printed = Annotated[str, Field(pattern=r"^[-+]?\d*\.?\d+$")]
"""A number as a paper prints it, in quotes: zeros at the end tell how it was rounded."""


class PublishedValueEntry(Entry):
    """A coefficient of a paper, beside the same one of a model of this file."""

    model: str = Field(description="Name of the model that asks the same question.")
    term: str = Field(description="Coefficient that is compared.")
    place: str = Field(description="Where it stands in the paper.")
    coefficient: Printed = Field(description="The published coefficient.")
    interval: Annotated[list[Printed], Field(min_length=2, max_length=2)] = Field(
        description="Ends of the 95 % interval."
    )
    p: Printed = Field(description="The published p.")
    covariates: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Terms held fixed beside this one."
    )


class PublishedEntry(Entry):
    """A study whose values are shown beside those found here."""

    study: str = Field(description="How it is cited.")
    doi: str = Field(default="", alias="DOI", description="Its DOI.")
    n: Annotated[int, Field(ge=5)] = Field(description="Number of participants.")
    open_direction: str = Field(
        default="",
        description="Variable whose sign the paper leaves open; both readings are shown.",
    )
    units: dict[str, str] = Field(
        default={},
        description="Unit of each variable in the paper; it has to be that of this file.",
    )
    values: list[PublishedValueEntry] = Field(
        min_length=1, description="The values that it prints."
    )


class EvidenceEntry(Entry):
    """Smallest effects of interest and priors, for equivalence tests and Bayes factors."""

    smallest_effect: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=SMALLEST_EFFECT, description="Smallest (partial) correlation of interest."
    )
    smallest_ratio: Annotated[float, Field(gt=1)] | None = Field(
        default=None,
        description="Smallest odds or rate ratio of interest per standard deviation of a term; "
        "where not given, the one that SmallestEffect stands for.",
    )
    regression_scale: Annotated[float, Field(gt=0)] = Field(
        default=REGRESSION_SCALE, description="Scale of the JZS prior of standardised slopes."
    )
    correlation_width: Annotated[float, Field(gt=0, le=2)] = Field(
        default=CORRELATION_WIDTH, description="Width of the beta prior of correlations."
    )


class SiteEntry(Entry):
    """How several sites or scanners are treated."""

    variable: str = Field(description="Variable with the sites.")
    as_: Literal["fixed", "random", "meta", "combat"] = Field(
        alias="As",
        description="fixed: a factor in every model that does not name it; random: a random "
        "intercept (five sites or more); meta: fixed, and a meta-analysis of the single sites in "
        "sites.tsv; combat: measures are harmonised.",
    )
    variables: list[str] = Field(default=[], description="Measures that combat harmonises.")
    keep: list[str] = Field(default=[], description="Variables whose effects combat preserves.")


class ImputationEntry(Entry):
    """Multiple imputation of missing values (chained equations), beside the complete cases."""

    datasets: Annotated[int, Field(ge=20, le=1000)] = Field(
        default=20,
        description="Number of imputations; at least the percentage of incomplete cases.",
    )
    cycles: Annotated[int, Field(ge=5, le=100)] = Field(
        default=10, description="Cycles through all variables for each imputation."
    )
    auxiliary: list[str] = Field(
        default=[], description="Variables used for imputation beside those of the models."
    )


class AnalysisFile(Entry):
    """An analysis of the group level (--analysis)."""

    name: str = Field(description="Name of the analysis.")
    bids_model_version: str = Field(
        default="",
        alias="BIDSModelVersion",
        description="Version of BIDS Stats Models, for files that follow it; ignored.",
    )
    description: str = Field(
        default="", description="The question that it answers; it stands on the page."
    )
    filter: str = Field(default="", description="Who is included in any of it.")
    missing: list[Word] = Field(
        default=[], description="Cell values of any column that mean: missing."
    )
    variables: dict[Identifier, VariableEntry] = Field(
        description="Where each variable of the formulas comes from, by its name in them."
    )
    exclude_when: list[str] = Field(
        default=[],
        description="Variables that need a usable image: who has none is left out of everything.",
    )
    session: str | int = Field(
        default="first",
        description="Session of each participant: first, last, first usable, last usable, or a "
        "label.",
    )
    cohort: list[str] | None = Field(
        default=None, description="Variables that describe the cohort; all of them where not given."
    )
    normality: list[str] = Field(
        default=[],
        description="Variables whose transformations to normality are compared (ladder of powers).",
    )
    groups: GroupsEntry | None = Field(
        default=None, description="Who is in the models, and who is compared with them."
    )
    models: list[ModelEntry] = Field(min_length=1, description="The regressions.")
    tables: list[TableEntry] = Field(default=[], description="Tables as in a paper.")
    sensitivity: SensitivityEntry | None = Field(
        default=None, description="Alternative choices under which the tables are estimated again."
    )
    longitudinal: list[MixedEntry] = Field(default=[], description="Mixed models of all sessions.")
    change: list[ChangeEntry] = Field(
        default=[],
        description="Models of change between visits that were compared (--longitudinal auto).",
    )
    mediation: list[MediationEntry] = Field(default=[], description="Mediation models.")
    site: SiteEntry | None = Field(
        default=None, description="How several sites or scanners are treated."
    )
    imputation: ImputationEntry | None = Field(
        default=None, description="The tables with multiple imputation as well."
    )
    harmonisation: HarmonisationEntry | None = Field(
        default=None, description="ComBat across sites; needs bids_qsmthal[harmonisation]."
    )
    evidence: EvidenceEntry = Field(
        default=EvidenceEntry(), description="Smallest effects of interest and priors."
    )
    published: list[PublishedEntry] = Field(
        default=[], description="Studies whose values are shown beside those found here."
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of an analysis file."""
    begin = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return begin | AnalysisFile.model_json_schema()
