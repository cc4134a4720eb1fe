"""An analysis as a value: variables, models, tables, and what else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bids_qsmthal.statistics import expressions, formulas
from bids_qsmthal.statistics.evidence import EvidenceSettings
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.imputation import Imputation
from bids_qsmthal.statistics.levels import Level, Levels, Vocabulary
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.meta_regression import ChangeModel
from bids_qsmthal.statistics.published import Study
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.sites import Site
from bids_qsmthal.statistics.tables import ModelTable

COMPUTED = {
    "quality": "include or check: what quality control or the user decided",
    "years": "years since the participant's first session",
}
"""Variables that need no entry of their own."""

QUALITY: Levels = {word: Level(word, (word,)) for word in ("include", "check")}
"""What ``quality`` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Where a variable comes from: a measure, a column, or a column with a measure in reserve."""

    name: str
    label: str
    unit: str = ""
    measure: str = ""
    region: str = ""
    hemisphere: str = ""
    columns: tuple[str, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)
    range: tuple[float, float] | None = None
    """Smallest and largest value that is possible."""

    missing: tuple[str, ...] = ()
    """Cells that mean "not known", in lower case, beside the empty ones and n/a."""

    top_coded: Mapping[str, float] = field(default_factory=dict)
    """Cells that stand for a number and more, in lower case: ``89+``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another measure in place of a variable."""

    name: str
    replaces: str
    variable: Variable
    """Its region may be ``*``: every region that has the measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Patients and controls, say: whom the models are about."""

    variable: str
    analysed: tuple[str, ...]
    """Names of its levels. Models that do not name the variable are about these alone."""

    compare: tuple[str, ...] = ()
    """Outcomes that are compared between all groups."""

    adjust: tuple[str, ...] = ()
    """What the comparisons are adjusted for."""

    @property
    def filter(self) -> str:
        """Who is analysed, as a filter."""
        return " or ".join(f"{self.variable} == '{name}'" for name in self.analysed)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSize:
    """The volume of the head, and the volumes that go with it."""

    variable: str
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Choices under which the coefficients of the tables are looked at again."""

    filters: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    measures: tuple[Alternative, ...] = ()
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables that are added to the models, by the name of the row."""

    head_size: HeadSize | None = None
    noise: Mapping[str, Variable] = field(default_factory=dict)
    """The measure that holds the standard error of a variable's own values."""

    zero_add: Mapping[str, float] = field(default_factory=dict)
    """What is added within the logarithm of an outcome that is zero in some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything the group level is asked to do."""

    name: str
    description: str
    variables: Mapping[str, Variable]
    models: tuple[Model, ...]
    tables: tuple[ModelTable, ...]
    cohort: tuple[str, ...]
    normality: tuple[str, ...]
    exclude_when: tuple[str, ...] = ()
    """Variables whose unusable image leaves a participant out of everything."""

    session: str = "first"
    filter: str = ""
    """Who is in the analysis at all: ``expressions.keep(filter, frame, vocabulary)``."""

    groups: Groups | None = None
    site: Site | None = None
    sensitivity: Sensitivity | None = None
    longitudinal: tuple[MixedModel, ...] = ()
    change: tuple[ChangeModel, ...] = ()
    mediation: tuple[Mediation, ...] = ()
    harmonisation: Harmonisation | None = None
    imputation: Imputation | None = None
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    published: tuple[Study, ...] = ()
    """Studies whose values stand beside those found here."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of every variable that has some."""
        named = {name: variable.levels for name, variable in self.variables.items()}
        # A variable with levels that is named quality would win here; document.py refuses that
        # name.
        return {"quality": QUALITY} | {name: levels for name, levels in named.items() if levels}


def model_variables(model: Model) -> tuple[str, ...]:
    """Return the variables a model needs, those of its filter included."""
    names = (
        *formulas.variables(model.formula),
        # Group variables are not among these: a grouped model is split before it is fitted.
        *expressions.filter_variables(model.filter),
        *(name for name in (model.exposure, model.random) if name),
    )
    return tuple(dict.fromkeys(names))
