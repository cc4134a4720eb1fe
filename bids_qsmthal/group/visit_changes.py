"""Change between visits as the participant level measured it: each one's, and that of the group.

The visits of a person were compared with each other, so that their change has less noise than two
numbers that were measured alone, and a standard error of its own. A person counts once: with the
two usable visits that lie furthest apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal.group import finished, measures, participant_tables, table_reading
from bids_qsmthal.group.measures import Catalogue, MeasureColumn
from bids_qsmthal.statistics import meta_regression
from bids_qsmthal.statistics.analysis import Variable
from bids_qsmthal.statistics.meta_regression import ChangeModel

COLUMNS_OF_CHANGE = [
    *("participant_id", "session_from", "session_to", "years", "measure", "region", "hemisphere"),
    *("variant", "value", "change", "unit", "change_se", "change_ci_low", "change_ci_high"),
    *("change_percent", "change_per_year", "change_per_year_se", "reliable"),
]
"""Those of the table of a participant."""

PLACE = ["measure", "region", "hemisphere", "variant"]

PERSON = [
    *("participant_id", "session_from", "session_to", "years", *PLACE, "unit", "value", "change"),
    *("change_se", "change_percent", "change_per_year", "change_per_year_se", "reliable"),
]
"""Of what ``of_each`` returns."""

COLUMNS = (
    *(*PLACE, "unit", "n", "mean_years", "change_per_year", "standard_error", "ci_low", "ci_high"),
    *(
        "p",
        "tau",
        "percent_per_year",
        "percent_ci_low",
        "percent_ci_high",
        "n_known",
        "n_increase",
        "n_decrease",
        "note",
    ),
)
"""Of what ``table`` returns."""

COUNTED = frozenset(
    {
        *("new_count", "new_volume", "enlarged_count"),
        *("shrunk_count", "vanished_count", "vanished_volume"),
    }
)
"""Measures whose change is what came between neighbouring visits, so that it adds up."""

INCREASE, DECREASE, NO, UNKNOWN = "increase", "decrease", "no", "n/a"

NUMBERS = (
    *("years", "value", "change", "change_se", "change_percent"),
    *("change_per_year", "change_per_year_se"),
)

LEVEL = 0.05
"""Share of people without any change who are called changed all the same."""

SUFFIX = "_per_year"

ERROR = "_se"


def read(paths: Sequence[Path], sessions: pd.Index) -> pd.DataFrame:
    """Return the changes between usable visits, a row a pair and place.

    Parameters
    ----------
    paths
        Tables of change.
    sessions
        Participant and session of those that may be used.

    Returns
    -------
    pandas.DataFrame
        ``COLUMNS_OF_CHANGE`` without the interval. Rows between T1w of other voxels are left out:
        such borders move by their blur alone, alike in all who changed the scanner.

    Raises
    ------
    DataError
        A table is malformed.
    """
    kept = [name for name in COLUMNS_OF_CHANGE if not name.startswith("change_ci")]
    if not paths:
        return pd.DataFrame(columns=kept)
    rows = participant_tables.joined(paths, finished.CHANGE, COLUMNS_OF_CHANGE)
    where = f"*{finished.CHANGE}"
    known = {name: table_reading.numbers(rows[name], where, rows["scan"]) for name in NUMBERS}
    rows = rows.assign(**known)[kept]
    usable = np.ones(len(rows), dtype=bool)
    for column in ("session_from", "session_to"):
        usable &= pd.MultiIndex.from_frame(rows[["participant_id", column]]).isin(sessions)
    incomparable = rows["change_se"].notna() & (rows["reliable"] == UNKNOWN)
    return rows[usable & ~incomparable].reset_index(drop=True)


def of_each(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a participant and place: the usable visits that lie furthest apart.

    What came between neighbouring visits (new lesions) is added up instead.

    Parameters
    ----------
    rows
        As ``read`` returns them.
    """
    if rows.empty:
        return pd.DataFrame(columns=PERSON)
    counted = rows["measure"].isin(COUNTED)
    # Of several pairs without a time between them the last one: it is that of first and last visit.
    ordered = rows[~counted].sort_values("years", kind="stable", na_position="first")
    widest = ordered.groupby(["participant_id", *PLACE], sort=False).tail(1)
    parts = [part for part in (widest, _added_up(rows[counted])) if len(part)]
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    reliable = np.select(
        [table["reliable"] == NO, (table["reliable"] == "yes") & (table["change"] > 0),
         table["reliable"] == "yes"],
        [NO, INCREASE, DECREASE], UNKNOWN,
    )  # fmt: skip
    order = {place: number for number, place in enumerate(_places(rows))}
    rank = [order[place] for place in _places_of(table)]
    table = table.assign(reliable=reliable, rank=rank)
    return table.sort_values(["rank", "participant_id"], kind="stable")[PERSON].reset_index(
        drop=True
    )


