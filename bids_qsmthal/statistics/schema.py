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

    name: str
    condition_list: list[str] = Field(description="Names of coefficients.")
    weights: list[Number] = Field(description="Weight of each.")
    test: Literal["t"] = "t"


class ModelEntry(Entry):
    """A regression."""

    name: str
    description: str = ""
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
    contrasts: list[ContrastEntry] = []


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

    label: str
    term: str = Field(description="Coefficient that is shown.")
    unadjusted: str = Field(default="", description="Name of a model.")
    adjusted: str = Field(default="", description="Name of a model.")
    decimals: Annotated[int, Field(ge=0, le=10)] | None = None
    significant_digits: Annotated[int, Field(ge=1, le=10)] = 2


class TableEntry(Entry):
    """A table of chosen coefficients."""

    name: Identifier
    title: str
    description: str = ""
    rows: list[RowEntry] = Field(min_length=1)


class AlternativeEntry(Entry):
    """Another measure in place of a variable's own."""

    measure: str | None = None
    region: str | None = Field(default=None, description="* stands for every region that has it.")
    hemisphere: str | None = None
    units: str | None = None


class SensitivityEntry(Entry):
    """Choices under which the coefficients of the tables are looked at again."""

    filters: dict[str, str] = {}
    terms: dict[str, dict[str, str]] = {}
    measures: dict[str, dict[str, AlternativeEntry]] = {}


class MixedEntry(Entry):
    """A model of all sessions, with an intercept of each participant's own."""

    name: str
    description: str = ""
    formula: str
    random_slopes: list[str] = []
    filter: str = ""


class MediationEntry(Entry):
    """Whether an association may run through a third variable."""

    name: str
    description: str = ""
    cause: str
    mediator: str
    outcome: str
    covariates: list[str] = []


class HarmonisationEntry(Entry):
    """Measures of several scanners brought to one scale (ComBat)."""

    site: str
    variables: list[str] = Field(min_length=1)
    keep: list[str] = []


Printed = Annotated[str, Field(pattern=r"^[-+]?\d*\.?\d+$")]
"""A number as a paper prints it, in quotes: zeros at the end tell how it was rounded."""


class PublishedValueEntry(Entry):
    """A coefficient of a paper, beside the same one of a model of this file."""

    model: str = Field(description="Name of the model that asks the same question.")
    term: str = Field(description="Coefficient that is compared.")
    place: str = Field(description="Where in the paper.")
    coefficient: Printed
    interval: Annotated[list[Printed], Field(min_length=2, max_length=2)] = Field(
        description="Ends of the 95 % interval."
    )
    p: Printed
    covariates: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Terms held fixed beside this one."
    )


class PublishedEntry(Entry):
    """A study whose values are shown beside those found here."""

    study: str
    doi: str = Field(default="", alias="DOI")
    n: Annotated[int, Field(ge=5)] = Field(description="Participants.")
    open_direction: str = Field(
        default="", description="Variable whose sign the paper leaves open; read both ways."
    )
    values: list[PublishedValueEntry] = Field(min_length=1)


class EvidenceEntry(Entry):
    """What effects are measured against: equivalence tests and Bayes factors."""

    smallest_effect: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=SMALLEST_EFFECT, description="Smallest (partial) correlation of interest."
    )
    regression_scale: Annotated[Number, Field(gt=0)] = Field(
        default=REGRESSION_SCALE, description="Scale of the JZS prior of standardised slopes."
    )
    correlation_width: Annotated[Number, Field(gt=0, le=2)] = Field(
        default=CORRELATION_WIDTH, description="Width of the beta prior of correlations."
    )


class AnalysisFile(Entry):
    """An analysis of the group level (--analysis)."""

    name: str
    bids_model_version: str = Field(default="", alias="BIDSModelVersion")
    description: str = ""
    filter: str = Field(default="", description="Who is in the analysis at all.")
    missing: list[Word] = Field(default=[], description="Cells of any column: not known.")
    variables: dict[Identifier, VariableEntry]
    exclude_when: list[str] = []
    session: str | int = "first"
    cohort: list[str] | None = None
    normality: list[str] = []
    groups: GroupsEntry | None = Field(
        default=None, description="Whom the models are about, and who is compared with them."
    )
    models: list[ModelEntry] = Field(min_length=1)
    tables: list[TableEntry] = []
    sensitivity: SensitivityEntry | None = None
    longitudinal: list[MixedEntry] = []
    mediation: list[MediationEntry] = []
    harmonisation: HarmonisationEntry | None = None
    evidence: EvidenceEntry = EvidenceEntry()
    published: list[PublishedEntry] = []


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of an analysis file."""
    begin = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return begin | AnalysisFile.model_json_schema()
