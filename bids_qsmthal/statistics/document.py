"""From the entries of an analysis file to an ``Analysis``, every name checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.statistics import calls, expressions, formulas, schema
from bids_qsmthal.statistics.analysis import (
    COMPUTED,
    QUALITY,
    Alternative,
    Analysis,
    Groups,
    HeadSize,
    Sensitivity,
    Variable,
)
from bids_qsmthal.statistics.evidence import EvidenceSettings
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.imputation import Imputation
from bids_qsmthal.statistics.levels import Level, Levels, Vocabulary
from bids_qsmthal.statistics.longitudinal import MixedModel
from bids_qsmthal.statistics.mediation import Mediation
from bids_qsmthal.statistics.meta_regression import ChangeModel
from bids_qsmthal.statistics.published import Study, Value
from bids_qsmthal.statistics.regression import Model, possible_parts
from bids_qsmthal.statistics.sites import Site
from bids_qsmthal.statistics.tables import ModelTable, Row

Keys = tuple[str | int, ...]


class Places(Protocol):
    """Where in a file something stands."""

    def where(self, keys: Sequence[str | int] = (), *, of_key: bool = False) -> str:
        """Return the file with line and column of a value, or of its key."""


@dataclass(frozen=True, slots=True)
class DocumentContext:
    """What every part of the file is checked against."""

    places: Places
    variables: Mapping[str, Variable]
    levels: Vocabulary

    @contextmanager
    def at(self, *keys: str | int) -> Iterator[None]:
        """Put the place of some keys before the message of an error."""
        try:
            yield
        except UsageError as error:
            # The checks below know names and formulas, not files; the place is added once, here.
            raise UsageError(f"{self.places.where(keys)}: {error}") from error

    def known(self, names: Sequence[str], *keys: str | int) -> None:
        """See that variables are defined."""
        with self.at(*keys):
            _check_known(names, [*self.variables, *COMPUTED], "no variable")

    def filter(self, text: str, *keys: str | int) -> str:
        """Return a filter after its check."""
        with self.at(*keys):
            names = expressions.filter_variables(text)
            _check_known(names, [*self.variables, *COMPUTED], "no variable")
            expressions.check(text, self.levels, self._numbers)
        return text.strip()

    @property
    def _numbers(self) -> set[str]:
        """Variables that can hold nothing but numbers."""
        return {
            name
            for name, one in self.variables.items()
            if one.unit or one.range or one.top_coded or (one.measure and not one.columns)
        }

    def formula(self, text: str, *keys: str | int) -> str:
        """Return a formula as it is printed from its checked tree."""
        with self.at(*keys):
            parsed = formulas.parse(text)
            _check_known(parsed.variables, [*self.variables, *COMPUTED], "no variable")
        return parsed.text

    def factor(self, text: str, *keys: str | int) -> str:
        """Return one variable or function of it as it is printed."""
        with self.at(*keys):
            part = formulas.factor(text)
            _check_known(part.variables, [*self.variables, *COMPUTED], "no variable")
        return part.text


def read(entry: schema.AnalysisFile, places: Places) -> Analysis:
    """Return the analysis that the entries of a file describe.

    Raises
    ------
    UsageError
        A name is used that is nowhere defined or defined twice, a formula or filter is wrong, or
        keys contradict each other. One line with the place.
    """
    variables = {
        name: _variable(name, part, entry.missing, places) for name, part in entry.variables.items()
    }
    levels = {name: part.levels for name, part in variables.items() if part.levels}
    context = DocumentContext(places, variables, {"quality": QUALITY} | levels)
    # Before models and tables are read: their messages presume that variables are known.
    for key, names in (
        ("Cohort", entry.cohort or []),
        ("Normality", entry.normality),
        ("ExcludeWhen", entry.exclude_when),
    ):
        context.known(names, key)
    models = [_model(part, context, place) for place, part in enumerate(entry.models)]
    _check_unique([model.name for model in models], ("Models",), context)
    _check_unique([table.name for table in entry.tables], ("Tables",), context)
    # The site is put into models that do not name it, and is a term of theirs.
    site = entry.site.variable if entry.site else ""
    return Analysis(
        name=entry.name,
        description=entry.description,
        variables=variables,
        models=tuple(models),
        tables=tuple(
            _table(part, models, context, place, site) for place, part in enumerate(entry.tables)
        ),
        # An empty list is a wish, too: nobody is described.
        cohort=tuple(variables if entry.cohort is None else entry.cohort),
        normality=tuple(entry.normality),
        exclude_when=tuple(entry.exclude_when),
        session=str(entry.session).removeprefix("ses-"),
        filter=context.filter(entry.filter, "Filter"),
        groups=_groups(entry, context),
        sensitivity=_sensitivity(entry.sensitivity, context),
        longitudinal=tuple(
            _mixed(part, context, place) for place, part in enumerate(entry.longitudinal)
        ),
        change=tuple(_change(part, context, place) for place, part in enumerate(entry.change)),
        mediation=tuple(
            _mediation(part, context, place) for place, part in enumerate(entry.mediation)
        ),
        site=_site(entry.site, context),
        harmonisation=_harmonisation(_by_combat(entry, context), context),
        imputation=_imputation(entry.imputation, context),
        evidence=EvidenceSettings(**entry.evidence.model_dump()),
        published=tuple(
            _study(part, models, context, place, site) for place, part in enumerate(entry.published)
        ),
    )


def _variable(
    name: str, entry: schema.VariableEntry, missing: Sequence[schema.Word], places: Places
) -> Variable:
    here = f"{places.where(('Variables', name))}: variable '{name}'"
    with_levels = {word: _level(word, part, entry) for word, part in entry.levels.items()}
    # A variable "log" could not be told from the function, one named "quality" would hide ours.
    if name in calls.FUNCTIONS or name in COMPUTED:
        raise UsageError(f"{here}: the name has a meaning of its own; use another.")
    if not entry.measure and not entry.columns:
        raise UsageError(f"{here}: give 'Measure' or 'Columns', to say where it comes from.")
    # The comparison is also false for NaN, which YAML writes as .nan.
    if entry.range and not entry.range[0] < entry.range[1]:
        raise UsageError(f"{here}: Range is {entry.range}; expected [smallest, largest].")
    _check_levels(with_levels, entry.reference, here)
    return Variable(
        name=name,
        label=entry.label or name,
        unit=entry.units,
        measure=entry.measure,
        region=entry.region,
        hemisphere=entry.hemisphere,
        columns=tuple(entry.columns),
        levels=with_levels,
        range=(float(entry.range[0]), float(entry.range[1])) if entry.range else None,
        missing=tuple(dict.fromkeys(_spelled(word) for word in (*missing, *entry.missing))),
        top_coded={cell.strip().lower(): float(n) for cell, n in entry.top_coded.items()},
    )


def _level(word: str, entry: schema.LevelEntry, variable: schema.VariableEntry) -> Level:
    # Tables are read without regard to capitals, so are the words of a level.
    words = {word.lower(), *(_spelled(spelling) for spelling in entry.words)}
    value = entry.value if isinstance(entry.value, str) else float(entry.value)
    return Level(value, tuple(sorted(words)), is_reference=word == variable.reference)


def _spelled(word: schema.Word) -> str:
    """Return a word as cells of a table are compared with it."""
    return word.strip().lower() if isinstance(word, str) else f"{word:g}"


def _check_levels(levels: Levels, reference: str, here: str) -> None:
    for name in levels:
        # regression.grouped puts the names of levels between quotes into filters.
        if not name.isprintable() or set(name) & set("'\"\\`"):
            raise UsageError(f"{here}: the name of a level may not contain quotes; found {name!a}.")
    owners: dict[str, str] = {}
    for name, level in levels.items():
        # A spelling of two levels would be read as whichever comes last.
        for word in level.words:
            if owners.setdefault(word, name) != name:
                raise UsageError(
                    f"{here}: '{word}' means {owners[word]} and {name}; take it out of one of them."
                )
    kinds = {isinstance(level.value, str) for level in levels.values()}
    if len(kinds) > 1:
        raise UsageError(f"{here}: the Values of its levels must be all numbers or all words.")
    # A level with a number enters a formula as that number: there is no category to compare with.
    if reference and (reference not in levels or kinds == {False}):
        words = ", ".join(levels) or "none"
        raise UsageError(
            f"{here}: Reference '{reference}'; expected one of its levels ({words}), whose Values "
            "are words."
        )


def _model(entry: schema.ModelEntry, context: DocumentContext, place: int) -> Model:
    here = ("Models", place)
    context.known(entry.group_by, *here, "GroupBy")
    _check_family(entry, context, here)
    _check_unique([part.name for part in entry.contrasts], (*here, "Contrasts"), context)
    return Model(
        name=entry.name,
        formula=context.formula(entry.formula, *here, "Formula"),
        filter=context.filter(entry.filter, *here, "Filter"),
        family=entry.family,
        method=entry.method,
        exposure=entry.exposure,
        description=entry.description,
        contrasts=dict(
            _contrast(part, context, (*here, "Contrasts", number))
            for number, part in enumerate(entry.contrasts)
        ),
        places={
            part.name: context.places.where((*here, "Contrasts", number))
            for number, part in enumerate(entry.contrasts)
        },
        group_by=tuple(entry.group_by),
        levels=context.levels,
    )


ROBUST = ("gaussian", "binomial", "poisson")
"""Families for which there are errors that do not trust the variance of the family."""

COUNTS = ("poisson", "negative_binomial")


def _check_family(entry: schema.ModelEntry, context: DocumentContext, here: Keys) -> None:
    """See that method and exposure are for the family of a model."""
    # Huber's weights are made for residuals with a scale; a yes or no has none.
    if entry.method == "huber" and entry.family != "gaussian":
        raise UsageError(
            f"{context.places.where((*here, 'Method'))}: Method huber is for Family gaussian; "
            "expected ols (or hc3 for robust errors)."
        )
    if entry.method == "hc3" and entry.family not in ROBUST:
        raise UsageError(
            f"{context.places.where((*here, 'Method'))}: Method hc3 is for Family "
            f"{', '.join(ROBUST)}; expected ols for {entry.family}."
        )
    if entry.exposure and entry.family not in COUNTS:
        raise UsageError(
            f"{context.places.where((*here, 'Exposure'))}: Exposure is for counts (Family "
            f"{' or '.join(COUNTS)}); found Family {entry.family}."
        )
    context.known([entry.exposure] if entry.exposure else [], *here, "Exposure")


def _contrast(
    entry: schema.ContrastEntry, context: DocumentContext, keys: Keys
) -> tuple[str, dict[str, float]]:
    if len(entry.condition_list) != len(entry.weights):
        raise UsageError(
            f"{context.places.where(keys)}: contrast '{entry.name}': {len(entry.condition_list)} "
            f"conditions but {len(entry.weights)} weights."
        )
    return entry.name, dict(zip(entry.condition_list, map(float, entry.weights), strict=True))


def _groups(entry: schema.AnalysisFile, context: DocumentContext) -> Groups | None:
    groups = entry.groups
    if groups is None:
        return None
    context.known([groups.variable], "Groups", "Variable")
    context.known(groups.compare, "Groups", "Compare")
    context.known(groups.adjust, "Groups", "Adjust")
    levels = context.levels.get(groups.variable, {})
    with context.at("Groups", "Analyse"):
        _check_known(groups.analyse, list(levels), f"'{groups.variable}' has no level")
    taken = {model.name for model in entry.models} & {f"groups_{name}" for name in groups.compare}
    if taken:
        raise UsageError(
            f"{context.places.where(('Groups', 'Compare'))}: the model {min(taken)} is made by "
            "Compare; give yours another name."
        )
    return Groups(
        variable=groups.variable,
        analysed=tuple(groups.analyse),
        compare=tuple(groups.compare),
        adjust=tuple(groups.adjust),
    )


def _sensitivity(
    entry: schema.SensitivityEntry | None, context: DocumentContext
) -> Sensitivity | None:
    if entry is None:
        return None
    here = "Sensitivity"
    for name, change in entry.terms.items():
        context.known(list(change), here, "Terms", name)
        for variable, term in change.items():
            with context.at(here, "Terms", name, variable):
                # A term is read as one side of a formula, and y stands for any outcome.
                factors = formulas.parse(f"y ~ {term}").factors[1:]
                names = [used for part in factors for used in part.variables]
                _check_known(names, [*context.variables, *COMPUTED], "no variable")
    for name, names in entry.covariates.items():
        context.known(names, here, "Covariates", name)
    context.known(list(entry.zero_add), here, "ZeroAdd")
    return Sensitivity(
        filters={
            name: context.filter(text, here, "Filters", name)
            for name, text in entry.filters.items()
        },
        terms=entry.terms,
        measures=tuple(
            _alternative(name, change, context) for name, change in entry.measures.items()
        ),
        covariates={name: tuple(names) for name, names in entry.covariates.items()},
        head_size=_head_size(entry.head_size, context),
        noise={
            name: _replaced(name, name, part, context, (here, "MeasurementError"))
            for name, part in entry.measurement_error.items()
        },
        zero_add={name: float(added) for name, added in entry.zero_add.items()},
    )


def _head_size(entry: schema.HeadSizeEntry | None, context: DocumentContext) -> HeadSize | None:
    if entry is None:
        return None
    context.known([entry.variable], "Sensitivity", "HeadSize", "Variable")
    context.known(entry.outcomes, "Sensitivity", "HeadSize", "Outcomes")
    return HeadSize(variable=entry.variable, outcomes=tuple(entry.outcomes))


def _alternative(
    name: str, change: Mapping[str, schema.AlternativeEntry], context: DocumentContext
) -> Alternative:
    keys = ("Sensitivity", "Measures", name)
    if len(change) != 1:
        raise UsageError(
            f"{context.places.where(keys)}: '{name}': write {{variable: {{Measure: ..., Region: "
            "...}}."
        )
    replaced, entry = next(iter(change.items()))
    changed = _replaced(name, replaced, entry, context, keys)
    return Alternative(name=name, replaces=replaced, variable=changed)


def _replaced(
    label: str,
    replaced: str,
    entry: schema.AlternativeEntry,
    context: DocumentContext,
    keys: Keys,
) -> Variable:
    """Return a variable with another measure."""
    with context.at(*keys):
        _check_known([replaced], list(context.variables), "no variable")
    old = context.variables[replaced]
    # What the entry does not give is as in the variable that is replaced. None and "" differ: an
    # empty hemisphere asks for a measure without sides.
    return replace(
        old,
        label=label,
        measure=old.measure if entry.measure is None else entry.measure,
        region=old.region if entry.region is None else entry.region,
        hemisphere=old.hemisphere if entry.hemisphere is None else entry.hemisphere,
        unit=old.unit if entry.units is None else entry.units,
    )


def _mixed(entry: schema.MixedEntry, context: DocumentContext, place: int) -> MixedModel:
    here = ("Longitudinal", place)
    context.known(entry.random_slopes, *here, "RandomSlopes")
    return MixedModel(
        name=entry.name,
        formula=context.formula(entry.formula, *here, "Formula"),
        random_slopes=tuple(entry.random_slopes),
        filter=context.filter(entry.filter, *here, "Filter"),
        levels=context.levels,
    )


def _change(entry: schema.ChangeEntry, context: DocumentContext, place: int) -> ChangeModel:
    here = ("Change", place)
    formula = context.formula(entry.formula, *here, "Formula")
    outcome = formulas.parse(formula).outcome
    measured = context.variables.get(outcome.text)
    # Its standard error is a measure, too, and is that of the value itself and of no logarithm.
    if measured is None or not measured.measure:
        raise UsageError(
            f"{context.places.where((*here, 'Formula'))}: '{entry.name}': the outcome is "
            f"{outcome.text}; expected a variable with a Measure, such as "
            "chi_relative_csf_change_per_year."
        )
    return ChangeModel(
        name=entry.name,
        formula=formula,
        filter=context.filter(entry.filter, *here, "Filter"),
        levels=context.levels,
    )


def _mediation(entry: schema.MediationEntry, context: DocumentContext, place: int) -> Mediation:
    here = ("Mediation", place)
    cause = context.factor(entry.cause, *here, "Cause")
    mediator = context.factor(entry.mediator, *here, "Mediator")
    outcome = context.factor(entry.outcome, *here, "Outcome")
    # Compared as printed from the tree: "log( x )" and "log(x)" are one variable.
    if len({cause, mediator, outcome}) < 3:
        raise UsageError(
            f"{context.places.where(here)}: '{entry.name}': Cause, Mediator and Outcome are three "
            f"different variables; found {cause}, {mediator} and {outcome}."
        )
    return Mediation(
        name=entry.name,
        cause=cause,
        mediator=mediator,
        outcome=outcome,
        covariates=tuple(
            context.factor(text, *here, "Covariates", number)
            for number, text in enumerate(entry.covariates)
        ),
        levels=context.levels,
    )


def _harmonisation(
    entry: schema.HarmonisationEntry | None, context: DocumentContext
) -> Harmonisation | None:
    if entry is None:
        return None
    made = Harmonisation(site=entry.site, variables=tuple(entry.variables), keep=tuple(entry.keep))
    context.known(made.names, "Harmonisation")
    return made


def _site(entry: schema.SiteEntry | None, context: DocumentContext) -> Site | None:
    if entry is None:
        return None
    context.known([entry.variable], "Site", "Variable")
    if (entry.as_ == "combat") != bool(entry.variables) or (entry.keep and entry.as_ != "combat"):
        raise UsageError(
            f"{context.places.where(('Site',))}: Variables (and Keep) are for As: combat, which "
            f"needs them; found As: {entry.as_}."
        )
    return Site(variable=entry.variable, way=entry.as_)


def _by_combat(
    entry: schema.AnalysisFile, context: DocumentContext
) -> schema.HarmonisationEntry | None:
    """Return what is harmonised: ``Harmonisation``, or ``Site`` by the same means."""
    if entry.site is None or entry.site.as_ != "combat":
        return entry.harmonisation
    if entry.harmonisation is not None:
        raise UsageError(
            f"{context.places.where(('Site',))}: Site As: combat and Harmonisation are the same; "
            "leave one of them out."
        )
    return schema.HarmonisationEntry(
        site=entry.site.variable, variables=entry.site.variables, keep=entry.site.keep
    )


def _imputation(
    entry: schema.ImputationEntry | None, context: DocumentContext
) -> Imputation | None:
    if entry is None:
        return None
    context.known(entry.auxiliary, "Imputation", "Auxiliary")
    return Imputation(
        datasets=entry.datasets, cycles=entry.cycles, auxiliary=tuple(entry.auxiliary)
    )


def _table(
    entry: schema.TableEntry,
    models: Sequence[Model],
    context: DocumentContext,
    place: int,
    site: str,
) -> ModelTable:
    rows = []
    for number, row in enumerate(entry.rows):
        keys = ("Tables", place, "Rows", number)
        if not row.unadjusted and not row.adjusted:
            raise UsageError(
                f"{context.places.where(keys)}: row '{row.label}': give the model under "
                "'Unadjusted', 'Adjusted' or both."
            )
        for key, name in (("Unadjusted", row.unadjusted), ("Adjusted", row.adjusted)):
            with context.at(*keys, key):
                _check_model(name, models)
            with context.at(*keys, "Term"):
                _check_term(row.term, name, models, site)
        rows.append(Row(**row.model_dump()))
    return ModelTable(
        name=entry.name, title=entry.title, description=entry.description, rows=tuple(rows)
    )


def _study(
    entry: schema.PublishedEntry,
    models: Sequence[Model],
    context: DocumentContext,
    place: int,
    site: str,
) -> Study:
    here: Keys = ("Published", place)
    if entry.open_direction:
        context.known([entry.open_direction], *here, "OpenDirection")
    _check_units(entry, context, (*here, "Units"))
    values = []
    for number, part in enumerate(entry.values):
        with context.at(*here, "Values", number):
            # Parts of grouped models may have nobody in them; a study is compared with whole ones.
            whole = [model.name for model in models if not model.group_by]
            _check_known([part.model], whole, "no model")
            _check_term(part.term, part.model, models, site)
            if not float(part.interval[0]) < float(part.interval[1]):
                raise UsageError(
                    f"Interval {' to '.join(part.interval)}: give the smaller end first."
                )
            if entry.n - 2 - part.covariates < 1:
                raise UsageError(f"{part.covariates} covariates for N {entry.n} participants.")
        low, high = part.interval
        values.append(Value(**part.model_dump() | {"interval": (low, high)}))
    return Study(
        name=entry.study,
        doi=entry.doi,
        n=entry.n,
        entries=tuple(values),
        open_direction=entry.open_direction,
    )


def _check_units(entry: schema.PublishedEntry, context: DocumentContext, here: Keys) -> None:
    """See that a study's coefficients are in the units of the analysis."""
    context.known(list(entry.units), *here)
    for name, unit in entry.units.items():
        found = context.variables[name].unit if name in context.variables else ""
        # A slope per mL beside one per mm3 would differ a thousandfold, and look like a finding.
        if found != unit:
            raise UsageError(
                f"{context.places.where((*here, name))}: {entry.study} has {name} in {unit}, and "
                f"Variables in {found or 'no unit'}; use one unit, or take Published out."
            )