def _places_of(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    return rows[PLACE].itertuples(index=False, name=None)


def _places(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the places as the tables list them first."""
    return list(dict.fromkeys(_places_of(rows)))


def _added_up(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the sum of what came from visit to visit."""
    if rows.empty:
        return rows
    of_each_one = rows.groupby(["participant_id", *PLACE, "unit"], sort=False)
    # One step without a number (nobody said which lesions are larger) leaves the sum unknown.
    summed = of_each_one.agg(
        session_from=("session_from", "first"),
        session_to=("session_to", "last"),
        years=("years", lambda years: years.sum(skipna=False)),
        change=("change", lambda change: change.sum(skipna=False)),
    ).reset_index()
    return summed.assign(
        value=np.nan,
        change_se=np.nan,
        change_percent=np.nan,
        change_per_year=summed["change"] / summed["years"],
        change_per_year_se=np.nan,
        reliable=UNKNOWN,
    )


def name_of(measure: str, variant: str) -> str:
    """Return what the change of a measure in a year is called in the table of all measures.

    >>> name_of("chi_relative_csf", "default"), name_of("new_count", "n/a")
    ('chi_relative_csf_change_per_year', 'new_count_per_year')
    """
    other = "" if variant in {"default", UNKNOWN} else f"_{variant.lower().replace('-', '_')}"
    return f"{measure}{other}{'' if measure in COUNTED else '_change'}{SUFFIX}"


def columns(each: pd.DataFrame) -> tuple[pd.DataFrame, Catalogue]:
    """Return changes in a year and their standard errors as measures of a participant.

    Parameters
    ----------
    each
        As ``of_each`` returns it.

    Returns
    -------
    pandas.DataFrame
        A row a participant, a column a measure.
    Catalogue
        What the columns hold.
    """
    made: dict[str, pd.Series[float]] = {}
    catalogue: dict[str, MeasureColumn] = {}
    for (measure, region, hemisphere, variant), rows in each.groupby(PLACE, sort=False):
        own = rows.set_index("participant_id")
        named = name_of(str(measure), str(variant))
        unit = f"{own['unit'].iloc[0]}/year"
        for ending, column in (("", "change_per_year"), (ERROR, "change_per_year_se")):
            if ending and own[column].isna().all():
                continue
            name = measures.column_name(f"{named}{ending}", str(region), str(hemisphere))
            made[name] = own[column]
            catalogue[name] = MeasureColumn(f"{named}{ending}", str(region), unit)
    people = pd.Index(each["participant_id"].unique(), dtype="str", name="participant_id")
    return pd.DataFrame(made, index=people), catalogue


def is_of_person(variable: Variable) -> bool:
    """Return whether a variable is a change: one number a participant, not one a session."""
    return variable.measure.removesuffix(ERROR).endswith(SUFFIX)


def error_of(variable: Variable) -> Variable:
    """Return the variable with the standard error of the values of another."""
    return replace(variable, name=f"{variable.name}{ERROR}", measure=f"{variable.measure}{ERROR}")


def table(each: pd.DataFrame) -> pd.DataFrame:
    """Return the mean change in a year of each place, and who changed reliably.

    Parameters
    ----------
    each
        As ``of_each`` returns it.
    """
    rows = [
        dict(zip(PLACE, place, strict=True)) | _summary(group.reset_index(drop=True))
        for place, group in each.groupby(PLACE, sort=False)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


MEAN = ChangeModel(name="mean", formula="change_per_year ~ 1")
IN_PERCENT = ChangeModel(name="mean", formula="percent_per_year ~ 1")


def _summary(each: pd.DataFrame) -> dict[str, object]:
    found = meta_regression.fit(MEAN, each, each["change_per_year_se"]).iloc[0]
    in_percent = each.assign(percent_per_year=each["change_percent"] / each["years"])
    errors = 100 * each["change_per_year_se"] / each["value"].abs()
    percent = meta_regression.fit(IN_PERCENT, in_percent, errors).iloc[0]
    counted = each["measure"].iloc[0] in COUNTED
    dated = each["years"].notna()
    called = each["reliable"].value_counts()
    return {
        "unit": f"{each['unit'].iloc[0]}/year",
        "n": int(found["n"]),
        "mean_years": float(each.loc[dated, "years"].mean()) if dated.any() else np.nan,
        "change_per_year": found["coefficient"],
        "standard_error": found["standard_error"],
        "ci_low": found["ci_low"],
        "ci_high": found["ci_high"],
        # A number that cannot be below zero is not tested against it.
        "p": np.nan if counted else found["p"],
        "tau": found["tau"],
        "percent_per_year": percent["coefficient"],
        "percent_ci_low": percent["ci_low"],
        "percent_ci_high": percent["ci_high"],
        "n_known": int((each["reliable"] != UNKNOWN).sum()),
        "n_increase": int(called.get(INCREASE, 0)),
        "n_decrease": int(called.get(DECREASE, 0)),
        "note": found["note"],
    }


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A change that the page draws and puts into words."""

    title: str
    measure: str
    region: str
    hemisphere: str
    unit: str
    variant: str = UNKNOWN

    @property
    def place(self) -> tuple[str, str, str, str]:
        """As the tables have it."""
        return self.measure, self.region, self.hemisphere, self.variant


SHOWN = (
    GroupChange(
        "Susceptibility of the thalami", "chi_relative_csf", "thalamus", "LR", "ppb", "default"
    ),
    GroupChange("Volume of the thalami", "volume", "thalamus", "LR", "%"),
    GroupChange("Volume of the lateral ventricles", "volume", "lateral_ventricle", "LR", "%"),
    GroupChange("Volume of gray matter", "volume", "gray_matter", UNKNOWN, "%"),
    GroupChange("Volume of white matter", "volume", "white_matter", UNKNOWN, "%"),
    GroupChange("Thickness of the cortex", "thickness_mean", "cortex", "LR", "%"),
)


def of_place(rows: pd.DataFrame, shown: GroupChange) -> pd.DataFrame:
    """Return the rows of one place."""
    wanted = pd.Series(dict(zip(PLACE, shown.place, strict=True)))
    return rows[(rows[PLACE] == wanted).all(axis=1)]


def courses(rows: pd.DataFrame, shown: GroupChange) -> Mapping[str, np.ndarray]:
    """Return the change of each participant since the first visit: years and change, shape (n, 2).

    The steps from visit to visit add up; where a visit between is not usable, the step over it
    counts. Who has no dates has no course.

    Parameters
    ----------
    rows
        As ``read`` returns them.
    shown
        Of which place; in its unit.
    """
    column = "change_percent" if shown.unit == "%" else "change"
    dated = of_place(rows, shown).dropna(subset=["years", column])
    made = {}
    for who, own in dated.groupby("participant_id", sort=True):
        points = [(0.0, 0.0)]
        # The shortest step from each visit, in the order of time: of first and last visit there is
        # a row as well.
        steps = own.sort_values("years", kind="stable").drop_duplicates("session_from")
        steps = steps.set_index("session_from")
        place = next((one for one in steps.index if one not in set(own["session_to"])), None)
        while place in steps.index:
            step = steps.loc[place]
            steps = steps.drop(place)  # each once, also where a damaged table leads in a circle
            points.append((points[-1][0] + step["years"], points[-1][1] + step[column]))
            place = step["session_to"]
        made[str(who)] = np.array(points)
    return made


def mean_of(summary: pd.DataFrame, shown: GroupChange) -> tuple[float, float, float]:
    """Return the mean change in a year with its interval, in the unit that is shown.

    Parameters
    ----------
    summary
        As ``table`` returns it.
    """
    wanted = ["change_per_year", "ci_low", "ci_high"]
    if shown.unit == "%":
        wanted = ["percent_per_year", "percent_ci_low", "percent_ci_high"]
    found = of_place(summary, shown)
    if found.empty:
        return np.nan, np.nan, np.nan
    mean, low, high = found[wanted].astype(float).iloc[0]
    return mean, low, high
