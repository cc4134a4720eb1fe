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
    """One level of a variable that is counted."""

    value: Word = Field(description="Number or word that stands for the level in formulas.")
    words: list[Word] = Field(default=[], description="Spellings of the level in tables.")


class VariableEntry(Entry):
    """Where a variable comes from: a measure, a column, or a column with a measure in reserve."""

    label: str = Field(default="", description="Name for readers.")
    units: str = Field(default="", description="Unit in which it is analysed.")
    measure: str = Field(default="", description="Measure of the participant level.")
    region: str = Field(default="", description="Region of the measure.")
    hemisphere: str = Field(default="", description="L, R or LR.")
    columns: list[str] = Field(default=[], description="Names of its column; the first one found.")
    levels: dict[str, LevelEntry] = Field(default={}, description="Levels by their names.")
    reference: str = Field(
        default="", description="Level with which the others are compared; for levels with words."
    )
    range: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Smallest and largest value that is possible."
    )
    missing: list[Word] = Field(default=[], description="Cells that mean: not known.")
    top_coded: dict[str, Number] = Field(
        default={}, description="Cells that stand for a number and more, such as 89+: 89."
    )


class ContrastEntry(Entry):
    """A weighted sum of coefficients."""

    name: str = Field(description="Its name in the tables.")
    condition_list: list[str] = Field(description="Names of coefficients.")
    weights: list[Number] = Field(description="Weight of each.")
    test: Literal["t"] = Field(default="t", description="Kind of test; t is the only one.")


class ModelEntry(Entry):
    """A regression."""

    name: str = Field(description="Its name in tables and other keys.")
    description: str = Field(default="", description="What it asks.")
    formula: str = Field(description="outcome ~ predictors")
    filter: str = Field(default="", description="Who is in it, such as age <= 50.")
    family: Literal["gaussian", "binomial", "poisson", "negative_binomial", "ordinal"] = Field(
        default="gaussian",
        description="Of the outcome: a number, yes or no (binomial), a count (poisson, "
        "negative_binomial), or levels in an order such as EDSS (ordinal: proportional odds).",
    )
    method: Literal["ols", "hc3", "huber"] = Field(
        default="ols",
        description="ols: least squares, or the likelihood of the family; hc3: with robust "
        "errors; huber: M-estimate.",
    )
    exposure: str = Field(
        default="",
        description="Variable that counts are in proportion to, such as years of follow-up.",
    )
    group_by: list[str] = Field(default=[], description="Fitted once in each level of these.")
    contrasts: list[ContrastEntry] = Field(
        default=[], description="Weighted sums of coefficients that are tested, too."
    )


class GroupsEntry(Entry):
    """Patients and controls, say: whom the models are about."""

    variable: str = Field(description="Variable that tells the groups, with Levels.")
    analyse: list[str] = Field(
        min_length=1,
        description="Levels that all models are about which do not name the variable.",
    )
    compare: list[Identifier] = Field(
        default=[], description="Variables that are compared between all groups."
    )
    adjust: list[Identifier] = Field(
        default=[], description="What the comparisons are adjusted for."
    )


class RowEntry(Entry):
    """A line of a table."""

    label: str = Field(description="Name of the line.")
    term: str = Field(description="Coefficient that is shown.")
    unadjusted: str = Field(default="", description="Name of a model.")
    adjusted: str = Field(default="", description="Name of a model.")
    decimals: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None, description="Digits after the point."
    )
    significant_digits: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2, description="Digits that count, where Decimals are not given."
    )


class TableEntry(Entry):
    """A table of chosen coefficients."""

    name: Identifier = Field(description="Name of its files.")
    title: str = Field(description="Its heading.")
    description: str = Field(default="", description="Its caption: units, adjustment.")
    rows: list[RowEntry] = Field(min_length=1, description="Its lines.")


class AlternativeEntry(Entry):
    """Another measure in place of a variable's own."""

    measure: str | None = Field(default=None, description="Measure; as before where not given.")
    region: str | None = Field(default=None, description="* stands for every region that has it.")
    hemisphere: str | None = Field(default=None, description="L, R or LR.")
    units: str | None = Field(default=None, description="Unit in which it is analysed.")


class HeadSizeEntry(Entry):
    """The volume of the head, and the volumes that go with it."""

    variable: str = Field(description="Intracranial volume.")
    outcomes: list[str] = Field(min_length=1, description="Volumes that go with it.")


class SensitivityEntry(Entry):
    """Choices under which the coefficients of the tables are looked at again."""

    filters: dict[str, str] = Field(default={}, description="Who is in the models, by name.")
    terms: dict[str, dict[str, str]] = Field(
        default={}, description="What stands for a variable in the formulas, by name."
    )
    measures: dict[str, dict[str, AlternativeEntry]] = Field(
        default={}, description="Another measure in place of a variable's own, by name."
    )
    covariates: dict[str, list[str]] = Field(
        default={}, description="Variables that are added, such as site, by the name of the row."
    )
    head_size: HeadSizeEntry | None = Field(
        default=None, description="As covariate, as ratio and as residual of these outcomes."
    )
    measurement_error: dict[str, AlternativeEntry] = Field(
        default={}, description="The measure with the standard error of a variable's own values."
    )
    zero_add: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="What is added within log() of an outcome that some have none of; half of "
        "the smallest value above 0 where nothing is said.",
    )