def _check_model(name: str, models: Sequence[Model]) -> None:
    """See that a row names a model that is fitted once; parts of grouped ones by their levels."""
    if not name:
        return
    parts = {model.name: possible_parts(model) for model in models}
    # No parts: the groups are of words without declared levels, known only from the tables.
    if parts.get(name, ()) not in ((), (name,)):
        raise UsageError(
            f"model '{name}' is fitted in each level of its GroupBy; name one of them: "
            f"{', '.join(parts[name])}."
        )
    every = [part for names in parts.values() for part in names]
    _check_known([name], every, "no model")


def _check_term(term: str, name: str, models: Sequence[Model], site: str) -> None:
    """See that a coefficient can be one of a model, whatever levels or curves its factors have."""
    model = next((one for one in models if name and name in possible_parts(one)), None)
    if model is None or term in model.contrasts:
        return
    parsed = formulas.parse(model.formula)
    known = [part.text for part in parsed.factors[1:]]
    if site and site not in parsed.variables:
        known.append(f"C({site})")
    # What stands in brackets is a level or the number of a column: dx[T.patient], poly(age, 2)[1].
    plain = re.sub(r"\[[^\[\]]*\]", "", term)
    for part in plain.split(":"):
        _check_known([part], ["Intercept", *known, *model.contrasts], f"model '{name}' has no term")


def _check_known(names: Sequence[str], known: Sequence[str], message: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{message} '{name}'. There are: {', '.join(known)}.")


def _check_unique(names: Sequence[str], keys: Keys, context: DocumentContext) -> None:
    # Tables and specifications are looked up by name: the second would hide the first.
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(
                f"{context.places.where((*keys, place))}: the name '{name}' is used more than once."
            )