class MixedEntry(Entry):
    """A model of all sessions, with an intercept of each participant's own."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="What it asks.")
    formula: str = Field(description="outcome ~ predictors; years is the time since the first.")
    random_slopes: list[str] = Field(
        default=[], description="Variables whose slope each participant has of their own."
    )
    filter: str = Field(default="", description="Which sessions are in it.")


class ChangeEntry(Entry):
    """A model of change between visits: one number a participant, weighted by its precision."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="What it asks.")
    formula: str = Field(
        description="change ~ predictors; the change is a variable whose Measure ends with "
        "_per_year, its standard error the measure with _se behind it."
    )
    filter: str = Field(default="", description="Who is in it.")


class MediationEntry(Entry):
    """Whether an association may run through a third variable."""

    name: str = Field(description="Its name in the table.")
    description: str = Field(default="", description="What it asks.")
    cause: str = Field(description="Assumed cause: a variable or a function of one.")
    mediator: str = Field(description="What the association may run through.")
    outcome: str = Field(description="Assumed outcome.")
    covariates: list[str] = Field(default=[], description="Held fixed.")


class HarmonisationEntry(Entry):
    """Measures of several scanners on one scale (ComBat)."""

    site: str = Field(description="Variable that tells the sites.")
    variables: list[str] = Field(min_length=1, description="Measures that are harmonised.")
    keep: list[str] = Field(default=[], description="Variables whose effects are kept.")


Printed = Annotated[str, Field(pattern=r"^[-+]?\d*\.?\d+$")]
"""A number as a paper prints it, in quotes: zeros at the end tell how it was rounded."""


class PublishedValueEntry(Entry):
    """A coefficient of a paper, beside the same one of a model of this file."""

    model: str = Field(description="Name of the model that asks the same question.")
    term: str = Field(description="Coefficient that is compared.")
    place: str = Field(description="Where in the paper.")
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
    doi: str = Field(default="", alias="DOI", description="Its identifier.")
    n: Annotated[int, Field(ge=5)] = Field(description="Participants.")
    open_direction: str = Field(
        default="", description="Variable whose sign the paper leaves open; read both ways."
    )
    units: dict[str, str] = Field(
        default={}, description="Unit of each variable in the paper; the same as here."
    )
    values: list[PublishedValueEntry] = Field(min_length=1, description="What it prints.")


class EvidenceEntry(Entry):
    """What effects are measured against: equivalence tests and Bayes factors."""

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
    """Several sites or scanners, and what is done about them."""

    variable: str = Field(description="Variable that tells the sites.")
    as_: Literal["fixed", "random", "meta", "combat"] = Field(
        alias="As",
        description="fixed: a factor in every model that does not name it; random: an intercept "
        "of each (five sites or more); meta: fixed, and each site alone and together in "
        "sites.tsv; combat: measures are harmonised.",
    )
    variables: list[str] = Field(default=[], description="Measures that combat harmonises.")
    keep: list[str] = Field(default=[], description="Variables whose effects combat keeps.")


class ImputationEntry(Entry):
    """Missing numbers filled many times (chained equations), beside the complete cases."""

    datasets: Annotated[int, Field(ge=20, le=1000)] = Field(
        default=20, description="How often; as many as the percentage of people who lack something."
    )
    cycles: Annotated[int, Field(ge=5, le=100)] = Field(
        default=10, description="How often each variable is filled in turn, for each of them."
    )
    auxiliary: list[str] = Field(
        default=[], description="Variables that help to fill, beside those of the models."
    )


class AnalysisFile(Entry):
    """An analysis of the group level (--analysis)."""

    name: str = Field(description="Name of the analysis.")
    bids_model_version: str = Field(
        default="",
        alias="BIDSModelVersion",
        description="For files that begin as BIDS Stats Models.",
    )
    description: str = Field(default="", description="What it asks, for the page.")
    filter: str = Field(default="", description="Who is in the analysis at all.")
    missing: list[Word] = Field(default=[], description="Cells of any column: not known.")
    variables: dict[Identifier, VariableEntry] = Field(
        description="Where each variable of the formulas comes from, by its name there."
    )
    exclude_when: list[str] = Field(
        default=[], description="Variables whose unusable image leaves out from everything."
    )
    session: str | int = Field(
        default="first",
        description="Session of each participant: first, last, first usable, last usable, a label.",
    )
    cohort: list[str] | None = Field(
        default=None, description="Variables that describe the cohort; all where not given."
    )
    normality: list[str] = Field(
        default=[], description="Variables whose ladder of powers is looked at."
    )
    groups: GroupsEntry | None = Field(
        default=None, description="Whom the models are about, and who is compared with them."
    )
    models: list[ModelEntry] = Field(min_length=1, description="The regressions.")
    tables: list[TableEntry] = Field(default=[], description="Tables as in a paper.")
    sensitivity: SensitivityEntry | None = Field(
        default=None, description="Other choices under which the tables are looked at again."
    )
    longitudinal: list[MixedEntry] = Field(default=[], description="Models of all sessions.")
    change: list[ChangeEntry] = Field(
        default=[],
        description="Models of change between visits that were compared (--longitudinal auto).",
    )
    mediation: list[MediationEntry] = Field(default=[], description="Indirect associations.")
    site: SiteEntry | None = Field(
        default=None, description="Several sites or scanners, and what is done about them."
    )
    imputation: ImputationEntry | None = Field(
        default=None, description="Results of the tables with missing numbers filled, as well."
    )
    harmonisation: HarmonisationEntry | None = Field(
        default=None, description="ComBat across sites; needs bids_qsmthal[harmonisation]."
    )
    evidence: EvidenceEntry = Field(
        default=EvidenceEntry(), description="What effects are measured against."
    )
    published: list[PublishedEntry] = Field(
        default=[], description="Studies whose values stand beside those found here."
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of an analysis file."""
    begin = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return begin | AnalysisFile.model_json_schema()
